//! One place of an app: its goal, its phase, and the only function that compares them ([`Slot::settle`]).
//!
//! ```text
//!               Spawn                 spawned             ready
//!  [Stopped] ----------> [Launching] ---------> [Starting] ------> [Online]
//!    ^  ^                     |                   |     |          |    |
//!    |  |                     +--- goal down -----+     +- exited -+    | goal down,
//!    |  |                     v                               |         | or a newer start
//!    |  +-- exited, asked - [Stopping] <----------------------|---------+
//!    |                        |   ^ survivors of the tree     v
//!    |                        |   +---------------------- (verdict) --> [Waiting until] --> [Launching]
//!    |                        | kill_at: SIGKILL to the tree  |    +--> [Errored, retry_at] -> [Launching]
//!    |                        +-------------------------------+    +--> [Completed]
//!    +--------------- goal down ------------------------------------------+
//! ```
//!
//! A *generation* counts the starts that requests have asked for. A slot whose launch is older than its wanted
//! generation is taken down and launched anew; so restart, changed values and "start what has errored" are one rule.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::spec::{ExitStatus, RestartPolicy, Signal};
use crate::supervisor::restart::{Lives, Verdict, in_words};
use crate::supervisor::{
    AppId, Change, ChangeKind, Definition, Effect, Exit, Lasting, Left, ReadyBy, Resolve, RunId, SlotId, State, Time,
    Who, Whom,
};

/// How many exits a slot remembers.
const HISTORY: usize = 10;

/// How long after a SIGKILL it is sent again: a tree may have forked meanwhile.
const KILL_AGAIN: Duration = Duration::from_secs(1);

/// What is wanted of a slot. Written by requests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// It runs.
    Up,
    /// It does not run.
    Down,
    /// It does not exist.
    Deleted,
}

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Its name.
    pub(super) id: RunId,
    /// When it was spawned.
    pub(super) started: Time,
    /// Whether it was ready once.
    pub(super) was_ready: bool,
    /// Whether a request asked for this launch.
    pub(super) asked: bool,
}

/// What is. Written by reports and deadlines only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing runs.
    Stopped,
    /// The spawn is in flight.
    Launching { run: Run },
    /// It runs and is not ready yet; a process that lives at `alive_at` counts as ready.
    Starting { run: Run, alive_at: Time },
    /// It runs and is ready.
    Online { run: Run },
    /// It is on its way down.
    Stopping { run: Run, cause: Cause, stage: Stage, kill_at: Time },
    /// It ended and is launched again at `until`.
    Waiting { until: Time, reason: String },
    /// It was given up.
    Errored { reason: String, retry_at: Option<Time> },
    /// It ended by itself and is not launched again.
    Completed { status: ExitStatus },
}

/// Why a run is on its way down: what its end means depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A request wants it down, or launched anew.
    Asked,
    /// It ended by itself; the rest of its tree is being ended.
    Ended,
}

/// How far a run is on its way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The spawn was still in flight when it was asked.
    Unspawned,
    /// The main process was asked.
    Asked,
    /// The main process has ended, the rest of the tree was asked.
    Survivors(ExitStatus),
    /// SIGKILL was sent to everything.
    Killed,
    /// SIGKILL was sent to what the main process had left.
    KilledSurvivors(ExitStatus),
}

/// A launch that failed before it was ready, for those who wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// The generation it belonged to.
    pub(super) generation: u32,
    /// Its run.
    pub(super) run: RunId,
    /// Why.
    pub(super) reason: String,
}

/// One turn of the core: its moment, and where new effects go.
pub(super) struct Turn<'a> {
    pub(super) now: Time,
    pub(super) effects: &'a mut Vec<Effect>,
    pub(super) next_run: &'a mut u64,
    pub(super) dice: u64,
}

