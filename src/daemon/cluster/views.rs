//! What is shown of shared ports.

use std::collections::HashMap;

use crate::daemon::cluster::Views;
use crate::daemon::cluster::loads::{connections_of, queued};
use crate::daemon::cluster::ports::Ports;
use crate::proto::PortView;
use crate::supervisor::RunId;
use crate::sys::tcp;

/// Whether connections are counted, which takes longer than everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// They are.
    Counted,
    /// They are not.
    Quick,
}

impl Ports {
    /// What is shown: of each run its ports, with what waits there for this run.
    pub(super) fn views(&mut self, depth: Depth) -> Views {
        let mut views = Views::new();
        for port in &self.groups {
            let (members, serving) = (port.group.members().count(), port.group.serving().count());
            let address = port.group.key().address;
            let counted = match depth {
                Depth::Counted => connections_of(port, &mut self.diag),
                Depth::Quick => HashMap::new(),
            };
            for member in port.group.members() {
                let overflows = port.kept.get(&member.socket).and_then(|kept| tcp::overflows(&kept.fd).ok());
                let (queued, overflows) = (queued(port, member), overflows.unwrap_or_default());
                let connections = counted.get(&member.socket).copied().unwrap_or_default();
                let of_run = views.entry(RunId(member.id.run.0)).or_default();
                match of_run.iter_mut().find(|view| view.address == address) {
                    Some(view) => {
                        view.queued = view.queued.saturating_add(queued);
                        view.connections = view.connections.saturating_add(connections);
                        view.overflows = view.overflows.saturating_add(overflows);
                    }
                    None => of_run.push(PortView { address, members, serving, queued, connections, overflows }),
                }
            }
        }
        views.values_mut().for_each(|views| views.sort_by_key(|view| view.address));
        views
    }
}
