//! `start`: what each word means, then one declaration for what is declared and one action for what exists.

use std::path::Path;

use crate::cli::args::{AppFlags, ApplyArgs, FileArgs, StartArgs, ValueFlags};
use crate::cli::logs::Attach;
use crate::cli::outside::Typed;
use crate::cli::render::table;
use crate::cli::session::{Session, view};
use crate::cli::{act, apply, declared, outside, targets};
use crate::error::{ExitCode, Failure};
use crate::proto::{Act, Target, Unchanged, View, ViewDetail};
use crate::spec::AppSpec;

/// What the words of a `start` ask for.
#[derive(Default)]
struct Asked {
    declared: Vec<AppSpec>,
    /// All names of the files, chosen by `--only` or not.
    names: Vec<String>,
    existing: Vec<Target>,
}

/// Runs `rsx start`.
pub(super) fn run(session: &mut Session, args: &StartArgs) -> Result<ExitCode, Failure> {
    let flags = declared_by(&args.app);
    let extent = act::extent(args.mini_list);
    let asked = read(session, args, &flags)?;
    let mut attach = Attach::begin(session, &args.apply)?;
    if let Some(attach) = &mut attach {
        attach.declared(session, &asked.declared)?;
        attach.named(asked.existing.iter().filter_map(word_of));
    }
    let code = carry_out(session, args, asked, extent)?;
    attach.map_or(Ok(code), |attach| attach.follow(session, code))
}

fn carry_out(
    session: &mut Session,
    args: &StartArgs,
    asked: Asked,
    extent: table::Extent,
) -> Result<ExitCode, Failure> {
    let mut code = ExitCode::Done;
    if !asked.declared.is_empty() || asked.existing.is_empty() {
        refuse_partial_prune(&args.apply, &args.file)?;
        let wish = apply::declaration(session, asked.declared, &args.apply, Unchanged::Leave);
        code = apply::apply(session, wish, &asked.names, extent)?;
    }
    if asked.existing.is_empty() || code == ExitCode::Interrupted {
        return Ok(code);
    }
    if args.apply.dry_run {
        session.out.talk("what exists is started if it does not run");
        return Ok(code);
    }
    let update_env = args.apply.update_env.then(|| outside::inherited_env(session.environment()));
    let wish = Act {
        targets: asked.existing,
        update_env,
        changes: None,
        parallel: args.apply.parallel,
        strategy: None,
        no_wait: args.apply.no_wait,
    };
    let started = act::start(session, wish, extent)?;
    Ok(if started == ExitCode::Done { code } else { started })
}

/// What exists is named by words only.
fn word_of(target: &Target) -> Option<String> {
    match target {
        Target::Word(word) => Some(word.clone()),
        Target::File { .. } | Target::Script(_) => None,
    }
}

