//! Runs that begin to be looked after: spawned here, or taken over from an earlier daemon.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::watch as tokio_watch;
use tracing::info;

use crate::daemon::adopt::Found;
use crate::daemon::keep;
use crate::daemon::launch::marker;
use crate::daemon::looker::Tell;
use crate::daemon::pump::Source;
use crate::daemon::shell::Shell;
use crate::daemon::shell::live::{End, Live, Past, Place};
use crate::daemon::sight::Kind;
use crate::daemon::spawner::Spawned;
use crate::daemon::talk::{Ends, Talk};
use crate::daemon::watch;
use crate::spec::LogDriver;
use crate::supervisor::{Event, RunId};
use crate::sys::moment::Moment;
use crate::sys::process::Process;

impl Shell {
    pub(in crate::daemon) fn on_spawned(&mut self, spawned: Spawned) -> Event {
        let Spawned { run, slot, place, process, born, stdin, sources, ends } = spawned;
        let pid = process.display_pid();
        info!(slot = slot.0, run = run.0, pid, "started");
        if let Some(link) = &self.tools.link {
            link.put(&[(&keep::process_name(run, pid), process.pidfd())]);
        }
        for source in sources {
            self.tools.pump.add(source);
        }
        self.take_in(run, place, process, born, Some(stdin), ends);
        Event::Spawned { run }
    }

    /// Watches over a run from now on that an earlier daemon has started.
    pub(in crate::daemon) fn adopt(&mut self, found: Found) {
        let Found { place, process, born, stdin, ends, end, sent } = found;
        let run = place.run;
        self.take_in(run, place, process, born, stdin, ends);
        if let Some(live) = self.runs.get_mut(&run) {
            (live.end, live.sent) = (end, sent);
        }
        if end == End::Told {
            self.wait_for_tree(run, Vec::new());
        }
    }

    /// Adopted runs that had ended before anybody held them, and how many others there are.
    pub(in crate::daemon) fn unheld(&self) -> (Vec<RunId>, usize) {
        let gone: Vec<RunId> = self
            .runs
            .values()
            .filter(|live| live.process.was_gone() && live.end == End::NotYet)
            .map(|live| live.run)
            .collect();
        let live = self.runs.len() - gone.len();
        (gone, live)
    }

    /// A signal that an earlier daemon was to send is sent now.
    pub(in crate::daemon) fn will_ask(&mut self, run: RunId) {
        self.asking.insert(run);
    }

    /// What is remembered of runs, and of the launches of slots and of open pipes.
    pub(in crate::daemon) fn recall(
        &mut self,
        places: Vec<Arc<Place>>,
        ended: impl Iterator<Item = (RunId, u32, Vec<String>)>,
    ) {
        for place in places {
            let latest = self.places.get(&place.slot).is_none_or(|known| known.run < place.run);
            if latest {
                self.places.insert(place.slot, Arc::clone(&place));
            }
        }
        // Of those that live more is said later.
        self.places.values().for_each(|place| self.tools.pump.direct().mend(place));
        self.past.extend(ended.map(|(run, pid, stderr)| (run, Past { pid, stderr, remarks: Vec::new() })));
    }

    /// Reads a pipe that an earlier daemon has left.
    pub(in crate::daemon) fn read_on(&mut self, source: Source, place: &Arc<Place>) {
        self.open.insert(source.run, Arc::clone(place));
        self.tools.pump.adopt(source, place.error_began);
    }

    pub(in crate::daemon) fn know_adopted(&mut self) {
        self.sight.know(self.runs.values().map(|live| Arc::downgrade(&live.process)).collect());
    }

    /// Watches over a run from now on.
    fn take_in(
        &mut self,
        run: RunId,
        place: Arc<Place>,
        process: Arc<Process>,
        born: Moment,
        stdin: Option<OwnedFd>,
        ends: Ends,
    ) {
        let heard = (&self.tools.sayings, &self.tools.watchdogs);
        let talk = Talk::open(run, ends, heard, &self.tools.reports);
        let slot = place.slot;
        // Who is asked has no need to look; and what it got has listened before it was there.
        let is_looked_at = !place.captured && place.handed.is_empty();
        let tell = if is_looked_at { Tell::Listening } else { Tell::Nothing };
        self.tools.looker.watch(run, slot, Arc::clone(&process), tell);
        if place.captured {
            self.tools.sockets.add(run, Arc::clone(&process));
        }
        watch::exit(run, Arc::clone(&process), self.tools.reports.clone());
        let kind = if place.resolved.wraps { Kind::Wrapper } else { Kind::Server };
        self.past.entry(run).or_default().pid = process.display_pid();
        self.places.insert(slot, Arc::clone(&place));
        self.open.insert(run, Arc::clone(&place));
        if place.style.driver == LogDriver::File {
            // No pipe of it will tell of its end.
            self.closed.insert(run);
            self.tools.pump.direct().add(&place);
        }
        let (mark, killing) = (marker(slot), tokio_watch::Sender::new(false));
        let (end, sent) = (End::NotYet, (false, false));
        let pid_file = place.pid_file.clone();
        let live = Live { run, slot, process, born, mark, kind, place, stdin, talk, pid_file, killing, end, sent };
        self.runs.insert(run, live);
    }
}
