//! The lines of the selected instances: a window of bounded memory over files that have no bound, with search, and a place
//! in it that stays where it is while more comes.

use std::collections::VecDeque;
use std::path::PathBuf;

use regex_lite::Regex;

use crate::spec::Stream;
use crate::tui::model::ansi;

/// How many lines are kept, and how many bytes of text.
const LINES: usize = 20_000;
const BYTES: usize = 8 * 1024 * 1024;

/// A file whose lines are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// `api:0`.
    pub(crate) label: String,
    pub(crate) stream: Stream,
}

/// Which files are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Counts up with every wish; lines of an earlier one are dropped.
    pub(crate) number: u64,
    pub(crate) sources: Vec<Source>,
}

/// One line as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fresh {
    /// The index of its source.
    pub(crate) source: usize,
    pub(crate) text: String,
}

/// What the reader of the files tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The last lines of all files; `is_whole`: there are none before them.
    Past { lines: Vec<Fresh>, is_whole: bool },
    /// Lines that came just now; before them so many bytes were passed over, as they came faster than anybody reads.
    Came { lines: Vec<Fresh>, skipped: u64 },
    /// Lines before all that were told; none: there are no more.
    Older { lines: Vec<Fresh>, is_whole: bool },
    /// A file cannot be read.
    Trouble(String),
}

/// One line of the window.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) kind: LineKind,
    pub(crate) text: String,
}

/// Whose line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineKind {
    /// Of the source with this index.
    Of(usize),
    /// What rsx has to say about the lines.
    Note,
}

/// Which streams are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Streams {
    #[default]
    Both,
    Out,
    Error,
}

impl Streams {
    pub(crate) fn next(self) -> Streams {
        match self {
            Streams::Both => Streams::Out,
            Streams::Out => Streams::Error,
            Streams::Error => Streams::Both,
        }
    }

    pub(crate) fn shows(self, stream: Stream) -> bool {
        match (self, stream) {
            (Streams::Both, _) | (Streams::Out, Stream::Out) | (Streams::Error, Stream::Error) => true,
            (Streams::Out, Stream::Error) | (Streams::Error, Stream::Out) => false,
        }
    }
}

/// What is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) text: String,
    pub(crate) regex: Regex,
}

/// The window over the logs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logs {
    pub(crate) wish: Wish,
    lines: VecDeque<Line>,
    /// The number of the first line of the window; older ones have smaller numbers.
    first: i64,
    bytes: usize,
    /// The number of the last line on the screen; none: the newest, whatever comes.
    bottom: Option<i64>,
    /// How many lines came since the newest was shown.
    pub(crate) unseen: u64,
    pub(crate) is_wrapped: bool,
    pub(crate) is_merged: bool,
    pub(crate) streams: Streams,
    pub(crate) search: Option<Search>,
    /// The line that the search has found.
    pub(crate) found: Option<i64>,
    /// How many columns the lines are moved to the left.
    pub(crate) shift: usize,
    /// Nothing comes before the window.
    pub(crate) is_whole: bool,
    /// Older lines are on their way.
    pub(crate) is_loading: bool,
    /// Whether the past has come.
    pub(crate) is_there: bool,
    pub(crate) trouble: Option<String>,
    /// The newest lines were given up for older ones: before they are shown, they have to be read again.
    is_cut: bool,
}

impl Logs {
    /// Begins anew with these files; the number of the wish, if it is another one than before.
    pub(crate) fn want(&mut self, sources: Vec<Source>) -> Option<Wish> {
        if self.wish.number > 0 && self.wish.sources == sources {
            return None;
        }
        Some(self.begin(sources))
    }

    /// The same files anew, where the newest lines are wanted and not there any more.
    pub(crate) fn again(&mut self) -> Option<Wish> {
        (self.is_cut && self.follows()).then(|| self.begin(self.wish.sources.clone()))
    }

    fn begin(&mut self, sources: Vec<Source>) -> Wish {
        self.wish = Wish { number: self.wish.number + 1, sources };
        self.lines.clear();
        (self.first, self.bytes, self.bottom, self.unseen, self.shift) = (0, 0, None, 0, 0);
        (self.found, self.trouble) = (None, None);
        (self.is_whole, self.is_loading, self.is_there, self.is_cut) = (false, false, false, false);
        self.wish.clone()
    }

