//! One connection: handshake, calls, answers, each bounded in time.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use interprocess::local_socket::traits::Stream as _;
use interprocess::os::unix::uds_local_socket::Stream;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::client::reach::reach;
use crate::client::{ClientError, EventStream, Interrupt};
use crate::paths::Home;
use crate::proto::{
    Call, EventsCall, Hello, HelloAnswer, LineCodec, MAX_MESSAGE, Message, PROTOCOL, Progress, write_call,
};

/// How long connecting and the handshake may take.
pub(super) const HELLO_LIMIT: Duration = Duration::from_secs(5);

/// A connection on which `hello` was accepted.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    codec: LineCodec,
    next_id: u64,
    daemon: HelloAnswer,
    interrupt: Option<Interrupt>,
}

/// A call that was sent and has no answer yet.
#[derive(Debug)]
pub struct Ticket {
    id: u64,
}

impl Client {
    /// Connects to the daemon of this home; `None` when none runs. `verb` is what the user typed, for `events`.
    ///
    /// # Errors
    ///
    /// When a daemon is there but cannot be reached, does not answer, or speaks another protocol.
    pub fn connect(home: &Home, verb: &str) -> Result<Option<Client>, ClientError> {
        let Some(stream) = reach(home)? else { return Ok(None) };
        let daemon = HelloAnswer { protocol: PROTOCOL, version: String::new() };
        let codec = LineCodec::new(MAX_MESSAGE);
        let mut client = Client { stream, codec, next_id: 1, daemon, interrupt: None };
        let hello = Hello { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned(), verb: verb.to_owned() };
        client.daemon = client.call(&Call::Hello(hello), HELLO_LIMIT)?;
        Ok(Some(client))
    }

    /// What the daemon said about itself.
    pub fn daemon(&self) -> &HelloAnswer {
        &self.daemon
    }

    /// Waits of this client end with [`ClientError::Interrupted`] on Ctrl-C from now on.
    pub fn watch_interrupt(&mut self, interrupt: Interrupt) {
        self.interrupt = Some(interrupt);
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`] but those of starting a daemon.
    pub fn call<T: DeserializeOwned>(&mut self, call: &Call, limit: Duration) -> Result<T, ClientError> {
        let ticket = self.send(call, limit)?;
        self.wait(&ticket, limit, &mut |_| {})
    }

    /// Asks. The answer is fetched by [`Client::wait`].
    ///
    /// # Errors
    ///
    /// When the daemon does not take the message within the limit.
    pub fn send(&mut self, call: &Call, limit: Duration) -> Result<Ticket, ClientError> {
        let id = self.next_id;
        self.next_id += 1;
        let activity = "write to";
        self.stream.set_send_timeout(Some(limit)).map_err(|source| ClientError::Io { activity, source })?;
        match self.stream.write_all(&write_call(id, call)) {
            Ok(()) => Ok(Ticket { id }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(ClientError::TimedOut { limit }),
            // The daemon may have said why before it closed: the answer is more telling than the broken pipe.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Ticket { id }),
            Err(source) => Err(ClientError::Io { activity, source }),
        }
    }

    /// Waits for the answer to a call. After [`ClientError::TimedOut`] the call is still open and may be waited for again.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`] but those of starting a daemon.
    pub fn wait<T: DeserializeOwned>(
        &mut self,
        ticket: &Ticket,
        limit: Duration,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<T, ClientError> {
        let deadline = Instant::now() + limit;
        loop {
            while let Some(line) = self.codec.next_line() {
                match Message::read(&line)? {
                    Message::Result { id, result } if id == ticket.id => return Ok(serde_json::from_str(&result)?),
                    Message::Refused { id, refusal } if id == ticket.id || id == 0 => return Err(refusal.into()),
                    Message::Notification { method, params } if method == "progress" => {
                        on_progress(serde_json::from_str(&params)?);
                    }
                    // Answers to calls that were given up, and notifications of a newer daemon.
                    Message::Result { .. } | Message::Refused { .. } | Message::Notification { .. } => {}
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.is_readable_within(left)? {
                return Err(ClientError::TimedOut { limit });
            }
            self.read_some()?;
        }
    }

    /// Turns the connection into the stream of changes, `history` past ones first.
    ///
    /// # Errors
    ///
    /// As for [`Client::call`].
    pub fn into_events(mut self, history: u32) -> Result<EventStream, ClientError> {
        let _: IgnoredAny = self.call(&Call::Events(EventsCall { history }), HELLO_LIMIT)?;
        Ok(EventStream::new(self))
    }

    /// Takes in what is there; waits if nothing is.
    pub(super) fn read_some(&mut self) -> Result<(), ClientError> {
        let mut buffer = [0; 64 * 1024];
        match (&self.stream).read(&mut buffer) {
            Ok(0) => Err(ClientError::Gone),
            Ok(count) => Ok(self.codec.push(&buffer[..count])?),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(ClientError::Gone),
            Err(source) => Err(ClientError::Io { activity: "read from", source }),
        }
    }

    pub(super) fn next_line(&mut self) -> Option<Vec<u8>> {
        self.codec.next_line()
    }

    pub(super) fn is_readable_within(&self, limit: Duration) -> Result<bool, ClientError> {
        let mut fds = vec![PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.interrupt.iter().map(|i| PollFd::new(i.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, timeout(limit)) {
            Ok(0) => Ok(false),
            Ok(_) if fds.get(1).is_some_and(|fd| fd.any() == Some(true)) => Err(ClientError::Interrupted),
            Ok(_) => Ok(true),
            // A stop and continue (Ctrl-Z, fg) interrupts; the limit then starts again, which is what its user expects.
            Err(Errno::EINTR) => self.is_readable_within(limit),
            Err(error) => Err(ClientError::Io { activity: "wait for", source: error.into() }),
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Rounded up, so that a wait never ends just before its limit and turns in circles.
fn timeout(limit: Duration) -> PollTimeout {
    PollTimeout::try_from(limit.as_millis() + 1).unwrap_or(PollTimeout::MAX)
}
