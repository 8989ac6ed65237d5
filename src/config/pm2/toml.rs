//! The text of the file: apps as a person would have written them.

use serde_json::Value;

use crate::config::keys::{self, Kind};
use crate::config::pm2::app::{App, Line, Standing};
use crate::spec::Env;

const HEAD: &str = "# The apps that PM2 had saved. `rsx check` tells what would fail, `rsx start FILE` runs them.\n";

/// The whole file.
pub(super) fn text(apps: &[App]) -> String {
    let mut out = String::from(HEAD);
    for app in apps {
        out.push_str("\n[[apps]]\n");
        for line in &app.lines() {
            out.push_str(&written(line));
        }
        push_env(&mut out, "env", &app.env);
        for (name, env) in &app.named_env {
            push_env(&mut out, name, env);
        }
    }
    out
}

fn written(line: &Line) -> String {
    let Line { key, value, .. } = line;
    match &line.standing {
        Standing::Holds => format!("{key} = {value}\n"),
        Standing::Remarked(remark) => format!("{key} = {value}  # {remark}\n"),
        Standing::Waits(feature) => format!("# {key} = {value}  # {feature} is not in this version yet\n"),
    }
}

fn push_env(out: &mut String, table: &str, env: &Env) {
    if env.is_empty() {
        return;
    }
    out.push_str(&format!("\n[apps.{}]\n", key(table)));
    for (name, value) in env {
        out.push_str(&format!("{} = {}\n", key(name), quoted(value)));
    }
}

fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_bare { name.to_owned() } else { quoted(name) }
}

/// A text as TOML: JSON's escapes are TOML's, too; only DEL must be escaped here besides.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

/// The value of a key, in the unit that people read where it is one of milliseconds or bytes.
pub(super) fn value_of(name: &str, value: &Value) -> String {
    let kind = keys::find(name).map(|key| key.kind);
    match (kind, value.as_u64()) {
        (Some(Kind::Time), Some(millis)) if millis > 0 && millis % 1000 == 0 => quoted(&format!("{}s", millis / 1000)),
        (Some(Kind::Time), Some(millis)) if millis > 0 => quoted(&format!("{millis}ms")),
        (Some(Kind::Size), Some(bytes)) if bytes > 0 && bytes % (1 << 30) == 0 => quoted(&format!("{}G", bytes >> 30)),
        (Some(Kind::Size), Some(bytes)) if bytes > 0 && bytes % (1 << 20) == 0 => quoted(&format!("{}M", bytes >> 20)),
        _ => inline(value),
    }
}

/// Any value on one line.
pub(super) fn inline(value: &Value) -> String {
    match value {
        // TOML knows no null; callers leave it out, and inside of a structure nothing is what comes nearest.
        Value::Null => "\"\"".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().filter(|item| !item.is_null()).map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let fields: Vec<String> =
                fields.map(|(name, value)| format!("{} = {}", key(name), inline(value))).collect();
            if fields.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", fields.join(", ")) }
        }
    }
}
