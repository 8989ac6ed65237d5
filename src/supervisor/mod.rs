//! **The core**: what is wanted of every slot, what is, and what to do about the difference.
//!
//! Pure: [`Supervisor::handle`] takes the moment and one event and pushes effects. It cannot fail, block, sleep, read a
//! clock or spawn; the same events give the same effects. The shell (`daemon`) feeds it and carries the effects out.
//!
//! `slot.rs` has the state machine of one slot with its picture and `steps.rs` its steps, `restart.rs` what follows an end, `sayings.rs` what runs say of themselves,
//! `rollout.rs` the second run of a slot during a reload, `trial.rs` what a reload keeps until it is sure, `memory.rs` what a successor takes over,
//! `asks.rs` what clients can ask, `requests.rs` what each request wants, `comeback.rs` what an earlier daemon ran, `apply.rs` the plan of `start FILE`, `amend.rs` new values, `resize.rs` the number of slots, `targets.rs` what a target means,
//! `weight.rs` what follows when a run takes too much memory, `watchdog.rs` when one hangs,
//! `circuit.rs` what the answers to health checks make of a run, `health.rs` when it is asked and what follows,
//! `waiters.rs` who waits for which answer, `batch.rs` who is asked later.

mod amend;
mod answers;
mod apply;
mod asks;
mod batch;
mod circuit;
mod comeback;
mod health;
mod memory;
mod requests;
mod resize;
mod restart;
mod rollout;
mod sayings;
mod slot;
mod steps;
mod targets;
mod trial;
mod vocabulary;
mod waiters;
mod watchdog;
mod weight;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::supervisor::slot::Turn;

pub(crate) use batch::{Batch, Wish};
pub(crate) use circuit::Circuit;
pub(crate) use health::Mending;
pub(crate) use memory::Counters;
pub(crate) use requests::Renew;
pub(crate) use restart::Lives;
pub(crate) use rollout::{Doing, Manner, Rollout};
pub(crate) use slot::{Cause, Failed, Goal, Phase, Run, Slot, Stage};
pub(crate) use waiters::{Form, Pending, Waiter, Want};
pub(crate) use weight::Weight;

pub use answers::{
    Change, ChangeKind, EndedBy, Exit, PlanAction, PlanStep, Refusal, Reply, SlotAnswer, SlotResult, State, Tally, Then,
};
pub use asks::{Act, Apply, Ask, Count, Scale, Target, Unchanged, Wait};
pub use targets::{Candidate, resolve};
pub use vocabulary::{
    Definition, Effect, Event, Finding, Hang, Lasting, Left, Proof, ReadyBy, Remaining, RequestId, Resolve, RunId,
    SlotId, Standing, Time, Wanted, Who, Whom,
};

/// An app's place in the core; never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AppId(pub(crate) u32);

/// One app.
#[derive(Debug)]
struct App {
    definition: Arc<Definition>,
    /// Whether most of its instances look ill, so that health does not count for steering.
    ignores_health: bool,
}

/// The core.
#[derive(Debug)]
pub struct Supervisor {
    apps: BTreeMap<AppId, App>,
    slots: BTreeMap<SlotId, Slot>,
    waiters: Vec<Waiter>,
    batches: Vec<Batch>,
    next_app: u32,
    next_slot: u32,
    next_run: u64,
    dice: u64,
    leaving: bool,
    /// Counts changes of what [`Supervisor::wanted`] says.
    wanted_version: u64,
    /// Slots that a journal does not know of as they are.
    touched: BTreeSet<SlotId>,
    /// Apps of which runs that are replaced together have failed, and which; empty between two events.
    spoiled: Vec<(AppId, String)>,
    schedule: health::Schedule,
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
    /// Which edition of its app that run belongs to; 0: none.
    pub edition: u32,
    /// The second run that a reload brings, or leaves behind.
    pub second: Option<Second>,
    /// When a request started it last.
    pub created: Time,
    /// How often it was restarted.
    pub restarts: u32,
    /// What for.
    pub tally: Tally,
    /// How many unstable lives count at the moment.
    pub unstable: usize,
    /// The run whose connections are being ended: that one, or the one that it has replaced.
    pub draining: Option<RunId>,
    /// When it is tried again.
    pub next_attempt: Option<Time>,
    /// Why it waits or was given up.
    pub reason: Option<&'a str>,
    /// The last exits, newest first.
    pub history: Vec<&'a Exit>,
    /// What its health checks have made of it; none: there are none.
    pub health: Option<Health>,
}

/// What health checks have made of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Where it is.
    pub circuit: CircuitState,
    /// How many checks have failed in a row, or since it was taken out.
    pub fails: u16,
    /// Whether steering does not care, because most instances look ill.
    pub is_ignored: bool,
}

/// Where a run is, by its health checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// It has not been well yet.
    Unproven,
    /// It is well.
    Closed,
    /// It is ill.
    Open,
    /// It is better.
    HalfOpen,
}

/// The second run of a slot, for readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Second {
    /// The run.
    pub run: RunId,
    /// When it was spawned.
    pub started: Time,
    /// Which edition of its app it belongs to.
    pub edition: u32,
    /// Where it is.
    pub state: SecondState,
    /// When that ends at the latest, if there is such a time.
    pub until: Option<Time>,
}

