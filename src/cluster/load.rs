//! Weights from what members have to do: who has more gets less of what comes.
//!
//! A member's work is its open connections, and what waits in its queue counts much more: a queue says that it cannot keep
//! up, where open connections may be idle. A weight goes half of the way at a time, or all members would be sent to the one
//! that was free a moment ago.

use crate::cluster::steering::Weight;

/// What a member has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Its open connections.
    pub connections: u32,
    /// How many wait to be accepted.
    pub queued: u32,
}

/// The weight of a member that has nothing to do.
const MOST: f64 = 1000.0;

/// As many connections as one that waits counts for.
const WAITING: f64 = 8.0;

/// A few connections more or less are no difference.
const SLACK: f64 = 4.0;

/// The next weights, from the present ones and what each has to do.
pub fn weigh(members: &[(Load, Weight)]) -> Vec<Weight> {
    let work = |load: &Load| SLACK + f64::from(load.connections) + WAITING * f64::from(load.queued);
    let least = members.iter().map(|(load, _)| work(load)).fold(f64::INFINITY, f64::min);
    let next = |(load, now): &(Load, Weight)| {
        let wanted = MOST * least / work(load);
        // One that has no weight yet begins where it should be.
        let now = if *now == Weight::MIN { wanted } else { f64::from(now.get()) };
        rounded(f64::midpoint(now, wanted))
    };
    members.iter().map(next).collect()
}

/// At least 2: 1 is the weight of one that was never weighed.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies between 2 and 1000")]
fn rounded(weight: f64) -> Weight {
    Weight::new(weight.round().clamp(2.0, MOST) as u16).unwrap_or(Weight::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(loads: &[(u32, u32)]) -> Vec<(Load, Weight)> {
        loads
            .iter()
            .map(|(connections, queued)| (Load { connections: *connections, queued: *queued }, Weight::MIN))
            .collect()
    }

    fn weights(members: &[(Load, Weight)]) -> Vec<u16> {
        weigh(members).into_iter().map(Weight::get).collect()
    }

    #[test]
    fn who_has_more_to_do_gets_less() {
        assert_eq!(weights(&loads(&[(0, 0), (0, 0)])), [1000, 1000]);
        assert_eq!(weights(&loads(&[(96, 0), (6, 0)])), [100, 1000]);
        assert_eq!(weights(&loads(&[(0, 0), (0, 12)])), [1000, 40], "a queue says more than connections");
        assert!(weights(&loads(&[])).is_empty());
    }

    #[test]
    fn a_weight_comes_to_what_it_should_be_step_by_step_and_stays_in_its_bounds() {
        let mut now = vec![Weight::new(1000).unwrap(), Weight::new(1000).unwrap()];
        let work = [Load { connections: 0, queued: 0 }, Load { connections: 50_000, queued: 4_000 }];
        let mut seen = Vec::new();
        for _ in 0..12 {
            now = weigh(&work.into_iter().zip(now).collect::<Vec<_>>());
            seen.push(now[1].get());
        }
        assert_eq!(now[0].get(), 1000);
        assert!(seen.windows(2).all(|pair| pair[1] <= pair[0]), "{seen:?}");
        assert_eq!((seen[0], seen[11]), (500, 2));
    }
}
