//! One log file that is read: history first, then what comes, from the same descriptor and offset, so that no line is
//! lost or shown twice between the two.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::cli::logs::Source;
use crate::cli::logs::choice::Choice;
use crate::error::Failure;
use crate::logs::{LineCutter, TailSearch};
use crate::proto::Event;

/// How much of one file is shown before the others get their turn.
const TURN: usize = 1024 * 1024;
/// How much is read at once.
const BLOCK: usize = 64 * 1024;

/// Takes each line, with its source and the prefix of that.
pub(super) type Emit<'a> = &'a mut dyn FnMut(&Source, &str, &[u8]) -> Result<(), Failure>;

/// One file that is read. It may be emptied, deleted, renamed and created again meanwhile.
pub(super) struct Tail {
    pub(super) source: Source,
    pub(super) prefix: String,
    pub(super) choice: Choice,
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

/// Where a file ended at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    identity: Identity,
    length: u64,
}

/// The end of a file now; none where there is no file that could be read back.
pub(super) fn mark(path: &Path) -> Option<Mark> {
    let meta = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some(Mark { identity: (meta.dev(), meta.ino()), length: meta.len() })
}

/// Whether a file has more to show than its turn allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    None,
    More,
}

impl Tail {
    pub(super) fn new(source: Source, choice: Choice) -> Tail {
        Tail { source, prefix: String::new(), choice, open: None, cutter: LineCutter::new() }
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

    /// Opens the file at its beginning: which lines are the last ones that are wanted, only their reading tells.
    pub(super) fn open_at_start(&mut self) -> Result<(), Failure> {
        self.open = self.try_open()?;
        Ok(())
    }

    /// Opens the file where it ended then; another file of its name at its beginning.
    pub(super) fn open_at(&mut self, mark: Option<Mark>) -> Result<(), Failure> {
        self.open = self.try_open()?;
        let mark = mark.filter(|mark| Some(mark.identity) == self.identity());
        if let (Some(open), Some(mark)) = (&mut self.open, mark) {
            open.position = mark.length;
        }
        Ok(())
    }

    /// Prints what is new, up to one turn.
    pub(super) fn advance(&mut self, emit: Emit<'_>) -> Result<Rest, Failure> {
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
                self.print(emit, Some(&buffer[..count]))?;
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
                    self.print(emit, None)?;
                    self.open = Some(successor);
                }
                Some(_) | None => return Ok(Rest::None),
            }
        }
        Ok(Rest::More)
    }

    /// Prints the last line even if nothing ended it.
    pub(super) fn finish(&mut self, emit: Emit<'_>) -> Result<(), Failure> {
        self.print(emit, None)
    }

    /// Prints the lines that these bytes complete; without bytes, the unfinished one.
    fn print(&mut self, emit: Emit<'_>, bytes: Option<&[u8]>) -> Result<(), Failure> {
        let Tail { source, prefix, choice, cutter, .. } = self;
        let mut written = Ok(());
        let mut on_line = |line: &[u8]| {
            if written.is_ok() && choice.takes(line) {
                written = emit(source, prefix, line);
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
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::path::Path;

    use super::*;
    use crate::spec::Stream;

    fn append(path: &Path, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn tail(path: &Path) -> Tail {
        let source = Source { path: path.to_owned(), app: "a".into(), id: Some(0), stream: Stream::Out };
        Tail::new(source, Choice::default())
    }

    fn lines(tail: &mut Tail) -> Vec<String> {
        let mut lines = Vec::new();
        let mut emit = |_: &Source, _: &str, line: &[u8]| {
            lines.push(String::from_utf8_lossy(line).into_owned());
            Ok(())
        };
        while tail.advance(&mut emit).unwrap() == Rest::More {}
        lines
    }

    #[test]
    fn the_last_lines_of_a_real_file_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a-out.log");
        let text: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
        fs::write(&path, &text).unwrap();
        let mut tail = tail(&path);
        tail.open_at_last(3).unwrap();
        assert_eq!(lines(&mut tail), ["line 49997", "line 49998", "line 49999"]);
    }

    #[test]
    fn history_and_stream_join_without_gap_or_double() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a-out.log");
        append(&path, "one\ntwo\nthr");
        let mut tail = tail(&path);
        tail.open_at_last(2).unwrap();
        assert_eq!(lines(&mut tail), ["two"]);
        append(&path, "ee\nfour\n");
        assert_eq!(lines(&mut tail), ["three", "four"]);
        assert_eq!(lines(&mut tail), Vec::<String>::new());
    }

    #[test]
    fn a_file_that_is_emptied_starts_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a-out.log");
        append(&path, "old\npart");
        let mut tail = tail(&path);
        tail.open_at_last(9).unwrap();
        assert_eq!(lines(&mut tail), ["old"]);
        OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        append(&path, "new\n");
        assert_eq!(lines(&mut tail), ["new"]);
    }

    #[test]
    fn a_renamed_file_is_read_to_its_end_before_its_successor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a-out.log");
        append(&path, "one\n");
        let mut tail = tail(&path);
        tail.open_at_last(9).unwrap();
        assert_eq!(lines(&mut tail), ["one"]);
        fs::rename(&path, dir.path().join("a-out.log.1")).unwrap();
        append(&dir.path().join("a-out.log.1"), "last of the old");
        append(&path, "first of the new\n");
        assert_eq!(lines(&mut tail), ["last of the old", "first of the new"]);
    }

    #[test]
    fn a_file_that_comes_later_is_read_from_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a-out.log");
        let mut tail = tail(&path);
        tail.open_at_last(1).unwrap();
        assert_eq!(lines(&mut tail), Vec::<String>::new());
        append(&path, "one\ntwo\n");
        assert_eq!(lines(&mut tail), ["one", "two"]);
        fs::remove_file(&path).unwrap();
        assert_eq!(lines(&mut tail), Vec::<String>::new());
        append(&path, "again\n");
        assert_eq!(lines(&mut tail), ["again"]);
    }

    #[test]
    fn a_busy_file_ends_its_turn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a-out.log");
        fs::write(&path, vec![b'\n'; TURN + 10]).unwrap();
        let mut tail = tail(&path);
        assert_eq!(tail.advance(&mut |_, _, _| Ok(())).unwrap(), Rest::More);
        assert_eq!(tail.advance(&mut |_, _, _| Ok(())).unwrap(), Rest::None);
    }
}
