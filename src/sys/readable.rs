//! Waiting, as a task, until a descriptor can be read: for a pidfd, until its process has ended.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys::process::{PidFd, Process};

/// Waits for the end of a process.
///
/// # Errors
///
/// ENOSPC, ENOMEM: the kernel's limits of what epoll(7) may watch.
pub async fn ended(process: Arc<Process>) -> io::Result<()> {
    readable(process).await
}

/// Waits for the end of a process that is held by its pidfd alone.
///
/// # Errors
///
/// As [`ended`].
pub async fn pidfd_ended(process: PidFd) -> io::Result<()> {
    readable(process).await
}

async fn readable<T: AsRawFd>(fd: T) -> io::Result<()> {
    // SAFETY: register_with_interest wants the descriptor open, and the same, until the registration is dropped. `T` is
    // one of the two types above: each owns its descriptor and never gives it away, and `AsyncFd` owns the `T`.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    let registered = registered.map_err(|error| io::Error::other(error.to_string()))?;
    registered.readable().await.map(drop)
}
