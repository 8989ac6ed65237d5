//! The daemon's one clock: moments of the core, and what they are in the world's time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::supervisor::Time;
use crate::sys::moment::Moment;

/// A smaller difference between the two clocks, in milliseconds, is no step.
const STEP: u64 = 2_000;

/// The core's time: milliseconds of CLOCK_MONOTONIC, so that it goes on under the next daemon.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// The world's time when the core's began, in milliseconds of the epoch.
    epoch: u64,
}

impl Clock {
    /// The clock, as the world's time is now. An earlier daemon's beginning is gone on with, if the world's clock was not
    /// set since: moments that were told once stay the same to the millisecond.
    pub(super) fn start(earlier: Option<u64>) -> Clock {
        let epoch = world().saturating_sub(Moment::now().monotonic);
        Clock { epoch: earlier.filter(|earlier| earlier.abs_diff(epoch) < STEP).unwrap_or(epoch) }
    }

    /// The world's time when the core's began, in milliseconds of the epoch.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The core's moment.
    pub(super) fn now(&self) -> Time {
        Time::from_millis(Moment::now().monotonic)
    }

    /// When this moment of the core comes. One millisecond later, so that a wait for it never ends too early.
    pub(super) fn instant(&self, time: Time) -> Instant {
        Instant::now() + time.since(self.now()) + Duration::from_millis(1)
    }

    /// A moment of the core in milliseconds of the epoch, by the world's clock as it is now: it may have been set, or gone
    /// on while the machine slept.
    pub(super) fn epoch_millis(&self, time: Time) -> u64 {
        corrected(self.epoch, world(), self.now()).saturating_add(time.as_millis())
    }
}

/// Milliseconds of the epoch.
fn world() -> u64 {
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(epoch.as_millis()).unwrap_or(u64::MAX)
}

/// The world's time at the beginning: as it was read then, unless what is read now tells of another one. Small
/// differences are the clock's being steered; to follow them would make what was shown flicker.
fn corrected(epoch: u64, world: u64, passed: Time) -> u64 {
    let found = world.saturating_sub(passed.as_millis());
    if found.abs_diff(epoch) < STEP { epoch } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_followed_and_one_that_is_steered_is_not() {
        let passed = Time::from_millis(10_000);
        assert_eq!(corrected(500_000, 510_000, passed), 500_000);
        assert_eq!(corrected(500_000, 510_900, passed), 500_000);
        assert_eq!(corrected(500_000, 9_910_000, passed), 9_900_000);
        assert_eq!(corrected(9_900_000, 510_000, passed), 500_000);
    }
}
