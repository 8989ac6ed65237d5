//! Between what clients wait for and the records of the journal, both ways.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::daemon::convert;
use crate::daemon::journal::state::{manner, recalled_manner};
use crate::proto::{
    AnswerRecord, AskedRecord, BatchRecord, MannerRecord, ResultRecord, State as Shown, WaitRecord, WantRecord,
    WishRecord,
};
use crate::supervisor::{
    AppId, Batch, Form, Pending, Renew, Reply, RequestId, RunId, SlotAnswer, SlotId, SlotResult, State, Time, Waiter,
    Want, Who, Wish,
};

/// A request that waits.
pub(crate) fn waiting(key: &str, waiter: &Waiter) -> AskedRecord {
    let Waiter { request: _, form, deadline, pending, results, leaves } = waiter;
    let waits = pending.iter().map(|(slot, pending)| wait(*slot, pending));
    AskedRecord {
        key: key.to_owned(),
        plan: match form {
            Form::Applied(plan) => Some(convert::plan(plan.clone(), Time::as_millis)),
            Form::Outcome => None,
        },
        deadline: deadline.as_millis(),
        waits: waits.collect(),
        results: results.iter().map(result).collect(),
        leaves: *leaves,
    }
}

/// A request that was answered; none where nothing was done.
pub(crate) fn answered(key: &str, reply: &Reply) -> Option<AskedRecord> {
    let (plan, results) = match reply {
        Reply::Applied { plan, results } => (Some(convert::plan(plan.clone(), Time::as_millis)), results),
        Reply::Outcome(results) => (None, results),
        Reply::Refused(_) => return None,
    };
    let results = results.iter().map(result).collect();
    Some(AskedRecord { key: key.to_owned(), plan, deadline: 0, waits: Vec::new(), results, leaves: false })
}

/// The waiter of a request of an earlier daemon, under the number that it has now.
pub(crate) fn recalled_waiter(request: RequestId, record: AskedRecord) -> (String, Waiter) {
    let AskedRecord { key, plan, deadline, waits, results, leaves } = record;
    let pending = waits.into_iter().map(recalled_wait);
    let waiter = Waiter {
        request,
        form: plan.map_or(Form::Outcome, |plan| Form::Applied(convert::recalled_plan(plan))),
        deadline: Time::from_millis(deadline),
        pending: pending.collect::<BTreeMap<_, _>>(),
        results: results.into_iter().map(recalled_result).collect(),
        leaves,
    };
    (key, waiter)
}

fn wait(slot: SlotId, pending: &Pending) -> WaitRecord {
    let Pending { name, instance, want: wanted, generation, known, seen, is_held } = pending;
    WaitRecord {
        slot: slot.0,
        name: name.clone(),
        instance: *instance,
        want: want(*wanted),
        generation: *generation,
        known: known.map(|run| run.0),
        seen: shown(*seen),
        is_held: *is_held,
    }
}

fn recalled_wait(record: WaitRecord) -> (SlotId, Pending) {
    let WaitRecord { slot, name, instance, want, generation, known, seen, is_held } = record;
    let (want, known, seen) = (recalled_want(want), known.map(RunId), recalled_state(seen));
    (SlotId(slot), Pending { name, instance, want, generation, known, seen, is_held })
}

fn want(want: Want) -> WantRecord {
    match want {
        Want::Ready => WantRecord::Ready,
        Want::Down => WantRecord::Down,
        Want::Gone => WantRecord::Gone,
    }
}

fn recalled_want(want: WantRecord) -> Want {
    match want {
        WantRecord::Ready => Want::Ready,
        WantRecord::Down => Want::Down,
        WantRecord::Gone => Want::Gone,
    }
}

