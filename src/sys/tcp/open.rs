//! A socket of our own for a program: where its own may not be looked into, or cannot be shared.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};
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

/// Makes a TCP socket that shares its port, and binds it.
///
/// # Errors
///
/// Those of socket(2) and bind(2).
pub fn open(target: &Target) -> io::Result<OwnedFd> {
    let family = if target.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    share(&fd)?;
    if target.address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &target.v6only)?;
    }
    if target.device != 0 {
        let device = libc::c_int::try_from(target.device).map_err(io::Error::other)?;
        option::set(fd.as_fd(), libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, device)?;
    }
    if Uid::effective().as_raw() != target.uid {
        // The kernel goes by the owner of the socket's inode, not by who binds.
        fchown(&fd, Some(Uid::from_raw(target.uid)), None)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(target.address))?;
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
