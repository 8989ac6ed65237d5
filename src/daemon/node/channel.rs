//! The channel of one run: `process.send` and `process.on('message')` of Node, one JSON value a line (NODE_CHANNEL_FD).
//!
//! The guardian keeps our end: a channel that is closed ends programs that were written for PM2. As with notifications, what
//! matters to the core stays in the socket until a successor would know of it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as Plain;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::daemon::node::messages::Sent;
use crate::daemon::notify::is_noted;
use crate::daemon::report::{Report, Saying};
use crate::daemon::said::Sayings;
use crate::supervisor::RunId;

/// How much is looked at, at a time.
const LOOK: usize = 16 * 1024;

/// The longest line that is put together; what is longer is passed over.
const LINE: usize = 1 << 20;

/// What Node hears when it has sent a handle: it tries again twice, then it warns its program.
const NO_HANDLES: &[u8] = b"{\"cmd\":\"NODE_HANDLE_NACK\"}\n";

/// Our end.
pub(in crate::daemon) struct Channel {
    task: tokio::task::AbortHandle,
    socket: Arc<UnixStream>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Channel {
    /// Both ends: ours, and that of the program.
    ///
    /// # Errors
    ///
    /// EMFILE.
    pub(in crate::daemon) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
        let (ours, theirs) = Plain::pair()?;
        ours.set_nonblocking(true)?;
        Ok((ours.into(), theirs.into()))
    }

    /// Hears what a run says; none if that cannot be.
    pub(in crate::daemon) fn open(
        run: RunId,
        ours: OwnedFd,
        sayings: Sayings,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Option<Channel> {
        let socket = match UnixStream::from_std(Plain::from(ours)) {
            Ok(socket) => Arc::new(socket),
            Err(error) => {
                warn!(run = run.0, "cannot listen to its channel: {error}");
                return None;
            }
        };
        let reader = Reader { run, socket: Arc::clone(&socket), begun: Vec::new(), is_ready: false, sayings, reports };
        let task = tokio::spawn(async move {
            if let Err(error) = reader.read().await {
                debug!(run = run.0, "its channel: {error}");
            }
        });
        Some(Channel { task: task.abort_handle(), socket })
    }

    /// Sends a text as a message; whether somebody may hear it. Never waits.
    pub(in crate::daemon) fn say(&self, text: &str) -> bool {
        // A program that has left the channel, or does not read it, hears nothing.
        !self.task.is_finished() && self.try_say(text).is_ok()
    }

    fn try_say(&self, text: &str) -> io::Result<()> {
        let mut line = serde_json::to_vec(text)?;
        line.push(b'\n');
        send_now(&self.socket, &line)
    }
}

struct Reader {
    run: RunId,
    socket: Arc<UnixStream>,
    /// Of a line that is longer than what is looked at.
    begun: Vec<u8>,
    /// Whether it said so.
    is_ready: bool,
    sayings: Sayings,
    reports: mpsc::UnboundedSender<Report>,
}

impl Reader {
    /// Until the program has closed its end.
    async fn read(mut self) -> io::Result<()> {
        loop {
            self.socket.readable().await?;
            let seen = match self.socket.try_io(Interest::READABLE, || look(&self.socket)) {
                Ok(seen) if seen.is_empty() => return Ok(()),
                Ok(seen) => seen,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            let whole = seen.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            if whole == 0 && seen.len() < LOOK {
                // The beginning of a line stays, too; more of it wakes us.
                let _ = self.socket.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                continue;
            }
            let taken = if whole == 0 { seen.len() } else { whole };
            for part in seen.get(..taken).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
                self.begin(part);
                if part.ends_with(b"\n") {
                    let line = std::mem::take(&mut self.begun);
                    self.take(Sent::read(&line)).await;
                }
            }
            take_out(&self.socket, taken)?;
        }
    }

    fn begin(&mut self, bytes: &[u8]) {
        if self.begun.len() + bytes.len() <= LINE {
            self.begun.extend_from_slice(bytes);
        } else {
            // No JSON any more, whatever follows.
            self.begun.truncate(1);
        }
    }

