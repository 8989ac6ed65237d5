//! The window: the memory that bytes lie in between pipe and file. It outlives the pump, with a record in front of the
//! bytes that says what was about to happen to them.
//!
//! ```text
//!          arm            read(2)              arm         append
//!  idle ────────> armed ────────────> taken ────────> ... ────────> idle
//!                          sentinel gone
//! ```
//!
//! Lines that stay as they are go from the pipe through one common buffer into their file: the record names both before
//! the read. Lines that get another form, or share a file with others, are waited for in a buffer of their stream's own:
//! one record is for the read, one for each batch of lines in its new form and for what is left in the buffer then.
//!
//! A record is written before what it tells of: how many bytes, the files with their sizes, and the state of the buffer
//! when all is done. A sentinel stands where the last of the bytes will be. The kernel copies them in one go, so a successor
//! that finds the sentinel knows that the pipe still has them; otherwise the window has them, and the sizes of the files tell
//! how many they got. There are two places for records, and one word says which counts: one follows another without a gap.
//!
//! Why in one go: pipe_read (fs/pipe.c, 5.14 to 6.18) copies buffer by buffer and looks at signals only when it would
//! have to wait, which it does not while there are bytes. A copy ends early in one case, when a page of the destination
//! is missing and SIGKILL is pending; so every page is touched first. Two things break the count of bytes that a pipe
//! says it has: a program that reads from its own output, and one that sets O_DIRECT on it. Then the record is corrected
//! after the read, and a death in between loses bytes. write(2) may end early by SIGKILL, which the size tells.
//!
//! A death stops the thread between two instructions, so the order of stores that the compiler keeps is all that counts.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU64, compiler_fence};

use crate::logs::{Area, RECORD_WORDS, Record, SENTINEL, Span, Target, Torn, WHOLE_LINE};
use crate::spec::Stream;
use crate::supervisor::RunId;
use crate::sys::pipes::Peeker;
use crate::sys::shared::SharedMemory;

/// The most that is read in one go on its way through the common buffer.
pub(super) const READ: usize = 256 * 1024;

/// The most that is read in one go into a buffer of a stream's own: a pipe at its usual size.
const READ_LINES: usize = 64 * 1024;

/// The size of such a buffer: the longest unfinished line and a read fit into it wherever that line begins.
const BUFFER: usize = 2 * WHOLE_LINE + READ_LINES;

/// How many there are; who gets none has its lines written as they come.
const BUFFERS: usize = 1024;

/// The room for lines in their new form.
pub(super) const SHAPED: usize = 256 * 1024;

/// The beginning of a window, with the version of its form.
const MAGIC: u64 = u64::from_be_bytes(*b"rsxlogs\x02");

/// Where the magic number is, in words.
const MAGIC_AT: usize = 0;

/// Where it says which record counts: 0 none, 1 or 2.
const ACTIVE_AT: usize = 1;

/// Where the two records are, in words: the check, what has begun, then the record.
const RECORDS_AT: [usize; 2] = [512, 2048];

/// Where the heads of the buffers are, in words: whose, and what it holds.
const HEADS_AT: usize = 3584;

/// Where bytes begin.
const SHAPED_AT: usize = 49_152;

const COMMON_AT: usize = SHAPED_AT + SHAPED;

const BUFFERS_AT: usize = COMMON_AT + READ;

const _: () =
    assert!(RECORDS_AT[0] + 2 + RECORD_WORDS <= RECORDS_AT[1] && RECORDS_AT[1] + 2 + RECORD_WORDS <= HEADS_AT);
const _: () = assert!((HEADS_AT + 2 * (BUFFERS + 1)) * size_of::<u64>() <= SHAPED_AT);

/// The whole of it. Pages that are never touched cost nothing.
pub(super) const LENGTH: NonZeroUsize = NonZeroUsize::new(BUFFERS_AT + BUFFERS * BUFFER).unwrap();

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

/// The buffer of a stream's own, or the common one, which nothing stays in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Buffer(u32);

impl Buffer {
    pub(super) const COMMON: Buffer = Buffer(0);
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
    #[error("its record names bytes that are outside of it")]
    Outside,
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

    // Records.

