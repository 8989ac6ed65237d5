//! The lines of one log, one after the other: its history, then what comes, from the same descriptors and offsets, so that
//! no line is lost or shown twice between the two.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use memchr::memchr;

use crate::cli::logs::Source;
use crate::cli::logs::chain::{Chain, Step};
use crate::cli::logs::choice::{Clock, Stamp, Wish};
use crate::cli::logs::segment::Identity;
use crate::error::Failure;
use crate::logs::Lines;
use crate::proto::Event;

/// One log that is read. Its file may be emptied, deleted, renamed, rotated and compressed meanwhile.
pub(super) struct Tail {
    pub(super) source: Source,
    pub(super) prefix: String,
    pub(super) clock: Clock,
    wish: Wish,
    chain: Chain,
    lines: Lines,
    /// The last lines of a history of which all had to be looked at.
    kept: VecDeque<(Vec<u8>, Stamp)>,
    next: Option<Next>,
    is_live: bool,
    /// Nothing will come behind the history: its last line counts even if nothing ended it.
    is_final: bool,
    is_over: bool,
    /// When what was read last came at the latest.
    latest: u64,
    /// What could not be read, and has not been told yet.
    trouble: Option<String>,
}

/// The next line, in the whole ones.
#[derive(Clone, Copy)]
struct Next {
    start: usize,
    end: usize,
    stamp: Stamp,
}

/// Where a file ended at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    identity: Identity,
    length: u64,
}

/// The end of a file now; none where there is no file that could be read back.
pub(super) fn mark(path: &Path) -> Option<Mark> {
    let meta = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some(Mark { identity: (meta.dev(), meta.ino()), length: meta.len() })
}

/// Where the history of a log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// With so many last lines.
    Last(u64),
    /// With everything that is wanted.
    All,
    /// With so many last ones of all that are wanted, which only reading them tells.
    LastOf(u64),
}

/// What follows the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// What is written from then on.
    Stream,
    Nothing,
}

/// Whether there is a next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// Since then.
    Line(u64),
    /// None yet.
    Empty,
    /// The turn is over before one was found.
    Later,
}

impl Tail {
    pub(super) fn new(source: Source, wish: Wish) -> Tail {
        let (chain, lines) = (Chain::new(&source.path), Lines::new());
        let (prefix, clock, kept) = (String::new(), Clock::default(), VecDeque::new());
        let (next, trouble, latest) = (None, None, 0);
        let (is_live, is_final, is_over) = (false, false, false);
        Tail { source, prefix, clock, wish, chain, lines, kept, next, is_live, is_final, is_over, latest, trouble }
    }

