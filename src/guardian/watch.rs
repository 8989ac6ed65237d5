//! The guardian's loop: one daemon at a time, its connection, signals, orphans. What an update adds is in `handover.rs`.

use std::io::{self, Write};
use std::time::Duration;

use crate::guardian::binary::Binary;
use crate::guardian::ends::End;
use crate::guardian::launch::{self, DaemonParts};
use crate::guardian::moment::Moment;
use crate::guardian::policy::{Next, Policy};
use crate::guardian::store::{Connection, Kept, Progress};
use crate::guardian::update::{TRIAL, Update};
use crate::guardian::{Ready, Seat};
use crate::sys::fds::Channel;
use crate::sys::memory;
use crate::sys::poller::{Interest, Poller, Ready as ReadyFd};
use crate::sys::process::{ExitStatus, Process, Signal, reap_adopted};
use crate::sys::signals;
use crate::sys::spawn::{SpawnError, Step, spawn};

const SIGNALS: u64 = 0;
const CONNECTION: u64 = 1;
const DAEMON: u64 = 2;
pub(super) const REHEARSAL_OUT: u64 = 3;
pub(super) const REHEARSAL_ERROR: u64 = 4;

/// How long the next daemon waits for the end of the last one's connection.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long after a daemon has said something the memory that this took is given back.
const TIDY: Duration = Duration::from_secs(1);

/// The guardian at work.
pub(super) struct Watch {
    pub(super) seat: Seat,
    /// What daemons are started from.
    pub(super) binary: Binary,
    ready: Ready,
    pub(super) kept: Kept,
    pub(super) policy: Policy,
    pub(super) phase: Phase,
    pub(super) update: Update,
    /// Why an update has failed, until a daemon that was told is ready.
    pub(super) update_failed: Option<String>,
    /// When memory is given back, if there was talk since it was last time.
    tidy: Option<Moment>,
}

/// What another guardian leaves to this one.
pub(super) struct Going {
    pub(super) policy: Policy,
    pub(super) daemon: Option<(Process, Connection)>,
    pub(super) kept: Kept,
}

/// Whether there is a daemon.
pub(super) enum Phase {
    /// There is.
    Running(Running),
    /// The next one is started then, but not before the last one's words have all been heard.
    Between { until: Moment, last: Option<LastWords> },
}

pub(super) struct Running {
    pub(super) process: Process,
    /// None when the daemon has closed its end.
    pub(super) connection: Option<Connection>,
    pub(super) is_ready: bool,
}

/// The connection of a daemon that has ended: a child of it that has not executed its program yet holds it, and may have
/// something to say.
pub(super) struct LastWords {
    connection: Connection,
    until: Moment,
}

impl Watch {
    pub(super) fn new(seat: Seat, binary: Binary, ready: Ready) -> Watch {
        Watch {
            seat,
            binary,
            ready,
            kept: Kept::new(),
            policy: Policy::new(),
            phase: Phase::Between { until: Moment::now(), last: None },
            update: Update::None,
            update_failed: None,
            tidy: None,
        }
    }

    /// Takes over a daemon that is ready, or starts the next one.
    pub(super) fn go_on(seat: Seat, binary: Binary, going: Going) -> Watch {
        let Going { policy, daemon, kept } = going;
        let phase = match daemon {
            Some((process, connection)) => {
                Phase::Running(Running { process, connection: Some(connection), is_ready: true })
            }
            None => Phase::Between { until: Moment::now(), last: None },
        };
        Watch { kept, policy, phase, ..Watch::new(seat, binary, Ready(None)) }
    }

    /// Until a daemon leaves properly, none can be started, or a signal ends it all. Returns the exit code.
    pub(super) fn run(mut self) -> u8 {
        let code = match self.watch() {
            Ok(code) => code,
            Err(error) => {
                self.ready.fail(&format!("the guardian cannot go on: {error}"));
                1
            }
        };
        self.end_rehearsal();
        code
    }

    fn watch(&mut self) -> io::Result<u8> {
        let mut poller = Poller::new()?;
        poller.add(&self.seat.signals, SIGNALS, Interest::Read)?;
        if let Phase::Running(running) = &self.phase {
            poller.add(&running.process, DAEMON, Interest::Read)?;
            if let Some(connection) = &running.connection {
                poller.add(connection, CONNECTION, Interest::Read)?;
            }
            tidy();
        }
        let mut events: Vec<ReadyFd> = Vec::new();
        loop {
            // Before the wait: what has ended before this process was a guardian, or this binary, is told by no signal.
            if let Some(code) = self.on_children()? {
                return Ok(code);
            }
            if let Some(code) = self.on_time(&poller)? {
                return Ok(code);
            }
            self.talk(&poller)?;
            self.replace();
            let now = Moment::now();
            poller.wait(&mut events, self.next_deadline().map(|until| until.since(now)))?;
            if self.on_signals()? {
                return Ok(0);
            }
            for event in &events {
                match event.token {
                    CONNECTION => self.on_connection(&poller)?,
                    REHEARSAL_OUT | REHEARSAL_ERROR => self.on_rehearsal_output(&poller, event.token)?,
                    _ => {}
                }
            }
        }
    }

