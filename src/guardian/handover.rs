//! What the guardian does for an update, step by step; the steps are drawn in `update.rs`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use crate::guardian::Before;
use crate::guardian::binary::{Binary, Route};
use crate::guardian::moment::Moment;
use crate::guardian::policy::Next;
use crate::guardian::policy::Policy;
use crate::guardian::state::{self, Leaving};
use crate::guardian::store::{Kept, UNDER_WAY};
use crate::guardian::update::{Candidate, LEAVING, REHEARSAL, Rehearsal, Said, TRIAL, Update, one_line};
use crate::guardian::watch::{Phase, REHEARSAL_ERROR, REHEARSAL_OUT, Running, Watch};
use crate::guardian::wire::Reply;
use crate::guardian::{STATE_FD, launch};
use crate::sys::fds::{OverExec, memory_file, output_pipe, set_over_exec};
use crate::sys::poller::{Interest, Poller};
use crate::sys::process::{ExitStatus, Signal};
use crate::sys::spawn::spawn;
use crate::sys::system;

impl Watch {
    /// The daemon wants to be replaced by this binary.
    pub(super) fn rehearse(&mut self, poller: &Poller, path: &Path) {
        match self.try_rehearse(poller, path) {
            Ok(rehearsal) => self.update = Update::Rehearsing(rehearsal),
            Err(why) => self.refuse(&why),
        }
    }

