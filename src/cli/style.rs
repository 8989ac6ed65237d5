//! Colour, and only where it is wanted. It never carries meaning alone: the word beside it says the same.

use crate::proto::State;
use crate::words::Tone;

/// Whether to write colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// None.
    Plain,
    /// ANSI colours.
    Colour,
}

/// The few colours that rsx uses, by their ANSI codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tint {
    Red,
    Green,
    Yellow,
    Blue,
    Magenta,
    Cyan,
    Grey,
    Bold,
    /// Light and dark exchanged.
    Marked,
}

impl Tint {
    /// The colour of a state.
    pub(super) fn of(state: State) -> Tint {
        match state {
            State::Online => Tint::Green,
            State::Launching => Tint::Blue,
            State::Unhealthy | State::Draining | State::Stopping | State::Waiting => Tint::Yellow,
            State::Stopped => Tint::Grey,
            State::Errored => Tint::Red,
        }
    }

    /// A colour for the n-th of several equal things.
    pub(super) fn nth(n: usize) -> Tint {
        const ROUND: [Tint; 5] = [Tint::Cyan, Tint::Magenta, Tint::Green, Tint::Yellow, Tint::Blue];
        ROUND[n % ROUND.len()]
    }

    fn code(self) -> &'static str {
        match self {
            Tint::Red => "31",
            Tint::Green => "32",
            Tint::Yellow => "33",
            Tint::Blue => "34",
            Tint::Magenta => "35",
            Tint::Cyan => "36",
            Tint::Grey => "90",
            Tint::Bold => "1",
            Tint::Marked => "7",
        }
    }
}

impl From<Tone> for Tint {
    fn from(tone: Tone) -> Tint {
        match tone {
            Tone::Good => Tint::Green,
            Tone::Warn => Tint::Yellow,
            Tone::Bad => Tint::Red,
        }
    }
}

impl Style {
    /// The text in this colour.
    pub(super) fn paint(self, tint: Tint, text: &str) -> String {
        match self {
            Style::Plain => text.to_owned(),
            Style::Colour => format!("\x1b[{}m{text}\x1b[0m", tint.code()),
        }
    }
}
