//! The parent that outlives the daemon and keeps its descriptors.
//!
//! `rsx daemon` is two processes. The guardian starts the daemon, starts it again when it dies, reaps what it adopts,
//! and stores descriptors under names; a new daemon takes them back and goes on. It decides nothing about apps.
//!
//! ```text
//! [no daemon] --start--> [daemon runs] --exit code 0, or told to stop--> the guardian leaves
//!      ^                      |
//!      +---- pause, at most 5 s <-- any other end
//! ```
//!
//! # Invariant
//!
//! The guardian waits in one place only, its poller. What a daemon sends is small, and what it does not read is not
//! sent: no daemon can make its guardian hang.
//!
//! # What a daemon inherits
//!
//! | variable | means |
//! |---|---|
//! | `RSX_GUARDIAN_FD` | its end of the connection, see [`Keeper`] |
//! | `RSX_LOCK_FD` | the lock file, kept open so that the lock lives as long as either of them |
//! | `RSX_READY_FD` | the pipe to the client that waits for `ready` or `failed: …`; until one daemon was ready |
//! | `RSX_RESTARTS` | how many daemons there were before |
#![allow(clippy::disallowed_methods, reason = "the guardian is a process, and part of the shell")]

mod keeper;
mod policy;
mod store;
mod watch;
mod wire;

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::paths::Home;
use crate::sys::fds::{close_inherited, take_inherited};
use crate::sys::limits::raise_nofile;
use crate::sys::lock::LockFile;
use crate::sys::process::Signal;
use crate::sys::signals::{self, Signals};
use crate::sys::system;

pub use self::keeper::Keeper;

/// Holds the number of the daemon's end of the connection to its guardian.
pub const GUARDIAN_FD: &str = "RSX_GUARDIAN_FD";
/// Holds the number of the lock file's descriptor.
pub const LOCK_FD: &str = "RSX_LOCK_FD";
/// Holds the number of the pipe to the client that waits.
pub const READY_FD: &str = "RSX_READY_FD";
/// Holds how many daemons there were before.
pub const RESTARTS: &str = "RSX_RESTARTS";

/// The exit code of a daemon that cannot start and has written `failed: …` itself: another one would not fare better.
pub const HOPELESS: u8 = 78;

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
    let mut ready = Ready(take_inherited(READY_FD).map(File::from));
    close_inherited(ready.0.as_ref());
    match set_up(home) {
        Ok(Some(seat)) => watch::Watch::new(seat, exe, ready).run(),
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

/// Everything that the guardian has before its first daemon.
struct Seat {
    lock: LockFile,
    signals: Signals,
    stderr: File,
    /// As they were before the guardian changed its own; daemons start with these.
    before: Before,
}

/// What the guardian changes of itself.
#[derive(Clone, Copy)]
struct Before {
    nofile: Option<crate::sys::limits::RLimit>,
    umask: u32,
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
    Ok(Some(Seat { lock, signals, stderr, before: Before { nofile, umask } }))
}

fn become_guardian(stderr: &File) -> io::Result<Signals> {
    system::leave_session();
    system::become_subreaper()?;
    // The folder that the client was in may be unmounted one day.
    std::env::set_current_dir("/")?;
    let signals = Signals::block(&[Signal::TERM, Signal::INT, signals::child(), signals::hangup(), signals::user()])?;
    system::redirect_stdio(Some(stderr))?;
    Ok(signals)
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

/// stub
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Ended {
    pub pid: u32,
    pub born: u64,
    pub status: crate::sys::process::ExitStatus,
    pub at: u64,
}
