//! Requests that wait for their answer: each is answered exactly once, when its goal holds or cannot hold any more.

use std::collections::BTreeMap;

use crate::supervisor::restart::in_words;
use crate::supervisor::slot::{Goal, Phase, Slot};
use crate::supervisor::{
    Effect, PlanStep, Remaining, Reply, RequestId, RunId, SlotAnswer, SlotId, SlotResult, State, Time,
};

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// A launch of at least the noted generation is ready.
    Ready,
    /// Nothing runs.
    Down,
    /// The slot is no more.
    Gone,
}

/// The form of the answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Form {
    /// [`Reply::Applied`] with this plan.
    Applied(Vec<PlanStep>),
    /// [`Reply::Outcome`].
    Outcome,
}

/// One slot that a request waits for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pending {
    pub(crate) name: String,
    pub(crate) instance: u16,
    pub(crate) want: Want,
    pub(crate) generation: u32,
    /// The failed run that was known of when the request came: that is not its answer.
    pub(crate) known: Option<RunId>,
    pub(crate) seen: State,
    /// It has not been asked yet, so nothing that it does is an answer.
    pub(crate) is_held: bool,
}

impl Pending {
    /// This slot, asked just now.
    pub(super) fn new(slot: &Slot, want: Want) -> Pending {
        Pending {
            name: slot.definition.spec.name.clone(),
            instance: slot.instance,
            want,
            generation: if slot.generation > 0 { slot.generation } else { slot.launched },
            known: slot.failed.as_ref().map(|failed| failed.run),
            seen: on_the_way(slot.state()),
            is_held: false,
        }
    }

    /// Whether what was wanted of the slot holds, or cannot hold any more. `None` as a slot: it is no more.
    pub(super) fn judge(&self, slot: Option<&Slot>, now: Time) -> Option<SlotAnswer> {
        let Some(slot) = slot else {
            return Some(match self.want {
                Want::Gone => SlotAnswer::Done(State::Stopped),
                Want::Ready | Want::Down => SlotAnswer::Superseded,
            });
        };
        match self.want {
            Want::Gone => (slot.goal != Goal::Deleted).then_some(SlotAnswer::Superseded),
            Want::Down => match (slot.goal, &slot.phase) {
                (Goal::Up, _) => Some(SlotAnswer::Superseded),
                (Goal::Down | Goal::Deleted, Phase::Stopped) if slot.rollout.is_none() => {
                    Some(SlotAnswer::Done(State::Stopped))
                }
                (Goal::Down | Goal::Deleted, _) => None,
            },
            Want::Ready if slot.goal != Goal::Up => Some(SlotAnswer::Superseded),
            // A reload has its answer when there is one run again.
            Want::Ready if slot.launched < self.generation || slot.rollout.is_some() => None,
            Want::Ready => ready(self, slot, now),
        }
    }
}

/// One request that waits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Waiter {
    pub(crate) request: RequestId,
    pub(crate) form: Form,
    pub(crate) deadline: Time,
    pub(crate) pending: BTreeMap<SlotId, Pending>,
    pub(crate) results: Vec<SlotResult>,
    /// The daemon leaves when this one is answered.
    pub(crate) leaves: bool,
}

impl Waiter {
    pub(crate) fn new(request: RequestId, form: Form, deadline: Time) -> Waiter {
        Waiter { request, form, deadline, pending: BTreeMap::new(), results: Vec::new(), leaves: false }
    }

    /// Waits for this slot, too, which was asked just now.
    pub(super) fn add(&mut self, slot: &Slot, want: Want) {
        self.pending.insert(slot.id, Pending::new(slot, want));
    }

    /// Waits for this slot, too, which is asked later.
    pub(super) fn hold(&mut self, slot: &Slot, want: Want) {
        self.pending.insert(slot.id, Pending { is_held: true, ..Pending::new(slot, want) });
    }

    /// Answers for a slot that is not asked after all.
    pub(super) fn conclude(&mut self, id: SlotId, answer: SlotAnswer, slot: Option<&Slot>, effects: &mut Vec<Effect>) {
        let state = slot.map_or(State::Stopped, Slot::state);
        if let Some(pending) = self.pending.remove(&id) {
            self.finish(id, pending, Some(answer), state, effects);
        }
    }

    pub(super) fn request(&self) -> RequestId {
        self.request
    }

    pub(super) fn deadline(&self) -> Time {
        self.deadline
    }

    pub(super) fn is_done(&self) -> bool {
        self.pending.is_empty()
    }

