//! Between the core and the records of the journal, both ways: exhaustive, so that whatever the core learns to remember is
//! noticed here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::daemon::convert;
use crate::proto::{
    CircuitRecord, ExitRecord, FailedRecord, GoalRecord, MannerRecord, PhaseRecord, RolloutRecord, RunRecord,
    SlotRecord, StageRecord,
};
use crate::supervisor::{
    AppId, Cause, Circuit, Definition, Exit, Failed, Goal, Lives, Manner, Mending, Phase, Proof, Rollout, Run, RunId,
    Slot, SlotId, Stage, Tally, Time, Weight, Who,
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
        tally: Tally { request, memory, health, watchdog, kernel },
        last_run,
        failed,
        history: _,
        complaint,
        starved,
        mending: Mending { last: mended, is_under_way },
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
        tally: [*request, *memory, *health, *watchdog, *kernel],
        last_run: last_run.map(|run| run.0),
        failed: failed.as_ref().map(|failed| {
            let Failed { generation, run, reason } = failed;
            FailedRecord { generation: *generation, run: run.0, reason: reason.clone() }
        }),
        complaint: complaint.as_ref().map(|(run, why)| (run.0, why.clone())),
        starved: starved.map(|(run, proof)| (run.0, proof == Proof::Sure)),
        mended: mended.map(Time::as_millis),
        mending: *is_under_way,
    }
}

fn run(run: &Run) -> RunRecord {
    let Run {
        id,
        started,
        was_ready,
        asked,
        mode,
        listens,
        notified,
        closing,
        interrupt_only,
        edition,
        health,
        watchdog,
    } = *run;
    RunRecord {
        id: id.0,
        started: started.as_millis(),
        was_ready,
        asked,
        mode,
        listens,
        notified,
        edition,
        closing,
        interrupt_only,
        health: health.map(circuit),
        watchdog: watchdog.map(millis),
    }
}

fn circuit(circuit: Circuit) -> CircuitRecord {
    match circuit {
        Circuit::Unproven { passes, fails } => CircuitRecord::Unproven { passes, fails },
        Circuit::Closed { fails } => CircuitRecord::Closed { fails },
        Circuit::Open { fails } => CircuitRecord::Open { fails },
        Circuit::HalfOpen { passes, fails } => CircuitRecord::HalfOpen { passes, fails },
    }
}

fn recalled_circuit(record: CircuitRecord) -> Circuit {
    match record {
        CircuitRecord::Unproven { passes, fails } => Circuit::Unproven { passes, fails },
        CircuitRecord::Closed { fails } => Circuit::Closed { fails },
        CircuitRecord::Open { fails } => Circuit::Open { fails },
        CircuitRecord::HalfOpen { passes, fails } => Circuit::HalfOpen { passes, fails },
    }
}

fn recalled_run(record: RunRecord) -> Run {
    let RunRecord {
        id,
        started,
        was_ready,
        asked,
        mode,
        listens,
        notified,
        closing,
        interrupt_only,
        edition,
        health,
        watchdog,
    } = record;
    Run {
        id: RunId(id),
        started: Time::from_millis(started),
        was_ready,
        asked,
        mode,
        listens,
        notified,
        edition,
        closing,
        interrupt_only,
        health: health.map(recalled_circuit),
        watchdog: watchdog.map(Duration::from_millis),
    }
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

pub(super) fn manner(manner: Manner) -> MannerRecord {
    match manner {
        Manner::Plain => MannerRecord::Plain,
        Manner::Canary => MannerRecord::Canary,
        Manner::Together => MannerRecord::Together,
    }
}

pub(super) fn recalled_manner(record: MannerRecord) -> Manner {
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
                Cause::Ended | Cause::Unhealthy | Cause::Hung => false,
            },
            unhealthy: *cause == Cause::Unhealthy,
            hung: *cause == Cause::Hung,
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
        tally: [request, memory, health, watchdog, kernel],
        last_run,
        failed,
        complaint,
        starved,
        mended,
        mending,
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
        tally: Tally { request, memory, health, watchdog, kernel },
        last_run: last_run.map(RunId),
        failed: failed.map(|FailedRecord { generation, run, reason }| Failed { generation, run: RunId(run), reason }),
        history,
        complaint: complaint.map(|(run, why)| (RunId(run), why)),
        starved: starved.map(|(run, is_sure)| (RunId(run), if is_sure { Proof::Sure } else { Proof::Likely })),
        mending: Mending { last: mended.map(Time::from_millis), is_under_way: mending },
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
        PhaseRecord::Stopping { run: it, asked, unhealthy, hung, stage, kill_at } => Phase::Stopping {
            run: recalled_run(it),
            cause: match (asked, unhealthy) {
                (_, _) if hung => Cause::Hung,
                (_, true) => Cause::Unhealthy,
                (true, false) => Cause::Asked,
                (false, false) => Cause::Ended,
            },
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
    let Exit { run, time, uptime, status, reason, by } = exit;
    ExitRecord {
        slot: slot.0,
        run: run.0,
        pid,
        time: time.as_millis(),
        uptime: millis(*uptime),
        status: *status,
        reason: reason.clone(),
        by: Some(convert::ended_by(*by)),
    }
}

pub(super) fn recalled_exit(record: &ExitRecord) -> Exit {
    let ExitRecord { slot: _, run, pid: _, time, uptime, status, reason, by } = record;
    Exit {
        run: RunId(*run),
        time: Time::from_millis(*time),
        uptime: Duration::from_millis(*uptime),
        status: *status,
        reason: reason.clone(),
        by: by.map(convert::recalled_ended_by).unwrap_or_default(),
    }
}
