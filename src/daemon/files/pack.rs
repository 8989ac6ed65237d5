//! An archive is compressed: into a draft, which gets its name when it is whole and on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use flate2::Compression as Level;
use flate2::write::GzEncoder;

use crate::daemon::files::folder::draft_of;
use crate::logs::Packing;

/// How much is compressed between two looks whether somebody waits.
const BLOCK: usize = 256 * 1024;

/// How hard zstd tries: its own usual measure.
const ZSTD: i32 = 3;

/// How hard gzip tries: as gzip(1) does.
const GZIP: u32 = 6;

/// Compresses a file and removes it. [`ErrorKind::Interrupted`]: somebody waits, and nothing has changed.
pub(super) fn pack(plain: &Path, packed: &Path, packing: Packing, somebody_waits: impl Fn() -> bool) -> io::Result<()> {
    let draft = draft_of(packed);
    let done = compress(plain, &draft, packing, somebody_waits).and_then(|()| fs::rename(&draft, packed));
    if done.is_err() {
        // Half of it is no use to anybody.
        let _ = fs::remove_file(&draft);
    }
    done?;
    // The new name has to be on the disk before the old one goes.
    File::open(packed.parent().unwrap_or(Path::new("/")))?.sync_all()?;
    fs::remove_file(plain)
}

fn compress(from: &Path, to: &Path, packing: Packing, somebody_waits: impl Fn() -> bool) -> io::Result<()> {
    let mut plain = File::open(from)?;
    let found = plain.metadata()?;
    let mode = found.permissions().mode() & 0o777;
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(to)?;
    let out = BufWriter::new(&file);
    let out = match packing {
        Packing::Zstd => {
            let mut packed = zstd::Encoder::new(out, ZSTD)?;
            // So that a damaged archive is recognised, as with gzip.
            packed.include_checksum(true)?;
            copy(&mut plain, &mut packed, somebody_waits)?;
            packed.finish()?
        }
        Packing::Gzip | Packing::Plain => {
            let mut packed = GzEncoder::new(out, Level::new(GZIP));
            copy(&mut plain, &mut packed, somebody_waits)?;
            packed.finish()?
        }
    };
    out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.set_modified(found.modified()?)?;
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (found.uid(), found.gid()) {
        // Only root can give files away; who else may read it is told by its mode.
        let _ = fchown(&file, Some(found.uid()), Some(found.gid()));
    }
    file.sync_all()
}

fn copy(from: &mut impl Read, to: &mut impl Write, somebody_waits: impl Fn() -> bool) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        if somebody_waits() {
            return Err(ErrorKind::Interrupted.into());
        }
        match from.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&block[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_is_read_back_and_who_waits_is_let_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let text: Vec<u8> = (0..100_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        for (packing, name) in [(Packing::Gzip, "a.gz"), (Packing::Zstd, "a.zst")] {
            let (plain, packed) = (folder.path().join("a"), folder.path().join(name));
            fs::write(&plain, &text).unwrap();
            let before = fs::metadata(&plain).unwrap();
            let refused = pack(&plain, &packed, packing, || true).unwrap_err();
            assert!(refused.kind() == ErrorKind::Interrupted && fs::read_dir(folder.path()).unwrap().count() == 1);
            pack(&plain, &packed, packing, || false).unwrap();
            let (mut read, file) = (Vec::new(), File::open(&packed).unwrap());
            assert_eq!(file.metadata().unwrap().modified().unwrap(), before.modified().unwrap());
            match packing {
                Packing::Zstd => zstd::Decoder::new(file).unwrap().read_to_end(&mut read).unwrap(),
                Packing::Gzip | Packing::Plain => flate2::read::GzDecoder::new(file).read_to_end(&mut read).unwrap(),
            };
            assert!(read == text && !plain.exists());
            fs::remove_file(packed).unwrap();
        }
    }
}