    /// Takes in what was read for a wish.
    pub(crate) fn take(&mut self, number: u64, news: News) {
        if number != self.wish.number {
            return;
        }
        match news {
            News::Past { lines, is_whole } => {
                self.is_there = true;
                self.is_whole = is_whole;
                self.append(lines);
            }
            // They come behind lines that are not there.
            News::Came { lines, .. } if self.is_cut => self.unseen += lines.len() as u64,
            News::Came { lines, skipped } => {
                if skipped > 0 {
                    let text = format!(
                        "… {} passed over: more came than anybody can read",
                        crate::words::units::memory(skipped)
                    );
                    self.push(Line { kind: LineKind::Note, text });
                }
                self.append(lines);
            }
            News::Older { lines, is_whole } => {
                self.is_loading = false;
                self.is_whole |= is_whole;
                for line in lines.into_iter().rev() {
                    // The window is full at its other end: what comes newer is read again later.
                    self.bytes += line.text.len();
                    self.lines.push_front(Line { kind: LineKind::Of(line.source), text: line.text });
                    self.first -= 1;
                }
                self.trim_newest();
            }
            News::Trouble(what) => self.trouble = Some(what),
        }
    }

    fn append(&mut self, lines: Vec<Fresh>) {
        for line in lines {
            self.push(Line { kind: LineKind::Of(line.source), text: line.text });
        }
    }

    fn push(&mut self, line: Line) {
        self.bytes += line.text.len();
        self.lines.push_back(line);
        if self.bottom.is_some() {
            self.unseen += 1;
        }
        while self.lines.len() > LINES || self.bytes > BYTES {
            let Some(line) = self.lines.pop_front() else { break };
            self.bytes -= line.text.len();
            self.first += 1;
            self.is_whole = false;
        }
        // Whoever reads what goes is carried along.
        if let Some(bottom) = &mut self.bottom {
            *bottom = (*bottom).max(self.first);
        }
    }

    /// Older lines push out the newest, which nobody looks at.
    fn trim_newest(&mut self) {
        while self.lines.len() > 2 * LINES || self.bytes > 2 * BYTES {
            let Some(line) = self.lines.pop_back() else { break };
            self.bytes -= line.text.len();
            self.is_cut = true;
        }
        self.bottom = Some(self.bottom());
    }

    /// The number of the newest line.
    pub(crate) fn last(&self) -> i64 {
        self.first + i64::try_from(self.lines.len()).unwrap_or(i64::MAX) - 1
    }

    /// The number of the oldest line.
    pub(crate) fn first(&self) -> i64 {
        self.first
    }

    /// How many lines there are.
    pub(crate) fn count(&self) -> usize {
        self.lines.len()
    }

    /// The line of this number.
    pub(crate) fn line(&self, number: i64) -> Option<&Line> {
        usize::try_from(number - self.first).ok().and_then(|index| self.lines.get(index))
    }

    /// Whether the newest line is shown, whatever comes.
    pub(crate) fn follows(&self) -> bool {
        self.bottom.is_none()
    }

    /// The number of the last line on the screen.
    pub(crate) fn bottom(&self) -> i64 {
        self.bottom.unwrap_or(i64::MAX).min(self.last())
    }

    /// Shows the newest line from now on.
    pub(crate) fn follow(&mut self) {
        (self.bottom, self.unseen) = (None, 0);
    }

    /// Stays where it is.
    pub(crate) fn hold(&mut self) {
        self.bottom = Some(self.bottom());
    }

    /// Moves by so many lines, down where positive; `height` lines have to stay on the screen. Whether older ones are
    /// wanted.
    pub(crate) fn scroll(&mut self, by: i64, height: u16) -> bool {
        let top = self.first + i64::from(height.max(1)) - 1;
        let to = self.bottom().saturating_add(by).max(top.min(self.last()));
        if to >= self.last() {
            self.follow();
        } else {
            self.bottom = Some(to);
        }
        by < 0 && to <= top.saturating_add(i64::from(height)) && self.wants_older()
    }

    fn wants_older(&mut self) -> bool {
        let wants = self.is_there && !self.is_whole && !self.is_loading;
        self.is_loading |= wants;
        wants
    }

    /// Looks for this text, an expression where it is one, from what is on the screen upwards. Whether it was found.
    pub(crate) fn look_for(&mut self, text: &str) -> bool {
        let build = |text: &str| regex_lite::RegexBuilder::new(text).case_insensitive(true).build();
        self.search = (!text.is_empty())
            .then(|| build(text).or_else(|_| build(&regex_lite::escape(text))).ok())
            .flatten()
            .map(|regex| Search { text: text.to_owned(), regex });
        self.found = None;
        self.search.is_some() && self.find(Direction::Older)
    }