/// Where the second run of a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondState {
    /// It is not ready yet.
    Launching,
    /// It is ready, and waits for others.
    Held,
    /// It was replaced, and could take over again.
    Parked,
    /// Its connections are being ended.
    Draining,
    /// It was asked to end.
    Stopping,
}

impl Supervisor {
    /// An empty core. `seed` feeds the jitter of the backoff.
    pub fn new(seed: u64) -> Supervisor {
        Supervisor {
            apps: BTreeMap::new(),
            slots: BTreeMap::new(),
            waiters: Vec::new(),
            batches: Vec::new(),
            next_app: 0,
            next_slot: 0,
            next_run: 0,
            dice: seed | 1,
            leaving: false,
            wanted_version: 0,
            touched: BTreeSet::new(),
            spoiled: Vec::new(),
            schedule: health::Schedule::default(),
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
            Event::Ready { run, by } => {
                let moved = self.on_run(now, run, effects, |slot, turn| slot.on_ready(run, by, turn));
                self.ask_soon(now, run, &moved);
                moved
            }
            Event::Checked { run, finding } => self.on_checked(now, run, finding, effects),
            Event::Closing { run } => self.on_run(now, run, effects, |slot, turn| slot.on_closing(run, turn)),
            Event::Guarded { run, limit } => {
                self.on_run(now, run, effects, |slot, turn| slot.on_guarded(run, limit, turn))
            }
            Event::Hung { run, hang } => self.on_run(now, run, effects, |slot, turn| slot.on_hung(run, hang, turn)),
            Event::Starved { run, proof } => {
                self.on_run(now, run, effects, |slot, turn| slot.on_starved(run, proof, turn))
            }
            Event::Heeds { run, interrupt_only } => {
                self.on_run(now, run, effects, |slot, _| slot.on_heeds(run, interrupt_only))
            }
            Event::Exited { run, status, left } => {
                self.on_run(now, run, effects, |slot, turn| slot.on_exited(run, status, left, turn))
            }
            Event::Drained { run } => self.on_run(now, run, effects, |slot, turn| slot.on_drained(run, turn)),
            Event::Weighed { run, memory } => {
                let awaited = self.awaits_reload();
                self.on_run(now, run, effects, |slot, turn| {
                    slot.on_weighed(run, memory, awaited.contains(&slot.id), turn);
                })
            }
            Event::Remaining { run, remaining } => {
                self.on_remaining(run, remaining, effects);
                Vec::new()
            }
            Event::Gone { run } => self.on_run(now, run, effects, |slot, turn| slot.on_gone(run, turn)),
            Event::Tick => Vec::new(),
        };
        self.settle(now, moved, effects);
    }

