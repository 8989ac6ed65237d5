//! Which lines are shown: by time and by expression.

use regex_lite::Regex;

use crate::cli::args::LogsArgs;
use crate::cli::logs::when::{self, Moment};
use crate::error::{ExitCode, Failure};

/// What the flags choose, shared by all files.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    since: Option<Moment>,
    until: Option<Moment>,
    grep: Option<Regex>,
}

/// What is chosen of one file. Lines without a time belong to the last one that had one.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    wish: Wish,
    seen: Seen,
    /// What comes now is later than any `--since`, even if it does not say so.
    is_live: bool,
}

/// What the times of a file's lines have been so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Seen {
    /// No line at all.
    #[default]
    Nothing,
    /// Lines, and none with a time.
    Untimed,
    /// The last line with a time was in the range, or not.
    Timed { is_in: bool },
}

impl Wish {
    /// Reads the flags; `now` is in milliseconds of the epoch.
    pub(super) fn read(args: &LogsArgs, now: u64) -> Result<Wish, Failure> {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let moment = |flag, text: &Option<String>| text.as_deref().map(|text| when::read(flag, text, now)).transpose();
        let expression = |text: &String| {
            Regex::new(text).map_err(|error| {
                Failure::new(ExitCode::Usage, format!("`{text}` is not a regular expression")).caused_by(&error)
            })
        };
        let grep = args.grep.as_ref().map(expression).transpose()?;
        Ok(Wish { since: moment("--since", &args.since)?, until: moment("--until", &args.until)?, grep })
    }

    /// Whether anything is chosen at all.
    pub(super) fn is_active(&self) -> bool {
        self.is_timed() || self.grep.is_some()
    }

    /// Whether lines are chosen by their times.
    pub(super) fn is_timed(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    /// Whether a text that is no line of a file is wanted.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.grep.as_ref().is_none_or(|grep| grep.is_match(text))
    }
}

impl Choice {
    pub(super) fn new(wish: Wish) -> Choice {
        Choice { wish, seen: Seen::Nothing, is_live: false }
    }

    /// From now on lines come as they are written.
    pub(super) fn go_live(&mut self) {
        self.is_live = true;
    }

    /// Whether the file has lines, and none of them tells a time that was needed.
    pub(super) fn is_unsuited(&self) -> bool {
        self.wish.is_timed() && self.seen == Seen::Untimed
    }

    /// Whether a line told a time.
    pub(super) fn has_times(&self) -> bool {
        matches!(self.seen, Seen::Timed { .. })
    }

    /// Whether this line, the next of its file, is shown.
    pub(super) fn takes(&mut self, line: &[u8]) -> bool {
        if self.wish.is_timed() && !self.is_in_range(line) {
            return false;
        }
        self.wish.grep.as_ref().is_none_or(|grep| grep.is_match(&String::from_utf8_lossy(line)))
    }

    fn is_in_range(&mut self, line: &[u8]) -> bool {
        if let Some(time) = when::of_line(line) {
            let is_in =
                self.wish.since.is_none_or(|since| time >= since) && self.wish.until.is_none_or(|until| time <= until);
            self.seen = Seen::Timed { is_in };
        } else if self.seen == Seen::Nothing && !line.is_empty() {
            self.seen = Seen::Untimed;
        }
        match self.seen {
            Seen::Timed { is_in } => is_in,
            Seen::Nothing | Seen::Untimed => self.is_live,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(since: Option<Moment>, until: Option<Moment>, grep: Option<&str>) -> Choice {
        Choice::new(Wish { since, until, grep: grep.map(|text| Regex::new(text).unwrap()) })
    }

    fn taken<'a>(choice: &mut Choice, lines: &[&'a str]) -> Vec<&'a str> {
        lines.iter().copied().filter(|line| choice.takes(line.as_bytes())).collect()
    }

    #[test]
    fn a_line_without_time_belongs_to_the_one_before_it() {
        let since = when::of_line(b"2026-05-28T12:00:00Z").unwrap();
        let lines = [
            "boot",
            "2026-05-28T11:59:59Z old",
            "  at old",
            "2026-05-28T12:00:00Z new",
            "  at new",
            "2026-05-28T13:00:00Z later",
        ];
        let mut wanted = choice(Some(since), Some(since + 60_000), None);
        assert_eq!(taken(&mut wanted, &lines), ["2026-05-28T12:00:00Z new", "  at new"]);
        assert!(!wanted.is_unsuited());
    }

    #[test]
    fn a_file_without_times_is_unsuited_and_an_empty_one_is_not() {
        let mut wanted = choice(Some(0), None, None);
        assert!(!wanted.is_unsuited());
        assert_eq!(taken(&mut wanted, &["", "hello"]), Vec::<&str>::new());
        assert!(wanted.is_unsuited());
    }

    #[test]
    fn what_comes_now_is_later_than_any_since() {
        let mut wanted = choice(Some(0), None, Some("o"));
        wanted.go_live();
        assert_eq!(taken(&mut wanted, &["hello", "hi"]), ["hello"]);
    }
}
