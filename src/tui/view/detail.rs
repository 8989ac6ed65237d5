//! What is selected, in one of four ways: its graphs, everything about it, its story; or the events of all.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::proto::{AppView, Event, SlotView};
use crate::tui::keymap::Tab;
use crate::tui::model::Model;
use crate::tui::model::series::{Kind, combine};
use crate::tui::model::stages::{Reload, Stage};
use crate::tui::view::theme::Role;
use crate::tui::view::{graph, put, window};
use crate::words::clock::moment;
use crate::words::units::{cpu, fine_span, memory, printable, span};
use crate::words::{Tone, event, facts, forecast, story, trouble};

/// How old a value may be until a gap is shown, in milliseconds: twice the time between two samples, and some.
const GAP: u64 = 5_000;

/// A line of text in pieces.
type Line = Vec<(String, Style)>;

/// What stands at the right end of the line above.
pub(super) fn title(model: &Model) -> String {
    match model.tab {
        Tab::Graphs => match model.row() {
            Some(row) => format!("{} {}", row.name, model.span().1),
            None => model.span().1.to_owned(),
        },
        Tab::Details | Tab::Why => model.row().map(|row| row.name.clone()).unwrap_or_default(),
        Tab::Events => String::new(),
    }
}

pub(super) fn draw(model: &Model, buffer: &mut Buffer, at: Rect) {
    let at = at_reloads(model, buffer, at);
    match model.tab {
        Tab::Graphs => graphs(model, buffer, at),
        Tab::Details => lines(model, buffer, at, &details(model, usize::from(at.width)), End::Top),
        Tab::Why => lines(model, buffer, at, &why(model, usize::from(at.width)), End::Bottom),
        Tab::Events => lines(model, buffer, at, &events(model), End::Bottom),
    }
}

/// Reloads of what is selected, a line each, above everything else. Returns what is left.
fn at_reloads(model: &Model, buffer: &mut Buffer, at: Rect) -> Rect {
    let slots = model.selected();
    let reloads: Vec<(&AppView, &SlotView, &Reload)> =
        slots.iter().filter_map(|(app, slot)| Some((*app, *slot, model.shown().stages.of(slot.id)?))).collect();
    let most = usize::from(at.height / 2).max(1);
    let mut y = at.y;
    // Those that go on are what one waits for.
    let mut order: Vec<_> = reloads.iter().collect();
    order.sort_by_key(|(_, slot, reload)| (!reload.is_going_on(), slot.instance));
    for (app, slot, reload) in order.iter().take(most) {
        if y >= at.bottom() {
            break;
        }
        put_line(buffer, (at.x, y), at.width, &strip(model, app, slot, reload));
        y += 1;
    }
    Rect { y, height: at.bottom() - y, ..at }
}

/// `reload api:0  launch ✓ ready ✓ drain ● stop ○  3s`.
fn strip(model: &Model, app: &AppView, slot: &SlotView, reload: &Reload) -> Line {
    let theme = model.theme;
    let mut line = vec![(format!("{} ", crate::words::place(app, slot)), theme.of(Role::Strong))];
    if let Stage::Aborted(reason) = &reload.stage {
        line.push((format!("aborted: {}; the old one goes on", printable(reason)), theme.of(Role::Bad)));
        return line;
    }
    let at = reload.step().unwrap_or(0);
    for (n, word) in ["launch", "ready", "drain", "stop"].into_iter().enumerate() {
        let (sign, role) = match n.cmp(&at) {
            std::cmp::Ordering::Less => ("✓", Role::Good),
            std::cmp::Ordering::Equal => ("●", Role::Changing),
            std::cmp::Ordering::Greater => ("○", Role::Dim),
        };
        line.push((format!(" {word} {sign}"), theme.of(role)));
    }
    if let Some(drain) = &slot.draining
        && let Some(count) = drain.remaining.connections
    {
        line.push((format!("  {count} left"), theme.of(Role::Warn)));
    }
    let now = model.moment();
    let (from, to) = if reload.is_going_on() { (reload.since, now) } else { (reload.begun, reload.since) };
    line.push((format!("  {}", fine_span(to.saturating_sub(from))), theme.of(Role::Dim)));
    line
}

