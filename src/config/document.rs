//! A whole file: text → shape → settings → specs, with everything that concerns several apps at once.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::node::{Node, Span};
use crate::config::problem::{Problem, Report, Severity, shown, similar};
use crate::config::read::{nuls, read};
use crate::config::resolve::{self, Resolved, Source};
use crate::config::settings::{Author, Settings};
use crate::config::shape::{Role, shape};
use crate::config::{Format, Loaded, Options, Probe};

/// Which text it is.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// The file, absolute; where there is none, what is cited in its place.
    pub path: &'a Path,
    /// The syntax.
    pub format: Format,
    /// What relative paths are relative to, absolute.
    pub folder: &'a Path,
    /// Whether the file owns the apps; else the folders of their scripts do.
    pub owner: Owner,
}

/// Who owns the apps of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The file.
    File,
    /// The folder of each script: there is no file.
    Folder,
}

/// Reads a text into apps.
///
/// # Errors
///
/// A report with at least one error, and everything else that is wrong.
pub fn parse(text: &str, document: &Document<'_>, options: &Options, probe: &dyn Probe) -> Result<Loaded, Report> {
    // A byte order mark is no part of any value; the places are those of the text behind it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let report = |problems| Report::new(document.path, text, problems);
    let root = read(text, document.format).map_err(report)?;
    let nuls = nuls(&root);
    let mut problems = Vec::new();
    let (resolved, fine) = apps(&root, document, options, probe, &mut problems);
    // What else is said about such a value follows from the NUL in it.
    problems.retain(|problem| problem.span.is_none() || nuls.iter().all(|nul| nul.span != problem.span));
    problems.extend(nuls);
    if document.format == Format::Evaluated {
        for problem in &mut problems {
            problem.path = problem.span.and_then(|span| root.path_to(span));
        }
    }
    let names = resolved.iter().map(|app| app.spec.name.clone()).collect();
    let wanted = |app: &Resolved| options.only.is_empty() || options.only.contains(&app.spec.name);
    let apps = resolved.into_iter().filter(wanted).map(|app| app.spec).collect();
    let warnings = report(problems);
    if warnings.count(Severity::Error) > 0 {
        // Whoever chose by name knows the others.
        return Err(if options.only.is_empty() { warnings.with_fine(fine) } else { warnings });
    }
    Ok(Loaded { apps, names, warnings, path: document.path.to_owned() })
}

/// The apps, and the names of those that nothing is wrong with.
fn apps(
    root: &Node,
    document: &Document<'_>,
    options: &Options,
    probe: &dyn Probe,
    problems: &mut Vec<Problem>,
) -> (Vec<Resolved>, Vec<String>) {
    let author = match document.format {
        Format::Toml => Author::Toml,
        Format::Json | Format::Yaml | Format::Evaluated => Author::Shared,
    };
    let role = match document.path.file_name().and_then(|name| name.to_str()) {
        Some("package.json") => Role::Package,
        _ => Role::Ecosystem,
    };
    let file = match document.owner {
        Owner::File => Some(document.path),
        Owner::Folder => None,
    };
    let source = Source { author, base: document.folder, file, options, probe };
    let shape = shape(root, author, role, problems);
    let defaults = shape.defaults.map(|table| Settings::read(table, author, problems)).unwrap_or_default();
    let (mut all, mut resolved, mut names) = (Vec::new(), Vec::new(), Vec::new());
    let (mut fine, mut wrong) = (Vec::new(), Vec::new());
    for app in &shape.apps {
        let mut own = Vec::new();
        let settings = Settings::read(app.table, author, &mut own).over(&defaults);
        let found = resolve::app(&settings, app.head, app.key, &source, &mut own);
        let name = found.as_ref().map(|app| app.spec.name.as_str()).or(settings.text("name")).or(app.key);
        let name = name.map(str::to_owned);
        let count = own.iter().filter(|problem| problem.severity == Severity::Error).count();
        fine.extend(name.clone().filter(|_| count == 0));
        if let Some(name) = name.as_ref().filter(|name| !options.only.is_empty() && !options.only.contains(name)) {
            // Not asked for: what is wrong with it is counted and stops nothing.
            wrong.extend((count > 0).then(|| (name.clone(), count)));
            own.clear();
        }
        problems.extend(own);
        names.extend(name);
        resolved.extend(found);
        all.push(settings);
    }
    problems.extend(left_out(&wrong));
    if let Some(name) = &options.env_name {
        check_env_name(name, &all, problems);
    }
    check_names(&resolved, problems);
    check_pid_files(&resolved, problems);
    // With an app missing from the list, "unknown" could be wrong.
    if names.len() == all.len() {
        check_only(&options.only, &names, problems);
    }
    (resolved, fine)
}

