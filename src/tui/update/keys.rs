//! What keys do, by who gets them: the screen, a line that is typed, a question, or a text in front of the screen.

use std::collections::HashSet;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::tui::keymap::{self, Act, Pane, Tab};
use crate::tui::message::Effect;
use crate::tui::model::columns::{self, Column};
use crate::tui::model::command::{Verb, ZOOMS};
use crate::tui::model::filter::Filter;
use crate::tui::model::logs::Direction;
use crate::tui::model::prompt::{Prompt, Purpose};
use crate::tui::model::rows::{Grouping, Node, Sort};
use crate::tui::model::{JobState, Mode, Model};
use crate::tui::places::places;
use crate::tui::update::{act, prompt};

pub(super) fn on_key(model: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) {
    if key.kind == KeyEventKind::Release {
        return;
    }
    if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
        // Out of what is in front; and out of the screen.
        return match model.mode {
            Mode::Prompt(_) | Mode::Confirm(_) => model.mode = Mode::Browse,
            Mode::Browse | Mode::Help(_) | Mode::Report(..) => effects.push(Effect::Quit),
        };
    }
    match std::mem::take(&mut model.mode) {
        Mode::Browse => {
            if let Some(binding) = keymap::act(key, model.focus) {
                do_it(model, binding.act, effects);
            }
        }
        Mode::Prompt(line) => prompt::on_key(model, line, key, effects),
        Mode::Confirm(deed) => match key.code {
            KeyCode::Char('y' | 'Y') | KeyCode::Enter => act::carry_out(model, &deed, effects),
            KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => model.tell(format!("not done: {deed}")),
            _ => model.mode = Mode::Confirm(deed),
        },
        Mode::Help(top) => model.mode = scrolled(model, key, top).map_or(Mode::Browse, Mode::Help),
        Mode::Report(number, top) => match scrolled(model, key, top) {
            Some(top) => model.mode = Mode::Report(number, top),
            // Read.
            None => model.jobs.retain(|job| job.number != number),
        },
    }
}

/// The next first line of a text in front of the screen; none: it is closed.
fn scrolled(model: &Model, key: KeyEvent, top: usize) -> Option<usize> {
    let page = usize::from(model.size.1 / 2).max(1);
    Some(match keymap::act(key, model.focus).map(|binding| binding.act) {
        Some(Act::Up) => top.saturating_sub(1),
        Some(Act::Down) => top + 1,
        Some(Act::PageUp) => top.saturating_sub(page),
        Some(Act::PageDown) | Some(Act::Freeze) => top + page,
        Some(Act::Top) => 0,
        Some(Act::Bottom) => usize::MAX / 2,
        _ => return None,
    })
}

