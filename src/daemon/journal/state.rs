//! Between the core and the records of the journal, both ways: exhaustive, so that whatever the core learns to remember is
//! noticed here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::daemon::convert;
use crate::proto::{
    AnswerRecord, AskedRecord, BatchRecord, ExitRecord, FailedRecord, GoalRecord, MannerRecord, PhaseRecord,
    ResultRecord, RolloutRecord, RunRecord, SlotRecord, StageRecord, State as Shown, WaitRecord, WantRecord,
    WishRecord,
};
use crate::supervisor::{
    AppId, Batch, Cause, Definition, Exit, Failed, Form, Goal, Lives, Manner, Pending, Phase, Renew, Reply, RequestId,
    Rollout, Run, RunId, Slot, SlotAnswer, SlotId, SlotResult, Stage, State, Time, Waiter, Want, Weight, Who, Wish,
};

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A slot without its definition and its history, which have records of their own.
pub(super) fn slot(slot: &Slot) -> SlotRecord {
    let Slot {
        id,
        app,
        instance,
        definition: _,
        goal,
        parked,
        generation,
        launched,
        edition,
        wishes,
        asked_by,
        phase: now,
        rollout,
        holds_sockets,
        lives,
        weight,
        created,
        restarts,
        last_run,
        failed,
        history: _,
    } = slot;
    let Lives { unstable, backoff_step, half_open } = lives;
    SlotRecord {
        slot: id.0,
        app: app.0,
        instance: *instance,
        goal: match goal {
            Goal::Up => GoalRecord::Up,
            Goal::Down => GoalRecord::Down,
            Goal::Deleted => GoalRecord::Deleted,
        },
        parked: *parked,
        generation: *generation,
        launched: *launched,
        edition: *edition,
        wishes: *wishes,
        asked_by: asked_by.as_ref().map(|who| (who.uid, who.verb.clone())),
        phase: phase(now),
        manner: rollout.as_ref().map_or(MannerRecord::Plain, rollout_manner),
        rollout: rollout.as_ref().map(self::rollout),
        holds_sockets: *holds_sockets,
        unstable: unstable.iter().map(|time| time.as_millis()).collect(),
        backoff_step: *backoff_step,
        half_open: *half_open,
        hasty: weight.hasty,
        heavy: weight.tried.map(|(run, at)| (run.0, at.as_millis())),
        created: created.as_millis(),
        restarts: *restarts,
        last_run: last_run.map(|run| run.0),
        failed: failed.as_ref().map(|failed| {
            let Failed { generation, run, reason } = failed;
            FailedRecord { generation: *generation, run: run.0, reason: reason.clone() }
        }),
    }
}

fn run(run: &Run) -> RunRecord {
    let Run { id, started, was_ready, asked, mode, listens, notified, closing, interrupt_only, edition } = *run;
    let (id, started) = (id.0, started.as_millis());
    RunRecord { id, started, was_ready, asked, mode, listens, notified, closing, interrupt_only, edition }
}

fn recalled_run(record: RunRecord) -> Run {
    let RunRecord { id, started, was_ready, asked, mode, listens, notified, closing, interrupt_only, edition } = record;
    let (id, started) = (RunId(id), Time::from_millis(started));
    Run { id, started, was_ready, asked, mode, listens, notified, closing, interrupt_only, edition }
}

fn stage(stage: Stage) -> StageRecord {
    match stage {
        Stage::Unspawned => StageRecord::Unspawned,
        Stage::Draining => StageRecord::Draining,
        Stage::Asked => StageRecord::Asked,
        Stage::Survivors(status) => StageRecord::Survivors(status),
        Stage::Killed => StageRecord::Killed,
        Stage::KilledSurvivors(status) => StageRecord::KilledSurvivors(status),
    }
}

fn recalled_stage(record: StageRecord) -> Stage {
    match record {
        StageRecord::Unspawned => Stage::Unspawned,
        StageRecord::Draining => Stage::Draining,
        StageRecord::Asked => Stage::Asked,
        StageRecord::Survivors(status) => Stage::Survivors(status),
        StageRecord::Killed => Stage::Killed,
        StageRecord::KilledSurvivors(status) => Stage::KilledSurvivors(status),
    }
}

