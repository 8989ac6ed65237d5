//! Bytes from the window into a file, also after the death of whoever had begun to write them.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::daemon::pump::window::{READ, Refused, Unfinished, Window};
use crate::daemon::spawner::open_log;
use crate::logs::{FileMark, Missing, missing};

/// Bytes that could not be written.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) bytes: usize,
    pub(super) error: io::Error,
}

/// What became of a predecessor's bytes.
#[derive(Debug)]
pub(super) enum Finished {
    /// There were none.
    Nothing,
    /// So many that were missing are in the file.
    Appended { path: PathBuf, bytes: usize },
    /// Somebody else has changed or removed the file meanwhile: so many may be there twice.
    Doubtful { path: PathBuf, bytes: usize },
    /// The file has no size that tells how many arrived: so many may be missing.
    Untold { path: PathBuf, bytes: usize },
    /// They cannot be written.
    Lost { path: PathBuf, lost: Lost },
}

/// Writes the bytes of the window in a range, whole or until an error.
pub(super) fn append(window: &Window, mut from: usize, to: usize, file: &File) -> Result<(), Lost> {
    while from < to {
        let error = match window.write(from, to, file) {
            Ok(0) => ErrorKind::WriteZero.into(),
            Ok(count) => {
                from += count;
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        return Err(Lost { bytes: to - from, error });
    }
    Ok(())
}

/// Finishes what a predecessor has left in the window. A death in here changes nothing: it is done again from the start.
pub(super) fn finish(window: &Window) -> Result<Finished, Refused> {
    let finished = match window.unfinished()? {
        Some(unfinished) => complete(window, unfinished),
        None => Finished::Nothing,
    };
    window.is_done();
    Ok(finished)
}

fn complete(window: &Window, unfinished: Unfinished) -> Finished {
    let Unfinished { record, begun } = unfinished;
    let (path, bytes) = (record.path.into_owned(), record.length as usize);
    if begun {
        return Finished::Untold { path, bytes };
    }
    let (file, missing) = match target(window, bytes, &path, record.mark) {
        Ok(target) => target,
        Err(error) => return Finished::Lost { path, lost: Lost { bytes, error } },
    };
    if record.mark.is_none() {
        window.begins();
    }
    let from = match missing {
        Missing::Nothing => bytes,
        Missing::From(from) => from,
        Missing::Unknown => 0,
    };
    match append(window, from, bytes, &file) {
        Ok(()) if missing == Missing::Unknown => Finished::Doubtful { path, bytes },
        Ok(()) => Finished::Appended { path, bytes: bytes - from },
        Err(lost) => Finished::Lost { path, lost },
    }
}

/// The file to append to, and what it lacks.
fn target(window: &Window, bytes: usize, path: &Path, mark: Option<FileMark>) -> io::Result<(File, Missing)> {
    let Some(mark) = mark else { return Ok((open_log(path)?, Missing::From(0))) };
    let Some((name, file)) = find(path, &mark) else { return Ok((open_log(path)?, Missing::Unknown)) };
    let size = file.metadata()?.len();
    let Some(grown) = size.checked_sub(mark.size) else { return Ok((file, Missing::Unknown)) };
    let mut wanted = Vec::new();
    window.copy(0, bytes, &mut wanted);
    let missing = match read_from(&name, mark.size) {
        Ok(behind) => missing(&wanted, &behind),
        // A file that may be written and not read: its size has to do.
        Err(_) => Missing::From(usize::try_from(grown).map_or(bytes, |grown| grown.min(bytes))),
    };
    Ok((file, missing))
}

/// The file that was noted: under its name, or where logrotate(8) has moved it, in the same folder.
fn find(path: &Path, mark: &FileMark) -> Option<(PathBuf, File)> {
    let is_it = |found: &Metadata| (found.dev(), found.ino()) == (mark.device, mark.inode);
    let open = |name: PathBuf| {
        let file = fs::metadata(&name).ok().filter(is_it).and_then(|_| open_log(&name).ok())?;
        // Opening may have made another one meanwhile.
        is_it(&file.metadata().ok()?).then_some((name, file))
    };
    open(path.to_owned()).or_else(|| {
        let moved =
            fs::read_dir(path.parent()?).ok()?.filter_map(Result::ok).find(|entry| entry.ino() == mark.inode)?;
        open(moved.path())
    })
}

/// What stands in a file from here on, as far as it can matter.
fn read_from(path: &Path, start: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut behind = Vec::new();
    file.take(2 * READ as u64).read_to_end(&mut behind)?;
    Ok(behind)
}
