//! Between the wire's words and the core's: exhaustive, so that a new word on either side is noticed here.

use std::borrow::Cow;
use std::sync::Arc;

use crate::proto;
use crate::spec::Origin;
use crate::supervisor as core;

/// A call that the core answers, in its words.
pub(super) fn ask(call: proto::Call) -> Option<core::Ask> {
    Some(match call {
        proto::Call::Apply(apply) => core::Ask::Apply(core::Apply {
            apps: apply.apps.into_iter().map(|app| (app.spec, app.stamp)).collect(),
            inherited: Arc::new(apply.inherited),
            unchanged: match apply.unchanged {
                proto::Unchanged::Leave => core::Unchanged::Leave,
                proto::Unchanged::Restart => core::Unchanged::Restart,
                proto::Unchanged::Reload => core::Unchanged::Reload,
            },
            dry_run: apply.dry_run,
            prune: apply.prune,
            force: apply.force,
            update_env: apply.update_env,
            parallel: apply.parallel,
            strategy: apply.strategy,
            wait: wait(apply.no_wait),
        }),
        proto::Call::Start(a) => core::Ask::Start(act(a)),
        proto::Call::Stop(a) => core::Ask::Stop(act(a)),
        proto::Call::Restart(a) => core::Ask::Restart(act(a)),
        proto::Call::Reload(a) => core::Ask::Reload(act(a)),
        proto::Call::AbortReload(a) => core::Ask::AbortReload(act(a)),
        proto::Call::Delete(a) => core::Ask::Delete(act(a)),
        proto::Call::Kill => core::Ask::Shutdown,
        proto::Call::Reset(a) => core::Ask::Reset(act(a)),
        proto::Call::Scale(scale) => core::Ask::Scale(core::Scale {
            targets: targets(scale.targets),
            count: match scale.count {
                proto::Count::To(count) => core::Count::To(count),
                proto::Count::By(difference) => core::Count::By(difference),
            },
            wait: wait(scale.no_wait),
        }),
        proto::Call::Signal(call) => core::Ask::Signal { targets: targets(call.targets), signal: call.signal },
        proto::Call::Hello(_)
        | proto::Call::Ping
        | proto::Call::View(_)
        | proto::Call::Events(_)
        | proto::Call::Past(_)
        | proto::Call::History(_)
        | proto::Call::Env(_)
        | proto::Call::Send(_)
        | proto::Call::Flush(_)
        | proto::Call::Rotate(_)
        | proto::Call::ReloadLogs
        | proto::Call::Save
        | proto::Call::Update(_)
        | proto::Call::Resurrect(_) => return None,
    })
}

fn act(act: proto::Act) -> core::Act {
    core::Act {
        targets: targets(act.targets),
        update_env: act.update_env.map(Arc::new),
        changes: act.changes,
        parallel: act.parallel,
        strategy: act.strategy,
        wait: wait(act.no_wait),
    }
}

pub(super) fn wait(no_wait: bool) -> core::Wait {
    if no_wait { core::Wait::No } else { core::Wait::UntilDone }
}

pub(super) fn targets(targets: Vec<proto::Target>) -> Vec<core::Target> {
    targets.into_iter().map(target).collect()
}

fn target(target: proto::Target) -> core::Target {
    match target {
        proto::Target::Word(word) => core::Target::Word(word),
        proto::Target::File { path, names } => core::Target::File { path, names },
        proto::Target::Script(path) => core::Target::Script(path),
    }
}

pub(super) fn state(state: core::State) -> proto::State {
    match state {
        core::State::Online => proto::State::Online,
        core::State::Unhealthy => proto::State::Unhealthy,
        core::State::Launching => proto::State::Launching,
        core::State::Draining => proto::State::Draining,
        core::State::Stopping => proto::State::Stopping,
        core::State::Stopped => proto::State::Stopped,
        core::State::Errored => proto::State::Errored,
        core::State::Waiting => proto::State::Waiting,
    }
}

pub(super) fn remaining(remaining: core::Remaining) -> proto::Remaining {
    let core::Remaining { connections, oldest } = remaining;
    proto::Remaining { connections, oldest: u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX) }
}

