//! Everything about one app, for people.

use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};

use crate::cli::render::clock::moment;
use crate::cli::render::table::Sheet;
use crate::cli::render::units::{cpu, fine_span, memory, printable, redacted, remaining, span};
use crate::cli::style::{Style, Tint};
use crate::cli::targets::Picked;
use crate::proto::{AppView, ExitView, MetricView, NodeView, PortView, SaidView, SlotView, State};
use crate::spec::{AppSpec, Capture, Env, ExecMode, Origin, Program, RestartDelay, RestartPolicy};

/// Details of the app, of each instance, and how its last runs ended.
pub(in crate::cli) fn describe(picked: &Picked<'_>, sheet: Sheet) -> String {
    let app = picked.app;
    let mut text = heading(&format!("App `{}`", printable(&app.name)), sheet.style);
    let mut rows = vec![
        ("status", summary(&picked.slots, sheet.now)),
        ("namespace", app.namespace.clone()),
        ("version", app.version.clone().unwrap_or_else(|| "-".into())),
        ("user", app.user.clone()),
    ];
    if let Some(spec) = &app.spec {
        rows.extend(declared(spec));
    }
    text.push_str(&two_columns(&rows, sheet));
    if let Some(spec) = app.spec.as_ref().filter(|spec| !spec.env.is_empty()) {
        text.push_str(&heading("Declared environment", sheet.style));
        text.push_str(&environment(&spec.env, sheet));
    }
    for slot in &picked.slots {
        text.push_str(&heading(&format!("Instance {} (id {})", slot.instance, slot.id), sheet.style));
        text.push_str(&two_columns(&observed(app, slot, sheet.now), sheet));
        if !slot.history.is_empty() {
            text.push_str(&heading("Exits, newest first", sheet.style));
            text.push_str(&history(&slot.history, sheet));
        }
    }
    text
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
    if !spec.restart.stop_exit_codes.is_empty() {
        let codes: Vec<String> = spec.restart.stop_exit_codes.iter().map(u8::to_string).collect();
        rows.push(("finished by exit codes", codes.join(", ")));
    }
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
        (ExecMode::Cluster, Capture::Auto) => "cluster".to_owned(),
        (ExecMode::Cluster, Capture::Off) => "cluster, no port is shared".to_owned(),
        (ExecMode::Cluster, Capture::Ports(ports)) => {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            format!("cluster, of port {}", ports.join(", "))
        }
    }
}

fn port(port: &PortView) -> String {
    let PortView { address, members, serving, queued, sharing, connections } = port;
    let connections = match connections {
        None => String::new(),
        Some(1) => ", 1 connection".to_owned(),
        Some(count) => format!(", {count} connections"),
    };
    if *sharing > 0 {
        let instances = if *sharing == 1 { "instance" } else { "instances" };
        return format!("{address}, one queue for {sharing} {instances}, {queued} waiting{connections}");
    }
    let sockets = if *members == 1 { "socket" } else { "sockets" };
    format!("{address}, {members} {sockets}, {serving} serving, {queued} waiting here{connections}")
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

fn observed(app: &AppView, slot: &SlotView, now: u64) -> Vec<(&'static str, String)> {
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
    rows.extend(said(&slot.said));
    if let Some(drain) = &slot.draining {
        let who = if slot.run == drain.run { String::new() } else { format!("pid {}, replaced, ", drain.pid) };
        rows.push(("connections", format!("{who}{}", remaining(&drain.remaining))));
    }
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

/// Lines and no table: last words are long, and are copied from here into searches.
fn history(exits: &[ExitView], sheet: Sheet) -> String {
    let mut text = String::new();
    for exit in exits {
        let how = match exit.status {
            Some(status) if exit.reason != status.to_string() => format!("{} ({status})", printable(&exit.reason)),
            Some(_) | None => printable(&exit.reason).into_owned(),
        };
        let run = match exit.pid {
            // It never ran.
            0 => String::new(),
            pid => format!(", pid {pid}, after {}", fine_span(exit.uptime)),
        };
        text.push_str(&format!(" {}  {}{run}\n", moment(exit.time), sheet.style.paint(Tint::Bold, &how)));
        text.extend(exit.stderr.iter().map(|line| format!("   | {}\n", printable(line))));
    }
    text
}

/// Values were redacted by the daemon, where their names look secret.
fn environment(env: &Env, sheet: Sheet) -> String {
    let rows: Vec<(&str, String)> = env.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    two_columns(&rows, sheet)
}

fn two_columns(rows: &[(&str, String)], sheet: Sheet) -> String {
    let mut table = frame(sheet);
    for (name, value) in rows {
        table.add_row([printable(name).into_owned(), printable(value).into_owned()]);
    }
    finish(&table)
}

fn frame(sheet: Sheet) -> Table {
    let mut table = Table::new();
    table.force_no_tty();
    match sheet.width {
        Some(width) => {
            table.load_preset(presets::UTF8_FULL_CONDENSED);
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        None => {
            table.load_preset(presets::NOTHING);
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table
}

fn finish(table: &Table) -> String {
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

fn heading(text: &str, style: Style) -> String {
    format!("{}\n", style.paint(Tint::Bold, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample;
    use crate::cli::render::table::Extent;

    #[test]
    fn everything_about_an_app_is_shown() {
        let view = sample::full_view();
        let picked = Picked { app: &view.apps[0], slots: view.apps[0].slots.iter().collect() };
        let sheet = Sheet { width: Some(100), style: Style::Plain, extent: Extent::Full, now: sample::NOW };
        let text = describe(&picked, sheet);
        // Local times differ from machine to machine.
        let text =
            regex_lite::Regex::new(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d").unwrap().replace_all(&text, "[local time    ]");
        insta::assert_snapshot!(text);
    }
}
