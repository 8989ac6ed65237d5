//! The handshake, with this release's daemons and those of the release before.

use std::time::{Duration, Instant};

use crate::client::line::Line;
use crate::client::reach::reach;
use crate::client::{ClientError, Interrupt};
use crate::paths::Home;
use crate::proto::{Call, Hello, HelloAnswer, Message, PROTOCOL, Refusal, speaks, write_call};

/// How long a daemon may take for a handshake.
pub(super) const HELLO_LIMIT: Duration = Duration::from_secs(5);

/// How many daemons may take a connection and end before they have answered `hello`. One is usual when daemons change;
/// a daemon that serves another user only does the same to everybody, for ever.
const TRIES: u32 = 3;

/// The id of the first message.
const FIRST: u64 = 1;

/// The home and the verb that a connection is for; what it takes to open it again.
#[derive(Clone, Debug)]
pub(super) struct Purpose {
    pub(super) home: Home,
    /// What the user typed, for `events`.
    pub(super) verb: String,
}

/// A connection on which `hello` was accepted.
#[derive(Debug)]
pub(super) struct Greeted {
    pub(super) line: Line,
    pub(super) daemon: HelloAnswer,
}

impl Purpose {
    pub(super) fn new(home: &Home, verb: &str) -> Purpose {
        Purpose { home: home.clone(), verb: verb.to_owned() }
    }

    /// Connects to the daemon and greets it; none where no daemon runs. `limit` is for a gap between two daemons.
    pub(super) fn open(&self, limit: Duration, interrupt: Option<&Interrupt>) -> Result<Option<Greeted>, ClientError> {
        let mut protocol = PROTOCOL;
        let mut tries = 0;
        loop {
            let Some(stream) = reach(&self.home, limit, interrupt)? else { return Ok(None) };
            let mut line = Line::new(stream);
            match self.hello(&mut line, protocol, interrupt) {
                Ok(daemon) => return Ok(Some(Greeted { line, daemon })),
                // An older daemon closes the connection after its refusal.
                Err(ClientError::Refused(Refusal::Protocol { daemon, .. })) if daemon < protocol && speaks(daemon) => {
                    protocol = daemon;
                }
                Err(ClientError::Gone) if tries + 1 < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn hello(&self, line: &mut Line, protocol: u32, interrupt: Option<&Interrupt>) -> Result<HelloAnswer, ClientError> {
        let hello = Hello { protocol, version: env!("CARGO_PKG_VERSION").to_owned(), verb: self.verb.clone() };
        line.send(&write_call(FIRST, None, &Call::Hello(hello)), HELLO_LIMIT)?;
        let deadline = Instant::now() + HELLO_LIMIT;
        loop {
            while let Some(text) = line.next() {
                match Message::read(&text)? {
                    Message::Result { id: FIRST, result } => return Ok(serde_json::from_str(&result)?),
                    Message::Refused { id: FIRST | 0, refusal } => return Err(refusal.into()),
                    Message::Result { .. } | Message::Refused { .. } | Message::Notification { .. } => {}
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !line.is_readable_within(left, interrupt)? {
                return Err(ClientError::TimedOut { limit: HELLO_LIMIT });
            }
            line.read_some()?;
        }
    }
}
