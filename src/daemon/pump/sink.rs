//! A log file that is written to: one for each name, whoever writes.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use crate::daemon::pump::finish::Batch;
use crate::daemon::pump::index::Index;
use crate::daemon::pump::window::Window;
use crate::daemon::spawner::open_log;
use crate::logs::{Archive, FileMark};
use crate::spec::Rotation;

/// How often it is told in the daemon's log that a file cannot be written.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// How often it is looked whether a name still leads to the file that is written, and whether what could not be opened can.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether the time of a file is over: at least and at most.
const LOOK_AT_TIMES: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_secs(1);

/// The number of a file here.
pub(super) type SinkId = usize;

/// Device and inode.
pub(super) type Identity = (u64, u64);

/// One file.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) path: PathBuf,
    /// None: it cannot be opened.
    pub(super) file: Option<File>,
    /// The number of the file's device, and its own there; none if it has no size.
    pub(super) identity: Option<Identity>,
    /// Whether what stands in it ends with the end of a line.
    pub(super) is_at_line_end: bool,
    /// Who has begun a line that is too long to wait for, and when it last wrote; others wait for its end.
    pub(super) owner: Option<(u64, Instant)>,
    /// Who waits.
    pub(super) waiting: Vec<u64>,
    pub(super) rotation: Option<Rotation>,
    /// When its first byte came, and when its time is over.
    pub(super) began: Option<SystemTime>,
    pub(super) ends: Option<SystemTime>,
    /// Its newest archive, where it is known.
    pub(super) newest: Option<Archive>,
    /// Until when a rotation that has failed is not tried again.
    pub(super) rests: Option<Instant>,
    index: Option<Index>,
    users: usize,
    looked: Instant,
    losses: Losses,
}

/// Bytes that were lost. A line in the daemon's log for each of them would fill the next disk.
#[derive(Debug, Default)]
struct Losses {
    /// Why, as long as it goes on.
    trouble: Option<String>,
    /// Since it began.
    all: usize,
    /// Not told of yet.
    untold: usize,
    told: Option<Instant>,
}

