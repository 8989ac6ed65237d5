//! The program of a group (socket(7): SO_ATTACH_REUSEPORT_CBPF): it returns the index, in the group's array, of the
//! member that gets a new connection. Needs no privilege; belongs to the group and ends with its last member.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;

use crate::sys::tcp::facts::is_listening;

/// Longer ones are refused by the kernel (linux/bpf_common.h: BPF_MAXINSNS).
const LONGEST: usize = 4096;

/// One instruction of classic BPF, struct sock_filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What is done.
    pub code: u16,
    /// How many instructions are left out if a test holds.
    pub jt: u8,
    /// And if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// Gives the group of this member a program, in the place of the one that it had.
///
/// # Errors
///
/// `InvalidInput` for a member that does not listen: it would carry a group of its own from then on, and could never join
/// its port's; for a program that is empty, too long, or no program. ENOMEM, if it is longer than net.core.optmem_max
/// allows.
pub fn attach(member: &impl AsFd, program: &[Instruction]) -> io::Result<()> {
    if program.is_empty() || program.len() > LONGEST || !is_listening(member)? {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    attach_anywhere(member.as_fd(), program)
}

fn attach_anywhere(socket: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    let mut code: Vec<libc::sock_filter> = program.iter().map(native).collect();
    let len = libc::c_ushort::try_from(code.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len, filter: code.as_mut_ptr() };
    let length = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).map_err(io::Error::other)?;
    let start = (&raw const program).cast();
    let option = libc::SO_ATTACH_REUSEPORT_CBPF;
    // SAFETY: the option takes a sock_fprog of this size; its `len` instructions are read only and outlive the call.
    Errno::result(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, start, length) })?;
    Ok(())
}

/// Takes the program away: the kernel spreads connections over all members, by a hash of their addresses. None there is
/// no error.
///
/// # Errors
///
/// ENOTSOCK.
pub fn detach(member: &impl AsFd) -> io::Result<()> {
    let fd = member.as_fd();
    match crate::sys::tcp::option::set(fd, libc::SOL_SOCKET, libc::SO_DETACH_REUSEPORT_BPF, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        done => done,
    }
}

fn native(instruction: &Instruction) -> libc::sock_filter {
    let Instruction { code, jt, jf, k } = *instruction;
    libc::sock_filter { code, jt, jf, k }
}
