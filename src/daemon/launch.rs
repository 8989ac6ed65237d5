//! From a definition to what execve(2) needs: files found, links followed, environment put together.
//!
//! A start by request looks everything up anew; a crash restart uses what the last such start found, so that it stays in
//! the release it was started from even when a `current` link has moved on.

use std::ffi::OsString;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::daemon::node;
use crate::daemon::privileges::Loses;
use crate::spec::{Env, ListenSpec, NoSuchFd, Program, with_fds};
use crate::supervisor::{Definition, SlotId};

/// Programs that start the real server as their child: a signal to them alone would not reach it.
const WRAPPERS: [&str; 12] =
    ["sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "npm", "npx", "yarn", "pnpm", "corepack"];

/// The longest `package.json` that is looked at, in bytes.
const PACKAGE_LIMIT: u64 = 1 << 20;

/// What a definition means on this machine at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) program: PathBuf,
    pub(super) argv: Vec<OsString>,
    pub(super) cwd: PathBuf,
    /// The main process is a shell or package runner, its children get the stop signal at once, too.
    pub(super) wraps: bool,
    /// The `version` of the package it belongs to.
    pub(super) version: Option<String>,
}

/// Why a definition cannot be executed. Each is a sentence fragment for the user.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    #[error("chdir {path}: {why}", path = path.display(), why = reason(source))]
    Cwd { path: PathBuf, source: io::Error },
    #[error("script {path}: {why}", path = path.display(), why = reason(source))]
    Script { path: PathBuf, source: io::Error },
    #[error("script {path}: it is a folder", path = .0.display())]
    ScriptIsFolder(PathBuf),
    #[error("interpreter `{name}` for {script} is not on the PATH of the app", script = script.display())]
    Interpreter { name: String, script: PathBuf },
    #[error("program `{0}` is not on the PATH of the app")]
    Program(String),
    #[error("program {path}: {why}", path = path.display(), why = reason(source))]
    ProgramFile { path: PathBuf, source: io::Error },
    #[error("program {path}: it is not executable (chmod +x, or name an interpreter)", path = .0.display())]
    NotExecutable(PathBuf),
    #[error("env_file {path}: {why}", path = path.display())]
    EnvFile { path: PathBuf, why: String },
    #[error("`{{fd:{0}}}`: the app has no socket that alone has this name")]
    Fd(String),
    #[error("`{{fd}}`: the app has several sockets (`{{fd:NAME}}` names one)")]
    WhichFd,
    #[error("neither bash nor sh is on the PATH of the app")]
    NoShell,
    #[error(transparent)]
    Privileges(#[from] Loses),
}

/// What an error says, without the number that means nothing to a user.
pub(super) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}

/// Looks up everything a launch needs.
pub(super) fn resolve(definition: &Definition, own_binary: &Path) -> Result<Resolved, LaunchError> {
    let spec = &definition.spec;
    let cwd = spec.cwd.canonicalize().map_err(|source| LaunchError::Cwd { path: spec.cwd.clone(), source })?;
    if !cwd.is_dir() {
        return Err(LaunchError::Cwd { path: cwd, source: io::ErrorKind::NotADirectory.into() });
    }
    let path_var = spec.env.get("PATH").or_else(|| definition.inherited.get("PATH")).map(String::as_str);
    let find = |name: &str| find_program(name, path_var, &cwd);
    let (program, argv) = match &spec.program {
        Program::Script { script, interpreter, interpreter_args, args } => {
            let script = in_real_folder(script)?;
            let missing = || LaunchError::Interpreter { name: interpreter.clone(), script: script.clone() };
            let program = find(interpreter).ok_or_else(missing)?;
            let head = std::iter::once(interpreter.into()).chain(filled(interpreter_args, &spec.listen)?);
            (program, head.chain([script.into_os_string()]).chain(filled(args, &spec.listen)?).collect())
        }
        Program::Binary { path, args } => {
            let program = match path.is_absolute() {
                true => executable(path)?,
                false => {
                    let name = path.display().to_string();
                    find(&name).ok_or(LaunchError::Program(name))?
                }
            };
            let head = path.as_os_str().to_owned();
            (program, std::iter::once(head).chain(filled(args, &spec.listen)?).collect())
        }
        Program::CommandLine { line } => {
            let shell = ["bash", "sh"].into_iter().find_map(|name| Some((name, find(name)?)));
            let (name, program) = shell.ok_or(LaunchError::NoShell)?;
            let line = with_fd(line, &spec.listen)?;
            (program, vec![name.into(), "-c".into(), with_exec(&line).into()])
        }
        Program::Serve { args } => {
            let head = ["rsx", "serve-files"].map(OsString::from).into_iter();
            (own_binary.to_owned(), head.chain(args.iter().map(OsString::from)).collect())
        }
    };
    let wraps = is_wrapper(&spec.program, &argv);
    let version = package_version(spec.script_path().and_then(Path::parent).unwrap_or(&cwd));
    Ok(Resolved { program, argv, cwd, wraps, version })
}

