//! From `script` and its companions to the [`Program`] that a run executes.

use std::path::{Path, PathBuf};

use crate::config::Probe;
use crate::config::node::Span;
use crate::config::problem::{NOT_YET, Problem, shown};
use crate::config::settings::{Author, Settings};
use crate::spec::Program;

/// Paths in the terms of one app.
pub(crate) struct Places<'a> {
    /// What relative paths are relative to: the file's folder, or where the verb was typed.
    pub(crate) base: &'a Path,
    /// `cwd`, where it is written.
    pub(crate) cwd: Option<&'a Path>,
    /// What `~` stands for.
    pub(crate) home: Option<&'a Path>,
    /// PATH, where the app's own environment sets it.
    pub(crate) path: Option<&'a str>,
}

/// What was found behind `script`.
pub(crate) struct Found {
    pub(crate) program: Program,
    /// What the app is called unless it has a name.
    pub(crate) stem: String,
    /// The folder of the script, where it is a path.
    pub(crate) folder: Option<PathBuf>,
}

/// Decides what is executed. What cannot be found stays a path, so that starting it fails by name and stops no other
/// app; the finding is a warning in a file, an error on the command line, where nothing else depends on it.
pub(crate) fn program(
    settings: &Settings,
    places: &Places<'_>,
    probe: &dyn Probe,
    author: Author,
    problems: &mut Vec<Problem>,
) -> Option<Found> {
    let setting = settings.get("script")?;
    let text = settings.text("script")?;
    let args = settings.list("args").unwrap_or_default().to_vec();
    if let Some(word) = text.strip_prefix("rsx:") {
        return builtin(word, setting.span, args, problems);
    }
    let interpreter = interpreter(settings, places, problems)?;
    let spaced = text.contains(char::is_whitespace);
    let path = match find_file(text, places, probe) {
        Some(path) => path,
        None if spaced => return Some(command_line(settings, text, &args, problems)),
        None => {
            if let Some(found) = on_path(settings, text, &interpreter, &args, places, probe) {
                return Some(found);
            }
            let path = absolute(text, places.cwd.unwrap_or(places.base), places.home);
            problems.push(not_found(text, &path, setting.span, probe, author));
            path
        }
    };
    let stem = stem(&path);
    let folder = path.parent().map(Path::to_owned);
    let program = match interpreter {
        Interpreter::Named(interpreter) => script(settings, path, interpreter, args),
        Interpreter::None => Program::Binary { path, args },
        Interpreter::ByExtension => match by_extension(&path, probe, places.path) {
            Some(interpreter) => script(settings, path, interpreter.to_owned(), args),
            None => Program::Binary { path, args },
        },
    };
    if matches!(program, Program::Binary { .. }) {
        warn_unused(settings, &["interpreter_args"], "the program runs without an interpreter", problems);
    }
    Some(Found { program, stem, folder })
}