/// Does what a key or a click wants.
pub(super) fn do_it(model: &mut Model, act: Act, effects: &mut Vec<Effect>) {
    match act {
        Act::Quit => effects.push(Effect::Quit),
        Act::Suspend => effects.push(Effect::Suspend),
        Act::Redraw => effects.push(Effect::Redraw),
        Act::Help => model.mode = Mode::Help(0),
        Act::Command => model.mode = Mode::Prompt(Prompt::new(Purpose::Command, "")),
        Act::Find if model.focus == Pane::Logs => {
            model.mode = Mode::Prompt(Prompt::new(Purpose::Search, ""));
        }
        Act::Find => {
            let text = model.list.filter_text.clone();
            model.mode = Mode::Prompt(Prompt::new(Purpose::Filter, &text));
        }
        Act::Back => back(model),
        Act::NextPane => focus(model, 1),
        Act::PreviousPane => focus(model, Pane::ALL.len() - 1),
        Act::Pane(pane) => model.focus = pane,
        Act::Expand => model.is_expanded = !model.is_expanded,
        Act::Freeze => freeze(model),
        Act::Show(tab) => show(model, tab),
        Act::ZoomIn => model.zoom = model.zoom.saturating_sub(1),
        Act::ZoomOut => model.zoom = (model.zoom + 1).min(ZOOMS.len() - 1),
        Act::Up => scroll(model, -1, effects),
        Act::Down => scroll(model, 1, effects),
        Act::PageUp => scroll(model, -page(model), effects),
        Act::PageDown => scroll(model, page(model), effects),
        Act::Top => scroll(model, -FAR, effects),
        Act::Bottom => scroll(model, FAR, effects),
        Act::Left if model.focus == Pane::Logs => model.logs.shift = model.logs.shift.saturating_sub(8),
        Act::Right if model.focus == Pane::Logs => model.logs.shift = (model.logs.shift + 8).min(4_000),
        Act::Left => fold(model),
        Act::Right => unfold(model),
        Act::Toggle => match model.row().and_then(|row| row.is_open) {
            Some(true) => fold(model),
            Some(false) => unfold(model),
            None => model.focus = Pane::Logs,
        },
        Act::Group => {
            model.list.grouping = model.list.grouping.next();
            let word = model.list.grouping.word();
            model.tell(format!("tree: {word}"));
        }
        Act::SortLeft => sort_by_neighbour(model, columns::ALL.len() - 1),
        Act::SortRight => sort_by_neighbour(model, 1),
        Act::Reverse => model.list.sort.is_descending = !model.list.sort.is_descending,
        Act::Reload => act::propose(model, Verb::Reload),
        Act::Restart => act::propose(model, Verb::Restart),
        Act::Start => act::propose(model, Verb::Start),
        Act::Stop => act::propose(model, Verb::Stop),
        Act::ScaleUp => act::scale(model, 1),
        Act::ScaleDown => act::scale(model, -1),
        Act::Flush => act::propose(model, Verb::Flush),
        Act::Delete => act::propose(model, Verb::Delete),
        Act::Follow if model.logs.follows() => model.logs.hold(),
        Act::Follow => model.logs.follow(),
        Act::Wrap => model.logs.is_wrapped = !model.logs.is_wrapped,
        Act::Merge => {
            model.logs.is_merged = !model.logs.is_merged;
            let what = if model.logs.is_merged { "logs: all instances of the app" } else { "logs: what is selected" };
            model.tell(what);
        }
        Act::Streams => model.logs.streams = model.logs.streams.next(),
        Act::NextMatch => find(model, Direction::Older),
        Act::PreviousMatch => find(model, Direction::Newer),
    }
}

/// Farther than anything is long.
const FAR: i64 = i64::MAX / 4;

fn page(model: &Model) -> i64 {
    i64::from(places(model).lines(model.focus)).max(2) - 1
}

/// Moves what the focused pane shows.
pub(super) fn scroll(model: &mut Model, by: i64, effects: &mut Vec<Effect>) {
    scroll_pane(model, model.focus, by, effects);
}

pub(super) fn scroll_pane(model: &mut Model, pane: Pane, by: i64, effects: &mut Vec<Effect>) {
    let moved = |at: usize, last: usize| {
        let at = i64::try_from(at).unwrap_or(i64::MAX).saturating_add(by).max(0);
        usize::try_from(at).unwrap_or(usize::MAX).min(last)
    };
    match pane {
        Pane::List => {
            let last = model.list.rows.len().saturating_sub(1);
            choose(model, moved(model.list.cursor, last));
        }
        // How far it goes, only who draws it knows: it stops at its end.
        Pane::Detail => model.detail_top = moved(model.detail_top, 10_000),
        Pane::Logs => {
            let height = places(model).lines(Pane::Logs);
            if model.logs.scroll(by, height) {
                effects.push(Effect::OlderLogs);
            }
        }
    }
}

/// Puts the cursor on this row.
pub(super) fn choose(model: &mut Model, at: usize) {
    let Some(row) = model.list.rows.get(at) else { return };
    if model.list.chosen.as_ref() != Some(&row.node) {
        model.detail_top = 0;
    }
    model.list.chosen = Some(row.node.clone());
    model.list.cursor = at;
}

pub(super) fn show(model: &mut Model, tab: Tab) {
    // Once more: the whole screen; and back.
    if model.tab == tab && model.focus == Pane::Detail {
        model.is_expanded = !model.is_expanded;
    }
    (model.tab, model.detail_top) = (tab, 0);
    model.focus = Pane::Detail;
}

