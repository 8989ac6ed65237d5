//! JSON as Node's `util.inspect` prints it, for `prettylist`: scripts of PM2's users look for its lines.
//!
//! As far as data goes: single quotes, bare keys, objects of up to three levels on one line where they fit.

use serde_json::Value;

/// The longest line of a short object (util.inspect: `breakLength`).
const BREAK: usize = 128;

/// How many inner levels a one-line object may have (util.inspect: `compact`).
const COMPACT: usize = 3;

/// The value as Node prints it.
pub(in crate::cli) fn inspect(value: &Value) -> String {
    let mut printer = Printer { deepest: 0 };
    printer.value(value, 0, 0)
}

struct Printer {
    /// The level of the object that was begun last.
    deepest: usize,
}

impl Printer {
    fn value(&mut self, value: &Value, level: usize, indent: usize) -> String {
        match value {
            Value::Null => "null".to_owned(),
            Value::Bool(is) => is.to_string(),
            // Node has one kind of number: what is whole is printed whole.
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(number) => number.to_string(),
                None => number.to_string(),
            },
            Value::String(text) => quoted(text),
            Value::Array(items) if items.is_empty() => "[]".to_owned(),
            Value::Object(map) if map.is_empty() => "{}".to_owned(),
            Value::Array(items) => {
                self.deepest = level;
                let parts = items.iter().map(|item| self.value(item, level + 1, indent + 2)).collect();
                self.join(parts, ('[', ']'), level, indent)
            }
            Value::Object(map) => {
                self.deepest = level;
                let part = |(name, item): (&String, &Value)| {
                    format!("{}: {}", key(name), self.value(item, level + 1, indent + 2))
                };
                let parts = map.iter().map(part).collect();
                self.join(parts, ('{', '}'), level, indent)
            }
        }
    }

    fn join(&self, parts: Vec<String>, (open, close): (char, char), level: usize, indent: usize) -> String {
        let length = parts.iter().map(|part| part.chars().count()).sum::<usize>() + parts.len();
        let fits = length + parts.len() + indent + 11 <= BREAK && !parts.iter().any(|part| part.contains('\n'));
        if self.deepest - level < COMPACT && fits {
            return format!("{open} {} {close}", parts.join(", "));
        }
        let blanks = " ".repeat(indent);
        format!("{open}\n{blanks}  {}\n{blanks}{close}", parts.join(&format!(",\n{blanks}  ")))
    }
}

fn key(name: &str) -> String {
    let is_bare = name
        .chars()
        .enumerate()
        .all(|(n, c)| c == '_' || c == '$' || c.is_ascii_alphabetic() || (n > 0 && c.is_ascii_digit()));
    if is_bare && !name.is_empty() { name.to_owned() } else { quoted(name) }
}

/// Single quotes, or those that need no escape.
fn quoted(text: &str) -> String {
    let quote = match () {
        () if !text.contains('\'') => '\'',
        () if !text.contains('"') => '"',
        () if !text.contains('`') && !text.contains("${") => '`',
        () => '\'',
    };
    let mut shown = String::with_capacity(text.len() + 2);
    shown.push(quote);
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            '\u{8}' => shown.push_str("\\b"),
            '\u{b}' => shown.push_str("\\v"),
            '\u{c}' => shown.push_str("\\f"),
            '\\' => shown.push_str("\\\\"),
            c if c == quote => shown.extend(['\\', c]),
            c if c.is_control() => shown.push_str(&format!("\\x{:02X}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown.push(quote);
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn short_objects_stay_on_one_line_and_long_ones_break() {
        assert_eq!(inspect(&json!([0, 1.0])), "[ 0, 1 ]");
        assert_eq!(
            inspect(&json!({"a": 1, "b-c": "x", "m": {"d": [], "e": {}}})),
            "{ a: 1, 'b-c': 'x', m: { d: [], e: {} } }"
        );
        let long = inspect(&json!([{"first": "x".repeat(80), "second": "y".repeat(80)}]));
        assert_eq!(
            long,
            format!("[\n  {{\n    first: '{}',\n    second: '{}'\n  }}\n]", "x".repeat(80), "y".repeat(80))
        );
    }

    #[test]
    fn four_levels_break_the_outermost() {
        assert_eq!(inspect(&json!({"a": {"b": {"c": {"d": 1}}}})), "{\n  a: { b: { c: { d: 1 } } }\n}");
    }

    #[test]
    fn strings_choose_quotes_that_need_no_escape() {
        assert_eq!(inspect(&json!("it's")), "\"it's\"");
        assert_eq!(inspect(&json!("it's \"\n")), "`it's \"\\n`");
        assert_eq!(inspect(&json!("\u{1b}[0m\\")), "'\\x1B[0m\\\\'");
    }
}
