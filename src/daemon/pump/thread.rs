//! The thread of the log pump.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::daemon::files::{Files, Flushed, Names};
use crate::daemon::pump::finish::{Finished, Lost, finish};
use crate::daemon::pump::flow::{Flow, PATIENCE, Shared, Turn};
use crate::daemon::pump::sink::{Health, SinkId};
use crate::daemon::pump::window::Window;
use crate::daemon::pump::{Age, Archives, Request, Source};
use crate::daemon::report::Report;
use crate::logs::LastWords;
use crate::proto::LogFile;
use crate::spec::Stream;
use crate::supervisor::RunId;
use crate::sys::poller::{Interest, Poller, Ready};

/// How much of one pipe is read before others have their turn, when its end is asked for.
const DRAIN: usize = 4 * 1024 * 1024;

/// How many ended runs' last words are remembered.
const REMEMBERED: usize = 512;

pub(super) struct Thread {
    poller: Poller,
    inbox: mpsc::Receiver<Request>,
    reports: tokio::sync::mpsc::UnboundedSender<Report>,
    flows: HashMap<u64, Flow>,
    next_token: u64,
    tails: HashMap<RunId, LastWords>,
    ended: VecDeque<RunId>,
    shared: Shared,
    /// Files in which somebody waits for the end of somebody else's line.
    contended: Vec<SinkId>,
}

impl Thread {
    pub(super) fn new(
        poller: Poller,
        inbox: mpsc::Receiver<Request>,
        reports: tokio::sync::mpsc::UnboundedSender<Report>,
        window: Window,
        files: Files,
    ) -> Thread {
        Thread {
            poller,
            inbox,
            reports,
            flows: HashMap::new(),
            next_token: 0,
            tails: HashMap::new(),
            ended: VecDeque::new(),
            shared: Shared::new(window, files),
            contended: Vec::new(),
        }
    }

    pub(super) fn run(mut self) {
        // Before anything is read: the window has room for one piece of work.
        self.finish();
        let mut ready: Vec<Ready> = Vec::new();
        loop {
            let patience = self.patience();
            if let Err(error) = self.poller.wait(&mut ready, patience) {
                warn!("log pump: epoll_wait: {error}");
            }
            while let Ok(request) = self.inbox.try_recv() {
                if !self.answer(request) {
                    return;
                }
            }
            for Ready { token, .. } in ready.drain(..) {
                self.read(token);
            }
            self.settle_lines();
            self.shared.rotate_old();
            self.tell();
        }
    }

    /// Does what was asked for; whether the thread goes on. Whoever asked may have stopped waiting.
    fn answer(&mut self, request: Request) -> bool {
        match request {
            Request::Add(source, age) => self.add(*source, age),
            Request::Tail(run, answer) => {
                self.drain(|flow, _| flow.source.run == run);
                let lines = self.tails.get(&run).map(LastWords::lines).unwrap_or_default();
                let _ = answer.send(lines);
            }
            Request::Flush(paths, archives, done) => {
                self.drain(|flow, shared| flow.path(shared).is_some_and(|path| paths.iter().any(|it| it == path)));
                self.flush(paths, archives, done);
            }
            Request::Rotate(paths, done) => {
                self.drain(|flow, shared| flow.path(shared).is_some_and(|path| paths.iter().any(|it| it == path)));
                let _ = done.send(self.shared.rotate(paths));
            }
            Request::Reopen(done) => {
                let _ = done.send(self.reopen());
            }
            Request::Settle(done) => {
                self.drain(|_, _| true);
                let _ = done.send(());
            }
            Request::Pipes(done) => {
                let copy = |Flow { source, .. }: &Flow| {
                    let pipe = source.pipe.as_fd().try_clone_to_owned().ok()?;
                    Some((source.run, source.stream, pipe))
                };
                let _ = done.send(self.flows.values().filter_map(copy).collect());
            }
            Request::Finish(done) => {
                self.drain(|_, _| true);
                let _ = done.send(());
                return false;
            }
        }
        true
    }

