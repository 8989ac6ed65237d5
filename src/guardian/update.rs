//! The update: from the daemon's question to the guardian's own replacement.
//!
//! ```text
//! [None] --update PATH--> [Rehearsing] --it could take over--> [Going] --the daemon left--> [Trying] --ready--> [Replacing]
//!   ^                          | refused, 5 s                     | 10 s                       | ended, 10 s       |
//!   +--------------------------+----------------------------------+--- the old binary again <--+    execve(2) or --+
//! ```
//!
//! The new binary first plays through its start as a process of its own (`rsx daemon --rehearse`), which changes nothing.
//! The daemon leaves only when that went well, and a daemon of the new binary that is not ready in time, or ends before
//! it is, is followed by one of the old binary, which is told why. When the new one is ready, the guardian executes the new
//! binary in its own place: the daemon does not notice, because its parent's number, the connection and everything
//! that is stored stay. What cannot be replaced goes on as it is: a guardian works with daemons of other versions.

use std::fmt::Write;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::guardian::binary::Binary;
use crate::guardian::moment::Moment;
use crate::guardian::state;
use crate::sys::process::{ExitStatus, Process};

/// How long a rehearsal may take. Tests do not wait as long for what has to fail.
pub(super) const REHEARSAL: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 5 });
/// How long the daemon may take to leave when it was told to.
pub(super) const LEAVING: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 10 });
/// How long the new daemon may take to be ready.
pub(super) const TRIAL: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 10 });

/// So much of each output of a rehearsal is kept.
const MOST: usize = 2_000;
/// So much of a reason is passed on.
const REASON: usize = 1_000;
/// So many reads of one output are made in a row.
const BATCH: usize = 16;

/// Where an update is.
#[derive(Debug)]
pub(super) enum Update {
    /// There is none.
    None,
    /// The new binary plays through its start.
    Rehearsing(Rehearsal),
    /// The daemon was told to leave, at the latest then; or has left, and the new binary is started next.
    Going { candidate: Candidate, until: Moment },
    /// The new binary runs and has to be ready by then.
    Trying { candidate: Candidate, until: Moment },
    /// It was not, and was killed; the old one is started when it has ended.
    Abandoned { why: String },
    /// It is ready; the guardian executes the new binary as soon as nothing is under way.
    Replacing,
}

/// A binary that can take over.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) binary: Binary,
    pub(super) rehearsed: Rehearsed,
}

/// What a rehearsal says of its binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rehearsed {
    pub(super) version: String,
    /// The versions of a guardian's state that it reads.
    pub(super) states: RangeInclusive<u32>,
}

/// A new binary that plays through its start.
#[derive(Debug)]
pub(super) struct Rehearsal {
    pub(super) process: Process,
    pub(super) out: Said,
    pub(super) error: Said,
    pub(super) binary: Binary,
    /// None when it was killed because its time was over.
    pub(super) until: Option<Moment>,
    /// How many daemons there were before the one that asked.
    pub(super) asker: u32,
}

/// What comes through one pipe, the beginning of it.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) pipe: File,
    text: Vec<u8>,
}

/// What a binary prints that could take over: its version, and the versions of a guardian's state that it reads. The last
/// line of a rehearsal that went well:
///
/// ```text
/// rehearsed VERSION guardian-state FIRST LAST
/// ```
pub fn rehearsed_line() -> String {
    let states = state::READS;
    format!("rehearsed {} guardian-state {} {}", env!("CARGO_PKG_VERSION"), states.start(), states.end())
}

/// The version of a binary whose rehearsal has printed this and ended well; why it cannot take over otherwise.
///
/// # Errors
///
/// As a sentence fragment for the user.
pub fn version_of(status: ExitStatus, out: &[u8], error: &[u8]) -> Result<String, String> {
    judge(status, out, error).map(|rehearsed| rehearsed.version)
}

impl Update {
    /// Leaves none.
    pub(super) fn take(&mut self) -> Update {
        std::mem::replace(self, Update::None)
    }
}

