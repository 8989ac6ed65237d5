//! Where one run can be reached and no other: at the addresses of its groups, from a source that their programs know.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::cluster::{Mark, Share};
use crate::daemon::cluster::ports::Ports;
use crate::daemon::cluster::survey::target;
use crate::supervisor::RunId;
use crate::sys::tcp::Origin;

impl Ports {
    /// The lowest mark that no other run of this app has: over IPv6 there are few.
    pub(super) fn free_mark(&self, app: &str) -> Mark {
        let of_app = self.runs.values().filter(|captured| captured.app == app);
        let used: BTreeSet<u16> = of_app.filter_map(|captured| captured.terms.mark).map(Mark::number).collect();
        Mark::new((0..u16::MAX).find(|number| !used.contains(number)).unwrap_or(u16::MAX))
    }

    /// Of each run that has a mark. Not of one whose mark cannot be written into a connection: the 64th over IPv6 alone.
    pub(super) fn places(&self) -> BTreeMap<RunId, Vec<(SocketAddr, Origin)>> {
        let mut places: BTreeMap<RunId, Vec<(SocketAddr, Origin)>> = BTreeMap::new();
        for port in &self.groups {
            let key = port.group.key();
            let to = target(key.address, key.net());
            for member in port.group.members() {
                let from = member.mark.and_then(|mark| match to.ip() {
                    IpAddr::V4(_) => Some(Origin::Address(mark.source().into())),
                    IpAddr::V6(_) => mark.traffic_class().map(Origin::TrafficClass),
                });
                let of_run = places.entry(RunId(member.id.run.0)).or_default();
                of_run.extend(from.map(|from| (to, from)));
            }
        }
        places.retain(|_, of_run| !of_run.is_empty());
        places.values_mut().for_each(|of_run| {
            of_run.sort_by_key(|(to, _)| *to);
            of_run.dedup_by_key(|(to, _)| *to);
        });
        places
    }

    /// A run gets more or less of what its weight says, once its standing is said.
    pub(super) fn set_share(&mut self, run: RunId, share: Share) {
        for at in (0..self.groups.len()).rev() {
            let Some(port) = self.groups.get_mut(at) else { continue };
            let its = port.group.members().filter(|member| RunId(member.id.run.0) == run && member.share != share);
            let its: Vec<_> = its.map(|member| member.id).collect();
            if its.is_empty() {
                continue;
            }
            its.into_iter().for_each(|id| port.group.set_share(id, share));
            self.save_group(at);
            self.settle(at);
        }
    }
}
