//! The journal: everything that a successor of this daemon must know, a record a line, in the runtime directory.
//!
//! A record is written before what it tells of is done, by one write(2) of the engine's; so whatever a daemon did before
//! it was killed is known, and what it meant to do is done by its successor. The page cache outlives the daemon, and
//! nothing of it is worth keeping over a reboot: nothing is ever synced.
//!
//! `file.rs` appends, `writer.rs` decides what there is to append, `replay.rs` reads, `state.rs` is between the core's words
//! and the records'. Written anew, whole, by each daemon at its start and when it has grown.

mod asked;
mod file;
mod replay;
mod state;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use self::asked::{answered, batch, recalled_batch, recalled_waiter, waiting};
pub(crate) use self::file::Journal;
pub(crate) use self::replay::{Past, Read, epoch, read};
pub(crate) use self::writer::{Turn, Whole, Writer};
