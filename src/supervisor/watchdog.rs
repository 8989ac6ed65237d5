//! What follows when a run hangs: it has promised to speak and has been silent for too long, or says so itself.
//!
//! Whether it is silent the shell knows, which hears it: a word that it says costs no turn of the core. Here is decided for
//! whom that matters: a run that is ready is aborted, so that it leaves a trace of where it was, killed if that does not
//! help, and started anew as after any other failure. Nobody waits for its connections: it serves none. A successor begins
//! to listen anew and gives everybody a whole period.
//!
//! And what else ends runs without having been asked: the kernel, when memory is short.

use std::time::Duration;

use crate::spec::{ExecMode, ExitStatus, Signal};
use crate::supervisor::restart::in_words;
use crate::supervisor::rollout::Rollout;
use crate::supervisor::slot::{Cause, Phase, Run, Slot, Stage, Turn};
use crate::supervisor::{ChangeKind, Effect, EndedBy, Hang, Proof, RunId, Standing, Time, Whom};

impl Slot {
    /// From now on a run is expected to speak, if it has promised to.
    pub(super) fn guard(&self, run: Run, turn: &mut Turn<'_>) {
        if let Some(limit) = run.watchdog {
            turn.effects.push(Effect::Guard { run: run.id, limit });
        }
    }

    /// How long a run may be silent; none: nobody listens for it, or not yet.
    pub(crate) fn guarded(&self, id: RunId) -> Option<Duration> {
        let main = match &self.phase {
            Phase::Online { run } => Some(run),
            Phase::Launching { .. }
            | Phase::Starting { .. }
            | Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Waiting { .. }
            | Phase::Errored { .. }
            | Phase::Completed { .. } => None,
        };
        let parked = match &self.rollout {
            Some(Rollout::Baking { run, .. }) => Some(run),
            Some(
                Rollout::Asked { .. }
                | Rollout::Launch { .. }
                | Rollout::AwaitReady { .. }
                | Rollout::Held { .. }
                | Rollout::Leaving { .. },
            )
            | None => None,
        };
        main.into_iter().chain(parked).find(|run| run.id == id)?.watchdog
    }

    /// The process says how long it may be silent. Who is not listened for cannot ask to be.
    pub(super) fn on_guarded(&mut self, id: RunId, limit: Duration, turn: &mut Turn<'_>) {
        if let Some(run) = self.its_run(id)
            && run.watchdog.is_some()
        {
            run.watchdog = Some(limit);
            if self.guarded(id).is_some() {
                turn.effects.push(Effect::Guard { run: id, limit });
            }
        }
    }

    /// The process hangs.
    pub(super) fn on_hung(&mut self, id: RunId, hang: Hang, turn: &mut Turn<'_>) {
        // Who is not listened for any more was late in saying so.
        if hang != Hang::Told && self.guarded(id).is_none() {
            return;
        }
        let reason = match hang {
            Hang::Silent(limit) => format!("hung: no word for {}", in_words(limit)),
            Hang::Told => "hung: it says so itself (WATCHDOG=trigger)".to_owned(),
        };
        match (&self.phase, &self.rollout) {
            (Phase::Starting { run, .. } | Phase::Online { run }, _) if run.id == id => {
                self.on_main_hung(*run, reason, turn);
            }
            (_, Some(Rollout::AwaitReady { run, .. } | Rollout::Held { run })) if run.id == id => {
                let (run, manner) = (*run, self.manner());
                self.complain(id, &reason, turn);
                self.abort(run, reason, turn);
                self.spoil(manner, turn);
                self.abort_aside(run, turn);
            }
            // It could not take over again.
            (_, Some(Rollout::Baking { run, .. })) if run.id == id => {
                let run = *run;
                self.complain(id, &reason, turn);
                self.abort_aside(run, turn);
            }
            (_, _) => {}
        }
    }

    fn on_main_hung(&mut self, run: Run, reason: String, turn: &mut Turn<'_>) {
        self.complain(run.id, &reason, turn);
        let is_fed = matches!(self.phase, Phase::Online { .. }) && run.mode == ExecMode::Cluster;
        if is_fed {
            turn.effects.push(Effect::Steer { run: run.id, standing: Standing::Draining });
        }
        if let Some((old, manner)) = self.on_trial(run) {
            self.take_back((old, run), format!("{reason}, on trial"), turn);
            self.abort_aside(run, turn);
            return self.spoil(manner, turn);
        }
        let kill_at = self.send_abort(run, turn);
        self.phase = Phase::Stopping { run, cause: Cause::Hung, stage: Stage::Asked, kill_at };
    }

    fn complain(&mut self, id: RunId, reason: &str, turn: &mut Turn<'_>) {
        self.complaint = Some((id, reason.to_owned()));
        turn.effects.push(self.told(ChangeKind::Hung { run: id, reason: reason.to_owned() }, None));
    }

    fn abort_aside(&mut self, run: Run, turn: &mut Turn<'_>) {
        let at = self.send_abort(run, turn);
        self.rollout = Some(Rollout::Leaving { run, stage: Stage::Asked, at });
    }

    /// Aborts a run; returns when it is killed.
    fn send_abort(&self, run: Run, turn: &mut Turn<'_>) -> Time {
        turn.effects.push(self.aborted(run.id));
        turn.effects.push(self.told(ChangeKind::Stopping(run.id, Some(Signal::ABRT)), None));
        turn.now.after(self.definition.spec.stop.kill_timeout)
    }

    /// The request to end for who hangs.
    pub(super) fn aborted(&self, run: RunId) -> Effect {
        let whom = if self.definition.spec.stop.treekill { Whom::Main } else { Whom::OnlyMain };
        Effect::Signal { run, signal: Signal::ABRT, whom }
    }

    /// The kernel has killed it, or something of its tree.
    pub(super) fn on_starved(&mut self, id: RunId, proof: Proof, turn: &mut Turn<'_>) {
        if self.its_run(id).is_some() {
            self.starved = Some((id, proof));
            turn.effects.push(self.told(ChangeKind::Starved { run: id, proof }, None));
        }
    }

    pub(super) fn is_starved(&self, id: RunId) -> bool {
        self.starved.is_some_and(|(run, _)| run == id)
    }

    /// The end of a run that nobody has asked to end, in words.
    pub(super) fn ended(&self, id: RunId, status: ExitStatus) -> String {
        match self.starved {
            Some((run, Proof::Sure)) if run == id => format!("{status}: out of memory, killed by the kernel"),
            Some((run, Proof::Likely)) if run == id => {
                format!("{status}: probably out of memory, the kernel has killed for it")
            }
            Some(_) | None => status.to_string(),
        }
    }

    /// What has ended a run.
    pub(super) fn ended_by(&self, id: RunId, cause: Cause) -> EndedBy {
        match cause {
            Cause::Asked if self.stopped(id) == "stopped for its memory" => EndedBy::Memory,
            Cause::Asked => EndedBy::Request,
            Cause::Unhealthy => EndedBy::Health,
            Cause::Hung => EndedBy::Watchdog,
            Cause::Ended if self.is_starved(id) => EndedBy::Kernel,
            Cause::Ended => EndedBy::Itself,
        }
    }

    /// Counts a launch after the end of the last run.
    pub(super) fn count_restart(&mut self, last: RunId) {
        let by = self.history.iter().find(|exit| exit.run == last).map_or(EndedBy::Itself, |exit| exit.by);
        let is_asked = self.generation > self.launched && by != EndedBy::Memory;
        self.tally.count(if is_asked { EndedBy::Request } else { by });
    }
}
