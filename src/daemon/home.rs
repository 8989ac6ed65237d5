//! The folders of a home, and the daemon's own log.

use std::cell::Cell;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tracing_appender::rolling::{InitError, RollingFileAppender, Rotation};
use tracing_subscriber::fmt::MakeWriter;

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
    #[error("the guardian does not hand out what it keeps: {0}; another daemon asks again")]
    HandOut(#[source] io::Error),
}

/// Makes the folders: the home 0700, logs 0750, the runtime folder with its `n` and `a` 0711.
pub(super) fn prepare(home: &Home) -> Result<(), BirthError> {
    folder(home.root(), 0o700, Links::Followed)?;
    folder(&home.logs(), 0o750, Links::Followed)?;
    folder(home.runtime(), 0o711, Links::Refused)?;
    folder(&home.notify_dir(), 0o711, Links::Refused)?;
    folder(&home.agent_dir(), 0o711, Links::Refused)
}

/// Whether a folder may be a link to one. Where everybody may write, a link is somebody else's: what it leads to may be
/// ours and must not get another mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Links {
    Followed,
    Refused,
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
    let format = tracing_subscriber::fmt().with_writer(DaemonLog(appender)).with_ansi(false).with_target(false);
    let _ = format.log_internal_errors(false).try_init();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // The log's own panic: its lock may be held here, and what cannot be written cannot be logged either.
        if !IS_WRITING.get() {
            tracing::error!("{panic}");
            before(panic);
        }
    }));
    Ok(())
}

/// The daemon's log as a writer that cannot end the daemon. The appender tells on standard error that it cannot change
/// to the next day's file; on a full or read-only disk that fails as well, and a failing `eprintln!` panics.
struct DaemonLog(RollingFileAppender);

/// One line on its way into the log.
struct Line<'a>(&'a RollingFileAppender);

thread_local! {
    static IS_WRITING: Cell<bool> = const { Cell::new(false) };
}

impl<'a> MakeWriter<'a> for DaemonLog {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        unless_it_panics(bytes.len(), || self.0.make_writer().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What was written; all of it where writing panics: the line is lost, and there is nobody to tell.
fn unless_it_panics(all: usize, write: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
    IS_WRITING.set(true);
    // The appender's lock is free again after a panic, and what it guards is one open file.
    let written = std::panic::catch_unwind(std::panic::AssertUnwindSafe(write));
    IS_WRITING.set(false);
    written.unwrap_or(Ok(all))
}

fn folder(path: &Path, mode: u32, links: Links) -> Result<(), BirthError> {
    let failed = |doing| move |source| BirthError::File { doing, path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed("create"))?;
    // In a folder that all may write to, somebody else could have been first.
    let metadata = std::fs::symlink_metadata(path).map_err(failed("look at"))?;
    let follow = links == Links::Followed && metadata.is_symlink();
    let resolved = if follow { std::fs::metadata(path).map_err(failed("look at"))? } else { metadata };
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::spec::ExitStatus;
    use crate::sys::spawn::spawn;
    use crate::sys::testing::{end_of, shell};

    const FULL: &str = "RSX_TEST_FULL";

    /// No test by itself: a process for the next one, because a log is for a whole process.
    #[test]
    fn process_with_a_full_disk() {
        let Some(root) = std::env::var_os(FULL) else { return };
        let home = Home::resolve(Some(&root), None, None, peer::own_uid()).unwrap();
        log_to_file(&home).unwrap();
        tracing::info!("nobody will read this");
        let at_midnight = || {
            eprintln!("as the appender does when it cannot open the next day's file");
            Ok(1)
        };
        unless_it_panics(1, at_midnight).unwrap();
        std::process::exit(7);
    }

    #[test]
    fn a_daemon_outlives_a_log_that_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let today = chrono::Utc::now().date_naive();
        symlink("/dev/full", folder.path().join(format!("daemon.{today}.log"))).unwrap();
        let mut launch = shell("");
        launch.program = std::env::current_exe().unwrap();
        let test = "daemon::home::tests::process_with_a_full_disk";
        launch.argv = ["rsx", test, "--exact", "--nocapture"].map(Into::into).into();
        launch.env.push((FULL.into(), folder.path().into()));
        launch.stderr = File::options().append(true).open("/dev/full").unwrap().into();
        assert_eq!(end_of(&spawn(&launch).unwrap()), ExitStatus::Code(7));
    }

    #[test]
    fn a_link_in_the_place_of_the_runtime_folder_is_refused_and_its_target_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (private, link) = (folder.path().join("private"), folder.path().join("link"));
        self::folder(&private, 0o700, Links::Refused).unwrap();
        symlink(&private, &link).unwrap();
        assert!(matches!(self::folder(&link, 0o711, Links::Refused), Err(BirthError::NotAFolder(_))));
        assert_eq!(std::fs::metadata(&private).unwrap().mode() & 0o777, 0o700);
        self::folder(&link, 0o711, Links::Followed).unwrap();
        assert_eq!(std::fs::metadata(&private).unwrap().mode() & 0o777, 0o711);
    }
}
