//! The bare connection: lines out, lines in, each wait bounded and open to Ctrl-C.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use interprocess::local_socket::traits::Stream as _;
use interprocess::os::unix::uds_local_socket::Stream;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::client::{ClientError, Interrupt};
use crate::proto::{LineCodec, MAX_MESSAGE};

/// A connected socket and what has arrived over it.
#[derive(Debug)]
pub(super) struct Line {
    stream: Stream,
    codec: LineCodec,
}

impl Line {
    pub(super) fn new(stream: Stream) -> Line {
        Line { stream, codec: LineCodec::new(MAX_MESSAGE) }
    }

    /// Sends a whole message. To a daemon that has gone, too: it may have said why before it went, and who reads will see.
    pub(super) fn send(&mut self, message: &[u8], limit: Duration) -> Result<(), ClientError> {
        let activity = "write to";
        self.stream.set_send_timeout(Some(limit)).map_err(|source| ClientError::Io { activity, source })?;
        match self.stream.write_all(message) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(ClientError::TimedOut { limit }),
            Err(error) if is_end(&error) => Ok(()),
            Err(source) => Err(ClientError::Io { activity, source }),
        }
    }

    /// The next message that has arrived.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.codec.next_line()
    }

    /// Takes in what is there; waits if nothing is.
    pub(super) fn read_some(&mut self) -> Result<(), ClientError> {
        let mut buffer = [0; 64 * 1024];
        match (&self.stream).read(&mut buffer) {
            Ok(0) => Err(ClientError::Gone),
            Ok(count) => Ok(self.codec.push(&buffer[..count])?),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if is_end(&error) => Err(ClientError::Gone),
            Err(source) => Err(ClientError::Io { activity: "read from", source }),
        }
    }

    pub(super) fn is_readable_within(
        &self,
        limit: Duration,
        interrupt: Option<&Interrupt>,
    ) -> Result<bool, ClientError> {
        wait_for(self.as_fd(), limit, interrupt)
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Sleeps until a descriptor is readable, at most this long; whether it is.
pub(super) fn wait_for(
    fd: BorrowedFd<'_>,
    limit: Duration,
    interrupt: Option<&Interrupt>,
) -> Result<bool, ClientError> {
    let mut fds = vec![PollFd::new(fd, PollFlags::POLLIN)];
    fds.extend(interrupt.map(|interrupt| PollFd::new(interrupt.as_fd(), PollFlags::POLLIN)));
    match poll(&mut fds, timeout(limit)) {
        Ok(0) => Ok(false),
        Ok(_) if fds.get(1).is_some_and(|fd| fd.any() == Some(true)) => Err(ClientError::Interrupted),
        Ok(_) => Ok(true),
        // A stop and continue (Ctrl-Z, fg) interrupts; the limit then starts again, which is what its user expects.
        Err(Errno::EINTR) => wait_for(fd, limit, interrupt),
        Err(error) => Err(ClientError::Io { activity: "wait for", source: error.into() }),
    }
}

/// Whether the other side is gone: killed, its unread bytes turn the end into a reset (unix(7)).
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}

/// Rounded up, so that a wait never ends just before its limit and turns in circles.
fn timeout(limit: Duration) -> PollTimeout {
    PollTimeout::try_from(limit.as_millis() + 1).unwrap_or(PollTimeout::MAX)
}
