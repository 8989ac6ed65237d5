//! Calls that look after what is there: its environment, counters, number, signals, input and log files.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::proto::call::Target;
use crate::proto::event::Event;
use crate::spec::{Env, Signal};

/// Asks for the environment of instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvCall {
    /// What is meant; every one must match something.
    pub targets: Vec<Target>,
    /// Values that look secret are wanted as they are.
    #[serde(default)]
    pub show: bool,
}

/// The answer to [`EnvCall`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environments {
    /// In the order of ids.
    pub instances: Vec<InstanceEnv>,
}

/// What one instance is started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceEnv {
    /// Its id.
    pub id: u32,
    /// Its app.
    pub name: String,
    /// Its index within the app.
    pub instance: u16,
    /// All its variables: inherited, declared, and those of rsx.
    pub env: Env,
}

/// Sends a signal to the processes of targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalCall {
    /// What is meant; every one must match something.
    pub targets: Vec<Target>,
    /// Which.
    pub signal: Signal,
}

/// The longest line of a [`SendCall`] with its newline, in bytes: what a pipe takes whole or not at all (pipe(7)).
pub const MAX_INPUT: usize = 4096;

/// Writes a line to the standard input of targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendCall {
    /// What is meant; every one must match something.
    pub targets: Vec<Target>,
    /// Without newline, which is added.
    pub line: String,
}

/// Changes the number of instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleCall {
    /// The apps; an instance stands for its app.
    pub targets: Vec<Target>,
    /// How many there will be.
    pub count: Count,
    /// Answer at once.
    #[serde(default)]
    pub no_wait: bool,
}

/// A number of instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// This many.
    To(u16),
    /// So many more or less than there are.
    By(i32),
}

/// Empties log files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushCall {
    /// Whose; every one must match something.
    pub targets: Vec<Target>,
    /// What was put away before stays.
    #[serde(default)]
    pub keep_archives: bool,
}

/// Puts log files away as archives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateCall {
    /// Whose; every one must match something.
    pub targets: Vec<Target>,
}

/// The answer to `flush`, `rotate` and `reload_logs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFiles {
    /// Each file once, sorted.
    pub files: Vec<LogFile>,
}

/// What was done to one log file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogFile {
    /// Which.
    pub path: PathBuf,
    /// How many bytes it had.
    pub bytes: u64,
    /// How many of its archives were removed.
    #[serde(default)]
    pub archives: u64,
    /// How many bytes those had on the disk.
    #[serde(default)]
    pub archived: u64,
    /// Why it could not be done.
    #[serde(default)]
    pub problem: Option<String>,
}

/// Asks for past events only, without turning the connection into a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastCall {
    /// How many of the last ones (the daemon keeps 1,000).
    #[serde(default)]
    pub history: u32,
}

/// The answer to [`PastCall`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// The oldest first.
    pub events: Vec<Event>,
}
