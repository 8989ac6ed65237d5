//! JSON with comments, trailing commas and bare keys: what PM2's `.json` files contain, without evaluating them.

use jsonc_parser::ast;
use jsonc_parser::common::{Range, Ranged};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use crate::config::node::{Key, Node, Number, Span, Value};
use crate::config::problem::Problem;
use crate::config::read::{MAX_DEPTH, table, too_deep};

pub(super) fn read(text: &str) -> Result<Node, Vec<Problem>> {
    let options = ParseOptions {
        allow_missing_commas: false,
        allow_hexadecimal_numbers: false,
        allow_non_finite_numbers: false,
        ..ParseOptions::default()
    };
    let parsed = parse_to_ast(text, &CollectOptions::default(), &options).map_err(|error| {
        let message = error.kind().to_string();
        let mut letters = message.chars();
        let message = letters.next().map_or_else(String::new, |c| c.to_lowercase().chain(letters).collect());
        vec![Problem::error(span(error.range()), format!("not valid JSON: {message}")).label("here")]
    })?;
    let Some(value) = parsed.value else {
        return Err(vec![Problem::error(None, "the file contains comments only")]);
    };
    let mut problems = Vec::new();
    let node = node(&value, 0, &mut problems);
    if problems.is_empty() { Ok(node) } else { Err(problems) }
}

fn span(range: Range) -> Span {
    Span::new(range.start, range.end)
}

fn node(value: &ast::Value<'_>, depth: usize, problems: &mut Vec<Problem>) -> Node {
    let span = span(value.range());
    if depth > MAX_DEPTH {
        // Once is enough: everything below this place is too deep as well.
        problems.push(too_deep(span));
        return Node::new(span, Value::Null);
    }
    let value = match value {
        ast::Value::StringLit(text) => Value::Text(text.value.clone().into_owned()),
        ast::Value::NumberLit(number) => {
            let decimal = number.value.strip_prefix('+').unwrap_or(number.value);
            Number::new(decimal, decimal.parse().ok())
                .map_or_else(|| Value::Text(number.value.to_owned()), Value::Number)
        }
        ast::Value::BooleanLit(boolean) => Value::Bool(boolean.value),
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::Array(array) => {
            Value::List(array.elements.iter().map(|item| node(item, depth + 1, problems)).collect())
        }
        ast::Value::Object(object) => {
            let mut entries = Vec::with_capacity(object.properties.len());
            for property in &object.properties {
                let key = Key { name: name(&property.name), span: self::span(property.name.range()) };
                entries.push((key, node(&property.value, depth + 1, problems)));
            }
            return table(span, entries, problems);
        }
    };
    Node::new(span, value)
}

fn name(name: &ast::ObjectPropName<'_>) -> String {
    match name {
        ast::ObjectPropName::String(text) => text.value.clone().into_owned(),
        ast::ObjectPropName::Word(word) => word.value.to_owned(),
    }
}
