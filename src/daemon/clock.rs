//! The daemon's one clock: moments of the core, and what they are in the world's time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::supervisor::Time;

/// Where the core's time begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    beginning: Instant,
    /// The world's time at the beginning, in milliseconds of the epoch.
    epoch: u64,
}

impl Clock {
    /// A clock that begins now.
    pub(super) fn start() -> Clock {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { beginning: Instant::now(), epoch: u64::try_from(epoch.as_millis()).unwrap_or(u64::MAX) }
    }

    /// The core's moment.
    pub(super) fn now(&self) -> Time {
        Time::from_millis(u64::try_from(self.beginning.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// When this moment of the core comes. One millisecond later, so that a wait for it never ends too early.
    pub(super) fn instant(&self, time: Time) -> Instant {
        self.beginning + std::time::Duration::from_millis(time.as_millis().saturating_add(1))
    }

    /// A moment of the core in milliseconds of the epoch. Steps of the world's clock after the beginning are not seen.
    pub(super) fn epoch_millis(&self, time: Time) -> u64 {
        self.epoch.saturating_add(time.as_millis())
    }
}
