//! Talks to the daemon: connect, handshake, typed calls, the stream of events; starts it when a verb needs one.
//!
//! Synchronous on purpose: a verb has one question and waits for one answer. Every wait is bounded in time, so a daemon
//! that hangs costs its client the limit of the call and never more.
//!
//! This layer does not know what a verb means, and prints nothing.
#![allow(clippy::disallowed_methods, reason = "a client opens sockets, starts the daemon and measures its own limits")]

mod connection;
mod error;
mod events;
mod interrupt;
mod launch;
mod reach;

#[cfg(test)]
mod tests;

pub use connection::{Client, Ticket};
pub use error::ClientError;
pub use events::EventStream;
pub use interrupt::Interrupt;