    /// Empties files; the archives are left to who looks after them.
    fn flush(&mut self, paths: Vec<PathBuf>, archives: Archives, done: oneshot::Sender<Vec<LogFile>>) {
        let mut flushed = Vec::new();
        let mut folders: HashMap<PathBuf, Names> = HashMap::new();
        for path in paths {
            let file = empty(path.clone());
            if let (Some(sink), Some(LogFile { bytes, problem: None, .. })) = (self.shared.sinks.of(&path), &file) {
                sink.on_emptied(*bytes);
            }
            let newest = match (archives, path.parent()) {
                (Archives::Go, Some(folder)) => {
                    let names = folders.entry(folder.to_owned());
                    names.or_insert_with_key(|folder| Names::read(folder).unwrap_or_default()).archives(&path).pop()
                }
                (Archives::Go, None) | (Archives::Stay, _) => None,
            };
            flushed.push(Flushed { path, file, newest });
        }
        match archives {
            Archives::Go => self.shared.files.flush(flushed, done),
            // Whoever asked may have stopped waiting.
            Archives::Stay => drop(done.send(flushed.into_iter().filter_map(|one| one.file).collect())),
        }
    }

    /// Finishes what a predecessor has begun, and tells what could not be done.
    fn finish(&mut self) {
        let finished = match finish(&mut self.shared.window) {
            Ok(finished) => finished,
            Err(refused) => {
                warn!("what the previous daemon had read and not written to a log yet is lost: {refused}");
                return;
            }
        };
        for one in finished {
            match one {
                Finished::Appended { path, bytes } => info!(bytes, "finished {}", path.display()),
                Finished::Doubtful { path, bytes } => {
                    warn!("{} was changed while no daemon ran; {bytes} bytes may be in it twice", path.display());
                }
                Finished::Untold { path, bytes } => {
                    warn!("the previous daemon died writing to {}; {bytes} bytes may be missing", path.display());
                }
                Finished::Lost { path, lost: Lost { bytes, error } } => {
                    warn!("cannot write {}: {error}; {bytes} bytes are lost", path.display());
                }
            }
        }
    }

    fn add(&mut self, source: Source, age: Age) {
        self.next_token += 1;
        let token = self.next_token;
        if let Err(error) = self.poller.add(&source.pipe, token, Interest::Read) {
            warn!("log pump: cannot watch a pipe: {error}");
            return;
        }
        if source.stream == Stream::Error {
            let tail = match (age, source.files.first()) {
                (Age::Adopted(since), Some(file)) => spoken(&file.path, since),
                (Age::Adopted(_), None) | (Age::New, _) => LastWords::default(),
            };
            self.tails.insert(source.run, tail);
        }
        // What an earlier run has left comes before the first line of this one, and an unfinished line is gone on with.
        self.drain(|flow, shared| flow.precedes(&source, shared));
        let (flow, is_shared) = Flow::new(source, token, matches!(age, Age::Adopted(_)), &mut self.shared);
        if is_shared {
            // Whoever was alone is not any more.
            for other in self.flows.values_mut().filter(|other| other.sinks.iter().any(|id| flow.sinks.contains(id))) {
                other.hold(&mut self.shared);
            }
        }
        self.flows.insert(token, flow);
    }

    /// Reads everything that is there from the sources of this kind.
    fn drain(&mut self, which: impl Fn(&Flow, &mut Shared) -> bool) {
        let tokens: Vec<u64> =
            self.flows.iter().filter(|(_, flow)| which(flow, &mut self.shared)).map(|(token, _)| *token).collect();
        for token in tokens {
            let mut left = DRAIN;
            while left > 0 {
                match self.read(token) {
                    Some(count) => left = left.saturating_sub(count),
                    None => break,
                }
            }
        }
        self.tell();
    }

    /// Every name leads to a file again that somebody may have moved away. What cannot be opened is written as before.
    fn reopen(&mut self) -> Vec<LogFile> {
        let mut files = Vec::new();
        for sink in self.shared.sinks.all() {
            let path = sink.path.clone();
            files.push(match sink.reopen() {
                Ok(bytes) => LogFile { path, bytes, ..LogFile::default() },
                Err(error) => LogFile { path, problem: Some(error.to_string()), ..LogFile::default() },
            });
        }
        files.sort();
        files
    }

