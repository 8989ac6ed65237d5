//! The lock that says that a daemon lives: one file, two locks, bound to the open file (fcntl(2): F_OFD_SETLK).
//!
//! Byte 0 is held for the life of a daemon, by guardian and daemon together, because both hold the same open file; the
//! kernel lets it go with the last of them, however they end. Byte 1 is held by the client that is starting one.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

/// The text of a lock file is one line for people; no more of it is ever read.
const MAX_TEXT: usize = 128;

const LIFE: libc::off_t = 0;
const START: libc::off_t = 1;

/// Whether a daemon lives, as far as the lock file at this path says. Never makes the file: without it none does.
pub fn daemon_lives(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    LockFile { file, path: path.to_owned() }.life_is_held().unwrap_or(false)
}

/// An open lock file.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    path: PathBuf,
}

/// A lock that was waited for; given back when dropped.
#[derive(Debug)]
pub struct Held {
    _file: File,
}

impl LockFile {
    /// Opens it, and makes it where it is missing. Takes no lock.
    ///
    /// # Errors
    ///
    /// Whatever open(2) says.
    pub fn open(path: &Path) -> io::Result<LockFile> {
        Ok(LockFile { file: open(path)?, path: path.to_owned() })
    }

    /// The lock file at this path, open already; with it come the locks that this open file holds.
    pub fn from_fd(fd: OwnedFd, path: &Path) -> LockFile {
        LockFile { file: File::from(fd), path: path.to_owned() }
    }

    /// Takes the lock of a daemon's life, for as long as this file is open anywhere; whether it was free.
    ///
    /// # Errors
    ///
    /// Whatever fcntl(2) says, for instance ENOLCK on some network file systems.
    pub fn try_life(&self) -> io::Result<bool> {
        try_lock(&self.file, LIFE)
    }

    /// Whether somebody else holds the lock of a daemon's life. Whoever holds it himself is told no.
    ///
    /// # Errors
    ///
    /// Whatever fcntl(2) says.
    pub fn life_is_held(&self) -> io::Result<bool> {
        let mut found = whole_byte(LIFE);
        fcntl(&self.file, FcntlArg::F_OFD_GETLK(&mut found))?;
        Ok(found.l_type != unlocked())
    }

    /// Takes the right to start a daemon; waits at most this long for it.
    ///
    /// # Errors
    ///
    /// `TimedOut`, or whatever open(2) and fcntl(2) say.
    pub fn start(&self, timeout: Duration) -> io::Result<Held> {
        self.take(START, timeout)
    }

    /// Waits for the end of whoever holds the lock of a daemon's life, at most this long.
    ///
    /// # Errors
    ///
    /// As [`LockFile::start`].
    pub fn until_life_ends(&self, timeout: Duration) -> io::Result<()> {
        self.take(LIFE, timeout).map(drop)
    }

    fn take(&self, byte: libc::off_t, timeout: Duration) -> io::Result<Held> {
        let file = open(&self.path)?;
        if try_lock(&file, byte)? {
            return Ok(Held { _file: file });
        }
        // The kernel's wait has no time limit, so a thread waits. If it gets the lock after we stopped listening,
        // nobody takes the file, it is closed, and the lock is free again.
        let (sender, receiver) = mpsc::sync_channel(1);
        let wait = move || {
            let locked = wait_for_lock(&file, byte);
            // An error here means that nobody waits any more: dropping the file is what is left to do.
            drop(sender.send(locked.map(|()| file)));
        };
        std::thread::Builder::new().name("rsx-lock".into()).spawn(wait)?;
        match receiver.recv_timeout(timeout) {
            Ok(locked) => Ok(Held { _file: locked? }),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Replaces the text, for people.
    ///
    /// # Errors
    ///
    /// ENOSPC and the like.
    pub fn write_text(&self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(text.as_bytes(), 0)
    }

    /// The text, without white space around it.
    ///
    /// # Errors
    ///
    /// Whatever read(2) says.
    pub fn read_text(&self) -> io::Result<String> {
        let mut buffer = [0; MAX_TEXT];
        let length = self.file.read_at(&mut buffer, 0)?;
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        Ok(text.trim().to_owned())
    }

    /// A duplicate that keeps the locks alive, to be handed to a child.
    ///
    /// # Errors
    ///
    /// EMFILE.
    pub fn try_clone_fd(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }
}

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn try_lock(file: &File, byte: libc::off_t) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_byte(byte))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn wait_for_lock(file: &File, byte: libc::off_t) -> io::Result<()> {
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLKW(&whole_byte(byte))) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A write lock on one byte.
fn whole_byte(byte: libc::off_t) -> libc::flock {
    // SAFETY: flock is plain data; all zeros is a valid value, and l_pid has to be 0 for these locks.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::c_short::try_from(libc::F_WRLCK).unwrap_or_default();
    lock.l_whence = libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default();
    lock.l_start = byte;
    lock.l_len = 1;
    lock
}

fn unlocked() -> libc::c_short {
    libc::c_short::try_from(libc::F_UNLCK).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Signal;
    use crate::sys::spawn::spawn;
    use crate::sys::testing::{end_of, shell};

    fn folder_and_lock() -> (tempfile::TempDir, LockFile) {
        let folder = tempfile::tempdir().unwrap();
        let lock = LockFile::open(&folder.path().join("lock")).unwrap();
        (folder, lock)
    }

    /// Another test may be starting a program just now, and that child has everything open until it executes.
    #[track_caller]
    fn until_free(lock: &LockFile) {
        wait_for_lock(&lock.file, LIFE).unwrap();
    }

    #[test]
    fn a_life_is_seen_by_others_only_and_ends_with_its_file() {
        let (_folder, lock) = folder_and_lock();
        let other = LockFile::open(&lock.path).unwrap();
        assert!(!other.life_is_held().unwrap());
        assert!(lock.try_life().unwrap());
        assert!(other.life_is_held().unwrap());
        assert!(!other.try_life().unwrap());
        drop(lock);
        until_free(&other);
    }

    #[test]
    fn a_life_goes_on_in_a_child_that_holds_the_file() {
        let (_folder, lock) = folder_and_lock();
        let other = LockFile::open(&lock.path).unwrap();
        assert!(lock.try_life().unwrap());
        let mut launch = shell("exec sleep 1000");
        launch.keep.push(lock.try_clone_fd().unwrap());
        let child = spawn(&launch).unwrap();
        drop((launch, lock));
        assert!(other.life_is_held().unwrap());
        child.signal(Signal::KILL).unwrap();
        end_of(&child);
        until_free(&other);
    }

    #[test]
    fn one_starts_and_the_others_wait_for_it() {
        let (_folder, lock) = folder_and_lock();
        let first = lock.start(Duration::from_secs(5)).unwrap();
        let late = lock.start(Duration::from_millis(1)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        let path = lock.path.clone();
        let second = std::thread::spawn(move || LockFile::open(&path).unwrap().start(Duration::from_secs(20)));
        drop(first);
        let second = second.join().unwrap().unwrap();
        drop(second);
    }

    #[test]
    fn both_locks_are_independent() {
        let (_folder, lock) = folder_and_lock();
        let _starting = lock.start(Duration::ZERO).unwrap();
        assert!(!lock.life_is_held().unwrap());
        assert!(LockFile::open(&lock.path).unwrap().try_life().unwrap());
    }

    #[test]
    fn a_shorter_text_replaces_a_longer_one() {
        let (_folder, lock) = folder_and_lock();
        lock.write_text("123456\n").unwrap();
        lock.write_text("7\n").unwrap();
        assert_eq!(lock.read_text().unwrap(), "7");
    }
}
