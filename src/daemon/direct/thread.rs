//! The thread that looks at files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::daemon::direct::log::Log;
use crate::daemon::direct::words::Words;
use crate::daemon::direct::{Request, Units};
use crate::daemon::files::{Files, Flushed, archives};
use crate::daemon::launch::reason;
use crate::daemon::pump::Archives;
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
    files: Files,
    logs: BTreeMap<PathBuf, Log>,
}

impl Thread {
    pub(super) fn new(
        inbox: Receiver<Request>,
        reports: tokio::sync::mpsc::UnboundedSender<Report>,
        (units, words): (Units, Words),
        files: Files,
    ) -> Thread {
        Thread { inbox, reports, units, words, files, logs: BTreeMap::new() }
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
        let files = &self.files;
        let told: Vec<(RunId, String)> = self
            .logs
            .values_mut()
            .filter(|log| is_wanted(log))
            .flat_map(|log| {
                let remarks = log.look(files);
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
            Request::Retire(paths) => {
                for path in paths {
                    self.log(&path, None).ends = true;
                }
                self.forget_unused();
            }
            Request::Flush(paths, kept, done) => {
                let mut flushed = Vec::new();
                for path in paths {
                    let file = self.log(&path, None).flush();
                    let newest = match kept {
                        Archives::Go => archives(&path).unwrap_or_default().pop(),
                        Archives::Stay => None,
                    };
                    flushed.push(Flushed { path, file, newest });
                }
                self.forget_unused();
                match kept {
                    Archives::Go => self.files.flush(flushed, done),
                    Archives::Stay => drop(done.send(flushed.into_iter().filter_map(|one| one.file).collect())),
                }
            }
            Request::Rotate(paths, done) => {
                let mut rotated = Vec::new();
                for path in &paths {
                    let log = self.logs.entry(path.clone()).or_insert_with(|| Log::open(path, None, &self.units));
                    rotated.extend(log.put_away(&self.files));
                }
                self.forget_unused();
                let _ = done.send(rotated);
            }
            Request::Look(done) => drop(done.send(self.logs.values().map(Log::is_written).collect())),
            // The loop has ended with it.
            Request::Finish(done) => drop(done.send(())),
        }
    }

    fn add(&mut self, place: &Place) {
        let rotate = place.style.rotate.clone();
        for path in place.files() {
            let is_known = self.logs.contains_key(path);
            let log = self.log(path, rotate.clone());
            log.rotate.clone_from(&rotate);
            log.ends = false;
            if is_known {
                log.take();
            }
            if !log.users.contains(&place.run) {
                log.users.push(place.run);
            }
            let is_written = log.can_be_written();
            if let Err(error) = is_written {
                let path = path.display();
                self.tell(
                    place.run,
                    format!("its output for {path} is lost until it is restarted: {}", reason(&error)),
                );
            }
            // Behind what a predecessor has left undone: what it would have made is no archive yet.
            self.files.know((&place.style.app, place.style.instance), path, rotate.as_ref());
        }
    }

    /// The last look at what a run has written; files that nobody writes to any more are left alone.
    fn leave(&mut self, run: RunId) {
        let files = &self.files;
        for log in self.logs.values_mut().filter(|log| log.users.contains(&run)) {
            // What it would be told has no reader any more.
            let _ = log.look(files);
            log.users.retain(|user| *user != run);
        }
        self.forget_unused();
        self.words.end(run);
    }

    fn forget_unused(&mut self) {
        self.logs.retain(|_, log| {
            if log.users.is_empty() && log.ends {
                log.retire();
            }
            !log.users.is_empty()
        });
    }

    /// A file that is looked at, or is from now on.
    fn log(&mut self, path: &Path, rotate: Option<Rotation>) -> &mut Log {
        let units = &self.units;
        self.logs.entry(path.to_owned()).or_insert_with(|| Log::open(path, rotate, units))
    }
}
