//! One file that programs write themselves.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use crate::daemon::direct::rotate::{self, Pending};
use crate::daemon::direct::{Archived, Units};
use crate::logs::times::{self, ENTRY, Entry, HEADER, Header};
use crate::logs::{Marks, STAYS, next_name, times_name};
use crate::proto::LogFile;
use crate::spec::Rotation;
use crate::supervisor::RunId;

/// How often it is told that a file was emptied by somebody else.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How long a rotation that failed is not tried again.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// What is further away than this need not be planned.
const SOON: Duration = Duration::from_secs(1);

/// How soon a file is looked at again at most.
const SOONEST: Duration = Duration::from_millis(50);

/// A file, by its name.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) path: PathBuf,
    pub(super) rotate: Option<Rotation>,
    units: Units,
    /// In which unit its head can be cut off; none: it is not known, or it cannot.
    unit: Option<u64>,
    pub(super) users: Vec<RunId>,
    /// When it has to be looked at again, if that is soon.
    pub(super) hurry: Option<Instant>,
    looked: Instant,
    /// Device and number of the file that is written; none: there is none that has a size.
    identity: Option<(u64, u64)>,
    pub(super) base: u64,
    marks: Marks,
    last_moment: u64,
    /// When its first byte came, in milliseconds of the epoch.
    began: u64,
    is_moved: bool,
    told_shrunk: Option<Instant>,
    told_failed: Option<String>,
    failed: Option<Instant>,
}

/// What its owner should know.
pub(super) type Remarks = Vec<String>;

impl Log {
    /// Takes over a file as it is. What a predecessor was in the middle of is finished first.
    pub(super) fn open(path: &Path, rotate: Option<Rotation>, units: &Units) -> Log {
        let mut log = Log {
            path: path.to_owned(),
            rotate,
            units: units.clone(),
            unit: None,
            users: Vec::new(),
            hurry: None,
            looked: Instant::now(),
            identity: None,
            base: 0,
            marks: Marks::default(),
            last_moment: 0,
            began: 0,
            is_moved: false,
            told_shrunk: None,
            told_failed: None,
            failed: None,
        };
        log.take();
        log
    }

    /// Goes by what its name leads to now, because a run has just opened it.
    pub(super) fn take(&mut self) {
        if let Err(error) = rotate::mend(&self.path) {
            warn!("cannot finish the rotation of {}: {error}", self.path.display());
        }
        let found = fs::metadata(&self.path).ok().filter(fs::Metadata::is_file);
        let identity = found.as_ref().map(|found| (found.dev(), found.ino()));
        if identity.is_some() && identity == self.identity {
            self.is_moved = false;
            return;
        }
        self.identity = identity;
        self.is_moved = false;
        let Some(found) = found else { return };
        if let Err(error) = self.take_index(&found) {
            warn!("cannot write the index of {}: {error}", self.path.display());
        }
    }

    /// Goes on with the index that is there, or makes one.
    fn take_index(&mut self, found: &fs::Metadata) -> io::Result<()> {
        let path = beside(&self.path, times_name).ok_or(ErrorKind::InvalidFilename)?;
        let bytes = read(&path)?;
        let header = Header::decode(&bytes);
        match header.filter(|header| header.inode == found.ino()) {
            Some(header) => {
                let header = self.settled(header, found.len())?;
                let all = || bytes.get(HEADER..).unwrap_or_default().chunks_exact(ENTRY).filter_map(Entry::decode);
                let (first, last) = (all().next(), all().next_back());
                self.base = header.base;
                self.last_moment = last.map_or(0, |last| last.moment);
                self.began = first.map_or_else(now, |first| first.moment);
                // What has come since the last entry, by a predecessor's account, is marked by the next look.
                let end = self.base + found.len();
                self.marks = Marks::new(last.map_or(self.base, |last| last.offset).min(end));
                if last.is_none_or(|last| last.offset < end) {
                    self.look_at(found);
                }
                Ok(())
            }
            None => {
                // The rest of a line of the file before it ends with that file.
                if let Err(error) = rotate::retire(&self.path) {
                    warn!("cannot make an archive of the rest of {}: {error}", self.path.display());
                }
                (self.base, self.last_moment) = (0, 0);
                let header = Header { inode: found.ino(), base: 0, cutting: 0 }.encode();
                replace(&path, &header)?;
                let modified = found.modified().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
                let modified = modified.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or_else(now);
                self.began = modified;
                self.marks = Marks::new(found.len());
                if found.len() > 0 { self.append(Entry { offset: 0, moment: modified }) } else { Ok(()) }
            }
        }
    }