/// One word about all apps that were not asked for and could not be started: their problems are for `rsx check`.
fn left_out(wrong: &[(String, usize)]) -> Option<Problem> {
    let count: usize = wrong.iter().map(|(_, count)| count).sum();
    let names = listed(wrong.iter().map(|(name, _)| name.as_str()).collect());
    let (problems, them) = if count == 1 { ("a problem", "it") } else { ("problems", "them") };
    let message = format!("left out, and with {problems}: {names}");
    (count > 0).then(|| Problem::warning(None, message).help(format!("`rsx check FILE` shows {them}")))
}

/// The name that means `env` alone, for an app that remembers another one.
const PLAIN: &str = "default";

fn check_env_name(name: &str, all: &[Settings], problems: &mut Vec<Problem>) {
    let known: Vec<&str> = all.iter().flat_map(Settings::env_names).collect();
    if all.is_empty() || known.contains(&name) || name == PLAIN {
        return;
    }
    let help = match (similar(name, known.iter().copied()), known.is_empty()) {
        (Some(meant), _) => format!("did you mean `{meant}`?"),
        (None, true) => format!("no app has a table of this kind; add `env_{}`", shown(name)),
        (None, false) => format!("there is {}", listed(known)),
    };
    problems.push(Problem::error(None, format!("no app has `env_{}`", shown(name))).help(help));
}

fn check_only(only: &[String], names: &[String], problems: &mut Vec<Problem>) {
    let names = || names.iter().map(String::as_str);
    for name in only {
        if !names().any(|known| known == name) {
            let help = match similar(name, names()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there is {}", listed(names().collect())),
            };
            problems.push(Problem::error(None, format!("no app of this file is named `{}`", shown(name))).help(help));
        }
    }
}

fn check_names(resolved: &[Resolved], problems: &mut Vec<Problem>) {
    let mut first: BTreeMap<(&str, &str), Span> = BTreeMap::new();
    for app in resolved {
        let key = (app.spec.namespace.as_str(), app.spec.name.as_str());
        let Some(span) = first.get(&key) else {
            first.insert(key, app.span);
            continue;
        };
        let problem = Problem::error(app.span, format!("two apps are named `{}`", shown(&app.spec.name)));
        let problem = problem.label("again here").also(*span, "first here");
        problems.push(problem.help("give one of them another `name` or `namespace`"));
    }
}

/// One file holds one number: a `pid_file` under `[defaults]` would be that of whichever app started last.
fn check_pid_files(resolved: &[Resolved], problems: &mut Vec<Problem>) {
    let mut first: BTreeMap<&Path, (&str, Span)> = BTreeMap::new();
    for app in resolved {
        let Some(path) = app.spec.pid_file.as_deref() else { continue };
        let Some((name, span)) = first.get(path) else {
            first.insert(path, (&app.spec.name, app.span));
            continue;
        };
        let message = format!("`{}` and `{}` have one `pid_file`", shown(name), shown(&app.spec.name));
        let problem = Problem::error(app.span, message).label("this one").also(*span, "and this one");
        problems.push(problem.help("give each a file of its own"));
    }
}

fn listed(mut names: Vec<&str>) -> String {
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(8);
    let names: Vec<String> = names.into_iter().take(8).map(|name| format!("`{}`", shown(name))).collect();
    let names = names.join(", ");
    if more > 0 { format!("{names} and {more} more") } else { names }
}
