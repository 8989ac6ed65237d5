//! Ending a connection in the program's place, as if its client had left.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};

use crate::sys::proc_table::ProcTable;
use crate::sys::process::{PidFd, Process};
use crate::sys::tcp::diag::Connection;
use crate::sys::tcp::facts::Cookie;
use crate::sys::tree;

/// Ends the reading side of those connections that a run holds, in whichever of its processes (pidfd_getfd(2), shutdown(2):
/// SHUT_RD): the program reads the end of them and closes them. Returns those that were ended; others, and those that are
/// gone by now, are left alone.
///
/// # Errors
///
/// EACCES or EPERM where looking into one of the processes is refused, after all others were looked into; no descriptor
/// left.
pub fn end_reading(run: &Process, table: &ProcTable, connections: &[Connection]) -> io::Result<BTreeSet<Cookie>> {
    let mut wanted: HashMap<u64, Cookie> = connections.iter().map(|found| (found.inode, found.cookie)).collect();
    // Not accepted yet: nobody's.
    wanted.remove(&0);
    let mut ended = BTreeSet::new();
    let Some(main) = run.own_pid() else { return Ok(ended) };
    let main = PidFd::open(main)?;
    let mut refused = Ok(());
    for process in std::iter::once(main).chain(tree::members(run, table)?) {
        if let Err(error) = end_in(&process, &wanted, &mut ended) {
            refused = Err(error);
        }
    }
    refused.map(|()| ended)
}

/// Which of these connections a run holds, in whichever of its processes.
///
/// # Errors
///
/// EACCES or EPERM where looking into one of the processes is refused.
pub fn held_by(run: &Process, table: &ProcTable, connections: &[Connection]) -> io::Result<BTreeSet<Cookie>> {
    let mut wanted: HashMap<u64, Cookie> = connections.iter().map(|found| (found.inode, found.cookie)).collect();
    wanted.remove(&0);
    let Some(main) = run.own_pid() else { return Ok(BTreeSet::new()) };
    let mut held = BTreeSet::new();
    for process in std::iter::once(PidFd::open(main)?).chain(tree::members(run, table)?) {
        held.extend(places(&process, &wanted)?.into_iter().map(|(_, cookie)| cookie));
    }
    Ok(held)
}

/// Which process of a run has a socket, and under which number.
///
/// # Errors
///
/// EACCES or EPERM where looking into one of the processes is refused, and none of the others has it.
pub fn holder_of(run: &Process, table: &ProcTable, inode: u64) -> io::Result<Option<(PidFd, RawFd)>> {
    let wanted = HashMap::from([(inode, Cookie(0))]);
    let main = run.own_pid().map(PidFd::open).transpose().or_else(gone_is_nobody)?.into_iter();
    let mut refused = Ok(None);
    for process in main.chain(tree::members(run, table)?) {
        match places(&process, &wanted) {
            Ok(found) => {
                if let Some((place, _)) = found.first() {
                    return Ok(Some((process, *place)));
                }
            }
            Err(error) => refused = Err(error),
        }
    }
    refused
}

fn gone_is_nobody(error: io::Error) -> io::Result<Option<PidFd>> {
    if error.raw_os_error() == Some(Errno::ESRCH as i32) { Ok(None) } else { Err(error) }
}

fn end_in(process: &PidFd, wanted: &HashMap<u64, Cookie>, ended: &mut BTreeSet<Cookie>) -> io::Result<()> {
    for (place, cookie) in places(process, wanted)? {
        match process.duplicate(place).and_then(|socket| end(&socket, cookie)) {
            Ok(true) => drop(ended.insert(cookie)),
            // Closed, or something else by now.
            Ok(false) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
