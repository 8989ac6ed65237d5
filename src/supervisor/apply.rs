//! What `start FILE` does to each app: the plan, decided before anything is done.

use std::borrow::Cow;
use std::sync::Arc;

use crate::spec::AppSpec;
use crate::supervisor::slot::{Goal, Phase, Slot};
use crate::supervisor::{Apply, Definition, PlanAction, PlanStep, Refusal, Supervisor, Time, Unchanged};

use super::AppId;

/// One step of the plan, with what carrying it out needs.
pub(super) struct Step {
    pub(super) shown: PlanStep,
    pub(super) app: Option<AppId>,
    pub(super) definition: Option<Arc<Definition>>,
}

/// Decides what happens to each app.
///
/// # Errors
///
/// [`Refusal::NameTaken`] and [`Refusal::Twice`]; then nothing is done to any app.
pub(super) fn plan(core: &Supervisor, apply: &Apply) -> Result<Vec<Step>, Refusal> {
    let mut steps: Vec<Step> = Vec::with_capacity(apply.apps.len());
    for (spec, stamp) in &apply.apps {
        if steps.iter().any(|s| s.shown.name == spec.name && s.shown.namespace == spec.namespace) {
            return Err(Refusal::Twice { name: spec.name.clone() });
        }
        let existing = core
            .apps
            .iter()
            .find(|(_, app)| app.definition.spec.name == spec.name && app.definition.spec.namespace == spec.namespace);
        let (declared, mut spec) = (spec.instances, spec.clone());
        let (app, action, inherited) = match existing {
            None if spec.autostart => (None, PlanAction::Create, Arc::clone(&apply.inherited)),
            None => (None, PlanAction::Register, Arc::clone(&apply.inherited)),
            Some((id, app)) => {
                let old = &app.definition;
                if old.spec.origin != spec.origin && !apply.force {
                    return Err(Refusal::NameTaken {
                        name: spec.name.clone(),
                        owner: old.spec.origin.clone(),
                        asked_by: spec.origin,
                    });
                }
                if old.spec.origin == spec.origin && old.declared == declared {
                    // `scale` has the last word until the file says something new.
                    spec.instances = old.spec.instances;
                }
                let fresh = old.stamp == *stamp || stamp.is_none();
                let slots: Vec<&Slot> = core.slots.values().filter(|slot| slot.app == *id).collect();
                let inherited = if apply.update_env { &apply.inherited } else { &old.inherited };
                (Some(*id), change(&old.spec, &spec, fresh, &slots, apply), Arc::clone(inherited))
            }
        };
        steps.push(Step {
            shown: PlanStep { name: spec.name.clone(), namespace: spec.namespace.clone(), action },
            app,
            definition: Some(Arc::new(Definition { spec, inherited, stamp: *stamp, declared })),
        });
    }
    leftovers(core, apply, &mut steps);
    Ok(steps)
}

/// Apps that the same files declared before and do not declare any more.
fn leftovers(core: &Supervisor, apply: &Apply, steps: &mut Vec<Step>) {
    let action = if apply.prune { PlanAction::Delete } else { PlanAction::Keep };
    for (id, app) in &core.apps {
        let spec = &app.definition.spec;
        let same_file = matches!(spec.origin, crate::spec::Origin::File(_))
            && apply.apps.iter().any(|(declared, _)| declared.origin == spec.origin);
        let declared = apply.apps.iter().any(|(s, _)| s.name == spec.name && s.namespace == spec.namespace);
        if same_file && !declared {
            let shown = PlanStep { name: spec.name.clone(), namespace: spec.namespace.clone(), action: action.clone() };
            steps.push(Step { shown, app: Some(*id), definition: None });
        }
    }
}

fn change(old: &AppSpec, new: &AppSpec, fresh: bool, slots: &[&Slot], apply: &Apply) -> PlanAction {
    let (mut what, needs_restart) = differences(old, new);
    if !fresh {
        what.push("script file".into());
    }
    // What is stopped and does not start by itself only takes its new values.
    let wanted = new.autostart || slots.iter().any(|slot| slot.goal == Goal::Up);
    let restart = wanted && (needs_restart || !fresh);
    let runs = |slot: &&&Slot| slot.is_up();
    let up = slots.iter().filter(runs).count();
    if what.is_empty() {
        if is_renewed(apply) {
            return PlanAction::Restart;
        }
        // Also what has fewer slots than it should: some were deleted one by one.
        if up < usize::from(new.instances) && (new.autostart || up > 0) {
            return PlanAction::Start;
        }
        return PlanAction::Leave { since: oldest(slots) };
    }
    if what == ["instances"] && up > 0 && !is_renewed(apply) {
        return PlanAction::Scale { from: old.instances, to: new.instances };
    }
    PlanAction::Change { what, restart: restart || is_renewed(apply) }
}

