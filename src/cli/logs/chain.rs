//! A log as one stream, over all the files it is in: its archives, the oldest first, then the live file, then what takes
//! its place.
//!
//! Which file comes next is decided by what cannot be mistaken: the live file is opened before the archives are listed,
//! so each one between is in the list; and a live file that was renamed meanwhile is found among the archives by its
//! inode, or, when it has been compressed since, by the inode in the index that goes with it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::cli::logs::index::Index;
use crate::cli::logs::search::{search, search_packed};
use crate::cli::logs::segment::{Got, Identity, Segment, archive_path, archives, leads_to};
use crate::logs::{Archive, Lines, Packing, Pattern};

/// How much is read at once at most.
pub(super) const BLOCK: usize = 256 * 1024;

/// The stream.
pub(super) struct Chain {
    path: PathBuf,
    current: Option<Segment>,
    ahead: VecDeque<Part>,
    /// The name of the current file leads to another one by now.
    is_left: bool,
    /// The newest archive there was when no live file was.
    newest: Option<Archive>,
    /// The line that reading begins in is not wanted.
    is_within_line: bool,
    /// Nothing comes behind what is there now.
    is_bounded: bool,
    /// What was cut off from here on was looked for last, and how often in a row.
    missed: (u64, u32),
}

/// How often something is looked for whose name may change meanwhile.
const TRIES: u32 = 10;

enum Part {
    /// From this logical offset on; 0: from its beginning on.
    Archive(Archive, u64),
    Live(Box<Segment>),
}

/// What the next step has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes.
    Read(usize),
    /// What follows does not continue the unfinished line.
    Broken,
    /// What follows does not continue the unfinished line, and its end is lost.
    Lost,
    /// Nothing (yet).
    End,
}

impl Chain {
    pub(super) fn new(path: &Path) -> Chain {
        let (path, ahead) = (path.to_owned(), VecDeque::new());
        let (current, newest) = (None, None);
        Chain { path, current, ahead, is_left: false, newest, is_within_line: false, is_bounded: false, missed: (0, 0) }
    }

