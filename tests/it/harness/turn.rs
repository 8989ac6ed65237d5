//! Who has the machine: tests share it, except for those that measure time or how much is done in it.
//!
//! More tests run at a time than the machine has processors, because most of them wait most of the time. A bound on time
//! says nothing then. A test that has one asks for the machine by [`alone`]: it waits until no other test has a home, and
//! meanwhile no other test gets one. One that has to get through a number of requests asks for [`most`] of it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

/// Longer than any test takes, the one that waits last in a row of those that want to be alone included.
const PATIENCE: Duration = Duration::from_secs(600);

/// The machine, in parts of which a test has one, unless it has asked for more.
const WHOLE: usize = 3;

static TURNS: LazyLock<Mutex<Turns>> = LazyLock::new(Mutex::default);
static CHANGED: Condvar = Condvar::new();

#[derive(Default)]
struct Turns {
    /// What each thread has.
    parts: HashMap<ThreadId, Part>,
    /// Who waits for more than one part, in this order. Nobody new comes before them.
    waiting: VecDeque<ThreadId>,
}

/// What a thread has of the machine.
#[derive(Clone, Copy, Debug)]
struct Part {
    homes: usize,
    size: usize,
    /// Whether it has asked for it, and gives it back itself.
    is_reserved: bool,
}

/// The share of a home in the machine. It goes with the home.
#[derive(Debug)]
pub(super) struct Share {
    thread: ThreadId,
}

/// More of the machine than others have, for one test.
#[derive(Debug)]
#[must_use = "the machine is shared again when this is dropped"]
pub(crate) struct Reserved {
    thread: ThreadId,
}

impl Turns {
    fn taken(&self) -> usize {
        self.parts.values().map(|part| part.size).sum()
    }

    /// Whether somebody new may have a home. Those of one test may be more than there are parts.
    fn is_open(&self) -> bool {
        let is_free = self.parts.values().all(|part| !part.is_reserved) || self.taken() < WHOLE;
        self.waiting.is_empty() && is_free
    }
}

impl Share {
    /// Waits while the machine is another's. A thread that has a home already gets a second one at once.
    pub(super) fn of_this_thread() -> Share {
        let thread = std::thread::current().id();
        let mut turns = wait_until(lock(), |turns| turns.parts.contains_key(&thread) || turns.is_open());
        turns.parts.entry(thread).or_insert(Part { homes: 0, size: 1, is_reserved: false }).homes += 1;
        Share { thread }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut turns = lock();
        if let Some(part) = turns.parts.get_mut(&self.thread) {
            part.homes -= 1;
            if part.homes == 0 && !part.is_reserved {
                turns.parts.remove(&self.thread);
            }
        }
        CHANGED.notify_all();
    }
}

/// Waits until no other test has a home. To be called before a test makes its own, by the thread that makes it.
pub(crate) fn alone() -> Reserved {
    reserve(WHOLE)
}

/// Waits until at most one other test has a home. To be called as [`alone`] is.
pub(crate) fn most() -> Reserved {
    reserve(WHOLE - 1)
}

fn reserve(size: usize) -> Reserved {
    let thread = std::thread::current().id();
    let mut turns = lock();
    assert!(!turns.parts.contains_key(&thread), "a test that has a home already waits for itself");
    turns.waiting.push_back(thread);
    let is_next = |turns: &Turns| turns.waiting.front() == Some(&thread) && turns.taken() + size <= WHOLE;
    let mut turns = wait_until(turns, is_next);
    turns.waiting.pop_front();
    turns.parts.insert(thread, Part { homes: 0, size, is_reserved: true });
    CHANGED.notify_all();
    Reserved { thread }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        lock().parts.remove(&self.thread);
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
