//! Who has the machine: tests share it, except for those that measure time.
//!
//! A bound on time says nothing while other tests take all processors. Such a test asks for the machine by [`alone`]: it
//! waits until no other test has a home, and meanwhile no other test gets one.

use std::collections::HashMap;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

/// Longer than any test takes, the one that waits last in a row of those that want to be alone included.
const PATIENCE: Duration = Duration::from_secs(600);

static TURNS: LazyLock<Mutex<Turns>> = LazyLock::new(Mutex::default);
static CHANGED: Condvar = Condvar::new();

#[derive(Default)]
struct Turns {
    /// How many homes each thread has.
    homes: HashMap<ThreadId, usize>,
    /// Who has the machine for itself.
    alone: Option<ThreadId>,
    /// How many wait for that. Nobody new comes before them.
    waiting: usize,
}

/// The share of a home in the machine. It goes with the home.
#[derive(Debug)]
pub(super) struct Share {
    thread: ThreadId,
}

/// The machine for one test.
#[derive(Debug)]
#[must_use = "the machine is shared again when this is dropped"]
pub(crate) struct Alone(());

impl Share {
    /// Waits while the machine is another's. A thread that has a home already gets a second one at once.
    pub(super) fn of_this_thread() -> Share {
        let thread = std::thread::current().id();
        let mut turns = wait_until(lock(), |turns| {
            let is_free = turns.alone.is_none() && turns.waiting == 0;
            is_free || turns.homes.contains_key(&thread) || turns.alone == Some(thread)
        });
        *turns.homes.entry(thread).or_default() += 1;
        Share { thread }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut turns = lock();
        if let Some(count) = turns.homes.get_mut(&self.thread) {
            *count -= 1;
            if *count == 0 {
                turns.homes.remove(&self.thread);
            }
        }
        CHANGED.notify_all();
    }
}

/// Waits until no other test has a home. To be called before a test makes its own, by the thread that makes it.
pub(crate) fn alone() -> Alone {
    let thread = std::thread::current().id();
    let mut turns = lock();
    assert!(!turns.homes.contains_key(&thread), "a test that has a home already waits for itself");
    turns.waiting += 1;
    let mut turns = wait_until(turns, |turns| turns.homes.is_empty() && turns.alone.is_none());
    turns.waiting -= 1;
    turns.alone = Some(thread);
    Alone(())
}

impl Drop for Alone {
    fn drop(&mut self) {
        lock().alone = None;
        CHANGED.notify_all();
    }
}

/// A test that has failed leaves the turns as they should be: they are only counted.
fn lock() -> MutexGuard<'static, Turns> {
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait_until<'turns>(turns: MutexGuard<'turns, Turns>, is_it: impl Fn(&Turns) -> bool) -> MutexGuard<'turns, Turns> {
    let (turns, waited) =
        CHANGED.wait_timeout_while(turns, PATIENCE, |turns| !is_it(turns)).unwrap_or_else(PoisonError::into_inner);
    assert!(!waited.timed_out(), "the machine was another test's for {PATIENCE:?}");
    turns
}
