//! The daemon's end of the connection to its guardian.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use crate::guardian::GUARDIAN_FD;
use crate::guardian::wire::{Reply, Request, is_name};
use crate::sys::fds::{Blocking, Channel, MAX_BYTES, MAX_FDS, Message, take_inherited};
use crate::sys::poller::readable_within;
use crate::sys::process::Parent;

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
        Keeper::new(Channel::from_fd(take_inherited(GUARDIAN_FD)?)).ok()
    }

    pub(super) fn new(channel: Channel) -> io::Result<Keeper> {
        channel.set_blocking(Blocking::No)?;
        Ok(Keeper { channel, queue: VecDeque::new(), sent: 0, done: 0, guardian: Guardian::Alive })
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
                Some(Reply::Have(name)) => taken.extend(message.fds.into_iter().map(|fd| (name.to_owned(), fd))),
                Some(Reply::End(_)) => return Ok(taken),
                Some(Reply::Done(count)) => self.done = count,
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
            if let Some(Reply::Done(count)) = Reply::parse(&message.bytes) {
                self.done = count;
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

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected)
}
