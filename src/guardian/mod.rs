//! The parent that outlives the daemon and keeps its descriptors.
//!
//! `rsx daemon` is two processes. The guardian starts the daemon, starts it again when it dies, reaps what it adopts and
//! tells how it ended, and stores descriptors under names; a new daemon takes them back and goes on. It decides nothing
//! about apps.
//!
//! ```text
//! [no daemon] --start--> [daemon runs] --exit code 0, or told to stop--> the guardian leaves
//!      ^                      |
//!      +---- pause, at most 5 s; none for the first death in a second, or for a handover <-- any other end
//! ```
//!
//! | module | is responsible for |
//! |---|---|
//! | `watch` | the loop: one daemon at a time, its connection, signals, orphans |
//! | `policy` | pure: what follows the end of a daemon |
//! | `store`, `name`, `wire` | what is kept, its names, the connection, its words |
//! | `ends` | pure: how orphans have ended, until a daemon has taken note |
//! | `update`, `binary` | the next binary: its rehearsal, its trial, the way back |
//! | `state` | what a guardian hands to itself when it executes the next binary |
//! | [`Keeper`] | the daemon's end of the connection |
//!
//! # Invariants
//!
//! The guardian waits in one place only, its poller. What a daemon sends is small, and what it does not read is not
//! sent: no daemon can make its guardian hang.
//!
//! There is one daemon at a time. The next one starts when the connection of the last one has ended, so that everything
//! it said is carried out; a child of it that has not executed its program yet holds the connection as well. After a
//! second the next one starts anyway.
//!
//! # What a daemon inherits
//!
//! | variable | means |
//! |---|---|
//! | `RSX_GUARDIAN_FD` | its end of the connection, see [`Keeper`] |
//! | `RSX_LOCK_FD` | the lock file, kept open so that the lock lives as long as either of them |
//! | `RSX_READY_FD` | the pipe to the client that waits for `ready` or `failed: …`; until one daemon was ready |
//! | `RSX_RESTARTS` | how many daemons there were before |
//! | `RSX_UPDATE_FAILED` | why an update went back to this binary; until one daemon was ready |
//! | `RSX_EXE_FD` | its own binary, where that is not at its path any more; of no use to it |
//!
//! A guardian that executes another binary in its own place inherits `RSX_GUARDIAN_STATE`, see `state`.
//!
//! # Memory
//!
//! When a machine runs out of memory the kernel kills what is worst. The guardian lowers its badness to -900, as
//! dbus-daemon does: it uses next to nothing and everybody needs it; below that is only -1000 (udev, sshd), which means
//! "never", and a guardian gone wrong has to be killable. The daemon takes -500, as dockerd does: it goes before its
//! guardian, because its death costs nothing, and after the apps. Both need CAP_SYS_RESOURCE for that; apps get the
//! value of the shell that the daemon was started from.
#![allow(clippy::disallowed_methods, reason = "the guardian is a process, and part of the shell")]

mod binary;
mod ends;
mod handover;
mod keeper;
mod launch;
mod moment;
mod name;
mod policy;
mod state;
mod store;
mod update;
mod watch;
mod wire;

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::paths::Home;
use crate::sys::fds::{close_inherited, read_memory_file, take_inherited, take_inherited_number};
use crate::sys::limits::{RLimit, lower_badness, raise_nofile};
use crate::sys::lock::LockFile;
use crate::sys::process::Signal;
use crate::sys::signals::{self, Signals};
use crate::sys::system;

use self::binary::Binary;
use self::state::Arrived;
use self::watch::Watch;

pub use self::handover::execute_as_guardian;
pub use self::keeper::{Ended, Keeper, Verdict};
pub use self::update::{rehearsed_line, version_of};

/// Holds the number of the daemon's end of the connection to its guardian.
pub const GUARDIAN_FD: &str = "RSX_GUARDIAN_FD";
/// Holds the number of the lock file's descriptor.
pub const LOCK_FD: &str = "RSX_LOCK_FD";
/// Holds the number of the pipe to the client that waits.
pub const READY_FD: &str = "RSX_READY_FD";
/// Holds how many daemons there were before.
pub const RESTARTS: &str = "RSX_RESTARTS";
/// Holds why an update has failed.
pub const UPDATE_FAILED: &str = "RSX_UPDATE_FAILED";
/// Holds the number of the descriptor that a binary was executed through.
const EXE_FD: &str = "RSX_EXE_FD";
/// Holds the number of the file in memory with the state of the guardian before.
const STATE_FD: &str = "RSX_GUARDIAN_STATE";

/// The exit code of a daemon that leaves for another binary.
pub const HANDOVER: u8 = 79;

/// The exit code of a daemon that cannot start and has written `failed: …` itself: another one would not fare better.
pub const HOPELESS: u8 = 78;

/// The badness of the daemon, see the documentation of this module.
pub const DAEMON_BADNESS: i16 = -500;
const OWN_BADNESS: i16 = -900;

/// The longest state of a guardian before that is read, in bytes.
const MAX_STATE: u64 = 64 << 20;

/// Above this size the file for standard error is emptied at start.
const MAX_STDERR: u64 = 1 << 20;

