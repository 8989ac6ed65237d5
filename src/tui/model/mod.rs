//! What the dashboard knows and what its user has chosen. It changes in `update` and nowhere else.

pub(crate) mod ansi;
pub(crate) mod columns;
pub(crate) mod command;
pub(crate) mod data;
pub(crate) mod filter;
pub(crate) mod logs;
pub(crate) mod prompt;
pub(crate) mod rows;
pub(crate) mod series;
pub(crate) mod stages;

use std::collections::HashSet;

use crate::proto::{AppView, SlotView};
use crate::tui::keymap::{Pane, Tab};
use crate::tui::message::Link;
use crate::tui::model::command::{Deed, ZOOMS};
use crate::tui::model::data::Data;
use crate::tui::model::filter::Filter;
use crate::tui::model::logs::Logs;
use crate::tui::model::prompt::Prompt;
use crate::tui::model::rows::{Grouping, Node, Row, Sort};
use crate::tui::view::theme::Theme;

/// How long a notice is shown, in milliseconds.
const NOTICE: u64 = 6_000;

/// Whether anything may be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Actions are there, and ask.
    #[default]
    Full,
    /// Looking only.
    ReadOnly,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct Model {
    /// Milliseconds of the epoch.
    pub(crate) now: u64,
    /// Columns and lines of the terminal.
    pub(crate) size: (u16, u16),
    pub(crate) access: Access,
    pub(crate) theme: Theme,
    pub(crate) link: Link,
    /// Since when the daemon is reached as it is.
    pub(crate) link_since: u64,
    pub(crate) live: Data,
    /// What is shown instead, since when.
    pub(crate) frozen: Option<(Box<Data>, u64)>,
    pub(crate) focus: Pane,
    pub(crate) is_expanded: bool,
    pub(crate) tab: Tab,
    pub(crate) list: List,
    /// The first line of the detail pane that is shown.
    pub(crate) detail_top: usize,
    /// Which of the lengths of time graphs show.
    pub(crate) zoom: usize,
    pub(crate) logs: Logs,
    pub(crate) mode: Mode,
    pub(crate) commands: Vec<String>,
    pub(crate) searches: Vec<String>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) next_job: u64,
    pub(crate) notice: Option<Notice>,
    /// Whether the daemon was asked for declarations and exits.
    pub(crate) is_detailed: bool,
}

/// The list of apps and instances.
#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) rows: Vec<Row>,
    pub(crate) cursor: usize,
    /// What the cursor is on, wherever that moves to.
    pub(crate) chosen: Option<Node>,
    pub(crate) top: usize,
    pub(crate) grouping: Grouping,
    pub(crate) sort: Sort,
    pub(crate) folded: HashSet<Node>,
    pub(crate) filter: Filter,
    pub(crate) filter_text: String,
}

/// Who gets the keys.
#[derive(Debug, Default)]
pub(crate) enum Mode {
    #[default]
    Browse,
    Prompt(Prompt),
    /// A deed that waits for a yes.
    Confirm(Deed),
    /// The help, from this line on.
    Help(usize),
    /// What became of a job, from this line on.
    Report(u64, usize),
}

/// Something that the daemon was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) title: String,
    pub(crate) begun: u64,
    pub(crate) state: JobState,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobState {
    /// So many instances of so many, and what happened last.
    Going {
        done: u32,
        of: u32,
        last: String,
    },
    Done {
        at: u64,
    },
    /// The lines that say what went wrong.
    Failed {
        at: u64,
        lines: Vec<String>,
    },
}

/// A line that is shown for a while.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) text: String,
    pub(crate) is_bad: bool,
    pub(crate) until: u64,
}

impl Model {
    pub(crate) fn new(now: u64, size: (u16, u16), access: Access, theme: Theme) -> Model {
        Model {
            now,
            size,
            access,
            theme,
            link: Link::Connecting,
            link_since: now,
            live: Data::default(),
            frozen: None,
            focus: Pane::List,
            is_expanded: false,
            tab: Tab::Graphs,
            list: List::default(),
            detail_top: 0,
            zoom: 1,
            logs: Logs::default(),
            mode: Mode::Browse,
            commands: Vec::new(),
            searches: Vec::new(),
            jobs: Vec::new(),
            next_job: 1,
            notice: None,
            is_detailed: false,
        }
    }

    /// What is on the screen.
    pub(crate) fn shown(&self) -> &Data {
        self.frozen.as_ref().map_or(&self.live, |(data, _)| data)
    }

    /// The moment of what is on the screen.
    pub(crate) fn moment(&self) -> u64 {
        self.frozen.as_ref().map_or(self.now, |(_, at)| *at)
    }

    /// The row under the cursor.
    pub(crate) fn row(&self) -> Option<&Row> {
        self.list.rows.get(self.list.cursor)
    }

    /// The instances that are selected, each with its app.
    pub(crate) fn selected(&self) -> Vec<(&AppView, &SlotView)> {
        let Some(row) = self.row() else { return Vec::new() };
        row.ids.iter().filter_map(|id| self.shown().slot(*id)).collect()
    }

    /// The app of what is selected.
    pub(crate) fn selected_app(&self) -> Option<&AppView> {
        self.selected().first().map(|(app, _)| *app)
    }

    /// How much time graphs show, in milliseconds, and as a word.
    pub(crate) fn span(&self) -> (u64, &'static str) {
        ZOOMS[self.zoom.min(ZOOMS.len() - 1)]
    }

    /// Tells the user something for a while.
    pub(crate) fn tell(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice { text: text.into(), is_bad: false, until: self.now + NOTICE });
    }

    /// Tells the user that something is wrong.
    pub(crate) fn complain(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice { text: text.into(), is_bad: true, until: self.now + NOTICE });
    }
}
