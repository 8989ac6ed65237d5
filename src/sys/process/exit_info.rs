//! How a process ended that somebody else has reaped, from the kernel itself (ioctl_pidfd(2): PIDFD_GET_INFO, Linux 6.15).

use std::os::fd::AsRawFd;

use nix::errno::Errno;

use crate::spec::{ExitStatus, Signal};
use crate::sys::process::PidFd;

/// What the kernel writes; the first of its sizes (PIDFD_INFO_SIZE_VER0).
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    /// Numbers and user ids, not used here.
    ids: [u32; 11],
    exit_code: i32,
}

/// The bit of `mask` that asks for, and tells of, `exit_code`.
const EXIT: u64 = 1 << 3;

/// `_IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)`.
const GET_INFO: libc::c_ulong = 3 << 30 | 64 << 16 | 0xff << 8 | 11;

/// None while it lives or is a zombie, and on kernels that cannot tell.
pub(super) fn exit_info(process: &PidFd) -> Option<ExitStatus> {
    const { assert!(size_of::<Info>() == 64) };
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the request's number says that the kernel reads and writes 64 bytes, the size of `info`, which outlives
    // the call; other descriptors and older kernels refuse it.
    let told = Errno::result(unsafe { libc::ioctl(process.as_raw_fd(), GET_INFO as _, &raw mut info) });
    (told.is_ok() && info.mask & EXIT != 0).then(|| status(info.exit_code)).flatten()
}

/// A wait status as of wait(2).
fn status(code: i32) -> Option<ExitStatus> {
    if libc::WIFEXITED(code) {
        return u8::try_from(libc::WEXITSTATUS(code)).ok().map(ExitStatus::Code);
    }
    let signal = libc::WIFSIGNALED(code).then(|| Signal::from_number(libc::WTERMSIG(code))).flatten()?;
    Some(ExitStatus::Signal { signal, core: libc::WCOREDUMP(code) })
}
