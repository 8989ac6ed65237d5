//! Everything that is known of an app and its instances, as names and values for people.

use std::time::Duration;

use crate::proto::{AppView, HealthView, MetricView, NodeView, PortView, SaidView, SecondView, SlotView, State};
use crate::spec::{
    AppSpec, Balance, Capture, Check, ExecMode, HealthSpec, ListenSpec, Origin, Program, RestartDelay, RestartPolicy,
    Strategy, USUAL_BACKLOG,
};
use crate::words::clock::moment;
use crate::words::units::{cpu, fine_span, memory, redacted, remaining, span};

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
        ("stopped by", format!("{}, SIGKILL after {}, {tree}", asked_by(spec), time(spec.stop.kill_timeout))),
        (
            "ready within",
            if spec.wait_ready {
                format!("{}, when it says so", time(spec.listen_timeout))
            } else {
                time(spec.listen_timeout)
            },
        ),
    ]);
    if spec.exec_mode == ExecMode::Cluster {
        let strategy = match spec.cluster.strategy {
            Strategy::Rolling => "in batches",
            Strategy::BlueGreen => "all at once (blue-green)",
        };
        let bake = if spec.cluster.bake.is_zero() { "at once".to_owned() } else { time(spec.cluster.bake) };
        rows.push(("reloaded", format!("{strategy}, sure after {bake}")));
    }
    rows.extend(spec.listen.iter().map(|socket| ("passed socket", passed(socket))));
    rows.extend(spec.health.as_ref().map(|health| ("health check", check(health))));
    if !spec.restart.stop_exit_codes.is_empty() {
        let codes: Vec<String> = spec.restart.stop_exit_codes.iter().map(u8::to_string).collect();
        rows.push(("finished by exit codes", codes.join(", ")));
    }
    rows.extend(spec.watchdog.map(|limit| ("watchdog", format!("aborted after {} without a word", time(limit)))));
    if let Some(limit) = spec.memory.limit {
        rows.push(("memory limit", memory(limit)));
    }
    if let Some(warn) = spec.memory.warn_at() {
        rows.push(("warning at memory", memory(warn)));
    }
    if let Some(name) = &spec.env_name {
        rows.push(("env", name.clone()));
    }
    rows
}

/// `unix:///run/api.sock (http), mode 0660, of www-data`
fn passed(socket: &ListenSpec) -> String {
    let ListenSpec { address, name, backlog, mode, user, group } = socket;
    let mode = mode.map(|mode| format!(", mode {mode:04o}")).unwrap_or_default();
    let owner = match (user, group) {
        (None, None) => String::new(),
        (user, group) => format!(", of {}:{}", user.as_deref().unwrap_or(""), group.as_deref().unwrap_or("")),
    };
    let backlog = if *backlog == USUAL_BACKLOG { String::new() } else { format!(", backlog {backlog}") };
    format!("{address} as {name}{mode}{owner}{backlog}")
}

