//! Health checks: when each run is asked, what its answer does to its place, and who is restarted for it.
//!
//! A run is asked as long as it starts or serves, not while it waits or leaves. When the next question is due is not
//! remembered by a successor: it begins anew, spread over one interval. What the answers have made of a run is its
//! [`Circuit`], which is part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::spec::{Check, ExecMode, HealthSpec, RestartPolicy};
use crate::supervisor::circuit::{Circuit, Weighs};
use crate::supervisor::rollout::{Manner, Rollout};
use crate::supervisor::slot::{Cause, Goal, Phase, Run, Slot, Turn};
use crate::supervisor::{
    AppId, Change, ChangeKind, Effect, Finding, ReadyBy, RunId, SlotId, Standing, Supervisor, Time,
};

/// How much longer than its time limit a check may take to be reported, before it is asked for again.
const LATE: Duration = Duration::from_secs(5);

/// The shortest pause between two checks of a run that is starting: what costs a process, and what does not.
const EAGER: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(50));

/// What a slot remembers of restarts for its health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mending {
    /// When the last one was.
    pub(crate) last: Option<Time>,
    /// Whether that has not come to its end.
    pub(crate) is_under_way: bool,
}

/// When which run is asked next.
#[derive(Debug, Default)]
pub(super) struct Schedule(BTreeMap<(SlotId, RunId), Time>);

impl Schedule {
    pub(super) fn next(&self) -> Option<Time> {
        self.0.values().min().copied()
    }

    fn of(&self, slot: SlotId) -> impl Iterator<Item = RunId> {
        self.0.range((slot, RunId(0))..=(slot, RunId(u64::MAX))).map(|((_, run), _)| *run)
    }

    pub(super) fn due(&self, now: Time) -> Vec<(SlotId, RunId)> {
        self.0.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key).collect()
    }
}

/// A part of an interval that depends on nothing but the run: of many runs each has another.
fn share(interval: Duration, run: RunId) -> Duration {
    let hash = run.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(millis.saturating_mul(hash) >> 16)
}

impl Slot {
    /// The circuit of a run that is about to begin.
    pub(super) fn first_circuit(&self) -> Option<Circuit> {
        self.definition.spec.health.as_ref().map(|_| Circuit::NEW)
    }

    /// The runs that are asked how they are.
    fn examined(&self) -> Vec<Run> {
        let main = match &self.phase {
            Phase::Starting { run, .. } | Phase::Online { run } => Some(*run),
            Phase::Launching { .. }
            | Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Waiting { .. }
            | Phase::Errored { .. }
            | Phase::Completed { .. } => None,
        };
        let second = match &self.rollout {
            Some(Rollout::AwaitReady { run, .. } | Rollout::Held { run }) => Some(*run),
            Some(Rollout::Asked { .. } | Rollout::Launch { .. } | Rollout::Baking { .. } | Rollout::Leaving { .. })
            | None => None,
        };
        let is_checked = |run: &Run| run.health.is_some() && self.definition.spec.health.is_some();
        main.into_iter().chain(second).filter(is_checked).collect()
    }

    /// From one check of a run to the next.
    fn pause(&self, spec: &HealthSpec, run: Run, now: Time) -> Duration {
        let age = now.since(run.started);
        if !run.health.is_none_or(Circuit::is_proven) && age < spec.start_period {
            let least = match &spec.check {
                Check::Exec { .. } => EAGER.0,
                Check::Http { .. } | Check::Tcp => EAGER.1,
            };
            return (age / 4).max(least).min(spec.interval);
        }
        match &self.rollout {
            // On trial it has to be able to fail in time.
            Some(Rollout::Baking { .. }) if self.run().is_some_and(|main| main.id == run.id) => {
                let bake = self.definition.spec.cluster.bake / (u32::from(spec.fail) + 1);
                bake.max(EAGER.1).min(spec.interval)
            }
            Some(
                Rollout::Asked { .. }
                | Rollout::Launch { .. }
                | Rollout::AwaitReady { .. }
                | Rollout::Held { .. }
                | Rollout::Baking { .. }
                | Rollout::Leaving { .. },
            )
            | None => spec.interval,
        }
    }

    /// Which of the new connections a run gets that is ready.
    pub(super) fn serves_as(run: &Run) -> Standing {
        match run.health {
            _ if run.closing => Standing::Draining,
            Some(Circuit::Open { .. }) => Standing::Unhealthy,
            Some(Circuit::HalfOpen { .. }) => Standing::Recovering,
            Some(Circuit::Unproven { .. } | Circuit::Closed { .. }) | None => Standing::Ready,
        }
    }