    /// The live file that is open, if one is.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.chain.identity()
    }

    /// Whether the event is about the instance whose file this is.
    pub(super) fn is_of(&self, event: &Event) -> bool {
        match (self.source.id, event.id) {
            (Some(id), Some(other)) => id == other,
            (None, _) | (_, None) => Some(&self.source.app) == event.app.as_ref(),
        }
    }

    /// Opens what the history is in. A file that is not there (yet) has none.
    pub(super) fn open(&mut self, begin: Begin, then: Then) -> Result<(), Failure> {
        self.is_final = then == Then::Nothing;
        let begun = match begin {
            Begin::Last(lines) => self.chain.begin_at_last(lines, self.wish.grep.as_ref()),
            Begin::All | Begin::LastOf(_) => self.chain.begin_since(self.wish.since()),
        };
        begun.map_err(|error| cannot_read(&self.source, &error))?;
        self.chain.bound();
        if let Begin::LastOf(last) = begin {
            self.keep(usize::try_from(last).unwrap_or(usize::MAX))?;
        }
        Ok(())
    }

    /// Opens the file where it ended then; another file of its name at its beginning.
    pub(super) fn open_at(&mut self, mark: Option<Mark>) -> Result<(), Failure> {
        self.is_live = true;
        let begun = match mark {
            Some(mark) => self.chain.begin_at(mark.identity, mark.length),
            None => self.chain.begin_at_live(),
        };
        begun.map_err(|error| cannot_read(&self.source, &error))
    }

    /// Opens a log that was not there, or not wanted, at this moment; what came before it is left out as far as an index
    /// tells.
    pub(super) fn open_since(&mut self, moment: u64) -> Result<(), Failure> {
        self.is_live = true;
        self.chain.begin_since(Some(moment)).map_err(|error| cannot_read(&self.source, &error))
    }

    /// From now on lines come as they are written.
    pub(super) fn go_live(&mut self) {
        self.is_live = true;
        self.chain.unbound();
    }

    /// What could not be read, once.
    pub(super) fn trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    /// Looks for the next line that is wanted, reading at most so many bytes.
    pub(super) fn ready(&mut self, budget: &mut usize) -> Result<Ready, Failure> {
        if let Some((_, stamp)) = self.kept.front() {
            return Ok(Ready::Line(stamp.order));
        }
        loop {
            if let Some(next) = self.next {
                return Ok(Ready::Line(next.stamp.order));
            }
            while !self.is_over && self.look() {
                if let Some(next) = self.next {
                    return Ok(Ready::Line(next.stamp.order));
                }
            }
            if self.is_over {
                return Ok(Ready::Empty);
            }
            if *budget == 0 {
                return Ok(Ready::Later);
            }
            match self.chain.step(&mut self.lines) {
                Ok(Step::Read(count)) => {
                    *budget = budget.saturating_sub(count);
                    self.latest = self.chain.current().map_or(0, |segment| segment.latest());
                }
                Ok(Step::Broken) => self.lines.end(),
                Ok(Step::Lost) => self.lines.forget(),
                Ok(Step::End) if self.is_final => {
                    self.is_final = false;
                    self.lines.end();
                }
                Ok(Step::End) => {
                    self.lines.rest();
                    return Ok(Ready::Empty);
                }
                Err(error) if self.chain.current().is_none() => {
                    let path = self.source.path.display();
                    self.trouble =
                        Some(format!("notice: an archive of {path} is damaged and partly left out: {error}"));
                    self.lines.end();
                }
                Err(error) => return Err(cannot_read(&self.source, &error)),
            }
        }
    }

    /// Hands out the line that [`Tail::ready`] has found.
    pub(super) fn hand_out<R>(&mut self, to: impl FnOnce(&Source, &str, &[u8], Stamp) -> R) -> Option<R> {
        if let Some((line, stamp)) = self.kept.pop_front() {
            return Some(to(&self.source, &self.prefix, &line, stamp));
        }
        let next = self.next.take()?;
        let result = to(&self.source, &self.prefix, &self.lines.whole()[next.start..next.end], next.stamp);
        self.lines.take(next.end + 1);
        Some(result)
    }

    /// Looks at the next whole line, or at all that do not match; whether there was anything to look at.
    fn look(&mut self) -> bool {
        let whole = self.lines.whole();
        if whole.is_empty() {
            return false;
        }
        let line = match &self.wish.grep {
            // Each line may tell a time that the next ones need.
            Some(pattern) if !self.wish.is_timed() => match pattern.find(whole, 0) {
                Some(line) => line,
                None => {
                    self.lines.take(whole.len());
                    return true;
                }
            },
            Some(_) | None => 0..memchr(b'\n', whole).unwrap_or(whole.len()),
        };
        let text = &whole[line.clone()];
        let behind = self.lines.since(line.start);
        let current = self.chain.current();
        let came = current.and_then(|segment| segment.moment(segment.position().saturating_sub(behind)));
        let stamp = self.clock.stamp(text, came, self.latest);
        let is_matching = || self.wish.grep.as_ref().is_none_or(|grep| grep.is_match(text));
        self.is_over = came.is_some_and(|came| self.wish.is_over(came.min(stamp.time.unwrap_or(came))));
        if self.wish.takes(stamp, self.is_live) && (!self.wish.is_timed() || is_matching()) {
            self.next = Some(Next { start: line.start, end: line.end, stamp });
        } else {
            self.lines.take(line.end + 1);
        }
        true
    }

    /// Reads the whole history for its last lines.
    fn keep(&mut self, last: usize) -> Result<(), Failure> {
        let mut kept: VecDeque<(Vec<u8>, Stamp)> = VecDeque::new();
        let mut budget = usize::MAX;
        while let Ready::Line(_) = self.ready(&mut budget)? {
            kept.extend(self.hand_out(|_, _, line, stamp| (line.to_vec(), stamp)));
            if kept.len() > last {
                kept.pop_front();
            }
        }
        self.kept = kept;
        Ok(())
    }
}

fn cannot_read(source: &Source, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot read the log `{}`", source.path.display())).caused_by(error)
}

#[cfg(test)]
mod tests;
