//! One line of the kernel's list: struct inet_diag_msg and its attributes (linux/inet_diag.h), of which only what is
//! needed is read, without a copy of the rest.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader};

use crate::sys::tcp::diag::{Connection, HalfOpen, Listening};
use crate::sys::tcp::facts::Cookie;
use crate::sys::tcp::tag::Tag;

/// Attributes.
const INFO: u16 = 2;
const SHUTDOWN: u16 = 8;
const SKV6ONLY: u16 = 11;
const SOCKOPT: u16 = 22;

/// Where the attributes begin.
const HEADER: usize = 72;

/// One socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) inode: u64,
    local: SocketAddr,
    remote: SocketAddr,
    device: u32,
    cookie: Cookie,
    receive_queue: u32,
    send_queue: u32,
    uid: u32,
    tag: Tag,
    is_ended: bool,
    v6only: bool,
    info: Info,
}

/// What is read of struct tcp_info (linux/tcp.h).
#[derive(Clone, Copy, Debug, Default)]
struct Info {
    since_sent: u32,
    since_received: u32,
    received: u64,
    sent: u64,
}

/// The kernel's line is shorter than it has to be.
#[derive(Debug, thiserror::Error)]
#[error("the kernel's list of sockets is cut off")]
pub(super) struct CutOff;

impl NetlinkDeserializable for Row {
    type Error = CutOff;

    fn deserialize(_header: &NetlinkHeader, payload: &[u8]) -> Result<Row, CutOff> {
        Row::parse(payload).ok_or(CutOff)
    }
}

impl Row {
    fn parse(bytes: &[u8]) -> Option<Row> {
        let is_v6 = i32::from(*bytes.first()?) == libc::AF_INET6;
        let cookie = u64::from(word(bytes, 44)?) | u64::from(word(bytes, 48)?) << 32;
        let mut row = Row {
            inode: word(bytes, 68)?.into(),
            local: SocketAddr::new(address(bytes, 8, is_v6)?, port(bytes, 4)?),
            remote: SocketAddr::new(address(bytes, 24, is_v6)?, port(bytes, 6)?),
            device: word(bytes, 40)?,
            cookie: Cookie(cookie),
            receive_queue: word(bytes, 56)?,
            send_queue: word(bytes, 60)?,
            uid: word(bytes, 64)?,
            tag: Tag::NONE,
            is_ended: false,
            v6only: false,
            info: Info::default(),
        };
        let mut rest = bytes.get(HEADER..)?;
        while let Some((kind, value, next)) = attribute(rest) {
            match kind {
                INFO => row.info = Info::parse(value),
                // RCV_SHUTDOWN is the lowest bit.
                SHUTDOWN => row.is_ended = value.first()? & 1 == 1,
                SKV6ONLY => row.v6only = *value.first()? != 0,
                SOCKOPT => row.tag = Tag::of_sockopt(value).unwrap_or(Tag::NONE),
                _ => {}
            }
            rest = next;
        }
        Some(row)
    }

    pub(super) fn to_listening(self) -> Listening {
        let Row { cookie, v6only, device, uid, inode, .. } = self;
        Listening { cookie, address: self.local, v6only, device, uid, inode, queued: self.receive_queue }
    }

    pub(super) fn to_half_open(self) -> HalfOpen {
        HalfOpen { cookie: self.cookie, client: self.remote }
    }

    pub(super) fn to_connection(self) -> Connection {
        Connection {
            cookie: self.cookie,
            tag: self.tag,
            client: self.remote,
            inode: self.inode,
            is_ended: self.is_ended,
            unread: self.receive_queue,
            unsent: self.send_queue,
            received: self.info.received,
            sent: self.info.sent,
            since_received: Duration::from_millis(self.info.since_received.into()),
            since_sent: Duration::from_millis(self.info.since_sent.into()),
        }
    }
}

impl Info {
    /// A kernel older than a field leaves it out at the end; zero never moves, and is told apart by nobody.
    fn parse(bytes: &[u8]) -> Info {
        Info {
            since_sent: word(bytes, 44).unwrap_or_default(),
            since_received: word(bytes, 52).unwrap_or_default(),
            received: long(bytes, 128).unwrap_or_default(),
            sent: long(bytes, 200).unwrap_or_default(),
        }
    }
}

/// The next attribute, its value, and what follows (netlink(7): struct nlattr).
fn attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(u16::from_ne_bytes(array(bytes, 0)?));
    let kind = u16::from_ne_bytes(array(bytes, 2)?);
    let value = bytes.get(4..length)?;
    Some((kind, value, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn address(bytes: &[u8], at: usize, is_v6: bool) -> Option<IpAddr> {
    if is_v6 {
        Some(Ipv6Addr::from(array::<16>(bytes, at)?).into())
    } else {
        Some(Ipv4Addr::from(array::<4>(bytes, at)?).into())
    }
}

fn port(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(array(bytes, at)?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(array(bytes, at)?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(array(bytes, at)?))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_cut_off_is_refused_and_never_panics() {
        let mut line = vec![0_u8; HEADER];
        line[0] = 2;
        // An attribute that claims more than there is.
        line.extend([200, 0, 2, 0, 1]);
        for length in 0..HEADER {
            assert!(Row::parse(&line[..length]).is_none());
        }
        assert!(Row::parse(&line).is_some());
        assert!(Row::parse(&line[..HEADER]).is_some());
    }
}
