//! Runs that the guardian holds and that the journal says nothing of: lines of it were lost, or it is an older one.
//!
//! Nobody knows which app they are of, and that app may be started again. So they are asked to end, then killed, before
//! anything is started; and users are told.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;

use tracing::{info, warn};

use crate::daemon::keep;
use crate::daemon::link::Link;
use crate::daemon::predecessor::end_rounds;
use crate::proto::BornRecord;
use crate::supervisor::RunId;
use crate::sys::moment::Moment;
use crate::sys::process::{self, PidFd, Process};
use crate::sys::tree;

/// A process that lives and that nobody knows.
#[derive(Debug)]
pub(super) struct Stray {
    run: RunId,
    process: Process,
}

impl Stray {
    /// The process behind what the guardian kept of a run; none if it has ended.
    pub(super) fn of(run: RunId, (pid, pidfd): (u32, OwnedFd)) -> Option<Stray> {
        let born = birth(run, pid, &pidfd)?;
        match Process::adopt(pid, Moment { monotonic: born.at, boot: born.boot }, Some(pidfd)) {
            Ok(process) => process.map(|process| Stray { run, process }),
            Err(error) => {
                warn!(run = run.0, pid, "cannot look at a process that the journal does not know: {error}");
                None
            }
        }
    }

    /// Its number.
    pub(super) fn run(&self) -> RunId {
        self.run
    }
}

/// What the journal would say of a process that is held; none if it has ended.
pub(super) fn birth(run: RunId, pid: u32, pidfd: &OwnedFd) -> Option<BornRecord> {
    match process::born(pidfd, pid) {
        Ok(born) => born.map(|Moment { monotonic: at, boot }| BornRecord { run: run.0, pid, at, boot }),
        Err(error) => {
            warn!(run = run.0, pid, "cannot tell when a process was born: {error}");
            None
        }
    }
}

/// Ends them all and lets go of them; what to say of it.
pub(super) async fn end(strays: Vec<Stray>, link: Option<&Link>) -> Option<String> {
    if strays.is_empty() {
        return None;
    }
    let names: Vec<String> =
        strays.iter().map(|stray| keep::process_name(stray.run, stray.process.display_pid())).collect();
    let named: Vec<String> = strays
        .iter()
        .map(|stray| {
            let (run, pid) = (stray.run.0, stray.process.display_pid());
            info!(run, pid, "the journal does not know this process: it is ended");
            format!("{pid} (run {run})")
        })
        .collect();
    let ended = tokio::task::spawn_blocking(move || end_rounds(|| everybody(&strays))).await;
    if let Some(link) = link {
        names.iter().for_each(|name| link.forget(&[name]));
    }
    let outcome = match ended {
        Ok(Ok(0)) => "ended".to_owned(),
        Ok(Ok(left)) => format!("not all ended: {left} of them and their children are left"),
        Ok(Err(error)) => format!("not ended: {error}"),
        Err(error) => format!("not ended: {error}"),
    };
    let many = if named.len() == 1 { "a process" } else { "processes" };
    Some(format!("{many} that the journal knows nothing of: {outcome}: {}", named.join(", ")))
}

fn everybody(strays: &[Stray]) -> io::Result<Vec<PidFd>> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    for trace in strays.iter().filter_map(|stray| stray.process.trace()) {
        found.extend(tree::everybody_of(trace)?.into_iter().filter(|process| seen.insert(process.display_pid())));
    }
    Ok(found)
}