pub(super) fn refusal(refusal: core::Refusal) -> proto::Refusal {
    match refusal {
        core::Refusal::UnknownTarget { target, similar } => proto::Refusal::UnknownTarget { target, similar },
        core::Refusal::BadPattern { target, why } => {
            proto::Refusal::BadRequest { why: format!("`{target}` is not a regular expression: {why}") }
        }
        core::Refusal::NameTaken { name, owner, asked_by } => {
            proto::Refusal::NameTaken { name, owner: origin(&owner), asked_by: origin(&asked_by) }
        }
        core::Refusal::Instances { name, wanted } => {
            proto::Refusal::Instances { name, wanted, limit: crate::spec::MAX_INSTANCES }
        }
        core::Refusal::Unchangeable { name, why } => proto::Refusal::Unchangeable { name, why },
        core::Refusal::Twice { name } => {
            proto::Refusal::BadRequest { why: format!("the name `{name}` is declared twice") }
        }
        core::Refusal::Reloading { name } => proto::Refusal::Reloading { name },
        core::Refusal::NotReloading { name } => {
            proto::Refusal::State { why: format!("no reload of `{name}` is under way that could be taken back") }
        }
        core::Refusal::Leaving => proto::Refusal::Leaving,
    }
}

/// An owner as a user reads it.
fn origin(origin: &Origin) -> String {
    match origin {
        Origin::File(path) => format!("the file {}", path.display()),
        Origin::Folder(path) => format!("the folder {}", path.display()),
    }
}

/// A plan; `epoch` gives a moment of the core in milliseconds of the epoch.
pub(super) fn plan(steps: Vec<core::PlanStep>, epoch: impl Fn(core::Time) -> u64) -> Vec<proto::PlanStep> {
    let action = |action| match action {
        core::PlanAction::Create => proto::PlanAction::Create,
        core::PlanAction::Register => proto::PlanAction::Register,
        core::PlanAction::Start => proto::PlanAction::Start,
        core::PlanAction::Change { what, restart } => {
            proto::PlanAction::Change { what: what.into_iter().map(Cow::into_owned).collect(), restart }
        }
        core::PlanAction::Scale { from, to } => proto::PlanAction::Scale { from, to },
        core::PlanAction::Restart => proto::PlanAction::Restart,
        core::PlanAction::Leave { since } => proto::PlanAction::Leave { since: since.map(&epoch) },
        core::PlanAction::Keep => proto::PlanAction::Keep,
        core::PlanAction::Delete => proto::PlanAction::Delete,
    };
    steps
        .into_iter()
        .map(|step| proto::PlanStep { name: step.name, namespace: step.namespace, action: action(step.action) })
        .collect()
}

/// A plan as it was written down, its moments being the core's.
pub(super) fn recalled_plan(steps: Vec<proto::PlanStep>) -> Vec<core::PlanStep> {
    let action = |action| match action {
        proto::PlanAction::Create => core::PlanAction::Create,
        proto::PlanAction::Register => core::PlanAction::Register,
        proto::PlanAction::Start => core::PlanAction::Start,
        proto::PlanAction::Change { what, restart } => {
            core::PlanAction::Change { what: what.into_iter().map(Cow::Owned).collect(), restart }
        }
        proto::PlanAction::Scale { from, to } => core::PlanAction::Scale { from, to },
        proto::PlanAction::Restart => core::PlanAction::Restart,
        proto::PlanAction::Leave { since } => core::PlanAction::Leave { since: since.map(core::Time::from_millis) },
        proto::PlanAction::Keep => core::PlanAction::Keep,
        proto::PlanAction::Delete => core::PlanAction::Delete,
    };
    steps
        .into_iter()
        .map(|step| core::PlanStep { name: step.name, namespace: step.namespace, action: action(step.action) })
        .collect()
}

