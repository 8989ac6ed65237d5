//! Finding out which member of a group a connection reaches, from the client's side alone.
//!
//! Each member is given a maximum segment size of its own (tcp(7): TCP_MAXSEG), which a client reads from its connection.
//! The sizes are far above what any network but loopback takes, so nobody else's connections are changed by them.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};

use crate::sys::tcp::option;

/// The size of the first member.
const FIRST: i32 = 32_000;

/// From one member to the next: time stamps take 12 bytes of each segment, in some connections.
const STEP: i32 = 16;

/// What TCP_MAXSEG says of a listening socket for which nobody has set it (net/ipv4/tcp.c: TCP_MSS_DEFAULT).
const UNSET: i32 = 536;

/// Where a probe comes from, by which a steering program knows whom it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Its address.
    Address(IpAddr),
    /// ::1, with this traffic class.
    TrafficClass(u8),
}

/// A member that can be told from others until this is dropped.
#[derive(Debug)]
pub struct Marked<'a, F: AsFd> {
    member: &'a F,
    before: i32,
}

impl<'a, F: AsFd> Marked<'a, F> {
    /// Gives a member the n-th size.
    ///
    /// # Errors
    ///
    /// None that a caller could mend.
    pub fn new(member: &'a F, nth: usize) -> io::Result<Marked<'a, F>> {
        let size = i32::try_from(nth).ok().and_then(|nth| FIRST.checked_sub(nth.checked_mul(STEP)?));
        let before = option::int(member.as_fd(), libc::IPPROTO_TCP, libc::TCP_MAXSEG)?;
        let size = size.ok_or(io::ErrorKind::InvalidInput)?;
        option::set(member.as_fd(), libc::IPPROTO_TCP, libc::TCP_MAXSEG, size)?;
        Ok(Marked { member, before: if before == UNSET { 0 } else { before } })
    }
}

impl<F: AsFd> Drop for Marked<'_, F> {
    fn drop(&mut self) {
        let back = option::set(self.member.as_fd(), libc::IPPROTO_TCP, libc::TCP_MAXSEG, self.before);
        debug_assert!(back.is_ok(), "what it had can be set again: {back:?}");
    }
}

/// Connects, and says which member that reached; none if it is one that was not marked.
///
/// # Errors
///
/// `TimedOut`, if its queue is full; those of connect(2).
pub fn probe(to: SocketAddr, from: Origin, limit: Duration) -> io::Result<Option<usize>> {
    let fd = client(to, from, limit)?;
    let size = mss(&fd)?;
    let below = FIRST - size;
    let is_one = below >= 0 && matches!(below % STEP, 0 | 12);
    Ok(usize::try_from(below / STEP).ok().filter(|_| is_one))
}

/// A socket that is to connect to this address, from there, and does not wait.
///
/// # Errors
///
/// No descriptor left; an address that this machine does not have.
pub fn unconnected(to: SocketAddr, from: Option<Origin>) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, SockProtocol::Tcp)?;
    let from = match from {
        None => return Ok(fd),
        Some(Origin::Address(address)) => address,
        Some(Origin::TrafficClass(class)) => {
            setsockopt(&fd, sockopt::Ipv6TClass, &class.into())?;
            Ipv6Addr::LOCALHOST.into()
        }
    };
    bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0)))?;
    Ok(fd)
}

fn client(to: SocketAddr, from: Origin, limit: Duration) -> io::Result<OwnedFd> {
    let fd = unconnected(to, Some(from))?;
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(to)) {
        Ok(()) => return Ok(fd),
        Err(Errno::EINPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let millis = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut fds, millis)? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    match option::int(fd.as_fd(), libc::SOL_SOCKET, libc::SO_ERROR)? {
        0 => Ok(fd),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// What the other end takes in one segment.
fn mss(fd: &OwnedFd) -> io::Result<i32> {
    /// tcpi_snd_mss in struct tcp_info.
    const SEND: std::ops::Range<usize> = 16..20;
    let mut bytes = [0; SEND.end];
    option::read(fd.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, &mut bytes)?;
    let found = bytes.get(SEND).and_then(|found| found.try_into().ok()).map(i32::from_ne_bytes);
    found.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_client_reads_which_member_it_has_reached() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let to = listener.local_addr().unwrap();
            let ask = || probe(to, Origin::Address(to.ip()), Duration::from_secs(5)).unwrap();
            assert_eq!(ask(), None);
            for nth in [0, 1, 7, 349] {
                let marked = Marked::new(&listener, nth).unwrap();
                assert_eq!(ask(), Some(nth));
                drop(marked);
            }
            assert_eq!(ask(), None, "what was set is taken back");
        }
    }
}