fn graphs(model: &Model, buffer: &mut Buffer, at: Rect) {
    let Some(row) = model.row() else { return };
    let to = model.moment();
    let from = to.saturating_sub(model.span().0);
    let count = usize::from(at.width.max(1)) * 2;
    let gap = GAP.max(2 * model.span().0 / count as u64);
    let of = |kind: Kind, count: usize| {
        let mut sum = vec![None; count];
        for series in row.ids.iter().filter_map(|id| model.shown().series.get(id)) {
            combine(kind, &mut sum, &series.columns(kind, (from, to), count, gap));
        }
        sum
    };
    let has = |kind: &Kind| match kind {
        Kind::Cpu | Kind::Memory => true,
        Kind::Connections | Kind::Queue | Kind::Lag | Kind::Heap => of(*kind, 64).iter().any(Option::is_some),
    };
    let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(has).collect();
    kinds.truncate(usize::from(at.height));
    let Ok(number) = u16::try_from(kinds.len()) else { return };
    if number == 0 {
        return;
    }
    let (each, mut spare) = (at.height / number, at.height % number);
    let mut y = at.y;
    for kind in kinds {
        let mut height = each;
        if spare > 0 {
            (height, spare) = (height + 1, spare - 1);
        }
        let place = Rect { y, height, ..at };
        y += height;
        if height < 3 {
            flat(model, buffer, place, kind, &|count| of(kind, count));
        } else {
            high(model, buffer, place, kind, &of(kind, count));
        }
    }
}

/// A graph with its numbers in front.
fn flat(model: &Model, buffer: &mut Buffer, at: Rect, kind: Kind, values: &dyn Fn(usize) -> Vec<Option<f32>>) {
    let front = 24.min(at.width);
    let width = at.width - front;
    let values = values(usize::from(width) * 2);
    let (now, peak) = numbers(&values);
    put(buffer, (at.x, at.y), front, &format!("{:<6}{:>8} ", word(kind), shown(kind, now)), Style::default());
    put(
        buffer,
        (at.x + 15, at.y),
        front.saturating_sub(15),
        &format!("≤{}", shown(kind, peak)),
        model.theme.of(Role::Dim),
    );
    let at = Rect { x: at.x + front, width, ..at };
    graph::draw(buffer, at, &values, scale(kind, peak), model.theme);
}

/// A graph with its numbers above.
fn high(model: &Model, buffer: &mut Buffer, at: Rect, kind: Kind, values: &[Option<f32>]) {
    let (now, peak) = numbers(values);
    let top = scale(kind, peak);
    let dim = model.theme.of(Role::Dim);
    let x = put(buffer, (at.x, at.y), at.width, word(kind), model.theme.of(Role::Strong));
    let x = put(buffer, (x + 1, at.y), at.right().saturating_sub(x + 1), &shown(kind, now), Style::default());
    put(buffer, (x + 2, at.y), at.right().saturating_sub(x + 2), &format!("peak {}", shown(kind, peak)), dim);
    let axis = shown(kind, Some(top));
    let width = u16::try_from(axis.chars().count()).unwrap_or(8);
    put(buffer, (at.right().saturating_sub(width), at.y), width, &axis, dim);
    let body = Rect { y: at.y + 1, height: at.height - 1, ..at };
    graph::draw(buffer, body, values, top, model.theme);
}

/// The newest value, and the greatest.
fn numbers(values: &[Option<f32>]) -> (Option<f32>, Option<f32>) {
    let now = values.last().copied().flatten();
    (now, values.iter().flatten().copied().reduce(f32::max))
}

