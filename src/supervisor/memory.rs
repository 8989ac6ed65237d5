//! What a successor takes over: the parts of the core that a journal keeps, and the core put together from them.
//!
//! Everything a decision depends on is in a [`Slot`], a [`Waiter`] or the [`Counters`]; so a core that was put together
//! goes on where the other one was, and its time has to go on, too.

use std::collections::BTreeSet;

use crate::supervisor::{App, Batch, Effect, RequestId, Slot, SlotId, Supervisor, Time, Waiter};

/// The names that come next. None is given twice, whoever gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) app: u32,
    pub(crate) slot: u32,
    pub(crate) run: u64,
}

impl Supervisor {
    /// A core that goes on. `seed` feeds the jitter of the backoff.
    pub(crate) fn recalled(seed: u64, now: Time, counters: Counters, slots: Vec<Slot>) -> Supervisor {
        let mut core = Supervisor::new(seed);
        (core.next_app, core.next_slot, core.next_run) = (counters.app, counters.slot, counters.run);
        for slot in slots {
            core.apps.insert(slot.app, App { definition: slot.definition.clone(), ignores_health: false });
            core.slots.insert(slot.id, slot);
        }
        core.recall_health(now);
        core.wanted_version = 1;
        core
    }

    /// Waits on for what an earlier core had been asked. What holds by now is answered at once.
    pub(crate) fn wait_on(&mut self, now: Time, mut waiter: Waiter, effects: &mut Vec<Effect>) {
        self.leaving |= waiter.leaves;
        let pending: Vec<SlotId> = waiter.pending.keys().copied().collect();
        for id in pending {
            waiter.observe(id, self.slots.get(&id), now, effects);
        }
        self.waiters.push(waiter);
        self.answer(effects);
    }

    /// Goes on asking the slots of an earlier core's request.
    pub(crate) fn ask_on(&mut self, batch: Batch) {
        self.batches.push(batch);
    }

    /// The requests that have not asked all of their slots.
    pub(crate) fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// The slots that have changed since the last call, those that are no more included.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<SlotId> {
        std::mem::take(&mut self.touched)
    }

    /// One slot.
    pub(crate) fn slot(&self, id: SlotId) -> Option<&Slot> {
        self.slots.get(&id)
    }

    /// All slots, by id.
    pub(crate) fn all_slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.values()
    }

    /// What waits for the answer to a request.
    pub(crate) fn waiter(&self, request: RequestId) -> Option<&Waiter> {
        self.waiters.iter().find(|waiter| waiter.request == request)
    }

    /// All requests that wait.
    pub(crate) fn waiters(&self) -> impl Iterator<Item = &Waiter> {
        self.waiters.iter()
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters { app: self.next_app, slot: self.next_slot, run: self.next_run }
    }
}
