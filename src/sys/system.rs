//! Facts about this machine and this process's place in it.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{SysconfVar, Uid, User, sysconf};

/// Bytes of a page.
pub fn page_size() -> u64 {
    static VALUE: OnceLock<u64> = OnceLock::new();
    *VALUE.get_or_init(|| configured(SysconfVar::PAGE_SIZE, 4096))
}

/// Ticks of a second in /proc.
pub fn clock_ticks() -> u64 {
    static VALUE: OnceLock<u64> = OnceLock::new();
    *VALUE.get_or_init(|| configured(SysconfVar::CLK_TCK, 100))
}

fn configured(variable: SysconfVar, usual: u64) -> u64 {
    sysconf(variable)
        .ok()
        .flatten()
        .and_then(|value| u64::try_from(value).ok())
        .filter(|value| *value > 0)
        .unwrap_or(usual)
}

/// The cores that this process may use: its affinity, and the quota of its control group (v1 and v2) rounded down; at
/// least 1.
pub fn usable_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// Differs with every boot of this machine.
///
/// # Errors
///
/// A machine without /proc.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Milliseconds of CLOCK_MONOTONIC (clock_gettime(2)): one clock for all processes of this machine, until it reboots.
pub fn monotonic_millis() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime fills the timespec that it is given; this clock exists on every Linux, so it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds * 1000 + nanos / 1_000_000
}

/// Executes another program in the place of this one (execve(2)); returns only with the reason why it cannot. Blocked
/// signals stay blocked, children stay children, and so do descriptors that [`set_over_exec`] has kept open.
///
/// To be called on the main thread: where another one calls it, the kernel ends the main thread first, and children that
/// watch that (prctl(2): PR_SET_PDEATHSIG) are killed.
///
/// [`set_over_exec`]: crate::sys::fds::set_over_exec
pub fn execute(program: &Path, argv: &[&str], env: Vec<(OsString, OsString)>) -> io::Error {
    match try_execute(program, argv, env) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn try_execute(program: &Path, argv: &[&str], env: Vec<(OsString, OsString)>) -> io::Result<Infallible> {
    let program = CString::new(program.as_os_str().as_bytes())?;
    let argv = argv.iter().map(|word| CString::new(*word)).collect::<Result<Vec<CString>, _>>()?;
    let assignments = env.into_iter().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        CString::new(name.into_vec())
    });
    let env = assignments.collect::<Result<Vec<CString>, _>>()?;
    Ok(nix::unistd::execve(&program, &argv, &env)?)
}

/// The name of a user; his number where he has none.
pub fn user_name(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => uid.to_string(),
    }
}

/// What this machine calls itself; none where that is no text.
pub fn host_name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}

/// The width of a terminal in columns; none for what is no terminal or does not know.
pub fn terminal_width(terminal: &impl AsFd) -> Option<u16> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    let number = terminal.as_fd().as_raw_fd();
    // SAFETY: TIOCGWINSZ fills the winsize that it is given.
    Errno::result(unsafe { libc::ioctl(number, libc::TIOCGWINSZ, &raw mut size) }).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

/// Leaves the session of whoever started us. Fails only where we lead a process group already, and then there is
/// nothing to leave, or a shell that put us there on purpose.
pub fn leave_session() {
    let _ = nix::unistd::setsid();
}

/// Makes this process the parent of orphans below it (prctl(2): PR_SET_CHILD_SUBREAPER).
///
/// # Errors
///
/// None on kernels that rsx runs on.
pub fn become_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Puts /dev/null behind standard input and output, and `stderr` (else /dev/null as well) behind standard error.
///
/// # Errors
///
/// EMFILE and the like.
pub fn redirect_stdio(stderr: Option<impl AsFd>) -> io::Result<()> {
    let null = crate::sys::fds::null()?;
    // What is buffered belongs to the old one.
    drop(io::stdout().flush());
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    match stderr {
        Some(file) => nix::unistd::dup2_stderr(file)?,
        None => nix::unistd::dup2_stderr(&null)?,
    }
    Ok(())
}

/// Sets the file mode mask and returns what it was.
pub fn set_umask(mask: u32) -> u32 {
    umask(Mode::from_bits_truncate(mask)).bits()
}

/// Lets everybody else go first from now on: this thread's work can wait, for the processor and for the disk.
pub fn give_way() {
    // IOPRIO_WHO_PROCESS and class 3 (idle), of ioprio_set(2), which libc does not name.
    const WHO: libc::c_long = 1;
    const IDLE: libc::c_long = 3 << 13;
    // SAFETY: three numbers; 0 is the calling thread. It cannot do more than fail.
    let _ = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO, 0_i64, IDLE) };
    // SAFETY: three numbers; on Linux 0 is the calling thread. It cannot do more than fail.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_plausible() {
        assert!(page_size().is_power_of_two());
        assert!((1..=10_000).contains(&clock_ticks()));
        assert!(usable_cores() >= 1);
        assert_eq!(boot_id().unwrap().len(), 36);
    }

    #[test]
    fn a_user_without_a_name_is_his_number() {
        assert_eq!(user_name(0), "root");
        assert_eq!(user_name(4_000_000_000), "4000000000");
    }

    #[test]
    fn a_file_has_no_width() {
        assert_eq!(terminal_width(&std::fs::File::open("/dev/null").unwrap()), None);
    }
}