/// A path as the user wrote it, made absolute: `~` expanded, `.` dropped, `..` kept (it means something behind a link).
pub(crate) fn absolute(text: &str, base: &Path, home: Option<&Path>) -> PathBuf {
    let path = match (text.strip_prefix('~'), home) {
        (Some(""), Some(home)) => home.to_owned(),
        (Some(rest), Some(home)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => base.join(text),
    };
    path.components().collect()
}

enum Interpreter {
    ByExtension,
    None,
    Named(String),
}

/// Fails where the named interpreter cannot be meant.
fn interpreter(settings: &Settings, places: &Places<'_>, problems: &mut Vec<Problem>) -> Option<Interpreter> {
    let Some(text) = settings.text("interpreter") else { return Some(Interpreter::ByExtension) };
    if text == "none" {
        return Some(Interpreter::None);
    }
    if text.starts_with("node@") {
        let span = settings.get("interpreter").map(|setting| setting.span);
        let message = format!("installing an interpreter (`{}`) {NOT_YET}", shown(text));
        problems.push(Problem::error(span, message).label("cannot be used yet").help("name the path of that `node`"));
        return None;
    }
    let named = if text.contains('/') || text.starts_with('~') {
        absolute(text, places.base, places.home).to_string_lossy().into_owned()
    } else {
        text.to_owned()
    };
    Some(Interpreter::Named(named))
}

fn builtin(word: &str, span: Span, args: Vec<String>, problems: &mut Vec<Problem>) -> Option<Found> {
    if word == "serve" {
        return Some(Found { program: Program::Serve { args }, stem: "serve".into(), folder: None });
    }
    let problem = Problem::error(span, format!("rsx has no built-in program `{}`", shown(word)));
    problems.push(problem.label("not built in").help("there is `rsx:serve`, a server of static files"));
    None
}

fn command_line(settings: &Settings, text: &str, args: &[String], problems: &mut Vec<Problem>) -> Found {
    warn_unused(settings, &["interpreter", "interpreter_args"], "a command line is run by a shell", problems);
    let first = shell_words::split(text).ok().and_then(|words| words.into_iter().next());
    let first = first.or_else(|| text.split_whitespace().next().map(str::to_owned)).unwrap_or_default();
    let line = if args.is_empty() { text.to_owned() } else { format!("{text} {}", shell_words::join(args)) };
    Found { program: Program::CommandLine { line }, stem: stem(Path::new(&first)), folder: None }
}

fn on_path(
    settings: &Settings,
    text: &str,
    interpreter: &Interpreter,
    args: &[String],
    places: &Places<'_>,
    probe: &dyn Probe,
) -> Option<Found> {
    if text.contains('/') {
        return None;
    }
    let path = probe.on_path(text, places.path)?;
    let args = args.to_vec();
    let program = match interpreter {
        Interpreter::Named(interpreter) => script(settings, path, interpreter.clone(), args),
        // Kept as a bare name: which file it is may change until the next start.
        Interpreter::ByExtension | Interpreter::None => Program::Binary { path: text.into(), args },
    };
    Some(Found { program, stem: stem(Path::new(text)), folder: None })
}

fn find_file(text: &str, places: &Places<'_>, probe: &dyn Probe) -> Option<PathBuf> {
    let bases = places.cwd.into_iter().chain([places.base]);
    bases.map(|base| absolute(text, base, places.home)).find(|path| probe.is_file(path))
}

fn script(settings: &Settings, script: PathBuf, interpreter: String, args: Vec<String>) -> Program {
    let interpreter_args = settings.list("interpreter_args").unwrap_or_default().to_vec();
    Program::Script { script, interpreter, interpreter_args, args }
}

fn by_extension(path: &Path, probe: &dyn Probe, search: Option<&str>) -> Option<&'static str> {
    Some(match path.extension()?.to_str()? {
        // Recent Node runs TypeScript, too; bun is what PM2 users expect where both are there.
        "ts" | "tsx" if probe.on_path("bun", search).is_none() && probe.on_path("node", search).is_some() => "node",
        "ts" | "tsx" => "bun",
        extension => return usual_interpreter(extension),
    })
}

/// What runs scripts of this extension on every machine.
pub(crate) fn usual_interpreter(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "js" | "mjs" | "cjs" => "node",
        "py" => "python3",
        "rb" => "ruby",
        "php" => "php",
        "pl" => "perl",
        "sh" => "bash",
        _ => return None,
    })
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn not_found(text: &str, path: &Path, span: Span, probe: &dyn Probe, author: Author) -> Problem {
    let (message, label) = if probe.is_folder(path) {
        (format!("`{}` is a folder, not a program", shown(text)), "a folder")
    } else if text.contains('/') {
        (format!("there is no file `{}`", shown(&path.display().to_string())), "not found")
    } else {
        (format!("`{}` is neither a file nor a program on PATH", shown(text)), "not found")
    };
    match author {
        Author::Flags => Problem::error(span, message).label(label),
        Author::Toml | Author::Shared => {
            let help =
                format!("starting it will fail unless `{}` is there by then", shown(&path.display().to_string()));
            Problem::warning(span, message).label(label).help(help)
        }
    }
}

/// A key that is written and has no effect is never passed over in silence.
pub(crate) fn warn_unused(settings: &Settings, names: &[&str], why: &str, problems: &mut Vec<Problem>) {
    for setting in names.iter().filter_map(|name| settings.get(name)) {
        let problem = Problem::warning(setting.span, format!("`{}` has no effect here", setting.written));
        problems.push(problem.label("not used").help(why));
    }
}
