//! The thread: waits for calls, commands and time, and takes them one at a time.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tracing::{debug, error, warn};

use crate::cluster::{Share, Standing, Time};
use crate::daemon::cluster::closed::{SOMEBODY_CAME, Watchman};
use crate::daemon::cluster::drains::{self, Drains};
use crate::daemon::cluster::ports::{Ports, filter_name};
use crate::daemon::cluster::rescue::Rescues;
use crate::daemon::cluster::{Command, Newcomer, Shown, lock, restore};
use crate::daemon::failpoint;
use crate::daemon::link::Link;
use crate::daemon::report::Report;
use crate::supervisor::{ReadyBy, RunId};
use crate::sys::fds::Channel;
use crate::sys::poller::{Interest, Poller, Ready, Waker};
use crate::sys::seccomp::{Asked, Listener, Question, Slots};

/// The name of the page that questions lie in.
pub(super) const CALLS: &str = "sock/calls";

/// How many questions of one run are taken before others have their turn.
const TURN: usize = 16;

/// How often weights follow what members have to do.
const WEIGH_EVERY: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Thread {
    ports: Ports,
    drains: Drains,
    rescues: Rescues,
    weighed_at: Instant,
    slots: Slots,
    poller: Poller,
    /// Where listeners arrive.
    gates: HashMap<RunId, Channel>,
    commands: mpsc::Receiver<Command>,
    reports: tokio::sync::mpsc::UnboundedSender<Report>,
    shown: Shown,
    watchman: Watchman,
}

type Ends = (mpsc::Receiver<Command>, tokio::sync::mpsc::UnboundedSender<Report>, Shown);

impl Thread {
    pub(super) fn new(
        kept: Vec<(String, OwnedFd)>,
        link: Option<Link>,
        (commands, reports, shown): Ends,
    ) -> io::Result<Thread> {
        let (ports, slots) = restore::restore(kept, link)?;
        let mut thread = Thread {
            ports,
            drains: Drains::default(),
            rescues: Rescues::default(),
            weighed_at: Instant::now(),
            slots,
            poller: Poller::new()?,
            gates: HashMap::new(),
            commands,
            reports,
            shown,
            watchman: Watchman::new(),
        };
        thread.go_on()?;
        Ok(thread)
    }

    pub(super) fn waker(&self) -> Waker {
        self.poller.waker()
    }

    /// What a predecessor has left undone: programs first, because connections come meanwhile, then open questions.
    fn go_on(&mut self) -> io::Result<()> {
        for at in (0..self.ports.groups.len()).rev() {
            self.ports.settle(at);
        }
        for index in self.slots.indexes() {
            let Some(question) = self.slots.read(index) else { continue };
            self.answer(RunId(question.mark), &question);
            self.slots.clear(index);
        }
        self.ports.remarks_of_before();
        self.tell_remarks();
        for (run, captured) in &self.ports.runs {
            if let Some(filter) = &captured.filter {
                self.poller.add(filter, of_filter(*run), Interest::Read)?;
            }
        }
        Ok(())
    }

