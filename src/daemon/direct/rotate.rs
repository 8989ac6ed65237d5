//! The steps of `logs/cut.rs` on real files.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::daemon::direct::log::{beside, now, read, remove, replace};
use crate::daemon::failpoint;
use crate::daemon::files::{archives, named};
use crate::logs::times::{self, HEADER, Header};
use crate::logs::{
    Archive, CUT_RECORD, Cut, Found, LOOKED_BACK, Packing, STEPS, Step, after_name, cut_name, next_name, times_name,
};
use crate::sys::collapse;

/// What is rotated.
pub(super) struct Pending<'a> {
    pub(super) path: &'a Path,
    /// Device and number of the file.
    pub(super) identity: (u64, u64),
    pub(super) unit: u64,
}

/// Moves so many bytes of the head of a file into an archive, as far as whole units go; how many those were. `base` goes
/// with each step.
pub(super) fn rotate(
    pending: &Pending<'_>,
    base: &mut u64,
    wanted: u64,
    is_made: impl FnOnce(Archive),
) -> io::Result<u64> {
    let Pending { path, identity, unit } = *pending;
    mend(path)?;
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let meta = file.metadata()?;
    if (meta.dev(), meta.ino()) != identity {
        return Err(io::Error::other("it was moved or removed"));
    }
    // What comes meanwhile is for the next time.
    let wanted = wanted.min(meta.len().saturating_sub(1));
    let mut moved = 0;
    while let Some(length) = Cut::length(wanted - moved, file.metadata()?.len(), unit) {
        let is_last = wanted - moved - length < unit;
        let whole = if is_last { line_end(&file, length)? } else { length };
        // Outside of the lock that the kernel takes for the rest; the place on the disk is known only then.
        collapse::flush_from(&file, 0)?;
        let physical =
            collapse::physical(&file)?.ok_or_else(|| io::Error::other("its first bytes lie nowhere on the disk"))?;
        let moment = if is_last { Archive::next(now(), archives(path)?.pop()).moment } else { 0 };
        let archive = place(path, next_name)?.metadata().map_or(0, |next| next.len());
        let cut = Cut { inode: identity.1, base: *base, length, whole, physical, archive, moment };
        let files = Files::new(path, &file, cut)?;
        for step in STEPS {
            let done = files.perform(*step);
            if *step == Step::Drop && done.is_ok() {
                *base += length;
            }
            if let Err(error) = done {
                for undo in Cut::steps_after_failed(*step) {
                    // What cannot be taken back now is when the record is found.
                    if files.perform(*undo).is_err() {
                        break;
                    }
                }
                warn!("the rotation of {} has failed at the step {step:?}: {error}", path.display());
                return Err(error);
            }
        }
        moved += length;
        if is_last {
            is_made(Archive { moment, packing: Packing::Plain });
            if let Err(error) = files.shorten_index() {
                warn!("cannot make the index of {} smaller: {error}", path.display());
            }
            break;
        }
    }
    Ok(moved)
}

/// Finishes or takes back what a predecessor was in the middle of.
pub(super) fn mend(path: &Path) -> io::Result<()> {
    let record = read(&place(path, cut_name)?)?;
    let Some(cut) = Cut::decode(&record) else {
        return Ok(());
    };
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path);
    let found = match &file {
        Ok(file) if file.metadata()?.ino() == cut.inode => Found::File(collapse::physical(file)?),
        Ok(_) => Found::Other,
        Err(error) if error.kind() == ErrorKind::NotFound => Found::Other,
        Err(error) => return Err(io::Error::new(error.kind(), error.to_string())),
    };
    let steps = cut.steps_after(found);
    info!("goes on with the rotation of {}: {found:?}, {cut:?}, {steps:?}", path.display());
    let nobody = File::open("/dev/null")?;
    let files = Files::new(path, file.as_ref().unwrap_or(&nobody), cut)?;
    steps.iter().try_for_each(|step| files.perform(*step))?;
    Ok(())
}

/// The next archive becomes one as it is, because its file will not go on.
pub(super) fn retire(path: &Path) -> io::Result<()> {
    let next = place(path, next_name)?;
    match fs::metadata(&next) {
        Ok(meta) if meta.len() > 0 => {}
        Ok(_) => return remove(Some(next)),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let archive = named(path, Archive::next(now(), archives(path)?.pop()));
    let index = place(&next, times_name)?;
    if index.exists() {
        fs::rename(index, place(&archive, times_name)?)?;
    }
    fs::rename(next, archive)
}

/// The names that one cut is about.
struct Files<'a> {
    path: &'a Path,
    file: &'a File,
    cut: Cut,
    record: PathBuf,
    next: PathBuf,
    after: PathBuf,
    index: PathBuf,
    /// What the next archive becomes.
    archive: Option<PathBuf>,
}

