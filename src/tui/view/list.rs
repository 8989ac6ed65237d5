//! The list: a tree with what each costs.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr;

use crate::tui::keymap::Pane;
use crate::tui::message::Link;
use crate::tui::model::Model;
use crate::tui::model::columns::{self, Column};
use crate::tui::model::rows::{Row, Severity};
use crate::tui::model::series::{Kind, combine};
use crate::tui::view::graph;
use crate::tui::view::put;
use crate::tui::view::theme::Role;

/// How long the small graphs go back, in milliseconds a column.
const COLUMN: u64 = 4_000;

/// What the line above says.
pub(super) fn title(model: &Model) -> String {
    let count = model.list.rows.iter().filter(|row| row.is_open.is_none()).count();
    let total: usize = model.shown().view.apps.iter().map(|app| app.slots.len()).sum();
    if model.list.filter.is_empty() {
        format!("instances {total}")
    } else {
        format!("instances {count} of {total}, filter {}", model.list.filter_text)
    }
}

pub(super) fn remark(model: &Model) -> String {
    let sort = model.list.sort;
    let sign = if sort.is_descending { '↓' } else { '↑' };
    format!("{} {sign} {}", sort.column.word(), model.list.grouping.word())
}

/// Whether a column has anything to show.
pub(crate) fn has(model: &Model, column: Column) -> bool {
    let any = |has: fn(&Row) -> bool| model.list.rows.iter().any(has);
    match column {
        Column::Connections => any(|row| row.load.connections.is_some()),
        Column::Queue => any(|row| row.load.queue.is_some()),
        Column::Lag => any(|row| row.load.lag.is_some()),
        Column::Version => any(|row| !row.version.is_empty()),
        Column::Name
        | Column::Id
        | Column::Status
        | Column::Cpu
        | Column::CpuGraph
        | Column::Memory
        | Column::MemoryGraph
        | Column::Uptime
        | Column::Restarts
        | Column::Pid
        | Column::Mode
        | Column::User
        | Column::Namespace => true,
    }
}

pub(super) fn draw(model: &Model, buffer: &mut Buffer, at: Rect) {
    if at.height == 0 {
        return;
    }
    let theme = model.theme;
    let columns = columns::fitting(at.width, |column| has(model, column));
    for (column, begin, width) in &columns {
        let is_sorted = model.list.sort.column == *column;
        let style = if is_sorted { theme.of(Role::Accent) } else { theme.of(Role::Dim) };
        aligned(buffer, (at.x + begin, at.y), *width, column.title(), column.is_right(), style);
    }
    let lines = at.height - 1;
    if model.list.rows.is_empty() {
        let text = match &model.link {
            _ if !model.list.filter.is_empty() => "nothing passes the filter: Esc clears it",
            Link::Up => "nothing is in the list: `rsx start app.js` starts something",
            Link::Connecting => "connecting to the daemon…",
            Link::Lost(_) => "no rsx daemon runs: `rsx start` starts one; this screen will notice",
        };
        put(buffer, (at.x + 1, at.y + 1), at.width.saturating_sub(1), text, theme.of(Role::Dim));
        return;
    }
    let shown = model.list.rows.iter().enumerate().skip(model.list.top).take(usize::from(lines));
    for ((n, row), y) in shown.zip(at.y + 1..) {
        for (column, begin, width) in &columns {
            cell(model, buffer, (at.x + begin, y), *width, *column, row);
        }
        if n == model.list.cursor {
            let role = if model.focus == Pane::List { Role::Cursor } else { Role::Chosen };
            buffer.set_style(Rect { y, height: 1, ..at }, theme.of(role));
        }
    }
    bar(model, buffer, at, lines);
}

fn cell(model: &Model, buffer: &mut Buffer, (x, y): (u16, u16), width: u16, column: Column, row: &Row) {
    let theme = model.theme;
    match column {
        Column::Name => {
            let sign = match row.is_open {
                Some(true) => "▾ ",
                Some(false) => "▸ ",
                None => "  ",
            };
            let text = format!("{}{sign}{}", "  ".repeat(usize::from(row.depth)), row.name);
            let style = if row.is_open.is_some() { theme.of(Role::Strong) } else { Style::default() };
            put(buffer, (x, y), width, &text, style);
        }
        Column::Status => {
            let sign = match row.worst {
                Severity::Fine => "●",
                Severity::Changing => "◐",
                Severity::Retrying | Severity::Wrong => "✗",
                Severity::Stopped => "○",
            };
            let style = theme.state(row.state);
            put(buffer, (x, y), width, &format!("{sign} {}", row.status), style);
        }
        Column::CpuGraph => small(model, buffer, Rect { x, y, width, height: 1 }, Kind::Cpu, row),
        Column::MemoryGraph => small(model, buffer, Rect { x, y, width, height: 1 }, Kind::Memory, row),
        Column::Restarts if row.restarts > 0 => {
            aligned(buffer, (x, y), width, &column.text(row), true, theme.of(Role::Warn));
        }
        Column::Id
        | Column::Cpu
        | Column::Memory
        | Column::Uptime
        | Column::Restarts
        | Column::Connections
        | Column::Queue
        | Column::Lag
        | Column::Pid
        | Column::Mode
        | Column::User
        | Column::Version
        | Column::Namespace => {
            let text = column.text(row);
            let style = if matches!(text.as_str(), "-" | "0" | "0%") { theme.of(Role::Dim) } else { Style::default() };
            aligned(buffer, (x, y), width, &text, column.is_right(), style);
        }
    }
}

/// A graph of one line in a cell.
fn small(model: &Model, buffer: &mut Buffer, at: Rect, kind: Kind, row: &Row) {
    let count = usize::from(at.width) * 2;
    let to = model.moment();
    let from = to.saturating_sub(count as u64 * COLUMN);
    let mut sum = vec![None; count];
    for series in row.ids.iter().filter_map(|id| model.shown().series.get(id)) {
        combine(kind, &mut sum, &series.columns(kind, (from, to), count, 2 * COLUMN));
    }
    let peak = sum.iter().flatten().copied().fold(0.0, f32::max);
    let floor = match kind {
        Kind::Cpu => 25.0,
        Kind::Memory | Kind::Connections | Kind::Queue | Kind::Lag | Kind::Heap => 1.0,
    };
    graph::draw(buffer, at, &sum, (peak * 1.25).max(floor), model.theme);
}

/// Which part of the list is on the screen, at its right end.
fn bar(model: &Model, buffer: &mut Buffer, at: Rect, lines: u16) {
    let (count, height) = (model.list.rows.len(), usize::from(lines));
    if count <= height || height == 0 {
        return;
    }
    let size = (height * height / count).max(1);
    let begin = model.list.top * (height - size) / (count - height).max(1);
    for n in begin..(begin + size).min(height) {
        let y = at.y + 1 + u16::try_from(n).unwrap_or(0);
        put(buffer, (at.right() - 1, y), 1, "▐", model.theme.of(Role::Dim));
    }
}

fn aligned(buffer: &mut Buffer, (x, y): (u16, u16), width: u16, text: &str, is_right: bool, style: Style) {
    let wide = u16::try_from(text.width()).unwrap_or(u16::MAX);
    let at = if is_right { x + width.saturating_sub(wide) } else { x };
    put(buffer, (at, y), width.saturating_sub(at - x), text, style);
}
