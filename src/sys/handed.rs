//! Listening sockets of ours that programs inherit: opened by address, recognised by themselves, closed for good.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open as open_path};
use nix::sys::socket::{
    AddressFamily, Shutdown, SockFlag, SockProtocol, SockType, SockaddrStorage, UnixAddr, bind, connect, getsockname,
    setsockopt, shutdown, socket, sockopt,
};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{Gid, Group, Uid, User, fchownat};

use crate::spec::{ListenAddress, ListenSpec};

/// The file of a unix socket, as nothing else is it: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
}

/// Why a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody listens there.
    #[error("somebody listens there")]
    Taken,
    /// There is something else.
    #[error("it is not a socket")]
    NotASocket,
    /// No such user.
    #[error("no user `{0}`")]
    NoUser(String),
    /// No such group.
    #[error("no group `{0}`")]
    NoGroup(String),
    /// A folder cannot be made.
    #[error("make the folder {path}: {source}", path = path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A call failed.
    #[error("{step}: {source}")]
    Call {
        /// Which.
        step: Step,
        /// Why.
        source: io::Error,
    },
}

/// A step on the way to a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// socket(2) and its options.
    Make,
    /// bind(2).
    Bind,
    /// The owner of the file.
    Owner,
    /// Its permissions.
    Mode,
    /// listen(2).
    Listen,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Step::Make => "socket",
            Step::Bind => "bind",
            Step::Owner => "chown",
            Step::Mode => "chmod",
            Step::Listen => "listen",
        })
    }
}

fn failed<E: Into<io::Error>>(step: Step) -> impl Fn(E) -> OpenError {
    move |source| OpenError::Call { step, source: source.into() }
}

/// Opens a listening socket. `umask` is that of whoever would have opened it otherwise.
///
/// The file of a unix socket that nobody listens on is replaced; nothing else is ever removed.
///
/// # Errors
///
/// [`OpenError`]; nothing is left behind then.
pub fn open(spec: &ListenSpec, umask: u32) -> Result<OwnedFd, OpenError> {
    match &spec.address {
        ListenAddress::Tcp { address, v6_only } => {
            let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
            let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)
                .map_err(failed(Step::Make))?;
            // Connections of an earlier one may be in TIME_WAIT.
            setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(failed(Step::Make))?;
            if address.is_ipv6() {
                setsockopt(&fd, sockopt::Ipv6V6Only, v6_only).map_err(failed(Step::Make))?;
            }
            bind(fd.as_raw_fd(), &SockaddrStorage::from(*address)).map_err(|errno| taken(Step::Bind, errno))?;
            listen(&fd, spec.backlog).map_err(|errno| taken(Step::Listen, errno))?;
            Ok(fd)
        }
        ListenAddress::Unix { path } => {
            let ids = ids(spec)?;
            make_folder(path)?;
            clear(path)?;
            let fd = unix_socket(SockFlag::empty())?;
            let address = UnixAddr::new(path).map_err(failed(Step::Bind))?;
            bind(fd.as_raw_fd(), &address).map_err(|errno| taken(Step::Bind, errno))?;
            let rest = (|| {
                adorn(path, spec.mode.unwrap_or(0o777 & !umask), ids)?;
                // Nobody connects before it is as it should be.
                listen(&fd, spec.backlog).map_err(failed(Step::Listen))
            })();
            if let Err(error) = rest {
                // We have made it a moment ago.
                let _ = fs::remove_file(path);
                return Err(error);
            }
            Ok(fd)
        }
    }
}

/// Gives the file of a unix socket another owner and other permissions.
///
/// # Errors
///
/// As [`open`].
pub fn change(spec: &ListenSpec, umask: u32) -> Result<(), OpenError> {
    match &spec.address {
        ListenAddress::Tcp { .. } => Ok(()),
        ListenAddress::Unix { path } => adorn(path, spec.mode.unwrap_or(0o777 & !umask), ids(spec)?),
    }
}

/// How many connections may wait.
///
/// # Errors
///
/// None for a listening socket.
pub fn set_backlog(fd: &OwnedFd, backlog: u32) -> io::Result<()> {
    listen(fd, backlog).map_err(Into::into)
}

