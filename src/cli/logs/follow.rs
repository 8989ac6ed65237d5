//! Several log files as one stream: their history, then what comes, as the kernel tells of it.
//!
//! Sleeps until a file changes, the daemon tells of a process, or the reader of stdout is gone.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cli::logs::choice::{Choice, Wish};
use crate::cli::logs::print::{Age, Printer, label, prefix};
use crate::cli::logs::tail::{Mark, Rest, Tail};
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

/// Some files whose lines go to stdout.
pub(super) struct Follower {
    printer: Printer,
    wish: Wish,
    tails: Vec<Tail>,
}

impl Follower {
    pub(super) fn new(printer: Printer, wish: Wish) -> Follower {
        Follower { printer, wish, tails: Vec::new() }
    }

    /// Adds a file; its number is the count of those before it.
    pub(super) fn add(&mut self, source: Source) -> usize {
        self.tails.push(Tail::new(source, Choice::new(self.wish.clone())));
        self.align();
        self.tails.len() - 1
    }

    /// Adds a file from where it ended then; from its beginning if it was not there.
    pub(super) fn add_from(&mut self, source: Source, mark: Option<Mark>) -> Result<(), Failure> {
        let number = self.add(source);
        self.tails[number].open_at(mark)
    }

    /// Prints the last lines of each file that are wanted; all that are without a number.
    ///
    /// # Errors
    ///
    /// Reading and writing; and a choice by time if no file has lines that tell one.
    pub(super) fn history(&mut self, session: &mut Session, lines: Option<u64>) -> Result<(), Failure> {
        for number in 0..self.tails.len() {
            match lines {
                Some(lines) if !self.wish.is_active() => self.tails[number].open_at_last(lines)?,
                Some(_) | None => self.tails[number].open_at_start()?,
            }
            self.print_history(number, &mut session.out, lines.filter(|_| self.wish.is_active()))?;
        }
        let unsuited: Vec<&Tail> = self.tails.iter().filter(|tail| tail.choice.is_unsuited()).collect();
        if !unsuited.is_empty() && !self.tails.iter().any(|tail| tail.choice.has_times()) {
            return Err(untimed());
        }
        for tail in unsuited {
            let path = tail.source.path.display();
            session.out.talk(&format!("notice: {path} is left out: its lines do not begin with a time"));
        }
        Ok(())
    }

    /// Prints one file; of the wanted lines only the last ones, where a number is given.
    fn print_history(&mut self, number: usize, out: &mut Output, last: Option<u64>) -> Result<(), Failure> {
        let Follower { printer, tails, .. } = self;
        let Some(tail) = tails.get_mut(number) else { return Ok(()) };
        let Some(last) = last else {
            loop {
                let mut emit =
                    |source: &Source, prefix: &str, line: &[u8]| printer.print(out, source, prefix, line, Age::Past);
                if tail.advance(&mut emit)? == Rest::None || out.is_closed() {
                    return Ok(());
                }
            }
        };
        let last = usize::try_from(last).unwrap_or(usize::MAX);
        let mut kept: VecDeque<Vec<u8>> = VecDeque::new();
        let mut keep = |_: &Source, _: &str, line: &[u8]| {
            kept.push_back(line.to_vec());
            if kept.len() > last {
                kept.pop_front();
            }
            Ok(())
        };
        while tail.advance(&mut keep)? == Rest::More {}
        kept.iter().try_for_each(|line| printer.print(out, &tail.source, &tail.prefix, line, Age::Past))
    }

    /// Prints last lines that nothing ended: no more will come.
    pub(super) fn finish(&mut self, out: &mut Output) -> Result<(), Failure> {
        let Follower { printer, tails, .. } = self;
        let mut emit = |source: &Source, prefix: &str, line: &[u8]| printer.print(out, source, prefix, line, Age::Past);
        tails.iter_mut().try_for_each(|tail| tail.finish(&mut emit))
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
        for (number, tail) in self.tails.iter_mut().enumerate() {
            tail.choice.go_live();
            watcher.watch(&tail.source.path, number).map_err(watched)?;
        }
        // What was written or started between the history and the watches.
        let mut due: Vec<usize> = (0..self.tails.len()).collect();
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
                    Changed::Some(numbers) => numbers.into_iter().collect(),
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
        due: &mut Vec<usize>,
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
            self.tails[number].choice.go_live();
            watcher
                .watch(&path, number)
                .map_err(|errno| Failure::failed(format!("cannot watch `{}`", path.display())).caused_by(&errno))?;
            due.push(number);
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
            | EventKind::Signalled { .. }
            | EventKind::Heavy { .. }
            | EventKind::Started { .. } => true,
            EventKind::Created
            | EventKind::Changed { .. }
            | EventKind::Online { .. }
            | EventKind::Draining { .. }
            | EventKind::Stopping { .. }
            | EventKind::Reset
            | EventKind::Stopped { .. }
            | EventKind::Deleted
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
    fn advance(&mut self, out: &mut Output, watcher: &mut Watcher, due: &[usize]) -> Result<Vec<usize>, Failure> {
        let Follower { printer, tails, .. } = self;
        let mut more = Vec::new();
        for number in due {
            if out.is_closed() {
                return Ok(Vec::new());
            }
            let Some(tail) = tails.get_mut(*number) else { continue };
            let before = tail.identity();
            let mut emit =
                |source: &Source, prefix: &str, line: &[u8]| printer.print(out, source, prefix, line, Age::New);
            if tail.advance(&mut emit)? == Rest::More {
                more.push(*number);
            }
            if tail.identity() != before {
                watcher
                    .watch(&tail.source.path, *number)
                    .map_err(|errno| Failure::failed("cannot watch the log files").caused_by(&errno))?;
                // It may have grown between the opening and the watch.
                more.push(*number);
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
    Failure::new(ExitCode::Usage, "no line of these logs begins with a time, so none can be chosen by time")
        .hint("`--since` and `--until` read ISO 8601 times; without them: --lines N, --grep REGEX")
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
