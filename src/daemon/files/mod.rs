//! The keeper of archives: a thread at low priority that compresses what the log pump has put away, and removes what is
//! too much. Nothing but `flush` waits for it. What it does is decided in `logs/rotation.rs`.
//!
//! Archives that the pump has only just made are left alone until it says that nothing more comes into them.

mod folder;
mod keeper;
mod pack;

pub(super) use folder::{Names, archives, named};

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::daemon::files::keeper::Keeper;
use crate::daemon::report::Report;
use crate::logs::Archive;
use crate::proto::LogFile;
use crate::spec::Rotation;
use crate::sys::system;

/// How often it is looked how full disks are.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// A daemon that begins tells of all its files at once: they are waited for, so that folders are read once.
const GATHER: Duration = Duration::from_millis(100);

/// The longest that is waited for more of them.
const GATHER_AT_MOST: Duration = Duration::from_secs(2);

/// The handle of the thread.
#[derive(Clone, Debug)]
pub(super) struct Files {
    tasks: Sender<Task>,
    /// How many wait for an answer: a compression is broken off for them.
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Task {
    /// This file is written, for this app: what a predecessor has left to do about its archives is done.
    Known { app: String, instance: u16, path: PathBuf, rotation: Option<Rotation>, before: u64 },
    /// An archive of it was made.
    Rotated { path: PathBuf, before: u64 },
    /// A file cannot be written: it may be for want of room.
    Crowded,
    /// All archives of these files go, up to the newest that there was.
    Flush { files: Vec<Flushed>, done: oneshot::Sender<Vec<LogFile>> },
}

/// A file that was emptied.
#[derive(Debug)]
pub(super) struct Flushed {
    pub(super) path: PathBuf,
    /// What was done to the file itself; none: there was nothing to do.
    pub(super) file: Option<LogFile>,
    /// Its newest archive by then.
    pub(super) newest: Option<Archive>,
}

impl Files {
    /// Starts the thread. `reports` hears of archives that made room.
    pub(super) fn start(reports: UnboundedSender<Report>) -> io::Result<Files> {
        // Bounded by what the log pump does: one for each of its files, one a rotation.
        let (tasks, inbox) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let keeper = Keeper::new(reports, Arc::clone(&waiting));
        std::thread::Builder::new().name("rsx-files".into()).spawn(move || {
            system::give_way();
            run(keeper, &inbox);
        })?;
        Ok(Files { tasks, waiting })
    }

    pub(super) fn know(&self, (app, instance): (&str, u16), path: &Path, rotation: Option<&Rotation>) {
        let before = u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0);
        let (app, path, rotation) = (app.to_owned(), path.to_owned(), rotation.cloned());
        self.ask(Task::Known { app, instance, path, rotation, before });
    }

    /// This archive of a file was made, and nothing more will be written to it.
    pub(super) fn rotated(&self, path: &Path, archive: Archive) {
        self.ask(Task::Rotated { path: path.to_owned(), before: archive.moment.saturating_add(1) });
    }

    /// A file cannot be written.
    pub(super) fn crowded(&self) {
        self.ask(Task::Crowded);
    }

    /// Removes archives.
    pub(super) fn flush(&self, files: Vec<Flushed>, done: oneshot::Sender<Vec<LogFile>>) {
        self.waiting.fetch_add(1, SeqCst);
        self.ask(Task::Flush { files, done });
    }

    fn ask(&self, task: Task) {
        // The thread ends with the process only.
        let _ = self.tasks.send(task);
    }
}

fn run(mut keeper: Keeper, inbox: &Receiver<Task>) {
    loop {
        let first = if keeper.has_anything() {
            inbox.recv_timeout(LOOK_EVERY)
        } else {
            inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        let mut next = match first {
            Ok(task) => Some(task),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if next.is_none() {
            keeper.look();
        }
        let until = Instant::now() + GATHER_AT_MOST;
        while let Some(task) = next {
            let more = matches!(task, Task::Known { .. }) && Instant::now() < until;
            keeper.take(task);
            next = if more { inbox.recv_timeout(GATHER).ok() } else { inbox.try_recv().ok() };
        }
        keeper.work();
    }
}
