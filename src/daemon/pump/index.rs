//! The index of times beside a log file: written as bytes come, renamed with the file. Without it logs are as good as
//! before, so what goes wrong here is told once and nothing else.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tracing::debug;

use crate::daemon::files::{archives, named};
use crate::daemon::pump::sink::{Identity, identity};
use crate::logs::Packing;
use crate::logs::times::{ENTRY, Entry, HEADER, Header, Note, Times, entries, place};
use crate::logs::times_name;

/// The index of one live file.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    file: File,
    header: Header,
    times: Times,
    /// Where the next entry belongs.
    end: u64,
}

/// The name of the index of a file.
pub(super) fn index_of(path: &Path) -> Option<PathBuf> {
    Some(path.with_file_name(times_name(path.file_name()?.to_str()?)))
}

impl Index {
    /// Opens the index of a file, or makes one. None: it cannot be done.
    pub(super) fn open(log: &Path, file: Identity) -> Option<Index> {
        let path = index_of(log)?;
        match Index::try_open(log, path.clone(), file) {
            Ok(index) => Some(index),
            Err(error) => {
                debug!("{}: {error}", path.display());
                None
            }
        }
    }

    fn try_open(log: &Path, path: PathBuf, identity: Identity) -> io::Result<Index> {
        let inode = identity.1;
        let options = || OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o640).to_owned();
        let file = options().open(&path)?;
        let length = file.metadata()?.len();
        let mut head = [0; HEADER];
        let known = file.read_exact_at(&mut head, 0).ok().and_then(|()| Header::decode(&head));
        let Some(header) = known.filter(|header| header.inode == inode) else {
            if known.is_some_and(|header| Index::catch_up(log, (identity.0, header.inode))) {
                return Index::try_open(log, path, identity);
            }
            let header = Header { inode, ..Header::default() };
            file.set_len(0)?;
            file.write_all_at(&header.encode(), 0)?;
            return Ok(Index { path, file, header, times: Times::default(), end: place(0) });
        };
        let count = entries(length);
        let mut last = [0; ENTRY];
        let last = count
            .checked_sub(1)
            .and_then(|n| file.read_exact_at(&mut last, place(n)).ok())
            .and_then(|()| Entry::decode(&last));
        Ok(Index { path, file, header, times: Times::after(last), end: place(count) })
    }

    /// Bytes are about to be appended behind so many others.
    pub(super) fn note(&mut self, size: u64, now: u64) {
        let written = match self.times.note(self.header.base + size, now) {
            Note::Nothing => return,
            Note::Append(entry) => self.file.write_all_at(&entry, self.end),
            Note::Anew(entry) => {
                self.end = place(0);
                let anew = self.file.set_len(0).and_then(|()| self.file.write_all_at(&self.header.encode(), 0));
                anew.and_then(|()| self.file.write_all_at(&entry, self.end))
            }
        };
        match written {
            Ok(()) => self.end += ENTRY as u64,
            Err(error) => debug!("{}: {error}", self.path.display()),
        }
    }

    /// The file was emptied: what comes counts on.
    pub(super) fn on_emptied(&mut self, bytes: u64) {
        self.header.base += bytes;
        if let Err(error) = self.file.write_all_at(&self.header.encode(), 0) {
            debug!("{}: {error}", self.path.display());
        }
    }

    /// When the first byte came.
    pub(super) fn began(&self) -> Option<SystemTime> {
        let mut first = [0; ENTRY];
        self.file.read_exact_at(&mut first, place(0)).ok()?;
        Entry::decode(&first).map(|entry| SystemTime::UNIX_EPOCH + Duration::from_millis(entry.moment))
    }

    /// The index that is here belongs to a file that has become an archive: it gets that one's name, too, if it is found.
    fn catch_up(log: &Path, file: Identity) -> bool {
        let all = archives(log).unwrap_or_default().into_iter().rev();
        let archive = all.filter(|archive| archive.packing == Packing::Plain).map(|archive| named(log, archive));
        let is_it = |path: &PathBuf| fs::metadata(path).ok().as_ref().and_then(identity) == Some(file);
        let Some(archive) = archive.into_iter().find(is_it) else { return false };
        if index_of(&archive).is_none_or(|index| index.exists()) {
            return false;
        }
        Index::follow(log, &archive);
        index_of(log).is_some_and(|left| !left.exists())
    }

    /// Gives the index of a file that is an archive now its name.
    pub(super) fn follow(path: &Path, archive: &Path) {
        let Some((old, new)) = index_of(path).zip(index_of(archive)) else { return };
        match fs::rename(&old, new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => debug!("{}: {error}", old.display()),
            Ok(()) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(path: &Path) -> (Header, Vec<(u64, u64)>) {
        let bytes = fs::read(index_of(path).unwrap()).unwrap();
        let all = bytes[HEADER..].chunks_exact(ENTRY).filter_map(Entry::decode);
        (Header::decode(&bytes).unwrap(), all.map(|entry| (entry.offset, entry.moment)).collect())
    }

    #[test]
    fn an_index_goes_on_where_a_predecessor_has_left_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut index = Index::open(&path, (1, 7)).unwrap();
        index.note(0, 1000);
        index.note(5, 1001);
        // A torn end.
        index.file.write_all_at(b"xyz", index.end).unwrap();
        let mut index = Index::open(&path, (1, 7)).unwrap();
        index.note(10, 1100);
        index.on_emptied(20);
        index.note(0, 2000);
        let header = Header { inode: 7, base: 20, cutting: 0 };
        assert_eq!(decoded(&path), (header, vec![(0, 1000), (10, 1100), (20, 2000)]));
        // Another file has this name now.
        Index::open(&path, (1, 8)).unwrap().note(0, 3000);
        assert_eq!(decoded(&path), (Header { inode: 8, ..Header::default() }, vec![(0, 3000)]));
    }
}
