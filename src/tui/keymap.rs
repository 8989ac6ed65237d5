//! The keys: one table, from which come what a key does, the footer, and the help.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Quit,
    Suspend,
    Redraw,
    Help,
    Command,
    Find,
    Back,
    NextPane,
    PreviousPane,
    Pane(Pane),
    Expand,
    Freeze,
    Show(Tab),
    ZoomIn,
    ZoomOut,
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
    Left,
    Right,
    Toggle,
    Group,
    SortLeft,
    SortRight,
    Reverse,
    Reload,
    Restart,
    Start,
    Stop,
    ScaleUp,
    ScaleDown,
    Flush,
    Delete,
    Follow,
    Wrap,
    Merge,
    Streams,
    NextMatch,
    PreviousMatch,
}

/// A part of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pane {
    #[default]
    List,
    Detail,
    Logs,
}

impl Pane {
    pub(crate) const ALL: [Pane; 3] = [Pane::List, Pane::Detail, Pane::Logs];
}

/// What the detail pane shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tab {
    #[default]
    Graphs,
    Details,
    Why,
    Events,
}

impl Tab {
    pub(crate) const ALL: [Tab; 4] = [Tab::Graphs, Tab::Details, Tab::Why, Tab::Events];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Tab::Graphs => "graphs",
            Tab::Details => "details",
            Tab::Why => "why",
            Tab::Events => "events",
        }
    }
}

/// Where a key means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    In(Pane),
}

/// The parts of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Actions,
    List,
    Detail,
    Logs,
    Screen,
}

impl Group {
    pub(crate) const ALL: [Group; 5] = [Group::Actions, List, Detail, Logs, Screen];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::Actions => "Actions on what is selected, each asks first",
            List => "List",
            Detail => "Graphs and details",
            Logs => "Logs",
            Screen => "Screen",
        }
    }
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) code: KeyCode,
    pub(crate) is_ctrl: bool,
}

/// Some keys that do the same.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) keys: &'static [Key],
    pub(crate) act: Act,
    pub(crate) when: When,
    pub(crate) group: Group,
    /// In the footer; none: only in the help.
    pub(crate) short: Option<&'static str>,
    pub(crate) help: &'static str,
    /// The smaller, the longer it stays in a narrow footer.
    pub(crate) rank: u8,
    /// Whether it changes something.
    pub(crate) changes: bool,
}

const fn key(code: KeyCode) -> Key {
    Key { code, is_ctrl: false }
}

const fn c(c: char) -> Key {
    key(KeyCode::Char(c))
}

const fn ctrl(c: char) -> Key {
    Key { code: KeyCode::Char(c), is_ctrl: true }
}

const fn plain(keys: &'static [Key], act: Act, when: When, group: Group, help: &'static str) -> Binding {
    Binding { keys, act, when, group, short: None, help, rank: 255, changes: false }
}

const fn shown(binding: Binding, short: &'static str, rank: u8) -> Binding {
    Binding { short: Some(short), rank, ..binding }
}

const fn change(keys: &'static [Key], act: Act, short: &'static str, help: &'static str, rank: u8) -> Binding {
    let binding = plain(keys, act, Always, Group::Actions, help);
    Binding { short: Some(short), rank, changes: true, ..binding }
}

use Group::{Detail, List, Logs, Screen};
use When::{Always, In};

