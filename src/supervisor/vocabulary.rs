//! The closed vocabulary of the core: ids, time, events in, effects out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::spec::{AppSpec, Env, ExitStatus, Signal, Stamp};
use crate::supervisor::{Ask, Change, Reply, State};

/// A moment: milliseconds since the daemon's own beginning, monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The moment this many milliseconds after the beginning.
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis)
    }

    /// Milliseconds since the beginning.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The moment this much later.
    #[must_use]
    pub fn after(self, pause: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero when it is still to come.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// One process from spawn to exit. Counted up, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// One call of a client. Counted up by the shell, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One place of an app: the id that users see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u32);

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a launch needs to know, shared by all who look at it.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// What the app is.
    pub spec: AppSpec,
    /// The environment of the shell that started it.
    pub inherited: Arc<Env>,
    /// The state of its script file when it was declared.
    pub stamp: Option<Stamp>,
    /// How many instances its owner declared; `spec` has how many there are since the last `scale`.
    pub declared: u16,
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The user id at the other end of the socket.
    pub uid: u32,
    /// The verb as it was typed.
    pub verb: String,
}

/// What the world reports to the core.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client asks for something; answered by exactly one [`Effect::Reply`].
    Request {
        /// What to answer to.
        id: RequestId,
        /// Who asks.
        who: Arc<Who>,
        /// What is asked.
        ask: Ask,
    },
    /// The process exists.
    Spawned {
        /// Which.
        run: RunId,
    },
    /// The process could not be made.
    SpawnFailed {
        /// Which.
        run: RunId,
        /// The failing step and its error, a sentence fragment.
        why: String,
        /// Whether trying again soon can help.
        lasting: Lasting,
    },
    /// The process says, or shows, that it is ready.
    Ready {
        /// Which.
        run: RunId,
        /// How that was noticed.
        by: ReadyBy,
    },
    /// The process says that it is about to end: it is to get nothing new.
    Closing {
        /// Which.
        run: RunId,
    },
    /// What the process listens for.
    Heeds {
        /// Which.
        run: RunId,
        /// Whether that is SIGINT, and not SIGTERM.
        interrupt_only: bool,
    },
    /// The process says how long it may be silent from now on; zero: for ever.
    Guarded {
        /// Which.
        run: RunId,
        /// How long.
        limit: Duration,
    },
    /// The process hangs.
    Hung {
        /// Which.
        run: RunId,
        /// How that was noticed.
        hang: Hang,
    },
    /// The kernel has killed the process, or another one of its tree, for want of memory; told before [`Event::Exited`].
    Starved {
        /// Which.
        run: RunId,
        /// How that is known.
        proof: Proof,
    },
    /// After [`Effect::Check`].
    Checked {
        /// Which.
        run: RunId,
        /// How it is.
        finding: Finding,
    },
    /// The main process ended.
    Exited {
        /// Which.
        run: RunId,
        /// How.
        status: ExitStatus,
        /// What it left behind.
        left: Left,
    },
    /// After [`Effect::Drain`]: its connections have ended, or their time is over.
    Drained {
        /// Which.
        run: RunId,
    },
    /// The memory of its tree was measured, and is more than it should be.
    Weighed {
        /// Which.
        run: RunId,
        /// Bytes; what processes share is divided among them.
        memory: u64,
    },
    /// Meanwhile: this is left of what [`Effect::Drain`] has to end.
    Remaining {
        /// Of which.
        run: RunId,
        /// What.
        remaining: Remaining,
    },
    /// After [`Left::Survivors`]: nothing of the tree lives any more.
    Gone {
        /// Which.
        run: RunId,
    },
    /// A deadline passed.
    Tick,
}

/// Whether an error will still be there in a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// Such as a missing file: somebody has to act.
    Permanent,
    /// Such as a lack of memory: trying again can help.
    Transient,
}

/// What a health check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is well.
    Well,
    /// It is not, and why, as a sentence fragment.
    Ill(String),
}

/// How it was noticed that a process hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hang {
    /// It has said nothing for so long.
    Silent(Duration),
    /// It says so itself.
    Told,
}

/// How it is known that the kernel has killed for want of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Its own control group counts it.
    Sure,
    /// The kernel has killed something in just that moment.
    Likely,
}

