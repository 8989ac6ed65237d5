//! What the core wants of the sockets that runs share.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::cluster::{self, Share};
use crate::daemon::checks::Examination;
use crate::daemon::cluster::{Newcomer, Terms, Wants};
use crate::daemon::handed::Holder;
use crate::daemon::shell::Shell;
use crate::daemon::shell::live::Live;
use crate::daemon::spawner::Task;
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
    let only = match (spec.exec_mode, &spec.cluster.capture) {
        (ExecMode::Cluster, Capture::Auto) => None,
        (ExecMode::Cluster, Capture::Ports(ports)) => Some(ports.clone()),
        (ExecMode::Cluster, Capture::Off) | (ExecMode::Fork, _) => return None,
    };
    let has_one_queue = spec.cluster.balance == Balance::Shared;
    // Which ports are inspectors is seen when it is known what is executed.
    let wants = Wants { only, inspectors: BTreeSet::new(), has_one_queue };
    let terms = terms(&spec.cluster, instance);
    let is_probed = spec.health.as_ref().is_some_and(|health| health.check.is_by_port());
    Some(Newcomer { run, slot, instance, app: spec.name.clone(), wants, replaces, terms, is_probed })
}

fn terms(spec: &ClusterSpec, instance: u16) -> Terms {
    Terms {
        balance: match spec.balance {
            // One queue needs no choice.
            Balance::Random | Balance::Shared => cluster::Balance::Random,
            Balance::Weighted => cluster::Balance::Weighted,
            Balance::SourceIp => cluster::Balance::SourceIp,
            Balance::Least => cluster::Balance::Least,
        },
        weight: match spec.balance {
            Balance::Weighted => cluster::Weight::new(spec.weight(instance)).unwrap_or(cluster::Weight::MIN),
            Balance::Random | Balance::SourceIp | Balance::Least | Balance::Shared => cluster::Weight::MIN,
        },
        mark: None,
    }
}

impl Shell {
    /// Gives a run its part of the new connections of its ports.
    pub(in crate::daemon) fn steer(&mut self, run: RunId, standing: Standing) {
        let (standing, share) = match standing {
            Standing::Starting => (cluster::Standing::Starting, Share::Whole),
            Standing::Ready => (cluster::Standing::Ready, Share::Whole),
            Standing::Recovering => (cluster::Standing::Ready, Share::Small),
            Standing::Unhealthy => (cluster::Standing::Unhealthy, Share::Whole),
            Standing::Draining => (cluster::Standing::Draining, Share::Whole),
            Standing::Parked => (cluster::Standing::Parked, Share::Whole),
        };
        self.tools.sockets.steer(run, standing, share);
    }

    /// Looks how a run is; one that has ended meanwhile is not looked at.
    pub(in crate::daemon) fn check(
        &mut self,
        run: RunId,
        (slot, instance): (SlotId, u16),
        (definition, listens): (Arc<Definition>, bool),
    ) {
        let Some(live) = self.runs.get(&run) else { return };
        self.tools.checks.begin(Examination {
            run,
            slot,
            instance,
            definition,
            process: Arc::clone(&live.process),
            cwd: live.place.resolved.cwd.clone(),
            captured: live.place.captured,
            listens,
        });
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
        if self.places.get(&slot).is_some_and(|place| !place.handed.is_empty()) {
            // The thread ends only with the daemon.
            let _ = self.tools.spawner.send(Task::GiveUp(slot));
            self.is_closing = true;
        }
    }

    /// Each resolves when ports refuse whose slots were given up since the last answer.
    pub(super) fn until_refused(&mut self) -> Vec<oneshot::Receiver<()>> {
        let captured = std::mem::take(&mut self.is_giving_up).then(|| self.tools.sockets.settled());
        let handed = std::mem::take(&mut self.is_closing).then(|| {
            let (done, settled) = oneshot::channel();
            let _ = self.tools.spawner.send(Task::Settle(done));
            settled
        });
        captured.into_iter().chain(handed).collect()
    }

    /// The runs that have sockets of ours, and which.
    pub(in crate::daemon) fn holders(&self) -> Vec<Holder> {
        let handed = self.runs.values().filter(|live| !live.place.handed.is_empty());
        let holder = |live: &Live| Holder {
            run: live.run,
            slot: live.slot,
            addresses: live.place.handed.clone(),
            process: Arc::clone(&live.process),
        };
        handed.map(holder).collect()
    }
}
