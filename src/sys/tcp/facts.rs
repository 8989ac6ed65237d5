//! What a socket is.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{SockaddrStorage, getsockname};
use nix::sys::stat::fstat;

use crate::sys::tcp::option;

/// The kernel's name of a socket (socket(7): SO_COOKIE): never used twice while the machine is up, and the same for all
/// duplicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cookie(pub u64);

/// What kind of socket a program binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// Multipath TCP, which Go listens with since 1.24. Its groups cannot be steered: put a TCP socket in its place.
    Mptcp,
    /// Everything else: UDP, UNIX, netlink.
    Other,
}

/// What tells the groups of a machine apart, and a socket from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Where it is bound.
    pub address: SocketAddr,
    /// Whether it takes IPv6 alone (ipv6(7): IPV6_V6ONLY); false for IPv4.
    pub v6only: bool,
    /// The network device that it is bound to; 0 for none.
    pub device: u32,
    /// The user whose group it joins: who made it, or was given it by fchown(2).
    pub uid: u32,
    /// Its network namespace (SO_NETNS_COOKIE).
    pub namespace: u64,
    /// Its identity.
    pub cookie: Cookie,
    /// Its number in /proc/PID/fd.
    pub inode: u64,
}

impl Facts {
    /// Reads them from a TCP socket that is bound.
    ///
    /// # Errors
    ///
    /// ENOTSOCK; `Unsupported` for another family.
    pub fn of(socket: &impl AsFd) -> io::Result<Facts> {
        let fd = socket.as_fd();
        let bound: SockaddrStorage = getsockname(fd.as_raw_fd())?;
        let v4 = bound.as_sockaddr_in().map(|found| SocketAddr::V4((*found).into()));
        let address = v4.or_else(|| bound.as_sockaddr_in6().map(|found| SocketAddr::V6((*found).into())));
        let address = address.ok_or(io::ErrorKind::Unsupported)?;
        let v6only = address.is_ipv6() && option::int(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)? != 0;
        let stat = fstat(fd)?;
        Ok(Facts {
            address,
            v6only,
            device: option::int(fd, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX)?.cast_unsigned(),
            uid: stat.st_uid,
            namespace: option::long(fd, libc::SOL_SOCKET, SO_NETNS_COOKIE)?,
            cookie: Cookie::of(&fd)?,
            inode: stat.st_ino,
        })
    }
}

impl Cookie {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// ENOTSOCK.
    pub fn of(socket: &impl AsFd) -> io::Result<Cookie> {
        option::long(socket.as_fd(), libc::SOL_SOCKET, libc::SO_COOKIE).map(Cookie)
    }
}

/// asm-generic/socket.h, Linux 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// What kind it is; what is no socket at all is `Other`.
///
/// # Errors
///
/// None that a caller could mend.
pub fn kind(fd: &impl AsFd) -> io::Result<Kind> {
    let fd = fd.as_fd();
    let domain = match option::int(fd, libc::SOL_SOCKET, libc::SO_DOMAIN) {
        Err(error) if error.raw_os_error() == Some(Errno::ENOTSOCK as i32) => return Ok(Kind::Other),
        found => found?,
    };
    if !matches!(domain, libc::AF_INET | libc::AF_INET6) {
        return Ok(Kind::Other);
    }
    Ok(match option::int(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL)? {
        libc::IPPROTO_TCP => Kind::Tcp,
        libc::IPPROTO_MPTCP => Kind::Mptcp,
        _ => Kind::Other,
    })
}

/// Its number in /proc/PID/fd.
///
/// # Errors
///
/// None that a caller could mend.
pub fn inode(fd: &impl AsFd) -> io::Result<u64> {
    Ok(fstat(fd)?.st_ino)
}

/// Whether it listens (socket(7): SO_ACCEPTCONN).
///
/// # Errors
///
/// ENOTSOCK.
pub fn is_listening(socket: &impl AsFd) -> io::Result<bool> {
    accepts(socket.as_fd())
}

fn accepts(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(option::int(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN)? != 0)
}
