//! What this kernel, and whatever confines this process, allow: each feature is tried, harmlessly, not guessed from a
//! version.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, socket};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::{AccessFlags, access};

use crate::sys::process::{PIDFD_THREAD, PidFd};
use crate::sys::{fds, listening, tcp};

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
    let null = fds::null()?;
    PidFd::open(own_pid())?.duplicate(null.as_raw_fd()).map(drop)
}

/// Reading the memory of other processes (process_vm_readv(2)), tried on this one.
///
/// # Errors
///
/// EPERM where it is forbidden, ENOSYS.
pub fn memory_of_others() -> io::Result<()> {
    let (word, mut read) = ([7_u8; 8], [0_u8; 8]);
    let target = [RemoteIoVec { base: word.as_ptr().addr(), len: word.len() }];
    process_vm_readv(nix::unistd::getpid(), &mut [io::IoSliceMut::new(&mut read)], &target)?;
    Ok(())
}

/// Whom Yama lets look into others (/proc/sys/kernel/yama/ptrace_scope): 0 for all of one user; none without Yama.
pub fn ptrace_scope() -> Option<u8> {
    std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?.trim().parse().ok()
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
    // BPF_RET | BPF_K: always the first socket of the group.
    tcp::attach(&listening_socket()?, &[tcp::Instruction { code: 0x06, jt: 0, jf: 0, k: 0 }])
}

/// Telling the connections of one instance from those of another (inet_diag: INET_DIAG_SOCKOPT), tried on a socket.
///
/// # Errors
///
/// `Unsupported` before Linux 5.10, and those of [`sock_diag`].
pub fn connection_tags() -> io::Result<()> {
    let socket = listening_socket()?;
    let tag = tcp::Tag::new(1).ok_or(io::ErrorKind::Unsupported)?;
    tcp::set_tag(&socket, tag)?;
    let facts = tcp::Facts::of(&socket)?;
    let _client = TcpStream::connect_timeout(&facts.address, Duration::from_secs(1))?;
    let found = tcp::diag::Diag::open()?.connections(facts.address.port())?;
    if found.iter().any(|connection| connection.tag == tag) { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// Descriptors of threads that are not the first of their process (pidfd_open(2): PIDFD_THREAD).
///
/// # Errors
///
/// EINVAL before Linux 6.9.
pub fn pidfd_thread() -> io::Result<()> {
    PidFd::open_with(own_pid(), PIDFD_THREAD).map(drop)
}

fn listening_socket() -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    tcp::share(&socket)?;
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0))?;
    tcp::join(&socket, 1)?;
    Ok(socket)
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
        for tried in [
            pidfd_getfd(),
            pidfd_thread(),
            seccomp_notify(),
            sock_diag(),
            reuseport_steering(),
            connection_tags(),
            cgroup_delegation().map(drop),
        ] {
            if let Err(error) = tried {
                assert!(!error.to_string().is_empty());
            }
        }
    }
}
