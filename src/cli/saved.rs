//! `save` and `resurrect`: a copy of what is wanted, and the way back to it.

use std::time::Duration;

use crate::cli::act;
use crate::cli::apply;
use crate::cli::args::{ResurrectArgs, SaveArgs};
use crate::cli::progress::{self, FIRST_LIMIT};
use crate::cli::render::{outcome, table::Extent};
use crate::cli::session::{Session, view};
use crate::client::ClientError;
use crate::error::{ExitCode, Failure};
use crate::proto::{Call, Outcome, ResurrectCall, Saved, ViewDetail};

/// How long writing the copy may take.
const SAVE_LIMIT: Duration = Duration::from_secs(40);

/// Runs `rsx save`.
pub(super) fn save(session: &mut Session, args: &SaveArgs) -> Result<ExitCode, Failure> {
    let mut client = session.daemon_to_act_or_fail()?;
    let apps = view(&mut client, ViewDetail::Brief)?.apps.len();
    if apps == 0 && !args.force {
        return Err(Failure::failed("there is no app to save")
            .hint("`rsx save --force` saves the empty list; then `rsx resurrect` brings back nothing"));
    }
    let saved: Saved = client.call(&Call::Save, SAVE_LIMIT)?;
    if session.json {
        session.out.json(&saved)?;
    } else {
        let word = if apps == 1 { "app" } else { "apps" };
        session.out.talk(&format!("saved {apps} {word} to {}", saved.path.display()));
    }
    Ok(ExitCode::Done)
}

/// Runs `rsx resurrect`.
pub(super) fn resurrect(session: &mut Session, args: &ResurrectArgs) -> Result<ExitCode, Failure> {
    let mut client = session.daemon_or_start()?;
    let call = Call::Resurrect(ResurrectCall { no_wait: args.no_wait });
    let outcome: Outcome = match progress::ask(session, &mut client, &call, FIRST_LIMIT) {
        Err(ClientError::Interrupted) => return Ok(apply::detached(session)),
        answer => answer?,
    };
    let waited = if args.no_wait { apply::Waited::No } else { apply::Waited::ToTheEnd };
    if session.json {
        session.out.json(&outcome)?;
        return Ok(apply::verdict(&outcome.results, waited));
    }
    match outcome::summary("started", &outcome.results) {
        Some(summary) => session.out.talk(&summary),
        None => session.out.talk("nothing to bring back: what was saved, and what ran before, runs or is gone"),
    }
    let extent: Extent = act::extent(false);
    apply::conclude(session, &mut client, &outcome.results, extent, waited)
}
