//! What the shell knows of runs: those that live, those that have ended, and how each was launched.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch as tokio_watch;

use crate::daemon::launch::Resolved;
use crate::daemon::pump::Style;
use crate::daemon::sight::{Kind, Seen};
use crate::daemon::talk::Talk;
use crate::spec::ListenAddress;
use crate::supervisor::{RunId, SlotId};
use crate::sys::moment::Moment;
use crate::sys::process::Process;

/// A run whose tree may live.
pub(super) struct Live {
    pub(super) run: RunId,
    pub(super) slot: SlotId,
    pub(super) process: Arc<Process>,
    pub(super) born: Moment,
    /// See [`marker`].
    pub(super) mark: String,
    pub(super) kind: Kind,
    pub(super) place: Arc<Place>,
    /// Held open, so that the program never reads an end of its input. None of a run whose guardian was lost.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) talk: Talk,
    /// Until its end.
    pub(super) pid_file: Option<PathBuf>,
    /// Whether SIGKILL was sent to the rest of its tree.
    pub(super) killing: tokio_watch::Sender<bool>,
    pub(super) end: End,
    /// Whether its main process, and the rest of its tree, were sent the signal to end.
    pub(super) sent: (bool, bool),
}

/// Whether the core knows that the main process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon) enum End {
    NotYet,
    Told,
}

impl Live {
    pub(super) fn seen(&self) -> Seen<'_> {
        Seen { process: &self.process, mark: &self.mark, kind: self.kind }
    }
}

#[derive(Default)]
pub(super) struct Past {
    pub(super) pid: u32,
    pub(super) stderr: Vec<String>,
    /// What was told of its sockets.
    pub(super) remarks: Vec<String>,
}

/// One launch: what was found for it, and where its output goes.
#[derive(Debug)]
pub(in crate::daemon) struct Place {
    pub(in crate::daemon) run: RunId,
    pub(in crate::daemon) slot: SlotId,
    pub(in crate::daemon) resolved: Arc<Resolved>,
    pub(in crate::daemon) out_file: Option<PathBuf>,
    pub(in crate::daemon) error_file: Option<PathBuf>,
    /// Where both go besides.
    pub(in crate::daemon) combined_file: Option<PathBuf>,
    pub(in crate::daemon) style: Arc<Style>,
    pub(in crate::daemon) pid_file: Option<PathBuf>,
    /// How long the file of its standard error was when it began.
    pub(in crate::daemon) error_began: u64,
    /// Whether its tree is looked after.
    pub(in crate::daemon) treekill: bool,
    /// Whether its sockets are shared.
    pub(in crate::daemon) captured: bool,
    /// Whether there is a socket for agents in its programs.
    pub(in crate::daemon) agent: bool,
    /// The sockets that it got.
    pub(in crate::daemon) handed: Vec<ListenAddress>,
}

impl Place {
    /// All log files of it.
    pub(in crate::daemon) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.out_file, &self.error_file, &self.combined_file].into_iter().flatten()
    }
}
