//! What is typed after `:`: the verbs that change something, with live names, and what the screen shows.

use std::fmt;
use std::num::NonZeroU16;

use crate::proto::{Act, Call, Count, FlushCall, ScaleCall, SignalCall, Target, View};
use crate::spec::Signal;
use crate::tui::keymap::Tab;
use crate::tui::model::columns::{self, Column};
use crate::tui::model::rows::{Grouping, Sort};
use crate::tui::view::theme::Theme;

/// A verb that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Reload,
    Restart,
    Start,
    Stop,
    Delete,
    Reset,
    Flush,
    Scale(Count),
    Signal(Signal),
}

impl Verb {
    pub(crate) fn word(self) -> String {
        match self {
            Verb::Reload => "reload".to_owned(),
            Verb::Restart => "restart".to_owned(),
            Verb::Start => "start".to_owned(),
            Verb::Stop => "stop".to_owned(),
            Verb::Delete => "delete".to_owned(),
            Verb::Reset => "reset".to_owned(),
            Verb::Flush => "flush".to_owned(),
            Verb::Scale(Count::To(count)) => format!("scale to {count}"),
            Verb::Scale(Count::By(by)) => format!("scale by {by:+}"),
            Verb::Signal(signal) => format!("send {signal} to"),
        }
    }
}

/// A verb and what it is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deed {
    pub(crate) verb: Verb,
    pub(crate) targets: Vec<String>,
    /// What the targets are, for people.
    pub(crate) shown: String,
    /// How many instances that is.
    pub(crate) count: usize,
}

impl Deed {
    /// The call that does it.
    pub(crate) fn call(&self) -> Call {
        let targets: Vec<Target> = self.targets.iter().cloned().map(Target::Word).collect();
        let parallel: Option<NonZeroU16> = None;
        let act = |targets| Act { targets, update_env: None, changes: None, parallel, no_wait: false, strategy: None };
        match self.verb {
            Verb::Reload => Call::Reload(act(targets)),
            Verb::Restart => Call::Restart(act(targets)),
            Verb::Start => Call::Start(act(targets)),
            Verb::Stop => Call::Stop(act(targets)),
            Verb::Delete => Call::Delete(act(targets)),
            Verb::Reset => Call::Reset(act(targets)),
            Verb::Flush => Call::Flush(FlushCall { targets, keep_archives: false }),
            Verb::Scale(count) => Call::Scale(ScaleCall { targets, count, no_wait: false }),
            Verb::Signal(signal) => Call::Signal(SignalCall { targets, signal }),
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb.word(), self.shown)
    }
}

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    Do(Verb, Vec<String>),
    Sort(Sort),
    Group(Grouping),
    Filter(String),
    Select(String),
    Show(Tab, Option<String>),
    Zoom(u64),
    Theme(Theme),
    Search(String),
    Freeze,
    Follow,
    Wrap,
    Merge,
    Help,
    Quit,
}

/// What a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    Targets,
    /// One target, or the selected one.
    Target,
    ScaleCount,
    SignalAndTargets,
    Column,
    Grouping,
    Text,
    Time,
    Theme,
}

/// Names, what they take, what they do.
const COMMANDS: &[(&str, &[&str], Takes, &str)] = &[
    ("reload", &[], Takes::Targets, "without downtime"),
    ("restart", &[], Takes::Targets, "stop and start"),
    ("start", &[], Takes::Targets, "what is stopped"),
    ("stop", &[], Takes::Targets, "and keep in the list"),
    ("delete", &["del"], Takes::Targets, "stop and forget"),
    ("scale", &[], Takes::ScaleCount, "APP N, +N or -N"),
    ("signal", &[], Takes::SignalAndTargets, "SIGNAL TARGET"),
    ("reset", &[], Takes::Targets, "restart counters"),
    ("flush", &[], Takes::Targets, "empty log files"),
    ("logs", &["select", "log"], Takes::Target, "of this app"),
    ("describe", &["details", "desc", "show", "info"], Takes::Target, "everything about it"),
    ("why", &[], Takes::Target, "what happened to it"),
    ("graphs", &[], Takes::Target, "over time"),
    ("events", &[], Takes::Nothing, "what happens everywhere"),
    ("filter", &[], Takes::Text, "the list"),
    ("search", &[], Takes::Text, "the logs"),
    ("sort", &[], Takes::Column, "COLUMN or COLUMN:desc"),
    ("tree", &["group"], Takes::Grouping, "apps, namespaces or flat"),
    ("zoom", &[], Takes::Time, "1m, 5m, 15m, 1h, 6h, 24h"),
    ("theme", &[], Takes::Theme, "terminal, vivid or mono"),
    ("freeze", &[], Takes::Nothing, "all that moves"),
    ("follow", &[], Takes::Nothing, "the logs"),
    ("wrap", &[], Takes::Nothing, "long lines"),
    ("merge", &[], Takes::Nothing, "instances of an app"),
    ("help", &["h"], Takes::Nothing, "the keys"),
    ("quit", &["q", "q!", "exit"], Takes::Nothing, "leave; nothing is stopped"),
];