    /// The live file, if one is open.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.current.as_ref().filter(|current| current.archive.is_none()).map(|current| current.identity)
    }

    /// The current file.
    pub(super) fn current(&mut self) -> Option<&mut Segment> {
        self.current.as_mut()
    }

    /// Begins where the last lines begin, those that match where there is a pattern.
    pub(super) fn begin_at_last(&mut self, lines: u64, pattern: Option<&Pattern>) -> io::Result<()> {
        let (live, mut all) = self.look()?;
        let mut missing = lines;
        if let Some(mut live) = live {
            let (mut is_from_start, mut is_torn) = (false, false);
            if let Some(file) = live.file() {
                let (start, still) = search(file, missing, pattern)?;
                missing = still;
                (is_from_start, is_torn) = (start == 0, still < lines);
                live.go_to(live.base() + start);
            }
            let next = self.next(&live)?.filter(|_| is_from_start && lines > 0);
            if let Some(next) = next {
                // Both have a part of one line.
                let is_torn = is_torn && pattern.is_none() && !ends_a_line(&next)?;
                let wanted = missing + u64::from(is_torn);
                let begin = next.file().map(|file| search(file, wanted.max(1), pattern.filter(|_| missing > 0)));
                let (from, still) = begin.transpose()?.unwrap_or((0, wanted));
                missing = still.min(missing);
                self.ahead.push_front(Part::Archive(Archive::NEXT, next.base() + from));
            }
            self.ahead.push_back(Part::Live(Box::new(live)));
        }
        while missing > 0
            && let Some(archive) = all.pop()
        {
            let Some(mut segment) = Segment::archive(&self.path, archive)? else { continue };
            let found = match segment.file() {
                Some(file) => search(file, missing, pattern),
                None => search_packed(&mut segment, missing, pattern),
            };
            // A damaged archive is told of when it is read.
            let (from, still) = found.unwrap_or((0, missing));
            missing = still;
            self.ahead.push_front(Part::Archive(archive, segment.base() + from));
        }
        Ok(())
    }

    /// Begins where the bytes since a moment begin, as far as that is known; without one, with the first byte there is.
    pub(super) fn begin_since(&mut self, moment: Option<u64>) -> io::Result<()> {
        let (live, all) = self.look()?;
        let mut wanted: VecDeque<Archive> =
            all.into_iter().filter(|it| moment.is_none_or(|at| it.moment >= at)).collect();
        if let (Some(first), Some(moment)) = (wanted.front().copied(), moment) {
            let segment = Segment::archive(&self.path, first)?;
            if let Some((segment, at)) = segment.and_then(|segment| segment.begin_of(moment).map(|at| (segment, at))) {
                wanted.pop_front();
                let behind = at.saturating_sub(segment.base());
                self.is_within_line = behind > 0;
                self.ahead.push_back(Part::Archive(first, segment.base() + behind.saturating_sub(1)));
            }
        }
        let is_first = self.ahead.is_empty() && wanted.is_empty();
        self.ahead.extend(wanted.into_iter().map(|archive| Part::Archive(archive, 0)));
        if let Some(mut live) = live {
            let begin = moment.and_then(|moment| live.begin_of(moment));
            if begin.is_none_or(|at| at <= live.base()) && self.next(&live)?.is_some() {
                self.ahead.push_back(Part::Archive(Archive::NEXT, 0));
            }
            if let Some(at) = moment.filter(|_| is_first).and_then(|moment| live.begin_of(moment))
                && at > live.base()
            {
                live.go_to(at - 1);
                self.is_within_line = true;
            }
            self.ahead.push_back(Part::Live(Box::new(live)));
        }
        Ok(())
    }

    /// Begins where the file had this length; at the beginning of the live file if it is another one by now.
    pub(super) fn begin_at(&mut self, identity: Identity, length: u64) -> io::Result<()> {
        let (live, all) = self.look()?;
        match live {
            Some(mut live) if live.identity == identity => {
                live.go_to(live.base() + length);
                self.ahead.push_back(Part::Live(Box::new(live)));
            }
            live => {
                let mut rest = all.into_iter().skip_while(|archive| !is_file(&self.path, *archive, identity));
                if let Some(archive) = rest.next() {
                    let base = Segment::archive(&self.path, archive)?.map_or(0, |segment| segment.base());
                    self.ahead.push_back(Part::Archive(archive, base + length));
                }
                self.ahead.extend(rest.map(|archive| Part::Archive(archive, 0)));
                self.ahead.extend(live.map(|live| Part::Live(Box::new(live))));
            }
        }
        Ok(())
    }

    /// Begins with the first byte of the live file.
    pub(super) fn begin_at_live(&mut self) -> io::Result<()> {
        let (live, _) = self.look()?;
        self.ahead.extend(live.map(|live| Part::Live(Box::new(live))));
        Ok(())
    }

    /// What comes from now on is no history.
    pub(super) fn bound(&mut self) {
        self.is_bounded = true;
        for part in &mut self.ahead {
            if let Part::Live(live) = part {
                live.limit();
            }
        }
    }

    /// The history has been read; goes on with what comes.
    pub(super) fn unbound(&mut self) {
        self.is_bounded = false;
        self.current.iter_mut().for_each(Segment::unlimit);
    }

    /// The live file, and the archives before it.
    fn look(&mut self) -> io::Result<(Option<Segment>, Vec<Archive>)> {
        let (mut live, all) = self.open_live()?;
        self.newest = all.last().copied();
        live.iter_mut().for_each(|live| live.newest = self.newest);
        Ok((live, all))
    }

    /// The live file, and archives that are all older. Where it was renamed before they were listed it is one of them:
    /// then there is no live file yet.
    fn open_live(&self) -> io::Result<(Option<Segment>, Vec<Archive>)> {
        for _ in 0..TRIES {
            let live = Segment::live(&self.path)?;
            let all = archives(&self.path)?;
            if live.as_ref().is_none_or(|live| leads_to(&self.path, live.identity)) {
                return Ok((live, all));
            }
        }
        Ok((None, archives(&self.path)?))
    }

    /// The next archive of a live file that is rotated in place: what was cut off and is not in an archive yet.
    fn next(&self, live: &Segment) -> io::Result<Option<Segment>> {
        let next = Segment::archive(&self.path, Archive::NEXT)?;
        Ok(next.filter(|next| next.written_to() == live.identity.1 && next.file().is_some_and(|file| !is_empty(file))))
    }

    /// Reads what comes next.
    pub(super) fn step(&mut self, lines: &mut Lines) -> io::Result<Step> {
        loop {
            let Some(current) = &mut self.current else {
                if self.ahead.is_empty() && !self.is_bounded {
                    self.meet_first()?;
                }
                let Some(part) = self.ahead.pop_front() else { return Ok(Step::End) };
                if !self.open(part)? {
                    return Ok(Step::Broken);
                }
                continue;
            };
            let mut got = Got::End;
            let read = |place: &mut [u8]| -> io::Result<usize> {
                got = current.read(place)?;
                Ok(if let Got::Bytes(count) = got { count } else { 0 })
            };
            if let Err(error) = lines.fill(BLOCK, read) {
                // What is behind a damaged place can still be read where it is a file of its own.
                if current.archive.is_some() {
                    self.current = None;
                }
                return Err(error);
            }
            match got {
                Got::Bytes(count) => {
                    if self.is_within_line && !self.skip(lines) {
                        continue;
                    }
                    return Ok(Step::Read(count));
                }
                Got::Emptied => return Ok(Step::Lost),
                Got::Cut => {
                    if !self.fetch_what_was_cut()? {
                        return Ok(Step::Lost);
                    }
                }
                Got::End => match self.leave()? {
                    Left::Stays => return Ok(Step::End),
                    Left::Again | Left::Joined => {}
                    Left::Broken => return Ok(Step::Broken),
                },
            }
        }
    }

    /// Drops the rest of a line that is not wanted; whether its end has come.
    fn skip(&mut self, lines: &mut Lines) -> bool {
        match memchr::memchr(b'\n', lines.whole()) {
            Some(end) => {
                lines.take(end + 1);
                self.is_within_line = false;
                true
            }
            None => {
                lines.forget();
                false
            }
        }
    }

    /// The first files of a log that did not exist.
    fn meet_first(&mut self) -> io::Result<()> {
        let before = self.newest;
        let (live, all) = self.look()?;
        self.ahead.extend(all.into_iter().filter(|it| Some(*it) > before).map(|archive| Part::Archive(archive, 0)));
        self.ahead.extend(live.map(|live| Part::Live(Box::new(live))));
        Ok(())
    }

    /// Whether it could be opened.
    fn open(&mut self, part: Part) -> io::Result<bool> {
        let before = self.current.take();
        self.is_left = false;
        self.current = match part {
            Part::Archive(archive, at) => {
                let mut segment = Segment::archive(&self.path, archive)?;
                let is_behind = |next: &Segment| {
                    let is_later = |it: &Segment| it.written_to() == next.written_to() && it.position() < next.base();
                    before.as_ref().is_some_and(is_later) || at > 0 && at < next.base()
                };
                if archive == Archive::NEXT && segment.as_ref().is_none_or(is_behind) {
                    // It has become an archive meanwhile: the live file says what is missing.
                    if let (Some(Part::Live(live)), None) = (self.ahead.front_mut(), &before)
                        && at > 0
                    {
                        let at = at.min(live.position());
                        live.go_to(at);
                    }
                    self.current = before;
                    return Ok(true);
                }
                if let Some(segment) = &mut segment {
                    let behind = at.saturating_sub(segment.base());
                    forward(segment, behind)?;
                }
                segment
            }
            Part::Live(mut live) => {
                // The head of this file was moved into the archive that has just been read.
                if let Some(before) = before.filter(|it| it.archive.is_some() && it.written_to() == live.identity.1) {
                    live.go_to(before.position());
                }
                Some(*live)
            }
        };
        Ok(self.current.is_some())
    }

    /// At the end of a file: what is next?
    fn leave(&mut self) -> io::Result<Left> {
        if let Some(part) = self.ahead.pop_front() {
            return Ok(if self.open(part)? { Left::Joined } else { Left::Broken });
        }
        let Some(current) = &self.current else { return Ok(Left::Stays) };
        if self.is_bounded {
            return Ok(Left::Stays);
        }
        if current.archive.is_none() && !self.is_left {
            let is_other = std::fs::metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) != current.identity);
            self.is_left = is_other;
            // What was written before the name went to another file is there by now.
            return Ok(if is_other { Left::Again } else { Left::Stays });
        }
        let (live, all) = self.open_live()?;
        let newest = all.last().copied();
        let known = current.archive.or(current.newest);
        let mut newer: Vec<Archive> =
            all.into_iter().filter(|it| known.is_none_or(|known| it.moment > known.moment)).collect();
        let mut is_joined = current.archive.is_some();
        if current.archive.is_none()
            && let Some(at) = newer.iter().position(|archive| is_file(&self.path, *archive, current.identity))
        {
            newer.drain(..=at);
            is_joined = true;
        }
        let live = live.filter(|live| live.identity != current.identity);
        let newest = newest.or(known);
        self.ahead.extend(newer.into_iter().map(|archive| Part::Archive(archive, 0)));
        self.newest = newest;
        if let Some(mut live) = live {
            live.newest = newest;
            self.ahead.push_back(Part::Live(Box::new(live)));
        }
        let Some(part) = self.ahead.pop_front() else { return Ok(Left::Stays) };
        let is_open = self.open(part)?;
        Ok(if is_open && is_joined { Left::Joined } else { Left::Broken })
    }

    /// The head of the live file was cut off before it was read: it is in archives, unless the file was emptied.
    fn fetch_what_was_cut(&mut self) -> io::Result<bool> {
        let Some(mut live) = self.current.take() else { return Ok(false) };
        let wanted = live.position();
        let mut parts: Vec<Part> = Vec::new();
        let known = archives(&self.path)?;
        for archive in std::iter::once(Archive::NEXT).chain(known.into_iter().rev()) {
            let index = archive_path(&self.path, archive).and_then(|path| Index::open(&path));
            let header = index.and_then(|index| index.header()).filter(|header| header.inode == live.identity.1);
            let Some(header) = header else {
                // There need not be a next one.
                if archive == Archive::NEXT {
                    continue;
                }
                break;
            };
            parts.push(Part::Archive(archive, wanted.max(header.base)));
            if header.base <= wanted {
                break;
            }
        }
        // The archives that there are were read, and this is not in them: it was emptied.
        self.missed = (wanted, if self.missed.0 == wanted { self.missed.1 + 1 } else { 0 });
        if parts.is_empty() || self.missed.1 > TRIES {
            live.go_to(live.base());
            self.current = Some(live);
            return Ok(false);
        }
        live.newest = archives(&self.path)?.last().copied();
        self.ahead.push_front(Part::Live(Box::new(live)));
        parts.into_iter().for_each(|part| self.ahead.push_front(part));
        Ok(true)
    }
}

