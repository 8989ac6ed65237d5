//! `--parallel N`: a request asks its slots so many at a time, each as soon as one before it is where it should be.
//!
//! A slot that waits for its turn is left as it is. What another request wants of it meanwhile holds: its turn is passed
//! over. Where an instance of an app fails, those of its siblings that still run are left running; other apps go on.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use crate::supervisor::requests::Renew;
use crate::supervisor::slot::Slot;
use crate::supervisor::waiters::{Form, Pending, Waiter, Want};
use crate::supervisor::{AppId, Effect, RequestId, SlotAnswer, SlotId, Supervisor, Time, Wait, Who};

/// What is to be asked of one slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) slot: SlotId,
    pub(crate) want: Want,
    pub(crate) renew: Renew,
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
}

impl Batch {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.asked.values().map(|(_, deadline)| *deadline).min()
    }

    /// Takes out whoever is where it should be, or cannot get there in time.
    fn count(&mut self, slots: &BTreeMap<SlotId, Slot>, now: Time) {
        let failed = &mut self.failed;
        self.asked.retain(|id, (pending, deadline)| {
            let slot = slots.get(id);
            let answer = pending.judge(slot, now);
            if let (Some(SlotAnswer::Failed { .. }), Some(slot)) = (&answer, slot) {
                failed.insert(slot.app, format!("{}:{}", slot.definition.spec.name, slot.instance));
            }
            answer.is_none() && now < *deadline
        });
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
        (wait, parallel): (Wait, Option<NonZeroU16>),
    ) -> Vec<SlotId> {
        let width = parallel.map_or(wishes.len(), |width| usize::from(width.get()));
        let is_batch = wishes.len() > width;
        let mut moved: Vec<SlotId> = waited.iter().map(|(slot, _)| *slot).collect();
        if !is_batch {
            for wish in &wishes {
                self.ask_slot(now, wish.slot, who, wish.want, wish.renew);
            }
            moved.extend(wishes.iter().map(|wish| wish.slot));
        }
        let all = || waited.iter().copied().chain(wishes.iter().map(|wish| (wish.slot, wish.want)));
        let limit = all().filter_map(|(id, want)| Some(self.limit(self.slots.get(&id)?, want))).max();
        let rounds = u32::try_from(wishes.len().div_ceil(width.max(1)).max(1)).unwrap_or(u32::MAX);
        let deadline = match wait {
            Wait::UntilDone => now.after(limit.unwrap_or(Duration::ZERO).saturating_mul(rounds)),
            Wait::No => now,
        };
        let mut waiter = Waiter::new(request, form, deadline);
        for (id, want) in all() {
            let Some(slot) = self.slots.get(&id) else { continue };
            match is_batch && !waited.iter().any(|(other, _)| *other == id) {
                true => waiter.hold(slot, want),
                false => waiter.add(slot, want),
            }
        }
        self.waiters.push(waiter);
        if is_batch {
            let numbered = |wish: Wish| Some((wish, self.slots.get(&wish.slot)?.wishes));
            let queue = wishes.into_iter().filter_map(numbered).collect();
            let (asked, failed) = (BTreeMap::new(), BTreeMap::new());
            self.batches.push(Batch { request, who: Arc::clone(who), width, queue, asked, failed });
        }
        moved
    }

    /// Gives turns to those who wait for them, as far as there is room; returns whom.
    pub(super) fn advance_batches(&mut self, now: Time, effects: &mut Vec<Effect>) -> Vec<SlotId> {
        let mut moved = Vec::new();
        let mut batches = std::mem::take(&mut self.batches);
        for batch in &mut batches {
            batch.count(&self.slots, now);
            while batch.asked.len() < batch.width
                && let Some((wish, wishes)) = batch.queue.pop_front()
            {
                let passed_over = self.passed_over(batch, wish, wishes);
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
                    let deadline = now.after(self.limit(slot, wish.want));
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
        let failed = batch.failed.get(&slot.app).filter(|_| wish.renew == Renew::Always && slot.is_up())?;
        Some(SlotAnswer::Failed { reason: format!("left running, because `{failed}` failed"), run: None, next: None })
    }
}
