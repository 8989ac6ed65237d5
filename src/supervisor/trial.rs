//! What a reload keeps until it is sure: new runs that wait for each other (blue-green), old ones that wait until the new
//! ones have held (the bake time), and the way back.
//!
//! A slot decides for itself, but for two things: runs that are replaced together are switched when the last of them is
//! ready, and given up when one of them fails. [`Supervisor::agree`] sees to both, within the turn that brought it about.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::spec::{ExitStatus, Strategy};
use crate::supervisor::batch::Wish;
use crate::supervisor::requests::Renew;
use crate::supervisor::restart::in_words;
use crate::supervisor::rollout::{Manner, Rollout, shown_by};
use crate::supervisor::slot::{Cause, Phase, Run, Slot, Stage, Turn};
use crate::supervisor::waiters::{Form, Want};
use crate::supervisor::{
    Act, AppId, ChangeKind, Effect, Left, ReadyBy, Refusal, RequestId, SlotAnswer, SlotId, Standing, Supervisor, Time,
    Who, Whom,
};

impl Slot {
    /// How its run is being replaced.
    pub(super) fn manner(&self) -> Manner {
        match &self.rollout {
            Some(Rollout::Asked { manner } | Rollout::Launch { manner, .. }) => *manner,
            Some(Rollout::AwaitReady { manner, .. } | Rollout::Baking { manner, .. }) => *manner,
            Some(Rollout::Held { .. }) => Manner::Together,
            Some(Rollout::Leaving { .. }) | None => Manner::Plain,
        }
    }

    /// Whether the old run is kept for a while.
    pub(super) fn is_baked(&self, manner: Manner) -> bool {
        manner != Manner::Plain && !self.definition.spec.cluster.bake.is_zero()
    }

    /// The new run is ready.
    pub(super) fn is_prepared(&mut self, run: Run, manner: Manner, by: ReadyBy, turn: &mut Turn<'_>) {
        match manner {
            Manner::Plain | Manner::Canary => self.switch(run, manner, by, turn),
            Manner::Together => {
                self.rollout = Some(Rollout::Held { run });
                turn.effects.push(self.told(ChangeKind::Held(run.id), None));
            }
        }
    }

    /// The old run gets nothing any more, and nothing else happens to it yet.
    pub(super) fn park(&mut self, old: Run, manner: Manner, turn: &mut Turn<'_>) -> Rollout {
        let bake = self.definition.spec.cluster.bake;
        turn.effects.push(Effect::Steer { run: old.id, standing: Standing::Parked });
        turn.effects.push(self.told(ChangeKind::Parked { run: old.id, bake }, None));
        Rollout::Baking { run: old, manner, until: turn.now.after(bake) }
    }

    /// What fails for one fails for all that are replaced together with it.
    pub(super) fn spoil(&self, manner: Manner, turn: &mut Turn<'_>) {
        if manner == Manner::Together {
            let name = format!("{}:{}", self.definition.spec.name, self.instance);
            turn.spoiled.push((self.app, name));
        }
    }

    pub(super) fn leave_unspawned(&mut self, run: Run, turn: &mut Turn<'_>) {
        let at = turn.now.after(self.definition.spec.stop.kill_timeout);
        self.rollout = Some(Rollout::Leaving { run, stage: Stage::Unspawned, at });
    }

    pub(super) fn drain_aside(&mut self, run: Run, turn: &mut Turn<'_>) {
        let (stage, at) = self.begin_drain(run, turn);
        self.rollout = Some(Rollout::Leaving { run, stage, at });
    }

    /// The old run that could take over again from this one, if that is on trial.
    pub(super) fn on_trial(&self, new: Run) -> Option<(Run, Manner)> {
        match (&self.phase, &self.rollout) {
            (Phase::Online { run }, Some(Rollout::Baking { run: old, manner, .. })) if run.id == new.id => {
                Some((*old, *manner))
            }
            (_, _) => None,
        }
    }

    /// The old run takes its place again.
    pub(super) fn take_back(&mut self, (old, new): (Run, Run), reason: String, turn: &mut Turn<'_>) {
        self.phase = Phase::Online { run: old };
        self.last_run = Some(old.id);
        self.rollout = None;
        self.lives.reset();
        self.failed =
            Some(crate::supervisor::slot::Failed { generation: self.launched, run: new.id, reason: reason.clone() });
        turn.effects.push(Effect::Steer { run: old.id, standing: Slot::serves_as(&old) });
        turn.effects.push(self.told(ChangeKind::RolledBack { run: old.id, failed: new.id, reason }, None));
    }

