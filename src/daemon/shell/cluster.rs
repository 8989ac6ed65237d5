//! What the core wants of the sockets that runs share.

use crate::cluster;
use crate::daemon::cluster::Newcomer;
use crate::daemon::shell::Shell;
use crate::spec::{Capture, ExecMode};
use crate::supervisor::{Definition, RunId, SlotId, Standing, Time};

/// The run as the owner of the sockets is told of it; none if it shares nothing.
pub(super) fn newcomer(run: RunId, slot: SlotId, definition: &Definition, replaces: Option<RunId>) -> Option<Newcomer> {
    let spec = &definition.spec;
    match (spec.exec_mode, spec.cluster.capture) {
        (ExecMode::Cluster, Capture::Auto) => Some(Newcomer { run, slot, app: spec.name.clone(), replaces }),
        (ExecMode::Cluster, Capture::Off) | (ExecMode::Fork, _) => None,
    }
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
    }
}
