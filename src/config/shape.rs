//! The shape of a file: where in the tree the apps are, and where the defaults for all of them.

use crate::config::keys::{self, Lookup};
use crate::config::node::{Key, Node, Span, Table, Value};
use crate::config::problem::{Problem, Severity, shown, similar};
use crate::config::settings::Author;

/// One app as it was written.
pub(crate) struct RawApp<'a> {
    pub(crate) table: &'a Table,
    /// Its beginning.
    pub(crate) head: Span,
    /// Its key, where the file is a table of apps.
    pub(crate) key: Option<&'a str>,
}

/// What a file holds.
pub(crate) struct Shape<'a> {
    pub(crate) apps: Vec<RawApp<'a>>,
    pub(crate) defaults: Option<&'a Table>,
}

/// Which file it is, as far as its shape depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// An ecosystem file.
    Ecosystem,
    /// `package.json`, whose key `pm2` holds one.
    Package,
}

const HELP: &str = "an app is a table with at least `script`";

/// Finds the apps.
pub(crate) fn shape<'a>(root: &'a Node, author: Author, role: Role, problems: &mut Vec<Problem>) -> Shape<'a> {
    let mut shape = Shape { apps: Vec::new(), defaults: None };
    let root = match role {
        Role::Ecosystem => root,
        Role::Package => match entry(root, "pm2") {
            Some((_, node)) => node,
            None => {
                let problem = Problem::error(None, "the file has no key `pm2` with apps");
                problems.push(problem.help("`rsx start npm -- start` runs its script `start`"));
                return shape;
            }
        },
    };
    match &root.value {
        Value::Table(table) if table.iter().any(|(key, _)| matches!(key.name.as_str(), "apps" | "defaults")) => {
            shape.read_root(table, author, problems);
        }
        Value::Table(table) if is_app(table) && author != Author::Toml => shape.push(root, None, problems),
        Value::Table(table) if is_app(table) => {
            let span = table.first().map(|(key, _)| key.span);
            let problem = Problem::error(span, "an app outside of `[[apps]]`").label("belongs to no app");
            problems.push(problem.help("write `[[apps]]` on a line of its own before it"));
        }
        Value::Table(table) => {
            shape.read_root(table, author, problems);
            if !table.iter().any(|(key, _)| similar(&key.name, ["apps"]).is_some()) {
                problems.push(no_apps(author));
            }
        }
        Value::List(items) if author != Author::Toml => {
            items.iter().for_each(|item| shape.push(item, None, problems));
            if items.is_empty() {
                problems.push(no_apps(author));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
            let problem = Problem::error(root.span, format!("the file is {}, not a list of apps", root.kind()));
            problems.push(problem.label("expected `apps`").help(HELP));
        }
    }
    shape
}

impl<'a> Shape<'a> {
    fn read_root(&mut self, table: &'a Table, author: Author, problems: &mut Vec<Problem>) {
        for (key, node) in table {
            match key.name.as_str() {
                "apps" => self.read_apps(node, author, problems),
                "defaults" => match &node.value {
                    Value::Table(table) => self.defaults = Some(table),
                    Value::Null => {}
                    Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                        let problem = Problem::error(node.span, format!("`defaults` cannot be {}", node.kind()));
                        problems
                            .push(problem.label("not a table").help("it is a table of keys that hold for every app"));
                    }
                },
                "$schema" => {}
                "deploy" => problems.push(
                    Problem::warning(key.span, "`deploy` has no effect in rsx")
                        .label("not needed")
                        .help("copy the files with the tool of your choice, then `rsx restart FILE`"),
                ),
                "static" => problems.push(
                    Problem::warning(key.span, "`static` has no effect in rsx")
                        .label("not needed")
                        .help("an app with `script = \"rsx:serve\"` serves static files"),
                ),
                _ => problems.push(unknown(key, author)),
            }
        }
    }

    fn read_apps(&mut self, node: &'a Node, author: Author, problems: &mut Vec<Problem>) {
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| self.push(item, None, problems)),
            Value::Table(table) if is_app(table) => self.push(node, None, problems),
            Value::Table(table) => {
                for (key, app) in table {
                    self.push(app, Some(key), problems);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
                let problem = Problem::error(node.span, format!("`apps` cannot be {}", node.kind()));
                problems.push(problem.label("not a list").help(HELP));
                return;
            }
        }
        let is_empty = match &node.value {
            Value::List(items) => items.is_empty(),
            Value::Table(table) => table.is_empty(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => false,
        };
        if is_empty {
            problems.push(Problem { span: Some(node.span), ..no_apps(author) }.label("empty"));
        }
    }

    fn push(&mut self, node: &'a Node, key: Option<&'a Key>, problems: &mut Vec<Problem>) {
        match &node.value {
            Value::Table(table) => self.apps.push(RawApp {
                table,
                head: key.map_or(node.span, |key| key.span),
                key: key.map(|key| key.name.as_str()),
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                let problem = Problem::error(node.span, format!("an app cannot be {}", node.kind()));
                problems.push(problem.label("not a table").help(HELP));
            }
        }
    }
}

/// Whether a table is one app rather than a table of apps: it holds a key of apps with something other than a table.
fn is_app(table: &Table) -> bool {
    table.iter().any(|(key, node)| node.table().is_none() && matches!(keys::lookup(&key.name), Lookup::Key(_)))
}

fn entry<'a>(node: &'a Node, name: &str) -> Option<&'a (Key, Node)> {
    node.table()?.iter().find(|(key, _)| key.name == name)
}

fn no_apps(author: Author) -> Problem {
    let help = match author {
        Author::Toml => "begin one with `[[apps]]` and `script = \"…\"`",
        Author::Shared | Author::Flags => HELP,
    };
    Problem::error(None, "the file declares no app").help(help)
}

fn unknown(key: &Key, author: Author) -> Problem {
    let meant = similar(&key.name, ["apps", "defaults"]);
    let severity = match (author, meant) {
        (Author::Shared, None) => Severity::Warning,
        // A misspelled `apps` would leave a file without any.
        (Author::Shared, Some(_)) | (Author::Toml | Author::Flags, _) => Severity::Error,
    };
    let help = match meant {
        _ if key.name == "daemon" => "what a daemon is told stands in `config.toml` in its RSX_HOME".to_owned(),
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "a file holds `apps` and `defaults`".to_owned(),
    };
    let problem = Problem::error(key.span, format!("unknown key `{}`", shown(&key.name)));
    Problem { severity, ..problem }.label("unknown key").help(help)
}
