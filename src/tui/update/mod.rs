//! What a message makes of the model: the same model and message give the same model and effects. No clock, no terminal,
//! no daemon.

mod act;
mod keys;
mod mouse;
mod prompt;

pub(crate) use prompt::candidates;

use crate::client::Gap;
use crate::proto::EventKind;
use crate::spec::Stream;
use crate::tui::keymap::{Pane, Tab};
use crate::tui::message::{Effect, Link, Message};
use crate::tui::model::logs::Source;
use crate::tui::model::rows::{self, Node};
use crate::tui::model::{JobState, Model};
use crate::tui::places::places;

/// How long a job that is done is shown, in milliseconds.
const SHOWN: u64 = 4_000;

/// The most files whose lines are shown together.
const FILES: usize = 200;

/// Takes a message in at this moment, in milliseconds of the epoch.
pub(crate) fn update(model: &mut Model, now: u64, message: Message, effects: &mut Vec<Effect>) {
    model.now = model.now.max(now);
    match message {
        Message::Key(key) => keys::on_key(model, key, effects),
        Message::Mouse(mouse) => mouse::on_mouse(model, mouse, effects),
        Message::Paste(text) => prompt::on_paste(model, &text),
        Message::Resize(width, height) => model.size = (width, height),
        Message::Clock => model.live.stages.forget(model.now),
        Message::View(view) => {
            on_link(model, Link::Up);
            model.live.take_view(*view, model.now);
        }
        Message::Events(events, gap) => on_events(model, events, gap),
        Message::Past(past) => model.live.take_past(&past),
        Message::Link(link) => on_link(model, link),
        Message::Logs(number, news) => model.logs.take(number, news),
        Message::Progress(number, progress) => act::on_progress(model, number, &progress),
        Message::Answered(number, answer) => act::on_answer(model, number, answer),
        Message::End(end) => effects.push(Effect::Abort(end)),
    }
    settle(model, effects);
}

fn on_link(model: &mut Model, link: Link) {
    if model.link == link {
        return;
    }
    match (&model.link, &link) {
        (Link::Lost(_), Link::Up) => model.tell("the daemon is back"),
        (Link::Connecting | Link::Up | Link::Lost(_), Link::Connecting | Link::Up | Link::Lost(_)) => {}
    }
    // Two reasons in a row are one loss.
    if !matches!((&model.link, &link), (Link::Lost(_), Link::Lost(_))) {
        model.link_since = model.now;
    }
    model.link = link;
}

fn on_events(model: &mut Model, events: Vec<crate::proto::Event>, gap: Option<Gap>) {
    let missed: u64 =
        events.iter().map(|event| if let EventKind::Missed { count } = event.event { count } else { 0 }).sum();
    if let Some(gap) = gap {
        model.tell(gap.to_string());
    } else if missed > 0 {
        model.tell(format!("{missed} events were missed"));
    }
    model.live.take_events(events);
}

/// What follows from any change: the rows, where the cursor is, which files and which detail are wanted.
fn settle(model: &mut Model, effects: &mut Vec<Effect>) {
    let wish = rows::Wish {
        grouping: model.list.grouping,
        sort: model.list.sort,
        filter: &model.list.filter,
        folded: &model.list.folded,
        now: model.moment(),
    };
    let rows = rows::rows(model.shown(), &wish);
    model.list.rows = rows;
    settle_cursor(model);
    let is_over = |job: &crate::tui::model::Job| match &job.state {
        JobState::Done { at } => at + SHOWN <= model.now,
        JobState::Failed { .. } | JobState::Going { .. } => false,
    };
    let over: Vec<u64> = model.jobs.iter().filter(|job| is_over(job)).map(|job| job.number).collect();
    model.jobs.retain(|job| !over.contains(&job.number));
    if model.notice.as_ref().is_some_and(|notice| notice.until <= model.now) {
        model.notice = None;
    }
    let is_detailed = matches!(model.tab, Tab::Details | Tab::Why);
    if is_detailed != model.is_detailed {
        model.is_detailed = is_detailed;
        effects.push(Effect::Detail(is_detailed));
    }
    // Before the first view nothing is known; without a selection the last files stay.
    if model.shown().taken > 0 && model.frozen.is_none() {
        let sources = sources(model);
        let wish = model.logs.want(sources).or_else(|| model.logs.again());
        effects.extend(wish.map(Effect::Logs));
    }
}

/// The cursor stays on what it is on, wherever that has gone; where that is gone, it stays where it is.
fn settle_cursor(model: &mut Model) {
    let places = places(model);
    let list = &mut model.list;
    let found = list.chosen.as_ref().and_then(|chosen| list.rows.iter().position(|row| row.node == *chosen));
    let last = list.rows.len().saturating_sub(1);
    list.cursor = found.unwrap_or_else(|| list.cursor.min(last));
    if found.is_none() {
        // A folded branch has swallowed it.
        let id = match list.chosen {
            Some(Node::Slot(id)) => Some(id),
            Some(Node::Namespace(_) | Node::App(..)) | None => None,
        };
        if let Some(at) = id.and_then(|id| list.rows.iter().position(|row| row.ids.contains(&id))) {
            list.cursor = at;
        }
        list.chosen = list.rows.get(list.cursor).map(|row| row.node.clone());
    }
    let height = usize::from(places.lines(Pane::List)).max(1);
    let lowest = list.rows.len().saturating_sub(height);
    list.top = list.top.min(lowest).min(list.cursor).max((list.cursor + 1).saturating_sub(height));
}

/// The files of what is selected; all of its app where instances are merged.
fn sources(model: &Model) -> Vec<Source> {
    let mut slots = model.selected();
    if model.logs.is_merged
        && let Some(app) = model.selected_app()
        && slots.len() == 1
    {
        slots = app.slots.iter().map(|slot| (app, slot)).collect();
    }
    let mut sources: Vec<Source> = Vec::new();
    for (app, slot) in slots {
        for (stream, path) in [(Stream::Out, &slot.out_file), (Stream::Error, &slot.error_file)] {
            let Some(path) = path else { continue };
            // Several instances, or both streams, may share a file.
            match sources.iter().position(|known| known.path == *path) {
                Some(at) => {
                    if sources[at].label != crate::words::place(app, slot) {
                        sources[at].label = crate::words::units::printable(&app.name).into_owned();
                    }
                }
                None if sources.len() < FILES => {
                    sources.push(Source { path: path.clone(), label: crate::words::place(app, slot), stream });
                }
                None => return sources,
            }
        }
    }
    sources
}
