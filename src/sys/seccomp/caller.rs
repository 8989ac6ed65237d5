//! Looking into the process that asks: its descriptors, the address that it binds to, who it is.
//!
//! Each look may be refused (EPERM, EACCES), where this process may not trace the other one (ptrace(2): access checks):
//! another user's program, a file with capabilities, many containers. Answering and putting descriptors works even then.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

use crate::sys::process::{PidFd, process_of_thread};
use crate::sys::tcp::Kind;

/// The longest address of any family, struct sockaddr_storage.
const LONGEST: usize = 128;

/// The process, or rather the thread, whose question is open.
#[derive(Debug)]
pub struct Caller {
    thread: libc::pid_t,
}

/// What a program binds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketAddress {
    /// IPv4 or IPv6.
    Inet(SocketAddr),
    /// Something else: UNIX, netlink, an address that is too short.
    Other,
}

/// Whether a descriptor is closed when its process executes another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseOnExec {
    /// It is.
    Yes,
    /// The next program has it, too.
    No,
}

/// What can be told of a descriptor from outside, where taking a duplicate is refused (/proc/PID/fd, fdinfo).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outside {
    /// What kind of socket it is.
    pub kind: Kind,
    /// Whether it is one of IPv6.
    pub is_v6: bool,
    /// Its number in /proc/PID/fd.
    pub inode: u64,
    /// Whose it is.
    pub uid: u32,
}

/// A process that asks, as a name to remember it by. It counts as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asker(pub u32);

/// An entry of one of the caller's epoll sets (epoll(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) epoll: RawFd,
    pub(super) events: u32,
    pub(super) data: u64,
}

/// A process and the place where it keeps a socket.
#[derive(Debug)]
pub struct Holder {
    process: PidFd,
    place: RawFd,
    inode: u64,
}

impl Caller {
    pub(super) fn new(thread: libc::pid_t) -> Caller {
        Caller { thread }
    }

    /// Another descriptor of what it has open under this number.
    ///
    /// # Errors
    ///
    /// EPERM where looking is refused, EBADF.
    pub fn duplicate(&self, number: RawFd) -> io::Result<OwnedFd> {
        PidFd::open_thread(self.thread)?.duplicate(number)
    }

    /// What can be told of its descriptor without a duplicate of it.
    ///
    /// # Errors
    ///
    /// EACCES where even that is refused, ENOENT.
    pub fn outside(&self, number: RawFd) -> io::Result<Outside> {
        let path = format!("/proc/{}/fd/{number}", self.thread);
        let found = std::fs::metadata(&path)?;
        let (kind, is_v6) = match protocol(&path)?.as_slice() {
            b"TCP" => (Kind::Tcp, false),
            b"TCPv6" => (Kind::Tcp, true),
            b"MPTCP" => (Kind::Mptcp, false),
            b"MPTCPv6" => (Kind::Mptcp, true),
            _ => (Kind::Other, false),
        };
        Ok(Outside { kind, is_v6, inode: found.ino(), uid: found.uid() })
    }

    /// Whether this descriptor has O_NONBLOCK, a flag of what it has open, and FD_CLOEXEC, one of its own.
    ///
    /// # Errors
    ///
    /// EACCES where looking is refused, ENOENT.
    pub(super) fn flags(&self, number: RawFd) -> io::Result<(OFlag, CloseOnExec)> {
        let text = std::fs::read_to_string(format!("/proc/{}/fdinfo/{number}", self.thread))?;
        // Octal, with the descriptor's own flag among those of open(2) (proc_pid_fdinfo(5)).
        let flags = text.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
        let flags = OFlag::from_bits_retain(flags.ok_or(io::ErrorKind::InvalidData)?);
        let close = if flags.contains(OFlag::O_CLOEXEC) { CloseOnExec::Yes } else { CloseOnExec::No };
        Ok((flags & OFlag::O_NONBLOCK, close))
    }

    /// Its process, by name.
    ///
    /// # Errors
    ///
    /// That it has ended.
    pub fn asker(&self) -> io::Result<Asker> {
        process_of_thread(self.thread).map(|process| Asker(process.unsigned_abs()))
    }

