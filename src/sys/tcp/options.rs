//! Carrying over what a program has set on a socket that is replaced by another one.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::sys::tcp::option;

/// Options that hold an int and can be set on a socket that listens. Those of `bind` itself (the address, IPV6_V6ONLY, the
/// device) are what both sockets have in common already.
const INTS: [(libc::c_int, libc::c_int); 9] = [
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
    (libc::IPPROTO_TCP, libc::TCP_FASTOPEN),
    (libc::IPPROTO_IP, libc::IP_TOS),
];

/// Which buffers a program has sized by itself (asm-generic/socket.h, Linux 5.14). The kernel stops sizing a buffer that
/// anybody has set, so those that nobody did stay as they are.
const SO_BUF_LOCK: libc::c_int = 72;
const LOCKED_SEND: libc::c_int = 1;
const LOCKED_RECEIVE: libc::c_int = 2;

/// Carries the known options over.
///
/// # Errors
///
/// None that a caller could mend.
pub(in crate::sys) fn copy_options(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    for (level, name) in INTS {
        let value = match option::int(from, level, name) {
            Err(error) if is_unknown(&error) => continue,
            found => found?,
        };
        // What is equal is not written: an option of an older kernel may be readable only.
        if option::int(to, level, name)? != value {
            option::set(to, level, name, value)?;
        }
    }
    copy_linger(from, to)?;
    copy_buffers(from, to)
}

/// Carries over the flags that belong to the open socket and not to a descriptor: O_NONBLOCK and O_ASYNC (fcntl(2)).
///
/// # Errors
///
/// None that a caller could mend.
pub(in crate::sys) fn copy_flags(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(from, FcntlArg::F_GETFL)?);
    set_flags(to, flags & (OFlag::O_NONBLOCK | OFlag::O_ASYNC))
}

/// Gives a socket these flags.
///
/// # Errors
///
/// None that a caller could mend.
pub(in crate::sys) fn set_flags(to: BorrowedFd<'_>, flags: OFlag) -> io::Result<()> {
    fcntl(to, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

fn copy_linger(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let mut linger = [0; size_of::<libc::linger>()];
    option::read(from, libc::SOL_SOCKET, libc::SO_LINGER, &mut linger)?;
    option::write(to, libc::SOL_SOCKET, libc::SO_LINGER, &linger)
}

fn copy_buffers(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let locked = match option::int(from, libc::SOL_SOCKET, SO_BUF_LOCK) {
        Err(error) if is_unknown(&error) => return Ok(()),
        found => found?,
    };
    for (bit, name) in [(LOCKED_SEND, libc::SO_SNDBUF), (LOCKED_RECEIVE, libc::SO_RCVBUF)] {
        if locked & bit != 0 {
            // The kernel doubles what it is given, and tells the double (socket(7)).
            option::set(to, libc::SOL_SOCKET, name, option::int(from, libc::SOL_SOCKET, name)? / 2)?;
        }
    }
    Ok(())
}

fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOPROTOOPT | Errno::EOPNOTSUPP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    #[test]
    fn what_a_program_has_set_is_carried_over_and_the_rest_is_left_alone() {
        let (old, new) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (old, new) = (old.as_fd(), new.as_fd());
        let set = [
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
            (libc::IPPROTO_TCP, libc::TCP_NODELAY, 1),
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 77),
            (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 5000),
            (libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 16),
            (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 1),
        ];
        for (level, name, value) in set {
            option::set(old, level, name, value).unwrap();
        }
        let linger = libc::linger { l_onoff: 1, l_linger: 3 };
        let bytes = [linger.l_onoff.to_ne_bytes(), linger.l_linger.to_ne_bytes()].concat();
        option::write(old, libc::SOL_SOCKET, libc::SO_LINGER, &bytes).unwrap();
        option::set(old, libc::SOL_SOCKET, libc::SO_RCVBUF, 32 * 1024).unwrap();
        fcntl(old, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let before = option::int(new, libc::SOL_SOCKET, libc::SO_SNDBUF).unwrap();

        copy_options(old, new).unwrap();
        copy_flags(old, new).unwrap();

        for (level, name, _) in set {
            assert_eq!(
                option::int(new, level, name).unwrap(),
                option::int(old, level, name).unwrap(),
                "{level} {name}"
            );
        }
        let mut copied = vec![0; bytes.len()];
        option::read(new, libc::SOL_SOCKET, libc::SO_LINGER, &mut copied).unwrap();
        assert_eq!(copied, bytes);
        assert_eq!(option::int(new, libc::SOL_SOCKET, libc::SO_RCVBUF).unwrap(), 64 * 1024);
        assert_eq!(option::int(new, libc::SOL_SOCKET, libc::SO_SNDBUF).unwrap(), before);
        assert_eq!(option::int(new, libc::SOL_SOCKET, SO_BUF_LOCK).unwrap_or(LOCKED_RECEIVE), LOCKED_RECEIVE);
        assert!(fcntl(new, FcntlArg::F_GETFL).unwrap() & libc::O_NONBLOCK != 0);
    }
}
