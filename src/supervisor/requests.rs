//! Requests: which goals each of them writes, and who then waits for what.

use std::sync::Arc;
use std::time::Duration;

use crate::spec::{Env, ExecMode, Signal};
use crate::supervisor::apply::{self, Step};
use crate::supervisor::batch::{When, Wish};
use crate::supervisor::rollout::Manner;
use crate::supervisor::slot::{Goal, Phase, Slot};
use crate::supervisor::targets;
use crate::supervisor::waiters::{Form, Waiter, Want};
use crate::supervisor::{
    Act, AppId, Apply, Ask, Change, ChangeKind, Definition, Effect, PlanAction, PlanStep, Refusal, Reply, RequestId,
    SlotAnswer, SlotId, Supervisor, Target, Time, Unchanged, Wait, Who, Whom,
};

/// How much longer than `kill_timeout` a stop may take before its answer says that it goes on.
const AFTER_KILL: Duration = Duration::from_secs(2);

/// A reload; in which manner each slot is replaced is decided when it is known which others are.
const RELOAD: Renew = Renew::Reload(Manner::Plain);

/// Whether a start is a new launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renew {
    /// Also of what runs.
    Always,
    /// Beside what runs and shares ports, in this manner, else a new launch.
    Reload(Manner),
    /// Only of what does not run.
    IfDown,
    /// No launch.
    Never,
}

impl Supervisor {
    pub(super) fn on_request(
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
            Ask::Start(act) => self.on_act(now, (id, who), &act, (Want::Ready, Renew::IfDown), effects),
            Ask::Restart(act) => self.on_act(now, (id, who), &act, (Want::Ready, Renew::Always), effects),
            Ask::Reload(act) => self.on_act(now, (id, who), &act, (Want::Ready, RELOAD), effects),
            Ask::AbortReload(act) => self.on_abort(now, id, who, &act, effects),
            Ask::Stop(act) => self.on_act(now, (id, who), &act, (Want::Down, Renew::Never), effects),
            Ask::Delete(act) => self.on_act(now, (id, who), &act, (Want::Gone, Renew::Never), effects),
            Ask::Reset(act) => self.on_reset(now, id, who, &act, effects),
            Ask::Scale(scale) => self.on_scale(now, id, who, &scale, effects),
            Ask::Signal { targets, signal } => self.on_signal(id, who, &targets, signal, effects),
            Ask::Restore(wanted) => Ok(self.on_restore(now, id, who, wanted)),
            Ask::Register(wanted) => Ok(self.on_register(now, id, wanted)),
            Ask::Resurrect { saved, wait } => Ok(self.on_resurrect(now, id, who, saved, wait, effects)),
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
        (id, who): (RequestId, &Arc<Who>),
        act: &Act,
        (want, renew): (Want, Renew),
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<SlotId>, Refusal> {
        let slots = self.resolve(&act.targets)?;
        if renew == RELOAD {
            self.refuse_second_reload(&slots)?;
        }
        if let Some(changes) = &act.changes {
            self.amend(&slots, changes, who, effects)?;
        }
        if let Some(inherited) = &act.update_env {
            self.update_env(&slots, inherited);
        }
        self.wanted_version += 1;
        let wishes = slots.into_iter().map(|slot| Wish { slot, want, renew }).collect();
        Ok(self.ask_and_wait(
            now,
            (id, who),
            Form::Outcome,
            wishes,
            Vec::new(),
            When::of(act.wait, act.parallel, act.strategy),
        ))
    }

    pub(super) fn ask_slot(&mut self, now: Time, id: SlotId, who: &Arc<Who>, want: Want, renew: Renew) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        self.touched.insert(id);
        match (want, renew) {
            (Want::Ready, Renew::IfDown) if slot.is_up() => {}
            (Want::Ready, Renew::Reload(manner)) => slot.want_reload(who, manner, now),
            (Want::Ready, Renew::IfDown | Renew::Always | Renew::Never) => slot.want_up(who, now),
            (Want::Down, _) => slot.want_down(Goal::Down, who),
            (Want::Gone, _) => slot.want_down(Goal::Deleted, who),
        }
    }

