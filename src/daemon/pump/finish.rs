//! Bytes from the window into a file, also after the death of whoever had begun to write them.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::daemon::pump::index::Index;
use crate::daemon::pump::sink::identity;
use crate::daemon::pump::window::{Buffer, READ, Refused, Window, buffer_of, through};
use crate::daemon::spawner::open_log;
use crate::logs::{Archive, Area, FileMark, Missing, Record, Target, missing};

/// Bytes that could not be written.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) bytes: usize,
    pub(super) error: io::Error,
}

/// What became of a predecessor's bytes, for one file.
#[derive(Debug)]
pub(super) enum Finished {
    /// So many that were missing are in the file.
    Appended { path: PathBuf, bytes: usize },
    /// Somebody else has changed or removed the file meanwhile: so many may be there twice.
    Doubtful { path: PathBuf, bytes: usize },
    /// The file has no size that tells how many arrived: so many may be missing.
    Untold { path: PathBuf, bytes: usize },
    /// They cannot be written.
    Lost { path: PathBuf, lost: Lost },
}

/// Bytes of the window that are on record.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) area: Area,
    pub(super) buffer: Buffer,
    pub(super) range: Range<usize>,
}

impl Batch {
    fn of(record: &Record<'_>) -> Batch {
        let range = record.from as usize..record.to as usize;
        Batch { area: record.area, buffer: buffer_of(record), range }
    }
}

/// Writes the bytes, whole or until an error.
pub(super) fn append(window: &Window, batch: &Batch, file: &File) -> Result<(), Lost> {
    let Range { start: mut from, end: to } = batch.range;
    while from < to {
        let error = match window.write(batch.area, batch.buffer, from..to, file) {
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
pub(super) fn finish(window: &mut Window) -> Result<Vec<Finished>, Refused> {
    go_on_in_the_next_file(window)?;
    let Some((record, begun)) = window.unfinished()? else {
        // What was to be read and was not is still in its pipe.
        window.forget();
        return Ok(Vec::new());
    };
    let batch = Batch::of(&record);
    let all = record.targets.iter().enumerate();
    let finished = all.map(|(index, target)| complete(window, &batch, target, (index, begun))).collect();
    window.is_done(batch.buffer, record.then);
    Ok(finished)
}

/// Who died within a rotation had written to the file what belongs there. What is left comes into the next file, as it
/// would have: who follows the log may have left the old one by now.
fn go_on_in_the_next_file(window: &mut Window) -> Result<(), Refused> {
    let Some((record, _)) = window.unfinished()? else { return Ok(()) };
    let batch = Batch::of(&record);
    let ([target], Area::Buffer, Buffer::COMMON) = (record.targets.as_slice(), batch.area, batch.buffer) else {
        return Ok(());
    };
    let Target { path, mark: Some(mark) } = target else { return Ok(()) };
    let Some((name, _)) = find(path, mark) else { return Ok(()) };
    let name = name.file_name().unwrap_or_default().to_string_lossy();
    let is_archive = Archive::read(&name).is_some_and(|(live, _)| path.file_name().is_some_and(|name| *name == *live));
    let Ok((_, Missing::From(from))) = find_out(window, &batch, target) else { return Ok(()) };
    if !is_archive || from >= batch.range.len() {
        return Ok(());
    }
    // What cannot be opened is told of when the old record is finished.
    let next = open_log(path).and_then(|file| file.metadata()).ok().filter(Metadata::is_file);
    let mark = next.map(|found| FileMark { device: found.dev(), inode: found.ino(), size: found.len() });
    if mark.is_some() {
        let target = Target { path: path.clone(), mark };
        window.arm(&through(batch.range.start + from..batch.range.end, None, target))?;
    }
    Ok(())
}

fn complete(window: &Window, batch: &Batch, target: &Target<'_>, (index, begun): (usize, u64)) -> Finished {
    let (path, bytes) = (target.path.to_path_buf(), batch.range.len());
    if begun >> index & 1 == 1 {
        return Finished::Untold { path, bytes };
    }
    let (file, missing) = match find_out(window, batch, target) {
        Ok(found) => found,
        Err(error) => return Finished::Lost { path, lost: Lost { bytes, error } },
    };
    if target.mark.is_none() {
        window.begins(index);
    }
    let from = match missing {
        Missing::Nothing => bytes,
        Missing::From(from) => from,
        Missing::Unknown => 0,
    };
    let rest = Batch { range: batch.range.start + from..batch.range.end, ..batch.clone() };
    if !rest.range.is_empty() {
        note(&path, &file);
    }
    match append(window, &rest, &file) {
        Ok(()) if missing == Missing::Unknown => Finished::Doubtful { path, bytes },
        Ok(()) => Finished::Appended { path, bytes: bytes - from },
        Err(lost) => Finished::Lost { path, lost },
    }
}

/// Says in the index of times that bytes come now.
fn note(path: &Path, file: &File) {
    let found = [file.metadata(), fs::metadata(path)].map(|found| found.ok().as_ref().and_then(identity));
    if let [Some(it), Some(named)] = found
        && it == named
        && let Some(mut index) = Index::open(path, it)
        && let Ok(found) = file.metadata()
    {
        index.note(found.len(), u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0));
    }
}

/// The file to append to, and what it lacks.
fn find_out(window: &Window, batch: &Batch, Target { path, mark }: &Target<'_>) -> io::Result<(File, Missing)> {
    let Some(mark) = mark else { return Ok((open_log(path)?, Missing::From(0))) };
    let Some((name, file)) = find(path, mark) else { return Ok((open_log(path)?, Missing::Unknown)) };
    let size = file.metadata()?.len();
    let Some(grown) = size.checked_sub(mark.size) else { return Ok((file, Missing::Unknown)) };
    let mut wanted = Vec::new();
    window.copy(batch.area, batch.buffer, batch.range.clone(), &mut wanted);
    let missing = match read_from(&name, mark.size) {
        Ok(behind) => missing(&wanted, &behind),
        // A file that may be written and not read: its size has to do.
        Err(_) => Missing::From(usize::try_from(grown).map_or(wanted.len(), |grown| grown.min(wanted.len()))),
    };
    Ok((file, missing))
}

/// The file that was noted: under its name, or where a rotation has moved it, in the same folder.
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
