//! Talks to the daemon: connect, handshake, typed calls, the stream of events; starts it when a verb needs one.
//!
//! Synchronous on purpose: a verb has one question and waits for one answer. Every wait is bounded in time, so a daemon
//! that hangs costs its client the limit of the call and never more.
//!
//! A daemon that dies, or hands over to another binary, is followed by the next one within moments. Calls are sent again to
//! that one, once and under the same key, and streams go on behind what they have told: whoever uses this layer sees one
//! daemon.
//!
//! This layer does not know what a verb means, and prints nothing.
#![allow(clippy::disallowed_methods, reason = "a client opens sockets, starts the daemon and measures its own limits")]

mod connection;
mod error;
mod events;
mod greet;
mod interrupt;
mod launch;
mod line;
mod reach;

#[cfg(test)]
mod tests;

pub use connection::{Client, Ticket};
pub use error::ClientError;
pub use events::{EventStream, Gap, News};
pub use interrupt::Interrupt;
pub use reach::wait_for_change;