/// A request that has not asked all of its slots.
pub(crate) fn batch(key: Option<&str>, batch: &Batch) -> BatchRecord {
    let Batch { request: _, who, width, queue, asked, failed, canary } = batch;
    let wish = |wish: &Wish| WishRecord {
        slot: wish.slot.0,
        want: want(wish.want),
        renew: match wish.renew {
            Renew::Always | Renew::Reload(_) => Some(true),
            Renew::IfDown => Some(false),
            Renew::Never => None,
        },
        reload: matches!(wish.renew, Renew::Reload(_)),
        manner: match wish.renew {
            Renew::Reload(it) => manner(it),
            Renew::Always | Renew::IfDown | Renew::Never => MannerRecord::Plain,
        },
    };
    BatchRecord {
        key: key.map(str::to_owned),
        who: (who.uid, who.verb.clone()),
        width: *width,
        queue: queue.iter().map(|(one, wishes)| (wish(one), *wishes)).collect(),
        asked: asked.iter().map(|(slot, (pending, until))| (wait(*slot, pending), until.as_millis())).collect(),
        failed: failed.iter().map(|(app, name)| (app.0, name.clone())).collect(),
        canary: canary.map(|slot| slot.0),
    }
}

/// It goes on, under the number that its request has now.
pub(crate) fn recalled_batch(request: RequestId, record: BatchRecord) -> Batch {
    let BatchRecord { key: _, who: (uid, verb), width, queue, asked, failed, canary } = record;
    let wish = |WishRecord { slot, want, renew, reload, manner }: WishRecord| Wish {
        slot: SlotId(slot),
        want: recalled_want(want),
        renew: match renew {
            Some(true) if reload => Renew::Reload(recalled_manner(manner)),
            Some(true) => Renew::Always,
            Some(false) => Renew::IfDown,
            None => Renew::Never,
        },
    };
    let asked = asked.into_iter().map(|(record, until)| {
        let (slot, pending) = recalled_wait(record);
        (slot, (pending, Time::from_millis(until)))
    });
    Batch {
        request,
        who: Arc::new(Who { uid, verb }),
        width,
        queue: queue.into_iter().map(|(one, wishes)| (wish(one), wishes)).collect(),
        asked: asked.collect(),
        failed: failed.into_iter().map(|(app, name)| (AppId(app), name)).collect(),
        canary: canary.map(SlotId),
    }
}

fn result(result: &SlotResult) -> ResultRecord {
    let SlotResult { slot, name, instance, answer } = result;
    let answer = match answer {
        SlotAnswer::Done(state) => AnswerRecord::Done(shown(*state)),
        SlotAnswer::Failed { reason, run, next } => {
            AnswerRecord::Failed { reason: reason.clone(), run: run.map(|run| run.0), next: next.clone() }
        }
        SlotAnswer::Pending(state) => AnswerRecord::Pending(shown(*state)),
        SlotAnswer::Superseded => AnswerRecord::Superseded,
    };
    ResultRecord { slot: slot.0, name: name.clone(), instance: *instance, answer }
}

fn recalled_result(record: ResultRecord) -> SlotResult {
    let ResultRecord { slot, name, instance, answer } = record;
    let answer = match answer {
        AnswerRecord::Done(state) => SlotAnswer::Done(recalled_state(state)),
        AnswerRecord::Failed { reason, run, next } => SlotAnswer::Failed { reason, run: run.map(RunId), next },
        AnswerRecord::Pending(state) => SlotAnswer::Pending(recalled_state(state)),
        AnswerRecord::Superseded => SlotAnswer::Superseded,
    };
    SlotResult { slot: SlotId(slot), name, instance, answer }
}

/// As earlier releases know it: what a request has seen last.
fn shown(state: State) -> Shown {
    match state {
        State::Draining => Shown::Stopping,
        State::Unhealthy => Shown::Online,
        State::Online | State::Launching | State::Stopping | State::Stopped | State::Errored | State::Waiting => {
            convert::state(state)
        }
    }
}

fn recalled_state(state: Shown) -> State {
    match state {
        Shown::Online => State::Online,
        Shown::Unhealthy => State::Unhealthy,
        Shown::Launching => State::Launching,
        Shown::Draining => State::Draining,
        Shown::Stopping => State::Stopping,
        Shown::Stopped => State::Stopped,
        Shown::Errored => State::Errored,
        Shown::Waiting => State::Waiting,
    }
}
