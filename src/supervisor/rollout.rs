//! A reload of one slot: the stages of the second run that stands beside the slot's phase meanwhile.
//!
//! ```text
//!  [Asked] -> [Launch] -> [AwaitReady] --ready: the switch---> [Leaving: the old run] -> done
//!                 |            |  |                   |    ^     drained, asked, killed
//!                 |            |  +-> [Held: until    |    |
//!                 |            |   its siblings are   v    | it has held
//!                 |            |   ready] -> switch -> [Baking: the old run, parked]
//!                 |            |        |                         | the new one failed
//!                 |            |        |                         v
//!                 |            +--------+- died, too late, --> [Leaving: the new run]
//!                 +-- cannot be made -> done   not wanted any more
//! ```
//!
//! Before the switch the phase holds the old run and nothing of it is touched; with the switch the new run is in the phase
//! and the old one beside it. `Asked` lasts for no longer than the turn in which it was asked, so nothing is ever
//! launched twice for one request. An old run that ends by itself before the switch leaves its place to the new one.
//! What is held and baked, and the way back, are in `trial.rs`.

use std::sync::Arc;
use std::time::Duration;

use crate::spec::{ExecMode, ExitStatus, Signal};
use crate::supervisor::circuit::Circuit;
use crate::supervisor::restart::in_words;
use crate::supervisor::slot::{Cause, Failed, Goal, Phase, Run, Slot, Stage, Turn};
use crate::supervisor::{ChangeKind, Effect, EndedBy, Left, ReadyBy, Resolve, RunId, Standing, Time, Who, Whom};

/// How long a cluster run that listens nowhere has to live to count as ready.
const ALIVE: Duration = Duration::from_secs(3);

/// How the run of a slot is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As soon as the new one is ready.
    #[default]
    Plain,
    /// So, too; and the old one is kept until the new one has held for the bake time.
    Canary,
    /// When those of all other slots of the app are ready, too; then all old ones are kept.
    Together,
}

/// The second run of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rollout {
    /// A request wants the slot's run replaced.
    Asked { manner: Manner },
    /// The spawn of the new run is in flight.
    Launch { run: Run, manner: Manner },
    /// The new run lives and is not ready yet; it has to be by `until`.
    AwaitReady { run: Run, manner: Manner, alive_at: Option<Time>, until: Time },
    /// The new run is ready, and waits for those of its siblings.
    Held { run: Run },
    /// The switch has been; this is the old run, which gets nothing and could take over again until this time.
    Baking { run: Run, manner: Manner, until: Time },
    /// What is not wanted any more is on its way down: the old run after the switch, the new one if there was none.
    Leaving { run: Run, stage: Stage, at: Time },
}

/// What a run is doing, as far as whoever looks after its process is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Its process is being made.
    Launching,
    /// It runs.
    Running,
    /// It runs, and could take over again.
    Parked,
    /// It is on its way down, its next step being due at this time.
    Leaving(Stage, Time),
}

impl Rollout {
    /// The run, if its process may live.
    pub(crate) fn run(&self) -> Option<Run> {
        match self {
            Rollout::Asked { .. } => None,
            Rollout::Launch { run, .. }
            | Rollout::AwaitReady { run, .. }
            | Rollout::Held { run }
            | Rollout::Baking { run, .. }
            | Rollout::Leaving { run, .. } => Some(*run),
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match self {
            Rollout::AwaitReady { alive_at, until, .. } => Some(alive_at.map_or(*until, |at| at.min(*until))),
            Rollout::Leaving { stage, at, .. } if *stage != Stage::Unspawned => Some(*at),
            Rollout::Baking { until, .. } => Some(*until),
            Rollout::Asked { .. } | Rollout::Launch { .. } | Rollout::Held { .. } | Rollout::Leaving { .. } => None,
        }
    }
}

impl Slot {
    /// Whether a reload can replace its run while that goes on; what is not ready, or shares no port, is restarted.
    pub(super) fn is_reloadable(&self) -> bool {
        let is_ready = matches!(&self.phase, Phase::Online { run } if run.mode == ExecMode::Cluster);
        let is_cluster = self.definition.spec.exec_mode == ExecMode::Cluster;
        is_ready && is_cluster && self.goal == Goal::Up && self.generation <= self.launched && self.rollout.is_none()
    }

