//! Cluster mode, carried out: the sockets that captured runs share, on a thread of its own.
//!
//! ```text
//!  spawner ── gate ──┐                            ┌─> Report::Ready, Report::Drained
//!  engine ── steer ──┼─> rsx-sock: [Ports] ───────┼─> programs of groups, answers to bind and listen
//!  programs ─ calls ─┘                            └─> guardian: every descriptor, and what they are
//! ```
//!
//! | module | is responsible for |
//! |---|---|
//! | `thread` | waiting for calls, commands and time, one at a time |
//! | `ports` | who has which socket in which group, and what that makes the kernel do |
//! | `calls` | the answers to `bind` and `listen` |
//! | `seen` | what can be seen of a socket, where looking is refused |
//! | `own` | a socket of ours in the place of a program's |
//! | `queue` | one queue for all runs of an app |
//! | `inspect` | a debugger's port for each instance |
//! | `remarks` | what the owner of a run should know |
//! | `waiting_room` | where connections wait while the last run goes |
//! | `drains` | from the switch to a run without connections |
//! | `rescue` | who waits for a run that is gone, while its slot has another |
//! | `traffic` | whose connections are whose |
//! | `survey` | the order of an array that is in doubt |
//! | `moved` | who has moved, and what was left behind |
//! | `closed` | sockets that their programs have closed |
//! | `loads` | what members have to do, and weights that follow it |
//! | `views` | what is shown |
//! | `probed` | where one run can be reached and no other |
//! | `records` | what is known, as records |
//! | `ledger` | what a successor has to know, in memory that the guardian keeps |
//! | `restore` | going on where a predecessor was |
//!
//! # Invariant
//!
//! Nothing is done that a successor could not find: a descriptor is with the guardian, and what it is stands in the ledger,
//! before a program is let go on. The thread waits for nobody but its own poller and, at most a second, the guardian.

mod calls;
mod closed;
mod drains;
mod inspect;
mod ledger;
mod loads;
mod moved;
mod own;
mod ports;
mod probed;
mod queue;
mod records;
mod remarks;
mod rescue;
mod restore;
mod seen;
mod survey;
#[cfg(test)]
mod tests;
mod thread;
mod traffic;
mod views;
mod waiting_room;

pub(super) use restore::is_ours;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::cluster::{Balance, Ending, Mark, Share, Standing, Weight};
use crate::daemon::link::Link;
use crate::daemon::report::Report;
use crate::proto::PortView;
use crate::series::Series;
use crate::supervisor::{Remaining, RunId, SlotId, Time};
use crate::sys::fds::Channel;
use crate::sys::poller::Waker;
use crate::sys::process::Process;
use crate::sys::spawn::Gate;
use crate::sys::tcp::Origin;

/// How long a child waits until its listener is safe.
const AT_THE_GATE: Duration = Duration::from_secs(10);

/// How long the guardian may be behind with what it was sent, before a program is let go on all the same.
const SENT: Duration = Duration::from_secs(1);

/// The handle of the thread.
#[derive(Clone, Debug)]
pub(super) struct Sockets {
    commands: mpsc::Sender<Command>,
    waker: Waker,
    shown: Shown,
}

/// A run that is about to be made.
#[derive(Clone, Debug)]
pub(super) struct Newcomer {
    pub(super) run: RunId,
    pub(super) slot: SlotId,
    /// Its index within the app.
    pub(super) instance: u16,
    pub(super) app: String,
    pub(super) wants: Wants,
    /// The run of its slot that it is to take over from.
    pub(super) replaces: Option<RunId>,
    pub(super) terms: Terms,
    /// Whether it is asked by its ports how it is.
    pub(super) is_probed: bool,
}

/// On which terms a run takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// How those are chosen who get new connections. Of the runs that share a port the last one decides.
    pub(super) balance: Balance,
    pub(super) weight: Weight,
    /// What its probes are recognised by, where there are any.
    pub(super) mark: Option<Mark>,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms { balance: Balance::Random, weight: Weight::MIN, mark: None }
    }
}

/// What is to be shared of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wants {
    /// These ports alone; none: all.
    pub(super) only: Option<BTreeSet<u16>>,
    /// The ports of its inspectors, as its program names them.
    pub(super) inspectors: BTreeSet<u16>,
    /// Whether all instances of its app have one queue.
    pub(super) has_one_queue: bool,
}

/// What the thread is asked to do.
#[derive(Debug)]
enum Command {
    /// The listener of this run will arrive here.
    Gate(Newcomer, Channel),
    /// This is its process.
    Add(RunId, Arc<Process>),
    /// It is good for something else.
    Steer(RunId, Standing, Share),
    /// It is to lose its connections.
    Drain(RunId, Time, Ending),
    /// Its main process has ended, or could not be made.
    Ended(RunId),
    /// Nobody waits for a next run of this slot.
    GiveUp(SlotId),
    /// Somebody wants to see how it is now.
    Show(oneshot::Sender<()>),
    /// Somebody waits until what was told before is done.
    Settle(oneshot::Sender<()>),
    /// Copies of everything for a successor that no guardian serves; nothing is done after that.
    Leave(mpsc::Sender<Vec<(String, OwnedFd)>>),
}

