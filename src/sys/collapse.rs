//! Taking the head out of a file that others append to (fallocate(2): FALLOC_FL_COLLAPSE_RANGE): the bytes are copied to
//! another file, then whole blocks of them are dropped, and what was behind them is in front. Writers with O_APPEND go on
//! meanwhile and notice nothing.
//!
//! What the kernel asks for: a filesystem that can (ext4, xfs), a length that is a multiple of its unit, and less than the
//! whole file. It writes back what is behind the head while writers wait, so [`flush_from`] comes first, and not too much
//! at once.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, copy_file_range, fallocate};
use nix::sys::statfs::{self, statfs};

/// The smallest and the largest unit that is tried.
const UNITS: (u64, u64) = (512, 1 << 20);

/// How much is copied at once where the kernel does not do it.
const CHUNK: usize = 256 * 1024;

/// FS_IOC_FIEMAP (linux/fs.h): `_IOWR('f', 11, struct fiemap)`.
const FIEMAP: libc::c_ulong = 0xc020_660b;

/// FIEMAP_FLAG_SYNC: what has no place on the disk yet gets one.
const FIEMAP_SYNC: u32 = 1;

/// FIEMAP_EXTENT_UNKNOWN, _DELALLOC, _NOT_ALIGNED, _DATA_INLINE, _DATA_TAIL: the physical address says nothing.
const NO_ADDRESS: u32 = 0x2 | 0x4 | 0x100 | 0x200 | 0x400;

/// A request for the first extent of a file, and the answer (linux/fiemap.h).
#[repr(C)]
#[derive(Default)]
struct Fiemap {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
    extent: Extent,
}

#[repr(C)]
#[derive(Default)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

/// The unit in which heads can be dropped from the files of this folder. It is found by trial, on a file without a name:
/// not every filesystem tells (on ext4 with bigalloc it is not the size of a block).
///
/// # Errors
///
/// EOPNOTSUPP where it cannot be done, or where a file does not tell where it lies on the disk; and whatever making a
/// file may fail with.
pub fn unit(folder: &Path) -> io::Result<u64> {
    let file = scratch(folder)?;
    let mut unit = UNITS.0;
    loop {
        file.set_len(unit + 1)?;
        match drop_head(&file, unit) {
            Ok(()) => break,
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && unit < UNITS.1 => unit *= 2,
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
            }
            Err(error) => return Err(error),
        }
    }
    // Once more with bytes, as it will be used.
    let bytes = vec![1; usize::try_from(2 * unit + 1).map_err(|_| ErrorKind::InvalidData)?];
    file.set_len(0)?;
    file.write_all_at(&bytes, 0)?;
    let before = physical(&file)?;
    drop_head(&file, unit)?;
    let after = physical(&file)?;
    if before.is_none() || after.is_none() || before == after || file.metadata()?.len() != unit + 1 {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    Ok(unit)
}

/// The name of the filesystem that something is on, of those whose name is known to say something about it.
pub fn filesystem(path: &Path) -> Option<&'static str> {
    let found = statfs(path).ok()?.filesystem_type();
    [
        (statfs::TMPFS_MAGIC, "tmpfs"),
        (statfs::BTRFS_SUPER_MAGIC, "btrfs"),
        (statfs::NFS_SUPER_MAGIC, "nfs"),
        (statfs::OVERLAYFS_SUPER_MAGIC, "overlay"),
        (statfs::EXT4_SUPER_MAGIC, "ext4"),
        (statfs::XFS_SUPER_MAGIC, "xfs"),
        (statfs::FUSE_SUPER_MAGIC, "fuse"),
        (statfs::PROC_SUPER_MAGIC, "proc"),
    ]
    .into_iter()
    .find_map(|(magic, name)| (magic == found).then_some(name))
}

/// Drops so many bytes from the front of a file: a multiple of its unit, and less than all.
///
/// # Errors
///
/// EINVAL for another length, EOPNOTSUPP where it cannot be done, ENOSPC.
pub fn drop_head(file: &File, length: u64) -> io::Result<()> {
    let length = i64::try_from(length).map_err(|_| ErrorKind::InvalidInput)?;
    loop {
        match fallocate(file, FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, 0, length) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Writes to the disk what a file has from this offset on (sync_file_range(2)). Writers go on meanwhile.
///
/// # Errors
///
/// Those of the disk.
pub fn flush_from(file: &File, offset: u64) -> io::Result<()> {
    let offset = i64::try_from(offset).map_err(|_| ErrorKind::InvalidInput)?;
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: a descriptor and three numbers; a length of 0 means up to the end.
    Errno::result(unsafe { libc::sync_file_range(file.as_raw_fd(), offset, 0, flags) })?;
    Ok(())
}

/// Where the first byte of a file lies on the disk, which is somewhere else after its head was dropped, and nowhere else
/// unless it was: content and size cannot tell that. None: nowhere.
///
/// # Errors
///
/// EOPNOTSUPP where files do not tell.
pub fn physical(file: &File) -> io::Result<Option<u64>> {
    let mut map = Fiemap { length: 1, flags: FIEMAP_SYNC, count: 1, ..Fiemap::default() };
    // SAFETY: FS_IOC_FIEMAP reads the head of the structure that it is given and fills as many extents behind it as the
    // head says there is room for: one, and there is.
    Errno::result(unsafe { libc::ioctl(file.as_fd().as_raw_fd(), FIEMAP, &raw mut map) })?;
    let Fiemap { mapped, extent: Extent { logical, physical, flags, .. }, .. } = map;
    Ok((mapped == 1 && logical == 0 && flags & NO_ADDRESS == 0).then_some(physical))
}

/// Copies so many bytes from one file into another, within the kernel where it can (copy_file_range(2)).
///
/// # Errors
///
/// `UnexpectedEof` if there are fewer; those of reading and writing.
pub fn copy(from: &File, start: u64, to: &File, at: u64, length: u64) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let wanted = usize::try_from(length - done).unwrap_or(usize::MAX);
        let offset = |at: u64| i64::try_from(at).map_err(|_| ErrorKind::InvalidInput);
        let (mut source, mut target) = (offset(start + done)?, offset(at + done)?);
        match copy_file_range(from, Some(&mut source), to, Some(&mut target), wanted) {
            Ok(0) => break,
            Ok(count) => done += count as u64,
            Err(Errno::EINTR) => {}
            // Another filesystem, or one that does not do it: by hand, which also tells what is wrong.
            Err(_) => break,
        }
    }
    copy_by_hand(from, start + done, to, at + done, length - done)
}

