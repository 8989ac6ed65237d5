//! `rsx logs`: the last lines of each file, then what comes, until its reader goes away.
//!
//! The files are read directly; a slow reader costs the daemon nothing. Which files belong to a target is the daemon's
//! word, or, when none runs, that of what is wanted (`wanted.json`) and of the file names.
//!
//! ```text
//! index, segment   one file, by logical offsets        chain   archives and live files as one stream of bytes
//! tail             the wanted lines of one log         follow  many logs merged by time, and the news between them
//! ```

mod attach;
mod chain;
mod choice;
mod follow;
mod index;
mod print;
mod search;
mod segment;
mod sources;
mod tail;
mod watcher;
mod when;

use std::path::PathBuf;

use crate::cli::args::LogsArgs;
use crate::cli::logs::choice::Wish;
use crate::cli::logs::print::Printer;
use crate::cli::logs::tail::Then;
use crate::cli::session::Session;
use crate::error::{ExitCode, Failure};
use crate::spec::Stream;
use crate::sys::limits::raise_nofile;

pub(super) use attach::Attach;

/// How many lines of each file come first unless others are asked for.
const LINES: u32 = 15;

/// One log file and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    path: PathBuf,
    app: String,
    /// None where only a file name is known, or several instances share the file.
    id: Option<u32>,
    stream: Stream,
}

/// Runs `rsx logs`.
pub(super) fn run(session: &mut Session, args: &LogsArgs) -> Result<ExitCode, Failure> {
    let wish = Wish::read(args, session.now())?;
    let printer = Printer::new(session, args);
    let is_wanted = |stream| match stream {
        Stream::Out => !args.err,
        Stream::Error => !args.out,
    };
    let found = sources::find(session, &args.targets)?;
    let mut wanted: Vec<Source> = found.sources.into_iter().filter(|source| is_wanted(source.stream)).collect();
    sources::share(&mut wanted);
    // Each file stays open, with its index. Where the limit cannot be raised, opening says so.
    let _ = raise_nofile();
    let mut follower = follow::Follower::new(printer, wish.clone());
    for source in wanted {
        follower.add(source);
    }
    // All of a time, but not all of a file.
    let lines = args.lines.or((!wish.is_timed()).then_some(LINES));
    // What comes later than now is not until then.
    let follows = found.is_live && !args.nostream && args.until.is_none();
    follower.history(session, lines.map(u64::from), if follows { Then::Stream } else { Then::Nothing })?;
    if follows {
        follower.follow(session, &args.targets, &is_wanted)?;
    }
    Ok(ExitCode::Done)
}
