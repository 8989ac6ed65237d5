//! The file that records are appended to, shared by the engine and those who make processes.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use tracing::warn;

use crate::proto::{BornRecord, Record};
use crate::sys::moment::Moment;
use crate::sys::spawn::Birth;

/// How much space is set aside at a time, so that a full disk is noticed before the journal needs it.
const RESERVE: u64 = 1 << 20;

/// The handle of a journal.
#[derive(Clone, Debug)]
pub(crate) struct Journal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// Whoever writes holds it for reading: appends do not disturb each other. Only a new file is put in its place.
    file: RwLock<File>,
    written: AtomicU64,
    reserved: AtomicU64,
    /// Whether the last append may have left half a line, which the next record must not become a part of.
    is_torn: AtomicBool,
    /// What was written of runs that the engine has not taken in: it does not know of it when it writes anew.
    /// Bounded by the number of slots: each has one launch in flight at most.
    making: Mutex<BTreeMap<u64, Vec<Record>>>,
    /// Why the last append failed; until the journal has been written anew, it is not as it should be.
    trouble: Mutex<Option<String>>,
}

/// The file as it is while a process is made: nobody puts another one in its place.
pub(crate) struct Page<'a> {
    journal: &'a Journal,
    file: RwLockReadGuard<'a, File>,
    run: u64,
}

impl Journal {
    /// Puts a new journal in the place of what is there.
    ///
    /// # Errors
    ///
    /// What opening, writing or renaming the file says; then what was there is still there.
    pub(crate) fn begin(path: &Path, records: &[Record]) -> io::Result<Journal> {
        let (file, written) = write_new(path, records)?;
        Ok(Journal::of(path, file, written))
    }

    /// Appends to what is there, which could not be written anew.
    ///
    /// # Errors
    ///
    /// What opening the file says.
    pub(crate) fn go_on(path: &Path, why: &io::Error) -> io::Result<Journal> {
        let file = OpenOptions::new().append(true).open(path)?;
        let written = file.metadata()?.len();
        let journal = Journal::of(path, file, written);
        journal.0.is_torn.store(true, Ordering::Relaxed);
        journal.complain(why);
        Ok(journal)
    }

    fn of(path: &Path, file: File, written: u64) -> Journal {
        let journal = Journal(Arc::new(Shared {
            path: path.to_owned(),
            file: RwLock::new(file),
            written: AtomicU64::new(written),
            reserved: AtomicU64::new(0),
            is_torn: AtomicBool::new(false),
            making: Mutex::new(BTreeMap::new()),
            trouble: Mutex::new(None),
        }));
        journal.reserve(&journal.lock());
        journal
    }

    /// Appends records in one piece. What goes wrong is remembered: see [`Journal::trouble`].
    pub(crate) fn append(&self, records: &[Record]) {
        if records.is_empty() {
            return;
        }
        let appended = lines(records).and_then(|bytes| {
            let file = self.lock();
            self.write(&file, &bytes)
        });
        if let Err(error) = appended {
            self.complain(&error);
        }
    }

