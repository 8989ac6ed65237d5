//! What follows the end of a run: restart at once, later, never, or give up. Pure arithmetic over [`RestartSpec`].

use std::collections::VecDeque;
use std::time::Duration;

use crate::spec::{ExitStatus, RestartDelay, RestartPolicy, RestartSpec};
use crate::supervisor::Time;

/// Unstable lives older than this are forgotten.
const WINDOW: Duration = Duration::from_secs(600);

/// The longest pause of the backoff.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A life of at least this resets the backoff.
const STABLE: Duration = Duration::from_secs(30);

/// What follows the end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Start it again after this pause.
    Restart(Duration),
    /// It has finished like this; nothing follows.
    Complete(ExitStatus),
    /// It is given up; it is tried again after this pause, if ever.
    GiveUp {
        /// Why.
        reason: String,
        /// The pause before the next attempt.
        retry: Option<Duration>,
    },
}

/// What a slot remembers of its past lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lives {
    /// The ends of lives shorter than `min_uptime`, within [`WINDOW`].
    pub(crate) unstable: VecDeque<Time>,
    /// How many restarts since the last stable life.
    pub(crate) backoff_step: u32,
    /// The current life is the single attempt after a giving up.
    pub(crate) half_open: bool,
}

impl Lives {
    /// Forgets everything: a request to start is a new beginning.
    pub(super) fn reset(&mut self) {
        *self = Lives::default();
    }

    /// The coming life is the one attempt after a giving up.
    pub(super) fn try_once(&mut self) {
        self.half_open = true;
    }

    /// How many unstable lives are remembered at `now`.
    pub(super) fn unstable(&self, now: Time) -> usize {
        self.unstable.iter().filter(|end| now.since(**end) < WINDOW).count()
    }

    /// Decides what follows an end, `what` in words. `dice` is a random number for the jitter.
    pub(super) fn end(
        &mut self,
        spec: &RestartSpec,
        now: Time,
        uptime: Duration,
        (status, what): (ExitStatus, &str),
        dice: u64,
    ) -> Verdict {
        let finished = match (status, spec.policy) {
            (ExitStatus::Code(code), _) if spec.stop_exit_codes.contains(&code) => true,
            (_, RestartPolicy::Never) => true,
            (ExitStatus::Code(0), RestartPolicy::OnFailure) => true,
            (_, RestartPolicy::OnFailure | RestartPolicy::Always) => false,
        };
        if finished { Verdict::Complete(status) } else { self.fail(spec, now, uptime, what, dice) }
    }

    /// Decides what follows a failure that is no exit, or an exit that is to be restarted.
    pub(super) fn fail(&mut self, spec: &RestartSpec, now: Time, uptime: Duration, what: &str, dice: u64) -> Verdict {
        if uptime >= spec.min_uptime {
            if self.half_open {
                // The second chance was taken: what led to giving up is forgiven.
                self.unstable.clear();
            }
            self.half_open = false;
        } else {
            self.unstable.push_back(now);
            while self.unstable.front().is_some_and(|end| now.since(*end) >= WINDOW) {
                self.unstable.pop_front();
            }
            let quick = self.unstable.len();
            if self.half_open || quick >= spec.max_restarts as usize {
                let reason = match (self.half_open, quick) {
                    (true, _) => format!("{what}, tried again and failed within {}", in_words(spec.min_uptime)),
                    (false, 1) => format!("{what}, after less than {}", in_words(spec.min_uptime)),
                    (false, n) => {
                        format!("{what}, {n} lives shorter than {} within 10 minutes", in_words(spec.min_uptime))
                    }
                };
                return Verdict::GiveUp { reason, retry: spec.retry_after };
            }
        }
        if uptime >= STABLE {
            self.backoff_step = 0;
        }
        let pause = match spec.delay {
            RestartDelay::Fixed { pause } => pause,
            RestartDelay::Backoff { first } => backoff(first, self.backoff_step, dice),
        };
        self.backoff_step = self.backoff_step.saturating_add(1);
        Verdict::Restart(pause)
    }
}

/// The pause before restart number `step`: none, then `first × 1.5^(step-1)` ± 10 %, at most [`LONGEST_PAUSE`].
fn backoff(first: Duration, step: u32, dice: u64) -> Duration {
    let Some(exponent) = step.checked_sub(1) else {
        return Duration::ZERO;
    };
    let factor = 1.5f64.powi(i32::try_from(exponent).unwrap_or(i32::MAX).min(64));
    let jitter = 0.9 + 0.2 * ((dice % 1000) as f64 / 1000.0);
    let seconds = (first.as_secs_f64() * factor * jitter).min(LONGEST_PAUSE.as_secs_f64());
    Duration::from_secs_f64(seconds)
}

