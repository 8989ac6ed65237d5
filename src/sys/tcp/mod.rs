//! TCP sockets that are shared by a group (socket(7): SO_REUSEPORT), seen from whoever keeps duplicates of them.
//!
//! | module | is responsible for |
//! |---|---|
//! | `facts` | what a socket is: address, identity, owner |
//! | `listening` | joining a group, leaving it, the depth of the queue |
//! | `steering` | the program that chooses the member for a new connection |
//! | `tag` | the mark of a member that its connections inherit |
//! | `options` | carrying options from one socket to another |
//! | [`diag`] | what the kernel lists: listeners, half-open and open connections of a port |
//! | `open` | a socket of our own in a program's place |
//! | `probe` | which member a connection reaches |
//! | `ending` | ending a quiet connection in the program's place |
//!
//! Which member gets what, and when a connection is quiet, is decided elsewhere.

pub mod diag;
mod ending;
mod facts;
mod listening;
mod open;
mod option;
mod options;
mod probe;
mod row;
mod steering;
mod tag;

#[cfg(test)]
mod tests;

pub use ending::{end_reading, held_by, holder_of};
pub use facts::{Cookie, Facts, Kind, inode, is_listening, kind};
pub use listening::{accept_waiting, join, leave, overflows, queue_depth, share};
pub use open::{Form, Target, open, unbound};
pub(in crate::sys) use options::{copy_flags, copy_options, set_flags};
pub use probe::{Marked, Origin, probe, unconnected};
pub use steering::{Instruction, attach, detach};
pub use tag::{Tag, read_tag, set_tag};
