//! A log file becomes an archive: it gets another name, and one of the old name is made anew. Whoever follows the file by
//! its number misses nothing.
//!
//! A daemon may die in here: what is on record for the file is found by its number, whatever its name is by then, and an
//! index of times that was left behind follows its file when the next one is opened (`index.rs`).

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Local};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use tracing::{debug, info, warn};

use crate::daemon::failpoint;
use crate::daemon::files::{archives, named};
use crate::daemon::pump::index::Index;
use crate::daemon::pump::sink::{Identity, Sink, identity};
use crate::logs::{Archive, is_due, is_overdue, period_end};

/// How long a rotation that has failed is not tried again.
const REST: Duration = Duration::from_secs(60);

/// How long a line may be unfinished when its file's time is over.
const LINE: Duration = Duration::from_secs(60);

/// How many names are tried.
const NAMES: usize = 100;

impl Sink {
    /// Whether the file has to be put away before so many bytes are appended to `size` of them.
    pub(super) fn is_full(&self, size: u64, more: usize) -> bool {
        let Some(rotation) = self.rotation.as_ref().filter(|_| self.file.is_some()) else { return false };
        let is_old = size > 0 && self.ends.is_some_and(|ends| ends <= SystemTime::now());
        (is_old || is_due(rotation, size, more as u64)) && !self.is_resting()
    }

    /// Whether it is put away even within a line.
    pub(super) fn is_overfull(&self, size: u64) -> bool {
        self.rotation.as_ref().is_some_and(|rotation| is_overdue(rotation, size))
            || self.ends.is_some_and(|ends| ends + LINE <= SystemTime::now())
    }

    /// Whether it is put away although nothing comes: its time is over.
    pub(super) fn is_over(&self) -> bool {
        if self.ends.is_none_or(|ends| ends > SystemTime::now()) {
            return false;
        }
        let size = self.mark().map_or(0, |mark| mark.size);
        self.is_full(size, 0) && (self.is_at_line_end || self.is_overfull(size))
    }

    /// Whether so many bytes may be appended to `size` of them as they are.
    pub(super) fn has_room(&self, size: u64, more: usize) -> bool {
        !self.is_full(size, more) && (size > 0 || more <= self.portion() || self.is_resting())
    }

    /// How much of these bytes still belongs to the file, which has no room for all of them: up to the end of a line.
    pub(super) fn share(&self, size: u64, bytes: &[u8]) -> usize {
        if size > 0 && self.is_at_line_end {
            return 0;
        }
        let end = match size {
            0 => memchr::memrchr(b'\n', &bytes[..self.portion().min(bytes.len())]),
            _ if self.is_overfull(size) => return 0,
            _ => None,
        };
        end.or_else(|| memchr::memchr(b'\n', bytes)).map_or(bytes.len(), |end| end + 1)
    }

    fn is_resting(&self) -> bool {
        self.rests.is_some_and(|until| until >= Instant::now())
    }

    /// How much is written in one go at most: no more than a file may have.
    pub(super) fn portion(&self) -> usize {
        let size = self.rotation.as_ref().and_then(|rotation| rotation.size);
        size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX)
    }

    /// When its first byte has come, which tells how long it may be written.
    pub(super) fn on_begun(&mut self, began: Option<SystemTime>) {
        self.began = began;
        let every = self.rotation.as_ref().and_then(|rotation| rotation.every);
        self.ends = every.zip(began).map(|(every, began)| ends(every, began));
    }

    /// Puts the file away as an archive, and makes it anew. None: its name led elsewhere already, and is followed now.
    pub(super) fn rotate(&mut self) -> io::Result<Option<Archive>> {
        let rotated = self.try_rotate();
        if let Err(error) = &rotated {
            warn!("cannot rotate {}: {error}", self.path.display());
            self.rests = Some(Instant::now() + REST);
        }
        rotated
    }

    fn try_rotate(&mut self) -> io::Result<Option<Archive>> {
        let before = self.file.as_ref().map(File::metadata).transpose()?;
        let Some(archive) = put_away(&self.path, self.identity, self.newest)? else {
            info!("{} was moved away or removed: made anew", self.path.display());
            self.reopen()?;
            return Ok(None);
        };
        self.newest = Some(archive);
        let opened = match open_new(&self.path) {
            Ok(file) => {
                if let Some(before) = before
                    && let Err(error) = become_like(&file, &before)
                {
                    debug!("{}: {error}", self.path.display());
                }
                self.take(Some(file));
                Ok(())
            }
            // Somebody else was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.reopen().map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = opened {
            // Bytes go on to come into the file that is open: it keeps its name.
            let name = named(&self.path, archive);
            if rename_to_new(&name, &self.path).is_ok() {
                Index::follow(&name, &self.path);
            }
            return Err(error);
        }
        Ok(Some(archive))
    }
}

