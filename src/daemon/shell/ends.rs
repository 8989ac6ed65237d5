//! Ends of runs: the exit of the main process, what is left of its tree, and what is remembered.

use std::time::Duration;

use tracing::{debug, info, warn};

use crate::daemon::failpoint;
use crate::daemon::keep;
use crate::daemon::report::Report;
use crate::daemon::shell::Shell;
use crate::daemon::shell::live::{End, Live};
use crate::daemon::sight::Sight;
use crate::daemon::spawner::Task;
use crate::daemon::watch;
use crate::guardian;
use crate::spec::{ExitStatus, Signal, Stream};
use crate::supervisor::{Event, Left, RunId};
use crate::sys::process::PidFd;
use crate::sys::tree::Remains;

/// What is said of an end that nobody has seen.
const LOST: ExitStatus = ExitStatus::Signal { signal: Signal::KILL, core: false };

/// How long the last words of a run that ended are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Shell {
    pub(in crate::daemon) fn on_ended(&mut self, run: RunId) -> Option<Event> {
        let live = self.runs.get_mut(&run).filter(|live| live.end == End::NotYet)?;
        let status = match live.process.try_status() {
            Ok(Some(status)) => status,
            Ok(None) if live.process.is_adopted() => {
                // Its parent tells, if there is one that can.
                watch::told_or_lost(run, self.tools.reports.clone());
                return None;
            }
            Ok(None) => {
                watch::exit_later(run, self.tools.reports.clone());
                return None;
            }
            Err(error) => {
                warn!(run = run.0, "the exit status is lost: {error}");
                LOST
            }
        };
        self.end(run, status)
    }

    /// Nobody has told how an adopted process ended.
    pub(in crate::daemon) fn on_lost(&mut self, run: RunId) -> Option<Event> {
        let live = self.runs.get(&run).filter(|live| live.end == End::NotYet)?;
        if let Ok(Some(status)) = live.process.try_status() {
            return self.end(run, status);
        }
        if live.process.is_unreaped() {
            // Its parent stands still, and will tell.
            watch::told_or_lost(run, self.tools.reports.clone());
            return None;
        }
        warn!(run = run.0, pid = live.process.display_pid(), "nobody knows how the process ended");
        self.end(run, LOST)
    }

    /// The guardian tells how an adopted process ended.
    pub(in crate::daemon) fn on_told(&mut self, ended: &guardian::Ended) -> Option<Event> {
        let is_it = |live: &&Live| live.born.monotonic == ended.born && live.process.display_pid() == ended.pid;
        let live = self.runs.values().find(is_it)?;
        let run = live.run;
        live.process.tell(ended.status);
        self.on_ended(run)
    }

    fn end(&mut self, run: RunId, status: ExitStatus) -> Option<Event> {
        let live = self.runs.get_mut(&run)?;
        let pid = live.process.display_pid();
        live.process.tell(status);
        if let Some(pid_file) = live.pid_file.take()
            && self.tools.spawner.send(Task::Clear { run, pid, pid_file }).is_ok()
        {
            // Who is told of the end finds no file any more: this end is reported again when it is gone.
            return None;
        }
        live.end = End::Told;
        if matches!(status, ExitStatus::Signal { signal: Signal::KILL, .. }) && !*live.killing.borrow() {
            self.starved = self.tools.ooms.has_killed(run).map(|proof| (run, proof));
        }
        if live.place.captured {
            self.tools.sockets.ended(run);
        }
        info!(slot = live.slot.0, run = run.0, pid, "ended: {status}");
        let left = if live.place.treekill { self.sight.leftovers(live.seen()) } else { Remains::default() };
        self.ask_last_words(run);
        if left.is_nothing() {
            self.let_go(run);
            return Some(Event::Exited { run, status, left: Left::Nothing });
        }
        self.wait_for_tree(run, left.held);
        Some(Event::Exited { run, status, left: Left::Survivors })
    }

    pub(super) fn wait_for_tree(&self, run: RunId, left: Vec<PidFd>) {
        let Some((live, trace)) = self.runs.get(&run).and_then(|live| Some((live, live.process.trace()?))) else {
            return;
        };
        let (mark, killing, adopted) = (live.mark.clone(), live.killing.subscribe(), self.sight.adopted());
        let tree = watch::Tree { trace, mark, left, killing, adopted };
        watch::gone(run, tree, Sight::REAPER, self.tools.reports.clone());
    }

    pub(in crate::daemon) fn on_gone(&mut self, run: RunId) -> Option<Event> {
        self.runs.contains_key(&run).then(|| {
            self.let_go(run);
            Event::Gone { run }
        })
    }

    pub(in crate::daemon) fn on_closed(&mut self, run: RunId) {
        if let Some(link) = &self.tools.link {
            let [out, error] = [Stream::Out, Stream::Error].map(|stream| keep::name(run, keep::stream(stream)));
            link.forget(&[&out, &error]);
        }
        if self.runs.contains_key(&run) {
            self.closed.insert(run);
        } else {
            self.open.remove(&run);
        }
    }

    fn ask_last_words(&mut self, run: RunId) {
        self.unworded.insert(run);
        let (pump, reports) = (self.tools.pump.clone(), self.tools.reports.clone());
        tokio::spawn(async move {
            let stderr = pump.tail(run, LAST_WORDS).await;
            // The engine may have ended.
            let _ = reports.send(Report::LastWords { run, stderr });
        });
    }

    pub(in crate::daemon) fn on_last_words(&mut self, run: RunId, stderr: Vec<String>) {
        self.unworded.remove(&run);
        if let Some(past) = self.past.get_mut(&run) {
            past.stderr = stderr;
        }
    }

    /// Nothing of a run lives any more, or nobody cares. The process stays a zombie until the journal knows.
    fn let_go(&mut self, run: RunId) {
        let Some(live) = self.runs.remove(&run) else { return };
        self.tools.looker.ended(run);
        self.tools.sayings.forget(run);
        self.tools.checks.forget(run);
        self.tools.watchdogs.forget(run);
        self.tools.ooms.forget(run);
        self.asking.remove(&run);
        self.tools.pump.direct().leave(&live.place);
        if !live.place.handed.is_empty() {
            // The thread ends only with the daemon.
            let _ = self.tools.spawner.send(Task::Over(run));
        }
        if self.closed.remove(&run) {
            self.open.remove(&run);
        }
        self.ended.push(live);
    }

    /// The journal knows of all ends: nothing holds on to them any more.
    pub(in crate::daemon) fn reap(&mut self) {
        if !self.ended.is_empty() {
            failpoint::here("before-reap");
        }
        for live in self.ended.drain(..) {
            let (run, pid) = (live.run, live.process.display_pid());
            if let Err(error) = live.process.reap() {
                debug!(run = run.0, "reap: {error}");
            }
            if let Some(link) = &self.tools.link {
                let talk = ["in", "notify", "channel", "agent"].map(|part| keep::name(run, part));
                let pidfd = keep::process_name(run, pid);
                let names: Vec<&str> = talk.iter().map(String::as_str).chain([pidfd.as_str()]).collect();
                link.forget(&names);
                if live.process.is_adopted() {
                    link.settle(pid, live.born.monotonic);
                }
            }
            drop(live.talk);
        }
    }
}
