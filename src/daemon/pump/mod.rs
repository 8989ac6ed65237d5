//! The log pump: one thread that moves what programs write from their pipes into their files.
//!
//! Bytes are written as they came, one write a read (`flow.rs`); or line by line behind a time, as JSON objects, or into a
//! file that others write to as well, and then an unfinished line waits for its end. A slow disk slows this thread, and
//! through full pipes the programs that write; never supervision. What cannot be written at all is lost, counted and told
//! of, and writing goes on as soon as it can (`sink.rs`). The last words of each standard error are kept for those who ask
//! why something failed.
//!
//! Between pipe and file the bytes lie in memory that the guardian keeps, too (`window.rs`), so that a daemon may die at
//! any moment: the next one's pump finishes what was begun (`finish.rs`), then serves the pipes. Each byte is written
//! once and in order, whoever else dies or lives. Where bytes go to something without a size (a FIFO, a terminal), a
//! write that was begun is not repeated.

mod finish;
mod flow;
mod index;
mod rotate;
mod sink;
mod thread;
mod window;

#[cfg(test)]
mod tests;

pub(super) use sink::Health;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::warn;

use crate::daemon::direct::Direct;
use crate::daemon::files::Files;
use crate::daemon::pump::thread::Thread;
use crate::daemon::pump::window::Window;
use crate::daemon::report::Report;
use crate::proto::LogFile;
use crate::spec::{LogDriver, LogForm, Rotation, Stream};
use crate::supervisor::RunId;
use crate::sys::poller::{Poller, Waker};

/// One pipe and where its bytes go.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) run: RunId,
    pub(super) stream: Stream,
    pub(super) pipe: File,
    /// Its own file and the one of both streams; none: the bytes are dropped.
    pub(super) files: Vec<LogOut>,
    pub(super) style: Arc<Style>,
}

/// A file that bytes go to.
#[derive(Debug)]
pub(super) struct LogOut {
    pub(super) path: PathBuf,
    /// None: it could not be opened.
    pub(super) file: Option<File>,
}

/// How the output of one run is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Style {
    /// As lines name it.
    pub(super) app: String,
    pub(super) instance: u16,
    pub(super) form: LogForm,
    pub(super) driver: LogDriver,
    /// When files are put away.
    pub(super) rotate: Option<Rotation>,
    /// Others write into the same files.
    pub(super) is_shared: bool,
}

/// The handle of the thread.
#[derive(Clone, Debug)]
pub(super) struct Pump {
    requests: mpsc::Sender<Request>,
    waker: Waker,
    window: Arc<OwnedFd>,
    direct: Direct,
}

#[derive(Debug)]
enum Request {
    Add(Box<Source>, Age),
    Tail(RunId, oneshot::Sender<Vec<String>>),
    Flush(Vec<PathBuf>, Archives, oneshot::Sender<Vec<LogFile>>),
    Rotate(Vec<PathBuf>, oneshot::Sender<Vec<LogFile>>),
    Reopen(oneshot::Sender<Vec<LogFile>>),
    Settle(oneshot::Sender<()>),
    Pipes(oneshot::Sender<Vec<(RunId, Stream, OwnedFd)>>),
    Finish(oneshot::Sender<()>),
}

/// What becomes of the archives of files that are emptied.
#[derive(Clone, Copy, Debug)]
pub(super) enum Archives {
    Go,
    Stay,
}

/// Whether a run has written before.
#[derive(Clone, Copy, Debug)]
enum Age {
    New,
    /// Yes, into a file that was so long when it began.
    Adopted(u64),
}

impl Pump {
    /// Starts the thread; first of all it finishes what a predecessor's window holds. `reports` hears of runs whose pipes
    /// have both ended. A window that cannot be gone on with is told of, and replaced by a new one.
    pub(super) fn start(
        reports: tokio::sync::mpsc::UnboundedSender<Report>,
        window: Option<OwnedFd>,
        files: Files,
    ) -> io::Result<Pump> {
        let window = match window.map(Window::adopt) {
            Some(Ok(window)) => window,
            Some(Err(refused)) => {
                warn!("what the previous daemon had read and not written to a log yet is lost: {refused}");
                Window::new()?
            }
            None => Window::new()?,
        };
        let kept = Arc::new(window.as_fd().try_clone_to_owned()?);
        let direct = Direct::new(reports.clone(), Box::new(|_| ()));
        let poller = Poller::new()?;
        let waker = poller.waker();
        // Bounded by the number of runs: two `Add` each, and one `LastWords` an exit.
        let (requests, inbox) = mpsc::channel();
        let thread = Thread::new(poller, inbox, reports, window, files);
        std::thread::Builder::new().name("rsx-logs".into()).spawn(move || thread.run())?;
        Ok(Pump { requests, waker, window: kept, direct })
    }

