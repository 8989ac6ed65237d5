//! What the core wants of the sockets that runs share.

use std::collections::BTreeSet;

use tokio::sync::oneshot;

use crate::cluster;
use crate::daemon::cluster::{Newcomer, Wants};
use crate::daemon::shell::Shell;
use crate::spec::{Balance, Capture, ExecMode};
use crate::supervisor::{Definition, RunId, SlotId, Standing, Time};

/// The run as the owner of the sockets is told of it; none if it shares nothing.
pub(super) fn newcomer(
    run: RunId,
    (slot, instance): (SlotId, u16),
    definition: &Definition,
    replaces: Option<RunId>,
) -> Option<Newcomer> {
    let spec = &definition.spec;
    let only = match (spec.exec_mode, &spec.cluster.capture) {
        (ExecMode::Cluster, Capture::Auto) => None,
        (ExecMode::Cluster, Capture::Ports(ports)) => Some(ports.clone()),
        (ExecMode::Cluster, Capture::Off) | (ExecMode::Fork, _) => return None,
    };
    let has_one_queue = match spec.cluster.balance {
        Balance::Shared => true,
        Balance::Random => false,
    };
    // Which ports are inspectors is seen when it is known what is executed.
    let wants = Wants { only, inspectors: BTreeSet::new(), has_one_queue };
    Some(Newcomer { run, slot, instance, app: spec.name.clone(), wants, replaces })
}

impl Shell {
    /// Gives a run its part of the new connections of its ports.
    pub(in crate::daemon) fn steer(&mut self, run: RunId, standing: Standing) {
        let standing = match standing {
            Standing::Starting => cluster::Standing::Starting,
            Standing::Ready => cluster::Standing::Ready,
            Standing::Draining => cluster::Standing::Draining,
            Standing::Parked => cluster::Standing::Parked,
        };
        self.tools.sockets.steer(run, standing);
    }

    /// Ends the connections of a run; a report says when that is done, or `until` is over.
    pub(in crate::daemon) fn drain(&mut self, run: RunId, until: Time) {
        let has_agent = self.runs.get(&run).is_some_and(|live| live.talk.drain());
        let ending = if has_agent { cluster::Ending::Programs } else { cluster::Ending::Ours };
        self.tools.sockets.drain(run, until, ending);
    }

    /// Closes what is kept for the next run of a slot.
    pub(in crate::daemon) fn give_up(&mut self, slot: SlotId) {
        self.tools.sockets.give_up(slot);
        self.is_giving_up = true;
    }

    /// Until ports refuse whose slots were given up since the last answer; none if there were none.
    pub(super) fn until_refused(&mut self) -> Option<oneshot::Receiver<()>> {
        std::mem::take(&mut self.is_giving_up).then(|| self.tools.sockets.settled())
    }
}