/// What `:` takes, with one word each, for the help.
pub(crate) fn commands() -> impl Iterator<Item = (&'static str, &'static str)> {
    COMMANDS.iter().map(|(name, _, _, help)| (*name, *help))
}

/// The lengths of time that graphs can show, in milliseconds.
pub(crate) const ZOOMS: [(u64, &str); 6] =
    [(60_000, "1m"), (300_000, "5m"), (900_000, "15m"), (3_600_000, "1h"), (21_600_000, "6h"), (86_400_000, "24h")];

/// Reads a command. Without targets a verb is done to what is selected: `selected` names that.
pub(crate) fn read(line: &str, selected: &[String]) -> Result<Command, String> {
    let mut words = line.split_whitespace();
    let Some(name) = words.next() else { return Err("a command, or Esc".to_owned()) };
    let rest: Vec<String> = words.map(str::to_owned).collect();
    let Some((name, _, takes, _)) =
        COMMANDS.iter().find(|(known, aliases, ..)| *known == name || aliases.contains(&name))
    else {
        return Err(match similar(name) {
            Some(known) => format!("no command `{name}`: did you mean `{known}`?"),
            None => format!("no command `{name}`: Tab lists them"),
        });
    };
    let targets = |words: &[String]| match (words, selected) {
        ([], []) => Err(format!("{name}: which app? all, a name, a namespace or an id")),
        ([], selected) => Ok(selected.to_vec()),
        (words, _) => Ok(words.to_vec()),
    };
    match takes {
        Takes::Targets => {
            let verb = match *name {
                "reload" => Verb::Reload,
                "restart" => Verb::Restart,
                "start" => Verb::Start,
                "stop" => Verb::Stop,
                "delete" => Verb::Delete,
                "reset" => Verb::Reset,
                _ => Verb::Flush,
            };
            Ok(Command::Do(verb, targets(&rest)?))
        }
        Takes::ScaleCount => {
            let (words, count) = match rest.as_slice() {
                [target, count] => (vec![target.clone()], count),
                [count] => (targets(&[])?, count),
                _ => return Err("scale APP N, scale APP +1, scale APP -1".to_owned()),
            };
            Ok(Command::Do(Verb::Scale(count_of(count)?), words))
        }
        Takes::SignalAndTargets => match rest.split_first() {
            Some((signal, words)) => {
                let signal = signal.parse().map_err(|_| format!("`{signal}` is not a signal: HUP, USR2, 15"))?;
                Ok(Command::Do(Verb::Signal(signal), targets(words)?))
            }
            None => Err("signal HUP api".to_owned()),
        },
        Takes::Target => {
            let target = match rest.as_slice() {
                [] => None,
                [one] => Some(one.clone()),
                _ => return Err(format!("{name} takes one app")),
            };
            Ok(match (*name, target) {
                ("describe", target) => Command::Show(Tab::Details, target),
                ("why", target) => Command::Show(Tab::Why, target),
                ("graphs", target) => Command::Show(Tab::Graphs, target),
                (_, Some(target)) => Command::Select(target),
                (_, None) => return Err("logs of which app?".to_owned()),
            })
        }
        Takes::Text => {
            let text = rest.join(" ");
            Ok(if *name == "filter" { Command::Filter(text) } else { Command::Search(text) })
        }
        Takes::Column => {
            let text = rest.first().map_or("", String::as_str);
            let (word, direction) = text.split_once(':').unwrap_or((text, ""));
            let known = || {
                columns::ALL.iter().filter(|c| !c.title().is_empty()).map(|c| c.word()).collect::<Vec<_>>().join(", ")
            };
            let column = Column::of_word(word).ok_or_else(|| format!("no column `{word}`: {}", known()))?;
            let is_descending = match direction {
                "" => column.is_descending(),
                "asc" => false,
                "desc" => true,
                other => return Err(format!("`{other}` is no direction: asc or desc")),
            };
            Ok(Command::Sort(Sort { column, is_descending }))
        }
        Takes::Grouping => match rest.first().map(String::as_str) {
            Some("apps" | "app") => Ok(Command::Group(Grouping::Apps)),
            Some("namespaces" | "namespace" | "ns") => Ok(Command::Group(Grouping::Namespaces)),
            Some("flat") => Ok(Command::Group(Grouping::Flat)),
            _ => Err("tree apps, tree namespaces, tree flat".to_owned()),
        },
        Takes::Time => {
            let word = rest.first().map_or("", String::as_str);
            let zoom = ZOOMS.iter().find(|(_, name)| *name == word);
            zoom.map(|(time, _)| Command::Zoom(*time)).ok_or_else(|| "zoom 1m, 5m, 15m, 1h, 6h or 24h".to_owned())
        }
        Takes::Theme => {
            let word = rest.first().map_or("", String::as_str);
            word.parse().map(Command::Theme).map_err(|error: crate::tui::view::theme::NoTheme| error.to_string())
        }
        Takes::Nothing => Ok(match *name {
            "events" => Command::Show(Tab::Events, None),
            "freeze" => Command::Freeze,
            "follow" => Command::Follow,
            "wrap" => Command::Wrap,
            "merge" => Command::Merge,
            "help" => Command::Help,
            _ => Command::Quit,
        }),
    }
}

