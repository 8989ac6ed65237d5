//! What guardian and daemon say to each other, as text in messages: short, so that any version understands any other.
//!
//! | from the daemon | means |
//! |---|---|
//! | `put NAMES` | store the descriptors that come along under these names, a line each |
//! | `drop NAMES` | close what has these names |
//! | `take` | send copies of all |
//! | `ready` | the client that waits was answered, all ends were asked for |
//! | `watch RUNS` | tell how these runs end: `PID BORN`, a line each, BORN in milliseconds of CLOCK_MONOTONIC |
//! | `settle RUNS` | their ends are written down |
//! | `update PATH` | start this binary in the place of the daemon |
//!
//! | from the guardian | means |
//! |---|---|
//! | `have NAME` | here is a copy |
//! | `end COUNT` | that were all |
//! | `done COUNT` | so many messages of this connection were carried out |
//! | `ended PID BORN STATUS AT` | a run has ended; STATUS is `code N`, `signal N` or `signal N core` |
//! | `update-go VERSION` | the binary can take over: leave with [`HANDOVER`](crate::guardian::HANDOVER) |
//! | `update-refused WHY` | it cannot |
//!
//! What one side does not know it ignores, so that each works with the other's next version.

use std::fmt;

use crate::guardian::ends::{Born, End};
use crate::sys::process::{ExitStatus, Signal};

/// The longest name that something is stored under, in bytes.
pub(super) const MAX_NAME: usize = 255;

/// What a daemon asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// Store the descriptors that come along under these names, a line each, instead of those that have them.
    Put(&'a str),
    /// Close what has these names, a line each.
    Drop(&'a str),
    /// Send copies of all.
    Take,
    /// The client that waits has been answered.
    Ready,
    /// Tell how these runs end.
    Watch(Runs<'a>),
    /// Their ends are written down.
    Settle(Runs<'a>),
    /// Start the binary of this path.
    Update(&'a str),
}

/// What a guardian says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply<'a> {
    /// Here is what has these names, a line each.
    Have(&'a str),
    /// That were all; so many.
    End(usize),
    /// So many requests of this connection have been carried out.
    Done(u64),
    /// A run has ended.
    Ended(Born, End),
    /// The binary can take over, and says that it is of this version.
    Go(&'a str),
    /// It cannot, for this reason.
    Refused(&'a str),
}

/// Runs as one message carries them, all of them well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Runs<'a>(&'a str);

impl<'a> Runs<'a> {
    /// None if one of them is not well formed.
    pub(super) fn parse(text: &'a str) -> Option<Runs<'a>> {
        text.lines().all(|line| run(line).is_some()).then_some(Runs(text))
    }

    /// Lines that are well formed.
    pub(super) fn of(text: &'a str) -> Runs<'a> {
        debug_assert!(Runs::parse(text).is_some(), "{text}");
        Runs(text)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Born> + 'a {
        self.0.lines().filter_map(run)
    }
}

impl<'a> Request<'a> {
    /// Reads a message; none if this version does not know it.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Request<'a>> {
        let text = std::str::from_utf8(bytes).ok()?;
        match text.split_once(' ') {
            Some(("put", names)) if names.lines().all(is_name) => Some(Request::Put(names)),
            Some(("drop", names)) if names.lines().all(is_name) => Some(Request::Drop(names)),
            Some(("watch", runs)) => Runs::parse(runs).map(Request::Watch),
            Some(("settle", runs)) => Runs::parse(runs).map(Request::Settle),
            Some(("update", path)) => Some(Request::Update(path)),
            None if text == "take" => Some(Request::Take),
            None if text == "ready" => Some(Request::Ready),
            Some(_) | None => None,
        }
    }
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Put(names) => write!(f, "put {names}"),
            Request::Drop(names) => write!(f, "drop {names}"),
            Request::Take => f.write_str("take"),
            Request::Ready => f.write_str("ready"),
            Request::Watch(runs) => write!(f, "watch {}", runs.0),
            Request::Settle(runs) => write!(f, "settle {}", runs.0),
            Request::Update(path) => write!(f, "update {path}"),
        }
    }
}

impl<'a> Reply<'a> {
    /// Reads a message; none if this version does not know it.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Reply<'a>> {
        match std::str::from_utf8(bytes).ok()?.split_once(' ')? {
            ("have", names) if names.lines().all(is_name) => Some(Reply::Have(names)),
            ("end", count) => count.parse().ok().map(Reply::End),
            ("done", count) => count.parse().ok().map(Reply::Done),
            ("ended", end) => ended(end),
            ("update-go", version) => Some(Reply::Go(version)),
            ("update-refused", why) => Some(Reply::Refused(why)),
            _ => None,
        }
    }
}

impl fmt::Display for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Have(name) => write!(f, "have {name}"),
            Reply::End(count) => write!(f, "end {count}"),
            Reply::Done(count) => write!(f, "done {count}"),
            Reply::Ended(Born { pid, born }, end) => write!(f, "ended {pid} {born} {end}"),
            Reply::Go(version) => write!(f, "update-go {version}"),
            Reply::Refused(why) => write!(f, "update-refused {why}"),
        }
    }
}

impl fmt::Display for Born {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.born)
    }
}