    /// Looks at one slot that may have changed; `None`: it is no more.
    pub(super) fn observe(&mut self, id: SlotId, slot: Option<&Slot>, now: Time, effects: &mut Vec<Effect>) {
        let Some(mut pending) = self.pending.remove(&id) else { return };
        let state = slot.map_or(State::Stopped, Slot::state);
        let answer = if pending.is_held { None } else { pending.judge(slot, now) };
        if answer.is_none() && on_the_way(state) == pending.seen {
            self.pending.insert(id, pending);
            return;
        }
        pending.seen = on_the_way(state);
        self.finish(id, pending, answer, state, effects);
    }

    /// Keeps the answer, if there is one by now, and tells of the step.
    fn finish(
        &mut self,
        id: SlotId,
        pending: Pending,
        answer: Option<SlotAnswer>,
        state: State,
        effects: &mut Vec<Effect>,
    ) {
        let (name, instance) = (pending.name.clone(), pending.instance);
        match answer {
            Some(answer) => self.results.push(SlotResult { slot: id, name: name.clone(), instance, answer }),
            None => drop(self.pending.insert(id, pending)),
        }
        let (done, of) = self.progress();
        effects.push(Effect::Progress { to: self.request, slot: id, name, instance, state, done, of, remaining: None });
    }

    /// Tells what the run is still doing whose end is waited for.
    pub(super) fn tell(&self, slot: &Slot, remaining: Remaining, effects: &mut Vec<Effect>) {
        let Some(pending) = self.pending.get(&slot.id).filter(|pending| !pending.is_held) else { return };
        let (done, of) = self.progress();
        effects.push(Effect::Progress {
            to: self.request,
            slot: slot.id,
            name: pending.name.clone(),
            instance: pending.instance,
            state: slot.state(),
            done,
            of,
            remaining: Some(remaining),
        });
    }

    /// How many slots have their answer, and of how many.
    fn progress(&self) -> (u32, u32) {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        (count(self.results.len()), count(self.pending.len() + self.results.len()))
    }

    /// The time is over: what is open goes on without this request.
    pub(super) fn give_up(&mut self) {
        for (slot, pending) in std::mem::take(&mut self.pending) {
            let answer = SlotAnswer::Pending(pending.seen);
            self.results.push(SlotResult { slot, name: pending.name, instance: pending.instance, answer });
        }
    }

    /// The answer, once.
    pub(super) fn into_reply(mut self) -> Effect {
        self.results.sort_by_key(|result| result.slot);
        let reply = match self.form {
            Form::Applied(plan) => Reply::Applied { plan, results: self.results },
            Form::Outcome => Reply::Outcome(self.results),
        };
        Effect::Reply { to: self.request, reply }
    }
}

/// What counts as a step: that a run is asked to end after it was drained is none, and its records know no such state.
fn on_the_way(state: State) -> State {
    match state {
        State::Draining => State::Stopping,
        State::Unhealthy => State::Online,
        State::Online | State::Launching | State::Stopping | State::Stopped | State::Errored | State::Waiting => state,
    }
}

fn ready(pending: &Pending, slot: &Slot, now: Time) -> Option<SlotAnswer> {
    let next = match &slot.phase {
        Phase::Waiting { .. } | Phase::Launching { .. } | Phase::Starting { .. } => {
            Some("it is being restarted".to_owned())
        }
        Phase::Errored { retry_at: Some(at), .. } => Some(format!("it is tried again in {}", in_words(at.since(now)))),
        Phase::Errored { retry_at: None, .. }
        | Phase::Completed { .. }
        | Phase::Stopped
        | Phase::Stopping { .. }
        | Phase::Online { .. } => None,
    };
    match (&slot.phase, &slot.failed) {
        // The run of a reload, and what it was to replace goes on.
        (Phase::Online { .. }, Some(failed))
            if failed.generation >= pending.generation && pending.known != Some(failed.run) =>
        {
            let next = Some("the instance that ran before goes on".to_owned());
            Some(SlotAnswer::Failed { reason: failed.reason.clone(), run: Some(failed.run), next })
        }
        (Phase::Online { .. }, _) => Some(SlotAnswer::Done(State::Online)),
        (Phase::Stopping { .. }, _) => None,
        (_, Some(failed)) if failed.generation >= pending.generation && pending.known != Some(failed.run) => {
            Some(SlotAnswer::Failed { reason: failed.reason.clone(), run: Some(failed.run), next })
        }
        (Phase::Completed { status }, _) if status.is_success() => Some(SlotAnswer::Done(State::Stopped)),
        (Phase::Completed { status }, _) => {
            Some(SlotAnswer::Failed { reason: status.to_string(), run: slot.last_run, next: None })
        }
        (Phase::Errored { reason, .. }, _) => {
            Some(SlotAnswer::Failed { reason: reason.clone(), run: slot.last_run, next })
        }
        (Phase::Stopped | Phase::Launching { .. } | Phase::Starting { .. } | Phase::Waiting { .. }, _) => None,
    }
}
