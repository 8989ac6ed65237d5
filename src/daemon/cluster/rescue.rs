//! What waits in the queue of a run that is gone while its slot has another run, which will not bind again.
//!
//! A queue cannot be given to a socket that listens already. So who waits is accepted here and passed on to whoever serves
//! the port: a few connections, of a run that died on trial or while its successor came up. Their server sees this machine
//! as their client.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::cluster::{Member, SocketId, Standing};
use crate::daemon::cluster::ports::{Ports, place};
use crate::daemon::report::Report;
use crate::supervisor::RunId;
use crate::sys::tcp;

/// How often a queue is looked into.
const EVERY: Duration = Duration::from_millis(10);

/// For how long at least: connections that are being opened arrive a moment after the last one was sent here.
const AT_LEAST: Duration = Duration::from_millis(100);

/// For how long at most.
const AT_MOST: Duration = Duration::from_secs(3);

/// The queues that are emptied, with when that began.
#[derive(Default)]
pub(super) struct Rescues(BTreeMap<SocketId, Instant>);

impl Rescues {
    pub(super) fn begin(&mut self, socket: SocketId) {
        self.0.entry(socket).or_insert_with(Instant::now);
    }

    /// When to look again.
    pub(super) fn pause(&self) -> Option<Duration> {
        (!self.0.is_empty()).then_some(EVERY)
    }

    /// Takes out who waits, and lets sockets go that nobody waits in any more.
    pub(super) fn go_on(&mut self, ports: &mut Ports, report: impl Fn(Report)) {
        let mut over = Vec::new();
        self.0.retain(|socket, began| {
            let found = ports.member(*socket).filter(|(_, member)| member.standing == Standing::Dead);
            let Some((at, member)) = found else { return false };
            let Some(port) = ports.groups.get(at) else { return false };
            let Some(kept) = port.kept.get(socket) else { return false };
            let address = reachable(port.group.key().address);
            // Passed on to the queue that they come from they would come back for ever.
            if port.group.serving().any(|member| member.standing == Standing::Dead) {
                return began.elapsed() < AT_MOST;
            }
            match tcp::accept_waiting(&kept.fd) {
                Ok(waiting) => {
                    if !waiting.is_empty() {
                        info!(
                            run = member.id.run.0,
                            count = waiting.len(),
                            "passed on who waited for a run that is gone"
                        );
                    }
                    let is_over = waiting.is_empty() && began.elapsed() >= AT_LEAST;
                    waiting.into_iter().for_each(|stream| report(Report::Rescued { stream, address }));
                    if is_over || began.elapsed() >= AT_MOST {
                        over.push(*socket);
                        return false;
                    }
                    true
                }
                Err(error) => {
                    warn!(run = member.id.run.0, "who waited for it cannot be passed on: {error}");
                    false
                }
            }
        });
        if !over.is_empty() {
            ports.change(|member| {
                (over.contains(&member.socket) && member.standing == Standing::Dead).then_some(Standing::Leaving)
            });
        }
    }
}

impl Ports {
    /// The sockets of a run that is gone whose slot has another run, which will never ask for them.
    pub(super) fn orphans(&self, run: RunId) -> Vec<SocketId> {
        let members = || self.groups.iter().flat_map(|port| port.group.members());
        // Nothing else may be known of it any more.
        let Some(slot) = members().find(|it| RunId(it.id.run.0) == run).map(|it| it.place) else { return Vec::new() };
        let listens = |other: &RunId| {
            let is_its = |member: &&Member| {
                let stays = match member.standing {
                    Standing::Ready | Standing::Parked | Standing::Unhealthy | Standing::Starting => true,
                    // It goes, and the next run of the slot will ask.
                    Standing::Dead | Standing::Draining | Standing::Leaving => false,
                };
                RunId(member.id.run.0) == *other && stays
            };
            members().any(|member| is_its(&member))
        };
        let others = self.runs.iter().filter(|(id, other)| **id != run && place(other.slot) == slot && !other.ended);
        if !others.map(|(id, _)| id).any(listens) {
            return Vec::new();
        }
        let dead = members().filter(|it| RunId(it.id.run.0) == run && it.standing == Standing::Dead);
        dead.map(|member| member.socket).collect()
    }
}

/// How a port is reached from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, address.port())
}