/// `1s`, `1.5s`, `250ms`: as it would be written in a file.
pub(super) fn in_words(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{}ms", duration.as_millis())
    } else {
        format!("{}s", duration.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{AppSpec, Signal};

    const FAILED: ExitStatus = ExitStatus::Code(1);

    fn spec() -> RestartSpec {
        AppSpec::sample("api").restart
    }

    fn quick(lives: &mut Lives, spec: &RestartSpec, at: u64) -> Verdict {
        lives.end(spec, Time::from_millis(at), Duration::from_millis(10), (FAILED, "exit code 1"), 500)
    }

    #[test]
    fn the_first_restart_is_at_once_and_the_next_ones_grow() {
        let (mut lives, spec) = (Lives::default(), spec());
        let pauses: Vec<u128> = (0..12)
            .map(|i| match quick(&mut lives, &spec, i * 10) {
                Verdict::Restart(pause) => pause.as_millis(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(&pauses[..5], [0, 100, 150, 225, 337]);
        assert!(pauses.windows(2).all(|w| w[0] <= w[1]));
    }

    #[test]
    fn a_pause_never_exceeds_fifteen_seconds_and_jitter_stays_within_a_tenth() {
        for dice in [0, 1, 499, 500, 999, u64::MAX] {
            assert_eq!(backoff(Duration::from_millis(100), 60, dice), LONGEST_PAUSE);
            let pause = backoff(Duration::from_secs(1), 1, dice).as_secs_f64();
            assert!((0.9..=1.1).contains(&pause), "{pause}");
        }
        assert_eq!(backoff(Duration::from_secs(1), u32::MAX, 0), LONGEST_PAUSE);
    }

    #[test]
    fn sixteen_quick_lives_are_given_up_whatever_the_delay() {
        for delay in
            [RestartDelay::Fixed { pause: Duration::from_secs(5) }, RestartDelay::Backoff { first: Duration::ZERO }]
        {
            let (mut lives, mut spec) = (Lives::default(), spec());
            spec.delay = delay;
            for i in 0..15 {
                assert!(matches!(quick(&mut lives, &spec, i * 5_000), Verdict::Restart(_)));
            }
            let Verdict::GiveUp { reason, retry } = quick(&mut lives, &spec, 80_000) else {
                panic!("not given up");
            };
            assert_eq!(reason, "exit code 1, 16 lives shorter than 1s within 10 minutes");
            assert_eq!(retry, Some(Duration::from_secs(60)));
        }
    }

    #[test]
    fn quick_lives_older_than_ten_minutes_are_forgotten() {
        let (mut lives, spec) = (Lives::default(), spec());
        for i in 0..100 {
            assert!(matches!(quick(&mut lives, &spec, i * 60_000), Verdict::Restart(_)), "at {i} minutes");
        }
        assert_eq!(lives.unstable(Time::from_millis(99 * 60_000)), 10);
    }

    #[test]
    fn a_long_life_between_quick_ones_forgives_nothing() {
        let (mut lives, spec) = (Lives::default(), spec());
        for i in 0..15 {
            assert!(matches!(quick(&mut lives, &spec, i * 2_000), Verdict::Restart(_)));
            let at = Time::from_millis(i * 2_000 + 1_500);
            assert!(matches!(
                lives.end(&spec, at, Duration::from_millis(1_100), (FAILED, "exit code 1"), 0),
                Verdict::Restart(_)
            ));
        }
        assert!(matches!(quick(&mut lives, &spec, 31_000), Verdict::GiveUp { .. }));
    }

    #[test]
    fn thirty_seconds_up_reset_the_backoff() {
        let (mut lives, spec) = (Lives::default(), spec());
        for i in 0..5 {
            quick(&mut lives, &spec, i);
        }
        let long = lives.end(&spec, Time::from_millis(50_000), Duration::from_secs(30), (FAILED, "exit code 1"), 0);
        assert_eq!(long, Verdict::Restart(Duration::ZERO));
        let unstable_for_the_backoff =
            lives.end(&spec, Time::from_millis(70_000), Duration::from_secs(20), (FAILED, "exit code 1"), 500);
        assert_eq!(unstable_for_the_backoff, Verdict::Restart(Duration::from_millis(100)));
    }

    #[test]
    fn a_second_chance_is_one_attempt() {
        let (mut lives, spec) = (Lives::default(), spec());
        lives.try_once();
        assert!(matches!(quick(&mut lives, &spec, 0), Verdict::GiveUp { .. }));
        lives.try_once();
        let lived = lives.end(&spec, Time::from_millis(5_000), Duration::from_secs(2), (FAILED, "exit code 1"), 0);
        assert!(matches!(lived, Verdict::Restart(_)), "{lived:?}");
        assert!(matches!(quick(&mut lives, &spec, 6_000), Verdict::Restart(_)));
    }

    #[test]
    fn policies_look_at_codes_and_never_mistake_a_signal_for_zero() {
        let killed = ExitStatus::Signal { signal: Signal::KILL, core: false };
        let table = [
            (RestartPolicy::Always, ExitStatus::Code(0), false),
            (RestartPolicy::OnFailure, ExitStatus::Code(0), true),
            (RestartPolicy::OnFailure, FAILED, false),
            (RestartPolicy::OnFailure, killed, false),
            (RestartPolicy::Never, killed, true),
            (RestartPolicy::Never, FAILED, true),
        ];
        for (policy, status, finished) in table {
            let mut spec = spec();
            spec.policy = policy;
            let verdict = Lives::default().end(&spec, Time::default(), Duration::ZERO, (status, ""), 0);
            assert_eq!(verdict == Verdict::Complete(status), finished, "{policy:?} {status:?}");
        }
        let mut spec = spec();
        spec.stop_exit_codes = vec![0, 42];
        for (status, finished) in
            [(ExitStatus::Code(0), true), (ExitStatus::Code(42), true), (FAILED, false), (killed, false)]
        {
            let verdict = Lives::default().end(&spec, Time::default(), Duration::ZERO, (status, ""), 0);
            assert_eq!(verdict == Verdict::Complete(status), finished, "{status:?}");
        }
    }
}
