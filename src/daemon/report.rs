//! What reaches the engine, and what it answers.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::daemon::clock::Clock;
use crate::daemon::pump::Health;
use crate::daemon::spawner::Spawned;
use crate::guardian;
use crate::proto::{Key, Progress};
use crate::supervisor::{Ask, Finding, Hang, Lasting, ReadyBy, Remaining, Reply, RunId, SlotId, Who};

/// What reaches the engine.
#[derive(Debug)]
pub(super) enum Report {
    /// A client asks.
    Asked(Box<Request>),
    /// A process was made.
    Spawned(Box<Spawned>),
    /// A process could not be made.
    SpawnFailed { run: RunId, why: String, lasting: Lasting },
    /// A run is ready.
    Ready { run: RunId, by: ReadyBy },
    /// A program says something of itself.
    Said {
        run: RunId,
        what: Saying,
        /// Dropped when a successor would know of it: until then it stays where it was read.
        noted: oneshot::Sender<()>,
    },
    /// The connections of a run have ended, or their time is over.
    Drained { run: RunId },
    /// A run hangs.
    Hung { run: RunId, hang: Hang },
    /// A health check has come to its end.
    Checked { run: RunId, finding: Finding },
    /// A connection that waited for a run which is gone, for whoever serves that address.
    Rescued { stream: TcpStream, address: SocketAddr },
    /// What the run that is drained is still doing.
    Remaining { run: RunId, remaining: Remaining },
    /// A main process is a zombie.
    Ended { run: RunId },
    /// The guardian tells how a process ended that an earlier daemon has started.
    Told(guardian::Ended),
    /// Another binary takes over from here; it becomes the guardian, too, where there is none.
    HandOver(Option<PathBuf>),
    /// Nobody has told how such a process ended.
    Lost { run: RunId },
    /// The tree of a run takes more memory than it should.
    Weighed { run: RunId, memory: u64 },
    /// Nothing of a tree is left.
    Gone { run: RunId },
    /// Both output pipes of a run have ended.
    Closed { run: RunId },
    /// Bytes for the standard input of runs, few enough for a pipe to take whole.
    Input { key: Option<Key>, runs: Vec<RunId>, bytes: Vec<u8>, written: oneshot::Sender<Vec<Result<(), String>>> },
    /// A log file cannot be written, or can be written again.
    LogFile { path: PathBuf, health: Health },
    /// A disk was nearly full: so many archives of logs went.
    LogsRemoved { folder: PathBuf, archives: u64, bytes: u64 },
    /// What the owner of a run should know of its sockets: which run, its app, id and index, and whether it is told for the
    /// first time.
    Remark { run: RunId, of: (String, SlotId, u16), text: String, is_new: bool },
    /// The last words of a run.
    LastWords { run: RunId, stderr: Vec<String> },
}

/// What a program says of itself that matters to the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saying {
    /// That it is ready.
    Ready,
    /// That it is about to end.
    Closing,
    /// Which signals it listens for.
    Heeds { interrupt_only: bool },
    /// How long it may be silent.
    Guarded { limit: Duration },
    /// That it hangs.
    Hung,
}

/// A request and where its answer goes.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) who: Arc<Who>,
    pub(super) ask: Ask,
    /// The name of the wish: a client whose connection broke before its answer asks again under the same.
    pub(super) key: Option<Key>,
    pub(super) answer: oneshot::Sender<Answered>,
    pub(super) progress: Option<mpsc::UnboundedSender<Progress>>,
}

/// An answer of the core on its way to a client.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) reply: Reply,
    /// What was told of the sockets of the runs that failed.
    pub(super) remarks: HashMap<RunId, Vec<String>>,
    pub(super) epoch: Clock,
    /// Dropped when the answer has been written.
    pub(super) written: oneshot::Sender<()>,
}
