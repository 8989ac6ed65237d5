//! How long drains and reloads take, and what output is lost: counted by slot from what is announced, for metrics. A successor
//! begins anew, as totals may.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::proto::TimesView;
use crate::supervisor::{Change, ChangeKind, RunId, SlotId, Time};

/// Of all slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Times(Arc<Mutex<HashMap<SlotId, Timed>>>);

#[derive(Debug, Default)]
struct Timed {
    view: TimesView,
    /// The run that serves.
    serving: Option<RunId>,
    /// The run that is to replace it, and when it was started.
    coming: Option<(RunId, Time)>,
    /// The run whose connections are being ended, and since when.
    draining: Option<(RunId, Time)>,
}

impl Times {
    /// Something was announced.
    pub(super) fn take(&self, change: &Change, now: Time) {
        let Some((slot, _)) = change.slot else { return };
        let mut all = self.lock();
        if change.kind == ChangeKind::Deleted {
            all.remove(&slot);
            return;
        }
        all.entry(slot).or_default().take(&change.kind, now);
    }

    /// A run that serves since an earlier daemon.
    pub(super) fn adopt(&self, slot: SlotId, run: RunId) {
        self.lock().entry(slot).or_default().serving = Some(run);
    }

    /// Output of a slot could not be written.
    pub(super) fn lost(&self, slot: SlotId, bytes: u64) {
        let mut all = self.lock();
        let view = &mut all.entry(slot).or_default().view;
        view.log_lost = view.log_lost.saturating_add(bytes);
    }

    /// What was counted, by the ids of slots.
    pub(super) fn all(&self) -> HashMap<u32, TimesView> {
        self.lock().iter().map(|(slot, timed)| (slot.0, timed.view)).collect()
    }

    /// A panic elsewhere cannot leave it half written: what is counted are single numbers.
    fn lock(&self) -> MutexGuard<'_, HashMap<SlotId, Timed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timed {
    fn take(&mut self, kind: &ChangeKind, now: Time) {
        match kind {
            ChangeKind::Started(run) => self.coming = self.serving.map(|_| (*run, now)),
            ChangeKind::Online { run, .. } => {
                self.serving = Some(*run);
                if let Some((_, began)) = self.coming.take_if(|(coming, _)| coming == run) {
                    self.view.reloads += 1;
                    self.view.reloading += millis(now.since(began));
                }
            }
            ChangeKind::ReloadAborted { .. } => {
                self.coming = None;
                self.view.aborted += 1;
            }
            ChangeKind::RolledBack { run, .. } => {
                self.serving = Some(*run);
                self.view.rolled_back += 1;
            }
            ChangeKind::Draining(run) => self.draining = Some((*run, now)),
            ChangeKind::Stopping(run, _) | ChangeKind::Killed(run) => self.is_drained(*run, now),
            ChangeKind::Exited { run, .. } => {
                self.is_drained(*run, now);
                self.serving.take_if(|serving| serving == run);
                self.coming.take_if(|(coming, _)| coming == run);
            }
            ChangeKind::Created
            | ChangeKind::Changed(_)
            | ChangeKind::SpawnFailed(_)
            | ChangeKind::Signalled(..)
            | ChangeKind::Heavy { .. }
            | ChangeKind::Reset
            | ChangeKind::Waiting { .. }
            | ChangeKind::Held(_)
            | ChangeKind::Parked { .. }
            | ChangeKind::Unhealthy { .. }
            | ChangeKind::Recovering(_)
            | ChangeKind::Healthy(_)
            | ChangeKind::GivenUpOn { .. }
            | ChangeKind::Hung { .. }
            | ChangeKind::Starved { .. }
            | ChangeKind::HealthIgnored { .. }
            | ChangeKind::HealthTrusted { .. }
            | ChangeKind::Errored { .. }
            | ChangeKind::Stopped(_)
            | ChangeKind::Deleted => {}
        }
    }

    fn is_drained(&mut self, run: RunId, now: Time) {
        if let Some((_, began)) = self.draining.take_if(|(draining, _)| *draining == run) {
            self.view.drains += 1;
            self.view.draining += millis(now.since(began));
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{ExitStatus, Signal};
    use crate::supervisor::{Left, ReadyBy};

    fn online(run: u64) -> ChangeKind {
        ChangeKind::Online { run: RunId(run), after: Duration::ZERO, by: ReadyBy::Listening }
    }

    fn exited(run: u64) -> ChangeKind {
        let (status, uptime, left) = (ExitStatus::Code(0), Duration::ZERO, Left::Nothing);
        ChangeKind::Exited { run: RunId(run), status, uptime, asked: true, left }
    }

    fn after(changes: &[(u64, ChangeKind)]) -> TimesView {
        let times = Times::default();
        for (at, kind) in changes {
            let change = Change { app: "api".into(), slot: Some((SlotId(3), 0)), by: None, kind: kind.clone() };
            times.take(&change, Time::from_millis(*at));
        }
        times.all().get(&3).copied().unwrap_or_default()
    }

    #[test]
    fn a_reload_is_timed_from_the_start_to_the_switch_and_a_drain_to_its_end() {
        let changes = [
            (0, ChangeKind::Started(RunId(1))),
            (50, online(1)),
            (1_000, ChangeKind::Started(RunId(2))),
            (1_300, online(2)),
            (1_300, ChangeKind::Draining(RunId(1))),
            (1_900, ChangeKind::Stopping(RunId(1), Some(Signal::TERM))),
            (2_000, exited(1)),
        ];
        let expected = TimesView { drains: 1, draining: 600, reloads: 1, reloading: 300, ..TimesView::default() };
        assert_eq!(after(&changes), expected);
    }

    #[test]
    fn a_start_is_no_reload_and_one_that_fails_is_no_success() {
        let start = [(0, ChangeKind::Started(RunId(1))), (50, online(1)), (60, exited(1)), (90, online(2))];
        assert_eq!(after(&start), TimesView::default());
        let reason = "no".to_owned();
        let aborted = [
            (0, online(1)),
            (10, ChangeKind::Started(RunId(2))),
            (20, ChangeKind::ReloadAborted { run: RunId(2), reason: reason.clone() }),
            (30, ChangeKind::Started(RunId(3))),
            (40, online(3)),
            (50, ChangeKind::RolledBack { run: RunId(1), failed: RunId(3), reason }),
        ];
        let expected = TimesView { aborted: 1, reloads: 1, reloading: 10, rolled_back: 1, ..TimesView::default() };
        assert_eq!(after(&aborted), expected);
    }
}