fn manner(manner: Manner) -> MannerRecord {
    match manner {
        Manner::Plain => MannerRecord::Plain,
        Manner::Canary => MannerRecord::Canary,
        Manner::Together => MannerRecord::Together,
    }
}

fn recalled_manner(record: MannerRecord) -> Manner {
    match record {
        MannerRecord::Plain => Manner::Plain,
        MannerRecord::Canary => Manner::Canary,
        MannerRecord::Together => Manner::Together,
    }
}

fn rollout_manner(rollout: &Rollout) -> MannerRecord {
    match rollout {
        Rollout::Asked { manner: it }
        | Rollout::Launch { manner: it, .. }
        | Rollout::AwaitReady { manner: it, .. }
        | Rollout::Baking { manner: it, .. } => manner(*it),
        Rollout::Held { .. } | Rollout::Leaving { .. } => MannerRecord::Plain,
    }
}

fn rollout(rollout: &Rollout) -> RolloutRecord {
    match rollout {
        Rollout::Asked { .. } => RolloutRecord::Asked,
        Rollout::Launch { run: it, .. } => RolloutRecord::Launch(run(it)),
        Rollout::Held { run: it } => RolloutRecord::Held(run(it)),
        Rollout::Baking { run: it, until, .. } => RolloutRecord::Baking { run: run(it), until: until.as_millis() },
        Rollout::AwaitReady { run: it, alive_at, until, .. } => RolloutRecord::AwaitReady {
            run: run(it),
            alive_at: alive_at.map(Time::as_millis),
            until: until.as_millis(),
        },
        Rollout::Leaving { run: it, stage: now, at } => {
            RolloutRecord::Leaving { run: run(it), stage: stage(*now), at: at.as_millis() }
        }
    }
}

fn recalled_rollout(record: RolloutRecord, manner: MannerRecord) -> Rollout {
    let manner = recalled_manner(manner);
    match record {
        RolloutRecord::Asked => Rollout::Asked { manner },
        RolloutRecord::Launch(run) => Rollout::Launch { run: recalled_run(run), manner },
        RolloutRecord::Held(run) => Rollout::Held { run: recalled_run(run) },
        RolloutRecord::Baking { run, until } => {
            Rollout::Baking { run: recalled_run(run), manner, until: Time::from_millis(until) }
        }
        RolloutRecord::AwaitReady { run, alive_at, until } => Rollout::AwaitReady {
            run: recalled_run(run),
            manner,
            alive_at: alive_at.map(Time::from_millis),
            until: Time::from_millis(until),
        },
        RolloutRecord::Leaving { run, stage, at } => {
            Rollout::Leaving { run: recalled_run(run), stage: recalled_stage(stage), at: Time::from_millis(at) }
        }
    }
}

fn phase(phase: &Phase) -> PhaseRecord {
    match phase {
        Phase::Stopped => PhaseRecord::Stopped,
        Phase::Launching { run: it } => PhaseRecord::Launching(run(it)),
        Phase::Starting { run: it, alive_at } => {
            PhaseRecord::Starting { run: run(it), alive_at: alive_at.map(Time::as_millis) }
        }
        Phase::Online { run: it } => PhaseRecord::Online(run(it)),
        Phase::Stopping { run: it, cause, stage: now, kill_at } => PhaseRecord::Stopping {
            run: run(it),
            asked: match cause {
                Cause::Asked => true,
                Cause::Ended => false,
            },
            stage: stage(*now),
            kill_at: kill_at.as_millis(),
        },
        Phase::Waiting { until, reason } => PhaseRecord::Waiting { until: until.as_millis(), reason: reason.clone() },
        Phase::Errored { reason, retry_at } => {
            PhaseRecord::Errored { reason: reason.clone(), retry_at: retry_at.map(Time::as_millis) }
        }
        Phase::Completed { status } => PhaseRecord::Completed(*status),
    }
}