/// `STATUS AT`.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            ExitStatus::Code(code) => write!(f, "code {code}")?,
            ExitStatus::Signal { signal, core: false } => write!(f, "signal {}", signal.number())?,
            ExitStatus::Signal { signal, core: true } => write!(f, "signal {} core", signal.number())?,
        }
        write!(f, " {}", self.at)
    }
}

/// Whether something can be stored under this name.
pub(super) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.contains('\n')
}

/// `PID BORN`.
pub(super) fn run(text: &str) -> Option<Born> {
    let (pid, born) = text.split_once(' ')?;
    Some(Born { pid: pid.parse().ok()?, born: born.parse().ok()? })
}

/// `STATUS AT`.
pub(super) fn end(text: &str) -> Option<End> {
    let (status, at) = text.rsplit_once(' ')?;
    let status = match status.split_once(' ')? {
        ("code", code) => ExitStatus::Code(code.parse().ok()?),
        ("signal", rest) => {
            let (number, core) = rest.strip_suffix(" core").map_or((rest, false), |number| (number, true));
            ExitStatus::Signal { signal: Signal::from_number(number.parse().ok()?)?, core }
        }
        _ => return None,
    };
    Some(End { status, at: at.parse().ok()? })
}

/// `PID BORN STATUS AT`.
fn ended(text: &str) -> Option<Reply<'_>> {
    let (pid, rest) = text.split_once(' ')?;
    let (born, rest) = rest.split_once(' ')?;
    Some(Reply::Ended(Born { pid: pid.parse().ok()?, born: born.parse().ok()? }, end(rest)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for request in [
            Request::Put("run 7 out\nrun 7 in"),
            Request::Drop("a"),
            Request::Take,
            Request::Ready,
            Request::Watch(Runs("7 0\n4194304 18446744073709551615")),
            Request::Settle(Runs("7 0")),
            Request::Update("/usr/local/bin/my rsx"),
        ] {
            assert_eq!(Request::parse(request.to_string().as_bytes()), Some(request));
        }
        let run = Born { pid: 7, born: 12 };
        let ended = |status| Reply::Ended(run, End { status, at: 99 });
        for reply in [
            Reply::Have("run 7 out"),
            Reply::End(0),
            Reply::Done(u64::MAX),
            ended(ExitStatus::Code(255)),
            ended(ExitStatus::Signal { signal: Signal::KILL, core: false }),
            ended(ExitStatus::Signal { signal: Signal::TERM, core: true }),
            Reply::Go("1.2.3"),
            Reply::Refused("it is too old"),
        ] {
            assert_eq!(Reply::parse(reply.to_string().as_bytes()), Some(reply));
        }
        assert_eq!(
            ended(ExitStatus::Signal { signal: Signal::KILL, core: true }).to_string(),
            "ended 7 12 signal 9 core 99"
        );
    }

    #[test]
    fn what_is_not_known_is_nothing() {
        let long = format!("put {}", "x".repeat(MAX_NAME + 1));
        for bytes in [
            &b""[..],
            b"put",
            b"put a\n\nb",
            b"take it",
            b"\xff",
            long.as_bytes(),
            b"watch",
            b"watch 7",
            b"watch 7 1\n8",
            b"settle -1 0",
        ] {
            assert_eq!(Request::parse(bytes), None);
        }
        for bytes in
            [&b"end x"[..], b"ended 7 12 code 256 1", b"ended 7 12 signal 65 1", b"ended 7 12 code 1", b"hello you"]
        {
            assert_eq!(Reply::parse(bytes), None);
        }
    }

    #[test]
    fn runs_come_one_by_one() {
        let runs: Vec<Born> = Runs::parse("7 1\n8 2").unwrap().iter().collect();
        assert_eq!(runs, [Born { pid: 7, born: 1 }, Born { pid: 8, born: 2 }]);
    }
}