/// Words with numbers in the place of `{fd}`, where there are sockets.
fn filled(words: &[String], listen: &[ListenSpec]) -> Result<Vec<OsString>, LaunchError> {
    words.iter().map(|word| Ok(with_fd(word, listen)?.into())).collect()
}

fn with_fd(text: &str, listen: &[ListenSpec]) -> Result<String, LaunchError> {
    if listen.is_empty() {
        return Ok(text.to_owned());
    }
    with_fds(text, listen).map_err(|error| match error {
        NoSuchFd::Which => LaunchError::WhichFd,
        NoSuchFd::Unknown(name) | NoSuchFd::Several(name) => LaunchError::Fd(name),
    })
}

/// The environment of one run: the shell's as far as it is not withheld, then rsx's own variables, then the files', then
/// what the owner declared; what rsx's machinery needs comes last.
pub(super) fn environment(
    definition: &Definition,
    slot: SlotId,
    instance: u16,
    ways: &Ways<'_>,
) -> Result<Vec<(OsString, OsString)>, LaunchError> {
    let spec = &definition.spec;
    let inherited = definition.inherited.iter().filter(|(name, _)| !spec.filter_env.withholds(name));
    let mut env: Env = inherited.map(|(name, value)| (name.clone(), value.clone())).collect();
    env.insert("pm_id".into(), slot.to_string());
    env.insert("name".into(), spec.name.clone());
    env.insert(spec.instance_var.clone(), instance.to_string());
    for path in &spec.env_files {
        let lost = |error: dotenvy::Error| LaunchError::EnvFile { path: path.clone(), why: env_file_reason(&error) };
        for variable in dotenvy::from_path_iter(path).map_err(lost)? {
            let (name, value) = variable.map_err(lost)?;
            env.insert(name, value);
        }
    }
    env.extend(spec.env.clone());
    if let Some(name) = &spec.increment_var {
        let first: u64 = env.get(name).and_then(|value| value.parse().ok()).unwrap_or(0);
        env.insert(name.clone(), (first + u64::from(instance)).to_string());
    }
    env.insert("RSX_ID".into(), slot.to_string());
    env.insert("RSX_NAME".into(), spec.name.clone());
    env.insert("RSX_INSTANCE".into(), instance.to_string());
    let mut env: Vec<_> = env.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    let Ways { notify, channel, agent } = ways;
    if let Some(path) = notify {
        env.push(("NOTIFY_SOCKET".into(), path.as_os_str().to_owned()));
    }
    if let Some(number) = channel {
        env.push(("NODE_CHANNEL_FD".into(), number.to_string().into()));
        env.push(("NODE_CHANNEL_SERIALIZATION_MODE".into(), "json".into()));
    }
    if let Some((preload, socket)) = agent {
        let own = env.iter().position(|(name, _)| name == "NODE_OPTIONS");
        let value = own.and_then(|at| env.get(at)).map(|(_, value)| value.as_os_str());
        if let Some(variables) = node::options(definition, preload, socket, value) {
            if let Some(at) = own {
                env.swap_remove(at);
            }
            env.extend(variables);
        }
    }
    Ok(env)
}