/// Closes a listening socket for good: clients are refused from now on, whoever else holds it. Its file is removed if it
/// is still its own.
pub fn close(fd: OwnedFd, address: &ListenAddress, file: Option<FileId>) {
    if let (ListenAddress::Unix { path }, Some(file)) = (address, file)
        && file_id(path) == Some(file)
    {
        // Refusing is what counts; a file that stays is replaced by the next one.
        let _ = fs::remove_file(path);
    }
    // It listens, so this cannot fail.
    let _ = shutdown(fd.as_raw_fd(), Shutdown::Both);
}

/// Where a socket listens; none if it does not, or as nothing that [`open`] opens.
pub fn address_of(fd: &OwnedFd) -> Option<ListenAddress> {
    if !nix::sys::socket::getsockopt(fd, sockopt::AcceptConn).ok()? {
        return None;
    }
    let bound: SockaddrStorage = getsockname(fd.as_raw_fd()).ok()?;
    if let Some(path) = bound.as_unix_addr().and_then(UnixAddr::path) {
        return Some(ListenAddress::Unix { path: path.to_owned() });
    }
    let v4 = bound.as_sockaddr_in().map(|it| std::net::SocketAddrV4::from(*it).into());
    let v6 = bound.as_sockaddr_in6().map(|it| std::net::SocketAddrV6::from(*it).into());
    let v6_only = v6.is_some() && nix::sys::socket::getsockopt(fd, sockopt::Ipv6V6Only).ok()?;
    Some(ListenAddress::Tcp { address: v4.or(v6)?, v6_only })
}

/// The socket that lies in the file system under this path now.
pub fn file_id(path: &Path) -> Option<FileId> {
    let found = fs::symlink_metadata(path).ok().filter(|found| found.file_type().is_socket())?;
    Some(FileId { device: found.dev(), inode: found.ino() })
}

fn taken(step: Step, errno: Errno) -> OpenError {
    match errno {
        Errno::EADDRINUSE => OpenError::Taken,
        errno => OpenError::Call { step, source: errno.into() },
    }
}

fn listen(fd: &OwnedFd, backlog: u32) -> nix::Result<()> {
    let backlog = libc::c_int::try_from(backlog).unwrap_or(libc::c_int::MAX);
    // SAFETY: listen takes two integers.
    Errno::result(unsafe { libc::listen(fd.as_raw_fd(), backlog) }).map(drop)
}

fn unix_socket(flags: SockFlag) -> Result<OwnedFd, OpenError> {
    socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC | flags, None).map_err(failed(Step::Make))
}

/// Removes the file of a socket that nobody listens on.
fn clear(path: &Path) -> Result<(), OpenError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(OpenError::Call { step: Step::Bind, source }),
    };
    if !found.file_type().is_socket() {
        return Err(OpenError::NotASocket);
    }
    // It must not wait where a queue is full.
    let asking = unix_socket(SockFlag::SOCK_NONBLOCK)?;
    let address = UnixAddr::new(path).map_err(failed(Step::Bind))?;
    match connect(asking.as_raw_fd(), &address) {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path).map_err(failed(Step::Bind)),
        Err(Errno::ENOENT) => Ok(()),
        // Of another kind: somebody has it.
        Ok(()) | Err(Errno::EAGAIN | Errno::EINPROGRESS | Errno::EPROTOTYPE) => Err(OpenError::Taken),
        Err(errno) => Err(OpenError::Call { step: Step::Bind, source: errno.into() }),
    }
}

/// As much of the way to the file as is missing, for everybody to pass: at every start /run is empty.
fn make_folder(path: &Path) -> Result<(), OpenError> {
    let Some(folder) = path.parent().filter(|folder| !folder.exists()) else { return Ok(()) };
    make_folder(folder)?;
    let made = DirBuilder::new().mode(0o755).create(folder).and_then(|()| {
        // Whatever the mask of this process says.
        fs::set_permissions(folder, Permissions::from_mode(0o755))
    });
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(|source| OpenError::Folder { path: folder.to_owned(), source }),
    }
}

/// Owner and permissions of the socket's file, and of no other that somebody has put in its place meanwhile.
fn adorn(path: &Path, mode: u32, (user, group): (Option<Uid>, Option<Gid>)) -> Result<(), OpenError> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = open_path(path, flags, Mode::empty()).map_err(failed(Step::Mode))?;
    let is_socket = fstat(&file).map_err(failed(Step::Mode))?.st_mode & libc::S_IFMT == libc::S_IFSOCK;
    if !is_socket {
        return Err(OpenError::NotASocket);
    }
    if user.is_some() || group.is_some() {
        fchownat(&file, c"", user, group, AtFlags::AT_EMPTY_PATH).map_err(failed(Step::Owner))?;
    }
    // A descriptor that only names a file takes no fchmod(2); by way of /proc it is that file all the same.
    let by_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::set_permissions(by_descriptor, Permissions::from_mode(mode)).map_err(failed(Step::Mode))
}

