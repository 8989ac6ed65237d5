//! Memory that outlives a process: a file in memory (memfd_create(2)), mapped shared. Whoever gets its descriptor maps
//! the same bytes.

use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU8, AtomicU64};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

/// A mapping of a file in memory whose size is sealed: nobody can take pages away, so touching it never fails.
///
/// Its bytes are seen as atomics only, because another process may change them at any time; the kernel copies whole
/// ranges ([`SharedMemory::read_into`], [`SharedMemory::write_from`]).
#[derive(Debug)]
pub struct SharedMemory {
    file: OwnedFd,
    start: NonNull<u8>,
    length: NonZeroUsize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is reached by atomics and the kernel only.
unsafe impl Send for SharedMemory {}

impl SharedMemory {
    /// New memory, all zeros. Pages that are never touched cost nothing.
    ///
    /// # Errors
    ///
    /// EMFILE, ENOMEM.
    pub fn create(name: &str, length: NonZeroUsize) -> io::Result<SharedMemory> {
        let file = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        ftruncate(&file, i64::try_from(length.get()).map_err(|_| io::ErrorKind::InvalidInput)?)?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL))?;
        SharedMemory::map(file, length)
    }

    /// Memory that somebody else has created.
    ///
    /// # Errors
    ///
    /// `InvalidData` for everything that is no file in memory of this length and sealed; ENOMEM.
    pub fn adopt(file: OwnedFd, length: NonZeroUsize) -> io::Result<SharedMemory> {
        let seals = fcntl(&file, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_retain);
        let is_sealed = seals.is_ok_and(|seals| seals.contains(SealFlag::F_SEAL_SHRINK));
        if !is_sealed || usize::try_from(fstat(&file)?.st_size) != Ok(length.get()) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        SharedMemory::map(file, length)
    }

    fn map(file: OwnedFd, length: NonZeroUsize) -> io::Result<SharedMemory> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice replaces nothing. The file is as long as the mapping
        // and sealed against shrinking, so that every access to it is good.
        let start = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, &file, 0) }?;
        Ok(SharedMemory { file, start: start.cast(), length })
    }

    /// All of it, byte by byte.
    pub fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: `start` is the beginning of a mapping of `length` bytes that lives as long as this value; atomics may
        // be shared with everybody who uses atomics or system calls.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast(), self.length.get()) }
    }

    /// All whole words of it.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: as in `bytes`; a mapping begins at a page, so its words are aligned.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast(), self.length.get() / size_of::<AtomicU64>()) }
    }

    /// Appends a range to `into`, as fast as memory goes. What somebody else changes meanwhile comes out torn, as it would
    /// for read(2).
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a range outside.
    pub fn copy_out(&self, range: Range<usize>, into: &mut Vec<u8>) -> io::Result<()> {
        let place = self.bytes().get(range).ok_or(io::ErrorKind::InvalidInput)?;
        let old = into.len();
        into.resize(old + place.len(), 0);
        // SAFETY: both ranges have this length, one is borrowed and the other one a vector of ours. Who holds such memory
        // changes it only as its one user at that time.
        unsafe { place.as_ptr().cast::<u8>().copy_to_nonoverlapping(into[old..].as_mut_ptr(), place.len()) };
        Ok(())
    }

    /// Replaces the bytes from here on.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a range outside.
    pub fn copy_in(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        let place = self.bytes().get(at..at.saturating_add(bytes.len())).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: as above; atomics may be written through shared references.
        unsafe { place.as_ptr().cast_mut().cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// One read(2) into this range.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a range outside, and whatever read(2) says.
    pub fn read_into(&self, range: Range<usize>, from: &impl AsFd) -> io::Result<usize> {
        let place = self.bytes().get(range).ok_or(io::ErrorKind::InvalidInput)?;
        let (start, fd) = (place.as_ptr().cast_mut().cast(), from.as_fd().as_raw_fd());
        // SAFETY: the kernel writes at most this many bytes into memory of ours that may be written through shared
        // references.
        let count = Errno::result(unsafe { libc::read(fd, start, place.len()) })?;
        Ok(count.unsigned_abs())
    }

    /// One write(2) of this range.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a range outside, and whatever write(2) says.
    pub fn write_from(&self, range: Range<usize>, to: &impl AsFd) -> io::Result<usize> {
        let place = self.bytes().get(range).ok_or(io::ErrorKind::InvalidInput)?;
        let (start, fd) = (place.as_ptr().cast(), to.as_fd().as_raw_fd());
        // SAFETY: the kernel reads at most this many bytes of memory of ours.
        let count = Errno::result(unsafe { libc::write(fd, start, place.len()) })?;
        Ok(count.unsigned_abs())
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone, and nothing that was borrowed from this value is left. A failure would
        // leave the pages mapped, nothing worse.
        let _ = unsafe { munmap(self.start.cast(), self.length.get()) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write, pipe};
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::sys::fds::memory_file;

    const LENGTH: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

    #[test]
    fn a_second_holder_sees_what_the_first_one_wrote_and_what_the_kernel_did() {
        let first = SharedMemory::create("t", LENGTH).unwrap();
        let second = SharedMemory::adopt(first.as_fd().try_clone_to_owned().unwrap(), LENGTH).unwrap();
        first.words()[3].store(77, Relaxed);
        assert_eq!(second.words()[3].load(Relaxed), 77);
        let (mut reader, mut writer) = pipe().unwrap();
        writer.write_all(b"hello").unwrap();
        assert_eq!(first.read_into(9_000..9_003, &reader).unwrap(), 3);
        drop(first);
        assert_eq!(second.write_from(9_000..9_003, &writer).unwrap(), 3);
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "lohel");
    }

    #[test]
    fn what_is_not_sealed_or_of_another_length_is_refused() {
        let refused = |file: OwnedFd| SharedMemory::adopt(file, LENGTH).unwrap_err().kind();
        assert_eq!(refused(memory_file("t", &[0; 10_000]).unwrap()), io::ErrorKind::InvalidData);
        let shorter = SharedMemory::create("t", NonZeroUsize::MIN).unwrap();
        assert_eq!(refused(shorter.as_fd().try_clone_to_owned().unwrap()), io::ErrorKind::InvalidData);
        assert_eq!(refused(pipe().unwrap().0.into()), io::ErrorKind::InvalidData);
    }

    #[test]
    fn bytes_are_copied_in_and_out() {
        let memory = SharedMemory::create("t", LENGTH).unwrap();
        memory.copy_in(9_997, b"abc").unwrap();
        let mut bytes = b">".to_vec();
        memory.copy_out(9_996..10_000, &mut bytes).unwrap();
        assert_eq!(bytes, b">\0abc");
        assert!(memory.copy_in(9_998, b"abc").is_err() && memory.copy_in(usize::MAX, b"abc").is_err());
        assert!(memory.copy_out(9_998..10_001, &mut bytes).is_err());
    }

    #[test]
    fn a_range_outside_is_an_error() {
        let memory = SharedMemory::create("t", LENGTH).unwrap();
        let (reader, writer) = pipe().unwrap();
        assert_eq!(memory.read_into(9_999..10_001, &reader).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(memory.write_from(9_999..10_001, &writer).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