/// By which ways a run and we talk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ways<'a> {
    /// Its notification socket.
    pub(super) notify: Option<&'a Path>,
    /// The number of the program's end of the channel.
    pub(super) channel: Option<RawFd>,
    /// The agent's file, and its socket.
    pub(super) agent: Option<(&'a Path, &'a Path)>,
}

/// What is wrong with a file of variables, without the line: it may hold a secret.
fn env_file_reason(error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::Io(error) => reason(error),
        dotenvy::Error::LineParse(_, position) => {
            format!("a line is not `NAME=value` (at its character {})", position + 1)
        }
        _ => "it cannot be read".to_owned(),
    }
}

/// What is found in /proc/PID/environ of every process of this slot.
pub(super) fn marker(slot: SlotId) -> String {
    format!("RSX_ID={slot}")
}

/// Follows the links of a script's folder, not of the script itself: multi-call programs look at their own name.
fn in_real_folder(script: &Path) -> Result<PathBuf, LaunchError> {
    let lost = |source| LaunchError::Script { path: script.to_owned(), source };
    let metadata = std::fs::metadata(script).map_err(lost)?;
    if metadata.is_dir() {
        return Err(LaunchError::ScriptIsFolder(script.to_owned()));
    }
    match (script.parent(), script.file_name()) {
        (Some(folder), Some(name)) => Ok(folder.canonicalize().map_err(lost)?.join(name)),
        _ => Ok(script.to_owned()),
    }
}

