//! How processes end: signals and exit statuses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a process ended (wait(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// By exit, with this code.
    Code(u8),
    /// By a signal. Never counted as exit code 0.
    Signal {
        /// Which.
        signal: Signal,
        /// Whether the kernel wrote a core dump.
        core: bool,
    },
}

impl ExitStatus {
    /// Whether it is exit code 0.
    pub fn is_success(self) -> bool {
        self == ExitStatus::Code(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(f, "exit code {code}"),
            ExitStatus::Signal { signal, core: false } => write!(f, "{signal}"),
            ExitStatus::Signal { signal, core: true } => write!(f, "{signal} (core dumped)"),
        }
    }
}

/// A signal by its number (signal(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Signal(i32);

/// The text is no signal's name or number.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a signal")]
pub struct NotASignal(pub String);

impl Signal {
    /// SIGTERM.
    pub const TERM: Signal = Signal(libc::SIGTERM);
    /// SIGKILL.
    pub const KILL: Signal = Signal(libc::SIGKILL);
    /// Ends a program that hangs, and tells where it was.
    pub const ABRT: Signal = Signal(libc::SIGABRT);
    /// SIGINT.
    pub const INT: Signal = Signal(libc::SIGINT);

    /// The signal of this number, 1 to 64.
    pub fn from_number(number: i32) -> Option<Signal> {
        (1..=64).contains(&number).then_some(Signal(number))
    }

    /// Its number.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match nix::sys::signal::Signal::try_from(self.0) {
            Ok(signal) => f.write_str(signal.as_str()),
            Err(_) => write!(f, "signal {}", self.0),
        }
    }
}

impl FromStr for Signal {
    type Err = NotASignal;

    /// Accepts `SIGTERM`, `term`, `TERM` and `15`.
    fn from_str(text: &str) -> Result<Signal, NotASignal> {
        let refused = || NotASignal(text.to_owned());
        if let Ok(number) = text.strip_prefix("signal ").unwrap_or(text).parse() {
            return Signal::from_number(number).ok_or_else(refused);
        }
        let upper = text.to_ascii_uppercase();
        let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
        let signal: nix::sys::signal::Signal = name.parse().map_err(|_| refused())?;
        Ok(Signal(signal as i32))
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> String {
        signal.to_string()
    }
}

impl TryFrom<String> for Signal {
    type Error = NotASignal;

    fn try_from(text: String) -> Result<Signal, NotASignal> {
        text.parse()
    }
}
