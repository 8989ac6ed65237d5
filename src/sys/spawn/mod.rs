//! Starting a program: everything is prepared before, the child only makes calls, and the step that failed comes back.
//!
//! The child shares the memory of this process until it executes the program (clone(2) with CLONE_VM and CLONE_VFORK,
//! as posix_spawn(3) does it): nothing is copied, however large this process is, and the child can leave the failing
//! step in a variable of ours. It runs on a stack of its own, and all signals are blocked meanwhile, so that no
//! handler of this process runs in it.

mod bay;
mod child;
mod error;
mod gate;
mod prepare;

use std::ffi::OsString;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};

use crate::sys::limits::RLimit;
use crate::sys::process::{PidFd, Process, wait_on};

pub use self::bay::Bay;
pub use self::error::{Detail, SpawnError, Step};
pub use self::gate::Gate;

/// What is started, and how.
#[derive(Debug)]
pub struct Launch {
    /// The program, absolute.
    pub program: PathBuf,
    /// Its arguments, the first being its own name.
    pub argv: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// Its standard input.
    pub stdin: OwnedFd,
    /// Its standard output.
    pub stdout: OwnedFd,
    /// Its standard error.
    pub stderr: OwnedFd,
    /// The limit of descriptors that it gets, where this process has changed its own.
    pub nofile: Option<RLimit>,
    /// The file mode mask that it gets, where this process has changed its own.
    pub umask: Option<u32>,
    /// The badness that it gets, where this process has changed its own (proc_pid_oom_score_adj(5)).
    pub oom_score_adj: Option<i16>,
    /// Descriptors that it keeps beside the three, under the same numbers. Empty for apps.
    pub keep: Vec<OwnedFd>,
    /// Sockets that it gets from descriptor 3 on, with LISTEN_FDS and LISTEN_PID in its environment (sd_listen_fds(3)). The
    /// numbers of `keep` have to be above theirs.
    pub listen: Vec<OwnedFd>,
    /// Whether it gets its own number as WATCHDOG_PID (sd_watchdog_enabled(3)).
    pub watchdog_pid: bool,
    /// Where the child itself writes down that it is there, just before it executes the program.
    pub birth: Option<Birth>,
}

/// A line that a child writes before it executes its program: whoever started it may die in just that moment.
#[derive(Debug)]
pub struct Birth {
    /// Opened for appending.
    pub file: OwnedFd,
    /// The line with three runs of `#`, into which the child writes its number and the moment of its birth by both
    /// clocks of [`Moment`](crate::sys::moment::Moment), with blanks before them.
    pub line: Vec<u8>,
    /// The line that takes it back: the child finds that its parent has died, and ends.
    pub undone: Vec<u8>,
}

/// Starts a program in a session of its own. When this returns, the program is being executed.
///
/// # Errors
///
/// The step that failed, what it was about, and why; nothing is left behind then.
pub fn spawn(launch: &Launch) -> Result<Process, SpawnError> {
    spawn_through(launch, None, None)
}

/// As [`spawn`], or [`spawn_captured`] where there is a gate, at the same cost however many descriptors this process has:
/// what the child needs goes through the bay.
///
/// # Errors
///
/// As theirs.
pub fn spawn_through_bay(launch: &Launch, gate: Option<&Gate>, bay: &mut Bay) -> Result<Process, SpawnError> {
    if let Some(gate) = gate {
        gate.check()?;
    }
    spawn_through(launch, gate, Some(bay))
}

/// Starts a program whose calls of `bind` and `listen` are answered by somebody else, who gets the listener of them
/// through the gate ([`crate::sys::seccomp`]).
///
/// Meanwhile this thread stands still: another one, or another process, has to take the listener and answer the gate.
///
/// # Errors
///
/// As [`spawn`]; and [`Step::Capture`] with EBUSY inside of another program's capture, ENOSYS or EINVAL where the kernel
/// cannot do it, ENOSYS also when the listener was lost on its way, and ETIMEDOUT when nobody answered.
pub fn spawn_captured(launch: &Launch, gate: &Gate) -> Result<Process, SpawnError> {
    gate.check()?;
    spawn_through(launch, Some(gate), None)
}

fn spawn_through(launch: &Launch, gate: Option<&Gate>, bay: Option<&mut Bay>) -> Result<Process, SpawnError> {
    let mut prepared = prepare::Prepared::new(launch, gate)?;
    let report = child::Report::default();
    let stack = child::Stack::new().map_err(|error| SpawnError::new(Step::Prepare, None, error))?;
    let bay = bay.filter(|bay| prepared.fits_in(bay));
    let cloned = match bay {
        None => clone_blocked(&prepared.plan(&report), &stack),
        Some(bay) => {
            let cloned =
                prepared.lie_in(launch, gate, bay).and_then(|()| clone_blocked(&prepared.plan(&report), &stack));
            bay.clear();
            cloned
        }
    };
    let process = cloned.map_err(|error| SpawnError::new(Step::Clone, None, error))?;
    let Some((step, errno)) = report.failure() else { return Ok(Process::new(process)) };
    // It has called _exit already: this wait is as short as the kernel's own tidying up.
    let reaped = wait_on(&process, libc::WEXITED);
    debug_assert!(reaped.is_ok(), "a child that failed is ours to reap: {reaped:?}");
    Err(SpawnError::of_child(launch, step, errno))
}

/// clone(2) with all signals blocked in this thread.
fn clone_blocked(plan: &child::Plan<'_>, stack: &child::Stack) -> io::Result<PidFd> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let cloned = clone(plan, stack);
    before.thread_set_mask()?;
    cloned
}

fn clone(plan: &child::Plan<'_>, stack: &child::Stack) -> io::Result<PidFd> {
    let files = if plan.alone.is_some() { libc::CLONE_FILES } else { 0 };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | files | libc::SIGCHLD;
    let mut pidfd: libc::c_int = -1;
    let argument = std::ptr::from_ref(plan).cast_mut().cast::<libc::c_void>();
    // SAFETY: the stack is ours, aligned, and lives longer than the child uses it, because CLONE_VFORK suspends this
    // thread until the child has executed or ended; so do `plan` and `pidfd`. The child's function makes only calls
    // that are allowed between vfork and exec (see `child::run`) and never returns into our frames.
    let pid = Errno::result(unsafe { libc::clone(child::run, stack.top(), flags, argument, &raw mut pidfd) })?;
    // SAFETY: with CLONE_PIDFD the kernel has stored a new descriptor there that nobody else knows.
    let fd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(PidFd::from_clone(fd, pid))
}

#[cfg(test)]
mod tests;