    /// The next line that matches. Whether there is one.
    pub(crate) fn find(&mut self, direction: Direction) -> bool {
        let Some(search) = &self.search else { return false };
        let matches = |number: &i64| {
            self.line(*number)
                .is_some_and(|line| self.is_shown(line) && search.regex.is_match(&ansi::plain(&line.text)))
        };
        let found = match (direction, self.found) {
            (Direction::Older, None) => (self.first..=self.bottom()).rev().find(matches),
            (Direction::Older, Some(at)) => (self.first..at).rev().find(matches),
            (Direction::Newer, None) => (self.bottom()..=self.last()).find(matches),
            (Direction::Newer, Some(at)) => (at + 1..=self.last()).find(matches),
        };
        if let Some(found) = found {
            self.found = Some(found);
            self.bottom = Some((found + 3).min(self.last()));
        }
        found.is_some()
    }

    /// Whether a line is of a stream that is shown.
    pub(crate) fn is_shown(&self, line: &Line) -> bool {
        match line.kind {
            LineKind::Note => true,
            LineKind::Of(source) => {
                self.wish.sources.get(source).is_none_or(|source| self.streams.shows(source.stream))
            }
        }
    }
}

/// Which way is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Older,
    Newer,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(label: &str, stream: Stream) -> Source {
        Source { path: format!("/l/{label}-{stream:?}").into(), label: label.into(), stream }
    }

    fn lines(range: std::ops::Range<i64>) -> Vec<Fresh> {
        range.map(|n| Fresh { source: 0, text: format!("line {n}") }).collect()
    }

    fn logs(count: i64) -> Logs {
        let mut logs = Logs::default();
        assert!(logs.want(vec![source("api", Stream::Out), source("api", Stream::Error)]).is_some());
        logs.take(1, News::Past { lines: lines(0..count), is_whole: false });
        logs
    }

    fn bottom(logs: &Logs) -> &str {
        &logs.line(logs.bottom()).unwrap().text
    }

    #[test]
    fn what_is_read_stays_while_more_comes_and_the_end_follows_again() {
        let mut logs = logs(100);
        logs.scroll(-10, 5);
        assert_eq!(bottom(&logs), "line 89");
        logs.take(1, News::Came { lines: lines(100..150), skipped: 0 });
        assert_eq!((bottom(&logs), logs.unseen), ("line 89", 50));
        logs.scroll(1_000, 5);
        assert!(logs.follows());
        logs.take(1, News::Came { lines: lines(150..151), skipped: 7 });
        assert_eq!((bottom(&logs), logs.unseen), ("line 150", 0));
    }

    #[test]
    fn older_lines_are_asked_for_once_and_come_before() {
        let mut logs = logs(20);
        assert!(logs.scroll(-15, 5));
        assert!(!logs.scroll(-1, 5), "they are on their way");
        let at = bottom(&logs).to_owned();
        logs.take(1, News::Older { lines: lines(-30..0), is_whole: true });
        assert_eq!(bottom(&logs), at);
        logs.scroll(-1_000, 5);
        assert_eq!(bottom(&logs), "line -26");
        assert!(!logs.scroll(-1, 5), "there are no more");
    }

    #[test]
    fn lines_of_an_earlier_wish_are_dropped_and_the_same_wish_is_none() {
        let mut logs = logs(3);
        assert!(logs.want(logs.wish.sources.clone()).is_none());
        assert_eq!(logs.want(vec![source("web", Stream::Out)]).unwrap().number, 2);
        logs.take(1, News::Came { lines: lines(0..9), skipped: 0 });
        assert_eq!(logs.count(), 0);
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut logs = logs(0);
        for n in 0..60 {
            logs.take(1, News::Came { lines: lines(n * 1_000..(n + 1) * 1_000), skipped: 0 });
        }
        assert_eq!(logs.count(), LINES);
        assert_eq!(bottom(&logs), "line 59999");
        let long = (0..20).map(|_| Fresh { source: 0, text: "x".repeat(1024 * 1024) }).collect();
        logs.take(1, News::Came { lines: long, skipped: 0 });
        assert!(logs.bytes <= BYTES);
        logs.scroll(-1_000_000, 1);
        for _ in 0..100 {
            logs.take(1, News::Older { lines: lines(0..1_000), is_whole: false });
        }
        assert!(logs.count() <= 2 * LINES && logs.bytes <= 2 * BYTES, "{}", logs.count());
        logs.follow();
        assert_eq!(logs.again().unwrap().number, 2, "the newest are read again");
    }

    #[test]
    fn a_search_goes_up_and_down_and_a_broken_expression_is_text() {
        let mut logs = logs(100);
        assert!(logs.look_for("LINE 4[25]$"));
        assert_eq!(logs.found, Some(45));
        assert!(logs.find(Direction::Older));
        assert_eq!(logs.found, Some(42));
        assert!(!logs.find(Direction::Older));
        assert!(logs.find(Direction::Newer));
        assert_eq!(logs.found, Some(45));
        assert!(!logs.look_for("line (4"));
        assert!(!logs.look_for(""));
    }
}
