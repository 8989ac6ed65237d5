//! Joining the stream of changes, and joining it again after the connection broke.

use serde::{Deserialize, Serialize};

/// Asks for the stream of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsCall {
    /// How many past events come first (the daemon keeps the last 1,000).
    #[serde(default)]
    pub history: u32,
    /// The event that was seen last: those after it come first, instead of `history`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Mark>,
}

/// One event of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its number; 0 stands before the first one.
    pub seq: u64,
    /// Its time in milliseconds of the epoch. With it the daemon can tell whether its number means the same event: a
    /// daemon that has lost its past counts from 1 again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
}

/// The answer to [`EventsCall`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsAnswer {
    /// The newest event at this moment: none that comes before it is still to happen.
    #[serde(default)]
    pub newest: Mark,
    /// What became of `after`, where it was asked for.
    #[serde(default)]
    pub resumed: Option<Resumed>,
}

/// How much of what came after an event is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Resumed {
    /// All of it.
    Whole,
    /// All but the first ones, which are no longer kept.
    Missed {
        /// How many these are.
        count: u64,
    },
    /// This daemon does not know that event and counts anew; all that it knows comes.
    Anew,
}
