//! The guardian's loop: one daemon at a time, its connection, signals, orphans.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::guardian::policy::{Next, Policy};
use crate::guardian::store::{Connection, Store};
use crate::guardian::{GUARDIAN_FD, LOCK_FD, READY_FD, RESTARTS, Ready, Seat};
use crate::sys::fds::{self, Channel};
use crate::sys::memory;
use crate::sys::poller::{Interest, Poller, Ready as ReadyFd};
use crate::sys::process::{Process, Signal, reap_adopted};
use crate::sys::signals;
use crate::sys::spawn::{Launch, SpawnError, Step, spawn};

const SIGNALS: u64 = 0;
const CONNECTION: u64 = 1;
const DAEMON: u64 = 2;

/// The guardian at work.
pub(super) struct Watch {
    seat: Seat,
    exe: PathBuf,
    ready: Ready,
    store: Store,
    policy: Policy,
    phase: Phase,
}

/// Whether there is a daemon.
enum Phase {
    /// There is.
    Running(Running),
    /// The next one is started then.
    Waiting(Instant),
}

struct Running {
    process: Process,
    /// None when the daemon has closed its end.
    connection: Option<Connection>,
    since: Instant,
}

impl Watch {
    pub(super) fn new(seat: Seat, exe: &Path, ready: Ready) -> Watch {
        let phase = Phase::Waiting(Instant::now());
        Watch { seat, exe: exe.to_owned(), ready, store: Store::default(), policy: Policy::new(), phase }
    }

    /// Until a daemon leaves properly, none can be started, or a signal ends it all. Returns the exit code.
    pub(super) fn run(mut self) -> u8 {
        match self.watch() {
            Ok(code) => code,
            Err(error) => {
                self.ready.fail(&format!("the guardian cannot go on: {error}"));
                1
            }
        }
    }

    fn watch(&mut self) -> io::Result<u8> {
        let mut poller = Poller::new()?;
        poller.add(&self.seat.signals, SIGNALS, Interest::Read)?;
        let mut events = Vec::new();
        loop {
            if let Phase::Waiting(until) = self.phase
                && until <= Instant::now()
                && let Some(code) = self.start(&poller)
            {
                return Ok(code);
            }
            let timeout = match self.phase {
                Phase::Running(_) => None,
                Phase::Waiting(until) => Some(until.saturating_duration_since(Instant::now())),
            };
            poller.wait(&mut events, timeout)?;
            if self.on_signals()? {
                return Ok(0);
            }
            if events.iter().any(|event: &ReadyFd| event.token == CONNECTION) {
                self.on_connection(&poller)?;
            }
            if let Some(code) = self.on_children()? {
                return Ok(code);
            }
        }
    }

    /// Starts a daemon; the exit code if there is to be none any more.
    fn start(&mut self, poller: &Poller) -> Option<u8> {
        match self.try_start(poller) {
            Ok(running) => {
                self.phase = Phase::Running(running);
                None
            }
            Err(error) => {
                self.complain(&format!("cannot start the daemon: {error}"));
                let next = self.policy.on_end(None, Duration::ZERO);
                self.follow(next, &error.to_string())
            }
        }
    }

    fn try_start(&self, poller: &Poller) -> Result<Running, SpawnError> {
        let at = |step| move |error| SpawnError::new(step, None, error);
        let (ours, theirs) = Channel::pair().map_err(at(Step::Pipe))?;
        let connection = Connection::new(ours).map_err(at(Step::Pipe))?;
        let launch = self.launch(theirs).map_err(at(Step::Prepare))?;
        poller.add(&connection, CONNECTION, Interest::Read).map_err(at(Step::Pipe))?;
        let process = spawn(&launch)?;
        poller.add(&process, DAEMON, Interest::Read).map_err(at(Step::Pipe))?;
        Ok(Running { process, connection: Some(connection), since: Instant::now() })
    }

    fn launch(&self, theirs: Channel) -> io::Result<Launch> {
        let theirs = theirs.into_fd();
        let lock = self.seat.lock.try_clone_fd()?;
        // What this daemon gets from us, and what an app of another daemon may have left in the client's environment.
        let ours = [GUARDIAN_FD, LOCK_FD, READY_FD, RESTARTS, "RSX_ID", "RSX_NAME", "RSX_INSTANCE"];
        let mut env: Vec<(OsString, OsString)> =
            std::env::vars_os().filter(|(name, _)| !ours.iter().any(|own| name == own)).collect();
        let mut set = |name: &str, value: String| env.push((name.into(), value.into()));
        set(GUARDIAN_FD, theirs.as_raw_fd().to_string());
        set(LOCK_FD, lock.as_raw_fd().to_string());
        set(RESTARTS, self.policy.restarts().to_string());
        let mut keep = vec![theirs, lock];
        if let Some(pipe) = &self.ready.0 {
            let pipe = pipe.try_clone()?;
            set(READY_FD, pipe.as_raw_fd().to_string());
            keep.push(pipe.into());
        }
        Ok(Launch {
            program: self.exe.clone(),
            argv: vec!["rsx".into(), "daemon".into()],
            env,
            cwd: PathBuf::from("/"),
            stdin: fds::null()?,
            stdout: fds::null()?,
            stderr: self.seat.stderr.try_clone()?.into(),
            nofile: self.seat.before.nofile,
            umask: Some(self.seat.before.umask),
            oom_score_adj: None,
            keep,
            birth: None,
        })
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
                Phase::Waiting(_) => return Ok(true),
            }
        }
        Ok(false)
    }

    fn on_connection(&mut self, poller: &Poller) -> io::Result<()> {
        let Phase::Running(running) = &mut self.phase else { return Ok(()) };
        let Some(connection) = &mut running.connection else { return Ok(()) };
        let progress = connection.go_on(&mut self.store);
        if progress.is_ready {
            // The guardian's own start is over, too. A machine that cannot do this loses nothing but memory.
            let _ = memory::let_go_of_code();
            self.policy.on_ready();
            self.ready.0 = None;
        }
        if progress.is_closed {
            poller.remove(connection)?;
            running.connection = None;
        } else {
            let interest = if connection.wants_to_write() { Interest::Both } else { Interest::Read };
            poller.modify(connection, CONNECTION, interest)?;
        }
        Ok(())
    }

    /// Reaps orphans and the daemon; the exit code if the guardian is to leave.
    fn on_children(&mut self) -> io::Result<Option<u8>> {
        let Phase::Running(running) = &mut self.phase else {
            reap_adopted(None)?;
            return Ok(None);
        };
        reap_adopted(Some(&running.process))?;
        let Some(status) = running.process.try_status()? else { return Ok(None) };
        // What it sent before it died is stored before the next one asks for it.
        if let Some(mut connection) = running.connection.take() {
            while connection.go_on(&mut self.store).has_more {}
        }
        running.process.reap()?;
        reap_adopted(None)?;
        let next = self.policy.on_end(Some(status), running.since.elapsed());
        if !status.is_success() {
            self.complain(&format!("the daemon ended: {status}"));
        }
        Ok(self.follow(next, &format!("the daemon ended before it was ready: {status}")))
    }

    fn follow(&mut self, next: Next, why: &str) -> Option<u8> {
        match next {
            Next::Start(pause) => {
                self.phase = Phase::Waiting(Instant::now() + pause);
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
    fn complain(&mut self, what: &str) {
        drop(writeln!(self.seat.stderr, "rsx guardian: {what}"));
    }
}
