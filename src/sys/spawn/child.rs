//! What happens between clone and exec, in the child, on borrowed memory.
//!
//! Calls made here, all async-signal-safe (signal-safety(7)) or direct system calls: sigaction, setsid, prlimit,
//! umask, open, write, close, chdir, dup2, fcntl, close_range, getpid, clock_gettime, sigprocmask, execve, _exit; those
//! of a captured program are in `gate.rs`. No allocation, no lock, no panic: another thread of this process may hold any
//! lock at this moment.

use std::ffi::CStr;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use crate::sys::spawn::Step;
use crate::sys::spawn::gate::{self, GatePlan};

/// Frames of this module are small; the rest is for libc and for builds without optimisation.
const STACK: usize = 64 * 1024;
/// Below the stack: touching it ends the child instead of corrupting this process. A multiple of every page size.
const GUARD: usize = 64 * 1024;

/// What the child works through, prepared by its parent.
pub(super) struct Plan<'a> {
    pub(super) program: &'a CStr,
    pub(super) cwd: &'a CStr,
    /// Null-terminated.
    pub(super) argv: &'a [*const libc::c_char],
    /// Null-terminated.
    pub(super) env: &'a [*const libc::c_char],
    /// All above the numbers that they get, as the next ones.
    pub(super) stdio: [RawFd; 3],
    /// They get the numbers behind those three.
    pub(super) listen: &'a [RawFd],
    /// Where the child writes its number, in digits with a NUL behind them, and from which byte on; zeros so far, and shared with
    /// the parent, which does not look at it.
    pub(super) own_pids: &'a [(usize, Vec<AtomicU8>)],
    /// Ascending.
    pub(super) keep: &'a [RawFd],
    /// Where the child shares the table of descriptors: the first that it needs no copy of. Until it has a table of its own
    /// it opens and closes nothing.
    pub(super) alone: Option<libc::c_uint>,
    pub(super) nofile: Option<libc::rlimit>,
    pub(super) umask: Option<libc::mode_t>,
    pub(super) oom_score_adj: Option<&'a CStr>,
    pub(super) birth: Option<&'a Birth>,
    /// For a program whose `bind` and `listen` are captured.
    pub(super) gate: Option<GatePlan<'a>>,
    pub(super) report: &'a Report,
}

/// The line that the child writes about itself.
pub(super) struct Birth {
    pub(super) file: RawFd,
    /// Shared with the parent, which does not look at it any more.
    pub(super) line: Vec<AtomicU8>,
    /// Where its number and the two moments go.
    pub(super) holes: [Range<usize>; 3],
    /// What it writes when it ends without having executed anything.
    pub(super) undone: Vec<u8>,
    /// Who reads the line, or has a successor that does.
    pub(super) parent: libc::pid_t,
}

/// Where the child leaves what went wrong; read by the parent when the child has executed or ended.
#[derive(Default)]
pub(super) struct Report {
    step: AtomicI32,
    errno: AtomicI32,
}

impl Report {
    /// The failing step and its error; none when the program was executed.
    pub(super) fn failure(&self) -> Option<(Step, Errno)> {
        let step = match self.step.load(Ordering::Acquire) {
            0 => return None,
            1 => Step::Session,
            2 => Step::Limits,
            3 => Step::OomScore,
            4 => Step::Chdir,
            5 => Step::Descriptors,
            7 => Step::Capture,
            _ => Step::Exec,
        };
        Some((step, Errno::from_raw(self.errno.load(Ordering::Acquire))))
    }

    pub(super) fn leave(&self, step: Step, errno: i32) {
        let number = match step {
            Step::Session => 1,
            Step::Limits => 2,
            Step::OomScore => 3,
            Step::Chdir => 4,
            Step::Descriptors => 5,
            Step::Capture => 7,
            // The first three never happen in the child.
            Step::Prepare | Step::Pipe | Step::Clone | Step::Exec => 6,
        };
        self.errno.store(errno, Ordering::Release);
        self.step.store(number, Ordering::Release);
    }

    /// Takes back what was left in case the child dies on the way.
    pub(super) fn clear(&self) {
        self.step.store(0, Ordering::Release);
    }
}

/// The child's stack, with a guard below it.
pub(super) struct Stack {
    base: NonNull<libc::c_void>,
}

