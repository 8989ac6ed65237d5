//! How a guardian's processes are started: the daemon, and the rehearsal of the next one.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use crate::guardian::binary::{Binary, Route};
use crate::guardian::{EXE_FD, GUARDIAN_FD, LOCK_FD, READY_FD, RESTARTS, STATE_FD, Seat, UPDATE_FAILED};
use crate::sys::fds::{self, Channel};
use crate::sys::spawn::Launch;

/// What a daemon gets from its guardian, and what an app of another daemon may have left in the client's environment.
const OURS: [&str; 10] =
    [GUARDIAN_FD, LOCK_FD, READY_FD, RESTARTS, UPDATE_FAILED, EXE_FD, STATE_FD, "RSX_ID", "RSX_NAME", "RSX_INSTANCE"];

/// What makes a daemon this one.
pub(super) struct DaemonParts<'a> {
    pub(super) connection: Channel,
    /// The pipe to the client that waits.
    pub(super) ready: Option<&'a File>,
    pub(super) restarts: u32,
    pub(super) update_failed: Option<&'a str>,
}

/// The environment that the guardian was started with, without what is its own.
pub(super) fn environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| !OURS.iter().any(|own| name == own)).collect()
}

/// A daemon of this binary.
pub(super) fn daemon(seat: &Seat, binary: &Binary, parts: DaemonParts<'_>) -> io::Result<Launch> {
    let stderr = OwnedFd::from(seat.stderr.try_clone()?);
    let mut launch = launch(seat, binary, &["rsx", "daemon"], fds::null()?, stderr)?;
    let mut pass = |name: &str, fd: OwnedFd| {
        launch.env.push((name.into(), fd.as_raw_fd().to_string().into()));
        launch.keep.push(fd);
    };
    pass(GUARDIAN_FD, parts.connection.into_fd());
    pass(LOCK_FD, seat.lock.try_clone_fd()?);
    if let Some(pipe) = parts.ready {
        pass(READY_FD, pipe.try_clone()?.into());
    }
    launch.env.push((RESTARTS.into(), parts.restarts.to_string().into()));
    if let Some(why) = parts.update_failed {
        launch.env.push((UPDATE_FAILED.into(), why.into()));
    }
    Ok(launch)
}

/// A rehearsal of this binary, which has neither the connection nor the lock.
pub(super) fn rehearsal(seat: &Seat, binary: &Binary, out: OwnedFd, error: OwnedFd) -> io::Result<Launch> {
    launch(seat, binary, &["rsx", "daemon", "--rehearse"], out, error)
}

fn launch(seat: &Seat, binary: &Binary, argv: &[&str], stdout: OwnedFd, stderr: OwnedFd) -> io::Result<Launch> {
    let mut env = environment();
    let Route { program, through } = binary.route()?;
    // It stays open over exec, because the first line of a script would be read through it.
    let keep: Vec<OwnedFd> = through.into_iter().collect();
    env.extend(keep.iter().map(|fd| (EXE_FD.into(), fd.as_raw_fd().to_string().into())));
    Ok(Launch {
        program,
        argv: argv.iter().map(Into::into).collect(),
        env,
        cwd: PathBuf::from("/"),
        stdin: fds::null()?,
        stdout,
        stderr,
        nofile: seat.before.nofile,
        umask: Some(seat.before.umask),
        oom_score_adj: seat.before.badness,
        keep,
        listen: Vec::new(),
        watchdog_pid: false,
        birth: None,
    })
}
