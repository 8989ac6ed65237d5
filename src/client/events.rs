//! The stream of changes, which goes on with the next daemon where the last one ended.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use crate::client::{Client, ClientError};
use crate::proto::{Event, EventsAnswer, EventsCall, Mark, Message, Resumed};

/// How many daemons may end while the stream is being joined again.
const TRIES: u32 = 3;

/// A connection that has become the stream of changes. It ends only with the last daemon, or with its owner.
#[derive(Debug)]
pub struct EventStream {
    client: Client,
    /// The event that was seen last, or that was the newest at the beginning.
    last: Mark,
}

/// What the stream has to tell.
#[derive(Debug, Default, PartialEq)]
pub struct News {
    /// What happened, the oldest first.
    pub events: Vec<Event>,
    /// What is missing before these.
    pub gap: Option<Gap>,
}

/// Events that a change of daemons has cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// So many.
    Missed(u64),
    /// The next daemon counts anew: nobody knows how many.
    Unknown,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gap::Missed(1) => f.write_str("the rsx daemon was restarted; 1 event before this is no longer kept"),
            Gap::Missed(count) => {
                write!(f, "the rsx daemon was restarted; {count} events before this are no longer kept")
            }
            Gap::Unknown => f.write_str("the rsx daemon was restarted and counts its events anew; some may be missing"),
        }
    }
}

impl EventStream {
    pub(super) fn new(client: Client, answer: Option<EventsAnswer>) -> EventStream {
        EventStream { client, last: answer.unwrap_or_default().newest }
    }

    /// The events that are there, without waiting: call it when the descriptor is readable. When the daemon has ended it
    /// waits for the next one, and goes on after the event that was seen last.
    ///
    /// # Errors
    ///
    /// [`ClientError::Ended`] when no daemon lives any more and all events were taken.
    pub fn take_ready(&mut self) -> Result<News, ClientError> {
        let mut tries = 0;
        let mut taken = self.take();
        while matches!(taken, Err(ClientError::Gone)) && tries < TRIES {
            tries += 1;
            taken = self.resume();
        }
        taken
    }

    /// The same of this daemon alone: where it has ended, [`ClientError::Gone`] says so at once, and
    /// [`EventStream::resume`] goes on with the next one.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`].
    pub fn take(&mut self) -> Result<News, ClientError> {
        let mut events = self.decode()?;
        // Events that came with the answer to the call are served first; an end of the stream is told at the next call.
        if events.is_empty() && self.client.read_ready()? {
            events = self.decode()?;
        }
        Ok(News { events, gap: None })
    }

    /// Waits for the next daemon, and goes on after the event that was seen last.
    ///
    /// # Errors
    ///
    /// [`ClientError::Ended`] when there is no next one.
    pub fn resume(&mut self) -> Result<News, ClientError> {
        self.client.reconnect()?;
        // An older daemon does not know `after`, counts anew, and gives its whole history.
        let answer = self.client.events(EventsCall { history: u32::MAX, after: Some(self.last) })?;
        let gap = match answer.and_then(|answer| answer.resumed) {
            Some(Resumed::Whole) => None,
            Some(Resumed::Missed { count }) => Some(Gap::Missed(count)),
            Some(Resumed::Anew) | None => {
                self.last = Mark::default();
                Some(Gap::Unknown)
            }
        };
        Ok(News { events: self.decode()?, gap })
    }

    fn decode(&mut self) -> Result<Vec<Event>, ClientError> {
        let mut events = Vec::new();
        while let Some(line) = self.client.next_line() {
            match Message::read(&line)? {
                Message::Notification { method, params } if method == "event" => events.extend(self.read(&params)?),
                Message::Refused { refusal, .. } => return Err(refusal.into()),
                Message::Notification { .. } | Message::Result { .. } => {}
            }
        }
        Ok(events)
    }

    /// None for a kind of event that this release does not know: its number counts all the same.
    fn read(&mut self, params: &str) -> Result<Option<Event>, ClientError> {
        let mark: Mark = serde_json::from_str(params)?;
        // What is no event of the ring (`missed`) has no number.
        if mark.seq > 0 {
            self.last = mark;
        }
        Ok(serde_json::from_str(params).ok())
    }
}

impl AsFd for EventStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.client.as_fd()
    }
}
