//! The file that records are appended to, shared by the engine and those who make processes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use nix::fcntl::{FallocateFlags, fallocate};
use tracing::warn;

use crate::proto::Record;
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
    /// Why the last append failed; until the journal has been written anew, it is not as it should be.
    trouble: Mutex<Option<String>>,
}

/// The file as it is while a process is made: nobody puts another one in its place.
pub(crate) struct Page<'a>(RwLockReadGuard<'a, File>);

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
        journal.complain(why);
        Ok(journal)
    }

    fn of(path: &Path, file: File, written: u64) -> Journal {
        let journal = Journal(Arc::new(Shared {
            path: path.to_owned(),
            file: RwLock::new(file),
            written: AtomicU64::new(written),
            reserved: AtomicU64::new(0),
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
        match write_new(&self.0.path, records) {
            Ok((fresh, written)) => {
                *file = fresh;
                self.0.written.store(written, Ordering::Relaxed);
                self.0.reserved.store(0, Ordering::Relaxed);
                *self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
                true
            }
            Err(error) => {
                drop(file);
                self.complain(&error);
                false
            }
        }
    }

    /// Holds the file in its place.
    pub(crate) fn page(&self) -> Page<'_> {
        Page(self.lock())
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
        appending.write_all(bytes)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let written = self.0.written.fetch_add(length, Ordering::Relaxed).saturating_add(length);
        if written + RESERVE / 4 > self.0.reserved.load(Ordering::Relaxed) {
            self.reserve(file);
        }
        Ok(())
    }

    /// Sets space aside behind the end. A filesystem that cannot loses nothing but the notice in time.
    fn reserve(&self, file: &File) {
        let written = self.written();
        let wanted = written + RESERVE;
        let (offset, length) = (i64::try_from(written), i64::try_from(RESERVE));
        if let (Ok(offset), Ok(length)) = (offset, length) {
            let _ = fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, length);
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

    /// What is behind the lock is replaced whole; a panic elsewhere cannot have left it half written.
    fn lock(&self) -> RwLockReadGuard<'_, File> {
        self.0.file.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page<'_> {
    /// The line by which a process tells that it is there.
    ///
    /// # Errors
    ///
    /// EMFILE.
    pub(crate) fn birth(&self, run: u64) -> io::Result<Birth> {
        let file: OwnedFd = self.0.as_fd().try_clone_to_owned()?;
        let (pid, moment) = ("#".repeat(10), "#".repeat(20));
        let line = format!("{{\"born\":{{\"run\":{run},\"pid\":{pid},\"at\":{moment},\"boot\":{moment}}}}}\n");
        Ok(Birth { file, line: line.into_bytes() })
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
    file.write_all(&bytes)?;
    std::fs::rename(&fresh, path)?;
    Ok((file, u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
}