fn is_empty(file: &File) -> bool {
    file.metadata().is_ok_and(|meta| meta.len() == 0)
}

/// Whether the last byte of a plain file ends a line.
fn ends_a_line(segment: &Segment) -> io::Result<bool> {
    let Some(file) = segment.file() else { return Ok(true) };
    let Some(last) = file.metadata()?.len().checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte[0] == b'\n')
}

/// What follows the end of a file.
enum Left {
    /// It is still the last one.
    Stays,
    /// It has to be read to its end once more.
    Again,
    /// The next one, which goes on where this one has ended.
    Joined,
    /// Another one.
    Broken,
}

/// Whether this plain archive is that file.
fn is_plain_file(live: &Path, archive: Archive, identity: Identity) -> bool {
    let path = archive_path(live, Archive { packing: Packing::Plain, ..archive });
    path.and_then(|path| std::fs::metadata(path).ok()).is_some_and(|meta| (meta.dev(), meta.ino()) == identity)
}

/// Whether this archive holds what was written to that file, compressed or not.
fn is_file(live: &Path, archive: Archive, identity: Identity) -> bool {
    let index = || archive_path(live, archive).and_then(|path| Index::open(&path))?.header();
    is_plain_file(live, archive, identity) || index().is_some_and(|header| header.inode == identity.1)
}

/// Goes so far behind the beginning.
fn forward(segment: &mut Segment, from: u64) -> io::Result<()> {
    if segment.file().is_some() {
        segment.go_to(segment.base() + from);
        return Ok(());
    }
    let mut left = from;
    let mut buffer = vec![0; BLOCK];
    while left > 0 {
        let room = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        let Got::Bytes(count) = segment.read(&mut buffer[..room])? else { break };
        left -= count as u64;
    }
    Ok(())
}
