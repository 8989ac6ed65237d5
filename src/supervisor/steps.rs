//! The steps of a slot from phase to phase: what each report means, and what is asked of the shell for it.

use std::sync::Arc;
use std::time::Duration;

use crate::spec::{ExecMode, ExitStatus, RestartPolicy, Signal};
use crate::supervisor::restart::{Verdict, in_words};
use crate::supervisor::rollout::Rollout;
use crate::supervisor::sayings::request_to_end;
use crate::supervisor::slot::{Cause, Failed, Goal, Phase, Run, Slot, Stage, Turn};
use crate::supervisor::{ChangeKind, Effect, EndedBy, Exit, Lasting, Left, ReadyBy, Resolve, RunId, Time, Whom};

/// How many exits a slot remembers.
const HISTORY: usize = 10;

/// How long after a SIGKILL it is sent again: a tree may have forked meanwhile.
const KILL_AGAIN: Duration = Duration::from_secs(1);

impl Slot {
    /// The process exists.
    pub(super) fn on_spawned(&mut self, id: RunId, turn: &mut Turn<'_>) {
        if self.is_aside(id).is_some() {
            return self.on_spawned_aside(turn);
        }
        match &mut self.phase {
            Phase::Launching { run } if run.id == id => {
                let run = Run { started: turn.now, ..*run };
                let alive_at = self.alive_at(run.mode, turn.now);
                self.phase = Phase::Starting { run, alive_at };
                self.announce(ChangeKind::Started(id), turn);
            }
            Phase::Stopping { run, stage: Stage::Unspawned, .. } if run.id == id => {
                let run = Run { started: turn.now, ..*run };
                self.announce(ChangeKind::Started(id), turn);
                self.ask_to_end(run, Cause::Asked, turn);
            }
            Phase::Launching { .. }
            | Phase::Stopping { .. }
            | Phase::Starting { .. }
            | Phase::Online { .. }
            | Phase::Stopped
            | Phase::Waiting { .. }
            | Phase::Errored { .. }
            | Phase::Completed { .. } => {}
        }
    }

    /// The process could not be made.
    pub(super) fn on_spawn_failed(&mut self, id: RunId, why: String, lasting: Lasting, turn: &mut Turn<'_>) {
        if let Some(run) = self.is_aside(id) {
            return self.on_spawn_failed_aside(run, why, turn);
        }
        let Some(run) = self.run().filter(|run| run.id == id) else {
            return;
        };
        self.remember(run, None, (why.clone(), EndedBy::Itself), turn);
        self.announce(ChangeKind::SpawnFailed(why.clone()), turn);
        if let Some((old, manner)) = self.on_trial(run) {
            self.on_lost_on_trial((old, run), why, turn);
            return self.spoil(manner, turn);
        }
        match &self.phase {
            Phase::Stopping { .. } => self.become_stopped("stopped by request", turn),
            Phase::Launching { .. }
            | Phase::Starting { .. }
            | Phase::Online { .. }
            | Phase::Stopped
            | Phase::Waiting { .. }
            | Phase::Errored { .. }
            | Phase::Completed { .. } => {
                self.failed = Some(Failed { generation: self.launched, run: id, reason: why.clone() });
                let spec = &self.definition.spec.restart;
                let verdict = match (lasting, spec.policy) {
                    (Lasting::Transient, RestartPolicy::Always | RestartPolicy::OnFailure) => {
                        self.lives.fail(spec, turn.now, Duration::ZERO, &why, turn.dice)
                    }
                    (Lasting::Permanent, _) | (_, RestartPolicy::Never) => {
                        Verdict::GiveUp { reason: why.clone(), retry: spec.retry_after }
                    }
                };
                self.follow(verdict, why, turn);
            }
        }
    }

