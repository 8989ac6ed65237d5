//! The table of keys: one place that knows every key, its other names, what it may hold and whether this version
//! builds on it. Reading, `rsx init` and whatever documents keys follow this table.

mod table;

pub use table::GROUPS;

use crate::config::problem::similar;

/// One key of an app.
#[derive(Debug)]
pub struct KeySpec {
    /// Its name.
    pub name: &'static str,
    /// Its other names; camelCase forms of all names are understood besides.
    pub aliases: &'static [&'static str],
    /// What it may hold.
    pub kind: Kind,
    /// What holds when it is not written, for people.
    pub default: &'static str,
    /// A value as TOML; empty where a key has no meaning here.
    pub example: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Whether this version builds on it.
    pub availability: Availability,
}

/// Keys that belong together, with their title.
#[derive(Debug)]
pub struct Group {
    /// A few words.
    pub title: &'static str,
    /// The keys in the order in which they are documented.
    pub keys: &'static [KeySpec],
}

/// Whether this version builds on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It has its effect.
    Now,
    /// It is validated, then refused: never accepted and ignored.
    Later {
        /// What it belongs to, as the subject of "is not in this version yet".
        feature: &'static str,
        /// Values that say what this version does anyway; they are accepted.
        unless: &'static [&'static str],
        /// What can be done now.
        hint: &'static str,
    },
    /// A key of PM2 that has no effect here: one notice, which names what takes its place.
    NoCounterpart(&'static str),
}

impl Availability {
    /// The first release in which the key has its effect; none where it has none yet, or never.
    pub fn since(self) -> Option<&'static str> {
        match self {
            Availability::Now => Some("0.1"),
            Availability::Later { .. } | Availability::NoCounterpart(_) => None,
        }
    }
}

/// What a key may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Text; numbers count by their spelling.
    Text,
    /// The name of an app or namespace.
    Name,
    /// The name of an environment variable.
    Variable,
    /// A path, relative to the file.
    Path,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// Whole numbers, one or several.
    Integers {
        /// The least of each.
        min: i64,
        /// The greatest of each.
        max: i64,
    },
    /// A number of instances: whole, or `max`.
    Instances,
    /// `25%`.
    Percent,
    /// An amount of memory.
    Size,
    /// A duration.
    Time,
    /// Texts: a list, or one text that is split as a shell does.
    List,
    /// One of these, or a list of them.
    Several(&'static Kind),
    /// The permissions of a file, as chmod(1) takes them: text, so that nobody has to know who reads 0660 as octal.
    Mode,
    /// Environment variables.
    Env,
    /// A signal, by name or number.
    Signal,
    /// The form of a time stamp.
    Date,
    /// Exit codes, one or several.
    ExitCodes,
    /// A cron pattern of five or six fields.
    Cron,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A table with these keys.
    Table(&'static [Field]),
    /// A table from free names to this.
    Map(&'static Kind),
    /// Whatever fits the first of these.
    OneOf(&'static [Kind]),
    /// Anything.
    Any,
}

/// A key inside of a nested table.
#[derive(Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
}

/// What a written name turned out to be.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// A key of the table.
    Key(&'static KeySpec),
    /// `env_NAME`.
    NamedEnv(String),
    /// None; the name that may have been meant.
    Unknown(Option<&'static str>),
}

/// All keys.
pub fn all() -> impl Iterator<Item = &'static KeySpec> {
    GROUPS.iter().flat_map(|group| group.keys)
}

/// The key of this name.
pub fn find(name: &str) -> Option<&'static KeySpec> {
    all().find(|key| key.name == name || key.aliases.contains(&name))
}

/// Understands a name as it was written, camelCase included.
pub(crate) fn lookup(written: &str) -> Lookup {
    if let Some(key) = find(written) {
        return Lookup::Key(key);
    }
    if let Some(name) = written.strip_prefix("env_").filter(|name| !name.is_empty()) {
        return Lookup::NamedEnv(name.to_owned());
    }
    let snake = snake_case(written);
    find(&snake).map_or_else(|| Lookup::Unknown(closest(&snake)), Lookup::Key)
}

/// `maxRestarts` → `max_restarts`, `max-restarts` → `max_restarts`.
pub(crate) fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            out.push('_');
            out.push(character.to_ascii_lowercase());
        } else {
            out.push(if character == '-' { '_' } else { character });
        }
    }
    out
}

fn closest(snake: &str) -> Option<&'static str> {
    let names = all()
        .filter(|key| !matches!(key.availability, Availability::NoCounterpart(_)))
        .flat_map(|key| std::iter::once(key.name).chain(key.aliases.iter().copied()));
    similar(snake.trim_matches('_'), names)
}

