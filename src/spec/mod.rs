//! What an app *is*: validated, every default filled in. The form that goes over the wire and that successors read.
//!
//! A spec is plain data. It holds what its owner declared, never what happens to it, and never the environment of the
//! shell that started it (that travels beside it, see `proto::Apply`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod changes;
mod cluster;
mod dates;
mod ends;
mod health;
mod listen;
mod logs;
mod memory;
mod millis;

pub use changes::Changes;
pub use cluster::{Balance, Capture, ClusterSpec, ExecMode, Strategy, Surge};
pub use dates::{DateFormat, DatePart, Digits, Words};
pub use ends::{ExitStatus, NotASignal, Signal};
pub use health::{Check, HealthSpec, SHORTEST, path_problem};
pub use listen::{
    FIRST_HANDED, ListenAddress, ListenSpec, MAX_HANDED, MAX_SOCKET_PATH, NoSuchFd, USUAL_BACKLOG, divide,
    fd_name_problem, path_problem as socket_path_problem, with_fds,
};
pub use logs::{Compression, LogDriver, LogForm, LogSpec, LogStyle, LogTarget, Rotation, Stream};
pub use memory::{MemorySpec, Warn};
use millis::optional as optional_millis;

/// The environment of a process: names and values, sorted.
pub type Env = BTreeMap<String, String>;

/// The namespace of an app that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// An app as its owner declared it, with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSpec {
    /// Unique within its namespace; 1 to 200 bytes, no `/`, no control characters.
    pub name: String,
    /// The group it belongs to, a target of verbs.
    pub namespace: String,
    /// Who may change or replace it.
    pub origin: Origin,
    /// What is executed.
    pub program: Program,
    /// The working directory, absolute. Symbolic links are followed at start, not here.
    pub cwd: PathBuf,
    /// The variables that the owner declared, `env_NAME` already merged over `env`.
    pub env: Env,
    /// The chosen `env_NAME`, remembered for later starts.
    #[serde(default)]
    pub env_name: Option<String>,
    /// Files with more variables, absolute; read at every start, their values are never stored.
    #[serde(default)]
    pub env_files: Vec<PathBuf>,
    /// Which variables of the starting shell are withheld.
    #[serde(default)]
    pub filter_env: FilterEnv,
    /// A variable that counts up from slot to slot, from the value that is declared for it, or 0.
    #[serde(default)]
    pub increment_var: Option<String>,
    /// How many slots the app has, at least 1.
    pub instances: u16,
    /// Whether its slots share ports.
    #[serde(default)]
    pub exec_mode: ExecMode,
    /// How its slots are one server, in cluster mode.
    #[serde(default)]
    pub cluster: ClusterSpec,
    /// The variable that carries the slot's index.
    pub instance_var: String,
    /// Whether `start` runs it, or only registers it.
    pub autostart: bool,
    /// What happens when a run ends by itself.
    pub restart: RestartSpec,
    /// How a run is asked to end.
    pub stop: StopSpec,
    /// How much memory a run may take.
    #[serde(default, skip_serializing_if = "MemorySpec::is_none")]
    pub memory: MemorySpec,
    /// How long a verb waits for readiness before it says "still launching".
    #[serde(with = "millis")]
    pub listen_timeout: Duration,
    /// Whether a run is ready when it says so, and not before.
    #[serde(default)]
    pub wait_ready: bool,
    /// The sockets that are opened for it and handed to its runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<ListenSpec>,
    /// Whether its Node programs get the agent.
    #[serde(default)]
    pub agent: Agent,
    /// Where its output goes.
    pub logs: LogSpec,
    /// The file that holds the pid of its main process while it runs, absolute.
    #[serde(default)]
    pub pid_file: Option<PathBuf>,
    /// How the health of its instances is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSpec>,
    /// The longest silence of a program that promises to speak (sd_notify(3), `WATCHDOG=1`).
    #[serde(default, with = "optional_millis", skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<Duration>,
}