fn scale(kind: Kind, peak: Option<f32>) -> f32 {
    let peak = peak.unwrap_or(0.0) * 1.05;
    match kind {
        Kind::Cpu => graph::round_up(peak.max(10.0)),
        Kind::Memory | Kind::Heap => {
            let unit = 1024_f32.powf((peak.max(1.0).log2() / 10.0).floor());
            graph::round_up(peak / unit) * unit
        }
        Kind::Connections | Kind::Queue => graph::round_up(peak.max(4.0)),
        Kind::Lag => graph::round_up(peak.max(10.0)),
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Cpu => "cpu",
        Kind::Memory => "mem",
        Kind::Connections => "conns",
        Kind::Queue => "queue",
        Kind::Lag => "lag",
        Kind::Heap => "heap",
    }
}

fn shown(kind: Kind, value: Option<f32>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    match kind {
        Kind::Cpu => cpu(value),
        Kind::Memory | Kind::Heap => memory(value as u64),
        Kind::Connections | Kind::Queue => format!("{value:.0}"),
        Kind::Lag => format!("{value:.1}ms"),
    }
}

/// Which end of a text is shown first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Top,
    Bottom,
}

fn lines(model: &Model, buffer: &mut Buffer, at: Rect, lines: &[Line], end: End) {
    let count = lines.len();
    let top = match end {
        End::Top => model.detail_top,
        // The newest is at the bottom; scrolling goes back from there.
        End::Bottom => count.saturating_sub(usize::from(at.height)).saturating_sub(model.detail_top),
    };
    for (line, y) in lines[window(count, top, at.height)].iter().zip(at.y..) {
        put_line(buffer, (at.x, y), at.width, line);
    }
}

fn put_line(buffer: &mut Buffer, (x, y): (u16, u16), width: u16, line: &[(String, Style)]) {
    let end = x + width;
    let mut x = x;
    for (text, style) in line {
        x = put(buffer, (x, y), end.saturating_sub(x), text, *style);
    }
}

/// Lines of `name  value`, the value wrapped where it is long.
fn details(model: &Model, width: usize) -> Vec<Line> {
    let theme = model.theme;
    let Some(app) = model.selected_app() else { return Vec::new() };
    let slots: Vec<&SlotView> =
        model.selected().iter().filter(|(of, _)| of.name == app.name).map(|(_, slot)| *slot).collect();
    let mut lines: Vec<Line> = Vec::new();
    let mut add = |title: &str, rows: Vec<(&'static str, String)>| {
        if !lines.is_empty() {
            lines.push(Vec::new());
        }
        lines.push(vec![(title.to_owned(), theme.of(Role::Strong))]);
        for (name, value) in rows {
            for (n, part) in wrapped(&printable(&value), width.saturating_sub(19).max(8)).into_iter().enumerate() {
                let name = if n == 0 { name } else { "" };
                lines.push(vec![(format!(" {name:<17} "), theme.of(Role::Dim)), (part, Style::default())]);
            }
        }
    };
    // What is wrong, and what to do, before everything else.
    for (app, slot) in model.selected() {
        if let Some(trouble) = trouble::of(app, slot, model.moment()) {
            let what = format!("{}{} → {}", slot.state, trouble.what, trouble.next);
            add(&trouble.place, vec![("attention", what)]);
        }
    }
    add(&printable(&app.name), facts::app(app, &slots, model.moment()));
    for slot in &slots {
        let measured =
            model.shown().series.get(&slot.id).map(|series| series.measured(Kind::Memory)).unwrap_or_default();
        let growth = forecast::in_words(app, slot, &measured);
        add(&format!("instance {} (id {})", slot.instance, slot.id), facts::slot(app, slot, growth, model.moment()));
        let exits = slot.history.iter().map(|exit| ("exit", exit_line(exit)));
        let exits: Vec<_> = exits.collect();
        if !exits.is_empty() {
            add("last exits, newest first", exits);
        }
    }
    lines
}

fn exit_line(exit: &crate::proto::ExitView) -> String {
    let mut text = format!("{}  {}", moment(exit.time), printable(&exit.reason));
    if exit.pid > 0 {
        text.push_str(&format!(", pid {}, after {}", exit.pid, fine_span(exit.uptime)));
    }
    if let Some(last) = exit.stderr.last() {
        text.push_str(&format!(" | {}", printable(last)));
    }
    text
}

