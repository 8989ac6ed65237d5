//! A socket of our own for a program: where its own may not be looked into, or cannot be shared.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};
use nix::sys::stat::fstat;
use nix::unistd::{Uid, fchown};

use crate::sys::tcp::listening::share;
use crate::sys::tcp::option;

/// What a socket is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Address and port.
    pub address: SocketAddr,
    /// Whether it takes IPv6 alone.
    pub v6only: bool,
    /// The network device; 0 for none.
    pub device: u32,
    /// The user in whose group it is to be.
    pub uid: u32,
}

/// What a socket has to be like before it is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Whether it is one of IPv6.
    pub is_v6: bool,
    /// Whether it takes IPv6 alone.
    pub v6only: bool,
    /// The network device; 0 for none.
    pub device: u32,
    /// The user in whose group it is to be.
    pub uid: u32,
}

impl Form {
    /// The form of a program's own socket.
    ///
    /// # Errors
    ///
    /// ENOTSOCK.
    pub fn of(socket: &impl AsFd) -> io::Result<Form> {
        let fd = socket.as_fd();
        let is_v6 = option::int(fd, libc::SOL_SOCKET, libc::SO_DOMAIN)? == libc::AF_INET6;
        Ok(Form {
            is_v6,
            v6only: is_v6 && option::int(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)? != 0,
            device: option::int(fd, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX)?.cast_unsigned(),
            uid: fstat(fd)?.st_uid,
        })
    }
}

/// Makes a TCP socket that shares its port, and binds it.
///
/// # Errors
///
/// Those of socket(2) and bind(2).
pub fn open(target: &Target) -> io::Result<OwnedFd> {
    let Target { address, v6only, device, uid } = *target;
    let fd = unbound(&Form { is_v6: address.is_ipv6(), v6only, device, uid })?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(fd)
}

/// Makes a TCP socket that will share its port, and leaves it to its program to bind it, with the program's own rights.
///
/// # Errors
///
/// Those of socket(2); EPERM for another user's without the right to give files away.
pub fn unbound(form: &Form) -> io::Result<OwnedFd> {
    let family = if form.is_v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    share(&fd)?;
    if form.is_v6 {
        setsockopt(&fd, sockopt::Ipv6V6Only, &form.v6only)?;
    }
    if form.device != 0 {
        let device = libc::c_int::try_from(form.device).map_err(io::Error::other)?;
        option::set(fd.as_fd(), libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, device)?;
    }
    if Uid::effective().as_raw() != form.uid {
        // The kernel goes by the owner of the socket's inode, not by who binds.
        fchown(&fd, Some(Uid::from_raw(form.uid)), None)?;
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::tcp::Facts;

    #[test]
    fn a_socket_of_ours_shares_its_port_with_another_one() {
        let target = Target {
            address: "127.0.0.1:0".parse().unwrap(),
            v6only: false,
            device: 0,
            uid: Uid::effective().as_raw(),
        };
        let first = open(&target).unwrap();
        let address = Facts::of(&first).unwrap().address;
        let second = open(&Target { address, ..target }).unwrap();
        assert_eq!(Facts::of(&second).unwrap().address, address);
    }
}