fn read(session: &mut Session, args: &StartArgs, flags: &[(&'static str, String)]) -> Result<Asked, Failure> {
    let is_declaring = !flags.is_empty() || !args.args.is_empty();
    let mut asked = Asked::default();
    if args.what.is_empty() {
        if is_declaring {
            return Err(
                usage("flags and arguments are for a script, and none was named").hint("rsx start app.js -n api")
            );
        }
        let path = outside::find_default(session.cwd()).ok_or_else(|| {
            usage(format!("nothing to start: no ecosystem file in `{}`", session.cwd().display()))
                .hint("name a script, a command line or a file, or write one with `rsx init`")
        })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        load(session, &name, args, &mut asked)?;
        return Ok(asked);
    }
    if args.what.len() > 1 && args.app.values.name.is_some() {
        return Err(usage("one `--name` for several apps").hint("start them one by one, or write a file: `rsx init`"));
    }
    // The list decides what a word means, so it is read once, and only if some word needs it.
    let needs_view = |word: &String| !declared::is_declaration(session, word);
    let view = match args.what.iter().any(needs_view) {
        true => session.daemon_to_act()?.map(|mut client| view(&mut client, ViewDetail::Brief)).transpose()?,
        false => None,
    };
    let view = view.unwrap_or_default();
    let mut is_from_file = false;
    for word in &args.what {
        let is_config = declared::is_declaration(session, word);
        is_from_file |= is_config;
        if is_config && is_declaring {
            return Err(usage(format!("flags declare an app, and `{word}` is a file of apps"))
                .hint("write the values into the file, by the same names"));
        }
        match word.as_str() {
            word if is_config => load(session, word, args, &mut asked)?,
            word => match meaning(session, word, is_declaring, &view)? {
                Meaning::Existing => asked.existing.push(Target::Word(word.to_owned())),
                Meaning::Program => {
                    let typed = Typed { script: word, args: &args.args, flags };
                    let (spec, warnings) = outside::app_from_flags(session, &typed)?;
                    act::warn(session, &warnings);
                    asked.declared.push(spec);
                }
            },
        }
    }
    if !is_from_file && (args.file.env.is_some() || !args.file.only.is_empty()) {
        return Err(usage("`--env` and `--only` choose from a config file, and none was named"));
    }
    Ok(asked)
}

/// What a word means that is no file of apps.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Existing,
    Program,
}

fn meaning(session: &Session, word: &str, is_declaring: bool, view: &View) -> Result<Meaning, Failure> {
    let target = Target::Word(word.to_owned());
    let exists = !targets::pick(view, &target)?.is_empty();
    // Flags may name the folder in which a path is looked for; else it must be here.
    let is_missing = !is_declaring && is_plain_path(word) && !session.cwd().join(word).exists();
    let is_program =
        is_program(session, word) && !is_missing && !(is_plain_path(word) && session.cwd().join(word).is_dir());
    match (exists, is_declaring, is_program) {
        (true, false, _) => Ok(Meaning::Existing),
        (_, _, true) => Ok(Meaning::Program),
        (true, true, false) => Err(usage(format!("`{word}` is in the list, and flags declare a new app"))
            .hint(format!("`rsx restart {word} --flags` gives it new values, `rsx start {word}` starts it as it is"))),
        (false, _, false)
            if word == "all" || !session.cwd().join(word).exists() && targets::regex_of(word)?.is_some() =>
        {
            Err(Failure::new(ExitCode::NoSuchTarget, format!("no app in the list matches `{word}`")))
        }
        (false, _, false) => Err(nothing(session, word, targets::unknown(view, &target))),
    }
}

/// The failure of a word that is neither in the list nor a program. What looks like a file is judged as one.
fn nothing(session: &Session, word: &str, unknown: Failure) -> Failure {
    let path = session.cwd().join(word);
    let missing = || Failure::new(ExitCode::NoSuchTarget, format!("there is no file `{}`", path.display()));
    if path.is_dir() {
        return usage(format!("`{word}` is a folder, not a program"))
            .hint("name a script, a program or a file of apps; `rsx serve` serves a folder");
    }
    if outside::is_config_path(word) {
        return missing().hint("`rsx init` writes an `ecosystem.toml` to start from");
    }
    if path.extension().is_some() || is_plain_path(word) {
        return missing().because(format!("and no app in the list is called `{word}`"));
    }
    unknown.because(format!("and there is no script or program `{word}`"))
}

/// A path and nothing else: no command line, nothing under `~`.
fn is_plain_path(word: &str) -> bool {
    word.contains('/') && !word.contains(char::is_whitespace) && !word.starts_with('~') && !word.contains(':')
}

/// A path, a program on PATH, a command line, or `rsx:serve`.
fn is_program(session: &Session, word: &str) -> bool {
    let is_executable =
        |path: &Path| nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok() && path.is_file();
    let path_variable = session.environment().find(|(name, _)| name == "PATH").map(|(_, value)| value);
    word == "rsx:serve"
        || word.contains(char::is_whitespace)
        || word.contains('/')
        || word.starts_with('~')
        || session.cwd().join(word).is_file()
        || path_variable.is_some_and(|path| std::env::split_paths(&path).any(|dir| is_executable(&dir.join(word))))
}

fn load(session: &mut Session, word: &str, args: &StartArgs, asked: &mut Asked) -> Result<(), Failure> {
    let loaded = declared::load(session, word, &args.file)?;
    act::warn(session, &loaded.warnings);
    asked.names.extend(loaded.names);
    asked.declared.extend(loaded.apps);
    Ok(())
}

/// The flags as keys of the config file, with the text that the user wrote.
pub(super) fn declared_by(flags: &AppFlags) -> Vec<(&'static str, String)> {
    let instances = flags.instances.clone().map(|count| ("instances", count));
    let switches = [
        ("exec_mode", "fork", flags.fork),
        ("exec_mode", "cluster", flags.cluster),
        ("autostart", "false", flags.no_autostart),
    ];
    values(&flags.values).into_iter().chain(instances).chain(on(&switches)).collect()
}

/// Those that can be changed later, too.
pub(super) fn values(flags: &ValueFlags) -> Vec<(&'static str, String)> {
    let valued = [
        ("name", &flags.name),
        ("namespace", &flags.namespace),
        ("interpreter", &flags.interpreter),
        ("filter_env", &flags.filter_env),
        ("interpreter_args", &flags.interpreter_args),
        ("cwd", &flags.cwd),
        ("out_file", &flags.output),
        ("error_file", &flags.error),
        ("log_file", &flags.log),
        ("log_date_format", &flags.log_date_format),
        ("log_type", &flags.log_type),
        ("pid_file", &flags.pid),
        ("restart_delay", &flags.restart_delay),
        ("exp_backoff_restart_delay", &flags.exp_backoff_restart_delay),
        ("max_restarts", &flags.max_restarts),
        ("min_uptime", &flags.min_uptime),
        ("retry_after", &flags.retry_after),
        ("max_memory_restart", &flags.max_memory_restart),
        ("listen_timeout", &flags.listen_timeout),
        ("kill_timeout", &flags.kill_timeout),
        ("stop_signal", &flags.stop_signal),
    ];
    let switches = [
        ("time", "true", flags.time),
        ("merge_logs", "true", flags.merge_logs),
        ("disable_logs", "true", flags.disable_logs),
        ("autorestart", "false", flags.no_autorestart),
        ("treekill", "false", flags.no_treekill),
        ("wait_ready", "true", flags.wait_ready),
        ("shutdown_with_message", "true", flags.shutdown_with_message),
    ];
    let mut declared: Vec<(&'static str, String)> =
        valued.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect();
    declared.extend(on(&switches));
    if !flags.stop_exit_codes.is_empty() {
        declared.push(("stop_exit_codes", flags.stop_exit_codes.join(",")));
    }
    declared
}

fn on(switches: &[(&'static str, &str, bool)]) -> impl Iterator<Item = (&'static str, String)> {
    switches.iter().filter(|(_, _, is_on)| *is_on).map(|(key, value, _)| (*key, (*value).to_owned()))
}

/// The daemon deletes what a declaration leaves out; `--only` leaves out what is still in the file.
pub(super) fn refuse_partial_prune(apply: &ApplyArgs, file: &FileArgs) -> Result<(), Failure> {
    if apply.prune && !file.only.is_empty() {
        return Err(usage("`--prune` goes by the whole file, `--only` by a part of it").hint("give one of them"));
    }
    Ok(())
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(ExitCode::Usage, message)
}
