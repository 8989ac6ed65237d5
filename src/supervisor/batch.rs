//! `--parallel N`: a request asks its slots so many at a time, each as soon as one before it is where it should be.
//!
//! A reload does so by itself, app by app: a run that is being replaced counts until it is gone, so there are never
//! more than `max_surge` runs too many.
//!
//! A slot that waits for its turn is left as it is. What another request wants of it meanwhile holds: its turn is passed
//! over. Where an instance of an app fails, those of its siblings that still run are left running; other apps go on.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use crate::spec::Strategy;
use crate::supervisor::apply::Step;
use crate::supervisor::requests::Renew;
use crate::supervisor::rollout::Manner;
use crate::supervisor::slot::Slot;
use crate::supervisor::waiters::{Form, Pending, Waiter, Want};
use crate::supervisor::{
    App, AppId, Effect, PlanAction, Refusal, RequestId, SlotAnswer, SlotId, Supervisor, Time, Unchanged, Wait, Who,
};

/// What is to be asked of one slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) slot: SlotId,
    pub(crate) want: Want,
    pub(crate) renew: Renew,
}

/// How many slots are asked when, and when the request is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    wait: Wait,
    parallel: Option<NonZeroU16>,
    strategy: Option<Strategy>,
}

impl When {
    pub(super) fn of(wait: Wait, parallel: Option<NonZeroU16>, strategy: Option<Strategy>) -> When {
        When { wait, parallel, strategy }
    }
}

/// A request that has not asked all of its slots yet.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) request: RequestId,
    pub(crate) who: Arc<Who>,
    pub(crate) width: usize,
    /// With the count of the slot's wishes at the time of the request: another one means that somebody else asked.
    pub(crate) queue: VecDeque<(Wish, u32)>,
    /// Those who have had their turn and are not there yet, with the time at which they are not waited for any more.
    pub(crate) asked: BTreeMap<SlotId, (Pending, Time)>,
    /// Apps of which an instance failed, and which.
    pub(crate) failed: BTreeMap<AppId, String>,
    /// The first one of a reload: the others wait until it has held.
    pub(crate) canary: Option<SlotId>,
}

impl Batch {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.asked.values().map(|(_, deadline)| *deadline).min()
    }

    /// Takes out whoever is where it should be, or cannot get there in time.
    fn count(&mut self, slots: &BTreeMap<SlotId, Slot>, now: Time) {
        let (failed, canary) = (&mut self.failed, self.canary);
        let mut is_taken = false;
        self.asked.retain(|id, (pending, deadline)| {
            let slot = slots.get(id);
            let answer = pending.judge(slot, now);
            if let (Some(SlotAnswer::Failed { .. }), Some(slot)) = (&answer, slot) {
                failed.insert(slot.app, format!("{}:{}", slot.definition.spec.name, slot.instance));
            }
            is_taken |= answer == Some(SlotAnswer::Superseded) && canary == Some(*id);
            answer.is_none() && now < *deadline
        });
        if let Some((next, _)) = self.queue.front_mut().filter(|_| is_taken) {
            // Somebody has to be the first.
            next.renew = Renew::Reload(Manner::Canary);
        }
        self.canary = self.canary.filter(|canary| self.asked.contains_key(canary));
    }

    /// Whether another slot may be asked.
    fn has_room(&self) -> bool {
        let is_canary = self.queue.front().is_some_and(|(wish, _)| wish.renew == Renew::Reload(Manner::Canary));
        let width = if is_canary { 1 } else { self.width };
        self.canary.is_none() && self.asked.len() < width
    }
}