    /// A request wants its run replaced.
    pub(super) fn want_reload(&mut self, who: &Arc<Who>, manner: Manner, now: Time) {
        let lives = self.lives.clone();
        let is_reloadable = self.is_reloadable();
        self.want_up(who, now);
        if is_reloadable {
            // As long as the old run is there, its past is.
            self.lives = lives;
            self.rollout = Some(Rollout::Asked { manner });
        }
    }

    /// All runs whose processes may live, with what they are doing.
    pub(crate) fn runs(&self) -> Vec<(Run, Doing)> {
        let mut runs = Vec::new();
        match &self.phase {
            Phase::Launching { run } => runs.push((*run, Doing::Launching)),
            Phase::Starting { run, .. } | Phase::Online { run } => runs.push((*run, Doing::Running)),
            Phase::Stopping { run, stage, kill_at, .. } => runs.push((*run, Doing::Leaving(*stage, *kill_at))),
            Phase::Stopped | Phase::Waiting { .. } | Phase::Errored { .. } | Phase::Completed { .. } => {}
        }
        match &self.rollout {
            Some(Rollout::Launch { run, .. }) => runs.push((*run, Doing::Launching)),
            Some(Rollout::AwaitReady { run, .. } | Rollout::Held { run }) => runs.push((*run, Doing::Running)),
            Some(Rollout::Baking { run, .. }) => runs.push((*run, Doing::Parked)),
            Some(Rollout::Leaving { run, stage, at }) => runs.push((*run, Doing::Leaving(*stage, *at))),
            Some(Rollout::Asked { .. }) | None => {}
        }
        runs
    }

    /// The run whose connections are being ended; there is one at most.
    pub(crate) fn draining(&self) -> Option<RunId> {
        let runs = self.runs().into_iter();
        runs.filter(|(_, doing)| matches!(doing, Doing::Leaving(Stage::Draining, _))).map(|(run, _)| run.id).next()
    }

    /// Which of the connections a run is to get; none: it shares no port.
    pub(crate) fn standing(&self, id: RunId) -> Option<Standing> {
        let (run, doing) = self.runs().into_iter().find(|(run, _)| run.id == id)?;
        (run.mode == ExecMode::Cluster).then_some(match doing {
            Doing::Running if run.was_ready => Slot::serves_as(&run),
            Doing::Launching | Doing::Running => Standing::Starting,
            Doing::Parked => Standing::Parked,
            Doing::Leaving(..) => Standing::Draining,
        })
    }

    /// The run that a new launch of this run would replace.
    pub(crate) fn replaced_by(&self, id: RunId) -> Option<RunId> {
        let is_incoming = matches!(&self.rollout, Some(Rollout::Launch { run, .. }) if run.id == id);
        if is_incoming { self.run().map(|run| run.id) } else { None }
    }

    /// When a run that began now counts as ready, if it says nothing; none: never.
    pub(super) fn alive_at(&self, mode: ExecMode, now: Time) -> Option<Time> {
        let spec = &self.definition.spec;
        match (spec.wait_ready, mode) {
            (true, _) => None,
            (false, ExecMode::Fork) => Some(now.after(spec.restart.min_uptime)),
            (false, ExecMode::Cluster) => Some(now.after(spec.restart.min_uptime.max(ALIVE))),
        }
    }

    /// Compares wish and fact for the second run. Called before the phase is looked at.
    pub(super) fn settle_rollout(&mut self, turn: &mut Turn<'_>) {
        let is_wanted = self.goal == Goal::Up && self.generation <= self.launched;
        match self.rollout.clone() {
            None => {}
            Some(Rollout::Asked { manner }) => match self.phase {
                Phase::Online { run } if self.goal == Goal::Up => self.launch_beside(run, manner, Resolve::Fresh, turn),
                _ => self.rollout = None,
            },
            Some(Rollout::Launch { run, .. }) if !is_wanted => self.leave_unspawned(run, turn),
            Some(Rollout::AwaitReady { run, .. } | Rollout::Held { run }) if !is_wanted => self.ask_aside(run, turn),
            Some(Rollout::AwaitReady { run, manner, alive_at: Some(at), until }) if turn.now >= at => {
                self.rollout = Some(Rollout::AwaitReady { run, manner, alive_at: None, until });
                if run.health.is_none_or(Circuit::is_proven) {
                    self.is_prepared(run, manner, ReadyBy::Alive, turn);
                }
            }
            Some(Rollout::AwaitReady { run, manner, until, .. }) if turn.now >= until => {
                let limit = in_words(self.definition.spec.listen_timeout);
                self.abort(run, format!("not ready within {limit}{}", self.lacks(run)), turn);
                self.spoil(manner, turn);
                self.ask_aside(run, turn);
            }
            // It has held, or nobody cares any more.
            Some(Rollout::Baking { run, until, .. }) if !is_wanted || turn.now >= until => self.drain_aside(run, turn),
            Some(Rollout::Leaving { run, stage, at }) if turn.now >= at => self.push_aside(run, stage, turn),
            Some(
                Rollout::Launch { .. }
                | Rollout::AwaitReady { .. }
                | Rollout::Held { .. }
                | Rollout::Baking { .. }
                | Rollout::Leaving { .. },
            ) => {}
        }
    }