    /// A run has answered, or has not. Returns whether anything has changed.
    fn on_examined(&mut self, id: RunId, finding: Finding, turn: &mut Turn<'_>) -> bool {
        let Some(spec) = self.definition.spec.health.clone() else { return false };
        let Some(run) = self.examined().into_iter().find(|run| run.id == id) else { return false };
        let Some(before) = run.health else { return false };
        let weighs = if turn.now.since(run.started) < spec.start_period { Weighs::NotYet } else { Weighs::Yes };
        let (after, why) = match finding {
            Finding::Well => (before.passed(&spec), None),
            Finding::Ill(why) => (before.failed(&spec, weighs), Some(why)),
        };
        if let Some(run) = self.its_run(id) {
            run.health = Some(after);
        }
        let has_news = why.is_some() && self.complaint.as_ref().map(|(_, why)| why) != why.as_ref();
        if let Some(why) = why.filter(|_| has_news) {
            self.complaint = Some((id, why));
        }
        if after == before {
            return has_news;
        }
        let is_main = matches!(&self.phase, Phase::Online { run } if run.id == id);
        match (before, after) {
            (Circuit::Unproven { .. }, Circuit::Closed { .. }) => self.on_proven(id, turn),
            (Circuit::Closed { .. } | Circuit::HalfOpen { .. }, Circuit::Open { .. }) if is_main => {
                self.on_ill(id, turn);
            }
            (Circuit::Closed { .. }, Circuit::Open { .. }) => self.on_ill_aside(id, turn),
            (Circuit::Open { .. }, Circuit::HalfOpen { .. }) if is_main => {
                self.steer_anew(turn);
                turn.effects.push(self.told(ChangeKind::Recovering(id), None));
            }
            (Circuit::HalfOpen { .. }, Circuit::Closed { .. }) if is_main => {
                self.complaint = None;
                self.steer_anew(turn);
                turn.effects.push(self.told(ChangeKind::Healthy(id), None));
            }
            // It may be what was missing to be ready.
            (Circuit::Open { .. }, Circuit::HalfOpen { .. }) => self.on_proven(id, turn),
            (
                Circuit::Unproven { .. } | Circuit::Closed { .. } | Circuit::Open { .. } | Circuit::HalfOpen { .. },
                Circuit::Unproven { .. } | Circuit::Closed { .. } | Circuit::Open { .. } | Circuit::HalfOpen { .. },
            ) => {}
        }
        true
    }

    /// A run was well for the first time: that may be what was missing.
    fn on_proven(&mut self, id: RunId, turn: &mut Turn<'_>) {
        if self.complaint.as_ref().is_some_and(|(run, _)| *run == id) {
            self.complaint = None;
        }
        match (&self.phase, &self.rollout) {
            (Phase::Starting { run, alive_at }, _) if run.id == id && self.is_ready(*run, *alive_at) => {
                self.come_online(*run, ReadyBy::Healthy, turn);
            }
            (_, Some(Rollout::AwaitReady { run, .. })) if run.id == id => self.look_aside(ReadyBy::Healthy, turn),
            (_, _) => {}
        }
    }

    /// The run of the slot is ill.
    fn on_ill(&mut self, id: RunId, turn: &mut Turn<'_>) {
        let Phase::Online { run } = self.phase else { return };
        let reason = self.complaint_of(id);
        turn.effects.push(self.told(ChangeKind::Unhealthy { run: id, reason: reason.clone() }, None));
        if let Some((old, manner)) = self.on_trial(run) {
            self.take_back((old, run), format!("unhealthy on trial: {reason}"), turn);
            self.drain_aside(run, turn);
            return self.spoil(manner, turn);
        }
        self.steer_anew(turn);
    }

    /// A run that waits for its siblings is ill.
    fn on_ill_aside(&mut self, id: RunId, turn: &mut Turn<'_>) {
        if let Some(Rollout::Held { run }) = self.rollout
            && run.id == id
        {
            let reason = format!("unhealthy before the others were ready: {}", self.complaint_of(id));
            self.abort(run, reason, turn);
            self.spoil(Manner::Together, turn);
            self.ask_aside(run, turn);
        }
    }

    fn steer_anew(&self, turn: &mut Turn<'_>) {
        if let Phase::Online { run } = &self.phase
            && run.mode == ExecMode::Cluster
        {
            turn.effects.push(Effect::Steer { run: run.id, standing: Slot::serves_as(run) });
        }
    }

    /// What was wrong with a run last.
    pub(super) fn complaint_of(&self, id: RunId) -> String {
        let its = self.complaint.as_ref().filter(|(run, _)| *run == id);
        its.map_or_else(|| "its health check fails".to_owned(), |(_, why)| why.clone())
    }

