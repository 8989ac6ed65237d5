//! The story of an instance as `rsx why` prints it.

use crate::cli::render::table::Sheet;
use crate::cli::style::Tint;
use crate::words::clock::moment;
use crate::words::story::Story;
use crate::words::units::{fine_span, printable, span};

pub(in crate::cli) use crate::words::story::story;

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
        let what = entry.tone.map_or_else(|| entry.what.clone(), |tone| style.paint(Tint::from(tone), &entry.what));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample::{self, NOW};
    use crate::cli::render::table::Extent;
    use crate::cli::style::Style;
    use crate::proto::{Event, EventKind};
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