/// One place of an app.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: SlotId,
    pub(super) app: AppId,
    pub(super) instance: u16,
    /// What the next launch uses.
    pub(super) definition: Arc<Definition>,
    pub(super) goal: Goal,
    /// How many starts requests have asked for.
    pub(super) generation: u32,
    /// The generation of the last launch.
    pub(super) launched: u32,
    /// Who asked last.
    pub(super) asked_by: Option<Arc<Who>>,
    pub(super) phase: Phase,
    pub(super) lives: Lives,
    /// When a request started it last.
    pub(super) created: Time,
    pub(super) restarts: u32,
    pub(super) last_run: Option<RunId>,
    pub(super) failed: Option<Failed>,
    pub(super) history: VecDeque<Exit>,
}

impl Slot {
    pub(super) fn new(id: SlotId, app: AppId, instance: u16, definition: Arc<Definition>, now: Time) -> Slot {
        Slot {
            id,
            app,
            instance,
            definition,
            goal: Goal::Down,
            generation: 0,
            launched: 0,
            asked_by: None,
            phase: Phase::Stopped,
            lives: Lives::default(),
            created: now,
            restarts: 0,
            last_run: None,
            failed: None,
            history: VecDeque::new(),
        }
    }

    /// The state in the words of users.
    pub(super) fn state(&self) -> State {
        match &self.phase {
            Phase::Stopped | Phase::Completed { .. } => State::Stopped,
            Phase::Launching { .. } | Phase::Starting { .. } => State::Launching,
            Phase::Online { .. } => State::Online,
            Phase::Stopping { .. } => State::Stopping,
            Phase::Waiting { .. } => State::Waiting,
            Phase::Errored { .. } => State::Errored,
        }
    }

    /// The run whose process may live.
    pub(super) fn run(&self) -> Option<Run> {
        match &self.phase {
            Phase::Launching { run }
            | Phase::Starting { run, .. }
            | Phase::Online { run }
            | Phase::Stopping { run, .. } => Some(*run),
            Phase::Stopped | Phase::Waiting { .. } | Phase::Errored { .. } | Phase::Completed { .. } => None,
        }
    }

    /// Whether it runs or is being launched as wanted.
    pub(super) fn is_up(&self) -> bool {
        self.goal == Goal::Up
            && match &self.phase {
                Phase::Launching { .. } | Phase::Starting { .. } | Phase::Online { .. } => true,
                Phase::Stopping { .. } => self.generation > self.launched,
                Phase::Stopped | Phase::Waiting { .. } | Phase::Errored { .. } | Phase::Completed { .. } => false,
            }
    }

