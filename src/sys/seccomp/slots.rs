//! Questions in memory that outlives this process.
//!
//! The kernel writes a question straight into a shared page (memfd_create(2), mmap(2): MAP_SHARED). Whoever holds the
//! page too, the guardian, keeps it when this process dies between the question and the answer: SIGKILL cannot come in
//! the middle of the kernel's copying. Free is a slot whose id is zero.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::ftruncate;

use crate::sys::seccomp::filter;

/// How many questions can be open at once.
const COUNT: usize = 32;
/// Of one slot. The kernel's part has 80 bytes today; it may grow (seccomp(2): SECCOMP_GET_NOTIF_SIZES).
const STRIDE: usize = 128;
/// Where our own word about a slot lies, behind the kernel's part.
const MARK: usize = STRIDE - 8;
const LENGTH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(COUNT * STRIDE - 1);

/// Places for questions, shared with whoever holds the descriptor.
///
/// Used by one thread of one process at a time: the successor begins when this process is gone.
#[derive(Debug)]
pub struct Slots {
    memory: NonNull<libc::c_void>,
    fd: OwnedFd,
}

// SAFETY: the mapping is no thread's own, and nothing here is changed by `&self` of two threads, because `Slots` is not
// `Sync`.
unsafe impl Send for Slots {}

/// One place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotIndex(usize);

/// What a captured program wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Its child asks whether the listener is safe (see [`crate::sys::spawn::spawn_captured`]).
    Gate,
    /// bind(2).
    Bind {
        /// The socket, in the caller's table.
        fd: RawFd,
        /// Where the address lies in the caller's memory.
        address: u64,
        /// And how long it says that is.
        length: u32,
    },
    /// listen(2).
    Listen {
        /// The socket, in the caller's table.
        fd: RawFd,
        /// The length of the queue that it asks for.
        backlog: i32,
    },
    /// No call that the filter asks about.
    Other,
}

/// A question that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// What is asked.
    pub call: Call,
    /// What the asker's listener was received with.
    pub mark: u64,
    pub(super) id: u64,
    pub(super) thread: libc::pid_t,
}

impl Question {
    /// The number of the thread that asks, for showing only.
    pub fn display_thread(&self) -> u32 {
        self.thread.unsigned_abs()
    }
}

impl Slots {
    /// New places, all free.
    ///
    /// # Errors
    ///
    /// EMFILE, ENOMEM.
    pub fn new() -> io::Result<Slots> {
        let fd = memfd_create("rsx-questions", MFdFlags::MFD_CLOEXEC)?;
        ftruncate(&fd, i64::try_from(LENGTH.get()).map_err(io::Error::other)?)?;
        Slots::from_fd(fd)
    }

    /// The places of a predecessor.
    ///
    /// # Errors
    ///
    /// `InvalidData` for something else; ENOMEM.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Slots> {
        // Touching a page behind a file's end would be the end of this process.
        if usize::try_from(nix::sys::stat::fstat(&fd)?.st_size) != Ok(LENGTH.get()) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing of ours.
        let memory = unsafe { mmap(None, LENGTH, protection, MapFlags::MAP_SHARED, &fd, 0) }?;
        Ok(Slots { memory, fd })
    }

    /// All places.
    pub fn indexes(&self) -> impl Iterator<Item = SlotIndex> + use<> {
        (0..COUNT).map(SlotIndex)
    }

    /// A place that is free.
    pub fn free(&self) -> Option<SlotIndex> {
        self.indexes().find(|index| self.read(*index).is_none())
    }

    /// The question there, if there is one.
    pub fn read(&self, index: SlotIndex) -> Option<Question> {
        // SAFETY: see `at`. Volatile, because the kernel writes it behind the compiler's back.
        let found = unsafe { self.at(index).cast::<libc::seccomp_notif>().read_volatile() };
        if found.id == 0 {
            return None;
        }
        // SAFETY: as above; MARK is aligned and within the slot.
        let mark = unsafe { self.mark_at(index).read_volatile() };
        Some(Question { call: Call::of(&found.data), mark, id: found.id, thread: found.pid.cast_signed() })
    }

    /// Frees a place, after its question was answered.
    pub fn clear(&mut self, index: SlotIndex) {
        // SAFETY: see `at`; the id goes first, and with it the place is free.
        unsafe { self.at(index).cast::<u64>().write_volatile(0) };
        // SAFETY: as above. The kernel demands zeros everywhere (seccomp_unotify(2)).
        unsafe { self.at(index).write_bytes(0, STRIDE) };
    }

    /// Writes down whose question comes next to a free place.
    pub(super) fn set_mark(&mut self, index: SlotIndex, mark: u64) {
        // SAFETY: as in `read`.
        unsafe { self.mark_at(index).write_volatile(mark) };
    }

    /// Where the kernel's part of a slot begins: aligned to 128 bytes, [`STRIDE`] bytes within the mapping, which lives
    /// as long as `self`.
    pub(super) fn at(&self, index: SlotIndex) -> *mut u8 {
        // SAFETY: `SlotIndex` is made by `indexes` alone, so the offset lies within the mapping.
        unsafe { self.memory.as_ptr().cast::<u8>().byte_add(index.0 * STRIDE) }
    }

    fn mark_at(&self, index: SlotIndex) -> *mut u64 {
        // SAFETY: MARK is within the slot.
        unsafe { self.at(index).byte_add(MARK) }.cast()
    }
}

