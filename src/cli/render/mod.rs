//! Pure: plain data in, text out. What a user sees is decided here and held by snapshots.

pub(super) mod about;
pub(super) mod inspect;
pub(super) mod news;
pub(super) mod outcome;
pub(super) mod plan;
pub(super) mod pm2;
pub(super) mod table;
pub(super) mod why;

#[cfg(test)]
pub(super) use crate::words::sample;
pub(super) use crate::words::{clock, event, units};