fn ids(spec: &ListenSpec) -> Result<(Option<Uid>, Option<Gid>), OpenError> {
    let user = spec.user.as_deref().map(|name| match name.parse() {
        Ok(number) => Ok(Uid::from_raw(number)),
        Err(_) => match User::from_name(name) {
            Ok(Some(user)) => Ok(user.uid),
            Ok(None) | Err(_) => Err(OpenError::NoUser(name.to_owned())),
        },
    });
    let group = spec.group.as_deref().map(|name| match name.parse() {
        Ok(number) => Ok(Gid::from_raw(number)),
        Err(_) => match Group::from_name(name) {
            Ok(Some(group)) => Ok(group.gid),
            Ok(None) | Err(_) => Err(OpenError::NoGroup(name.to_owned())),
        },
    });
    Ok((user.transpose()?, group.transpose()?))
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn unix(path: &Path) -> ListenSpec {
        ListenSpec::sample(ListenAddress::Unix { path: path.to_owned() })
    }

    fn tcp(address: SocketAddr) -> ListenSpec {
        ListenSpec::sample(ListenAddress::Tcp { address, v6_only: false })
    }

    /// A port that was free a moment ago.
    fn free_port() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[test]
    fn a_port_takes_connections_until_it_is_closed_whoever_holds_it() {
        let spec = tcp(free_port());
        let ListenAddress::Tcp { address, .. } = spec.address else { unreachable!() };
        let fd = open(&spec, 0o022).unwrap();
        assert_eq!(address_of(&fd), Some(spec.address.clone()));
        TcpStream::connect(address).unwrap();
        assert!(matches!(open(&spec, 0o022), Err(OpenError::Taken)));
        let held = fd.try_clone().unwrap();
        close(fd, &spec.address, None);
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(address_of(&held), None);
        open(&spec, 0o022).unwrap();
    }

    #[test]
    fn a_unix_socket_is_as_it_was_wanted_and_goes_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/api.sock");
        let mode = || fs::metadata(&path).unwrap().mode() & 0o777;
        let fd = open(&unix(&path), 0o027).unwrap();
        assert_eq!(mode(), 0o750, "as a program with this mask would have it");
        let own = (Uid::effective().to_string(), Gid::effective().to_string());
        let wanted = ListenSpec { mode: Some(0o606), user: Some(own.0), group: Some(own.1), ..unix(&path) };
        change(&wanted, 0o027).unwrap();
        assert_eq!(mode(), 0o606);
        assert_eq!(address_of(&fd), Some(wanted.address.clone()));
        UnixStream::connect(&path).unwrap();
        assert!(matches!(open(&wanted, 0), Err(OpenError::Taken)));
        let (file, held) = (file_id(&path), fd.try_clone().unwrap());
        close(fd, &wanted.address, file);
        assert!(!path.exists());
        drop(held);
    }

    #[test]
    fn what_nobody_listens_on_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let fd = open(&unix(&path), 0).unwrap();
        let file = file_id(&path);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "words").unwrap();
        assert!(matches!(open(&unix(&path), 0), Err(OpenError::NotASocket)));
        close(fd, &unix(&path).address, file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "words");
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        assert!(matches!(open(&unix(&path), 0), Err(OpenError::Taken)));
        drop(other);
    }

    #[test]
    fn an_owner_that_there_is_not_is_named_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let of = |user: Option<&str>, group: Option<&str>| ListenSpec {
            user: user.map(str::to_owned),
            group: group.map(str::to_owned),
            ..unix(&path)
        };
        assert!(matches!(open(&of(Some("no-such-user"), None), 0), Err(OpenError::NoUser(_))));
        assert!(matches!(open(&of(None, Some("no-such-group")), 0), Err(OpenError::NoGroup(_))));
        if !Uid::effective().is_root() {
            let given = open(&of(Some("0"), None), 0);
            assert!(matches!(given, Err(OpenError::Call { step: Step::Owner, .. })));
        }
        assert!(!path.exists());
    }
}
