//! Ending a connection in the program's place, as if its client had left.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};

use crate::sys::process::PidFd;
use crate::sys::tcp::diag::Connection;
use crate::sys::tcp::facts::Cookie;

/// Ends the reading side of those connections that this process holds (pidfd_getfd(2), shutdown(2): SHUT_RD): the program
/// reads the end of them and closes them. Returns those that were ended. Others, and those gone by now, are left alone.
///
/// # Errors
///
/// EACCES or EPERM where looking into the process is refused.
pub fn end_reading(process: &PidFd, connections: &[Connection]) -> io::Result<Vec<Cookie>> {
    let wanted: HashMap<u64, Cookie> = connections.iter().map(|found| (found.inode, found.cookie)).collect();
    let mut ended = Vec::new();
    for (place, cookie) in places(process, &wanted)? {
        match process.duplicate(place).and_then(|socket| end(&socket, cookie)) {
            Ok(true) => ended.push(cookie),
            // Closed, or something else by now.
            Ok(false) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ended)
}

/// Where a process has these sockets.
fn places(process: &PidFd, wanted: &HashMap<u64, Cookie>) -> io::Result<Vec<(RawFd, Cookie)>> {
    let entries = match std::fs::read_dir(format!("/proc/{}/fd", process.number())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let Ok(entry) = entry else { break };
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        let inode = target.to_str().and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        let Some(cookie) = inode.and_then(|inode: u64| wanted.get(&inode)) else { continue };
        if let Some(place) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push((place, *cookie));
        }
    }
    // A number that was somebody else's while it was read is found out here, and by the cookie.
    if process.has_ended_within(Duration::ZERO)? { Ok(Vec::new()) } else { Ok(found) }
}

fn end(socket: &OwnedFd, cookie: Cookie) -> io::Result<bool> {
    if Cookie::of(socket)? != cookie {
        return Ok(false);
    }
    shutdown(socket.as_raw_fd(), Shutdown::Read)?;
    Ok(true)
}

fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::EBADF, Errno::ENOTSOCK, Errno::ENOTCONN, Errno::ESRCH];
    error.raw_os_error().is_some_and(|number| gone.contains(&Errno::from_raw(number)))
}
