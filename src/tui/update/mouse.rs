//! Clicks and the wheel: on rows, titles, tabs, keys of the footer, and whatever is under the pointer.

use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;

use crate::tui::keymap::Pane;
use crate::tui::message::Effect;
use crate::tui::model::columns::{self, Column};
use crate::tui::model::{Mode, Model};
use crate::tui::places::{Places, places};
use crate::tui::update::{act, keys};
use crate::tui::view;

/// How far one notch of the wheel goes.
const NOTCH: i64 = 3;

pub(super) fn on_mouse(model: &mut Model, mouse: MouseEvent, effects: &mut Vec<Effect>) {
    let places = places(model);
    let (x, y) = (mouse.column, mouse.row);
    match mouse.kind {
        MouseEventKind::ScrollUp => wheel(model, &places, (x, y), -NOTCH, effects),
        MouseEventKind::ScrollDown => wheel(model, &places, (x, y), NOTCH, effects),
        MouseEventKind::Down(MouseButton::Left) => click(model, &places, (x, y), effects),
        MouseEventKind::Down(_)
        | MouseEventKind::Up(_)
        | MouseEventKind::Drag(_)
        | MouseEventKind::Moved
        | MouseEventKind::ScrollLeft
        | MouseEventKind::ScrollRight => {}
    }
}

fn wheel(model: &mut Model, places: &Places, (x, y): (u16, u16), by: i64, effects: &mut Vec<Effect>) {
    match &mut model.mode {
        Mode::Help(top) | Mode::Report(_, top) => {
            *top = if by < 0 { top.saturating_sub(3) } else { *top + 3 };
        }
        Mode::Confirm(_) => {}
        Mode::Browse | Mode::Prompt(_) => {
            if let Some(pane) = places.pane_at(x, y) {
                keys::scroll_pane(model, pane, by, effects);
            }
        }
    }
}

fn click(model: &mut Model, places: &Places, (x, y): (u16, u16), effects: &mut Vec<Effect>) {
    match std::mem::take(&mut model.mode) {
        Mode::Confirm(deed) => {
            // The buttons of the question; outside of it nothing happens by accident.
            let (yes, no) = view::overlay::buttons(model.size, &deed);
            if yes.contains((x, y).into()) {
                act::carry_out(model, &deed, effects);
            } else if no.contains((x, y).into()) {
                model.tell(format!("not done: {deed}"));
            } else {
                model.mode = Mode::Confirm(deed);
            }
            return;
        }
        Mode::Help(_) | Mode::Report(..) => return,
        Mode::Browse | Mode::Prompt(_) => {}
    }
    if let Some((act, ..)) = places.footer_keys(model.access).into_iter().find(|(.., at)| at.contains((x, y).into())) {
        return keys::do_it(model, act, effects);
    }
    if let Some((tab, _)) = places.tabs().into_iter().find(|(_, at)| at.contains((x, y).into())) {
        (model.tab, model.detail_top, model.focus) = (tab, 0, Pane::Detail);
        return;
    }
    let Some(pane) = places.pane_at(x, y) else { return };
    model.focus = pane;
    if pane == Pane::List {
        click_list(model, places.inner(Pane::List), (x, y));
    }
}

fn click_list(model: &mut Model, inner: Rect, (x, y): (u16, u16)) {
    if !inner.contains((x, y).into()) {
        return;
    }
    if y == inner.y {
        let at = x - inner.x;
        let columns = columns::fitting(inner.width, |column| view::list::has(model, column));
        if let Some((column, ..)) = columns.iter().find(|(_, begin, width)| (*begin..begin + width).contains(&at)) {
            let column = match column {
                Column::CpuGraph => Column::Cpu,
                Column::MemoryGraph => Column::Memory,
                other => *other,
            };
            keys::sort_by(model, column);
        }
        return;
    }
    let at = model.list.top + usize::from(y - inner.y - 1);
    let Some(row) = model.list.rows.get(at) else { return };
    // The sign in front of a branch folds it; so does a second click.
    let sign = inner.x + 2 * row.depth;
    let is_again = model.list.cursor == at;
    let (node, is_open) = (row.node.clone(), row.is_open);
    keys::choose(model, at);
    if is_open.is_some() && (is_again || (sign..sign + 2).contains(&x)) {
        if is_open == Some(true) {
            model.list.folded.insert(node);
        } else {
            model.list.folded.remove(&node);
        }
    }
}
