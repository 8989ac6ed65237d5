//! Finds the daemon's socket, also in the gap between two daemons.
//!
//! While the home's lock is held, a guardian or a daemon lives and there will be a socket again: it is waited for, and
//! never is a second guardian started. Two things are watched (inotify(7)): the home's folder, in which the socket gets its
//! name by a rename when it already listens, and the lock file, whose last writer closes it when guardian and daemon have
//! both ended.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use interprocess::os::unix::uds_local_socket::Stream;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::time::TimeVal;

use crate::client::line::wait_for;
use crate::client::{ClientError, Interrupt};
use crate::paths::Home;
use crate::sys::lock::daemon_lives;

/// How long a home whose guardian lives may be without a listening daemon: an update that fails takes 10 s until the
/// guardian goes back, and 5 s is its longest pause after daemons that die at once.
pub(super) const GAP_LIMIT: Duration = Duration::from_secs(15);
/// How long a full queue of connections may hold up another one.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Where the kernel gives no watch (fs.inotify.max_user_instances), the gap is looked at this often.
const BLIND_TURN: Duration = Duration::from_millis(20);
/// A file's close is told a moment before its lock is given back: looked at again after this, doubled each time …
const FIRST_TURN: Duration = Duration::from_millis(1);
/// … until it is plain that the lock is still held.
const LAST_TURN: Duration = Duration::from_millis(64);

/// A connected socket; none where no daemon runs.
pub(super) fn reach(
    home: &Home,
    limit: Duration,
    interrupt: Option<&Interrupt>,
) -> Result<Option<Stream>, ClientError> {
    let path = home.socket();
    if let Some(stream) = try_open(&path)? {
        return Ok(Some(stream));
    }
    if !daemon_lives(&home.lock()) {
        return Ok(None);
    }
    let deadline = Instant::now() + limit;
    let mut gap = Gap::watch(home);
    loop {
        if let Some(stream) = try_open(&path)? {
            return Ok(Some(stream));
        }
        if !daemon_lives(&home.lock()) {
            return Ok(None);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ClientError::TimedOut { limit });
        }
        gap.wait(left, interrupt)?;
    }
}

/// Sleeps until something is made or renamed in a home, at most so long: where no daemon runs, the next one shows itself so.
pub fn wait_for_change(home: &Home, limit: Duration) {
    let watch = || -> nix::Result<Inotify> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(home.root(), AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE)?;
        Ok(inotify)
    };
    match watch() {
        Ok(inotify) => {
            // A wait that fails is one that is over.
            let _ = wait_for(inotify.as_fd(), limit, None);
        }
        Err(_) => std::thread::sleep(limit),
    }
}

/// What tells that a daemon has come, or that none will.
struct Gap {
    watch: Option<(Inotify, Option<WatchDescriptor>)>,
    /// How soon the lock is looked at again; none while nothing was closed.
    turn: Option<Duration>,
}

impl Gap {
    fn watch(home: &Home) -> Gap {
        let watch = || -> nix::Result<(Inotify, Option<WatchDescriptor>)> {
            let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
            inotify.add_watch(home.root(), AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE)?;
            // It may be gone, or be another user's; then only the socket is waited for.
            let lock = inotify.add_watch(&home.lock(), AddWatchFlags::IN_CLOSE_WRITE).ok();
            Ok((inotify, lock))
        };
        Gap { watch: watch().ok(), turn: None }
    }

    /// Sleeps until something may have changed, at most this long.
    fn wait(&mut self, left: Duration, interrupt: Option<&Interrupt>) -> Result<(), ClientError> {
        let Some((inotify, lock)) = &self.watch else {
            return match interrupt {
                Some(interrupt) => wait_for(interrupt.as_fd(), left.min(BLIND_TURN), Some(interrupt)).map(drop),
                None => {
                    std::thread::sleep(left.min(BLIND_TURN));
                    Ok(())
                }
            };
        };
        let sleep = self.turn.map_or(left, |turn| turn.min(left));
        let has_news = wait_for(inotify.as_fd(), sleep, interrupt)?;
        let events = if has_news { inotify.read_events().unwrap_or_default() } else { Vec::new() };
        let is_closed = lock.as_ref().is_some_and(|lock| events.iter().any(|event| event.wd == *lock));
        self.turn = match self.turn {
            _ if is_closed => Some(FIRST_TURN),
            Some(turn) if turn < LAST_TURN => Some(turn * 2),
            Some(_) | None => None,
        };
        Ok(())
    }
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
    let limit = TimeVal::new(CONNECT_LIMIT.as_secs().cast_signed(), 0);
    socket::setsockopt(&fd, sockopt::SendTimeout, &limit)?;
    socket::connect(fd.as_raw_fd(), &address)?;
    Ok(Stream::from(fd))
}
