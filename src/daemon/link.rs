//! The daemon's link to its guardian: what is stored there goes out without ever holding up the engine.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::guardian::Keeper;
use crate::sys::poller::writable_within;
use crate::sys::process::Parent;
use crate::sys::readable::Readiness;

/// A guardian's keeper, shared with the task that reads its acknowledgements and sends what had to be queued.
#[derive(Clone, Debug)]
pub(super) struct Link(Arc<Mutex<Keeper>>);

impl Link {
    /// The link that this daemon has inherited, if a guardian started it.
    pub(super) fn from_env() -> Option<Link> {
        Keeper::from_env().map(|keeper| Link(Arc::new(Mutex::new(keeper))))
    }

    /// Starts the task that keeps the link going. It ends with the guardian.
    pub(super) fn start(&self, _ended: impl Fn(crate::guardian::Ended) + Send + 'static) -> io::Result<()> {
        let readiness = Readiness::new(self.lock().as_fd().try_clone_to_owned()?)?;
        let link = self.clone();
        tokio::spawn(async move {
            loop {
                let behind = link.lock().is_behind();
                if let Err(error) = readiness.wait(behind).await {
                    return warn!("the link to the guardian: {error}");
                }
                let mut keeper = link.lock();
                if let Err(error) = keeper.pump() {
                    warn!("the link to the guardian: {error}");
                }
                if keeper.is_alone() {
                    return warn!("the guardian is gone; the daemon goes on without one");
                }
            }
        });
        Ok(())
    }

    /// Stores copies of descriptors under names.
    pub(super) fn put(&self, named: &[(&str, BorrowedFd<'_>)]) {
        if let Err(error) = self.lock().put(named) {
            warn!("cannot leave descriptors with the guardian: {error}");
        }
    }

    /// Lets go of what is stored under these names.
    pub(super) fn forget(&self, names: &[&str]) {
        if let Err(error) = self.lock().forget(names) {
            warn!("cannot take descriptors from the guardian: {error}");
        }
    }

    pub(super) fn watch(&self, _: &[(u32, u64)]) {}
    pub(super) fn settle(&self, _: u32, _: u64) {}

    /// Waits until everything has been sent, at most this long; whether it has.
    pub(super) fn is_sent_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let fd = {
                let mut keeper = self.lock();
                if !keeper.is_behind() {
                    return true;
                }
                if keeper.flush().is_err() {
                    return false;
                }
                keeper.as_fd().try_clone_to_owned()
            };
            let left = deadline.saturating_duration_since(Instant::now());
            match fd.and_then(|fd| writable_within(&fd, left)) {
                Ok(true) => {}
                Ok(false) | Err(_) => return false,
            }
        }
    }

    /// Tells the guardian that this daemon is ready.
    pub(super) fn ready(&self) {
        if let Err(error) = self.lock().ready() {
            warn!("the link to the guardian: {error}");
        }
    }

    /// Everything that is stored. Waits, at most this long.
    pub(super) fn take_all(&self, limit: Duration) -> io::Result<Vec<(String, OwnedFd)>> {
        self.lock().take_all(limit)
    }

    /// The guardian as our parent; an error when it has ended.
    pub(super) fn guardian(&self) -> io::Result<Parent> {
        self.lock().guardian()
    }

    /// Whether there is a guardian still.
    pub(super) fn is_alone(&self) -> bool {
        self.lock().is_alone()
    }

    /// Every change behind this lock is one call of the keeper's, which does not panic halfway.
    fn lock(&self) -> MutexGuard<'_, Keeper> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