/// One result, with the last words of the run that failed, and what was told of its ports.
pub(super) fn result(result: core::SlotResult, (stderr, remarks): (Vec<String>, Vec<String>)) -> proto::SlotResult {
    proto::SlotResult {
        id: result.slot.0,
        name: result.name,
        instance: result.instance,
        answer: match result.answer {
            core::SlotAnswer::Done(s) => proto::Answer::Done { state: state(s) },
            core::SlotAnswer::Failed { reason, run: _, next } => {
                proto::Answer::Failed { reason, stderr, remarks, next }
            }
            core::SlotAnswer::Pending(s) => proto::Answer::Pending { state: state(s) },
            core::SlotAnswer::Superseded => proto::Answer::Superseded,
        },
    }
}

/// How a run ended; `time` in milliseconds of the epoch, `stderr` its last words.
pub(super) fn exit(exit: &core::Exit, time: u64, pid: u32, stderr: Vec<String>) -> proto::ExitView {
    proto::ExitView {
        run: exit.run.0,
        pid,
        time,
        uptime: u64::try_from(exit.uptime.as_millis()).unwrap_or(u64::MAX),
        status: exit.status,
        reason: exit.reason.clone(),
        by: Some(ended_by(exit.by)),
        stderr,
    }
}

/// What has ended a run.
pub(super) fn ended_by(by: core::EndedBy) -> proto::ExitCause {
    match by {
        core::EndedBy::Itself => proto::ExitCause::Itself,
        core::EndedBy::Request => proto::ExitCause::Request,
        core::EndedBy::Memory => proto::ExitCause::Memory,
        core::EndedBy::Health => proto::ExitCause::Health,
        core::EndedBy::Watchdog => proto::ExitCause::Watchdog,
        core::EndedBy::Kernel => proto::ExitCause::OutOfMemory,
    }
}

pub(super) fn recalled_ended_by(by: proto::ExitCause) -> core::EndedBy {
    match by {
        proto::ExitCause::Itself => core::EndedBy::Itself,
        proto::ExitCause::Request => core::EndedBy::Request,
        proto::ExitCause::Memory => core::EndedBy::Memory,
        proto::ExitCause::Health => core::EndedBy::Health,
        proto::ExitCause::Watchdog => core::EndedBy::Watchdog,
        proto::ExitCause::OutOfMemory => core::EndedBy::Kernel,
    }
}

/// What restarts were for.
pub(super) fn restarts(tally: core::Tally) -> proto::RestartsView {
    let core::Tally { request, memory, health, watchdog, kernel: out_of_memory } = tally;
    proto::RestartsView { request, memory, health, watchdog, out_of_memory }
}

/// The second run of a slot; `epoch` gives a moment in milliseconds of the epoch.
pub(super) fn second(second: core::Second, pid: Option<u32>, epoch: impl Fn(core::Time) -> u64) -> proto::SecondView {
    let core::Second { run, started, edition, state, until } = second;
    proto::SecondView {
        run: run.0,
        pid,
        started: epoch(started),
        generation: edition,
        state: match state {
            core::SecondState::Launching => proto::SecondState::Launching,
            core::SecondState::Held => proto::SecondState::Held,
            core::SecondState::Parked => proto::SecondState::Parked,
            core::SecondState::Draining => proto::SecondState::Draining,
            core::SecondState::Stopping => proto::SecondState::Stopping,
        },
        until: until.map(epoch),
    }
}

/// What health checks have made of a run; how they went is added by whoever has carried them out.
pub(super) fn health(health: core::Health) -> proto::HealthView {
    let core::Health { circuit, fails, is_ignored } = health;
    proto::HealthView {
        circuit: match circuit {
            core::CircuitState::Unproven => proto::CircuitView::Unproven,
            core::CircuitState::Closed => proto::CircuitView::Closed,
            core::CircuitState::Open => proto::CircuitView::Open,
            core::CircuitState::HalfOpen => proto::CircuitView::HalfOpen,
        },
        failures: fails,
        ignored: is_ignored,
        passed: 0,
        failed: 0,
        last: None,
    }
}

