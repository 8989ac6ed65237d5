//! The colours that programs give their lines, and nothing else of what terminals understand: a log must not move the
//! cursor of its reader.

use ratatui::style::{Color, Modifier, Style};

/// A line in pieces of one style each, without control characters.
pub(crate) fn pieces(line: &str) -> Vec<(String, Style)> {
    let mut pieces: Vec<(String, Style)> = Vec::new();
    let mut style = Style::default();
    let mut text = String::new();
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' if rest.next_if_eq(&'[').is_some() => {
                let mut parameters = String::new();
                let mut end = None;
                for c in rest.by_ref() {
                    if c.is_ascii_digit() || matches!(c, ';' | ':' | '?') {
                        parameters.push(c);
                    } else {
                        end = Some(c);
                        break;
                    }
                }
                if end == Some('m') {
                    if !text.is_empty() {
                        pieces.push((std::mem::take(&mut text), style));
                    }
                    style = selected(style, &parameters);
                }
            }
            '\x1b' if rest.next_if_eq(&']').is_some() => {
                // A title or a link: up to BEL or ST.
                while let Some(c) = rest.next() {
                    if c == '\x07' || (c == '\x1b' && rest.next_if_eq(&'\\').is_some()) {
                        break;
                    }
                }
            }
            '\x1b' => {
                rest.next();
            }
            '\t' => text.push_str("    "),
            '\r' => {}
            c if c.is_control() => text.push(char::REPLACEMENT_CHARACTER),
            c => text.push(c),
        }
    }
    if !text.is_empty() {
        pieces.push((text, style));
    }
    pieces
}

/// The same without its colours.
pub(crate) fn plain(line: &str) -> String {
    if line.chars().any(char::is_control) {
        pieces(line).into_iter().map(|(text, _)| text).collect()
    } else {
        line.to_owned()
    }
}

/// SGR (ECMA-48 8.3.117), as far as terminals agree.
fn selected(mut style: Style, parameters: &str) -> Style {
    let mut codes = parameters.split([';', ':']).map(|code| code.parse::<u16>().unwrap_or(0));
    while let Some(code) = codes.next() {
        style = match code {
            0 => Style::default(),
            1 => style.add_modifier(Modifier::BOLD),
            2 => style.add_modifier(Modifier::DIM),
            3 => style.add_modifier(Modifier::ITALIC),
            4 => style.add_modifier(Modifier::UNDERLINED),
            7 => style.add_modifier(Modifier::REVERSED),
            22 => style.remove_modifier(Modifier::BOLD | Modifier::DIM),
            23 => style.remove_modifier(Modifier::ITALIC),
            24 => style.remove_modifier(Modifier::UNDERLINED),
            27 => style.remove_modifier(Modifier::REVERSED),
            30..=37 => style.fg(basic(code - 30)),
            38 => extended(&mut codes).map_or(style, |colour| style.fg(colour)),
            39 => style.fg(Color::Reset),
            40..=47 => style.bg(basic(code - 40)),
            48 => extended(&mut codes).map_or(style, |colour| style.bg(colour)),
            49 => style.bg(Color::Reset),
            90..=97 => style.fg(bright(code - 90)),
            100..=107 => style.bg(bright(code - 100)),
            _ => style,
        };
    }
    style
}

fn extended(codes: &mut impl Iterator<Item = u16>) -> Option<Color> {
    let mut byte = || codes.next().map(|code| u8::try_from(code).unwrap_or(u8::MAX));
    match byte()? {
        5 => byte().map(Color::Indexed),
        2 => Some(Color::Rgb(byte()?, byte()?, byte()?)),
        _ => None,
    }
}

fn basic(code: u16) -> Color {
    [Color::Black, Color::Red, Color::Green, Color::Yellow, Color::Blue, Color::Magenta, Color::Cyan, Color::Gray]
        [usize::from(code % 8)]
}

fn bright(code: u16) -> Color {
    [
        Color::DarkGray,
        Color::LightRed,
        Color::LightGreen,
        Color::LightYellow,
        Color::LightBlue,
        Color::LightMagenta,
        Color::LightCyan,
        Color::White,
    ][usize::from(code % 8)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_stay_and_everything_else_goes() {
        let got = pieces("\x1b[31merror\x1b[0m: \x1b[2J\x1b[1;38;5;202mhot\x1b[K\x1b]0;title\x07 end\x01");
        let wanted = [
            ("error".to_owned(), Style::default().fg(Color::Red)),
            (": ".to_owned(), Style::default()),
            ("hot end\u{fffd}".to_owned(), Style::default().add_modifier(Modifier::BOLD).fg(Color::Indexed(202))),
        ];
        assert_eq!(got, wanted);
        assert_eq!(plain("a\tb\r"), "a    b");
    }

    proptest! {
        #[test]
        fn no_control_character_survives(line in ".*", codes in "[\x1b\\[\\]0-9;m?]{0,30}") {
            prop_assert!(!plain(&[&line, &codes, &line].map(String::as_str).concat()).chars().any(char::is_control));
        }
    }
}
