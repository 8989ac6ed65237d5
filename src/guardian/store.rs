//! What a guardian keeps over the deaths of daemons, and one daemon's connection to it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use crate::guardian::ends::Ends;
use crate::guardian::name::Name;
use crate::guardian::wire::{Reply, Request};
use crate::sys::fds::{Blocking, Channel, MAX_BYTES, MAX_FDS, Message};

/// So many messages are carried out before signals are looked at again.
const BATCH: usize = 64;
/// So many answers wait for a daemon that does not read. One that asks on without reading gets no more.
const ANSWERS: usize = 16;
/// Why a second update is refused.
pub(super) const UNDER_WAY: &str = "another update is under way";

/// What outlives a daemon.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) store: Store,
    pub(super) ends: Ends,
}

/// Descriptors by name, in the order of the names. Each daemon puts here what its successor needs.
///
/// A thousand runs have five thousand names. Side by side they take half of what a tree takes, and new names, which count
/// up, come last.
#[derive(Debug, Default)]
pub(super) struct Store(Vec<(Name, OwnedFd)>);

/// The guardian's end of one daemon's connection.
#[derive(Debug)]
pub(super) struct Connection {
    channel: Channel,
    /// Requests carried out.
    done: u64,
    /// How many of them the daemon knows of.
    told: u64,
    /// None when nothing is being sent back.
    giving: Option<Giving>,
    answers: VecDeque<String>,
}

/// Copies of all that is stored on their way to the daemon, in the order of the names.
#[derive(Debug, Default)]
struct Giving {
    last: Option<Name>,
    count: usize,
}

/// What became of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The daemon has told that it is ready.
    pub(super) is_ready: bool,
    /// It wants this binary to take over.
    pub(super) update: Option<PathBuf>,
    /// The daemon has closed its end.
    pub(super) is_closed: bool,
    /// There may be more to read.
    pub(super) has_more: bool,
}

impl Kept {
    pub(super) fn new() -> Kept {
        Kept { store: Store::default(), ends: Ends::new() }
    }
}

impl Store {
    /// Stores it instead of what has this name.
    pub(super) fn put(&mut self, name: &str, fd: OwnedFd) {
        let name = Name::new(name);
        match self.find(&name) {
            Ok(at) => self.0[at].1 = fd,
            Err(at) => self.0.insert(at, (name, fd)),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &OwnedFd)> {
        self.0.iter().map(|(name, fd)| (name.as_str(), fd))
    }

    /// Gives back the room of what has been removed, when that is most of it.
    pub(super) fn shrink(&mut self) {
        if self.0.capacity() > 2 * self.0.len() {
            self.0.shrink_to_fit();
        }
    }

    fn remove(&mut self, name: &str) {
        if let Ok(at) = self.find(&Name::new(name)) {
            self.0.remove(at);
        }
    }

    /// What comes after this name, or everything.
    fn after(&self, name: Option<&Name>) -> &[(Name, OwnedFd)] {
        let from = name.map_or(0, |name| self.find(name).map_or_else(|at| at, |at| at + 1));
        &self.0[from..]
    }

    fn find(&self, name: &Name) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(name))
    }
}

impl Connection {
    pub(super) fn new(channel: Channel) -> io::Result<Connection> {
        channel.set_blocking(Blocking::No)?;
        Ok(Connection::going_on(channel, 0, 0))
    }

    /// A connection on which so many requests were carried out, and so many were acknowledged.
    pub(super) fn going_on(channel: Channel, done: u64, told: u64) -> Connection {
        Connection { channel, done, told, giving: None, answers: VecDeque::new() }
    }