    /// The process is ready.
    pub(super) fn on_ready(&mut self, id: RunId, by: ReadyBy, turn: &mut Turn<'_>) {
        if self.is_aside(id).is_some() {
            return self.on_ready_aside(by, turn);
        }
        match &mut self.phase {
            Phase::Starting { run, alive_at } if run.id == id => {
                *run = run.with(by);
                let (run, alive_at) = (*run, *alive_at);
                if self.is_ready(run, alive_at) {
                    self.come_online(run, by, turn);
                }
            }
            // What it shows later counts for its successor.
            Phase::Online { run } if run.id == id => {
                let was_closing = run.closing;
                *run = run.with(by);
                if was_closing && !run.closing && run.mode == ExecMode::Cluster {
                    turn.effects.push(Effect::Steer { run: id, standing: Slot::serves_as(run) });
                }
            }
            Phase::Starting { .. }
            | Phase::Online { .. }
            | Phase::Launching { .. }
            | Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Waiting { .. }
            | Phase::Errored { .. }
            | Phase::Completed { .. } => {}
        }
    }

    /// Whether what a run has shown is enough.
    pub(super) fn is_ready(&self, run: Run, alive_at: Option<Time>) -> bool {
        match run.health {
            None => run.notified || (run.listens && !self.definition.spec.wait_ready),
            // Its health stands for what it would say itself, and for nothing else.
            Some(circuit) => {
                circuit.is_proven() && !circuit.is_open() && (run.notified || run.listens || alive_at.is_none())
            }
        }
    }

    /// The second run of the slot, if this is it.
    fn is_aside(&self, id: RunId) -> Option<Run> {
        self.rollout.as_ref().and_then(Rollout::run).filter(|run| run.id == id)
    }

    /// The main process ended.
    pub(super) fn on_exited(&mut self, id: RunId, status: ExitStatus, left: Left, turn: &mut Turn<'_>) {
        if let Some(run) = self.is_aside(id) {
            return self.on_exited_aside(run, status, left, turn);
        }
        let Some(run) = self.run().filter(|run| run.id == id) else {
            return;
        };
        if let Some((old, manner)) = self.on_trial(run) {
            self.on_exited_on_trial((old, run), status, left, turn);
            return self.spoil(manner, turn);
        }
        let left = if self.definition.spec.stop.treekill { left } else { Left::Nothing };
        let (cause, killed, kill_at) = match &self.phase {
            // It had not been asked yet, so that time begins now.
            Phase::Stopping { cause, stage: Stage::Draining, .. } => {
                let kill_at = turn.now.after(self.definition.spec.stop.kill_timeout);
                (*cause, false, kill_at)
            }
            Phase::Stopping { cause, stage, kill_at, .. } => {
                (*cause, matches!(stage, Stage::Killed | Stage::KilledSurvivors(_)), *kill_at)
            }
            Phase::Launching { .. }
            | Phase::Starting { .. }
            | Phase::Online { .. }
            | Phase::Stopped
            | Phase::Waiting { .. }
            | Phase::Errored { .. }
            | Phase::Completed { .. } => (Cause::Ended, false, turn.now.after(self.definition.spec.stop.kill_timeout)),
        };
        let uptime = turn.now.since(run.started);
        let limit = in_words(self.definition.spec.stop.kill_timeout);
        let reason = match (cause, killed) {
            (Cause::Asked, true) => format!("{status}: did not end within {limit}"),
            (Cause::Asked, false) => format!("{status}, {}", self.stopped(id)),
            (Cause::Hung, true) => format!("{status}: {}, and did not end within {limit}", self.complaint_of(id)),
            (Cause::Hung, false) => format!("{status}, {}", self.complaint_of(id)),
            (Cause::Unhealthy, true) => format!("{status}: unhealthy, and did not end within {limit}"),
            (Cause::Unhealthy, false) => format!("{status}, unhealthy"),
            (Cause::Ended, _) => self.ended(id, status),
        };
        let by = self.ended_by(id, cause);
        let asked = match cause {
            Cause::Asked | Cause::Unhealthy | Cause::Hung => true,
            Cause::Ended => false,
        };
        self.remember(run, Some(status), (reason, by), turn);
        self.announce(ChangeKind::Exited { run: id, status, uptime, asked, left }, turn);
        match left {
            Left::Nothing => self.conclude(run, cause, status, uptime, turn),
            Left::Survivors => {
                let (signal, stage) = if killed {
                    (Signal::KILL, Stage::KilledSurvivors(status))
                } else {
                    (self.definition.spec.stop.signal, Stage::Survivors(status))
                };
                turn.effects.push(Effect::Signal { run: id, signal, whom: Whom::Survivors });
                self.phase = Phase::Stopping { run, cause, stage, kill_at };
            }
        }
    }

