//! The stream of changes, waited on.

use serde_json::Value;

use super::{Lines, as_pid};

/// `rsx events --json`, from the first event of this daemon on.
pub(crate) struct Events {
    lines: Lines,
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) json: Value,
}

impl Event {
    fn read(line: &str) -> Option<Event> {
        serde_json::from_str(line).ok().map(|json| Event { json })
    }

    /// Whether it is of this kind.
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.json["event"]["kind"] == kind
    }

    /// Whether it happened to this app.
    pub(crate) fn of(&self, app: &str) -> bool {
        self.json["app"] == app
    }

    /// A field of what happened.
    pub(crate) fn get(&self, field: &str) -> &Value {
        &self.json["event"][field]
    }

    /// The process it is about.
    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        as_pid(self.get("pid")).unwrap_or_else(|| panic!("no pid in {}", self.json))
    }
}

impl Events {
    /// Follows from now on for certain: the first event has arrived, and is still there for the first wait.
    #[track_caller]
    pub(super) fn new(mut lines: Lines) -> Events {
        lines.wait_until("the first event", |lines| !lines.is_empty());
        Events { lines }
    }

    /// Waits for an event; the next wait goes on behind it.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        let line = self.lines.wait(what, |line| Event::read(line).is_some_and(|event| is_it(&event)));
        Event::read(&line).unwrap()
    }

    /// Waits for an event of this kind that happens to this app.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, app: &str, kind: &str) -> Event {
        self.wait(&format!("`{kind}` of `{app}`"), |event| event.of(app) && event.is(kind))
    }

    /// All events that waits have passed, newest last.
    pub(crate) fn seen(&self) -> Vec<Event> {
        self.lines.seen().iter().filter_map(|line| Event::read(line)).collect()
    }

    /// How often this kind of event happened to this app, among those that waits have passed.
    pub(crate) fn count(&self, app: &str, kind: &str) -> usize {
        self.seen().iter().filter(|event| event.of(app) && event.is(kind)).count()
    }

    /// Waits until the stream ends; the exit code of the verb.
    #[track_caller]
    pub(crate) fn end(&mut self) -> i32 {
        self.lines.ends()
    }
}
