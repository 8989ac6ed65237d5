//! `why`: one timeline of an instance, from the daemon's events and its exits.

use std::time::Duration;

use crate::cli::args::WhyArgs;
use crate::cli::render::why;
use crate::cli::session::{Session, view};
use crate::cli::{apply, render::table, targets};
use crate::error::{ExitCode, Failure};
use crate::proto::{Call, Past, PastCall, ViewDetail};

/// How long the daemon may take to hand out its events.
const PAST_LIMIT: Duration = Duration::from_secs(10);

/// As many events as the daemon keeps.
const ALL: u32 = 1000;

/// Runs `rsx why`.
pub(super) fn run(session: &mut Session, args: &WhyArgs) -> Result<ExitCode, Failure> {
    let mut daemon = session.daemon_or_fail()?;
    let targets = targets::read(session, &args.of.targets, &[])?;
    let past: Past = daemon.call(&Call::Past(PastCall { history: ALL }), PAST_LIMIT)?;
    // Later than the events, so that it knows how they ended.
    let view = view(&mut daemon, ViewDetail::Full)?;
    let picked = targets::pick_all(&view, &targets)?;
    let lines = usize::try_from(args.lines).unwrap_or(usize::MAX);
    let mut stories = Vec::new();
    for picked in &picked {
        stories.extend(picked.slots.iter().map(|slot| why::story(picked.app, slot, &past.events, lines)));
    }
    if session.json {
        session.out.json(&stories)?;
        return Ok(ExitCode::Done);
    }
    let sheet = apply::sheet(session, table::Extent::Full);
    for (n, story) in stories.iter().enumerate() {
        if n > 0 {
            session.out.line("")?;
        }
        session.out.data(why::text(story, sheet))?;
    }
    Ok(ExitCode::Done)
}
