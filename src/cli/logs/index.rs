//! The index of times beside a log file, as a reader uses it: when the bytes at an offset came, and where those since a
//! moment begin.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::logs::times::{self, ENTRY, Entry, HEADER, Header};
use crate::logs::times_name;

/// How many entries are read at once.
const CHUNK: usize = 512;

/// An index that is open.
pub(super) struct Index {
    file: File,
    /// The number of the next entry that is not in `ahead`.
    next: u64,
    /// The entry for the offset that was asked for last.
    current: Option<Entry>,
    ahead: VecDeque<Entry>,
    /// Whether there may be more in the file.
    has_more: bool,
}

/// Where the index of a log file or archive is.
pub(super) fn path_of(log: &Path) -> Option<PathBuf> {
    Some(log.with_file_name(times_name(log.file_name()?.to_str()?)))
}

impl Index {
    /// The index of a log file or an archive, if it has one that can be read.
    pub(super) fn open(log: &Path) -> Option<Index> {
        let file = File::open(path_of(log)?).ok()?;
        let index = Index { file, next: 0, current: None, ahead: VecDeque::new(), has_more: true };
        index.header().is_some().then_some(index)
    }

    /// What it says of the file as a whole; none if it was replaced by another index, or is just being written.
    pub(super) fn header(&self) -> Option<Header> {
        let mut bytes = [0; HEADER];
        self.file.read_exact_at(&mut bytes, 0).ok()?;
        Header::decode(&bytes)
    }

    /// Whether its name is another file's by now.
    pub(super) fn is_replaced(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.nlink() == 0)
    }

    /// The file has grown, so the index may have.
    pub(super) fn refresh(&mut self) {
        self.has_more = true;
    }

    /// When the bytes at this logical offset came, and whether no later entry is known. Offsets ascend from call to call.
    pub(super) fn moment(&mut self, offset: u64) -> Option<(u64, bool)> {
        if self.current.is_none() && self.next == 0 {
            self.seek(offset);
        }
        loop {
            match self.ahead.front() {
                Some(entry) if entry.offset <= offset => self.current = self.ahead.pop_front(),
                Some(_) => break,
                None if self.has_more => self.load(),
                None => break,
            }
        }
        self.current.map(|entry| (entry.moment, self.ahead.is_empty()))
    }

    /// The logical offset before which all bytes came before this moment; none if nothing is known.
    pub(super) fn begin_of(&self, moment: u64) -> Option<u64> {
        let spacing = u64::try_from(times::SPACING.as_millis()).unwrap_or_default();
        let first = times::partition(self.count().ok()?, |n| self.entry(n), |entry| entry.moment + spacing < moment);
        let first = first.ok()?;
        // Behind the last entry all is older; its own bytes are the last ones that could be asked for.
        (0..=first).rev().take(CHUNK).find_map(|n| self.entry(n).ok().flatten()).map(|entry| entry.offset)
    }

    fn seek(&mut self, offset: u64) {
        let count = self.count().unwrap_or_default();
        let behind = times::partition(count, |n| self.entry(n), |entry| entry.offset <= offset);
        self.next = behind.unwrap_or_default().saturating_sub(1);
    }

    fn load(&mut self) {
        let mut bytes = vec![0; CHUNK * ENTRY];
        let count = self.file.read_at(&mut bytes, times::place(self.next)).unwrap_or_default() / ENTRY;
        self.has_more = count == CHUNK;
        self.next += count as u64;
        self.ahead.extend(bytes.chunks_exact(ENTRY).take(count).filter_map(Entry::decode));
    }

    fn count(&self) -> io::Result<u64> {
        Ok(times::entries(self.file.metadata()?.len()))
    }

    /// The n-th entry; none if it is damaged or not there.
    fn entry(&self, n: u64) -> io::Result<Option<Entry>> {
        let mut bytes = [0; ENTRY];
        match self.file.read_exact_at(&mut bytes, times::place(n)) {
            Ok(()) => Ok(Entry::decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}