impl Stack {
    pub(super) fn new() -> io::Result<Stack> {
        let length = NonZeroUsize::MIN.saturating_add(GUARD + STACK - 1);
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_STACK;
        // SAFETY: a new anonymous mapping, at an address of the kernel's choice, overlaps nothing of ours.
        let base = unsafe { mmap_anonymous(None, length, protection, flags) }?;
        let stack = Stack { base };
        // SAFETY: the range is the lower part of the mapping just made, and nothing points into it yet.
        unsafe { mprotect(stack.base, GUARD, ProtFlags::PROT_NONE) }?;
        Ok(stack)
    }

    /// Its upper end: stacks grow downwards on all architectures that rsx is built for.
    pub(super) fn top(&self) -> *mut libc::c_void {
        // SAFETY: one past the end of the same mapping.
        unsafe { self.base.as_ptr().byte_add(GUARD + STACK) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and the child that used it has executed or ended.
        let unmapped = unsafe { munmap(self.base, GUARD + STACK) };
        debug_assert!(unmapped.is_ok(), "our own mapping can be unmapped: {unmapped:?}");
    }
}

/// The child. Never returns.
pub(super) extern "C" fn run(plan: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the parent passes a pointer to a `Plan` that lives until this child has executed or ended.
    let plan = unsafe { &*plan.cast_const().cast::<Plan<'_>>() };
    let step = work(plan);
    plan.report.leave(step, Errno::last_raw());
    // SAFETY: _exit takes an integer and runs nothing of this process's own.
    unsafe { libc::_exit(127) }
}

/// Goes through the plan; returns only with the step that failed, its error being in errno.
fn work(plan: &Plan<'_>) -> Step {
    reset_dispositions();
    if let Some(first) = plan.alone
        && !leave_table(first)
    {
        return Step::Descriptors;
    }
    // SAFETY: no arguments.
    if unsafe { libc::setsid() } < 0 {
        return Step::Session;
    }
    if let Some(limit) = &plan.nofile {
        // SAFETY: the limit is read only and outlives the call.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) } < 0 {
            return Step::Limits;
        }
    }
    if let Some(mask) = plan.umask {
        // SAFETY: umask takes an integer and cannot fail.
        unsafe { libc::umask(mask) };
    }
    if let Some(score) = plan.oom_score_adj
        && !write_oom_score(score)
    {
        return Step::OomScore;
    }
    // SAFETY: the path is null-terminated and outlives the call.
    if unsafe { libc::chdir(plan.cwd.as_ptr()) } < 0 {
        return Step::Chdir;
    }
    if let Some(birth) = plan.birth {
        write_birth(birth);
        if is_orphan(birth) {
            // Nobody reads the step any more.
            return Step::Clone;
        }
    }
    for (from, variable) in plan.own_pids {
        write_own_pid(variable.get(*from..).unwrap_or_default());
    }
    if !place_descriptors(plan) {
        return Step::Descriptors;
    }
    if let Some(gate) = &plan.gate
        && !gate::pass(gate, plan.report)
    {
        return Step::Capture;
    }
    // Last of all: a signal that was waiting ends the child alone, with its own dispositions in place.
    if !unblock_signals() {
        return Step::Exec;
    }
    // SAFETY: all three are null-terminated and outlive the call, which returns only on failure.
    unsafe { libc::execve(plan.program.as_ptr(), plan.argv.as_ptr(), plan.env.as_ptr()) };
    Step::Exec
}

/// Every signal at its default. Ignored ones would stay ignored over exec, and Rust ignores SIGPIPE.
///
/// By direct calls, because libc refuses its own two (32 and 33), which whoever started us may have left ignored.
fn reset_dispositions() {
    // The kernel's struct sigaction: handler SIG_DFL, no flags, no restorer, empty mask.
    let default = [0_u64; 4];
    let none = std::ptr::null_mut::<libc::c_void>();
    for signal in 1..=64 {
        // SAFETY: the action is read only and at least as long as the kernel's struct; 8 is the size of its mask.
        // SIGKILL and SIGSTOP are refused, which is fine.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, 8) };
    }
}

fn write_oom_score(score: &CStr) -> bool {
    let path = c"/proc/self/oom_score_adj";
    // SAFETY: the path is null-terminated.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return false;
    }
    let length = score.count_bytes();
    // SAFETY: the buffer has `length` bytes.
    let written = unsafe { libc::write(file, score.as_ptr().cast(), length) };
    let errno = Errno::last_raw();
    // SAFETY: the descriptor was opened above; the child owns it.
    unsafe { libc::close(file) };
    Errno::set_raw(errno);
    usize::try_from(written) == Ok(length)
}