fn count_of(text: &str) -> Result<Count, String> {
    let wrong = || format!("`{text}` is no number of instances: 3, +1, -1");
    if text.starts_with(['+', '-']) {
        return text.parse().map(Count::By).map_err(|_| wrong());
    }
    match text.parse() {
        Ok(0) => Err("an app has at least 1 instance; stop stops it".to_owned()),
        Ok(count) => Ok(Count::To(count)),
        Err(_) => Err(wrong()),
    }
}

/// A name with the same beginning, or one letter wrong.
fn similar(word: &str) -> Option<&'static str> {
    let names = || COMMANDS.iter().map(|(name, ..)| *name);
    names().find(|name| name.starts_with(word)).or_else(|| names().find(|name| distance(name, word) <= 2))
}

/// How many letters have to be changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

/// What the last word of a line may become, with what each is.
pub(crate) fn candidates(line: &str, view: &View) -> Vec<(String, String)> {
    let mut words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    let last = if line.ends_with(' ') || words.is_empty() { "" } else { words.pop().unwrap_or_default() };
    let starts = |word: &str| word.to_lowercase().starts_with(&last.to_lowercase());
    let fixed = |words: &[&str]| -> Vec<(String, String)> {
        words.iter().filter(|word| starts(word)).map(|word| ((*word).to_owned(), String::new())).collect()
    };
    let Some(name) = words.first() else {
        let commands = commands().filter(|(name, _)| starts(name));
        return commands.map(|(name, help)| (name.to_owned(), help.to_owned())).collect();
    };
    let takes = COMMANDS
        .iter()
        .find(|(known, aliases, ..)| known == name || aliases.contains(name))
        .map_or(Takes::Nothing, |(_, _, takes, _)| *takes);
    match takes {
        Takes::Targets => names(view, &starts, true),
        Takes::Target if words.len() == 1 => names(view, &starts, false),
        Takes::ScaleCount if words.len() == 1 => names(view, &starts, false),
        Takes::ScaleCount if words.len() == 2 => fixed(&["+1", "-1"]),
        Takes::SignalAndTargets if words.len() == 1 => {
            fixed(&["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGINT", "SIGKILL"])
        }
        Takes::SignalAndTargets => names(view, &starts, true),
        Takes::Column if words.len() == 1 => {
            let titled = columns::ALL.iter().filter(|column| !matches!(column, Column::CpuGraph | Column::MemoryGraph));
            fixed(&titled.map(|column| column.word()).collect::<Vec<_>>())
        }
        Takes::Grouping if words.len() == 1 => fixed(&["apps", "namespaces", "flat"]),
        Takes::Time if words.len() == 1 => fixed(&ZOOMS.map(|(_, name)| name)),
        Takes::Theme if words.len() == 1 => fixed(&["terminal", "vivid", "mono"]),
        Takes::Text if *name == "filter" => {
            fixed(&["status:errored", "status:online", "cpu>50", "mem>500M", "restarts>0", "ns:", "user:"])
        }
        _ => Vec::new(),
    }
}

