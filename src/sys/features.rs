//! What this kernel, and whatever confines this process, allow: each feature is tried, harmlessly, not guessed from a
//! version.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};
use nix::unistd::{AccessFlags, access};

use crate::sys::process::PidFd;
use crate::sys::{fds, listening};

/// The release of the kernel, `6.1.0-18-amd64`.
///
/// # Errors
///
/// None on Linux.
pub fn kernel_release() -> io::Result<String> {
    Ok(nix::sys::utsname::uname()?.release().to_string_lossy().into_owned())
}

/// Processes by descriptor (pidfd_open(2)).
///
/// # Errors
///
/// ENOSYS before Linux 5.3, EPERM where it is forbidden.
pub fn pidfd() -> io::Result<()> {
    PidFd::open(own_pid()).map(drop)
}

/// Descriptors of other processes (pidfd_getfd(2)), tried on this one.
///
/// # Errors
///
/// ENOSYS before Linux 5.6, EPERM where it is forbidden, as in many containers.
pub fn pidfd_getfd() -> io::Result<()> {
    let (own, null) = (PidFd::open(own_pid())?, fds::null()?);
    let (pidfd, number) = (own.pidfd().as_raw_fd(), null.as_raw_fd());
    // SAFETY: pidfd_getfd takes two open descriptors and flags, and touches no memory of ours.
    let copy = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, number, 0) })?;
    let copy = RawFd::try_from(copy).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us, nobody else knows it.
    drop(unsafe { OwnedFd::from_raw_fd(copy) });
    Ok(())
}

/// Seccomp filters that ask another process (seccomp(2): SECCOMP_RET_USER_NOTIF).
///
/// # Errors
///
/// EOPNOTSUPP before Linux 5.0, ENOSYS or EPERM where seccomp is missing or forbidden.
pub fn seccomp_notify() -> io::Result<()> {
    let action: u32 = libc::SECCOMP_RET_USER_NOTIF;
    let operation = libc::SECCOMP_GET_ACTION_AVAIL;
    // SAFETY: this operation reads the u32 that it is given a pointer to and changes nothing.
    Errno::result(unsafe { libc::syscall(libc::SYS_seccomp, operation, 0, &raw const action) })?;
    Ok(())
}

/// Adopting the orphans of descendants (prctl(2): PR_SET_CHILD_SUBREAPER).
///
/// # Errors
///
/// EPERM where it is forbidden.
pub fn subreaper() -> io::Result<()> {
    nix::sys::prctl::get_child_subreaper()?;
    Ok(())
}

/// Asking the kernel about sockets (sock_diag(7)).
///
/// # Errors
///
/// ENOENT without the kernel's module, EPERM where it is forbidden.
pub fn sock_diag() -> io::Result<()> {
    listening::try_netlink()
}

/// Choosing which socket of a SO_REUSEPORT group gets a connection (socket(7): SO_ATTACH_REUSEPORT_CBPF).
///
/// # Errors
///
/// EPERM or ENOPROTOOPT where it is forbidden or missing, and those of making a socket.
pub fn reuseport_steering() -> io::Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0))?;
    listen(&socket, Backlog::new(1)?)?;
    // BPF_RET | BPF_K: always the first socket of the group.
    let mut first = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut first };
    let length = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).map_err(io::Error::other)?;
    // SAFETY: the option takes a sock_fprog of this size, whose filter points to one instruction that outlives the call.
    Errno::result(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            length,
        )
    })?;
    Ok(())
}

/// The control group of this process, if it may make groups below it (cgroups(7), version 2).
///
/// # Errors
///
/// Why not: no version 2, or not delegated to this user.
pub fn cgroup_delegation() -> io::Result<PathBuf> {
    let own = std::fs::read_to_string("/proc/self/cgroup")?;
    let path = own
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .ok_or_else(|| io::Error::other("control groups are not of version 2"))?;
    let folder = PathBuf::from("/sys/fs/cgroup").join(path);
    for part in ["", "cgroup.procs", "cgroup.subtree_control"] {
        access(&folder.join(part), AccessFlags::W_OK)?;
    }
    Ok(folder)
}

fn own_pid() -> libc::pid_t {
    nix::unistd::getpid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rsx_cannot_do_without_is_there_where_its_tests_run() {
        pidfd().unwrap();
        subreaper().unwrap();
        assert!(kernel_release().unwrap().contains('.'));
    }

    #[test]
    fn what_may_be_missing_is_answered_and_never_panics() {
        for tried in [pidfd_getfd(), seccomp_notify(), sock_diag(), reuseport_steering(), cgroup_delegation().map(drop)]
        {
            if let Err(error) = tried {
                assert!(!error.to_string().is_empty());
            }
        }
    }
}
