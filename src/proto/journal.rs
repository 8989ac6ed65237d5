//! The journal of a daemon: one record a line, from which a successor goes on.
//!
//! The first record is [`Record::Head`]. Of all records about one thing the last one holds. Moments are milliseconds of
//! CLOCK_MONOTONIC, durations milliseconds.

mod asked;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::asked::{AnswerRecord, AskedRecord, BatchRecord, ResultRecord, WaitRecord, WantRecord, WishRecord};

use crate::proto::{Event, ExitCause, MannerRecord, RolloutRecord};
use crate::spec::{AppSpec, Env, ExecMode, ExitStatus, ListenAddress, LogDriver, LogForm, Rotation, Stamp};

/// The version of [`Record`]. A daemon reads journals of its own version and of the one before it.
pub const JOURNAL_VERSION: u32 = 1;

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// What this journal is. Always the first.
    Head(Head),
    /// The names that come next.
    Next(Next),
    /// An environment that apps inherit.
    Environment {
        /// Its number, by which apps name it.
        index: usize,
        /// What is in it.
        env: Env,
    },
    /// What an app is.
    App(Box<AppRecord>),
    /// Where a slot is.
    Slot(Box<SlotRecord>),
    /// How a run ended.
    Exit(ExitRecord),
    /// A slot is no more.
    Removed {
        /// Its id.
        slot: u32,
    },
    /// A process is about to be made.
    Launch(Box<LaunchRecord>),
    /// A process is about to execute its program; written by itself.
    Born(BornRecord),
    /// It ended without executing it, because whoever had made it was gone; written by itself.
    Unborn {
        /// Its number.
        run: u64,
    },
    /// A run was sent the signal that asks it, or the rest of its tree, to end.
    Sent {
        /// Its number.
        run: u64,
        /// To the rest of its tree.
        survivors: bool,
    },
    /// What a run wrote last to its standard error.
    Words {
        /// Its number.
        run: u64,
        /// Lines.
        lines: Vec<String>,
    },
    /// Something that listeners were told of.
    Event(Arc<Event>),
    /// A request that a client may ask about again.
    Asked(Box<AskedRecord>),
    /// All requests that have not asked all of their slots yet.
    Batches(Vec<BatchRecord>),
}

/// What a journal is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`JOURNAL_VERSION`] of the writer.
    pub version: u32,
    /// The boot of the machine: processes and moments of another one mean nothing.
    pub boot: String,
    /// The version of rsx that wrote it.
    pub writer: String,
    /// The world's time at the beginning of CLOCK_MONOTONIC, in milliseconds of the epoch, as listeners were told.
    #[serde(default)]
    pub epoch: u64,
}

/// The names that come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// App.
    pub app: u32,
    /// Slot.
    pub slot: u32,
    /// Run.
    pub run: u64,
}

/// What an app is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppRecord {
    /// Its place in the core.
    pub app: u32,
    /// What it is.
    pub spec: AppSpec,
    /// Which environment it inherits.
    pub environment: usize,
    /// The state of its script file when it was declared.
    #[serde(default)]
    pub stamp: Option<Stamp>,
    /// How many instances its owner declared.
    pub declared: u16,
}

/// Where a slot is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotRecord {
    /// Its id.
    pub slot: u32,
    /// Its app.
    pub app: u32,
    /// The index within the app.
    pub instance: u16,
    /// What is wanted.
    pub goal: GoalRecord,
    /// Whether it waits for `resurrect`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub parked: bool,
    /// How many starts requests have asked for.
    pub generation: u32,
    /// The one of the last launch.
    pub launched: u32,
    /// How often requests have wanted something of it.
    pub wishes: u32,
    /// Who asked last: user id and verb.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<(u32, String)>,
    /// What is.
    pub phase: PhaseRecord,
    /// The second run that a reload brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutRecord>,
    /// How that replaces the other one.
    #[serde(default, skip_serializing_if = "MannerRecord::is_plain")]
    pub manner: MannerRecord,
    /// The edition of its app that its next launch belongs to.
    #[serde(default)]
    pub edition: u32,
    /// Whether sockets may be kept for it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub holds_sockets: bool,
    /// The ends of short lives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unstable: Vec<u64>,
    /// Restarts since the last stable life.
    #[serde(default)]
    pub backoff_step: u32,
    /// Whether the current life is the one attempt after a giving up.
    #[serde(default, skip_serializing_if = "is_false")]
    pub half_open: bool,
    /// How many runs in a row were replaced in haste for their memory.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hasty: u32,
    /// The last run that was to be replaced for its memory, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heavy: Option<(u64, u64)>,
    /// When a request started it last.
    pub created: u64,
    /// How often it was restarted.
    pub restarts: u32,
    /// What for: after a request, for its memory, its health, its watchdog, and after the kernel had killed it.
    #[serde(default, skip_serializing_if = "is_blank")]
    pub tally: [u32; 5],
    /// Its last run.
    #[serde(default)]
    pub last_run: Option<u64>,
    /// The launch that failed before it was ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedRecord>,
    /// What was wrong with which run, by its last health check that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complaint: Option<(u64, String)>,
    /// Which run the kernel has killed for want of memory, and whether that is sure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starved: Option<(u64, bool)>,
    /// When it was restarted for its health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mended: Option<u64>,
    /// Whether that has not come to its end.
    #[serde(default, skip_serializing_if = "is_false")]
    pub mending: bool,
}

/// What is wanted of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoalRecord {
    /// It runs.
    Up,
    /// It does not.
    Down,
    /// It is no more.
    Deleted,
}

