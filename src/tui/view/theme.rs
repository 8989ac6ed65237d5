//! How things are meant to look, in words; and three ways of making them look so.
//!
//! `terminal` uses the sixteen colours that the user has chosen for the terminal, `vivid` adds graded graphs of its own,
//! `mono` has no colour at all (`NO_COLOR`). None of them sets a background but for marks, and no colour says what no
//! word says.

use std::fmt;
use std::str::FromStr;

use ratatui::style::{Color, Modifier, Style};

use crate::proto::State;
use crate::words::Tone;

/// A way of colouring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// The terminal's own colours.
    #[default]
    Terminal,
    /// Those, and graded graphs in 256 colours.
    Vivid,
    /// None.
    Mono,
}

/// A text is no theme's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no theme `{0}`: terminal, vivid or mono")]
pub struct NoTheme(String);

impl FromStr for Theme {
    type Err = NoTheme;

    fn from_str(text: &str) -> Result<Theme, NoTheme> {
        match text {
            "terminal" => Ok(Theme::Terminal),
            "vivid" => Ok(Theme::Vivid),
            "mono" => Ok(Theme::Mono),
            other => Err(NoTheme(other.to_owned())),
        }
    }
}

impl fmt::Display for Theme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Theme::Terminal => "terminal",
            Theme::Vivid => "vivid",
            Theme::Mono => "mono",
        })
    }
}

/// What something is meant as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Dim,
    Strong,
    Title,
    /// The frame of the pane that has the keys, and of the others.
    Focus,
    Frame,
    /// The row under the cursor, where its pane has the keys and where not.
    Cursor,
    Chosen,
    Key,
    Accent,
    Good,
    Changing,
    Warn,
    Bad,
    Off,
    /// What a search has found.
    Match,
    Found,
    Banner,
}

impl Theme {
    pub(crate) fn of(self, role: Role) -> Style {
        let style = Style::default();
        let bold = style.add_modifier(Modifier::BOLD);
        let reversed = style.add_modifier(Modifier::REVERSED);
        if self == Theme::Mono {
            return match role {
                Role::Dim | Role::Frame | Role::Off => style.add_modifier(Modifier::DIM),
                Role::Strong | Role::Title | Role::Focus | Role::Key | Role::Bad => bold,
                Role::Cursor | Role::Found | Role::Banner => reversed,
                Role::Chosen | Role::Match => style.add_modifier(Modifier::UNDERLINED),
                Role::Accent | Role::Good | Role::Changing | Role::Warn => style,
            };
        }
        match role {
            Role::Dim | Role::Frame | Role::Off => style.fg(Color::DarkGray),
            Role::Strong => bold,
            Role::Title => bold,
            Role::Focus => style.fg(Color::Cyan),
            Role::Cursor => reversed,
            Role::Chosen => style.add_modifier(Modifier::UNDERLINED),
            Role::Key => bold.fg(Color::Cyan),
            Role::Accent => style.fg(Color::Cyan),
            Role::Good => style.fg(Color::Green),
            Role::Changing => style.fg(Color::Blue),
            Role::Warn => style.fg(Color::Yellow),
            Role::Bad => style.fg(Color::Red),
            Role::Match => style.fg(Color::Black).bg(Color::Yellow),
            Role::Found => style.fg(Color::Black).bg(Color::Cyan),
            Role::Banner => style.fg(Color::White).bg(Color::Red).add_modifier(Modifier::BOLD),
        }
    }

    pub(crate) fn state(self, state: State) -> Style {
        self.of(match state {
            State::Online => Role::Good,
            State::Launching => Role::Changing,
            State::Unhealthy | State::Draining | State::Stopping | State::Waiting => Role::Warn,
            State::Stopped => Role::Off,
            State::Errored => Role::Bad,
        })
    }

    pub(crate) fn tone(self, tone: Option<Tone>) -> Style {
        match tone {
            Some(Tone::Good) => self.of(Role::Good),
            Some(Tone::Warn) => self.of(Role::Warn),
            Some(Tone::Bad) => self.of(Role::Bad),
            None => Style::default(),
        }
    }

    /// The colour of a graph at this height, from 0 to 1.
    pub(crate) fn graph(self, height: f32) -> Style {
        /// From calm to hot, in the 256 colours.
        const RAMP: [u8; 7] = [37, 36, 71, 107, 143, 179, 167];
        match self {
            Theme::Mono => Style::default(),
            Theme::Terminal => Style::default().fg(match height {
                h if h > 0.85 => Color::Red,
                h if h > 0.6 => Color::Yellow,
                _ => Color::Green,
            }),
            Theme::Vivid => {
                let last = (RAMP.len() - 1) as f32;
                let step = (height.clamp(0.0, 1.0) * last).round() as usize;
                Style::default().fg(Color::Indexed(RAMP[step.min(RAMP.len() - 1)]))
            }
        }
    }

    /// A colour for the n-th of several equal things.
    pub(crate) fn nth(self, n: usize) -> Style {
        const ROUND: [Color; 5] = [Color::Cyan, Color::Magenta, Color::Green, Color::Yellow, Color::Blue];
        match self {
            Theme::Mono => Style::default(),
            Theme::Terminal | Theme::Vivid => Style::default().fg(ROUND[n % ROUND.len()]),
        }
    }

    /// Whether the colours of programs are shown.
    pub(crate) fn has_colours(self) -> bool {
        self != Theme::Mono
    }
}
