//! The log files of what is selected: their last lines, what comes, and older lines when somebody scrolls back.
//!
//! One batch of lines is on its way to the screen at a time; the next one is read when that is drawn. What comes faster
//! than it can be drawn is passed over and counted, so a flood costs neither memory nor the time of keys.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::mpsc::SyncSender;

use chrono::DateTime;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use crate::logs::{Lines, TailSearch};
use crate::tui::message::Message;
use crate::tui::model::logs::{Fresh, News, Wish};
use crate::tui::shell::wake::Inbox;

/// How many lines of the past come first, and with each step back; of all files together.
const LINES: u64 = 1_000;

/// The least that each of many files gives.
const FEWEST: u64 = 30;

/// The most bytes that are read of one file for one frame.
const BATCH: u64 = 512 * 1024;

/// How much is read at once.
const BLOCK: usize = 64 * 1024;

/// The longest line that is kept whole.
const LONGEST: usize = 4096;

/// What the screen wants.
pub(super) enum Command {
    /// These files from now on.
    Read(Wish),
    /// Lines before those that were told.
    Older,
    /// What was told is drawn.
    Next,
}

/// Reads until nobody listens any more.
pub(super) fn run(inbox: &Inbox<Command>, to: &SyncSender<Message>) {
    let mut reader = Reader { number: 0, files: Vec::new(), watch: None, is_free: true, is_due: false };
    loop {
        let mut told = None;
        while let Some(command) = inbox.next() {
            match command {
                Command::Read(wish) => told = Some(reader.begin(wish)),
                Command::Older => {
                    let older = reader.older();
                    if to.send(Message::Logs(reader.number, older)).is_err() {
                        return;
                    }
                }
                Command::Next => reader.is_free = true,
            }
        }
        if told.is_none() && reader.is_free && reader.is_due {
            told = reader.advance();
        }
        if let Some(news) = told {
            reader.is_free = false;
            if to.send(Message::Logs(reader.number, news)).is_err() {
                return;
            }
        }
        reader.sleep(inbox);
    }
}

struct Reader {
    number: u64,
    files: Vec<Followed>,
    watch: Option<Watch>,
    /// Nothing is on its way to the screen.
    is_free: bool,
    /// Something may have come.
    is_due: bool,
}

struct Watch {
    inotify: Inotify,
    files: HashMap<WatchDescriptor, usize>,
}

/// One file.
struct Followed {
    path: std::path::PathBuf,
    open: Option<Open>,
    cutter: Lines,
    /// It may have grown, or have been replaced.
    is_due: bool,
}

struct Open {
    file: File,
    /// The device and the number of the file.
    identity: (u64, u64),
    /// Where its told lines begin, and end.
    begin: u64,
    end: u64,
}

impl Reader {
    /// Turns to other files: their last lines.
    fn begin(&mut self, wish: Wish) -> News {
        self.number = wish.number;
        let share = (LINES / u64::try_from(wish.sources.len()).unwrap_or(1).max(1)).max(FEWEST);
        self.files = wish.sources.iter().map(|source| Followed::new(&source.path)).collect();
        let mut troubles = Vec::new();
        let mut batches = Vec::new();
        for (source, file) in self.files.iter_mut().enumerate() {
            match file.begin(share) {
                Ok(lines) => batches.push(fresh(source, lines)),
                Err(error) => troubles.push(format!("cannot read {}: {error}", file.path.display())),
            }
        }
        self.watch();
        // Between the reading and the watches something may have come.
        self.is_due = true;
        if let Some(trouble) = troubles.into_iter().next() {
            return News::Trouble(trouble);
        }
        News::Past { lines: merged(batches), is_whole: self.is_whole() }
    }

    /// Lines before those that were told.
    fn older(&mut self) -> News {
        let share = (LINES / u64::try_from(self.files.len()).unwrap_or(1).max(1)).max(FEWEST);
        let batches = self
            .files
            .iter_mut()
            .enumerate()
            .map(|(source, file)| fresh(source, file.older(share).unwrap_or_default()));
        let lines = merged(batches.collect());
        News::Older { lines, is_whole: self.is_whole() }
    }

