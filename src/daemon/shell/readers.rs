//! What readers get to see of the core and of what the shell holds.

use std::collections::HashSet;
use std::sync::Arc;

use crate::daemon::convert;
use crate::daemon::publish::{Published, PublishedApp};
use crate::daemon::shell::Shell;
use crate::proto::{ExitView, SlotView};
use crate::spec::Stream;
use crate::supervisor::{Exit, RunId, SlotFacts, Supervisor, Time};

impl Shell {
    pub(in crate::daemon) fn published(&mut self, core: &Supervisor, now: Time) -> Published {
        self.generation += 1;
        let facts = core.facts(now);
        // Looked through only when it has grown well beyond what can be remembered.
        if self.past.len() > 64 + 24 * facts.iter().map(|(_, slots)| slots.len()).sum::<usize>() {
            let exits = facts.iter().flat_map(|(_, slots)| slots).flat_map(|slot| &slot.history);
            let known: HashSet<RunId> = exits.map(|exit| exit.run).chain(self.runs.keys().copied()).collect();
            self.past.retain(|run, _| known.contains(run));
        }
        let apps = facts
            .into_iter()
            .map(|(definition, slots)| PublishedApp {
                definition: Arc::clone(definition),
                version: slots.first().and_then(|slot| self.places.get(&slot.id)?.resolved.version.clone()),
                slots: slots.iter().map(|slot| self.slot_view(slot)).collect(),
            })
            .collect();
        Published { generation: self.generation, parked: u32::try_from(core.parked()).unwrap_or(u32::MAX), apps }
    }

    fn slot_view(&self, slot: &SlotFacts<'_>) -> SlotView {
        let clock = &self.tools.clock;
        let place = self.places.get(&slot.id);
        let planned = |stream| slot.definition.spec.log_path(&self.tools.logs, stream, slot.instance);
        let live = slot.run.filter(|run| self.runs.contains_key(run));
        SlotView {
            id: slot.id.0,
            instance: slot.instance,
            state: convert::state(slot.state),
            run: slot.last_run.map_or(0, |run| run.0),
            pid: live.map(|run| self.pid(run)),
            started: live.and(slot.started).map(|time| clock.epoch_millis(time)),
            created: clock.epoch_millis(slot.created),
            restarts: slot.restarts,
            unstable: u32::try_from(slot.unstable).unwrap_or(u32::MAX),
            next_attempt: slot.next_attempt.map(|time| clock.epoch_millis(time)),
            reason: slot.reason.map(str::to_owned),
            cpu: 0.0,
            memory: 0,
            out_file: place.map_or_else(|| planned(Stream::Out), |place| place.out_file.clone()),
            error_file: place.map_or_else(|| planned(Stream::Error), |place| place.error_file.clone()),
            pid_file: live
                .and_then(|run| self.runs.get(&run)?.pid_file.clone())
                .or_else(|| slot.definition.spec.pid_path(slot.instance)),
            last_exit: None,
            history: slot.history.iter().map(|exit| self.exit_view(exit)).collect(),
        }
    }

    fn exit_view(&self, exit: &Exit) -> ExitView {
        let stderr = self.past.get(&exit.run).map(|past| past.stderr.clone()).unwrap_or_default();
        convert::exit(exit, self.tools.clock.epoch_millis(exit.time), self.pid(exit.run), stderr)
    }
}
