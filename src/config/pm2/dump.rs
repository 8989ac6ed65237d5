//! The file itself: a list of flat objects, read as JSON and as nothing else.

use serde_json::{Map, Value};

use crate::config::problem::shown;

/// The longest dump that is read, in bytes: with its copies of the environment an entry takes 4 to 16 KiB.
pub const MAX_DUMP: u64 = 64 * 1024 * 1024;

/// Why a text is not translated.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// It is not JSON to its end: torn by a crash or a full disk, or something else.
    #[error("it is not valid JSON")]
    Torn(#[source] serde_json::Error),
    /// It is JSON of another kind.
    #[error("it is not a list of processes as PM2 saves it")]
    Foreign,
    /// Nothing in it can be translated.
    #[error("it holds no app")]
    Empty {
        /// What was left out, and why.
        notices: Vec<String>,
    },
}

/// One process as PM2 saved it.
#[derive(Debug)]
pub(super) struct Entry(Map<String, Value>);

/// Reads the list.
pub(super) fn read(text: &str) -> Result<Vec<Entry>, DumpError> {
    // A file of the length 0 is what a full disk leaves behind.
    let text = text.trim_start_matches('\u{feff}');
    let value: Value = serde_json::from_str(text).map_err(DumpError::Torn)?;
    let Value::Array(items) = value else { return Err(DumpError::Foreign) };
    let entries = items.into_iter().map(|item| match item {
        Value::Object(fields) => Ok(Entry(fields)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(DumpError::Foreign),
    });
    let entries: Vec<Entry> = entries.collect::<Result<_, _>>()?;
    // A list of something else, such as `[{"id": 1}]`, must not be told apart entry by entry.
    let is_process = |entry: &Entry| entry.0.contains_key("pm_exec_path") || entry.0.contains_key("exec_mode");
    if !entries.is_empty() && !entries.iter().any(is_process) {
        return Err(DumpError::Foreign);
    }
    Ok(entries)
}

impl Entry {
    /// A field that has a value.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A field that is a text and not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// All fields that have a value.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.as_str(), value))
    }

    /// The environment.
    pub(super) fn env(&self) -> Option<&Map<String, Value>> {
        self.get("env")?.as_object()
    }

    /// Whether it is a plug-in of PM2 rather than an app.
    pub(super) fn is_module(&self) -> bool {
        self.get("pmx_module").is_some_and(|value| *value == Value::Bool(true))
    }

    /// Its name, fit for a message.
    pub(super) fn shown_name(&self) -> String {
        self.get("name")
            .and_then(scalar)
            .map_or_else(|| "without a name".to_owned(), |name| format!("`{}`", shown(&name)))
    }
}

/// A value as a program would get it; none for lists and objects.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