    pub(super) fn run(mut self) {
        let mut ready = Vec::new();
        loop {
            self.show();
            if let Err(error) = self.poller.wait(&mut ready, self.pause()) {
                return error!("the thread of the shared sockets ends: {error}");
            }
            // What is said of a run comes before what it asks.
            loop {
                match self.commands.try_recv() {
                    Ok(Command::Leave(copies)) => return self.leave(&copies),
                    Ok(command) => self.on_command(command),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
            for Ready { token, .. } in ready.drain(..) {
                self.on_ready(token);
            }
            for run in self.drains.go_on(&mut self.ports) {
                failpoint::here("drained");
                self.report(Report::Drained { run });
            }
            let reports = self.reports.clone();
            // The engine may have ended.
            self.rescues.go_on(&mut self.ports, |report| drop(reports.send(report)));
            if self.weighed_at.elapsed() >= WEIGH_EVERY {
                self.weighed_at = Instant::now();
                self.ports.weigh();
            }
            self.tell_remarks();
            for (run, remaining) in self.drains.due_to_be_told() {
                self.report(Report::Remaining { run, remaining });
            }
            self.watchman.go_on(&mut self.ports, &self.poller);
        }
    }

    /// Until when there is nothing to do.
    fn pause(&self) -> Option<Duration> {
        let now = drains::now();
        let drain = self.drains.next().map(|at: Time| at.since(now));
        let weigh = self.ports.has_loads().then(|| WEIGH_EVERY.saturating_sub(self.weighed_at.elapsed()));
        let pauses = drain.into_iter().chain(self.watchman.pause(&self.ports));
        pauses.chain(self.rescues.pause()).chain(weigh).min()
    }

    fn on_command(&mut self, command: Command) {
        debug!(?command, "told");
        match command {
            Command::Gate(newcomer, channel) => self.expect(newcomer, channel),
            Command::Add(run, process) => {
                if let Some(captured) = self.ports.runs.get_mut(&run) {
                    captured.process = Some(process);
                }
                self.tell_ready(run);
            }
            Command::Steer(run, standing, share) => {
                // Never more than it is to get, not even in between.
                if share == Share::Small {
                    self.ports.set_share(run, share);
                }
                self.ports.steer(run, standing);
                self.ports.set_share(run, share);
                if standing == Standing::Draining {
                    self.ports.hold_back(run);
                }
            }
            Command::Drain(run, until, ending) => {
                if self.ports.runs.get(&run).is_some_and(|captured| !captured.ended && !captured.listens.is_empty()) {
                    self.ports.steer(run, Standing::Draining);
                    self.ports.hold_back(run);
                    self.drains.begin(run, Time(until.as_millis()), ending);
                } else {
                    // It has no connections that anybody could wait for.
                    self.report(Report::Drained { run });
                }
            }
            Command::Ended(run) => {
                self.drains.end(run);
                self.close_gate(run);
                self.ports.ended(run);
                self.rescue(run);
            }
            Command::GiveUp(slot) => self.ports.give_up(slot),
            Command::Show(seen) => {
                self.ports.count();
                lock(&self.shown).ports = self.ports.views();
                // Whoever asked may wait no longer.
                let _ = seen.send(());
            }
            // Whoever waited may have gone.
            Command::Settle(done) => drop(done.send(())),
            // Taken where it is read.
            Command::Leave(_) => {}
        }
    }

    fn leave(self, sender: &mpsc::Sender<Vec<(String, OwnedFd)>>) {
        let mut copies = self.ports.copies();
        copies.extend(self.slots.as_fd().try_clone_to_owned().ok().map(|fd| (CALLS.to_owned(), fd)));
        // Whoever asked may wait no longer.
        let _ = sender.send(copies);
    }

    fn expect(&mut self, newcomer: Newcomer, channel: Channel) {
        let run = newcomer.run;
        if let Err(error) = self.poller.add(&channel, of_gate(run), Interest::Read) {
            // The child hears nothing, and says so.
            return warn!(run = run.0, "cannot wait for its listener: {error}");
        }
        self.gates.insert(run, channel);
        self.ports.expect(newcomer);
    }

    fn close_gate(&mut self, run: RunId) {
        if let Some(channel) = self.gates.remove(&run) {
            // It was added when it was put there.
            let _ = self.poller.remove(&channel);
        }
    }

    fn on_ready(&mut self, token: u64) {
        if token == SOMEBODY_CAME {
            return self.watchman.on_arrival(&self.ports, &self.poller);
        }
        let run = RunId(token >> 1);
        if token == of_gate(run) {
            self.on_gate(run);
        } else if let Err(error) = self.on_calls(run) {
            warn!(run = run.0, "its calls are not answered any more: {error}");
            self.over(run);
        }
    }

    fn on_gate(&mut self, run: RunId) {
        let Some(channel) = self.gates.get(&run) else { return };
        let arrived = channel.recv();
        self.close_gate(run);
        let fd = match arrived {
            Ok(Some(message)) => message.fds.into_iter().next(),
            Ok(None) => None,
            Err(error) => {
                warn!(run = run.0, "its listener did not arrive: {error}");
                None
            }
        };
        let Some(fd) = fd else { return };
        self.ports.put(&filter_name(run), &fd);
        failpoint::here("gate");
        let added = Listener::from_fd(fd).and_then(|listener| {
            self.poller.add(&listener, of_filter(run), Interest::Read)?;
            Ok(listener)
        });
        match (added, self.ports.runs.get_mut(&run)) {
            (Ok(listener), Some(captured)) => captured.filter = Some(listener),
            (Ok(_), None) => {}
            (Err(error), _) => warn!(run = run.0, "its calls cannot be answered: {error}"),
        }
    }

    fn on_calls(&mut self, run: RunId) -> io::Result<()> {
        for _ in 0..TURN {
            let Some(captured) = self.ports.runs.get(&run) else { return Ok(()) };
            let Some(filter) = &captured.filter else { return Ok(()) };
            // Each is answered before the next one is taken.
            let Some(index) = self.slots.free() else { return Err(io::ErrorKind::StorageFull.into()) };
            match filter.try_receive(&mut self.slots, index, run.0)? {
                Asked::Question(question) => {
                    failpoint::here("call-taken");
                    self.answer(run, &question);
                    failpoint::here("call-answered");
                    self.slots.clear(index);
                }
                Asked::Nothing => return Ok(()),
                Asked::Ended => {
                    self.over(run);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn answer(&mut self, run: RunId, question: &Question) {
        // Taken out for as long as it is used: what is decided changes the rest.
        let Some(filter) = self.ports.runs.get_mut(&run).and_then(|captured| captured.filter.take()) else { return };
        let answer = self.ports.decide(run, &filter, question);
        // Whoever hears how the run ends finds the reason.
        self.tell_remarks();
        failpoint::here("call-decided");
        match filter.answer(question, answer) {
            Ok(delivery) => debug!(run = run.0, call = ?question.call, ?answer, ?delivery, "answered"),
            Err(error) => warn!(run = run.0, "a call cannot be answered: {error}"),
        }
        if let Some(captured) = self.ports.runs.get_mut(&run) {
            captured.filter = Some(filter);
        }
        self.tell_ready(run);
    }

    fn over(&mut self, run: RunId) {
        if let Some(filter) = self.ports.runs.get(&run).and_then(|captured| captured.filter.as_ref()) {
            // The guardian has a duplicate: closing alone would not take it out.
            let _ = self.poller.remove(filter);
        }
        self.drains.end(run);
        self.ports.over(run);
        self.rescue(run);
    }

    /// Who waits for a run that is gone may have to be passed on.
    fn rescue(&mut self, run: RunId) {
        self.ports.orphans(run).into_iter().for_each(|socket| self.rescues.begin(socket));
    }

    fn tell_ready(&mut self, run: RunId) {
        let Some(captured) = self.ports.runs.get_mut(&run) else { return };
        if captured.is_ready() && !captured.told {
            captured.told = true;
            // Whoever asks the run how it is has to know first where that one is reached, and no other.
            self.show();
            self.report(Report::Ready { run, by: ReadyBy::Listening });
        }
    }

    fn tell_remarks(&mut self) {
        for report in std::mem::take(&mut self.ports.told) {
            self.report(report);
        }
    }

    fn report(&self, report: Report) {
        // The engine may have ended.
        let _ = self.reports.send(report);
    }

    fn show(&mut self) {
        if std::mem::take(&mut self.ports.is_changed) {
            self.watchman.on_change(&self.ports, &self.poller);
            let (views, places) = (self.ports.views(), self.ports.places());
            let mut shown = lock(&self.shown);
            (shown.ports, shown.places) = (views, places);
        }
        if let Some(drains) = self.drains.remaining_if_changed() {
            lock(&self.shown).drains = drains;
        }
    }
}

fn of_filter(run: RunId) -> u64 {
    run.0 << 1
}

fn of_gate(run: RunId) -> u64 {
    run.0 << 1 | 1
}