fn is_renewed(apply: &Apply) -> bool {
    match apply.unchanged {
        Unchanged::Leave => false,
        Unchanged::Restart | Unchanged::Reload => true,
    }
}

fn oldest(slots: &[&Slot]) -> Option<Time> {
    slots
        .iter()
        .filter(|slot| slot.goal == Goal::Up && matches!(slot.phase, Phase::Online { .. } | Phase::Starting { .. }))
        .filter_map(|slot| slot.run())
        .map(|run| run.started)
        .min()
}

/// The keys in which two specs of one app differ, and whether a running process has to be restarted for it.
fn differences(old: &AppSpec, new: &AppSpec) -> (Vec<Cow<'static, str>>, bool) {
    let process = [
        ("script", old.program != new.program),
        ("cwd", old.cwd != new.cwd),
        ("exec_mode", old.exec_mode != new.exec_mode),
        ("capture", old.cluster.capture != new.cluster.capture),
        ("balance", old.cluster.balance != new.cluster.balance),
        ("weights", old.cluster.weights != new.cluster.weights),
        ("listen", old.listen != new.listen),
        ("env", old.env != new.env),
        ("env_file", old.env_files != new.env_files),
        ("filter_env", old.filter_env != new.filter_env),
        ("increment_var", old.increment_var != new.increment_var),
        ("instance_var", old.instance_var != new.instance_var),
        ("out_file", old.logs.out != new.logs.out),
        ("error_file", old.logs.error != new.logs.error),
        ("log_file", old.logs.combined != new.logs.combined),
        ("log_driver", old.logs.style.driver != new.logs.style.driver),
        ("log_type", old.logs.style.form != new.logs.style.form),
        ("rotate", old.logs.style.rotate != new.logs.style.rotate),
        ("merge_logs", old.logs.merge != new.logs.merge),
        ("pid_file", old.pid_file != new.pid_file),
        ("agent", old.agent != new.agent),
        ("health", old.health != new.health),
        ("watchdog", old.watchdog != new.watchdog),
    ];
    let live = [
        ("instances", old.instances != new.instances),
        ("autostart", old.autostart != new.autostart),
        ("restart", old.restart.policy != new.restart.policy),
        ("stop_exit_codes", old.restart.stop_exit_codes != new.restart.stop_exit_codes),
        ("min_uptime", old.restart.min_uptime != new.restart.min_uptime),
        ("max_restarts", old.restart.max_restarts != new.restart.max_restarts),
        ("restart_delay", old.restart.delay != new.restart.delay),
        ("retry_after", old.restart.retry_after != new.restart.retry_after),
        ("max_memory_restart", old.memory.limit != new.memory.limit),
        ("memory_warn", old.memory.warn != new.memory.warn),
        ("stop_signal", (old.stop.signal, old.stop.auto) != (new.stop.signal, new.stop.auto)),
        ("shutdown_with_message", old.stop.message != new.stop.message),
        ("kill_timeout", old.stop.kill_timeout != new.stop.kill_timeout),
        ("treekill", old.stop.treekill != new.stop.treekill),
        ("wait_ready", old.wait_ready != new.wait_ready),
        ("drain_timeout", old.cluster.drain_timeout != new.cluster.drain_timeout),
        ("max_surge", old.cluster.max_surge != new.cluster.max_surge),
        ("strategy", old.cluster.strategy != new.cluster.strategy),
        ("bake", old.cluster.bake != new.cluster.bake),
        ("listen_timeout", old.listen_timeout != new.listen_timeout),
        ("owner", old.origin != new.origin),
    ];
    let needs_restart = process.iter().any(|(_, differs)| *differs);
    let what =
        process.iter().chain(&live).filter(|(_, differs)| *differs).map(|(key, _)| Cow::Borrowed(*key)).collect();
    (what, needs_restart)
}
