//! One change as one line.

use crate::cli::render::clock::moment;
use crate::cli::render::units::{fine_span, memory, printable};
use crate::cli::style::{Style, Tint};
use crate::proto::{Event, EventKind, HeavyThen};

/// `2026-05-28 14:03:07  api:0  online after 120ms (listening)  [start by uid 1000]`
pub(in crate::cli) fn line(event: &Event, style: Style) -> String {
    let place = match (&event.app, event.instance) {
        (Some(app), Some(instance)) => format!("{}:{instance}", printable(app)),
        (Some(app), None) => printable(app).into_owned(),
        (None, _) => "rsx".to_owned(),
    };
    let mut line = format!("{}  {}  {}", moment(event.time), style.paint(Tint::Cyan, &place), what(&event.event));
    let behind = match (&event.verb, event.uid) {
        (Some(verb), Some(uid)) => format!("  [{} by uid {uid}]", printable(verb)),
        (Some(verb), None) => format!("  [{}]", printable(verb)),
        (None, Some(uid)) => format!("  [by uid {uid}]"),
        (None, None) => String::new(),
    };
    line.push_str(&style.paint(Tint::Grey, &behind));
    line
}

/// The event in words.
pub(in crate::cli) fn what(event: &EventKind) -> String {
    match event {
        EventKind::Created => "created".to_owned(),
        EventKind::Changed { what } => format!("changed: {}", printable(&what.join(", "))),
        EventKind::Started { pid, .. } => format!("started, pid {pid}"),
        EventKind::Online { after, by, .. } => format!("online after {} ({})", fine_span(*after), printable(by)),
        EventKind::SpawnFailed { reason } => format!("cannot be started: {}", printable(reason)),
        EventKind::Draining { .. } => "draining: its connections are being ended".to_owned(),
        EventKind::Remark { text, .. } => format!("note: {}", printable(text)),
        EventKind::ReloadAborted { reason, .. } => format!("reload ended, nothing was replaced: {}", printable(reason)),
        EventKind::Stopping { signal, .. } => format!("stopping with {}", printable(signal)),
        EventKind::Signalled { signal, .. } => format!("{} sent", printable(signal)),
        EventKind::Heavy { memory: now, limit, then, .. } => {
            let (now, limit) = (memory(*now), memory(*limit));
            match then {
                HeavyThen::Warned => format!("memory: {now}, a warning was wanted from {limit} on"),
                HeavyThen::Replaced => format!("memory: {now}, limit {limit}: a new run takes over"),
                HeavyThen::Restarted => format!("memory: {now}, limit {limit}: restarting"),
            }
        }
        EventKind::Reset => "counters set back".to_owned(),
        EventKind::Killed { .. } => "did not end in time: killed".to_owned(),
        EventKind::Exited { status, uptime, left, pid, .. } => {
            let rest = if *left { ", children left behind are being ended" } else { "" };
            format!("exited: {status}, pid {pid}, after {}{rest}", fine_span(*uptime))
        }
        EventKind::Waiting { delay: 0, reason } => format!("restarting at once: {}", printable(reason)),
        EventKind::Waiting { delay, reason } => {
            format!("restarting in {}: {}", fine_span(*delay), printable(reason))
        }
        EventKind::Errored { reason, retry: Some(retry) } => {
            format!("errored: {}, tried again in {}", printable(reason), fine_span(*retry))
        }
        EventKind::Errored { reason, retry: None } => format!("errored: {}", printable(reason)),
        // A reason that says so by itself needs no heading.
        EventKind::Stopped { reason } if reason.starts_with("stopped") => printable(reason).into_owned(),
        EventKind::Stopped { reason } => format!("stopped: {}", printable(reason)),
        EventKind::Deleted => "deleted".to_owned(),
        EventKind::DaemonReady { pid, restarts: 0 } => format!("daemon ready, pid {pid}"),
        EventKind::DaemonReady { pid, restarts } => format!("daemon ready again, pid {pid}, restart {restarts}"),
        EventKind::DaemonLeaving => "daemon leaves, all apps are stopped".to_owned(),
        EventKind::Missed { count } => format!("{count} events were missed: this reader was too slow"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ExitStatus;

    #[test]
    fn an_event_names_what_happened_to_whom_and_by_whom() {
        let event = Event {
            seq: 4,
            time: 0,
            app: Some("api".into()),
            id: Some(3),
            instance: Some(1),
            uid: Some(1000),
            verb: Some("restart".into()),
            event: EventKind::Exited {
                run: 2,
                pid: 99,
                status: ExitStatus::Code(3),
                uptime: 1_250,
                asked: false,
                left: true,
            },
        };
        let line = line(&event, Style::Plain);
        let told = "  api:1  exited: exit code 3, pid 99, after 1.2s, children left behind are being ended  [restart by uid 1000]";
        assert!(line.ends_with(told), "{line}");
    }
}