impl Losses {
    /// Takes in a loss; how many bytes there are to tell of, if it is time.
    fn add(&mut self, bytes: usize, now: Instant) -> Option<usize> {
        self.all = self.all.saturating_add(bytes);
        self.untold = self.untold.saturating_add(bytes);
        if self.told.is_some_and(|at| now.duration_since(at) < COMPLAIN_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// A change that others should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Nothing can be written, for this reason.
    Failing(String),
    /// It is written again; so many bytes were lost.
    Well(usize),
}

impl Sink {
    fn new(path: PathBuf, file: Option<File>) -> Sink {
        let mut sink = Sink {
            path,
            file: None,
            identity: None,
            is_at_line_end: true,
            owner: None,
            waiting: Vec::new(),
            rotation: None,
            began: None,
            ends: None,
            newest: None,
            rests: None,
            index: None,
            users: 0,
            looked: Instant::now(),
            losses: Losses::default(),
        };
        sink.take(file);
        sink
    }

    pub(super) fn take(&mut self, file: Option<File>) {
        self.identity = file.as_ref().and_then(|file| identity(&file.metadata().ok()?));
        self.is_at_line_end = self.identity.is_none() || ends_a_line(&self.path);
        self.index = self.identity.and_then(|known| Index::open(&self.path, known));
        let made = || {
            let found = file.as_ref()?.metadata().ok()?;
            found.created().or_else(|_| found.modified()).ok()
        };
        let began = self.index.as_ref().and_then(Index::began).or_else(made);
        self.on_begun(began);
        self.file = file;
        self.looked = Instant::now();
    }

    /// Somebody has opened a file of this name, a while ago: a rotation may have made an archive of it since.
    fn meet(&mut self, file: File) {
        let opened = file.metadata().ok().as_ref().and_then(identity);
        let is_known = |it| self.file.is_some() && self.identity == Some(it);
        let Some(it) = opened.filter(|it| !is_known(*it)) else {
            if opened.is_none() {
                self.take(Some(file));
            }
            return;
        };
        let led_to = std::fs::metadata(&self.path).ok().as_ref().and_then(identity);
        if led_to == Some(it) || led_to.is_none_or(|led_to| !is_known(led_to)) && self.reopen().is_err() {
            self.take(Some(file));
        }
    }

    /// Bytes are about to be appended behind so many others.
    pub(super) fn note(&mut self, size: u64) {
        if size == 0 {
            self.on_begun(Some(SystemTime::now()));
        }
        if let Some(index) = &mut self.index {
            index.note(size, u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0));
        }
    }

    /// Opens the file anew by its name.
    pub(super) fn reopen(&mut self) -> io::Result<u64> {
        let file = open_log(&self.path)?;
        let size = file.metadata()?.len();
        self.take(Some(file));
        Ok(size)
    }

    /// From time to time: a name that leads elsewhere, because somebody has moved or removed the file, gets a file again.
    pub(super) fn look(&mut self) {
        if self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        if self.file.is_some() {
            let Some(known) = self.identity else { return };
            match std::fs::metadata(&self.path).map(|found| identity(&found)) {
                Ok(Some(found)) if found == known => return,
                Err(error) if error.kind() != io::ErrorKind::NotFound => return,
                Ok(_) | Err(_) => info!("{} was moved away or removed: made anew", self.path.display()),
            }
        }
        if let Err(error) = self.reopen() {
            self.file = None;
            self.losses.trouble.get_or_insert_with(|| error.to_string());
        }
    }

    /// The file may have been emptied.
    pub(super) fn on_emptied(&mut self, bytes: u64) {
        if let Some(index) = &mut self.index {
            index.on_emptied(bytes);
        }
        self.is_at_line_end |= self.mark().is_some_and(|mark| mark.size == 0);
    }

    /// The file as it is now, for the record. A file that cannot tell its size is like one that has none.
    pub(super) fn mark(&self) -> Option<FileMark> {
        // Cheaper than asking for all that stat(2) says; O_APPEND does not care about the position.
        let (device, inode) = self.identity?;
        let size = self.file.as_ref()?.seek(SeekFrom::End(0)).ok()?;
        Some(FileMark { device, inode, size })
    }

    /// Something was written, all of it.
    pub(super) fn on_written(&mut self, last: Option<u8>) -> Option<Health> {
        self.is_at_line_end = last.map_or(self.is_at_line_end, |last| last == b'\n');
        self.losses.trouble.take()?;
        let Losses { all: lost, .. } = std::mem::take(&mut self.losses);
        (lost > 0).then(|| {
            info!(lost, "{} is written again", self.path.display());
            Health::Well(lost)
        })
    }

    /// A write has ended early: of what was written behind `size`, whole lines stay, so that what comes later does not
    /// stand behind a torn one. How many bytes stayed, if that is not all of them.
    pub(super) fn cut(&mut self, size: u64, written: usize, window: &Window, batch: &Batch) -> Option<usize> {
        let file = self.file.as_ref().filter(|_| written > 0)?;
        let mut bytes = Vec::new();
        let Range { start, .. } = batch.range;
        window.copy(batch.area, batch.buffer, start..start + written, &mut bytes);
        let end = memchr::memrchr(b'\n', &bytes).map(|at| at + 1).or(self.is_at_line_end.then_some(0));
        let is_ours = file.metadata().is_ok_and(|found| found.len() == size + written as u64);
        match end.filter(|_| is_ours) {
            Some(end) if file.set_len(size + end as u64).is_ok() => {
                self.is_at_line_end = true;
                Some(end)
            }
            Some(_) | None => {
                self.is_at_line_end = bytes.last() == Some(&b'\n');
                None
            }
        }
    }

    /// Something could not be written.
    pub(super) fn on_lost(&mut self, bytes: usize, error: Option<&io::Error>) -> Option<Health> {
        let is_first = self.losses.all == 0;
        let why = match error {
            Some(error) => error.to_string(),
            None => self.losses.trouble.clone().unwrap_or_else(|| "it cannot be opened".to_owned()),
        };
        self.losses.trouble = Some(why.clone());
        if let Some(lost) = self.losses.add(bytes, Instant::now()) {
            warn!("cannot write {}: {why}; {lost} bytes are lost", self.path.display());
        }
        is_first.then_some(Health::Failing(why))
    }
}

/// All files that are written to.
#[derive(Debug, Default)]
pub(super) struct Sinks {
    known: HashMap<SinkId, Sink>,
    names: HashMap<PathBuf, SinkId>,
    next: SinkId,
    /// Whether the time of any of them may be over some time: where there is none, nobody looks.
    timed: bool,
}

impl Sinks {
    /// Takes over a file for one more user; how many others it has.
    pub(super) fn join(&mut self, path: PathBuf, file: Option<File>, rotation: Option<Rotation>) -> (SinkId, usize) {
        let id = *self.names.entry(path.clone()).or_insert_with(|| {
            self.next += 1;
            self.next
        });
        let sink = self.known.entry(id).or_insert_with(|| Sink::new(path, None));
        if let Some(file) = file {
            sink.meet(file);
        }
        self.timed |= rotation.as_ref().is_some_and(|rotation| rotation.every.is_some());
        sink.rotation = rotation;
        sink.on_begun(sink.began);
        sink.users += 1;
        (id, sink.users - 1)
    }