impl Supervisor {
    /// Asks all slots at once, or so many at a time; the request waits for all of them and for `waited`. Returns those
    /// that were asked.
    pub(super) fn ask_and_wait(
        &mut self,
        now: Time,
        (request, who): (RequestId, &Arc<Who>),
        form: Form,
        wishes: Vec<Wish>,
        waited: Vec<(SlotId, Want)>,
        When { wait, parallel, strategy }: When,
    ) -> Vec<SlotId> {
        let mut moved: Vec<SlotId> = waited.iter().map(|(slot, _)| *slot).collect();
        let mut limit = waited
            .iter()
            .filter_map(|(id, want)| Some(self.limit(self.slots.get(id)?, *want)))
            .max()
            .unwrap_or_default();
        let (mut waits, mut held) = (waited.clone(), Vec::new());
        self.number(&wishes);
        for (width, wishes) in self.groups(wishes, parallel, strategy) {
            let one = wishes.iter().filter_map(|wish| Some(self.limit_of(self.slots.get(&wish.slot)?, *wish))).max();
            let has_canary = wishes.iter().any(|wish| wish.renew == Renew::Reload(Manner::Canary));
            let rounds = wishes.len().div_ceil(width.max(1)).max(1) + usize::from(has_canary);
            let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
            limit = limit.max(one.unwrap_or_default().saturating_mul(rounds));
            let wants = wishes.iter().map(|wish| (wish.slot, wish.want));
            if wishes.len() > width || (has_canary && wishes.len() > 1) {
                held.extend(wants.filter(|(id, _)| !waited.iter().any(|(other, _)| other == id)));
                let numbered = |wish: Wish| Some((wish, self.slots.get(&wish.slot)?.wishes));
                let queue = wishes.into_iter().filter_map(numbered).collect();
                let (asked, failed) = (BTreeMap::new(), BTreeMap::new());
                self.batches.push(Batch { request, who: Arc::clone(who), width, queue, asked, failed, canary: None });
            } else {
                waits.extend(wants);
                for wish in &wishes {
                    self.ask_slot(now, wish.slot, who, wish.want, wish.renew);
                }
                moved.extend(wishes.iter().map(|wish| wish.slot));
            }
        }
        let deadline = match wait {
            Wait::UntilDone => now.after(limit),
            Wait::No => now,
        };
        let mut waiter = Waiter::new(request, form, deadline);
        for (id, want) in waits {
            if let Some(slot) = self.slots.get(&id) {
                waiter.add(slot, want);
            }
        }
        for (id, want) in held {
            if let Some(slot) = self.slots.get(&id) {
                waiter.hold(slot, want);
            }
        }
        self.waiters.push(waiter);
        moved
    }

    /// Who is asked together, and how many of them at a time. What is reloaded goes app by app, each by its `max_surge`, or
    /// all at once where they are switched at once.
    fn groups(
        &self,
        wishes: Vec<Wish>,
        parallel: Option<NonZeroU16>,
        strategy: Option<Strategy>,
    ) -> Vec<(usize, Vec<Wish>)> {
        let (mut reloaded, mut others) = (BTreeMap::<AppId, Vec<Wish>>::new(), Vec::new());
        for wish in wishes {
            match self.slots.get(&wish.slot) {
                Some(slot) if matches!(wish.renew, Renew::Reload(_)) && slot.is_reloadable() => {
                    reloaded.entry(slot.app).or_default().push(wish);
                }
                Some(_) | None => others.push(wish),
            }
        }
        let parallel = parallel.map(|width| usize::from(width.get()));
        let surge = |app: &AppId, wishes: &[Wish]| {
            let spec = self.apps.get(app).map(|app: &App| &app.definition.spec);
            spec.map_or(1, |spec| spec.cluster.max_surge.of(wishes.len()))
        };
        let mut groups: Vec<_> = vec![(parallel.unwrap_or(others.len()), others)];
        for (app, mut wishes) in reloaded {
            self.manners(app, strategy, &mut wishes);
            let is_together = wishes.iter().any(|wish| wish.renew == Renew::Reload(Manner::Together));
            let width = if is_together { wishes.len() } else { parallel.unwrap_or(surge(&app, &wishes)) };
            groups.push((width, wishes));
        }
        groups.retain(|(_, wishes)| !wishes.is_empty());
        groups
    }

    fn limit_of(&self, slot: &Slot, wish: Wish) -> Duration {
        let ready = self.limit(slot, wish.want);
        match wish.renew {
            // The new run first, then the end of the old one.
            Renew::Reload(_) => ready + slot.definition.spec.cluster.bake + self.limit(slot, Want::Down),
            Renew::Always | Renew::IfDown | Renew::Never => ready,
        }
    }

