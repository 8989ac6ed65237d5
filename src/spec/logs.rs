//! Where output goes, in which form, and what becomes of files that have grown.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::spec::millis::optional as optional_millis;
use crate::spec::{AppSpec, DEFAULT_NAMESPACE, DateFormat, with_suffix};

/// Where the output of an app goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// Standard output.
    pub out: LogTarget,
    /// Standard error.
    pub error: LogTarget,
    /// All instances share one file (`merge_logs`).
    pub merge: bool,
    /// Both once more (`log_file`).
    #[serde(default = "nowhere")]
    pub combined: LogTarget,
    /// How it is written.
    #[serde(default)]
    pub style: LogStyle,
}

/// One destination of output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogTarget {
    /// `NAME-out.log`, `NAME-error.log` or `NAME.log` in the home's `logs`.
    Default,
    /// A path that the owner chose, absolute.
    Path(PathBuf),
    /// Nowhere (`/dev/null`, `disable_logs`).
    Null,
}

/// How output is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStyle {
    /// What a line looks like.
    #[serde(default)]
    pub form: LogForm,
    /// What becomes of a file that has grown; none: nothing.
    #[serde(default = "usual_rotation")]
    pub rotate: Option<Rotation>,
    /// Who writes the files.
    #[serde(default)]
    pub driver: LogDriver,
}

/// Who writes the log files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogDriver {
    /// The daemon, from pipes.
    #[default]
    Pipe,
    /// The program itself: its output is the file.
    File,
}

impl Default for LogStyle {
    fn default() -> LogStyle {
        LogStyle { form: LogForm::default(), rotate: usual_rotation(), driver: LogDriver::Pipe }
    }
}

/// What a line looks like in its file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LogForm {
    /// As the program wrote it.
    #[default]
    Raw,
    /// Behind the time.
    Stamped {
        /// The form of the time; none: ISO 8601.
        #[serde(default)]
        date: Option<DateFormat>,
    },
    /// As a JSON object.
    Json {
        /// The form of the time; none: ISO 8601.
        #[serde(default)]
        date: Option<DateFormat>,
    },
}

/// When a log file is put away as an archive, and how long archives stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// When it has so many bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// When it is so old.
    #[serde(default, with = "optional_millis")]
    pub every: Option<Duration>,
    /// How many archives of one file stay.
    pub keep: u32,
    /// How many bytes all log files of an app may have; the oldest archives go first.
    #[serde(default)]
    pub total: Option<u64>,
    /// How archives are stored.
    #[serde(default)]
    pub compress: Compression,
}

/// How archives are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As they are.
    None,
    /// With `.gz` behind their names.
    #[default]
    Gzip,
    /// With `.zst` behind their names.
    Zstd,
}

impl Default for Rotation {
    fn default() -> Rotation {
        Rotation { size: Some(10 << 20), every: None, keep: 10, total: Some(1 << 30), compress: Compression::Gzip }
    }
}

impl LogSpec {
    /// Which keys ask for something that cannot be done where the program writes its files itself: nothing passes through
    /// rsx then.
    pub fn impossible(&self) -> Option<&'static str> {
        match (self.style.driver, &self.style.form, &self.combined) {
            (LogDriver::Pipe, _, _) | (LogDriver::File, LogForm::Raw, LogTarget::Null) => None,
            (LogDriver::File, LogForm::Stamped { date: None }, _) => Some("time"),
            (LogDriver::File, LogForm::Stamped { date: Some(_) }, _) => Some("log_date_format"),
            (LogDriver::File, LogForm::Json { .. }, _) => Some("log_type"),
            (LogDriver::File, LogForm::Raw, LogTarget::Default | LogTarget::Path(_)) => Some("log_file"),
        }
    }
}

/// The two output streams of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
}

impl AppSpec {
    /// The file that one stream of one instance is written to; `None`: nowhere. `logs` is the home's log folder.
    ///
    /// One fork instance: `NAME-out.log`; more: `NAME-out-N.log`, N being the instance. Apps outside the default
    /// namespace carry theirs in front, so that two apps of one name never share a file.
    pub fn log_path(&self, logs: &Path, stream: Stream, instance: u16) -> Option<PathBuf> {
        match stream {
            Stream::Out => self.log_file(&self.logs.out, logs, "-out", instance),
            Stream::Error => self.log_file(&self.logs.error, logs, "-error", instance),
        }
    }

    /// The file that both streams of one instance are written to besides.
    pub fn combined_log_path(&self, logs: &Path, instance: u16) -> Option<PathBuf> {
        self.log_file(&self.logs.combined, logs, "", instance)
    }

    fn log_file(&self, target: &LogTarget, logs: &Path, word: &str, instance: u16) -> Option<PathBuf> {
        let suffix = if self.logs.merge { String::new() } else { self.suffix(instance) };
        match target {
            LogTarget::Null => None,
            LogTarget::Default if self.namespace == DEFAULT_NAMESPACE => {
                Some(logs.join(format!("{}{word}{suffix}.log", self.name)))
            }
            LogTarget::Default => Some(logs.join(format!("{}.{}{word}{suffix}.log", self.namespace, self.name))),
            LogTarget::Path(path) => Some(with_suffix(path, &suffix)),
        }
    }
}

fn nowhere() -> LogTarget {
    LogTarget::Null
}

#[expect(clippy::unnecessary_wraps, reason = "the form of serde's defaults")]
fn usual_rotation() -> Option<Rotation> {
    Some(Rotation::default())
}
