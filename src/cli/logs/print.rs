//! How a line is printed.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Local, SecondsFormat};
use serde::Serialize;

use crate::cli::args::LogsArgs;
use crate::cli::logs::Source;
use crate::cli::output::Output;
use crate::cli::render::clock::moment;
use crate::cli::session::Session;
use crate::cli::style::{Style, Tint};
use crate::error::Failure;
use crate::spec::Stream;

/// How lines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Behind the id and name of the instance.
    Prefixed,
    /// As they are.
    Raw,
    /// As names and values.
    Pairs,
    /// One object a line.
    Json,
}

/// Whether a line was there before it was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It was.
    Past,
    /// It has just come.
    New,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    app: &'a str,
    id: Option<u32>,
    stream: Stream,
    /// When it came, in milliseconds of the epoch, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
    line: Cow<'a, str>,
}

/// What the flags say about the form of lines.
#[derive(Clone, Debug)]
pub(super) struct Printer {
    form: Form,
    style: Style,
    highlight: Option<String>,
    shows_arrival: bool,
}

impl Printer {
    pub(super) fn new(session: &Session, args: &LogsArgs) -> Printer {
        let form = match () {
            () if session.json => Form::Json,
            () if args.format => Form::Pairs,
            () if args.raw => Form::Raw,
            () => Form::Prefixed,
        };
        let highlight = args.highlight.clone().filter(|text| !text.is_empty());
        Printer { form, style: session.out.style(), highlight, shows_arrival: args.timestamp }
    }

    /// Whether other news stand between the lines.
    pub(super) fn tells_news(&self) -> bool {
        self.form == Form::Prefixed
    }

    /// How it is coloured.
    pub(super) fn style(&self) -> Style {
        self.style
    }

    /// Writes one line of one source.
    pub(super) fn print(
        &self,
        out: &mut Output,
        source: &Source,
        prefix: &str,
        line: &[u8],
        time: Option<u64>,
        age: Age,
    ) -> Result<(), Failure> {
        match self.form {
            Form::Prefixed => {
                self.arrival(out, time, age)?;
                out.data(prefix)?;
                out.line(self.highlighted(line))
            }
            Form::Raw => {
                self.arrival(out, time, age)?;
                out.line(self.highlighted(line))
            }
            Form::Pairs => out.line(pairs(source, line, time, age)),
            Form::Json => {
                let line = String::from_utf8_lossy(line);
                out.json(&JsonLine { app: &source.app, id: source.id, stream: source.stream, time, line })
            }
        }
    }

    /// What has just come has a time of coming, even if nothing tells it.
    fn arrival(&self, out: &mut Output, time: Option<u64>, age: Age) -> Result<(), Failure> {
        match time.or_else(|| (age == Age::New).then(now)).filter(|_| self.shows_arrival) {
            Some(time) => out.data(format!("{} ", self.style.paint(Tint::Grey, &moment(time)))),
            None => Ok(()),
        }
    }

    /// Marks the text where colours are wanted; other bytes stay as they are.
    fn highlighted<'l>(&self, line: &'l [u8]) -> Cow<'l, [u8]> {
        let Some(text) = self.highlight.as_deref().filter(|_| self.style == Style::Colour) else { return line.into() };
        let Ok(shown) = std::str::from_utf8(line) else { return line.into() };
        shown.replace(text, &self.style.paint(Tint::Marked, text)).into_bytes().into()
    }
}

/// `timestamp=… app=… id=… type=out message=…`: the line's own time; of a new line without one, that of its coming.
fn pairs(source: &Source, line: &[u8], time: Option<u64>, age: Age) -> String {
    let time = time.or_else(|| (age == Age::New).then(now)).map(|time| i64::try_from(time).unwrap_or(i64::MAX));
    let time = time.and_then(DateTime::from_timestamp_millis);
    let time = time.map(|time| time.with_timezone(&Local).to_rfc3339_opts(SecondsFormat::Millis, false));
    let kind = match source.stream {
        Stream::Out => "out",
        Stream::Error => "error",
    };
    let id = source.id.map(|id| format!("id={id} ")).unwrap_or_default();
    let message = String::from_utf8_lossy(line);
    format!("timestamp={} app={} {id}type={kind} message={message}", time.as_deref().unwrap_or("-"), source.app)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `0|api    | `, padded to the longest of all, in the colour of the app.
pub(super) fn prefix(source: &Source, width: usize, tint: Tint, style: Style) -> String {
    let text = format!("{:<width$} | ", label(source));
    match source.stream {
        Stream::Out => style.paint(tint, &text),
        Stream::Error => style.paint(Tint::Red, &text),
    }
}

pub(super) fn label(source: &Source) -> String {
    match source.id {
        Some(id) => format!("{id}|{}", source.app),
        None => source.app.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source { path: "/l/a".into(), app: "api".into(), id: Some(3), stream: Stream::Error }
    }

    #[test]
    fn pairs_carry_the_time_of_the_line_or_none() {
        assert_eq!(pairs(&source(), b"x", None, Age::Past), "timestamp=- app=api id=3 type=error message=x");
        let timed = pairs(&source(), b"2026-05-28T12:00:00Z x", Some(1_779_969_600_000), Age::New);
        assert!(
            timed.starts_with("timestamp=2026-05-2") && timed.ends_with("message=2026-05-28T12:00:00Z x"),
            "{timed}"
        );
        assert!(!pairs(&source(), b"x", None, Age::New).starts_with("timestamp=-"));
    }

    #[test]
    fn a_text_is_marked_where_there_are_colours_and_bytes_stay_bytes() {
        let printer = |style| Printer { form: Form::Raw, style, highlight: Some("err".into()), shows_arrival: false };
        assert_eq!(&*printer(Style::Plain).highlighted(b"an err"), b"an err");
        assert_eq!(&*printer(Style::Colour).highlighted(b"an err"), b"an \x1b[7merr\x1b[0m");
        assert_eq!(&*printer(Style::Colour).highlighted(b"\xff err"), b"\xff err");
    }
}
