//! Who listens: the readiness that every server gives without knowing it.
//!
//! Two steps, so that a thousand starting apps cost one look at the kernel's list and then only the descriptors of
//! those who may be meant: which sockets listen (sock_diag(7)), and whether a tree of processes holds one of them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::str;

use crate::sys::proc_table::ProcTable;
use crate::sys::process::Process;
use crate::sys::tcp::diag::Diag;

/// The mark of a listening socket in /proc/net/unix.
const ACCEPTS: u32 = 0x1_0000;

/// The sockets that listen at one moment, in this network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listeners {
    inodes: HashSet<u64>,
}

impl Listeners {
    /// Reads them: TCP over IPv4 and IPv6, and UNIX sockets.
    ///
    /// # Errors
    ///
    /// A machine that gives neither sock_diag nor /proc/net.
    pub fn read() -> io::Result<Listeners> {
        let mut inodes = HashSet::new();
        match tcp_by_netlink(&mut inodes) {
            Ok(()) => {}
            // Forbidden by a seccomp profile, or a kernel without it.
            Err(_) => tcp_by_file(&mut inodes)?,
        }
        unix_by_file(&mut inodes)?;
        Ok(Listeners { inodes })
    }

    /// One that is known: its number in /proc/PID/fd.
    pub fn only(inode: u64) -> Listeners {
        Listeners { inodes: HashSet::from([inode]) }
    }