    async fn take(&mut self, sent: Sent) {
        match sent {
            Sent::Ready if !self.is_ready => self.is_ready = is_noted(self.run, Saying::Ready, &self.reports).await,
            Sent::Metrics(metrics) => self.sayings.measure(self.run, metrics),
            // It may not be listening.
            Sent::Handle => drop(send_now(&self.socket, NO_HANDLES)),
            Sent::Ready | Sent::Other => {}
        }
    }
}

/// Sends a short line, which is taken whole or not at all. Past the runtime, which does not know yet of a new socket that it
/// can be written to.
pub(super) fn send_now(socket: &UnixStream, line: &[u8]) -> io::Result<()> {
    send(socket.as_raw_fd(), line, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?;
    Ok(())
}

/// What is there, which stays where it is; empty at the end. The buffer is none of the task's own.
fn look(socket: &UnixStream) -> io::Result<Vec<u8>> {
    let mut buffer = [0u8; LOOK];
    loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
            Ok(count) => return Ok(buffer.get(..count).unwrap_or_default().to_vec()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Takes out as much as was looked at. It is there: nobody else reads.
fn take_out(socket: &UnixStream, count: usize) -> io::Result<()> {
    let (mut buffer, mut left) = ([0u8; LOOK], count);
    while left > 0 {
        let part = buffer.get_mut(..left.min(LOOK)).unwrap_or_default();
        match recv(socket.as_raw_fd(), part, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return Ok(()),
            Ok(taken) => left = left.saturating_sub(taken),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn within<F: Future>(act: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let limit = crate::sys::testing::LIMIT;
        runtime.block_on(async { tokio::time::timeout(limit, act).await.expect("in time") })
    }

    #[test]
    fn lines_of_any_length_are_put_together_and_ready_is_taken_out_when_it_is_noted() {
        within(async {
            let (ours, theirs) = Channel::pair().unwrap();
            let successors = ours.try_clone().unwrap();
            let (sayings, (reports, mut inbox)) = (Sayings::default(), mpsc::unbounded_channel());
            let channel = Channel::open(RunId(7), ours, sayings.clone(), reports).unwrap();
            let mut program = Plain::from(theirs);
            let metric = |name: &str, value: u32| {
                format!("{{\"type\":\"axm:monitor\",\"data\":{{\"{name}\":{{\"value\":{value}}}}}}}\n")
            };
            let long = format!("\"{}\"\n", "x".repeat(3 * LOOK));
            program.write_all(format!("{}{long}{}", metric("a", 1), metric("b", 2)).as_bytes()).unwrap();
            program.write_all(b"\"rea").unwrap();
            while sayings.all().get(&RunId(7)).is_none_or(|said| said.metrics.len() < 2) {
                tokio::task::yield_now().await;
            }
            program.write_all(b"dy\"\n\"later\"\n").unwrap();
            let Some(Report::Said { run: RunId(7), what: Saying::Ready, noted }) = inbox.recv().await else {
                panic!("no report")
            };
            // The daemon dies here: the whole line is there still.
            drop((channel, noted));
            let mut left = [0; 64];
            let count = Plain::from(successors).read(&mut left).unwrap();
            assert_eq!(&left[..count], b"\"ready\"\n\"later\"\n");
        });
    }

    #[test]
    fn who_has_left_the_channel_hears_nothing_and_it_is_known() {
        within(async {
            let (ours, theirs) = Channel::pair().unwrap();
            let (reports, _inbox) = mpsc::unbounded_channel();
            let channel = Channel::open(RunId(1), ours, Sayings::default(), reports).unwrap();
            let mut program = Plain::from(theirs);
            assert!(channel.say("shutdown"));
            let mut heard = [0; 64];
            let count = program.read(&mut heard).unwrap();
            assert_eq!(&heard[..count], b"\"shutdown\"\n");
            drop(program);
            while channel.say("shutdown") {
                tokio::task::yield_now().await;
            }
        });
    }
}