    /// Nothing of the tree lives any more.
    pub(super) fn on_gone(&mut self, id: RunId, turn: &mut Turn<'_>) {
        if self.is_aside(id).is_some() {
            return self.on_gone_aside();
        }
        if let Phase::Stopping { run, cause, stage: Stage::Survivors(status) | Stage::KilledSurvivors(status), .. } =
            self.phase
            && run.id == id
        {
            let uptime = self.history.iter().find(|exit| exit.run == id).map_or(Duration::ZERO, |exit| exit.uptime);
            self.conclude(run, cause, status, uptime, turn);
        }
    }

    pub(super) fn launch(&mut self, resolve: Resolve, turn: &mut Turn<'_>) {
        *turn.next_run += 1;
        let run = RunId(*turn.next_run);
        if let Some(last) = self.last_run {
            self.restarts = self.restarts.saturating_add(1);
            self.count_restart(last);
        }
        // A second attempt after a giving up is looked up anew, too, but nobody asked for it.
        let asked = self.generation > self.launched;
        self.launched = self.generation;
        self.last_run = Some(run);
        let mode = self.definition.spec.exec_mode;
        self.holds_sockets |= mode == ExecMode::Cluster || !self.definition.spec.listen.is_empty();
        let new = Run {
            edition: self.edition,
            health: self.first_circuit(),
            watchdog: self.definition.spec.watchdog,
            ..Run::new(run, turn.now, mode, asked)
        };
        self.phase = Phase::Launching { run: new };
        turn.effects.push(Effect::Spawn {
            run,
            slot: self.id,
            instance: self.instance,
            definition: Arc::clone(&self.definition),
            resolve,
            replaces: None,
        });
    }

    pub(super) fn come_online(&mut self, run: Run, by: ReadyBy, turn: &mut Turn<'_>) {
        self.phase = Phase::Online { run: Run { was_ready: true, ..run } };
        self.failed = None;
        self.mending.is_under_way = false;
        if run.mode == ExecMode::Cluster {
            turn.effects.push(Effect::Steer { run: run.id, standing: Slot::serves_as(&run) });
        }
        self.guard(run, turn);
        let after = turn.now.since(run.started);
        self.announce(ChangeKind::Online { run: run.id, after, by }, turn);
    }

    pub(super) fn begin_stop(&mut self, run: Run, turn: &mut Turn<'_>) {
        self.end_by(run, Cause::Asked, turn);
    }

    /// Takes a run down.
    pub(super) fn end_by(&mut self, run: Run, cause: Cause, turn: &mut Turn<'_>) {
        match &self.phase {
            Phase::Launching { .. } => {
                let kill_at = turn.now.after(self.definition.spec.stop.kill_timeout);
                self.phase = Phase::Stopping { run, cause, stage: Stage::Unspawned, kill_at };
            }
            Phase::Online { .. } if run.mode == ExecMode::Cluster => {
                let (stage, kill_at) = self.begin_drain(run, turn);
                self.phase = Phase::Stopping { run, cause, stage, kill_at };
            }
            Phase::Starting { .. }
            | Phase::Online { .. }
            | Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Waiting { .. }
            | Phase::Errored { .. }
            | Phase::Completed { .. } => self.ask_to_end(run, cause, turn),
        }
    }