/// How readiness was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyBy {
    /// A process of the tree listens on a socket.
    Listening,
    /// READY=1 (sd_notify(3)).
    Notified,
    /// It has lived for `min_uptime`, and in cluster mode for 3 s without listening.
    Alive,
    /// Its health check passes.
    Healthy,
}

/// What a run that gets no new connections is still doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// How many connections it has; none while that is not known.
    pub connections: Option<u32>,
    /// How long the oldest of them has been waited for.
    pub oldest: Duration,
}

/// What a main process left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// Other processes of its tree.
    Survivors,
}

/// One app as a successor must know it.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// What it is.
    pub definition: Arc<Definition>,
    /// Its slots: id, index, and whether each is meant to run.
    pub slots: Vec<(SlotId, u16, bool)>,
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an effect that is not carried out desynchronises the core"]
pub enum Effect {
    /// Make a process; report [`Event::Spawned`] or [`Event::SpawnFailed`].
    Spawn {
        /// Its name from now on.
        run: RunId,
        /// Its place.
        slot: SlotId,
        /// The index within the app.
        instance: u16,
        /// What to run.
        definition: Arc<Definition>,
        /// Whether links and PATH are looked up anew.
        resolve: Resolve,
        /// The run of this slot that goes on until this one is ready. A run that shares ports stands as
        /// [`Standing::Starting`] from here on.
        replaces: Option<RunId>,
    },
    /// Send a signal.
    Signal {
        /// To whose tree.
        run: RunId,
        /// Which.
        signal: Signal,
        /// To which part of it.
        whom: Whom,
    },
    /// Ask by the message `shutdown`; where nobody can hear one, by a signal.
    Message {
        /// Whom.
        run: RunId,
        /// The signal.
        signal: Signal,
        /// The part of the tree that it is for.
        whom: Whom,
    },
    /// Which of the new connections of its ports a run gets. Of cluster runs only, and before anything that depends on it.
    Steer {
        /// Which.
        run: RunId,
        /// What it gets.
        standing: Standing,
    },
    /// End the connections of a run in peace; report [`Event::Drained`], also when `until` is over.
    Drain {
        /// Which.
        run: RunId,
        /// When its time is over.
        until: Time,
    },
    /// Look how a run is; report [`Event::Checked`] soon after its time limit at the latest.
    Check {
        /// Which.
        run: RunId,
        /// Its place.
        slot: SlotId,
        /// The index within the app.
        instance: u16,
        /// How it is looked at.
        definition: Arc<Definition>,
        /// Whether it was seen listening: else there is no need to look where.
        listens: bool,
    },
    /// Expect a run to speak; report [`Event::Hung`] each time when it has been silent for so long. Zero: do not any more.
    Guard {
        /// Which.
        run: RunId,
        /// How long.
        limit: Duration,
    },
    /// Nothing follows in this slot's place: whoever waits in its sockets is refused.
    GiveUp {
        /// Which.
        slot: SlotId,
    },
    /// Answer a request, once.
    Reply {
        /// Which.
        to: RequestId,
        /// With what.
        reply: Reply,
    },
    /// A step towards an answer still open.
    Progress {
        /// Of which request.
        to: RequestId,
        /// The slot that moved.
        slot: SlotId,
        /// Its app.
        name: String,
        /// The index within the app.
        instance: u16,
        /// Where it is now.
        state: State,
        /// How many slots of the request have their answer.
        done: u32,
        /// Of how many.
        of: u32,
        /// What the run that it ends is still doing.
        remaining: Option<Remaining>,
    },
    /// Tell whoever listens.
    Announce(Change),
    /// The slot is no more: let go of what belongs to it.
    Forget {
        /// Which.
        slot: SlotId,
    },
    /// Everything is stopped: the daemon may end.
    Leave,
}

/// Which of the new connections a run gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// None yet.
    Starting,
    /// Its share.
    Ready,
    /// A small part of its share: it was ill, and is better.
    Recovering,
    /// None as long as others are well: it is ill.
    Unhealthy,
    /// None any more.
    Draining,
    /// None at the moment.
    Parked,
}

/// Whether a launch looks at links, PATH and package anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolve {
    /// Yes: a start or restart by request.
    Fresh,
    /// No: a crash restart stays in the release it was started from.
    Keep,
}

/// Which part of a run's tree a signal goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The main process; if that is a shell or a package runner, its children too.
    Main,
    /// The main process and nothing else (`treekill = false`).
    OnlyMain,
    /// What the main process left.
    Survivors,
    /// Everything.
    Tree,
}
