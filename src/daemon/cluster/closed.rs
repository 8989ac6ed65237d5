//! Sockets that their programs have closed while they live on: nobody tells, so it is looked.
//!
//! ```text
//!                  a connection comes to any of them
//!  [Armed: epoll] ----------------------------------> [Looking: at the queues, every few milliseconds]
//!        ^                                                              |
//!        +------------------------- after a second ---------------------+
//! ```
//!
//! A socket that nobody has any more does harm only when a connection comes to it, and stays in its queue. So, while nobody
//! comes, nothing is done but a look each second; the first who comes wakes this thread; and while they come, it looks at
//! the queues, and where something waits, whether there is still somebody to accept it. Between these looks, and while it
//! is armed, connections cost nothing: the kernel's list of who is to be woken has no entry of ours, or is used once.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use crate::cluster::{Member, SocketId, Standing};
use crate::daemon::cluster::ports::{Kept, Ports};
use crate::supervisor::RunId;
use crate::sys::poller::{Interest, Poller};
use crate::sys::proc_table::ProcTable;
use crate::sys::seccomp::Holder;
use crate::sys::tcp;

/// The token of the set of sockets, beyond those of runs.
pub(super) const SOMEBODY_CAME: u64 = u64::MAX - 1;

/// How often all sockets are looked at, whether somebody comes or not.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long queues are looked at before it is waited for the next one who comes.
const WATCHFUL: Duration = Duration::from_secs(1);
/// Between two looks at the queues, and what each socket adds to that: the looks take less than one thousandth of a core.
const QUEUES_EVERY: Duration = Duration::from_millis(20);
const FOR_EACH: Duration = Duration::from_millis(1);
/// After a search of all processes that found nobody who could be told.
const SEARCH_EVERY: Duration = Duration::from_millis(200);

/// Which sockets are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// All.
    All,
    /// Those in whose queues something waits.
    Queues,
}

/// When it is looked.
pub(super) struct Watchman {
    state: State,
    looked_at: Instant,
}

enum State {
    /// There is nobody to watch, or nobody knows better than once a second.
    Idle,
    /// Whoever comes first wakes us.
    Armed(Poller),
    /// They come.
    Looking { next: Instant, until: Instant },
}

impl Watchman {
    pub(super) fn new() -> Watchman {
        Watchman { state: State::Idle, looked_at: Instant::now() }
    }

    /// There are other sockets than before.
    pub(super) fn on_change(&mut self, ports: &Ports, poller: &Poller) {
        match &self.state {
            State::Idle => self.arm(ports, poller),
            State::Armed(_) => {
                self.disarm(poller);
                self.arm(ports, poller);
            }
            State::Looking { .. } => {}
        }
    }

    /// Somebody has come.
    pub(super) fn on_arrival(&mut self, ports: &Ports, poller: &Poller) {
        if self.disarm(poller) {
            let now = Instant::now();
            self.state = State::Looking { next: now + pause(ports), until: now + WATCHFUL };
        }
    }

    /// Until when there is nothing to look at.
    pub(super) fn pause(&self, ports: &Ports) -> Option<Duration> {
        let look = ports.has_members().then(|| LOOK_EVERY.saturating_sub(self.looked_at.elapsed()));
        let queues = match &self.state {
            State::Idle | State::Armed(_) => None,
            State::Looking { next, .. } => Some(next.saturating_duration_since(Instant::now())),
        };
        look.into_iter().chain(queues).min()
    }

    /// Looks, if it is time to.
    pub(super) fn go_on(&mut self, ports: &mut Ports, poller: &Poller) {
        let now = Instant::now();
        if now.saturating_duration_since(self.looked_at) >= LOOK_EVERY {
            self.looked_at = now;
            ports.look(Look::All);
        }
        let State::Looking { next, until } = &mut self.state else { return };
        if now < *next {
            return;
        }
        ports.look(Look::Queues);
        if now < *until {
            *next = Instant::now() + pause(ports);
        } else {
            self.state = State::Idle;
            self.arm(ports, poller);
        }
    }

    fn arm(&mut self, ports: &Ports, poller: &Poller) {
        let armed = armed(ports).and_then(|set| {
            if let Some(set) = &set {
                poller.add(set, SOMEBODY_CAME, Interest::Read)?;
            }
            Ok(set)
        });
        self.state = match armed {
            Ok(Some(set)) => State::Armed(set),
            Ok(None) => State::Idle,
            Err(error) => {
                warn!("closed sockets are noticed later than they could be: {error}");
                State::Idle
            }
        };
    }

