//! Which filesystems can take the head out of a file, found out once each.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::daemon::launch::reason;
use crate::sys::collapse;

/// By device. What could not be found out (a full disk) is not kept.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Units(Arc<Mutex<HashMap<u64, Option<u64>>>>);

/// Why a file cannot be rotated in place, as a sentence fragment.
#[derive(Debug, thiserror::Error)]
pub(in crate::daemon) enum NoUnit {
    /// Where it is, it never can.
    #[error("its filesystem{} cannot cut the head off a file", .0.map_or_else(String::new, |name| format!(" ({name})")))]
    Never(Option<&'static str>),
    /// Nobody may make the files that it needs.
    #[error("no archives can be made in its folder: {}", reason(.0))]
    NoFolder(io::Error),
    /// It could not be found out now: a full disk.
    #[error("it cannot be tried in its folder: {}", reason(.0))]
    NotNow(io::Error),
}

impl Units {
    /// The unit for an open log file with this name.
    pub(in crate::daemon) fn of(&self, path: &Path, file: &File) -> Result<u64, NoUnit> {
        let meta = file.metadata().map_err(NoUnit::NotNow)?;
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&meta.dev()).copied();
        let unit = match known {
            Some(unit) => unit,
            None => {
                let found = find(path);
                let unit = match found {
                    Ok(unit) => Some(unit),
                    Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => None,
                    Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::EROFS)) => {
                        return Err(NoUnit::NoFolder(error));
                    }
                    Err(error) => return Err(NoUnit::NotNow(error)),
                };
                self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(meta.dev(), unit);
                unit
            }
        };
        unit.ok_or_else(|| NoUnit::Never(collapse::filesystem(path)))
    }
}

fn find(path: &Path) -> io::Result<u64> {
    // A link may lead to another filesystem.
    let path = std::fs::canonicalize(path)?;
    collapse::unit(path.parent().unwrap_or(Path::new("/")))
}