/// A shorter `watchdog` would tell of a busy machine and not of the program.
pub const SHORTEST_WATCHDOG: Duration = Duration::from_millis(100);

/// Which programs get the agent for Node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agent {
    /// Those that are Node, or that start it as far as can be seen.
    #[default]
    Auto,
    /// All: whatever they start, the first Node program has it.
    On,
    /// None.
    Off,
}

/// Which variables of the starting shell an app does not get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterEnv {
    /// It gets all.
    #[default]
    None,
    /// It gets only what every program needs: PATH, HOME, user, shell, language, terminal, time zone, temporary folder.
    All,
    /// It gets none whose name contains one of these.
    Containing(Vec<String>),
}

impl FilterEnv {
    /// Whether a variable of this name is withheld.
    pub fn withholds(&self, name: &str) -> bool {
        const NEEDED: [&str; 9] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TERM", "TZ", "TMPDIR"];
        match self {
            FilterEnv::None => false,
            FilterEnv::All => !NEEDED.contains(&name) && !name.starts_with("LC_"),
            FilterEnv::Containing(parts) => parts.iter().any(|part| name.contains(part)),
        }
    }
}

/// Who owns an app: only the same origin may change it without `--force`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// An ecosystem file, absolute.
    File(PathBuf),
    /// The folder of a script, or the folder in which a command line was typed; absolute.
    Folder(PathBuf),
}

/// What a run executes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Program {
    /// `interpreter interpreter_args… script args…`
    Script {
        /// The script, absolute.
        script: PathBuf,
        /// A name looked up in the app's PATH, or an absolute path.
        interpreter: String,
        /// Arguments before the script.
        interpreter_args: Vec<String>,
        /// Arguments behind the script.
        args: Vec<String>,
    },
    /// A program executed as it is: an absolute path, or a bare name looked up in the app's PATH.
    Binary {
        /// Absolute, or without any `/`.
        path: PathBuf,
        /// Its arguments.
        args: Vec<String>,
    },
    /// A command line for `bash -c`, or `sh -c` where there is no bash.
    CommandLine {
        /// As the user wrote it.
        line: String,
    },
    /// rsx's own static file server (`script = "rsx:serve"`).
    Serve {
        /// The arguments of `rsx serve`.
        args: Vec<String>,
    },
}

/// What happens when a run ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartSpec {
    /// Which ends are followed by a restart.
    pub policy: RestartPolicy,
    /// Exit codes that mean "finished"; an end by a signal has no exit code.
    pub stop_exit_codes: Vec<u8>,
    /// A shorter life counts as unstable; also how long a silent app must live to count as ready.
    #[serde(with = "millis")]
    pub min_uptime: Duration,
    /// How many unstable lives within ten minutes end in `errored`.
    pub max_restarts: u32,
    /// The pause before a restart.
    pub delay: RestartDelay,
    /// When an errored app is tried again; `None`: never.
    #[serde(with = "optional_millis")]
    pub retry_after: Option<Duration>,
}

/// Which ends of a run are followed by a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Every end.
    Always,
    /// A non-zero exit code or a signal.
    OnFailure,
    /// None.
    Never,
}

/// The pause before a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RestartDelay {
    /// Always the same (`restart_delay`); zero restarts at once.
    Fixed {
        /// The pause.
        #[serde(with = "millis")]
        pause: Duration,
    },
    /// The first restart at once, then `first`, then ×1.5 with jitter, at most 15 s (`exp_backoff_restart_delay`).
    Backoff {
        /// The first pause that is not zero.
        #[serde(with = "millis")]
        first: Duration,
    },
}

