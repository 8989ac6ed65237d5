//! Finding out the order of an array that nobody can know any more: which socket is at which index.
//!
//! While it is in doubt, the group's program gives every index to a probe of its own and leaves everybody else to the
//! kernel's choice. The probes are connections of ours that are closed at once.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tracing::{debug, warn};

use crate::cluster::{Mark, Net, SocketId};
use crate::daemon::cluster::ports::Ports;
use crate::sys::tcp::{Marked, Origin, probe};

/// How long one probe may take. The kernel answers at once, unless a queue is full.
const PROBE: Duration = Duration::from_millis(100);

impl Ports {
    /// Whether the order of a group is known again.
    pub(super) fn survey(&mut self, at: usize) -> bool {
        let Some(port) = self.groups.get(at).filter(|port| port.group.is_in_doubt()) else { return false };
        let address = port.group.key().address;
        match self.order(at) {
            Ok(order) => {
                debug!(%address, ?order, "the order of its sockets was found out");
                if let Some(port) = self.groups.get_mut(at) {
                    port.group.settle(&order);
                }
                true
            }
            Err(error) => {
                // With the next look it is tried again.
                warn!(%address, "the order of its sockets cannot be found out, connections go anywhere: {error}");
                false
            }
        }
    }

    fn order(&mut self, at: usize) -> io::Result<Vec<SocketId>> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let port = self.groups.get(at).ok_or_else(missing)?;
        let (all, net) = (port.group.sockets(), port.group.key().net());
        let own: Vec<(SocketId, &OwnedFd)> = all.iter().filter_map(|id| Some((*id, &port.kept.get(id)?.fd))).collect();
        let marked = own.iter().enumerate().map(|(nth, (_, fd))| Marked::new(*fd, nth));
        let marked: Vec<Marked<'_, OwnedFd>> = marked.collect::<io::Result<_>>()?;
        let to = target(port.group.key().address, net);
        let mut found = Vec::new();
        for index in 0..all.len() {
            let mark = Mark::new(u16::try_from(index).map_err(io::Error::other)?);
            let from = match to.ip() {
                IpAddr::V4(_) => Origin::Address(mark.source().into()),
                IpAddr::V6(_) => Origin::TrafficClass(mark.traffic_class().ok_or(io::ErrorKind::Unsupported)?),
            };
            let member = probe(to, from, PROBE)?;
            found.push(member.map(|nth| own.get(nth).map(|(id, _)| *id).ok_or_else(missing)).transpose()?);
        }
        drop(marked);
        // Strangers are told apart by nothing; which of them is where is looked at again when one of them goes.
        let mut strangers = all.iter().filter(|id| !port.kept.contains_key(id)).copied();
        let order: Option<Vec<SocketId>> = found.into_iter().map(|id| id.or_else(|| strangers.next())).collect();
        let order = order.ok_or_else(missing)?;
        let is_whole = all.iter().all(|id| order.contains(id));
        if is_whole { Ok(order) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

/// Where a probe connects to. One over IPv4 reaches every address of this machine.
pub(super) fn target(address: SocketAddr, net: Net) -> SocketAddr {
    let ip = match (address.ip(), net) {
        (ip, _) if !ip.is_unspecified() => match ip {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
            IpAddr::V4(_) => ip,
        },
        (_, Net::V4 | Net::Dual) => Ipv4Addr::LOCALHOST.into(),
        (_, Net::V6) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}
