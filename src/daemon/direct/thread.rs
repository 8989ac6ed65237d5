//! The thread that looks at files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::daemon::direct::log::Log;
use crate::daemon::direct::words::Words;
use crate::daemon::direct::{Archived, Request, Units, rotation};
use crate::daemon::launch::reason;
use crate::daemon::report::Report;
use crate::daemon::shell::Place;
use crate::spec::Rotation;
use crate::supervisor::RunId;

/// How often files are looked at, all at once; those that will be full before that sooner.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the thread has.
pub(super) struct Thread {
    inbox: Receiver<Request>,
    reports: tokio::sync::mpsc::UnboundedSender<Report>,
    units: Units,
    words: Words,
    archived: Archived,
    logs: BTreeMap<PathBuf, Log>,
}

impl Thread {
    pub(super) fn new(
        inbox: Receiver<Request>,
        reports: tokio::sync::mpsc::UnboundedSender<Report>,
        (units, words): (Units, Words),
        archived: Archived,
    ) -> Thread {
        Thread { inbox, reports, units, words, archived, logs: BTreeMap::new() }
    }

    pub(super) fn run(mut self) {
        let mut looked = Instant::now();
        loop {
            let due = self.logs.values().filter_map(|log| log.hurry).min();
            let due = due.map_or(looked + LOOK_EVERY, |hurry| hurry.min(looked + LOOK_EVERY));
            let request = if self.logs.is_empty() {
                self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.inbox.recv_timeout(due.saturating_duration_since(Instant::now()))
            };
            match request {
                Ok(Request::Finish(done)) => {
                    self.look(|_| true);
                    // Whoever asked may have stopped waiting.
                    let _ = done.send(());
                    return;
                }
                Ok(request) => self.take(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            if now >= looked + LOOK_EVERY {
                self.look(|_| true);
                looked = now;
            } else if now >= due {
                self.look(|log| log.hurry.is_some_and(|hurry| hurry <= now));
            }
        }
    }

    fn look(&mut self, is_wanted: impl Fn(&Log) -> bool) {
        let archived = &self.archived;
        let told: Vec<(RunId, String)> = self
            .logs
            .values_mut()
            .filter(|log| is_wanted(log))
            .flat_map(|log| {
                let remarks = log.look(archived);
                let run = log.users.last().copied();
                remarks.into_iter().filter_map(move |remark| Some((run?, remark)))
            })
            .collect();
        for (run, text) in told {
            self.tell(run, text);
        }
    }

    fn tell(&self, run: RunId, text: String) {
        if let Some(of) = self.words.owner(run) {
            // The engine may have ended.
            let _ = self.reports.send(Report::Remark { run, of, text, is_new: true });
        }
    }

    fn take(&mut self, request: Request) {
        // Whoever asked may have stopped waiting.
        match request {
            Request::Add(place) => self.add(&place),
            Request::Leave(run) => self.leave(run),
            Request::Mend(place) => {
                for path in place.files() {
                    self.log(path, None);
                }
                self.forget_unused();
            }
            Request::Flush(paths, done) => {
                let files = paths.iter().filter_map(|path| self.log(path, None).flush()).collect();
                self.forget_unused();
                let _ = done.send(files);
            }
            Request::Look(done) => drop(done.send(self.logs.values().map(Log::is_written).collect())),
            // The loop has ended with it.
            Request::Finish(done) => drop(done.send(())),
        }
    }

    fn add(&mut self, place: &Place) {
        let rotate = rotation(place);
        for path in place.files() {
            let is_known = self.logs.contains_key(path);
            let log = self.log(path, rotate.clone());
            log.rotate.clone_from(&rotate);
            if is_known {
                log.take();
            }
            if !log.users.contains(&place.run) {
                log.users.push(place.run);
            }
            if let Err(error) = log.can_be_written() {
                let path = path.display();
                self.tell(
                    place.run,
                    format!("its output for {path} is lost until it is restarted: {}", reason(&error)),
                );
            }
        }
    }

    /// The last look at what a run has written; files that nobody writes to any more are left alone.
    fn leave(&mut self, run: RunId) {
        let archived = &self.archived;
        for log in self.logs.values_mut().filter(|log| log.users.contains(&run)) {
            // What it would be told has no reader any more.
            let _ = log.look(archived);
            log.users.retain(|user| *user != run);
        }
        self.forget_unused();
        self.words.end(run);
    }

    fn forget_unused(&mut self) {
        self.logs.retain(|_, log| !log.users.is_empty());
    }

    /// A file that is looked at, or is from now on.
    fn log(&mut self, path: &Path, rotate: Option<Rotation>) -> &mut Log {
        let units = &self.units;
        self.logs.entry(path.to_owned()).or_insert_with(|| Log::open(path, rotate, units))
    }
}
