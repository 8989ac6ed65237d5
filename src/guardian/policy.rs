//! What follows the end of a daemon. Pure.

use std::time::Duration;

use crate::guardian::{HOPELESS, moment::Moment};
use crate::sys::process::ExitStatus;

/// One restart in any such time is without delay. A daemon that has lived longer ends all pauses.
const STABLE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// So many daemons may die before one was ever ready.
const FIRST_TRIES: u32 = 3;

/// What is remembered of earlier daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) pause: Duration,
    /// How many have ended.
    pub(super) ended: u32,
    /// When the last of them was followed by another one.
    pub(super) restarted: Option<Moment>,
    pub(super) was_ready: bool,
    pub(super) is_stopping: bool,
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
        Policy { pause: FIRST_PAUSE, ended: 0, restarted: None, was_ready: false, is_stopping: false }
    }

    /// A daemon is ready.
    pub(super) fn on_ready(&mut self) {
        self.was_ready = true;
    }

    /// The guardian was told to leave.
    pub(super) fn on_stop(&mut self) {
        self.is_stopping = true;
    }

    /// A daemon has left for another one. Not a death: the next one is without delay, too.
    pub(super) fn on_handover(&mut self) -> Next {
        self.ended += 1;
        if self.is_stopping {
            return Next::Leave(1);
        }
        Next::Start(Duration::ZERO)
    }

    /// A daemon has ended; `None`: it could not be started.
    pub(super) fn on_end(&mut self, status: Option<ExitStatus>, now: Moment) -> Next {
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
        let is_free = self.restarted.is_none_or(|last| now.since(last) > STABLE);
        let pause = if is_free {
            self.pause = FIRST_PAUSE;
            Duration::ZERO
        } else {
            let pause = self.pause;
            self.pause = (pause * 2).min(LONGEST_PAUSE);
            pause
        };
        self.restarted = Some(now.after(pause));
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

    fn once_ready() -> Policy {
        let mut policy = Policy::new();
        policy.on_ready();
        policy
    }

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    /// The pauses, in milliseconds, when each daemon lives so long.
    #[track_caller]
    fn pauses(policy: &mut Policy, lives: &[u64]) -> Vec<u128> {
        let mut now = 0;
        let pause_after = |life: &u64| {
            now += life;
            let Next::Start(pause) = policy.on_end(KILLED, at(now)) else { panic!("it is not started again") };
            now += u64::try_from(pause.as_millis()).unwrap();
            pause.as_millis()
        };
        lives.iter().map(pause_after).collect()
    }

    #[test]
    fn a_daemon_that_leaves_takes_its_guardian_along() {
        assert_eq!(once_ready().on_end(Some(ExitStatus::Code(0)), at(9)), Next::Leave(0));
        assert_eq!(Policy::new().on_end(Some(ExitStatus::Code(HOPELESS)), at(9)), Next::Leave(1));
    }

    #[test]
    fn the_first_restart_is_without_delay_however_short_the_life_was() {
        let mut policy = once_ready();
        assert_eq!(pauses(&mut policy, &[0]), [0]);
        assert_eq!(policy.restarts(), 1);
        assert_eq!(once_ready().on_end(Some(ExitStatus::Code(101)), at(7)), Next::Start(Duration::ZERO));
    }

    #[test]
    fn one_restart_in_any_second_is_without_delay() {
        assert_eq!(pauses(&mut once_ready(), &[10, 1_001, 1_001, 60_000]), [0, 0, 0, 0]);
        assert_eq!(pauses(&mut once_ready(), &[10, 1_000, 1_001]), [0, 100, 0]);
    }

    #[test]
    fn pauses_double_up_to_five_seconds_and_a_long_life_resets_them() {
        let lives = [10, 10, 10, 10, 10, 10, 10, 10, 10, 2_000, 10];
        assert_eq!(pauses(&mut once_ready(), &lives), [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 0, 100]);
    }

    #[test]
    fn a_pause_is_no_life() {
        let mut policy = once_ready();
        assert_eq!(policy.on_end(KILLED, at(0)), Next::Start(Duration::ZERO));
        for pause in [100, 200, 400, 800, 1600] {
            let next = policy.on_end(KILLED, policy.restarted.unwrap());
            assert_eq!(next, Next::Start(Duration::from_millis(pause)));
        }
    }

    #[test]
    fn a_handover_is_without_delay_and_is_no_death() {
        let mut policy = once_ready();
        assert_eq!(policy.on_handover(), Next::Start(Duration::ZERO));
        assert_eq!(policy.restarts(), 1);
        assert_eq!(policy.on_end(KILLED, at(20)), Next::Start(Duration::ZERO));
        policy.on_stop();
        assert_eq!(policy.on_handover(), Next::Leave(1));
    }

    #[test]
    fn three_daemons_that_were_never_ready_are_enough() {
        let mut policy = Policy::new();
        assert!(matches!(policy.on_end(KILLED, at(1)), Next::Start(_)));
        assert!(matches!(policy.on_end(None, at(2)), Next::Start(_)));
        assert_eq!(policy.on_end(KILLED, at(3)), Next::GiveUp);
    }

    #[test]
    fn nothing_is_started_after_a_stop() {
        let mut policy = once_ready();
        policy.on_stop();
        assert_eq!(policy.on_end(KILLED, at(60_000)), Next::Leave(1));
    }
}
