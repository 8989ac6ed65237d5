//! TOML, by the `toml` crate, whose values know their places.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::config::node::{Key, Node, Number, Span, Table, Value};
use crate::config::problem::Problem;

pub(super) fn read(text: &str) -> Result<Node, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors.iter().map(problem).collect());
    }
    let span = span(&table);
    Ok(Node::new(span, Value::Table(entries(table.into_inner()))))
}

fn problem(error: &toml::de::Error) -> Problem {
    let span = error.span().map(|range| Span::new(range.start, range.end));
    Problem::error(span, format!("not valid TOML: {}", error.message())).label("here")
}

fn span<T>(spanned: &Spanned<T>) -> Span {
    let range = spanned.span();
    Span::new(range.start, range.end)
}

/// The parser bounds the nesting (80 levels), so this recursion is bounded, too.
fn node(value: Spanned<DeValue<'_>>) -> Node {
    let span = span(&value);
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(integer) => {
            let parsed = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
            let text = match (integer.radix(), parsed) {
                (10, _) | (_, None) => integer.as_str().to_owned(),
                (_, Some(value)) => value.to_string(),
            };
            number(&text, parsed)
        }
        DeValue::Float(float) => number(float.as_str(), None),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(datetime) => Value::Text(datetime.to_string()),
        DeValue::Array(items) => Value::List(list(items)),
        DeValue::Table(table) => Value::Table(entries(table)),
    };
    Node::new(span, value)
}

fn number(text: &str, integer: Option<i64>) -> Value {
    Number::new(text, integer).map_or_else(|| Value::Text(text.to_owned()), Value::Number)
}

fn list(items: DeArray<'_>) -> Vec<Node> {
    items.into_iter().map(node).collect()
}

fn entries(table: DeTable<'_>) -> Table {
    let entry = |(name, value): (Spanned<_>, _)| {
        let span = span(&name);
        let name: std::borrow::Cow<'_, str> = name.into_inner();
        (Key { name: name.into_owned(), span }, node(value))
    };
    let mut entries: Table = table.into_iter().map(entry).collect();
    // The map is sorted by name; what a user reads goes by the order of the file.
    entries.sort_by_key(|(key, _)| key.span);
    entries
}
