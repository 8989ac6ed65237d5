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

use crate::spec::{ExecMode, ExitStatus};
use crate::supervisor::circuit::Circuit;
use crate::supervisor::health::Mending;
use crate::supervisor::restart::Lives;
use crate::supervisor::rollout::Rollout;
use crate::supervisor::weight::Weight;
use crate::supervisor::{
    AppId, Change, ChangeKind, Definition, Effect, Exit, Proof, ReadyBy, Resolve, RunId, SlotAnswer, SlotId,
    SlotResult, State, Tally, Time, Who,
};

/// What is wanted of a slot. Written by requests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// It runs.
    Up,
    /// It does not run.
    Down,
    /// It does not exist.
    Deleted,
}

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Its name.
    pub(crate) id: RunId,
    /// When it was spawned.
    pub(crate) started: Time,
    /// Whether it was ready once.
    pub(crate) was_ready: bool,
    /// Whether a request asked for this launch.
    pub(crate) asked: bool,
    /// Whether it shares ports.
    pub(crate) mode: ExecMode,
    /// Whether it was seen listening.
    pub(crate) listens: bool,
    /// Whether it said that it is ready.
    pub(crate) notified: bool,
    /// The edition of its app that it belongs to.
    pub(crate) edition: u32,
    /// Whether it said that it is about to end.
    pub(crate) closing: bool,
    /// Whether it listens for SIGINT, and for SIGTERM not.
    pub(crate) interrupt_only: bool,
    /// What its health checks have made of it; none: there are none.
    pub(crate) health: Option<Circuit>,
    /// How long it may be silent; zero: for ever, because it has said so. None: nobody listens for it.
    pub(crate) watchdog: Option<Duration>,
}

impl Run {
    pub(super) fn new(id: RunId, started: Time, mode: ExecMode, asked: bool) -> Run {
        Run {
            id,
            started,
            was_ready: false,
            asked,
            mode,
            listens: false,
            notified: false,
            closing: false,
            interrupt_only: false,
            edition: 0,
            health: None,
            watchdog: None,
        }
    }

    /// The run with one more sign of being ready.
    pub(super) fn with(self, by: ReadyBy) -> Run {
        match by {
            ReadyBy::Listening => Run { listens: true, ..self },
            // Who has changed its mind is there again.
            ReadyBy::Notified => Run { notified: true, closing: false, ..self },
            ReadyBy::Alive | ReadyBy::Healthy => self,
        }
    }
}

/// What is. Written by reports and deadlines only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing runs.
    Stopped,
    /// The spawn is in flight.
    Launching { run: Run },
    /// It runs and is not ready yet; a process that lives at `alive_at` counts as ready, if there is such a time.
    Starting { run: Run, alive_at: Option<Time> },
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
pub(crate) enum Cause {
    /// A request wants it down, or launched anew.
    Asked,
    /// It ended by itself; the rest of its tree is being ended.
    Ended,
    /// Its health check went on failing.
    Unhealthy,
    /// It hangs.
    Hung,
}

/// How far a run is on its way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The spawn was still in flight when it was asked.
    Unspawned,
    /// Its connections are being ended; then it is asked.
    Draining,
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
pub(crate) struct Failed {
    /// The generation it belonged to.
    pub(crate) generation: u32,
    /// Its run.
    pub(crate) run: RunId,
    /// Why.
    pub(crate) reason: String,
}

/// One turn of the core: its moment, and where new effects go.
pub(crate) struct Turn<'a> {
    pub(crate) now: Time,
    pub(crate) effects: &'a mut Vec<Effect>,
    pub(crate) next_run: &'a mut u64,
    pub(crate) dice: u64,
    /// Apps of which runs that are replaced together have failed, and which.
    pub(crate) spoiled: &'a mut Vec<(AppId, String)>,
}