impl Kind {
    /// What is expected, for a sentence that begins with "expected".
    pub fn expects(&self) -> String {
        match self {
            Kind::Text => "text".into(),
            Kind::Name => "a name of 1 to 200 bytes without `/`".into(),
            Kind::Variable => "the name of an environment variable".into(),
            Kind::Path => "a path".into(),
            Kind::Bool => "`true` or `false`".into(),
            Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Integers { min, max } => format!("whole numbers from {min} to {max}"),
            Kind::Instances => {
                "a number of instances from 1 to 10000, `\"max\"` or 0 for one a core, -1 for one core less".into()
            }
            Kind::Percent => "a percentage such as `\"25%\"`".into(),
            Kind::Size => "a size such as `300M`, `1.5G` or `512KiB`, or a number of bytes".into(),
            Kind::Time => "a time such as `500ms`, `3s`, `1m30s` or `2h`, or a number of milliseconds".into(),
            Kind::List => "a list of texts, or one text that is split as a shell does".into(),
            Kind::Several(kind) => format!("{}, or a list of these", kind.expects()),
            Kind::Mode => "permissions in quotes, such as `\"0660\"`".into(),
            Kind::Env => "a table of variables, such as `{ PORT = 3000 }`".into(),
            Kind::Date => "a form such as `YYYY-MM-DD HH:mm:ss`, in the letters of moment.js".into(),
            Kind::Signal => "a signal such as `SIGTERM`, `INT` or 15".into(),
            Kind::ExitCodes => "exit codes from 0 to 255, one or a list".into(),
            Kind::Cron => "a cron pattern of five or six fields, such as `0 3 * * *`".into(),
            Kind::Words(words) => one_of(words.iter().map(|word| format!("`{word}`"))),
            Kind::Table(fields) => {
                format!("a table of {}", one_of(fields.iter().map(|field| format!("`{}`", field.name))))
            }
            Kind::Map(kind) => format!("a table whose values are {}", kind.expects()),
            Kind::OneOf(kinds) => one_of(kinds.iter().map(Kind::expects)),
            Kind::Any => "anything".into(),
        }
    }
}

fn one_of(parts: impl Iterator<Item = String>) -> String {
    let mut parts: Vec<String> = parts.collect();
    let last = parts.pop().unwrap_or_default();
    if parts.is_empty() { last } else { format!("{} or {last}", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Every key that the reference of the ecosystem file lists, with the aliases it names, and PM2's other names.
    const REFERENCE: &str = "script exec cmd command name namespace args cwd interpreter interpreter_args node_args \
        instances exec_mode balance weights capture listen agent env env_file filter_env instance_var increment_var \
        port autostart autorestart restart stop_exit_codes min_uptime max_restarts restart_delay \
        exp_backoff_restart_delay retry_after wait_ready listen_timeout kill_timeout stop_signal treekill \
        shutdown_with_message drain_timeout max_surge strategy bake max_memory_restart memory_warn health \
        cron_restart watch ignore_watch watch_delay depends_on user uid group gid nice limits cpus oom_score_adj \
        watchdog on pre_start post_stop out_file output error_file error log_file log log_driver merge_logs time \
        log_date_format log_type disable_logs log_full rotate autoscale \
        exec_interpreter out_log err_log err_file combine_logs name_prefix append_env_to_name pid_file pid out err \
        cron execute_command watch_options \
        pmx vizion source_map_support disable_source_map_support windowsHide trace disable_trace automation km_link \
        post_update username force kill_retry_time v8 event_loop_inspector deep_monitoring io write install_url";

    #[test]
    fn every_key_of_the_reference_is_known() {
        for name in REFERENCE.split_whitespace() {
            assert!(matches!(lookup(name), Lookup::Key(_)), "{name}");
        }
    }

    #[test]
    fn no_name_means_two_keys() {
        let mut seen = HashSet::new();
        for key in all() {
            for name in std::iter::once(&key.name).chain(key.aliases) {
                assert!(seen.insert(*name), "{name}");
            }
        }
    }

    #[test]
    fn every_key_explains_itself() {
        for key in all() {
            assert!(key.doc.ends_with('.') && key.doc.len() <= 110, "{}: {}", key.name, key.doc);
            assert!(!key.default.is_empty(), "{}", key.name);
            let pm2_only = matches!(key.availability, Availability::NoCounterpart(_));
            assert_eq!(key.example.is_empty(), pm2_only, "{}", key.name);
        }
    }

    #[test]
    fn camel_case_is_understood_for_every_name() {
        for (written, name) in
            [("maxRestarts", "max_restarts"), ("outFile", "out_file"), ("nodeArgs", "interpreter_args")]
        {
            let Lookup::Key(key) = lookup(written) else { panic!("{written}") };
            assert_eq!(key.name, name);
        }
        let Lookup::NamedEnv(name) = lookup("env_Staging") else { panic!("env_Staging") };
        assert_eq!(name, "Staging");
        assert!(matches!(lookup("envFile"), Lookup::Key(_)));
    }

    #[test]
    fn a_typo_finds_its_key() {
        for (written, name) in [("scirpt", "script"), ("maxRestart", "max_restarts"), ("kill_timeot", "kill_timeout")] {
            let Lookup::Unknown(Some(meant)) = lookup(written) else { panic!("{written}") };
            assert_eq!(meant, name);
        }
        assert!(matches!(lookup("frobnicate"), Lookup::Unknown(None)));
    }
}
