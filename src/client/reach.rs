//! Finds the daemon's socket, also in the moment in which its guardian is starting it (again).

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use interprocess::os::unix::uds_local_socket::Stream;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::time::TimeVal;

use crate::client::ClientError;
use crate::client::connection::HELLO_LIMIT;
use crate::paths::Home;
use crate::sys::lock::daemon_lives;

/// How long a home whose guardian lives may be without a listening daemon.
const GAP_LIMIT: Duration = Duration::from_secs(5);
/// The longest sleep within the gap. The folder tells when the socket is made, but nothing tells when it listens a
/// moment later, nor that the guardian has ended.
const GAP_TURN: u16 = 20;

/// A connected socket; none where no daemon runs.
pub(super) fn reach(home: &Home) -> Result<Option<Stream>, ClientError> {
    let path = home.socket();
    if let Some(stream) = try_open(&path)? {
        return Ok(Some(stream));
    }
    if !daemon_lives(&home.lock()) {
        return Ok(None);
    }
    let watched = |errno: nix::Error| ClientError::Io { activity: "wait for", source: errno.into() };
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(watched)?;
    inotify.add_watch(home.root(), AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO).map_err(watched)?;
    let deadline = Instant::now() + GAP_LIMIT;
    while Instant::now() < deadline {
        if let Some(stream) = try_open(&path)? {
            return Ok(Some(stream));
        }
        if !daemon_lives(&home.lock()) {
            return Ok(None);
        }
        let _ = poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], PollTimeout::from(GAP_TURN));
        let _ = inotify.read_events();
    }
    Err(ClientError::TimedOut { limit: GAP_LIMIT })
}

/// None where nobody listens.
fn try_open(path: &Path) -> Result<Option<Stream>, ClientError> {
    use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
    match open(path) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | ConnectionRefused) => Ok(None),
        Err(source) => Err(ClientError::Connect { path: path.to_owned(), source }),
    }
}

/// Opens the socket ourselves: a UNIX socket that is set non-blocking for a bounded connect does not wait at all when
/// the listener's queue is full (connect(2), EAGAIN), while a blocking one honours SO_SNDTIMEO (unix(7), socket(7)).
fn open(path: &Path) -> io::Result<Stream> {
    let address = UnixAddr::new(path)?;
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let limit = TimeVal::new(HELLO_LIMIT.as_secs().cast_signed(), 0);
    socket::setsockopt(&fd, sockopt::SendTimeout, &limit)?;
    socket::connect(fd.as_raw_fd(), &address)?;
    Ok(Stream::from(fd))
}