    /// Those that were not there before.
    #[must_use]
    pub fn newer_than(&self, before: &Listeners) -> Listeners {
        Listeners { inodes: self.inodes.difference(&before.inodes).copied().collect() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.inodes.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.inodes.len()
    }
}

/// Whether a process of this run holds one of these sockets. Processes that may not be looked into hold none.
pub fn process_tree_listens(process: &Process, table: &ProcTable, listeners: &Listeners) -> bool {
    !listeners.is_empty() && table.members(process).iter().any(|row| holds_one(row.pid, listeners))
}

fn holds_one(pid: libc::pid_t, listeners: &Listeners) -> bool {
    sockets_of(pid).any(|inode| listeners.inodes.contains(&inode))
}

/// The sockets of a process; of one that may not be looked into, none.
fn sockets_of(pid: libc::pid_t) -> impl Iterator<Item = u64> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"));
    let inode = |entry: io::Result<std::fs::DirEntry>| {
        let target = std::fs::read_link(entry.ok()?.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    entries.into_iter().flatten().filter_map(inode)
}

/// Where the processes of this run listen by TCP.
///
/// # Errors
///
/// A machine without /proc/net.
pub fn tcp_addresses(process: &Process, table: &ProcTable) -> io::Result<Vec<SocketAddr>> {
    let mut listed: HashMap<u64, SocketAddr> = HashMap::new();
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match std::fs::read_to_string(path) {
            Ok(text) => listed.extend(text.lines().filter_map(|line| Some((listening_inode(line)?, address(line)?)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let held = table.members(process).into_iter().flat_map(|row| sockets_of(row.pid)).collect::<HashSet<u64>>();
    Ok(listed.into_iter().filter(|(inode, _)| held.contains(inode)).map(|(_, address)| address).collect())
}

/// The local address of a line of /proc/net/tcp: words of the machine's order in hexadecimal digits, a colon, the port.
fn address(line: &str) -> Option<SocketAddr> {
    let (ip, port) = line.split_ascii_whitespace().nth(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    Some(match ip.len() {
        8 => SocketAddr::from((word(0)?, port)),
        32 => {
            let bytes = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            SocketAddr::from((<[u8; 16]>::try_from(bytes).ok()?, port))
        }
        _ => return None,
    })
}

/// Whether sock_diag(7) answers.
pub(super) fn try_netlink() -> io::Result<()> {
    tcp_by_netlink(&mut HashSet::new())
}

fn tcp_by_netlink(inodes: &mut HashSet<u64>) -> io::Result<()> {
    Diag::open()?.all_listening(|inode| {
        inodes.insert(inode);
    })
}

/// The slower way: the tables for people (proc_pid_net(5)).
fn tcp_by_file(inodes: &mut HashSet<u64>) -> io::Result<()> {
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match std::fs::read_to_string(path) {
            Ok(text) => inodes.extend(text.lines().filter_map(listening_inode)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The inode of a line of /proc/net/tcp whose state is 0A.
fn listening_inode(line: &str) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace();
    (fields.nth(3)? == "0A").then(|| fields.nth(5)?.parse().ok())?
}

fn unix_by_file(inodes: &mut HashSet<u64>) -> io::Result<()> {
    // Paths of sockets are bytes of anybody's choice.
    match std::fs::read("/proc/net/unix") {
        Ok(text) => inodes.extend(text.split(|byte| *byte == b'\n').filter_map(accepting_inode)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The inode of a line of /proc/net/unix that accepts connections.
fn accepting_inode(line: &[u8]) -> Option<u64> {
    let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let flags = u32::from_str_radix(str::from_utf8(fields.nth(3)?).ok()?, 16).ok()?;
    let inode = str::from_utf8(fields.nth(2)?).ok()?.parse().ok()?;
    (flags & ACCEPTS != 0).then_some(inode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Signal;
    use crate::sys::spawn::spawn;
    use crate::sys::testing::{end_of, shell, until_line, with_output};
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;

    fn inode(fd: &impl AsRawFd) -> u64 {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
        link.to_str().unwrap().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
    }

    #[test]
    fn all_kinds_of_listeners_are_seen_both_ways() {
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let unix = UnixListener::bind(folder.path().join("s")).unwrap();
        let quiet = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut by_file = HashSet::new();
        tcp_by_file(&mut by_file).unwrap();
        assert!(by_file.contains(&inode(&v4)));
        let all = Listeners::read().unwrap();
        assert!(all.inodes.contains(&inode(&v4)));
        assert!(all.inodes.contains(&inode(&unix)));
        assert!(!all.inodes.contains(&inode(&quiet)));
        if let Ok(v6) = TcpListener::bind("[::1]:0") {
            assert!(Listeners::read().unwrap().newer_than(&all).inodes.contains(&inode(&v6)));
        }
    }

    #[test]
    fn an_address_is_read_as_the_kernel_writes_it() {
        if cfg!(target_endian = "little") {
            let of = |text: &str| address(&format!("  0: {text} 00000000:0000 0A")).map(|it| it.to_string());
            assert_eq!(of("0100007F:0BB8").as_deref(), Some("127.0.0.1:3000"));
            assert_eq!(of("00000000000000000000000001000000:0050").as_deref(), Some("[::1]:80"));
        }
        for bad in ["", "  sl  local_address", "0: 01:1", "0: 0100007F:99999", "0: 0100007FZZ:1"] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }

    #[test]
    fn netlink_answers_with_what_the_file_says() {
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut inodes = HashSet::new();
        if tcp_by_netlink(&mut inodes).is_ok() {
            assert!(inodes.contains(&inode(&v4)));
        }
    }

    #[test]
    fn a_listener_belongs_to_the_tree_that_holds_it() {
        let before = Listeners::read().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let new = Listeners::read().unwrap().newer_than(&before);
        let start = |launch| {
            let (launch, mut output) = with_output(launch);
            let process = spawn(&launch).unwrap();
            drop(launch);
            until_line(&mut output, "up");
            process
        };
        let mut holder = shell("sh -c 'echo up; sleep 1000' & wait");
        holder.keep.push(listener.try_clone().unwrap().into());
        let holder = start(holder);
        let other = start(shell("echo up; exec sleep 1000"));
        let table = ProcTable::read().unwrap();
        assert!(process_tree_listens(&holder, &table, &new));
        assert!(!process_tree_listens(&other, &table, &new));
        assert!(!process_tree_listens(&holder, &table, &Listeners::default()));
        assert_eq!(tcp_addresses(&holder, &table).unwrap(), [listener.local_addr().unwrap()]);
        assert_eq!(tcp_addresses(&other, &table).unwrap(), []);
        for process in [holder, other] {
            process.signal_group(Signal::KILL).unwrap();
            end_of(&process);
        }
    }
}
