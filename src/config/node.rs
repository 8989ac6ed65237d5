//! One tree for all formats: what was written, each piece with its place in the text.
//!
//! A node knows no keys and no rules. Numbers keep their spelling, because `VERSION = 1.10` in an `env` table must
//! reach the program as `1.10`.

use std::fmt::Write as _;

/// A range of bytes in the text of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last one.
    pub end: usize,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Span {
        Span { start, end: end.max(start) }
    }
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Table(Table),
}

/// A number as it was spelled, and what it means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Number {
    pub(crate) text: String,
    /// Its value, where it is whole and fits.
    pub(crate) integer: Option<i64>,
    pub(crate) float: f64,
}

/// Keys and values in the order in which they were written.
pub(crate) type Table = Vec<(Key, Node)>;

/// A key and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) span: Span,
}

impl Number {
    /// A number spelled in decimal, or in the form `value` says.
    pub(crate) fn new(text: &str, integer: Option<i64>) -> Option<Number> {
        let float = match integer {
            #[expect(clippy::cast_precision_loss, reason = "a float is asked for")]
            Some(value) => value as f64,
            None => text.parse().ok()?,
        };
        Some(Number { text: text.to_owned(), integer, float })
    }
}

impl Node {
    pub(crate) fn new(span: Span, value: Value) -> Node {
        Node { span, value }
    }

    /// What kind of thing it is, with its article: `a table`.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// The text of a scalar as a program would get it; none for lists, tables and null.
    pub(crate) fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(number) => Some(number.text.clone()),
            Value::Text(text) => Some(text.clone()),
            Value::Null | Value::List(_) | Value::Table(_) => None,
        }
    }

    /// The table, if it is one.
    pub(crate) fn table(&self) -> Option<&Table> {
        if let Value::Table(table) = &self.value { Some(table) } else { None }
    }

    /// As compact JSON.
    pub(crate) fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match &self.value {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => write_to(out, value),
            Value::Number(number) => match number.integer {
                Some(integer) => write_to(out, integer),
                None if number.float.is_finite() => write_to(out, number.float),
                None => out.push_str("null"),
            },
            Value::Text(text) => write_text(out, text),
            Value::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Value::Table(table) => {
                out.push('{');
                for (index, (key, value)) in table.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_text(out, &key.name);
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }

    /// Where in this tree a place lies: `apps[1].env.PORT`; none for the root and for places outside.
    pub(crate) fn path_to(&self, place: Span) -> Option<String> {
        let mut path = String::new();
        let mut node = self;
        let holds = |span: Span| span.start <= place.start && place.end <= span.end;
        loop {
            let below = match &node.value {
                Value::List(items) => items
                    .iter()
                    .enumerate()
                    .find(|(_, item)| holds(item.span))
                    .map(|(index, item)| (format!("[{index}]"), item)),
                Value::Table(table) => {
                    let entry = table.iter().find(|(key, item)| holds(key.span) || holds(item.span));
                    let dot = if path.is_empty() { "" } else { "." };
                    entry.map(|(key, item)| (format!("{dot}{}", crate::config::problem::shown(&key.name)), item))
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => None,
            };
            let Some((step, next)) = below else { break };
            path.push_str(&step);
            if !holds(next.span) || next.span == place {
                break;
            }
            node = next;
        }
        Some(path).filter(|path| !path.is_empty())
    }

    /// Calls `visit` for every text and key name of the tree.
    pub(crate) fn each_text(&self, visit: &mut dyn FnMut(&str, Span)) {
        match &self.value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::Text(text) => visit(text, self.span),
            Value::List(items) => items.iter().for_each(|item| item.each_text(visit)),
            Value::Table(table) => {
                for (key, value) in table {
                    visit(&key.name, key.span);
                    value.each_text(visit);
                }
            }
        }
    }
}

fn write_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).expect("a string is always JSON"));
}

fn write_to(out: &mut String, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("a string takes whatever is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(value: Value) -> Node {
        Node::new(Span::new(0, 0), value)
    }

    fn key(name: &str) -> Key {
        Key { name: name.into(), span: Span::new(0, 0) }
    }

    #[test]
    fn a_tree_is_written_as_json() {
        let number = |text: &str, integer| at(Value::Number(Number::new(text, integer).unwrap()));
        let list = at(Value::List(vec![number("0x10", Some(16)), number("1.50", None), at(Value::Null)]));
        let tree = at(Value::Table(vec![(key("a\"b"), list), (key("c"), at(Value::Text("d\n".into())))]));
        assert_eq!(tree.to_json(), r#"{"a\"b":[16,1.5,null],"c":"d\n"}"#);
    }

    #[test]
    fn a_place_has_a_path() {
        let text = r#"{"apps": [{"a": 1}, {"name": "x", "env": {"PORT": [1]}}]}"#;
        let tree = crate::config::read::read(text, crate::config::Format::Json).unwrap();
        for (word, path) in [
            ("\"x\"", Some("apps[1].name")),
            ("\"name\"", Some("apps[1].name")),
            ("[1]", Some("apps[1].env.PORT")),
            ("{\"a\": 1}", Some("apps[0]")),
            ("\"apps\"", Some("apps")),
            (text, None),
        ] {
            let at = text.find(word).unwrap();
            assert_eq!(tree.path_to(Span::new(at, at + word.len())).as_deref(), path, "{word}");
        }
    }

    #[test]
    fn a_number_keeps_its_spelling() {
        assert_eq!(at(Value::Number(Number::new("1.10", None).unwrap())).scalar().as_deref(), Some("1.10"));
        assert_eq!(Number::new("x", None), None);
    }
}
