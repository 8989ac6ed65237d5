//! The stream of changes (`rsx events`).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::spec::ExitStatus;

/// One change, as `rsx events --json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts up by one with every event of this daemon.
    pub seq: u64,
    /// When, in milliseconds of the epoch.
    pub time: u64,
    /// The app, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The id of the instance, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The index of the instance within its app, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u16>,
    /// The user id behind the change; none when the daemon decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The verb behind the change; none when the daemon decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verb: Option<String>,
    /// What happened.
    pub event: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// The app was declared.
    Created,
    /// The app's declaration was changed.
    Changed {
        /// What differs, by key.
        what: Vec<String>,
    },
    /// A process was spawned.
    Started {
        /// Its pid.
        pid: u32,
        /// Its run.
        run: u64,
    },
    /// It is ready.
    Online {
        /// Its run.
        run: u64,
        /// Milliseconds from spawn to ready.
        after: u64,
        /// What told so: `listening`, `notified`, `alive`.
        by: String,
    },
    /// It could not be started.
    SpawnFailed {
        /// The step and its error.
        reason: String,
    },
    /// It gets no new connections, and those it has are being ended.
    Draining {
        /// Its run.
        run: u64,
    },
    /// Something about its ports that its owner should know.
    Remark {
        /// Its run.
        run: u64,
        /// What.
        text: String,
    },
    /// A reload has ended before its switch: what ran goes on.
    ReloadAborted {
        /// The run that was not ready.
        run: u64,
        /// Why.
        reason: String,
    },
    /// It is ready, and waits for those that are to take over with it.
    Held {
        /// Its run.
        run: u64,
    },
    /// It was replaced, and could take over again for so long.
    Parked {
        /// Its run.
        run: u64,
        /// Milliseconds that its successor has to hold.
        bake: u64,
    },
    /// It has taken over again, because its successor did not hold.
    RolledBack {
        /// Its run.
        run: u64,
        /// The successor.
        failed: u64,
        /// Why.
        reason: String,
    },
    /// Its processes take more memory than they should.
    Heavy {
        /// Its run.
        run: u64,
        /// Bytes; what processes share is divided among them.
        memory: u64,
        /// The bytes from which on this happens.
        limit: u64,
        /// What is done about it.
        then: HeavyThen,
    },
    /// Its health check fails: it gets no new connections.
    Unhealthy {
        /// Its run.
        run: u64,
        /// Why.
        reason: String,
    },
    /// Its health check passes again: it gets few new connections.
    Recovering {
        /// Its run.
        run: u64,
    },
    /// It gets its share of the connections again.
    Healthy {
        /// Its run.
        run: u64,
    },
    /// Its health check went on failing: it is restarted.
    GivenUpOn {
        /// Its run.
        run: u64,
        /// Why.
        reason: String,
    },
    /// It hangs, and is ended.
    Hung {
        /// Its run.
        run: u64,
        /// How that was noticed.
        reason: String,
    },
    /// The kernel has killed it, or another process of its tree, for want of memory.
    OutOfMemory {
        /// Its run.
        run: u64,
        /// Whether its own control group counts it; else the kernel has killed something in just that moment.
        sure: bool,
    },
    /// Fewer than half of the instances are healthy: connections go to all of them.
    HealthIgnored {
        /// How many are.
        healthy: u16,
        /// Of how many.
        of: u16,
    },
    /// Connections go to the healthy instances again.
    HealthTrusted {
        /// How many are.
        healthy: u16,
        /// Of how many.
        of: u16,
    },
    /// It was asked to end.
    Stopping {
        /// Its run.
        run: u64,
        /// The first signal; `message` where it was asked by one.
        signal: String,
    },
    /// A signal was sent to it because somebody asked for that.
    Signalled {
        /// Its run.
        run: u64,
        /// Which.
        signal: String,
    },
    /// Its counters were set back.
    Reset,
    /// It did not end in time and was killed.
    Killed {
        /// Its run.
        run: u64,
    },
    /// Its main process ended.
    Exited {
        /// Its run.
        run: u64,
        /// Its pid.
        pid: u32,
        /// Code or signal.
        status: ExitStatus,
        /// Milliseconds it had lived.
        uptime: u64,
        /// Whether it had been asked to.
        asked: bool,
        /// Whether others of its tree were left and are being ended.
        left: bool,
    },
    /// It will be started again.
    Waiting {
        /// Milliseconds until then.
        delay: u64,
        /// Why it ended.
        reason: String,
    },
    /// It was given up.
    Errored {
        /// Why.
        reason: String,
        /// Milliseconds until it is tried again, if ever.
        retry: Option<u64>,
    },
    /// It is stopped, and nothing of its tree is left.
    Stopped {
        /// Why.
        reason: String,
    },
    /// The app or instance was deleted.
    Deleted,
    /// A log file cannot be written: what comes for it is lost until it can.
    LogFailing {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A log file is written again.
    LogWritten {
        /// Which.
        path: PathBuf,
        /// How many bytes were lost.
        lost: u64,
    },
    /// A disk was nearly full, and the oldest archives of logs on it were removed.
    LogsRemoved {
        /// Where one of them was.
        folder: PathBuf,
        /// How many.
        archives: u64,
        /// How many bytes they had.
        bytes: u64,
    },
    /// The daemon is up.
    DaemonReady {
        /// Its pid.
        pid: u32,
        /// How often the guardian has restarted it.
        restarts: u32,
    },
    /// The daemon is stopping all apps and leaves.
    DaemonLeaving,
    /// This listener was too slow and missed so many events.
    Missed {
        /// How many.
        count: u64,
    },
}

/// What is done about a run that takes too much memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeavyThen {
    /// Nothing but this event.
    Warned,
    /// A new run is started beside it.
    Replaced,
    /// It is stopped and started anew.
    Restarted,
}
