//! Waiting, as a task, until a descriptor can be read: for a pidfd, until its process has ended.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
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
pub async fn pidfd_ended(process: Arc<PidFd>) -> io::Result<()> {
    readable(process).await
}

/// A descriptor that a task waits for again and again.
#[derive(Debug)]
pub struct Readiness(AsyncFd<OwnedFd>);

impl Readiness {
    /// Watches a descriptor of its own, such as a duplicate.
    ///
    /// # Errors
    ///
    /// As [`ended`].
    pub fn new(fd: OwnedFd) -> io::Result<Readiness> {
        // SAFETY: register_with_interest wants the descriptor open, and the same, until the registration is dropped: the
        // `OwnedFd` moves into it and is never given away.
        let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE | Interest::WRITABLE) };
        registered.map(Readiness).map_err(|error| io::Error::other(error.to_string()))
    }

    /// Waits until it may be readable, or, if that is wanted, writable. The caller tries, and comes back when the
    /// kernel says `WouldBlock`.
    ///
    /// # Errors
    ///
    /// The runtime is shutting down.
    pub async fn wait(&self, also_writable: bool) -> io::Result<()> {
        if also_writable {
            tokio::select! {
                ready = self.0.readable() => ready?.clear_ready(),
                ready = self.0.writable() => ready?.clear_ready(),
            }
        } else {
            self.0.readable().await?.clear_ready();
        }
        Ok(())
    }
}

async fn readable<T: AsRawFd>(fd: T) -> io::Result<()> {
    // SAFETY: register_with_interest wants the descriptor open, and the same, until the registration is dropped. `T` is
    // one of the two types above: each owns its descriptor and never gives it away, and `AsyncFd` owns the `T`.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    let registered = registered.map_err(|error| io::Error::other(error.to_string()))?;
    registered.readable().await.map(drop)
}
