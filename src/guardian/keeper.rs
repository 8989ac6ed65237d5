//! The daemon's end of the connection to its guardian.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::guardian::ends::Born;
use crate::guardian::wire::{Reply, Request, Runs, is_name};
use crate::guardian::{EXE_FD, GUARDIAN_FD};
use crate::sys::fds::{Blocking, Channel, MAX_BYTES, MAX_FDS, Message, take_inherited};
use crate::sys::poller::readable_within;
use crate::sys::process::{ExitStatus, Parent};

/// So many runs are named in one message; 32 bytes are the longest.
const RUNS: usize = 100;

/// Hands descriptors to the guardian, for the daemon after this one.
///
/// Nothing here waits except [`Keeper::take_all`]: what the kernel does not take at once is queued, and
/// [`Keeper::pump`] sends it when the descriptor is ready. The queue is bounded by what there is to store: a few
/// descriptors a run, each queued once for every change of it.
#[derive(Debug)]
pub struct Keeper {
    channel: Channel,
    queue: VecDeque<(String, Vec<OwnedFd>)>,
    sent: u64,
    done: u64,
    guardian: Guardian,
    /// Told by the guardian and not taken yet. Bounded by what is watched.
    ended: Vec<Ended>,
    verdict: Option<Verdict>,
}

/// The end of a run that the guardian was asked to tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its number.
    pub pid: u32,
    /// When it was born, as [`Keeper::watch`] was told.
    pub born: u64,
    /// How it ended.
    pub status: ExitStatus,
    /// When the guardian noticed, in milliseconds of CLOCK_MONOTONIC.
    pub at: u64,
}

/// What the guardian says of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The binary can take over: this daemon is to leave now with [`HANDOVER`](crate::guardian::HANDOVER), within 10 s.
    Go {
        /// The version that the binary says it is of.
        version: String,
    },
    /// It cannot, or this daemon has not left in time. Nothing has changed.
    Refused {
        /// Why, in one line.
        why: String,
    },
}

/// Whether the guardian is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guardian {
    Alive,
    Gone,
}

impl Keeper {
    /// The connection that this daemon has inherited; none if it was not started by a guardian.
    pub fn from_env() -> Option<Keeper> {
        // What we were executed through.
        drop(take_inherited(EXE_FD));
        Keeper::new(Channel::from_fd(take_inherited(GUARDIAN_FD)?)).ok()
    }

    pub(super) fn new(channel: Channel) -> io::Result<Keeper> {
        channel.set_blocking(Blocking::No)?;
        Ok(Keeper {
            channel,
            queue: VecDeque::new(),
            sent: 0,
            done: 0,
            guardian: Guardian::Alive,
            ended: Vec::new(),
            verdict: None,
        })
    }

