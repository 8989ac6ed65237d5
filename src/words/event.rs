//! What happened, in words.

use crate::proto::{EventKind, HeavyThen};
use crate::words::units::{fine_span, memory, printable};

/// The event in words.
pub(crate) fn what(event: &EventKind) -> String {
    match event {
        EventKind::Created => "created".to_owned(),
        EventKind::Changed { what } => format!("changed: {}", printable(&what.join(", "))),
        EventKind::Started { pid, .. } => format!("started, pid {pid}"),
        EventKind::Online { after, by, .. } => format!("online after {} ({})", fine_span(*after), printable(by)),
        EventKind::SpawnFailed { reason } => format!("cannot be started: {}", printable(reason)),
        EventKind::Draining { .. } => "draining: its connections are being ended".to_owned(),
        EventKind::Remark { text, .. } => format!("note: {}", printable(text)),
        EventKind::ReloadAborted { reason, .. } => format!("reload ended, nothing was replaced: {}", printable(reason)),
        EventKind::Held { .. } => "ready, and waits for the others".to_owned(),
        EventKind::Parked { bake, .. } => {
            format!("replaced, and kept for {} in case its successor fails", fine_span(*bake))
        }
        EventKind::RolledBack { reason, .. } => {
            format!("has taken over again, its successor failed: {}", printable(reason))
        }
        EventKind::Unhealthy { reason, .. } => format!("unhealthy, gets no connections: {}", printable(reason)),
        EventKind::Recovering { .. } => "health check passes again, gets few connections".to_owned(),
        EventKind::Healthy { .. } => "healthy again".to_owned(),
        EventKind::GivenUpOn { reason, .. } => {
            format!("health check goes on failing, is restarted: {}", printable(reason))
        }
        EventKind::Hung { reason, .. } => format!("is ended: {}", printable(reason)),
        EventKind::OutOfMemory { sure: true, .. } => "out of memory: the kernel kills it".to_owned(),
        EventKind::OutOfMemory { sure: false, .. } => {
            "probably out of memory: the kernel has killed for it in this moment".to_owned()
        }
        EventKind::HealthIgnored { healthy: 0, .. } => {
            "no instance is healthy: health is ignored, connections go to all".to_owned()
        }
        EventKind::HealthIgnored { healthy, of } => {
            format!("only {healthy} of {of} instances are healthy: health is ignored, connections go to all")
        }
        EventKind::HealthTrusted { healthy, of } => {
            format!("{healthy} of {of} instances are healthy: connections go to these again")
        }
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
        EventKind::LogFailing { path, reason } => {
            format!("cannot write {}: {}", printable(&path.to_string_lossy()), printable(reason))
        }
        EventKind::LogWritten { path, lost } => {
            format!("writes {} again; {lost} bytes were lost", printable(&path.to_string_lossy()))
        }
        EventKind::LogsRemoved { folder, archives, bytes } => {
            let folder = folder.to_string_lossy();
            format!(
                "disk nearly full: {archives} old archives of logs went ({}), as in {}",
                memory(*bytes),
                printable(&folder)
            )
        }
        EventKind::DaemonReady { pid, restarts: 0 } => format!("daemon ready, pid {pid}"),
        EventKind::DaemonReady { pid, restarts } => format!("daemon ready again, pid {pid}, restart {restarts}"),
        EventKind::DaemonLeaving => "daemon leaves, all apps are stopped".to_owned(),
        EventKind::Missed { count } => format!("{count} events were missed: this reader was too slow"),
    }
}
