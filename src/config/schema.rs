//! The JSON schema of the ecosystem file, for editors, made from the table of keys.
//!
//! A key's own name is a property, so that editors offer it; every other spelling (aliases, camelCase, keys of PM2
//! without a counterpart) is a pattern, so that editors accept it without offering each key four times.

use serde_json::{Map, Value, json};

use crate::config::keys::{self, Availability, Field, KeySpec, Kind};

/// Numbers, texts and truth values: what a list may hold.
const SCALARS: [&str; 3] = ["string", "number", "boolean"];
const SIZE: &str = r"^\s*[0-9.]+\s*(?:[bB]|[kKmMgGtT](?:[iI]?[bB])?)?\s*$";
const TIME: &str = r"^\s*[0-9.]+(?:\s*(?:ms|sec|s|min|m|h|d)(?:\s*[0-9.]+\s*(?:ms|sec|s|min|m|h|d))*)?\s*$";

/// The schema (draft 7, which editors for TOML, JSON and YAML understand).
pub fn schema() -> Value {
    let app = json!({ "$ref": "#/definitions/app" });
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "ecosystem file of rsx",
        "type": "object",
        "additionalProperties": false,
        "required": ["apps"],
        "properties": {
            "$schema": { "type": "string", "description": "The schema of this file." },
            "defaults": { "$ref": "#/definitions/app", "description": "Keys that hold for every app of this file." },
            "apps": {
                "description": "The apps: a list, or a table from names to apps.",
                // Each keyword holds for its own type, and editors cite what is wrong inside, which `anyOf` hides.
                "type": ["array", "object"],
                "items": app,
                "minItems": 1,
                "additionalProperties": app,
                "minProperties": 1,
            },
        },
        "patternProperties": {
            "^(?:deploy|static)$": { "description": "PM2's; has no effect in rsx.", "deprecated": true },
        },
        "definitions": { "app": app_schema(), "env": env_schema() },
    })
}

fn app_schema() -> Value {
    let mut properties = Map::new();
    // `env_file` is a key, not the variables of an environment called `file`.
    let mut patterns = Map::from_iter([(
        "^env_(?!file$).+$".to_owned(),
        json!({ "$ref": "#/definitions/env", "description": "Variables over those of `env`, chosen by `--env NAME`." }),
    )]);
    for key in keys::all() {
        match key.availability {
            Availability::Now | Availability::Later { .. } => {
                properties.insert(key.name.to_owned(), described(key));
                if let Some(pattern) = other_spellings(key) {
                    patterns.insert(pattern, json!({ "$ref": format!("#/definitions/app/properties/{}", key.name) }));
                }
            }
            Availability::NoCounterpart(_) => {
                patterns.insert(spellings(key), described(key));
            }
        }
    }
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "patternProperties": patterns,
    })
}

fn described(key: &KeySpec) -> Value {
    let default = format!("{} Default: {}.", key.doc, key.default);
    let (text, is_usable) = match key.availability {
        Availability::Now => (default, true),
        Availability::Later { hint: "", .. } => (format!("{default} Not in this version yet."), false),
        Availability::Later { hint, .. } => (format!("{default} Not in this version yet: {hint}."), false),
        Availability::NoCounterpart(instead) => (format!("{} No effect in rsx: {instead}.", key.doc), false),
    };
    let mut schema = of(&key.kind);
    if let Some(object) = schema.as_object_mut() {
        object.insert("description".into(), text.into());
        if !is_usable {
            object.insert("deprecated".into(), true.into());
        }
    }
    schema
}

fn env_schema() -> Value {
    json!({ "type": "object", "propertyNames": { "pattern": "^[^=]+$" } })
}

