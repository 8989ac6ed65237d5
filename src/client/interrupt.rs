//! Ctrl-C as something that a wait can see, instead of a death in the middle of a line.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// While it lives, SIGINT does not end the process but makes its descriptor readable (signalfd(2)).
///
/// Take it before other threads start and after the daemon was started: both inherit the blocked signal.
#[derive(Debug)]
pub struct Interrupt {
    signals: SignalFd,
    mask: SigSet,
}

impl Interrupt {
    /// Takes over SIGINT.
    ///
    /// # Errors
    ///
    /// When the kernel gives no descriptor.
    pub fn catch() -> io::Result<Interrupt> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGINT);
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        mask.thread_block()?;
        Ok(Interrupt { signals, mask })
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        // What was seen is taken out first: unblocked, it would end the process now, in the middle of its last words.
        let _ = self.signals.read_signal();
        let _ = self.mask.thread_unblock();
    }
}