/// Renames a file to an archive of it. None: it is not the file that is meant, or there is none.
pub(super) fn put_away(path: &Path, meant: Option<Identity>, newest: Option<Archive>) -> io::Result<Option<Archive>> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if found.is_symlink() {
        return Err(io::Error::other(
            "it is a symbolic link, and rotation would move the link in the place of the file",
        ));
    }
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if meant.is_some() && identity(&found) != meant {
        return Ok(None);
    }
    let mut newest = match newest {
        Some(newest) => Some(newest),
        None => archives(path)?.last().copied(),
    };
    let now = u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0);
    for _ in 0..NAMES {
        let archive = Archive::next(now, newest);
        let name = named(path, archive);
        match rename_to_new(path, &name) {
            Ok(()) => {
                failpoint::here("log-renamed");
                Index::follow(path, &name);
                return Ok(Some(archive));
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => newest = Some(archive),
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// Renames a file, never over another one.
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        // A file system that does not know that.
        Err(Errno::EINVAL | Errno::ENOSYS) => match fs::symlink_metadata(to) {
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
        done => Ok(done?),
    }
}

/// Makes a file that was not there. One that somebody puts in its place would be given to the owner of the old one.
fn open_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o640).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// The file that follows another one may be read by those who were allowed to read that.
fn become_like(file: &File, before: &Metadata) -> io::Result<()> {
    let found = file.metadata()?;
    if (found.uid(), found.gid()) != (before.uid(), before.gid()) {
        fchown(file, Some(before.uid()), Some(before.gid()))?;
    }
    let mode = before.permissions().mode() & 0o777;
    if found.permissions().mode() & 0o777 != mode {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// When a file that began then is put away.
fn ends(every: Duration, began: SystemTime) -> SystemTime {
    let local = DateTime::<Local>::from(began);
    let end = period_end(every, local.naive_local());
    // A time that is not, as a clock is set forward: as long as it was to be.
    let end = end.and_local_timezone(Local).earliest().unwrap_or_else(|| local + (end - local.naive_local()));
    SystemTime::from(end.max(local))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::daemon::pump::sink::Sinks;
    use crate::daemon::spawner::open_log;
    use crate::logs::times_name;
    use crate::spec::Rotation;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_file_becomes_an_archive_that_nobody_writes_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(&path, "one\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
        let mut sinks = Sinks::default();
        let (id, _) = sinks.join(path.clone(), Some(open_log(&path).unwrap()), Some(Rotation::default()));
        let sink = sinks.get(id).unwrap();
        let first = sink.rotate().unwrap().unwrap();
        assert_eq!((text(&named(&path, first)).as_str(), text(&path).as_str()), ("one\n", ""));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o604);
        // Somebody has a file of the next name.
        let taken = Archive::next(u64::MAX / 1_000_000, Some(first));
        sink.newest = Some(Archive { moment: taken.moment - 1, ..taken });
        fs::write(named(&path, taken), "mine\n").unwrap();
        sink.file.as_mut().unwrap().write_all(b"two\n").unwrap();
        let second = sink.rotate().unwrap().unwrap();
        assert!(second > taken && text(&named(&path, taken)) == "mine\n" && text(&named(&path, second)) == "two\n");
    }

    #[test]
    fn links_and_what_is_no_file_are_refused_and_what_was_moved_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [path, real, link] = ["a.log", "real.log", "link.log"].map(|name| folder.path().join(name));
        fs::write(&real, "x\n").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut sinks = Sinks::default();
        let (id, _) = sinks.join(link.clone(), Some(open_log(&link).unwrap()), Some(Rotation::default()));
        let sink = sinks.get(id).unwrap();
        assert!(sink.rotate().unwrap_err().to_string().contains("symbolic link"));
        // It is not tried again for a while.
        assert!(!sink.is_full(1 << 40, 0));
        assert!(put_away(folder.path(), None, None).unwrap_err().to_string().contains("regular file"));
        let (id, _) = sinks.join(path.clone(), Some(open_log(&path).unwrap()), Some(Rotation::default()));
        fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        fs::write(&path, "theirs\n").unwrap();
        assert_eq!(sinks.get(id).unwrap().rotate().unwrap(), None);
        sinks.get(id).unwrap().file.as_mut().unwrap().write_all(b"ours\n").unwrap();
        assert_eq!(text(&path), "theirs\nours\n");
    }

    #[test]
    fn whoever_comes_with_a_file_that_is_an_archive_by_now_writes_to_the_one_of_that_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let [first, late] = [(); 2].map(|()| open_log(&path).unwrap());
        let mut sinks = Sinks::default();
        let (id, _) = sinks.join(path.clone(), Some(first), Some(Rotation::default()));
        sinks.get(id).unwrap().file.as_mut().unwrap().write_all(b"one\n").unwrap();
        let archive = sinks.get(id).unwrap().rotate().unwrap().unwrap();
        for late in [late.try_clone().unwrap(), late] {
            sinks.join(path.clone(), Some(late), Some(Rotation::default()));
            sinks.get(id).unwrap().file.as_mut().unwrap().write_all(b"two\n").unwrap();
            sinks.leave(id);
        }
        assert_eq!((text(&named(&path, archive)).as_str(), text(&path).as_str()), ("one\n", "two\ntwo\n"));
    }

    #[test]
    fn a_death_between_file_and_index_costs_no_times() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut sinks = Sinks::default();
        let (id, _) = sinks.join(path.clone(), Some(open_log(&path).unwrap()), Some(Rotation::default()));
        let sink = sinks.get(id).unwrap();
        sink.note(0);
        sink.file.as_mut().unwrap().write_all(b"one\n").unwrap();
        let archive = Archive::next(1_779_976_987_123, None);
        rename_to_new(&path, &named(&path, archive)).unwrap();
        // The next daemon.
        let mut sinks = Sinks::default();
        sinks.join(path.clone(), Some(open_log(&path).unwrap()), None);
        let times = folder.path().join(times_name(&archive.name("a.log")));
        assert_eq!(fs::metadata(times).unwrap().len(), 52);
        assert_eq!(fs::metadata(folder.path().join(".a.log.times")).unwrap().len(), 40);
    }

    #[test]
    fn a_file_is_put_away_when_its_time_is_over_also_when_nothing_comes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let rotation = Rotation { every: Some(Duration::from_secs(86_400)), ..Rotation::default() };
        let mut sinks = Sinks::default();
        let (id, _) = sinks.join(path.clone(), Some(open_log(&path).unwrap()), Some(rotation));
        let sink = sinks.get(id).unwrap();
        let day = Duration::from_secs(86_400);
        // Empty: as old as it may be.
        sink.on_begun(Some(SystemTime::now() - 2 * day));
        assert!(!sink.is_over());
        sink.note(0);
        sink.file.as_mut().unwrap().write_all(b"one\n").unwrap();
        assert!(!sink.is_over() && sink.ends.unwrap() <= SystemTime::now() + day);
        sink.on_begun(Some(SystemTime::now() - day));
        assert!(sink.is_over());
        // A line is waited for, though not for ever.
        sink.is_at_line_end = false;
        sink.ends = Some(SystemTime::now());
        assert!(!sink.is_over());
        sink.ends = Some(SystemTime::now() - LINE);
        assert!(sink.is_over());
        sink.rotate().unwrap().unwrap();
        assert!(!sink.is_over() && sink.is_at_line_end);
    }
}
