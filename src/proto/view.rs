//! What readers get: plain data, published by the engine, never locked.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::proto::SaidView;
use crate::spec::{AppSpec, Env, ExecMode, ExitStatus};

/// The whole state of a daemon at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Counts up with every change.
    pub generation: u64,
    /// The daemon itself.
    pub daemon: DaemonView,
    /// All apps, in the order of their first id.
    pub apps: Vec<AppView>,
}

/// How the notice of a daemon begins that goes on because its successor could not take over; what follows is why.
pub const UPDATE_FAILED: &str = "update failed: ";

/// The daemon itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DaemonView {
    /// Its release.
    pub version: String,
    /// Its pid.
    pub pid: u32,
    /// The guardian's pid; 0 when it is gone.
    pub guardian: u32,
    /// When it started, in milliseconds of the epoch.
    pub started: u64,
    /// How many instances ran under an earlier daemon and wait for `resurrect`.
    #[serde(default)]
    pub parked: u32,
    /// What its user should know: a state file that could not be read or written.
    #[serde(default)]
    pub notices: Vec<String>,
    /// Where it serves metrics, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
}

/// One app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppView {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The `version` of the `package.json` beside it, where there is one.
    #[serde(default)]
    pub version: Option<String>,
    /// The user whose rights it has.
    pub user: String,
    /// Whether its instances share ports.
    #[serde(default)]
    pub mode: ExecMode,
    /// Its spec, with redacted environment; only in a full view.
    #[serde(default)]
    pub spec: Option<AppSpec>,
    /// The inherited environment, redacted; only in a full view.
    #[serde(default)]
    pub inherited: Option<Env>,
    /// Its instances by index.
    pub slots: Vec<SlotView>,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotView {
    /// Its id, the number that targets use.
    pub id: u32,
    /// Its index within the app.
    pub instance: u16,
    /// Its state in PM2's words.
    pub state: State,
    /// Counts the processes of this daemon; 0 before the first one.
    pub run: u64,
    /// The main process; none when nothing runs.
    #[serde(default)]
    pub pid: Option<u32>,
    /// When the current process started, in milliseconds of the epoch.
    #[serde(default)]
    pub started: Option<u64>,
    /// Which edition of its app the current process belongs to: counts up with each reload; 0: not known.
    #[serde(default)]
    pub generation: u32,
    /// The other process of this instance, while a reload replaces one by the other.
    #[serde(default)]
    pub second: Option<SecondView>,
    /// When it was started by a request for the last time, in milliseconds of the epoch.
    pub created: u64,
    /// How often it was restarted, by itself or by request.
    pub restarts: u32,
    /// What for; the rest followed ends by itself.
    #[serde(default)]
    pub restarts_by: RestartsView,
    /// How many of the last ten minutes' lives were shorter than `min_uptime`.
    pub unstable: u32,
    /// When it is tried again, in milliseconds of the epoch.
    #[serde(default)]
    pub next_attempt: Option<u64>,
    /// Why it is errored or waits.
    #[serde(default)]
    pub reason: Option<String>,
    /// CPU time of its tree, in percent of one core.
    pub cpu: f32,
    /// Resident memory of its tree in bytes.
    pub memory: u64,
    /// Where its standard output is written.
    #[serde(default)]
    pub out_file: Option<PathBuf>,
    /// Where its standard error is written.
    #[serde(default)]
    pub error_file: Option<PathBuf>,
    /// Where both are written besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combined_file: Option<PathBuf>,
    /// Why one of these files is not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_problem: Option<String>,
    /// The file that holds its pid while it runs, where one is declared.
    #[serde(default)]
    pub pid_file: Option<PathBuf>,
    /// The ports that it shares.
    #[serde(default)]
    pub ports: Vec<PortView>,
    /// What its owner should know of its ports: why one is not shared, who else is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// What its program says of itself.
    #[serde(default, skip_serializing_if = "SaidView::is_empty")]
    pub said: SaidView,
    /// The process whose connections are being ended: this one, or the one that it has replaced.
    #[serde(default)]
    pub draining: Option<DrainView>,
    /// How its health checks went; none: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthView>,
    /// The last exit.
    #[serde(default)]
    pub last_exit: Option<ExitView>,
    /// The last exits, newest first; only in a full view.
    #[serde(default)]
    pub history: Vec<ExitView>,
}

/// The other process of an instance, while a reload replaces one by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondView {
    /// Counts the processes of this daemon.
    pub run: u64,
    /// The main process; none while it is being made.
    #[serde(default)]
    pub pid: Option<u32>,
    /// When it started, in milliseconds of the epoch.
    pub started: u64,
    /// Which edition of its app it belongs to.
    #[serde(default)]
    pub generation: u32,
    /// Where it is.
    pub state: SecondState,
    /// When that ends at the latest, in milliseconds of the epoch.
    #[serde(default)]
    pub until: Option<u64>,
}

/// Where the other process of an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondState {
    /// It is new and not ready yet.
    Launching,
    /// It is new and ready, and waits for others.
    Held,
    /// It was replaced, and could take over again.
    Parked,
    /// It was replaced, and its connections are being ended.
    Draining,
    /// It was asked to end.
    Stopping,
}

