//! Moments that mean the same to every process of this boot.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::sys::system::clock_ticks;

/// Milliseconds since boot, by two clocks (clock_gettime(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// CLOCK_MONOTONIC, which stands still while the machine sleeps, and by which everything is timed.
    pub monotonic: u64,
    /// CLOCK_BOOTTIME, which does not, and in which the kernel tells when a process started.
    pub boot: u64,
}

impl Moment {
    /// Now.
    pub fn now() -> Moment {
        Moment { monotonic: millis(ClockId::CLOCK_MONOTONIC), boot: millis(ClockId::CLOCK_BOOTTIME) }
    }

    /// A start that the kernel tells of, by what both clocks show now.
    pub(super) fn of_ticks(ticks: u64, now: Moment) -> Moment {
        let boot = ticks.saturating_mul(1000).div_ceil(clock_ticks());
        Moment { monotonic: now.monotonic.saturating_sub(now.boot.saturating_sub(boot)), boot }
    }

    /// As the kernel tells of starts (proc_pid_stat(5): `starttime`).
    pub(super) fn to_ticks(self) -> u64 {
        let seconds = self.boot / 1000 * clock_ticks();
        seconds + self.boot % 1000 * clock_ticks() / 1000
    }
}

fn millis(clock: ClockId) -> u64 {
    // Both clocks are there since Linux 2.6.39; a clock that is not stands at its beginning.
    let since = clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
