//! The story of one instance: what happened, who asked for it, what its last words were, what was decided, what is next.
//!
//! The daemon keeps the last thousand events of all apps, and the last ten exits of each instance with their last words;
//! both are merged here, each end told once, in the order of the events.

use serde::Serialize;

use crate::proto::{AppView, Event, EventKind, ExitView, SlotView, State};
use crate::spec::{AppSpec, RestartPolicy};
use crate::words::event;
use crate::words::units::{fine_span, printable};
use crate::words::{Tone, place};

/// The story of one instance.
#[derive(Debug, Serialize)]
pub(crate) struct Story {
    pub(crate) app: String,
    pub(crate) place: String,
    pub(crate) id: u32,
    pub(crate) instance: u16,
    pub(crate) state: State,
    pub(crate) reason: Option<String>,
    pub(crate) started: Option<u64>,
    pub(crate) next_attempt: Option<u64>,
    /// What its declaration says about ends.
    pub(crate) policy: Option<String>,
    /// How many entries are older than those that are told.
    pub(crate) left_out: usize,
    pub(crate) entries: Vec<Entry>,
}

/// One thing that happened.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) time: u64,
    pub(crate) what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verb: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) stderr: Vec<String>,
    #[serde(skip)]
    pub(crate) tone: Option<Tone>,
}

/// Puts the story together; at most `limit` entries, the last ones.
pub(crate) fn story(app: &AppView, slot: &SlotView, events: &[Event], limit: usize) -> Story {
    let is_ours =
        |event: &&Event| event.app.as_deref() == Some(app.name.as_str()) && event.id.is_none_or(|id| id == slot.id);
    // Older than anything that the daemon still tells; what is younger is among the events.
    let forgotten = events.first().map_or(u64::MAX, |event| event.time);
    let mut entries: Vec<Entry> =
        slot.history.iter().filter(|exit| exit.time < forgotten).map(|exit| ended(exit, exit.time)).collect();
    entries.reverse();
    entries.extend(events.iter().filter(is_ours).map(|event| told(event, &slot.history)));
    let left_out = entries.len().saturating_sub(limit);
    entries.drain(..left_out);
    Story {
        app: app.name.clone(),
        place: place(app, slot),
        id: slot.id,
        instance: slot.instance,
        state: slot.state,
        reason: slot.reason.clone(),
        started: slot.pid.and(slot.started),
        next_attempt: slot.next_attempt,
        policy: app.spec.as_ref().map(policy),
        left_out,
        entries,
    }
}

fn ended(exit: &ExitView, time: u64) -> Entry {
    let reason = printable(&exit.reason);
    let what = match exit.status {
        None => format!("cannot be started: {reason}"),
        Some(_) => format!("exited: {reason}, pid {}, after {}", exit.pid, fine_span(exit.uptime)),
    };
    let is_fine = exit.status.is_some_and(|status| status.is_success()) || exit.reason.ends_with("stopped by request");
    let tone = (!is_fine).then_some(Tone::Bad);
    Entry { time, what, verb: None, uid: None, stderr: exit.stderr.clone(), tone }
}

/// An event; an end that is remembered with what is remembered of it.
fn told(event: &Event, history: &[ExitView]) -> Entry {
    if let EventKind::Exited { run, .. } = event.event
        && let Some(exit) = history.iter().find(|exit| exit.run == run)
    {
        return ended(exit, event.time);
    }
    let tone = tone(&event.event);
    let what = event::what(&event.event);
    Entry { time: event.time, what, verb: event.verb.clone(), uid: event.uid, stderr: Vec::new(), tone }
}

/// How a change is meant; none where it is neither good nor bad.
pub(crate) fn tone(event: &EventKind) -> Option<Tone> {
    match event {
        EventKind::Online { .. } | EventKind::Healthy { .. } | EventKind::HealthTrusted { .. } => Some(Tone::Good),
        EventKind::Waiting { .. }
        | EventKind::Changed { .. }
        | EventKind::Signalled { .. }
        | EventKind::Heavy { .. }
        | EventKind::Recovering { .. }
        | EventKind::Remark { .. } => Some(Tone::Warn),
        EventKind::Exited { .. }
        | EventKind::SpawnFailed { .. }
        | EventKind::Killed { .. }
        | EventKind::ReloadAborted { .. }
        | EventKind::RolledBack { .. }
        | EventKind::LogFailing { .. }
        | EventKind::Unhealthy { .. }
        | EventKind::GivenUpOn { .. }
        | EventKind::Hung { .. }
        | EventKind::OutOfMemory { .. }
        | EventKind::HealthIgnored { .. }
        | EventKind::Errored { .. } => Some(Tone::Bad),
        EventKind::Created
        | EventKind::Started { .. }
        | EventKind::Draining { .. }
        | EventKind::Held { .. }
        | EventKind::Parked { .. }
        | EventKind::Stopping { .. }
        | EventKind::Reset
        | EventKind::Stopped { .. }
        | EventKind::Deleted
        | EventKind::LogWritten { .. }
        | EventKind::LogsRemoved { .. }
        | EventKind::DaemonReady { .. }
        | EventKind::DaemonLeaving
        | EventKind::Missed { .. } => None,
    }
}

/// What its declaration says about ends, in one line.
fn policy(spec: &AppSpec) -> String {
    let time = |duration: std::time::Duration| fine_span(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    let restart = &spec.restart;
    let mut text = match restart.policy {
        RestartPolicy::Always => "restarted after every end".to_owned(),
        RestartPolicy::OnFailure => "restarted after a failure".to_owned(),
        RestartPolicy::Never => return "never restarted by itself".to_owned(),
    };
    if !restart.stop_exit_codes.is_empty() {
        let codes: Vec<String> = restart.stop_exit_codes.iter().map(u8::to_string).collect();
        text.push_str(&format!(" but exit code {}", codes.join(", ")));
    }
    let retry = restart.retry_after.map_or_else(|| "for good".to_owned(), |pause| format!("for {}", time(pause)));
    let (lives, short) = (restart.max_restarts, time(restart.min_uptime));
    format!("{text}; given up {retry} after {lives} lives shorter than {short} within 10 minutes")
}
