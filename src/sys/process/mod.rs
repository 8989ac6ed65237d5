//! Processes by descriptor (pidfd_open(2)): a number that the kernel has reused is never signalled.
//!
//! A [`PidFd`] means one process for ever. A [`Process`] is one that this process started: it can be waited for, and
//! its number stays its own until it is reaped, which makes its process group addressable that long and no longer. Or it
//! is one that an earlier daemon started ([`Process::adopt`]): then somebody else reaps it and tells how it ended.

mod exit_info;
mod kept;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};

use crate::sys::moment::Moment;
use crate::sys::poller::readable_within;
use crate::sys::proc_table::StatReader;
use crate::sys::process::exit_info::exit_info;

pub use self::kept::born;

/// The words that this layer speaks of processes in.
pub use crate::spec::{ExitStatus, Signal};

/// Means one thread and not its process (pidfd_open(2), Linux 6.9).
pub(super) const PIDFD_THREAD: libc::c_int = libc::O_EXCL;

/// One process, whatever becomes of its number.
#[derive(Debug)]
pub struct PidFd {
    fd: OwnedFd,
    pid: libc::pid_t,
}

/// A process that this process started and has to reap, or has adopted.
#[derive(Debug)]
pub struct Process {
    pidfd: PidFd,
    /// Held while the number is used, so that no other thread reaps in between.
    number: Mutex<Number>,
    kin: Kin,
}

/// Whose child a process is.
#[derive(Debug)]
enum Kin {
    /// Ours.
    Child,
    /// Somebody else's. `start` is when it started, or the earliest that something it left can have.
    Adopted { start: u64, status: OnceLock<ExitStatus>, held: Held },
}

/// Whether the descriptor of an adopted process is a pidfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    PidFd,
    /// It had ended and been reaped before anybody held it; the descriptor is always readable.
    StandIn,
}

/// What tells the processes of a run from others, once its main process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    pub(super) pid: libc::pid_t,
    /// For an adopted one, whose number may be somebody else's by now.
    pub(super) start: Option<u64>,
}

/// The process that started this one, as long as it lives.
#[derive(Debug)]
pub struct Parent(PidFd);

/// Whose the number of a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    /// The process's, alive or zombie.
    Ours,
    /// The kernel may have given it to somebody else.
    Free,
}

impl PidFd {
    /// The process that has this number now. The caller compares what it knows of the process (its start time) after
    /// the call: only then it is certain which one it got.
    pub(super) fn open(pid: libc::pid_t) -> io::Result<PidFd> {
        PidFd::open_with(pid, 0)
    }

    pub(super) fn open_with(pid: libc::pid_t, flags: libc::c_int) -> io::Result<PidFd> {
        // SAFETY: pidfd_open takes two integers and touches no memory of ours.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) })?;
        let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made this descriptor for us, nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(PidFd { fd, pid })
    }

    /// The thread that has this number now, with its own table of descriptors; its process before Linux 6.9.
    pub(super) fn open_thread(thread: libc::pid_t) -> io::Result<PidFd> {
        match PidFd::open_with(thread, PIDFD_THREAD) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => PidFd::open(process_of_thread(thread)?),
            opened => opened,
        }
    }

    /// Another descriptor of what this process has open under this number (pidfd_getfd(2)).
    pub(super) fn duplicate(&self, number: RawFd) -> io::Result<OwnedFd> {
        // SAFETY: pidfd_getfd takes an open descriptor, a number and flags, and touches no memory of ours.
        let made = unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.fd.as_raw_fd(), number, 0) };
        let made = RawFd::try_from(Errno::result(made)?).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made this descriptor for us, nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(made) })
    }

    /// Its number, to find it in /proc: what was read there counts only if it has not ended afterwards.
    pub(super) fn number(&self) -> libc::pid_t {
        self.pid
    }

    /// Wraps what clone(2) with CLONE_PIDFD returned.
    pub(super) fn from_clone(fd: OwnedFd, pid: libc::pid_t) -> PidFd {
        PidFd { fd, pid }
    }

    /// The descriptor; readable from the end of the process on.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Sends a signal (pidfd_send_signal(2)). A process that is gone already is no error.
    ///
    /// # Errors
    ///
    /// EPERM for a process of another user.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let null = std::ptr::null_mut::<libc::siginfo_t>();
        // SAFETY: the descriptor is a pidfd and open; a null siginfo means "as kill(2) would", flags are 0.
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.fd.as_raw_fd(), signal.number(), null, 0) };
        gone_is_fine(Errno::result(sent))
    }

    /// Waits until the process has ended, at most this long; whether it has.
    ///
    /// # Errors
    ///
    /// Whatever poll(2) says.
    pub fn has_ended_within(&self, timeout: Duration) -> io::Result<bool> {
        readable_within(&self.fd, timeout)
    }

    /// Its number, for showing only.
    pub fn display_pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Needed by tokio's `AsyncFd`.
impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Parent {
    /// Our parent, if it is the process that made the pair of sockets of which this is one end (unix(7): SO_PEERCRED).
    ///
    /// # Errors
    ///
    /// `NotFound` when that process is not our parent, because it has ended or somebody else made the pair.
    pub fn who_made(pair: &impl AsFd) -> io::Result<Parent> {
        let pid = getsockopt(pair, sockopt::PeerCredentials)?.pid();
        let parent = PidFd::open(pid)?;
        // Asked last: a parent that is one still has been the owner of its number all the time.
        if nix::unistd::getppid().as_raw() == pid { Ok(Parent(parent)) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Its number, which is its own as long as it has not ended.
    pub(super) fn pid(&self) -> libc::pid_t {
        self.0.pid
    }

    /// Whether it has ended, and everything below it has got another parent.
    ///
    /// # Errors
    ///
    /// Whatever poll(2) says.
    pub fn has_ended(&self) -> io::Result<bool> {
        self.0.has_ended_within(Duration::ZERO)
    }

    /// Any process in the place of our parent, for tests.
    #[cfg(test)]
    pub(super) fn of(process: PidFd) -> Parent {
        Parent(process)
    }
}

impl Process {
    pub(super) fn new(pidfd: PidFd) -> Process {
        Process { pidfd, number: Mutex::new(Number::Ours), kin: Kin::Child }
    }

    /// Takes over a process that an earlier daemon started. `pidfd` is what it has left of it; without one the process
    /// is looked for by its number, and known by having started before `born`: a number that was given again was given
    /// later. `None`: it has ended and nothing of it is left to hold on to; see [`Process::gone`].
    ///
    /// # Errors
    ///
    /// No descriptor left, a machine without /proc.
    pub fn adopt(pid: u32, born: Moment, pidfd: Option<OwnedFd>) -> io::Result<Option<Process>> {
        let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
        let mut stat = StatReader::new()?;
        let held = match pidfd {
            Some(fd) => Some(PidFd { fd, pid }),
            None => match PidFd::open(pid) {
                Ok(pidfd) => stat.read(pid).is_some_and(|row| row.start <= born.to_ticks()).then_some(pidfd),
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => None,
                Err(error) => return Err(error),
            },
        };
        let Some(pidfd) = held else { return Ok(None) };
        // Of a process that has been reaped, the number tells nothing.
        let own = stat.read(pid).filter(|row| row.start <= born.to_ticks());
        let start = own.map_or(born.to_ticks(), |row| row.start);
        let kin = Kin::Adopted { start, status: OnceLock::new(), held: Held::PidFd };
        Ok(Some(Process { pidfd, number: Mutex::new(Number::Free), kin }))
    }

    /// In the place of a process that has ended before it could be adopted: what it has left can be looked for.
    ///
    /// # Errors
    ///
    /// No descriptor left.
    pub fn gone(pid: u32, born: Moment) -> io::Result<Process> {
        let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
        let flags = nix::sys::eventfd::EfdFlags::EFD_CLOEXEC;
        let fd = nix::sys::eventfd::EventFd::from_value_and_flags(1, flags)?.into();
        let kin = Kin::Adopted { start: born.to_ticks(), status: OnceLock::new(), held: Held::StandIn };
        Ok(Process { pidfd: PidFd { fd, pid }, number: Mutex::new(Number::Free), kin })
    }

    /// Takes note of how an adopted process ended, as its parent has told.
    pub fn tell(&self, ended: ExitStatus) {
        if let Kin::Adopted { status, .. } = &self.kin {
            // The first to tell was right.
            let _ = status.set(ended);
        }
    }

    /// Whether it is an adopted one that has ended, and that its parent has not taken note of yet.
    pub fn is_unreaped(&self) -> bool {
        let Kin::Adopted { start, held: Held::PidFd, .. } = &self.kin else { return false };
        let row = StatReader::new().ok().and_then(|mut stat| stat.read(self.pidfd.pid));
        row.is_some_and(|row| row.start == *start && row.is_zombie)
    }

    /// Whether it had ended before anybody could hold it.
    pub fn was_gone(&self) -> bool {
        matches!(&self.kin, Kin::Adopted { held: Held::StandIn, .. })
    }

    /// Whether somebody else has to tell how it ended.
    pub fn is_adopted(&self) -> bool {
        matches!(self.kin, Kin::Adopted { .. })
    }

    /// A child that this process had before it executed the program that it is now: children and descriptors stay over
    /// execve(2). `pidfd` has to be the child's, and nobody may have reaped it.
    pub fn from_before_exec(pidfd: OwnedFd, pid: u32) -> Option<Process> {
        let pid = libc::pid_t::try_from(pid).ok()?;
        Some(Process::new(PidFd { fd: pidfd, pid }))
    }

    /// The descriptor; readable from the end of the process on.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.pidfd()
    }

    /// Another descriptor of what it has open under this number (pidfd_getfd(2)).
    ///
    /// # Errors
    ///
    /// EPERM where it may not be looked into, EBADF, and ESRCH if it has ended.
    pub fn descriptor(&self, number: u32) -> io::Result<OwnedFd> {
        match self.kin {
            Kin::Child | Kin::Adopted { held: Held::PidFd, .. } => {
                self.pidfd.duplicate(RawFd::try_from(number).map_err(io::Error::other)?)
            }
            Kin::Adopted { held: Held::StandIn, .. } => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }

    /// Signals the main process. One that has ended is no error.
    ///
    /// # Errors
    ///
    /// EPERM, if it has taken the rights of another user.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.kin {
            Kin::Child | Kin::Adopted { held: Held::PidFd, .. } => self.pidfd.signal(signal),
            Kin::Adopted { held: Held::StandIn, .. } => Ok(()),
        }
    }

    /// Signals its process group: itself and every descendant that did not leave the group. After [`Process::reap`]
    /// nothing is sent, because the number may be somebody else's by then; nor ever to that of an adopted one, whose
    /// members have to be signalled one by one.
    ///
    /// # Errors
    ///
    /// EPERM, if none of them may be signalled.
    pub fn signal_group(&self, signal: Signal) -> io::Result<()> {
        let number = self.lock_number();
        match *number {
            // SAFETY: kill takes two integers. The number is this process's own as long as it is not reaped, and the
            // lock keeps other threads from reaping it now.
            Number::Ours => gone_is_fine(Errno::result(unsafe { libc::kill(-self.pidfd.pid, signal.number()) })),
            Number::Free => Ok(()),
        }
    }

    /// How it ended, without reaping it: nothing about it is lost if this process dies before it wrote that down. `None`:
    /// it lives, or is an adopted one that its parent has not told of yet.
    ///
    /// # Errors
    ///
    /// ECHILD, if it has been reaped.
    pub fn try_status(&self) -> io::Result<Option<ExitStatus>> {
        match &self.kin {
            Kin::Child => wait_on(&self.pidfd, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT),
            Kin::Adopted { status, held, .. } => match (status.get(), held) {
                (Some(status), _) => Ok(Some(*status)),
                (None, Held::PidFd) => Ok(exit_info(&self.pidfd)),
                (None, Held::StandIn) => Ok(None),
            },
        }
    }

    /// Lets the kernel forget it. Does nothing while it is alive, nor to an adopted one, which its parent reaps.
    ///
    /// # Errors
    ///
    /// ECHILD, if it has been reaped already.
    pub fn reap(&self) -> io::Result<Option<ExitStatus>> {
        if self.is_adopted() {
            return self.try_status();
        }
        let mut number = self.lock_number();
        let status = wait_on(&self.pidfd, libc::WEXITED | libc::WNOHANG)?;
        if status.is_some() {
            *number = Number::Free;
        }
        Ok(status)
    }

    /// Waits for the end, at most this long; whether it has come.
    ///
    /// # Errors
    ///
    /// Whatever poll(2) says.
    pub fn has_ended_within(&self, timeout: Duration) -> io::Result<bool> {
        self.pidfd.has_ended_within(timeout)
    }

    /// A second descriptor of the same process, to be kept elsewhere.
    ///
    /// # Errors
    ///
    /// EMFILE.
    pub fn try_clone_pidfd(&self) -> io::Result<OwnedFd> {
        self.pidfd.fd.try_clone()
    }

    /// Its number, for showing only.
    pub fn display_pid(&self) -> u32 {
        self.pidfd.display_pid()
    }

    /// Its number, while it is certainly its own: until it is reaped, or, an adopted one, has ended.
    pub(super) fn own_pid(&self) -> Option<libc::pid_t> {
        match (&self.kin, *self.lock_number()) {
            (Kin::Child, Number::Ours) => Some(self.pidfd.pid),
            (Kin::Child, Number::Free) => None,
            (Kin::Adopted { .. }, _) => {
                let lives = self.has_ended_within(Duration::ZERO).is_ok_and(|ended| !ended);
                lives.then_some(self.pidfd.pid)
            }
        }
    }

    /// What leads to the rest of its tree when it has ended; none once it is reaped.
    pub fn trace(&self) -> Option<Trace> {
        match &self.kin {
            Kin::Child => self.own_pid().map(|pid| Trace { pid, start: None }),
            Kin::Adopted { start, .. } => Some(Trace { pid: self.pidfd.pid, start: Some(*start) }),
        }
    }

    /// What is behind the lock is one word; a panic elsewhere cannot have left it half written.
    fn lock_number(&self) -> MutexGuard<'_, Number> {
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Needed by tokio's `AsyncFd`.
impl AsRawFd for Process {
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}

/// Reaps every child of this process that has ended, except those of `own`: orphans that it has adopted. Each is told
/// to `ended` with its number before it is reaped, so that the number is not somebody else's yet.
///
/// When one of `own` has ended it may come first; then the rest is left for a call after it was reaped.
///
/// # Errors
///
/// None that a caller could mend.
pub fn reap_adopted(own: &[&Process], mut ended: impl FnMut(u32, ExitStatus)) -> io::Result<()> {
    loop {
        // Looked at first, so that the status of one of `own`, ending just now, is not lost here.
        match wait_id(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) {
            Ok(Some((pid, _))) if own.iter().any(|process| process.own_pid() == Some(pid)) => return Ok(()),
            Ok(Some((pid, status))) => {
                let number = pid.unsigned_abs();
                ended(number, status);
                wait_id(libc::P_PID, number, libc::WEXITED | libc::WNOHANG)?;
            }
            Ok(None) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// The number of the process that a thread belongs to.
pub(super) fn process_of_thread(thread: libc::pid_t) -> io::Result<libc::pid_t> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status"))?;
    let number = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    number.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// ESRCH says that what should end has ended.
fn gone_is_fine<T>(result: nix::Result<T>) -> io::Result<()> {
    match result {
        Ok(_) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// waitid(2) on a pidfd. nix's own drops real-time signals, hence by hand.
pub(super) fn wait_on(pidfd: &PidFd, flags: libc::c_int) -> io::Result<Option<ExitStatus>> {
    let id = libc::id_t::try_from(pidfd.fd.as_raw_fd()).map_err(io::Error::other)?;
    wait_id(libc::P_PIDFD, id, flags).map(|found| found.map(|(_, status)| status))
}

/// waitid(2): the number of the process found and how it ended.
pub(super) fn wait_id(
    kind: libc::idtype_t,
    id: libc::id_t,
    flags: libc::c_int,
) -> io::Result<Option<(libc::pid_t, ExitStatus)>> {
    // SAFETY: siginfo_t is plain data; all zeros is a valid value.
    let mut found: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `found` is ours and large enough; the other arguments are integers.
        match Errno::result(unsafe { libc::waitid(kind, id, &raw mut found, flags) }) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // SAFETY: waitid fills the fields of SIGCHLD, or leaves our zeros where it found nobody.
    let pid = unsafe { found.si_pid() };
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: as above.
    let value = unsafe { found.si_status() };
    let by_signal = |core| {
        let signal = Signal::from_number(value).ok_or(Errno::EINVAL)?;
        Ok::<_, Errno>(ExitStatus::Signal { signal, core })
    };
    let status = match found.si_code {
        libc::CLD_KILLED => by_signal(false)?,
        libc::CLD_DUMPED => by_signal(true)?,
        // Only ends are asked for, so it is CLD_EXITED; the kernel keeps 8 bits of the code.
        _ => ExitStatus::Code(u8::try_from(value & 0xff).unwrap_or(u8::MAX)),
    };
    Ok(Some((pid, status)))
}
