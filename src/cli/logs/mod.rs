//! `rsx logs`: the last lines of each file, then what comes, until its reader goes away.
//!
//! The files are read directly; a slow reader costs the daemon nothing. Which files belong to a target is the daemon's
//! word, or, when none runs, that of the file names.

mod follow;
mod sources;
mod tail;
mod watcher;

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::args::LogsArgs;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::style::{Style, Tint};
use crate::error::{ExitCode, Failure};
use crate::spec::Stream;

/// One log file and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    path: PathBuf,
    app: String,
    /// None where only a file name is known, or several instances share the file.
    id: Option<u32>,
    stream: Stream,
}

/// How lines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Behind the id and name of the instance.
    Prefixed,
    /// As they are.
    Raw,
    /// One object a line.
    Json,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    app: &'a str,
    id: Option<u32>,
    stream: Stream,
    line: std::borrow::Cow<'a, str>,
}

/// Runs `rsx logs`.
pub(super) fn run(session: &mut Session, args: &LogsArgs) -> Result<ExitCode, Failure> {
    let form = match () {
        () if session.json => Form::Json,
        () if args.raw => Form::Raw,
        () => Form::Prefixed,
    };
    let is_wanted = |stream| match stream {
        Stream::Out => !args.err,
        Stream::Error => !args.out,
    };
    let found = sources::find(session, &args.targets)?;
    let mut wanted: Vec<Source> = found.sources.into_iter().filter(|source| is_wanted(source.stream)).collect();
    sources::share(&mut wanted);
    let mut follower = follow::Follower::new(form, session.out.style());
    for source in wanted {
        follower.add(source);
    }
    follower.history(&mut session.out, u64::from(args.lines))?;
    if found.is_live && !args.nostream {
        follower.follow(session, &args.targets, &is_wanted)?;
    } else {
        follower.finish(&mut session.out)?;
    }
    Ok(ExitCode::Done)
}

/// Writes one line of one source.
fn write_line(out: &mut Output, source: &Source, prefix: &str, form: Form, line: &[u8]) -> Result<(), Failure> {
    match form {
        Form::Prefixed => {
            out.data(prefix)?;
            out.line(line)
        }
        Form::Raw => out.line(line),
        Form::Json => {
            let line = String::from_utf8_lossy(line);
            out.json(&JsonLine { app: &source.app, id: source.id, stream: source.stream, line })
        }
    }
}

/// `0|api    | `, padded to the longest of all, in the colour of the app.
fn prefix(source: &Source, width: usize, tint: Tint, style: Style) -> String {
    let text = format!("{:<width$} | ", label(source));
    match source.stream {
        Stream::Out => style.paint(tint, &text),
        Stream::Error => style.paint(Tint::Red, &text),
    }
}

fn label(source: &Source) -> String {
    match source.id {
        Some(id) => format!("{id}|{}", source.app),
        None => source.app.clone(),
    }
}
