//! The notification socket of a run (sd_notify(3)): READY, STOPPING, STATUS and WATCHDOG.
//!
//! What matters to the core stays in the socket until a successor would know of it: it is looked at, told, and taken out when
//! the journal has it. So it is told twice at worst, when a daemon dies in between.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::daemon::report::{Report, Saying};
use crate::daemon::said::Sayings;
use crate::daemon::watchdogs::Watchdogs;
use crate::spec::SHORTEST_WATCHDOG;
use crate::supervisor::RunId;

/// The longest datagram of sd_notify(3) that is looked at.
const DATAGRAM: usize = 4096;

/// The longest status that is kept, in characters.
const STATUS: usize = 200;

/// The notification socket of a run; its file goes with it.
pub(super) struct Notify {
    task: tokio::task::AbortHandle,
    path: PathBuf,
    socket: Arc<UnixDatagram>,
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        self.task.abort();
        // Left over, it would be replaced by the next run of its number.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What one datagram says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Notice {
    is_ready: bool,
    is_closing: bool,
    /// It says that it does not hang.
    is_alive: bool,
    /// It says that it does.
    is_hung: bool,
    /// How long it may be silent from now on.
    limit: Option<Duration>,
    status: Option<String>,
}

impl Notice {
    fn read(datagram: &[u8]) -> Notice {
        let mut notice = Notice::default();
        for line in datagram.split(|byte| *byte == b'\n') {
            match line {
                b"READY=1" => notice.is_ready = true,
                b"STOPPING=1" => notice.is_closing = true,
                b"WATCHDOG=1" => notice.is_alive = true,
                b"WATCHDOG=trigger" => notice.is_hung = true,
                line => {
                    if let Some(status) = line.strip_prefix(b"STATUS=") {
                        let text = String::from_utf8_lossy(status);
                        notice.status = Some(text.chars().filter(|sign| !sign.is_control()).take(STATUS).collect());
                    } else if let Some(micros) = line.strip_prefix(b"WATCHDOG_USEC=") {
                        notice.limit =
                            std::str::from_utf8(micros).ok().and_then(|micros| micros.parse().ok()).map(limit);
                    }
                }
            }
        }
        notice
    }
}

/// How long a program may be silent that says so in microseconds; zero: for ever.
fn limit(micros: u64) -> Duration {
    let limit = Duration::from_micros(micros);
    if limit.is_zero() { limit } else { limit.max(SHORTEST_WATCHDOG) }
}

/// Reports what any process says that knows the run's socket.
pub(super) fn notify(
    run: RunId,
    (socket, path): (std::os::unix::net::UnixDatagram, PathBuf),
    (sayings, watchdogs): (Sayings, Watchdogs),
    reports: mpsc::UnboundedSender<Report>,
) -> Option<Notify> {
    let socket = match UnixDatagram::from_std(socket) {
        Ok(socket) => Arc::new(socket),
        Err(error) => {
            warn!(run = run.0, "cannot listen for notifications: {error}");
            return None;
        }
    };
    let kept = Arc::clone(&socket);
    let task = tokio::spawn(async move {
        let mut last = None;
        while socket.readable().await.is_ok() {
            let notice = match socket.try_io(Interest::READABLE, || look(&socket)) {
                Ok(notice) => notice,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return warn!(run = run.0, "cannot read notifications: {error}"),
            };
            if let Some(status) = &notice.status {
                sayings.set_status(run, status);
            }
            if notice.is_alive {
                watchdogs.heard(run);
            }
            let said = [
                notice.is_ready.then_some(Saying::Ready),
                notice.limit.map(|limit| Saying::Guarded { limit }),
                notice.is_closing.then_some(Saying::Closing),
                notice.is_hung.then_some(Saying::Hung),
            ];
            for what in said.into_iter().flatten() {
                // A program that repeats itself costs its own time, not the engine's.
                if last != Some(what) && !is_noted(run, what, &reports).await {
                    return;
                }
                last = Some(what);
            }
            // It is there: it was looked at.
            let _ = socket.try_recv(&mut [0; 1]);
        }
    });
    Some(Notify { task: task.abort_handle(), path, socket: kept })
}

/// Tells the engine, and waits until it has written that down; false when there is no engine any more.
pub(super) async fn is_noted(run: RunId, what: Saying, reports: &mpsc::UnboundedSender<Report>) -> bool {
    let (noted, done) = oneshot::channel();
    if reports.send(Report::Said { run, what, noted }).is_err() {
        return false;
    }
    // Nothing is ever sent: it ends when it is dropped.
    let _ = done.await;
    true
}

/// The next datagram, which stays where it is. The buffer is none of the task's own: a thousand of them wait most of the
/// time.
fn look(socket: &UnixDatagram) -> io::Result<Notice> {
    let mut buffer = [0u8; DATAGRAM];
    loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
            Ok(count) => return Ok(Notice::read(buffer.get(..count).unwrap_or_default())),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_datagram_says_is_read_line_by_line() {
        let read = Notice::read(b"READY=1\nSTATUS=serving \x1b[31m3\nMAINPID=7");
        let status = Some("serving [31m3".into());
        assert_eq!(read, Notice { is_ready: true, status, ..Notice::default() });
        assert_eq!(Notice::read(b"WATCHDOG=1"), Notice { is_alive: true, ..Notice::default() });
        assert_eq!(Notice::read(b"WATCHDOG=trigger"), Notice { is_hung: true, ..Notice::default() });
        for (micros, expected) in [("20000000", Some(20_000)), ("0", Some(0)), ("1", Some(100)), ("soon", None)] {
            let limit = Notice::read(format!("WATCHDOG_USEC={micros}").as_bytes()).limit;
            assert_eq!(limit, expected.map(Duration::from_millis), "{micros}");
        }
        assert_eq!(Notice::read(b"STOPPING=1"), Notice { is_closing: true, ..Notice::default() });
        assert_eq!(Notice::read(b"READY=0\nXREADY=1\n"), Notice::default());
        let long = format!("STATUS={}", "x".repeat(4000));
        assert_eq!(Notice::read(long.as_bytes()).status.unwrap().len(), STATUS);
    }

    #[test]
    fn what_is_not_noted_stays_in_the_socket() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let successors = ours.try_clone().unwrap();
            let (reports, mut inbox) = mpsc::unbounded_channel();
            let notify =
                notify(RunId(1), (ours, "/nonexistent".into()), (Sayings::default(), Watchdogs::default()), reports)
                    .unwrap();
            theirs.send(b"READY=1").unwrap();
            let Some(Report::Said { what: Saying::Ready, noted, .. }) = inbox.recv().await else { panic!("no report") };
            // The daemon dies here.
            drop(notify);
            drop(noted);
            assert_eq!(successors.recv(&mut [0; 16]).unwrap(), 7);
        });
    }
}