    /// When this slot wants to be looked at again.
    pub(super) fn deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Starting { alive_at, .. } => Some(*alive_at),
            Phase::Stopping { kill_at, stage, .. } if *stage != Stage::Unspawned => Some(*kill_at),
            Phase::Waiting { until, .. } => Some(*until),
            Phase::Errored { retry_at, .. } => *retry_at,
            Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Launching { .. }
            | Phase::Online { .. }
            | Phase::Completed { .. } => None,
        }
    }

    /// A request wants a new launch, whatever is now.
    pub(super) fn want_up(&mut self, who: &Arc<Who>, now: Time) {
        self.goal = Goal::Up;
        self.generation = self.generation.max(self.launched) + 1;
        self.asked_by = Some(Arc::clone(who));
        self.created = now;
        self.failed = None;
        self.lives.reset();
    }

    /// A request wants it down or gone.
    pub(super) fn want_down(&mut self, goal: Goal, who: &Arc<Who>) {
        self.goal = goal;
        self.asked_by = Some(Arc::clone(who));
    }

    /// Compares wish and fact and acts. Called after every change of either, and when a deadline has passed.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>) {
        let renewed = self.generation > self.launched;
        match (self.goal, self.phase.clone()) {
            (Goal::Up, Phase::Stopped | Phase::Completed { .. } | Phase::Waiting { .. } | Phase::Errored { .. })
                if renewed =>
            {
                self.launch(Resolve::Fresh, turn);
            }
            (Goal::Up, Phase::Waiting { until, .. }) if turn.now >= until => self.launch(Resolve::Keep, turn),
            (Goal::Up, Phase::Errored { retry_at: Some(at), .. }) if turn.now >= at => {
                self.lives.try_once();
                self.launch(Resolve::Fresh, turn);
            }
            (Goal::Up, Phase::Launching { run } | Phase::Starting { run, .. } | Phase::Online { run }) if renewed => {
                self.begin_stop(run, turn);
            }
            (Goal::Up, Phase::Starting { run, alive_at }) if turn.now >= alive_at => {
                self.come_online(run, ReadyBy::Alive, turn)
            }
            (
                Goal::Down | Goal::Deleted,
                Phase::Launching { run } | Phase::Starting { run, .. } | Phase::Online { run },
            ) => {
                self.begin_stop(run, turn);
            }
            (Goal::Down | Goal::Deleted, Phase::Waiting { .. } | Phase::Errored { .. } | Phase::Completed { .. }) => {
                self.become_stopped("stopped by request", turn);
            }
            (_, Phase::Stopping { run, cause, stage, kill_at }) if turn.now >= kill_at => {
                self.kill(run, cause, stage, turn);
            }
            (
                Goal::Up,
                Phase::Stopped
                | Phase::Completed { .. }
                | Phase::Waiting { .. }
                | Phase::Errored { .. }
                | Phase::Launching { .. }
                | Phase::Starting { .. }
                | Phase::Online { .. },
            )
            | (Goal::Down | Goal::Deleted, Phase::Stopped)
            | (Goal::Up | Goal::Down | Goal::Deleted, Phase::Stopping { .. }) => {}
        }
    }

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
        if let Phase::Starting { run, .. } = self.phase {
            if run.id == id {
                self.come_online(run, by, turn);
            }
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
        if let Phase::Stopping {
            run, cause, stage: Stage::Survivors(status) | Stage::KilledSurvivors(status), ..
        } = self.phase
        {
            if run.id == id {
                let uptime = self.history.front().map_or(Duration::ZERO, |exit| exit.uptime);
                self.conclude(run, cause, status, uptime, turn);
            }
        }
    }

    fn launch(&mut self, resolve: Resolve, turn: &mut Turn<'_>) {
        *turn.next_run += 1;
        let run = RunId(*turn.next_run);
        if self.last_run.is_some() {
            self.restarts = self.restarts.saturating_add(1);
        }
        self.launched = self.generation;
        self.last_run = Some(run);
        let asked = resolve == Resolve::Fresh;
        self.phase = Phase::Launching { run: Run { id: run, started: turn.now, was_ready: false, asked } };
        turn.effects.push(Effect::Spawn {
            run,
            slot: self.id,
            instance: self.instance,
            definition: Arc::clone(&self.definition),
            resolve,
        });
    }

    fn come_online(&mut self, run: Run, by: ReadyBy, turn: &mut Turn<'_>) {
        self.phase = Phase::Online { run: Run { was_ready: true, ..run } };
        self.failed = None;
        let after = turn.now.since(run.started);
        self.announce(ChangeKind::Online { run: run.id, after, by }, turn);
    }

    fn begin_stop(&mut self, run: Run, turn: &mut Turn<'_>) {
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

    fn kill(&mut self, run: Run, cause: Cause, stage: Stage, turn: &mut Turn<'_>) {
        let (next, first) = match stage {
            Stage::Unspawned => return,
            Stage::Asked => (Stage::Killed, true),
            Stage::Survivors(status) => (Stage::KilledSurvivors(status), true),
            Stage::Killed | Stage::KilledSurvivors(_) => (stage, false),
        };
        let whom = if self.definition.spec.stop.treekill { Whom::Tree } else { Whom::OnlyMain };
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

    fn become_stopped(&mut self, reason: &str, turn: &mut Turn<'_>) {
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