    /// When [`Event::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Time> {
        let slots = self.slots.values().filter_map(Slot::deadline);
        let batches = self.batches.iter().filter_map(Batch::deadline);
        let waiters = self.waiters.iter().map(Waiter::deadline);
        slots.chain(waiters).chain(batches).chain(self.schedule.next()).min()
    }

    /// Whether a shutdown was asked for.
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Everything readers may know, app by app in the order of their first id.
    pub fn facts(&self, now: Time) -> Vec<(&Arc<Definition>, Vec<SlotFacts<'_>>)> {
        let mut by_app: BTreeMap<AppId, Vec<SlotFacts<'_>>> = BTreeMap::new();
        for slot in self.slots.values() {
            let is_ignored = self.apps.get(&slot.app).is_some_and(|app| app.ignores_health);
            by_app.entry(slot.app).or_default().push(facts(slot, is_ignored, now));
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
                    .map(|slot| (slot.id, slot.instance, slot.is_wanted_up() || slot.parked))
                    .collect(),
            })
            .filter(|wanted| !wanted.slots.is_empty())
            .collect()
    }

    /// How many slots wait for [`Ask::Resurrect`].
    pub fn parked(&self) -> usize {
        self.slots.values().filter(|slot| slot.parked).count()
    }

    /// Counts changes of [`Supervisor::wanted`].
    pub fn wanted_version(&self) -> u64 {
        self.wanted_version
    }

    /// Tells those who wait for the end of a run what it still has to do.
    fn on_remaining(&self, run: RunId, remaining: Remaining, effects: &mut Vec<Effect>) {
        for slot in self.slots.values().filter(|slot| slot.draining() == Some(run)) {
            self.waiters.iter().for_each(|waiter| waiter.tell(slot, remaining, effects));
        }
    }

    fn on_run(
        &mut self,
        now: Time,
        run: RunId,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Slot, &mut Turn<'_>),
    ) -> Vec<SlotId> {
        let dice = self.roll();
        let Some(slot) = self.slots.values_mut().find(|slot| slot.runs().iter().any(|(other, _)| other.id == run))
        else {
            return Vec::new();
        };
        let spoiled = &mut self.spoiled;
        act(slot, &mut Turn { now, effects, next_run: &mut self.next_run, dice, spoiled });
        vec![slot.id]
    }

    /// Lets every slot that moved, or whose deadline has passed, compare wish and fact; then answers who waited for it.
    fn settle(&mut self, now: Time, mut moved: Vec<SlotId>, effects: &mut Vec<Effect>) {
        moved
            .extend(self.slots.values().filter(|slot| slot.deadline().is_some_and(|at| at <= now)).map(|slot| slot.id));
        loop {
            moved.sort_unstable();
            moved.dedup();
            self.settle_slots(now, &moved, effects);
            let mut agreed = self.agree(now, effects);
            agreed.extend(self.mend(now, &moved, effects));
            self.settle_slots(now, &agreed, effects);
            moved.extend(agreed);
            self.enlist(now, &moved);
            self.doubt(&moved, effects);
            for waiter in &mut self.waiters {
                for id in &moved {
                    waiter.observe(*id, self.slots.get(id), now, effects);
                }
            }
            // Who is there makes room for who waits for a turn. Ends, because each round takes from their queues.
            moved = self.advance_batches(now, effects);
            if moved.is_empty() {
                break;
            }
        }
        self.ask_health(now, effects);
        self.waiters.iter_mut().filter(|waiter| waiter.deadline() <= now).for_each(Waiter::give_up);
        self.answer(effects);
    }

    fn settle_slots(&mut self, now: Time, moved: &[SlotId], effects: &mut Vec<Effect>) {
        self.touched.extend(moved);
        for id in moved {
            let dice = self.roll();
            let Some(slot) = self.slots.get_mut(id) else { continue };
            let spoiled = &mut self.spoiled;
            let mut turn = Turn { now, effects, next_run: &mut self.next_run, dice, spoiled };
            slot.settle(&mut turn);
            // A crash with no pause, or a stop of something that waits, has a second step at once.
            slot.settle(&mut turn);
            slot.let_sockets_go(&mut turn);
            // A successor must not do a finished job once more.
            if matches!(slot.phase, Phase::Completed { .. }) {
                self.wanted_version += 1;
            }
            if slot.goal == Goal::Deleted && slot.is_down() {
                self.remove(*id, effects);
            }
        }
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

    fn slots_of(&self, app: AppId) -> Vec<SlotId> {
        self.slots.values().filter(|slot| slot.app == app).map(|slot| slot.id).collect()
    }

    fn remove(&mut self, id: SlotId, effects: &mut Vec<Effect>) {
        let Some(slot) = self.slots.remove(&id) else { return };
        self.touched.insert(id);
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

fn facts(slot: &Slot, is_ignored: bool, now: Time) -> SlotFacts<'_> {
    let (next_attempt, reason) = match &slot.phase {
        Phase::Waiting { until, reason } => (Some(*until), Some(reason.as_str())),
        Phase::Errored { reason, retry_at } => (*retry_at, Some(reason.as_str())),
        Phase::Stopped | Phase::Launching { .. } | Phase::Stopping { .. } | Phase::Completed { .. } => (None, None),
        Phase::Starting { run, .. } | Phase::Online { run }
            if matches!(run.health, Some(Circuit::Closed { .. }) | None) =>
        {
            (None, None)
        }
        Phase::Starting { run, .. } | Phase::Online { run } => {
            (None, slot.complaint.as_ref().filter(|(of, _)| *of == run.id).map(|(_, why)| why.as_str()))
        }
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
        edition: run.map_or(0, |run| run.edition),
        second: second(slot),
        created: slot.created,
        restarts: slot.restarts,
        tally: slot.tally,
        unstable: slot.lives.unstable(now),
        draining: slot.draining(),
        next_attempt,
        reason,
        history: slot.history.iter().collect(),
        health: run.and_then(|run| health(slot, run, is_ignored)),
    }
}

fn health(slot: &Slot, run: Run, is_ignored: bool) -> Option<Health> {
    let (circuit, spec) = run.health.zip(slot.definition.spec.health.as_ref())?;
    let state = match circuit {
        Circuit::Unproven { .. } => CircuitState::Unproven,
        Circuit::Closed { .. } => CircuitState::Closed,
        Circuit::Open { .. } => CircuitState::Open,
        Circuit::HalfOpen { .. } => CircuitState::HalfOpen,
    };
    Some(Health { circuit: state, fails: circuit.fails(spec), is_ignored })
}

fn second(slot: &Slot) -> Option<Second> {
    let rollout = slot.rollout.as_ref()?;
    let run = rollout.run()?;
    let (state, until) = match rollout {
        Rollout::Asked { .. } | Rollout::Launch { .. } => (SecondState::Launching, None),
        Rollout::AwaitReady { until, .. } => (SecondState::Launching, Some(*until)),
        Rollout::Held { .. } => (SecondState::Held, None),
        Rollout::Baking { until, .. } => (SecondState::Parked, Some(*until)),
        Rollout::Leaving { stage: Stage::Draining, at, .. } => (SecondState::Draining, Some(*at)),
        Rollout::Leaving { at, .. } => (SecondState::Stopping, Some(*at)),
    };
    Some(Second { run: run.id, started: run.started, edition: run.edition, state, until })
}