    /// The logs that programs write themselves.
    pub(super) fn direct(&self) -> &Direct {
        &self.direct
    }

    /// The window, for the pump after this one. It stays the same as long as this pump lives.
    pub(super) fn window(&self) -> BorrowedFd<'_> {
        self.window.as_fd()
    }

    /// Takes over a pipe.
    pub(super) fn add(&self, source: Source) {
        self.ask(Request::Add(Box::new(source), Age::New));
    }

    /// Takes over a pipe of a run that a predecessor has served. What the run has said before is looked up in its file,
    /// which was `since` bytes long when it began (0: not known): what earlier runs said is not its last words.
    pub(super) fn adopt(&self, source: Source, since: u64) {
        self.ask(Request::Add(Box::new(source), Age::Adopted(since)));
    }

    /// The last words of a run's standard error, after everything it has written so far is in its file.
    pub(super) async fn tail(&self, run: RunId, limit: Duration) -> Vec<String> {
        let (answer, tail) = oneshot::channel();
        self.ask(Request::Tail(run, answer));
        match tokio::time::timeout(limit, tail).await {
            Ok(Ok(lines)) if !lines.is_empty() => lines,
            // Or it writes its files itself.
            Ok(Ok(_)) => self.direct.tail(run, limit).await,
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    /// Empties log files; what programs wrote before goes, too. `None`: not done in time.
    pub(super) async fn flush(&self, paths: Vec<PathBuf>, archives: Archives, limit: Duration) -> Option<Vec<LogFile>> {
        let (done, flushed) = oneshot::channel();
        self.ask(Request::Flush(paths, archives, done));
        tokio::time::timeout(limit, flushed).await.ok()?.ok()
    }

    /// Puts log files away as archives. `None`: not done in time.
    pub(super) async fn rotate(&self, paths: Vec<PathBuf>, limit: Duration) -> Option<Vec<LogFile>> {
        let (done, rotated) = oneshot::channel();
        self.ask(Request::Rotate(paths, done));
        tokio::time::timeout(limit, rotated).await.ok()?.ok()
    }

    /// Opens all log files anew by their names. `None`: not done in time.
    pub(super) async fn reopen(&self, limit: Duration) -> Option<Vec<LogFile>> {
        let (done, reopened) = oneshot::channel();
        self.ask(Request::Reopen(done));
        let mut files = tokio::time::timeout(limit, reopened).await.ok()?.ok()?;
        // What programs have open nobody opens anew for them.
        files.extend(self.direct.look(limit).await?);
        files.sort();
        Some(files)
    }

    /// Copies of all pipes, for who goes on after this daemon. `None`: not done in time.
    pub(super) async fn pipes(&self, limit: Duration) -> Option<Vec<(RunId, Stream, OwnedFd)>> {
        let (done, pipes) = oneshot::channel();
        self.ask(Request::Pipes(done));
        tokio::time::timeout(limit, pipes).await.ok()?.ok()
    }

    /// Waits until everything that has been written so far is in its file.
    pub(super) async fn settle(&self, limit: Duration) {
        let (done, settled) = oneshot::channel();
        self.ask(Request::Settle(done));
        if tokio::time::timeout(limit, settled).await.is_err() {
            warn!("the log pump is behind");
        }
    }

    /// Empties all pipes, then ends the thread.
    pub(super) async fn finish(&self, limit: Duration) {
        let (done, finished) = oneshot::channel();
        self.ask(Request::Finish(done));
        if tokio::time::timeout(limit, finished).await.is_err() {
            warn!("the log pump did not finish in time");
        }
        self.direct.finish(limit).await;
    }

    fn ask(&self, request: Request) {
        if self.requests.send(request).is_ok() {
            self.waker.wake();
        }
    }
}