/// What fits a kind. Never stricter than the check of the file itself, but for `null`, which says nothing.
fn of(kind: &Kind) -> Value {
    match kind {
        Kind::Text | Kind::Path => json!({ "type": ["string", "number"], "pattern": r"\S" }),
        Kind::Name => json!({ "type": ["string", "number"], "maxLength": 200, "pattern": "^[^/]+$" }),
        Kind::Variable => json!({ "type": "string", "pattern": "^[^=]+$" }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Integer { min, max } => {
            json!({ "type": ["integer", "string"], "minimum": min, "maximum": max, "pattern": r"^\s*-?[0-9]+\s*$" })
        }
        Kind::Integers { min, max } => integers(*min, *max),
        Kind::ExitCodes => integers(0, 255),
        Kind::Instances => json!({
            "type": ["integer", "string"], "minimum": -10_000, "maximum": 10_000, "pattern": r"^\s*(?:max|-?[0-9]+)\s*$",
        }),
        Kind::Percent => json!({ "type": "string", "pattern": r"^\s*[0-9.]+\s*%\s*$" }),
        Kind::Size => json!({ "type": ["string", "number"], "minimum": 0, "pattern": SIZE }),
        Kind::Time => json!({ "type": ["string", "number"], "minimum": 0, "pattern": TIME }),
        Kind::List => {
            json!({ "type": ["array", "string", "number"], "items": { "type": SCALARS } })
        }
        Kind::Several(kind) => json!({ "anyOf": [of(kind), { "type": "array", "items": of(kind) }] }),
        Kind::Mode => json!({ "type": "string", "pattern": r"^\s*(?:0o?)?[0-7]{1,3}\s*$" }),
        Kind::Env => json!({ "$ref": "#/definitions/env" }),
        Kind::Date => json!({ "type": ["string", "number"], "maxLength": 200, "pattern": r"^[^\n]*\S[^\n]*$" }),
        Kind::Signal => {
            json!({ "type": ["string", "integer"], "minimum": 1, "maximum": 64, "pattern": "^[A-Za-z0-9]+$" })
        }
        Kind::Cron => json!({ "type": "string", "pattern": r"^\s*(?:@[a-z]+|\S+(?:\s+\S+){4,5})\s*$" }),
        Kind::Words(words) => {
            // A word that reads as a number may be written as one.
            let numbers = words.iter().filter_map(|word| Some(Value::from(word.parse::<i64>().ok()?)));
            let all: Vec<Value> = words.iter().map(|word| Value::from(*word)).chain(numbers).collect();
            json!({ "enum": all })
        }
        Kind::Table(fields) => table(fields),
        Kind::Map(kind) => json!({ "type": "object", "additionalProperties": of(kind) }),
        Kind::OneOf(kinds) => json!({ "anyOf": kinds.iter().map(of).collect::<Vec<_>>() }),
        Kind::Any => json!({}),
    }
}

fn integers(min: i64, max: i64) -> Value {
    json!({
        "type": ["array", "integer", "string"],
        "minimum": min,
        "maximum": max,
        "pattern": "^[ ,0-9-]+$",
        "items": { "type": ["integer", "string"], "minimum": min, "maximum": max },
    })
}

fn table(fields: &[Field]) -> Value {
    let properties: Map<String, Value> = fields.iter().map(|field| (field.name.to_owned(), of(&field.kind))).collect();
    let patterns: Map<String, Value> = fields
        .iter()
        .filter(|field| field.name.contains('_'))
        .map(|field| (format!("^(?:{})$", spelled(field.name)), of(&field.kind)))
        .collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "patternProperties": patterns,
    })
}

/// A pattern for every spelling of a key but the plain one; none where there is no other.
fn other_spellings(key: &KeySpec) -> Option<String> {
    (!key.aliases.is_empty() || key.name.contains('_')).then(|| spellings(key))
}

fn spellings(key: &KeySpec) -> String {
    let names: Vec<String> = std::iter::once(&key.name).chain(key.aliases).map(|name| spelled(name)).collect();
    format!("^(?:{})$", names.join("|"))
}

/// `max_restarts` as files may spell it, too: `maxRestarts`, `max-restarts`.
fn spelled(name: &str) -> String {
    let mut parts = name.split('_');
    let mut pattern = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (first, rest) = part.split_at(part.len().min(1));
        pattern.push_str(&format!("(?:[_-]{first}|{}){rest}", first.to_ascii_uppercase()));
    }
    pattern
}

#[cfg(test)]
mod tests {
    use regex_lite::Regex;

    use super::*;
    use crate::config::keys::Lookup;

