//! Apps given on the command line: the same keys and the same rules as in a file, cited as flags.

use std::path::{Path, PathBuf};

use crate::config::keys::{self, Kind};
use crate::config::load::SystemProbe;
use crate::config::node::{Key, Node, Span, Table, Value};
use crate::config::problem::{COMMAND_LINE, Problem, Report, Severity};
use crate::config::program::absolute;
use crate::config::resolve::{self, Source};
use crate::config::settings::{Author, Settings};
use crate::config::{Options, Probe};
use crate::spec::{AppSpec, Changes};

/// `rsx start SCRIPT --flags -- ARGS`, or `rsx restart TARGET --flags -- ARGS`.
#[derive(Clone, Copy, Debug)]
pub struct CommandLine<'a> {
    /// Keys as in a file, with their values as text: `("kill_timeout", "3s")`, `("autorestart", "false")`.
    pub flags: &'a [(&'a str, &'a str)],
    /// How it begins, to be cited: `rsx start`.
    pub verb: &'a str,
    /// A path, a program on PATH, a command line, or `rsx:serve`; none where apps that exist are changed.
    pub script: Option<&'a str>,
    /// What stands behind `--`.
    pub args: &'a [String],
    /// Where it was typed, absolute.
    pub cwd: &'a Path,
    /// Home folder and cores; the rest is for files.
    pub options: &'a Options,
}

/// Builds the app of a command line, with warnings.
///
/// # Errors
///
/// Everything that is wrong with it; a script that cannot be found included.
pub fn app_from_flags(line: &CommandLine<'_>) -> Result<(AppSpec, Report), Report> {
    app(line, &SystemProbe)
}

/// Reads the flags and arguments that change apps which exist, with warnings. `null` stands for the default of a key.
///
/// # Errors
///
/// Everything that is wrong with them.
pub fn changes_from_flags(line: &CommandLine<'_>) -> Result<(Changes, Report), Report> {
    let (spec, report) = app(line, &SystemProbe)?;
    let of = |key: &str| line.flags.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    let interpreter = of("interpreter").map(|name| {
        let is_path = name.contains('/') || name.starts_with('~');
        let path = || absolute(name, line.cwd, line.options.home_dir.as_deref()).display().to_string();
        if is_path { path() } else { name.to_owned() }
    });
    let null = |value: &str| value == "null";
    let interpreter_args = of("interpreter_args").map(|args| match null(args) {
        true => Vec::new(),
        // It was checked together with the others.
        false => shell_words::split(args).unwrap_or_default(),
    });
    let args = (!line.args.is_empty()).then(|| line.args.to_vec());
    let keys = line.flags.iter().map(|(key, _)| (*key).to_owned());
    let keys = keys.filter(|key| !["interpreter", "interpreter_args"].contains(&key.as_str())).collect();
    Ok((Changes { keys, from: spec, interpreter, interpreter_args, args }, report))
}

pub(crate) fn app(line: &CommandLine<'_>, probe: &dyn Probe) -> Result<(AppSpec, Report), Report> {
    let (text, table) = cite(line);
    let mut problems = Vec::new();
    for (key, node) in &table {
        let mut has_nul = false;
        node.each_text(&mut |text, _| has_nul |= text.contains('\0'));
        if has_nul {
            problems.push(Problem::error(node.span, format!("`{}` contains a NUL character", Author::Flags.name(key))));
        }
    }
    if line.cwd.to_str().is_none() {
        problems.push(Problem::error(None, "the current folder's name is not UTF-8"));
    }
    let settings = Settings::read(&table, Author::Flags, &mut problems);
    // Where `--cwd` moves the app, its script is still named from where the user stands, or from there.
    let source = Source { author: Author::Flags, base: line.cwd, file: None, options: line.options, probe };
    let resolved = resolve::app(&settings, Span::new(0, text.len()), None, &source, &mut problems);
    let report = Report::new(&PathBuf::from(COMMAND_LINE), &text, problems);
    match resolved {
        Some(resolved) if report.count(Severity::Error) == 0 => Ok((resolved.spec, report)),
        _ => Err(report),
    }
}

/// The command line as a text to cite, and its values with their places in it.
fn cite(line: &CommandLine<'_>) -> (String, Table) {
    let mut text = line.verb.to_owned();
    let mut table = Table::new();
    if line.script.is_none() {
        // Any that needs nothing: what it runs is not asked for.
        let span = Span::new(0, text.len());
        let script = Node::new(span, Value::Text("rsx:serve".to_owned()));
        table.push((Key { name: "script".to_owned(), span }, script));
    }
    let mut put = |text: &mut String, name: &str, shown: &str, value: Value| {
        let start = text.len();
        text.push_str(shown);
        let span = Span::new(start, text.len());
        table.push((Key { name: name.to_owned(), span }, Node::new(span, value)));
    };
    let word = |value: &str| shell_words::quote(value).replace(['\n', '\0'], " ");
    if let Some(script) = line.script {
        text.push(' ');
        put(&mut text, "script", &word(script), Value::Text(script.to_owned()));
    }
    for (name, value) in line.flags {
        let flag = name.replace('_', "-");
        let is_switch = keys::find(name).is_some_and(|key| key.kind == Kind::Bool);
        match *value {
            "true" if is_switch => put(&mut text, name, &format!(" --{flag}"), Value::Bool(true)),
            "false" if is_switch => put(&mut text, name, &format!(" --no-{flag}"), Value::Bool(false)),
            "null" if line.script.is_none() && !["name", "interpreter"].contains(name) => {
                put(&mut text, name, &format!(" --{flag}=null"), Value::Null)
            }
            "" => put(&mut text, name, &format!(" --{flag} ''"), Value::Text(String::new())),
            value => {
                text.push_str(&format!(" --{flag} "));
                put(&mut text, name, &word(value), Value::Text(value.to_owned()));
            }
        }
    }
    if !line.args.is_empty() {
        text.push_str(" -- ");
        let items = line.args.iter().map(|arg| Node::new(Span::new(0, 0), Value::Text(arg.clone()))).collect();
        let shown: Vec<String> = line.args.iter().map(|arg| word(arg)).collect();
        put(&mut text, "args", &shown.join(" "), Value::List(items));
    }
    (text, table)
}