    /// Whether it was armed. The set is closed: a socket in it may have another owner, and would wake for ever.
    fn disarm(&mut self, poller: &Poller) -> bool {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Armed(set) => {
                if let Err(error) = poller.remove(&set) {
                    warn!("a set of sockets cannot be put away: {error}");
                }
                true
            }
            other @ (State::Idle | State::Looking { .. }) => {
                self.state = other;
                false
            }
        }
    }
}

/// A set of all sockets that somebody should be accepting from.
fn armed(ports: &Ports) -> io::Result<Option<Poller>> {
    if !ports.has_members() {
        return Ok(None);
    }
    let set = Poller::new()?;
    for (_, kept) in ports.watched() {
        set.add(&kept.fd, 0, Interest::Read)?;
    }
    Ok(Some(set))
}

fn pause(ports: &Ports) -> Duration {
    let count = u32::try_from(ports.watched().count()).unwrap_or(u32::MAX);
    QUEUES_EVERY + FOR_EACH.saturating_mul(count)
}

impl Ports {
    /// Whether there is anything to look at.
    fn has_members(&self) -> bool {
        self.watched().next().is_some()
    }

    /// Sockets that somebody should be accepting from. One that is drained gets nothing new.
    fn watched(&self) -> impl Iterator<Item = (&Member, &Kept)> {
        let all = self
            .groups
            .iter()
            .flat_map(|port| port.group.members().filter_map(|member| Some((member, port.kept.get(&member.socket)?))));
        all.filter(|(member, _)| match member.standing {
            Standing::Ready | Standing::Parked | Standing::Unhealthy | Standing::Starting => true,
            Standing::Draining | Standing::Dead | Standing::Leaving => false,
        })
    }

    /// Looks for sockets that their programs have closed: our duplicate keeps them in the group, where they would get
    /// connections that nobody accepts. What waits there is served by whoever binds the port next in that slot.
    pub(super) fn look(&mut self, which: Look) {
        let is_due = |kept: &Kept| match which {
            // Of one whose process is not known, only what happens tells.
            Look::All => kept.holder.is_some(),
            Look::Queues => tcp::queue_depth(&kept.fd).is_ok_and(|depth| depth > 0),
        };
        let is_let_go = |kept: &Kept| kept.holder.as_ref().is_none_or(|it| matches!(it.is_holding(), Ok(false)));
        let doubtful: Vec<(SocketId, RunId)> = self
            .watched()
            .filter(|(_, kept)| is_due(kept) && is_let_go(kept))
            .map(|(member, _)| (member.socket, RunId(member.id.run.0)))
            .collect();
        if doubtful.is_empty() || self.searched_at.is_some_and(|at| at.elapsed() < SEARCH_EVERY) {
            return;
        }
        let table = match ProcTable::read() {
            Ok(table) => table,
            Err(error) => return debug!("cannot look for who has a socket: {error}"),
        };
        let mut closed = BTreeSet::new();
        for (socket, run) in doubtful {
            match self.search(socket, run, &table) {
                Ok(Some(holder)) => self.holds(socket, holder),
                Ok(None) => drop(closed.insert(socket)),
                // Who cannot be seen may have it.
                Err(error) => {
                    debug!(run = run.0, "cannot see who has a socket: {error}");
                    self.searched_at = Some(Instant::now());
                }
            }
        }
        if !closed.is_empty() {
            info!(sockets = closed.len(), "programs have closed their sockets and live on");
            self.change(|member| closed.contains(&member.socket).then_some(Standing::Dead));
        }
    }

    /// Which process of a run has a socket: a child may have inherited it.
    fn search(&self, socket: SocketId, run: RunId, table: &ProcTable) -> io::Result<Option<Holder>> {
        let kept = self.groups.iter().find_map(|port| port.kept.get(&socket));
        let kept = kept.ok_or(io::ErrorKind::NotFound)?;
        let inode = tcp::Facts::of(&kept.fd)?.inode;
        // One queue of several runs is served as long as one of them has it.
        for run in [run].iter().chain(kept.others.keys()) {
            let process = self.runs.get(run).and_then(|captured| captured.process.as_ref());
            let process = process.ok_or(io::ErrorKind::NotFound)?;
            if let Some((process, place)) = tcp::holder_of(process, table, inode)? {
                return Ok(Some(Holder::new(process, place, inode)));
            }
        }
        Ok(None)
    }

    fn holds(&mut self, socket: SocketId, holder: Holder) {
        if let Some(kept) = self.groups.iter_mut().find_map(|port| port.kept.get_mut(&socket)) {
            kept.holder = Some(holder);
        }
    }
}
