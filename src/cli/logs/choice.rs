//! Which lines are shown, by time and by expression, and when each came.

use crate::cli::args::LogsArgs;
use crate::cli::logs::when::{self, Moment};
use crate::error::{ExitCode, Failure};
use crate::logs::Pattern;

/// How far apart lines may have come that belong together, and how far the time of a line may be from that of its coming
/// to be believed, in milliseconds.
const NEAR: u64 = 1_000;

/// What the flags choose, shared by all files.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    since: Option<Moment>,
    until: Option<Moment>,
    pub(super) grep: Option<Pattern>,
}

/// The time of the lines of one file, as they are read.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    /// The last line that told its time: that, and when it came.
    told: Option<(u64, Option<u64>)>,
    /// The largest moment so far: lines of one file never change places.
    last: u64,
    has_lines: bool,
    has_times: bool,
}

/// When a line came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Its place among the lines of other files.
    pub(super) order: u64,
    /// Its time for the user; none: nothing is known.
    pub(super) time: Option<u64>,
}

impl Wish {
    /// Reads the flags; `now` is in milliseconds of the epoch.
    pub(super) fn read(args: &LogsArgs, now: u64) -> Result<Wish, Failure> {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let moment = |flag, text: &Option<String>| text.as_deref().map(|text| when::read(flag, text, now)).transpose();
        let expression = |text: &String| {
            Pattern::new(text).map_err(|error| {
                Failure::new(ExitCode::Usage, format!("`{text}` is not a regular expression")).caused_by(&error)
            })
        };
        let grep = args.grep.as_ref().map(expression).transpose()?;
        Ok(Wish { since: moment("--since", &args.since)?, until: moment("--until", &args.until)?, grep })
    }

    /// Whether lines are chosen by their times.
    pub(super) fn is_timed(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    /// From when on lines are wanted.
    pub(super) fn since(&self) -> Option<u64> {
        self.since.map(|since| u64::try_from(since).unwrap_or_default())
    }

    /// Whether a text that is no line of a file is wanted.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.grep.as_ref().is_none_or(|grep| grep.is_match(text.as_bytes()))
    }

    /// Whether a line of this time is wanted; one that has none is, if it has just come.
    pub(super) fn takes(&self, stamp: Stamp, is_live: bool) -> bool {
        let Some(time) = stamp.time.map(|time| i64::try_from(time).unwrap_or(i64::MAX)) else {
            return !self.is_timed() || is_live;
        };
        let is_since = is_live || self.since.is_none_or(|since| time >= since);
        is_since && self.until.is_none_or(|until| time <= until)
    }

    /// Whether nothing that comes behind this moment is wanted any more.
    pub(super) fn is_over(&self, came: u64) -> bool {
        self.until.is_some_and(|until| i64::try_from(came.saturating_sub(NEAR)).is_ok_and(|came| came > until))
    }
}

impl Clock {
    /// The next line of the file, when its bytes came if the index says so, and when they came at the latest.
    pub(super) fn stamp(&mut self, line: &[u8], came: Option<u64>, latest: u64) -> Stamp {
        self.has_lines |= !line.is_empty();
        let own = when::of_line(line).and_then(|own| u64::try_from(own).ok());
        if let Some(own) = own {
            self.told = Some((own, came));
        }
        let time = match (self.told, came) {
            // A line without a time belongs to the one with a time before it, if it came together with it.
            (Some((told, Some(at))), Some(came)) if came.saturating_sub(at) <= NEAR => Some(told),
            (Some(_) | None, Some(came)) => own.or(Some(came)),
            (Some((told, _)), None) => Some(told),
            (None, None) => None,
        };
        self.has_times |= time.is_some();
        let order = match (time, came) {
            // The time that a line tells is finer than the index, but it need not be the time of the line.
            (Some(time), Some(came)) if time.abs_diff(came) <= NEAR => time,
            (_, Some(came)) => came,
            (Some(time), None) => time,
            (None, None) => latest,
        };
        self.last = self.last.max(order);
        Stamp { order: self.last, time }
    }

    /// Whether the file has lines, and the time of none is known.
    pub(super) fn is_unsuited(&self) -> bool {
        self.has_lines && !self.has_times
    }

    /// Whether the time of a line was known.
    pub(super) fn has_times(&self) -> bool {
        self.has_times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_779_969_600_000;

    fn wish(since: u64, until: u64) -> Wish {
        let moment = |at| Some(i64::try_from(at).unwrap());
        Wish { since: moment(since), until: moment(until), grep: None }
    }

    fn taken<'a>(wish: &Wish, lines: &[(&'a str, Option<u64>)]) -> Vec<&'a str> {
        let mut clock = Clock::default();
        let is_taken = |line: &str, came| wish.takes(clock.stamp(line.as_bytes(), came, 0), false);
        let mut is_taken = is_taken;
        lines.iter().filter(|(line, came)| is_taken(line, *came)).map(|(line, _)| *line).collect()
    }

    #[test]
    fn a_line_without_time_belongs_to_the_one_before_it() {
        let lines = [
            "boot",
            "2026-05-28T11:59:59Z old",
            "  at old",
            "2026-05-28T12:00:00Z new",
            "  at new",
            "2026-05-28T13:00:00Z later",
        ];
        let wanted = ["2026-05-28T12:00:00Z new", "  at new"];
        assert_eq!(taken(&wish(NOON, NOON + 60_000), &lines.map(|line| (line, None))), wanted);
        assert_eq!(taken(&wish(NOON, NOON + 60_000), &lines.map(|line| (line, Some(NOON + 9_000_000)))), wanted);
    }

    #[test]
    fn the_index_tells_what_lines_do_not() {
        let lines = [("one", Some(NOON - 1)), ("two", Some(NOON)), ("2020-01-01T00:00 is a date", Some(NOON + 5))];
        assert_eq!(taken(&wish(NOON, NOON + 60_000), &lines), ["two"]);
        // What comes long after such a line does not belong to it.
        let later = [lines[2], ("three", Some(NOON + 5_000))];
        assert_eq!(taken(&wish(NOON, NOON + 60_000), &later), ["three"]);
    }

    #[test]
    fn a_file_without_times_is_unsuited_and_an_empty_one_is_not() {
        let mut clock = Clock::default();
        assert!(!clock.is_unsuited());
        assert!(!wish(0, NOON).takes(clock.stamp(b"hello", None, 7), false));
        assert!(clock.is_unsuited());
        assert!(wish(0, NOON).takes(clock.stamp(b"hello", None, 7), true), "what comes now is later than any since");
    }

    #[test]
    fn lines_of_a_file_keep_their_order() {
        let mut clock = Clock::default();
        let mut order = |line: &str, came| clock.stamp(line.as_bytes(), came, 3).order;
        assert_eq!(order("x", None), 3);
        assert_eq!(order("2026-05-28T12:00:00.500Z fine", Some(NOON + 400)), NOON + 500);
        assert_eq!(order("y", Some(NOON + 450)), NOON + 500);
        assert_eq!(order("2020-05-28T12:00:00Z stale", Some(NOON + 900)), NOON + 900);
    }
}