impl<'a> Files<'a> {
    fn new(path: &'a Path, file: &'a File, cut: Cut) -> io::Result<Files<'a>> {
        let archive = Archive { moment: cut.moment, packing: Packing::Plain };
        let archive = (cut.moment > 0).then(|| named(path, archive));
        let (record, next, after) = (place(path, cut_name)?, place(path, next_name)?, place(path, after_name)?);
        Ok(Files { path, file, cut, record, next, after, index: place(path, times_name)?, archive })
    }

    fn perform(&self, step: Step) -> io::Result<()> {
        let Cut { inode, base, length, whole, archive, .. } = self.cut;
        match step {
            Step::Record => {
                let is_new = !self.record.exists();
                let record =
                    OpenOptions::new().write(true).create(true).truncate(false).mode(0o640).open(&self.record)?;
                record.write_all_at(&self.cut.encode(), 0)?;
                record.sync_data()?;
                if is_new {
                    File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
                }
                failpoint::here("cut-recorded");
            }
            Step::Copy => {
                let next = self.create(&self.next)?;
                next.set_len(archive)?;
                collapse::copy(self.file, 0, &next, archive, whole)?;
                failpoint::here("cut-copying");
                next.sync_data()?;
            }
            Step::Carry => {
                if self.archive.is_some() {
                    let after = self.create(&self.after)?;
                    after.set_len(0)?;
                    collapse::copy(self.file, whole, &after, 0, length - whole)?;
                    after.sync_data()?;
                }
                failpoint::here("cut-copied");
            }
            Step::Index => {
                let all = read(&self.index)?;
                let begin = base.saturating_sub(archive);
                let of = times::part(&all, inode, begin..base + whole);
                replace(&place(self.archive.as_ref().unwrap_or(&self.next), times_name)?, &of)?;
            }
            Step::Arm => {
                self.set_header(Header { inode, base, cutting: length })?;
                failpoint::here("cut-armed");
            }
            Step::Drop => {
                collapse::flush_from(self.file, length)?;
                collapse::drop_head(self.file, length)?;
                failpoint::here("cut-dropped");
            }
            Step::Name => {
                if let Some(name) = self.archive.as_ref().filter(|name| self.after.exists() && !name.exists()) {
                    rename(&self.next, name)?;
                }
                failpoint::here("cut-named");
            }
            Step::Open => {
                if self.after.exists() {
                    let rest = times::part(&read(&self.index)?, inode, base + whole..base + length);
                    replace(&place(&self.next, times_name)?, &rest)?;
                    rename(&self.after, &self.next)?;
                }
                failpoint::here("cut-opened");
            }
            Step::Settle => {
                self.set_header(Header { inode, base: base + length, cutting: 0 })?;
                failpoint::here("cut-settled");
            }
            Step::TakeBack => {
                match OpenOptions::new().write(true).open(&self.next) {
                    Ok(next) => next.set_len(archive)?,
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
                remove(Some(self.after.clone()))?;
                if let Some(archive) = &self.archive {
                    remove(Some(place(archive, times_name)?))?;
                }
            }
            Step::Unsettle => self.set_header(Header { inode, base, cutting: 0 })?,
            Step::Forget => {
                OpenOptions::new().write(true).open(&self.record)?.set_len(0)?;
                debug_assert!(self.record.metadata()?.len() < CUT_RECORD as u64);
            }
        }
        Ok(())
    }

    /// Opens a file that is, or will be, an archive: who may read the log may read that.
    fn create(&self, path: &Path) -> io::Result<File> {
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o640).open(path);
        let file = open()?;
        let (live, meta) = (self.file.metadata()?, file.metadata()?);
        if live.mode() & 0o777 != meta.mode() & 0o777 {
            file.set_permissions(Permissions::from_mode(live.mode() & 0o777))?;
        }
        if (live.uid(), live.gid()) != (meta.uid(), meta.gid())
            && let Err(error) = fchown(&file, Some(live.uid()), Some(live.gid()))
        {
            warn!("cannot give {} the owner of {}: {error}", path.display(), self.path.display());
        }
        Ok(file)
    }

    fn set_header(&self, header: Header) -> io::Result<()> {
        set_header(self.path, header)
    }

    /// Leaves out of the index what the archives have.
    fn shorten_index(&self) -> io::Result<()> {
        let Cut { inode, base, length, whole, .. } = self.cut;
        let mut rest = times::part(&read(&self.index)?, inode, base + whole..u64::MAX);
        rest[..HEADER].copy_from_slice(&Header { inode, base: base + length, cutting: 0 }.encode());
        replace(&self.index, &rest)
    }
}

/// Where the last line among so many first bytes ends; all of them if none does for long.
fn line_end(file: &File, length: u64) -> io::Result<u64> {
    let start = length.saturating_sub(LOOKED_BACK);
    let mut bytes = vec![0; usize::try_from(length - start).map_err(|_| ErrorKind::InvalidData)?];
    file.read_exact_at(&mut bytes, start)?;
    Ok(memchr::memrchr(b'\n', &bytes).map_or(length, |at| start + at as u64 + 1))
}

fn place(path: &Path, name: impl FnOnce(&str) -> String) -> io::Result<PathBuf> {
    beside(path, name).ok_or_else(|| ErrorKind::InvalidFilename.into())
}

/// Writes the header of a live file's index, if that is the one.
pub(super) fn set_header(path: &Path, header: Header) -> io::Result<()> {
    let name = place(path, times_name)?;
    let index = match OpenOptions::new().read(true).write(true).open(&name) {
        Ok(index) => index,
        // Somebody has removed it: without one, readers do not know of a beginning.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            warn!("the index of {} is gone", path.display());
            return replace(&name, &header.encode());
        }
        Err(error) => return Err(error),
    };
    let mut found = [0; HEADER];
    index.read_exact_at(&mut found, 0)?;
    if Header::decode(&found).is_none_or(|found| found.inode == header.inode) {
        index.write_all_at(&header.encode(), 0)?;
    }
    Ok(())
}

/// What is not there was moved before.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
