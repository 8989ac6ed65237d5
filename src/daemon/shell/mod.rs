//! The shell: carries the core's effects out. Nothing here waits; what takes time is a thread or a task that reports.

mod answers;
mod cluster;
mod ends;
mod intake;
mod live;
mod talk;
mod views;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use nix::errno::Errno;
use tokio::sync::mpsc as tokio_mpsc;
use tracing::warn;

use crate::daemon::checks::Checks;
use crate::daemon::clock::Clock;
use crate::daemon::cluster::Sockets;
use crate::daemon::history::History;
use crate::daemon::keep;
use crate::daemon::link::Link;
use crate::daemon::looker::Looker;
use crate::daemon::ooms::Ooms;
use crate::daemon::publish::Events;
use crate::daemon::pump::{Health, Pump};
use crate::daemon::report::Report;
use crate::daemon::said::Sayings;
use crate::daemon::shell::answers::Pending;
pub(super) use crate::daemon::shell::live::{End, Place};
use crate::daemon::shell::live::{Live, Past};
use crate::daemon::sight::Sight;
use crate::daemon::spawner::{Job, Task};
use crate::daemon::store::Store;
use crate::daemon::watchdogs::Watchdogs;
use crate::proto::{self, EventKind, Record};
use crate::spec::Signal;
use crate::supervisor::{Definition, Proof, RequestId, Resolve, RunId, SlotId, Wanted, Whom};

/// What the shell works with.
pub(super) struct Tools {
    pub(super) clock: Clock,
    pub(super) reports: tokio_mpsc::UnboundedSender<Report>,
    pub(super) spawner: mpsc::Sender<Task>,
    pub(super) pump: Pump,
    pub(super) looker: Looker,
    pub(super) history: History,
    pub(super) events: Arc<Events>,
    pub(super) link: Option<Link>,
    pub(super) store: Store,
    pub(super) sockets: Sockets,
    pub(super) sayings: Sayings,
    pub(super) checks: Checks,
    pub(super) watchdogs: Watchdogs,
    pub(super) ooms: Ooms,
    pub(super) logs: PathBuf,
}

/// See the module.
pub(super) struct Shell {
    tools: Tools,
    runs: HashMap<RunId, Live>,
    /// What ended runs are remembered by, as long as their exits are.
    past: HashMap<RunId, Past>,
    /// The last launch of each slot.
    places: HashMap<SlotId, Arc<Place>>,
    /// Launches of runs that live, or whose output has not been read to its end.
    open: HashMap<RunId, Arc<Place>>,
    /// Live runs whose output has ended.
    closed: HashSet<RunId>,
    answers: HashMap<RequestId, Pending>,
    sight: Sight,
    generation: u64,
    /// Log files that cannot be written, and why.
    ill_logs: BTreeMap<PathBuf, String>,
    /// Ended runs whose last words are on their way.
    unworded: HashSet<RunId>,
    /// Runs whose first signal has been announced and not been sent.
    asking: HashSet<RunId>,
    /// Whether slots were given up since the last answer.
    is_giving_up: bool,
    /// Whether one of them had sockets of ours.
    is_closing: bool,
    /// Ended runs that the journal is to know of before they are forgotten.
    ended: Vec<Live>,
    /// The run that the kernel has killed, until the core knows.
    starved: Option<(RunId, Proof)>,
}

impl Shell {
    pub(super) fn new(tools: Tools) -> Shell {
        Shell {
            tools,
            runs: HashMap::new(),
            past: HashMap::new(),
            places: HashMap::new(),
            open: HashMap::new(),
            closed: HashSet::new(),
            answers: HashMap::new(),
            sight: Sight::default(),
            generation: 0,
            ill_logs: BTreeMap::new(),
            unworded: HashSet::new(),
            asking: HashSet::new(),
            is_giving_up: false,
            is_closing: false,
            ended: Vec::new(),
            starved: None,
        }
    }

    /// What outlives the engine for a moment: the pump has bytes to write.
    pub(super) fn into_tools(self) -> Tools {
        self.tools
    }

    // Reports.

    /// A batch of reports has been worked through: what was seen for it is old.
    pub(super) fn look_anew(&mut self) {
        self.sight.renew();
    }

    pub(super) fn on_log_file(&mut self, path: PathBuf, health: Health) {
        let event = match health {
            Health::Failing(reason) => {
                self.ill_logs.insert(path.clone(), reason.clone());
                EventKind::LogFailing { path: path.clone(), reason }
            }
            Health::Well(lost) => {
                self.ill_logs.remove(&path);
                EventKind::LogWritten { path: path.clone(), lost: lost as u64 }
            }
        };
        let time = self.tools.clock.epoch_millis(self.tools.clock.now());
        let whose = self.places.values().find(|place| place.files().any(|file| *file == path));
        let (app, slot) = match whose {
            Some(place) => (Some(place.style.app.clone()), (Some(place.slot.0), Some(place.style.instance))),
            None => (None, (None, None)),
        };
        self.tools.events.hold_of(app, slot, event, time);
    }