pub(super) fn freeze(model: &mut Model) {
    if model.frozen.take().is_some() {
        model.logs.follow();
        model.tell("moving again");
    } else {
        model.frozen = Some((Box::new(model.live.clone()), model.now));
        model.logs.hold();
    }
}

fn focus(model: &mut Model, step: usize) {
    let at = Pane::ALL.iter().position(|pane| *pane == model.focus).unwrap_or(0);
    model.focus = Pane::ALL[(at + step) % Pane::ALL.len()];
}

/// One step back, from the nearest thing to the farthest.
fn back(model: &mut Model) {
    if model.is_expanded {
        model.is_expanded = false;
    } else if model.focus == Pane::Logs && model.logs.search.is_some() {
        model.logs.look_for("");
        model.logs.follow();
    } else if model.frozen.is_some() {
        freeze(model);
    } else if model.focus == Pane::Logs && !model.logs.follows() {
        model.logs.follow();
    } else if !model.list.filter.is_empty() {
        (model.list.filter, model.list.filter_text) = (Filter::default(), String::new());
    } else if let Some(number) = failed_job(model) {
        model.jobs.retain(|job| job.number != number);
    } else {
        model.focus = Pane::List;
    }
}

fn failed_job(model: &Model) -> Option<u64> {
    let is_failed = |job: &&crate::tui::model::Job| matches!(job.state, JobState::Failed { .. });
    model.jobs.iter().rev().find(is_failed).map(|job| job.number)
}

fn fold(model: &mut Model) {
    let Some(row) = model.row() else { return };
    if row.is_open == Some(true) {
        let node = row.node.clone();
        model.list.folded.insert(node);
        return;
    }
    // On a leaf: to its branch.
    let depth = row.depth;
    let above = model.list.rows[..model.list.cursor].iter().rposition(|row| row.depth < depth);
    if let Some(above) = above {
        choose(model, above);
    }
}

fn unfold(model: &mut Model) {
    let Some(row) = model.row() else { return };
    match row.is_open {
        Some(false) => {
            let node = row.node.clone();
            model.list.folded.remove(&node);
        }
        Some(true) => choose(model, model.list.cursor + 1),
        None => {}
    }
    let known: HashSet<&Node> = model.list.rows.iter().map(|row| &row.node).collect();
    // What is gone for good need not be remembered as folded.
    let folded: HashSet<Node> = model.list.folded.iter().filter(|node| known.contains(node)).cloned().collect();
    if model.list.grouping == Grouping::Apps && model.list.filter.is_empty() {
        model.list.folded = folded;
    }
}

fn sort_by_neighbour(model: &mut Model, step: usize) {
    let all: Vec<Column> = columns::ALL.into_iter().filter(|column| !column.title().is_empty()).collect();
    let at = all.iter().position(|column| *column == model.list.sort.column).unwrap_or(0);
    let column = all[(at + step) % all.len()];
    sort_by(model, column);
}

/// Sorts by a column; once more: the other way round.
pub(super) fn sort_by(model: &mut Model, column: Column) {
    let sort = model.list.sort;
    let is_descending = if sort.column == column { !sort.is_descending } else { column.is_descending() };
    model.list.sort = Sort { column, is_descending };
    let sign = if is_descending { '↓' } else { '↑' };
    model.tell(format!("sorted by {} {sign}", column.word()));
}

fn find(model: &mut Model, direction: Direction) {
    if model.logs.search.is_none() {
        model.focus = Pane::Logs;
        model.mode = Mode::Prompt(Prompt::new(Purpose::Search, ""));
    } else if !model.logs.find(direction) {
        let text = model.logs.search.as_ref().map(|search| search.text.clone()).unwrap_or_default();
        let where_to = match direction {
            Direction::Older => "older",
            Direction::Newer => "newer",
        };
        model.complain(format!("no {where_to} line matches `{text}` among the {} that are loaded", model.logs.count()));
    }
}
