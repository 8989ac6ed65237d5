//! Commands for a thread that sleeps in poll(2): a channel, and a byte that wakes it.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Who commands.
#[derive(Debug)]
pub(super) struct Commander<T> {
    commands: Sender<T>,
    bell: UnixStream,
}

/// Who is commanded.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    commands: Receiver<T>,
    bell: UnixStream,
}

/// Both ends. Commands come from keys and frames, so there are never many.
pub(super) fn pair<T>() -> io::Result<(Commander<T>, Inbox<T>)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let (to, from) = channel();
    Ok((Commander { commands: to, bell: ours }, Inbox { commands: from, bell: theirs }))
}

impl<T> Commander<T> {
    /// Sends a command. To a thread that has ended, nothing.
    pub(super) fn send(&self, command: T) {
        if self.commands.send(command).is_ok() {
            // A bell that is full rings already.
            let _ = (&self.bell).write(&[0]);
        }
    }
}

impl<T> Inbox<T> {
    /// The next command, without waiting.
    pub(super) fn next(&self) -> Option<T> {
        let mut rung = [0; 64];
        let _ = (&self.bell).read(&mut rung);
        self.commands.try_recv().ok()
    }
}

impl<T> AsFd for Inbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