    /// What has come; none if nothing has.
    fn advance(&mut self) -> Option<News> {
        self.is_due = false;
        let (mut lines, mut skipped) = (Vec::new(), 0);
        let mut replaced = false;
        for (source, file) in self.files.iter_mut().enumerate().filter(|(_, file)| file.is_due) {
            file.is_due = false;
            let before = file.identity();
            let mut come = Vec::new();
            match file.advance(&mut come) {
                Ok(passed) => skipped += passed,
                Err(error) => return Some(News::Trouble(format!("cannot read {}: {error}", file.path.display()))),
            }
            lines.extend(fresh(source, come));
            if file.identity() != before {
                // It may have grown between the opening and the watch.
                (replaced, file.is_due) = (true, true);
            }
            self.is_due |= file.is_due;
        }
        if replaced {
            self.watch();
        }
        (!lines.is_empty() || skipped > 0).then_some(News::Came { lines, skipped })
    }

    fn is_whole(&self) -> bool {
        self.files.iter().all(|file| file.open.as_ref().is_none_or(|open| open.begin == 0))
    }

    /// Watches the files themselves, and their folders for successors.
    fn watch(&mut self) {
        let Ok(inotify) = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) else {
            self.watch = None;
            return;
        };
        let mut files = HashMap::new();
        for (n, file) in self.files.iter().enumerate() {
            if let Some(folder) = file.path.parent() {
                // A folder that is not there cannot get the file either.
                let _ = inotify.add_watch(folder, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO);
            }
            if let Ok(watch) = inotify.add_watch(&file.path, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ATTRIB) {
                files.insert(watch, n);
            }
        }
        self.watch = Some(Watch { inotify, files });
    }

    /// Sleeps until a command comes, or, when the screen is ready for more, a file changes.
    fn sleep(&mut self, inbox: &Inbox<Command>) {
        if self.is_free && self.is_due {
            return;
        }
        let mut fds = vec![PollFd::new(inbox.as_fd(), PollFlags::POLLIN)];
        let watched = self.watch.as_ref().filter(|_| self.is_free);
        fds.extend(watched.map(|watch| PollFd::new(watch.inotify.as_fd(), PollFlags::POLLIN)));
        // Without inotify (too many instances of it) files are looked at now and then.
        let limit = if self.watch.is_none() { PollTimeout::from(500_u16) } else { PollTimeout::NONE };
        let _ = poll(&mut fds, limit);
        let Some(watch) = &self.watch else {
            self.files.iter_mut().for_each(|file| file.is_due = true);
            self.is_due = true;
            return;
        };
        if !self.is_free {
            return;
        }
        while let Ok(events) = watch.inotify.read_events() {
            for event in events {
                self.is_due = true;
                match watch.files.get(&event.wd) {
                    Some(file) => self.files[*file].is_due = true,
                    // Of a folder, or lost: any of them.
                    None => self.files.iter_mut().for_each(|file| file.is_due = true),
                }
            }
        }
    }
}

impl Followed {
    fn new(path: &Path) -> Followed {
        Followed { path: path.to_owned(), open: None, cutter: Lines::new(), is_due: true }
    }

    fn identity(&self) -> Option<(u64, u64)> {
        self.open.as_ref().map(|open| open.identity)
    }

    /// Opens the file; its last lines.
    fn begin(&mut self, count: u64) -> io::Result<Vec<Vec<u8>>> {
        self.open = open(&self.path)?;
        let mut lines = Vec::new();
        let Some(open) = &mut self.open else { return Ok(lines) };
        let length = open.file.metadata()?.len();
        let begin = last_lines(&open.file, length, count)?.max(length.saturating_sub(8 * BATCH));
        (open.begin, open.end) = (begin, begin);
        while open.end < length {
            let bytes = read(&open.file, open.end, BLOCK as u64)?;
            if bytes.is_empty() {
                break;
            }
            open.end += bytes.len() as u64;
            self.cutter.push(&bytes, &mut |line| lines.push(line.to_vec()));
        }
        Ok(lines)
    }

    /// The lines before the told ones.
    fn older(&mut self, count: u64) -> io::Result<Vec<Vec<u8>>> {
        let Some(open) = &mut self.open else { return Ok(Vec::new()) };
        let begin = last_lines(&open.file, open.begin, count)?.max(open.begin.saturating_sub(8 * BATCH));
        let mut lines = Vec::new();
        let mut cutter = Lines::new();
        let mut at = begin;
        while at < open.begin {
            let bytes = read(&open.file, at, (open.begin - at).min(BLOCK as u64))?;
            if bytes.is_empty() {
                break;
            }
            at += bytes.len() as u64;
            cutter.push(&bytes, &mut |line| lines.push(line.to_vec()));
        }
        cutter.finish(&mut |line| lines.push(line.to_vec()));
        open.begin = begin;
        Ok(lines)
    }

