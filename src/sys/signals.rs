//! Signals that are read like messages instead of interrupting (signalfd(2)).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigHandler, SigSet, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::spec::Signal;

/// The signals that were blocked in this thread, to be read one by one.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks these signals in this thread and those that it starts later, and gives them their default meaning: with
    /// SIGCHLD ignored, as whoever started us may have left it, the kernel keeps no child for wait(2). Programs started
    /// by `spawn` are not affected.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for real-time signals; EMFILE.
    pub fn block(signals: &[Signal]) -> io::Result<Signals> {
        let mut set = SigSet::empty();
        for signal in signals {
            set.add(NixSignal::try_from(signal.number())?);
        }
        set.thread_block()?;
        for signal in &set {
            // SAFETY: the default is no function of ours, so nothing of this process runs in a handler.
            unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }?;
        }
        Ok(Signals(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// The next one that has arrived. Several of one kind may have become one.
    ///
    /// # Errors
    ///
    /// None that a caller could mend.
    pub fn next(&self) -> io::Result<Option<Signal>> {
        let Some(arrived) = self.0.read_signal()? else { return Ok(None) };
        Ok(i32::try_from(arrived.ssi_signo).ok().and_then(Signal::from_number))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// SIGCHLD, which no app is stopped with, so `spec` does not name it.
pub fn child() -> Signal {
    named(libc::SIGCHLD)
}

/// SIGUSR2.
pub fn user() -> Signal {
    named(libc::SIGUSR2)
}

/// SIGHUP.
pub fn hangup() -> Signal {
    named(libc::SIGHUP)
}

fn named(number: i32) -> Signal {
    Signal::from_number(number).expect("the standard signals lie in 1 to 64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_read_once() {
        let user = named(libc::SIGUSR1);
        let signals = Signals::block(&[user]).unwrap();
        assert_eq!(signals.next().unwrap(), None);
        // To this thread, as raise(3) is defined.
        nix::sys::signal::raise(NixSignal::SIGUSR1).unwrap();
        assert_eq!(signals.next().unwrap(), Some(user));
        assert_eq!(signals.next().unwrap(), None);
    }

    #[test]
    fn an_ignored_signal_is_ignored_no_more() {
        let is_ignored = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
            u64::from_str_radix(mask.trim(), 16).unwrap() >> (libc::SIGUSR2 - 1) & 1 == 1
        };
        // SAFETY: ignoring runs no function.
        unsafe { nix::sys::signal::signal(NixSignal::SIGUSR2, SigHandler::SigIgn) }.unwrap();
        assert!(is_ignored());
        let _signals = Signals::block(&[named(libc::SIGUSR2)]).unwrap();
        assert!(!is_ignored());
    }
}
