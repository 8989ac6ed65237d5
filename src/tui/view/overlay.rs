//! What stands in front of the screen: questions, the help, what went wrong, and what a word may become.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Block, BorderType, Borders, Clear, Widget};
use unicode_width::UnicodeWidthStr;

use crate::tui::keymap::{BINDINGS, Group};
use crate::tui::model::command::{self, Deed, Verb};
use crate::tui::model::prompt::Prompt;
use crate::tui::model::{Access, JobState, Model};
use crate::tui::update::candidates as candidates_of;
use crate::tui::view::detail::wrapped;
use crate::tui::view::theme::Role;
use crate::tui::view::{put, window};

const YES: &str = " y yes ";
const NO: &str = " n no ";

/// Asks whether a deed is meant.
pub(super) fn question(model: &Model, deed: &Deed, buffer: &mut Buffer) {
    let at = question_place(model.size, deed);
    let inner = open(model, buffer, at, "");
    for (line, y) in question_lines(at.width, deed).iter().zip(inner.y..) {
        let style = if y == inner.y { model.theme.of(Role::Strong) } else { Style::default() };
        put(buffer, (inner.x + 1, y), inner.width.saturating_sub(1), line, style);
    }
    let (yes, no) = buttons(model.size, deed);
    put(buffer, (yes.x, yes.y), yes.width, YES, model.theme.of(Role::Cursor));
    put(buffer, (no.x, no.y), no.width, NO, model.theme.of(Role::Chosen));
}

fn question_place(size: (u16, u16), deed: &Deed) -> Rect {
    let width = 64.min(size.0.saturating_sub(2));
    let lines = question_lines(width, deed).len();
    centred(size, width, u16::try_from(lines).unwrap_or(4) + 4)
}

fn question_lines(width: u16, deed: &Deed) -> Vec<String> {
    let room = usize::from(width.saturating_sub(4)).max(10);
    let mut lines = wrapped(&format!("{deed}?"), room);
    let consequence = match deed.verb {
        Verb::Reload => "New processes start before the old ones stop.",
        Verb::Restart => "Each process stops before it starts again.",
        Verb::Start => "What runs already is left alone.",
        Verb::Stop => "It stays in the list.",
        Verb::Delete => "It stops, and the list forgets it. Its log files stay.",
        Verb::Reset => "Restart counters begin again at 0.",
        Verb::Flush => "All lines in its log files and their archives are lost.",
        Verb::Scale(_) => "The highest instances go first, drained.",
        Verb::Signal(_) => "To the main process of each.",
    };
    lines.extend(wrapped(consequence, room));
    lines
}

/// Where yes and no can be clicked.
pub(crate) fn buttons(size: (u16, u16), deed: &Deed) -> (Rect, Rect) {
    let at = question_place(size, deed);
    let y = at.bottom().saturating_sub(2);
    let button = |x: u16, text: &str| Rect { x, y, width: u16::try_from(text.len()).unwrap_or(8), height: 1 };
    let yes = button(at.x + 2, YES);
    (yes, button(yes.right() + 2, NO))
}

/// All keys, from the one table, and all commands.
pub(super) fn help(model: &Model, top: usize, buffer: &mut Buffer) {
    let theme = model.theme;
    let mut lines: Vec<(String, String, bool)> = Vec::new();
    for group in Group::ALL {
        let bindings: Vec<_> = BINDINGS
            .iter()
            .filter(|binding| binding.group == group && !(binding.changes && model.access == Access::ReadOnly))
            .collect();
        if bindings.is_empty() {
            continue;
        }
        if !lines.is_empty() {
            lines.push((String::new(), String::new(), false));
        }
        lines.push((group.title().to_owned(), String::new(), true));
        for binding in bindings {
            let keys: Vec<String> = binding.keys.iter().map(|key| key.label()).collect();
            lines.push((keys.join(" "), binding.help.to_owned(), false));
        }
    }
    lines.push((String::new(), String::new(), false));
    lines.push(("Filter".to_owned(), String::new(), true));
    for (example, what) in [
        ("api worker", "all of these words: names, namespaces, ids, users, states"),
        ("/^api-[0-9]/", "a regular expression"),
        ("status:errored", "one field: app, ns, status, user, mode, id, version"),
        ("cpu>50 mem>=1G", "numbers: cpu, mem, restarts, uptime, connections, queue, lag"),
        ("!status:online", "the opposite of anything"),
    ] {
        lines.push((example.to_owned(), what.to_owned(), false));
    }
    lines.push((String::new(), String::new(), false));
    lines.push(("Commands, after :".to_owned(), String::new(), true));
    lines.extend(command::commands().map(|(name, what)| (name.to_owned(), what.to_owned(), false)));
    lines.push((String::new(), String::new(), false));
    lines.push(("Mouse".to_owned(), String::new(), true));
    lines.push(("click".to_owned(), "rows, column titles, tabs, and the keys below".to_owned(), false));
    lines.push(("wheel".to_owned(), "what is under the pointer".to_owned(), false));
    let width = 78.min(model.size.0.saturating_sub(2));
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(model.size.1.saturating_sub(2));
    let inner = open(model, buffer, centred(model.size, width, height), "help · any other key closes");
    for ((left, right, is_title), y) in lines[window(lines.len(), top, inner.height)].iter().zip(inner.y..) {
        let style = if *is_title { theme.of(Role::Title) } else { theme.of(Role::Key) };
        let x = put(buffer, (inner.x + 1, y), inner.width.saturating_sub(1), left, style);
        let x = x.max(inner.x + 17) + 1;
        put(buffer, (x, y), inner.right().saturating_sub(x), right, Style::default());
    }
}