impl Rehearsal {
    /// What became of it, when it has ended like this.
    pub(super) fn into_candidate(mut self, status: ExitStatus) -> Result<Candidate, String> {
        self.out.go_on();
        self.error.go_on();
        if self.until.is_none() {
            return Err(format!("its rehearsal took longer than {} s", REHEARSAL.as_secs()));
        }
        judge(status, &self.out.text, &self.error.text).map(|rehearsed| Candidate { binary: self.binary, rehearsed })
    }
}

impl Said {
    pub(super) fn new(pipe: File) -> Said {
        Said { pipe, text: Vec::new() }
    }

    /// Reads what is there; whether more may come.
    pub(super) fn go_on(&mut self) -> bool {
        let mut buffer = [0; 1024];
        for _ in 0..BATCH {
            match self.pipe.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    let room = MOST - self.text.len();
                    self.text.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
            }
        }
        true
    }
}

/// Whether a binary can take over, by the end and the words of its rehearsal.
fn judge(status: ExitStatus, out: &[u8], error: &[u8]) -> Result<Rehearsed, String> {
    if !status.is_success() {
        let mut why = format!("its rehearsal ended with {status}");
        let said = one_line(&String::from_utf8_lossy(error));
        if !said.is_empty() {
            let _ = write!(why, ": {said}");
        }
        return Err(why);
    }
    let rehearsed = String::from_utf8_lossy(out).lines().rev().find_map(parse);
    rehearsed.ok_or_else(|| "it does not say that it could take over; is it rsx, and a version that can?".to_owned())
}

/// Reads a [`rehearsed_line`]; later versions may add words.
fn parse(line: &str) -> Option<Rehearsed> {
    let mut words = line.strip_prefix("rehearsed ")?.split_whitespace();
    let version = words.next()?.to_owned();
    let _ = words.next().filter(|word| *word == "guardian-state")?;
    let first = words.next()?.parse().ok()?;
    let last = words.next()?.parse().ok()?;
    Some(Rehearsed { version, states: first..=last })
}

/// Any text as a reason: one line, and not a long one.
pub(super) fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut line = lines.join("; ");
    if line.len() > REASON {
        let end = (0..=REASON).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(end);
    }
    line.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::Signal;

    const DONE: ExitStatus = ExitStatus::Code(0);

    #[test]
    fn what_a_rehearsal_prints_is_understood() {
        let rehearsed = judge(DONE, format!("words\n{}\n", rehearsed_line()).as_bytes(), b"").unwrap();
        assert_eq!(rehearsed.version, env!("CARGO_PKG_VERSION"));
        assert!(rehearsed.states.contains(&state::VERSION));
        let later = judge(DONE, b"rehearsed 9.9.9 guardian-state 2 5 and more", b"").unwrap();
        assert_eq!(later, Rehearsed { version: "9.9.9".into(), states: 2..=5 });
    }

    #[test]
    fn a_binary_that_cannot_take_over_is_refused_with_its_own_words() {
        let refused = |status, out: &[u8], error: &[u8]| judge(status, out, error).unwrap_err();
        assert_eq!(
            refused(ExitStatus::Code(1), b"", b"error: the journal is newer\n\n  hint: no\n"),
            "its rehearsal ended with exit code 1: error: the journal is newer; hint: no"
        );
        let killed = ExitStatus::Signal { signal: Signal::KILL, core: false };
        assert_eq!(refused(killed, rehearsed_line().as_bytes(), b""), "its rehearsal ended with SIGKILL");
        for silent in [&b""[..], b"rehearsed", b"rehearsed 1.0.0 guardian-state x 1", b"hello"] {
            assert!(refused(DONE, silent, b"").starts_with("it does not say"));
        }
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        assert_eq!(one_line("a\tb\r\nc\0"), "a b; c ");
        assert_eq!(one_line(&"ü".repeat(2_000)).len(), REASON);
    }
}
