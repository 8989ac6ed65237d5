//! Joining a group, leaving it, and what waits in a member's queue.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{Shutdown, SockFlag, accept4, shutdown};

use crate::sys::tcp::option;

/// Lets a socket share its port with others of its user (socket(7): SO_REUSEPORT). Works before `bind`, and after `listen`
/// still, as long as it was alone.
///
/// # Errors
///
/// ENOPROTOOPT for a kind of socket that cannot.
pub fn share(socket: &impl AsFd) -> io::Result<()> {
    option::set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)
}

/// Makes a bound socket listen (listen(2)): the kernel appends it to its group's array. Where it listens already, only the
/// length of its queue changes.
///
/// To be called for one member of a group at a time, and never by the program itself: of two programs that were let go
/// on together, the second asked came first in 43 of 150 cases.
///
/// # Errors
///
/// EADDRINUSE, if somebody who does not share listens there.
pub fn join(socket: &impl AsFd, backlog: i32) -> io::Result<()> {
    // SAFETY: two integers. Not nix's own, whose type refuses lengths that programs do ask for.
    Errno::result(unsafe { libc::listen(socket.as_fd().as_raw_fd(), backlog) })?;
    Ok(())
}

/// Takes a member out of its group: the last one of the array moves to its place, and what waited in its queue is reset.
///
/// Closing alone would not do: a child of the program may have inherited the socket, and keep it in the group.
///
/// # Errors
///
/// ENOTSOCK. A socket that does not listen any more is no error.
pub fn leave(socket: &impl AsFd) -> io::Result<()> {
    match shutdown(socket.as_fd().as_raw_fd(), Shutdown::Read) {
        Ok(()) | Err(Errno::ENOTCONN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes out what waits in the queue of a listening socket that no program accepts from any more.
///
/// # Errors
///
/// EINVAL, if it does not listen; EMFILE.
pub fn accept_waiting(socket: &impl AsFd) -> io::Result<Vec<TcpStream>> {
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
    fcntl(socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    let mut waiting = Vec::new();
    loop {
        match accept4(socket.as_fd().as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            // SAFETY: accept4(2) has just made it, and nobody else knows of it.
            Ok(fd) => waiting.push(TcpStream::from(unsafe { OwnedFd::from_raw_fd(fd) })),
            Err(Errno::EAGAIN) => return Ok(waiting),
            // One that was given up by its client; the next one may be alive.
            Err(Errno::ECONNABORTED | Errno::EINTR) => {}
            Err(error) if waiting.is_empty() => return Err(error.into()),
            Err(_) => return Ok(waiting),
        }
    }
}

/// How many connections a listening socket could not take since it began to, because its queue was full.
///
/// # Errors
///
/// `InvalidData`, if the kernel tells less than it should.
pub fn overflows(socket: &impl AsFd) -> io::Result<u32> {
    /// linux/sock_diag.h: the word SK_MEMINFO_DROPS of what SO_MEMINFO gives.
    const DROPS: std::ops::Range<usize> = 32..36;
    let mut bytes = [0; DROPS.end];
    option::read(socket.as_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, &mut bytes)?;
    let drops = bytes.get(DROPS).and_then(|drops| drops.try_into().ok());
    drops.map(u32::from_ne_bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// How many connections wait in a listening socket's queue, ready to be accepted. Half-open ones are not among them.
///
/// # Errors
///
/// `InvalidData`, if the kernel tells less than it should.
pub fn queue_depth(socket: &impl AsFd) -> io::Result<u32> {
    /// tcpi_unacked, which means this for a socket that listens (net/ipv4/tcp.c: tcp_get_info).
    const DEPTH: std::ops::Range<usize> = 24..28;
    let mut bytes = [0; DEPTH.end];
    option::read(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, &mut bytes)?;
    let depth = bytes.get(DEPTH).and_then(|depth| depth.try_into().ok());
    depth.map(u32::from_ne_bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
