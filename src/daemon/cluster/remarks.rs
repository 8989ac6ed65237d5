//! What the owner of a run should know of its sockets.

use std::collections::BTreeSet;

use tracing::warn;

use crate::daemon::cluster::ports::Ports;
use crate::daemon::report::Report;
use crate::supervisor::RunId;

/// So many are kept of one run.
const MOST: usize = 8;

impl Ports {
    /// Tells something, once.
    pub(super) fn remark(&mut self, run: RunId, text: &str) {
        let Some(captured) = self.runs.get_mut(&run) else { return };
        if captured.remarks.len() >= MOST || captured.remarks.iter().any(|known| known == text) {
            return;
        }
        warn!(run = run.0, app = captured.app, "{text}");
        captured.remarks.push(text.to_owned());
        self.told.extend(self.remark_of(run, text, true));
        self.save_run(run);
    }

    /// Tells something to all who have sockets in a group.
    pub(super) fn remark_in_group(&mut self, at: usize, text: &str) {
        let runs: BTreeSet<RunId> = self
            .groups
            .get(at)
            .map_or_else(BTreeSet::new, |port| port.group.members().map(|member| RunId(member.id.run.0)).collect());
        runs.into_iter().for_each(|run| self.remark(run, text));
    }

    /// What an earlier daemon has told.
    pub(super) fn remarks_of_before(&mut self) {
        let runs: Vec<RunId> = self.runs.keys().copied().collect();
        for run in runs {
            let known = self.runs.get(&run).map(|captured| captured.remarks.clone()).unwrap_or_default();
            for text in known {
                self.told.extend(self.remark_of(run, &text, false));
            }
        }
    }

    fn remark_of(&self, run: RunId, text: &str, is_new: bool) -> Option<Report> {
        let captured = self.runs.get(&run)?;
        let (slot, instance, app) = (captured.slot, captured.instance, captured.app.clone());
        Some(Report::Remark { run, of: (app, slot, instance), text: text.to_owned(), is_new })
    }
}
