//! Several log files as one stream: their history, then what comes, as the kernel tells of it.
//!
//! Sleeps until a file changes, the daemon tells of a process, or the reader of stdout is gone.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cli::logs::choice::Wish;
use crate::cli::logs::print::{Age, Printer, label, prefix};
use crate::cli::logs::tail::{Begin, Mark, Ready, Tail, Then};
use crate::cli::logs::watcher::{Changed, Watcher};
use crate::cli::logs::{Source, sources};
use crate::cli::output::Output;
use crate::cli::render;
use crate::cli::session::Session;
use crate::cli::style::Tint;
use crate::client::{ClientError, EventStream, News};
use crate::error::{ExitCode, Failure};
use crate::proto::{Event, EventKind};
use crate::spec::Stream;

/// How much of one file is read before others and the daemon's news get their turn.
const TURN: usize = 4 * 1024 * 1024;

/// Some files whose lines go to stdout.
pub(super) struct Follower {
    printer: Printer,
    wish: Wish,
    tails: Vec<Tail>,
    /// When following began, in milliseconds of the epoch.
    began: u64,
}

impl Follower {
    pub(super) fn new(printer: Printer, wish: Wish) -> Follower {
        Follower { printer, wish, tails: Vec::new(), began: 0 }
    }

    /// Adds a file; its number is the count of those before it.
    pub(super) fn add(&mut self, source: Source) -> usize {
        self.tails.push(Tail::new(source, self.wish.clone()));
        self.align();
        self.tails.len() - 1
    }

    /// Adds a file from where it ended then; from its beginning if it was not there.
    pub(super) fn add_from(&mut self, source: Source, mark: Option<Mark>) -> Result<(), Failure> {
        let number = self.add(source);
        self.tails[number].open_at(mark)
    }

    /// Prints the last lines of each file that are wanted, all that are without a number, merged by time.
    ///
    /// # Errors
    ///
    /// Reading and writing; and a choice by time if nothing tells the time of any line.
    pub(super) fn history(&mut self, session: &mut Session, lines: Option<u64>, then: Then) -> Result<(), Failure> {
        let begin = match lines {
            Some(lines) if self.wish.is_timed() => Begin::LastOf(lines),
            Some(lines) => Begin::Last(lines),
            None => Begin::All,
        };
        self.tails.iter_mut().try_for_each(|tail| tail.open(begin, then))?;
        let all: BTreeSet<usize> = (0..self.tails.len()).collect();
        self.round(&mut session.out, &all, usize::MAX, Age::Past)?;
        let unsuited: Vec<&Tail> =
            self.tails.iter().filter(|tail| self.wish.is_timed() && tail.clock.is_unsuited()).collect();
        if !unsuited.is_empty() && !self.tails.iter().any(|tail| tail.clock.has_times()) {
            return Err(untimed());
        }
        for tail in unsuited {
            let path = tail.source.path.display();
            session.out.talk(&format!("notice: {path} is left out: nothing tells when its lines came"));
        }
        Ok(())
    }

    /// Prints the lines of these files that are there, merged by time, each file up to its turn; returns those that may
    /// have more.
    fn round(
        &mut self,
        out: &mut Output,
        due: &BTreeSet<usize>,
        turn: usize,
        age: Age,
    ) -> Result<BTreeSet<usize>, Failure> {
        let Follower { printer, tails, .. } = self;
        let mut budgets = vec![turn; tails.len()];
        let mut heap = BinaryHeap::new();
        let mut more = BTreeSet::new();
        let mut waiting: Vec<usize> = due.iter().copied().collect();
        loop {
            for number in waiting.drain(..) {
                match tails[number].ready(&mut budgets[number])? {
                    Ready::Line(order) => heap.push(Reverse((order, number))),
                    Ready::Empty => {}
                    Ready::Later => {
                        more.insert(number);
                    }
                }
                if let Some(trouble) = tails[number].trouble() {
                    out.talk(&trouble);
                }
            }
            // What this file has next may be older than what the others have.
            if !more.is_empty() {
                more.extend(heap.into_iter().map(|Reverse((_, number))| number));
                return Ok(more);
            }
            let Some(Reverse((_, number))) = heap.pop() else { return Ok(more) };
            let printed = tails[number]
                .hand_out(|source, prefix, line, stamp| printer.print(out, source, prefix, line, stamp.time, age));
            printed.transpose()?;
            if out.is_closed() {
                return Ok(BTreeSet::new());
            }
            waiting.push(number);
        }
    }