/// The file that standard error of guardian and daemon is appended to: panics, and what libraries print.
pub fn stderr_file(home: &Home) -> PathBuf {
    home.root().join("daemon.err")
}

/// The guardian's whole life. `exe` is executed as `exe daemon` for each daemon. Returns the exit code.
///
/// Has to be called on the main thread, before there is any other, and before anything was opened.
pub fn run(home: &Home, exe: &Path) -> u8 {
    if let Some(state) = take_inherited(STATE_FD) {
        return go_on(home, exe, &state);
    }
    let mut ready = Ready(take_inherited(READY_FD).map(File::from));
    close_inherited(ready.0.as_ref());
    match set_up(home) {
        Ok(Some(seat)) => Watch::new(seat, Binary::own(exe), ready).run(),
        Ok(None) => {
            ready.fail(&held_by_another(home));
            1
        }
        Err((path, error)) => {
            ready.fail(&format!("cannot use {}: {error}", path.display()));
            1
        }
    }
}

/// Goes on where this process was when it executed this binary.
fn go_on(home: &Home, exe: &Path, state: &OwnedFd) -> u8 {
    match arrive(home, state) {
        Ok((seat, arrived)) => Watch::go_on(seat, Binary::own(exe), arrived).run(),
        Err(error) => {
            // The daemon sees that its connection has ended, goes on alone, and says so.
            Ready(None).fail(&format!("the guardian cannot take over from the one before: {error}"));
            1
        }
    }
}

fn arrive(home: &Home, state: &OwnedFd) -> io::Result<(Seat, watch::Going)> {
    let text = String::from_utf8(read_memory_file(state, MAX_STATE)?).map_err(io::Error::other)?;
    let Arrived { lock, before, policy, daemon, kept } = Arrived::read(&text, take_inherited_number)?;
    let lock = LockFile::from_fd(lock, &home.lock());
    lock.write_text(&format!("{}\n", std::process::id()))?;
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let seat = Seat { lock, signals: block_signals()?, stderr, before };
    Ok((seat, watch::Going { policy, daemon, kept }))
}

/// Everything that the guardian has before its first daemon.
struct Seat {
    lock: LockFile,
    signals: Signals,
    stderr: File,
    /// As they were before the guardian changed its own; daemons start with these.
    before: Before,
}

/// What guardian and daemon change of themselves, as it was before.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    /// The limit of descriptors, where that was changed.
    pub nofile: Option<RLimit>,
    /// The file mode mask.
    pub umask: u32,
    /// The badness, where that was changed.
    pub badness: Option<i16>,
}

/// Becomes a guardian; none if there is one. An error names the file that it was about.
fn set_up(home: &Home) -> Result<Option<Seat>, (PathBuf, io::Error)> {
    let umask = system::set_umask(0o077);
    let at = |path: PathBuf| move |error| (path, error);
    DirBuilder::new().recursive(true).mode(0o700).create(home.root()).map_err(at(home.root().to_owned()))?;
    let lock = LockFile::open(&home.lock()).map_err(at(home.lock()))?;
    if !lock.try_life().map_err(at(home.lock()))? {
        return Ok(None);
    }
    lock.write_text(&format!("{}\n", std::process::id())).map_err(at(home.lock()))?;
    let stderr = open_stderr(&stderr_file(home)).map_err(at(stderr_file(home)))?;
    let signals = become_guardian(&stderr).map_err(at(PathBuf::from("/")))?;
    // Not raising it costs nothing until there are very many apps.
    let nofile = raise_nofile().ok();
    // Where it may not be lowered, the guardian is as likely to be killed as anything else of its size.
    let badness = lower_badness(OWN_BADNESS).ok().flatten();
    Ok(Some(Seat { lock, signals, stderr, before: Before { nofile, umask, badness } }))
}

fn become_guardian(stderr: &File) -> io::Result<Signals> {
    system::leave_session();
    system::become_subreaper()?;
    // The folder that the client was in may be unmounted one day.
    std::env::set_current_dir("/")?;
    let signals = block_signals()?;
    system::redirect_stdio(Some(stderr))?;
    Ok(signals)
}

fn block_signals() -> io::Result<Signals> {
    Signals::block(&[Signal::TERM, Signal::INT, signals::child(), signals::hangup(), signals::user()])
}

fn open_stderr(path: &Path) -> io::Result<File> {
    let file = File::options().append(true).create(true).mode(0o600).open(path)?;
    if file.metadata()?.len() > MAX_STDERR {
        file.set_len(0)?;
    }
    Ok(file)
}

fn held_by_another(home: &Home) -> String {
    let path = home.lock();
    let pid = LockFile::open(&path).and_then(|lock| lock.read_text()).unwrap_or_default();
    format!("another rsx daemon (pid {pid}) holds {}", path.display())
}

/// The client that waits for the first daemon, if one does.
struct Ready(Option<File>);

impl Ready {
    /// One line to the client; to standard error where there is none. It may have left already.
    fn fail(&mut self, why: &str) {
        let line = format!("failed: {}\n", why.replace('\n', " "));
        drop(match self.0.take() {
            Some(mut pipe) => pipe.write_all(line.as_bytes()),
            None => io::stderr().write_all(line.as_bytes()),
        });
    }
}

#[cfg(test)]
mod tests;
