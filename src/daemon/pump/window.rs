//! The window: the memory that bytes lie in between pipe and file. It outlives the pump, with a record in front of the
//! bytes that says what was about to happen to them.
//!
//! ```text
//!  idle ── arm ──> armed ── read(2) ──> armed, sentinel gone ── append ──> idle
//! ```
//!
//! The record is written before the read: how many bytes, and the file with its size. A sentinel stands where the last of
//! the bytes will be. The kernel copies them in one go, so a successor that finds the sentinel knows that the pipe still
//! has them; otherwise the window has them, and the size of the file tells how many it got.
//!
//! Why in one go: pipe_read (fs/pipe.c, 5.14 to 6.18) copies buffer by buffer and looks at signals only when it would
//! have to wait, which it does not while there are bytes. A copy ends early in one case, when a page of the destination
//! is missing and SIGKILL is pending; so every page is touched first. Two things break the count of bytes that a pipe
//! says it has: a program that reads from its own output, and one that sets O_DIRECT on it. Then the record is corrected
//! after the read, and a death in between loses bytes. write(2) may end early by SIGKILL, which the size tells.
//!
//! A death stops the thread between two instructions, so the order of stores that the compiler keeps is all that counts.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU64, compiler_fence};

use crate::logs::{FileMark, RECORD_WORDS, Record, SENTINEL, Torn};
use crate::sys::pipes::Peeker;
use crate::sys::shared::SharedMemory;

/// The most that is read in one go: a pipe at its largest common size (pipe(7): 64 KiB, up to 1 MiB).
pub(super) const READ: usize = 256 * 1024;

/// The beginning of a window, with the version of its form.
const MAGIC: u64 = u64::from_be_bytes(*b"rsxlogs\x01");

/// Where the magic number is, in words.
const MAGIC_AT: usize = 0;

/// Where the check of the record is; 0: there is none.
const CHECK_AT: usize = 1;

/// Where it says that appending to something without a size has begun.
const BEGUN_AT: usize = 2;

/// Where the record begins.
const RECORD_AT: usize = 8;

/// Where the bytes begin, in bytes.
const AREA: usize = 8192;

const _: () = assert!((RECORD_AT + RECORD_WORDS) * size_of::<u64>() <= AREA);

/// The whole of it.
const LENGTH: NonZeroUsize = NonZeroUsize::new(AREA + READ).unwrap();

/// Smaller pages than this are nowhere.
const PAGE: usize = 4096;

#[derive(Debug)]
pub(super) struct Window {
    memory: SharedMemory,
    sentinel: [u8; SENTINEL],
    /// None where there are no descriptors left for one: it is only needed to be sure about a few bytes.
    peeker: Option<Peeker>,
    words: Vec<u64>,
}

/// Why a window cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("cannot map it")]
    Memory(#[from] io::Error),
    #[error("it is no window of logs, or one of another version")]
    Foreign,
    #[error(transparent)]
    Torn(#[from] Torn),
    #[error("its record names {0} bytes, more than fit")]
    TooLong(u32),
}

/// What a dead pump had read and not written to its end.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) record: Record<'static>,
    /// Whether it had begun to write to something without a size.
    pub(super) begun: bool,
}

impl Window {
    pub(super) fn new() -> io::Result<Window> {
        let window = Window::on(SharedMemory::create("rsx-log-window", LENGTH)?);
        window.word(MAGIC_AT).store(MAGIC, Release);
        Ok(window)
    }

    /// A predecessor's window.
    pub(super) fn adopt(file: OwnedFd) -> Result<Window, Refused> {
        let window = Window::on(SharedMemory::adopt(file, LENGTH)?);
        if window.word(MAGIC_AT).load(Acquire) != MAGIC {
            return Err(Refused::Foreign);
        }
        window.record()?;
        Ok(window)
    }

    fn on(memory: SharedMemory) -> Window {
        let random = RandomState::new();
        let mut sentinel = [0; SENTINEL];
        for (half, part) in sentinel.chunks_mut(8).enumerate() {
            part.copy_from_slice(&random.hash_one(half).to_ne_bytes());
        }
        Window { memory, sentinel, peeker: Peeker::new().ok(), words: Vec::with_capacity(RECORD_WORDS) }
    }

    /// What the predecessor had read and not written to its end.
    pub(super) fn unfinished(&self) -> Result<Option<Unfinished>, Refused> {
        let Some(record) = self.record()? else { return Ok(None) };
        let length = record.length as usize;
        let end = self.area(length.saturating_sub(SENTINEL)..length);
        if end.iter().map(|byte| byte.load(Acquire)).eq(record.sentinel.into_iter().take(end.len())) {
            return Ok(None);
        }
        Ok(Some(Unfinished { record, begun: self.word(BEGUN_AT).load(Acquire) != 0 }))
    }

