//! The rest after work: when nobody has asked for a while, what only the answers needed is given back.
//!
//! Answering touches most of the program's code, page by page and with the pages around each; what goes on by itself (looks,
//! logs, restarts) needs far less of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::warn;

use crate::sys::memory;

/// How long nobody asks until the daemon is taken to be at rest.
const QUIET: Duration = Duration::from_secs(1);

/// How long it goes on without a rest at most: a client that asks all the time needs not all that others needed.
const LONGEST: Duration = Duration::from_secs(30);

/// Tells that somebody was answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Rest(Arc<Notify>);

impl Rest {
    /// Somebody was answered.
    pub(super) fn disturb(&self) {
        self.0.notify_one();
    }

    /// Gives memory back after each time of work, for ever.
    pub(super) async fn keep(self) {
        loop {
            give_back();
            self.0.notified().await;
            let quiet = async { while timeout(QUIET, self.0.notified()).await.is_ok() {} };
            // Whichever comes first.
            let _ = timeout(LONGEST, quiet).await;
        }
    }
}

fn give_back() {
    memory::give_back_heap();
    if let Err(error) = memory::let_go_of_code() {
        warn!("cannot give back memory: {error}");
    }
}