/// What is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseRecord {
    /// Nothing runs.
    Stopped,
    /// Its process is being made.
    Launching(RunRecord),
    /// It is not ready yet.
    Starting {
        /// Its run.
        run: RunRecord,
        /// When it counts as ready, if there is such a time.
        alive_at: Option<u64>,
    },
    /// It is ready.
    Online(RunRecord),
    /// It is on its way down.
    Stopping {
        /// Its run.
        run: RunRecord,
        /// Whether a request wanted that.
        asked: bool,
        /// Whether its health check went on failing.
        #[serde(default, skip_serializing_if = "is_false")]
        unhealthy: bool,
        /// Whether it hung.
        #[serde(default, skip_serializing_if = "is_false")]
        hung: bool,
        /// How far it is.
        stage: StageRecord,
        /// When it is killed.
        kill_at: u64,
    },
    /// It is started again later.
    Waiting {
        /// When.
        until: u64,
        /// Why it ended.
        reason: String,
    },
    /// It was given up.
    Errored {
        /// Why.
        reason: String,
        /// When it is tried again.
        retry_at: Option<u64>,
    },
    /// It has finished.
    Completed(ExitStatus),
}

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its number.
    pub id: u64,
    /// When it was spawned.
    pub started: u64,
    /// Whether it was ready once.
    pub was_ready: bool,
    /// Whether a request asked for its launch.
    pub asked: bool,
    /// Whether it shares ports.
    #[serde(default)]
    pub mode: ExecMode,
    /// Whether it was seen listening.
    #[serde(default, skip_serializing_if = "is_false")]
    pub listens: bool,
    /// Whether it said that it is ready.
    #[serde(default, skip_serializing_if = "is_false")]
    pub notified: bool,
    /// The edition of its app that it belongs to.
    #[serde(default)]
    pub edition: u32,
    /// Whether it said that it is about to end.
    #[serde(default, skip_serializing_if = "is_false")]
    pub closing: bool,
    /// Whether it listens for SIGINT, and for SIGTERM not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub interrupt_only: bool,
    /// What its health checks have made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<CircuitRecord>,
    /// Milliseconds that it may be silent; 0: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<u64>,
}

/// What health checks have made of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitRecord {
    /// It has not been well yet.
    Unproven {
        /// Passes in a row.
        #[serde(default)]
        passes: u16,
        /// Failures in a row.
        #[serde(default)]
        fails: u16,
    },
    /// It is well.
    Closed {
        /// Failures in a row.
        #[serde(default)]
        fails: u16,
    },
    /// It is ill.
    Open {
        /// Failures since it was opened.
        #[serde(default)]
        fails: u16,
    },
    /// It is better.
    HalfOpen {
        /// Passes in a row.
        #[serde(default)]
        passes: u16,
        /// Failures since it was opened.
        #[serde(default)]
        fails: u16,
    },
}

/// How far a run is on its way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageRecord {
    /// Its process was still being made.
    Unspawned,
    /// Its connections are being ended.
    Draining,
    /// It was asked.
    Asked,
    /// It has ended, the rest of its tree was asked.
    Survivors(ExitStatus),
    /// Everything was killed.
    Killed,
    /// It has ended, the rest was killed.
    KilledSurvivors(ExitStatus),
}

/// A launch that failed before it was ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRecord {
    /// The generation it belonged to.
    pub generation: u32,
    /// Its run.
    pub run: u64,
    /// Why.
    pub reason: String,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Its slot.
    pub slot: u32,
    /// Its number.
    pub run: u64,
    /// Its pid.
    pub pid: u32,
    /// When.
    pub time: u64,
    /// Its life.
    pub uptime: u64,
    /// Code or signal; none when it could not be started.
    pub status: Option<ExitStatus>,
    /// In words.
    pub reason: String,
    /// What has ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<ExitCause>,
}

/// A process that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchRecord {
    /// Its number.
    pub run: u64,
    /// Its slot.
    pub slot: u32,
    /// What is executed.
    pub program: OsString,
    /// Its arguments.
    pub argv: Vec<OsString>,
    /// Its working directory.
    pub cwd: OsString,
    /// Whether it starts the real server as its child.
    pub wraps: bool,
    /// The version of its package.
    pub version: Option<String>,
    /// Whether its tree is looked after.
    pub treekill: bool,
    /// Where its standard output goes.
    pub out_file: Option<PathBuf>,
    /// Where its standard error goes.
    pub error_file: Option<PathBuf>,
    /// How long that file was when it began.
    #[serde(default)]
    pub error_began: u64,
    /// Where both go besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combined_file: Option<PathBuf>,
    /// How they are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRecord>,
    /// Where its number is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_file: Option<PathBuf>,
    /// Whether its calls of `bind` and `listen` are answered by the daemon.
    #[serde(default, skip_serializing_if = "is_false")]
    pub captured: bool,
    /// Whether there is a socket for agents in its programs.
    #[serde(default, skip_serializing_if = "is_false")]
    pub agent: bool,
    /// The sockets that it got.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<ListenAddress>,
}

/// How the output of a launch is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// The app, as lines name it.
    pub app: String,
    /// The instance.
    pub instance: u16,
    /// What a line looks like.
    pub form: LogForm,
    /// When files are put away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate: Option<Rotation>,
    /// Who writes the files.
    #[serde(default, skip_serializing_if = "is_piped")]
    pub driver: LogDriver,
    /// Others write into the same files.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shared: bool,
}

/// A process that executes its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BornRecord {
    /// Its number.
    pub run: u64,
    /// Its pid.
    pub pid: u32,
    /// When.
    pub at: u64,
    /// When, by CLOCK_BOOTTIME.
    pub boot: u64,
}

fn is_piped(value: &LogDriver) -> bool {
    *value == LogDriver::Pipe
}

fn is_blank(tally: &[u32; 5]) -> bool {
    *tally == [0; 5]
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}
