//! Who shares a port: what makes a group, and what is known of each of its sockets.

use std::net::{IpAddr, SocketAddr};

use crate::cluster::steering::{Mark, Net, Place, Weight};

/// What makes sockets share a port, and not another of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupKey {
    /// The network namespace.
    pub namespace: u64,
    /// Address and port.
    pub address: SocketAddr,
    /// Whether IPv6 alone is taken; false for IPv4.
    pub v6only: bool,
    /// The network device; 0 for none.
    pub device: u32,
    /// The user: only sockets of one user share.
    pub uid: u32,
}

/// The run that a member serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run(pub u64);

/// A process of that run, in the words of whoever tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u64);

/// The kernel's identity of a socket, its cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// Who a member is: the k-th socket that a process of a run has in this group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId {
    /// The run.
    pub run: Run,
    /// The process.
    pub owner: Owner,
    /// Counted from 0.
    pub nth: u16,
}

/// What a member is good for.
///
/// New connections go to all members of the first of these that any member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It serves.
    Ready,
    /// It could, and waits until its replacement has proved itself.
    Parked,
    /// It runs, and its health check fails.
    Unhealthy,
    /// It is not ready yet; what comes now waits for it.
    Starting,
    /// Its process is gone or has let go of the socket; what comes now waits for the run that gets it next.
    Dead,
    /// It gets nothing new and finishes what it has.
    Draining,
    /// Its socket is to leave the group, never to get anything again.
    Leaving,
}

/// A socket of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its identity.
    pub socket: SocketId,
    /// Whose it is.
    pub id: MemberId,
    /// The place of the app that it fills.
    pub place: Place,
    /// Its weight.
    pub weight: Weight,
    /// What its probes are recognised by.
    pub mark: Option<Mark>,
    /// What it is good for.
    pub standing: Standing,
}

impl GroupKey {
    /// What its clients may speak.
    pub fn net(&self) -> Net {
        match self.address.ip() {
            IpAddr::V4(_) => Net::V4,
            // An address of IPv4 in the form of IPv6 takes clients of IPv4 alone.
            IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => Net::V4,
            IpAddr::V6(ip) if ip.is_unspecified() && !self.v6only => Net::Dual,
            IpAddr::V6(_) => Net::V6,
        }
    }
}

/// How many marks there are that connections inherit from their member. 0 is every unmarked socket's.
const TAGS: u8 = 16;

/// The mark for a newcomer to a port: the first of those that the fewest have, of `used` by each who has one.
///
/// As long as there are enough of them, a mark tells whose a connection is. Those that have to share one are told apart
/// by looking into their processes, at the connections with that mark.
pub fn free_tag(used: impl IntoIterator<Item = u8>) -> u8 {
    let mut counts = [0_usize; TAGS as usize];
    for number in used {
        if let Some(count) = counts.get_mut(usize::from(number)) {
            *count += 1;
        }
    }
    (1..TAGS).min_by_key(|number| counts.get(usize::from(*number)).copied()).unwrap_or_default()
}
