//! What programs say of themselves, as far as it is only shown: read by tasks, shown by whoever shows runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::proto::{MetricView, NodeView, SaidView};
use crate::series::Series;
use crate::supervisor::RunId;

/// How many metrics are kept of one run; more of them are not.
const METRICS: usize = 64;

/// Of all runs that live.
#[derive(Clone, Debug, Default)]
pub(super) struct Sayings(Arc<Mutex<HashMap<RunId, Said>>>);

/// Of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) status: Option<String>,
    pub(super) node: Option<NodeView>,
    pub(super) metrics: BTreeMap<String, MetricView>,
}

impl Said {
    /// As it is shown, metrics included.
    pub(super) fn whole(&self) -> SaidView {
        SaidView {
            status: self.status.clone(),
            node: self.node.clone(),
            metrics: self.metrics.values().cloned().collect(),
        }
    }

    /// As it is shown in a list.
    pub(super) fn brief(&self) -> SaidView {
        SaidView { status: self.status.clone(), node: self.node.clone(), metrics: Vec::new() }
    }
}

impl Sayings {
    /// Its status in its own words; an empty one is none.
    pub(super) fn set_status(&self, run: RunId, status: &str) {
        self.lock().entry(run).or_default().status = Some(status.to_owned()).filter(|status| !status.is_empty());
    }

    /// Changes what is known of its Node.
    pub(super) fn set_node(&self, run: RunId, change: impl FnOnce(&mut NodeView)) {
        change(self.lock().entry(run).or_default().node.get_or_insert_default());
    }

    /// New values of metrics; others stay.
    pub(super) fn measure(&self, run: RunId, metrics: Vec<MetricView>) {
        let mut all = self.lock();
        let known = &mut all.entry(run).or_default().metrics;
        for metric in metrics {
            if known.len() < METRICS || known.contains_key(&metric.name) {
                known.insert(metric.name.clone(), metric);
            }
        }
    }

    /// It has ended.
    pub(super) fn forget(&self, run: RunId) {
        self.lock().remove(&run);
    }

    /// All of it, as it is now.
    pub(super) fn all(&self) -> HashMap<RunId, Said> {
        self.lock().clone()
    }

    /// What Nodes have said that the history keeps.
    #[expect(clippy::cast_precision_loss, reason = "what is kept has fewer digits than this")]
    pub(super) fn measured(&self) -> Vec<(RunId, Series, f64)> {
        let mut measured = Vec::new();
        for (run, said) in &*self.lock() {
            // An agent says all of it at once; before that nothing is known.
            let Some(node) = said.node.as_ref().filter(|node| node.heap_used > 0) else { continue };
            measured.push((*run, Series::LoopLag, f64::from(node.lag)));
            measured.push((*run, Series::Heap, node.heap_used as f64));
        }
        measured
    }

    /// A panic elsewhere cannot leave it half written: each change is one assignment.
    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Said>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_replaced_by_name_and_bounded() {
        let (sayings, run) = (Sayings::default(), RunId(1));
        let metric = |name: usize, value: u32| MetricView {
            name: name.to_string(),
            value: value.into(),
            unit: None,
            kind: None,
        };
        sayings.measure(run, (0..METRICS + 9).map(|name| metric(name, 1)).collect());
        sayings.measure(run, vec![metric(0, 2), metric(999, 2)]);
        let said = sayings.all().remove(&run).unwrap();
        assert_eq!((said.metrics.len(), &said.metrics["0"].value), (METRICS, &2.into()));
        assert!(said.brief().is_empty() && !said.whole().is_empty());
        sayings.set_status(run, "warming up");
        sayings.set_status(run, "");
        assert_eq!(sayings.all()[&run].status, None);
        sayings.forget(run);
        assert!(sayings.all().is_empty());
    }
}