    fn record(&self) -> Result<Option<Record<'static>>, Refused> {
        let check = self.word(CHECK_AT).load(Acquire);
        if check == 0 {
            return Ok(None);
        }
        let words = &self.memory.words()[RECORD_AT..RECORD_AT + RECORD_WORDS];
        let words: Vec<u64> = words.iter().map(|word| word.load(Acquire)).collect();
        let record = Record::decode(&words, check)?;
        if record.length == 0 || record.length as usize > READ {
            return Err(Refused::TooLong(record.length));
        }
        Ok(Some(record))
    }

    /// Reads what waits in a pipe, 1 to [`READ`] bytes, on its way to this file. Whoever has written them calls
    /// [`Window::is_done`].
    pub(super) fn read(
        &mut self,
        waiting: usize,
        pipe: &impl AsFd,
        path: &Path,
        mark: Option<FileMark>,
    ) -> io::Result<usize> {
        let length = waiting.min(READ);
        self.prepare(length, pipe, path, mark)?;
        let count = match self.memory.read_into(AREA..AREA + length, pipe) {
            Ok(count) => count,
            Err(error) => {
                self.is_done();
                return Err(error);
            }
        };
        if count == 0 {
            self.is_done();
        } else if count < length {
            let sentinel = self.unlike(count);
            self.arm(count, sentinel, path, mark)?;
        }
        Ok(count)
    }

    /// Everything that comes before a read.
    pub(super) fn prepare(
        &mut self,
        length: usize,
        pipe: &impl AsFd,
        path: &Path,
        mark: Option<FileMark>,
    ) -> io::Result<()> {
        let sentinel = self.plant(length, pipe);
        self.arm(length, sentinel, path, mark)
    }

    /// Reads without a record: the bytes go nowhere.
    pub(super) fn read_idly(&self, pipe: &impl AsFd) -> io::Result<usize> {
        self.memory.read_into(AREA..AREA + READ, pipe)
    }

    /// One write(2) of those bytes that were read.
    pub(super) fn write(&self, from: usize, to: usize, file: &impl AsFd) -> io::Result<usize> {
        self.memory.write_from(AREA + from..AREA + to, file)
    }

    /// Appending to something without a size begins: what happens from now on cannot be told afterwards.
    pub(super) fn begins(&self) {
        self.word(BEGUN_AT).store(1, Release);
        compiler_fence(SeqCst);
    }

    /// The bytes are where they belong, or lost and told of.
    pub(super) fn is_done(&self) {
        compiler_fence(SeqCst);
        self.word(CHECK_AT).store(0, Release);
        compiler_fence(SeqCst);
    }

    /// Replaces `into` by the bytes from one place to another.
    pub(super) fn copy(&self, from: usize, to: usize, into: &mut Vec<u8>) {
        into.clear();
        into.extend(self.area(from..to).iter().map(|byte| byte.load(Relaxed)));
    }

    /// Makes a place ready to be read into: its pages are there, and at its end stands what the bytes will not be.
    fn plant(&mut self, length: usize, pipe: &impl AsFd) -> [u8; SENTINEL] {
        for page in (0..length).step_by(PAGE) {
            self.area(page..page + 1)[0].store(0, Relaxed);
        }
        let mut sentinel = self.sentinel;
        if length < SENTINEL {
            // A few bytes could well be what a random number is. So they are looked at before; where that is not allowed,
            // the random number has to do.
            let mut first = [0; SENTINEL];
            if let Some(peeker) = &mut self.peeker
                && peeker.first(pipe, &mut first[..length]).is_ok()
            {
                sentinel = first.map(|byte| !byte);
            }
        }
        let end = self.area(length.saturating_sub(SENTINEL)..length);
        end.iter().zip(sentinel).for_each(|(byte, value)| byte.store(value, Relaxed));
        sentinel
    }

    /// A sentinel that does not stand where it would have to.
    fn unlike(&self, length: usize) -> [u8; SENTINEL] {
        let end = self.area(length.saturating_sub(SENTINEL)..length);
        let mut sentinel = [0; SENTINEL];
        sentinel.iter_mut().zip(end).for_each(|(value, byte)| *value = !byte.load(Relaxed));
        sentinel
    }

    fn arm(&mut self, length: usize, sentinel: [u8; SENTINEL], path: &Path, mark: Option<FileMark>) -> io::Result<()> {
        self.is_done();
        let length = u32::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
        let record = Record { length, sentinel, path: Cow::Borrowed(path), mark };
        let check = record.encode(&mut self.words).ok_or(io::ErrorKind::InvalidFilename)?;
        for (place, word) in self.memory.words()[RECORD_AT..].iter().zip(&self.words) {
            place.store(*word, Relaxed);
        }
        self.word(BEGUN_AT).store(0, Relaxed);
        self.word(CHECK_AT).store(check, Release);
        compiler_fence(SeqCst);
        Ok(())
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.memory.words()[index]
    }

    fn area(&self, range: std::ops::Range<usize>) -> &[AtomicU8] {
        &self.memory.bytes()[AREA + range.start..AREA + range.end]
    }
}

impl AsFd for Window {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}
