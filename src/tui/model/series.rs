//! What was measured of one instance over time, in bounded memory: near what is now point by point, further back coarser.

use std::collections::VecDeque;

/// How far apart points are that are so old, in milliseconds; what is older than the last is forgotten.
const TIERS: [(u64, u64); 3] = [(900_000, 1), (3_600_000, 15_000), (86_400_000, 120_000)];

/// After how many new points older ones are put together.
const OFTEN: usize = 60;

/// One measurement; what was not measured is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Point {
    /// Milliseconds of the epoch.
    pub(crate) time: u64,
    pub(crate) cpu: Option<f32>,
    pub(crate) memory: Option<f32>,
    pub(crate) connections: Option<f32>,
    pub(crate) queue: Option<f32>,
    pub(crate) lag: Option<f32>,
    pub(crate) heap: Option<f32>,
}

/// What a graph shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Cpu,
    Memory,
    Connections,
    Queue,
    Lag,
    Heap,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] = [Kind::Cpu, Kind::Memory, Kind::Connections, Kind::Queue, Kind::Lag, Kind::Heap];

    /// Whether values of several instances are added; else the greatest counts.
    pub(crate) fn is_sum(self) -> bool {
        match self {
            Kind::Cpu | Kind::Memory | Kind::Connections | Kind::Queue | Kind::Heap => true,
            Kind::Lag => false,
        }
    }
}

impl Point {
    pub(crate) fn get(&self, kind: Kind) -> Option<f32> {
        match kind {
            Kind::Cpu => self.cpu,
            Kind::Memory => self.memory,
            Kind::Connections => self.connections,
            Kind::Queue => self.queue,
            Kind::Lag => self.lag,
            Kind::Heap => self.heap,
        }
    }

    /// Two neighbours as one: the greater values, as peaks are what one looks for.
    fn merged(self, later: Point) -> Point {
        let greater = |a: Option<f32>, b: Option<f32>| match (a, b) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (one, other) => one.or(other),
        };
        Point {
            time: later.time,
            cpu: greater(self.cpu, later.cpu),
            memory: greater(self.memory, later.memory),
            connections: greater(self.connections, later.connections),
            queue: greater(self.queue, later.queue),
            lag: greater(self.lag, later.lag),
            heap: greater(self.heap, later.heap),
        }
    }
}

/// The measurements of one instance, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    points: VecDeque<Point>,
    /// How many have come since older ones were put together.
    fresh: usize,
}

impl Series {
    /// Adds what was measured last; nothing if it is not newer than what is known.
    pub(crate) fn push(&mut self, point: Point) {
        if self.points.back().is_some_and(|last| last.time >= point.time) {
            return;
        }
        self.points.push_back(point);
        self.fresh += 1;
        if self.fresh >= OFTEN {
            self.thin();
        }
    }

    /// Adds what was measured before the first point that is known.
    pub(crate) fn extend_past(&mut self, past: &[Point]) {
        let first = self.points.front().map_or(u64::MAX, |point| point.time);
        for point in past.iter().rev().filter(|point| point.time < first) {
            self.points.push_front(*point);
        }
        self.thin();
    }

    /// The greatest value in each of so many equal parts of `from..to`. A part without a point takes the value of the one
    /// before it, as long as that is not older than `gap` milliseconds.
    pub(crate) fn columns(&self, kind: Kind, (from, to): (u64, u64), count: usize, gap: u64) -> Vec<Option<f32>> {
        let mut columns = vec![None; count];
        if count == 0 || to <= from {
            return columns;
        }
        let width = (to - from) as f64 / count as f64;
        let start = self.points.partition_point(|point| point.time + gap < from);
        let mut last: Option<(u64, f32)> = None;
        let mut points = self.points.range(start..).peekable();
        for (n, column) in columns.iter_mut().enumerate() {
            let end = from + ((n + 1) as f64 * width) as u64;
            let begin = from + (n as f64 * width) as u64;
            while let Some(point) = points.next_if(|point| point.time <= end) {
                let Some(value) = point.get(kind) else {
                    last = None;
                    continue;
                };
                last = Some((point.time, value));
                if point.time > begin || n == 0 {
                    *column = Some(column.map_or(value, |known: f32| known.max(value)));
                }
            }
            if column.is_none() {
                *column = last.filter(|(time, _)| begin.saturating_sub(*time) <= gap).map(|(_, value)| value);
            }
        }
        columns
    }

    /// What was measured, oldest first: milliseconds of the epoch, and the value.
    pub(crate) fn measured(&self, kind: Kind) -> Vec<(u64, f64)> {
        self.points.iter().filter_map(|point| Some((point.time, f64::from(point.get(kind)?)))).collect()
    }

    /// Puts older points together, the coarser the older they are.
    fn thin(&mut self) {
        self.fresh = 0;
        let now = self.points.back().map_or(0, |point| point.time);
        let mut thinned: VecDeque<Point> = VecDeque::with_capacity(self.points.len());
        for point in &self.points {
            let age = now.saturating_sub(point.time);
            let Some((_, step)) = TIERS.iter().find(|(oldest, _)| age <= *oldest) else { continue };
            match thinned.back_mut() {
                Some(last) if last.time / step == point.time / step => *last = last.merged(*point),
                Some(_) | None => thinned.push_back(*point),
            }
        }
        self.points = thinned;
    }
}

/// Adds columns of another instance, or takes the greater ones.
pub(crate) fn combine(kind: Kind, sum: &mut [Option<f32>], other: &[Option<f32>]) {
    for (sum, other) in sum.iter_mut().zip(other) {
        *sum = match (*sum, *other) {
            (Some(a), Some(b)) if kind.is_sum() => Some(a + b),
            (Some(a), Some(b)) => Some(a.max(b)),
            (one, other) => one.or(other),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(time: u64, cpu: f32) -> Point {
        Point { time, cpu: Some(cpu), ..Point::default() }
    }

    #[test]
    fn a_column_shows_the_peak_and_a_gap_stays_one() {
        let mut series = Series::default();
        for (time, value) in [(1_000, 1.0), (2_000, 5.0), (3_000, 2.0), (9_000, 3.0)] {
            series.push(cpu(time, value));
        }
        let columns = series.columns(Kind::Cpu, (0, 10_000), 5, 2_000);
        assert_eq!(columns, [Some(5.0), Some(2.0), Some(2.0), None, Some(3.0)]);
        assert_eq!(series.columns(Kind::Lag, (0, 10_000), 2, 2_000), [None, None]);
    }

    #[test]
    fn memory_is_bounded_and_peaks_survive() {
        let mut series = Series::default();
        for n in 0..50_000_u64 {
            series.push(cpu(n * 2_000, if n == 20_007 { 90.0 } else { 1.0 }));
            assert!(series.points.len() <= 1_600, "{}", series.points.len());
        }
        let columns = series.columns(Kind::Cpu, (20_000_000, 100_000_000), 4, 200_000);
        assert_eq!(columns, [Some(1.0), Some(90.0), Some(1.0), Some(1.0)]);
        assert_eq!(series.columns(Kind::Cpu, (0, 10_000_000), 2, 2_000), [None, None], "older than a day");
    }

    #[test]
    fn the_past_comes_before_what_is_known_and_nothing_comes_twice() {
        let mut series = Series::default();
        series.push(cpu(5_000, 1.0));
        series.push(cpu(5_000, 2.0));
        series.extend_past(&[cpu(1_000, 3.0), cpu(5_000, 9.0), cpu(6_000, 9.0)]);
        assert_eq!(series.points.len(), 2);
        assert_eq!(series.points[0].time, 1_000);
    }
}