    /// How many requests were carried out, and how many were acknowledged.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.done, self.told)
    }

    /// Carries out what has arrived and sends what can be sent.
    pub(super) fn go_on(&mut self, kept: &mut Kept) -> Progress {
        let mut progress = Progress { has_more: true, ..Progress::default() };
        for _ in 0..BATCH {
            match self.channel.recv() {
                Ok(Some(message)) => {
                    self.carry_out(message, kept, &mut progress);
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
        self.tell(kept);
        progress
    }

    /// Sends what can be sent.
    pub(super) fn tell(&mut self, kept: &mut Kept) {
        self.give(&kept.store);
        kept.ends.tell(|run, end| sent(&self.channel, Reply::Ended(run, end), &[]));
        while let Some(answer) = self.answers.front() {
            if self.channel.send(answer.as_bytes(), &[]).is_err() {
                break;
            }
            self.answers.pop_front();
        }
        // One acknowledgement for all that was done since the last one.
        if self.told < self.done && sent(&self.channel, Reply::Done(self.done), &[]) {
            self.told = self.done;
        }
    }

    /// Says this to the daemon when it reads.
    pub(super) fn answer(&mut self, reply: Reply<'_>) {
        if self.answers.len() < ANSWERS {
            self.answers.push_back(reply.to_string());
        }
    }

    /// Whether something waits for the daemon to read.
    pub(super) fn wants_to_write(&self, kept: &Kept) -> bool {
        self.giving.is_some() || self.told < self.done || !self.answers.is_empty() || kept.ends.is_due()
    }

    fn carry_out(&mut self, message: Message, kept: &mut Kept, progress: &mut Progress) {
        let store = &mut kept.store;
        match Request::parse(&message.bytes) {
            // A name without a descriptor: nothing to store.
            Some(Request::Put(names)) => {
                names.lines().zip(message.fds).for_each(|(name, fd)| store.put(name, fd));
            }
            Some(Request::Drop(names)) => names.lines().for_each(|name| store.remove(name)),
            Some(Request::Take) => self.giving = Some(Giving::default()),
            Some(Request::Ready) => progress.is_ready = true,
            Some(Request::Watch(runs)) => runs.iter().for_each(|run| kept.ends.watch(run)),
            Some(Request::Settle(runs)) => runs.iter().for_each(|run| kept.ends.settle(run)),
            Some(Request::Update(_)) if progress.update.is_some() => self.answer(Reply::Refused(UNDER_WAY)),
            Some(Request::Update(path)) => progress.update = Some(path.into()),
            // What a later version says is no reason to end.
            None => {}
        }
    }

    /// Sends copies until the daemon has to read first.
    fn give(&mut self, store: &Store) {
        let Some(Giving { last, count }) = &mut self.giving else { return };
        let mut latest = None;
        let mut is_stuck = false;
        let mut rest = store.after(last.as_ref()).iter().peekable();
        while !is_stuck && rest.peek().is_some() {
            // As many as one message takes: a thousand runs have five thousand descriptors.
            let (mut names, mut fds, mut last_name) = (String::new(), Vec::new(), None);
            while let Some((name, fd)) = rest.next_if(|(name, _)| has_room(&names, name.as_str(), fds.len())) {
                if !names.is_empty() {
                    names.push('\n');
                }
                names.push_str(name.as_str());
                fds.push(fd.as_fd());
                last_name = Some(name);
            }
            is_stuck = !sent(&self.channel, Reply::Have(&names), &fds);
            if !is_stuck {
                *count += fds.len();
                latest = last_name;
            }
        }
        if let Some(name) = latest {
            *last = Some(name.clone());
        }
        if is_stuck {
            return;
        }
        if sent(&self.channel, Reply::End(*count), &[]) {
            self.giving = None;
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// Whether one message takes this one, too; always, when it is the first.
fn has_room(names: &str, name: &str, fds: usize) -> bool {
    fds < MAX_FDS && "have ".len() + names.len() + 1 + name.len() <= MAX_BYTES
}

/// Whether it went out. If not, the daemon has to read first, or is gone, which is found out by reading.
fn sent(channel: &Channel, reply: Reply<'_>, fds: &[BorrowedFd<'_>]) -> bool {
    channel.send(reply.to_string().as_bytes(), fds).is_ok()
}