    /// Prints what comes, until the reader of stdout goes away.
    pub(super) fn follow(
        &mut self,
        session: &mut Session,
        words: &[String],
        is_wanted: &dyn Fn(Stream) -> bool,
    ) -> Result<(), Failure> {
        let watched = |errno: Errno| {
            Failure::failed("cannot watch the log files").caused_by(&errno).hint("raise fs.inotify.max_user_instances")
        };
        let mut events = match session.daemon()? {
            Some(client) => Some(client.into_events(0)?),
            None => None,
        };
        let mut watcher = Watcher::new().map_err(watched)?;
        self.began = session.now();
        for (number, tail) in self.tails.iter_mut().enumerate() {
            tail.go_live();
            watcher.watch(&tail.source.path, number).map_err(watched)?;
        }
        // What was written or started between the history and the watches.
        let mut due: BTreeSet<usize> = (0..self.tails.len()).collect();
        self.meet_newcomers(session, words, is_wanted, &mut watcher, &mut due)?;
        loop {
            while !due.is_empty() {
                due = self.advance(&mut session.out, &mut watcher, &due)?;
            }
            session.out.flush()?;
            if session.out.is_closed() {
                return Ok(());
            }
            let (has_changes, has_events, is_over) = wait(session, &watcher, events.as_ref())?;
            if is_over {
                return Ok(());
            }
            if has_changes {
                due = match watcher.changed().map_err(watched)? {
                    Changed::Some(numbers) => numbers,
                    Changed::Any => (0..self.tails.len()).collect(),
                };
            }
            if has_events {
                let news = match events.as_mut().map(EventStream::take_ready) {
                    Some(Ok(news)) => news,
                    Some(Err(ClientError::Ended)) => {
                        session.out.talk("the rsx daemon has ended; the files are still followed");
                        events = None;
                        News::default()
                    }
                    Some(Err(error)) => return Err(error.into()),
                    None => News::default(),
                };
                let News { events: news, gap } = news;
                if let Some(gap) = gap.filter(|_| self.printer.tells_news()) {
                    session.out.talk(&format!("notice: {gap}"));
                }
                // Lines come before the news of their process: what is in the files is shown first.
                let is_named = |tail: &Tail| news.iter().any(|event| tail.is_of(event));
                due.extend((0..self.tails.len()).filter(|number| is_named(&self.tails[*number])));
                while !due.is_empty() {
                    due = self.advance(&mut session.out, &mut watcher, &due)?;
                }
                let is_new = |event: &Event| {
                    matches!(event.event, EventKind::Missed { .. })
                        || (matches!(event.event, EventKind::Started { .. }) && !self.knows(event))
                };
                if gap.is_some() || news.iter().any(is_new) {
                    self.meet_newcomers(session, words, is_wanted, &mut watcher, &mut due)?;
                }
                for event in news.iter().filter(|event| self.printer.tells_news() && self.knows(event)) {
                    self.tell(&mut session.out, event)?;
                }
            }
        }
    }

    /// Follows instances that the targets mean now and did not mean before.
    fn meet_newcomers(
        &mut self,
        session: &mut Session,
        words: &[String],
        is_wanted: &dyn Fn(Stream) -> bool,
        watcher: &mut Watcher,
        due: &mut BTreeSet<usize>,
    ) -> Result<(), Failure> {
        // A target that means nothing for the moment may mean something again.
        let Ok(mut found) = sources::find_again(session, words) else { return Ok(()) };
        found.retain(|source| is_wanted(source.stream));
        sources::share(&mut found);
        for source in found {
            if self.tails.iter().any(|tail| tail.source.path == source.path) {
                continue;
            }
            let path = source.path.clone();
            let number = self.add(source);
            self.tails[number].open_since(self.began)?;
            watcher
                .watch(&path, number)
                .map_err(|errno| Failure::failed(format!("cannot watch `{}`", path.display())).caused_by(&errno))?;
            due.insert(number);
        }
        Ok(())
    }

    fn knows(&self, event: &Event) -> bool {
        self.tails.iter().any(|tail| tail.is_of(event))
    }

