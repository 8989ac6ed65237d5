//! What the core says to the outside: answers, refusals, changes, and the words for states and ends.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::spec::{ExitStatus, Origin, Signal};
use crate::supervisor::{Left, Proof, ReadyBy, RunId, SlotId, Time, Who};

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To [`Ask::Apply`](crate::supervisor::Ask::Apply).
    Applied {
        /// What was or would be done.
        plan: Vec<PlanStep>,
        /// How it went.
        results: Vec<SlotResult>,
    },
    /// To the other requests.
    Outcome(Vec<SlotResult>),
    /// Nothing was done.
    Refused(Refusal),
}

/// What is done to one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanStep {
    /// The app.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What is done.
    pub action: PlanAction,
}

/// What is done to one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanAction {
    /// It is new and starts.
    Create,
    /// It is new and only registered.
    Register,
    /// It was stopped and starts.
    Start,
    /// It differs in these keys.
    Change {
        /// Which.
        what: Vec<Cow<'static, str>>,
        /// Whether its runs are restarted for it.
        restart: bool,
    },
    /// Only the number of instances differs.
    Scale {
        /// How many there were.
        from: u16,
        /// How many there will be.
        to: u16,
    },
    /// It is as declared and is restarted because the verb says so.
    Restart,
    /// It is as declared, runs, and is left alone.
    Leave {
        /// Since when its oldest run runs.
        since: Option<Time>,
    },
    /// Its file does not declare it any more; it stays.
    Keep,
    /// Its file does not declare it any more; it is deleted.
    Delete,
}

/// How it went for one slot.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotResult {
    /// Which.
    pub slot: SlotId,
    /// Its app.
    pub name: String,
    /// The index within the app.
    pub instance: u16,
    /// How it went.
    pub answer: SlotAnswer,
}

/// How it went for one slot.
#[derive(Clone, Debug, PartialEq)]
pub enum SlotAnswer {
    /// What was asked holds.
    Done(State),
    /// It cannot hold now.
    Failed {
        /// Why, a sentence fragment.
        reason: String,
        /// The run that failed, whose last words are worth showing.
        run: Option<RunId>,
        /// What happens next by itself.
        next: Option<String>,
    },
    /// The time limit passed; it goes on.
    Pending(State),
    /// Another request wanted something else meanwhile.
    Superseded,
}

/// Why a request was not carried out at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A target that matches nothing.
    UnknownTarget {
        /// As it was written.
        target: String,
        /// Names that look alike.
        similar: Vec<String>,
    },
    /// A `/regex/` that is none.
    BadPattern {
        /// As it was written.
        target: String,
        /// What is wrong with it.
        why: String,
    },
    /// A name that another file or folder owns.
    NameTaken {
        /// The name.
        name: String,
        /// Its owner.
        owner: Origin,
        /// Who asked.
        asked_by: Origin,
    },
    /// A number of instances that cannot be.
    Instances {
        /// The app.
        name: String,
        /// How many it would have.
        wanted: i64,
    },
    /// New values that an app cannot take.
    Unchangeable {
        /// The app.
        name: String,
        /// Why.
        why: String,
    },
    /// Two apps of one request with one name.
    Twice {
        /// The name.
        name: String,
    },
    /// A reload of this app is still under way.
    Reloading {
        /// The app.
        name: String,
    },
    /// There is no reload of this app that could be taken back.
    NotReloading {
        /// The app.
        name: String,
    },
    /// The daemon is leaving.
    Leaving,
}

