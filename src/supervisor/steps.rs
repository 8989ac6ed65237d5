//! The steps of a slot from phase to phase: what each report means, and what is asked of the shell for it.

use std::sync::Arc;
use std::time::Duration;

use crate::spec::{ExitStatus, RestartPolicy, Signal};
use crate::supervisor::restart::{Verdict, in_words};
use crate::supervisor::slot::{Cause, Failed, Goal, Phase, Run, Slot, Stage, Turn};
use crate::supervisor::{Change, ChangeKind, Effect, Exit, Lasting, Left, ReadyBy, Resolve, RunId, Whom};

/// How many exits a slot remembers.
const HISTORY: usize = 10;

/// How long after a SIGKILL it is sent again: a tree may have forked meanwhile.
const KILL_AGAIN: Duration = Duration::from_secs(1);

impl Slot {
    /// The process exists.
    pub(super) fn on_spawned(&mut self, id: RunId, turn: &mut Turn<'_>) {
        match &mut self.phase {
            Phase::Launching { run } if run.id == id => {
                let run = Run { started: turn.now, ..*run };
                let alive_at = turn.now.after(self.definition.spec.restart.min_uptime);
                self.phase = Phase::Starting { run, alive_at };
                self.announce(ChangeKind::Started(id), turn);
            }
            Phase::Stopping { run, stage: Stage::Unspawned, .. } if run.id == id => {
                let run = Run { started: turn.now, ..*run };
                self.announce(ChangeKind::Started(id), turn);
                self.ask_to_end(run, turn);
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
        let Some(run) = self.run().filter(|run| run.id == id) else {
            return;
        };
        self.remember(run, None, why.clone(), turn);
        self.announce(ChangeKind::SpawnFailed(why.clone()), turn);
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
        if let Phase::Starting { run, .. } = self.phase
            && run.id == id
        {
            self.come_online(run, by, turn);
        }
    }

    /// The main process ended.
    pub(super) fn on_exited(&mut self, id: RunId, status: ExitStatus, left: Left, turn: &mut Turn<'_>) {
        let Some(run) = self.run().filter(|run| run.id == id) else {
            return;
        };
        let left = if self.definition.spec.stop.treekill { left } else { Left::Nothing };
        let (asked, killed, kill_at) = match &self.phase {
            Phase::Stopping { cause, stage, kill_at, .. } => {
                (*cause == Cause::Asked, matches!(stage, Stage::Killed | Stage::KilledSurvivors(_)), *kill_at)
            }
            Phase::Launching { .. }
            | Phase::Starting { .. }
            | Phase::Online { .. }
            | Phase::Stopped
            | Phase::Waiting { .. }
            | Phase::Errored { .. }
            | Phase::Completed { .. } => (false, false, turn.now.after(self.definition.spec.stop.kill_timeout)),
        };
        let uptime = turn.now.since(run.started);
        let reason = match (asked, killed) {
            (true, true) => {
                format!("{status}: did not end within {}", in_words(self.definition.spec.stop.kill_timeout))
            }
            (true, false) => format!("{status}, stopped by request"),
            (false, _) => status.to_string(),
        };
        self.remember(run, Some(status), reason, turn);
        self.announce(ChangeKind::Exited { run: id, status, uptime, asked, left }, turn);
        let cause = if asked { Cause::Asked } else { Cause::Ended };
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
        if let Phase::Stopping { run, cause, stage: Stage::Survivors(status) | Stage::KilledSurvivors(status), .. } =
            self.phase
            && run.id == id
        {
            let uptime = self.history.front().map_or(Duration::ZERO, |exit| exit.uptime);
            self.conclude(run, cause, status, uptime, turn);
        }
    }

    pub(super) fn launch(&mut self, resolve: Resolve, turn: &mut Turn<'_>) {
        *turn.next_run += 1;
        let run = RunId(*turn.next_run);
        if self.last_run.is_some() {
            self.restarts = self.restarts.saturating_add(1);
        }
        // A second attempt after a giving up is looked up anew, too, but nobody asked for it.
        let asked = self.generation > self.launched;
        self.launched = self.generation;
        self.last_run = Some(run);
        self.phase = Phase::Launching { run: Run { id: run, started: turn.now, was_ready: false, asked } };
        turn.effects.push(Effect::Spawn {
            run,
            slot: self.id,
            instance: self.instance,
            definition: Arc::clone(&self.definition),
            resolve,
        });
    }

    pub(super) fn come_online(&mut self, run: Run, by: ReadyBy, turn: &mut Turn<'_>) {
        self.phase = Phase::Online { run: Run { was_ready: true, ..run } };
        self.failed = None;
        let after = turn.now.since(run.started);
        self.announce(ChangeKind::Online { run: run.id, after, by }, turn);
    }

    pub(super) fn begin_stop(&mut self, run: Run, turn: &mut Turn<'_>) {
        match &self.phase {
            Phase::Launching { .. } => {
                let kill_at = turn.now.after(self.definition.spec.stop.kill_timeout);
                self.phase = Phase::Stopping { run, cause: Cause::Asked, stage: Stage::Unspawned, kill_at };
            }
            Phase::Starting { .. }
            | Phase::Online { .. }
            | Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Waiting { .. }
            | Phase::Errored { .. }
            | Phase::Completed { .. } => self.ask_to_end(run, turn),
        }
    }

    fn ask_to_end(&mut self, run: Run, turn: &mut Turn<'_>) {
        let stop = &self.definition.spec.stop;
        let (signal, kill_at) = (stop.signal, turn.now.after(stop.kill_timeout));
        let whom = if stop.treekill { Whom::Main } else { Whom::OnlyMain };
        self.phase = Phase::Stopping { run, cause: Cause::Asked, stage: Stage::Asked, kill_at };
        turn.effects.push(Effect::Signal { run: run.id, signal, whom });
        self.announce(ChangeKind::Stopping(run.id, signal), turn);
    }

    pub(super) fn kill(&mut self, run: Run, cause: Cause, stage: Stage, turn: &mut Turn<'_>) {
        let (next, first) = match stage {
            Stage::Unspawned => return,
            Stage::Asked => (Stage::Killed, true),
            Stage::Survivors(status) => (Stage::KilledSurvivors(status), true),
            Stage::Killed | Stage::KilledSurvivors(_) => (stage, false),
        };
        let whom = match stage {
            // Its tree is waited for, whatever the declaration says by now.
            Stage::Survivors(_) | Stage::KilledSurvivors(_) => Whom::Tree,
            Stage::Unspawned | Stage::Asked | Stage::Killed if self.definition.spec.stop.treekill => Whom::Tree,
            Stage::Unspawned | Stage::Asked | Stage::Killed => Whom::OnlyMain,
        };
        turn.effects.push(Effect::Signal { run: run.id, signal: Signal::KILL, whom });
        if first {
            self.announce(ChangeKind::Killed(run.id), turn);
        }
        self.phase = Phase::Stopping { run, cause, stage: next, kill_at: turn.now.after(KILL_AGAIN) };
    }

    fn conclude(&mut self, run: Run, cause: Cause, status: ExitStatus, uptime: Duration, turn: &mut Turn<'_>) {
        match cause {
            Cause::Asked => self.become_stopped("stopped by request", turn),
            Cause::Ended if self.goal != Goal::Up => self.become_stopped("stopped by request", turn),
            Cause::Ended => {
                let verdict = self.lives.end(&self.definition.spec.restart, turn.now, uptime, status, turn.dice);
                let clean = matches!(verdict, Verdict::Complete(_)) && status.is_success();
                if !run.was_ready && !clean {
                    let reason = format!("{status} after {}, before it was ready", in_words(uptime));
                    self.failed = Some(Failed { generation: self.launched, run: run.id, reason });
                }
                self.follow(verdict, status.to_string(), turn);
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

    fn remember(&mut self, run: Run, status: Option<ExitStatus>, reason: String, turn: &Turn<'_>) {
        let uptime = turn.now.since(run.started);
        self.history.push_front(Exit { run: run.id, time: turn.now, uptime, status, reason });
        self.history.truncate(HISTORY);
    }

    /// Tells listeners; changes that a request asked for carry who asked.
    fn announce(&self, kind: ChangeKind, turn: &mut Turn<'_>) {
        let by = match &kind {
            ChangeKind::Stopping(..) | ChangeKind::Stopped(_) | ChangeKind::Deleted => self.asked_by.clone(),
            ChangeKind::Started(_) if self.run().is_some_and(|run| run.asked) => self.asked_by.clone(),
            ChangeKind::Started(_)
            | ChangeKind::Created
            | ChangeKind::Changed(_)
            | ChangeKind::Online { .. }
            | ChangeKind::SpawnFailed(_)
            | ChangeKind::Killed(_)
            | ChangeKind::Exited { .. }
            | ChangeKind::Waiting { .. }
            | ChangeKind::Errored { .. } => None,
        };
        let app = self.definition.spec.name.clone();
        turn.effects.push(Effect::Announce(Change { app, slot: Some((self.id, self.instance)), by, kind }));
    }
}
