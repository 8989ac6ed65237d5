//! One written value against the kind of its key: the typed value, or the problem with its place.

use std::time::Duration;

use crate::config::keys::{Field, Kind};
use crate::config::node::{Key, Node, Span, Value};
use crate::config::problem::{Problem, shown, similar};
use crate::config::value;
use crate::spec::{DateFormat, Signal};

/// A value that fits its kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Checked {
    Text(String),
    Bool(bool),
    Integer(i64),
    /// Of a hundred, rounded.
    Percent(u16),
    Count(Count),
    Time(Duration),
    /// Bytes.
    Size(u64),
    List(Vec<String>),
    Codes(Vec<u8>),
    Integers(Vec<i64>),
    Signal(Signal),
    Env(Vec<(String, Option<String>)>),
    /// The form of a time stamp.
    Date(DateFormat),
    /// The fields that were written.
    Table(Vec<(&'static str, Checked)>),
    /// One or more, with their places.
    Several(Vec<(Span, Checked)>),
    /// Permissions.
    Mode(u32),
    /// It fits a kind that nothing in this version takes a value from.
    Fits,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies between 0 and 100")]
fn rounded(percent: f64) -> Checked {
    Checked::Percent(percent.round() as u16)
}

/// A wanted number of instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// So many.
    Exactly(u16),
    /// One a core, less so many.
    Cores {
        /// How many cores are spared.
        spared: u16,
    },
}

/// The most instances of one app.
const MAX_INSTANCES: i64 = 10_000;

/// Checks `node`, the value of the key that was written as `written`.
///
/// # Errors
///
/// All that is wrong with it; a table can have several problems.
pub(crate) fn check(kind: &Kind, written: &str, node: &Node) -> Result<Checked, Vec<Problem>> {
    match check_scalar(kind, node) {
        Ok(Some(checked)) => Ok(checked),
        Err(reason) => Err(vec![misfit(kind, written, node, reason)]),
        Ok(None) => check_structure(kind, written, node),
    }
}

fn misfit(kind: &Kind, written: &str, node: &Node, reason: String) -> Problem {
    let message = match node.scalar() {
        Some(text) if text.is_empty() => format!("`{written}` is empty"),
        Some(text) => format!("`{written}` cannot be `{}`", shown(&text)),
        None => format!("`{written}` cannot be {}", node.kind()),
    };
    Problem::error(node.span, message).label(reason).help(format!("expected {}", kind.expects()))
}

fn found(node: &Node) -> String {
    format!("this is {}", node.kind())
}

/// `Ok(None)`: the kind has a structure of its own.
fn check_scalar(kind: &Kind, node: &Node) -> Result<Option<Checked>, String> {
    let text = || node.scalar().ok_or_else(|| found(node));
    let checked = match kind {
        Kind::Text | Kind::Path => match node.value {
            Value::Bool(_) => return Err(found(node)),
            _ => Checked::Text(Some(text()?).filter(|text| !text.trim().is_empty()).ok_or("nothing")?),
        },
        Kind::Name => match node.value {
            Value::Bool(_) => return Err(found(node)),
            _ => Checked::Text(name(&text()?)?),
        },
        Kind::Variable => {
            let text = text()?;
            variable(&text)?;
            Checked::Text(text)
        }
        Kind::Bool => match node.value {
            Value::Bool(value) => Checked::Bool(value),
            Value::Null | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Table(_) => {
                return Err(found(node));
            }
        },
        Kind::Integer { min, max } => Checked::Integer(integer(node, *min, *max)?),
        Kind::Instances => Checked::Count(count(node)?),
        Kind::Percent => value::percent(&text()?).map(rounded)?,
        Kind::Size => match node.value {
            Value::Bool(_) => return Err(found(node)),
            _ => Checked::Size(value::size(&text()?)?),
        },
        Kind::Time => match &node.value {
            Value::Bool(_) => return Err(found(node)),
            Value::Number(number) => Checked::Time(value::milliseconds(number.float)?),
            _ => Checked::Time(value::time(&text()?)?),
        },
        Kind::Signal => Checked::Signal(text()?.parse().map_err(|_| "not a signal".to_owned())?),
        Kind::Date => match node.value {
            Value::Bool(_) => return Err(found(node)),
            _ => Checked::Date(DateFormat::try_from(text()?)?),
        },
        Kind::Cron => value::cron(&text()?).map(|()| Checked::Fits)?,
        Kind::Words(words) => {
            let text = text()?;
            if !words.contains(&text.as_str()) {
                let meant = similar(&text, words.iter().copied());
                return Err(
                    meant.map_or_else(|| "not one of the words".into(), |word| format!("did you mean `{word}`?"))
                );
            }
            Checked::Text(text)
        }
        Kind::Mode => match &node.value {
            Value::Text(text) => Checked::Mode(value::mode(text)?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Table(_) => {
                return Err(found(node));
            }
        },
        Kind::Any => Checked::Fits,
        Kind::Integers { .. }
        | Kind::List
        | Kind::Env
        | Kind::ExitCodes
        | Kind::Table(_)
        | Kind::Map(_)
        | Kind::Several(_)
        | Kind::OneOf(_) => return Ok(None),
    };
    Ok(Some(checked))
}

fn check_structure(kind: &Kind, written: &str, node: &Node) -> Result<Checked, Vec<Problem>> {
    let refuse = |reason: String| vec![misfit(kind, written, node, reason)];
    match (kind, &node.value) {
        (Kind::List, Value::List(items)) => {
            let mut problems = Vec::new();
            let texts = items.iter().filter_map(|item| {
                let text = item.scalar();
                if text.is_none() {
                    let message = format!("an item of `{written}` cannot be {}", item.kind());
                    problems.push(Problem::error(item.span, message).label("not text"));
                }
                text
            });
            let texts = texts.collect();
            if problems.is_empty() { Ok(Checked::List(texts)) } else { Err(problems) }
        }
        (Kind::List, Value::Text(text)) => value::words(text).map(Checked::List).map_err(refuse),
        (Kind::List, Value::Number(number)) => Ok(Checked::List(vec![number.text.clone()])),
        (Kind::Integers { min, max }, _) => integers(written, kind, node, *min, *max).map(Checked::Integers),
        (Kind::ExitCodes, _) => {
            let codes = integers(written, kind, node, 0, 255)?;
            Ok(Checked::Codes(codes.into_iter().filter_map(|code| u8::try_from(code).ok()).collect()))
        }
        (Kind::Env, Value::Table(table)) => env(table),
        (Kind::Table(fields), Value::Table(table)) => check_fields(fields, written, table),
        (Kind::Map(kind), Value::Table(table)) => {
            let problems = problems_of(table.iter().map(|(key, node)| check(kind, &inside(written, key), node)));
            if problems.is_empty() { Ok(Checked::Fits) } else { Err(problems) }
        }
        (Kind::Several(kind), Value::List(items)) => {
            let (mut checked, mut problems) = (Vec::new(), Vec::new());
            for item in items {
                match check(kind, written, item) {
                    Ok(value) => checked.push((item.span, value)),
                    Err(found) => problems.extend(found),
                }
            }
            if problems.is_empty() { Ok(Checked::Several(checked)) } else { Err(problems) }
        }
        (Kind::Several(kind), _) => check(kind, written, node).map(|one| Checked::Several(vec![(node.span, one)])),
        (Kind::OneOf(kinds), _) => one_of(kinds, written, node).unwrap_or_else(|reason| Err(refuse(reason))),
        _ => Err(refuse(found(node))),
    }
}

/// The outer error is the reason of the scalar kind that fits best, for a problem that names all kinds.
fn one_of(kinds: &[Kind], written: &str, node: &Node) -> Result<Result<Checked, Vec<Problem>>, String> {
    let mut reason = None;
    for kind in kinds {
        match check(kind, written, node) {
            Ok(checked) => return Ok(Ok(checked)),
            // The form fits; what is wrong is inside, and cited there.
            Err(problems) if problems.iter().any(|problem| problem.span != Some(node.span)) => {
                return Ok(Err(problems));
            }
            Err(problems) => reason = problems.into_iter().next().map(|problem| problem.label),
        }
    }
    Err(reason.unwrap_or_else(|| found(node)))
}

fn check_fields(fields: &[Field], written: &str, table: &[(Key, Node)]) -> Result<Checked, Vec<Problem>> {
    let (mut checked, mut problems) = (Vec::new(), Vec::new());
    for (key, node) in table {
        let name = crate::config::keys::snake_case(&key.name);
        if let Some(field) = fields.iter().find(|field| field.name == name) {
            match check(&field.kind, &inside(written, key), node) {
                Ok(value) => checked.push((field.name, value)),
                Err(found) => problems.extend(found),
            }
            continue;
        }
        let meant = similar(&name, fields.iter().map(|field| field.name));
        let known: Vec<String> = fields.iter().map(|field| format!("`{}`", field.name)).collect();
        let help = meant.map_or_else(
            || format!("`{written}` has {}", known.join(", ")),
            |meant| format!("did you mean `{meant}`?"),
        );
        let problem = Problem::error(key.span, format!("unknown key `{}` in `{written}`", shown(&key.name)));
        problems.push(problem.label("unknown key").help(help));
    }
    if problems.is_empty() { Ok(Checked::Table(checked)) } else { Err(problems) }
}

fn inside(written: &str, key: &Key) -> String {
    format!("{written}.{}", shown(&key.name))
}

fn problems_of(results: impl Iterator<Item = Result<Checked, Vec<Problem>>>) -> Vec<Problem> {
    results.filter_map(Result::err).flatten().collect()
}

fn integer(node: &Node, min: i64, max: i64) -> Result<i64, String> {
    let value = match &node.value {
        Value::Number(number) => number.integer,
        // PM2 takes numbers in quotes, and so do flags.
        Value::Text(text) => Some(text.trim().parse().map_err(|_| "not a whole number".to_owned())?),
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Table(_) => return Err(found(node)),
    };
    match value {
        Some(value) if value < min => Err(format!("less than {min}")),
        Some(value) if value > max => Err(format!("more than {max}")),
        Some(value) => Ok(value),
        None => Err("not a whole number that fits".into()),
    }
}

fn integers(written: &str, kind: &Kind, node: &Node, min: i64, max: i64) -> Result<Vec<i64>, Vec<Problem>> {
    let refuse = |node: &Node, reason: String| vec![misfit(kind, written, node, reason)];
    match &node.value {
        Value::List(items) => {
            let mut problems = Vec::new();
            let mut values = Vec::with_capacity(items.len());
            for item in items {
                match integer(item, min, max) {
                    Ok(value) => values.push(value),
                    Err(reason) => problems.extend(refuse(item, reason)),
                }
            }
            if problems.is_empty() { Ok(values) } else { Err(problems) }
        }
        Value::Text(text) => {
            let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
            let values = parts.map(|part| {
                integer(&Node::new(node.span, Value::Text(part.to_owned())), min, max).map_err(|r| refuse(node, r))
            });
            let values: Vec<i64> = values.collect::<Result<_, _>>()?;
            if values.is_empty() { Err(refuse(node, "nothing".into())) } else { Ok(values) }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Table(_) => {
            integer(node, min, max).map(|value| vec![value]).map_err(|reason| refuse(node, reason))
        }
    }
}

fn count(node: &Node) -> Result<Count, String> {
    if let Value::Text(text) = &node.value
        && text.trim() == "max"
    {
        return Ok(Count::Cores { spared: 0 });
    }
    let value = integer(node, -MAX_INSTANCES, MAX_INSTANCES)?;
    let amount = u16::try_from(value.unsigned_abs()).map_err(|_| "too many".to_owned())?;
    Ok(if value > 0 { Count::Exactly(amount) } else { Count::Cores { spared: amount } })
}

fn env(table: &[(Key, Node)]) -> Result<Checked, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut variables = Vec::with_capacity(table.len());
    for (key, node) in table {
        if let Err(reason) = variable(&key.name) {
            let problem = Problem::error(key.span, format!("`{}` cannot be a variable", shown(&key.name)));
            problems.push(problem.label(reason).help(format!("expected {}", Kind::Variable.expects())));
        }
        let value = match &node.value {
            Value::Null => None,
            Value::Bool(_) | Value::Number(_) | Value::Text(_) => node.scalar(),
            // As PM2 does: a structure reaches the program as JSON.
            Value::List(_) | Value::Table(_) => Some(node.to_json()),
        };
        variables.push((key.name.clone(), value));
    }
    if problems.is_empty() { Ok(Checked::Env(variables)) } else { Err(problems) }
}

fn variable(name: &str) -> Result<(), String> {
    match name {
        "" => Err("nothing".into()),
        _ if name.contains('=') => Err("contains `=`".into()),
        _ => Ok(()),
    }
}

/// The rules of names: what targets, log files and tables can carry without doubt.
pub(crate) fn name(name: &str) -> Result<String, String> {
    let reason = match name {
        "" => "nothing",
        "all" => "`all` means every app",
        "." | ".." => "it is a folder's name",
        _ if name.len() > 200 => return Err(format!("{} bytes, 200 are allowed", name.len())),
        _ if name.contains('/') => "contains `/`",
        _ if name.contains(char::is_control) => "contains a control character",
        _ if name.starts_with('-') => "begins with `-`, like a flag",
        _ if name.trim() != name => "begins or ends with a space",
        _ => return Ok(name.to_owned()),
    };
    Err(reason.into())
}
