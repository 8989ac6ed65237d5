//! A binary that daemons are started from: the file itself, whatever its path leads to by now.
//!
//! A package manager replaces the file at the path of a daemon that runs on. A daemon that dies then is followed by one
//! of the same binary, not by one that nobody has tried; and an update that fails goes back to it.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// This process's own binary, by a link that leads to it even when it was deleted (proc_pid_exe(5)).
const OWN: &str = "/proc/self/exe";

/// One file, kept open so that it can be executed when it was replaced or deleted.
#[derive(Debug)]
pub(super) struct Binary {
    path: PathBuf,
    /// None for a file that was not there; executing it says why.
    file: Option<File>,
}

/// How a binary is executed.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) program: PathBuf,
    /// What has to stay open until it is executed: `program` goes through it.
    pub(super) through: Option<OwnedFd>,
}

impl Binary {
    /// The binary that this process may be executing, at the path that it was started from.
    pub(super) fn own(path: &Path) -> Binary {
        let is_ours = fs::read_link(OWN).is_ok_and(|own| own == path);
        let file = open(if is_ours { Path::new(OWN) } else { path });
        Binary { path: path.to_owned(), file: file.ok() }
    }

    /// The file that is at this path now.
    pub(super) fn open(path: &Path) -> io::Result<Binary> {
        Ok(Binary { path: path.to_owned(), file: Some(open(path)?) })
    }

    /// By its path where that leads to the file still, so that it is seen under its name; else by the descriptor.
    pub(super) fn route(&self) -> io::Result<Route> {
        let by_path = || Route { program: self.path.clone(), through: None };
        let Some(file) = &self.file else { return Ok(by_path()) };
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let kept = identity(file.metadata()?);
        if fs::metadata(&self.path).is_ok_and(|found| identity(found) == kept) {
            return Ok(by_path());
        }
        let through = OwnedFd::from(file.try_clone()?);
        Ok(Route { program: format!("/proc/self/fd/{}", through.as_raw_fd()).into(), through: Some(through) })
    }
}

/// Neither for reading nor for writing: for executing (open(2): O_PATH).
fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_PATH).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_executed_by_its_path_until_something_else_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rsx");
        fs::write(&path, "one").unwrap();
        let binary = Binary::open(&path).unwrap();
        assert_eq!(binary.route().unwrap().program, path);
        fs::write(folder.path().join("new"), "two").unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        for _ in 0..2 {
            let route = binary.route().unwrap();
            assert!(route.through.is_some());
            assert_eq!(fs::read_to_string(&route.program).unwrap(), "one");
            let _ = fs::remove_file(&path);
        }
    }

    #[test]
    fn our_own_binary_is_found_by_its_path() {
        let path = std::env::current_exe().unwrap();
        let binary = Binary::own(&path);
        assert!(binary.file.is_some());
        assert_eq!(binary.route().unwrap().program, path);
        assert!(Binary::own(Path::new("/nope/rsx")).file.is_none());
    }
}
