//! One option of a socket as a number (getsockopt(2), setsockopt(2)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// An option that holds an int.
pub(super) fn int(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut bytes = [0; size_of::<libc::c_int>()];
    // The kernel shortens an int to a byte where less was asked for, never here.
    read(fd, level, name, &mut bytes)?;
    Ok(libc::c_int::from_ne_bytes(bytes))
}

/// An option that holds 64 bits.
pub(super) fn long(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<u64> {
    let mut bytes = [0; size_of::<u64>()];
    read(fd, level, name, &mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Reads as much of an option as the kernel has and the buffer takes; how much that was.
pub(super) fn read(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = libc::socklen_t::try_from(buffer.len()).map_err(io::Error::other)?;
    let start = buffer.as_mut_ptr().cast::<libc::c_void>();
    // SAFETY: the buffer is ours and has `length` bytes.
    Errno::result(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, start, &raw mut length) })?;
    usize::try_from(length).map_err(io::Error::other)
}

/// Sets an option that holds an int.
pub(super) fn set(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    write(fd, level, name, &value.to_ne_bytes())
}

/// Sets an option of any form without pointers in it.
pub(super) fn write(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the value has `length` bytes and is only read.
    Errno::result(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), length) })?;
    Ok(())
}
