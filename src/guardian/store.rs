//! The descriptors that a guardian keeps, and one daemon's connection to them.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::guardian::wire::{Reply, Request};
use crate::sys::fds::{Blocking, Channel, Message};

/// So many messages are carried out before signals are looked at again.
const BATCH: usize = 64;

/// Descriptors by name. Each daemon puts here what its successor needs.
#[derive(Debug, Default)]
pub(super) struct Store(BTreeMap<String, OwnedFd>);

/// The guardian's end of one daemon's connection.
#[derive(Debug)]
pub(super) struct Connection {
    channel: Channel,
    /// Requests carried out.
    done: u64,
    /// How many of them the daemon knows of.
    told: u64,
    /// What is being sent back, with the number of all; none when nothing is.
    giving: Option<(VecDeque<String>, usize)>,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The daemon has told that it is ready.
    pub(super) is_ready: bool,
    /// The daemon has closed its end.
    pub(super) is_closed: bool,
    /// There may be more to read.
    pub(super) has_more: bool,
}

impl Connection {
    pub(super) fn new(channel: Channel) -> io::Result<Connection> {
        channel.set_blocking(Blocking::No)?;
        Ok(Connection { channel, done: 0, told: 0, giving: None })
    }

    /// Carries out what has arrived and sends what can be sent.
    pub(super) fn go_on(&mut self, store: &mut Store) -> Progress {
        let mut progress = Progress { has_more: true, ..Progress::default() };
        for _ in 0..BATCH {
            match self.channel.recv() {
                Ok(Some(message)) => {
                    self.carry_out(message, store, &mut progress);
                    self.done += 1;
                }
                Ok(None) => {
                    return Progress { is_closed: true, has_more: false, ..progress };
                }
                // A descriptor did not fit below our limit: the name stays as it was. Carried out as far as it can be.
                Err(error) if error.kind() == ErrorKind::InvalidData => self.done += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    progress.has_more = false;
                    break;
                }
                Err(_) => return Progress { is_closed: true, has_more: false, ..progress },
            }
        }
        self.give(store);
        self.tell();
        progress
    }

    /// Whether something waits for the daemon to read.
    pub(super) fn wants_to_write(&self) -> bool {
        self.giving.is_some() || self.told < self.done
    }

    fn carry_out(&mut self, message: Message, store: &mut Store, progress: &mut Progress) {
        match Request::parse(&message.bytes) {
            // A name without a descriptor: nothing to store.
            Some(Request::Put(names)) => store.0.extend(names.lines().map(str::to_owned).zip(message.fds)),
            Some(Request::Drop(names)) => names.lines().for_each(|name| drop(store.0.remove(name))),
            Some(Request::Take) => self.giving = Some((store.0.keys().cloned().collect(), store.0.len())),
            Some(Request::Ready) => progress.is_ready = true,
            // What a later version says is no reason to end.
            None => {}
        }
    }

    /// Sends copies until the daemon has to read first.
    fn give(&mut self, store: &Store) {
        let Some((names, count)) = &mut self.giving else { return };
        while let Some(name) = names.front() {
            let Some(fd) = store.0.get(name) else {
                names.pop_front();
                continue;
            };
            if !sent(&self.channel, Reply::Have(name), &[fd.as_fd()]) {
                return;
            }
            names.pop_front();
        }
        if sent(&self.channel, Reply::End(*count), &[]) {
            self.giving = None;
        }
    }

    /// One acknowledgement for all that was done since the last one.
    fn tell(&mut self) {
        if self.told < self.done && sent(&self.channel, Reply::Done(self.done), &[]) {
            self.told = self.done;
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// Whether it went out. If not, the daemon has to read first, or is gone, which is found out by reading.
fn sent(channel: &Channel, reply: Reply<'_>, fds: &[BorrowedFd<'_>]) -> bool {
    channel.send(reply.to_string().as_bytes(), fds).is_ok()
}