    /// What the predecessor had not brought to its end, and which of its appends to something without a size had begun.
    pub(super) fn unfinished(&self) -> Result<Option<(Record<'static>, u64)>, Refused> {
        let Some(record) = self.record()? else { return Ok(None) };
        let range = record.from as usize..record.to as usize;
        if let Some(sentinel) = record.sentinel {
            let end = self.area(record.area, Buffer(record.buffer), tail(&range));
            if end.iter().map(|byte| byte.load(Acquire)).eq(sentinel.into_iter().take(end.len())) {
                return Ok(None);
            }
        }
        let begun = self.active().map_or(0, |at| self.word(RECORDS_AT[at] + 1).load(Acquire));
        Ok(Some((record, begun)))
    }

    fn record(&self) -> Result<Option<Record<'static>>, Refused> {
        let Some(active) = self.active() else { return Ok(None) };
        let at = RECORDS_AT[active];
        let words: Vec<u64> =
            self.memory.words()[at + 2..at + 2 + RECORD_WORDS].iter().map(|word| word.load(Acquire)).collect();
        let record = Record::decode(&words, self.word(at).load(Acquire))?;
        let (from, to) = (record.from as usize, record.to as usize);
        let length = match record.area {
            Area::Shaped => SHAPED,
            Area::Buffer if record.buffer == 0 => READ,
            Area::Buffer => BUFFER,
        };
        let fits = |span: Span| span.start <= span.end && span.end as usize <= BUFFER.max(READ);
        if record.buffer as usize > BUFFERS || from > to || to > length || !fits(record.then) {
            return Err(Refused::Outside);
        }
        Ok(Some(record))
    }

    fn active(&self) -> Option<usize> {
        match self.word(ACTIVE_AT).load(Acquire) {
            1 => Some(0),
            2 => Some(1),
            _ => None,
        }
    }

    /// Writes a record down. From now on it counts, and no other one.
    pub(super) fn arm(&mut self, record: &Record<'_>) -> io::Result<()> {
        let check = record.encode(&mut self.words).ok_or(io::ErrorKind::InvalidFilename)?;
        let next = self.active().map_or(0, |active| 1 - active);
        let at = RECORDS_AT[next];
        for (place, word) in self.memory.words()[at + 2..].iter().zip(&self.words) {
            place.store(*word, Relaxed);
        }
        self.word(at + 1).store(0, Relaxed);
        self.word(at).store(check, Relaxed);
        compiler_fence(SeqCst);
        self.word(ACTIVE_AT).store(next as u64 + 1, Release);
        compiler_fence(SeqCst);
        Ok(())
    }

    /// Appending to a target without a size begins: what happens from now on cannot be told afterwards.
    pub(super) fn begins(&self, target: usize) {
        if let Some(active) = self.active() {
            self.word(RECORDS_AT[active] + 1).fetch_or(1 << target, Release);
        }
        compiler_fence(SeqCst);
    }

    /// The bytes are where they belong, or lost and told of.
    pub(super) fn is_done(&self, buffer: Buffer, then: Span) {
        compiler_fence(SeqCst);
        self.head(buffer)[1].store(then.to_word(), Release);
        compiler_fence(SeqCst);
        self.word(ACTIVE_AT).store(0, Release);
        compiler_fence(SeqCst);
    }

    /// What was on record did not happen.
    pub(super) fn forget(&self) {
        self.word(ACTIVE_AT).store(0, Release);
        compiler_fence(SeqCst);
    }

    // Buffers.

    /// The buffer of a stream: the one that it had under a predecessor, or a free one; whether it is new.
    pub(super) fn claim(&self, run: RunId, stream: Stream) -> Option<(Buffer, bool)> {
        if let Some(own) = self.buffer_with(owner(run, stream)) {
            return Some((own, false));
        }
        let free = self.buffer_with(0)?;
        self.head(free)[1].store(0, Release);
        compiler_fence(SeqCst);
        self.head(free)[0].store(owner(run, stream), Release);
        Some((free, true))
    }

    /// Whether a stream has a buffer.
    pub(super) fn is_claimed(&self, run: RunId, stream: Stream) -> bool {
        self.buffer_with(owner(run, stream)).is_some()
    }

    fn buffer_with(&self, owner: u64) -> Option<Buffer> {
        let numbers = (1..=BUFFERS).filter_map(|number| u32::try_from(number).ok()).map(Buffer);
        numbers.into_iter().find(|buffer| self.head(*buffer)[0].load(Acquire) == owner)
    }

    /// What comes into an empty buffer goes on with a line whose beginning is in the file.
    pub(super) fn set_open(&self, buffer: Buffer) {
        self.head(buffer)[1].store(Span { open: true, ..self.span(buffer) }.to_word(), Release);
    }

    /// Gives a buffer back.
    pub(super) fn release(&self, buffer: Buffer) {
        if buffer != Buffer::COMMON {
            self.head(buffer)[0].store(0, Release);
            compiler_fence(SeqCst);
        }
    }

    pub(super) fn span(&self, buffer: Buffer) -> Span {
        let span = Span::from_word(self.head(buffer)[1].load(Acquire));
        if span.start <= span.end && span.end as usize <= BUFFER { span } else { Span::default() }
    }

    /// Moves what a buffer holds to its front, if it can be done so that either all or nothing has happened.
    fn make_room(&self, buffer: Buffer) -> Span {
        let old = self.span(buffer);
        let length = old.end - old.start;
        if old.start == 0 || length > old.start {
            return old;
        }
        let mut bytes = Vec::new();
        self.copy(Area::Buffer, buffer, old.range(), &mut bytes);
        // The range is that of a span, which lies within the buffer.
        let _ = self.memory.copy_in(base(Area::Buffer, buffer), &bytes);
        compiler_fence(SeqCst);
        let new = Span { start: 0, end: length, open: old.open };
        self.head(buffer)[1].store(new.to_word(), Release);
        new
    }

    // Bytes.

    /// Reads what waits in a pipe, 1 to [`READ`] bytes, through the common buffer, on its way to this file. Whoever has
    /// written them calls [`Window::is_done`].
    pub(super) fn read(&mut self, waiting: usize, pipe: &impl AsFd, target: Target<'_>) -> io::Result<usize> {
        let length = waiting.min(READ);
        self.prepare(length, pipe, target.clone())?;
        let count = self.read_into(Buffer::COMMON, 0..length, pipe)?;
        if count == 0 {
            self.is_done(Buffer::COMMON, Span::default());
        } else if count < length {
            self.arm(&through(0..count, None, target))?;
        }
        Ok(count)
    }

    /// Everything that comes before such a read.
    pub(super) fn prepare(&mut self, length: usize, pipe: &impl AsFd, target: Target<'_>) -> io::Result<()> {
        let sentinel = self.plant(Buffer::COMMON, 0..length, pipe);
        self.arm(&through(0..length, Some(sentinel), target))
    }

    /// Reads what waits in a pipe into the buffer of its own; 0 is its end.
    pub(super) fn read_lines(&mut self, waiting: usize, pipe: &impl AsFd, buffer: Buffer) -> io::Result<usize> {
        let span = self.make_room(buffer);
        let range = span.end as usize..span.end as usize + waiting.min(READ_LINES).min(BUFFER - span.end as usize);
        let sentinel = self.plant(buffer, range.clone(), pipe);
        let grown = |count: usize| Span { end: span.end + u32::try_from(count).unwrap_or(0), ..span };
        let (from, to) = (span.end, grown(range.len()).end);
        let then = grown(range.len());
        let (area, number) = (Area::Buffer, buffer.0);
        self.arm(&Record { area, from, to, sentinel: Some(sentinel), buffer: number, then, targets: Vec::new() })?;
        match self.read_into(buffer, range, pipe) {
            Ok(count) => {
                self.is_done(buffer, grown(count));
                Ok(count)
            }
            Err(error) => {
                self.is_done(buffer, span);
                Err(error)
            }
        }
    }

    fn read_into(&mut self, buffer: Buffer, range: Range<usize>, pipe: &impl AsFd) -> io::Result<usize> {
        let base = base(Area::Buffer, buffer);
        let read = self.memory.read_into(base + range.start..base + range.end, pipe);
        if read.is_err() && buffer == Buffer::COMMON {
            self.is_done(buffer, Span::default());
        }
        read
    }

    /// Reads without a record: the bytes go nowhere.
    pub(super) fn read_idly(&self, pipe: &impl AsFd) -> io::Result<usize> {
        self.memory.read_into(COMMON_AT..COMMON_AT + READ, pipe)
    }

    /// Puts lines in their new form into their place.
    pub(super) fn put_shaped(&self, bytes: &[u8]) -> io::Result<()> {
        self.memory.copy_in(SHAPED_AT, bytes)
    }

    /// One write(2) of bytes.
    pub(super) fn write(&self, area: Area, buffer: Buffer, range: Range<usize>, file: &impl AsFd) -> io::Result<usize> {
        let base = base(area, buffer);
        self.memory.write_from(base + range.start..base + range.end, file)
    }

    /// One byte.
    pub(super) fn byte(&self, area: Area, buffer: Buffer, at: usize) -> Option<u8> {
        self.memory.bytes().get(base(area, buffer) + at).map(|byte| byte.load(Relaxed))
    }

    /// Replaces `into` by bytes.
    pub(super) fn copy(&self, area: Area, buffer: Buffer, range: Range<usize>, into: &mut Vec<u8>) {
        into.clear();
        let base = base(area, buffer);
        // Ranges come from spans and records, which were checked.
        let _ = self.memory.copy_out(base + range.start..base + range.end, into);
    }

    /// Makes a place ready to be read into: its pages are there, and at its end stands what the bytes will not be.
    fn plant(&mut self, buffer: Buffer, range: Range<usize>, pipe: &impl AsFd) -> [u8; SENTINEL] {
        for page in range.clone().step_by(PAGE) {
            self.area(Area::Buffer, buffer, page..page + 1)[0].store(0, Relaxed);
        }
        let mut sentinel = self.sentinel;
        if range.len() < SENTINEL {
            // A few bytes could well be what a random number is. So they are looked at before; where that is not allowed,
            // the random number has to do.
            let mut first = [0; SENTINEL];
            if let Some(peeker) = &mut self.peeker
                && peeker.first(pipe, &mut first[..range.len()]).is_ok()
            {
                sentinel = first.map(|byte| !byte);
            }
        }
        let end = self.area(Area::Buffer, buffer, tail(&range));
        // The last page may not be the last one that was touched.
        end.iter().zip(sentinel).for_each(|(byte, value)| byte.store(value, Relaxed));
        sentinel
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.memory.words()[index]
    }

    fn head(&self, buffer: Buffer) -> &[AtomicU64] {
        let at = HEADS_AT + 2 * buffer.0 as usize;
        &self.memory.words()[at..at + 2]
    }

    fn area(&self, area: Area, buffer: Buffer, range: Range<usize>) -> &[AtomicU8] {
        let base = base(area, buffer);
        &self.memory.bytes()[base + range.start..base + range.end]
    }
}

