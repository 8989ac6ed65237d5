//! What can be seen of the socket that a call is about: a ladder, because looking into a process may be refused.
//!
//! | seen | where | then |
//! |---|---|---|
//! | a duplicate | usually | it is adopted |
//! | its kind, and the address in memory | pidfd_getfd(2) is refused: containers | a socket of ours takes its place |
//! | nothing | a process that is not dumpable, as an ordinary user | the same, where its ports are declared |

use std::io;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};

use crate::cluster::SocketId;
use crate::daemon::cluster::ports::Ports;
use crate::supervisor::RunId;
use crate::sys::seccomp::{Asker, Listener, Outside, Question, SocketAddress, is_refusal};
use crate::sys::tcp::{self, Cookie};

/// One call, and how to answer it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) listener: &'a Listener,
    pub(super) question: &'a Question,
    /// The socket, in the caller's table.
    pub(super) fd: RawFd,
}

/// The socket, as far as it can be seen.
pub(super) enum Seen {
    /// A duplicate.
    Whole(OwnedFd),
    /// What /proc tells.
    Outside(Outside),
    /// Nothing.
    Nothing,
}

/// The address of a `bind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Inet(SocketAddr),
    /// Of another family.
    Other,
    /// The caller's memory may not be read.
    Hidden,
}

impl Asked<'_> {
    pub(super) fn socket(self) -> io::Result<Seen> {
        match self.listener.look(self.question, |caller| caller.duplicate(self.fd)) {
            Err(error) if is_refusal(&error) => {}
            seen => return seen.map(Seen::Whole),
        }
        match self.listener.look(self.question, |caller| caller.outside(self.fd)) {
            Err(error) if is_refusal(&error) => Ok(Seen::Nothing),
            seen => seen.map(Seen::Outside),
        }
    }

    pub(super) fn address(self, at: u64, length: u32) -> io::Result<Address> {
        match self.listener.look(self.question, |caller| caller.address(at, length)) {
            Ok(SocketAddress::Inet(address)) => Ok(Address::Inet(address)),
            Ok(SocketAddress::Other) => Ok(Address::Other),
            Err(error) if is_refusal(&error) => Ok(Address::Hidden),
            Err(error) => Err(error),
        }
    }

    pub(super) fn asker(self) -> io::Result<Asker> {
        self.listener.look(self.question, |caller| caller.asker())
    }
}

impl Ports {
    /// Which of the sockets that are kept a call is about.
    pub(super) fn find(&self, run: RunId, asked: Asked<'_>) -> io::Result<Option<SocketId>> {
        match asked.socket()? {
            Seen::Whole(socket) => {
                let is_socket = tcp::kind(&socket)? == tcp::Kind::Tcp;
                let id = is_socket.then(|| Cookie::of(&socket)).transpose()?.map(|cookie| SocketId(cookie.0));
                Ok(id.filter(|id| self.is_kept(*id)))
            }
            Seen::Outside(outside) => Ok(self.by_inode(outside.inode)),
            Seen::Nothing => {
                let Some(captured) = self.runs.get(&run) else { return Ok(None) };
                let asker = asked.asker()?;
                // A child has what its parent has bound under the same number.
                let own = captured.places.get(&(asker, asked.fd));
                let any = || captured.places.iter().find(|((_, number), _)| *number == asked.fd).map(|(_, id)| id);
                Ok(own.or_else(any).copied().filter(|id| self.is_kept(*id)))
            }
        }
    }

    fn is_kept(&self, id: SocketId) -> bool {
        self.bound.contains_key(&id) || self.member(id).is_some()
    }

    /// The kept socket of this number in /proc/PID/fd.
    pub(super) fn by_inode(&self, inode: u64) -> Option<SocketId> {
        let members = self.groups.iter().flat_map(|port| port.kept.iter().map(|(id, kept)| (id, &kept.fd)));
        let mut all = self.bound.iter().chain(members);
        all.find(|(_, fd)| tcp::inode(fd).is_ok_and(|found| found == inode)).map(|(id, _)| *id)
    }
}