/// A change as listeners read it; `pid` gives the number of a run for showing.
pub(super) fn event(kind: core::ChangeKind, pid: impl Fn(core::RunId) -> u32) -> proto::EventKind {
    let millis = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    match kind {
        core::ChangeKind::Created => proto::EventKind::Created,
        core::ChangeKind::Changed(what) => {
            proto::EventKind::Changed { what: what.into_iter().map(Cow::into_owned).collect() }
        }
        core::ChangeKind::Started(run) => proto::EventKind::Started { pid: pid(run), run: run.0 },
        core::ChangeKind::Online { run, after, by } => {
            let by = match by {
                core::ReadyBy::Listening => "listening",
                core::ReadyBy::Notified => "notified",
                core::ReadyBy::Alive => "alive",
                core::ReadyBy::Healthy => "healthy",
            };
            proto::EventKind::Online { run: run.0, after: millis(after), by: by.into() }
        }
        core::ChangeKind::SpawnFailed(reason) => proto::EventKind::SpawnFailed { reason },
        core::ChangeKind::Draining(run) => proto::EventKind::Draining { run: run.0 },
        core::ChangeKind::ReloadAborted { run, reason } => proto::EventKind::ReloadAborted { run: run.0, reason },
        core::ChangeKind::Held(run) => proto::EventKind::Held { run: run.0 },
        core::ChangeKind::Parked { run, bake } => proto::EventKind::Parked { run: run.0, bake: millis(bake) },
        core::ChangeKind::RolledBack { run, failed, reason } => {
            proto::EventKind::RolledBack { run: run.0, failed: failed.0, reason }
        }
        core::ChangeKind::Unhealthy { run, reason } => proto::EventKind::Unhealthy { run: run.0, reason },
        core::ChangeKind::Recovering(run) => proto::EventKind::Recovering { run: run.0 },
        core::ChangeKind::Healthy(run) => proto::EventKind::Healthy { run: run.0 },
        core::ChangeKind::GivenUpOn { run, reason } => proto::EventKind::GivenUpOn { run: run.0, reason },
        core::ChangeKind::Hung { run, reason } => proto::EventKind::Hung { run: run.0, reason },
        core::ChangeKind::Starved { run, proof } => {
            proto::EventKind::OutOfMemory { run: run.0, sure: proof == core::Proof::Sure }
        }
        core::ChangeKind::HealthIgnored { healthy, of } => proto::EventKind::HealthIgnored { healthy, of },
        core::ChangeKind::HealthTrusted { healthy, of } => proto::EventKind::HealthTrusted { healthy, of },
        core::ChangeKind::Stopping(run, signal) => {
            let signal = signal.map_or_else(|| "message".to_owned(), |signal| signal.to_string());
            proto::EventKind::Stopping { run: run.0, signal }
        }
        core::ChangeKind::Signalled(run, signal) => {
            proto::EventKind::Signalled { run: run.0, signal: signal.to_string() }
        }
        core::ChangeKind::Heavy { run, memory, limit, then } => proto::EventKind::Heavy {
            run: run.0,
            memory,
            limit,
            then: match then {
                core::Then::Warned => proto::HeavyThen::Warned,
                core::Then::Replaced => proto::HeavyThen::Replaced,
                core::Then::Restarted => proto::HeavyThen::Restarted,
            },
        },
        core::ChangeKind::Reset => proto::EventKind::Reset,
        core::ChangeKind::Killed(run) => proto::EventKind::Killed { run: run.0 },
        core::ChangeKind::Exited { run, status, uptime, asked, left } => proto::EventKind::Exited {
            run: run.0,
            pid: pid(run),
            status,
            uptime: millis(uptime),
            asked,
            left: match left {
                core::Left::Nothing => false,
                core::Left::Survivors => true,
            },
        },
        core::ChangeKind::Waiting { delay, reason } => proto::EventKind::Waiting { delay: millis(delay), reason },
        core::ChangeKind::Errored { reason, retry } => proto::EventKind::Errored { reason, retry: retry.map(millis) },
        core::ChangeKind::Stopped(reason) => proto::EventKind::Stopped { reason },
        core::ChangeKind::Deleted => proto::EventKind::Deleted,
    }
}
