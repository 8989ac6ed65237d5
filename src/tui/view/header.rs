//! The first line: how many are in which state, what all of it costs, and the daemon; or that there is none.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr;

use crate::proto::State;
use crate::tui::message::Link;
use crate::tui::model::{Access, Model, data};
use crate::tui::view::put;
use crate::tui::view::theme::Role;
use crate::words::clock::moment;
use crate::words::units::{cpu, memory, printable, span};

/// In the order of the line.
const STATES: [State; 8] = [
    State::Errored,
    State::Waiting,
    State::Unhealthy,
    State::Launching,
    State::Draining,
    State::Stopping,
    State::Online,
    State::Stopped,
];

pub(super) fn draw(model: &Model, buffer: &mut Buffer, at: Rect) {
    let theme = model.theme;
    let time = moment(model.now).split(' ').next_back().unwrap_or_default().to_owned();
    if let Some(text) = trouble(model) {
        buffer.set_style(at, theme.of(Role::Banner));
        let clock = u16::try_from(time.width() + 1).unwrap_or(9);
        put(buffer, (at.x + 1, at.y), at.width.saturating_sub(clock + 2), &text, Style::default());
        put(buffer, (at.right().saturating_sub(clock), at.y), clock, &time, Style::default());
        return;
    }
    let view = &model.shown().view;
    let slots = || view.apps.iter().flat_map(|app| &app.slots);
    let mut x = put(buffer, (at.x, at.y), at.width, " rsx ", theme.of(Role::Key));
    let mut add = |text: &str, style: Style| {
        x = put(buffer, (x, at.y), at.right().saturating_sub(x), text, style);
    };
    if let Some((_, since)) = &model.frozen {
        add(&format!(" FROZEN {} ", span(model.now.saturating_sub(*since))), theme.of(Role::Cursor));
        add(" ", Style::default());
    }
    if model.access == Access::ReadOnly {
        add("read only ", theme.of(Role::Warn));
    }
    let count = slots().count();
    let of = |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    if at.width >= 100 {
        add(&format!("{}, {}: ", of(view.apps.len(), "app"), of(count, "instance")), Style::default());
    }
    let mut is_first = true;
    for state in STATES {
        let count = slots().filter(|slot| slot.state == state).count();
        if count > 0 {
            add(if is_first { "" } else { ", " }, Style::default());
            add(&format!("{count} {state}"), theme.state(state));
            is_first = false;
        }
    }
    if is_first {
        add("nothing runs", theme.of(Role::Dim));
    }
    // From the right end, as much as there is room for.
    let load = slots().map(data::load).fold((0.0, 0), |(cpu, memory), load| (cpu + load.cpu, memory + load.memory));
    let daemon = &view.daemon;
    let pieces = [
        time,
        format!("up {}", span(model.now.saturating_sub(daemon.started))),
        format!("daemon {} pid {}", printable(&daemon.version), daemon.pid),
        format!("cpu {} mem {}", cpu(load.0), memory(load.1)),
    ];
    let mut right = at.right();
    for (n, piece) in pieces.iter().enumerate() {
        let width = u16::try_from(piece.width() + 1).unwrap_or(u16::MAX);
        if right.saturating_sub(width) <= x + 1 {
            break;
        }
        right -= width;
        let style = if n == 0 { Style::default() } else { theme.of(Role::Dim) };
        put(buffer, (right, at.y), width, piece, style);
    }
}

/// What is wrong with the daemon itself.
fn trouble(model: &Model) -> Option<String> {
    let since = span(model.now.saturating_sub(model.link_since));
    match &model.link {
        Link::Up => {
            // It is asked every few seconds: silence means that it hangs.
            let silence = model.now.saturating_sub(model.live.taken);
            if model.live.taken > 0 && silence > 10_000 {
                return Some(format!("the daemon says nothing since {}; what is shown is old", span(silence)));
            }
            let daemon = &model.live.view.daemon;
            if daemon.guardian == 0 && daemon.pid > 0 {
                return Some("the daemon has lost its guardian: `rsx update` mends that".to_owned());
            }
            daemon.notices.first().map(|notice| printable(notice).into_owned())
        }
        Link::Connecting if model.now.saturating_sub(model.link_since) < 1_000 => None,
        Link::Connecting => Some("connecting to the daemon…".to_owned()),
        Link::Lost(why) => Some(format!("{}, {since} ago; waiting for the next one", printable(why))),
    }
}
