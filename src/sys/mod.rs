//! Linux calls behind safe functions and owned types. The only layer with `unsafe`.
//!
//! # Invariant
//!
//! No number leaves this layer that the kernel could give to somebody else: processes are [`process::Process`] and
//! [`process::PidFd`], descriptors are `OwnedFd` and `BorrowedFd`. Pids that are handed out are for showing only.
//!
//! Every call here is one of the kernel's or reads one of its files; what to do with the result is decided elsewhere.
#![allow(unsafe_code, reason = "the one layer that may; each block is one call with its contract")]
#![allow(clippy::disallowed_methods, reason = "this layer is where the world is touched")]

pub mod limits;
pub mod process;
pub mod spawn;

#[cfg(test)]
pub(crate) mod testing;