    /// Does what is due; the exit code if there is to be no daemon any more.
    fn on_time(&mut self, poller: &Poller) -> io::Result<Option<u8>> {
        let now = Moment::now();
        if let Phase::Between { until, last } = &mut self.phase {
            if let Some(LastWords { connection, .. }) = last.take_if(|last| last.until <= now) {
                poller.remove(&connection)?;
            }
            if last.is_none() && *until <= now {
                return Ok(self.start(poller));
            }
        }
        self.on_update_time(now);
        if self.tidy.take_if(|at| *at <= now).is_some() {
            self.kept.store.shrink();
            tidy();
        }
        Ok(None)
    }

    /// When something is due; none if nothing is.
    fn next_deadline(&self) -> Option<Moment> {
        let start = match &self.phase {
            Phase::Running(_) => None,
            Phase::Between { until, last } => Some(last.as_ref().map_or(*until, |last| last.until)),
        };
        [start, self.update_deadline(), self.tidy].into_iter().flatten().min()
    }

    /// Starts a daemon; the exit code if there is to be none any more.
    fn start(&mut self, poller: &Poller) -> Option<u8> {
        // What is heard from now on is the next one's.
        self.kept.ends.on_gone();
        let update = self.update.take();
        let binary = match &update {
            Update::Going { candidate, .. } => &candidate.binary,
            Update::None
            | Update::Rehearsing(_)
            | Update::Trying { .. }
            | Update::Abandoned { .. }
            | Update::Replacing => &self.binary,
        };
        let started = self.try_start(poller, binary);
        let is_started = started.is_ok();
        let why = match started {
            Ok(running) => {
                self.phase = Phase::Running(running);
                String::new()
            }
            Err(error) => error.to_string(),
        };
        match update {
            Update::Going { candidate, .. } if is_started => {
                self.update = Update::Trying { candidate, until: Moment::now().after(TRIAL) };
            }
            Update::Going { .. } => {
                let next = self.fall_back(why.clone());
                return self.follow(next, None, &why);
            }
            other => self.update = other,
        }
        if is_started {
            return None;
        }
        self.complain(&format!("cannot start the daemon: {why}"));
        let next = self.policy.on_end(None, Moment::now());
        self.follow(next, None, &why)
    }

    fn try_start(&self, poller: &Poller, binary: &Binary) -> Result<Running, SpawnError> {
        let at = |step| move |error| SpawnError::new(step, None, error);
        let (ours, theirs) = Channel::pair().map_err(at(Step::Pipe))?;
        let connection = Connection::new(ours).map_err(at(Step::Pipe))?;
        let parts = DaemonParts {
            connection: theirs,
            ready: self.ready.0.as_ref(),
            restarts: self.policy.restarts(),
            update_failed: self.update_failed.as_deref(),
        };
        let launch = launch::daemon(&self.seat, binary, parts).map_err(at(Step::Prepare))?;
        poller.add(&connection, CONNECTION, Interest::Read).map_err(at(Step::Pipe))?;
        let process = spawn(&launch)?;
        poller.add(&process, DAEMON, Interest::Read).map_err(at(Step::Pipe))?;
        Ok(Running { process, connection: Some(connection), is_ready: false })
    }

    /// Whether the guardian leaves at once.
    fn on_signals(&mut self) -> io::Result<bool> {
        while let Some(signal) = self.seat.signals.next()? {
            // The end of a child is looked at in every round, and the end of a terminal means nothing here.
            if signal == signals::child() || signal == signals::hangup() {
                continue;
            }
            if signal == signals::user() {
                // Meant for the daemon (it reopens its logs); the number in the lock file is the guardian's.
                if let Phase::Running(running) = &self.phase {
                    running.process.signal(signal)?;
                }
                continue;
            }
            self.policy.on_stop();
            match &self.phase {
                // It stops all apps first and takes the time that they are given; a second signal is passed on, too.
                Phase::Running(running) => running.process.signal(Signal::TERM)?,
                Phase::Between { .. } => return Ok(true),
            }
        }
        Ok(false)
    }

