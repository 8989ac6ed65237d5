//! What is wrong with an instance, and what its user can do about it.

use crate::proto::{AppView, SlotView, State};
use crate::words::place;
use crate::words::units::{fine_span, printable};

/// Something that needs attention.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// `api`, or `api:2` where there are several.
    pub(crate) place: String,
    /// What follows the state: ` again: exit code 1, next try in 42s`.
    pub(crate) what: String,
    /// The command that tells more.
    pub(crate) next: String,
}

/// None where it does as it should.
pub(crate) fn of(app: &AppView, slot: &SlotView, now: u64) -> Option<Trouble> {
    let mut what = match slot.state {
        State::Errored | State::Waiting | State::Unhealthy => String::new(),
        // It is between two crashes: without the reason it would look like a slow start.
        State::Launching if slot.unstable > 0 => " again".to_owned(),
        State::Online | State::Launching | State::Draining | State::Stopping | State::Stopped => return None,
    };
    if let Some(reason) = slot.reason.as_ref().or(slot.last_exit.as_ref().map(|exit| &exit.reason)) {
        what.push_str(": ");
        what.push_str(&printable(reason));
    }
    if let Some(next) = slot.next_attempt {
        what.push_str(&format!(", next try in {}", fine_span(next.saturating_sub(now))));
    }
    // What never ran has no story: its declaration is wrong.
    let verb = if slot.last_exit.as_ref().is_some_and(|exit| exit.pid == 0) { "describe" } else { "why" };
    Some(Trouble { place: place(app, slot), what, next: format!("rsx {verb} {}", printable(&app.name)) })
}