    /// The user whose files and sockets it makes. Anybody may ask for that.
    ///
    /// # Errors
    ///
    /// That it has ended.
    pub fn uid(&self) -> io::Result<u32> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.thread))?;
        // Real, effective, saved, and of the file system.
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(3)?.parse().ok());
        uid.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The address that lies in its memory.
    ///
    /// # Errors
    ///
    /// EPERM or EACCES where looking is refused, EFAULT for memory that it does not have.
    pub fn address(&self, at: u64, length: u32) -> io::Result<SocketAddress> {
        let mut bytes = [0; LONGEST];
        let length = usize::try_from(length).unwrap_or(LONGEST).min(LONGEST);
        let Some(wanted) = bytes.get_mut(..length) else { return Ok(SocketAddress::Other) };
        let read = self.read_memory(at, wanted)?;
        Ok(SocketAddress::of(bytes.get(..read).unwrap_or_default()))
    }

    /// Whether this descriptor goes on into the next program.
    ///
    /// # Errors
    ///
    /// EACCES where looking is refused, ENOENT.
    pub fn close_on_exec(&self, number: RawFd) -> io::Result<CloseOnExec> {
        self.flags(number).map(|(_, close)| close)
    }

    /// Its process, as the one that keeps this socket under this number.
    ///
    /// # Errors
    ///
    /// That it has ended.
    pub fn holder(&self, place: RawFd, inode: u64) -> io::Result<Holder> {
        Ok(Holder::new(PidFd::open(process_of_thread(self.thread)?)?, place, inode))
    }

    /// The entries of its epoll sets that watch this descriptor.
    pub(super) fn watches_of(&self, number: RawFd) -> io::Result<Vec<Watched>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/{}/fd", self.thread))? {
            let entry = entry?;
            let is_epoll =
                std::fs::read_link(entry.path()).is_ok_and(|target| target.ends_with("anon_inode:[eventpoll]"));
            let Some(epoll) = is_epoll.then(|| parse(&entry.file_name())).flatten() else { continue };
            let text = std::fs::read_to_string(format!("/proc/{}/fdinfo/{epoll}", self.thread))?;
            found.extend(text.lines().filter_map(|line| watched(line, epoll, number)));
        }
        Ok(found)
    }

    fn read_memory(&self, at: u64, wanted: &mut [u8]) -> io::Result<usize> {
        let base = usize::try_from(at).map_err(|_| Errno::EFAULT)?;
        let length = wanted.len();
        let target = [RemoteIoVec { base, len: length }];
        match process_vm_readv(Pid::from_raw(self.thread), &mut [io::IoSliceMut::new(wanted)], &target) {
            Ok(count) => Ok(count),
            // Refused by a seccomp profile; the file is under the rules of ptrace(2) alone.
            Err(Errno::EPERM | Errno::ENOSYS) => File::open(format!("/proc/{}/mem", self.thread))?.read_at(wanted, at),
            Err(error) => Err(error.into()),
        }
    }
}

impl SocketAddress {
    fn of(bytes: &[u8]) -> SocketAddress {
        SocketAddress::parse(bytes).map_or(SocketAddress::Other, SocketAddress::Inet)
    }

    /// struct sockaddr_in and struct sockaddr_in6: the family and the scope in the machine's order, the rest in the net's.
    fn parse(bytes: &[u8]) -> Option<SocketAddr> {
        let family = u16::from_ne_bytes(array(bytes, 0)?);
        let port = u16::from_be_bytes(array(bytes, 2)?);
        match i32::from(family) {
            libc::AF_INET if bytes.len() >= size_of::<libc::sockaddr_in>() => {
                Some(SocketAddrV4::new(Ipv4Addr::from(array::<4>(bytes, 4)?), port).into())
            }
            // The scope may be missing (RFC 2133 had none), and the kernel takes such an address.
            libc::AF_INET6 if bytes.len() >= 24 => {
                let flow = u32::from_be_bytes(array(bytes, 4)?);
                let scope = array(bytes, 24).map_or(0, u32::from_ne_bytes);
                Some(SocketAddrV6::new(Ipv6Addr::from(array::<16>(bytes, 8)?), port, flow, scope).into())
            }
            _ => None,
        }
    }
}

impl Holder {
    /// This process, which keeps the socket of this inode under this number.
    pub fn new(process: PidFd, place: RawFd, inode: u64) -> Holder {
        Holder { process, place, inode }
    }

