//! What follows when the tree of a run takes more memory than its app may.
//!
//! A run that shares ports is replaced as by a reload: the new one is ready before the old one is drained, and a drain is
//! cut short when the old one takes a quarter more than it may. Every other run is restarted. Nobody has asked for either,
//! so a crash restart it is: the release stays the one of the last start.
//!
//! An app that needs more than its limit from its first moment on would be replaced for ever. So a run that was replaced in
//! haste lets its successor live for a while before it is weighed, twice as long each time; one that takes half as much again
//! as it may is not let alone for longer than the first time, or a fast leak would fill the machine.

use std::time::Duration;

use crate::spec::ExecMode;
use crate::supervisor::rollout::{Manner, Rollout};
use crate::supervisor::slot::{Cause, Goal, Phase, Run, Slot, Stage, Turn};
use crate::supervisor::{ChangeKind, Resolve, RunId, Then, Time};

/// A life that is over its limit as early as this was over it from the beginning.
const HASTE: Duration = Duration::from_secs(5);

/// The first and the longest time that a successor lives before it is replaced.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// What was done about the memory of a slot's runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// How many runs in a row were replaced in haste.
    pub(crate) hasty: u32,
    /// The last run that was to be replaced, and when.
    pub(crate) tried: Option<(RunId, Time)>,
}

impl Weight {
    fn patience(self, (memory, limit): (u64, u64)) -> Duration {
        let longest = if memory >= limit.saturating_add(limit / 2) { PATIENCE.0 } else { PATIENCE.1 };
        match self.hasty {
            0 => Duration::ZERO,
            hasty => (PATIENCE.0 * (1 << (hasty - 1).min(8))).min(longest),
        }
    }

    /// What it is after this run is replaced now; none: it is to be let alone.
    fn replacing(self, run: Run, taken: (u64, u64), now: Time) -> Option<Weight> {
        let patience = self.patience(taken);
        let again = self.tried.filter(|(tried, _)| *tried == run.id);
        // Its replacement has failed: the next one is not tried at once.
        let (passed, patience) = match again {
            Some((_, at)) => (now.since(at), patience.max(PATIENCE.0)),
            None => (now.since(run.started), patience),
        };
        let hasty = match again.is_some() || passed < patience + HASTE {
            true => self.hasty.saturating_add(1),
            false => 0,
        };
        (passed >= patience).then_some(Weight { hasty, tried: Some((run.id, now)) })
    }
}

impl Slot {
    /// The memory of a run is above its warning or its limit. One whose turn in a reload comes is replaced then.
    pub(super) fn on_weighed(&mut self, id: RunId, memory: u64, is_awaited: bool, turn: &mut Turn<'_>) {
        let spec = self.definition.spec.memory;
        if spec.too_much().is_some_and(|much| memory >= much) {
            self.cut_drain(id, turn);
        }
        let run = match &self.phase {
            Phase::Starting { run, .. } | Phase::Online { run } if run.id == id => *run,
            Phase::Starting { .. }
            | Phase::Online { .. }
            | Phase::Launching { .. }
            | Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Waiting { .. }
            | Phase::Errored { .. }
            | Phase::Completed { .. } => return,
        };
        match (spec.limit, spec.warn_at()) {
            (Some(limit), _) if memory >= limit && is_awaited => {}
            (Some(limit), _) if memory >= limit => self.replace_heavy(run, (memory, limit), turn),
            (_, Some(limit)) if memory >= limit => {
                turn.effects.push(self.told(ChangeKind::Heavy { run: id, memory, limit, then: Then::Warned }, None));
            }
            (Some(_) | None, Some(_) | None) => {}
        }
    }

    /// Why a run that was asked to end was asked.
    pub(super) fn stopped(&self, id: RunId) -> &'static str {
        let is_heavy = self.asked_by.is_none() && self.weight.tried.is_some_and(|(tried, _)| tried == id);
        if is_heavy { "stopped for its memory" } else { "stopped by request" }
    }

    fn replace_heavy(&mut self, run: Run, (memory, limit): (u64, u64), turn: &mut Turn<'_>) {
        // What is on its way already is waited for.
        if self.goal != Goal::Up || self.generation > self.launched || self.rollout.is_some() {
            return;
        }
        let Some(weight) = self.weight.replacing(run, (memory, limit), turn.now) else { return };
        self.weight = weight;
        self.asked_by = None;
        let is_beside = self.is_reloadable();
        let then = if is_beside { Then::Replaced } else { Then::Restarted };
        turn.effects.push(self.told(ChangeKind::Heavy { run: run.id, memory, limit, then }, None));
        if is_beside {
            self.launch_beside(run, Manner::Plain, Resolve::Keep, turn);
        } else {
            self.generation += 1;
        }
    }

    /// A run that is being drained takes far too much: its connections have had their time.
    fn cut_drain(&mut self, id: RunId, turn: &mut Turn<'_>) {
        if let Phase::Stopping { run, cause: Cause::Asked, stage: Stage::Draining, .. } = self.phase
            && run.id == id
        {
            self.ask_to_end(run, Cause::Asked, turn);
        }
        if let Some(Rollout::Leaving { run, stage: Stage::Draining, .. }) = self.rollout
            && run.id == id
            && run.mode == ExecMode::Cluster
        {
            self.ask_aside(run, turn);
        }
    }
}