/// What is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The ports of each run.
    pub(super) ports: BTreeMap<RunId, Vec<PortView>>,
    /// What runs that are drained are still doing.
    pub(super) drains: BTreeMap<RunId, Remaining>,
    /// Where runs can be reached, each by itself, and from where.
    places: BTreeMap<RunId, Vec<(SocketAddr, Origin)>>,
}

type Shown = Arc<Mutex<Seen>>;

impl Sockets {
    /// Starts the thread, where a predecessor was: `kept` is what the guardian has of it.
    ///
    /// # Errors
    ///
    /// No descriptors, no memory, no thread.
    pub(super) fn start(
        kept: Vec<(String, OwnedFd)>,
        link: Option<Link>,
        reports: tokio::sync::mpsc::UnboundedSender<Report>,
    ) -> io::Result<Sockets> {
        // Bounded by the number of runs, a few commands each.
        let (commands, inbox) = mpsc::channel();
        let shown = Shown::default();
        let thread = thread::Thread::new(kept, link, (inbox, reports, Arc::clone(&shown)))?;
        let waker = thread.waker();
        std::thread::Builder::new().name("rsx-sock".into()).spawn(move || thread.run())?;
        Ok(Sockets { commands, waker, shown })
    }

    /// What a child passes before it executes a program whose sockets are to be shared.
    ///
    /// # Errors
    ///
    /// EMFILE.
    pub(super) fn gate(&self, newcomer: Newcomer) -> io::Result<Gate> {
        let (ours, theirs) = Channel::pair()?;
        self.tell(Command::Gate(newcomer, ours));
        Ok(Gate { channel: theirs.into_fd(), message: b"listener".to_vec(), limit: AT_THE_GATE })
    }

    /// The process of a run, once the core knows of it: its readiness is not told before.
    pub(super) fn add(&self, run: RunId, process: Arc<Process>) {
        self.tell(Command::Add(run, process));
    }

    pub(super) fn steer(&self, run: RunId, standing: Standing, share: Share) {
        self.tell(Command::Steer(run, standing, share));
    }

    /// Where this run can be reached and no other, at this port or its lowest.
    pub(super) fn places(&self, run: RunId, port: Option<u16>) -> Vec<(SocketAddr, Origin)> {
        let shown = lock(&self.shown);
        let all = shown.places.get(&run).map(Vec::as_slice).unwrap_or_default();
        let wanted = port.or_else(|| all.iter().map(|(to, _)| to.port()).min());
        all.iter().filter(|(to, _)| Some(to.port()) == wanted).copied().collect()
    }

    /// Whether others share a port that this run has not joined yet: any of them may answer there.
    pub(super) fn is_others(&self, run: RunId, port: u16) -> bool {
        let shown = lock(&self.shown);
        let has_joined = shown.ports.get(&run).is_some_and(|ports| !ports.is_empty());
        !has_joined && shown.places.values().flatten().any(|(to, _)| to.port() == port)
    }

    /// Reported by [`Report::Drained`], also when the time is over.
    pub(super) fn drain(&self, run: RunId, until: Time, ending: Ending) {
        self.tell(Command::Drain(run, until, ending));
    }

    /// What waits in its queues is kept for the next run of its slot.
    pub(super) fn ended(&self, run: RunId) {
        self.tell(Command::Ended(run));
    }

    /// Clients of what the slot has kept are refused.
    pub(super) fn give_up(&self, slot: SlotId) {
        self.tell(Command::GiveUp(slot));
    }

    /// Resolves when all that was told so far has been done, or will never be.
    pub(super) fn settled(&self) -> oneshot::Receiver<()> {
        let (done, seen) = oneshot::channel();
        self.tell(Command::Settle(done));
        seen
    }

    /// What is shown, as it was when something changed last.
    pub(super) fn shown(&self) -> Seen {
        lock(&self.shown).clone()
    }

    /// What is shown, as it is now; what it was if that takes too long.
    pub(super) async fn look(&self, limit: Duration) -> Seen {
        let (done, seen) = oneshot::channel();
        self.tell(Command::Show(done));
        // Without an answer in time what was seen last is shown.
        let _ = tokio::time::timeout(limit, seen).await;
        self.shown()
    }

    /// How many connections each run has and how many wait for it, as it was when this was asked last.
    pub(super) fn measured(&self) -> Vec<(RunId, Series, f64)> {
        let mut measured = Vec::new();
        for (run, ports) in &lock(&self.shown).ports {
            measured.push((*run, Series::AcceptQueue, ports.iter().map(|port| f64::from(port.queued)).sum()));
            let counted: Option<f64> = ports.iter().map(|port| port.connections.map(f64::from)).sum();
            measured.extend(counted.map(|sum| (*run, Series::Connections, sum)));
        }
        if !measured.is_empty() {
            self.tell(Command::Show(oneshot::channel().0));
        }
        measured
    }

    /// Ends the thread; copies of what a guardian would have of it.
    pub(super) fn leave(&self) -> Vec<(String, OwnedFd)> {
        let (sender, copies) = mpsc::channel();
        self.tell(Command::Leave(sender));
        copies.recv_timeout(SENT).unwrap_or_default()
    }

    fn tell(&self, command: Command) {
        // The thread ends only with the daemon.
        let _ = self.commands.send(command);
        self.waker.wake();
    }
}

/// What is behind the lock is replaced field by field.
fn lock(shown: &Shown) -> MutexGuard<'_, Seen> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}