    pub(super) fn launch_beside(&mut self, old: Run, manner: Manner, resolve: Resolve, turn: &mut Turn<'_>) {
        *turn.next_run += 1;
        let run = RunId(*turn.next_run);
        self.launched = self.generation;
        let new = Run::new(run, turn.now, ExecMode::Cluster, resolve == Resolve::Fresh);
        let watchdog = self.definition.spec.watchdog;
        let new = Run { edition: self.edition, health: self.first_circuit(), watchdog, ..new };
        self.rollout = Some(Rollout::Launch { run: new, manner });
        self.holds_sockets = true;
        turn.effects.push(Effect::Spawn {
            run,
            slot: self.id,
            instance: self.instance,
            definition: Arc::clone(&self.definition),
            resolve,
            replaces: Some(old.id),
        });
    }

    /// The process of the second run exists.
    pub(super) fn on_spawned_aside(&mut self, turn: &mut Turn<'_>) {
        match self.rollout {
            Some(Rollout::Launch { run, manner }) => {
                let run = Run { started: turn.now, ..run };
                // What listens has to be replaced by what listens; time alone is no sign of that.
                let old_listens = self.run().is_some_and(|old| old.listens);
                let alive_at = if old_listens { None } else { self.alive_at(run.mode, turn.now) };
                let until = turn.now.after(self.definition.spec.listen_timeout);
                self.rollout = Some(Rollout::AwaitReady { run, manner, alive_at, until });
                let by = self.asked_by.clone();
                turn.effects.push(self.told(ChangeKind::Started(run.id), by));
            }
            Some(Rollout::Leaving { run, stage: Stage::Unspawned, .. }) => {
                let run = Run { started: turn.now, ..run };
                turn.effects.push(self.told(ChangeKind::Started(run.id), self.asked_by.clone()));
                self.ask_aside(run, turn);
            }
            Some(
                Rollout::Asked { .. }
                | Rollout::AwaitReady { .. }
                | Rollout::Held { .. }
                | Rollout::Baking { .. }
                | Rollout::Leaving { .. },
            )
            | None => {}
        }
    }

    /// The process of the second run could not be made.
    pub(super) fn on_spawn_failed_aside(&mut self, run: Run, why: String, turn: &mut Turn<'_>) {
        self.remember(run, None, (why.clone(), EndedBy::Itself), turn);
        turn.effects.push(self.told(ChangeKind::SpawnFailed(why.clone()), None));
        if let Some(Rollout::Launch { manner, .. } | Rollout::AwaitReady { manner, .. }) = self.rollout {
            self.abort(run, why, turn);
            self.spoil(manner, turn);
        } else if matches!(self.rollout, Some(Rollout::Held { .. })) {
            self.abort(run, why, turn);
            self.spoil(Manner::Together, turn);
        }
        self.rollout = None;
    }

    /// The second run shows that it is ready, or one of the signs that it has to give.
    pub(super) fn on_ready_aside(&mut self, by: ReadyBy, turn: &mut Turn<'_>) {
        let Some(Rollout::AwaitReady { run, manner, alive_at, until }) = self.rollout else { return };
        self.rollout = Some(Rollout::AwaitReady { run: run.with(by), manner, alive_at, until });
        self.look_aside(by, turn);
    }

