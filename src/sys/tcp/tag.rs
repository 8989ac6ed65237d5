//! The mark of a member that all its connections inherit, from before they are accepted (inet_diag: INET_DIAG_SOCKOPT).
//!
//! A tag is a combination of socket flags that have no effect on a bound TCP socket and never reach the wire (ip(7)):
//! where to find free ports at `bind`, whether `bind` takes foreign addresses, the form of errors in a queue that is not
//! switched on, and multicast. Any user sees them in the kernel's list, without looking into a process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::sys::tcp::option;

/// A member's mark. The first one is what every socket has that was never marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(u8);

/// One flag: its option, where struct inet_diag_sockopt has it, and whether new sockets have it set.
struct Flag {
    option: libc::c_int,
    byte: usize,
    bit: u8,
    is_set_by_default: bool,
}

/// linux/in.h, Linux 5.10.
const IP_RECVERR_RFC4884: libc::c_int = 26;

/// From the lowest bit of a tag on. All four exist for IPv6 sockets, too.
const FLAGS: [Flag; 4] = [
    Flag { option: libc::IP_BIND_ADDRESS_NO_PORT, byte: 1, bit: 0, is_set_by_default: false },
    Flag { option: IP_RECVERR_RFC4884, byte: 1, bit: 1, is_set_by_default: false },
    Flag { option: libc::IP_FREEBIND, byte: 0, bit: 2, is_set_by_default: false },
    Flag { option: libc::IP_MULTICAST_LOOP, byte: 0, bit: 4, is_set_by_default: true },
];

impl Tag {
    /// How many there are, the one of unmarked sockets included.
    pub const COUNT: u8 = 1 << FLAGS.len();

    /// The one that sockets have by themselves.
    pub const NONE: Tag = Tag(0);

    /// The n-th.
    pub fn new(number: u8) -> Option<Tag> {
        (number < Tag::COUNT).then_some(Tag(number))
    }

    /// Which one it is.
    pub fn number(self) -> u8 {
        self.0
    }

    fn has(self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }

    /// From the kernel's list: the flags of struct inet_diag_sockopt, whose bits are numbered from the lowest on both
    /// architectures.
    pub(super) fn of_sockopt(bytes: &[u8]) -> Option<Tag> {
        Tag::collect(|flag| Some(bytes.get(flag.byte)? >> flag.bit & 1 == 1))
    }

    fn collect(mut is_set: impl FnMut(&Flag) -> Option<bool>) -> Option<Tag> {
        let bits = FLAGS.iter().enumerate().map(|(at, flag)| {
            let differs = is_set(flag)? != flag.is_set_by_default;
            Some(u8::from(differs) << at)
        });
        bits.sum::<Option<u8>>().map(Tag)
    }
}

/// Marks a bound socket; connections that it has already keep the mark of before.
///
/// # Errors
///
/// ENOPROTOOPT before Linux 5.10.
pub fn set_tag(socket: &impl AsFd, tag: Tag) -> io::Result<()> {
    for (at, flag) in FLAGS.iter().enumerate() {
        let value = tag.has(at) != flag.is_set_by_default;
        option::set(socket.as_fd(), libc::IPPROTO_IP, flag.option, value.into())?;
    }
    Ok(())
}

/// The mark of a socket.
///
/// # Errors
///
/// ENOPROTOOPT before Linux 5.10.
pub fn read_tag(socket: &impl AsFd) -> io::Result<Tag> {
    let mut failed = None;
    let found = Tag::collect(|flag| match is_set(socket.as_fd(), flag) {
        Ok(value) => Some(value),
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    found.ok_or_else(|| failed.unwrap_or_else(|| io::ErrorKind::InvalidData.into()))
}

fn is_set(fd: BorrowedFd<'_>, flag: &Flag) -> io::Result<bool> {
    Ok(option::int(fd, libc::IPPROTO_IP, flag.option)? != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_socket_is_unmarked_until_it_is_marked() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = TcpListener::bind(address) else { continue };
            assert_eq!(read_tag(&socket).unwrap(), Tag::NONE);
            for number in 0..Tag::COUNT {
                let tag = Tag::new(number).unwrap();
                set_tag(&socket, tag).unwrap();
                assert_eq!(read_tag(&socket).unwrap(), tag, "{address}");
            }
        }
        assert_eq!(Tag::new(Tag::COUNT), None);
    }
}
