//! Logs that programs write themselves (`log_driver = "file"`): a thread that looks at each of these files once a second,
//! keeps its index of times, and rotates it in place. It never stands between a program and its file, so nothing is lost
//! when it is not there; what it was in the middle of, its successor finishes (`rotate.rs`).
//!
//! ```text
//! log.rs     one file: what the last look has seen, its index, what there is to tell
//! rotate.rs  the steps of `logs/cut.rs`, on real files
//! units.rs   which filesystems can take the head out of a file, and in which unit
//! words.rs   the last words of runs, read from their files without the thread, which may be busy
//! ```

mod log;
mod rotate;
mod thread;
mod units;
mod words;

#[cfg(test)]
mod tests;

pub(super) use units::{NoUnit, Units};

use std::fmt;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::error;

use crate::daemon::direct::thread::Thread;
use crate::daemon::direct::words::Words;
use crate::daemon::files::Files;
use crate::daemon::pump::Archives;
use crate::daemon::report::Report;
use crate::daemon::shell::Place;
use crate::logs::times::{HEADER, Header};
use crate::logs::{next_name, times_name};
use crate::proto::LogFile;
use crate::spec::LogDriver;
use crate::supervisor::RunId;

/// The handle of the thread.
#[derive(Clone)]
pub(super) struct Direct {
    requests: mpsc::Sender<Request>,
    units: Units,
    words: Words,
    /// The thread, as long as there was nothing for it to do.
    asleep: Arc<Mutex<Option<Thread>>>,
}

/// What is asked of the thread.
#[derive(Debug)]
pub(super) enum Request {
    /// A run writes its files from now on, or has done so under a predecessor.
    Add(Arc<Place>),
    /// It has ended.
    Leave(RunId),
    /// Others write these files from now on: what was cut off and is in no archive yet becomes one.
    Retire(Vec<PathBuf>),
    /// What a predecessor has left undone about the files of a run that has ended is done.
    Mend(Arc<Place>),
    Flush(Vec<PathBuf>, Archives, oneshot::Sender<Vec<LogFile>>),
    Rotate(Vec<PathBuf>, oneshot::Sender<Vec<LogFile>>),
    Look(oneshot::Sender<Vec<LogFile>>),
    Finish(oneshot::Sender<()>),
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct").finish_non_exhaustive()
    }
}

impl Direct {
    /// The thread starts with the first thing that it has to do.
    pub(super) fn new(reports: tokio::sync::mpsc::UnboundedSender<Report>, files: Files) -> Direct {
        let (units, words) = (Units::default(), Words::default());
        // Bounded by the number of runs: two or three each, and what clients ask.
        let (requests, inbox) = mpsc::channel();
        let thread = Thread::new(inbox, reports, (units.clone(), words.clone()), files);
        Direct { requests, units, words, asleep: Arc::new(Mutex::new(Some(thread))) }
    }

    pub(super) fn units(&self) -> &Units {
        &self.units
    }

    /// A run writes its files, or has them written.
    pub(super) fn add(&self, place: &Arc<Place>) {
        match place.style.driver {
            LogDriver::File => {
                self.words.begin(place);
                self.ask(Request::Add(Arc::clone(place)));
            }
            LogDriver::Pipe => {
                let is_left = |path: &&PathBuf| log::beside(path, next_name).is_some_and(|next| next.exists());
                let left: Vec<PathBuf> = place.files().filter(is_left).cloned().collect();
                if !left.is_empty() {
                    self.ask(Request::Retire(left));
                }
            }
        }
    }

    /// A run has ended.
    pub(super) fn leave(&self, place: &Place) {
        if place.style.driver == LogDriver::File {
            self.ask(Request::Leave(place.run));
        }
    }

    /// See [`Request::Mend`].
    pub(super) fn mend(&self, place: &Arc<Place>) {
        if place.style.driver == LogDriver::File {
            self.ask(Request::Mend(Arc::clone(place)));
        }
    }

    /// The last words of a run's standard error; none of a run that others write for.
    pub(super) async fn tail(&self, run: RunId, limit: Duration) -> Vec<String> {
        let words = self.words.clone();
        let read = tokio::task::spawn_blocking(move || words.of(run));
        match tokio::time::timeout(limit, read).await {
            Ok(Ok(lines)) => lines,
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    /// Empties those of these files that are written by programs. `None`: not done in time.
    pub(super) async fn flush(&self, paths: Vec<PathBuf>, archives: Archives, limit: Duration) -> Option<Vec<LogFile>> {
        if paths.is_empty() {
            return Some(Vec::new());
        }
        self.answer(limit, |answer| Request::Flush(paths, archives, answer)).await
    }

    /// Puts away what those of these files have that are written by programs. `None`: not done in time.
    pub(super) async fn rotate(&self, paths: Vec<PathBuf>, limit: Duration) -> Option<Vec<LogFile>> {
        if paths.is_empty() {
            Some(Vec::new())
        } else {
            self.answer(limit, |answer| Request::Rotate(paths, answer)).await
        }
    }

    /// Whether programs write into what their names say: nobody can open files anew for them. `None`: not done in time.
    pub(super) async fn look(&self, limit: Duration) -> Option<Vec<LogFile>> {
        if self.is_asleep() { Some(Vec::new()) } else { self.answer(limit, Request::Look).await }
    }

    /// Ends the thread after a last look.
    pub(super) async fn finish(&self, limit: Duration) {
        if !self.is_asleep() {
            // It does not come: the next daemon goes on.
            let _ = self.answer(limit, Request::Finish).await;
        }
    }

    fn is_asleep(&self) -> bool {
        self.asleep.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    async fn answer<A>(&self, limit: Duration, request: impl FnOnce(oneshot::Sender<A>) -> Request) -> Option<A> {
        let (sender, answer) = oneshot::channel();
        self.ask(request(sender));
        tokio::time::timeout(limit, answer).await.ok()?.ok()
    }

    fn ask(&self, request: Request) {
        let asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = asleep
            && let Err(error) = std::thread::Builder::new().name("rsx-direct".into()).spawn(move || thread.run())
        {
            error!("log files of `log_driver = \"file\"` are not looked after: {error}");
        }
        // The thread ends with the daemon.
        let _ = self.requests.send(request);
    }
}

/// The end of a file, as the offset from the first byte that it ever had, for a run that begins to write to it.
pub(super) fn logical_end(path: &Path) -> u64 {
    base(path) + std::fs::metadata(path).map_or(0, |found| found.len())
}

/// The offset of the first byte that a file has from the first one that it ever had.
fn base(path: &Path) -> u64 {
    let inode = std::fs::metadata(path).map(|found| found.ino());
    header(path).filter(|header| inode.is_ok_and(|inode| inode == header.inode)).map_or(0, |header| header.base)
}

/// What the index of a file says of it.
fn header(path: &Path) -> Option<Header> {
    let mut bytes = [0; HEADER];
    File::open(log::beside(path, times_name)?).ok()?.read_exact_at(&mut bytes, 0).ok()?;
    Header::decode(&bytes)
}