/// `GET /health every 10s, out after 3 failures, restarted after 3 more`
fn check(health: &HealthSpec) -> String {
    let time = |duration: Duration| fine_span(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    let HealthSpec { check, port, interval, timeout, fail, pass, start_period: _ } = health;
    let what = match check {
        Check::Http { path } => format!("GET {path}"),
        Check::Tcp => "a connection".to_owned(),
        Check::Exec { line } => format!("`{line}`"),
    };
    let port = port.map(|port| format!(" at port {port}")).unwrap_or_default();
    let failures = if *fail == 1 { "failure" } else { "failures" };
    let passes = if *pass == 1 { "pass" } else { "passes" };
    format!(
        "{what}{port} every {}, {} for an answer; out after {fail} {failures}, restarted after {fail} more, trusted after \
         {pass} {passes}",
        time(*interval),
        time(*timeout)
    )
}

/// What was found of the health of an instance.
fn health(health: &HealthView, now: u64) -> Vec<(&'static str, String)> {
    let HealthView { circuit, failures, ignored, passed, failed, last } = health;
    let failures = if *failures == 0 { String::new() } else { format!(", {failures} failures") };
    let ignored = if *ignored { "; ignored, because fewer than half of the instances are healthy" } else { "" };
    let mut rows = vec![("health", format!("circuit {}{failures}{ignored}", circuit.as_str()))];
    rows.extend(last.as_ref().map(|last| {
        let how = if last.passed { "passed" } else { "failed" };
        let took = last.took as f64 / 1000.0;
        let ago = span(now.saturating_sub(last.time));
        ("last check", format!("{how} {ago} ago in {took:.1} ms: {} ({passed} passed, {failed} failed)", last.found))
    }));
    rows
}

/// How it is asked to end.
fn asked_by(spec: &AppSpec) -> String {
    let signal = if spec.stop.auto {
        format!("{}, or SIGINT if that is what it listens for", spec.stop.signal)
    } else {
        spec.stop.signal.to_string()
    };
    if spec.stop.message { format!("the message `shutdown` (without a channel {signal})") } else { signal }
}

fn mode(spec: &AppSpec) -> String {
    match (spec.exec_mode, &spec.cluster.capture) {
        (ExecMode::Fork, _) => "fork".to_owned(),
        (ExecMode::Cluster, Capture::Auto) => match spec.cluster.balance {
            Balance::Random => "cluster".to_owned(),
            Balance::Shared => "cluster, one queue for all".to_owned(),
            Balance::Weighted => format!("cluster, by weight {:?}", spec.cluster.weights),
            Balance::SourceIp => "cluster, each client to its own instance".to_owned(),
            Balance::Least => "cluster, to whom has least to do".to_owned(),
        },
        (ExecMode::Cluster, Capture::Off) if !spec.listen.is_empty() => "cluster, one queue for all".to_owned(),
        (ExecMode::Cluster, Capture::Off) => "cluster, no port is shared".to_owned(),
        (ExecMode::Cluster, Capture::Ports(ports)) => {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            format!("cluster, of port {}", ports.join(", "))
        }
    }
}

fn port(port: &PortView) -> String {
    let PortView { address, members, serving, queued, sharing, connections, overflows } = port;
    let lost = if *overflows == 0 { String::new() } else { format!(", {overflows} did not fit into its queue") };
    let connections = match connections {
        None => String::new(),
        Some(1) => ", 1 connection".to_owned(),
        Some(count) => format!(", {count} connections"),
    };
    if *sharing > 0 {
        let instances = if *sharing == 1 { "instance" } else { "instances" };
        return format!("{address}, one queue for {sharing} {instances}, {queued} waiting{connections}{lost}");
    }
    let sockets = if *members == 1 { "socket" } else { "sockets" };
    format!("{address}, {members} {sockets}, {serving} serving, {queued} waiting here{connections}{lost}")
}

/// What its program says of itself.
fn said(said: &SaidView) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    rows.extend(said.status.as_ref().map(|status| ("says", status.clone())));
    if let Some(NodeView { version, lag, busy, heap_used, heap_total, heap_limit }) = &said.node {
        rows.push(("node.js", version.clone()));
        if *heap_limit > 0 {
            rows.push(("event loop", format!("{lag:.1} ms late, {:.1} % busy", busy * 100.0)));
            let (used, total, limit) = (memory(*heap_used), memory(*heap_total), memory(*heap_limit));
            rows.push(("heap", format!("{used} of {total}, at most {limit}")));
        }
    }
    rows.extend(said.metrics.iter().map(|metric| ("metric", shown(metric))));
    rows
}

/// `Requests: 12.5 req/min`
fn shown(metric: &MetricView) -> String {
    let value = metric.value.as_str().map_or_else(|| metric.value.to_string(), str::to_owned);
    let unit = metric.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
    format!("{}: {value}{unit}", metric.name)
}

/// What is seen of an instance. `growth` is what its memory is heading for.
pub(crate) fn slot(app: &AppView, slot: &SlotView, growth: Option<String>, now: u64) -> Vec<(&'static str, String)> {
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
    ];
    rows.extend(growth.map(|growth| ("memory", growth)));
    rows.extend([
        ("output log", file(&slot.out_file)),
        ("error log", file(&slot.error_file)),
        ("created", age(slot.created)),
    ]);
    if slot.generation > 0 {
        rows.push(("generation", slot.generation.to_string()));
    }
    if let Some(SecondView { pid, generation, state, until, .. }) = &slot.second {
        let pid = pid.map_or_else(|| "no pid yet".to_owned(), |pid| format!("pid {pid}"));
        let until = until.map(|at| format!(", {} at most", fine_span(at.saturating_sub(now)))).unwrap_or_default();
        rows.push(("beside it", format!("{}, {pid}, generation {generation}{until}", state.as_str())));
    }
    rows.extend(slot.combined_file.iter().map(|path| ("log of both", path.display().to_string())));
    rows.extend(slot.log_problem.iter().map(|problem| ("log problem", problem.clone())));
    rows.extend(slot.ports.iter().map(|shared| ("shared port", port(shared))));
    rows.extend(said(&slot.said));
    if let Some(drain) = &slot.draining {
        let who = if slot.run == drain.run { String::new() } else { format!("pid {}, replaced, ", drain.pid) };
        rows.push(("connections", format!("{who}{}", remaining(&drain.remaining))));
    }
    rows.extend(slot.health.iter().flat_map(|found| health(found, now)));
    if slot.pid_file.is_some() {
        rows.push(("pid file", file(&slot.pid_file)));
    }
    if slot.unstable > 0 {
        rows.push(("quick exits", format!("{} in the last ten minutes", slot.unstable)));
    }
    rows.extend(slot.remarks.iter().map(|remark| ("note", remark.clone())));
    if let Some(reason) = &slot.reason {
        rows.push(("reason", reason.clone()));
    }
    if let Some(next) = slot.next_attempt {
        rows.push(("next try", format!("in {}", fine_span(next.saturating_sub(now)))));
    }
    rows.push(("logs", format!("rsx logs {}", app.name)));
    rows
}