/// How a run is asked to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopSpec {
    /// The first signal.
    pub signal: Signal,
    /// Whether that is SIGINT for a program that is known to listen for SIGINT and not for SIGTERM.
    #[serde(default)]
    pub auto: bool,
    /// Whether a program with a channel for messages is asked by one, and not by a signal.
    #[serde(default)]
    pub message: bool,
    /// How long it may take before SIGKILL.
    #[serde(with = "millis")]
    pub kill_timeout: Duration,
    /// Whether the whole tree is ended, or the main process only.
    pub treekill: bool,
}

impl AppSpec {
    /// The file that holds the pid of one instance; of several instances each has its own, numbered as their logs are.
    pub fn pid_path(&self, instance: u16) -> Option<PathBuf> {
        self.pid_file.as_ref().map(|path| with_suffix(path, &self.suffix(instance)))
    }

    fn suffix(&self, instance: u16) -> String {
        if self.instances == 1 { String::new() } else { format!("-{instance}") }
    }

    /// The file that this app executes and whose change means new code; `None` for command lines and `rsx:serve`.
    pub fn script_path(&self) -> Option<&Path> {
        match &self.program {
            Program::Script { script, .. } => Some(script),
            Program::Binary { path, .. } if path.is_absolute() => Some(path),
            Program::Binary { .. } | Program::CommandLine { .. } | Program::Serve { .. } => None,
        }
    }
}

/// `api.log` and `-1` make `api-1.log`.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    match path.extension() {
        _ if suffix.is_empty() => path.to_owned(),
        Some(extension) => path.with_file_name(format!("{stem}{suffix}.{}", extension.to_string_lossy())),
        None => path.with_file_name(format!("{stem}{suffix}")),
    }
}

/// The most instances of one app.
pub const MAX_INSTANCES: u16 = 10_000;

/// The longest name of an app or namespace, in bytes: with its suffixes it still is a file name.
pub const MAX_NAME: usize = 200;

/// Why `name` cannot name an app or a namespace, as a sentence fragment; `None`: it can.
pub fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() {
        Some("a name must not be empty".into())
    } else if name.len() > MAX_NAME {
        Some(format!("a name has at most {MAX_NAME} bytes, this one has {}", name.len()))
    } else if name.contains('/') {
        Some("a name must not contain `/`".into())
    } else if name.chars().any(char::is_control) {
        Some("a name must not contain control characters".into())
    } else if name == "all" || name == "." || name == ".." {
        Some(format!("`{name}` has a meaning of its own and cannot be a name"))
    } else if name.starts_with('-') {
        Some("a name must not start with `-`".into())
    } else {
        None
    }
}

impl AppSpec {
    /// What is wrong with a spec that did not come through a config file, as a sentence fragment.
    pub fn problem(&self) -> Option<String> {
        let names = [&self.name, &self.namespace].into_iter().find_map(|name| name_problem(name));
        let nul = |text: &str| text.contains('\0');
        if names.is_some() {
            names
        } else if let Some(key) = self.logs.impossible() {
            Some(format!("`{key}` cannot be done with `log_driver = \"file\"`: the program writes its files itself"))
        } else if self.instances == 0 || self.instances > MAX_INSTANCES {
            Some(format!("it has {} instances; 1 to {MAX_INSTANCES} are possible", self.instances))
        } else if !self.cwd.is_absolute() {
            Some("its `cwd` is not absolute".into())
        } else if self.pid_file.as_ref().is_some_and(|path| !path.is_absolute() || path.file_name().is_none()) {
            Some("its `pid_file` is not an absolute path of a file".into())
        } else if self.env.iter().any(|(name, value)| name.is_empty() || name.contains('=') || nul(name) || nul(value))
        {
            Some("a variable of its `env` has an empty name, or contains `=` in its name or a NUL character".into())
        } else if self.watchdog.is_some_and(|limit| limit < SHORTEST_WATCHDOG) {
            Some(format!("its `watchdog` is below {} ms", SHORTEST_WATCHDOG.as_millis()))
        } else {
            self.health.as_ref().and_then(HealthSpec::problem).or_else(|| listen::problem(&self.listen))
        }
    }
}

