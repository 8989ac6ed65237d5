//! From written keys to typed settings: names are understood, values checked, availability is enforced.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::check::{Checked, Count, check};
use crate::config::keys::{self, Availability, KeySpec, Kind, Lookup};
use crate::config::node::{Key, Node, Span, Value};
use crate::config::problem::{NOT_YET, Problem, Severity, shown};
use crate::spec::DateFormat;

/// Who wrote the keys: it decides how strict the reading is, and how hints are phrased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// A file in rsx's own format: an unknown key is an error.
    Toml,
    /// A file in a format that PM2 shares: an unknown key is a warning.
    Shared,
    /// The flags of a verb.
    Flags,
}

/// One key, as it was set.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// As the user named it.
    pub(crate) written: String,
    /// Where its value stands.
    pub(crate) span: Span,
    /// Its value; none when `null` asks for the default.
    pub(crate) value: Option<Checked>,
}

/// The settings of one app, or the defaults of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    values: BTreeMap<&'static str, Setting>,
    named_env: BTreeMap<String, Vec<(String, Option<String>)>>,
    /// Keys whose problem has been reported: their absence is no second one.
    failed: BTreeSet<&'static str>,
}

impl Settings {
    /// Reads a table of keys.
    pub(crate) fn read(table: &[(Key, Node)], author: Author, problems: &mut Vec<Problem>) -> Settings {
        let mut settings = Settings::default();
        let mut places: BTreeMap<&'static str, &Key> = BTreeMap::new();
        for (key, node) in table {
            match keys::lookup(&key.name) {
                Lookup::Key(spec) => {
                    if let Some(first) = places.insert(spec.name, key) {
                        problems.push(written_twice(spec, key, first, author));
                    }
                    settings.take(spec, key, node, author, problems);
                }
                Lookup::NamedEnv(name) => match check(&Kind::Env, &author.name(key), node) {
                    Ok(Checked::Env(variables)) => drop(settings.named_env.insert(name, variables)),
                    Ok(_) => {}
                    Err(found) => problems.extend(found),
                },
                Lookup::Unknown(meant) => {
                    let problem = unknown(key, meant, author);
                    // That `script` is missing needs no saying beside "did you mean `script`?".
                    if let (Severity::Error, Some(spec)) = (problem.severity, meant.and_then(keys::find)) {
                        settings.failed.insert(spec.name);
                    }
                    problems.push(problem);
                }
            }
        }
        settings
    }

    fn take(&mut self, spec: &'static KeySpec, key: &Key, node: &Node, author: Author, problems: &mut Vec<Problem>) {
        let written = author.name(key);
        let insert = |settings: &mut Settings, value| {
            let setting = Setting { written: written.clone(), span: node.span, value };
            settings.values.insert(spec.name, setting);
        };
        if let Availability::NoCounterpart(instead) = spec.availability {
            let problem = Problem::warning(key.span, format!("`{written}` has no effect in rsx")).label("not needed");
            return problems.push(problem.help(instead));
        }
        if node.value == Value::Null {
            return insert(self, None);
        }
        match (check(&spec.kind, &written, node), spec.availability) {
            (Err(found), _) => {
                self.failed.insert(spec.name);
                problems.extend(found);
            }
            (Ok(value), Availability::Now) => insert(self, Some(value)),
            (Ok(value), Availability::Later { feature, unless, hint }) => {
                if node.scalar().is_some_and(|text| unless.contains(&text.as_str())) {
                    insert(self, Some(value));
                } else {
                    self.failed.insert(spec.name);
                    problems.push(not_yet(&written, node.span, feature, unless, hint));
                }
            }
            (Ok(_), Availability::NoCounterpart(_)) => {}
        }
    }

    /// These settings over the defaults of the file: key by key, and within `env` variable by variable.
    pub(crate) fn over(mut self, defaults: &Settings) -> Settings {
        for (name, default) in &defaults.values {
            match self.values.get_mut(name) {
                None => drop(self.values.insert(name, default.clone())),
                Some(Setting { value: Some(Checked::Env(own)), .. }) => {
                    if let Some(Checked::Env(variables)) = &default.value {
                        own.splice(0..0, variables.iter().cloned());
                    }
                }
                Some(_) => {}
            }
        }
        for (name, variables) in &defaults.named_env {
            self.named_env.entry(name.clone()).or_default().splice(0..0, variables.iter().cloned());
        }
        self.failed.extend(&defaults.failed);
        self
    }

    /// Whether the problem of this key has been reported already.
    pub(crate) fn has_failed(&self, name: &str) -> bool {
        self.failed.contains(name)
    }

    /// The setting, if it was written with a value.
    pub(crate) fn get(&self, name: &str) -> Option<&Setting> {
        debug_assert!(keys::find(name).is_some_and(|key| key.name == name), "`{name}` is not in the table of keys");
        self.values.get(name).filter(|setting| setting.value.is_some())
    }

