//! Being told when files grow or are replaced (inotify(7)), for whoever follows logs.
//!
//! A file is watched itself, and its folder for files that take its name: rotation by rename makes a new file, and the
//! watch of the old one stays with the old one. Other files of the folder wake nobody.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

/// Files that are followed.
#[derive(Debug)]
pub struct Follow {
    inotify: Inotify,
    files: Vec<PathBuf>,
    /// The watch of each file, where it exists.
    watches: HashMap<WatchDescriptor, Vec<usize>>,
    folders: HashMap<WatchDescriptor, PathBuf>,
}

impl Follow {
    /// Watches these files; they need not exist, their folders must.
    ///
    /// # Errors
    ///
    /// A missing folder, or EMFILE and ENOSPC: the user's limits of inotify.
    pub fn new(files: &[PathBuf]) -> io::Result<Follow> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut follow = Follow { inotify, files: files.to_vec(), watches: HashMap::new(), folders: HashMap::new() };
        let named = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ONLYDIR;
        for (index, file) in files.iter().enumerate() {
            let folder = file.parent().unwrap_or(Path::new("/"));
            let watch = follow.inotify.add_watch(folder, named)?;
            follow.folders.insert(watch, folder.to_owned());
            follow.watch(index)?;
        }
        Ok(follow)
    }

    /// Waits until files may have changed, at most this long; their indexes, ascending. Empty: nothing happened.
    ///
    /// A file that is named may be the same, longer, shorter, another one, or gone.
    ///
    /// # Errors
    ///
    /// None that a caller could mend.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Vec<usize>> {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Vec::new()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let events = match self.inotify.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut changed = Vec::new();
        for event in &events {
            self.note(event, &mut changed)?;
        }
        changed.sort_unstable();
        changed.dedup();
        Ok(changed)
    }

    fn note(&mut self, event: &InotifyEvent, changed: &mut Vec<usize>) -> io::Result<()> {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            // Nobody knows what was dropped: everything may have changed.
            for index in 0..self.files.len() {
                self.watch(index)?;
                changed.push(index);
            }
            return Ok(());
        }
        if let (Some(folder), Some(name)) = (self.folders.get(&event.wd), &event.name) {
            let path = folder.join(name);
            let same: Vec<usize> =
                (0..self.files.len()).filter(|index| self.files.get(*index) == Some(&path)).collect();
            for index in same {
                self.watch(index)?;
                changed.push(index);
            }
        }
        if let Some(files) = self.watches.get(&event.wd) {
            changed.extend(files);
            if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                self.watches.remove(&event.wd);
            }
        }
        Ok(())
    }

    /// Watches the file that has this name now.
    fn watch(&mut self, index: usize) -> io::Result<()> {
        let Some(path) = self.files.get(index) else { return Ok(()) };
        let content = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF;
        match self.inotify.add_watch(path.as_path(), content) {
            Ok(watch) => {
                let files = self.watches.entry(watch).or_default();
                if !files.contains(&index) {
                    files.push(index);
                }
                Ok(())
            }
            // The folder's watch tells when it comes.
            Err(Errno::ENOENT | Errno::EACCES) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Follow {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::LIMIT;
    use std::fs::{self, File};
    use std::io::Write;

    #[test]
    fn growth_rename_and_a_new_file_of_the_name_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut follow = Follow::new(&[path("other"), path("log")]).unwrap();
        assert!(follow.wait(Duration::ZERO).unwrap().is_empty());
        let mut file = File::create(path("log")).unwrap();
        assert_eq!(follow.wait(LIMIT).unwrap(), [1]);
        file.write_all(b"line\n").unwrap();
        assert_eq!(follow.wait(LIMIT).unwrap(), [1]);
        fs::rename(path("log"), path("log.1")).unwrap();
        assert_eq!(follow.wait(LIMIT).unwrap(), [1]);
        file.write_all(b"the old one's end\n").unwrap();
        assert_eq!(follow.wait(LIMIT).unwrap(), [1]);
        fs::write(path("log"), b"").unwrap();
        assert_eq!(follow.wait(LIMIT).unwrap(), [1]);
        fs::write(path("log"), b"x").unwrap();
        assert_eq!(follow.wait(LIMIT).unwrap(), [1]);
    }

    #[test]
    fn a_neighbour_wakes_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let mut neighbour = File::create(folder.path().join("neighbour")).unwrap();
        let mut follow = Follow::new(&[folder.path().join("log")]).unwrap();
        neighbour.write_all(b"x").unwrap();
        assert!(follow.wait(Duration::ZERO).unwrap().is_empty());
    }
}
