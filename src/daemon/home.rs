//! The folders of a home, and the daemon's own log.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tracing_appender::rolling::{InitError, RollingFileAppender, Rotation};

use crate::paths::Home;
use crate::sys::peer;

/// How many days of its own log the daemon keeps.
const LOG_DAYS: usize = 7;

/// Why a daemon could not be born.
#[derive(Debug, thiserror::Error)]
pub(super) enum BirthError {
    #[error("{doing} {path}: {source}", path = path.display())]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the folder {path} belongs to uid {owner}, not to uid {own}", path = path.display())]
    Foreign { path: PathBuf, owner: u32, own: u32 },
    #[error("the runtime folder {path} is a link or no folder", path = .0.display())]
    NotAFolder(PathBuf),
    #[error("open the daemon's log: {0}")]
    Log(#[from] InitError),
    #[error("start a thread: {source}")]
    Thread { source: io::Error },
    #[error("start the runtime: {0}")]
    Runtime(#[source] io::Error),
    #[error("find the rsx binary: {0}")]
    OwnBinary(#[source] io::Error),
}

/// Makes the folders: the home 0700, logs 0750, the runtime folder and its `n` 0711.
pub(super) fn prepare(home: &Home) -> Result<(), BirthError> {
    folder(home.root(), 0o700)?;
    folder(&home.logs(), 0o750)?;
    folder(home.runtime(), 0o711)?;
    folder(&home.notify_dir(), 0o711)
}

/// Sends what the daemon says of itself to `daemon.log`: a link to today's file; a week is kept.
pub(super) fn log_to_file(home: &Home) -> Result<(), BirthError> {
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("daemon")
        .filename_suffix("log")
        .latest_symlink("daemon.log")
        .max_log_files(LOG_DAYS)
        .build(home.root())?;
    // Set already: a test of this process has done so.
    let _ = tracing_subscriber::fmt().with_writer(appender).with_ansi(false).with_target(false).try_init();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("{panic}");
        before(panic);
    }));
    Ok(())
}

fn folder(path: &Path, mode: u32) -> Result<(), BirthError> {
    let failed = |doing| move |source| BirthError::File { doing, path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed("create"))?;
    // In a folder that all may write to, somebody else could have been first.
    let metadata = std::fs::symlink_metadata(path).map_err(failed("look at"))?;
    let resolved = if metadata.is_symlink() { std::fs::metadata(path).map_err(failed("look at"))? } else { metadata };
    if !resolved.is_dir() {
        return Err(BirthError::NotAFolder(path.to_owned()));
    }
    if resolved.uid() != peer::own_uid() {
        return Err(BirthError::Foreign { path: path.to_owned(), owner: resolved.uid(), own: peer::own_uid() });
    }
    if resolved.mode() & 0o7777 != mode {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed("set the mode of"))?;
    }
    Ok(())
}
