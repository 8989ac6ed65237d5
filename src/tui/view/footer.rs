//! The last lines: what is being done, what has to be said, and the keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr;

use crate::tui::model::{Job, JobState, Mode, Model};
use crate::tui::places::Places;
use crate::tui::view::put;
use crate::tui::view::theme::Role;
use crate::words::units::span;

/// Draws both; where the cursor is when a line is typed.
pub(super) fn draw(model: &Model, buffer: &mut Buffer, places: &Places) -> Option<(u16, u16)> {
    if let Mode::Prompt(line) = &model.mode {
        let at = places.footer;
        let sign = line.purpose.sign();
        let x = put(buffer, (at.x, at.y), at.width, sign, model.theme.of(Role::Key));
        let text = line.text();
        // The cursor stays on the screen.
        let before = line.before().width();
        let room = usize::from(at.right().saturating_sub(x + 1));
        let hidden = before.saturating_sub(room);
        let visible: String = text.chars().skip(hidden).collect();
        let end = put(buffer, (x, at.y), at.right().saturating_sub(x), &visible, Style::default());
        if let Some(problem) = &line.problem {
            put(buffer, (end + 2, at.y), at.right().saturating_sub(end + 2), problem, model.theme.of(Role::Bad));
        }
        if places.status != places.footer {
            status(model, buffer, places.status);
        }
        return Some((x + u16::try_from(before - hidden).unwrap_or(0), at.y));
    }
    let is_shared = places.status == places.footer;
    if !(is_shared && status(model, buffer, places.status)) {
        for (_, text, at) in places.footer_keys(model.access) {
            let (key, word) = text.split_once(' ').unwrap_or((&text, ""));
            let x = put(buffer, (at.x, at.y), at.width, key, model.theme.of(Role::Key));
            put(buffer, (x + 1, at.y), at.right().saturating_sub(x + 1), word, Style::default());
        }
    }
    if !is_shared {
        status(model, buffer, places.status);
    }
    None
}

/// What is being done, else what has to be said. Whether there was anything.
fn status(model: &Model, buffer: &mut Buffer, at: Rect) -> bool {
    if let Some(notice) = &model.notice {
        let role = if notice.is_bad { Role::Bad } else { Role::Accent };
        put(buffer, (at.x + 1, at.y), at.width.saturating_sub(1), &notice.text, model.theme.of(role));
        return true;
    }
    let Some(job) = model.jobs.iter().rev().max_by_key(|job| rank(job)) else { return false };
    let (text, role) = line(job, model.now, at.width);
    let more = model.jobs.len() - 1;
    let text = if more > 0 { format!("{text}  (and {more} more)") } else { text };
    put(buffer, (at.x + 1, at.y), at.width.saturating_sub(1), &text, model.theme.of(role));
    true
}

/// What goes on is of more interest than what is over.
fn rank(job: &Job) -> u8 {
    match job.state {
        JobState::Going { .. } => 2,
        JobState::Failed { .. } => 1,
        JobState::Done { .. } => 0,
    }
}

/// `restart api (4 instances) ━━━━──── 2/4 api:2 launching 3s`.
fn line(job: &Job, now: u64, width: u16) -> (String, Role) {
    match &job.state {
        JobState::Going { done, of, last } => {
            const BAR: u32 = 12;
            let filled = (done * BAR).checked_div(*of).unwrap_or(0).min(BAR);
            let bar: String = (0..BAR).map(|n| if n < filled { '━' } else { '─' }).collect();
            let bar = if width >= 60 { format!(" {bar}") } else { String::new() };
            let time = span(now.saturating_sub(job.begun));
            (format!("{}{bar} {done}/{of} {last} {time}", job.title), Role::Changing)
        }
        JobState::Done { .. } => (format!("✓ {}", job.title), Role::Good),
        JobState::Failed { lines, .. } => {
            let first = lines.first().map(String::as_str).unwrap_or_default();
            (format!("✗ {}: {first} (Esc)", job.title), Role::Bad)
        }
    }
}
