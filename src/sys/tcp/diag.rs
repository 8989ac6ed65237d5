//! What the kernel lists of one port (sock_diag(7)): who listens, what is half open, which connections are there.
//!
//! Nothing is asked of any process, and any user may ask; 10,000 connections take some 15 milliseconds.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::sys::tcp::facts::Cookie;
use crate::sys::tcp::row::Row;
use crate::sys::tcp::tag::Tag;

/// Larger than any one answer of the kernel, which sends 32 KiB at most at once.
const BUFFER: usize = 64 * 1024;

/// A way of asking, kept open. For one thread: answers to two questions at once would be mixed up.
#[derive(Debug)]
pub struct Diag {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

/// A socket that listens on the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Its identity.
    pub cookie: Cookie,
    /// Where.
    pub address: SocketAddr,
    /// Whether it takes IPv6 alone.
    pub v6only: bool,
    /// The network device that it is bound to; 0 for none.
    pub device: u32,
    /// Whose it is.
    pub uid: u32,
    /// Its number in /proc/PID/fd; 0, if no process has it.
    pub inode: u64,
    /// How many connections wait in its queue.
    pub queued: u32,
}

/// A connection that was opened and not confirmed yet. Whose queue it goes to was decided when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfOpen {
    /// Its identity, which the connection will have, too.
    pub cookie: Cookie,
    /// The client.
    pub client: SocketAddr,
}

/// A connection that a server may still have work with: it is open, or closed by its client alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its identity.
    pub cookie: Cookie,
    /// The mark of the member that it came to ([`Tag::NONE`] on a kernel that does not tell).
    pub tag: Tag,
    /// The client.
    pub client: SocketAddr,
    /// Its number in /proc/PID/fd; 0, until it is accepted.
    pub inode: u64,
    /// Whether its reading side was ended already.
    pub is_ended: bool,
    /// Bytes that the server has not read yet.
    pub unread: u32,
    /// Bytes that the client has not confirmed yet.
    pub unsent: u32,
    /// Bytes that came in since the beginning.
    pub received: u64,
    /// Bytes that went out since the beginning.
    pub sent: u64,
    /// How long ago the last ones came in, as fine as the kernel's tick.
    pub since_received: Duration,
    /// How long ago the last ones went out, as fine as the kernel's tick.
    pub since_sent: Duration,
}

impl Diag {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// EPROTONOSUPPORT, EPERM where sock_diag(7) is missing or forbidden.
    pub fn open() -> io::Result<Diag> {
        let family = AddressFamily::Netlink;
        let fd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Diag::from_fd(fd)
    }

    /// One that a predecessor has opened.
    ///
    /// # Errors
    ///
    /// ENOTSOCK.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Diag> {
        // The kernel answers at once; this is for a kernel that does not.
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(1))?;
        Ok(Diag { fd, buffer: vec![0; BUFFER] })
    }

    /// The sockets that listen on a port, those of one address in the order in which they began to.
    ///
    /// # Errors
    ///
    /// Those of netlink(7).
    pub fn listeners(&mut self, port: u16) -> io::Result<Vec<Listening>> {
        let mut found = Vec::new();
        self.dump(port, StateFlags::LISTEN, ExtensionFlags::empty(), |row| found.push(row.to_listening()))?;
        // The kernel lists those of IPv4 from the newest to the oldest, those of IPv6 the other way round, because it puts
        // new ones at different ends (net/ipv4/inet_hashtables.c: inet_hash).
        let v4 = found.iter().take_while(|listening| listening.address.is_ipv4()).count();
        if let Some(v4) = found.get_mut(..v4) {
            v4.reverse();
        }
        Ok(found)
    }

    /// What is half open on a port.
    ///
    /// # Errors
    ///
    /// Those of netlink(7).
    pub fn half_open(&mut self, port: u16) -> io::Result<Vec<HalfOpen>> {
        let mut found = Vec::new();
        self.dump(port, StateFlags::SYN_RECV, ExtensionFlags::empty(), |row| found.push(row.to_half_open()))?;
        Ok(found)
    }

    /// The connections of a port.
    ///
    /// # Errors
    ///
    /// Those of netlink(7).
    pub fn connections(&mut self, port: u16) -> io::Result<Vec<Connection>> {
        let mut found = Vec::new();
        let states = StateFlags::ESTABLISHED | StateFlags::CLOSE_WAIT;
        self.dump(port, states, ExtensionFlags::INFO | ExtensionFlags::SHUTDOWN, |row| {
            found.push(row.to_connection());
        })?;
        Ok(found)
    }

    /// The numbers in /proc/PID/fd of all TCP sockets that listen, on any port.
    pub(in crate::sys) fn all_listening(&mut self, mut take: impl FnMut(u64)) -> io::Result<()> {
        self.dump(0, StateFlags::LISTEN, ExtensionFlags::empty(), |row| take(row.inode))
    }

    /// Both families: a socket of IPv6 may take clients of IPv4, and what is half open then is listed under the client's.
    fn dump(
        &mut self,
        port: u16,
        states: StateFlags,
        extensions: ExtensionFlags,
        mut take: impl FnMut(&Row),
    ) -> io::Result<()> {
        for family in [libc::AF_INET, libc::AF_INET6] {
            let request = request(family, port, states, extensions);
            send(self.fd.as_raw_fd(), &request, MsgFlags::empty())?;
            loop {
                let length = match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                    Ok(length) => length,
                    Err(Errno::EINTR) => continue,
                    Err(error) => return Err(error.into()),
                };
                if read_answers(self.buffer.get(..length).unwrap_or_default(), &mut take)? == Answer::Last {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl AsFd for Diag {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Asks for the TCP sockets of a family in these states whose own port this is; 0 for any.
fn request(family: libc::c_int, port: u16, states: StateFlags, extensions: ExtensionFlags) -> Vec<u8> {
    let mut socket_id = if family == libc::AF_INET6 { SocketId::new_v6() } else { SocketId::new_v4() };
    socket_id.source_port = port;
    let request = SockDiagMessage::InetRequest(InetRequest {
        family: u8::try_from(family).unwrap_or_default(),
        protocol: u8::try_from(libc::IPPROTO_TCP).unwrap_or_default(),
        extensions,
        states,
        socket_id,
    });
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Whether the kernel has more to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    More,
    Last,
}

fn read_answers(mut bytes: &[u8], take: &mut impl FnMut(&Row)) -> io::Result<Answer> {
    while !bytes.is_empty() {
        let message = NetlinkMessage::<Row>::deserialize(bytes).map_err(io::Error::other)?;
        match message.payload {
            NetlinkPayload::InnerMessage(row) => take(&row),
            NetlinkPayload::Done(_) => return Ok(Answer::Last),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            _ => {}
        }
        // Messages are padded to four bytes (netlink(7)).
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX).next_multiple_of(4);
        bytes = bytes.get(length.max(4)..).unwrap_or_default();
    }
    Ok(Answer::More)
}
