//! Apps given on the command line: the same keys and the same rules as in a file, cited as flags.

use std::path::{Path, PathBuf};

use crate::config::keys::{self, Kind};
use crate::config::load::SystemProbe;
use crate::config::node::{Key, Node, Span, Table, Value};
use crate::config::problem::{COMMAND_LINE, Problem, Report, Severity};
use crate::config::resolve::{self, Source};
use crate::config::settings::{Author, Settings};
use crate::config::{Options, Probe};
use crate::spec::AppSpec;

/// `rsx start SCRIPT --flags -- ARGS`.
#[derive(Clone, Copy, Debug)]
pub struct CommandLine<'a> {
    /// Keys as in a file, with their values as text: `("kill_timeout", "3s")`, `("autorestart", "false")`.
    pub flags: &'a [(&'a str, &'a str)],
    /// A path, a program on PATH, a command line, or `rsx:serve`.
    pub script: &'a str,
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
    let mut text = String::from("rsx start ");
    let mut table = Table::new();
    let mut put = |text: &mut String, name: &str, shown: &str, value: Value| {
        let start = text.len();
        text.push_str(shown);
        let span = Span::new(start, text.len());
        table.push((Key { name: name.to_owned(), span }, Node::new(span, value)));
    };
    let word = |value: &str| shell_words::quote(value).replace(['\n', '\0'], " ");
    put(&mut text, "script", &word(line.script), Value::Text(line.script.to_owned()));
    for (name, value) in line.flags {
        let flag = name.replace('_', "-");
        let is_switch = keys::find(name).is_some_and(|key| key.kind == Kind::Bool);
        match *value {
            "true" if is_switch => put(&mut text, name, &format!(" --{flag}"), Value::Bool(true)),
            "false" if is_switch => put(&mut text, name, &format!(" --no-{flag}"), Value::Bool(false)),
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
