//! The pid file of a run: it is there while the main process runs, and holds its number and nothing else.
//!
//! Written beside its place and moved there, so that nobody reads half a number. Used by the spawner's thread only: a
//! folder on the network may take its time.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::supervisor::RunId;

/// The longest pid file that is looked into: a number and a newline are shorter.
const LIMIT: u64 = 32;

/// A pid file that has no number yet. Dropped without one, it leaves nothing.
pub(super) struct Draft {
    path: PathBuf,
    temporary: Temporary,
}

/// Removed when it goes out of use.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After its move it is not there any more.
        let _ = fs::remove_file(&self.path);
    }
}

impl Draft {
    /// Makes sure that the file can be written before there is a process whose number it would hold; makes its folder.
    pub(super) fn new(path: &Path, run: RunId) -> io::Result<Draft> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        match fs::metadata(path) {
            // Moved there, the new file would take the place of a folder's neighbour or of /dev/null.
            Ok(there) if !there.is_file() => return Err(io::Error::other("it is there, and no regular file")),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir_all(folder)?,
            Err(error) => return Err(error),
        }
        let temporary = folder.join(format!(".rsx-{}-{}.pid", std::process::id(), run.0));
        let open = || OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary);
        let file = match open() {
            // Left by an earlier daemon that had this number. Never written through: it may be a link.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::remove_file(&temporary)?;
                open()?
            }
            other => other?,
        };
        Ok(Draft { path: path.to_owned(), temporary: Temporary { path: temporary, file } })
    }

    /// Writes the number and puts the file into its place.
    pub(super) fn publish(mut self, pid: u32) -> io::Result<()> {
        writeln!(self.temporary.file, "{pid}")?;
        // Whoever watches the app may be another user; the daemon's own mask hides what it writes.
        self.temporary.file.set_permissions(Permissions::from_mode(0o644))?;
        fs::rename(&self.temporary.path, &self.path)
    }
}

/// Removes the file, unless it holds another number by now: two apps may have been given one file.
pub(super) fn remove(path: &Path, pid: u32) {
    let is_own = || {
        let there = fs::symlink_metadata(path).ok()?;
        let is_small_file = there.is_file() && there.len() <= LIMIT;
        let text = is_small_file.then(|| fs::read_to_string(path).ok()).flatten()?;
        Some(text.trim() == pid.to_string())
    };
    if is_own() != Some(true) {
        return;
    }
    if let Err(error) = fs::remove_file(path) {
        warn!("cannot remove {}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn it_holds_the_number_can_be_read_by_all_and_goes_with_its_run_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/api.pid");
        Draft::new(&path, RunId(1)).unwrap().publish(4711).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "4711\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        remove(&path, 471);
        assert!(path.exists());
        remove(&path, 4711);
        assert_eq!(names(&folder.path().join("run")), Vec::<String>::new());
        remove(&path, 4711);
    }

    #[test]
    fn a_draft_without_a_number_leaves_nothing_and_the_old_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.pid");
        fs::write(&path, "1\n").unwrap();
        drop(Draft::new(&path, RunId(1)).unwrap());
        assert_eq!((names(folder.path()), fs::read_to_string(&path).unwrap()), (vec!["api.pid".into()], "1\n".into()));
    }

    #[test]
    fn what_is_no_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Draft::new(folder.path(), RunId(1)).is_err());
        assert!(Draft::new(Path::new("/dev/null"), RunId(1)).is_err());
        assert!(Draft::new(Path::new("/proc/nope/api.pid"), RunId(1)).is_err());
    }

    #[test]
    fn what_an_earlier_daemon_left_is_replaced_and_a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("api.pid"), folder.path().join("other"));
        fs::write(&other, "kept").unwrap();
        let left = folder.path().join(format!(".rsx-{}-1.pid", std::process::id()));
        std::os::unix::fs::symlink(&other, left).unwrap();
        Draft::new(&path, RunId(1)).unwrap().publish(7).unwrap();
        assert_eq!(
            (fs::read_to_string(&path).unwrap(), fs::read_to_string(&other).unwrap()),
            ("7\n".into(), "kept".into())
        );
    }
}
