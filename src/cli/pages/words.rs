//! What a key may hold, in a few words, for tables and pages.

use crate::config::keys::{Availability, KeySpec, Kind};

/// What sizes, times and other small languages look like: a word of [`kind`] and its explanation.
pub(super) const LANGUAGES: &[(&str, &str)] = &[
    ("size", "`300M`, `1.5G`, `200MB`, `512KiB`, or a number of bytes. Units are powers of 1024."),
    ("time", "`500ms`, `3s`, `1m30s`, `2h`, `1d`, or a number of milliseconds."),
    ("path", "Relative to the file; `~` is your home."),
    ("list", "A list of texts, or one text that is split as a shell does."),
    ("signal", "`SIGTERM`, `TERM` or `15`."),
    ("cron pattern", "Five or six fields such as `0 3 * * *`, or a word such as `@daily`."),
];

/// A kind in a few words.
pub(super) fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Text => "text".into(),
        Kind::Name => "name".into(),
        Kind::Variable => "name of a variable".into(),
        Kind::Path => "path".into(),
        Kind::Bool => "true, false".into(),
        Kind::Integer { min, max } if *max >= 1_000_000 => format!("number from {min}"),
        Kind::Integer { min, max } => format!("number, {min} to {max}"),
        Kind::Integers { min, max } => format!("number or numbers, {min} to {max}"),
        Kind::Instances => "number, max".into(),
        Kind::Percent => "percentage".into(),
        Kind::Size => "size".into(),
        Kind::Time => "time".into(),
        Kind::List => "list".into(),
        Kind::Env => "table of variables".into(),
        Kind::Signal => "signal".into(),
        Kind::Date => "form of a time".into(),
        Kind::Several(kind) => format!("{}; or a list", self::kind(kind)),
        Kind::Mode => "octal permissions in quotes".into(),
        Kind::ExitCodes => "exit code or codes".into(),
        Kind::Cron => "cron pattern".into(),
        Kind::Words(words) => words.join(", "),
        Kind::Table(fields) => {
            format!("table of {}", fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", "))
        }
        Kind::Map(values) => match values {
            Kind::Text | Kind::Any => "table".into(),
            values => format!("table of {}", self::kind(values)),
        },
        Kind::OneOf(kinds) => kinds.iter().map(self::kind).collect::<Vec<_>>().join("; "),
        Kind::Any => "anything".into(),
    }
}

/// A sentence begins with a capital letter.
pub(super) fn upper_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// What stands instead of "since 0.1" at a key that has no effect yet, or never.
pub(super) fn not_yet(key: &KeySpec) -> Option<String> {
    match key.availability {
        Availability::Now => None,
        Availability::Later { hint: "", .. } => Some("not in this version yet".into()),
        Availability::Later { hint, .. } => Some(format!("not in this version yet: {hint}")),
        Availability::NoCounterpart(instead) => Some(format!("no effect in rsx: {instead}")),
    }
}