    /// Whether the value fits, by the few keywords that this file writes.
    fn fits(schema: &Value, value: &Value) -> bool {
        let number = |keyword: &str| schema[keyword].as_i64();
        let type_fits = |name: &str| match name {
            "integer" => value.is_i64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("unknown type {other}"),
        };
        let by_type = match &schema["type"] {
            Value::Null => true,
            Value::String(name) => type_fits(name),
            names => names.as_array().unwrap().iter().any(|name| type_fits(name.as_str().unwrap())),
        };
        let by_reference = schema["$ref"].as_str().is_none_or(|_| value.is_object());
        let by_words = schema["enum"].as_array().is_none_or(|words| words.contains(value));
        let by_pattern = match (&schema["pattern"], value) {
            (Value::String(pattern), Value::String(text)) => Regex::new(pattern).unwrap().is_match(text),
            _ => true,
        };
        let by_range = value.as_i64().is_none_or(|it| {
            number("minimum").is_none_or(|min| it >= min) && number("maximum").is_none_or(|max| it <= max)
        });
        let by_items = match value {
            Value::Array(items) if schema["items"].is_object() => items.iter().all(|item| fits(&schema["items"], item)),
            _ => true,
        };
        let by_fields = value.as_object().is_none_or(|fields| {
            fields.iter().all(|(name, value)| match (&schema["properties"][name], &schema["additionalProperties"]) {
                (Value::Null, Value::Bool(false)) => false,
                (Value::Null, Value::Null) => true,
                (Value::Null, other) => fits(other, value),
                (own, _) => fits(own, value),
            })
        });
        let by_choice =
            schema["anyOf"].as_array().is_none_or(|schemas| schemas.iter().any(|schema| fits(schema, value)));
        [by_type, by_reference, by_words, by_pattern, by_range, by_items, by_fields, by_choice].iter().all(|it| *it)
    }

    fn json_of(toml: &str) -> Value {
        let table: toml::Table = toml::from_str(&format!("value = {toml}")).unwrap();
        serde_json::to_value(&table["value"]).unwrap()
    }

    #[test]
    fn every_example_and_every_harmless_value_fits_the_schema() {
        let schema = schema();
        for key in keys::all().filter(|key| !key.example.is_empty()) {
            let own = &schema["definitions"]["app"]["properties"][key.name];
            assert!(own.is_object(), "{}", key.name);
            assert!(fits(own, &json_of(key.example)), "{}: {own}", key.name);
            let Availability::Later { unless, .. } = key.availability else { continue };
            for value in unless {
                let value = if *value == "false" { json!(false) } else { json!(value) };
                assert!(fits(own, &value), "{} = {value}: {own}", key.name);
            }
        }
    }

    #[test]
    fn what_the_check_of_a_file_refuses_does_not_fit() {
        let schema = schema();
        for (key, value) in [
            ("autorestart", json!("yes")),
            ("restart", json!("sometimes")),
            ("kill_timeout", json!("soon")),
            ("max_memory_restart", json!("1X")),
            ("port", json!(70_000)),
            ("instances", json!("some")),
            ("args", json!({ "a": 1 })),
            ("health", json!({ "htp": "/x" })),
            ("rotate", json!({ "keep": -1 })),
            ("stop_exit_codes", json!([300])),
        ] {
            assert!(!fits(&schema["definitions"]["app"]["properties"][key], &value), "{key} = {value}");
        }
    }

    #[test]
    fn every_spelling_that_a_file_may_use_is_accepted_and_no_other() {
        let app = app_schema();
        let patterns: Vec<Regex> = app["patternProperties"]
            .as_object()
            .unwrap()
            .keys()
            .filter(|pattern| !pattern.contains("(?!"))
            .map(|pattern| Regex::new(pattern).unwrap())
            .collect();
        let accepted =
            |name: &str| app["properties"][name].is_object() || patterns.iter().any(|pattern| pattern.is_match(name));
        for key in keys::all() {
            for name in std::iter::once(&key.name).chain(key.aliases) {
                let mut camel = String::new();
                for (at, part) in name.split('_').enumerate() {
                    let (first, rest) = part.split_at(1);
                    camel += &if at == 0 { part.to_owned() } else { format!("{}{rest}", first.to_uppercase()) };
                }
                for spelling in [(*name).to_owned(), camel, name.replace('_', "-")] {
                    assert!(matches!(keys::lookup(&spelling), Lookup::Key(_)), "{spelling}");
                    assert!(accepted(&spelling), "{spelling}");
                }
            }
        }
        for name in ["scirpt", "Script", "maxrestarts", "max__restarts", "", "envs"] {
            assert!(!accepted(name), "{name}");
        }
    }
}
