//! What a user is shown when something failed, and the documented exit codes.
//!
//! Library layers have typed errors of their own; at the edge (`cli`, `client`) each becomes a [`Failure`]: what was
//! attempted, what caused it, and the command to type next.

use std::error::Error;
use std::fmt;

/// Exit codes of the command line; a stable contract (REFERENCE, section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done and true.
    Done = 0,
    /// The verb failed.
    Failed = 1,
    /// The command line was not understood.
    Usage = 2,
    /// No daemon answers (for verbs that need one), or it speaks another protocol.
    NoDaemon = 3,
    /// No app, instance or file matches the target.
    NoSuchTarget = 4,
    /// Some or all targets failed.
    TargetsFailed = 5,
    /// The configuration is invalid.
    InvalidConfig = 6,
    /// Ctrl-C while waiting; what was asked goes on (128 + SIGINT, as shells count).
    Interrupted = 130,
}

/// A failed verb, as its user reads it: `error:` what was attempted, `caused by:` lines, `hint:` lines.
///
/// Messages are lower case, without a period, and put backticks round what the user wrote.
#[derive(Debug)]
pub struct Failure {
    code: ExitCode,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    report: String,
}

impl Failure {
    /// A failure with its exit code and the sentence behind `error:`.
    pub fn new(code: ExitCode, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), causes: Vec::new(), hints: Vec::new(), report: String::new() }
    }

    /// A failure with [`ExitCode::Failed`].
    pub fn failed(message: impl Into<String>) -> Failure {
        Failure::new(ExitCode::Failed, message)
    }

    /// Adds one `caused by:` line.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Failure {
        self.causes.push(cause.into());
        self
    }

    /// Adds an error and its sources as `caused by:` lines.
    #[must_use]
    pub fn caused_by(mut self, error: &(dyn Error + 'static)) -> Failure {
        let mut next = Some(error);
        while let Some(error) = next {
            let line = error.to_string();
            if self.causes.last() != Some(&line) {
                self.causes.push(line);
            }
            next = error.source();
        }
        self
    }

    /// Adds one `hint:` line: the command to type, or what to change.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hints.push(hint.into());
        self
    }

    /// Puts a report in front: what was found, cited, before the sentence that sums it up.
    #[must_use]
    pub fn reported(mut self, report: impl Into<String>) -> Failure {
        self.report = report.into();
        self
    }

    /// The exit code of the process.
    pub fn code(&self) -> ExitCode {
        self.code
    }

    /// What was found, cited; empty where one sentence says it all.
    pub fn report(&self) -> &str {
        &self.report
    }

    /// The sentence behind `error:`.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The lines behind `caused by:`.
    pub fn causes(&self) -> &[String] {
        &self.causes
    }

    /// The lines behind `hint:`.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.report.is_empty() {
            writeln!(f, "{}", self.report.trim_end())?;
        }
        write!(f, "error: {}", self.message)?;
        for cause in &self.causes {
            write!(f, "\n  caused by: {cause}")?;
        }
        for hint in &self.hints {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_from_what_to_why_to_what_next() {
        let failure = Failure::failed("cannot start `api`")
            .because("chdir /srv/api: No such file or directory")
            .hint("create the folder, or change `cwd`");
        assert_eq!(
            failure.to_string(),
            "error: cannot start `api`\n  caused by: chdir /srv/api: No such file or directory\n  hint: create the folder, or change `cwd`"
        );
    }

    #[test]
    fn sources_are_listed_once_each() {
        let inner = std::io::Error::other("disk is gone");
        let failure = Failure::failed("cannot write").caused_by(&inner).caused_by(&inner);
        assert_eq!(failure.causes(), ["disk is gone"]);
    }
}
