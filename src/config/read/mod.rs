//! The readers: text of each format → one [`Node`] tree, or what is wrong with its syntax.
//!
//! They know no keys. Whatever the bytes are, the result is a tree or problems; depth and size are bounded.

mod json;
mod toml;
mod yaml;

use crate::config::Format;
use crate::config::node::{Key, Node, Span, Table, Value};
use crate::config::problem::{Problem, shown};

/// Deeper nesting than this is refused; an ecosystem file needs five levels.
const MAX_DEPTH: usize = 64;

/// Reads a text.
///
/// # Errors
///
/// The problems of its syntax, at least one.
pub(crate) fn read(text: &str, format: Format) -> Result<Node, Vec<Problem>> {
    if let Some(at) = text.find('\0') {
        let problem = Problem::error(Span::new(at, at + 1), "the file contains a NUL byte").label("here");
        return Err(vec![problem.help("it is not a text file, or it was damaged")]);
    }
    if text.trim().is_empty() {
        return Err(vec![Problem::error(None, "there is nothing in it").help("`rsx init` writes one to start from")]);
    }
    let node = match format {
        Format::Toml => toml::read(text),
        Format::Json | Format::Evaluated => json::read(text),
        Format::Yaml => yaml::read(text),
    }?;
    Ok(node)
}

/// What no process could be given; found apart from the syntax, so that the other problems are found, too.
pub(crate) fn nuls(node: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    node.each_text(&mut |text, span| {
        if text.contains('\0') {
            let problem = Problem::error(span, "a value contains a NUL character").label("here");
            problems.push(problem.help("no argument, path or variable of a process can carry it"));
        }
    });
    problems
}

fn too_deep(span: Span) -> Problem {
    Problem::error(span, format!("values are nested deeper than {MAX_DEPTH} levels")).label("here")
}

/// A table in which no key is written twice.
fn table(span: Span, entries: Table, problems: &mut Vec<Problem>) -> Node {
    let mut first: std::collections::HashMap<&str, &Key> = std::collections::HashMap::new();
    for (key, _) in &entries {
        if let Some(before) = first.insert(&key.name, key) {
            let problem = Problem::error(key.span, format!("the key `{}` is written twice", shown(&key.name)));
            problems.push(problem.label("again here").also(before.span, "first here"));
        }
    }
    Node::new(span, Value::Table(entries))
}
