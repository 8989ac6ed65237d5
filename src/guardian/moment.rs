//! Moments of the guardian's life, as numbers that mean the same in every process until the machine reboots.

use std::time::Duration;

use crate::sys::system;

/// A moment of CLOCK_MONOTONIC, in whole milliseconds. Unlike an `Instant` it can be written down and read by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

impl Moment {
    pub(super) fn now() -> Moment {
        Moment(system::monotonic_millis())
    }

    pub(super) fn from_millis(millis: u64) -> Moment {
        Moment(millis)
    }

    pub(super) fn as_millis(self) -> u64 {
        self.0
    }

    /// The moment that comes so much later.
    pub(super) fn after(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago that was; nothing for what is to come.
    pub(super) fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
