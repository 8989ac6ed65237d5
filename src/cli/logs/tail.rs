//! One log file that is read: history first, then what comes, from the same descriptor and offset, so that no line is
//! lost or shown twice between the two.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::cli::logs::{Form, Source, write_line};
use crate::cli::output::Output;
use crate::error::Failure;
use crate::logs::{LineCutter, TailSearch};
use crate::proto::Event;

/// How much of one file is shown before the others get their turn.
const TURN: usize = 1024 * 1024;
/// How much is read at once.
const BLOCK: usize = 64 * 1024;

/// One file that is read. It may be emptied, deleted, renamed and created again meanwhile.
pub(super) struct Tail {
    pub(super) source: Source,
    pub(super) prefix: String,
    open: Option<Open>,
    cutter: LineCutter,
}

struct Open {
    file: File,
    position: u64,
    identity: Identity,
}

/// Which file it is, whatever its name (device and inode).
pub(super) type Identity = (u64, u64);

/// Whether a file has more to show than its turn allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    None,
    More,
}

impl Tail {
    pub(super) fn new(source: Source) -> Tail {
        Tail { source, prefix: String::new(), open: None, cutter: LineCutter::new() }
    }

    /// The file that is open, if one is.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.open.as_ref().map(|open| open.identity)
    }

    /// Whether the event is about the instance whose file this is.
    pub(super) fn is_of(&self, event: &Event) -> bool {
        match (self.source.id, event.id) {
            (Some(id), Some(other)) => id == other,
            (None, _) | (_, None) => Some(&self.source.app) == event.app.as_ref(),
        }
    }

    /// Opens the file where its last lines begin. A file that is not there (yet) has no history.
    pub(super) fn open_at_last(&mut self, lines: u64) -> Result<(), Failure> {
        self.open = self.try_open()?;
        let Some(open) = &mut self.open else { return Ok(()) };
        let start = last_lines(&open.file, lines);
        open.position = start.map_err(|error| cannot_read(&self.source, &error))?;
        Ok(())
    }

    /// Prints what is new, up to one turn.
    pub(super) fn advance(&mut self, out: &mut Output, form: Form) -> Result<Rest, Failure> {
        let mut shown = 0;
        let mut buffer = vec![0; BLOCK];
        while shown < TURN {
            let Some(open) = &mut self.open else {
                self.open = self.try_open()?;
                if self.open.is_none() {
                    return Ok(Rest::None);
                }
                continue;
            };
            let count = open.file.read_at(&mut buffer, open.position);
            let count = count.map_err(|error| cannot_read(&self.source, &error))?;
            if count > 0 {
                open.position += count as u64;
                shown += count;
                self.print(out, form, Some(&buffer[..count]))?;
                continue;
            }
            // The end of the file, or beyond it: it was emptied and starts again.
            if open.file.metadata().is_ok_and(|meta| meta.len() < open.position) {
                open.position = 0;
                self.cutter.forget();
                continue;
            }
            // All of this file was shown. Is its name another file's by now?
            let (old, successor) = (open.identity, self.try_open()?);
            match successor {
                Some(successor) if successor.identity != old => {
                    self.print(out, form, None)?;
                    self.open = Some(successor);
                }
                Some(_) | None => return Ok(Rest::None),
            }
        }
        Ok(Rest::More)
    }

    /// Prints the last line even if nothing ended it.
    pub(super) fn finish(&mut self, out: &mut Output, form: Form) -> Result<(), Failure> {
        self.print(out, form, None)
    }

    /// Prints the lines that these bytes complete; without bytes, the unfinished one.
    fn print(&mut self, out: &mut Output, form: Form, bytes: Option<&[u8]>) -> Result<(), Failure> {
        let Tail { source, prefix, cutter, .. } = self;
        let mut written = Ok(());
        let mut on_line = |line: &[u8]| {
            if written.is_ok() {
                written = write_line(out, source, prefix, form, line);
            }
        };
        match bytes {
            Some(bytes) => cutter.push(bytes, &mut on_line),
            None => cutter.finish(&mut on_line),
        }
        written
    }

    fn try_open(&self) -> Result<Option<Open>, Failure> {
        let open = || {
            let file = File::open(&self.source.path)?;
            let meta = file.metadata()?;
            io::Result::Ok((meta.is_file(), Open { file, position: 0, identity: (meta.dev(), meta.ino()) }))
        };
        match open() {
            // A log that goes to a terminal or a pipe cannot be read back.
            Ok((is_file, open)) => Ok(is_file.then_some(open)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot_read(&self.source, &error)),
        }
    }
}

/// Where the last lines of a file begin.
fn last_lines(file: &File, lines: u64) -> io::Result<u64> {
    let mut search = TailSearch::new(file.metadata()?.len(), lines);
    let mut buffer = vec![0; BLOCK];
    while let Some(block) = search.next_block() {
        let length = usize::try_from(block.end - block.start).unwrap_or(BLOCK).min(BLOCK);
        let mut filled = 0;
        while filled < length {
            match file.read_at(&mut buffer[filled..length], block.start + filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        if filled < length {
            // It was emptied under the search: whatever it holds now is new.
            return Ok(0);
        }
        search.take(&buffer[..length]);
    }
    Ok(search.start())
}

fn cannot_read(source: &Source, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot read the log `{}`", source.path.display())).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_real_file_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a-out.log");
        let text: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, &text).unwrap();
        let start = last_lines(&File::open(&path).unwrap(), 3).unwrap();
        assert_eq!(&text[usize::try_from(start).unwrap()..], "line 49997\nline 49998\nline 49999\n");
    }
}