    /// One line about the life of a process, between its lines.
    fn tell(&self, out: &mut Output, event: &Event) -> Result<(), Failure> {
        let is_told = match event.event {
            EventKind::SpawnFailed { .. }
            | EventKind::Killed { .. }
            | EventKind::Exited { .. }
            | EventKind::Remark { .. }
            | EventKind::Waiting { .. }
            | EventKind::Errored { .. }
            | EventKind::ReloadAborted { .. }
            | EventKind::RolledBack { .. }
            | EventKind::Unhealthy { .. }
            | EventKind::Recovering { .. }
            | EventKind::Healthy { .. }
            | EventKind::GivenUpOn { .. }
            | EventKind::Hung { .. }
            | EventKind::OutOfMemory { .. }
            | EventKind::HealthIgnored { .. }
            | EventKind::HealthTrusted { .. }
            | EventKind::Signalled { .. }
            | EventKind::Heavy { .. }
            | EventKind::Started { .. } => true,
            EventKind::Created
            | EventKind::Changed { .. }
            | EventKind::Online { .. }
            | EventKind::Draining { .. }
            | EventKind::Held { .. }
            | EventKind::Parked { .. }
            | EventKind::Stopping { .. }
            | EventKind::Reset
            | EventKind::Stopped { .. }
            | EventKind::Deleted
            | EventKind::LogFailing { .. }
            | EventKind::LogWritten { .. }
            | EventKind::LogsRemoved { .. }
            | EventKind::DaemonReady { .. }
            | EventKind::DaemonLeaving
            | EventKind::Missed { .. } => false,
        };
        if !is_told {
            return Ok(());
        }
        let name = event.app.as_deref().unwrap_or_default();
        let place = format!("{}:{}", render::units::printable(name), event.instance.unwrap_or(0));
        let text = format!("{:<width$} | {place} {}", "rsx", render::event::what(&event.event), width = self.width());
        if !self.wish.matches(&text) {
            return Ok(());
        }
        out.line(self.printer.style().paint(Tint::Grey, &text))
    }

    /// Gives each of these files one turn; returns those that have more.
    fn advance(
        &mut self,
        out: &mut Output,
        watcher: &mut Watcher,
        due: &BTreeSet<usize>,
    ) -> Result<BTreeSet<usize>, Failure> {
        let before: Vec<_> = due.iter().map(|number| (*number, self.tails[*number].identity())).collect();
        let mut more = self.round(out, due, TURN, Age::New)?;
        for (number, before) in before {
            let tail = &self.tails[number];
            if tail.identity() != before && !out.is_closed() {
                watcher
                    .watch(&tail.source.path, number)
                    .map_err(|errno| Failure::failed("cannot watch the log files").caused_by(&errno))?;
                // It may have grown between the opening and the watch.
                more.insert(number);
            }
        }
        Ok(more)
    }

    fn width(&self) -> usize {
        self.tails.iter().map(|tail| label(&tail.source).chars().count()).max().unwrap_or(0).max(3)
    }

    /// Pads all prefixes to the longest; one colour an app, in the order of their coming.
    fn align(&mut self) {
        let width = self.width();
        let mut apps: Vec<String> = Vec::new();
        for tail in &mut self.tails {
            let n = apps.iter().position(|app| *app == tail.source.app).unwrap_or_else(|| {
                apps.push(tail.source.app.clone());
                apps.len() - 1
            });
            tail.prefix = prefix(&tail.source, width, Tint::nth(n), self.printer.style());
        }
    }
}

fn untimed() -> Failure {
    Failure::new(ExitCode::Usage, "no line of these logs begins with a time, and no index tells when they came")
        .hint("without `--since` and `--until`: --lines N, --grep REGEX")
}

/// Sleeps; tells whether files changed, events came, or the reader of stdout is gone.
fn wait(session: &Session, watcher: &Watcher, events: Option<&EventStream>) -> Result<(bool, bool, bool), Failure> {
    // No events asked for: poll(2) reports errors and hang-ups always.
    let mut fds =
        vec![PollFd::new(session.out.fd(), PollFlags::empty()), PollFd::new(watcher.as_fd(), PollFlags::POLLIN)];
    fds.extend(events.map(|events| PollFd::new(events.as_fd(), PollFlags::POLLIN)));
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(Failure::failed("cannot wait for the log files").caused_by(&errno)),
    }
    let is_set = |index: usize| fds.get(index).is_some_and(|fd| fd.any() == Some(true));
    Ok((is_set(1), is_set(2), fds[0].revents().is_some_and(|flags| !flags.is_empty())))
}
