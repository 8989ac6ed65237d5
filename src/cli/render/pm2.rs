//! The list in the shape that scripts written for PM2 read: every key of PM2, with what is true here.
//!
//! A key that PM2 leaves out where it was not declared (`cron_restart`, `max_memory_restart` …) is left out, too.

use serde_json::{Map, Value, json};

use crate::cli::render::units::redacted;
use crate::proto::{AppView, MetricView, SlotView, State, View};
use crate::spec::{AppSpec, ExecMode, LogTarget, Program, RestartDelay, RestartPolicy};

/// One object an instance, sorted as `ls` is. Needs a full view; environments arrive redacted.
pub(in crate::cli) fn list(view: &View) -> Value {
    view.apps.iter().flat_map(|app| app.slots.iter().map(move |slot| instance(app, slot))).collect()
}

fn instance(app: &AppView, slot: &SlotView) -> Value {
    json!({
        "pid": slot.pid.unwrap_or(0),
        "name": app.name,
        "pm_id": slot.id,
        "monit": { "memory": slot.memory, "cpu": (f64::from(slot.cpu) * 10.0).round() / 10.0 },
        "pm2_env": environment(app, slot),
    })
}

/// PM2 lays the variables of the app flat into `pm2_env`, under the keys of its configuration, which win here.
fn environment(app: &AppView, slot: &SlotView) -> Value {
    let mut all = Map::new();
    let declared = app.spec.as_ref().map(|spec| &spec.env);
    let variables = app.inherited.iter().chain(declared).flatten();
    let variables: Map<String, Value> = variables.map(|(name, value)| (name.clone(), json!(value))).collect();
    all.extend(variables.clone());
    all.insert("env".into(), Value::Object(variables));
    if let Some(spec) = &app.spec {
        extend(&mut all, configured(spec));
        if !spec.listen.is_empty() {
            all.insert("listen".into(), spec.listen.iter().map(|socket| json!(socket.address.to_string())).collect());
        }
    }
    extend(&mut all, state(app, slot));
    Value::Object(all)
}

fn configured(spec: &AppSpec) -> Value {
    let (path, interpreter, interpreter_args, args) = match &spec.program {
        Program::Script { script, interpreter, interpreter_args, args } => {
            (script.display().to_string(), interpreter.as_str(), interpreter_args.clone(), args.clone())
        }
        Program::Binary { path, args } => (path.display().to_string(), "none", vec![], args.clone()),
        Program::CommandLine { line } => ("bash".to_owned(), "none", vec![], vec!["-c".to_owned(), line.clone()]),
        Program::Serve { args } => ("rsx:serve".to_owned(), "none", vec![], redacted(args)),
    };
    let (restart_delay, backoff) = match spec.restart.delay {
        RestartDelay::Fixed { pause } => (pause.as_millis(), 0),
        RestartDelay::Backoff { first } => (0, first.as_millis()),
    };
    json!({
        "namespace": spec.namespace,
        "pm_exec_path": path,
        "pm_cwd": spec.cwd,
        "args": args,
        "exec_interpreter": interpreter,
        "node_args": interpreter_args,
        "exec_mode": match spec.exec_mode {
            ExecMode::Fork => "fork_mode",
            ExecMode::Cluster => "cluster_mode",
        },
        "instances": spec.instances,
        "instance_var": spec.instance_var,
        "merge_logs": spec.logs.merge,
        "disable_logs": spec.logs.out == LogTarget::Null && spec.logs.error == LogTarget::Null,
        "autostart": spec.autostart,
        "autorestart": spec.restart.policy != RestartPolicy::Never,
        "watch": false,
        "time": false,
        "filter_env": [],
        "vizion": false,
        "vizion_running": false,
        "pmx": false,
        "automation": false,
        "km_link": false,
        "windowsHide": true,
        "source_map_support": false,
        "shutdown_with_message": spec.stop.message,
        "kill_retry_time": 100,
        "min_uptime": millis(spec.restart.min_uptime.as_millis()),
        "max_restarts": spec.restart.max_restarts,
        "restart_delay": millis(restart_delay),
        "exp_backoff_restart_delay": millis(backoff),
        "stop_exit_codes": spec.restart.stop_exit_codes,
        "kill_timeout": millis(spec.stop.kill_timeout.as_millis()),
        "listen_timeout": millis(spec.listen_timeout.as_millis()),
        "wait_ready": spec.wait_ready,
        "treekill": spec.stop.treekill,
    })
}

