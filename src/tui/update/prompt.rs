//! The line that is typed: editing, completion, and what becomes of it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::tui::keymap::Pane;
use crate::tui::message::Effect;
use crate::tui::model::command::{self, Command, ZOOMS};
use crate::tui::model::filter::Filter;
use crate::tui::model::prompt::{Prompt, Purpose, remember};
use crate::tui::model::rows::Node;
use crate::tui::model::{Mode, Model};
use crate::tui::update::{act, keys};

pub(super) fn on_key(model: &mut Model, mut line: Prompt, key: KeyEvent, effects: &mut Vec<Effect>) {
    let is_ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Esc => {
            if line.purpose == Purpose::Filter {
                filter(model, "");
            }
            return;
        }
        KeyCode::Enter => return enter(model, line, effects),
        KeyCode::Tab | KeyCode::BackTab => {
            let candidates = candidates(model, &line.base(), line.purpose);
            let words: Vec<String> = candidates.into_iter().map(|(word, _)| word).collect();
            line.complete(&words, key.code == KeyCode::BackTab);
        }
        KeyCode::Up | KeyCode::Down => {
            let past = if line.purpose == Purpose::Command { &model.commands } else { &model.searches };
            line.recall(past, key.code == KeyCode::Up);
        }
        // One more than there is leaves the line.
        KeyCode::Backspace if line.is_empty() => return,
        KeyCode::Backspace => line.backspace(),
        KeyCode::Delete => line.delete(),
        KeyCode::Left => line.left(),
        KeyCode::Right => line.right(),
        KeyCode::Home => line.home(),
        KeyCode::End => line.end(),
        KeyCode::Char('u') if is_ctrl => line.clear(),
        KeyCode::Char('w') if is_ctrl => line.delete_word(),
        KeyCode::Char('a') if is_ctrl => line.home(),
        KeyCode::Char('e') if is_ctrl => line.end(),
        KeyCode::Char(c) if !is_ctrl => line.insert(c),
        _ => {}
    }
    preview(model, &mut line);
    model.mode = Mode::Prompt(line);
}

pub(super) fn on_paste(model: &mut Model, text: &str) {
    if let Mode::Prompt(mut line) = std::mem::take(&mut model.mode) {
        text.chars().take_while(|c| *c != '\n').for_each(|c| line.insert(c));
        preview(model, &mut line);
        model.mode = Mode::Prompt(line);
    }
}

/// What the last word may become.
pub(crate) fn candidates(model: &Model, line: &str, purpose: Purpose) -> Vec<(String, String)> {
    match purpose {
        Purpose::Command => command::candidates(line, &model.live.view),
        Purpose::Filter => command::candidates(&format!("filter {line}"), &model.live.view),
        Purpose::Search => Vec::new(),
    }
}

/// A filter shows at once what it does.
fn preview(model: &mut Model, line: &mut Prompt) {
    if line.purpose != Purpose::Filter {
        return;
    }
    let text = line.text();
    match Filter::read(&text) {
        Ok(filter) => {
            line.problem = None;
            (model.list.filter, model.list.filter_text) = (filter, text);
        }
        // Half typed: what was understood last stays.
        Err(error) => line.problem = Some(error.to_string()),
    }
}

fn enter(model: &mut Model, mut line: Prompt, effects: &mut Vec<Effect>) {
    let text = line.text();
    match line.purpose {
        Purpose::Filter => {
            remember(&mut model.searches, &text);
            if line.problem.is_some() {
                model.mode = Mode::Prompt(line);
            }
        }
        Purpose::Search => {
            remember(&mut model.searches, &text);
            search(model, &text);
        }
        Purpose::Command => {
            let selected = act::selected_words(model).unwrap_or_default();
            match command::read(&text, &selected) {
                Ok(command) => {
                    remember(&mut model.commands, &text);
                    run(model, command, effects);
                }
                Err(problem) => {
                    line.problem = Some(problem);
                    model.mode = Mode::Prompt(line);
                }
            }
        }
    }
}

fn run(model: &mut Model, command: Command, effects: &mut Vec<Effect>) {
    match command {
        Command::Do(verb, words) => act::propose_to(model, verb, words),
        Command::Sort(sort) => model.list.sort = sort,
        Command::Group(grouping) => model.list.grouping = grouping,
        Command::Filter(text) => match Filter::read(&text) {
            Ok(_) => filter(model, &text),
            Err(error) => model.complain(error.to_string()),
        },
        Command::Select(target) => {
            if select(model, &target) {
                model.focus = Pane::Logs;
            }
        }
        Command::Show(tab, target) => {
            if target.is_none_or(|target| select(model, &target)) {
                model.focus = Pane::List;
                keys::show(model, tab);
            }
        }
        Command::Zoom(time) => {
            model.zoom = ZOOMS.iter().position(|(known, _)| *known == time).unwrap_or(model.zoom);
        }
        Command::Theme(theme) => model.theme = theme,
        Command::Search(text) => search(model, &text),
        Command::Freeze => keys::freeze(model),
        Command::Follow => model.logs.follow(),
        Command::Wrap => model.logs.is_wrapped = !model.logs.is_wrapped,
        Command::Merge => model.logs.is_merged = !model.logs.is_merged,
        Command::Help => model.mode = Mode::Help(0),
        Command::Quit => effects.push(Effect::Quit),
    }
}

fn filter(model: &mut Model, text: &str) {
    model.list.filter = Filter::read(text).unwrap_or_default();
    text.clone_into(&mut model.list.filter_text);
}

fn search(model: &mut Model, text: &str) {
    model.focus = Pane::Logs;
    if !model.logs.look_for(text) && !text.is_empty() {
        model.complain(format!("no line matches `{text}` among the {} that are loaded", model.logs.count()));
    }
}

/// Puts the cursor on what this word means. Whether there is such a thing.
fn select(model: &mut Model, word: &str) -> bool {
    let ids = command::meant(word, &model.live.view);
    let Some(first) = ids.first() else {
        model.complain(format!("no app, namespace or id matches `{word}`"));
        return false;
    };
    // What is hidden cannot be selected.
    filter(model, "");
    let node = match model.live.slot(*first) {
        Some((app, _)) if ids.len() > 1 && ids.len() == app.slots.len() => {
            Node::App(app.namespace.clone(), app.name.clone())
        }
        Some(_) | None => Node::Slot(*first),
    };
    let above: Vec<Node> = model
        .live
        .slot(*first)
        .map(|(app, _)| [Node::Namespace(app.namespace.clone()), Node::App(app.namespace.clone(), app.name.clone())])
        .into_iter()
        .flatten()
        .filter(|above| *above != node)
        .collect();
    above.iter().for_each(|above| {
        model.list.folded.remove(above);
    });
    model.list.chosen = Some(node);
    model.detail_top = 0;
    true
}