    /// Archives of logs went, for want of room.
    pub(super) fn on_logs_removed(&mut self, folder: PathBuf, archives: u64, bytes: u64) {
        let time = self.tools.clock.epoch_millis(self.tools.clock.now());
        self.tools.events.hold_of(None, (None, None), EventKind::LogsRemoved { folder, archives, bytes }, time);
    }

    /// What its owner should know; the event that tells it, unless it was told before.
    pub(super) fn on_remark(
        &mut self,
        run: RunId,
        of: (String, SlotId, u16),
        text: String,
        is_new: bool,
    ) -> Option<Arc<proto::Event>> {
        let remarks = &mut self.past.entry(run).or_default().remarks;
        // What happens again and again is kept once.
        if !remarks.contains(&text) {
            remarks.push(text.clone());
        }
        let time = self.tools.clock.epoch_millis(self.tools.clock.now());
        let event = EventKind::Remark { run: run.0, text };
        is_new.then(|| self.tools.events.hold_remark(of, event, time))
    }

    // Effects.

    pub(super) fn spawn(
        &mut self,
        run: RunId,
        (slot, instance): (SlotId, u16),
        definition: Arc<Definition>,
        resolve: Resolve,
        replaces: Option<RunId>,
    ) {
        let resolved = match resolve {
            Resolve::Fresh => None,
            Resolve::Keep => self.places.get(&slot).map(|place| Arc::clone(&place.resolved)),
        };
        let capture = cluster::newcomer(run, (slot, instance), &definition, replaces);
        let job = Job { run, slot, instance, definition, resolved, capture };
        if self.tools.spawner.send(Task::Make(job)).is_err() {
            let why = "the spawner thread has ended".to_owned();
            let report = Report::SpawnFailed { run, why, lasting: crate::supervisor::Lasting::Permanent };
            // The engine is on the other side and lives.
            let _ = self.tools.reports.send(report);
        }
    }

    /// Sends a signal; what a successor has to know of it.
    pub(super) fn signal(&mut self, run: RunId, signal: Signal, whom: Whom) -> Option<Record> {
        let live = self.runs.get_mut(&run)?;
        if let Err(error) = self.sight.signal(live.seen(), signal, whom) {
            warn!(run = run.0, "cannot send {signal}: {error}");
        }
        if signal == Signal::KILL {
            if matches!(whom, Whom::Survivors | Whom::Tree) {
                // Who forks faster than he is listed is hunted down by the task that waits for the tree.
                live.killing.send_replace(true);
            }
            return None;
        }
        let survivors = whom == Whom::Survivors;
        match survivors {
            true => live.sent.1 = true,
            false if self.asking.remove(&run) => live.sent.0 = true,
            false => return None,
        }
        Some(Record::Sent { run: run.0, survivors })
    }

    /// Writes to the standard input of a run; why it could not be done, as a sentence fragment. Never waits: the pipe takes
    /// so few bytes whole or not at all (pipe(7)).
    pub(super) fn write_input(&self, run: RunId, bytes: &[u8]) -> Result<(), String> {
        let live = self.runs.get(&run).ok_or("it does not run")?;
        let stdin = live.stdin.as_ref().ok_or("its standard input was lost with an earlier guardian")?;
        match nix::unistd::write(stdin, bytes) {
            Ok(_) => Ok(()),
            Err(Errno::EAGAIN) => Err("it does not read its standard input, which is full".to_owned()),
            Err(Errno::EPIPE) => Err("it has closed its standard input".to_owned()),
            Err(errno) => Err(format!("its standard input: {}", errno.desc())),
        }
    }

    /// Listens for a run from now on.
    pub(super) fn guard(&self, run: RunId, limit: Duration) {
        if self.runs.contains_key(&run) {
            self.tools.watchdogs.guard(run, limit, self.tools.reports.clone());
        }
    }

    /// Whether the kernel has killed a run whose end is told now.
    pub(super) fn proof_of(&mut self, run: RunId) -> Option<Proof> {
        self.starved.take_if(|(starved, _)| *starved == run).map(|(_, proof)| proof)
    }

    pub(super) fn forget(&mut self, slot: SlotId) {
        self.places.remove(&slot);
        self.tools.history.forget(slot.0);
    }

    /// Leaves with the guardian what a successor must know, and on disk what the next daemon must.
    pub(super) fn keep_wanted(&self, wanted: &[Wanted]) {
        let kept = keep::to_bytes(wanted).and_then(|bytes| {
            if let Some(link) = &self.tools.link {
                link.put(&[(keep::WANTED, keep::memory_file(&bytes)?.as_fd())]);
            }
            self.tools.store.keep(bytes);
            Ok(())
        });
        if let Err(error) = kept {
            warn!("cannot keep what is wanted: {error}");
        }
    }

    pub(super) fn pid(&self, run: RunId) -> u32 {
        self.past.get(&run).map_or(0, |past| past.pid)
    }
}