    /// One turn of a flow. `None`: there is nothing more for now, or for ever.
    fn read(&mut self, token: u64) -> Option<usize> {
        let flow = self.flows.get_mut(&token)?;
        let tail = self.tails.get_mut(&flow.source.run).filter(|_| flow.source.stream == Stream::Error);
        match flow.turn(&mut self.shared, tail) {
            Ok(Turn::Moved(count)) => Some(count),
            Ok(Turn::Nothing) => None,
            Ok(Turn::End) => {
                self.close(token);
                None
            }
            Ok(Turn::Waits(id)) => {
                self.wait(token, id);
                None
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) if error.kind() == ErrorKind::Interrupted => Some(0),
            Err(error) => {
                warn!("log pump: read: {error}");
                self.close(token);
                None
            }
        }
    }

    /// A flow is not read until a file is free.
    fn wait(&mut self, token: u64, id: SinkId) {
        let (Some(flow), Some(sink)) = (self.flows.get(&token), self.shared.sinks.get(id)) else { return };
        if sink.waiting.contains(&token) {
            return;
        }
        if let Err(error) = self.poller.modify(&flow.source.pipe, token, Interest::None) {
            warn!("log pump: epoll_ctl: {error}");
        }
        sink.waiting.push(token);
        if !self.contended.contains(&id) {
            self.contended.push(id);
        }
    }

    /// Lets those go on who have waited for the end of a line.
    fn settle_lines(&mut self) {
        for id in std::mem::take(&mut self.contended) {
            let Some(sink) = self.shared.sinks.get(id) else { continue };
            if let Some((owner, since)) = sink.owner {
                if since.elapsed() < PATIENCE {
                    self.contended.push(id);
                    continue;
                }
                if let Some(flow) = self.flows.get_mut(&owner) {
                    flow.break_line(&mut self.shared);
                }
            }
            let Some(sink) = self.shared.sinks.get(id) else { continue };
            sink.owner = None;
            for token in std::mem::take(&mut sink.waiting) {
                if let Some(flow) = self.flows.get(&token)
                    && let Err(error) = self.poller.modify(&flow.source.pipe, token, Interest::Read)
                {
                    warn!("log pump: epoll_ctl: {error}");
                }
            }
        }
    }

    /// How long to wait for bytes.
    fn patience(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let owners: Vec<Instant> =
            self.contended.iter().filter_map(|id| Some(self.shared.sinks.get(*id)?.owner?.1)).collect();
        let lines = owners.into_iter().map(|since| (since + PATIENCE).saturating_duration_since(now)).min();
        lines.into_iter().chain(self.shared.sinks.patience()).min()
    }

    /// Tells others how files are.
    fn tell(&mut self) {
        for (id, health) in std::mem::take(&mut self.shared.news) {
            if let Some(sink) = self.shared.sinks.get(id) {
                if matches!(health, Health::Failing(_)) {
                    self.shared.files.crowded();
                }
                // The engine may have ended.
                let _ = self.reports.send(Report::LogFile { path: sink.path.clone(), health });
            }
        }
    }

    fn close(&mut self, token: u64) {
        let Some(mut flow) = self.flows.remove(&token) else { return };
        flow.write_rest(&mut self.shared);
        self.tell();
        flow.leave(&mut self.shared);
        self.shared.budget += flow.share();
        let Flow { source, .. } = flow;
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

/// The last words in a file that was so long before they began. A file that was emptied since has been shorter.
fn spoken(path: &Path, since: u64) -> LastWords {
    let mut tail = LastWords::default();
    let end = || {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let since = if since > size { 0 } else { since };
        let start = since.max(size.saturating_sub(LastWords::ENOUGH as u64));
        let mut end = vec![0; usize::try_from(size - start).unwrap_or(0)];
        file.read_exact_at(&mut end, start)?;
        io::Result::Ok(end)
    };
    match end() {
        Ok(end) => tail.push(&end),
        Err(error) => warn!("cannot read the last words in {}: {error}", path.display()),
    }
    tail
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
        Ok(bytes) => bytes.map(|bytes| LogFile { path, bytes, ..LogFile::default() }),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(LogFile { path, problem: Some(error.to_string()), ..LogFile::default() }),
    }
}
