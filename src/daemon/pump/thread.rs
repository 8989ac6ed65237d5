//! The thread of the log pump.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::daemon::engine::Report;
use crate::daemon::pump::finish::{Finished, Lost, append, finish};
use crate::daemon::pump::window::Window;
use crate::daemon::pump::{Age, Request, Source};
use crate::daemon::spawner::open_log;
use crate::logs::{FileMark, LastWords};
use crate::proto::LogFile;
use crate::spec::Stream;
use crate::supervisor::RunId;
use crate::sys::pipes::{self, PipeState};
use crate::sys::poller::{Interest, Poller, Ready};

/// How much of one pipe is read before others have their turn, when its end is asked for.
const DRAIN: usize = 4 * 1024 * 1024;

/// How many ended runs' last words are remembered.
const REMEMBERED: usize = 512;

/// How often a file that cannot be written is told of.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// A source and what could not be written of it.
struct Flow {
    source: Source,
    /// The number of the file's device, and its own there; none if it has no size.
    identity: Option<(u64, u64)>,
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

pub(super) struct Thread {
    poller: Poller,
    inbox: mpsc::Receiver<Request>,
    reports: tokio::sync::mpsc::UnboundedSender<Report>,
    flows: HashMap<u64, Flow>,
    next_token: u64,
    tails: HashMap<RunId, LastWords>,
    ended: VecDeque<RunId>,
    window: Window,
    /// The end of what was read, on its way to a tail.
    end: Vec<u8>,
}

impl Thread {
    pub(super) fn new(
        poller: Poller,
        inbox: mpsc::Receiver<Request>,
        reports: tokio::sync::mpsc::UnboundedSender<Report>,
        window: Window,
    ) -> Thread {
        Thread {
            poller,
            inbox,
            reports,
            flows: HashMap::new(),
            next_token: 0,
            tails: HashMap::new(),
            ended: VecDeque::new(),
            window,
            end: Vec::new(),
        }
    }

    pub(super) fn run(mut self) {
        // Before anything is read: the window has room for one piece of work.
        self.finish();
        let mut ready: Vec<Ready> = Vec::new();
        loop {
            if let Err(error) = self.poller.wait(&mut ready, None) {
                warn!("log pump: epoll_wait: {error}");
            }
            while let Ok(request) = self.inbox.try_recv() {
                match request {
                    Request::Add(source, age) => self.add(*source, age),
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
                    Request::Pipes(done) => {
                        let copy = |Flow { source, .. }: &Flow| {
                            let pipe = source.pipe.as_fd().try_clone_to_owned().ok()?;
                            Some((source.run, source.stream, pipe))
                        };
                        // Whoever asked may have stopped waiting.
                        let _ = done.send(self.flows.values().filter_map(copy).collect());
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

    /// Finishes what a predecessor has begun, and tells what could not be done.
    fn finish(&self) {
        match finish(&self.window) {
            Ok(Finished::Nothing) => {}
            Ok(Finished::Appended { path, bytes }) => info!(bytes, "finished {}", path.display()),
            Ok(Finished::Doubtful { path, bytes }) => {
                warn!("{} was changed while no daemon ran; {bytes} bytes may be in it twice", path.display());
            }
            Ok(Finished::Untold { path, bytes }) => {
                warn!("the previous daemon died writing to {}; {bytes} bytes may be missing", path.display());
            }
            Ok(Finished::Lost { path, lost: Lost { bytes, error } }) => {
                warn!("cannot write {}: {error}; {bytes} bytes are lost", path.display());
            }
            Err(refused) => warn!("what the previous daemon had read and not written to a log yet is lost: {refused}"),
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
            let tail = match (age, &source.path) {
                (Age::Adopted(since), Some(path)) => spoken(path, since),
                (Age::Adopted(_), None) | (Age::New, _) => LastWords::default(),
            };
            self.tails.insert(source.run, tail);
        }
        let identity = source.sink.as_ref().and_then(identity);
        self.flows.insert(token, Flow { source, identity, losses: Losses::default() });
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
        for Flow { source, identity: known, .. } in self.flows.values_mut() {
            let Some(path) = source.path.clone() else { continue };
            let opened = open_log(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
            files.push(match opened {
                Ok((bytes, file)) => {
                    *known = identity(&file);
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
        let Flow { source, identity, losses } = self.flows.get_mut(&token)?;
        let (count, mark) = match take(&mut self.window, source, *identity) {
            Ok(Taken::Bytes(count, mark)) => (count, mark),
            Ok(Taken::Nothing) => return None,
            Ok(Taken::End) => {
                self.close(token);
                return None;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Some(0),
            Err(error) => {
                warn!("log pump: read: {error}");
                self.close(token);
                return None;
            }
        };
        if let Some(tail) = self.tails.get_mut(&source.run).filter(|_| source.stream == Stream::Error) {
            self.window.copy(count.saturating_sub(LastWords::ENOUGH), count, &mut self.end);
            tail.push(&self.end);
        }
        if let Some(file) = &source.sink {
            if mark.is_none() {
                self.window.begins();
            }
            if let Err(Lost { bytes, error }) = append(&self.window, 0, count, file)
                && let Some(lost) = losses.add(bytes, Instant::now())
            {
                let path = source.path.as_deref().unwrap_or_else(|| Path::new("?"));
                warn!("cannot write {}: {error}; {lost} bytes are lost", path.display());
            }
            self.window.is_done();
        }
        Some(count)
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

fn identity(file: &File) -> Option<(u64, u64)> {
    let found = file.metadata().ok()?;
    found.is_file().then(|| (found.dev(), found.ino()))
}

/// What one read gave.
enum Taken {
    /// So many bytes are in the window; the file that they go to, if it has a size.
    Bytes(usize, Option<FileMark>),
    Nothing,
    End,
}

/// Reads what is there, and nothing else: what is not on record before must not be read.
fn take(window: &mut Window, source: &Source, identity: Option<(u64, u64)>) -> io::Result<Taken> {
    let Some(mut sink) = source.sink.as_ref() else {
        let count = window.read_idly(&source.pipe)?;
        return Ok(if count == 0 { Taken::End } else { Taken::Bytes(count, None) });
    };
    let mut waiting = pipes::waiting(&source.pipe)?;
    if waiting == 0 {
        match pipes::state(&source.pipe)? {
            PipeState::Empty => return Ok(Taken::Nothing),
            PipeState::Ended => return Ok(Taken::End),
            // Something came in between; or there is an empty buffer, and the kernel lets go of it when it is asked for
            // more.
            PipeState::Readable => waiting = pipes::waiting(&source.pipe)?.max(1),
        }
    }
    // Cheaper than asking for all that stat(2) says; O_APPEND does not care about the position. A file that cannot tell
    // its size is like one that has none.
    let sized = identity.and_then(|identity| Some((identity, sink.seek(SeekFrom::End(0)).ok()?)));
    let mark = sized.map(|((device, inode), size)| FileMark { device, inode, size });
    let path = source.path.as_deref().unwrap_or_else(|| Path::new(""));
    let count = window.read(waiting, &source.pipe, path, mark)?;
    Ok(if count == 0 { Taken::End } else { Taken::Bytes(count, mark) })
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
