//! One client: calls, answers, each bounded in time, and once over a gap between two daemons.
//!
//! ```text
//! [connected] --send--> [asked] --answer--> [connected]
//!                         |  ^
//!      the connection ends|  |the same message, with the same key, once
//!                         v  |
//!                     [reconnecting] --no daemon lives, or it ended again--> an error
//! ```

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::client::greet::{Greeted, HELLO_LIMIT, Purpose};
use crate::client::line::Line;
use crate::client::reach::GAP_LIMIT;
use crate::client::{ClientError, EventStream, Interrupt, launch};
use crate::paths::Home;
use crate::proto::{Call, EventsAnswer, EventsCall, HelloAnswer, Key, Message, Progress, write_call};

/// A connection on which `hello` was accepted. One call at a time.
#[derive(Debug)]
pub struct Client {
    line: Line,
    daemon: HelloAnswer,
    purpose: Purpose,
    absence: Absence,
    next_id: u64,
    interrupt: Option<Interrupt>,
}

/// What is done where the daemon has ended and no guardian starts another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// The caller is told.
    Told,
    /// A daemon is started: the verb needs one.
    Mended,
}

/// A call that was sent and has no answer yet.
#[derive(Debug)]
pub struct Ticket {
    id: u64,
    message: Vec<u8>,
    retry: Retry,
}

/// Whether a call is sent again when its connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    Once,
    Never,
}

impl Client {
    /// Connects to the daemon of this home; `None` when none runs. `verb` is what the user typed, for `events`.
    ///
    /// # Errors
    ///
    /// When a daemon is there but cannot be reached, does not answer, or speaks another protocol.
    pub fn connect(home: &Home, verb: &str) -> Result<Option<Client>, ClientError> {
        Client::connect_within(home, verb, GAP_LIMIT)
    }

    /// The same; where one daemon has gone and the next has not come, it is waited for so long.
    ///
    /// # Errors
    ///
    /// As for [`Client::connect`].
    pub fn connect_within(home: &Home, verb: &str, limit: Duration) -> Result<Option<Client>, ClientError> {
        let purpose = Purpose::new(home, verb);
        Ok(purpose.open(limit, None)?.map(|greeted| Client::new(greeted, purpose, Absence::Told)))
    }

    pub(super) fn new(Greeted { line, daemon }: Greeted, purpose: Purpose, absence: Absence) -> Client {
        // 1 was the handshake.
        Client { line, daemon, purpose, absence, next_id: 2, interrupt: None }
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
    /// Any [`ClientError`].
    pub fn call<T: DeserializeOwned>(&mut self, call: &Call, limit: Duration) -> Result<T, ClientError> {
        let mut ticket = self.send(call, limit)?;
        self.wait(&mut ticket, limit, &mut |_| {})
    }

    /// Asks and waits for the answer of this very daemon: a call that must not reach the next one.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`]; [`ClientError::Gone`] when the daemon ends before it answers.
    pub fn call_this<T: DeserializeOwned>(&mut self, call: &Call, limit: Duration) -> Result<T, ClientError> {
        let mut ticket = self.send(call, limit)?;
        ticket.retry = Retry::Never;
        self.wait(&mut ticket, limit, &mut |_| {})
    }

    /// Asks. The answer is fetched by [`Client::wait`].
    ///
    /// # Errors
    ///
    /// When the daemon does not take the message within the limit.
    pub fn send(&mut self, call: &Call, limit: Duration) -> Result<Ticket, ClientError> {
        let id = self.next_id;
        self.next_id += 1;
        let key = call.is_change().then(random_key).transpose()?;
        let message = write_call(id, key, call);
        self.line.send(&message, limit)?;
        Ok(Ticket { id, message, retry: Retry::Once })
    }

    /// Waits for the answer to a call. After [`ClientError::TimedOut`] the call is still open and may be waited for again.
    ///
    /// When the connection ends first, the next daemon is waited for and asked the same; the limit then begins anew.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`]; [`ClientError::Ended`] when there is no next daemon.
    pub fn wait<T: DeserializeOwned>(
        &mut self,
        ticket: &mut Ticket,
        limit: Duration,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<T, ClientError> {
        match self.answer(ticket.id, limit, on_progress) {
            Err(ClientError::Gone) if ticket.retry == Retry::Once => {
                ticket.retry = Retry::Never;
                self.reconnect()?;
                self.line.send(&ticket.message, limit)?;
                self.answer(ticket.id, limit, on_progress)
            }
            answer => answer,
        }
    }

    /// Turns the connection into the stream of changes, `history` past ones first.
    ///
    /// # Errors
    ///
    /// As for [`Client::call`].
    pub fn into_events(mut self, history: u32) -> Result<EventStream, ClientError> {
        let answer = self.events(EventsCall { history, after: None })?;
        Ok(EventStream::new(self, answer))
    }

    /// Waits until the daemon has closed the connection.
    ///
    /// # Errors
    ///
    /// `TimedOut`, when it is still there after the limit.
    pub fn wait_until_closed(&mut self, limit: Duration) -> Result<(), ClientError> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.line.is_readable_within(left, self.interrupt.as_ref())? {
                return Err(ClientError::TimedOut { limit });
            }
            match self.line.read_some() {
                Ok(()) => while self.line.next().is_some() {},
                Err(ClientError::Gone) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The answer is none where the daemon is older than these answers.
    pub(super) fn events(&mut self, call: EventsCall) -> Result<Option<EventsAnswer>, ClientError> {
        self.call(&Call::Events(call), HELLO_LIMIT)
    }

    /// Connects to the next daemon.
    pub(super) fn reconnect(&mut self) -> Result<(), ClientError> {
        let next = self.purpose.open(GAP_LIMIT, self.interrupt.as_ref())?;
        let Greeted { line, daemon } = match (next, self.absence) {
            (Some(next), _) => next,
            (None, Absence::Mended) => launch::open_or_start(&self.purpose, self.interrupt.as_ref())?,
            (None, Absence::Told) => return Err(ClientError::Ended),
        };
        (self.line, self.daemon) = (line, daemon);
        Ok(())
    }

    pub(super) fn next_line(&mut self) -> Option<Vec<u8>> {
        self.line.next()
    }

    /// Takes in what is there, without waiting; whether there was something.
    pub(super) fn read_ready(&mut self) -> Result<bool, ClientError> {
        if !self.line.is_readable_within(Duration::ZERO, self.interrupt.as_ref())? {
            return Ok(false);
        }
        self.line.read_some().map(|()| true)
    }

    fn answer<T: DeserializeOwned>(
        &mut self,
        of: u64,
        limit: Duration,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<T, ClientError> {
        let deadline = Instant::now() + limit;
        loop {
            while let Some(line) = self.line.next() {
                match Message::read(&line)? {
                    Message::Result { id, result } if id == of => return Ok(serde_json::from_str(&result)?),
                    Message::Refused { id, refusal } if id == of || id == 0 => return Err(refusal.into()),
                    Message::Notification { method, params } if method == "progress" => {
                        on_progress(serde_json::from_str(&params)?);
                    }
                    // Answers to calls that were given up, and notifications of a newer daemon.
                    Message::Result { .. } | Message::Refused { .. } | Message::Notification { .. } => {}
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.line.is_readable_within(left, self.interrupt.as_ref())? {
                return Err(ClientError::TimedOut { limit });
            }
            self.line.read_some()?;
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}

fn random_key() -> Result<Key, ClientError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| ClientError::Random { source: error.into() })?;
    Ok(Key::from_bytes(bytes))
}