    pub(super) fn ask_to_end(&mut self, run: Run, cause: Cause, turn: &mut Turn<'_>) {
        // What is done for its health nobody has asked for.
        let by = if matches!(cause, Cause::Unhealthy | Cause::Hung) { self.asked_by.take() } else { None };
        let kill_at = self.send_stop(run, turn);
        self.asked_by = by.or(self.asked_by.take());
        self.phase = Phase::Stopping { run, cause, stage: Stage::Asked, kill_at };
    }

    /// Asks a run to end; returns when it is killed.
    pub(super) fn send_stop(&mut self, run: Run, turn: &mut Turn<'_>) -> Time {
        let stop = &self.definition.spec.stop;
        let ((ask, signal), kill_at) = (request_to_end(stop, run), turn.now.after(stop.kill_timeout));
        turn.effects.push(ask);
        self.announce(ChangeKind::Stopping(run.id, signal), turn);
        kill_at
    }

    pub(super) fn kill(&mut self, run: Run, cause: Cause, stage: Stage, turn: &mut Turn<'_>) {
        match stage {
            // Their time is over.
            Stage::Draining => self.ask_to_end(run, cause, turn),
            Stage::Unspawned | Stage::Asked | Stage::Survivors(_) | Stage::Killed | Stage::KilledSurvivors(_) => {
                if let Some((stage, kill_at)) = self.send_kill(run, stage, turn) {
                    self.phase = Phase::Stopping { run, cause, stage, kill_at };
                }
            }
        }
    }

    /// Kills what is left of a run; returns where that is now, and when it is looked at again.
    pub(super) fn send_kill(&mut self, run: Run, stage: Stage, turn: &mut Turn<'_>) -> Option<(Stage, Time)> {
        let (next, first) = match stage {
            Stage::Unspawned | Stage::Draining => return None,
            Stage::Asked => (Stage::Killed, true),
            Stage::Survivors(status) => (Stage::KilledSurvivors(status), true),
            Stage::Killed | Stage::KilledSurvivors(_) => (stage, false),
        };
        let whom = match stage {
            // Its tree is waited for, whatever the declaration says by now.
            Stage::Survivors(_) | Stage::KilledSurvivors(_) => Whom::Tree,
            Stage::Unspawned | Stage::Draining | Stage::Asked | Stage::Killed if self.definition.spec.stop.treekill => {
                Whom::Tree
            }
            Stage::Unspawned | Stage::Draining | Stage::Asked | Stage::Killed => Whom::OnlyMain,
        };
        turn.effects.push(Effect::Signal { run: run.id, signal: Signal::KILL, whom });
        if first {
            self.announce(ChangeKind::Killed(run.id), turn);
        }
        Some((next, turn.now.after(KILL_AGAIN)))
    }

    fn conclude(&mut self, run: Run, cause: Cause, status: ExitStatus, uptime: Duration, turn: &mut Turn<'_>) {
        match cause {
            Cause::Asked => self.become_stopped(self.stopped(run.id), turn),
            Cause::Ended | Cause::Hung if self.is_followed(turn) => {}
            Cause::Unhealthy | Cause::Hung if self.goal == Goal::Up => {
                let complaint = self.complaint_of(run.id);
                let spec = &self.definition.spec.restart;
                let (why, verdict) = match cause {
                    // What is never restarted is not restarted for this either.
                    Cause::Hung if spec.policy == RestartPolicy::Never => (complaint, Verdict::Complete(status)),
                    Cause::Hung => {
                        let verdict = self.lives.fail(spec, turn.now, uptime, &complaint, turn.dice);
                        (complaint, verdict)
                    }
                    Cause::Asked | Cause::Ended | Cause::Unhealthy => {
                        let why = format!("unhealthy: {complaint}");
                        let verdict = self.lives.fail(spec, turn.now, uptime, &why, turn.dice);
                        (why, verdict)
                    }
                };
                if !run.was_ready {
                    self.failed = Some(Failed { generation: self.launched, run: run.id, reason: why.clone() });
                }
                self.follow(verdict, why, turn);
            }
            Cause::Ended | Cause::Unhealthy | Cause::Hung if self.goal != Goal::Up => {
                self.become_stopped("stopped by request", turn);
            }
            Cause::Ended | Cause::Unhealthy | Cause::Hung => {
                let ended = self.ended(run.id, status);
                let spec = &self.definition.spec.restart;
                let verdict = self.lives.end(spec, turn.now, uptime, (status, &ended), turn.dice);
                let clean = matches!(verdict, Verdict::Complete(_)) && status.is_success();
                if !run.was_ready && !clean {
                    let reason = format!("{ended} after {}, before it was ready", in_words(uptime));
                    self.failed = Some(Failed { generation: self.launched, run: run.id, reason });
                }
                self.follow(verdict, ended, turn);
            }
        }
    }

