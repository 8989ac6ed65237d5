//! The log pump: one thread that moves what programs write from their pipes into their files.
//!
//! Bytes are written as they came, one write a read. A slow disk slows this thread, and through full pipes the programs
//! that write; never supervision. The last words of each standard error are kept for those who ask why something failed.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::warn;

use crate::daemon::engine::Report;
use crate::daemon::spawner::open_log;
use crate::logs::LastWords;
use crate::proto::LogFile;
use crate::spec::Stream;
use crate::supervisor::RunId;
use crate::sys::poller::{Interest, Poller, Ready, Waker};

/// The most that is read in one go: a pipe at its largest common size (pipe(7): 64 KiB, up to 1 MiB).
const READ: usize = 256 * 1024;

/// How much of one pipe is read before others have their turn, when its end is asked for.
const DRAIN: usize = 4 * 1024 * 1024;

/// How many ended runs' last words are remembered.
const REMEMBERED: usize = 512;

/// How often a file that cannot be written is told of.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// One pipe and where its bytes go.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) run: RunId,
    pub(super) stream: Stream,
    pub(super) pipe: File,
    /// The file; none: the bytes are dropped.
    pub(super) sink: Option<File>,
    pub(super) path: Option<PathBuf>,
}

/// The handle of the thread.
#[derive(Clone, Debug)]
pub(super) struct Pump {
    requests: mpsc::Sender<Request>,
    waker: Waker,
}

#[derive(Debug)]
enum Request {
    Add(Box<Source>),
    Tail(RunId, oneshot::Sender<Vec<String>>),
    Flush(Vec<PathBuf>, oneshot::Sender<Vec<LogFile>>),
    Reopen(oneshot::Sender<Vec<LogFile>>),
    Settle(oneshot::Sender<()>),
    Finish(oneshot::Sender<()>),
}

impl Pump {
    /// Starts the thread. `reports` hears of runs whose pipes have both ended.
    pub(super) fn start(reports: tokio::sync::mpsc::UnboundedSender<Report>) -> io::Result<Pump> {
        let poller = Poller::new()?;
        let waker = poller.waker();
        // Bounded by the number of runs: two `Add` each, and one `LastWords` an exit.
        let (requests, inbox) = mpsc::channel();
        let thread = Thread {
            poller,
            inbox,
            reports,
            flows: HashMap::new(),
            next_token: 0,
            tails: HashMap::new(),
            ended: VecDeque::new(),
            buffer: vec![0; READ],
        };
        std::thread::Builder::new().name("rsx-logs".into()).spawn(move || thread.run())?;
        Ok(Pump { requests, waker })
    }

    /// Takes over a pipe.
    pub(super) fn add(&self, source: Source) {
        self.ask(Request::Add(Box::new(source)));
    }

    /// The last words of a run's standard error, after everything it has written so far is in its file.
    pub(super) async fn tail(&self, run: RunId, limit: Duration) -> Vec<String> {
        let (answer, tail) = oneshot::channel();
        self.ask(Request::Tail(run, answer));
        match tokio::time::timeout(limit, tail).await {
            Ok(Ok(lines)) => lines,
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    /// Empties log files; what programs wrote before goes, too. `None`: not done in time.
    pub(super) async fn flush(&self, paths: Vec<PathBuf>, limit: Duration) -> Option<Vec<LogFile>> {
        let (done, flushed) = oneshot::channel();
        self.ask(Request::Flush(paths, done));
        tokio::time::timeout(limit, flushed).await.ok()?.ok()
    }

    /// Opens all log files anew by their names. `None`: not done in time.
    pub(super) async fn reopen(&self, limit: Duration) -> Option<Vec<LogFile>> {
        let (done, reopened) = oneshot::channel();
        self.ask(Request::Reopen(done));
        tokio::time::timeout(limit, reopened).await.ok()?.ok()
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
    }

    fn ask(&self, request: Request) {
        if self.requests.send(request).is_ok() {
            self.waker.wake();
        }
    }
}

/// A source and what could not be written of it.
struct Flow {
    source: Source,
    losses: Losses,
}

/// Bytes that were lost and not told of yet. A line in the daemon's log for each of them would fill the next disk.
#[derive(Debug, Default)]
struct Losses {
    bytes: usize,
    told: Option<Instant>,
}

impl Losses {
    /// Takes in a loss; how many bytes there are to tell of, if it is time.
    fn add(&mut self, bytes: usize, now: Instant) -> Option<usize> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.told.is_some_and(|at| now.duration_since(at) < COMPLAIN_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.bytes))
    }
}

struct Thread {
    poller: Poller,
    inbox: mpsc::Receiver<Request>,
    reports: tokio::sync::mpsc::UnboundedSender<Report>,
    flows: HashMap<u64, Flow>,
    next_token: u64,
    tails: HashMap<RunId, LastWords>,
    ended: VecDeque<RunId>,
    buffer: Vec<u8>,
}

