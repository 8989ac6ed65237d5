//! How memory grows, and when it will be more than it may: what a leak looks like before it does harm.
//!
//! Memory of a runtime that collects garbage goes up and down, so only its lows count: a part of the time is as low as it
//! was at its lowest. The rate is the median of the slopes between any two of these (the estimator of Theil and Sen), so
//! that one jump does not count. What has grown only at first, as caches do, is no leak: it has to go on until now.

use std::time::Duration;

use crate::proto::{AppView, SlotView};
use crate::words::units::{memory, span};

/// Into how many parts the time is cut.
const PARTS: usize = 16;

/// The fewest parts from which anything follows.
const FEWEST: usize = 4;

/// The least growth that counts, in bytes, and as a part of what is there.
const LEAST: (f64, f64) = (1_048_576.0, 0.01);

/// What is further away is nobody's business today.
const FARTHEST: Duration = Duration::from_secs(7 * 86_400);

/// A growth that goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Growth {
    /// Bytes a second.
    pub(crate) rate: f64,
    /// Until the limit is reached.
    pub(crate) left: Duration,
}

/// What follows from measurements of one process, oldest first: milliseconds, and bytes.
pub(crate) fn growth(measured: &[(u64, f64)], limit: u64) -> Option<Growth> {
    let (first, last) = (measured.first()?, measured.last()?);
    let lows = lows(measured);
    if lows.len() < FEWEST {
        return None;
    }
    let rate = slope(&lows)?;
    let recent = slope(&lows[lows.len() / 2..]).unwrap_or(rate);
    let grown = rate * (last.0 - first.0) as f64 / 1000.0;
    let is_steady = recent >= rate / 2.0
        && lows.windows(2).filter(|pair| pair[1].1 > pair[0].1).count() * 4 >= (lows.len() - 1) * 3;
    if !is_steady || grown < LEAST.0.max(LEAST.1 * last.1) {
        return None;
    }
    let left = Duration::try_from_secs_f64((limit as f64 - last.1).max(0.0) / rate).ok()?;
    (left <= FARTHEST).then_some(Growth { rate, left })
}

/// The limit of an instance that runs, in words and in bytes; none: it has none.
pub(crate) fn limit(app: &AppView, slot: &SlotView) -> Option<(&'static str, u64)> {
    let spec = app.spec.as_ref().filter(|_| slot.pid.is_some())?.memory;
    let limit = spec.limit.map(|limit| ("the limit of", limit));
    limit.or_else(|| Some(("the warning at", spec.warn_at()?)))
}

/// What follows for an instance, in words; none: nothing is to be feared. `measured` may begin before its process did.
pub(crate) fn in_words(app: &AppView, slot: &SlotView, measured: &[(u64, f64)]) -> Option<String> {
    let (what, limit) = limit(app, slot)?;
    let started = slot.started?;
    let own = measured.partition_point(|(time, _)| *time <= started);
    let Growth { rate, left } = growth(&measured[own..], limit)?;
    let left = span(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    Some(format!("grows by {} a minute: at this rate {what} {} in {left}", memory((rate * 60.0) as u64), memory(limit)))
}

/// The lowest measurement of each part of the time.
fn lows(measured: &[(u64, f64)]) -> Vec<(f64, f64)> {
    let each = measured.len().div_ceil(PARTS).max(1);
    let lowest = |part: &[(u64, f64)]| part.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
    measured.chunks(each).filter_map(lowest).map(|(time, bytes)| (time as f64 / 1000.0, bytes)).collect()
}

/// The median of the slopes between any two points.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let mut slopes: Vec<f64> = Vec::new();
    for (n, (time, bytes)) in points.iter().enumerate() {
        let later = points[n + 1..].iter().filter(|(later, _)| later > time);
        slopes.extend(later.map(|(later, more)| (more - bytes) / (later - time)));
    }
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: f64 = 1_048_576.0;

    /// A measurement each second.
    fn measured(seconds: u64, bytes: impl Fn(f64) -> f64) -> Vec<(u64, f64)> {
        (0..seconds).map(|second| (5_000 + second * 1000, bytes(second as f64))).collect()
    }

    #[test]
    fn a_leak_is_seen_after_some_seconds_and_told_within_a_fifth() {
        let limit = 200 * 1_048_576;
        // A leak of 25 MB a second, on top of what it has.
        let leak = |second: f64| 20.0 * MB + 25.0 * MB * second;
        assert_eq!(growth(&measured(3, leak), limit), None);
        for seconds in 4..8 {
            let found = growth(&measured(seconds, leak), limit).unwrap();
            let truth = (200.0 - 20.0) / 25.0 - (seconds - 1) as f64;
            assert!((found.left.as_secs_f64() - truth).abs() <= 0.2 * truth, "{found:?}, not {truth}");
            assert!((found.rate / MB - 25.0).abs() < 0.1, "{found:?}");
        }
        assert_eq!(growth(&measured(20, leak), limit).unwrap().left, Duration::ZERO);
    }

    #[test]
    fn what_a_collector_gives_back_does_not_count() {
        // 30 MB up and down within 20 seconds, and 20 kB a second that stay.
        let teeth = |second: f64| 80.0 * MB + 1.5 * MB * (second % 20.0) + 20_000.0 * second;
        let found = growth(&measured(900, teeth), 200 * 1_048_576).unwrap();
        assert!((found.rate - 20_000.0).abs() < 4_000.0, "{found:?}");
        let steady = |second: f64| 80.0 * MB + 1.5 * MB * (second % 20.0);
        assert_eq!(growth(&measured(900, steady), 200 * 1_048_576), None);
    }

    #[test]
    fn what_has_grown_and_stays_is_no_leak() {
        let cache = |second: f64| 50.0 * MB + MB * second.min(200.0);
        assert_eq!(growth(&measured(900, cache), 1 << 30), None);
        let jump = |second: f64| if second < 450.0 { 50.0 * MB } else { 150.0 * MB };
        assert_eq!(growth(&measured(900, jump), 1 << 30), None);
        assert_eq!(growth(&measured(900, |_| 50.0 * MB), 1 << 30), None);
        assert_eq!(growth(&[], 1), None);
        let slow = |second: f64| 50.0 * MB + 1500.0 * second;
        assert_eq!(growth(&measured(900, slow), 1 << 40), None, "in years");
    }
}