    /// Writes it anew; whether that was possible.
    pub(crate) fn renew(&self, records: &[Record]) -> bool {
        // Somebody is making a process, which can take its time: the next change tries again.
        let Ok(mut file) = self.0.file.try_write() else { return false };
        let mut whole = records.to_vec();
        whole.extend(self.making().values().flatten().cloned());
        let mut written = write_new(&self.0.path, &whole);
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull) {
            // What is set aside behind the end of the old one is there for this.
            written = file.metadata().and_then(|meta| file.set_len(meta.len())).and_then(|()| {
                self.0.reserved.store(0, Ordering::Relaxed);
                write_new(&self.0.path, &whole)
            });
        }
        match written {
            Ok((fresh, written)) => {
                *file = fresh;
                self.0.written.store(written, Ordering::Relaxed);
                self.0.is_torn.store(false, Ordering::Relaxed);
                *self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.reserve(&file);
                true
            }
            Err(error) => {
                drop(file);
                self.complain(&error);
                false
            }
        }
    }

    /// Holds the file in its place, while this run is made.
    pub(crate) fn page(&self, run: u64) -> Page<'_> {
        Page { journal: self, file: self.lock(), run }
    }

    /// The engine knows now what became of making this run.
    pub(crate) fn is_made(&self, run: u64) {
        self.making().remove(&run);
    }

    /// Bytes so far.
    pub(crate) fn written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// Why it is not as it should be, if it is not.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes it away: nothing runs any more, and there is nothing to go on with.
    pub(crate) fn end(&self) -> io::Result<()> {
        std::fs::remove_file(&self.0.path)
    }

    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<()> {
        let mut appending: &File = file;
        if self.0.is_torn.load(Ordering::Relaxed) {
            appending.write_all(b"\n")?;
            self.0.is_torn.store(false, Ordering::Relaxed);
        }
        appending.write_all(bytes).inspect_err(|_| self.0.is_torn.store(true, Ordering::Relaxed))?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let written = self.0.written.fetch_add(length, Ordering::Relaxed).saturating_add(length);
        if written + RESERVE / 4 > self.0.reserved.load(Ordering::Relaxed) {
            self.reserve(file);
        }
        Ok(())
    }

    /// Sets space aside behind the end. A filesystem that cannot do that loses nothing but the notice in time; one that is
    /// full is trouble already.
    fn reserve(&self, file: &File) {
        let written = self.written();
        // As much as it takes to write it anew, too.
        let more = RESERVE.saturating_add(written);
        let wanted = written.saturating_add(more);
        let (offset, length) = (i64::try_from(written), i64::try_from(more));
        if let (Ok(offset), Ok(length)) = (offset, length)
            && let Err(errno @ Errno::ENOSPC) = fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, length)
        {
            self.complain(&errno.into());
        }
        self.0.reserved.store(wanted, Ordering::Relaxed);
    }

    fn complain(&self, error: &io::Error) {
        let what = format!("cannot write the journal {}: {error}", self.0.path.display());
        let mut trouble = self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_ref() != Some(&what) {
            warn!("{what}");
        }
        *trouble = Some(what);
    }

    /// Every change behind this lock is one call of the map's.
    fn making(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<Record>>> {
        self.0.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is behind the lock is replaced whole; a panic elsewhere cannot have left it half written.
    fn lock(&self) -> RwLockReadGuard<'_, File> {
        self.0.file.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page<'_> {
    /// Appends what the process will be.
    pub(crate) fn launch(&self, launch: Record) {
        let records = vec![launch];
        let appended = lines(&records).and_then(|bytes| self.journal.write(&self.file, &bytes));
        if let Err(error) = appended {
            self.journal.complain(&error);
        }
        self.journal.making().insert(self.run, records);
    }

    /// The process is there, and has said so itself.
    pub(crate) fn born(&self, pid: u32, born: Moment) {
        let Moment { monotonic: at, boot } = born;
        let record = Record::Born(BornRecord { run: self.run, pid, at, boot });
        self.journal.making().entry(self.run).or_default().push(record);
    }

    /// The line by which a process tells that it is there.
    ///
    /// # Errors
    ///
    /// EMFILE.
    pub(crate) fn birth(&self) -> io::Result<Birth> {
        let (file, run): (OwnedFd, u64) = (self.file.as_fd().try_clone_to_owned()?, self.run);
        let (pid, moment) = ("#".repeat(10), "#".repeat(20));
        let torn = if self.journal.0.is_torn.load(Ordering::Relaxed) { "\n" } else { "" };
        let line = format!("{torn}{{\"born\":{{\"run\":{run},\"pid\":{pid},\"at\":{moment},\"boot\":{moment}}}}}\n");
        let undone = format!("{{\"unborn\":{{\"run\":{run}}}}}\n");
        Ok(Birth { file, line: line.into_bytes(), undone: undone.into_bytes() })
    }
}

fn lines(records: &[Record]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(records.len() * 256);
    for record in records {
        serde_json::to_writer(&mut bytes, record)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

fn write_new(path: &Path, records: &[Record]) -> io::Result<(File, u64)> {
    let fresh = path.with_extension("new");
    let bytes = lines(records)?;
    // What a daemon that died while writing may have left.
    let _ = std::fs::remove_file(&fresh);
    let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&fresh)?;
    if let Err(error) = file.write_all(&bytes).and_then(|()| std::fs::rename(&fresh, path)) {
        // On a full disk it would take the space that the journal needs itself.
        let _ = std::fs::remove_file(&fresh);
        return Err(error);
    }
    Ok((file, u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn what_is_being_made_is_in_a_journal_that_is_written_anew_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = Journal::begin(&path, &[]).unwrap();
        let page = journal.page(7);
        page.launch(Record::Words { run: 7, lines: vec!["its launch".into()] });
        assert!(!journal.renew(&[]), "a process would write into a file that is gone");
        page.born(4711, Moment { monotonic: 1, boot: 1 });
        drop(page);
        assert!(journal.renew(&[]));
        assert!(text(&path).contains("its launch") && text(&path).contains("4711"), "{}", text(&path));
        journal.is_made(7);
        assert!(journal.renew(&[]));
        assert_eq!(text(&path), "");
    }

    #[test]
    fn half_a_line_spoils_no_other_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        std::fs::write(&path, "{\"words\":{\"ru").unwrap();
        let journal = Journal::go_on(&path, &io::ErrorKind::StorageFull.into()).unwrap();
        let birth = String::from_utf8(journal.page(7).birth().unwrap().line).unwrap();
        assert!(birth.starts_with("\n{"), "{birth}");
        let record = Record::Removed { slot: 3 };
        journal.append(&[record.clone(), record.clone()]);
        let text = text(&path);
        let read: Vec<_> = text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok()).collect();
        assert_eq!(read, [record.clone(), record], "{text}");
    }
}