    /// Switches to the second run if it has given all the signs that it has to give.
    pub(super) fn look_aside(&mut self, by: ReadyBy, turn: &mut Turn<'_>) {
        let Some(Rollout::AwaitReady { run, manner, alive_at, .. }) = self.rollout else { return };
        let old_listens = self.run().is_some_and(|old| old.listens);
        let needs = (old_listens, self.definition.spec.wait_ready);
        let is_ready = match needs {
            (listens, _) if run.health.is_some() => (run.listens || !listens) && self.is_ready(run, alive_at),
            (false, false) => true,
            (listens, notifies) => (run.listens || !listens) && (run.notified || !notifies),
        };
        if is_ready {
            self.is_prepared(run, manner, by, turn);
        }
    }

    /// The switch: from now on the new run gets all new connections, and the old one is drained, or kept for a while.
    pub(super) fn switch(&mut self, run: Run, manner: Manner, by: ReadyBy, turn: &mut Turn<'_>) {
        let old = self.phase.clone();
        self.take_place(run);
        self.come_online(run, by, turn);
        self.rollout = match old {
            Phase::Online { run: old } if self.is_baked(manner) => Some(self.park(old, manner, turn)),
            Phase::Online { run: old } | Phase::Starting { run: old, .. } => {
                let (stage, at) = self.begin_drain(old, turn);
                Some(Rollout::Leaving { run: old, stage, at })
            }
            Phase::Stopping { run: old, stage, kill_at, .. } => Some(Rollout::Leaving { run: old, stage, at: kill_at }),
            Phase::Launching { .. }
            | Phase::Stopped
            | Phase::Waiting { .. }
            | Phase::Errored { .. }
            | Phase::Completed { .. } => None,
        };
    }

    /// The old run has ended by itself and the new one is on its way: it is the slot's. Returns whether that is so.
    pub(super) fn is_followed(&mut self, turn: &mut Turn<'_>) -> bool {
        if self.goal != Goal::Up || self.generation > self.launched {
            return false;
        }
        match self.rollout {
            Some(Rollout::Launch { run, .. }) => {
                self.take_place(run);
                self.phase = Phase::Launching { run };
            }
            Some(Rollout::AwaitReady { run, .. }) => {
                self.take_place(run);
                let alive_at = self.alive_at(run.mode, run.started);
                self.phase = Phase::Starting { run, alive_at };
                if self.is_ready(run, alive_at) {
                    self.come_online(run, shown_by(run), turn);
                }
            }
            Some(Rollout::Held { run }) => {
                self.take_place(run);
                self.come_online(run, shown_by(run), turn);
            }
            Some(Rollout::Asked { .. } | Rollout::Baking { .. } | Rollout::Leaving { .. }) | None => return false,
        }
        self.rollout = None;
        true
    }

    fn take_place(&mut self, run: Run) {
        self.restarts = self.restarts.saturating_add(1);
        // Nobody asks for what takes over from one that takes too much memory.
        self.tally.count(if run.asked { EndedBy::Request } else { EndedBy::Memory });
        self.last_run = Some(run.id);
        self.lives.reset();
    }

    /// Ends the reload; the old run goes on as if there had been none.
    pub(super) fn abort(&mut self, run: Run, reason: String, turn: &mut Turn<'_>) {
        self.failed = Some(Failed { generation: self.launched, run: run.id, reason: reason.clone() });
        turn.effects.push(self.told(ChangeKind::ReloadAborted { run: run.id, reason }, None));
    }