/// A change that listeners hear of.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The app's name.
    pub app: String,
    /// The slot and its index, unless the change is the whole app's.
    pub slot: Option<(SlotId, u16)>,
    /// Who caused it; none when the core decided.
    pub by: Option<Arc<Who>>,
    /// What happened.
    pub kind: ChangeKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeKind {
    /// The app was declared.
    Created,
    /// Its declaration changed in these keys.
    Changed(Vec<Cow<'static, str>>),
    /// A process exists.
    Started(RunId),
    /// It is ready.
    Online {
        /// Which run.
        run: RunId,
        /// From spawn to ready.
        after: Duration,
        /// How that was noticed.
        by: ReadyBy,
    },
    /// It could not be started.
    SpawnFailed(String),
    /// It gets no new connections, and those it has are being ended.
    Draining(RunId),
    /// It was asked to end, by this signal; none: by a message.
    Stopping(RunId, Option<Signal>),
    /// A request sent it a signal.
    Signalled(RunId, Signal),
    /// Its tree takes more memory than it should.
    Heavy {
        /// Which run.
        run: RunId,
        /// Bytes.
        memory: u64,
        /// The bytes from which on this happens.
        limit: u64,
        /// What is done about it.
        then: Then,
    },
    /// A request set its counters back.
    Reset,
    /// It was killed.
    Killed(RunId),
    /// Its main process ended.
    Exited {
        /// Which run.
        run: RunId,
        /// How.
        status: ExitStatus,
        /// Its life.
        uptime: Duration,
        /// Whether it had been asked to.
        asked: bool,
        /// Whether it left survivors.
        left: Left,
    },
    /// It will be started again.
    Waiting {
        /// When.
        delay: Duration,
        /// Why it ended.
        reason: String,
    },
    /// It was given up.
    Errored {
        /// Why.
        reason: String,
        /// When it is tried again.
        retry: Option<Duration>,
    },
    /// A reload has ended before its switch: what ran goes on.
    ReloadAborted {
        /// The run that was not ready.
        run: RunId,
        /// Why.
        reason: String,
    },
    /// It is ready, and waits for those that are to be switched with it.
    Held(RunId),
    /// It gets no new connections, and could take over again for so long.
    Parked {
        /// The old run.
        run: RunId,
        /// How long its successor has to hold.
        bake: Duration,
    },
    /// It has taken over again, because its successor did not hold.
    RolledBack {
        /// The old run.
        run: RunId,
        /// Its successor.
        failed: RunId,
        /// Why.
        reason: String,
    },
    /// Its health check fails: it gets no new connections.
    Unhealthy {
        /// Which run.
        run: RunId,
        /// Why.
        reason: String,
    },
    /// Its health check passes again: it gets few new connections.
    Recovering(RunId),
    /// It gets its share again.
    Healthy(RunId),
    /// Its health check went on failing: it is restarted.
    GivenUpOn {
        /// Which run.
        run: RunId,
        /// Why.
        reason: String,
    },
    /// It hangs, and is ended.
    Hung {
        /// Which run.
        run: RunId,
        /// How that was noticed.
        reason: String,
    },
    /// The kernel has killed it for want of memory.
    Starved {
        /// Which run.
        run: RunId,
        /// How that is known.
        proof: Proof,
    },
    /// Fewer than half of the instances of the app are healthy: connections go to all of them.
    HealthIgnored {
        /// How many are.
        healthy: u16,
        /// Of how many.
        of: u16,
    },
    /// Connections go to the healthy ones again.
    HealthTrusted {
        /// How many are.
        healthy: u16,
        /// Of how many.
        of: u16,
    },
    /// It is stopped, and nothing of its tree is left.
    Stopped(String),
    /// It was deleted.
    Deleted,
}

/// What is done about a run that takes too much memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing but the news.
    Warned,
    /// A new run is started beside it.
    Replaced,
    /// It is stopped and started anew.
    Restarted,
}

/// The state of a slot as users know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Runs and is ready.
    Online,
    /// Runs, and its health check fails.
    Unhealthy,
    /// Runs, not ready yet.
    Launching,
    /// Gets no new connections and finishes those it has, before it is asked to end.
    Draining,
    /// Was asked to end.
    Stopping,
    /// Does not run and is not meant to.
    Stopped,
    /// Was given up.
    Errored,
    /// Will be started again soon.
    Waiting,
}

/// What has ended a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndedBy {
    /// It did so by itself, or by somebody whom nobody knows.
    #[default]
    Itself,
    /// A request.
    Request,
    /// The limit of its memory.
    Memory,
    /// Its health check.
    Health,
    /// Its watchdog.
    Watchdog,
    /// The kernel, for want of memory.
    Kernel,
}

/// How many restarts of a slot followed which ends; those after ends by itself are the rest of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// After a request.
    pub request: u32,
    /// For the limit of its memory.
    pub memory: u32,
    /// For its health check.
    pub health: u32,
    /// For its watchdog.
    pub watchdog: u32,
    /// After the kernel had killed it.
    pub kernel: u32,
}

impl Tally {
    pub(crate) fn count(&mut self, by: EndedBy) {
        let count = match by {
            EndedBy::Itself => return,
            EndedBy::Request => &mut self.request,
            EndedBy::Memory => &mut self.memory,
            EndedBy::Health => &mut self.health,
            EndedBy::Watchdog => &mut self.watchdog,
            EndedBy::Kernel => &mut self.kernel,
        };
        *count = count.saturating_add(1);
    }
}

/// How one run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Exit {
    /// Which run.
    pub run: RunId,
    /// When.
    pub time: Time,
    /// Its life.
    pub uptime: Duration,
    /// Code or signal; none when it could not be started.
    pub status: Option<ExitStatus>,
    /// In words.
    pub reason: String,
    /// What has ended it.
    pub by: EndedBy,
}
