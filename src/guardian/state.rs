//! What a guardian hands to itself when it executes another binary in its place.
//!
//! Descriptors stay open over execve(2) under their numbers; everything else is text in a file in memory, a fact a line:
//!
//! ```text
//! rsx-guardian-state 1
//! lock FD
//! umask NUMBER
//! nofile SOFT HARD                what the guardian has changed of itself, as it was before
//! badness NUMBER
//! ended COUNT                     what is remembered of earlier daemons
//! pause MILLIS
//! restarted MOMENT
//! stopping
//! daemon PID PIDFD               these two only where a daemon runs
//! connection FD DONE TOLD
//! watched present|former PID BORN alive|STATUS AT
//! loose PID STATUS AT
//! store FD NAME
//! end
//! ```
//!
//! # Versions
//!
//! A binary says in its rehearsal which versions it reads, and only then is it executed. A reader skips lines that it
//! does not know, so a new line needs a new version only where ignoring it would lose something.

use std::fmt::Write;
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::guardian::Before;
use crate::guardian::ends::{Asker, Watched};
use crate::guardian::moment::Moment;
use crate::guardian::policy::Policy;
use crate::guardian::store::{Connection, Kept};
use crate::guardian::wire;
use crate::sys::fds::Channel;
use crate::sys::limits::RLimit;
use crate::sys::process::Process;

/// The version that is written.
pub(super) const VERSION: u32 = 1;
/// The versions that are read.
pub(super) const READS: RangeInclusive<u32> = 1..=1;

/// What the first line begins with.
const TITLE: &str = "rsx-guardian-state";

/// Everything that is written.
pub(super) struct Leaving<'a> {
    pub(super) lock: BorrowedFd<'a>,
    pub(super) before: Before,
    pub(super) policy: Policy,
    /// None of a daemon that becomes a guardian: the next one is to be started.
    pub(super) daemon: Option<(&'a Process, &'a Connection)>,
    pub(super) kept: &'a Kept,
}

/// Everything that is read.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) lock: OwnedFd,
    pub(super) before: Before,
    pub(super) policy: Policy,
    pub(super) daemon: Option<(Process, Connection)>,
    pub(super) kept: Kept,
}

impl Leaving<'_> {
    /// The descriptors that have to stay open.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let daemon = self.daemon.into_iter().flat_map(|(process, connection)| [process.as_fd(), connection.as_fd()]);
        [self.lock].into_iter().chain(daemon).chain(self.kept.store.iter().map(|(_, fd)| fd.as_fd()))
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{TITLE} {VERSION}\n");
        let mut line = |line: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        };
        line(format_args!("lock {}", self.lock.as_raw_fd()));
        line(format_args!("umask {}", self.before.umask));
        if let Some(RLimit { soft, hard }) = self.before.nofile {
            line(format_args!("nofile {soft} {hard}"));
        }
        if let Some(badness) = self.before.badness {
            line(format_args!("badness {badness}"));
        }
        line(format_args!("ended {}", self.policy.ended));
        line(format_args!("pause {}", self.policy.pause.as_millis()));
        if let Some(restarted) = self.policy.restarted {
            line(format_args!("restarted {}", restarted.as_millis()));
        }
        if self.policy.is_stopping {
            line(format_args!("stopping"));
        }
        if let Some((process, connection)) = self.daemon {
            line(format_args!("daemon {} {}", process.display_pid(), process.as_raw_fd()));
            let (done, told) = connection.counts();
            line(format_args!("connection {} {done} {told}", connection.as_fd().as_raw_fd()));
        }
        for (run, Watched { end, asker }) in self.kept.ends.watched() {
            let asker = match asker {
                Asker::Present => "present",
                Asker::Former => "former",
            };
            match end {
                None => line(format_args!("watched {asker} {run} alive")),
                Some(end) => line(format_args!("watched {asker} {run} {end}")),
            }
        }
        for (pid, end) in self.kept.ends.loose() {
            line(format_args!("loose {pid} {end}"));
        }
        for (name, fd) in self.kept.store.iter() {
            line(format_args!("store {} {name}", fd.as_raw_fd()));
        }
        line(format_args!("end"));
        text
    }
}

