//! Processes of a home: found by their mark, watched by pidfd.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fmt, fs};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// One process, whatever becomes of its number.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) pid: u32,
    /// None: it had ended and was reaped before it could be watched.
    fd: Option<OwnedFd>,
}

impl Watched {
    /// The process that has this number now.
    pub(crate) fn new(pid: u32) -> Watched {
        let raw = Pid::from_raw(pid.cast_signed()).unwrap();
        Watched { pid, fd: pidfd_open(raw, PidfdFlags::empty()).ok() }
    }

    /// Waits for its end, so long; whether it came.
    pub(crate) fn has_ended_within(&self, limit: Duration) -> bool {
        let Some(fd) = &self.fd else { return true };
        let timeout = PollTimeout::try_from(limit.as_millis()).unwrap();
        poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout).unwrap() > 0
    }

    /// Waits for its end, which has to come.
    #[track_caller]
    pub(crate) fn ends(&self) {
        assert!(self.has_ended_within(super::LIMIT), "process {} goes on", self.pid);
    }

    /// Whether it lives.
    pub(crate) fn lives(&self) -> bool {
        !self.has_ended_within(Duration::ZERO)
    }

    /// Sends a signal, as kill(1) does. One that has ended is no error.
    pub(crate) fn kill(&self, signal: &str) {
        let signal = match signal {
            "KILL" => Signal::KILL,
            "TERM" => Signal::TERM,
            "INT" => Signal::INT,
            "STOP" => Signal::STOP,
            "CONT" => Signal::CONT,
            "USR1" => Signal::USR1,
            "USR2" => Signal::USR2,
            other => panic!("no test sends SIG{other} yet"),
        };
        if let Some(fd) = &self.fd {
            let _ = pidfd_send_signal(fd, signal);
        }
    }
}

/// A folder, watched for changes of its entries (inotify(7)).
pub(crate) struct Folder {
    inotify: Inotify,
}

impl Folder {
    pub(crate) fn new(path: &Path) -> Folder {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC).unwrap();
        inotify
            .add_watch(path, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MODIFY)
            .unwrap();
        Folder { inotify }
    }

    /// Waits for a change; whether it came.
    pub(crate) fn changes_until(&self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left.as_millis()).unwrap();
        poll(&mut [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)], timeout).unwrap() > 0
    }
}

/// A process that carries a mark.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) command: String,
    /// Whether it is a guardian or a daemon.
    pub(crate) is_rsx: bool,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`, child of {}", self.pid, self.command, self.parent)
    }
}

/// All living processes that were executed with this assignment in their environment, but for children of this one.
pub(super) fn marked(mark: &str) -> Vec<Found> {
    let own = std::process::id();
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| look_at(pid, mark)).filter(|found| found.parent != own).collect()
}

/// None: it has not the mark, or has ended meanwhile.
fn look_at(pid: u32, mark: &str) -> Option<Found> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    if !environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()) {
        return None;
    }
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ");
    // Another release of it is another file.
    let is_rsx = words == "rsx daemon" || words.ends_with("/rsx daemon");
    Some(Found { pid, parent: parent(pid)?, command: words, is_rsx })
}

/// The fourth field of stat, behind the name, which may hold anything (proc_pid_stat(5)).
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The children of a process that have ended and were not reaped.
pub(crate) fn zombies_of(of: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next().map(str::to_owned));
        state.as_deref() == Some("Z") && parent(*pid) == Some(of)
    })
    .collect()
}

/// The environment that a process was executed with (proc_pid_environ(5)).
#[track_caller]
pub(crate) fn environment_of(pid: u32) -> BTreeMap<String, String> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.split('\0').filter_map(|entry| entry.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// The arguments that a process was executed with (proc_pid_cmdline(5)).
#[track_caller]
pub(crate) fn command_of(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.strip_suffix('\0').unwrap_or(&text).split('\0').map(str::to_owned).collect()
}