    /// Answered at once: counters have no phase.
    fn on_reset(
        &mut self,
        now: Time,
        id: RequestId,
        who: &Arc<Who>,
        act: &Act,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<SlotId>, Refusal> {
        let slots = self.resolve(&act.targets)?;
        let mut results = Vec::with_capacity(slots.len());
        for slot in &slots {
            let Some(slot) = self.slots.get_mut(slot) else { continue };
            slot.forget_past(now);
            self.touched.insert(slot.id);
            effects.push(slot.told(ChangeKind::Reset, Some(Arc::clone(who))));
            results.push(slot.result(SlotAnswer::Done(slot.state())));
        }
        effects.push(Effect::Reply { to: id, reply: Reply::Outcome(results) });
        Ok(Vec::new())
    }

    /// Answered at once: what the process makes of it is its own affair, and an end by it is an end like any other.
    fn on_signal(
        &mut self,
        id: RequestId,
        who: &Arc<Who>,
        targets: &[Target],
        signal: Signal,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<SlotId>, Refusal> {
        let slots = self.resolve(targets)?;
        let mut results = Vec::with_capacity(slots.len());
        for slot in slots.iter().filter_map(|slot| self.slots.get(slot)) {
            let answer = match slot.signalable() {
                Ok(run) => {
                    let whom = if slot.definition.spec.stop.treekill { Whom::Main } else { Whom::OnlyMain };
                    effects.push(Effect::Signal { run, signal, whom });
                    effects.push(slot.told(ChangeKind::Signalled(run, signal), Some(Arc::clone(who))));
                    SlotAnswer::Done(slot.state())
                }
                Err(reason) => SlotAnswer::Failed { reason: reason.to_owned(), run: None, next: None },
            };
            results.push(slot.result(answer));
        }
        effects.push(Effect::Reply { to: id, reply: Reply::Outcome(results) });
        Ok(Vec::new())
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
        if !apply.dry_run {
            self.refuse_overtaking(apply.unchanged, &steps)?;
        }
        let plan: Vec<PlanStep> = steps.iter().map(|step| step.shown.clone()).collect();
        if apply.dry_run {
            effects.push(Effect::Reply { to: id, reply: Reply::Applied { plan, results: Vec::new() } });
            return Ok(Vec::new());
        }
        let (mut wishes, mut waited) = (Vec::new(), Vec::new());
        for step in steps {
            self.carry_out(now, (who, apply.unchanged), step, (&mut wishes, &mut waited), effects);
        }
        self.wanted_version += 1;
        let when = When::of(apply.wait, apply.parallel, apply.strategy);
        Ok(self.ask_and_wait(now, (id, who), Form::Applied(plan), wishes, waited, when))
    }

    /// Defines what a step declares. What has to start is left to `wishes`; what goes is asked at once and is in `waited`.
    fn carry_out(
        &mut self,
        now: Time,
        (who, unchanged): (&Arc<Who>, Unchanged),
        step: Step,
        (wishes, waited): (&mut Vec<Wish>, &mut Vec<(SlotId, Want)>),
        effects: &mut Vec<Effect>,
    ) {
        let announce = |kind| {
            let change = Change { app: step.shown.name.clone(), slot: None, by: Some(Arc::clone(who)), kind };
            Effect::Announce(change)
        };
        let anew = match unchanged {
            Unchanged::Restart => Renew::Always,
            Unchanged::Leave | Unchanged::Reload => RELOAD,
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
            (PlanAction::Restart, Some(app)) => (app, anew),
            (PlanAction::Change { what, restart }, Some(app)) => {
                effects.push(announce(ChangeKind::Changed(what.clone())));
                let starts = step.definition.as_ref().is_some_and(|definition| definition.spec.autostart)
                    || self.slots.values().any(|slot| slot.app == app && slot.goal == Goal::Up);
                (
                    app,
                    if *restart {
                        anew
                    } else if starts {
                        Renew::IfDown
                    } else {
                        Renew::Never
                    },
                )
            }
            (PlanAction::Create | PlanAction::Register, _) | (_, None) => {
                effects.push(announce(ChangeKind::Created));
                self.next_app += 1;
                let renew = if step.shown.action == PlanAction::Register { Renew::Never } else { Renew::Always };
                (AppId(self.next_app), renew)
            }
        };
        let Some(definition) = step.definition else { return };
        let places = self.define(now, app, &definition);
        for slot in places.gone {
            self.ask_slot(now, slot, who, Want::Gone, Renew::Never);
            waited.push((slot, Want::Gone));
        }
        for id in places.kept.into_iter().chain(places.new) {
            if renew != Renew::Never {
                let is_leaving = self.slots.get(&id).is_some_and(|slot| slot.goal == Goal::Deleted);
                if is_leaving {
                    // It would be gone before its turn.
                    self.ask_slot(now, id, who, Want::Ready, renew);
                    waited.push((id, Want::Ready));
                } else {
                    wishes.push(Wish { slot: id, want: Want::Ready, renew });
                }
            } else if let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.goal == Goal::Deleted) {
                // Declared again while it was on its way out: it stays, and stopped.
                slot.want_down(Goal::Down, who);
                self.touched.insert(id);
            } else if self
                .slots
                .get(&id)
                .is_some_and(|slot| slot.goal == Goal::Up && !matches!(slot.phase, Phase::Online { .. }))
            {
                // Left alone, and still on its way up: the answer says that it runs, so it waits.
                waited.push((id, Want::Ready));
            }
        }
    }

    fn on_shutdown(&mut self, now: Time, id: RequestId, who: &Arc<Who>) -> Vec<SlotId> {
        self.leaving = true;
        let slots: Vec<SlotId> = self.slots.keys().copied().collect();
        self.touched.extend(&slots);
        for slot in self.slots.values_mut().filter(|slot| slot.goal != Goal::Deleted) {
            slot.want_down(Goal::Down, who);
        }
        self.wait(now, id, Form::Outcome, Wait::UntilDone, slots.iter().map(|slot| (*slot, Want::Down)).collect());
        if let Some(waiter) = self.waiters.last_mut() {
            waiter.leaves = true;
        }
        slots
    }

    pub(super) fn wait(&mut self, now: Time, id: RequestId, form: Form, wait: Wait, slots: Vec<(SlotId, Want)>) {
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

    pub(super) fn limit(&self, slot: &Slot, want: Want) -> Duration {
        let spec = &slot.definition.spec;
        let drain = match spec.exec_mode {
            ExecMode::Cluster => spec.cluster.drain_timeout,
            ExecMode::Fork => Duration::ZERO,
        };
        let down = drain + spec.stop.kill_timeout + AFTER_KILL;
        match (want, slot.run()) {
            (Want::Ready, Some(_)) => spec.listen_timeout + down,
            (Want::Ready, None) => spec.listen_timeout,
            (Want::Down | Want::Gone, _) => down,
        }
    }

    pub(super) fn resolve(&self, targets: &[Target]) -> Result<Vec<SlotId>, Refusal> {
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
    fn update_env(&mut self, slots: &[SlotId], inherited: &Arc<Env>) {
        let apps: Vec<AppId> = slots.iter().filter_map(|slot| Some(self.slots.get(slot)?.app)).collect();
        for (id, app) in self.apps.iter_mut().filter(|(id, _)| apps.contains(id)) {
            let definition =
                Arc::new(Definition { inherited: Arc::clone(inherited), ..Definition::clone(&app.definition) });
            app.definition = Arc::clone(&definition);
            for slot in self.slots.values_mut().filter(|slot| slot.app == *id) {
                slot.definition = Arc::clone(&definition);
                self.touched.insert(slot.id);
            }
        }
    }
}