/// What cannot be written is no reason not to start: without the line a process is found by its environment.
fn write_birth(birth: &Birth) {
    // SAFETY: getpid has no arguments.
    let pid = unsafe { libc::getpid() };
    let values = [u64::from(pid.unsigned_abs()), millis(libc::CLOCK_MONOTONIC), millis(libc::CLOCK_BOOTTIME)];
    for (hole, mut value) in birth.holes.iter().zip(values) {
        for at in hole.clone().rev() {
            let digit =
                if value == 0 && at + 1 != hole.end { b' ' } else { b'0' + u8::try_from(value % 10).unwrap_or(0) };
            if let Some(byte) = birth.line.get(at) {
                byte.store(digit, Ordering::Relaxed);
            }
            value /= 10;
        }
    }
    // SAFETY: an AtomicU8 is a byte in memory, and the line has as many as it says.
    unsafe { libc::write(birth.file, birth.line.as_ptr().cast(), birth.line.len()) };
}

/// Whether the parent died before this process had written its line for sure: its successor may have read the file by then,
/// and makes another one. Who finds his parent alive has written before anybody else could read.
fn is_orphan(birth: &Birth) -> bool {
    // SAFETY: getppid has no arguments.
    let is_orphan = unsafe { libc::getppid() != birth.parent };
    if is_orphan {
        // SAFETY: the line has as many bytes as it says.
        unsafe { libc::write(birth.file, birth.undone.as_ptr().cast(), birth.undone.len()) };
    }
    is_orphan
}

/// The number of this process, as LISTEN_PID and WATCHDOG_PID name it.
fn write_own_pid(room: &[AtomicU8]) {
    // SAFETY: getpid has no arguments.
    let pid = unsafe { libc::getpid() }.unsigned_abs();
    let mut power = 1_u32;
    while pid / power >= 10 {
        power *= 10;
    }
    // One byte stays zero, the end of the string.
    for byte in room.iter().take(room.len().saturating_sub(1)) {
        byte.store(b'0' + u8::try_from(pid / power % 10).unwrap_or(0), Ordering::Relaxed);
        if power == 1 {
            return;
        }
        power /= 10;
    }
}

/// Milliseconds of a clock.
fn millis(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the result is ours to write to.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// A table of its own, with what lies below the first that it does not need (close_range(2)).
fn leave_table(first: libc::c_uint) -> bool {
    // SAFETY: three integers; with this flag the table is the child's own before anything in it is closed.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE) == 0 }
}

/// 0, 1, 2, the sockets behind them, and those to keep; nothing else survives exec.
fn place_descriptors(plan: &Plan<'_>) -> bool {
    let mut next: libc::c_uint = 0;
    for (target, source) in (0..).zip(plan.stdio.iter().chain(plan.listen)) {
        // SAFETY: dup2 takes two integers; every source is above every target, so none is overwritten.
        if unsafe { libc::dup2(*source, target) } < 0 {
            return false;
        }
        next += 1;
    }
    let gate = plan.gate.as_ref().map(|gate| gate.channel);
    for kept in plan.keep {
        // The gate's own end is needed until exec and no longer.
        let flags = if Some(*kept) == gate { libc::FD_CLOEXEC } else { 0 };
        // SAFETY: sets or clears FD_CLOEXEC in the child's own table.
        if unsafe { libc::fcntl(*kept, libc::F_SETFD, flags) } < 0 {
            return false;
        }
        let kept = kept.unsigned_abs();
        if kept > next {
            close_between(next, kept - 1);
        }
        next = next.max(kept + 1);
    }
    close_between(next, libc::c_uint::MAX);
    true
}

/// Where close_range(2) is refused (old seccomp profiles), FD_CLOEXEC closes them: everything that this process opens
/// carries it.
fn close_between(first: libc::c_uint, last: libc::c_uint) {
    // SAFETY: three integers; the table is the child's own, and what it closes is used by nobody in the child.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}

fn unblock_signals() -> bool {
    // SAFETY: sigset_t is plain data; all zeros is the empty set.
    let empty: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is read only.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut()) == 0 }
}
