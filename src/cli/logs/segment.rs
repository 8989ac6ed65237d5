//! One file of a log that is open: the live one, or an archive, compressed or not. It is read by logical offsets (see
//! `logs::times`), so that a live file whose head is cut off meanwhile is read on where reading had ended.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::cli::logs::index::{self, Index};
use crate::cli::logs::watcher;
use crate::logs::times::Header;
use crate::logs::{Archive, Cut, Packing, cut_name, next_name};
use crate::sys::collapse;

/// Which file it is, whatever its name (device and inode).
pub(super) type Identity = (u64, u64);

/// How often the end of a cut of the head of a file is waited for. It takes milliseconds, unless the daemon dies in it:
/// then its successor ends it.
const PATIENCE: u32 = 50;

/// How much later than its entry says bytes may have come, in milliseconds: more means that they have none yet.
const UNMARKED: u64 = 1_100;

pub(super) struct Segment {
    body: Body,
    pub(super) identity: Identity,
    /// Which archive it is; none: it was the live file when it was opened.
    pub(super) archive: Option<Archive>,
    /// For the live file: the newest archive there was when it was opened.
    pub(super) newest: Option<Archive>,
    path: PathBuf,
    index: Option<Index>,
    /// The logical offset of the first byte of the file.
    base: u64,
    /// The logical offset of the next byte.
    position: u64,
    /// Where reading ends, for the history.
    limit: Option<u64>,
    /// What the index said when the end of a cut was waited for in vain.
    given_up: Option<Header>,
}

enum Body {
    Plain(File),
    Packed(Box<dyn Read>),
}

/// What reading gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    Bytes(usize),
    /// There is nothing (yet).
    End,
    /// What comes next was cut off before it was read.
    Cut,
    /// The file was emptied and begins anew.
    Emptied,
}