impl AsFd for Window {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

/// The record of bytes that go through the common buffer.
pub(super) fn through<'a>(range: Range<usize>, sentinel: Option<[u8; SENTINEL]>, target: Target<'a>) -> Record<'a> {
    let [from, to] = [range.start, range.end].map(|at| u32::try_from(at).unwrap_or(0));
    let then = Span::default();
    Record { area: Area::Buffer, from, to, sentinel, buffer: 0, then, targets: vec![target] }
}

/// The record of lines in their new form.
pub(super) fn shaped<'a>(length: usize, buffer: Buffer, then: Span, targets: Vec<Target<'a>>) -> Record<'a> {
    let to = u32::try_from(length).unwrap_or(0);
    Record { area: Area::Shaped, from: 0, to, sentinel: None, buffer: buffer.0, then, targets }
}

/// The buffer that a record is about.
pub(super) fn buffer_of(record: &Record<'_>) -> Buffer {
    Buffer(record.buffer)
}

fn base(area: Area, buffer: Buffer) -> usize {
    match (area, buffer.0) {
        (Area::Shaped, _) => SHAPED_AT,
        (Area::Buffer, 0) => COMMON_AT,
        (Area::Buffer, number) => BUFFERS_AT + (number as usize - 1) * BUFFER,
    }
}

/// Where the sentinel stands.
fn tail(range: &Range<usize>) -> Range<usize> {
    range.end.saturating_sub(SENTINEL).max(range.start)..range.end
}

fn owner(run: RunId, stream: Stream) -> u64 {
    let stream = match stream {
        Stream::Out => 0,
        Stream::Error => 1,
    };
    (run.0 << 1 | stream) + 1
}