    fn try_rehearse(&self, poller: &Poller, path: &Path) -> Result<Rehearsal, String> {
        let is_ready = matches!(self.phase, Phase::Running(Running { is_ready: true, .. }));
        if !is_ready {
            return Err("the daemon is not ready yet".to_owned());
        }
        if !matches!(self.update, Update::None) {
            return Err(UNDER_WAY.to_owned());
        }
        if !path.is_absolute() {
            return Err(format!("{} is not an absolute path", path.display()));
        }
        let binary = Binary::open(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
        let no_pipe = |error: io::Error| format!("cannot rehearse it: {error}");
        let (out, out_theirs) = output_pipe().map_err(no_pipe)?;
        let (error, error_theirs) = output_pipe().map_err(no_pipe)?;
        poller.add(&out, REHEARSAL_OUT, Interest::Read).map_err(no_pipe)?;
        poller.add(&error, REHEARSAL_ERROR, Interest::Read).map_err(no_pipe)?;
        let launch = launch::rehearsal(&self.seat, &binary, out_theirs, error_theirs).map_err(no_pipe)?;
        let process = spawn(&launch).map_err(|error| error.to_string())?;
        Ok(Rehearsal {
            process,
            out: Said::new(File::from(out)),
            error: Said::new(File::from(error)),
            binary,
            until: Some(Moment::now().after(REHEARSAL)),
            asker: self.policy.restarts(),
        })
    }

    pub(super) fn on_rehearsal_output(&mut self, poller: &Poller, token: u64) -> io::Result<()> {
        let Update::Rehearsing(rehearsal) = &mut self.update else { return Ok(()) };
        let said = if token == REHEARSAL_OUT { &mut rehearsal.out } else { &mut rehearsal.error };
        if said.go_on() { Ok(()) } else { poller.remove(&said.pipe) }
    }

    /// The rehearsal has ended and is reaped.
    pub(super) fn on_rehearsed(&mut self, status: ExitStatus) {
        let Update::Rehearsing(rehearsal) = self.update.take() else { return };
        if rehearsal.asker != self.policy.restarts() {
            // Who asked has died. Its successor asks anew, or does not.
            return;
        }
        match rehearsal.into_candidate(status) {
            Ok(candidate) => {
                self.answer(Reply::Go(&candidate.rehearsed.version));
                self.update = Update::Going { candidate, until: Moment::now().after(LEAVING) };
            }
            Err(why) => self.refuse(&why),
        }
    }

    /// The daemon has ended. What follows, if that is a matter of an update.
    pub(super) fn next_of_update(&mut self, status: ExitStatus) -> Option<Next> {
        let is_stopping = self.policy.is_stopping;
        match self.update.take() {
            // It was told to leave, and it has left: whether with the right code or killed in the middle of it.
            Update::Going { candidate, until } if !status.is_success() => {
                self.update = Update::Going { candidate, until };
                Some(self.policy.on_handover())
            }
            Update::Trying { .. } if !is_stopping => {
                Some(self.fall_back(format!("it ended before it was ready: {status}")))
            }
            Update::Abandoned { why } if !is_stopping => Some(self.fall_back(why)),
            // The daemon was told to stop everything meanwhile, and has done so.
            Update::Going { .. } | Update::Trying { .. } | Update::Abandoned { .. } | Update::None => None,
            // A rehearsal goes on until it has ended, and the guardian's turn comes when there is a daemon again.
            other @ (Update::Rehearsing(_) | Update::Replacing) => {
                self.update = other;
                None
            }
        }
    }

    /// Goes back to the binary before.
    pub(super) fn fall_back(&mut self, why: String) -> Next {
        self.complain(&format!("the update has failed, the binary before goes on: {why}"));
        self.update_failed = Some(one_line(&why));
        self.policy.on_handover()
    }

    /// The new binary's daemon, if it is one, has taken over.
    pub(super) fn on_new_daemon_ready(&mut self) {
        match self.update.take() {
            Update::Trying { candidate: Candidate { binary, rehearsed }, .. } => {
                self.binary = binary;
                if rehearsed.states.contains(&state::VERSION) {
                    self.update = Update::Replacing;
                } else {
                    let version = rehearsed.version;
                    self.complain(&format!("{version} does not read our state: this guardian goes on with its daemon"));
                }
            }
            other => self.update = other,
        }
    }

    pub(super) fn on_update_time(&mut self, now: Moment) {
        let is_over = |until: &Moment| *until <= now;
        match (&mut self.update, &self.phase) {
            (Update::Rehearsing(Rehearsal { process, until, .. }), _) if until.as_ref().is_some_and(is_over) => {
                *until = None;
                let killed = process.signal_group(Signal::KILL);
                self.complain_of(killed, "cannot end the rehearsal");
            }
            (Update::Going { until, .. }, Phase::Running(_)) if is_over(until) => {
                self.update = Update::None;
                self.refuse(&format!("the daemon did not leave within {} s", LEAVING.as_secs()));
            }
            (Update::Trying { until, .. }, Phase::Running(running)) if is_over(until) => {
                let killed = running.process.signal(Signal::KILL);
                self.complain_of(killed, "cannot end the new daemon");
                let why = format!("it was not ready within {} s", TRIAL.as_secs());
                self.update = Update::Abandoned { why };
            }
            (
                Update::None
                | Update::Rehearsing(_)
                | Update::Going { .. }
                | Update::Trying { .. }
                | Update::Abandoned { .. }
                | Update::Replacing,
                Phase::Running(_) | Phase::Between { .. },
            ) => {}
        }
    }

    /// When [`Watch::on_update_time`] has something to do.
    pub(super) fn update_deadline(&self) -> Option<Moment> {
        match (&self.update, &self.phase) {
            (Update::Rehearsing(rehearsal), _) => rehearsal.until,
            (Update::Going { until, .. } | Update::Trying { until, .. }, Phase::Running(_)) => Some(*until),
            (
                Update::None
                | Update::Going { .. }
                | Update::Trying { .. }
                | Update::Abandoned { .. }
                | Update::Replacing,
                Phase::Running(_) | Phase::Between { .. },
            ) => None,
        }
    }

    /// Executes the new binary in the place of this process, once it is due and nothing is on its way to the daemon. If
    /// that cannot be done, this binary goes on.
    pub(super) fn replace(&mut self) {
        let Update::Replacing = self.update else { return };
        let Phase::Running(Running { process, connection: Some(connection), is_ready: true }) = &self.phase else {
            return;
        };
        if connection.wants_to_write(&self.kept) {
            return;
        }
        let leaving = Leaving {
            lock: self.seat.lock.as_fd(),
            before: self.seat.before,
            policy: self.policy,
            daemon: Some((process, connection)),
            kept: &self.kept,
        };
        let error = execute(&self.binary, &leaving);
        self.update = Update::None;
        self.complain(&format!("cannot execute the new binary, this guardian goes on: {error}"));
    }

    /// Nothing of a rehearsal stays when the guardian leaves.
    pub(super) fn end_rehearsal(&mut self) {
        if let Update::Rehearsing(Rehearsal { process, .. }) = &self.update {
            let killed = process.signal_group(Signal::KILL);
            self.complain_of(killed, "cannot end the rehearsal");
        }
    }

    fn refuse(&mut self, why: &str) {
        let why = one_line(why);
        self.complain(&format!("no update: {why}"));
        self.answer(Reply::Refused(&why));
    }

    fn answer(&mut self, reply: Reply<'_>) {
        if let Phase::Running(Running { connection: Some(connection), .. }) = &mut self.phase {
            connection.answer(reply);
        }
    }

    fn complain_of(&mut self, done: io::Result<()>, what: &str) {
        if let Err(error) = done {
            self.complain(&format!("{what}: {error}"));
        }
    }
}

/// Executes this binary as a guardian in the place of this process: a daemon that has lost its own. What it has started
/// stays its child, `store` is what it holds, and the next daemon goes on with both. Returns only when it has failed.
pub fn execute_as_guardian(exe: &Path, lock: &OwnedFd, before: Before, store: Vec<(String, OwnedFd)>) -> io::Error {
    if let Err(error) = system::become_subreaper() {
        return error;
    }
    let mut kept = Kept::new();
    for (name, fd) in store {
        kept.store.put(&name, fd);
    }
    let policy = Policy { was_ready: true, ended: 1, ..Policy::new() };
    let leaving = Leaving { lock: lock.as_fd(), before, policy, daemon: None, kept: &kept };
    execute(&Binary::own(exe), &leaving)
}

/// Returns only when it has failed, with everything as it was.
fn execute(binary: &Binary, leaving: &Leaving<'_>) -> io::Error {
    match try_execute(binary, leaving) {
        Ok(never) => match never {},
        Err(error) => {
            for fd in leaving.fds() {
                // What is open can be changed.
                let _ = set_over_exec(fd, OverExec::Closed);
            }
            error
        }
    }
}

fn try_execute(binary: &Binary, leaving: &Leaving<'_>) -> io::Result<std::convert::Infallible> {
    let state: OwnedFd = memory_file("rsx-guardian", leaving.to_text().as_bytes())?;
    let Route { program, through: _through } = binary.route()?;
    let mut env = launch::environment();
    env.push((STATE_FD.into(), state.as_raw_fd().to_string().into()));
    for fd in leaving.fds().chain([state.as_fd()]) {
        set_over_exec(fd, OverExec::Kept)?;
    }
    Err(system::execute(&program, &["rsx", "daemon"], env))
}
