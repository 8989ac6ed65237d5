//! How orphans have ended, until a daemon has taken note of it. Pure.
//!
//! When a daemon dies, its runs become children of the guardian, and only the guardian learns how they end. It reaps
//! them at once, whoever is interested, and remembers. A daemon names the runs that it has adopted:
//!
//! ```text
//!                      +-- ended before: at once --+
//! watch PID BORN ------+                           +--> ended PID BORN STATUS AT --> settle PID BORN
//!                      +-- else: when it ends -----+         ^                           forgotten
//!                                                            | the next daemon asks again
//! ```
//!
//! # Invariant
//!
//! The end of a watched run is kept until it is settled, over any number of daemons. Which daemon was alive when the run
//! ended, when the guardian noticed either, and in which order it was told of them, makes no difference: an end is
//! either here before the question, or the question is here before the end.
//!
//! # Numbers
//!
//! The kernel uses a number again when its process was reaped. Moments tell whose end it was: that of a run was reaped
//! after the run was born, that of the number's owner before it was reaped earlier. Both are of one clock
//! (CLOCK_MONOTONIC), in milliseconds, so the first end at or after the birth is the run's.

use std::collections::VecDeque;

use crate::sys::process::ExitStatus;

/// So many ends that nobody asked for are kept while no daemon is there to ask. 24 bytes each.
const MANY: usize = 65_536;
/// So many while one is: it has asked for what it knows before it said that it is ready.
const FEW: usize = 256;
/// So many runs can be watched. No machine has more processes to spare.
const MOST: usize = 65_536;

/// A run, by what tells it from all others of this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Born {
    pub(super) pid: u32,
    /// In milliseconds of CLOCK_MONOTONIC.
    pub(super) born: u64,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) status: ExitStatus,
    /// When it was reaped, in milliseconds of CLOCK_MONOTONIC.
    pub(super) at: u64,
}

/// What is known of a run that a daemon has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    /// None while it is alive.
    pub(super) end: Option<End>,
    pub(super) asker: Asker,
}

/// Who has asked for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// The daemon of now. It is told.
    Present,
    /// An earlier one. Nobody is told until somebody asks again.
    Former,
}

/// Whether a daemon is there that has asked for all that it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    Present,
    Absent,
}

/// All ends that matter to somebody, or might.
#[derive(Debug)]
pub(super) struct Ends {
    /// In the order of [`Born`]; a sorted list, because thousands of these are kept for days.
    watched: Vec<(Born, Watched)>,
    /// What nobody has asked for: the number with each, in the order of their ends.
    loose: VecDeque<(u32, End)>,
    /// Whose ends the daemon of now has to be told. Bounded by what is watched: one entry for every question.
    due: VecDeque<Born>,
    audience: Audience,
}

impl Ends {
    pub(super) fn new() -> Ends {
        Ends { watched: Vec::new(), loose: VecDeque::new(), due: VecDeque::new(), audience: Audience::Absent }
    }

    /// An orphan has ended and is reaped now.
    pub(super) fn on_end(&mut self, pid: u32, end: End) {
        let first = self.watched.partition_point(|(run, _)| run.pid < pid);
        let candidates = self.watched[first..].iter_mut().take_while(|(run, _)| run.pid == pid && run.born <= end.at);
        let mut is_asked_for = false;
        for (run, watched) in candidates.filter(|(_, watched)| watched.end.is_none()) {
            is_asked_for = true;
            watched.end = Some(end);
            if watched.asker == Asker::Present {
                self.due.push_back(*run);
            }
        }
        if !is_asked_for {
            self.remember(pid, end);
        }
    }

    /// The daemon wants to be told of the end of this run.
    pub(super) fn watch(&mut self, run: Born) {
        let at = match self.place_of(run) {
            Ok(at) => at,
            Err(_) if self.watched.len() >= MOST => return,
            Err(at) => {
                let found = self.loose.iter().position(|(pid, end)| *pid == run.pid && end.at >= run.born);
                let end = found.and_then(|at| self.loose.remove(at)).map(|(_, end)| end);
                self.watched.insert(at, (run, Watched { end, asker: Asker::Former }));
                at
            }
        };
        let (_, watched) = &mut self.watched[at];
        watched.asker = Asker::Present;
        if watched.end.is_some() && !self.due.contains(&run) {
            self.due.push_back(run);
        }
    }

    /// The daemon has written down the end of this run, or does not care for it any more.
    pub(super) fn settle(&mut self, run: Born) {
        if let Ok(at) = self.place_of(run) {
            self.watched.remove(at);
        }
    }

    /// The daemon is ready: it has asked for all runs that it knows.
    pub(super) fn on_ready(&mut self) {
        self.audience = Audience::Present;
        self.trim();
        self.loose.shrink_to(FEW);
    }

    /// The daemon is gone, or as good as gone.
    pub(super) fn on_gone(&mut self) {
        self.audience = Audience::Absent;
        self.due.clear();
        self.watched.iter_mut().for_each(|(_, watched)| watched.asker = Asker::Former);
    }

    /// Whether the daemon has to be told of an end.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Tells the daemon of ends, for as long as `told` says that it could be told.
    pub(super) fn tell(&mut self, mut told: impl FnMut(Born, End) -> bool) {
        while let Some(run) = self.due.front() {
            // What is settled meanwhile needs no telling.
            if let Ok(at) = self.place_of(*run)
                && let (_, Watched { end: Some(end), asker: Asker::Present }) = self.watched[at]
                && !told(*run, end)
            {
                return;
            }
            self.due.pop_front();
        }
        self.due.shrink_to(FEW);
    }