    /// The main process of a run on trial ended.
    pub(super) fn on_exited_on_trial(
        &mut self,
        (old, new): (Run, Run),
        status: ExitStatus,
        left: Left,
        turn: &mut Turn<'_>,
    ) {
        let stop = &self.definition.spec.stop;
        let (signal, at) = (stop.signal, turn.now.after(stop.kill_timeout));
        let left = if stop.treekill { left } else { Left::Nothing };
        let uptime = turn.now.since(new.started);
        let ended = self.ended(new.id, status);
        let reason = format!("{ended} after {}, {}", in_words(uptime), self.on_trial_in_words());
        let by = self.ended_by(new.id, Cause::Ended);
        self.remember(new, Some(status), (reason.clone(), by), turn);
        turn.effects.push(self.told(ChangeKind::Exited { run: new.id, status, uptime, asked: false, left }, None));
        self.take_back((old, new), reason, turn);
        if left == Left::Survivors {
            turn.effects.push(Effect::Signal { run: new.id, signal, whom: Whom::Survivors });
            self.rollout = Some(Rollout::Leaving { run: new, stage: Stage::Survivors(status), at });
        }
    }

    /// A run on trial is lost without having been seen to end.
    pub(super) fn on_lost_on_trial(&mut self, runs: (Run, Run), why: String, turn: &mut Turn<'_>) {
        self.take_back(runs, why, turn);
    }

    fn on_trial_in_words(&self) -> String {
        format!("on trial for {}", in_words(self.definition.spec.cluster.bake))
    }

    /// Gives up what a reload has begun here; what ran before goes on, or takes over again. Returns whether there was any.
    pub(super) fn abandon(&mut self, reason: String, turn: &mut Turn<'_>) -> bool {
        match (self.rollout.clone(), self.phase.clone()) {
            (Some(Rollout::Asked { .. }), _) => self.rollout = None,
            (Some(Rollout::Launch { run, .. }), _) => {
                self.abort(run, reason, turn);
                self.leave_unspawned(run, turn);
            }
            (Some(Rollout::AwaitReady { run, .. } | Rollout::Held { run }), _) => {
                self.abort(run, reason, turn);
                self.ask_aside(run, turn);
            }
            (Some(Rollout::Baking { run: old, .. }), Phase::Online { run: new }) => {
                self.take_back((old, new), reason, turn);
                // It has connections by now.
                self.drain_aside(new, turn);
            }
            (Some(Rollout::Baking { .. } | Rollout::Leaving { .. }) | None, _) => return false,
        }
        true
    }

    /// Whether a reload can still be taken back here.
    fn may_be_abandoned(&self) -> bool {
        match &self.rollout {
            Some(Rollout::Asked { .. } | Rollout::Launch { .. } | Rollout::AwaitReady { .. }) => true,
            Some(Rollout::Held { .. } | Rollout::Baking { .. }) => true,
            Some(Rollout::Leaving { .. }) | None => false,
        }
    }
}

impl Supervisor {
    /// Switches what is replaced together and ready, and gives up what one of them has failed. Returns whose slots moved.
    pub(super) fn agree(&mut self, now: Time, effects: &mut Vec<Effect>) -> Vec<SlotId> {
        let mut moved = Vec::new();
        for (app, name) in std::mem::take(&mut self.spoiled) {
            let together = |slot: &&mut Slot| slot.app == app && slot.manner() == Manner::Together;
            for slot in self.slots.values_mut().filter(together) {
                let mut turn = Turn { now, effects, next_run: &mut self.next_run, dice: 0, spoiled: &mut self.spoiled };
                slot.abandon(format!("`{name}` failed"), &mut turn);
                moved.push(slot.id);
            }
        }
        let held = self.slots.values().filter(|slot| matches!(slot.rollout, Some(Rollout::Held { .. })));
        let held: BTreeSet<AppId> = held.map(|slot| slot.app).collect();
        for app in held {
            let of_app = || self.slots.values().filter(|slot| slot.app == app);
            let is_awaited = |slot: &Slot| match &slot.rollout {
                Some(Rollout::Asked { .. } | Rollout::Launch { .. } | Rollout::AwaitReady { .. }) => {
                    slot.manner() == Manner::Together
                }
                Some(Rollout::Held { .. } | Rollout::Baking { .. } | Rollout::Leaving { .. }) | None => false,
            };
            if of_app().any(is_awaited) {
                continue;
            }
            for slot in self.slots.values_mut().filter(|slot| slot.app == app) {
                if let Some(Rollout::Held { run }) = slot.rollout {
                    let mut turn =
                        Turn { now, effects, next_run: &mut self.next_run, dice: 0, spoiled: &mut self.spoiled };
                    slot.switch(run, Manner::Together, shown_by(run), &mut turn);
                    moved.push(slot.id);
                }
            }
        }
        self.touched.extend(&moved);
        moved
    }

