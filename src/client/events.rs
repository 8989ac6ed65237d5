//! The stream of changes.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::client::{Client, ClientError};
use crate::proto::{Event, Message};

/// A connection that has become the stream of changes. It ends only with the daemon or its owner.
#[derive(Debug)]
pub struct EventStream {
    client: Client,
}

impl EventStream {
    pub(super) fn new(client: Client) -> EventStream {
        EventStream { client }
    }

    /// The events that are there, without waiting: call it when the descriptor is readable.
    ///
    /// # Errors
    ///
    /// [`ClientError::Gone`] when the daemon has ended and all its events were taken.
    pub fn take_ready(&mut self) -> Result<Vec<Event>, ClientError> {
        let mut events = self.decode()?;
        // Events that came with the answer to the call are served first; an end of the stream is told at the next call.
        if events.is_empty() && self.client.is_readable_within(Duration::ZERO)? {
            self.client.read_some()?;
            events = self.decode()?;
        }
        Ok(events)
    }

    fn decode(&mut self) -> Result<Vec<Event>, ClientError> {
        let mut events = Vec::new();
        while let Some(line) = self.client.next_line() {
            match Message::read(&line)? {
                Message::Notification { method, params } if method == "event" => {
                    events.push(serde_json::from_str(&params)?);
                }
                Message::Refused { refusal, .. } => return Err(refusal.into()),
                Message::Notification { .. } | Message::Result { .. } => {}
            }
        }
        Ok(events)
    }
}

impl AsFd for EventStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.client.as_fd()
    }
}
