//! What is shown of shared ports.

use std::collections::BTreeMap;

use crate::daemon::cluster::ports::Ports;
use crate::proto::PortView;
use crate::supervisor::RunId;
use crate::sys::tcp;

impl Ports {
    /// What is shown: of each run its ports, with what waits there for this run.
    pub(super) fn views(&self) -> BTreeMap<RunId, Vec<PortView>> {
        let mut views: BTreeMap<RunId, Vec<PortView>> = BTreeMap::new();
        for port in &self.groups {
            let (members, serving) = (port.group.members().count(), port.group.serving().count());
            let address = port.group.key().address;
            for member in port.group.members() {
                let queued = port.kept.get(&member.socket).and_then(|kept| tcp::queue_depth(&kept.fd).ok());
                let queued = queued.unwrap_or_default();
                let others = port.kept.get(&member.socket).into_iter().flat_map(|kept| kept.others.keys().copied());
                let all: Vec<RunId> = others.chain([RunId(member.id.run.0)]).collect();
                let is_one_queue = self.runs.get(&RunId(member.id.run.0)).is_some_and(|run| run.wants.has_one_queue);
                let sharing = if is_one_queue { all.len() } else { 0 };
                for run in all {
                    let of_run = views.entry(run).or_default();
                    match of_run.iter_mut().find(|view| view.address == address) {
                        Some(view) => view.queued = view.queued.saturating_add(queued),
                        None => of_run.push(PortView { address, members, serving, queued, sharing, connections: None }),
                    }
                }
            }
        }
        views.values_mut().for_each(|views| views.sort_by_key(|view| view.address));
        views
    }
}
