//! The lines of what is selected: from the last one on the screen upwards, as many as there is room for.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::spec::Stream;
use crate::tui::model::Model;
use crate::tui::model::ansi;
use crate::tui::model::logs::{Line, LineKind, Logs, Streams};
use crate::tui::view::put;
use crate::tui::view::theme::Role;
use crate::words::units::shortened;

/// The longest label in front of lines.
const LABEL: usize = 20;

/// A character and how it looks.
type Glyph = (char, Style);

/// What the line above says.
pub(super) fn title(model: &Model) -> String {
    let logs = &model.logs;
    let mut labels: Vec<&str> = logs.wish.sources.iter().map(|source| source.label.as_str()).collect();
    labels.dedup();
    match labels.as_slice() {
        [] => "logs".to_owned(),
        [one] => format!("logs {one}"),
        [first, .., last] => format!("logs {first} … {last}"),
    }
}

pub(super) fn remark(model: &Model) -> String {
    let logs = &model.logs;
    let mut words = Vec::new();
    if let Some(search) = &logs.search {
        words.push(format!("/{}", search.text));
    }
    match logs.streams {
        Streams::Both => {}
        Streams::Out => words.push("stdout only".to_owned()),
        Streams::Error => words.push("stderr only".to_owned()),
    }
    if logs.is_wrapped {
        words.push("wrapped".to_owned());
    } else if logs.shift > 0 {
        words.push(format!("→{}", logs.shift));
    }
    if logs.is_merged {
        words.push("merged".to_owned());
    }
    words.push(match (logs.follows(), logs.unseen) {
        (true, _) => "following".to_owned(),
        (false, 0) => "held".to_owned(),
        (false, count) => format!("held, {count} new below"),
    });
    words.join(" · ")
}

pub(super) fn draw(model: &Model, buffer: &mut Buffer, at: Rect) {
    let logs = &model.logs;
    let dim = model.theme.of(Role::Dim);
    if let Some(trouble) = &logs.trouble {
        put(buffer, (at.x + 1, at.y), at.width.saturating_sub(1), trouble, model.theme.of(Role::Bad));
    }
    if logs.count() == 0 {
        let text = match () {
            () if logs.wish.sources.is_empty() && model.row().is_none() => "",
            () if logs.wish.sources.is_empty() => "it writes no log files",
            () if logs.is_there => "nothing has been written yet",
            () => "reading…",
        };
        put(buffer, (at.x + 1, at.y), at.width.saturating_sub(1), text, dim);
        return;
    }
    let front = front(logs);
    let width = usize::from(at.width).saturating_sub(front);
    let mut number = logs.bottom();
    let mut y = at.bottom();
    while y > at.y && number >= logs.first() {
        let Some(line) = logs.line(number) else { break };
        if !logs.is_shown(line) {
            number -= 1;
            continue;
        }
        let rows = rows(model, line, number, width);
        for (n, row) in rows.iter().enumerate().rev() {
            if y == at.y {
                break;
            }
            y -= 1;
            let mut x = at.x;
            if n == 0 {
                x = label(model, buffer, (x, y), at.width, line, front);
            } else {
                x += u16::try_from(front).unwrap_or(0);
            }
            write(buffer, (x, y), at.right(), row);
        }
        number -= 1;
    }
    if y > at.y && logs.is_whole {
        // What there is does not fill the pane: the oldest line comes first.
        lift(buffer, at, y - at.y);
    } else if y > at.y && logs.is_loading {
        put(buffer, (at.x + 1, y - 1), at.width.saturating_sub(1), "reading older lines…", dim);
    }
}

/// Moves everything to the top of the place.
fn lift(buffer: &mut Buffer, at: Rect, by: u16) {
    for y in at.y..at.bottom() {
        for x in at.x..at.right() {
            let cell =
                if y + by < at.bottom() { buffer[(x, y + by)].clone() } else { ratatui::buffer::Cell::default() };
            buffer[(x, y)] = cell;
        }
    }
}

/// How many columns stand in front of each line: the name where there are several, and a sign for standard error.
fn front(logs: &Logs) -> usize {
    let sources = &logs.wish.sources;
    let several = sources.iter().any(|source| source.label != sources[0].label);
    let label =
        if several { sources.iter().map(|source| source.label.width()).max().unwrap_or(0).min(LABEL) + 1 } else { 0 };
    label + 2
}

fn label(model: &Model, buffer: &mut Buffer, (x, y): (u16, u16), width: u16, line: &Line, front: usize) -> u16 {
    let end = x + u16::try_from(front).unwrap_or(0).min(width);
    let LineKind::Of(source) = line.kind else { return x + 1 };
    let Some(source) = model.logs.wish.sources.get(source) else { return end };
    if front > 2 {
        // Instances of one label have one colour.
        let nth = model.logs.wish.sources.iter().position(|known| known.label == source.label).unwrap_or(0) / 2;
        put(
            buffer,
            (x, y),
            u16::try_from(front - 3).unwrap_or(0),
            &shortened(&source.label, LABEL),
            model.theme.nth(nth),
        );
    }
    let (sign, style) = match source.stream {
        Stream::Out => ("│", model.theme.of(Role::Dim)),
        Stream::Error => ("!", model.theme.of(Role::Bad)),
    };
    put(buffer, (end.saturating_sub(2), y), 1, sign, style);
    end
}

/// The rows of a line: one that is cut, or as many as it takes.
fn rows(model: &Model, line: &Line, number: i64, width: usize) -> Vec<Vec<Glyph>> {
    let logs = &model.logs;
    let mut glyphs: Vec<Glyph> = Vec::new();
    let base = match line.kind {
        LineKind::Note => model.theme.of(Role::Warn),
        LineKind::Of(_) => Style::default(),
    };
    for (text, style) in ansi::pieces(&line.text) {
        let style = if model.theme.has_colours() { base.patch(style) } else { base };
        glyphs.extend(text.chars().map(|c| (c, style)));
    }
    if let Some(search) = &logs.search {
        let plain: String = glyphs.iter().map(|(c, _)| *c).collect();
        let role = if logs.found == Some(number) { Role::Found } else { Role::Match };
        let style = model.theme.of(role);
        for found in search.regex.find_iter(&plain) {
            let begin = plain[..found.start()].chars().count();
            let count = found.as_str().chars().count();
            glyphs.iter_mut().skip(begin).take(count).for_each(|(_, old)| *old = old.patch(style));
        }
    }
    if !logs.is_wrapped {
        glyphs.drain(..logs.shift.min(glyphs.len()));
        return vec![glyphs];
    }
    let mut rows = vec![Vec::new()];
    let mut used = 0;
    for glyph in glyphs {
        let wide = glyph.0.width().unwrap_or(0);
        if used + wide > width.max(1) {
            rows.push(Vec::new());
            used = 0;
        }
        used += wide;
        if let Some(row) = rows.last_mut() {
            row.push(glyph);
        }
    }
    rows
}

fn write(buffer: &mut Buffer, (x, y): (u16, u16), end: u16, glyphs: &[Glyph]) {
    let mut x = x;
    let mut text = String::new();
    for (n, (c, style)) in glyphs.iter().enumerate() {
        text.push(*c);
        let is_last = glyphs.get(n + 1).is_none_or(|(_, next)| next != style);
        if is_last {
            if x >= end {
                break;
            }
            x = put(buffer, (x, y), end - x, &text, *style);
            text.clear();
        }
    }
}
