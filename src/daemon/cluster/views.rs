//! What is shown of shared ports.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::cluster::SocketId;
use crate::daemon::cluster::loads::connections_of;
use crate::daemon::cluster::ports::Ports;
use crate::proto::PortView;
use crate::supervisor::RunId;
use crate::sys::tcp;

/// How often connections are counted at most.
const EVERY: Duration = Duration::from_millis(900);

/// How many times as long as counting took it is left alone: the same thread answers `bind` and `listen`.
const SHARE: u32 = 100;

/// How many connections sockets had when they were counted last.
#[derive(Debug, Default)]
pub(super) struct Counted {
    by_socket: HashMap<SocketId, u32>,
    /// When that ended, and how long it took.
    last: Option<(Instant, Duration)>,
}

impl Counted {
    fn is_due(&self) -> bool {
        self.last.is_none_or(|(at, took)| at.elapsed() >= EVERY.max(took * SHARE))
    }
}

impl Ports {
    /// Counts the connections of all members, if that is due. One whose mark others have, too, is not counted.
    pub(super) fn count(&mut self) {
        if !self.counted.is_due() {
            return;
        }
        let begun = Instant::now();
        self.counted.by_socket.clear();
        for port in &self.groups {
            let counted = connections_of(port, &mut self.diag);
            let is_alone = |id: &SocketId| {
                let tag = port.kept.get(id).map(|kept| kept.tag);
                port.kept.values().filter(|kept| Some(kept.tag) == tag).count() == 1
            };
            self.counted.by_socket.extend(counted.into_iter().filter(|(id, _)| is_alone(id)));
        }
        self.counted.last = Some((Instant::now(), begun.elapsed()));
    }

    /// What is shown: of each run its ports, with what waits there for this run.
    pub(super) fn views(&self) -> BTreeMap<RunId, Vec<PortView>> {
        let mut views: BTreeMap<RunId, Vec<PortView>> = BTreeMap::new();
        for port in &self.groups {
            let (members, serving) = (port.group.members().count(), port.group.serving().count());
            let address = port.group.key().address;
            for member in port.group.members() {
                let kept = port.kept.get(&member.socket);
                let queued = kept.and_then(|kept| tcp::queue_depth(&kept.fd).ok()).unwrap_or_default();
                let overflows = kept.and_then(|kept| tcp::overflows(&kept.fd).ok()).unwrap_or_default();
                let others = kept.into_iter().flat_map(|kept| kept.others.keys().copied());
                let all: Vec<RunId> = others.chain([RunId(member.id.run.0)]).collect();
                let is_one_queue = self.runs.get(&RunId(member.id.run.0)).is_some_and(|run| run.wants.has_one_queue);
                let sharing = if is_one_queue { all.len() } else { 0 };
                // Of one queue it is not known who has accepted which.
                let is_one_s = all.len() == 1;
                let connections = self.counted.by_socket.get(&member.socket).copied().filter(|_| is_one_s);
                for run in all {
                    let of_run = views.entry(run).or_default();
                    match of_run.iter_mut().find(|view| view.address == address) {
                        Some(view) => {
                            view.queued = view.queued.saturating_add(queued);
                            view.overflows = view.overflows.saturating_add(overflows);
                            view.connections =
                                view.connections.zip(connections).map(|(sum, count)| sum.saturating_add(count));
                        }
                        None => {
                            of_run.push(PortView {
                                address,
                                members,
                                serving,
                                queued,
                                sharing,
                                connections,
                                overflows,
                            });
                        }
                    }
                }
            }
        }
        views.values_mut().for_each(|views| views.sort_by_key(|view| view.address));
        views
    }
}
