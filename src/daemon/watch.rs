//! Tasks that wait for one thing of one run and report it: its end, and the end of its tree.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::daemon::report::Report;
use crate::daemon::sight::Adopted;
use crate::spec::Signal;
use crate::supervisor::RunId;
use crate::sys::process::{PidFd, Process, Trace};
use crate::sys::readable;
use crate::sys::tree::{self, Reaper, Remains};

/// How long the survivors of a tree are waited for before they are listed again: they may have forked.
const LIST_AGAIN: Duration = Duration::from_millis(500);

/// The longest pause between two looks at a tree that is being killed.
const KILL_AGAIN: Duration = Duration::from_millis(4);

/// How long the guardian may take to tell how an adopted process ended.
const TELLING: Duration = Duration::from_secs(2);

/// The pause before the status of an ended process that is being traced is asked for again.
const HELD: Duration = Duration::from_millis(100);

/// Reports the end of the main process.
pub(super) fn exit(run: RunId, process: Arc<Process>, reports: mpsc::UnboundedSender<Report>) {
    tokio::spawn(async move {
        ended(&process).await;
        // The engine may have ended.
        let _ = reports.send(Report::Ended { run });
    });
}

/// Reports the end of a main process once more, a moment later: as long as a debugger has not taken note of it, its
/// status cannot be had (ptrace(2)), and nothing tells when it can.
pub(super) fn exit_later(run: RunId, reports: mpsc::UnboundedSender<Report>) {
    tokio::spawn(async move {
        tokio::time::sleep(HELD).await;
        // The engine may have ended.
        let _ = reports.send(Report::Ended { run });
    });
}

/// A main process that has ended, and what is to become of the rest of its tree.
pub(super) struct Tree {
    pub(super) trace: Trace,
    /// What only this run's processes have in their environment.
    pub(super) mark: String,
    /// What was left at its end.
    pub(super) left: Vec<PidFd>,
    /// Becomes true when they have had their time: whoever is still found is killed at once.
    pub(super) killing: watch::Receiver<bool>,
    pub(super) adopted: Adopted,
}

/// Reports that nobody has told how an adopted main process ended, unless somebody tells in time.
pub(super) fn told_or_lost(run: RunId, reports: mpsc::UnboundedSender<Report>) {
    tokio::spawn(async move {
        tokio::time::sleep(TELLING).await;
        // The engine may have ended; and it knows whether it was told meanwhile.
        let _ = reports.send(Report::Lost { run });
    });
}

/// Reports when nothing is left of the tree of a main process that has ended.
pub(super) fn gone(run: RunId, tree: Tree, reaper: Reaper, reports: mpsc::UnboundedSender<Report>) {
    tokio::spawn(async move {
        let Tree { trace, mark, left, mut killing, adopted } = tree;
        // Kept until each has ended: on its last steps a process has no environment any more by which a list could know
        // it, and still holds its sockets.
        let mut left: Vec<Arc<PidFd>> = left.into_iter().map(Arc::new).collect();
        let mut pause = Duration::ZERO;
        loop {
            // One of them may start others: look again even when none has ended.
            let _ = tokio::time::timeout(LIST_AGAIN, all_ended(&left)).await;
            left.retain(|process| !process.has_ended_within(Duration::ZERO).unwrap_or(true));
            let (mark, adopted, kills) = (mark.clone(), Arc::clone(&adopted), *killing.borrow_and_update());
            let look = move || look(trace, &mark, (reaper, &adopted), kills);
            match tokio::task::spawn_blocking(look).await {
                Ok(Ok(remains)) if remains.is_nothing() && left.is_empty() => break,
                Ok(Ok(remains)) => {
                    left.retain(|kept| remains.held.iter().all(|one| one.display_pid() != kept.display_pid()));
                    left.extend(remains.held.into_iter().map(Arc::new));
                }
                Ok(Err(error)) => warn!(run = run.0, "cannot see what the process left: {error}"),
                Err(error) => {
                    warn!(run = run.0, "listing a tree failed: {error}");
                    break;
                }
            }
            // A tree may move on by forking, and be a different one each time: that must not cost a whole core.
            let longest = if kills { KILL_AGAIN } else { LIST_AGAIN };
            // The shell may have let go of the run; its tree is waited for all the same.
            let _ = tokio::time::timeout(pause.min(longest), killing.wait_for(|now| *now && !kills)).await;
            pause = (pause * 2).clamp(Duration::from_millis(1), LIST_AGAIN);
        }
        // The engine may have ended.
        let _ = reports.send(Report::Gone { run });
    });
}

/// Lists what is left and, when it has had its time, kills it in the same breath.
fn look(main: Trace, mark: &str, (reaper, adopted): (Reaper, &Adopted), kills: bool) -> io::Result<Remains> {
    let remains = tree::leftovers(main, mark, reaper, adopted)?;
    for process in remains.held.iter().filter(|_| kills) {
        process.signal(Signal::KILL)?;
    }
    Ok(remains)
}

async fn ended(process: &Arc<Process>) {
    if let Err(error) = readable::ended(Arc::clone(process)).await {
        warn!(pid = process.display_pid(), "cannot watch a process: {error}");
        let process = Arc::clone(process);
        let wait = move || while !process.has_ended_within(LIST_AGAIN).unwrap_or(true) {};
        // The pool's thread ends with the process.
        let _ = tokio::task::spawn_blocking(wait).await;
    }
}

async fn all_ended(processes: &[Arc<PidFd>]) {
    for process in processes {
        if readable::pidfd_ended(Arc::clone(process)).await.is_err() {
            tokio::time::sleep(LIST_AGAIN).await;
        }
    }
}