    /// The main process of the second run ended.
    pub(super) fn on_exited_aside(&mut self, run: Run, status: ExitStatus, left: Left, turn: &mut Turn<'_>) {
        let left = if self.definition.spec.stop.treekill { left } else { Left::Nothing };
        let stop = &self.definition.spec.stop;
        let uptime = turn.now.since(run.started);
        let (asked, killed, at) = match &self.rollout {
            Some(Rollout::Leaving { stage, at, .. }) => {
                (true, matches!(stage, Stage::Killed | Stage::KilledSurvivors(_)), *at)
            }
            Some(
                Rollout::Asked { .. }
                | Rollout::Launch { .. }
                | Rollout::AwaitReady { .. }
                | Rollout::Held { .. }
                | Rollout::Baking { .. },
            )
            | None => (false, false, turn.now.after(stop.kill_timeout)),
        };
        let at = match &self.rollout {
            // It has not been asked yet, so that time has not begun.
            Some(Rollout::Leaving { stage: Stage::Draining, .. }) => turn.now.after(stop.kill_timeout),
            _ => at,
        };
        let is_parked = matches!(self.rollout, Some(Rollout::Baking { .. }));
        let reason = match (asked, killed) {
            (true, true) => format!("{status}: did not end within {}", in_words(stop.kill_timeout)),
            (true, false) => format!("{status}, replaced"),
            (false, _) if self.is_starved(run.id) => self.ended(run.id, status),
            (false, _) if is_parked => format!("{status}, while its successor was on trial"),
            (false, _) if matches!(self.rollout, Some(Rollout::Held { .. })) => {
                format!("{status} after {}, before the others were ready", in_words(uptime))
            }
            (false, _) => format!("{status} after {}, before it was ready", in_words(uptime)),
        };
        let signal = stop.signal;
        let by = if asked { EndedBy::Request } else { self.ended_by(run.id, Cause::Ended) };
        self.remember(run, Some(status), (reason.clone(), by), turn);
        turn.effects.push(self.told(ChangeKind::Exited { run: run.id, status, uptime, asked, left }, None));
        if !asked && !is_parked {
            let manner = self.manner();
            self.abort(run, reason, turn);
            self.spoil(manner, turn);
        }
        self.rollout = match left {
            Left::Nothing => None,
            Left::Survivors => {
                let (signal, stage) = match killed {
                    true => (Signal::KILL, Stage::KilledSurvivors(status)),
                    false => (signal, Stage::Survivors(status)),
                };
                turn.effects.push(Effect::Signal { run: run.id, signal, whom: Whom::Survivors });
                Some(Rollout::Leaving { run, stage, at })
            }
        };
    }

    /// Nothing of the second run's tree lives any more.
    pub(super) fn on_gone_aside(&mut self) {
        if let Some(Rollout::Leaving { stage: Stage::Survivors(_) | Stage::KilledSurvivors(_), .. }) = self.rollout {
            self.rollout = None;
        }
    }

    /// The connections of a run have ended, or their time is over: it is asked to end.
    pub(super) fn on_drained(&mut self, id: RunId, turn: &mut Turn<'_>) {
        if let Phase::Stopping { run, cause: cause @ (Cause::Asked | Cause::Unhealthy), stage: Stage::Draining, .. } =
            self.phase
            && run.id == id
        {
            self.ask_to_end(run, cause, turn);
        }
        if let Some(Rollout::Leaving { run, stage: Stage::Draining, .. }) = self.rollout
            && run.id == id
        {
            self.ask_aside(run, turn);
        }
    }

    /// No new connection for this run, and an end for those it has.
    pub(super) fn begin_drain(&mut self, run: Run, turn: &mut Turn<'_>) -> (Stage, Time) {
        let until = turn.now.after(self.definition.spec.cluster.drain_timeout);
        turn.effects.push(Effect::Steer { run: run.id, standing: Standing::Draining });
        turn.effects.push(Effect::Drain { run: run.id, until });
        turn.effects.push(self.told(ChangeKind::Draining(run.id), self.asked_by.clone()));
        (Stage::Draining, until)
    }

    pub(super) fn ask_aside(&mut self, run: Run, turn: &mut Turn<'_>) {
        let at = self.send_stop(run, turn);
        self.rollout = Some(Rollout::Leaving { run, stage: Stage::Asked, at });
    }

    /// The time of a stage is over.
    fn push_aside(&mut self, run: Run, stage: Stage, turn: &mut Turn<'_>) {
        match stage {
            Stage::Draining => self.ask_aside(run, turn),
            Stage::Unspawned | Stage::Asked | Stage::Survivors(_) | Stage::Killed | Stage::KilledSurvivors(_) => {
                if let Some((stage, at)) = self.send_kill(run, stage, turn) {
                    self.rollout = Some(Rollout::Leaving { run, stage, at });
                }
            }
        }
    }
}

/// By which of its signs a run is ready.
pub(super) fn shown_by(run: Run) -> ReadyBy {
    match run {
        Run { notified: true, .. } => ReadyBy::Notified,
        Run { listens: true, health: None, .. } => ReadyBy::Listening,
        Run { health: Some(_), .. } => ReadyBy::Healthy,
        Run { .. } => ReadyBy::Alive,
    }
}