impl Thread {
    fn run(mut self) {
        let mut ready: Vec<Ready> = Vec::new();
        loop {
            if let Err(error) = self.poller.wait(&mut ready, None) {
                warn!("log pump: epoll_wait: {error}");
            }
            while let Ok(request) = self.inbox.try_recv() {
                match request {
                    Request::Add(source) => self.add(*source),
                    Request::Tail(run, answer) => {
                        self.drain(|source| source.run == run);
                        let lines = self.tails.get(&run).map(LastWords::lines).unwrap_or_default();
                        // Whoever asked may have stopped waiting.
                        let _ = answer.send(lines);
                    }
                    Request::Flush(paths, done) => {
                        self.drain(|source| source.path.as_ref().is_some_and(|path| paths.contains(path)));
                        // Whoever asked may have stopped waiting, here and below.
                        let _ = done.send(paths.into_iter().filter_map(empty).collect());
                    }
                    Request::Reopen(done) => {
                        let _ = done.send(self.reopen());
                    }
                    Request::Settle(done) => {
                        self.drain(|_| true);
                        // Whoever asked may have stopped waiting.
                        let _ = done.send(());
                    }
                    Request::Finish(done) => {
                        self.drain(|_| true);
                        let _ = done.send(());
                        return;
                    }
                }
            }
            for Ready { token, .. } in ready.drain(..) {
                self.read(token);
            }
        }
    }

    fn add(&mut self, source: Source) {
        self.next_token += 1;
        let token = self.next_token;
        if let Err(error) = self.poller.add(&source.pipe, token, Interest::Read) {
            warn!("log pump: cannot watch a pipe: {error}");
            return;
        }
        if source.stream == Stream::Error {
            self.tails.insert(source.run, LastWords::default());
        }
        self.flows.insert(token, Flow { source, losses: Losses::default() });
    }

    /// Reads everything that is there from the sources of this kind.
    fn drain(&mut self, which: impl Fn(&Source) -> bool) {
        let tokens: Vec<u64> = self.flows.iter().filter(|(_, f)| which(&f.source)).map(|(token, _)| *token).collect();
        for token in tokens {
            let mut left = DRAIN;
            while left > 0 {
                match self.read(token) {
                    Some(count) => left = left.saturating_sub(count),
                    None => break,
                }
            }
        }
    }

    /// Every name leads to a file again that somebody may have moved away. What cannot be opened is written as before.
    fn reopen(&mut self) -> Vec<LogFile> {
        let mut files = Vec::new();
        for Flow { source, .. } in self.flows.values_mut() {
            let Some(path) = source.path.clone() else { continue };
            let opened = open_log(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
            files.push(match opened {
                Ok((bytes, file)) => {
                    source.sink = Some(file);
                    LogFile { path, bytes, problem: None }
                }
                Err(error) => LogFile { path, bytes: 0, problem: Some(error.to_string()) },
            });
        }
        files.sort();
        files.dedup();
        files
    }

    /// One read and one write. `None`: there is nothing more for now, or for ever.
    fn read(&mut self, token: u64) -> Option<usize> {
        let Flow { source, losses } = self.flows.get_mut(&token)?;
        match source.pipe.read(&mut self.buffer) {
            Ok(0) => {
                self.close(token);
                None
            }
            Ok(count) => {
                let bytes = &self.buffer[..count];
                if let Some(tail) = self.tails.get_mut(&source.run).filter(|_| source.stream == Stream::Error) {
                    tail.push(bytes);
                }
                if let Some(Err(error)) = source.sink.as_mut().map(|file| file.write_all(bytes))
                    && let Some(lost) = losses.add(count, Instant::now())
                {
                    let path = source.path.as_deref().unwrap_or_else(|| std::path::Path::new("?"));
                    warn!("cannot write {}: {error}; {lost} bytes are lost", path.display());
                }
                Some(count)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock) => None,
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted) => Some(0),
            Err(error) => {
                warn!("log pump: read: {error}");
                self.close(token);
                None
            }
        }
    }

    fn close(&mut self, token: u64) {
        let Some(Flow { source, .. }) = self.flows.remove(&token) else { return };
        if let Err(error) = self.poller.remove(&source.pipe) {
            warn!("log pump: epoll_ctl: {error}");
        }
        if self.flows.values().any(|other| other.source.run == source.run) {
            return;
        }
        self.ended.push_back(source.run);
        if self.ended.len() > REMEMBERED
            && let Some(run) = self.ended.pop_front()
        {
            self.tails.remove(&run);
        }
        // The engine may have ended already.
        let _ = self.reports.send(Report::Closed { run: source.run });
    }
}

/// Empties a file in place: who appends to it goes on at its beginning. None: there is nothing to empty.
fn empty(path: PathBuf) -> Option<LogFile> {
    let emptied = || {
        // Not a pipe or a device: opening one could wait for ever.
        if !std::fs::metadata(&path)?.is_file() {
            return Ok(None);
        }
        let file = OpenOptions::new().write(true).open(&path)?;
        let bytes = file.metadata()?.len();
        file.set_len(0)?;
        io::Result::Ok(Some(bytes))
    };
    match emptied() {
        Ok(bytes) => bytes.map(|bytes| LogFile { path, bytes, problem: None }),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(LogFile { path, bytes: 0, problem: Some(error.to_string()) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_is_told_of_once_a_minute() {
        let (mut losses, start) = (Losses::default(), Instant::now());
        let told: Vec<_> = (0..130).map(|second| losses.add(10, start + Duration::from_secs(second))).collect();
        let times: Vec<_> = told.iter().enumerate().filter_map(|(second, lost)| Some((second, (*lost)?))).collect();
        assert_eq!(times, [(0, 10), (60, 600), (120, 600)]);
    }
}