    /// What was being emptied when a predecessor died was, or was not. (What was being cut off is settled by its record.)
    fn settled(&self, header: Header, size: u64) -> io::Result<Header> {
        if header.cutting == 0 {
            return Ok(header);
        }
        let base = if size < header.cutting { header.base + header.cutting } else { header.base };
        let header = Header { base, cutting: 0, ..header };
        rotate::set_header(&self.path, header)?;
        Ok(header)
    }

    /// Looks whether it has grown, and puts its head away when that is due.
    pub(super) fn look(&mut self, archived: &Archived) -> Remarks {
        let mut remarks = Remarks::new();
        let since = std::mem::replace(&mut self.looked, Instant::now()).elapsed();
        self.hurry = None;
        let Some(known) = self.identity else { return remarks };
        let found = fs::metadata(&self.path);
        let found = match found {
            Ok(found) if (found.dev(), found.ino()) == known => found,
            Err(error) if error.kind() != ErrorKind::NotFound => return remarks,
            Ok(_) | Err(_) => {
                if !std::mem::replace(&mut self.is_moved, true) {
                    info!("{} was moved away or removed", self.path.display());
                    remarks.push(format!(
                        "{} was moved or removed: the program goes on writing into the file that it has open, until it is \
                         restarted",
                        self.path.display()
                    ));
                }
                return remarks;
            }
        };
        self.is_moved = false;
        let before = self.marks.seen();
        let end = self.base + found.len();
        if end < before {
            remarks.extend(self.on_shrunk(&found));
        } else {
            self.look_at(&found);
        }
        let mut size = found.len();
        if self.is_due(size) {
            let moved = self.rotate(size - STAYS, archived);
            size -= moved.as_ref().map_or(0, |moved| *moved);
            remarks.extend(self.told(moved.map(drop)));
        }
        if let Some(limit) = self.rotate.as_ref().and_then(|rotation| rotation.size)
            && let Some(left) = time_left(limit.saturating_sub(size), end.saturating_sub(before), since)
        {
            self.hurry = Some(self.looked + left.max(SOONEST));
        }
        remarks
    }

    fn look_at(&mut self, found: &fs::Metadata) {
        let end = self.base + found.len();
        if let Some(offset) = self.marks.look(end)
            && let Err(error) = self.append(Entry { offset, moment: now() })
        {
            warn!("cannot write the index of {}: {error}", self.path.display());
        }
    }

    /// Somebody has emptied it, or the program itself has.
    fn on_shrunk(&mut self, found: &fs::Metadata) -> Option<String> {
        let lost = self.marks.seen() - self.base - found.len();
        warn!("{} was emptied by somebody else; {lost} bytes are gone", self.path.display());
        self.index_anew(found.len());
        let is_told = self.told_shrunk.is_some_and(|at| at.elapsed() < TELL_EVERY);
        if is_told {
            return None;
        }
        self.told_shrunk = Some(Instant::now());
        let path = self.path.display();
        Some(format!(
            "{path} was emptied, not by rsx: what stood in it is gone (`> /dev/stderr` in a script does that)"
        ))
    }

    /// The index of a file that holds other bytes than before.
    fn index_anew(&mut self, size: u64) {
        let Some((_, inode)) = self.identity else { return };
        let mut bytes = Header { inode, base: self.base, cutting: 0 }.encode().to_vec();
        let moment = now().max(self.last_moment);
        bytes.extend(Entry { offset: self.base, moment }.encode().into_iter().flatten());
        (self.marks, self.began, self.last_moment) = (Marks::new(self.base + size), moment, moment);
        let written = beside(&self.path, times_name).map(|path| replace(&path, &bytes));
        if let Some(Err(error)) = written {
            warn!("cannot write the index of {}: {error}", self.path.display());
        }
    }

    fn is_due(&self, size: u64) -> bool {
        let Some(rotation) = self.rotate.as_ref().filter(|_| size > STAYS + self.unit.unwrap_or(1)) else {
            return false;
        };
        if self.failed.is_some_and(|at| at.elapsed() < TRY_AGAIN) {
            return false;
        }
        // What the next archive has already counts: a large rotation may have been interrupted.
        let next = beside(&self.path, next_name).and_then(|next| fs::metadata(next).ok()).map_or(0, |next| next.len());
        let is_large = rotation.size.is_some_and(|limit| size.saturating_add(next) >= limit);
        let age = Duration::from_millis(now().saturating_sub(self.began));
        is_large || rotation.every.is_some_and(|every| age >= every)
    }

    /// Puts so many bytes of it away, as far as whole units go; how many those were.
    pub(super) fn rotate(&mut self, wanted: u64, archived: &Archived) -> Result<u64, String> {
        let (Some(identity), false) = (self.identity, self.is_moved) else {
            return Err("it was moved or removed".to_owned());
        };
        let unit = match self.unit {
            Some(unit) => unit,
            None => {
                let file = File::open(&self.path).map_err(|error| error.to_string())?;
                self.units.of(&self.path, &file).map_err(|error| error.to_string())?
            }
        };
        self.unit = Some(unit);
        let pending = Pending { path: &self.path, identity, unit };
        let before = self.base;
        let result = rotate::rotate(&pending, &mut self.base, wanted);
        self.marks = Marks::new(self.marks.seen().max(self.base));
        if self.base > before {
            self.began = now();
            archived(&self.path);
        }
        result.map_err(|error| error.to_string())
    }

