//! What readers get of the shell and the core.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::daemon::cluster::Sockets;
use crate::daemon::convert;
use crate::daemon::history::History;
use crate::daemon::keep;
use crate::daemon::publish::{Published, PublishedApp};
use crate::daemon::shell::{Place, Shell};
use crate::daemon::spawner::Task;
use crate::proto::{BornRecord, DrainView, Event, ExitView, Record, Remaining, SaidView, SlotView};
use crate::spec::Stream;
use crate::supervisor::{Exit, Reply, RunId, SlotAnswer, SlotFacts, Supervisor, Time};
use crate::sys::moment::Moment;

/// How long the spawner may take to hand out copies of its sockets.
const COPIES: Duration = Duration::from_secs(1);

impl Shell {
    pub(crate) fn published(&mut self, core: &Supervisor, now: Time) -> Published {
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
                version: slots
                    .first()
                    .and_then(|slot| self.places.get(&slot.id))
                    .and_then(|place| place.resolved.version.clone()),
                slots: slots.iter().map(|slot| self.slot_view(slot)).collect(),
            })
            .collect();
        Published {
            generation: self.generation,
            parked: u32::try_from(core.parked()).unwrap_or(u32::MAX),
            unworded: self.unworded.len(),
            apps,
        }
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
            generation: slot.edition,
            second: slot.second.map(|second| {
                let pid = self.runs.contains_key(&second.run).then(|| self.pid(second.run));
                convert::second(second, pid, |time| clock.epoch_millis(time))
            }),
            created: clock.epoch_millis(slot.created),
            restarts: slot.restarts,
            restarts_by: convert::restarts(slot.tally),
            unstable: u32::try_from(slot.unstable).unwrap_or(u32::MAX),
            next_attempt: slot.next_attempt.map(|time| clock.epoch_millis(time)),
            reason: slot.reason.map(str::to_owned),
            cpu: 0.0,
            memory: 0,
            out_file: place.map_or_else(|| planned(Stream::Out), |place| place.out_file.clone()),
            error_file: place.map_or_else(|| planned(Stream::Error), |place| place.error_file.clone()),
            combined_file: place.map_or_else(
                || slot.definition.spec.combined_log_path(&self.tools.logs, slot.instance),
                |place| place.combined_file.clone(),
            ),
            log_problem: place.filter(|_| !self.ill_logs.is_empty()).and_then(|place| self.log_problem(place)),
            pid_file: live
                .and_then(|run| self.runs.get(&run)?.pid_file.clone())
                .or_else(|| slot.definition.spec.pid_path(slot.instance)),
            ports: Vec::new(),
            remarks: slot
                .last_run
                .and_then(|run| self.past.get(&run))
                .map_or_else(Vec::new, |past| past.remarks.clone()),
            said: SaidView::default(),
            draining: slot.draining.map(|run| DrainView {
                run: run.0,
                pid: self.pid(run),
                remaining: Remaining::default(),
            }),
            health: slot.health.map(convert::health),
            last_exit: None,
            history: slot.history.iter().map(|exit| self.exit_view(exit)).collect(),
        }
    }

    fn log_problem(&self, place: &Place) -> Option<String> {
        let (file, why) = place.files().find_map(|file| Some((file, self.ill_logs.get(file)?)))?;
        Some(format!("{} is not written: {why}", file.display()))
    }

    fn exit_view(&self, exit: &Exit) -> ExitView {
        let stderr = self.past.get(&exit.run).map(|past| past.stderr.clone()).unwrap_or_default();
        convert::exit(exit, self.tools.clock.epoch_millis(exit.time), self.pid(exit.run), stderr)
    }

    /// What was told of the sockets of the runs that an answer says have failed.
    pub(super) fn remarks(&self, reply: &Reply) -> HashMap<RunId, Vec<String>> {
        let results = match reply {
            Reply::Applied { results, .. } | Reply::Outcome(results) => results.as_slice(),
            Reply::Refused(_) => &[],
        };
        let failed = results.iter().filter_map(|result| match result.answer {
            SlotAnswer::Failed { run, .. } => run,
            SlotAnswer::Done(_) | SlotAnswer::Pending(_) | SlotAnswer::Superseded => None,
        });
        let told = failed.filter_map(|run| Some((run, self.past.get(&run)?.remarks.clone())));
        told.filter(|(_, remarks)| !remarks.is_empty()).collect()
    }

    // The journal.

    /// What a successor has to know of runs: their launches, births and signals, and what ended ones wrote last.
    pub(crate) fn journalled(&self) -> Vec<Record> {
        let mut launches: BTreeMap<RunId, &Arc<Place>> = self.open.iter().map(|(run, place)| (*run, place)).collect();
        launches.extend(self.places.values().map(|place| (place.run, place)));
        let mut records: Vec<Record> =
            launches.values().map(|place| Record::Launch(Box::new(keep::launch(place)))).collect();
        for live in self.runs.values() {
            let run = live.run.0;
            let Moment { monotonic: at, boot } = live.born;
            records.push(Record::Born(BornRecord { run, pid: live.process.display_pid(), at, boot }));
            let (main, survivors) = live.sent;
            records.extend(main.then_some(Record::Sent { run, survivors: false }));
            records.extend(survivors.then_some(Record::Sent { run, survivors: true }));
        }
        let words = self.past.iter().filter(|(_, past)| !past.stderr.is_empty());
        records.extend(words.map(|(run, past)| Record::Words { run: run.0, lines: past.stderr.clone() }));
        records
    }

    /// Copies of what a guardian would have of the living runs, their output left out, and of the sockets that were handed in.
    pub(crate) fn descriptors(&self) -> Vec<(String, OwnedFd)> {
        let mut named = Vec::new();
        for live in self.runs.values() {
            let pid = live.process.display_pid();
            let fds = [
                (keep::process_name(live.run, pid), Some(live.process.pidfd())),
                (keep::name(live.run, "in"), live.stdin.as_ref().map(AsFd::as_fd)),
                (keep::name(live.run, "notify"), live.talk.notify.as_ref().map(AsFd::as_fd)),
                (keep::name(live.run, "channel"), live.talk.channel.as_ref().map(AsFd::as_fd)),
                (keep::name(live.run, "agent"), live.talk.agent.as_ref().map(AsFd::as_fd)),
            ];
            named.extend(fds.into_iter().filter_map(|(name, fd)| Some((name, fd?.try_clone_to_owned().ok()?))));
        }
        let (sender, copies) = mpsc::channel();
        if self.tools.spawner.send(Task::Copies(sender)).is_ok() {
            named.extend(copies.recv_timeout(COPIES).unwrap_or_default());
        }
        named
    }

    pub(crate) fn history(&self) -> &History {
        &self.tools.history
    }

    pub(crate) fn sockets(&self) -> &Sockets {
        &self.tools.sockets
    }

    pub(crate) fn past_events(&self) -> Vec<Arc<Event>> {
        self.tools.events.all()
    }
}