fn names(view: &View, starts: &dyn Fn(&str) -> bool, has_all: bool) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut add = |word: &str, what: String| {
        if starts(word) && !found.iter().any(|(known, _)| known == word) {
            found.push((word.to_owned(), what));
        }
    };
    for app in &view.apps {
        let count = app.slots.len();
        add(&app.name, if count == 1 { "app".to_owned() } else { format!("app, {count} instances") });
    }
    for app in &view.apps {
        add(&app.namespace, "namespace".to_owned());
    }
    if has_all {
        add("all", "everything".to_owned());
    }
    for app in view.apps.iter().filter(|app| app.slots.len() > 1) {
        for slot in &app.slots {
            add(&slot.id.to_string(), crate::words::place(app, slot));
        }
    }
    found
}

/// The ids that a word means, in the order of the daemon: all, an expression, a name, a namespace, an id.
pub(crate) fn meant(word: &str, view: &View) -> Vec<u32> {
    let of = |is_it: &dyn Fn(&crate::proto::AppView) -> bool| -> Vec<u32> {
        view.apps.iter().filter(|app| is_it(app)).flat_map(|app| app.slots.iter().map(|slot| slot.id)).collect()
    };
    if word == "all" {
        return of(&|_| true);
    }
    if let Some(inner) = word.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')).filter(|it| !it.is_empty()) {
        let Ok(regex) = regex_lite::Regex::new(inner) else { return Vec::new() };
        return of(&|app| regex.is_match(&app.name));
    }
    let by_name = of(&|app| app.name == word);
    if !by_name.is_empty() {
        return by_name;
    }
    let by_namespace = of(&|app| app.namespace == word);
    if !by_namespace.is_empty() {
        return by_namespace;
    }
    let id = word.parse().ok();
    view.apps.iter().flat_map(|app| &app.slots).map(|slot| slot.id).filter(|it| Some(*it) == id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::sample;

    fn completed(line: &str) -> Vec<String> {
        candidates(line, &sample::view()).into_iter().map(|(word, _)| word).collect()
    }

    #[test]
    fn verbs_names_and_values_are_completed() {
        assert_eq!(completed("re"), ["reload", "restart", "reset"]);
        assert_eq!(completed("restart w"), ["web"]);
        assert_eq!(completed("restart "), ["api", "web", "0", "default", "batch", "all", "1"]);
        assert_eq!(completed("scale api "), ["+1", "-1"]);
        assert_eq!(completed("sort c"), ["cpu", "conns"]);
        assert_eq!(completed("theme m"), ["mono"]);
        assert_eq!(completed("dance "), Vec::<String>::new());
    }

    #[test]
    fn a_command_is_read_or_told_what_is_wrong() {
        let selected = ["web".to_owned()];
        assert_eq!(read("restart", &selected), Ok(Command::Do(Verb::Restart, vec!["web".into()])));
        assert_eq!(read(" stop api 3", &selected), Ok(Command::Do(Verb::Stop, vec!["api".into(), "3".into()])));
        assert_eq!(read("scale api +2", &[]), Ok(Command::Do(Verb::Scale(Count::By(2)), vec!["api".into()])));
        assert_eq!(read("scale 3", &selected), Ok(Command::Do(Verb::Scale(Count::To(3)), vec!["web".into()])));
        assert_eq!(read("q", &[]), Ok(Command::Quit));
        let sort = Sort { column: Column::Memory, is_descending: true };
        assert_eq!(read("sort mem", &[]), Ok(Command::Sort(sort)));
        assert_eq!(read("zoom 1h", &[]), Ok(Command::Zoom(3_600_000)));
        for (line, wanted) in [
            ("restrat api", "did you mean `restart`"),
            ("stop", "which app"),
            ("scale api 0", "at least 1"),
            ("signal FOO api", "not a signal"),
            ("sort size", "no column"),
            ("zoom 2y", "24h"),
            ("theme pink", "mono"),
            ("", "Esc"),
        ] {
            let problem = read(line, &[]).unwrap_err();
            assert!(problem.contains(wanted), "{line}: {problem}");
        }
    }

    #[test]
    fn a_word_means_what_it_means_to_the_daemon() {
        let view = sample::view();
        assert_eq!(meant("api", &view), [0, 1]);
        assert_eq!(meant("0", &view), [3], "the app of this name hides the id");
        assert_eq!(meant("2", &view), [2]);
        assert_eq!(meant("batch", &view), [3]);
        assert_eq!(meant("/^w/", &view), [2]);
        assert_eq!(meant("all", &view).len(), 4);
    }
}