    /// Whether it still does. A program may close its listener and live on, while our duplicate keeps the socket alive.
    ///
    /// # Errors
    ///
    /// EACCES where looking is refused: then nobody knows.
    pub fn is_holding(&self) -> io::Result<bool> {
        let link = std::fs::read_link(format!("/proc/{}/fd/{}", self.process.number(), self.place));
        let is_same = match link {
            Ok(target) => target.as_os_str() == format!("socket:[{}]", self.inode).as_str(),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => false,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => false,
            Err(error) => return Err(error),
        };
        // Asked last: until its end the number was its own.
        Ok(is_same && !self.process.has_ended_within(Duration::ZERO)?)
    }

    /// The process.
    pub fn process(&self) -> &PidFd {
        &self.process
    }

    /// The number of its socket in /proc/PID/fd.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The number of its descriptor, for the journal.
    pub fn place(&self) -> RawFd {
        self.place
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The protocol of a socket behind a link of /proc, as the kernel calls it; nothing for what is no socket.
fn protocol(path: &str) -> io::Result<Vec<u8>> {
    let path = CString::new(path)?;
    let mut name = vec![0_u8; 32];
    // SAFETY: path and name are null-terminated, the buffer has the length that is passed with it.
    let length = unsafe {
        libc::getxattr(path.as_ptr(), c"system.sockprotoname".as_ptr(), name.as_mut_ptr().cast(), name.len())
    };
    match Errno::result(length) {
        Ok(length) => {
            name.truncate(usize::try_from(length).unwrap_or_default());
            name.retain(|byte| *byte != 0);
            Ok(name)
        }
        Err(Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn parse(name: &OsString) -> Option<RawFd> {
    name.to_str()?.parse().ok()
}

/// `tfd:        7 events: 80000019 data:                7  pos:0 ino:… sdev:…` (proc_pid_fdinfo(5)).
fn watched(line: &str, epoll: RawFd, number: RawFd) -> Option<Watched> {
    let mut words = line.strip_prefix("tfd:")?.split_whitespace();
    if words.next()?.parse() != Ok(number) {
        return None;
    }
    let (events, data) = (words.nth(1)?, words.nth(1)?);
    Some(Watched { epoll, events: u32::from_str_radix(events, 16).ok()?, data: u64::from_str_radix(data, 16).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_bind_reads_them() {
        let family = |number: libc::c_int| u16::try_from(number).unwrap().to_ne_bytes();
        let mut v4 = family(libc::AF_INET).to_vec();
        v4.extend([0x0b, 0xb8, 127, 0, 0, 1]);
        assert_eq!(SocketAddress::of(&v4), SocketAddress::Other);
        v4.extend([0; 8]);
        assert_eq!(SocketAddress::of(&v4), SocketAddress::Inet("127.0.0.1:3000".parse().unwrap()));
        let mut v6 = family(libc::AF_INET6).to_vec();
        v6.extend([0x0b, 0xb8, 0, 0, 0, 0]);
        v6.extend(Ipv6Addr::LOCALHOST.octets());
        assert_eq!(SocketAddress::of(&v6), SocketAddress::Inet("[::1]:3000".parse().unwrap()));
        v6.extend(5_u32.to_ne_bytes());
        let SocketAddress::Inet(SocketAddr::V6(found)) = SocketAddress::of(&v6) else { panic!("it is IPv6") };
        assert_eq!(found.scope_id(), 5);
        let mut unix = family(libc::AF_UNIX).to_vec();
        unix.extend([b'x'; 100]);
        for other in [&unix[..], &family(libc::AF_NETLINK)[..], &[2], &[]] {
            assert_eq!(SocketAddress::of(other), SocketAddress::Other);
        }
    }

    #[test]
    fn entries_of_an_epoll_set_are_found_by_their_number() {
        let line = "tfd:        7 events: 80000019 data:     ffff00000007  pos:0 ino:2a sdev:8";
        let expected = Watched { epoll: 4, events: 0x8000_0019, data: 0xffff_0000_0007 };
        assert_eq!(watched(line, 4, 7), Some(expected));
        assert_eq!(watched(line, 4, 8), None);
        assert_eq!(watched("pos:\t0", 4, 0), None);
    }
}
