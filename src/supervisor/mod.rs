//! **The core**: what is wanted of every slot, what is, and what to do about the difference.
//!
//! Pure: [`Supervisor::handle`] takes the moment and one event and pushes effects. It cannot fail, block, sleep, read a
//! clock or spawn; the same events give the same effects. The shell (`daemon`) feeds it and carries the effects out.
//!
//! `slot.rs` has the state machine of one slot with its picture, `restart.rs` what follows an end, `apply.rs` the plan of
//! `start FILE`, `targets.rs` what a target means, `waiters.rs` who waits for which answer.

mod apply;
mod restart;
mod slot;
mod targets;
mod vocabulary;
mod waiters;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::supervisor::apply::Step;
use crate::supervisor::slot::{Goal, Phase, Slot, Turn};
use crate::supervisor::waiters::{Form, Waiter, Want};

pub use vocabulary::{
    Act, Apply, Ask, Change, ChangeKind, Definition, Effect, Event, Exit, Lasting, Left, PlanAction, PlanStep, ReadyBy,
    Refusal, Reply, RequestId, Resolve, RunId, SlotAnswer, SlotId, SlotResult, State, Target, Time, Wait, Wanted, Who,
    Whom,
};

/// How much longer than `kill_timeout` a stop may take before its answer says that it goes on.
const AFTER_KILL: Duration = Duration::from_secs(2);

/// An app's place in the core; never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AppId(u32);

/// One app.
#[derive(Debug)]
struct App {
    definition: Arc<Definition>,
}

/// The core.
#[derive(Debug)]
pub struct Supervisor {
    apps: BTreeMap<AppId, App>,
    slots: BTreeMap<SlotId, Slot>,
    waiters: Vec<Waiter>,
    next_app: u32,
    next_slot: u32,
    next_run: u64,
    dice: u64,
    leaving: bool,
    /// Counts changes of what [`Supervisor::wanted`] says.
    wanted_version: u64,
}

/// What readers may know of one slot.
#[derive(Clone, Debug)]
pub struct SlotFacts<'a> {
    /// Its id.
    pub id: SlotId,
    /// The index within the app.
    pub instance: u16,
    /// What its next launch uses.
    pub definition: &'a Arc<Definition>,
    /// Where it is.
    pub state: State,
    /// The run whose process may live.
    pub run: Option<RunId>,
    /// The last run there was.
    pub last_run: Option<RunId>,
    /// When that run was spawned.
    pub started: Option<Time>,
    /// When a request started it last.
    pub created: Time,
    /// How often it was restarted.
    pub restarts: u32,
    /// How many unstable lives count at the moment.
    pub unstable: usize,
    /// When it is tried again.
    pub next_attempt: Option<Time>,
    /// Why it waits or was given up.
    pub reason: Option<&'a str>,
    /// The last exits, newest first.
    pub history: Vec<&'a Exit>,
}

impl Supervisor {
    /// An empty core. `seed` feeds the jitter of the backoff.
    pub fn new(seed: u64) -> Supervisor {
        Supervisor {
            apps: BTreeMap::new(),
            slots: BTreeMap::new(),
            waiters: Vec::new(),
            next_app: 0,
            next_slot: 0,
            next_run: 0,
            dice: seed | 1,
            leaving: false,
            wanted_version: 0,
        }
    }

    /// Takes in one event and says what to do.
    pub fn handle(&mut self, now: Time, event: Event, effects: &mut Vec<Effect>) {
        let moved = match event {
            Event::Request { id, who, ask } => self.on_request(now, id, &who, ask, effects),
            Event::Spawned { run } => self.on_run(now, run, effects, |slot, turn| slot.on_spawned(run, turn)),
            Event::SpawnFailed { run, why, lasting } => {
                self.on_run(now, run, effects, |slot, turn| slot.on_spawn_failed(run, why, lasting, turn))
            }
            Event::Ready { run, by } => self.on_run(now, run, effects, |slot, turn| slot.on_ready(run, by, turn)),
            Event::Exited { run, status, left } => {
                self.on_run(now, run, effects, |slot, turn| slot.on_exited(run, status, left, turn))
            }
            Event::Gone { run } => self.on_run(now, run, effects, |slot, turn| slot.on_gone(run, turn)),
            Event::Tick => Vec::new(),
        };
        self.settle(now, moved, effects);
    }

