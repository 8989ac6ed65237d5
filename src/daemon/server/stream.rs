//! A connection that has become the stream of changes.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::sync::broadcast::error::RecvError;

use crate::daemon::server::Connection;
use crate::proto::{self, EventKind, EventsAnswer, EventsCall, write_notification, write_result};

impl Connection {
    /// Until the client or the daemon ends it.
    pub(super) async fn events(&mut self, id: u64, call: EventsCall) -> io::Result<()> {
        let joined = match call.after {
            Some(after) => self.shared.events.resume(after),
            None => self.shared.events.join(usize::try_from(call.history).unwrap_or(usize::MAX)),
        };
        let mut later = joined.later;
        self.write(&write_result(id, &EventsAnswer { newest: joined.newest, resumed: joined.resumed })).await?;
        for event in joined.past {
            self.write(&write_notification("event", &*event)).await?;
        }
        let mut byte = [0u8; 1];
        loop {
            // Whatever a listener sends after its call, and its end, ends the stream.
            let next = tokio::select! {
                next = later.recv() => next,
                _ = self.stream.read(&mut byte) => return Ok(()),
            };
            match next {
                Ok(event) => self.write(&write_notification("event", &*event)).await?,
                Err(RecvError::Lagged(count)) => {
                    let missed = proto::Event {
                        seq: 0,
                        time: 0,
                        app: None,
                        id: None,
                        instance: None,
                        uid: None,
                        verb: None,
                        event: EventKind::Missed { count },
                    };
                    self.write(&write_notification("event", &missed)).await?;
                }
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }
}
