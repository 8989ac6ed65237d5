//! What the kernel's list of a port's listening sockets says about the order of its array.
//!
//! The list says who is there, not at which index. One change at a time leaves no doubt: who came is last, who went was
//! replaced by the last. Several between two looks may leave one, and then nothing is believed any more.

use crate::cluster::group::{Attached, Entry, Group};
use crate::cluster::member::{MemberId, SocketId};

/// Something that nobody told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A socket that is not ours shares the port. It gets nothing.
    StrangerCame(SocketId),
    /// It is gone.
    StrangerLeft(SocketId),
    /// A program has taken its own socket out (shutdown for reading), or the kernel never had it.
    MemberGone(MemberId),
}

impl Group {
    /// Compares the group with the sockets that listen on its port now, in the order in which they began to, as far as that
    /// is known. To be called before each step, once a change is wanted, and from time to time.
    pub fn observe(&mut self, listed: &[SocketId]) -> Vec<Finding> {
        let gone: Vec<SocketId> =
            self.entries.iter().map(Entry::socket).filter(|socket| !listed.contains(socket)).collect();
        let came: Vec<SocketId> = listed.iter().copied().filter(|socket| self.position(*socket).is_none()).collect();
        let mut findings = Vec::new();
        self.is_in_doubt |= self.leaves_doubt(&gone, &came);
        if !gone.is_empty() {
            // Whatever is attached was made for another order.
            self.attached = Attached::Unknown;
        }
        for socket in gone {
            findings.extend(self.position(socket).and_then(|at| self.entries.get(at)).map(|entry| match entry {
                Entry::Ours(member) => Finding::MemberGone(member.id),
                Entry::Stranger(socket) => Finding::StrangerLeft(*socket),
            }));
            self.left(socket);
        }
        if !came.is_empty() {
            // Whatever is attached may mean one of them by now.
            self.attached = Attached::Unknown;
        }
        for socket in came {
            self.entries.push(Entry::Stranger(socket));
            findings.push(Finding::StrangerCame(socket));
        }
        // Those that came since the last look, ours among them, are in the order in which they began to listen.
        if let Some(tail) = self.entries.get_mut(self.observed..) {
            tail.sort_by_key(|entry| listed.iter().position(|socket| *socket == entry.socket()));
        }
        self.observed = self.entries.len();
        findings
    }

    /// Whether these changes, in another order, would have led to another array.
    fn leaves_doubt(&self, gone: &[SocketId], came: &[SocketId]) -> bool {
        // Nobody moved if only the last ones went.
        let stays = self.entries.len().saturating_sub(gone.len());
        let came = came.len() + self.entries.len().saturating_sub(self.observed);
        let is_tail = self.entries.iter().skip(stays).all(|entry| gone.contains(&entry.socket()));
        match (gone.len(), came) {
            (0, _) => false,
            (1, 0) => false,
            (_, 0) => !is_tail,
            // The last one's index may have been filled by one that came, before or after.
            (_, _) => true,
        }
    }
}
