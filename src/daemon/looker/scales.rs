//! Who takes more memory than he should. What is resident is counted for each process of a tree, also what they share; so
//! before anything is told, what is shared is divided (Pss), which costs more and is done for suspects only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::daemon::publish::Published;
use crate::daemon::report::Report;
use crate::spec::MemorySpec;
use crate::supervisor::{RunId, SlotId};

/// A suspect that was found to be below its limit is weighed again after this time, or when it has grown.
const AGAIN: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Scales {
    published: watch::Receiver<Arc<Published>>,
    reports: mpsc::UnboundedSender<Report>,
    /// Of which view the limits are.
    generation: u64,
    limits: HashMap<SlotId, MemorySpec>,
    suspects: HashMap<RunId, Suspect>,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    /// When it was weighed last, and what was resident then.
    weighed: (Instant, u64),
    is_warned: bool,
}

impl Scales {
    pub(super) fn new(published: watch::Receiver<Arc<Published>>, reports: mpsc::UnboundedSender<Report>) -> Scales {
        Scales { published, reports, generation: 0, limits: HashMap::new(), suspects: HashMap::new() }
    }

    /// Whether any app has a limit.
    pub(super) fn are_needed(&mut self) -> bool {
        let published = self.published.borrow();
        if published.generation != self.generation {
            self.generation = published.generation;
            self.limits.clear();
            for app in published.apps.iter().filter(|app| app.definition.spec.memory.warn_at().is_some()) {
                let memory = app.definition.spec.memory;
                self.limits.extend(app.slots.iter().map(|slot| (SlotId(slot.id), memory)));
            }
        }
        !self.limits.is_empty()
    }

    pub(super) fn forget(&mut self, run: RunId) {
        self.suspects.remove(&run);
    }

    /// Tells of a run if it has to be.
    pub(super) fn weigh(
        &mut self,
        (run, slot): (RunId, SlotId),
        resident: u64,
        proportional: impl Fn() -> Option<u64>,
        now: Instant,
    ) {
        let Some(spec) = self.limits.get(&slot).copied() else { return };
        let Some(least) = spec.warn_at().into_iter().chain(spec.limit).min() else { return };
        if resident < least {
            self.suspects.remove(&run);
            return;
        }
        let before = self.suspects.get(&run).copied();
        let is_over = |bytes: u64| spec.limit.is_some_and(|limit| bytes >= limit);
        let is_due = before.is_none_or(|Suspect { weighed: (at, bytes), is_warned }| {
            // Who was warned has nothing more to hear below the limit.
            (!is_warned || is_over(resident)) && (now.duration_since(at) >= AGAIN || resident > bytes + bytes / 64)
        });
        if !is_due {
            return;
        }
        // What cannot be read counts as it is resident.
        let memory = proportional().unwrap_or(resident);
        let is_warned = before.is_some_and(|before| before.is_warned);
        let is_told = is_over(memory) || (!is_warned && spec.warn_at().is_some_and(|warn| memory >= warn));
        if is_told {
            // The engine may have ended.
            let _ = self.reports.send(Report::Weighed { run, memory });
        }
        // Who is over the limit is told of each second: it may have to wait for its turn.
        let weighed = if is_over(memory) { (now, 0) } else { (now, resident) };
        self.suspects.insert(run, Suspect { weighed, is_warned: is_warned || is_told });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::publish::PublishedApp;
    use crate::proto::SlotView;
    use crate::spec::AppSpec;
    use crate::supervisor::Definition;

    const RUN: (RunId, SlotId) = (RunId(7), SlotId(3));

    fn scales(memory: MemorySpec) -> (Scales, mpsc::UnboundedReceiver<Report>) {
        let (reports, inbox) = mpsc::unbounded_channel();
        let slot: SlotView = serde_json::from_value(serde_json::json!({
            "id": 3, "instance": 0, "state": "online", "run": 7, "created": 0, "restarts": 0, "unstable": 0,
            "cpu": 0.0, "memory": 0,
        }))
        .unwrap();
        let spec = AppSpec { memory, ..AppSpec::sample("a") };
        let definition = Arc::new(Definition { spec, inherited: Arc::default(), stamp: None, declared: 1 });
        let apps = vec![PublishedApp { definition, version: None, slots: vec![slot] }];
        let published = Published { generation: 1, apps, ..Published::default() };
        let mut scales = Scales::new(watch::channel(Arc::new(published)).1, reports);
        assert!(scales.are_needed());
        (scales, inbox)
    }

    #[test]
    fn shared_memory_is_no_reason_and_what_is_over_is_told_each_second() {
        let (mut scales, mut inbox) = scales(MemorySpec { limit: Some(1000), ..MemorySpec::default() });
        let begun = Instant::now();
        let mut weigh = |second, resident, proportional: Option<u64>| {
            scales.weigh(RUN, resident, || proportional, begun + Duration::from_secs(second));
            inbox.try_recv().ok().map(|report| match report {
                Report::Weighed { run, memory } => (run, memory),
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(weigh(0, 700, Some(700)), None);
        assert_eq!(weigh(1, 2000, Some(500)), None, "processes share it");
        assert_eq!(weigh(2, 2000, Some(900)), None, "not weighed again at once");
        assert_eq!(weigh(3, 2100, Some(850)), Some((RUN.0, 850)), "it has grown: a warning");
        assert_eq!(weigh(4, 2200, Some(860)), None, "one warning is enough");
        assert_eq!(weigh(5, 2300, Some(1000)), Some((RUN.0, 1000)));
        assert_eq!(weigh(6, 2300, None), Some((RUN.0, 2300)));
        assert_eq!(weigh(7, 100, None), None);
        assert_eq!(weigh(8, 900, None), Some((RUN.0, 900)), "it has been below: another warning");
    }
}