    /// One user less; the last one closes the file.
    pub(super) fn leave(&mut self, id: SinkId) {
        let Some(sink) = self.known.get_mut(&id) else { return };
        sink.users -= 1;
        if sink.users == 0
            && let Some(sink) = self.known.remove(&id)
        {
            self.names.remove(&sink.path);
        }
    }

    pub(super) fn get(&mut self, id: SinkId) -> Option<&mut Sink> {
        self.known.get_mut(&id)
    }

    /// The file of this name, if it is written.
    pub(super) fn of(&mut self, path: &Path) -> Option<&mut Sink> {
        self.known.get_mut(self.names.get(path)?)
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Sink> {
        self.known.values_mut()
    }

    /// Those whose time is over.
    pub(super) fn over(&mut self) -> impl Iterator<Item = &mut Sink> {
        let all = self.timed.then_some(&mut self.known);
        all.into_iter().flat_map(HashMap::values_mut).filter(|sink| sink.is_over())
    }

    /// How long until it has to be looked whether the time of a file is over. A clock that is set anew is noticed by then.
    pub(super) fn patience(&self) -> Option<Duration> {
        if !self.timed {
            return None;
        }
        let now = SystemTime::now();
        let left =
            |sink: &Sink| sink.ends.map(|ends| ends.duration_since(now).unwrap_or(TICK).clamp(TICK, LOOK_AT_TIMES));
        self.known.values().filter_map(left).min()
    }
}

pub(super) fn identity(found: &Metadata) -> Option<Identity> {
    found.is_file().then(|| (found.dev(), found.ino()))
}

/// Whether a file is empty or its last byte ends a line; also if it cannot be read.
fn ends_a_line(path: &Path) -> bool {
    let last = || {
        let file = File::open(path).ok()?;
        let mut last = [0];
        file.read_exact_at(&mut last, file.metadata().ok()?.len().checked_sub(1)?).ok()?;
        Some(last[0])
    };
    last().is_none_or(|last| last == b'\n')
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

    #[test]
    fn two_users_of_a_name_share_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        let mut sinks = Sinks::default();
        let (first, others) = sinks.join(path.clone(), Some(open_log(&path).unwrap()), None);
        assert_eq!(others, 0);
        assert_eq!(sinks.join(path.clone(), None, None), (first, 1));
        sinks.leave(first);
        assert!(sinks.get(first).is_some());
        sinks.leave(first);
        assert!(sinks.get(first).is_none() && sinks.names.is_empty());
    }

    #[test]
    fn what_begins_and_ends_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        let mut sink = Sink::new(path.clone(), Some(open_log(&path).unwrap()));
        let full = || io::Error::from_raw_os_error(libc::ENOSPC);
        assert_eq!(sink.on_lost(5, Some(&full())), Some(Health::Failing(full().to_string())));
        assert_eq!(sink.on_lost(6, Some(&full())), None);
        assert_eq!(sink.on_written(Some(b'x')), Some(Health::Well(11)));
        assert_eq!(sink.on_written(None), None);
        assert!(!sink.is_at_line_end);
    }
}