/// One place of an app.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slot {
    pub(crate) id: SlotId,
    pub(crate) app: AppId,
    pub(crate) instance: u16,
    /// What the next launch uses.
    pub(crate) definition: Arc<Definition>,
    pub(crate) goal: Goal,
    /// It ran under an earlier daemon and waits for `resurrect`; any other wish about it ends that.
    pub(crate) parked: bool,
    /// How many starts requests have asked for.
    pub(crate) generation: u32,
    /// The generation of the last launch.
    pub(crate) launched: u32,
    /// The edition of its app that its next launch belongs to: counts what requests have put in place for the whole app.
    pub(crate) edition: u32,
    /// How often requests have wanted something of it.
    pub(crate) wishes: u32,
    /// Who asked last.
    pub(crate) asked_by: Option<Arc<Who>>,
    pub(crate) phase: Phase,
    /// The second run that a reload brings.
    pub(crate) rollout: Option<Rollout>,
    /// Whether sockets may be kept for it.
    pub(crate) holds_sockets: bool,
    pub(crate) lives: Lives,
    pub(crate) weight: Weight,
    /// When a request started it last.
    pub(crate) created: Time,
    pub(crate) restarts: u32,
    /// What for.
    pub(crate) tally: Tally,
    pub(crate) last_run: Option<RunId>,
    pub(crate) failed: Option<Failed>,
    pub(crate) history: VecDeque<Exit>,
    /// What was wrong with which run: by its last health check that failed, or how it hangs.
    pub(crate) complaint: Option<(RunId, String)>,
    /// Which run the kernel has killed for want of memory, and how that is known.
    pub(crate) starved: Option<(RunId, Proof)>,
    pub(crate) mending: Mending,
}

impl Slot {
    pub(crate) fn new(id: SlotId, app: AppId, instance: u16, definition: Arc<Definition>, now: Time) -> Slot {
        Slot {
            id,
            app,
            instance,
            definition,
            goal: Goal::Down,
            parked: false,
            generation: 0,
            launched: 0,
            edition: 0,
            wishes: 0,
            asked_by: None,
            phase: Phase::Stopped,
            rollout: None,
            holds_sockets: false,
            lives: Lives::default(),
            weight: Weight::default(),
            created: now,
            restarts: 0,
            tally: Tally::default(),
            last_run: None,
            failed: None,
            history: VecDeque::new(),
            complaint: None,
            starved: None,
            mending: Mending::default(),
        }
    }

    /// The state in the words of users.
    pub(super) fn state(&self) -> State {
        match &self.phase {
            Phase::Stopped | Phase::Completed { .. } => State::Stopped,
            Phase::Launching { .. } | Phase::Starting { .. } => State::Launching,
            Phase::Online { run } if run.health.is_some_and(Circuit::is_open) => State::Unhealthy,
            Phase::Online { .. } => State::Online,
            Phase::Stopping { stage: Stage::Draining, .. } => State::Draining,
            Phase::Stopping { .. } => State::Stopping,
            Phase::Waiting { .. } => State::Waiting,
            Phase::Errored { .. } => State::Errored,
        }
    }

    /// Whether nothing of it runs, and nothing is to.
    pub(super) fn is_down(&self) -> bool {
        self.phase == Phase::Stopped && self.rollout.is_none()
    }