fn state(app: &AppView, slot: &SlotView) -> Value {
    let exit_code = slot.last_exit.as_ref().and_then(|exit| exit.status).map(|status| match status {
        crate::spec::ExitStatus::Code(code) => i32::from(code),
        // What a shell says; PM2 says 0, and its users take that for success.
        crate::spec::ExitStatus::Signal { signal, .. } => 128 + signal.number(),
    });
    json!({
        "name": app.name,
        "namespace": app.namespace,
        "version": app.version.as_deref().unwrap_or("N/A"),
        "username": app.user,
        "pm_id": slot.id,
        "NODE_APP_INSTANCE": slot.instance,
        "status": status(slot.state),
        // PM2 keeps the last start of what is stopped; the last one by request is what is known here.
        "pm_uptime": slot.started.unwrap_or(slot.created),
        "prev_restart_delay": 0,
        "unique_id": format!("{}-{}", slot.created, slot.id),
        "versioning": null,
        "_km_monitored": false,
        "axm_actions": [],
        "axm_monitor": metrics(slot),
        "axm_options": {},
        "axm_dynamic": {},
        "created_at": slot.created,
        "restart_time": slot.restarts,
        "unstable_restarts": slot.unstable,
        "exit_code": exit_code,
        "pm_out_log_path": slot.out_file,
        "pm_err_log_path": slot.error_file,
        "pm_pid_path": slot.pid_file,
        "pmx_module": false,
    })
}

/// As PM2 has them: `{ "Requests": { "value": 3, "unit": "req/s", "type": "…" } }`.
fn metrics(slot: &SlotView) -> Map<String, Value> {
    let mut all = Map::new();
    for MetricView { name, value, unit, kind } in &slot.said.metrics {
        all.insert(name.clone(), json!({ "value": value, "unit": unit, "type": kind }));
    }
    all
}

/// In PM2's words alone: scripts compare them.
fn status(state: State) -> State {
    match state {
        State::Draining => State::Stopping,
        State::Unhealthy => State::Online,
        State::Online | State::Launching | State::Stopping | State::Stopped | State::Errored | State::Waiting => state,
    }
}

fn extend(all: &mut Map<String, Value>, more: Value) {
    if let Value::Object(more) = more {
        all.extend(more);
    }
}

/// JSON of PM2 holds plain numbers; what does not fit is beyond any time of use.
fn millis(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample;

    #[test]
    fn the_list_has_the_keys_that_scripts_read() {
        let list = list(&sample::full_view());
        assert_eq!(list.as_array().unwrap().len(), 4);
        let first = &list[0];
        assert_eq!((&first["pid"], &first["name"], &first["pm_id"]), (&json!(4000), &json!("api"), &json!(0)));
        let env = &first["pm2_env"];
        assert_eq!(
            (&env["status"], &env["PORT"], &env["exec_mode"]),
            (&json!("online"), &json!("3000"), &json!("fork_mode"))
        );
        assert_eq!(env["env"]["API_TOKEN"], "***");
        assert_eq!(list[2]["pm2_env"]["status"], "waiting restart");
        assert_eq!(list[3]["pid"], 0);
    }

    /// The keys of section "jlist" of what is known of PM2, without those that it writes only where they were declared.
    const KEYS: &str = "name namespace pm_exec_path pm_cwd args exec_interpreter node_args exec_mode instances instance_var \
        filter_env env merge_logs time disable_logs pm_out_log_path pm_err_log_path pm_pid_path vizion autostart autorestart \
        watch min_uptime max_restarts restart_delay exp_backoff_restart_delay stop_exit_codes kill_timeout kill_retry_time \
        listen_timeout wait_ready shutdown_with_message treekill pmx automation windowsHide username source_map_support \
        km_link vizion_running status pm_uptime created_at pm_id restart_time unstable_restarts prev_restart_delay exit_code \
        unique_id version versioning pmx_module _km_monitored NODE_APP_INSTANCE axm_actions axm_monitor axm_options \
        axm_dynamic";

    #[test]
    fn no_key_of_pm2_is_missing_whatever_the_state() {
        for entry in list(&sample::full_view()).as_array().unwrap() {
            for key in KEYS.split_whitespace() {
                assert!(entry["pm2_env"].get(key).is_some(), "`{key}` is missing");
            }
            let numbers = ["restart_time", "unstable_restarts", "pm_uptime", "created_at", "pm_id", "max_restarts"];
            assert!(numbers.iter().all(|key| entry["pm2_env"][key].is_number()), "{entry}");
        }
    }

    #[test]
    fn what_drains_is_stopping_to_scripts() {
        let mut view = sample::full_view();
        view.apps[0].slots[0].state = State::Draining;
        assert_eq!(list(&view)[0]["pm2_env"]["status"], "stopping");
    }

    #[test]
    fn variables_of_the_app_never_hide_its_state() {
        let mut view = sample::full_view();
        view.apps[0].spec.as_mut().unwrap().env.insert("status".into(), "mine".into());
        assert_eq!(list(&view)[0]["pm2_env"]["status"], "online");
    }
}
