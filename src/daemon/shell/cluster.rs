//! What the core wants of the sockets that runs share.

use crate::cluster;
use crate::daemon::cluster::{Newcomer, Terms};
use crate::daemon::shell::Shell;
use crate::spec::{Balance, Capture, ClusterSpec, ExecMode};
use crate::supervisor::{Definition, RunId, SlotId, Standing, Time};

/// The run as the owner of the sockets is told of it; none if it shares nothing.
pub(super) fn newcomer(
    run: RunId,
    (slot, instance): (SlotId, u16),
    definition: &Definition,
    replaces: Option<RunId>,
) -> Option<Newcomer> {
    let spec = &definition.spec;
    match (spec.exec_mode, spec.cluster.capture) {
        (ExecMode::Cluster, Capture::Auto) => {
            let terms = terms(&spec.cluster, instance);
            Some(Newcomer { run, slot, app: spec.name.clone(), replaces, terms })
        }
        (ExecMode::Cluster, Capture::Off) | (ExecMode::Fork, _) => None,
    }
}

fn terms(spec: &ClusterSpec, instance: u16) -> Terms {
    Terms {
        balance: match spec.balance {
            Balance::Random => cluster::Balance::Random,
            Balance::Weighted => cluster::Balance::Weighted,
            Balance::SourceIp => cluster::Balance::SourceIp,
            Balance::Least => cluster::Balance::Least,
        },
        weight: match spec.balance {
            Balance::Weighted => cluster::Weight::new(spec.weight(instance)).unwrap_or(cluster::Weight::MIN),
            Balance::Random | Balance::SourceIp | Balance::Least => cluster::Weight::MIN,
        },
        mark: None,
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
        self.tools.sockets.drain(run, until);
    }

    /// Closes what is kept for the next run of a slot.
    pub(in crate::daemon) fn give_up(&mut self, slot: SlotId) {
        self.tools.sockets.give_up(slot);
    }
}