    fn follow(&mut self, verdict: Verdict, reason: String, turn: &mut Turn<'_>) {
        match verdict {
            Verdict::Restart(delay) => {
                self.phase = Phase::Waiting { until: turn.now.after(delay), reason: reason.clone() };
                self.announce(ChangeKind::Waiting { delay, reason }, turn);
            }
            Verdict::Complete(status) => {
                self.phase = Phase::Completed { status };
                self.announce(ChangeKind::Stopped(format!("finished: {reason}")), turn);
            }
            Verdict::GiveUp { reason, retry } => {
                self.phase =
                    Phase::Errored { reason: reason.clone(), retry_at: retry.map(|pause| turn.now.after(pause)) };
                self.announce(ChangeKind::Errored { reason, retry }, turn);
            }
        }
    }

    pub(super) fn become_stopped(&mut self, reason: &str, turn: &mut Turn<'_>) {
        self.phase = Phase::Stopped;
        self.announce(ChangeKind::Stopped(reason.to_owned()), turn);
    }

    pub(super) fn remember(
        &mut self,
        run: Run,
        status: Option<ExitStatus>,
        (reason, by): (String, EndedBy),
        turn: &Turn<'_>,
    ) {
        let uptime = turn.now.since(run.started);
        self.history.push_front(Exit { run: run.id, time: turn.now, uptime, status, reason, by });
        self.history.truncate(HISTORY);
    }

    /// Tells listeners; changes that a request asked for carry who asked.
    fn announce(&self, kind: ChangeKind, turn: &mut Turn<'_>) {
        let by = match &kind {
            ChangeKind::Draining(_) | ChangeKind::Stopping(..) | ChangeKind::Stopped(_) | ChangeKind::Deleted => {
                self.asked_by.clone()
            }
            ChangeKind::Started(_) if self.run().is_some_and(|run| run.asked) => self.asked_by.clone(),
            ChangeKind::Started(_)
            | ChangeKind::Created
            | ChangeKind::Changed(_)
            | ChangeKind::Signalled(..)
            | ChangeKind::Heavy { .. }
            | ChangeKind::Reset
            | ChangeKind::Online { .. }
            | ChangeKind::SpawnFailed(_)
            | ChangeKind::Killed(_)
            | ChangeKind::Exited { .. }
            | ChangeKind::Waiting { .. }
            | ChangeKind::ReloadAborted { .. }
            | ChangeKind::Held(_)
            | ChangeKind::Parked { .. }
            | ChangeKind::RolledBack { .. }
            | ChangeKind::Unhealthy { .. }
            | ChangeKind::Recovering(_)
            | ChangeKind::Healthy(_)
            | ChangeKind::GivenUpOn { .. }
            | ChangeKind::Hung { .. }
            | ChangeKind::Starved { .. }
            | ChangeKind::HealthIgnored { .. }
            | ChangeKind::HealthTrusted { .. }
            | ChangeKind::Errored { .. } => None,
        };
        turn.effects.push(self.told(kind, by));
    }
}