impl SecondState {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            SecondState::Launching => "launching",
            SecondState::Held => "held",
            SecondState::Parked => "parked",
            SecondState::Draining => "draining",
            SecondState::Stopping => "stopping",
        }
    }
}

/// A port that an instance shares with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortView {
    /// Address and port.
    pub address: SocketAddr,
    /// How many sockets it has.
    pub members: usize,
    /// How many of them get new connections.
    pub serving: usize,
    /// How many connections wait for this instance to accept them.
    pub queued: u32,
    /// How many instances have this one queue; 0: each has its own.
    #[serde(default)]
    pub sharing: usize,
    /// How many connections this instance has there; none where they cannot be told from those of others.
    #[serde(default)]
    pub connections: Option<u32>,
    /// How many connections it could not take, because its queue was full, since it began to listen.
    #[serde(default)]
    pub overflows: u32,
}

/// How the health checks of an instance went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthView {
    /// What they have made of it.
    pub circuit: CircuitView,
    /// How many have failed in a row, or since it was taken out.
    #[serde(default)]
    pub failures: u16,
    /// Whether steering does not care, because fewer than half of the app's instances are healthy.
    #[serde(default)]
    pub ignored: bool,
    /// How many its process has passed under this daemon.
    #[serde(default)]
    pub passed: u64,
    /// How many it has not.
    #[serde(default)]
    pub failed: u64,
    /// The last one.
    #[serde(default)]
    pub last: Option<CheckView>,
}

/// What health checks have made of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CircuitView {
    /// It has not been well yet.
    Unproven,
    /// It is well: it gets its share of the connections.
    Closed,
    /// It is ill: it gets none.
    Open,
    /// It is better: it gets few.
    HalfOpen,
}

/// One health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckView {
    /// When it ended, in milliseconds of the epoch.
    pub time: u64,
    /// How long it took, in microseconds.
    pub took: u64,
    /// Whether the instance was well.
    pub passed: bool,
    /// What was found: `HTTP 200`, `no answer within 1s`.
    pub found: String,
}

impl CircuitView {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            CircuitView::Unproven => "unproven",
            CircuitView::Closed => "closed",
            CircuitView::Open => "open",
            CircuitView::HalfOpen => "half-open",
        }
    }
}

/// A process that gets no new connections and finishes those it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainView {
    /// The run.
    pub run: u64,
    /// Its main process.
    pub pid: u32,
    /// What it is still doing.
    pub remaining: Remaining,
}

/// What a process that gets no new connections is still doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remaining {
    /// How many connections it has; none while that is not known.
    #[serde(default)]
    pub connections: Option<u32>,
    /// How long the oldest of them has been waited for, in milliseconds.
    #[serde(default)]
    pub oldest: u64,
}

/// What has ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCause {
    /// A request.
    Request,
    /// The limit of its memory.
    Memory,
    /// Its health check.
    Health,
    /// Its watchdog.
    Watchdog,
    /// The kernel, for want of memory.
    OutOfMemory,
    /// It did so by itself, or for a reason that this version does not know.
    #[serde(other)]
    Itself,
}

/// How one run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExitView {
    /// The run.
    pub run: u64,
    /// The main process it was.
    pub pid: u32,
    /// When, in milliseconds of the epoch.
    pub time: u64,
    /// How long it had lived, in milliseconds.
    pub uptime: u64,
    /// Code or signal; none when it could not be started.
    #[serde(default)]
    pub status: Option<ExitStatus>,
    /// In words: `exit code 1`, `SIGKILL after kill_timeout`, `stopped by request`.
    pub reason: String,
    /// What has ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<ExitCause>,
    /// The last lines of its standard error; only in a full view.
    #[serde(default)]
    pub stderr: Vec<String>,
}

/// How many restarts followed which ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartsView {
    /// After a request.
    #[serde(default)]
    pub request: u32,
    /// For the limit of its memory.
    #[serde(default)]
    pub memory: u32,
    /// For its health check.
    #[serde(default)]
    pub health: u32,
    /// For its watchdog.
    #[serde(default)]
    pub watchdog: u32,
    /// After the kernel had killed it for want of memory.
    #[serde(default)]
    pub out_of_memory: u32,
}

/// The state of an instance in the words of PM2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// Runs and is ready.
    #[serde(rename = "online")]
    Online,
    /// Runs, and its health check fails.
    #[serde(rename = "unhealthy")]
    Unhealthy,
    /// Runs, not ready yet.
    #[serde(rename = "launching")]
    Launching,
    /// Gets no new connections and finishes those it has, before it is asked to end.
    #[serde(rename = "draining")]
    Draining,
    /// Was asked to end.
    #[serde(rename = "stopping")]
    Stopping,
    /// Does not run and is not meant to.
    #[serde(rename = "stopped")]
    Stopped,
    /// Was given up.
    #[serde(rename = "errored")]
    Errored,
    /// Does not run and will be started again soon.
    #[serde(rename = "waiting restart")]
    Waiting,
}

impl State {
    /// PM2's word.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Online => "online",
            State::Unhealthy => "unhealthy",
            State::Launching => "launching",
            State::Draining => "draining",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
            State::Errored => "errored",
            State::Waiting => "waiting restart",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