    fn on_connection(&mut self, poller: &Poller) -> io::Result<()> {
        self.tidy.get_or_insert_with(|| Moment::now().after(TIDY));
        match &mut self.phase {
            Phase::Running(Running { connection: open, .. }) => {
                let Some(connection) = open else { return Ok(()) };
                let progress = connection.go_on(&mut self.kept);
                if progress.is_closed {
                    poller.remove(connection)?;
                    *open = None;
                    self.kept.ends.on_gone();
                }
                self.on_progress(poller, progress);
            }
            Phase::Between { last, .. } => {
                let Some(LastWords { connection, .. }) = last else { return Ok(()) };
                if connection.go_on(&mut self.kept).is_closed {
                    poller.remove(connection)?;
                    *last = None;
                }
            }
        }
        Ok(())
    }

    fn on_progress(&mut self, poller: &Poller, progress: Progress) {
        if let Phase::Running(running) = &mut self.phase
            && progress.is_ready
        {
            running.is_ready = true;
            // The guardian's own start is over, too.
            tidy();
            self.policy.on_ready();
            self.ready.0 = None;
            self.kept.ends.on_ready();
            self.update_failed = None;
            self.on_new_daemon_ready();
        }
        if let Some(path) = progress.update {
            self.rehearse(poller, &path);
        }
    }

    /// Says what there is to say to the daemon, as far as it reads.
    fn talk(&mut self, poller: &Poller) -> io::Result<()> {
        let Phase::Running(Running { connection: Some(connection), .. }) = &mut self.phase else { return Ok(()) };
        connection.tell(&mut self.kept);
        let interest = if connection.wants_to_write(&self.kept) { Interest::Both } else { Interest::Read };
        poller.modify(connection, CONNECTION, interest)
    }

    /// Reaps orphans, the rehearsal and the daemon; the exit code if the guardian is to leave.
    fn on_children(&mut self) -> io::Result<Option<u8>> {
        loop {
            let daemon = match &self.phase {
                Phase::Running(running) => Some(&running.process),
                Phase::Between { .. } => None,
            };
            let rehearsal = match &self.update {
                Update::Rehearsing(rehearsal) => Some(&rehearsal.process),
                Update::None
                | Update::Going { .. }
                | Update::Trying { .. }
                | Update::Abandoned { .. }
                | Update::Replacing => None,
            };
            let own: Vec<&Process> = daemon.into_iter().chain(rehearsal).collect();
            let ends = &mut self.kept.ends;
            reap_adopted(&own, |pid, status| ends.on_end(pid, End { status, at: Moment::now().as_millis() }))?;
            if let Some(status) = rehearsal.map(Process::reap).transpose()?.flatten() {
                self.on_rehearsed(status);
            } else if let Some(status) = daemon.map(Process::reap).transpose()?.flatten() {
                // What is left of it has become ours by now, and may have ended: once more.
                if let Some(code) = self.on_daemon_end(status) {
                    return Ok(Some(code));
                }
            } else {
                return Ok(None);
            }
        }
    }

    fn on_daemon_end(&mut self, status: ExitStatus) -> Option<u8> {
        let now = Moment::now();
        let between = Phase::Between { until: now, last: None };
        let mut last = None;
        if let Phase::Running(Running { connection: Some(mut connection), .. }) =
            std::mem::replace(&mut self.phase, between)
        {
            // What it sent before it died is carried out before the next one asks for it.
            let mut progress = connection.go_on(&mut self.kept);
            while progress.has_more {
                progress = connection.go_on(&mut self.kept);
            }
            last = (!progress.is_closed).then_some(LastWords { connection, until: now.after(LAST_WORDS) });
        }
        self.kept.ends.on_gone();
        let next = match self.next_of_update(status) {
            Some(next) => next,
            None => {
                if !status.is_success() {
                    self.complain(&format!("the daemon ended: {status}"));
                }
                self.policy.on_end(Some(status), now)
            }
        };
        self.follow(next, last, &format!("the daemon ended before it was ready: {status}"))
    }

    fn follow(&mut self, next: Next, last: Option<LastWords>, why: &str) -> Option<u8> {
        match next {
            Next::Start(pause) => {
                self.phase = Phase::Between { until: Moment::now().after(pause), last };
                None
            }
            Next::Leave(code) => Some(code),
            Next::GiveUp => {
                self.ready.fail(why);
                Some(1)
            }
        }
    }

    /// A line for whoever looks for the reason later; a full disk must not end the guardian.
    pub(super) fn complain(&mut self, what: &str) {
        drop(writeln!(self.seat.stderr, "rsx guardian: {what}"));
    }
}

/// Gives back memory that only what is over has needed. A machine that cannot do this loses nothing but memory.
fn tidy() {
    memory::give_back_heap();
    let _ = memory::let_go_of_code();
}