impl Arrived {
    /// Reads what [`Leaving::to_text`] has written; `take` makes an owned descriptor of a number.
    ///
    /// # Errors
    ///
    /// `InvalidData` with the line that could not be read, or with what is missing.
    pub(super) fn read(text: &str, take: impl FnMut(RawFd) -> Option<OwnedFd>) -> io::Result<Arrived> {
        let mut lines = text.lines();
        let version = lines.next().and_then(|line| line.strip_prefix(TITLE)?.trim().parse::<u32>().ok());
        if !version.is_some_and(|version| READS.contains(&version)) {
            return Err(wrong("its first line"));
        }
        let mut parts = Parts::new(take);
        for line in lines {
            if line == "end" {
                return parts.assemble();
            }
            parts.add(line).ok_or_else(|| wrong(line))?;
        }
        Err(wrong("its end"))
    }
}

/// What was read so far.
struct Parts<T> {
    take: T,
    lock: Option<OwnedFd>,
    before: Before,
    policy: Policy,
    process: Option<Process>,
    connection: Option<Connection>,
    kept: Kept,
}

impl<T: FnMut(RawFd) -> Option<OwnedFd>> Parts<T> {
    fn new(take: T) -> Parts<T> {
        // A daemon was ready, or there would be nobody to ask for an update.
        let policy = Policy { was_ready: true, ..Policy::new() };
        let before = Before { nofile: None, umask: 0o022, badness: None };
        Parts { take, lock: None, before, policy, process: None, connection: None, kept: Kept::new() }
    }