    /// The slot's run, whose process may live; a reload has a second one.
    pub(crate) fn run(&self) -> Option<Run> {
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

    /// Whether a successor would have to launch it: not what has finished by itself.
    pub(super) fn is_wanted_up(&self) -> bool {
        self.goal == Goal::Up && !matches!(self.phase, Phase::Completed { .. })
    }

    /// When this slot wants to be looked at again.
    pub(super) fn deadline(&self) -> Option<Time> {
        let phase = match &self.phase {
            Phase::Starting { alive_at, .. } => *alive_at,
            Phase::Stopping { kill_at, stage, .. } if *stage != Stage::Unspawned => Some(*kill_at),
            // What waits for room is looked at when there is some.
            Phase::Waiting { .. } | Phase::Errored { .. } if !self.may_launch() => None,
            Phase::Waiting { until, .. } => Some(*until),
            Phase::Errored { retry_at, .. } => *retry_at,
            Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Launching { .. }
            | Phase::Online { .. }
            | Phase::Completed { .. } => None,
        };
        phase.into_iter().chain(self.rollout.as_ref().and_then(Rollout::deadline)).min()
    }

    /// A request wants a new launch, whatever is now.
    pub(super) fn want_up(&mut self, who: &Arc<Who>, now: Time) {
        self.goal = Goal::Up;
        self.parked = false;
        self.generation = self.generation.max(self.launched) + 1;
        self.wishes = self.wishes.wrapping_add(1);
        self.asked_by = Some(Arc::clone(who));
        self.created = now;
        self.failed = None;
        self.mending.is_under_way = false;
        self.lives.reset();
    }

    /// A request wants it down or gone.
    pub(super) fn want_down(&mut self, goal: Goal, who: &Arc<Who>) {
        self.goal = goal;
        self.parked = false;
        self.mending.is_under_way = false;
        self.wishes = self.wishes.wrapping_add(1);
        self.asked_by = Some(Arc::clone(who));
    }

    /// A request wants its past not to count any more.
    pub(super) fn forget_past(&mut self, now: Time) {
        self.restarts = 0;
        self.tally = Tally::default();
        self.created = now;
        self.lives.reset();
    }

    /// The run that a signal can reach, or why there is none.
    pub(super) fn signalable(&self) -> Result<RunId, &'static str> {
        match &self.phase {
            Phase::Starting { run, .. } | Phase::Online { run } => Ok(run.id),
            Phase::Stopping { run, stage: Stage::Draining | Stage::Asked | Stage::Killed, .. } => Ok(run.id),
            Phase::Stopping { stage: Stage::Unspawned, .. } | Phase::Launching { .. } => {
                Err("it is just being started")
            }
            Phase::Stopping { stage: Stage::Survivors(_) | Stage::KilledSurvivors(_), .. } => {
                Err("its main process has ended")
            }
            Phase::Stopped | Phase::Waiting { .. } | Phase::Errored { .. } | Phase::Completed { .. } => {
                Err("it does not run")
            }
        }
    }

    /// How a request went for this slot.
    pub(super) fn result(&self, answer: SlotAnswer) -> SlotResult {
        SlotResult { slot: self.id, name: self.definition.spec.name.clone(), instance: self.instance, answer }
    }

    /// The news of something that happened to this slot.
    pub(super) fn told(&self, kind: ChangeKind, by: Option<Arc<Who>>) -> Effect {
        let app = self.definition.spec.name.clone();
        Effect::Announce(Change { app, slot: Some((self.id, self.instance)), by, kind })
    }

    /// Whether there is room for a launch: beside another run only for what shares its ports with it.
    fn may_launch(&self) -> bool {
        self.rollout.is_none() || self.definition.spec.exec_mode == ExecMode::Cluster
    }

    /// Lets go of what is kept for the next run, when there will be none.
    pub(super) fn let_sockets_go(&mut self, turn: &mut Turn<'_>) {
        let is_over = matches!(self.phase, Phase::Stopped | Phase::Errored { .. } | Phase::Completed { .. });
        let is_renewed = self.goal == Goal::Up && self.generation > self.launched;
        if self.holds_sockets && is_over && !is_renewed && self.rollout.is_none() {
            self.holds_sockets = false;
            turn.effects.push(Effect::GiveUp { slot: self.id });
        }
    }

    /// Compares wish and fact and acts. Called after every change of either, and when a deadline has passed.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>) {
        self.settle_rollout(turn);
        let renewed = self.generation > self.launched;
        match (self.goal, self.phase.clone()) {
            (Goal::Up, Phase::Stopped | Phase::Completed { .. } | Phase::Waiting { .. } | Phase::Errored { .. })
                if renewed && self.may_launch() =>
            {
                self.launch(Resolve::Fresh, turn);
            }
            (Goal::Up, Phase::Waiting { until, .. }) if turn.now >= until => {
                if self.may_launch() {
                    self.launch(Resolve::Keep, turn);
                }
            }
            (Goal::Up, Phase::Errored { retry_at: Some(at), .. }) if turn.now >= at && self.may_launch() => {
                self.lives.try_once();
                self.launch(Resolve::Fresh, turn);
            }
            (Goal::Up, Phase::Launching { run } | Phase::Starting { run, .. } | Phase::Online { run }) if renewed => {
                self.begin_stop(run, turn);
            }
            (Goal::Up, Phase::Starting { run, alive_at: Some(alive_at) }) if turn.now >= alive_at => {
                // That is enough, but for its health.
                self.phase = Phase::Starting { run, alive_at: None };
                if self.is_ready(run, None) || run.health.is_none() {
                    self.come_online(run, ReadyBy::Alive, turn);
                }
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
}