/// Every key, in the order of footer and help.
pub(crate) const BINDINGS: &[Binding] = &[
    change(&[c('r')], Act::Reload, "reload", "reload without downtime (in fork mode: restart)", 2),
    change(&[c('R')], Act::Restart, "restart", "stop and start", 3),
    change(&[c('s')], Act::Stop, "stop", "stop, and keep in the list", 4),
    change(&[c('S')], Act::Start, "start", "start what is stopped", 6),
    change(&[c('+'), c('=')], Act::ScaleUp, "scale up", "one instance more", 9),
    change(&[c('-'), c('_')], Act::ScaleDown, "scale down", "one instance less", 10),
    change(&[c('F')], Act::Flush, "flush", "empty the log files", 12),
    change(&[c('D'), key(KeyCode::Delete)], Act::Delete, "delete", "stop and forget", 13),
    plain(&[key(KeyCode::Up), c('k')], Act::Up, Always, List, "up"),
    plain(&[key(KeyCode::Down), c('j')], Act::Down, Always, List, "down"),
    plain(&[key(KeyCode::PageUp), ctrl('b'), ctrl('u')], Act::PageUp, Always, List, "a page up"),
    plain(&[key(KeyCode::PageDown), ctrl('f'), ctrl('d')], Act::PageDown, Always, List, "a page down"),
    plain(&[key(KeyCode::Home)], Act::Top, Always, List, "to the first"),
    plain(&[key(KeyCode::End), c('G')], Act::Bottom, Always, List, "to the last; in logs: follow"),
    plain(&[key(KeyCode::Left), c('h')], Act::Left, Always, List, "fold; in logs: move left"),
    plain(&[key(KeyCode::Right), c('l')], Act::Right, Always, List, "unfold; in logs: move right"),
    plain(&[key(KeyCode::Enter)], Act::Toggle, In(Pane::List), List, "fold or unfold"),
    shown(plain(&[c('/')], Act::Find, Always, List, "filter the list; in the logs: search"), "filter", 5),
    shown(plain(&[c('>'), c('.')], Act::SortRight, Always, List, "sort by the next column"), "sort", 14),
    plain(&[c('<'), c(',')], Act::SortLeft, Always, List, "sort by the column before"),
    plain(&[c('o')], Act::Reverse, Always, List, "the other way round"),
    shown(plain(&[c('t')], Act::Group, Always, List, "tree by app, by namespace, or flat"), "tree", 15),
    shown(plain(&[c('g')], Act::Show(Tab::Graphs), Always, Detail, "graphs over time"), "graphs", 16),
    shown(plain(&[c('d'), c('i')], Act::Show(Tab::Details), Always, Detail, "everything about it"), "describe", 7),
    shown(plain(&[c('w')], Act::Show(Tab::Why), Always, Detail, "what happened to it, and what comes next"), "why", 8),
    shown(plain(&[c('v')], Act::Show(Tab::Events), Always, Detail, "what happens everywhere"), "events", 17),
    shown(plain(&[c('[')], Act::ZoomIn, Always, Detail, "a shorter time in the graphs"), "zoom", 18),
    plain(&[c(']')], Act::ZoomOut, Always, Detail, "a longer time in the graphs"),
    shown(plain(&[c('f')], Act::Follow, Always, Logs, "follow what comes, or stay"), "follow", 19),
    plain(&[c('n')], Act::NextMatch, Always, Logs, "the match before (older)"),
    plain(&[c('N')], Act::PreviousMatch, Always, Logs, "the match behind (newer)"),
    shown(plain(&[c('W')], Act::Wrap, Always, Logs, "wrap long lines"), "wrap", 20),
    shown(plain(&[c('m')], Act::Merge, Always, Logs, "all instances of the app together"), "merge", 21),
    plain(&[c('x')], Act::Streams, Always, Logs, "both outputs, standard output, standard error"),
    shown(plain(&[key(KeyCode::Tab)], Act::NextPane, Always, Screen, "the next pane"), "pane", 22),
    plain(&[key(KeyCode::BackTab)], Act::PreviousPane, Always, Screen, "the pane before"),
    plain(&[c('1')], Act::Pane(Pane::List), Always, Screen, "the list"),
    plain(&[c('2')], Act::Pane(Pane::Detail), Always, Screen, "graphs and details"),
    plain(&[c('3')], Act::Pane(Pane::Logs), Always, Screen, "the logs"),
    shown(plain(&[c('e')], Act::Expand, Always, Screen, "this pane alone, and back"), "expand", 11),
    shown(plain(&[c(' ')], Act::Freeze, Always, Screen, "freeze all that moves"), "freeze", 23),
    shown(plain(&[c(':')], Act::Command, Always, Screen, "type a command; Tab completes"), "command", 1),
    shown(plain(&[c('?'), key(KeyCode::F(1))], Act::Help, Always, Screen, "this help"), "help", 0),
    plain(&[key(KeyCode::Esc)], Act::Back, Always, Screen, "back: close, clear, unfreeze"),
    plain(&[ctrl('l')], Act::Redraw, Always, Screen, "draw the screen anew"),
    plain(&[ctrl('z')], Act::Suspend, Always, Screen, "to the background"),
    shown(plain(&[c('q'), ctrl('c')], Act::Quit, Always, Screen, "quit"), "quit", 1),
];

