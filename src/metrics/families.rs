//! All families: what each is called, what it says, and where in a view it is.

use std::borrow::Cow;

use prometheus_client::registry::Unit;
use serde_json::Value;

use crate::metrics::{Family, Kind, Samples};
use crate::proto::{AppView, CircuitView, DaemonView, NodeView, OwnView, PortView, SlotView, State, TimesView};

/// Where the samples of a family come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Daemon(for<'a> fn(&'a DaemonView, &mut Samples<'a>)),
    App(for<'a> fn(&'a AppView, &mut Samples<'a>)),
    Instance(for<'a> fn(&'a SlotView, &mut Samples<'a>)),
}

/// The longest text of a program's own that becomes a label, in bytes.
const MAX_LABEL: usize = 200;

/// Milliseconds in a second.
const MILLIS: f64 = 1e3;

/// Microseconds in a second.
const MICROS: f64 = 1e6;

const fn gauge(name: &'static str, unit: Option<Unit>, help: &'static str, source: Source) -> Family {
    Family { name, kind: Kind::Gauge, unit, help, labels: &[], source }
}

const fn counter(name: &'static str, help: &'static str, source: Source) -> Family {
    Family { name, kind: Kind::Counter, unit: None, help, labels: &[], source }
}

/// A total of seconds.
const fn seconds(name: &'static str, help: &'static str, source: Source) -> Family {
    Family { name, kind: Kind::Counter, unit: Some(Unit::Seconds), help, labels: &[], source }
}

/// A gauge with labels of its own.
const fn labelled(name: &'static str, labels: &'static [&'static str], help: &'static str, source: Source) -> Family {
    Family { name, kind: Kind::Gauge, unit: None, help, labels, source }
}

/// See the module.
pub(super) static FAMILIES: [Family; 43] = [
    Family {
        name: "build",
        kind: Kind::Info,
        unit: None,
        help: "The release of the daemon.",
        labels: &["version"],
        source: Source::Daemon(|daemon, to| to.put_with(vec![daemon.version.as_str().into()], 1.0)),
    },
    gauge(
        "daemon_start_time",
        Some(Unit::Seconds),
        "When the daemon started; apps may have been running before.",
        Source::Daemon(|daemon, to| to.put(number(daemon.started) / MILLIS)),
    ),
    gauge(
        "daemon_guardian_up",
        None,
        "Whether the daemon has its guardian, without which its death ends the output of apps.",
        Source::Daemon(|daemon, to| to.put(flag(daemon.guardian != 0))),
    ),
    gauge(
        "daemon_parked_instances",
        None,
        "Instances that ran under an earlier daemon and wait for `rsx resurrect`.",
        Source::Daemon(|daemon, to| to.put(f64::from(daemon.parked))),
    ),
    gauge(
        "daemon_memory",
        Some(Unit::Bytes),
        "Resident memory of the daemon itself.",
        Source::Daemon(|daemon, to| of_daemon(daemon, to, |own| Some(number(own.memory)))),
    ),
    Family {
        name: "daemon_cpu",
        kind: Kind::Counter,
        unit: Some(Unit::Seconds),
        help: "CPU time of the daemon itself since it started.",
        labels: &[],
        source: Source::Daemon(|daemon, to| of_daemon(daemon, to, |own| Some(number(own.cpu) / MILLIS))),
    },
    gauge(
        "daemon_descriptors",
        None,
        "Descriptors that the daemon has open.",
        Source::Daemon(|daemon, to| of_daemon(daemon, to, |own| Some(number(own.descriptors)))),
    ),
    gauge(
        "daemon_loop_lag",
        Some(Unit::Seconds),
        "How long something had to wait for its turn in the daemon's loop, when this was asked.",
        Source::Daemon(|daemon, to| of_daemon(daemon, to, |own| own.lag.map(|lag| number(lag) / MICROS))),
    ),
    gauge(
        "daemon_notices",
        None,
        "Troubles of the daemon itself, which `rsx ls` shows.",
        Source::Daemon(|daemon, to| to.put(daemon.notices.len() as f64)),
    ),
    gauge(
        "up",
        None,
        "Whether it runs and is ready.",
        Source::Instance(|slot, to| to.put(flag(slot.state == State::Online))),
    ),
    labelled(
        "state",
        &["state"],
        "1 for the state that it is in, which is named as in `rsx ls`.",
        Source::Instance(|slot, to| to.put_with(vec![slot.state.as_str().into()], 1.0)),
    ),
    gauge(
        "start_time",
        Some(Unit::Seconds),
        "When its process started.",
        Source::Instance(|slot, to| {
            if let Some(started) = slot.pid.and(slot.started) {
                to.put(number(started) / MILLIS);
            }
        }),
    ),
    Family {
        name: "restarts",
        kind: Kind::Counter,
        unit: None,
        help: "How often it was restarted: by request, for the limit of its memory, its health check or its watchdog, after the kernel had killed it for want of memory (out_of_memory), or because it had ended by itself. Outlives the daemon; `rsx reset` sets it back.",
        labels: &["cause"],
        source: Source::Instance(|slot, to| {
            let by = &slot.restarts_by;
            let named = [
                ("request", by.request),
                ("memory", by.memory),
                ("health", by.health),
                ("watchdog", by.watchdog),
                ("out_of_memory", by.out_of_memory),
            ];
            let sum = named.iter().fold(0_u32, |sum, (_, count)| sum.saturating_add(*count));
            let rest = slot.restarts.saturating_sub(sum);
            for (cause, count) in named.into_iter().chain([("itself", rest)]) {
                to.put_with(vec![cause.into()], f64::from(count));
            }
        }),
    },
    gauge(
        "unstable_exits",
        None,
        "How many of the lives of the last ten minutes were shorter than `min_uptime`.",
        Source::Instance(|slot, to| to.put(f64::from(slot.unstable))),
    ),
    gauge(
        "last_exit_time",
        Some(Unit::Seconds),
        "When a process of it ended last.",
        Source::Instance(|slot, to| {
            if let Some(exit) = &slot.last_exit {
                to.put(number(exit.time) / MILLIS);
            }
        }),
    ),
    gauge(
        "generation",
        None,
        "Which edition of its app runs: counts up with each reload.",
        Source::Instance(|slot, to| to.put(f64::from(slot.generation))),
    ),
    gauge(
        "cpu_cores",
        None,
        "How many cores the tree of its process has used in the last second.",
        Source::Instance(|slot, to| to.put(f64::from(slot.cpu) / 100.0)),
    ),
    gauge(
        "memory",
        Some(Unit::Bytes),
        "Resident memory of the tree of its process.",
        Source::Instance(|slot, to| to.put(number(slot.memory))),
    ),
    gauge(
        "memory_limit",
        Some(Unit::Bytes),
        "What the tree of each instance may take (`max_memory_restart`).",
        Source::App(|app, to| {
            if let Some(limit) = app.memory_limit {
                to.put(number(limit));
            }
        }),
    ),
    gauge(
        "memory_warning",
        Some(Unit::Bytes),
        "From where on the memory of an instance is told of (`memory_warn`).",
        Source::App(|app, to| {
            if let Some(warn) = app.memory_warn {
                to.put(number(warn));
            }
        }),
    ),
    labelled(
        "connections",
        &["address"],
        "Open connections of a port that it shares; absent where they cannot be told from those of others.",
        Source::Instance(|slot, to| {
            of_ports(slot, to, |port| port.connections.map(f64::from));
        }),
    ),
    labelled(
        "accept_queue",
        &["address"],
        "Connections that wait for it to accept them.",
        Source::Instance(|slot, to| of_ports(slot, to, |port| Some(f64::from(port.queued)))),
    ),
    Family {
        name: "accept_queue_overflows",
        kind: Kind::Counter,
        unit: None,
        help: "Connections that did not fit into its queue since its process began to listen.",
        labels: &["address"],
        source: Source::Instance(|slot, to| of_ports(slot, to, |port| Some(f64::from(port.overflows)))),
    },
    labelled(
        "port_members",
        &["address"],
        "How many sockets share the port.",
        Source::Instance(|slot, to| of_ports(slot, to, |port| Some(port.members as f64))),
    ),
    labelled(
        "port_serving",
        &["address"],
        "How many of these get new connections.",
        Source::Instance(|slot, to| of_ports(slot, to, |port| Some(port.serving as f64))),
    ),
    gauge(
        "draining_connections",
        None,
        "Connections that a process of it finishes before it is asked to end.",
        Source::Instance(|slot, to| {
            if let Some(count) = slot.draining.and_then(|drain| drain.remaining.connections) {
                to.put(f64::from(count));
            }
        }),
    ),
    counter(
        "drains",
        "How often the connections of a process of it were ended, under this daemon.",
        Source::Instance(|slot, to| of_times(slot, to, |times| number(times.drains))),
    ),
    seconds(
        "drain_duration",
        "How long that took, in all.",
        Source::Instance(|slot, to| of_times(slot, to, |times| number(times.draining) / MILLIS)),
    ),
    Family {
        name: "reloads",
        kind: Kind::Counter,
        unit: None,
        help: "Reloads of it under this daemon: done, aborted before the switch, rolled back after it (those are done, too).",
        labels: &["result"],
        source: Source::Instance(|slot, to| {
            if let Some(times) = &slot.times {
                to.put_with(vec!["done".into()], number(times.reloads));
                to.put_with(vec!["aborted".into()], number(times.aborted));
                to.put_with(vec!["rolled_back".into()], number(times.rolled_back));
            }
        }),
    },
    seconds(
        "reload_duration",
        "How long those that are done took in all, each from the start of the new process until it served.",
        Source::Instance(|slot, to| of_times(slot, to, |times| number(times.reloading) / MILLIS)),
    ),
    Family {
        name: "log_lost",
        kind: Kind::Counter,
        unit: Some(Unit::Bytes),
        help: "Output of it that could not be written to its log files, under this daemon.",
        labels: &[],
        source: Source::Instance(|slot, to| of_times(slot, to, |times| number(times.log_lost))),
    },
    gauge(
        "log_up",
        None,
        "Whether its log files can be written.",
        Source::Instance(|slot, to| to.put(flag(slot.log_problem.is_none()))),
    ),
    labelled(
        "health_circuit",
        &["circuit"],
        "1 for what its health checks have made of it: unproven, closed (well), open (ill), half-open (better).",
        Source::Instance(|slot, to| {
            if let Some(health) = &slot.health {
                to.put_with(vec![health.circuit.as_str().into()], 1.0);
            }
        }),
    ),
    gauge(
        "health_up",
        None,
        "Whether its health checks let it have connections.",
        Source::Instance(|slot, to| {
            if let Some(health) = &slot.health {
                to.put(flag(matches!(health.circuit, CircuitView::Closed | CircuitView::HalfOpen)));
            }
        }),
    ),
    Family {
        name: "health_checks",
        kind: Kind::Counter,
        unit: None,
        help: "Health checks of its process under this daemon.",
        labels: &["result"],
        source: Source::Instance(|slot, to| {
            if let Some(health) = &slot.health {
                to.put_with(vec!["passed".into()], number(health.passed));
                to.put_with(vec!["failed".into()], number(health.failed));
            }
        }),
    },
    gauge(
        "health_check_duration",
        Some(Unit::Seconds),
        "How long its last health check took.",
        Source::Instance(|slot, to| {
            if let Some(last) = slot.health.as_ref().and_then(|health| health.last.as_ref()) {
                to.put(number(last.took) / MICROS);
            }
        }),
    ),
    labelled(
        "node_version",
        &["version"],
        "1 for the version of its Node.",
        Source::Instance(|slot, to| {
            if let Some(node) = &slot.said.node {
                to.put_with(vec![bounded(&node.version)], 1.0);
            }
        }),
    ),
    gauge(
        "node_event_loop_lag",
        Some(Unit::Seconds),
        "How late the event loop of its Node was.",
        Source::Instance(|slot, to| of_node(slot, to, |node| f64::from(node.lag) / MILLIS)),
    ),
    gauge(
        "node_event_loop_busy_ratio",
        None,
        "The part of the time that the event loop of its Node was busy, from 0 to 1.",
        Source::Instance(|slot, to| of_node(slot, to, |node| f64::from(node.busy))),
    ),
    gauge(
        "node_heap_used",
        Some(Unit::Bytes),
        "Bytes of the heap of its Node that are in use.",
        Source::Instance(|slot, to| of_node(slot, to, |node| number(node.heap_used))),
    ),
    gauge(
        "node_heap_size",
        Some(Unit::Bytes),
        "Bytes of the heap of its Node.",
        Source::Instance(|slot, to| of_node(slot, to, |node| number(node.heap_total))),
    ),
    gauge(
        "node_heap_limit",
        Some(Unit::Bytes),
        "The most bytes that the heap of its Node may have.",
        Source::Instance(|slot, to| of_node(slot, to, |node| number(node.heap_limit))),
    ),
    labelled(
        "custom",
        &["metric", "unit"],
        "Metrics of the program's own (`axm:monitor`), at most 64 an instance; those that are no number are left out.",
        Source::Instance(|slot, to| {
            let mut known: Vec<Cow<'_, str>> = Vec::new();
            for metric in &slot.said.metrics {
                let name = bounded(&metric.name);
                let Some(value) = parsed(&metric.value).filter(|_| !known.contains(&name)) else { continue };
                known.push(name.clone());
                to.put_with(vec![name, metric.unit.as_deref().map_or(Cow::Borrowed(""), bounded)], value);
            }
        }),
    ),
];

fn of_ports<'a>(slot: &'a SlotView, to: &mut Samples<'a>, read: impl Fn(&PortView) -> Option<f64>) {
    for port in &slot.ports {
        if let Some(value) = read(port) {
            to.put_with(vec![port.address.to_string().into()], value);
        }
    }
}

/// Nothing where the view does not have it.
fn of_daemon<'a>(daemon: &'a DaemonView, to: &mut Samples<'a>, read: impl Fn(&OwnView) -> Option<f64>) {
    if let Some(value) = daemon.own.as_ref().and_then(read) {
        to.put(value);
    }
}

/// Nothing where the view does not have it.
fn of_times(slot: &SlotView, to: &mut Samples<'_>, read: impl Fn(&TimesView) -> f64) {
    if let Some(times) = &slot.times {
        to.put(read(times));
    }
}

/// Nothing until its agent has said what it has measured, which it says all at once.
fn of_node(slot: &SlotView, to: &mut Samples<'_>, read: impl Fn(&NodeView) -> f64) {
    if let Some(node) = slot.said.node.as_ref().filter(|node| node.heap_used > 0) {
        to.put(read(node));
    }
}

/// A number, also one in a text, as PM2's library sends them.
fn parsed(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(is_so) => Some(flag(*is_so)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    number.filter(|number| number.is_finite())
}

/// A text of a program's own, cut where it is too long.
fn bounded(text: &str) -> Cow<'_, str> {
    let end = (0..=text.len().min(MAX_LABEL)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Cow::Borrowed(text.get(..end).unwrap_or_default())
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus keeps 53 bits")]
fn number(count: u64) -> f64 {
    count as f64
}