    /// Everything that is watched.
    pub(super) fn watched(&self) -> impl Iterator<Item = (Born, Watched)> {
        self.watched.iter().copied()
    }

    /// Everything that nobody has asked for, in the order of the ends.
    pub(super) fn loose(&self) -> impl Iterator<Item = (u32, End)> {
        self.loose.iter().copied()
    }

    /// Takes over one of [`Ends::watched`].
    pub(super) fn keep_watched(&mut self, run: Born, watched: Watched) {
        if let Err(at) = self.place_of(run) {
            self.watched.insert(at, (run, watched));
        }
    }

    /// Takes over one of [`Ends::loose`], in their order.
    pub(super) fn remember(&mut self, pid: u32, end: End) {
        self.loose.push_back((pid, end));
        self.trim();
    }

    /// Where it is watched, or would be.
    fn place_of(&self, run: Born) -> Result<usize, usize> {
        self.watched.binary_search_by_key(&run, |(run, _)| *run)
    }

    fn trim(&mut self) {
        let most = match self.audience {
            Audience::Present => FEW,
            Audience::Absent => MANY,
        };
        while self.loose.len() > most {
            self.loose.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::Signal;

    fn run(pid: u32, born: u64) -> Born {
        Born { pid, born }
    }

    fn end(code: u8, at: u64) -> End {
        End { status: ExitStatus::Code(code), at }
    }

    /// What the daemon is told now.
    fn told(ends: &mut Ends) -> Vec<(Born, End)> {
        let mut told = Vec::new();
        ends.tell(|run, end| {
            told.push((run, end));
            true
        });
        told
    }

    /// What may happen around the death of a daemon, in the words of this module.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Gone,
        Ended,
        Watch,
        Ready,
    }

    #[test]
    fn no_order_of_death_end_question_and_readiness_loses_an_end() {
        use Step::{Ended, Gone, Ready, Watch};
        // The second daemon asks before it is ready; the end may come anywhere, also before the death is noticed.
        for order in [
            [Ended, Gone, Watch, Ready],
            [Gone, Ended, Watch, Ready],
            [Gone, Watch, Ended, Ready],
            [Gone, Watch, Ready, Ended],
        ] {
            for first_had_asked in [false, true] {
                let mut ends = Ends::new();
                if first_had_asked {
                    ends.watch(run(7, 10));
                }
                ends.on_ready();
                for step in order {
                    match step {
                        Gone => ends.on_gone(),
                        Ended => ends.on_end(7, end(42, 20)),
                        Watch => ends.watch(run(7, 10)),
                        Ready => ends.on_ready(),
                    }
                }
                assert_eq!(told(&mut ends), [(run(7, 10), end(42, 20))], "{order:?} {first_had_asked}");
                assert!(told(&mut ends).is_empty());
            }
        }
    }

    #[test]
    fn an_end_is_told_to_every_daemon_until_one_has_settled_it() {
        let mut ends = Ends::new();
        ends.on_end(7, end(1, 20));
        for _ in 0..3 {
            ends.watch(run(7, 10));
            assert_eq!(told(&mut ends).len(), 1);
            ends.on_gone();
            assert!(!ends.is_due());
        }
        ends.watch(run(7, 10));
        ends.settle(run(7, 10));
        assert!(told(&mut ends).is_empty());
        ends.on_gone();
        ends.watch(run(7, 10));
        assert!(!ends.is_due());
    }

    #[test]
    fn a_number_that_is_used_again_belongs_to_who_was_born_before_the_end() {
        let mut ends = Ends::new();
        ends.on_end(7, end(1, 20));
        ends.on_end(7, end(2, 40));
        ends.on_end(7, end(3, 60));
        ends.watch(run(7, 61));
        ends.watch(run(7, 30));
        ends.watch(run(7, 60));
        assert_eq!(told(&mut ends), [(run(7, 30), end(2, 40)), (run(7, 60), end(3, 60))]);
        ends.on_end(7, end(4, 80));
        assert_eq!(told(&mut ends), [(run(7, 61), end(4, 80))]);
    }

    #[test]
    fn what_the_daemon_cannot_be_told_now_it_is_told_later() {
        let mut ends = Ends::new();
        ends.watch(run(7, 0));
        ends.watch(run(8, 0));
        let by_signal = End { status: ExitStatus::Signal { signal: Signal::KILL, core: false }, at: 5 };
        ends.on_end(8, by_signal);
        ends.on_end(7, end(0, 6));
        ends.tell(|_, _| false);
        assert!(ends.is_due());
        assert_eq!(told(&mut ends), [(run(8, 0), by_signal), (run(7, 0), end(0, 6))]);
    }

    #[test]
    fn many_are_remembered_while_nobody_can_ask_and_few_else() {
        let mut ends = Ends::new();
        for pid in 1..=70_000 {
            ends.on_end(pid, end(0, 5));
        }
        assert_eq!(ends.loose.len(), MANY);
        ends.watch(run(70_000 - 65_535, 5));
        ends.watch(run(70_000 - 65_536, 5));
        assert_eq!(told(&mut ends).len(), 1);
        ends.on_ready();
        assert_eq!(ends.loose.len(), FEW);
        assert!(ends.loose.capacity() < 2 * FEW);
        ends.on_end(3, end(9, 9));
        assert_eq!((ends.loose.len(), ends.loose.back()), (FEW, Some(&(3, end(9, 9)))));
        ends.on_gone();
        ends.on_end(4, end(9, 9));
        assert_eq!(ends.loose.len(), FEW + 1);
    }
}