    /// Stores copies of these descriptors instead of what has their names, in one message. Without a guardian nothing
    /// happens.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a name that is empty, longer than 255 bytes or of two lines, and for more than fit one message;
    /// EMFILE, when they have to be queued.
    pub fn put(&mut self, named: &[(&str, BorrowedFd<'_>)]) -> io::Result<()> {
        let names = lines(named.iter().map(|(name, _)| *name))?;
        let fds: Vec<BorrowedFd<'_>> = named.iter().map(|(_, fd)| *fd).collect();
        let text = Request::Put(&names).to_string();
        if text.len() > MAX_BYTES || fds.len() > MAX_FDS {
            return Err(ErrorKind::InvalidInput.into());
        }
        if self.is_alone() || self.sends_now(&text, &fds)? {
            return Ok(());
        }
        let kept = fds.iter().map(|fd| fd.try_clone_to_owned()).collect::<io::Result<Vec<OwnedFd>>>()?;
        self.queue.push_back((text, kept));
        Ok(())
    }

    /// Closes what the guardian has under these names.
    ///
    /// # Errors
    ///
    /// `InvalidInput` as for [`Keeper::put`].
    pub fn forget(&mut self, names: &[&str]) -> io::Result<()> {
        self.ask(Request::Drop(&lines(names.iter().copied())?))
    }

    /// Asks to be told how these runs end, or have ended: the number of each and when it was born, in milliseconds of
    /// CLOCK_MONOTONIC. Of a run that this daemon has started itself the guardian learns only when this daemon is dead.
    ///
    /// A new daemon asks for all that it knows before it is [`ready`](Keeper::ready): ends that nobody has asked for until
    /// then may be forgotten.
    ///
    /// # Errors
    ///
    /// None that a caller could mend.
    pub fn watch(&mut self, runs: &[(u32, u64)]) -> io::Result<()> {
        for runs in runs.chunks(RUNS) {
            self.ask(Request::Watch(Runs::of(&run_lines(runs))))?;
        }
        Ok(())
    }

    /// The end of this run is written down, or does not matter any more: the guardian may forget it.
    ///
    /// # Errors
    ///
    /// None that a caller could mend.
    pub fn settle(&mut self, pid: u32, born: u64) -> io::Result<()> {
        self.ask(Request::Settle(Runs::of(&run_lines(&[(pid, born)]))))
    }

    /// The ends that were told of since the last call. They arrive with [`Keeper::pump`] and [`Keeper::take_all`].
    pub fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// Asks the guardian to put the binary of this absolute path into the place of this daemon.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a path that is not absolute, not UTF-8, or too long; `BrokenPipe` without a guardian.
    pub fn update(&mut self, path: &Path) -> io::Result<()> {
        if self.is_alone() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let path = path.to_str().filter(|text| path.is_absolute() && text.len() < MAX_BYTES / 2);
        self.ask(Request::Update(path.ok_or(ErrorKind::InvalidInput)?))
    }

    /// The guardian's answer to [`Keeper::update`], once; it arrives with [`Keeper::pump`].
    pub fn take_verdict(&mut self) -> Option<Verdict> {
        self.verdict.take()
    }

    /// Tells the guardian that this daemon is ready: from now on a daemon that dies is followed by another one without
    /// end, and no client waits any more.
    ///
    /// # Errors
    ///
    /// None that a caller could mend.
    pub fn ready(&mut self) -> io::Result<()> {
        self.ask(Request::Ready)
    }

    /// Copies of everything that is stored, by name. The guardian keeps its own. Waits, at most this long.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `BrokenPipe` without a guardian; `InvalidData` when not all fit below this process's limit.
    pub fn take_all(&mut self, timeout: Duration) -> io::Result<Vec<(String, OwnedFd)>> {
        let deadline = Instant::now() + timeout;
        self.ask(Request::Take)?;
        let mut taken = Vec::new();
        loop {
            self.flush()?;
            if self.is_alone() {
                return Err(ErrorKind::BrokenPipe.into());
            }
            if !readable_within(&self.channel, deadline.saturating_duration_since(Instant::now()))? {
                return Err(ErrorKind::TimedOut.into());
            }
            let Some(message) = self.receive()? else { continue };
            match Reply::parse(&message.bytes) {
                Some(Reply::Have(names)) => taken.extend(names.lines().map(str::to_owned).zip(message.fds)),
                Some(Reply::End(_)) => return Ok(taken),
                Some(reply) => self.note(reply),
                None => {}
            }
        }
    }

    /// Reads acknowledgements and sends what is queued, as far as it goes without waiting. To be called when the
    /// descriptor is readable, and when it is writable while [`Keeper::is_behind`].
    ///
    /// # Errors
    ///
    /// None that a caller could mend.
    pub fn pump(&mut self) -> io::Result<()> {
        while let Some(message) = self.receive()? {
            if let Some(reply) = Reply::parse(&message.bytes) {
                self.note(reply);
            }
        }
        self.flush()
    }

    /// Whether something is queued.
    pub fn is_behind(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether the guardian has carried out everything so far.
    pub fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.done == self.sent
    }

    /// The guardian as the parent of this process.
    ///
    /// # Errors
    ///
    /// `NotFound` when it has ended.
    pub fn guardian(&self) -> io::Result<Parent> {
        Parent::who_made(&self.channel)
    }

    /// Whether there is no guardian any more. The daemon goes on without one.
    pub fn is_alone(&self) -> bool {
        self.guardian == Guardian::Gone
    }

    fn note(&mut self, reply: Reply<'_>) {
        match reply {
            Reply::Done(count) => self.done = count,
            Reply::Ended(Born { pid, born }, end) => {
                self.ended.push(Ended { pid, born, status: end.status, at: end.at });
            }
            Reply::Go(version) => self.verdict = Some(Verdict::Go { version: version.to_owned() }),
            Reply::Refused(why) => self.verdict = Some(Verdict::Refused { why: why.to_owned() }),
            // The answers to a question that nobody waits for any more.
            Reply::Have(_) | Reply::End(_) => {}
        }
    }

    fn ask(&mut self, request: Request<'_>) -> io::Result<()> {
        let text = request.to_string();
        if !self.is_alone() && !self.sends_now(&text, &[])? {
            self.queue.push_back((text, Vec::new()));
        }
        Ok(())
    }

    /// Whether it went out; what is queued goes first.
    fn sends_now(&mut self, text: &str, fds: &[BorrowedFd<'_>]) -> io::Result<bool> {
        if self.is_behind() {
            self.flush()?;
        }
        Ok(!self.is_behind() && self.send(text, fds)?)
    }

    /// Sends what is queued, as far as it goes without waiting.
    ///
    /// # Errors
    ///
    /// None that a caller could mend.
    pub fn flush(&mut self) -> io::Result<()> {
        while let Some((text, kept)) = self.queue.pop_front() {
            let fds: Vec<BorrowedFd<'_>> = kept.iter().map(AsFd::as_fd).collect();
            if !self.send(&text, &fds)? {
                drop(fds);
                self.queue.push_front((text, kept));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether it is dealt with: sent, or nobody is there to send it to.
    fn send(&mut self, text: &str, fds: &[BorrowedFd<'_>]) -> io::Result<bool> {
        match self.channel.send(text.as_bytes(), fds) {
            Ok(()) => {
                self.sent += 1;
                Ok(true)
            }
            // The guardian has to read first; its acknowledgement makes the descriptor readable.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if is_end(&error) => {
                self.guardian = Guardian::Gone;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// The next message, if one has arrived.
    fn receive(&mut self) -> io::Result<Option<Message>> {
        match self.channel.recv() {
            Ok(Some(message)) => Ok(Some(message)),
            Ok(None) => {
                self.guardian = Guardian::Gone;
                self.queue.clear();
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Keeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// Needed by tokio's `AsyncFd`.
impl AsRawFd for Keeper {
    fn as_raw_fd(&self) -> RawFd {
        self.channel.as_raw_fd()
    }
}

/// Names as one request carries them.
fn lines<'a>(names: impl Iterator<Item = &'a str>) -> io::Result<String> {
    let names: Vec<&str> = names.collect();
    match names.iter().all(|name| is_name(name)) && !names.is_empty() {
        true => Ok(names.join("\n")),
        false => Err(ErrorKind::InvalidInput.into()),
    }
}

/// Runs as one request carries them.
fn run_lines(runs: &[(u32, u64)]) -> String {
    let lines: Vec<String> = runs.iter().map(|(pid, born)| Born { pid: *pid, born: *born }.to_string()).collect();
    lines.join("\n")
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected)
}
