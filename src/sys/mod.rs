//! Linux calls behind safe functions and owned types. The only layer with `unsafe`.
//!
//! | module | is responsible for |
//! |---|---|
//! | [`spawn`] | starting a program; which step failed |
//! | [`process`] | processes by pidfd: signals, ends, reaping |
//! | [`proc_table`] | one pass over /proc: who descends from whom, what they use |
//! | [`meter`] | CPU and memory of trees, each second |
//! | [`oom`] | what the kernel has killed for want of memory |
//! | [`tree`] | what is left of a run, and who belongs to it |
//! | [`listening`] | who listens |
//! | [`handed`] | listening sockets of ours that programs inherit |
//! | [`seccomp`] | being asked when a program binds and listens, and answering |
//! | [`tcp`] | sockets that share a port: joining, steering, listing, ending |
//! | [`lock`] | the lock of a daemon's life |
//! | [`fds`] | pipes, files in memory, descriptors on their way |
//! | [`pipes`] | what is in a pipe, without reading it |
//! | [`collapse`] | taking the head out of a file that others append to |
//! | [`shared`] | memory that outlives a process |
//! | [`poller`], [`signals`] | waiting for descriptors, signals |
//! | [`moment`] | clocks that outlive a daemon |
//! | [`limits`], [`peer`], [`system`] | this process and this machine |
//! | [`features`] | what this kernel allows, for `doctor` |
//!
//! # Invariant
//!
//! No number leaves this layer that the kernel could give to somebody else: processes are [`process::Process`] and
//! [`process::PidFd`], descriptors are `OwnedFd` and `BorrowedFd`. Pids that are handed out are for showing only.
//!
//! Every call here is one of the kernel's or reads one of its files; what to do with the result is decided elsewhere.
#![allow(unsafe_code, reason = "the one layer that may; each block is one call with its contract")]
#![allow(clippy::disallowed_methods, reason = "this layer is where the world is touched")]

pub mod collapse;
pub mod fds;
pub mod features;
pub mod handed;
pub mod limits;
pub mod listening;
pub mod lock;
pub mod memory;
pub mod meter;
pub mod moment;
pub mod oom;
pub mod peer;
pub mod pipes;
pub mod poller;
pub mod proc_table;
pub mod process;
pub mod readable;
pub mod rights;
pub mod seccomp;
pub mod shared;
pub mod signals;
pub mod spawn;
pub mod system;
pub mod tcp;
pub mod tree;

#[cfg(test)]
pub(crate) mod testing;