impl Segment {
    /// Opens the live file; none: it is not there, or nothing that could be read back.
    pub(super) fn live(path: &Path) -> io::Result<Option<Segment>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Ok(None);
        }
        let mut segment = Segment::new(path, Body::Plain(file), (meta.dev(), meta.ino()), None);
        segment.adopt_index();
        segment.position = segment.base;
        Ok(Some(segment))
    }

    /// Opens an archive, in whichever form it is by now; none: it is gone.
    pub(super) fn archive(live: &Path, archive: Archive) -> io::Result<Option<Segment>> {
        for _ in 0..PATIENCE {
            let found = Segment::open_archive(live, archive)?;
            // The next archive becomes one before another index is in the place of its own.
            let is_swapped = |it: &Segment| archive == Archive::NEXT && !leads_to(&it.path, it.identity);
            if !found.as_ref().is_some_and(is_swapped) {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn open_archive(live: &Path, archive: Archive) -> io::Result<Option<Segment>> {
        for packing in [archive.packing, Packing::Plain, Packing::Gzip, Packing::Zstd] {
            let archive = Archive { packing, ..archive };
            let Some(path) = archive_path(live, archive) else { return Ok(None) };
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(error),
            };
            let meta = file.metadata()?;
            let body = match packing {
                Packing::Plain => Body::Plain(file),
                Packing::Gzip => Body::Packed(Box::new(flate2::read::MultiGzDecoder::new(file))),
                Packing::Zstd => Body::Packed(Box::new(zstd::stream::read::Decoder::new(file)?)),
            };
            let mut segment = Segment::new(&path, body, (meta.dev(), meta.ino()), Some(archive));
            segment.index = Index::open(&path);
            segment.base = segment.index.as_ref().and_then(Index::header).map_or(0, |header| header.base);
            segment.position = segment.base;
            return Ok(Some(segment));
        }
        Ok(None)
    }

    fn new(path: &Path, body: Body, identity: Identity, archive: Option<Archive>) -> Segment {
        let path = path.to_owned();
        let (newest, index, limit, given_up) = (None, None, None, None);
        Segment { body, identity, archive, newest, path, index, base: 0, position: 0, limit, given_up }
    }

    /// The logical offset of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The number of the file that the lines were written to.
    pub(super) fn written_to(&self) -> u64 {
        self.index.as_ref().and_then(Index::header).map_or(self.identity.1, |header| header.inode)
    }

    /// Goes on at this logical offset, of a live or plain file.
    pub(super) fn go_to(&mut self, position: u64) {
        self.position = position;
    }

    /// The beginning of the file, as a logical offset.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Reading ends where the file ends now.
    pub(super) fn limit(&mut self) {
        if let Body::Plain(file) = &self.body {
            self.limit = file.metadata().ok().map(|meta| self.base + meta.len());
        }
    }

    /// Reading goes on, whatever comes.
    pub(super) fn unlimit(&mut self) {
        self.limit = None;
    }

    /// The file itself, for looking at it from its end; none where it can only be read from its beginning.
    pub(super) fn file(&self) -> Option<&File> {
        match &self.body {
            Body::Plain(file) => Some(file),
            Body::Packed(_) => None,
        }
    }

    /// The logical offset before which all came before this moment, if it is known.
    pub(super) fn begin_of(&self, moment: u64) -> Option<u64> {
        self.index.as_ref()?.begin_of(moment)
    }

    /// When the byte at this logical offset came.
    pub(super) fn moment(&mut self, offset: u64) -> Option<u64> {
        let (known, is_last) = self.index.as_mut()?.moment(offset)?;
        // A file that its program writes gets its next entry within a second: what stands behind the last one came when
        // the file was written last.
        match &self.body {
            Body::Plain(file) if is_last && self.archive.is_none() => {
                let modified = modified(file).unwrap_or(known);
                Some(if modified > known + UNMARKED { modified } else { known })
            }
            Body::Plain(_) | Body::Packed(_) => Some(known),
        }
    }

    /// When its last lines came at the latest: for lines that nothing else is known of.
    pub(super) fn latest(&self) -> u64 {
        let modified = || modified(self.file()?);
        let known = self.archive.filter(|archive| *archive != Archive::NEXT).map(|archive| archive.moment);
        known.or_else(modified).unwrap_or_default()
    }

    /// Reads on.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<Got> {
        match &mut self.body {
            Body::Packed(packed) => loop {
                match packed.read(into) {
                    Ok(0) => return Ok(Got::End),
                    Ok(count) => {
                        self.position += count as u64;
                        return Ok(Got::Bytes(count));
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            },
            Body::Plain(_) => self.read_plain(into),
        }
    }

    fn read_plain(&mut self, into: &mut [u8]) -> io::Result<Got> {
        loop {
            let before = self.settled();
            if self.position < self.base {
                return Ok(Got::Cut);
            }
            let room = self.limit.map_or(into.len() as u64, |limit| limit.saturating_sub(self.position));
            let room = usize::try_from(room).map_or(into.len(), |room| room.min(into.len()));
            let Body::Plain(file) = &self.body else { return Ok(Got::End) };
            let at = self.position - self.base;
            let count = file.read_at(&mut into[..room], at)?;
            let is_shorter = count == 0 && room > 0 && file.metadata()?.len() < at;
            // The head may have been cut off under the reading: these are other bytes then.
            if self.archive.is_none() && (self.header() != before || self.adopt_index()) {
                continue;
            }
            if count > 0 {
                self.position += count as u64;
                self.index.iter_mut().for_each(Index::refresh);
                return Ok(Got::Bytes(count));
            }
            if is_shorter {
                self.position = self.base;
                return Ok(Got::Emptied);
            }
            return Ok(Got::End);
        }
    }

    fn header(&self) -> Option<Header> {
        self.index.as_ref().and_then(Index::header)
    }

    /// What the index says of the live file when nothing is being cut; takes over a new base.
    fn settled(&mut self) -> Option<Header> {
        if self.archive.is_some() {
            return self.header();
        }
        self.adopt_index();
        let mut tries = 0;
        loop {
            let header = self.header()?;
            if header.inode != self.identity.1 {
                // It is the index of a successor by now.
                return Some(header);
            }
            if header.cutting != 0 && tries < PATIENCE && self.given_up != Some(header) {
                tries += 1;
                index::path_of(&self.path).iter().for_each(|path| watcher::await_change(path));
                continue;
            }
            let base = self.decided(header);
            if base < self.base {
                // Another index, which counts from the beginning.
                self.position = self.position - self.base + base;
            }
            self.base = base;
            return Some(header);
        }
    }

    /// Where the file begins. Where nobody ends a cut, the file itself tells whether its head is gone, beside the record of
    /// what was to be done.
    fn decided(&mut self, header: Header) -> u64 {
        self.given_up = Some(header).filter(|header| header.cutting != 0);
        let Some(file) = self.file().filter(|_| header.cutting != 0) else { return header.base };
        let record = || std::fs::read(self.path.with_file_name(cut_name(self.path.file_name()?.to_str()?))).ok();
        let cut = record()
            .and_then(|bytes| Cut::decode(&bytes))
            .filter(|cut| (cut.inode, cut.base) == (header.inode, header.base));
        let is_gone = match (cut, collapse::physical(file)) {
            (Some(cut), Ok(found)) => found != Some(cut.physical),
            (None, _) | (_, Err(_)) => file.metadata().is_ok_and(|meta| meta.len() < header.cutting),
        };
        if is_gone { header.base + header.cutting } else { header.base }
    }

    /// Opens the index that the live file has got meanwhile, or the one in the place of the one that is open; whether
    /// there is such a one.
    fn adopt_index(&mut self) -> bool {
        if self.index.as_ref().is_some_and(|index| !index.is_replaced()) {
            return false;
        }
        let fresh = Index::open(&self.path).filter(|index| index.header().is_some_and(|h| h.inode == self.identity.1));
        let Some(index) = fresh else { return false };
        if let Some(header) = index.header().filter(|_| self.index.is_none()) {
            self.position = self.position - self.base + header.base;
            self.limit = self.limit.map(|limit| limit - self.base + header.base);
            self.base = header.base;
        }
        self.index = Some(index);
        true
    }
}

/// When a file was written last, in milliseconds of the epoch.
fn modified(file: &File) -> Option<u64> {
    let since = file.metadata().ok()?.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// Where an archive of a live file is.
pub(super) fn archive_path(live: &Path, archive: Archive) -> Option<PathBuf> {
    let name = live.file_name()?.to_str()?;
    Some(live.with_file_name(if archive == Archive::NEXT { next_name(name) } else { archive.name(name) }))
}

/// The archives of a live file, the oldest first.
pub(super) fn archives(live: &Path) -> io::Result<Vec<Archive>> {
    let (Some(folder), Some(name)) = (live.parent(), live.file_name().and_then(std::ffi::OsStr::to_str)) else {
        return Ok(Vec::new());
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|entry| entry.len() > name.len() && entry.starts_with(name))
        .collect();
    Ok(Archive::of(name, names.iter().map(String::as_str)))
}

/// Whether a name leads to this file.
pub(super) fn leads_to(path: &Path, identity: Identity) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| (meta.dev(), meta.ino()) == identity)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