impl AsFd for Slots {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no pointer into it outlives `self`.
        let unmapped = unsafe { munmap(self.memory, LENGTH.get()) };
        debug_assert!(unmapped.is_ok(), "our own mapping can be unmapped: {unmapped:?}");
    }
}

impl Call {
    fn of(data: &libc::seccomp_data) -> Call {
        let [first, second, third, ..] = data.args;
        // The kernel takes the lower half of a register for an int.
        let int = |value: u64| i32::from_ne_bytes(u32::try_from(value & 0xffff_ffff).unwrap_or_default().to_ne_bytes());
        let column = match data.arch {
            filter::X86_64 => 0,
            filter::AARCH64 => 1,
            _ => return Call::Other,
        };
        let is = |numbers: [u32; 2]| numbers.get(column) == u32::try_from(data.nr).ok().as_ref();
        if is(filter::LISTEN) {
            match int(first) {
                -1 => Call::Gate,
                fd => Call::Listen { fd, backlog: int(second) },
            }
        } else if is(filter::BIND) {
            Call::Bind { fd: int(first), address: second, length: int(third).cast_unsigned() }
        } else {
            Call::Other
        }
    }
}

/// Whether the kernel's part fits in a slot.
pub(super) fn fits(kernel_size: u16) -> bool {
    usize::from(kernel_size) <= MARK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(arch: u32, nr: u32, args: [u64; 6]) -> libc::seccomp_data {
        libc::seccomp_data { nr: nr.cast_signed(), arch, instruction_pointer: 0, args }
    }

    #[test]
    fn calls_are_read_as_the_kernel_reads_them() {
        let all = u64::MAX;
        for (arch, bind, listen) in [(filter::X86_64, 49, 50), (filter::AARCH64, 200, 201)] {
            let wanted = Call::Bind { fd: 3, address: 0x7fff_0000_1000, length: 16 };
            assert_eq!(Call::of(&data(arch, bind, [3, 0x7fff_0000_1000, 16, all, all, all])), wanted);
            let wanted = Call::Listen { fd: 3, backlog: 511 };
            assert_eq!(Call::of(&data(arch, listen, [0xabcd_0000_0003, 511, 0, 0, 0, 0])), wanted);
            assert_eq!(Call::of(&data(arch, listen, [all, 0, 0, 0, 0, 0])), Call::Gate);
            assert_eq!(
                Call::of(&data(arch, listen, [3, 0xffff_ffff, 0, 0, 0, 0])),
                Call::Listen { fd: 3, backlog: -1 }
            );
            assert_eq!(Call::of(&data(arch, 1, [0; 6])), Call::Other);
        }
        assert_eq!(Call::of(&data(0x4000_0003, 49, [0; 6])), Call::Other);
    }

    #[test]
    fn a_question_is_there_for_whoever_maps_the_page_next() {
        let mut slots = Slots::new().unwrap();
        let index = slots.free().unwrap();
        slots.set_mark(index, 7);
        // SAFETY: a test stands in for the kernel and writes the id.
        unsafe { slots.at(index).cast::<u64>().write_volatile(42) };
        let fd = slots.as_fd().try_clone_to_owned().unwrap();
        drop(slots);
        let mut slots = Slots::from_fd(fd).unwrap();
        let found = slots.read(index).unwrap();
        assert_eq!((found.id, found.mark, found.call), (42, 7, Call::Other));
        assert_ne!(slots.free(), Some(index));
        slots.clear(index);
        assert_eq!(slots.free(), Some(index));
        assert_eq!(slots.indexes().count(), COUNT);
    }

    #[test]
    fn a_file_of_another_length_is_no_page_of_questions() {
        let fd = memfd_create("short", MFdFlags::MFD_CLOEXEC).unwrap();
        assert_eq!(Slots::from_fd(fd).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
