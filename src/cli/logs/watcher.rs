//! Tells which files changed, were replaced or came into being (inotify(7)).

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// Watches files by their names: each file itself, and its folder for its successor.
pub(super) struct Watcher {
    inotify: Inotify,
    files: HashMap<WatchDescriptor, usize>,
    folders: HashMap<WatchDescriptor, PathBuf>,
    by_path: HashMap<PathBuf, usize>,
}

/// What changed since the last look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// These, by their numbers.
    Some(BTreeSet<usize>),
    /// More happened than the kernel could remember.
    Any,
}

impl Watcher {
    pub(super) fn new() -> nix::Result<Watcher> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Watcher { inotify, files: HashMap::new(), folders: HashMap::new(), by_path: HashMap::new() })
    }

    /// Watches the file of this number, which need not exist. Again after it was replaced: a watch follows the inode.
    pub(super) fn watch(&mut self, path: &Path, number: usize) -> nix::Result<()> {
        if let Some(folder) = path.parent().filter(|_| !self.by_path.contains_key(path)) {
            let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
            match self.inotify.add_watch(folder, flags) {
                Ok(watch) => {
                    self.folders.insert(watch, folder.to_owned());
                }
                // A folder that is not there cannot get the file either, until the daemon tells of a new start.
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.by_path.insert(path.to_owned(), number);
        match self.inotify.add_watch(path, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ATTRIB) {
            Ok(watch) => {
                self.files.insert(watch, number);
                Ok(())
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// What changed, without waiting.
    pub(super) fn changed(&mut self) -> nix::Result<Changed> {
        let mut changed = BTreeSet::new();
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => return Ok(Changed::Some(changed)),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno),
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    return Ok(Changed::Any);
                }
                let in_folder = self.folders.get(&event.wd).zip(event.name);
                let by_folder = in_folder.and_then(|(folder, name)| self.by_path.get(&folder.join(name)));
                changed.extend(by_folder.or_else(|| self.files.get(&event.wd)));
                // The inode is gone; its number may be used again for another watch.
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    self.files.remove(&event.wd);
                    self.folders.remove(&event.wd);
                }
            }
        }
    }
}

/// How long [`await_change`] waits for a change that may have come before it, in milliseconds.
const CHANGE: u8 = 100;

/// Waits until this file changes, for a short time at most.
pub(super) fn await_change(path: &Path) {
    let Ok(inotify) = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) else { return };
    if inotify.add_watch(path, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ATTRIB).is_ok() {
        // Whatever it says, the caller looks again.
        let _ = poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], PollTimeout::from(CHANGE));
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
