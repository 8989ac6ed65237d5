//! Everything that is known of an app and its instances, as names and values for people.

use std::time::Duration;

use crate::proto::{AppView, PortView, SlotView, State};
use crate::spec::{AppSpec, Capture, ExecMode, Origin, Program, RestartDelay, RestartPolicy};
use crate::words::clock::moment;
use crate::words::units::{cpu, fine_span, memory, redacted, span};

/// What is declared of an app, and which state its instances are in.
pub(crate) fn app(app: &AppView, slots: &[&SlotView], now: u64) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("status", summary(slots, now)),
        ("namespace", app.namespace.clone()),
        ("version", app.version.clone().unwrap_or_else(|| "-".into())),
        ("user", app.user.clone()),
    ];
    if let Some(spec) = &app.spec {
        rows.extend(declared(spec));
    }
    rows
}

/// `online since 5h, 2 restarts`; of several instances how many are in which state.
fn summary(slots: &[&SlotView], now: u64) -> String {
    if let [slot] = slots {
        let since = slot.pid.and(slot.started).map(|at| format!(" since {}", span(now.saturating_sub(at))));
        let reason = slot.reason.as_ref().map(|reason| format!(": {reason}"));
        let restarts = match slot.restarts {
            0 => String::new(),
            1 => ", 1 restart".to_owned(),
            count => format!(", {count} restarts"),
        };
        return format!("{}{}{}{restarts}", slot.state, since.unwrap_or_default(), reason.unwrap_or_default());
    }
    let mut counts: Vec<(State, usize)> = Vec::new();
    for slot in slots {
        match counts.iter_mut().find(|(state, _)| *state == slot.state) {
            Some((_, count)) => *count += 1,
            None => counts.push((slot.state, 1)),
        }
    }
    counts.iter().map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>().join(", ")
}

fn declared(spec: &AppSpec) -> Vec<(&'static str, String)> {
    let time = |duration: Duration| fine_span(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    let mut rows = vec![(
        "declared in",
        match &spec.origin {
            Origin::File(path) | Origin::Folder(path) => path.display().to_string(),
        },
    )];
    match &spec.program {
        Program::Script { script, interpreter, interpreter_args, args } => {
            rows.push(("script", script.display().to_string()));
            rows.push(("args", args.join(" ")));
            rows.push(("interpreter", interpreter.clone()));
            rows.push(("interpreter args", interpreter_args.join(" ")));
        }
        Program::Binary { path, args } => {
            rows.push(("program", path.display().to_string()));
            rows.push(("args", args.join(" ")));
        }
        Program::CommandLine { line } => rows.push(("command line", line.clone())),
        Program::Serve { args } => rows.push(("static files", redacted(args).join(" "))),
    }
    rows.retain(|(_, value)| !value.is_empty());
    let policy = match spec.restart.policy {
        RestartPolicy::Always => "always",
        RestartPolicy::OnFailure => "on-failure",
        RestartPolicy::Never => "never",
    };
    let delay = match spec.restart.delay {
        RestartDelay::Fixed { pause } => time(pause),
        RestartDelay::Backoff { first } => format!("at once, then from {} growing to 15s", time(first)),
    };
    let quick = format!("{} lives under {} in ten minutes", spec.restart.max_restarts, time(spec.restart.min_uptime));
    let tree = if spec.stop.treekill { "children included" } else { "main process only" };
    rows.extend([
        ("cwd", spec.cwd.display().to_string()),
        ("mode", mode(spec)),
        ("instances", spec.instances.to_string()),
        ("restart", policy.to_owned()),
        ("restart delay", delay),
        ("given up after", quick),
        ("tried again after", spec.restart.retry_after.map_or_else(|| "never".into(), time)),
        ("stopped by", format!("{}, SIGKILL after {}, {tree}", spec.stop.signal, time(spec.stop.kill_timeout))),
        ("ready within", time(spec.listen_timeout)),
    ]);
    if !spec.restart.stop_exit_codes.is_empty() {
        let codes: Vec<String> = spec.restart.stop_exit_codes.iter().map(u8::to_string).collect();
        rows.push(("finished by exit codes", codes.join(", ")));
    }
    if let Some(name) = &spec.env_name {
        rows.push(("env", name.clone()));
    }
    rows
}

fn mode(spec: &AppSpec) -> String {
    match (spec.exec_mode, spec.cluster.capture) {
        (ExecMode::Fork, _) => "fork".to_owned(),
        (ExecMode::Cluster, Capture::Auto) => "cluster".to_owned(),
        (ExecMode::Cluster, Capture::Off) => "cluster, no port is shared".to_owned(),
    }
}

fn port(port: &PortView) -> String {
    let PortView { address, members, serving, queued } = port;
    let sockets = if *members == 1 { "socket" } else { "sockets" };
    format!("{address}, {members} {sockets}, {serving} serving, {queued} waiting here")
}

/// What is seen of an instance.
pub(crate) fn slot(app: &AppView, slot: &SlotView, now: u64) -> Vec<(&'static str, String)> {
    let file = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map_or_else(|| "not written".to_owned(), |path| path.display().to_string())
    };
    let age = |at: u64| format!("{} ({} ago)", moment(at), span(now.saturating_sub(at)));
    let mut rows = vec![
        ("status", slot.state.to_string()),
        ("pid", slot.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string())),
        ("running since", slot.pid.and(slot.started).map_or_else(|| "-".to_owned(), age)),
        ("restarts", slot.restarts.to_string()),
        ("cpu", cpu(slot.cpu)),
        ("memory", memory(slot.memory)),
        ("output log", file(&slot.out_file)),
        ("error log", file(&slot.error_file)),
        ("created", age(slot.created)),
    ];
    rows.extend(slot.ports.iter().map(|shared| ("shared port", port(shared))));
    if slot.pid_file.is_some() {
        rows.push(("pid file", file(&slot.pid_file)));
    }
    if slot.unstable > 0 {
        rows.push(("quick exits", format!("{} in the last ten minutes", slot.unstable)));
    }
    if let Some(reason) = &slot.reason {
        rows.push(("reason", reason.clone()));
    }
    if let Some(next) = slot.next_attempt {
        rows.push(("next try", format!("in {}", fine_span(next.saturating_sub(now)))));
    }
    rows.push(("logs", format!("rsx logs {}", app.name)));
    rows
}
