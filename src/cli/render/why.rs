//! The story of one instance: what happened, who asked for it, what its last words were, what was decided, what is next.
//!
//! The daemon keeps the last thousand events of all apps, and the last ten exits of each instance with their last words;
//! both are merged here, each end told once, in the order of the events.

use serde::Serialize;

use crate::cli::render::clock::moment;
use crate::cli::render::event;
use crate::cli::render::table::{Sheet, place};
use crate::cli::render::units::{fine_span, printable, span};
use crate::cli::style::Tint;
use crate::proto::{AppView, Event, EventKind, ExitView, SlotView, State};
use crate::spec::{AppSpec, RestartPolicy};

/// The story of one instance.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Story {
    app: String,
    place: String,
    id: u32,
    instance: u16,
    state: State,
    reason: Option<String>,
    started: Option<u64>,
    next_attempt: Option<u64>,
    /// What its declaration says about ends.
    policy: Option<String>,
    /// How many entries are older than those that are told.
    left_out: usize,
    entries: Vec<Entry>,
}

/// One thing that happened.
#[derive(Debug, Serialize)]
struct Entry {
    time: u64,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    verb: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stderr: Vec<String>,
    #[serde(skip)]
    tint: Option<Tint>,
}

/// Puts the story together; at most `limit` entries, the last ones.
pub(in crate::cli) fn story(app: &AppView, slot: &SlotView, events: &[Event], limit: usize) -> Story {
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

/// The story for people, newest last, then what comes next.
pub(in crate::cli) fn text(story: &Story, sheet: Sheet) -> String {
    let style = sheet.style;
    let mut lines = vec![style.paint(Tint::Bold, &format!("{} (id {})", story.place, story.id))];
    if story.left_out > 0 {
        let line = format!("  {} older entries: --lines {}", story.left_out, story.left_out + story.entries.len());
        lines.push(style.paint(Tint::Grey, &line));
    }
    for entry in &story.entries {
        let behind = match (&entry.verb, entry.uid) {
            (Some(verb), Some(uid)) => format!("  [{} by uid {uid}]", printable(verb)),
            (Some(_) | None, _) => String::new(),
        };
        let what = entry.tint.map_or_else(|| entry.what.clone(), |tint| style.paint(tint, &entry.what));
        lines.push(format!("  {}  {what}{}", moment(entry.time), style.paint(Tint::Grey, &behind)));
        lines.extend(entry.stderr.iter().map(|line| format!("    | {}", printable(line))));
    }
    let mut now = format!("now: {}", style.paint(Tint::of(story.state), story.state.as_str()));
    if let Some(reason) = &story.reason {
        now.push_str(&format!(": {}", printable(reason)));
    }
    if let Some(started) = story.started {
        now.push_str(&format!(" since {}", span(sheet.now.saturating_sub(started))));
    }
    lines.push(now);
    if let Some(next) = story.next_attempt {
        lines.push(format!("next attempt: in {}", fine_span(next.saturating_sub(sheet.now))));
    }
    lines.extend(story.policy.iter().map(|policy| format!("policy: {policy}")));
    lines.push(format!("more: rsx logs {name}, rsx describe {name}", name = printable(&story.app)));
    lines.push(String::new());
    lines.join("\n")
}

fn ended(exit: &ExitView, time: u64) -> Entry {
    let reason = printable(&exit.reason);
    let what = match exit.status {
        None => format!("cannot be started: {reason}"),
        Some(_) => format!("exited: {reason}, pid {}, after {}", exit.pid, fine_span(exit.uptime)),
    };
    let is_fine = exit.status.is_some_and(|status| status.is_success()) || exit.reason.ends_with("stopped by request");
    let tint = (!is_fine).then_some(Tint::Red);
    Entry { time, what, verb: None, uid: None, stderr: exit.stderr.clone(), tint }
}

/// An event; an end that is remembered with what is remembered of it.
fn told(event: &Event, history: &[ExitView]) -> Entry {
    if let EventKind::Exited { run, .. } = event.event
        && let Some(exit) = history.iter().find(|exit| exit.run == run)
    {
        return ended(exit, event.time);
    }
    let tint = match event.event {
        EventKind::Online { .. } => Some(Tint::Green),
        EventKind::Waiting { .. }
        | EventKind::Changed { .. }
        | EventKind::Heavy { .. }
        | EventKind::Signalled { .. }
        | EventKind::Remark { .. } => Some(Tint::Yellow),
        EventKind::Exited { .. }
        | EventKind::SpawnFailed { .. }
        | EventKind::Killed { .. }
        | EventKind::ReloadAborted { .. }
        | EventKind::Errored { .. } => Some(Tint::Red),
        EventKind::Created
        | EventKind::Started { .. }
        | EventKind::Draining { .. }
        | EventKind::Stopping { .. }
        | EventKind::Reset
        | EventKind::Stopped { .. }
        | EventKind::Deleted
        | EventKind::DaemonReady { .. }
        | EventKind::DaemonLeaving
        | EventKind::Missed { .. } => None,
    };
    let what = event::what(&event.event);
    Entry { time: event.time, what, verb: event.verb.clone(), uid: event.uid, stderr: Vec::new(), tint }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample::{self, NOW};
    use crate::cli::render::table::Extent;
    use crate::cli::style::Style;
    use crate::spec::ExitStatus;

    fn event(seconds_ago: u64, id: Option<u32>, event: EventKind) -> Event {
        Event {
            seq: 0,
            time: NOW - seconds_ago * 1000,
            app: Some("api".into()),
            id,
            instance: None,
            uid: Some(1000),
            verb: Some("restart".into()),
            event,
        }
    }

    fn exited(seconds_ago: u64) -> Event {
        let (status, uptime) = (ExitStatus::Code(1), 340);
        let kind = EventKind::Exited { run: 9, pid: 4009, status, uptime, asked: false, left: false };
        event(seconds_ago, Some(1), kind)
    }

    fn told_of(events: &[Event], limit: usize) -> Story {
        let view = sample::full_view();
        story(&view.apps[0], &view.apps[0].slots[1], events, limit)
    }

    #[test]
    fn a_story_goes_from_the_change_to_the_next_attempt() {
        let events = [
            event(120, None, EventKind::Changed { what: vec!["env".into()] }),
            event(119, Some(1), EventKind::Started { pid: 4009, run: 9 }),
            event(118, Some(0), EventKind::Started { pid: 4000, run: 1 }),
            exited(60),
            event(60, Some(1), EventKind::Errored { reason: "exit code 1".into(), retry: Some(60_000) }),
        ];
        let sheet = Sheet { width: None, style: Style::Plain, extent: Extent::Full, now: NOW };
        let text = text(&told_of(&events, 30), sheet);
        let time = regex_lite::Regex::new(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d").unwrap();
        insta::assert_snapshot!(time.replace_all(&text, "[local time]"));
    }

    #[test]
    fn an_end_is_told_once_and_an_older_one_from_the_events() {
        let story = told_of(&[exited(5_000), exited(60)], 30);
        let ends = story.entries.iter().filter(|entry| entry.what.starts_with("exited")).count();
        assert_eq!(ends, 2, "{story:?}");
    }

    #[test]
    fn only_the_last_entries_are_told_and_the_rest_is_counted() {
        let story = told_of(&[exited(60)], 1);
        assert_eq!((story.entries.len(), story.left_out), (1, 1));
        assert!(!story.entries[0].stderr.is_empty(), "the newest is the one with the last words");
    }
}