/// What became of a job.
pub(super) fn report(model: &Model, number: u64, top: usize, buffer: &mut Buffer) {
    let Some(job) = model.jobs.iter().find(|job| job.number == number) else { return };
    let JobState::Failed { lines, .. } = &job.state else { return };
    let width = 90.min(model.size.0.saturating_sub(2));
    let room = usize::from(width.saturating_sub(4)).max(10);
    let mut text: Vec<String> = lines.iter().flat_map(|line| wrapped(line, room)).collect();
    text.push(String::new());
    text.push("w tells what happened to it; any key closes".to_owned());
    let height = u16::try_from(text.len() + 2).unwrap_or(u16::MAX).min(model.size.1.saturating_sub(2));
    let inner = open(model, buffer, centred(model.size, width, height), &format!("✗ {}", job.title));
    for (line, y) in text[window(text.len(), top, inner.height)].iter().zip(inner.y..) {
        let is_head = line.starts_with("failed:");
        let style = if is_head { model.theme.of(Role::Bad) } else { Style::default() };
        put(buffer, (inner.x + 1, y), inner.width.saturating_sub(1), line, style);
    }
}

/// What the word that is being typed may become, above the line.
pub(super) fn candidates(model: &Model, line: &Prompt, buffer: &mut Buffer, footer: Rect) {
    /// As many as can be looked over.
    const MOST: usize = 10;
    let candidates = candidates_of(model, &line.base(), line.purpose);
    let chosen = line.chosen.as_ref().map(|(at, _)| *at);
    if candidates.is_empty() {
        return;
    }
    let height = u16::try_from(candidates.len().min(MOST)).unwrap_or(1).min(footer.y.saturating_sub(3));
    let top = chosen.map_or(0, |at| (at + 1).saturating_sub(usize::from(height)));
    let wide = candidates.iter().map(|(word, what)| word.width() + what.width() + 4).max().unwrap_or(10);
    let width = u16::try_from(wide + 2).unwrap_or(40).clamp(20, model.size.0.saturating_sub(2).max(20));
    let at = Rect { x: footer.x + 1, y: footer.y.saturating_sub(height + 2), width, height: height + 2 };
    let inner = open(model, buffer, at, "Tab");
    for (n, y) in window(candidates.len(), top, inner.height).zip(inner.y..) {
        let (word, what) = &candidates[n];
        let x = put(buffer, (inner.x + 1, y), inner.width.saturating_sub(1), word, Style::default());
        put(buffer, (x + 2, y), inner.right().saturating_sub(x + 2), what, model.theme.of(Role::Dim));
        if chosen == Some(n) {
            buffer.set_style(Rect { x: inner.x, y, width: inner.width, height: 1 }, model.theme.of(Role::Cursor));
        }
    }
}

/// An empty box with this title; what is inside of it.
fn open(model: &Model, buffer: &mut Buffer, at: Rect, title: &str) -> Rect {
    let at = at.intersection(buffer.area);
    Clear.render(at, buffer);
    let block =
        Block::new().borders(Borders::ALL).border_type(BorderType::Rounded).border_style(model.theme.of(Role::Focus));
    let inner = block.inner(at);
    block.render(at, buffer);
    if !title.is_empty() {
        put(buffer, (at.x + 2, at.y), at.width.saturating_sub(4), &format!(" {title} "), model.theme.of(Role::Title));
    }
    inner
}

fn centred(size: (u16, u16), width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(size.0), height.min(size.1));
    Rect { x: (size.0 - width) / 2, y: (size.1 - height) / 2, width, height }
}
