//! What a daemon leaves to its successor of captured runs and of the sockets that they share.
//!
//! One record a line, written by the thread that owns the sockets. Of all records about one thing the last one holds.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The version of [`SocketRecord`].
pub const SOCKETS_VERSION: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketRecord {
    /// The version of the writer. Always the first.
    Head {
        /// [`SOCKETS_VERSION`].
        version: u32,
    },
    /// A run that is captured.
    Run(CapturedRecord),
    /// Nothing of it is left.
    Gone {
        /// Its number.
        run: u64,
    },
    /// The sockets of one port; none: it is nobody's any more.
    Group(GroupRecord),
}

/// A run that is captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedRecord {
    /// Its number.
    pub run: u64,
    /// Its slot.
    pub slot: u32,
    /// Its app.
    pub app: String,
    /// The ports on which it has to listen before it is ready; none: any one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub needs: BTreeSet<u16>,
    /// The ports on which it listens.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub listens: BTreeSet<u16>,
    /// What it is good for.
    pub standing: StandingRecord,
    /// Whether its main process has ended.
    #[serde(default)]
    pub ended: bool,
    /// Its sockets that are bound, or about to be, and do not listen yet.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub bound: BTreeSet<u64>,
    /// How many sockets it has had.
    #[serde(default)]
    pub sockets: u16,
    /// Its index within the app.
    #[serde(default)]
    pub instance: u16,
    /// The ports that it shares; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<BTreeSet<u16>>,
    /// The ports of its inspectors, as its program names them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub inspectors: BTreeSet<u16>,
    /// Where its inspectors are.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub inspected: BTreeSet<u16>,
    /// Whether all instances of its app have one queue.
    #[serde(default)]
    pub has_one_queue: bool,
    /// What its owner should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// Where sockets of ours are in processes that cannot be looked into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<PlaceRecord>,
    /// The marks that its connections may have, by port.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<(u16, u8)>,
}

/// Where a socket of ours is in a process that cannot be looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceRecord {
    /// The process.
    pub process: u32,
    /// The number of its descriptor.
    pub number: i32,
    /// The cookie of the socket.
    pub socket: u64,
}

/// The sockets of one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// The network namespace.
    pub namespace: u64,
    /// Address and port.
    pub address: SocketAddr,
    /// Whether IPv6 alone is taken.
    #[serde(default)]
    pub v6only: bool,
    /// The network device.
    #[serde(default)]
    pub device: u32,
    /// The user.
    pub uid: u32,
    /// Whose it is.
    pub app: String,
    /// The members in the order of the kernel's array. The last may not have come yet, one that leaves may have left.
    #[serde(default)]
    pub members: Vec<MemberRecord>,
}

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Its cookie.
    pub socket: u64,
    /// Its run.
    pub run: u64,
    /// The how-manieth of that run.
    pub nth: u16,
    /// Its slot.
    pub slot: u32,
    /// The mark that its connections inherit; 0: none.
    #[serde(default)]
    pub tag: u8,
    /// What it is good for.
    pub standing: StandingRecord,
    /// The other runs that have it, too.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub others: BTreeSet<u64>,
}

/// What a socket is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandingRecord {
    /// It serves.
    Ready,
    /// It waits until its replacement has proved itself.
    Parked,
    /// Its health check fails.
    Unhealthy,
    /// It is not ready yet.
    Starting,
    /// Its run is gone; the next one gets it.
    Dead,
    /// It gets nothing new.
    Draining,
    /// It is to leave.
    Leaving,
}
