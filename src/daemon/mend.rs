//! `update` of a daemon whose guardian was killed: it becomes a guardian itself, and starts the next daemon.
//!
//! A process cannot be given another parent. But it can execute another program and keep its children: so the daemon
//! executes the new binary as a guardian in its own place, its runs stay below it, and what it holds goes along.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::warn;

use crate::daemon::keep;
use crate::daemon::pump::Pump;
use crate::daemon::shell::Shell;
use crate::guardian;
use crate::spec::{ExitStatus, Signal};
use crate::sys::fds;
use crate::sys::spawn::{Launch, spawn};

/// How long a rehearsal may take.
const REHEARSAL: Duration = Duration::from_secs(5);

/// How much of what it says is read, in bytes.
const SAID: u64 = 4096;

/// How long the log thread may take to hand out copies of its pipes.
const PIPES: Duration = Duration::from_secs(1);

/// Lets a binary show that it can take over; its version, or why not.
pub(super) async fn rehearse(binary: &Path) -> Result<String, String> {
    let binary = binary.to_owned();
    let rehearsed = tokio::task::spawn_blocking(move || play(&binary)).await;
    let (status, out, error) =
        rehearsed.map_err(|error| error.to_string())?.map_err(|error| format!("cannot rehearse it: {error}"))?;
    guardian::version_of(status, &out, &error)
}

/// Everything that a guardian would have.
pub(super) async fn descriptors(shell: &Shell, pump: &Pump) -> Vec<(String, OwnedFd)> {
    let mut named = shell.descriptors();
    named.extend(shell.sockets().leave());
    named.extend(shell.history().leave());
    match pump.pipes(PIPES).await {
        Some(pipes) => {
            named.extend(pipes.into_iter().map(|(run, stream, pipe)| (keep::name(run, keep::stream(stream)), pipe)));
        }
        None => warn!("the log thread does not hand out its pipes in time"),
    }
    match pump.window().try_clone_to_owned() {
        Ok(window) => named.push((keep::LOG_WINDOW.to_owned(), window)),
        Err(error) => warn!("cannot keep the window of the log thread: {error}"),
    }
    named
}

fn play(binary: &Path) -> io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let (out, out_theirs) = io::pipe()?;
    let (error, error_theirs) = io::pipe()?;
    let own = [guardian::GUARDIAN_FD, guardian::LOCK_FD, guardian::READY_FD, guardian::RESTARTS];
    let launch = Launch {
        program: binary.to_owned(),
        argv: ["rsx", "daemon", "--rehearse"].map(Into::into).into(),
        env: std::env::vars_os().filter(|(name, _)| !own.iter().any(|own| name == own)).collect(),
        cwd: PathBuf::from("/"),
        stdin: fds::null()?,
        stdout: out_theirs.into(),
        stderr: error_theirs.into(),
        nofile: None,
        umask: None,
        oom_score_adj: None,
        keep: Vec::new(),
        listen: Vec::new(),
        watchdog_pid: false,
        birth: None,
    };
    let process = spawn(&launch).map_err(io::Error::other)?;
    drop(launch);
    // What it says has room in the pipes; more would make it wait, and be killed.
    if !process.has_ended_within(REHEARSAL)? {
        process.signal_group(Signal::KILL)?;
        process.has_ended_within(REHEARSAL)?;
        process.reap()?;
        return Err(io::Error::other(format!("it took longer than {} s", REHEARSAL.as_secs())));
    }
    let status = process.try_status()?.unwrap_or(ExitStatus::Code(1));
    process.signal_group(Signal::KILL)?;
    process.reap()?;
    let said = |pipe: &mut dyn Read| {
        let mut text = Vec::new();
        pipe.take(SAID).read_to_end(&mut text).map(|_| text)
    };
    let (mut out, mut error) = (File::from(OwnedFd::from(out)), File::from(OwnedFd::from(error)));
    Ok((status, said(&mut out)?, said(&mut error)?))
}