    /// What a run lacks to be ready, for the end of a sentence.
    pub(super) fn lacks(&self, run: Run) -> String {
        match run.health {
            Some(circuit) if !circuit.is_proven() => {
                format!(", its health check has not passed: {}", self.complaint_of(run.id))
            }
            Some(_) | None => String::new(),
        }
    }

    /// The run that is to be restarted for its health, if nothing else is going on here.
    fn patient(&self) -> Option<Run> {
        let spec = self.definition.spec.health.as_ref()?;
        let is_quiet = self.goal == Goal::Up && self.generation <= self.launched && self.rollout.is_none();
        let is_restarted = self.definition.spec.restart.policy != RestartPolicy::Never;
        let run = match &self.phase {
            Phase::Starting { run, .. } | Phase::Online { run } if is_quiet && is_restarted => *run,
            Phase::Starting { .. }
            | Phase::Online { .. }
            | Phase::Launching { .. }
            | Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Waiting { .. }
            | Phase::Errored { .. }
            | Phase::Completed { .. } => return None,
        };
        run.health.is_some_and(|circuit| circuit.is_given_up(spec)).then_some(run)
    }

    /// Whether a restart for its health has not come to its end; one that is to be restarted again has.
    fn is_being_mended(&self) -> bool {
        let is_on_its_way = match &self.phase {
            Phase::Launching { .. } | Phase::Starting { .. } | Phase::Stopping { .. } | Phase::Waiting { .. } => true,
            Phase::Online { .. } | Phase::Stopped | Phase::Errored { .. } | Phase::Completed { .. } => false,
        };
        self.mending.is_under_way && is_on_its_way && self.goal == Goal::Up && self.patient().is_none()
    }

    /// Restarts a run because its checks go on failing.
    fn mend(&mut self, run: Run, turn: &mut Turn<'_>) {
        self.mending = Mending { last: Some(turn.now), is_under_way: true };
        let reason = self.complaint_of(run.id);
        turn.effects.push(self.told(ChangeKind::GivenUpOn { run: run.id, reason }, None));
        // Nobody has asked for it.
        let by = self.asked_by.take();
        self.end_by(run, Cause::Unhealthy, turn);
        self.asked_by = by;
    }
}

impl Supervisor {
    /// A check has come to its end.
    pub(super) fn on_checked(
        &mut self,
        now: Time,
        id: RunId,
        finding: Finding,
        effects: &mut Vec<Effect>,
    ) -> Vec<SlotId> {
        let mut has_changed = false;
        let moved = self.on_run(now, id, effects, |slot, turn| has_changed = slot.on_examined(id, finding, turn));
        let Some(slot) = moved.first().and_then(|slot| self.slots.get(slot)) else { return Vec::new() };
        if let Some(at) = self.schedule.0.get_mut(&(slot.id, id))
            && let Some(spec) = &slot.definition.spec.health
            && let Some(run) = slot.examined().into_iter().find(|run| run.id == id)
        {
            // From the beginning of the check on: that was put down as its latest end.
            let limit = spec.timeout + LATE;
            let began = Time::from_millis(at.as_millis().saturating_sub(Time::default().after(limit).as_millis()));
            let began = began.min(now);
            *at = began.after(slot.pause(spec, run, now)).max(now.after(Duration::from_millis(1)));
        }
        if has_changed { moved } else { Vec::new() }
    }

    /// A run has shown something: it is worth asking now.
    pub(super) fn ask_soon(&mut self, now: Time, id: RunId, moved: &[SlotId]) {
        for slot in moved {
            let is_unproven = |run: &Run| run.id == id && !run.health.is_none_or(Circuit::is_proven);
            let is_new = self.slots.get(slot).is_some_and(|slot| slot.examined().iter().any(is_unproven));
            if is_new {
                self.schedule.0.insert((*slot, id), now);
            }
        }
    }

    /// Who is asked from now on, and who not any more.
    pub(super) fn enlist(&mut self, now: Time, moved: &[SlotId]) {
        for id in moved {
            let examined = self.slots.get(id).map(Slot::examined).unwrap_or_default();
            let known: Vec<RunId> = self.schedule.of(*id).collect();
            for run in known.iter().filter(|known| examined.iter().all(|run| run.id != **known)) {
                self.schedule.0.remove(&(*id, *run));
            }
            let Some(slot) = self.slots.get(id) else { continue };
            let Some(spec) = &slot.definition.spec.health else { continue };
            for run in examined.iter().filter(|run| !known.contains(&run.id)) {
                let first = match run.health.is_none_or(Circuit::is_proven) {
                    true => share(spec.interval, run.id),
                    false => slot.pause(spec, *run, now),
                };
                self.schedule.0.insert((*id, run.id), now.after(first));
            }
            // On trial there is less time than that.
            if matches!(slot.rollout, Some(Rollout::Baking { .. }))
                && let Some(run) = examined.first()
                && let Some(at) = self.schedule.0.get_mut(&(*id, run.id))
            {
                *at = (*at).min(now.after(slot.pause(spec, *run, now)));
            }
        }
    }

