//! The daemon's link to its guardian: what is stored there goes out without ever holding up the engine.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tracing::warn;

use crate::guardian::{Ended, Keeper, Verdict};
use crate::sys::poller::writable_within;
use crate::sys::process::Parent;
use crate::sys::readable::Readiness;

/// A guardian's keeper, shared with the task that reads its acknowledgements and sends what had to be queued.
#[derive(Clone, Debug)]
pub(super) struct Link {
    keeper: Arc<Mutex<Keeper>>,
    /// Something may have been heard that the task has to pass on.
    heard: Arc<Notify>,
    /// Who waits for the guardian's word about an update.
    asking: Arc<Mutex<Option<oneshot::Sender<Verdict>>>>,
}

impl Link {
    /// The link that this daemon has inherited, if a guardian started it.
    pub(super) fn from_env() -> Option<Link> {
        let keeper = Arc::new(Mutex::new(Keeper::from_env()?));
        Some(Link { keeper, heard: Arc::default(), asking: Arc::default() })
    }

    /// Starts the task that keeps the link going. It ends with the guardian. `ended` is called for every end that the
    /// guardian tells of.
    pub(super) fn start(&self, ended: impl Fn(Ended) + Send + 'static) -> io::Result<()> {
        let readiness = Readiness::new(self.lock().as_fd().try_clone_to_owned()?)?;
        let link = self.clone();
        tokio::spawn(async move {
            loop {
                let behind = link.lock().is_behind();
                tokio::select! {
                    waited = readiness.wait(behind) => {
                        if let Err(error) = waited {
                            return warn!("the link to the guardian: {error}");
                        }
                    }
                    () = link.heard.notified() => {}
                }
                if let Err(error) = link.lock().pump() {
                    warn!("the link to the guardian: {error}");
                }
                let heard = link.lock().take_ended();
                heard.into_iter().for_each(&ended);
                link.pass_verdict();
                if link.is_alone() {
                    // Who waits for a verdict learns that there is none.
                    drop(link.asking().take());
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
        let taken = self.lock().take_all(limit);
        // Ends may have come in between.
        self.heard.notify_one();
        taken
    }

    /// Asks to be told how these runs end: the number of each, and when it was born.
    pub(super) fn watch(&self, runs: &[(u32, u64)]) {
        if let Err(error) = self.lock().watch(runs) {
            warn!("cannot ask the guardian for the ends of runs: {error}");
        }
    }

    /// Lets the guardian forget the end of this run.
    pub(super) fn settle(&self, pid: u32, born: u64) {
        if let Err(error) = self.lock().settle(pid, born) {
            warn!("cannot settle the end of a run with the guardian: {error}");
        }
    }

    /// Asks the guardian to put this binary into the place of this daemon. Its verdict comes through what is returned; an
    /// error there says that the guardian is gone.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` while somebody else waits for one, and what [`Keeper::update`] says.
    pub(super) fn update(&self, path: &Path) -> io::Result<oneshot::Receiver<Verdict>> {
        let mut asking = self.asking();
        if asking.as_ref().is_some_and(|waiting| !waiting.is_closed()) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        self.lock().update(path)?;
        let (sender, receiver) = oneshot::channel();
        *asking = Some(sender);
        Ok(receiver)
    }

    /// The guardian as our parent; an error when it has ended.
    pub(super) fn guardian(&self) -> io::Result<Parent> {
        self.lock().guardian()
    }

    /// Whether there is a guardian still.
    pub(super) fn is_alone(&self) -> bool {
        self.lock().is_alone()
    }

    fn pass_verdict(&self) {
        // Locked in this order by who asks, too.
        let mut asking = self.asking();
        if let Some(verdict) = self.lock().take_verdict()
            && let Some(asking) = asking.take()
        {
            // Who has asked may have left.
            let _ = asking.send(verdict);
        }
    }

    fn asking(&self) -> MutexGuard<'_, Option<oneshot::Sender<Verdict>>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every change behind this lock is one call of the keeper's, which does not panic halfway.
    fn lock(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