    /// What has come since. Returns how many bytes were passed over.
    fn advance(&mut self, lines: &mut Vec<Vec<u8>>) -> io::Result<u64> {
        let mut on_line = |line: &[u8]| lines.push(line.to_vec());
        let Some(current) = &mut self.open else {
            self.open = open(&self.path)?;
            return Ok(0);
        };
        let length = current.file.metadata()?.len();
        if length < current.end {
            // It was emptied and begins again.
            (current.begin, current.end) = (0, 0);
            self.cutter.forget();
        }
        let mut skipped = 0;
        if length.saturating_sub(current.end) > BATCH {
            skipped = length - BATCH - current.end;
            current.end += skipped;
            self.cutter.forget();
        }
        let mut is_torn = skipped > 0;
        while current.end < length {
            let bytes = read(&current.file, current.end, (length - current.end).min(BLOCK as u64))?;
            if bytes.is_empty() {
                break;
            }
            current.end += bytes.len() as u64;
            // A line whose beginning was passed over is no line.
            let whole = match bytes.iter().position(|byte| *byte == b'\n').filter(|_| is_torn) {
                Some(end) => {
                    is_torn = false;
                    &bytes[end + 1..]
                }
                None if is_torn => continue,
                None => &bytes[..],
            };
            self.cutter.push(whole, &mut on_line);
        }
        // All of this file was told. Is its name another file's by now?
        if let Some(successor) = open(&self.path)?.filter(|successor| successor.identity != current.identity) {
            self.cutter.finish(&mut on_line);
            self.open = Some(successor);
        }
        Ok(skipped)
    }
}

/// None where there is no file that could be read back.
fn open(path: &Path) -> io::Result<Option<Open>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    Ok(meta.is_file().then(|| Open { file, identity: (meta.dev(), meta.ino()), begin: 0, end: 0 }))
}

fn read(file: &File, at: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(count).unwrap_or(BLOCK).min(BLOCK)];
    loop {
        match file.read_at(&mut bytes, at) {
            Ok(count) => {
                bytes.truncate(count);
                return Ok(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Where the last lines of the first so many bytes begin.
fn last_lines(file: &File, length: u64, count: u64) -> io::Result<u64> {
    let mut search = TailSearch::new(length, count, None);
    while let Some(block) = search.next_block() {
        let bytes = read(file, block.start, block.end - block.start)?;
        let is_short = (bytes.len() as u64) < block.end - block.start;
        search.take(&bytes);
        if is_short {
            break;
        }
    }
    Ok(search.start())
}

/// Lines for the screen: text, and not longer than anybody reads.
fn fresh(source: usize, lines: Vec<Vec<u8>>) -> Vec<Fresh> {
    let text = |line: Vec<u8>| {
        let mut text = String::from_utf8_lossy(&line[..line.len().min(LONGEST)]).into_owned();
        if line.len() > LONGEST {
            text.push_str(&format!("… [{} bytes more]", line.len() - LONGEST));
        }
        Fresh { source, text }
    };
    lines.into_iter().map(text).collect()
}

/// The lines of several files as one: by time where lines begin with one, else one file behind the other.
fn merged(batches: Vec<Vec<Fresh>>) -> Vec<Fresh> {
    let mut timed: Vec<(i64, Fresh)> = Vec::new();
    for batch in batches {
        // What has no time of its own belongs to the line before it.
        let mut last = i64::MIN;
        for line in batch {
            last = time(&line.text).unwrap_or(last);
            timed.push((last, line));
        }
    }
    timed.sort_by_key(|(time, _)| *time);
    timed.into_iter().map(|(_, line)| line).collect()
}

/// The time that a line begins with (RFC 3339).
fn time(line: &str) -> Option<i64> {
    let word = line.split([' ', '\t']).next().filter(|word| (20..40).contains(&word.len()))?;
    DateTime::parse_from_rfc3339(word.trim_matches(['[', ']'])).ok().map(|time| time.timestamp_millis())
}