    /// Slots whose turn in a reload has not come.
    pub(super) fn awaits_reload(&self) -> Vec<SlotId> {
        let queued = self.batches.iter().flat_map(|batch| &batch.queue);
        queued.filter(|(wish, _)| matches!(wish.renew, Renew::Reload(_))).map(|(wish, _)| wish.slot).collect()
    }

    /// Refuses a reload of what is just being reloaded.
    pub(super) fn refuse_second_reload(&self, slots: &[SlotId]) -> Result<(), Refusal> {
        let awaited = self.awaits_reload();
        let is_queued = |id: &SlotId| awaited.contains(id);
        let busy =
            slots.iter().filter(|id| self.slots.get(id).is_some_and(|slot| slot.rollout.is_some()) || is_queued(id));
        match busy.min().and_then(|id| self.slots.get(id)) {
            Some(slot) => Err(Refusal::Reloading { name: slot.definition.spec.name.clone() }),
            None => Ok(()),
        }
    }

    /// Refuses a declaration that would reload what is just being reloaded.
    pub(super) fn refuse_overtaking(&self, unchanged: Unchanged, steps: &[Step]) -> Result<(), Refusal> {
        let renews = |step: &&Step| match &step.shown.action {
            PlanAction::Change { restart, .. } => *restart,
            PlanAction::Restart => true,
            PlanAction::Create
            | PlanAction::Register
            | PlanAction::Start
            | PlanAction::Scale { .. }
            | PlanAction::Leave { .. }
            | PlanAction::Keep
            | PlanAction::Delete => false,
        };
        let slots: Vec<SlotId> =
            steps.iter().filter(renews).filter_map(|step| step.app).flat_map(|app| self.slots_of(app)).collect();
        match unchanged {
            Unchanged::Restart => Ok(()),
            Unchanged::Leave | Unchanged::Reload => self.refuse_second_reload(&slots),
        }
    }

    /// Gives turns to those who wait for them, as far as there is room; returns whom.
    pub(super) fn advance_batches(&mut self, now: Time, effects: &mut Vec<Effect>) -> Vec<SlotId> {
        let mut moved = Vec::new();
        let mut batches = std::mem::take(&mut self.batches);
        for batch in &mut batches {
            batch.count(&self.slots, now);
            while batch.has_room()
                && let Some((wish, wishes)) = batch.queue.pop_front()
            {
                let passed_over = self.passed_over(batch, wish, wishes);
                let is_canary = wish.renew == Renew::Reload(Manner::Canary);
                if is_canary && passed_over.is_none() {
                    batch.canary = Some(wish.slot);
                }
                if passed_over.is_none() {
                    self.ask_slot(now, wish.slot, &batch.who, wish.want, wish.renew);
                    self.wanted_version += 1;
                    moved.push(wish.slot);
                }
                let slot = self.slots.get(&wish.slot);
                if let Some(waiter) = self.waiters.iter_mut().find(|waiter| waiter.request() == batch.request) {
                    match (&passed_over, slot) {
                        (None, Some(slot)) => waiter.add(slot, wish.want),
                        (Some(answer), _) => waiter.conclude(wish.slot, answer.clone(), slot, effects),
                        (None, None) => {}
                    }
                }
                if let (None, Some(slot)) = (passed_over, slot) {
                    let deadline = now.after(self.limit_of(slot, wish));
                    batch.asked.insert(wish.slot, (Pending::new(slot, wish.want), deadline));
                }
            }
        }
        batches.retain(|batch| !batch.queue.is_empty());
        self.batches = batches;
        moved
    }

    /// Why a slot does not get its turn.
    fn passed_over(&self, batch: &Batch, wish: Wish, wishes: u32) -> Option<SlotAnswer> {
        let Some(slot) = self.slots.get(&wish.slot).filter(|slot| slot.wishes == wishes) else {
            return Some(SlotAnswer::Superseded);
        };
        let failed = batch
            .failed
            .get(&slot.app)
            .filter(|_| matches!(wish.renew, Renew::Always | Renew::Reload(_)) && slot.is_up())?;
        Some(SlotAnswer::Failed { reason: format!("left running, because `{failed}` failed"), run: None, next: None })
    }
}