    /// Asks whose time has come.
    pub(super) fn ask_health(&mut self, now: Time, effects: &mut Vec<Effect>) {
        for (id, run) in self.schedule.due(now) {
            let slot = self.slots.get(&id);
            let Some((slot, spec)) = slot.and_then(|slot| Some((slot, slot.definition.spec.health.as_ref()?))) else {
                // Its declaration has changed under it.
                self.schedule.0.remove(&(id, run));
                continue;
            };
            // Reported long before this, unless something has gone wrong.
            self.schedule.0.insert((id, run), now.after(spec.timeout + LATE));
            let (instance, definition) = (slot.instance, Arc::clone(&slot.definition));
            let listens = slot.examined().iter().any(|it| it.id == run && it.listens);
            effects.push(Effect::Check { run, slot: id, instance, definition, listens });
        }
    }

    /// Restarts those whose checks go on failing, of each app one at a time. Returns whose slots moved.
    pub(super) fn mend(&mut self, now: Time, moved: &[SlotId], effects: &mut Vec<Effect>) -> Vec<SlotId> {
        let apps: BTreeSet<AppId> = moved.iter().filter_map(|id| Some(self.slots.get(id)?.app)).collect();
        let mut mended = Vec::new();
        for app in apps.into_iter().filter(|_| !self.leaving) {
            let of_app = || self.slots.values().filter(|slot| slot.app == app);
            if of_app().any(Slot::is_being_mended) {
                continue;
            }
            let patients = of_app().filter_map(|slot| Some((slot.mending.last, slot.id, slot.patient()?)));
            let Some((_, id, run)) = patients.min_by_key(|(last, id, _)| (*last, *id)) else { continue };
            if let Some(slot) = self.slots.get_mut(&id) {
                let mut turn = Turn { now, effects, next_run: &mut self.next_run, dice: 0, spoiled: &mut self.spoiled };
                slot.mend(run, &mut turn);
                mended.push(id);
            }
        }
        self.touched.extend(&mended);
        mended
    }

    /// Notices when most instances of an app look ill, so that steering does not believe it, and when they do not any more.
    pub(super) fn doubt(&mut self, moved: &[SlotId], effects: &mut Vec<Effect>) {
        let apps: BTreeSet<AppId> = moved.iter().filter_map(|id| Some(self.slots.get(id)?.app)).collect();
        for id in apps {
            let (healthy, ill) = self.census(id);
            let Some(app) = self.apps.get_mut(&id) else { continue };
            let is_ignored = ill > healthy;
            if std::mem::replace(&mut app.ignores_health, is_ignored) == is_ignored {
                continue;
            }
            let of = healthy + ill;
            let kind = match is_ignored {
                true => ChangeKind::HealthIgnored { healthy, of },
                false => ChangeKind::HealthTrusted { healthy, of },
            };
            effects.push(Effect::Announce(Change {
                app: app.definition.spec.name.clone(),
                slot: None,
                by: None,
                kind,
            }));
        }
    }

    /// How many of those that serve are well, and how many are ill. Of what shares no ports nobody is steered.
    fn census(&self, app: AppId) -> (u16, u16) {
        let (mut healthy, mut ill) = (0_u16, 0_u16);
        for slot in self.slots.values().filter(|slot| slot.app == app) {
            if let Phase::Online { run: Run { mode: ExecMode::Cluster, health: Some(circuit), closing: false, .. } } =
                &slot.phase
            {
                let count = if circuit.is_open() { &mut ill } else { &mut healthy };
                *count = count.saturating_add(1);
            }
        }
        (healthy, ill)
    }

    /// What a successor knows of it without having been told.
    pub(super) fn recall_health(&mut self, now: Time) {
        let slots: Vec<SlotId> = self.slots.keys().copied().collect();
        self.enlist(now, &slots);
        let apps: Vec<AppId> = self.apps.keys().copied().collect();
        for id in apps {
            let (healthy, ill) = self.census(id);
            if let Some(app) = self.apps.get_mut(&id) {
                app.ignores_health = ill > healthy;
            }
        }
    }
}
