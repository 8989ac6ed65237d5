//! What `/` chooses among the instances: words, expressions and conditions, all of which have to hold.
//!
//! ```text
//! api worker        names, namespaces, ids, users and states that contain the word
//! /^api-[0-9]/      a regular expression over the same
//! status:errored    one field; also app, ns, user, mode, id, version
//! cpu>50 mem>=1G    numbers: cpu, mem, restarts, uptime, connections, queue, lag
//! !status:online    the opposite of anything
//! ```

use std::fmt;

use regex_lite::Regex;

use crate::proto::{AppView, SlotView};
use crate::spec::ExecMode;
use crate::tui::model::data::Load;

/// A filter as it was understood; an empty one lets everything pass.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    terms: Vec<Term>,
}

#[derive(Clone, Debug)]
struct Term {
    is_negated: bool,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Word(String),
    Expression(Regex),
    Field(Field, String),
    Number(Quantity, Compare, f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    App,
    Namespace,
    Status,
    User,
    Mode,
    Id,
    Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantity {
    Cpu,
    Memory,
    Restarts,
    Uptime,
    Connections,
    Queue,
    Lag,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

/// A filter that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilterError(String);

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What of an instance can be asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) app: &'a AppView,
    pub(crate) slot: &'a SlotView,
    pub(crate) load: Load,
    /// Milliseconds; none where nothing runs.
    pub(crate) uptime: Option<u64>,
}

impl Filter {
    /// Reads a filter.
    pub(crate) fn read(text: &str) -> Result<Filter, FilterError> {
        let terms = words(text).map(read_term).collect::<Result<_, _>>()?;
        Ok(Filter { terms })
    }

    /// Whether everything passes.
    pub(crate) fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether this instance passes.
    pub(crate) fn passes(&self, subject: Subject<'_>) -> bool {
        self.terms.iter().all(|term| term.what.holds(subject) != term.is_negated)
    }
}

/// Blanks part terms, except within `/…/`.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text.trim_start();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let body = rest.strip_prefix('!').unwrap_or(rest);
        let skipped = rest.len() - body.len();
        let end = match body.strip_prefix('/').and_then(|inner| inner.find('/')) {
            Some(close) => skipped + close + 2,
            None => rest.find(char::is_whitespace).unwrap_or(rest.len()),
        };
        let (word, tail) = rest.split_at(end);
        rest = tail.trim_start();
        Some(word)
    })
}

fn read_term(word: &str) -> Result<Term, FilterError> {
    let (is_negated, word) = match word.strip_prefix('!') {
        Some(rest) if !rest.is_empty() => (true, rest),
        Some(_) | None => (false, word),
    };
    Ok(Term { is_negated, what: read_what(word)? })
}

fn read_what(word: &str) -> Result<What, FilterError> {
    if let Some(inner) = word.strip_prefix('/') {
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        return regex_lite::RegexBuilder::new(inner)
            .case_insensitive(true)
            .build()
            .map(What::Expression)
            .map_err(|error| FilterError(format!("`{inner}` is not a regular expression: {error}")));
    }
    if let Some(at) = word.find(['<', '>', '=']) {
        let (name, rest) = word.split_at(at);
        let compares = [
            ("<=", Compare::LessOrEqual),
            (">=", Compare::GreaterOrEqual),
            ("<", Compare::Less),
            (">", Compare::Greater),
            ("==", Compare::Equal),
            ("=", Compare::Equal),
        ];
        if let (Some(quantity), Some((sign, compare))) =
            (quantity(name), compares.iter().find(|(sign, _)| rest.starts_with(sign)))
        {
            let text = &rest[sign.len()..];
            let value = number(quantity, text)
                .ok_or_else(|| FilterError(format!("`{text}` is no value for {name}: try {}", example(quantity))))?;
            return Ok(What::Number(quantity, *compare, value));
        }
        if !name.is_empty() {
            return Err(FilterError(format!(
                "`{name}` is not a number here: cpu, mem, restarts, uptime, connections, queue, lag"
            )));
        }
    }
    if let Some((name, value)) = word.split_once(':') {
        let Some(field) = field(name) else {
            return Err(FilterError(format!("no field `{name}`: status, app, ns, user, mode, id, version")));
        };
        return Ok(What::Field(field, value.to_lowercase()));
    }
    Ok(What::Word(word.to_lowercase()))
}

fn field(name: &str) -> Option<Field> {
    Some(match name.to_lowercase().as_str() {
        "app" | "name" => Field::App,
        "ns" | "namespace" => Field::Namespace,
        "status" | "state" => Field::Status,
        "user" => Field::User,
        "mode" => Field::Mode,
        "id" => Field::Id,
        "version" => Field::Version,
        _ => return None,
    })
}

fn quantity(name: &str) -> Option<Quantity> {
    Some(match name.to_lowercase().as_str() {
        "cpu" => Quantity::Cpu,
        "mem" | "memory" => Quantity::Memory,
        "restarts" => Quantity::Restarts,
        "uptime" => Quantity::Uptime,
        "conns" | "connections" => Quantity::Connections,
        "queue" => Quantity::Queue,
        "lag" => Quantity::Lag,
        _ => return None,
    })
}