    /// When [`Event::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Time> {
        let slots = self.slots.values().filter_map(Slot::deadline);
        slots.chain(self.waiters.iter().map(Waiter::deadline)).min()
    }

    /// Whether a shutdown was asked for.
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Everything readers may know, app by app in the order of their first id.
    pub fn facts(&self, now: Time) -> Vec<(&Arc<Definition>, Vec<SlotFacts<'_>>)> {
        let mut by_app: BTreeMap<AppId, Vec<SlotFacts<'_>>> = BTreeMap::new();
        for slot in self.slots.values() {
            by_app.entry(slot.app).or_default().push(facts(slot, now));
        }
        let mut apps: Vec<_> =
            self.apps.iter().map(|(id, app)| (&app.definition, by_app.remove(id).unwrap_or_default())).collect();
        apps.sort_by_key(|(_, slots)| slots.first().map(|slot| slot.id));
        apps
    }

    /// What a successor must know; changes when [`Supervisor::wanted_version`] does.
    pub fn wanted(&self) -> Vec<Wanted> {
        self.apps
            .iter()
            .map(|(id, app)| Wanted {
                definition: Arc::clone(&app.definition),
                slots: self
                    .slots
                    .values()
                    .filter(|slot| slot.app == *id && slot.goal != Goal::Deleted)
                    .map(|slot| (slot.id, slot.instance, slot.goal == Goal::Up))
                    .collect(),
            })
            .filter(|wanted| !wanted.slots.is_empty())
            .collect()
    }

    /// Counts changes of [`Supervisor::wanted`].
    pub fn wanted_version(&self) -> u64 {
        self.wanted_version
    }

    fn on_run(
        &mut self,
        now: Time,
        run: RunId,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Slot, &mut Turn<'_>),
    ) -> Vec<SlotId> {
        let dice = self.roll();
        let Some(slot) = self.slots.values_mut().find(|slot| slot.run().is_some_and(|r| r.id == run)) else {
            return Vec::new();
        };
        act(slot, &mut Turn { now, effects, next_run: &mut self.next_run, dice });
        vec![slot.id]
    }

    /// Lets every slot that moved, or whose deadline has passed, compare wish and fact; then answers who waited for it.
    fn settle(&mut self, now: Time, mut moved: Vec<SlotId>, effects: &mut Vec<Effect>) {
        moved
            .extend(self.slots.values().filter(|slot| slot.deadline().is_some_and(|at| at <= now)).map(|slot| slot.id));
        moved.sort_unstable();
        moved.dedup();
        for id in &moved {
            let dice = self.roll();
            let Some(slot) = self.slots.get_mut(id) else { continue };
            let mut turn = Turn { now, effects, next_run: &mut self.next_run, dice };
            slot.settle(&mut turn);
            // A crash with no pause, or a stop of something that waits, has a second step at once.
            slot.settle(&mut turn);
            if slot.goal == Goal::Deleted && slot.phase == Phase::Stopped {
                self.remove(*id, effects);
            }
        }
        for waiter in &mut self.waiters {
            for id in &moved {
                waiter.observe(*id, self.slots.get(id), now, effects);
            }
            if waiter.deadline() <= now {
                waiter.give_up();
            }
        }
        self.answer(effects);
    }

    fn answer(&mut self, effects: &mut Vec<Effect>) {
        let (done, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiters).into_iter().partition(Waiter::is_done);
        self.waiters = waiting;
        for waiter in done {
            let leaves = waiter.leaves;
            effects.push(waiter.into_reply());
            if leaves {
                effects.push(Effect::Leave);
            }
        }
    }

    fn on_request(
        &mut self,
        now: Time,
        id: RequestId,
        who: &Arc<Who>,
        ask: Ask,
        effects: &mut Vec<Effect>,
    ) -> Vec<SlotId> {
        if self.leaving && !matches!(ask, Ask::Shutdown) {
            effects.push(Effect::Reply { to: id, reply: Reply::Refused(Refusal::Leaving) });
            return Vec::new();
        }
        let outcome = match ask {
            Ask::Apply(apply) => self.on_apply(now, id, who, &apply, effects),
            Ask::Start(act) => self.on_act(now, id, who, &act, Want::Ready, Renew::IfDown),
            Ask::Restart(act) => self.on_act(now, id, who, &act, Want::Ready, Renew::Always),
            Ask::Stop(act) => self.on_act(now, id, who, &act, Want::Down, Renew::Never),
            Ask::Delete(act) => self.on_act(now, id, who, &act, Want::Gone, Renew::Never),
            Ask::Restore(wanted) => Ok(self.on_restore(now, id, who, wanted)),
            Ask::Shutdown => Ok(self.on_shutdown(now, id, who)),
        };
        match outcome {
            Ok(moved) => moved,
            Err(refusal) => {
                effects.push(Effect::Reply { to: id, reply: Reply::Refused(refusal) });
                Vec::new()
            }
        }
    }

    fn on_act(
        &mut self,
        now: Time,
        id: RequestId,
        who: &Arc<Who>,
        act: &Act,
        want: Want,
        renew: Renew,
    ) -> Result<Vec<SlotId>, Refusal> {
        let slots = self.resolve(&act.targets)?;
        if let Some(inherited) = &act.update_env {
            self.update_env(&slots, inherited);
        }
        for slot in &slots {
            self.ask_slot(now, *slot, who, want, renew);
        }
        self.wanted_version += 1;
        self.wait(now, id, Form::Outcome, act.wait, slots.iter().map(|slot| (*slot, want)).collect());
        Ok(slots)
    }

    fn ask_slot(&mut self, now: Time, id: SlotId, who: &Arc<Who>, want: Want, renew: Renew) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        match (want, renew) {
            (Want::Ready, Renew::IfDown) if slot.is_up() => {}
            (Want::Ready, Renew::IfDown | Renew::Always | Renew::Never) => slot.want_up(who, now),
            (Want::Down, _) => slot.want_down(Goal::Down, who),
            (Want::Gone, _) => slot.want_down(Goal::Deleted, who),
        }
    }

    fn on_apply(
        &mut self,
        now: Time,
        id: RequestId,
        who: &Arc<Who>,
        apply: &Apply,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<SlotId>, Refusal> {
        let steps = apply::plan(self, apply)?;
        let plan: Vec<PlanStep> = steps.iter().map(|step| step.shown.clone()).collect();
        if apply.dry_run {
            effects.push(Effect::Reply { to: id, reply: Reply::Applied { plan, results: Vec::new() } });
            return Ok(Vec::new());
        }
        let mut waited = Vec::new();
        for step in steps {
            self.carry_out(now, who, step, &mut waited, effects);
        }
        self.wanted_version += 1;
        let slots = waited.iter().map(|(slot, _)| *slot).collect();
        self.wait(now, id, Form::Applied(plan), apply.wait, waited);
        Ok(slots)
    }

    fn carry_out(
        &mut self,
        now: Time,
        who: &Arc<Who>,
        step: Step,
        waited: &mut Vec<(SlotId, Want)>,
        effects: &mut Vec<Effect>,
    ) {
        let announce = |kind| {
            let change = Change { app: step.shown.name.clone(), slot: None, by: Some(Arc::clone(who)), kind };
            Effect::Announce(change)
        };
        let (app, renew) = match (&step.shown.action, step.app) {
            (PlanAction::Keep, _) => return,
            (PlanAction::Delete, Some(app)) => {
                for slot in self.slots_of(app) {
                    self.ask_slot(now, slot, who, Want::Gone, Renew::Never);
                    waited.push((slot, Want::Gone));
                }
                return;
            }
            (PlanAction::Leave { .. }, Some(app)) => (app, Renew::Never),
            (PlanAction::Start | PlanAction::Scale { .. }, Some(app)) => (app, Renew::IfDown),
            (PlanAction::Restart, Some(app)) => (app, Renew::Always),
            (PlanAction::Change { what, restart }, Some(app)) => {
                effects.push(announce(ChangeKind::Changed(what.clone())));
                (app, if *restart { Renew::Always } else { Renew::IfDown })
            }
            (PlanAction::Create | PlanAction::Register, _) | (_, None) => {
                effects.push(announce(ChangeKind::Created));
                self.next_app += 1;
                let renew = if step.shown.action == PlanAction::Register { Renew::Never } else { Renew::Always };
                (AppId(self.next_app), renew)
            }
        };
        let Some(definition) = step.definition else { return };
        let (kept, gone) = self.define(now, app, &definition);
        for slot in gone {
            self.ask_slot(now, slot, who, Want::Gone, Renew::Never);
            waited.push((slot, Want::Gone));
        }
        for slot in kept {
            if renew != Renew::Never {
                self.ask_slot(now, slot, who, Want::Ready, renew);
                waited.push((slot, Want::Ready));
            }
        }
    }

    /// Gives an app its definition and its slots: those that it has now, and those that are too many.
    fn define(&mut self, now: Time, app: AppId, definition: &Arc<Definition>) -> (Vec<SlotId>, Vec<SlotId>) {
        self.apps.insert(app, App { definition: Arc::clone(definition) });
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        let mut taken = Vec::new();
        for slot in self.slots.values_mut().filter(|slot| slot.app == app) {
            slot.definition = Arc::clone(definition);
            let too_many = slot.instance >= definition.spec.instances;
            if too_many {
                gone.push(slot.id)
            } else {
                kept.push(slot.id)
            }
            taken.push(slot.instance);
        }
        for instance in (0..definition.spec.instances).filter(|instance| !taken.contains(instance)) {
            let id = SlotId(self.next_slot);
            self.next_slot += 1;
            self.slots.insert(id, Slot::new(id, app, instance, Arc::clone(definition), now));
            kept.push(id);
        }
        (kept, gone)
    }

    fn on_restore(&mut self, now: Time, id: RequestId, who: &Arc<Who>, wanted: Vec<Wanted>) -> Vec<SlotId> {
        let mut waited = Vec::new();
        for app in wanted {
            self.next_app += 1;
            let app_id = AppId(self.next_app);
            self.apps.insert(app_id, App { definition: Arc::clone(&app.definition) });
            for (slot_id, instance, up) in app.slots {
                let mut slot = Slot::new(slot_id, app_id, instance, Arc::clone(&app.definition), now);
                if up {
                    slot.want_up(who, now);
                    waited.push((slot_id, Want::Ready));
                }
                self.next_slot = self.next_slot.max(slot_id.0 + 1);
                self.slots.insert(slot_id, slot);
            }
        }
        self.wanted_version += 1;
        let slots = waited.iter().map(|(slot, _)| *slot).collect();
        self.wait(now, id, Form::Outcome, Wait::UntilDone, waited);
        slots
    }

    fn on_shutdown(&mut self, now: Time, id: RequestId, who: &Arc<Who>) -> Vec<SlotId> {
        self.leaving = true;
        let slots: Vec<SlotId> = self.slots.keys().copied().collect();
        for slot in self.slots.values_mut().filter(|slot| slot.goal != Goal::Deleted) {
            slot.want_down(Goal::Down, who);
        }
        self.wait(now, id, Form::Outcome, Wait::UntilDone, slots.iter().map(|slot| (*slot, Want::Down)).collect());
        if let Some(waiter) = self.waiters.last_mut() {
            waiter.leaves = true;
        }
        slots
    }

    fn wait(&mut self, now: Time, id: RequestId, form: Form, wait: Wait, slots: Vec<(SlotId, Want)>) {
        let limit = slots.iter().filter_map(|(id, want)| Some(self.limit(self.slots.get(id)?, *want))).max();
        let deadline = match wait {
            Wait::UntilDone => now.after(limit.unwrap_or(Duration::ZERO)),
            Wait::No => now,
        };
        let mut waiter = Waiter::new(id, form, deadline);
        for (id, want) in slots {
            if let Some(slot) = self.slots.get(&id) {
                waiter.add(slot, want);
            }
        }
        self.waiters.push(waiter);
    }

    fn limit(&self, slot: &Slot, want: Want) -> Duration {
        let spec = &slot.definition.spec;
        let down = spec.stop.kill_timeout + AFTER_KILL;
        match (want, slot.run()) {
            (Want::Ready, Some(_)) => spec.listen_timeout + down,
            (Want::Ready, None) => spec.listen_timeout,
            (Want::Down | Want::Gone, _) => down,
        }
    }

    fn resolve(&self, targets: &[Target]) -> Result<Vec<SlotId>, Refusal> {
        let candidates: Vec<_> = self
            .slots
            .values()
            .filter(|slot| slot.goal != Goal::Deleted)
            .map(|slot| targets::Candidate {
                slot: slot.id,
                name: &slot.definition.spec.name,
                namespace: &slot.definition.spec.namespace,
                origin: &slot.definition.spec.origin,
                script: slot.definition.spec.script_path(),
            })
            .collect();
        targets::resolve(targets, &candidates)
    }

    /// Gives the apps of these slots another inherited environment, used from their next launch on.
    fn update_env(&mut self, slots: &[SlotId], inherited: &Arc<crate::spec::Env>) {
        let apps: Vec<AppId> = slots.iter().filter_map(|slot| Some(self.slots.get(slot)?.app)).collect();
        for (id, app) in self.apps.iter_mut().filter(|(id, _)| apps.contains(id)) {
            let definition =
                Arc::new(Definition { inherited: Arc::clone(inherited), ..Definition::clone(&app.definition) });
            app.definition = Arc::clone(&definition);
            for slot in self.slots.values_mut().filter(|slot| slot.app == *id) {
                slot.definition = Arc::clone(&definition);
            }
        }
    }

    fn slots_of(&self, app: AppId) -> Vec<SlotId> {
        self.slots.values().filter(|slot| slot.app == app).map(|slot| slot.id).collect()
    }

    fn remove(&mut self, id: SlotId, effects: &mut Vec<Effect>) {
        let Some(slot) = self.slots.remove(&id) else { return };
        let app = slot.definition.spec.name.clone();
        let change =
            Change { app, slot: Some((id, slot.instance)), by: slot.asked_by.clone(), kind: ChangeKind::Deleted };
        effects.push(Effect::Announce(change));
        effects.push(Effect::Forget { slot: id });
        if self.slots_of(slot.app).is_empty() {
            self.apps.remove(&slot.app);
        }
        if self.slots.is_empty() {
            self.next_slot = 0;
        }
    }

    /// The next random number (xorshift64*): jitter needs no more than being different.
    fn roll(&mut self) -> u64 {
        self.dice ^= self.dice >> 12;
        self.dice ^= self.dice << 25;
        self.dice ^= self.dice >> 27;
        self.dice.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }
}

/// Whether a start is a new launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renew {
    /// Also of what runs.
    Always,
    /// Only of what does not run.
    IfDown,
    /// No launch.
    Never,
}

fn facts(slot: &Slot, now: Time) -> SlotFacts<'_> {
    let (next_attempt, reason) = match &slot.phase {
        Phase::Waiting { until, reason } => (Some(*until), Some(reason.as_str())),
        Phase::Errored { reason, retry_at } => (*retry_at, Some(reason.as_str())),
        Phase::Stopped
        | Phase::Launching { .. }
        | Phase::Starting { .. }
        | Phase::Online { .. }
        | Phase::Stopping { .. }
        | Phase::Completed { .. } => (None, None),
    };
    let run = slot.run();
    SlotFacts {
        id: slot.id,
        instance: slot.instance,
        definition: &slot.definition,
        state: slot.state(),
        run: run.map(|run| run.id),
        last_run: slot.last_run,
        started: run.map(|run| run.started),
        created: slot.created,
        restarts: slot.restarts,
        unstable: slot.lives.unstable(now),
        next_attempt,
        reason,
        history: slot.history.iter().collect(),
    }
}
