//! How rsx says things: units, moments, changes, stories and troubles in words that the command line and the dashboard
//! share.
//!
//! Pure: plain data in, plain text out; colours and layout are those of whoever shows it.

pub(crate) mod clock;
pub(crate) mod event;
pub(crate) mod facts;
pub(crate) mod forecast;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod story;
pub(crate) mod trouble;
pub(crate) mod units;

use crate::proto::{AppView, SlotView};

/// How something is meant; each reader of it has a colour for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// To be noticed.
    Warn,
    /// Wrong.
    Bad,
}

/// `api`, or `api:2` where there are several.
pub(crate) fn place(app: &AppView, slot: &SlotView) -> String {
    let name = units::printable(&app.name);
    if app.slots.len() > 1 { format!("{name}:{}", slot.instance) } else { name.into_owned() }
}
