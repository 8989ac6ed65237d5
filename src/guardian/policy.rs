//! What follows the end of a daemon. Pure.

use std::time::Duration;

use crate::guardian::HOPELESS;
use crate::sys::process::ExitStatus;

/// A daemon that has lived longer is started again at once.
const STABLE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// So many daemons may die before one was ever ready.
const FIRST_TRIES: u32 = 3;

/// What is remembered of earlier daemons.
#[derive(Debug)]
pub(super) struct Policy {
    pause: Duration,
    /// How many have ended.
    ended: u32,
    was_ready: bool,
    is_stopping: bool,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another daemon, after this pause.
    Start(Duration),
    /// The guardian leaves with this exit code.
    Leave(u8),
    /// None of the first daemons became ready.
    GiveUp,
}

impl Policy {
    pub(super) fn new() -> Policy {
        Policy { pause: FIRST_PAUSE, ended: 0, was_ready: false, is_stopping: false }
    }

    /// A daemon is ready.
    pub(super) fn on_ready(&mut self) {
        self.was_ready = true;
    }

    /// The guardian was told to leave.
    pub(super) fn on_stop(&mut self) {
        self.is_stopping = true;
    }

    /// A daemon has ended after so long; `None`: it could not be started.
    pub(super) fn on_end(&mut self, status: Option<ExitStatus>, lived: Duration) -> Next {
        self.ended += 1;
        match status {
            Some(ExitStatus::Code(0)) => return Next::Leave(0),
            Some(ExitStatus::Code(HOPELESS)) => return Next::Leave(1),
            Some(ExitStatus::Code(_) | ExitStatus::Signal { .. }) | None => {}
        }
        if self.is_stopping {
            return Next::Leave(1);
        }
        if !self.was_ready && self.ended >= FIRST_TRIES {
            return Next::GiveUp;
        }
        if lived > STABLE {
            self.pause = FIRST_PAUSE;
            return Next::Start(Duration::ZERO);
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Next::Start(pause)
    }

    /// How many daemons there were.
    pub(super) fn restarts(&self) -> u32 {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::Signal;

    const KILLED: Option<ExitStatus> = Some(ExitStatus::Signal { signal: Signal::KILL, core: false });
    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(10);

    fn once_ready() -> Policy {
        let mut policy = Policy::new();
        policy.on_ready();
        policy
    }

    #[test]
    fn a_daemon_that_leaves_takes_its_guardian_along() {
        assert_eq!(once_ready().on_end(Some(ExitStatus::Code(0)), LONG), Next::Leave(0));
        assert_eq!(Policy::new().on_end(Some(ExitStatus::Code(HOPELESS)), SHORT), Next::Leave(1));
    }

    #[test]
    fn a_daemon_that_dies_is_started_again_at_once() {
        let mut policy = once_ready();
        assert_eq!(policy.on_end(KILLED, LONG), Next::Start(Duration::ZERO));
        assert_eq!(policy.on_end(Some(ExitStatus::Code(101)), LONG), Next::Start(Duration::ZERO));
        assert_eq!(policy.restarts(), 2);
    }

    #[test]
    fn pauses_double_up_to_five_seconds_and_a_long_life_resets_them() {
        let mut policy = once_ready();
        let pauses: Vec<Next> = (0..8).map(|_| policy.on_end(KILLED, SHORT)).collect();
        let expected = [100, 200, 400, 800, 1600, 3200, 5000, 5000].map(|ms| Next::Start(Duration::from_millis(ms)));
        assert_eq!(pauses, expected);
        policy.on_end(KILLED, LONG);
        assert_eq!(policy.on_end(None, SHORT), Next::Start(FIRST_PAUSE));
    }

    #[test]
    fn three_daemons_that_were_never_ready_are_enough() {
        let mut policy = Policy::new();
        assert!(matches!(policy.on_end(KILLED, SHORT), Next::Start(_)));
        assert!(matches!(policy.on_end(None, SHORT), Next::Start(_)));
        assert_eq!(policy.on_end(KILLED, SHORT), Next::GiveUp);
    }

    #[test]
    fn nothing_is_started_after_a_stop() {
        let mut policy = once_ready();
        policy.on_stop();
        assert_eq!(policy.on_end(KILLED, LONG), Next::Leave(1));
    }
}
