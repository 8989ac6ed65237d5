//! What reaches the dashboard, all of it through one channel, and what it wants done.

use ratatui::crossterm::event::{KeyEvent, MouseEvent};

use crate::client::Gap;
use crate::proto::{Call, Event, LogFiles, Progress, SlotResult, View};
use crate::tui::model::logs;
use crate::tui::model::series::Point;

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Message {
    Key(KeyEvent),
    Mouse(MouseEvent),
    Paste(String),
    Resize(u16, u16),
    /// Time has passed: nothing else has happened for a while.
    Clock,
    View(Box<View>),
    Events(Vec<Event>, Option<Gap>),
    /// What was measured before, by instance.
    Past(Vec<(u32, Vec<Point>)>),
    Link(Link),
    Logs(u64, logs::News),
    /// How far something that was asked for is, by its number.
    Progress(u64, Progress),
    Answered(u64, Result<Answer, String>),
    /// The terminal is gone, or somebody wants this process to end.
    End(End),
}

/// How the daemon is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Not yet.
    Connecting,
    /// It answers.
    Up,
    /// The connection has ended; another daemon is waited for.
    Lost(String),
}

/// What a daemon said to something that it was asked for.
#[derive(Debug)]
pub(crate) enum Answer {
    Results(Vec<SlotResult>),
    Files(LogFiles),
}

/// Why the dashboard ends without being asked to by its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A signal of this number.
    Signal(i32),
    /// The terminal cannot be read or written.
    Terminal(String),
    /// A thread of its own has failed.
    Broken(String),
}

/// Something to be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    Quit,
    /// Ends at once, with this reason.
    Abort(End),
    /// To the background, as Ctrl-Z does.
    Suspend,
    /// Draws everything anew.
    Redraw,
    /// Asks the daemon; the answer comes under this number.
    Ask(u64, Box<Call>),
    /// Whether views should tell declarations and exits, too.
    Detail(bool),
    /// From now on the lines of these files.
    Logs(logs::Wish),
    /// Lines before those that were told.
    OlderLogs,
}