/// What identifies one state of a script file; a difference counts as new code (stat(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
    /// The last modification, in nanoseconds since the epoch.
    pub modified: i128,
    /// The size in bytes.
    pub size: u64,
}

#[cfg(test)]
impl AppSpec {
    /// A spec for tests of every layer: one instance of a binary, all defaults.
    pub(crate) fn sample(name: &str) -> AppSpec {
        AppSpec {
            name: name.into(),
            namespace: DEFAULT_NAMESPACE.into(),
            origin: Origin::Folder("/srv".into()),
            program: Program::Binary { path: "/bin/true".into(), args: vec![] },
            cwd: "/srv".into(),
            env: Env::new(),
            env_name: None,
            env_files: vec![],
            filter_env: FilterEnv::None,
            increment_var: None,
            instances: 1,
            exec_mode: ExecMode::Fork,
            cluster: ClusterSpec::default(),
            instance_var: "NODE_APP_INSTANCE".into(),
            autostart: true,
            restart: RestartSpec {
                policy: RestartPolicy::Always,
                stop_exit_codes: vec![],
                min_uptime: Duration::from_secs(1),
                max_restarts: 16,
                delay: RestartDelay::Backoff { first: Duration::from_millis(100) },
                retry_after: Some(Duration::from_secs(60)),
            },
            stop: StopSpec {
                signal: Signal::TERM,
                auto: true,
                message: false,
                kill_timeout: Duration::from_secs(10),
                treekill: true,
            },
            memory: MemorySpec::default(),
            listen_timeout: Duration::from_secs(60),
            wait_ready: false,
            listen: vec![],
            agent: Agent::Auto,
            logs: LogSpec {
                out: LogTarget::Default,
                error: LogTarget::Default,
                merge: false,
                combined: LogTarget::Null,
                style: LogStyle::default(),
            },
            pid_file: None,
            health: None,
            watchdog: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str) -> AppSpec {
        AppSpec::sample(name)
    }

    #[test]
    fn signals_are_read_by_name_and_number() {
        assert_eq!("SIGTERM".parse(), Ok(Signal::TERM));
        assert_eq!("int".parse(), Ok(Signal::INT));
        assert_eq!("9".parse(), Ok(Signal::KILL));
        assert_eq!("34".parse::<Signal>().map(|s| s.to_string()), Ok("signal 34".into()));
        assert!("SIGNOPE".parse::<Signal>().is_err());
        assert!("0".parse::<Signal>().is_err());
    }

    #[test]
    fn a_spec_survives_the_wire() {
        let text = serde_json::to_string(&spec("api")).unwrap();
        assert_eq!(serde_json::from_str::<AppSpec>(&text).unwrap(), spec("api"));
    }

    #[test]
    fn log_files_are_numbered_when_there_are_several_instances() {
        let logs = Path::new("/l");
        let mut app = spec("api");
        assert_eq!(app.log_path(logs, Stream::Out, 0).unwrap(), Path::new("/l/api-out.log"));
        app.instances = 2;
        assert_eq!(app.log_path(logs, Stream::Error, 1).unwrap(), Path::new("/l/api-error-1.log"));
        app.logs.out = LogTarget::Path("/var/log/api.txt".into());
        assert_eq!(app.log_path(logs, Stream::Out, 1).unwrap(), Path::new("/var/log/api-1.txt"));
        app.logs.merge = true;
        assert_eq!(app.log_path(logs, Stream::Out, 1).unwrap(), Path::new("/var/log/api.txt"));
        app.logs.out = LogTarget::Null;
        assert_eq!(app.log_path(logs, Stream::Out, 1), None);
    }

    #[test]
    fn two_namespaces_never_share_a_log_file() {
        let mut app = spec("api");
        app.namespace = "blue".into();
        assert_eq!(app.log_path(Path::new("/l"), Stream::Out, 0).unwrap(), Path::new("/l/blue.api-out.log"));
    }
}