    /// What is to be told of a rotation, once for each reason.
    fn told(&mut self, result: Result<(), String>) -> Option<String> {
        match result {
            Ok(()) => {
                (self.failed, self.told_failed) = (None, None);
                None
            }
            Err(why) => {
                warn!("cannot rotate {}: {why}", self.path.display());
                self.failed = Some(Instant::now());
                let is_new = self.told_failed.as_ref() != Some(&why);
                self.told_failed = Some(why.clone());
                is_new.then(|| format!("{} cannot be rotated and grows on: {why}", self.path.display()))
            }
        }
    }

    /// Empties it; the program goes on at its beginning.
    pub(super) fn flush(&mut self) -> Option<LogFile> {
        let path = self.path.clone();
        let emptied = || {
            let file = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path)?;
            let meta = file.metadata()?;
            let is_known = self.identity == Some((meta.dev(), meta.ino()));
            if meta.is_file() {
                // Readers wait, and then go on with what comes after.
                if is_known {
                    rotate::set_header(&path, Header { inode: meta.ino(), base: self.base, cutting: meta.len() })?;
                }
                file.set_len(0)?;
                // The beginning of a line whose end is gone.
                remove(beside(&path, next_name))?;
            }
            io::Result::Ok((meta, is_known))
        };
        match emptied() {
            Ok((meta, _)) if !meta.is_file() => None,
            Ok((meta, is_known)) => {
                if is_known {
                    self.base += meta.len();
                    self.index_anew(0);
                }
                Some(LogFile { path, bytes: meta.len(), ..LogFile::default() })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(LogFile { path, problem: Some(error.to_string()), ..LogFile::default() }),
        }
    }

    /// Whether a run that has begun could open it: a crash restart goes on without its log.
    pub(super) fn can_be_written(&self) -> io::Result<()> {
        match fs::metadata(&self.path) {
            // Opening something else may do something.
            Ok(found) if !found.is_file() => Ok(()),
            Ok(_) => OpenOptions::new().append(true).open(&self.path).map(drop),
            Err(error) => Err(error),
        }
    }

    /// Whether the program writes into what the name says.
    pub(super) fn is_written(&self) -> LogFile {
        let path = self.path.clone();
        let found = fs::metadata(&path).ok();
        let is_it = found.as_ref().is_some_and(|found| Some((found.dev(), found.ino())) == self.identity);
        let bytes = found.map_or(0, |found| found.len());
        let problem = (!is_it && self.identity.is_some())
            .then(|| "the program has another file open: it opens this one when it is restarted".to_owned());
        LogFile { path, bytes, problem, ..LogFile::default() }
    }

    fn append(&mut self, entry: Entry) -> io::Result<()> {
        let entry = Entry { moment: entry.moment.max(self.last_moment), ..entry };
        self.last_moment = entry.moment;
        let Some(bytes) = entry.encode() else { return Ok(()) };
        let path = beside(&self.path, times_name).ok_or(ErrorKind::InvalidFilename)?;
        let file = OpenOptions::new().write(true).open(path)?;
        // A torn end is written over.
        file.write_all_at(&bytes, times::place(times::entries(file.metadata()?.len())))
    }
}

/// A file in the same folder, whose name follows from that of the log.
pub(super) fn beside(path: &Path, name: impl FnOnce(&str) -> String) -> Option<PathBuf> {
    Some(path.with_file_name(name(path.file_name()?.to_str()?)))
}

/// All of a small file; nothing if it is not there.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// Writes a file whole: readers find the old or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".tmp");
    let draft = PathBuf::from(draft);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&draft)?;
    file.write_all_at(bytes, 0)?;
    fs::rename(&draft, path)
}

/// Removes a file that need not be there.
pub(super) fn remove(path: Option<PathBuf>) -> io::Result<()> {
    match path.map(fs::remove_file) {
        Some(Err(error)) if error.kind() != ErrorKind::NotFound => Err(error),
        Some(_) | None => Ok(()),
    }
}

/// In milliseconds of the epoch.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// In how much time so many bytes will have come, if as many come as have in this time. None: not soon.
fn time_left(left: u64, came: u64, within: Duration) -> Option<Duration> {
    if came == 0 {
        return None;
    }
    let nanos = u128::from(left) * within.as_nanos() / u128::from(came);
    let left = Duration::from_nanos(u64::try_from(nanos).ok()?);
    (left < SOON).then_some(left)
}