/// What a key does in this pane.
pub(crate) fn act(event: KeyEvent, pane: Pane) -> Option<&'static Binding> {
    let is_ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
    if event.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    let is_it = |key: &Key| key.code == event.code && key.is_ctrl == is_ctrl;
    BINDINGS.iter().find(|binding| {
        let fits = match binding.when {
            Always => true,
            In(wanted) => wanted == pane,
        };
        fits && binding.keys.iter().any(is_it)
    })
}

impl Key {
    /// The key as it is written.
    pub(crate) fn label(self) -> String {
        let label = match self.code {
            KeyCode::Char(' ') => "space".to_owned(),
            KeyCode::Char(c) => c.to_string(),
            KeyCode::Up => "↑".to_owned(),
            KeyCode::Down => "↓".to_owned(),
            KeyCode::Left => "←".to_owned(),
            KeyCode::Right => "→".to_owned(),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::PageDown => "PgDn".to_owned(),
            KeyCode::Home => "Home".to_owned(),
            KeyCode::End => "End".to_owned(),
            KeyCode::Enter => "Enter".to_owned(),
            KeyCode::Tab => "Tab".to_owned(),
            KeyCode::BackTab => "⇧Tab".to_owned(),
            KeyCode::Esc => "Esc".to_owned(),
            KeyCode::Delete => "Del".to_owned(),
            KeyCode::F(n) => format!("F{n}"),
            _ => String::new(),
        };
        if self.is_ctrl { format!("^{}", label.to_uppercase()) } else { label }
    }
}

/// The keys of the footer for so many columns, in their order, as key and word.
pub(crate) fn footer(width: u16, is_read_only: bool) -> Vec<(&'static Binding, String)> {
    let mut shown: Vec<(&Binding, String)> = BINDINGS
        .iter()
        .filter(|binding| !(is_read_only && binding.changes))
        .filter_map(|binding| Some((binding, format!("{} {}", binding.keys.first()?.label(), binding.short?))))
        .collect();
    let total = |shown: &[(&Binding, String)]| shown.iter().map(|(_, text)| text.chars().count() + 2).sum::<usize>();
    while total(&shown) > usize::from(width) {
        let Some(last) = (0..shown.len()).max_by_key(|at| shown[*at].0.rank) else { break };
        shown.remove(last);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_does_one_thing_in_a_pane() {
        for pane in Pane::ALL {
            let mut seen: Vec<Key> = Vec::new();
            for binding in BINDINGS.iter().filter(|binding| matches!(binding.when, Always) || binding.when == In(pane))
            {
                for key in binding.keys {
                    assert!(!seen.contains(key), "{key:?} twice in {pane:?}");
                    assert!(!key.label().is_empty());
                    seen.push(*key);
                }
            }
        }
    }

    #[test]
    fn a_narrow_footer_keeps_what_is_needed_most() {
        let words = |width, is_read_only| -> Vec<&str> {
            footer(width, is_read_only).iter().filter_map(|(binding, _)| binding.short).collect()
        };
        assert_eq!(words(60, false), ["reload", "restart", "stop", "command", "help", "quit"]);
        assert!(!words(200, true).contains(&"restart"));
        assert!(words(250, false).len() > 15);
        assert_eq!(words(0, false), Vec::<&str>::new());
    }

    #[test]
    fn a_key_with_ctrl_is_another_key() {
        let press = |code, modifiers| act(KeyEvent::new(code, modifiers), Pane::List).map(|binding| binding.act);
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Act::Quit));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(press(KeyCode::Char('R'), KeyModifiers::SHIFT), Some(Act::Restart));
    }
}
