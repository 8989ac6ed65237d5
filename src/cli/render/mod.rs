//! Pure: plain data in, text out. What a user sees is decided here and held by snapshots.

pub(super) mod clock;
pub(super) mod describe;
pub(super) mod event;
pub(super) mod inspect;
pub(super) mod outcome;
pub(super) mod plan;
pub(super) mod pm2;
#[cfg(test)]
pub(super) mod sample;
pub(super) mod table;
pub(super) mod units;
pub(super) mod why;
