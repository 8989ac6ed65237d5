//! What members have to do: their connections, and weights that follow from them.

use std::collections::{BTreeMap, HashMap};

use tracing::debug;

use crate::cluster::{Balance, Load, Member, MemberId, SocketId, Weight, is_probe, weigh};
use crate::daemon::cluster::ports::{Port, Ports};
use crate::sys::tcp::{self, Tag};

/// A change of a weight by less than this part is not worth another program.
const WORTH: u16 = 8;

impl Ports {
    /// Whether there is a group whose weights follow what its members have to do.
    pub(super) fn has_loads(&self) -> bool {
        self.groups.iter().any(|port| port.group.balance() == Balance::Least)
    }

    /// Gives such groups their next weights.
    pub(super) fn weigh(&mut self) {
        for at in (0..self.groups.len()).rev() {
            let Some(port) = self.groups.get(at).filter(|port| port.group.balance() == Balance::Least) else {
                continue;
            };
            let counted = connections_of(port, &mut self.diag);
            let members: Vec<Member> = port.group.serving().copied().collect();
            if members.len() < 2 {
                continue;
            }
            let load = |member: &Member| Load {
                connections: counted.get(&member.socket).copied().unwrap_or_default(),
                queued: queued(port, member),
            };
            let loads: Vec<(Load, Weight)> = members.iter().map(|member| (load(member), member.weight)).collect();
            let next = weigh(&loads);
            let changed: Vec<(MemberId, Weight)> = members
                .iter()
                .zip(next)
                .filter(|(member, next)| member.weight.get().abs_diff(next.get()) > member.weight.get() / WORTH)
                .map(|(member, next)| (member.id, next))
                .collect();
            if changed.is_empty() {
                continue;
            }
            debug!(address = %port.group.key().address, ?loads, ?changed, "weighed");
            if let Some(port) = self.groups.get_mut(at) {
                changed.into_iter().for_each(|(id, weight)| port.group.set_weight(id, weight));
            }
            self.settle(at);
        }
    }
}

/// How many connections wait in the queue of a member.
pub(super) fn queued(port: &Port, member: &Member) -> u32 {
    port.kept.get(&member.socket).and_then(|kept| tcp::queue_depth(&kept.fd).ok()).unwrap_or_default()
}

/// How many connections each member of a group has, by the mark that they have inherited. Of those that
/// share a mark, beyond the fifteenth, each is given an equal part.
pub(super) fn connections_of(port: &Port, diag: &mut tcp::diag::Diag) -> HashMap<SocketId, u32> {
    let number = port.group.key().address.port();
    let listed = match diag.connections(number) {
        Ok(listed) => listed,
        Err(error) => {
            debug!(port = number, "its connections cannot be counted: {error}");
            return HashMap::new();
        }
    };
    let mut by_tag: BTreeMap<u8, u32> = BTreeMap::new();
    let is_client = |it: &&tcp::diag::Connection| it.inode != 0 && !is_probe(it.client.ip());
    for connection in listed.iter().filter(is_client) {
        *by_tag.entry(connection.tag.number()).or_default() += 1;
    }
    let tags: Vec<Tag> = port.kept.values().map(|kept| kept.tag).collect();
    let of = |tag: Tag| {
        let sharers = tags.iter().filter(|other| **other == tag).count().max(1);
        by_tag.get(&tag.number()).copied().unwrap_or_default() / u32::try_from(sharers).unwrap_or(u32::MAX)
    };
    let marked = port.kept.iter().filter(|(_, kept)| kept.tag != Tag::NONE);
    marked.map(|(socket, kept)| (*socket, of(kept.tag))).collect()
}