/// The stories of the selected instances, as `rsx why` tells them.
fn why(model: &Model, width: usize) -> Vec<Line> {
    /// As many instances as anybody reads at once.
    const MOST: usize = 8;
    let theme = model.theme;
    let dim = theme.of(Role::Dim);
    let events: Vec<Event> = model.shown().events.iter().cloned().collect();
    let mut lines: Vec<Line> = Vec::new();
    for (app, slot) in model.selected().into_iter().take(MOST) {
        let story = story::story(app, slot, &events, 60);
        lines.push(vec![(format!("{} (id {})", story.place, story.id), theme.of(Role::Strong))]);
        for entry in &story.entries {
            let time = moment(entry.time);
            let time = time.get(5..).unwrap_or(&time).to_owned();
            let by = entry.verb.as_ref().map(|verb| format!("  [{}]", printable(verb))).unwrap_or_default();
            let room = width.saturating_sub(16 + by.len()).max(20);
            for (n, part) in wrapped(&printable(&entry.what), room).into_iter().enumerate() {
                let front = if n == 0 { format!(" {time} ") } else { " ".repeat(16) };
                let mut line = vec![(front, dim), (part, theme.tone(entry.tone))];
                if n == 0 {
                    line.push((by.clone(), dim));
                }
                lines.push(line);
            }
            lines.extend(
                entry
                    .stderr
                    .iter()
                    .map(|line| vec![("   | ".to_owned(), dim), (printable(line).into_owned(), Style::default())]),
            );
        }
        let mut now = vec![(" now: ".to_owned(), Style::default()), (slot.state.to_string(), theme.state(slot.state))];
        if let Some(reason) = &slot.reason {
            now.push((format!(": {}", printable(reason)), Style::default()));
        }
        if let Some(next) = slot.next_attempt {
            now.push((
                format!(", next try in {}", fine_span(next.saturating_sub(model.moment()))),
                theme.of(Role::Warn),
            ));
        } else if let Some(started) = slot.pid.and(slot.started) {
            now.push((format!(" since {}", span(model.moment().saturating_sub(started))), dim));
        }
        lines.push(now);
        let policy = story.policy.as_deref().map(|policy| wrapped(policy, width.saturating_sub(9).max(8)));
        for (n, part) in policy.into_iter().flatten().enumerate() {
            let front = if n == 0 { " policy: " } else { "         " };
            lines.push(vec![(format!("{front}{part}"), dim)]);
        }
    }
    lines
}

/// What happens, the newest last.
fn events(model: &Model) -> Vec<Line> {
    let theme = model.theme;
    let line = |happened: &Event| {
        let time = moment(happened.time).split(' ').next_back().unwrap_or_default().to_owned();
        let place = match (&happened.app, happened.instance) {
            (Some(app), Some(instance)) => format!("{}:{instance}", printable(app)),
            (Some(app), None) => printable(app).into_owned(),
            (None, _) => "rsx".to_owned(),
        };
        let by = happened.verb.as_ref().map(|verb| format!("  [{}]", printable(verb))).unwrap_or_default();
        let tone: Option<Tone> = story::tone(&happened.event);
        vec![
            (format!("{time} "), theme.of(Role::Dim)),
            (format!("{place} "), theme.of(Role::Accent)),
            (event::what(&happened.event), theme.tone(tone)),
            (by, theme.of(Role::Dim)),
        ]
    };
    let lines: Vec<Line> = model.shown().events.iter().map(line).collect();
    if lines.is_empty() { vec![vec![("nothing has happened yet".to_owned(), theme.of(Role::Dim))]] } else { lines }
}

/// Text in lines of at most so many characters, broken at blanks where there are some.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    while rest.len() > width.max(1) {
        let cut = rest[..=width.min(rest.len() - 1)].iter().rposition(|c| *c == ' ').filter(|at| *at > width / 2);
        let (end, skip) = cut.map_or((width.max(1), 0), |at| (at, 1));
        lines.push(rest[..end].iter().collect());
        rest.drain(..end + skip);
    }
    lines.push(rest.into_iter().collect());
    lines
}