fn executable(path: &Path) -> Result<PathBuf, LaunchError> {
    let lost = |source| LaunchError::ProgramFile { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(lost)?;
    if metadata.is_dir() {
        return Err(LaunchError::ScriptIsFolder(path.to_owned()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(LaunchError::NotExecutable(path.to_owned()));
    }
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => Ok(folder.canonicalize().map_err(lost)?.join(name)),
        _ => Ok(path.to_owned()),
    }
}

/// As execvp(3) looks a name up, in the PATH of the app.
pub(super) fn find_program(name: &str, path_var: Option<&str>, cwd: &Path) -> Option<PathBuf> {
    if name.contains('/') {
        let path = cwd.join(name);
        return is_executable(&path).then_some(path);
    }
    let path_var = path_var.unwrap_or("/usr/local/bin:/usr/bin:/bin");
    path_var.split(':').map(|folder| cwd.join(folder).join(name)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Puts `exec` in front of a line that is one simple command, so that no shell stays between rsx and the program.
fn with_exec(line: &str) -> String {
    let first = line.split_whitespace().next().unwrap_or_default();
    let simple = !line.contains(['&', ';', '|', '<', '>', '(', ')', '`', '\n', '{', '}', '!'])
        && !line.contains("$(")
        && !first.contains(['=', '\'', '"', '$', '\\'])
        && !BUILTINS.contains(&first);
    if simple { format!("exec {line}") } else { line.to_owned() }
}

/// The words of each command of a line, without the variables and the words in front of it that only lead to it.
pub(super) fn segments(line: &str) -> Vec<Vec<String>> {
    const LEADS: [&str; 7] = ["exec", "env", "nohup", "nice", "command", "time", "setsid"];
    let is_lead = |word: &String| LEADS.contains(&word.as_str()) || word.contains('=') || word.starts_with('-');
    let words = |part: &str| shell_words::split(part).unwrap_or_default().into_iter().skip_while(is_lead).collect();
    line.split(['&', ';', '|', '\n', '(', ')', '{', '}'])
        .map(words)
        .filter(|words: &Vec<String>| !words.is_empty())
        .collect()
}

/// Words that `exec` cannot execute because the shell itself carries them out.
const BUILTINS: [&str; 31] = [
    ".", ":", "[", "[[", "alias", "bg", "case", "cd", "declare", "eval", "exec", "exit", "export", "for", "function",
    "if", "let", "local", "read", "return", "select", "set", "shift", "source", "time", "trap", "ulimit", "umask",
    "until", "wait", "while",
];

fn is_wrapper(program: &Program, argv: &[OsString]) -> bool {
    let base =
        |text: &OsString| Path::new(text).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    match program {
        Program::CommandLine { line } if with_exec(line) != *line => {
            let first = line.split_whitespace().next().map(OsString::from);
            first.is_some_and(|first| WRAPPERS.contains(&base(&first).as_str()))
        }
        Program::CommandLine { .. } => true,
        Program::Serve { .. } => false,
        Program::Script { .. } | Program::Binary { .. } => {
            argv.first().is_some_and(|word| WRAPPERS.contains(&base(word).as_str()))
                || argv.get(1).is_some_and(|word| WRAPPERS.contains(&base(word).trim_end_matches("-cli.js")))
        }
    }
}

/// The `version` of the nearest `package.json`, at most three folders up.
fn package_version(folder: &Path) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Package {
        version: Option<String>,
    }
    let file = folder.ancestors().take(3).map(|dir| dir.join("package.json")).find(|path| path.is_file())?;
    if std::fs::metadata(&file).ok()?.len() > PACKAGE_LIMIT {
        return None;
    }
    serde_json::from_slice::<Package>(&std::fs::read(file).ok()?).ok()?.version
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::spec::AppSpec;

    fn definition(program: Program) -> Definition {
        let mut spec = AppSpec::sample("api");
        spec.cwd = "/".into();
        spec.program = program;
        let inherited = Arc::new(Env::from([("PATH".into(), "/usr/bin:/bin".into())]));
        Definition { spec, inherited, stamp: None, declared: 1 }
    }

    #[test]
    fn one_simple_command_replaces_its_shell() {
        for line in ["node app.js", "python3 -m http.server 8000", "echo $PORT"] {
            assert_eq!(with_exec(line), format!("exec {line}"));
        }
        for line in ["a && b", "PORT=1 node x", "cd /x; ls", "while true", "$CMD", "echo `date`", "exec a", "a | b"] {
            assert_eq!(with_exec(line), line);
        }
    }

    #[test]
    fn shells_and_package_runners_are_known_as_wrappers() {
        let line = |text: &str| Program::CommandLine { line: text.into() };
        for (program, wraps) in [
            (line("npm start"), true),
            (line("sleep 5"), false),
            (line("sleep 5; true"), true),
            (Program::Binary { path: "sh".into(), args: vec![] }, true),
            (Program::Binary { path: "sleep".into(), args: vec!["1".into()] }, false),
        ] {
            let resolved = resolve(&definition(program.clone()), Path::new("/rsx")).unwrap();
            assert_eq!(resolved.wraps, wraps, "{program:?}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let script = |path: &str, interpreter: &str| Program::Script {
            script: path.into(),
            interpreter: interpreter.into(),
            interpreter_args: vec![],
            args: vec![],
        };
        let error = |program| resolve(&definition(program), Path::new("/rsx")).unwrap_err().to_string();
        assert!(error(script("/nope/app.js", "node")).starts_with("script /nope/app.js: No such file"));
        assert!(
            error(script("/etc/passwd", "cobol9"))
                .starts_with("interpreter `cobol9` for /etc/passwd is not on the PATH")
        );
        assert_eq!(error(script("/etc", "sh")), "script /etc: it is a folder");
        assert_eq!(
            error(Program::Binary { path: "cobol9".into(), args: vec![] }),
            "program `cobol9` is not on the PATH of the app"
        );
        assert!(error(Program::Binary { path: "/etc/passwd".into(), args: vec![] }).contains("is not executable"));
        let mut lost = definition(Program::CommandLine { line: "true".into() });
        lost.spec.cwd = "/nope".into();
        let error = resolve(&lost, Path::new("/rsx")).unwrap_err().to_string();
        assert!(error.starts_with("chdir /nope: No such file"), "{error}");
    }

    #[test]
    fn a_declared_variable_wins_and_the_machinery_has_the_last_word() {
        let mut definition = definition(Program::CommandLine { line: "true".into() });
        definition.spec.env = Env::from([("name".into(), "mine".into()), ("RSX_ID".into(), "99".into())]);
        let env =
            environment(&definition, SlotId(3), 1, &Ways { notify: Some(Path::new("/run/n/1")), ..Ways::default() })
                .unwrap();
        let get = |name: &str| env.iter().find(|(n, _)| n == name).map(|(_, v)| v.to_string_lossy().into_owned());
        assert_eq!(get("name").as_deref(), Some("mine"));
        assert_eq!(get("RSX_ID").as_deref(), Some("3"));
        assert_eq!(get("NODE_APP_INSTANCE").as_deref(), Some("1"));
        assert_eq!(get("NOTIFY_SOCKET").as_deref(), Some("/run/n/1"));
        assert_eq!(get("PATH").as_deref(), Some("/usr/bin:/bin"));
    }

    #[test]
    fn files_come_before_what_is_declared_and_are_named_when_they_are_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".env");
        std::fs::write(&file, "A=file\nB='two words'\n# no\nPORT=1\n").unwrap();
        let mut definition = definition(Program::CommandLine { line: "true".into() });
        definition.spec.env_files = vec![file.clone()];
        definition.spec.env = Env::from([("A".into(), "declared".into()), ("PORT".into(), "3000".into())]);
        definition.spec.increment_var = Some("PORT".into());
        let get = |definition: &Definition, instance, name: &str| {
            let env = environment(definition, SlotId(0), instance, &Ways::default()).unwrap();
            env.iter().find(|(n, _)| n == name).map(|(_, v)| v.to_string_lossy().into_owned())
        };
        assert_eq!(get(&definition, 0, "A").as_deref(), Some("declared"));
        assert_eq!(get(&definition, 0, "B").as_deref(), Some("two words"));
        assert_eq!(get(&definition, 0, "PORT").as_deref(), Some("3000"));
        assert_eq!(get(&definition, 2, "PORT").as_deref(), Some("3002"));
        std::fs::write(&file, "TOKEN=secret\nno assignment secret\n").unwrap();
        let error = environment(&definition, SlotId(0), 0, &Ways::default()).unwrap_err().to_string();
        assert!(error.contains(".env: a line is not") && !error.contains("secret"), "{error}");
        definition.spec.env_files = vec!["/nope/.env".into()];
        let error = environment(&definition, SlotId(0), 0, &Ways::default()).unwrap_err().to_string();
        assert_eq!(error, "env_file /nope/.env: No such file or directory");
    }

    #[test]
    fn what_is_withheld_does_not_reach_the_program() {
        let mut definition = definition(Program::CommandLine { line: "true".into() });
        let shell = [("PATH", "/bin"), ("LC_ALL", "C"), ("AWS_SECRET_KEY", "x"), ("EDITOR", "vi")];
        definition.inherited = Arc::new(shell.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect());
        let names = |definition: &Definition| -> Vec<String> {
            let env = environment(definition, SlotId(0), 0, &Ways::default()).unwrap();
            let name = |(name, _): &(OsString, OsString)| name.to_string_lossy().into_owned();
            env.iter().map(name).filter(|name| shell.iter().any(|(n, _)| n == name)).collect()
        };
        definition.spec.filter_env = crate::spec::FilterEnv::Containing(vec!["SECRET".into()]);
        assert_eq!(names(&definition), ["EDITOR", "LC_ALL", "PATH"]);
        definition.spec.filter_env = crate::spec::FilterEnv::All;
        assert_eq!(names(&definition), ["LC_ALL", "PATH"]);
    }
}
