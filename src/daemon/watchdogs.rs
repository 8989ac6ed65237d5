//! Who has to speak, and when each was heard last: a word costs a note here and wakes nobody. A task a run waits until its time
//! is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::daemon::report::Report;
use crate::supervisor::{Hang, RunId};

/// What was said in the last moment is read first.
const GRACE: Duration = Duration::from_millis(50);

/// So late it is not the program that hung, but this daemon: nobody has read what was said.
const HELD_UP: Duration = Duration::from_secs(1);

/// Of all runs that are listened for.
#[derive(Clone, Debug, Default)]
pub(super) struct Watchdogs(Arc<Mutex<HashMap<RunId, Watched>>>);

#[derive(Debug)]
struct Watched {
    heard: Instant,
    limit: Duration,
    task: AbortHandle,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watchdogs {
    /// Expects a run to speak from now on; each time when it has been silent for so long, that is reported. Zero: not any
    /// more.
    pub(super) fn guard(&self, run: RunId, limit: Duration, reports: mpsc::UnboundedSender<Report>) {
        if limit.is_zero() {
            return self.forget(run);
        }
        let (all, heard) = (self.clone(), Instant::now());
        // It looks for its own entry after a whole period.
        let task = tokio::spawn(async move { all.listen(run, (heard, limit), reports).await }).abort_handle();
        self.lock().insert(run, Watched { heard, limit, task });
    }

    /// It has spoken.
    pub(super) fn heard(&self, run: RunId) {
        if let Some(watched) = self.lock().get_mut(&run) {
            watched.heard = Instant::now();
        }
    }

    /// It has ended.
    pub(super) fn forget(&self, run: RunId) {
        self.lock().remove(&run);
    }

    async fn listen(&self, run: RunId, (heard, limit): (Instant, Duration), reports: mpsc::UnboundedSender<Report>) {
        let mut due = heard + limit;
        loop {
            sleep_until(due).await;
            let late = due.elapsed();
            sleep(GRACE).await;
            let silent = {
                let mut all = self.lock();
                let Some(watched) = all.get_mut(&run) else { return };
                let is_silent = watched.heard + watched.limit <= due;
                if is_silent {
                    // The next period begins.
                    watched.heard = Instant::now();
                }
                due = watched.heard + watched.limit;
                is_silent && late < HELD_UP
            };
            // The engine may have ended.
            if silent && reports.send(Report::Hung { run, hang: Hang::Silent(limit) }).is_err() {
                return;
            }
        }
    }

    /// A panic elsewhere cannot leave it half written: each change is one assignment.
    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    fn in_runtime(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
    }

    #[test]
    fn who_is_silent_is_reported_and_who_speaks_is_not() {
        in_runtime(async {
            let (dogs, (reports, mut inbox)) = (Watchdogs::default(), mpsc::unbounded_channel());
            let begun = Instant::now();
            dogs.guard(RunId(1), LIMIT, reports.clone());
            dogs.guard(RunId(2), LIMIT, reports.clone());
            let speaker = dogs.clone();
            let speaking = tokio::spawn(async move {
                loop {
                    sleep(LIMIT / 8).await;
                    speaker.heard(RunId(2));
                }
            });
            for _ in 0..2 {
                let report = inbox.recv().await;
                assert!(
                    matches!(report, Some(Report::Hung { run: RunId(1), hang: Hang::Silent(LIMIT) })),
                    "{report:?}"
                );
            }
            assert!(begun.elapsed() >= LIMIT * 2, "each period is a whole one");
            speaking.abort();
        });
    }

    #[test]
    fn who_is_let_alone_is_not_reported() {
        in_runtime(async {
            let (dogs, (reports, mut inbox)) = (Watchdogs::default(), mpsc::unbounded_channel());
            dogs.guard(RunId(1), LIMIT, reports.clone());
            dogs.guard(RunId(1), Duration::ZERO, reports.clone());
            dogs.guard(RunId(2), LIMIT, reports.clone());
            dogs.forget(RunId(2));
            dogs.guard(RunId(3), LIMIT, reports.clone());
            dogs.guard(RunId(3), LIMIT * 2, reports);
            let report = inbox.recv().await;
            assert!(matches!(report, Some(Report::Hung { run: RunId(3), .. })), "{report:?}");
        });
    }
}