/// A slot as it was.
pub(super) fn recalled_slot(record: SlotRecord, definition: Arc<Definition>, history: VecDeque<Exit>) -> Slot {
    let SlotRecord {
        slot,
        app,
        instance,
        goal,
        parked,
        generation,
        launched,
        edition,
        wishes,
        asked_by,
        phase,
        rollout,
        manner,
        holds_sockets,
        unstable,
        backoff_step,
        half_open,
        hasty,
        heavy,
        created,
        restarts,
        last_run,
        failed,
    } = record;
    Slot {
        id: SlotId(slot),
        app: AppId(app),
        instance,
        definition,
        goal: match goal {
            GoalRecord::Up => Goal::Up,
            GoalRecord::Down => Goal::Down,
            GoalRecord::Deleted => Goal::Deleted,
        },
        parked,
        generation,
        launched,
        edition,
        wishes,
        asked_by: asked_by.map(|(uid, verb)| Arc::new(Who { uid, verb })),
        phase: recalled_phase(phase),
        rollout: rollout.map(|record| recalled_rollout(record, manner)),
        holds_sockets,
        lives: Lives { unstable: unstable.into_iter().map(Time::from_millis).collect(), backoff_step, half_open },
        weight: Weight { hasty, tried: heavy.map(|(run, at)| (RunId(run), Time::from_millis(at))) },
        created: Time::from_millis(created),
        restarts,
        last_run: last_run.map(RunId),
        failed: failed.map(|FailedRecord { generation, run, reason }| Failed { generation, run: RunId(run), reason }),
        history,
    }
}

fn recalled_phase(phase: PhaseRecord) -> Phase {
    match phase {
        PhaseRecord::Stopped => Phase::Stopped,
        PhaseRecord::Launching(it) => Phase::Launching { run: recalled_run(it) },
        PhaseRecord::Starting { run: it, alive_at } => {
            Phase::Starting { run: recalled_run(it), alive_at: alive_at.map(Time::from_millis) }
        }
        PhaseRecord::Online(it) => Phase::Online { run: recalled_run(it) },
        PhaseRecord::Stopping { run: it, asked, stage, kill_at } => Phase::Stopping {
            run: recalled_run(it),
            cause: if asked { Cause::Asked } else { Cause::Ended },
            stage: recalled_stage(stage),
            kill_at: Time::from_millis(kill_at),
        },
        PhaseRecord::Waiting { until, reason } => Phase::Waiting { until: Time::from_millis(until), reason },
        PhaseRecord::Errored { reason, retry_at } => {
            Phase::Errored { reason, retry_at: retry_at.map(Time::from_millis) }
        }
        PhaseRecord::Completed(status) => Phase::Completed { status },
    }
}

pub(super) fn exit(slot: SlotId, exit: &Exit, pid: u32) -> ExitRecord {
    let Exit { run, time, uptime, status, reason } = exit;
    ExitRecord {
        slot: slot.0,
        run: run.0,
        pid,
        time: time.as_millis(),
        uptime: millis(*uptime),
        status: *status,
        reason: reason.clone(),
    }
}

pub(super) fn recalled_exit(record: &ExitRecord) -> Exit {
    let ExitRecord { slot: _, run, pid: _, time, uptime, status, reason } = record;
    Exit {
        run: RunId(*run),
        time: Time::from_millis(*time),
        uptime: Duration::from_millis(*uptime),
        status: *status,
        reason: reason.clone(),
    }
}

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
        State::Online | State::Launching | State::Stopping | State::Stopped | State::Errored | State::Waiting => {
            convert::state(state)
        }
    }
}

fn recalled_state(state: Shown) -> State {
    match state {
        Shown::Online => State::Online,
        Shown::Launching => State::Launching,
        Shown::Draining => State::Draining,
        Shown::Stopping => State::Stopping,
        Shown::Stopped => State::Stopped,
        Shown::Errored => State::Errored,
        Shown::Waiting => State::Waiting,
    }
}
