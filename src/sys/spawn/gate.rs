//! The gate that a captured program passes before it is executed.
//!
//! The child installs the filter, sends the filter's listener away, and asks `listen(-1, 0)`, a question that only the
//! holder of that listener can answer. EBADF means that the listener is safe and the program may be executed; ENOSYS is
//! the kernel's answer when nobody holds the listener any more: a program executed then could never bind again.
//!
//! Calls made in the child, all async-signal-safe (signal-safety(7)) or direct system calls: alarm, sigprocmask, seccomp,
//! prctl, sendmsg, close, listen. No allocation, no lock, no panic.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;

use crate::sys::fds::MAX_BYTES;
use crate::sys::seccomp;
use crate::sys::spawn::child::Report;
use crate::sys::spawn::{SpawnError, Step};

/// How the listener of a captured program's filter leaves the child.
#[derive(Debug)]
pub struct Gate {
    /// A connected end of a [`crate::sys::fds::Channel`]; the listener arrives at the other one.
    pub channel: OwnedFd,
    /// The message that carries the listener: which run it belongs to, in the words of whoever takes it.
    pub message: Vec<u8>,
    /// How long the child waits for the answer, in whole seconds, at least one.
    pub limit: Duration,
}

/// What the child needs of a [`Gate`].
#[derive(Clone, Copy)]
pub(super) struct GatePlan<'a> {
    /// Above 2.
    pub(super) channel: RawFd,
    /// Not empty.
    pub(super) message: &'a [u8],
    /// Not zero.
    pub(super) seconds: libc::c_uint,
}

impl Gate {
    /// What can be wrong before there is a child.
    pub(super) fn check(&self) -> Result<(), SpawnError> {
        let wrong = |error| Err(SpawnError::new(Step::Capture, None, error));
        if !seccomp::IS_SUPPORTED {
            // The filter would let everything pass, the gate included.
            return wrong(Errno::ENOSYS.into());
        }
        if self.message.is_empty() || self.message.len() > MAX_BYTES {
            return wrong(io::Error::new(io::ErrorKind::InvalidInput, "the gate's message is empty or too long"));
        }
        Ok(())
    }

    /// alarm(2) counts in seconds, and 0 would mean never.
    pub(super) fn seconds(&self) -> libc::c_uint {
        libc::c_uint::try_from(self.limit.as_secs()).unwrap_or(libc::c_uint::MAX).max(1)
    }
}

/// Room for one descriptor in a control message, aligned as the kernel's header of one.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    fd: RawFd,
    _padding: RawFd,
}

/// Installs the filter and waits at the gate; false with the reason in errno.
pub(super) fn pass(gate: &GatePlan<'_>, report: &Report) -> bool {
    // If the alarm ends this child, nobody comes back to say so.
    report.leave(Step::Capture, libc::ETIMEDOUT);
    // SAFETY: alarm takes an integer and cannot fail. Timers are the child's own (fork(2)).
    unsafe { libc::alarm(gate.seconds) };
    if !unblock_alarm() {
        return false;
    }
    let listener = install();
    if listener < 0 {
        return false;
    }
    let is_sent = send(gate, listener);
    let errno = Errno::last_raw();
    // SAFETY: the listener was made above, and the child owns it. One more holder would keep its own calls waiting when
    // all others are gone.
    unsafe { libc::close(listener) };
    if !is_sent {
        Errno::set_raw(errno);
        return false;
    }
    // SAFETY: two integers; -1 is no descriptor, so whatever happens, nothing listens.
    unsafe { libc::syscall(libc::SYS_listen, -1, 0) };
    let answer = Errno::last_raw();
    // SAFETY: as above; the program must not inherit the alarm.
    unsafe { libc::alarm(0) };
    if answer == libc::EBADF {
        report.clear();
        return true;
    }
    Errno::set_raw(answer);
    false
}

/// The alarm has its default by now, and that ends the child.
fn unblock_alarm() -> bool {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is ours; the call initialises it.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised above.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGALRM) };
    // SAFETY: the set is read only.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut()) == 0 }
}

/// The listener of the filter, or -1.
///
/// Without CAP_SYS_ADMIN the kernel demands no_new_privs (seccomp(2)); asked for only then, because it takes sudo and
/// file capabilities from the program. WAIT_KILLABLE_RECV came with Linux 5.19.
fn install() -> RawFd {
    let preferred = seccomp::INSTALL_FLAGS | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    for flags in [preferred, seccomp::INSTALL_FLAGS] {
        let mut listener = try_install(flags);
        if listener < 0 && Errno::last_raw() == libc::EACCES {
            // SAFETY: integers only; the flag is this thread's, which is the whole child.
            if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } < 0 {
                return -1;
            }
            listener = try_install(flags);
        }
        if listener >= 0 || Errno::last_raw() != libc::EINVAL {
            return listener;
        }
    }
    -1
}

fn try_install(flags: libc::c_ulong) -> RawFd {
    let filter = seccomp::FILTER.as_ptr().cast_mut();
    let program = libc::sock_fprog { len: seccomp::FILTER_LENGTH, filter };
    let operation = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the program and its instructions are read only and outlive the call. Without TSYNC the filter holds for the
    // calling thread alone, which is the whole child, although its memory is shared.
    let made = unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const program) };
    RawFd::try_from(made).unwrap_or(-1)
}

fn send(gate: &GatePlan<'_>, listener: RawFd) -> bool {
    let mut part = libc::iovec { iov_base: gate.message.as_ptr().cast_mut().cast(), iov_len: gate.message.len() };
    let rights = size_of::<libc::cmsghdr>() + size_of::<RawFd>();
    // SAFETY: all three are plain data; all zeros is a valid value.
    let mut control: Control = unsafe { std::mem::zeroed() };
    control.header.cmsg_len = rights as _;
    control.header.cmsg_level = libc::SOL_SOCKET;
    control.header.cmsg_type = libc::SCM_RIGHTS;
    control.fd = listener;
    // SAFETY: msghdr is plain data; all zeros is a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = rights as _;
    // SAFETY: the header points to buffers with their true lengths, which outlive the call and are only read.
    unsafe { libc::sendmsg(gate.channel, &raw const header, libc::MSG_NOSIGNAL) >= 0 }
}
