//! What a run says of itself beside being ready: that it is about to end, and which signals it listens for. And how it is
//! asked to end, which depends on that.

use crate::spec::{ExecMode, Signal, StopSpec};
use crate::supervisor::rollout::Rollout;
use crate::supervisor::slot::{Cause, Phase, Run, Slot, Turn};
use crate::supervisor::{Effect, RunId, Standing, Whom};

/// How a run is asked to end, and by which signal; none: by a message.
pub(super) fn request_to_end(stop: &StopSpec, run: Run) -> (Effect, Option<Signal>) {
    let whom = if stop.treekill { Whom::Main } else { Whom::OnlyMain };
    let signal = if stop.auto && run.interrupt_only { Signal::INT } else { stop.signal };
    match stop.message {
        true => (Effect::Message { run: run.id, signal, whom }, None),
        false => (Effect::Signal { run: run.id, signal, whom }, Some(signal)),
    }
}

impl Rollout {
    fn run_mut(&mut self) -> Option<&mut Run> {
        match self {
            Rollout::Asked { .. } => None,
            Rollout::Launch { run, .. }
            | Rollout::AwaitReady { run, .. }
            | Rollout::Held { run }
            | Rollout::Baking { run, .. }
            | Rollout::Leaving { run, .. } => Some(run),
        }
    }
}

impl Slot {
    /// How a run of this slot is asked to end, now that it is to.
    pub(crate) fn request_to_end(&self, run: Run) -> Effect {
        match &self.phase {
            Phase::Stopping { run: main, cause: Cause::Hung, .. } if main.id == run.id => self.aborted(run.id),
            Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Launching { .. }
            | Phase::Starting { .. }
            | Phase::Online { .. }
            | Phase::Waiting { .. }
            | Phase::Errored { .. }
            | Phase::Completed { .. } => request_to_end(&self.definition.spec.stop, run).0,
        }
    }

    /// The process says that it is about to end.
    pub(super) fn on_closing(&mut self, id: RunId, turn: &mut Turn<'_>) {
        let Some(run) = self.its_run(id) else { return };
        let was_closing = std::mem::replace(&mut run.closing, true);
        let (is_shared, was_ready) = (run.mode == ExecMode::Cluster, run.was_ready);
        // One that is not ready gets nothing, and one that is asked to end nothing any more.
        let is_served = was_ready && matches!(&self.phase, Phase::Online { run } if run.id == id);
        if is_shared && is_served && !was_closing {
            turn.effects.push(Effect::Steer { run: id, standing: Standing::Draining });
        }
    }

    /// The process listens for other signals now.
    pub(super) fn on_heeds(&mut self, id: RunId, interrupt_only: bool) {
        if let Some(run) = self.its_run(id) {
            run.interrupt_only = interrupt_only;
        }
    }

    /// A run of this slot, to be changed.
    pub(super) fn its_run(&mut self, id: RunId) -> Option<&mut Run> {
        let main = match &mut self.phase {
            Phase::Launching { run }
            | Phase::Starting { run, .. }
            | Phase::Online { run }
            | Phase::Stopping { run, .. } => Some(run),
            Phase::Stopped | Phase::Waiting { .. } | Phase::Errored { .. } | Phase::Completed { .. } => None,
        };
        main.filter(|run| run.id == id).or_else(|| self.rollout.as_mut()?.run_mut().filter(|run| run.id == id))
    }
}