    fn value(&self, name: &str) -> Option<&Checked> {
        self.get(name)?.value.as_ref()
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        if let Checked::Text(text) = self.value(name)? { Some(text) } else { None }
    }

    pub(crate) fn bool(&self, name: &str) -> Option<bool> {
        if let Checked::Bool(value) = self.value(name)? { Some(*value) } else { None }
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        if let Checked::Integer(value) = self.value(name)? { Some(*value) } else { None }
    }

    /// Whole numbers, one or several.
    pub(crate) fn integers(&self, name: &str) -> Option<&[i64]> {
        if let Checked::Integers(values) = self.value(name)? { Some(values) } else { None }
    }

    pub(crate) fn percent(&self, name: &str) -> Option<u16> {
        if let Checked::Percent(value) = self.value(name)? { Some(*value) } else { None }
    }

    pub(crate) fn time(&self, name: &str) -> Option<Duration> {
        if let Checked::Time(value) = self.value(name)? { Some(*value) } else { None }
    }

    pub(crate) fn size(&self, name: &str) -> Option<u64> {
        if let Checked::Size(value) = self.value(name)? { Some(*value) } else { None }
    }

    pub(crate) fn count(&self, name: &str) -> Option<Count> {
        if let Checked::Count(value) = self.value(name)? { Some(*value) } else { None }
    }

    pub(crate) fn list(&self, name: &str) -> Option<&[String]> {
        if let Checked::List(value) = self.value(name)? { Some(value) } else { None }
    }

    pub(crate) fn codes(&self, name: &str) -> Option<&[u8]> {
        if let Checked::Codes(value) = self.value(name)? { Some(value) } else { None }
    }

    pub(crate) fn signal(&self, name: &str) -> Option<crate::spec::Signal> {
        if let Checked::Signal(value) = self.value(name)? { Some(*value) } else { None }
    }

    pub(crate) fn date(&self, name: &str) -> Option<&DateFormat> {
        if let Checked::Date(value) = self.value(name)? { Some(value) } else { None }
    }

    /// The fields of a table that were written.
    pub(crate) fn table(&self, name: &str) -> Option<&[(&'static str, Checked)]> {
        if let Checked::Table(fields) = self.value(name)? { Some(fields) } else { None }
    }

    /// One or more values, with their places.
    pub(crate) fn several(&self, name: &str) -> Option<&[(Span, Checked)]> {
        if let Checked::Several(values) = self.value(name)? { Some(values) } else { None }
    }

    pub(crate) fn env(&self, name: &str) -> &[(String, Option<String>)] {
        if let Some(Checked::Env(value)) = self.value(name) { value } else { &[] }
    }

    /// The variables of `env_NAME`.
    pub(crate) fn named_env(&self, name: &str) -> Option<&[(String, Option<String>)]> {
        self.named_env.get(name).map(Vec::as_slice)
    }

    /// The names of all `env_NAME` tables.
    pub(crate) fn env_names(&self) -> impl Iterator<Item = &str> {
        self.named_env.keys().map(String::as_str)
    }
}

impl Author {
    /// A key as this author writes it.
    pub(crate) fn name(self, key: &Key) -> String {
        match self {
            Author::Toml | Author::Shared => shown(&key.name),
            Author::Flags => format!("--{}", key.name.replace('_', "-")),
        }
    }

    fn unknown(self) -> Severity {
        match self {
            Author::Toml | Author::Flags => Severity::Error,
            Author::Shared => Severity::Warning,
        }
    }
}

fn written_twice(spec: &KeySpec, key: &Key, first: &Key, author: Author) -> Problem {
    let problem = if key.name == first.name {
        Problem::error(key.span, format!("`{}` is written twice", author.name(key)))
    } else {
        Problem::error(key.span, format!("`{}` and `{}` are one key", author.name(first), author.name(key)))
    };
    problem
        .label("again here")
        .also(first.span, "first here")
        .help(format!("keep one of them; its name is `{}`", spec.name))
}

fn unknown(key: &Key, meant: Option<&str>, author: Author) -> Problem {
    let help = meant.map_or_else(
        || "`rsx init` writes a file that explains every key".to_owned(),
        |meant| format!("did you mean `{meant}`?"),
    );
    let problem = Problem::error(key.span, format!("unknown key `{}`", author.name(key)));
    Problem { severity: author.unknown(), ..problem }.label("unknown key").help(help)
}

fn not_yet(written: &str, span: Span, feature: &str, unless: &[&str], hint: &str) -> Problem {
    let about = if feature.contains(&format!("`{written}`")) { String::new() } else { format!(" (`{written}`)") };
    let problem = Problem::error(span, format!("{feature}{about} {NOT_YET}")).label("cannot be used yet");
    match (hint, unless) {
        ("", []) => problem.help("remove it"),
        ("", [value, ..]) => problem.help(format!("remove it, or set it to `{value}`")),
        (hint, _) => problem.help(hint),
    }
}
