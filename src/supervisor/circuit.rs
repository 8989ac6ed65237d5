//! What the answers to health checks make of one run: arithmetic over [`HealthSpec`].
//!
//! ```text
//!  [Unproven] --`pass` in a row--> [Closed] --`fail` in a row--> [Open] --one passes--> [HalfOpen]
//!      |                              ^                          |  ^                       |   |
//!      | 2 x `fail`                   |                    `fail`|  +------- one fails -----+   |
//!      v                              |                     more v                              |
//!  (restart)                          |                      (restart)                          |
//!                                     +-------------------------------- `pass` more ------------+
//! ```
//!
//! An open one gets no connections, a half-open one few. How many have failed since it was opened is forgotten when it is
//! closed and not before, so that one which passes now and then is restarted, too.

use crate::spec::HealthSpec;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Circuit {
    /// It has not been well yet.
    Unproven {
        /// Passes in a row.
        passes: u16,
        /// Failures in a row, of those that count.
        fails: u16,
    },
    /// It is well.
    Closed {
        /// Failures in a row.
        fails: u16,
    },
    /// It is ill.
    Open {
        /// Failures since it was opened.
        fails: u16,
    },
    /// It is better.
    HalfOpen {
        /// Passes in a row.
        passes: u16,
        /// Failures since it was opened.
        fails: u16,
    },
}

/// Whether a failure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weighs {
    /// It does.
    Yes,
    /// The run has just begun.
    NotYet,
}

impl Circuit {
    /// Of a run that has just begun.
    pub(crate) const NEW: Circuit = Circuit::Unproven { passes: 0, fails: 0 };

    /// After a check that passed.
    pub(super) fn passed(self, spec: &HealthSpec) -> Circuit {
        const WELL: Circuit = Circuit::Closed { fails: 0 };
        match self {
            Circuit::Unproven { passes, .. } if passes.saturating_add(1) >= spec.pass => WELL,
            Circuit::Unproven { passes, .. } => Circuit::Unproven { passes: passes + 1, fails: 0 },
            Circuit::Closed { .. } => WELL,
            Circuit::Open { fails } => Circuit::HalfOpen { passes: 0, fails },
            Circuit::HalfOpen { passes, .. } if passes.saturating_add(1) >= spec.pass => WELL,
            Circuit::HalfOpen { passes, fails } => Circuit::HalfOpen { passes: passes + 1, fails },
        }
    }

    /// After a check that failed.
    pub(super) fn failed(self, spec: &HealthSpec, weighs: Weighs) -> Circuit {
        match self {
            Circuit::Unproven { fails, .. } => {
                let fails = fails.saturating_add(u16::from(weighs == Weighs::Yes));
                Circuit::Unproven { passes: 0, fails }
            }
            Circuit::Closed { fails } if fails.saturating_add(1) >= spec.fail => Circuit::Open { fails: 0 },
            Circuit::Closed { fails } => Circuit::Closed { fails: fails + 1 },
            Circuit::Open { fails } | Circuit::HalfOpen { fails, .. } => {
                Circuit::Open { fails: fails.saturating_add(1) }
            }
        }
    }

    /// Whether it has been well once.
    pub(crate) fn is_proven(self) -> bool {
        !matches!(self, Circuit::Unproven { .. })
    }

    /// Whether it is ill.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Circuit::Open { .. })
    }

    /// Whether it has had all its chances.
    pub(super) fn is_given_up(self, spec: &HealthSpec) -> bool {
        match self {
            Circuit::Unproven { fails, .. } => fails >= spec.fail.saturating_mul(2),
            Circuit::Open { fails } => fails >= spec.fail,
            Circuit::Closed { .. } | Circuit::HalfOpen { .. } => false,
        }
    }

    /// How many checks have failed in a row, or since it was opened.
    pub(crate) fn fails(self, spec: &HealthSpec) -> u16 {
        match self {
            Circuit::Unproven { fails, .. } | Circuit::Closed { fails } => fails,
            Circuit::Open { fails } | Circuit::HalfOpen { fails, .. } => spec.fail.saturating_add(fails),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::spec::Check;

    fn spec(fail: u16, pass: u16) -> HealthSpec {
        HealthSpec { fail, pass, ..HealthSpec::new(Check::Tcp, Duration::ZERO) }
    }

    /// After these answers, `+` and `-`, and `.` for a failure that does not count yet.
    fn after(spec: &HealthSpec, answers: &str) -> Circuit {
        answers.chars().fold(Circuit::NEW, |circuit, answer| match answer {
            '+' => circuit.passed(spec),
            '-' => circuit.failed(spec, Weighs::Yes),
            _ => circuit.failed(spec, Weighs::NotYet),
        })
    }

    #[test]
    fn a_circuit_goes_its_round() {
        use Circuit::{Closed, HalfOpen, Open, Unproven};
        let spec = spec(2, 2);
        for (answers, expected) in [
            ("", Unproven { passes: 0, fails: 0 }),
            ("+", Unproven { passes: 1, fails: 0 }),
            ("+-", Unproven { passes: 0, fails: 1 }),
            ("....", Unproven { passes: 0, fails: 0 }),
            ("++", Closed { fails: 0 }),
            ("++-", Closed { fails: 1 }),
            ("++-+", Closed { fails: 0 }),
            ("++--", Open { fails: 0 }),
            ("++---", Open { fails: 1 }),
            ("++---+", HalfOpen { passes: 0, fails: 1 }),
            ("++---++", HalfOpen { passes: 1, fails: 1 }),
            ("++---+++", Closed { fails: 0 }),
            ("++--+-", Open { fails: 1 }),
            ("++--++-+-", Open { fails: 2 }),
        ] {
            assert_eq!(after(&spec, answers), expected, "{answers}");
        }
    }

    #[test]
    fn it_is_given_up_after_as_many_more_and_one_that_never_was_well_after_all_of_them() {
        let spec = spec(2, 1);
        for (answers, is_given_up) in [
            ("---", false),
            ("----", true),
            ("....---", false),
            ("+---", false),
            ("+----", true),
            ("+--+-+-", true),
            ("+--+--+", false),
            ("+--++---", false),
        ] {
            assert_eq!(after(&spec, answers).is_given_up(&spec), is_given_up, "{answers}");
        }
        assert_eq!((after(&spec, "+-").fails(&spec), after(&spec, "+---").fails(&spec)), (1, 3));
    }

    #[test]
    fn the_largest_counts_do_not_overflow() {
        let spec = spec(u16::MAX, u16::MAX);
        for start in [
            Circuit::Unproven { passes: u16::MAX - 1, fails: u16::MAX },
            Circuit::Open { fails: u16::MAX },
            Circuit::HalfOpen { passes: u16::MAX - 1, fails: u16::MAX },
        ] {
            assert!(start.passed(&spec) != start && start.failed(&spec, Weighs::Yes).fails(&spec) == u16::MAX);
        }
    }
}
