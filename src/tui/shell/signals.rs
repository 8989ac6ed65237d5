//! Signals that ask this process to end, as messages; and what is done when nobody hears them.

use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::SyncSender;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::tui::message::{End, Message};
use crate::tui::shell::terminal;

/// How long the screen may take to end, in milliseconds, until it is ended: a terminal that takes no text blocks whoever
/// writes to it.
const PATIENCE: u16 = 1_000;

/// Signals that are waited for.
pub(super) struct Ends {
    signals: SignalFd,
    mask: SigSet,
}

impl Ends {
    /// Takes SIGTERM, SIGHUP, SIGINT and SIGQUIT. Before any other thread is started: these inherit what is blocked.
    pub(super) fn catch() -> io::Result<Ends> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
            mask.add(signal);
        }
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        mask.thread_block()?;
        Ok(Ends { signals, mask })
    }

    /// Tells of the first one, and ends the process itself if it is still there a while later.
    pub(super) fn watch(self, to: &SyncSender<Message>) {
        let Some(number) = self.wait() else { return };
        // A channel that is full has a reader that does not read.
        let _ = to.try_send(Message::End(End::Signal(number)));
        let _ = poll(&mut [], PollTimeout::from(PATIENCE));
        terminal::restore();
        end_by(&self.mask, number);
    }

    fn wait(&self) -> Option<i32> {
        loop {
            let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::NONE);
            match self.signals.read_signal() {
                Ok(Some(info)) => return i32::try_from(info.ssi_signo).ok(),
                Ok(None) => {}
                Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }
}

/// Ends this process by a signal, so that whoever started it sees which.
pub(super) fn die(number: i32) -> ! {
    let mut mask = SigSet::empty();
    if let Ok(signal) = Signal::try_from(number) {
        mask.add(signal);
    }
    end_by(&mask, number);
}

fn end_by(mask: &SigSet, number: i32) -> ! {
    let _ = mask.thread_unblock();
    if let Ok(signal) = Signal::try_from(number) {
        let _ = raise(signal);
    }
    // It is ignored here, as shells have it for what they start in the background.
    std::process::exit(128 + number);
}