fn example(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::Cpu => "cpu>50",
        Quantity::Memory => "mem>300M",
        Quantity::Restarts => "restarts>3",
        Quantity::Uptime => "uptime<10m",
        Quantity::Connections => "connections>100",
        Quantity::Queue => "queue>0",
        Quantity::Lag => "lag>20",
    }
}

fn number(quantity: Quantity, text: &str) -> Option<f64> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(at);
    let value: f64 = digits.parse().ok()?;
    let unit = unit.to_lowercase();
    let factor = match quantity {
        Quantity::Cpu if unit == "%" => 1.0,
        Quantity::Memory => match unit.as_str() {
            "" | "b" => 1.0,
            "k" | "kb" | "kib" => 1024.0,
            "m" | "mb" | "mib" => 1024.0 * 1024.0,
            "g" | "gb" | "gib" => 1024.0 * 1024.0 * 1024.0,
            _ => return None,
        },
        Quantity::Uptime => match unit.as_str() {
            "" | "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            _ => return None,
        },
        Quantity::Lag if unit == "ms" => 1.0,
        _ if unit.is_empty() => 1.0,
        _ => return None,
    };
    Some(value * factor)
}

impl What {
    fn holds(&self, subject: Subject<'_>) -> bool {
        let Subject { app, slot, load, uptime } = subject;
        match self {
            What::Word(word) => searched(app, slot).iter().any(|text| text.to_lowercase().contains(word)),
            What::Expression(regex) => searched(app, slot).iter().any(|text| regex.is_match(text)),
            What::Field(field, value) => match field {
                Field::App => app.name.to_lowercase().contains(value),
                Field::Namespace => app.namespace.to_lowercase().contains(value),
                Field::Status => slot.state.as_str().starts_with(value),
                Field::User => app.user.to_lowercase().contains(value),
                Field::Mode => mode(app.mode).starts_with(value),
                Field::Id => slot.id.to_string() == *value,
                Field::Version => app.version.as_deref().is_some_and(|version| version.starts_with(value.as_str())),
            },
            What::Number(quantity, compare, limit) => {
                let value = match quantity {
                    Quantity::Cpu => Some(f64::from(load.cpu)),
                    Quantity::Memory => Some(load.memory as f64),
                    Quantity::Restarts => Some(f64::from(slot.restarts)),
                    Quantity::Uptime => uptime.map(|uptime| uptime as f64),
                    Quantity::Connections => load.connections.map(f64::from),
                    Quantity::Queue => load.queue.map(f64::from),
                    Quantity::Lag => load.lag.map(f64::from),
                };
                // What is not known is neither more nor less.
                value.is_some_and(|value| match compare {
                    Compare::Less => value < *limit,
                    Compare::LessOrEqual => value <= *limit,
                    Compare::Equal => (value - limit).abs() < f64::EPSILON,
                    Compare::GreaterOrEqual => value >= *limit,
                    Compare::Greater => value > *limit,
                })
            }
        }
    }
}

fn mode(mode: ExecMode) -> &'static str {
    match mode {
        ExecMode::Fork => "fork",
        ExecMode::Cluster => "cluster",
    }
}

/// What words and expressions are looked for in.
fn searched(app: &AppView, slot: &SlotView) -> [String; 5] {
    [
        crate::words::place(app, slot),
        app.namespace.clone(),
        slot.id.to_string(),
        app.user.clone(),
        slot.state.as_str().to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::State;
    use crate::words::sample;

    #[track_caller]
    fn passing(text: &str) -> Vec<u32> {
        let filter = Filter::read(text).unwrap();
        let view = sample::view();
        let mut ids = Vec::new();
        for app in &view.apps {
            for slot in &app.slots {
                let load = Load { cpu: 10.0 * slot.id as f32, memory: slot.memory, ..Load::default() };
                let uptime = slot.started.map(|at| sample::NOW - at);
                if filter.passes(Subject { app, slot, load, uptime }) {
                    ids.push(slot.id);
                }
            }
        }
        ids
    }

    #[test]
    fn words_expressions_and_conditions_all_have_to_hold() {
        assert_eq!(passing(""), [0, 1, 2, 3]);
        assert_eq!(passing("api"), [0, 1]);
        assert_eq!(passing("status:errored"), [1]);
        assert_eq!(passing("api !status:errored"), [0]);
        assert_eq!(passing("/^w[aeiou]b$/"), [2]);
        assert_eq!(passing("cpu>5 cpu<=20"), [1, 2]);
        assert_eq!(passing("ns:batch"), [3]);
        assert_eq!(passing("uptime>1h mem>50M"), [0]);
        assert_eq!(passing("queue>0"), Vec::<u32>::new());
        assert_eq!(passing("!cpu>5"), [0]);
    }

    #[test]
    fn a_filter_that_means_nothing_says_what_would() {
        assert!(Filter::read("/(/").unwrap_err().to_string().contains("regular expression"));
        assert!(Filter::read("cpu>much").unwrap_err().to_string().contains("cpu>50"));
        assert!(Filter::read("colour:red").unwrap_err().to_string().contains("status"));
        assert!(Filter::read("size>3").unwrap_err().to_string().contains("restarts"));
        assert_eq!(State::Errored.as_str(), "errored");
    }
}