fn copy_by_hand(from: &File, mut start: u64, to: &File, mut at: u64, mut length: u64) -> io::Result<()> {
    let mut buffer = vec![0; usize::try_from(length).map_or(CHUNK, |length| length.min(CHUNK))];
    while length > 0 {
        let room = usize::try_from(length).map_or(buffer.len(), |length| length.min(buffer.len()));
        from.read_exact_at(&mut buffer[..room], start)?;
        to.write_all_at(&buffer[..room], at)?;
        start += room as u64;
        at += room as u64;
        length -= room as u64;
    }
    Ok(())
}

/// A file in this folder that nobody sees, and that is gone when it is closed.
fn scratch(folder: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE).open(folder) {
        Ok(file) => Ok(file),
        // Filesystems without files that have no name.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => {
            let path = folder.join(format!(".rsx-{}.trial", std::process::id()));
            let file = options.create(true).truncate(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A folder on a filesystem that can, and its unit. None: there is none, which is told.
    fn able() -> Option<(tempfile::TempDir, u64)> {
        for place in [std::env::temp_dir(), "/var/tmp".into(), env!("CARGO_MANIFEST_DIR").into()] {
            let Ok(folder) = tempfile::tempdir_in(place) else { continue };
            if let Ok(unit) = unit(folder.path()) {
                return Some((folder, unit));
            }
        }
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "no filesystem here can drop the head of a file");
        let _ = writeln!(io::stderr().lock(), "skipped: no filesystem here can drop the head of a file");
        None
    }

    fn log(folder: &Path) -> File {
        OpenOptions::new().read(true).append(true).create(true).open(folder.join("log")).unwrap()
    }

    #[test]
    fn the_head_of_a_file_moves_into_another_one_while_it_grows() {
        let Some((folder, unit)) = able() else { return };
        let (file, archive) = (log(folder.path()), File::create(folder.path().join("archive")).unwrap());
        let second = File::options().read(true).write(true).open(folder.path().join("log")).unwrap();
        let mut archived = 0;
        let (mut written, mut number) = (Vec::new(), 0_u64);
        for _ in 0..20 {
            let mut lines = Vec::new();
            while lines.len() < 3 * usize::try_from(unit).unwrap() {
                lines.extend(format!("{number:09}\n").into_bytes());
                number += 1;
            }
            (&file).write_all(&lines).unwrap();
            written.extend(lines);
            let cut = (second.metadata().unwrap().len() - 1) / unit * unit;
            let before = physical(&second).unwrap().unwrap();
            copy(&second, 0, &archive, archived, cut).unwrap();
            flush_from(&second, cut).unwrap();
            assert_eq!(physical(&second).unwrap(), Some(before));
            drop_head(&second, cut).unwrap();
            assert_ne!(physical(&second).unwrap(), Some(before));
            archived += cut;
        }
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        assert!([read("archive"), read("log")].concat() == written);
    }

    #[test]
    fn all_of_a_file_and_a_part_of_a_unit_cannot_be_dropped() {
        let Some((folder, unit)) = able() else { return };
        let mut file = log(folder.path());
        file.write_all(&vec![b'x'; usize::try_from(2 * unit).unwrap()]).unwrap();
        for length in [2 * unit, unit - 1, 1] {
            assert_eq!(drop_head(&file, length).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        }
        drop_head(&file, unit).unwrap();
        assert_eq!(file.metadata().unwrap().len(), unit);
    }

    #[test]
    fn a_filesystem_that_cannot_says_so() {
        let memory = Path::new("/dev/shm");
        if filesystem(memory) != Some("tmpfs") {
            return;
        }
        let folder = tempfile::tempdir_in(memory).unwrap();
        assert_eq!(unit(folder.path()).unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_the_kernel_does_not_copy_is_copied_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..700_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        std::fs::write(folder.path().join("a"), &bytes).unwrap();
        let from = File::open(folder.path().join("a")).unwrap();
        for (name, by) in [("b", copy as fn(&File, u64, &File, u64, u64) -> io::Result<()>), ("c", copy_by_hand)] {
            let to = File::create(folder.path().join(name)).unwrap();
            to.write_all_at(b"abc", 0).unwrap();
            by(&from, 5, &to, 3, 600_000).unwrap();
            let found = std::fs::read(folder.path().join(name)).unwrap();
            assert!(found[..3] == *b"abc" && found[3..] == bytes[5..600_005]);
            assert_eq!(by(&from, 5, &to, 3, 700_000).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn an_empty_file_lies_nowhere() {
        let Some((folder, _)) = able() else { return };
        assert_eq!(physical(&log(folder.path())).unwrap(), None);
    }
}
