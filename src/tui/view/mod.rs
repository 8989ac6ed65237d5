//! The screen, drawn from the model: pure, into a buffer.

mod detail;
mod footer;
mod graph;
mod header;
pub(crate) mod list;
mod logs;
pub(crate) mod overlay;
pub(crate) mod theme;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Block, BorderType, Borders, Widget};
use unicode_width::UnicodeWidthStr;

use crate::tui::keymap::Pane;
use crate::tui::model::{Mode, Model};
use crate::tui::places::{Places, SMALLEST, places};
use crate::tui::view::theme::{Role, Theme};

/// Draws everything; where the cursor of the terminal belongs, if it is shown.
pub(crate) fn draw(model: &Model, buffer: &mut Buffer) -> Option<(u16, u16)> {
    let screen = buffer.area;
    if screen.width < SMALLEST.0 || screen.height < SMALLEST.1 {
        let text = format!("{}×{} is too small: {}×{} at least", screen.width, screen.height, SMALLEST.0, SMALLEST.1);
        put(buffer, (0, screen.height / 2), screen.width, &text, Style::default());
        return None;
    }
    let places = places(model);
    header::draw(model, buffer, places.header);
    for pane in Pane::ALL {
        let Some(outer) = places.of(pane) else { continue };
        frame(model, buffer, &places, pane, outer);
        let inner = places.inner(pane);
        match pane {
            Pane::List => list::draw(model, buffer, inner),
            Pane::Detail => detail::draw(model, buffer, inner),
            Pane::Logs => logs::draw(model, buffer, inner),
        }
    }
    let cursor = footer::draw(model, buffer, &places);
    match &model.mode {
        Mode::Browse => {}
        Mode::Prompt(line) => overlay::candidates(model, line, buffer, places.footer),
        Mode::Confirm(deed) => overlay::question(model, deed, buffer),
        Mode::Help(top) => overlay::help(model, *top, buffer),
        Mode::Report(number, top) => overlay::report(model, *number, *top, buffer),
    }
    cursor
}

/// The frame of a pane, or the line above it, with its title.
fn frame(model: &Model, buffer: &mut Buffer, places: &Places, pane: Pane, outer: Rect) {
    let theme = model.theme;
    let has_focus = model.focus == pane;
    let style = theme.of(if has_focus { Role::Focus } else { Role::Frame });
    let borders = if places.is_framed { Borders::ALL } else { Borders::TOP };
    let kind = if has_focus { BorderType::Thick } else { BorderType::Rounded };
    Block::new().borders(borders).border_type(kind).border_style(style).render(outer, buffer);
    let title_style = if has_focus { theme.of(Role::Title) } else { Style::default() };
    match pane {
        Pane::Detail => {
            let tabs = places.tabs();
            let mut end = outer.x + 2;
            for (tab, at) in tabs {
                let style =
                    if tab == model.tab { title_style.patch(theme.of(Role::Chosen)) } else { theme.of(Role::Dim) };
                put(buffer, (at.x, at.y), 1, " ", Style::default());
                put(buffer, (at.x + 1, at.y), at.width - 2, tab.word(), style);
                put(buffer, (at.right() - 1, at.y), 1, " ", Style::default());
                end = at.right();
            }
            let title = detail::title(model);
            right(buffer, outer, end + 1, &title, Style::default());
        }
        Pane::List => title(buffer, outer, &list::title(model), &list::remark(model), title_style, theme),
        Pane::Logs => title(buffer, outer, &logs::title(model), &logs::remark(model), title_style, theme),
    }
}

fn title(buffer: &mut Buffer, outer: Rect, text: &str, remark: &str, style: Style, theme: Theme) {
    let width = outer.width.saturating_sub(4);
    let end = put(buffer, (outer.x + 2, outer.y), width, &format!(" {text} "), style);
    if !remark.is_empty() {
        right(buffer, outer, end + 1, remark, theme.of(Role::Accent));
    }
}

/// Text at the right end of a line above a pane, from `begin` on at the most.
fn right(buffer: &mut Buffer, outer: Rect, begin: u16, text: &str, style: Style) {
    if text.is_empty() {
        return;
    }
    let text = format!(" {text} ");
    let width = u16::try_from(text.width()).unwrap_or(u16::MAX);
    let end = outer.right().saturating_sub(2);
    let at = end.saturating_sub(width).max(begin);
    put(buffer, (at, outer.y), end.saturating_sub(at), &text, style);
}

/// Writes text; cut with a mark where it is too long. Returns the column behind it.
pub(crate) fn put(buffer: &mut Buffer, (x, y): (u16, u16), width: u16, text: &str, style: Style) -> u16 {
    if width == 0 || !buffer.area.contains((x, y).into()) {
        return x;
    }
    if text.width() <= usize::from(width) {
        return buffer.set_stringn(x, y, text, usize::from(width), style).0;
    }
    let (end, _) = buffer.set_stringn(x, y, text, usize::from(width) - 1, style);
    buffer.set_stringn(end, y, "…", 1, style).0
}

/// The last `height` or less of so many lines, from `top` on if that leaves no line free.
pub(crate) fn window(count: usize, top: usize, height: u16) -> std::ops::Range<usize> {
    let height = usize::from(height);
    let top = top.min(count.saturating_sub(height));
    top..(top + height).min(count)
}
