//! Pictures of screens for the README: a buffer as SVG. Rewritten by `RSX_BLESS=1 cargo test --lib picture`.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "it compares files of the repository")]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr;

use crate::tui::model::ansi::pieces;

/// The size of a cell, in the units of the picture.
const WIDTH: f32 = 8.4;
const HEIGHT: f32 = 17.0;

/// The space around the screen, and the bar above it.
const MARGIN: f32 = 14.0;
const BAR: f32 = 30.0;

const BACKGROUND: &str = "#16181d";
const FOREGROUND: &str = "#d5d9e0";

/// The screen as a picture, with the command that shows it in the bar above.
pub(crate) fn svg(buffer: &Buffer, command: &str) -> String {
    let area = buffer.area;
    let (width, height) =
        (f32::from(area.width) * WIDTH + 2.0 * MARGIN, f32::from(area.height) * HEIGHT + MARGIN + BAR);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n"
    );
    for (n, colour) in ["#ff5f57", "#febc2e", "#28c840"].iter().enumerate() {
        let x = 18.0 + 18.0 * n as f32;
        let _ = writeln!(out, "<circle cx=\"{x}\" cy=\"15\" r=\"5.5\" fill=\"{colour}\"/>");
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.0}\" y=\"20\" fill=\"#8b919c\" text-anchor=\"middle\">{command}</text>",
        width / 2.0
    );
    for y in 0..area.height {
        let mut x = 0;
        while x < area.width {
            let begin = x;
            let look = look(&buffer[(x, y)]);
            let mut text = String::new();
            while x < area.width && self::look(&buffer[(x, y)]) == look {
                let symbol = buffer[(x, y)].symbol();
                text.push_str(symbol);
                x += u16::try_from(symbol.width().max(1)).unwrap_or(1);
            }
            span(&mut out, &text, (begin, x.min(area.width), y), &look);
        }
    }
    out.push_str("</svg>\n");
    out
}

#[derive(PartialEq)]
struct Look {
    foreground: String,
    background: Option<String>,
    is_bold: bool,
    is_underlined: bool,
}

fn look(cell: &Cell) -> Look {
    let mut foreground = colour(cell.fg).unwrap_or_else(|| FOREGROUND.to_owned());
    let mut background = colour(cell.bg);
    if cell.modifier.contains(Modifier::REVERSED) {
        let swapped = background.unwrap_or_else(|| BACKGROUND.to_owned());
        background = Some(std::mem::replace(&mut foreground, swapped));
    }
    Look {
        foreground,
        background,
        is_bold: cell.modifier.contains(Modifier::BOLD),
        is_underlined: cell.modifier.contains(Modifier::UNDERLINED),
    }
}

fn span(out: &mut String, text: &str, (begin, end, y): (u16, u16, u16), look: &Look) {
    let (left, top) = (MARGIN + f32::from(begin) * WIDTH, BAR + f32::from(y) * HEIGHT);
    let width = f32::from(end - begin) * WIDTH;
    if let Some(background) = &look.background {
        let _ = writeln!(
            out,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{HEIGHT}\" fill=\"{background}\"/>"
        );
    }
    let body = text.trim_end();
    if body.is_empty() {
        return;
    }
    let lead = body.len() - body.trim_start().len();
    let left = left + lead as f32 * WIDTH;
    let body = body.trim_start();
    let columns = body.width() as f32;
    let text = body.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let weight = if look.is_bold { " font-weight=\"bold\"" } else { "" };
    let line = if look.is_underlined { " text-decoration=\"underline\"" } else { "" };
    let _ = writeln!(
        out,
        "<text x=\"{left:.1}\" y=\"{:.1}\" fill=\"{}\"{weight}{line} xml:space=\"preserve\" textLength=\"{:.1}\" lengthAdjust=\"spacingAndGlyphs\">{text}</text>",
        top + 13.0,
        look.foreground,
        columns * WIDTH
    );
}

fn colour(colour: Color) -> Option<String> {
    let known = match colour {
        Color::Reset => return None,
        Color::Black => "#16181d",
        Color::Red | Color::LightRed => "#ef6b73",
        Color::Green | Color::LightGreen => "#7fc97f",
        Color::Yellow | Color::LightYellow => "#e5c07b",
        Color::Blue | Color::LightBlue => "#61afef",
        Color::Magenta | Color::LightMagenta => "#c678dd",
        Color::Cyan | Color::LightCyan => "#56b6c2",
        Color::Gray | Color::White => "#d5d9e0",
        Color::DarkGray => "#6b7280",
        Color::Rgb(r, g, b) => return Some(format!("#{r:02x}{g:02x}{b:02x}")),
        Color::Indexed(n) => match n {
            0..=15 => "#d5d9e0",
            232.. => "#9aa0aa",
            n => {
                let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
                let n = n - 16;
                let (r, g, b) = (level(n / 36), level(n / 6 % 6), level(n % 6));
                return Some(format!("#{r:02x}{g:02x}{b:02x}"));
            }
        },
    };
    Some(known.to_owned())
}

/// A text with colours (ANSI) as it looks on a terminal that has room for all of it.
pub(crate) fn typed(text: &str) -> Buffer {
    let lines: Vec<Vec<(String, Style)>> = text.lines().map(pieces).collect();
    let width = |line: &Vec<(String, Style)>| line.iter().map(|(text, _)| text.width()).sum::<usize>();
    let area = Rect {
        x: 0,
        y: 0,
        width: u16::try_from(lines.iter().map(width).max().unwrap_or(0)).unwrap(),
        height: u16::try_from(lines.len()).unwrap(),
    };
    let mut buffer = Buffer::empty(area);
    for (line, y) in lines.iter().zip(0_u16..) {
        let mut x = 0;
        for (text, style) in line {
            (x, _) = buffer.set_stringn(x, y, text, usize::from(area.width), *style);
        }
    }
    buffer
}

/// Compares a picture with the one in the repository, or writes it there.
#[track_caller]
pub(crate) fn held(name: &str, picture: &str) {
    let path = Path::new("docs").join(name);
    if std::env::var_os("RSX_BLESS").is_some() {
        fs::write(&path, picture).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == picture, "{} differs: RSX_BLESS=1 cargo test --lib picture", path.display());
}

#[test]
fn the_picture_of_the_dashboard_is_what_it_looks_like() {
    let mut desk = crate::tui::tests::Desk::open((132, 38));
    desk.model.theme = crate::tui::Theme::Vivid;
    let mut buffer = desk.buffer();
    // The clock is that of the reader's time zone.
    for (x, c) in (buffer.area.width - 8..).zip("14:26:40".chars()) {
        buffer[(x, 0)].set_char(c);
    }
    held("monit.svg", &svg(&buffer, "rsx monit"));
}