    /// Ends reloads: what has not been switched for good is taken back, who waits for a turn gets none.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotReloading`] when there is nothing to end.
    pub(super) fn on_abort(
        &mut self,
        now: Time,
        id: RequestId,
        who: &Arc<Who>,
        act: &Act,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<SlotId>, Refusal> {
        let slots = self.resolve(&act.targets)?;
        let queued = self.take_queued(&slots, effects);
        let begun: Vec<SlotId> =
            slots.iter().copied().filter(|id| self.slots.get(id).is_some_and(Slot::may_be_abandoned)).collect();
        if begun.is_empty() && queued.is_empty() {
            let name = slots.first().and_then(|id| self.slots.get(id)).map(|slot| slot.definition.spec.name.clone());
            return Err(Refusal::NotReloading { name: name.unwrap_or_default() });
        }
        for id in &begun {
            let Some(slot) = self.slots.get_mut(id) else { continue };
            slot.asked_by = Some(Arc::clone(who));
            let manner = slot.manner();
            let mut turn = Turn { now, effects, next_run: &mut self.next_run, dice: 0, spoiled: &mut self.spoiled };
            slot.abandon("aborted by request".to_owned(), &mut turn);
            slot.spoil(manner, &mut turn);
        }
        self.touched.extend(&begun);
        let waited = begun.iter().chain(&queued).map(|id| (*id, Want::Ready)).collect();
        self.wait(now, id, Form::Outcome, act.wait, waited);
        Ok(begun.into_iter().chain(queued).collect())
    }

    /// Takes reloads that wait for their turn out of their requests.
    fn take_queued(&mut self, slots: &[SlotId], effects: &mut Vec<Effect>) -> Vec<SlotId> {
        let mut taken = Vec::new();
        for batch in &mut self.batches {
            let is_meant = |wish: &Wish| matches!(wish.renew, Renew::Reload(_)) && slots.contains(&wish.slot);
            let (out, rest): (VecDeque<(Wish, u32)>, _) =
                std::mem::take(&mut batch.queue).into_iter().partition(|(wish, _)| is_meant(wish));
            batch.queue = rest;
            let mut waiter = self.waiters.iter_mut().find(|waiter| waiter.request == batch.request);
            for (wish, _) in out {
                let reason = "left running, because the reload was aborted".to_owned();
                let answer = SlotAnswer::Failed { reason, run: None, next: None };
                if let Some(waiter) = waiter.as_deref_mut() {
                    waiter.conclude(wish.slot, answer, self.slots.get(&wish.slot), effects);
                }
                taken.push(wish.slot);
            }
        }
        self.batches.retain(|batch| !batch.queue.is_empty());
        taken
    }

    /// Numbers what wishes will launch: an edition of an app is what one request has put in place.
    pub(super) fn number(&mut self, wishes: &[Wish]) {
        let apps: BTreeSet<AppId> = wishes.iter().filter_map(|wish| Some(self.slots.get(&wish.slot)?.app)).collect();
        for app in apps {
            let renews = |slot: &Slot| {
                wishes.iter().any(|wish| wish.slot == slot.id && matches!(wish.renew, Renew::Always | Renew::Reload(_)))
            };
            let of_app = || self.slots.values().filter(|slot| slot.app == app);
            let newest = of_app().map(|slot| slot.edition).max().unwrap_or_default();
            let is_reload = wishes.iter().any(|wish| {
                matches!(wish.renew, Renew::Reload(_)) && self.slots.get(&wish.slot).is_some_and(|slot| slot.app == app)
            });
            let edition = if newest == 0 || is_reload || of_app().all(renews) { newest + 1 } else { newest };
            for wish in wishes {
                if let Some(slot) = self.slots.get_mut(&wish.slot).filter(|slot| slot.app == app) {
                    slot.edition = edition;
                    self.touched.insert(slot.id);
                }
            }
        }
    }

    /// How the runs of an app are replaced: the first one alone, or all together.
    pub(super) fn manners(&self, app: AppId, wanted: Option<Strategy>, wishes: &mut [Wish]) {
        let Some(spec) = self.apps.get(&app).map(|app| &app.definition.spec.cluster) else { return };
        let manner = match wanted.unwrap_or(spec.strategy) {
            Strategy::BlueGreen => Manner::Together,
            Strategy::Rolling if spec.bake.is_zero() => Manner::Plain,
            Strategy::Rolling => Manner::Canary,
        };
        for (at, wish) in wishes.iter_mut().enumerate() {
            let is_alone = manner == Manner::Canary && at > 0;
            wish.renew = Renew::Reload(if is_alone { Manner::Plain } else { manner });
        }
    }
}