    /// None for a line that is known and not understood.
    fn add(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "lock" => self.lock = Some((self.take)(rest.parse().ok()?)?),
            "umask" => self.before.umask = rest.parse().ok()?,
            "nofile" => {
                let (soft, hard) = rest.split_once(' ')?;
                self.before.nofile = Some(RLimit { soft: soft.parse().ok()?, hard: hard.parse().ok()? });
            }
            "badness" => self.before.badness = Some(rest.parse().ok()?),
            "ended" => self.policy.ended = rest.parse().ok()?,
            "pause" => self.policy.pause = Duration::from_millis(rest.parse().ok()?),
            "restarted" => self.policy.restarted = Some(Moment::from_millis(rest.parse().ok()?)),
            "stopping" => self.policy.is_stopping = true,
            "daemon" => {
                let (pid, fd) = rest.split_once(' ')?;
                let pidfd = (self.take)(fd.parse().ok()?)?;
                self.process = Some(Process::from_before_exec(pidfd, pid.parse().ok()?)?);
            }
            "connection" => {
                let (fd, counts) = rest.split_once(' ')?;
                let (done, told) = counts.split_once(' ')?;
                let channel = Channel::from_fd((self.take)(fd.parse().ok()?)?);
                self.connection = Some(Connection::going_on(channel, done.parse().ok()?, told.parse().ok()?));
            }
            "watched" => self.add_watched(rest)?,
            "loose" => {
                let (pid, end) = rest.split_once(' ')?;
                self.kept.ends.remember(pid.parse().ok()?, wire::end(end)?);
            }
            "store" => {
                let (fd, name) = rest.split_once(' ')?;
                self.kept.store.put(name, (self.take)(fd.parse().ok()?)?);
            }
            // A later version's.
            _ => {}
        }
        Some(())
    }

    fn add_watched(&mut self, rest: &str) -> Option<()> {
        let (asker, rest) = rest.split_once(' ')?;
        let asker = match asker {
            "present" => Asker::Present,
            "former" => Asker::Former,
            _ => return None,
        };
        let (pid, rest) = rest.split_once(' ')?;
        let (born, end) = rest.split_once(' ')?;
        let end = if end == "alive" { None } else { Some(wire::end(end)?) };
        self.kept.ends.keep_watched(wire::run(&format!("{pid} {born}"))?, Watched { end, asker });
        Some(())
    }

    fn assemble(mut self) -> io::Result<Arrived> {
        self.kept.ends.on_ready();
        Ok(Arrived {
            lock: self.lock.ok_or_else(|| wrong("the lock"))?,
            before: self.before,
            policy: self.policy,
            daemon: match (self.process, self.connection) {
                (Some(process), Some(connection)) => Some((process, connection)),
                (None, None) => None,
                (None, Some(_)) => return Err(wrong("the daemon")),
                (Some(_), None) => return Err(wrong("the connection")),
            },
            kept: self.kept,
        })
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the state of the guardian before lacks or garbles `{what}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guardian::ends::{Born, End};
    use crate::sys::fds::memory_file;
    use crate::sys::process::{ExitStatus, Signal};

    /// As version 1 writes it. What was released stays readable: a new version gets a text of its own.
    const FIRST: &str = "\
rsx-guardian-state 1
lock 5
umask 18
nofile 1024 524288
badness 100
ended 3
pause 400
restarted 123456
stopping
daemon 4711 6
connection 7 12 10
watched former 99 1 signal 9 core 7
watched present 100 5 alive
loose 101 code 42 8
loose 100 code 0 9
a line of tomorrow
store 8 log/window
store 9 run/1/out
end
";

    /// Any descriptor for each number, and the numbers that were asked for.
    fn read(text: &str) -> (io::Result<Arrived>, Vec<RawFd>) {
        let mut numbers = Vec::new();
        let arrived = Arrived::read(text, |number| {
            numbers.push(number);
            memory_file("any", b"").ok()
        });
        (arrived, numbers)
    }

    #[test]
    fn the_first_version_stays_readable() {
        let (arrived, numbers) = read(FIRST);
        let arrived = arrived.unwrap();
        assert_eq!(numbers, [5, 6, 7, 8, 9]);
        assert_eq!((arrived.before.umask, arrived.before.badness), (18, Some(100)));
        assert_eq!(arrived.before.nofile, Some(RLimit { soft: 1024, hard: 524_288 }));
        let policy = Policy {
            pause: Duration::from_millis(400),
            ended: 3,
            restarted: Some(Moment::from_millis(123_456)),
            was_ready: true,
            is_stopping: true,
        };
        assert_eq!(arrived.policy, policy);
        let (process, connection) = arrived.daemon.unwrap();
        assert_eq!(process.display_pid(), 4711);
        assert_eq!(connection.counts(), (12, 10));
        let names: Vec<&str> = arrived.kept.store.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["run/1/out", "log/window"]);
        let watched: Vec<_> = arrived.kept.ends.watched().collect();
        let killed = End { status: ExitStatus::Signal { signal: Signal::KILL, core: true }, at: 7 };
        let expected = [
            (Born { pid: 99, born: 1 }, Watched { end: Some(killed), asker: Asker::Former }),
            (Born { pid: 100, born: 5 }, Watched { end: None, asker: Asker::Present }),
        ];
        assert_eq!(watched, expected);
        assert_eq!(arrived.kept.ends.loose().count(), 2);
    }

    #[test]
    fn what_is_written_is_read() {
        let (arrived, _) = read(FIRST);
        let arrived = arrived.unwrap();
        let leaving = Leaving {
            lock: arrived.lock.as_fd(),
            before: arrived.before,
            policy: arrived.policy,
            daemon: arrived.daemon.as_ref().map(|(process, connection)| (process, connection)),
            kept: &arrived.kept,
        };
        let without_numbers = |text: &str| -> Vec<String> {
            let line = |line: &str| match line.split_once(' ') {
                Some(("store", rest)) => rest.split_once(' ').unwrap().1.to_owned(),
                Some(("lock", _)) => "lock".to_owned(),
                Some(("daemon", rest)) => rest.split_once(' ').unwrap().0.to_owned(),
                Some(("connection", rest)) => rest.split_once(' ').unwrap().1.to_owned(),
                _ => line.to_owned(),
            };
            let mut lines: Vec<String> = text.lines().filter(|line| !line.contains("tomorrow")).map(line).collect();
            // What is stored may come in any order.
            lines.sort_unstable();
            lines
        };
        assert_eq!(without_numbers(&leaving.to_text()), without_numbers(FIRST));
        assert_eq!(leaving.fds().count(), 5);
    }

    #[test]
    fn a_daemon_that_becomes_a_guardian_has_none() {
        let text = FIRST.replace("daemon 4711 6\n", "").replace("connection 7 12 10\n", "");
        let (arrived, numbers) = read(&text);
        assert!(arrived.unwrap().daemon.is_none());
        assert_eq!(numbers, [5, 8, 9]);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let (cut, _) = FIRST.split_at(FIRST.len() - 4);
        let later = FIRST.replace("state 1", "state 2");
        let garbled = FIRST.replace("connection 7", "connection seven");
        let missing = FIRST.replace("daemon 4711 6\n", "");
        for text in ["", cut, &later, &garbled, &missing] {
            assert_eq!(read(text).0.unwrap_err().kind(), ErrorKind::InvalidData);
        }
    }
}
