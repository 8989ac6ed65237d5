//! One pipe on its way into its files: a read, what becomes of the lines, the writes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::debug;

use crate::daemon::failpoint;
use crate::daemon::files::Files;
use crate::daemon::pump::Source;
use crate::daemon::pump::finish::{Batch, Lost, append};
use crate::daemon::pump::rotate::put_away;
use crate::daemon::pump::sink::{Health, Sink, SinkId, Sinks};
use crate::daemon::pump::window::{Buffer, SHAPED, Window, shaped, through};
use crate::logs::{Area, Coming, Heading, LastWords, Shaped, Shaper, Span, Target};
use crate::proto::LogFile;
use crate::spec::LogForm;
use crate::sys::pipes::{self, PipeState};

/// How many times a pipe is found full before it is made larger.
const HOT: u32 = 8;

/// What hot pipes hold then.
const LARGE_PIPE: usize = 256 * 1024;

/// How long others wait for the end of a line that is too long to be held.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// A source, and the state of its lines.
pub(super) struct Flow {
    pub(super) source: Source,
    token: u64,
    /// Own file, then the combined one.
    pub(super) sinks: Vec<SinkId>,
    /// Where its unfinished line waits; the common buffer: lines are written as they come.
    buffer: Buffer,
    shaper: Shaper,
    needs_time: bool,
    /// How often in a row the pipe was full, until it is large.
    full: Option<u32>,
    is_large: bool,
    /// Nobody else writes to its files, and lines are not waited for: one that is unfinished there is its own.
    is_alone: bool,
}

/// What all flows work with.
pub(super) struct Shared {
    pub(super) window: Window,
    pub(super) sinks: Sinks,
    /// What pipes may still be enlarged by, in bytes.
    pub(super) budget: usize,
    bytes: Vec<u8>,
    out: Vec<u8>,
    /// What others should hear of.
    pub(super) news: Vec<(SinkId, Health)>,
    pub(super) files: Files,
}

/// What one turn of a flow gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// So many bytes were moved.
    Moved(usize),
    /// There is nothing for now.
    Nothing,
    /// There is nothing for ever.
    End,
    /// Somebody else is within a long line of its file.
    Waits(SinkId),
}

impl Shared {
    pub(super) fn new(window: Window, files: Files) -> Shared {
        let budget = pipes::soft_limit() / 4;
        Shared { window, sinks: Sinks::default(), budget, bytes: Vec::new(), out: Vec::new(), news: Vec::new(), files }
    }
}

impl Shared {
    /// Puts files away that are not empty, whoever writes them or does not.
    pub(super) fn rotate(&mut self, paths: Vec<PathBuf>) -> Vec<LogFile> {
        paths.into_iter().filter_map(|path| self.rotate_one(path)).collect()
    }

    fn rotate_one(&mut self, path: PathBuf) -> Option<LogFile> {
        let bytes = fs::metadata(&path).ok().filter(|found| found.is_file() && found.len() > 0)?.len();
        let done = match self.sinks.of(&path) {
            Some(sink) => sink.rotate(),
            None => put_away(&path, None, None),
        };
        match done {
            Ok(archive) => {
                self.files.rotated(&path, archive?);
                Some(LogFile { path, bytes, ..LogFile::default() })
            }
            Err(error) => Some(LogFile { path, problem: Some(error.to_string()), ..LogFile::default() }),
        }
    }

    /// Puts files away whose time is over although nothing comes.
    pub(super) fn rotate_old(&mut self) {
        let Shared { sinks, files, .. } = self;
        for sink in sinks.over() {
            if let Ok(Some(archive)) = sink.rotate() {
                files.rotated(&sink.path, archive);
            }
        }
    }
}

impl Flow {
    /// Joins its files. The second value: others write to one of them, too.
    pub(super) fn new(mut source: Source, token: u64, adopted: bool, shared: &mut Shared) -> (Flow, bool) {
        let mut is_shared = source.style.is_shared || source.files.len() > 1;
        let mut sinks = Vec::new();
        for file in source.files.drain(..) {
            let style = &source.style;
            shared.files.know((&style.app, style.instance), &file.path, style.rotate.as_ref());
            let (id, others) = shared.sinks.join(file.path, file.file, source.style.rotate.clone());
            is_shared |= others > 0;
            if !sinks.contains(&id) {
                sinks.push(id);
            } else {
                shared.sinks.leave(id);
            }
        }
        let style = &source.style;
        let heading = Heading { app: style.app.clone(), instance: style.instance, stream: source.stream };
        let shaper = Shaper::new(&style.form, &heading);
        let needs_time = style.form != LogForm::Raw;
        let mut flow = Flow {
            source,
            token,
            sinks,
            buffer: Buffer::COMMON,
            shaper,
            needs_time,
            full: Some(0),
            is_large: false,
            is_alone: false,
        };
        let was_held = adopted && shared.window.is_claimed(flow.source.run, flow.source.stream);
        if !flow.sinks.is_empty() && (needs_time || is_shared || was_held) {
            flow.hold(shared);
        }
        if was_held {
            // What a predecessor has taken and not looked at.
            flow.write_lines(Coming::More, shared);
        }
        flow.is_alone = flow.buffer == Buffer::COMMON && !is_shared;
        (flow, is_shared)
    }

    /// From now on lines are waited for.
    pub(super) fn hold(&mut self, shared: &mut Shared) {
        if self.buffer != Buffer::COMMON || self.sinks.is_empty() {
            return;
        }
        let Some((buffer, is_new)) = shared.window.claim(self.source.run, self.source.stream) else {
            debug!(run = self.source.run.0, "no buffer is free: lines are written as they come");
            return;
        };
        self.buffer = buffer;
        // Its line may have been begun when it was alone.
        let is_open = self.sinks.first().and_then(|id| shared.sinks.get(*id)).is_some_and(|sink| !sink.is_at_line_end);
        if is_new && is_open && self.is_alone {
            shared.window.set_open(buffer);
        }
        self.is_alone = false;
    }

    /// Leaves its files; nothing of it waits any more.
    pub(super) fn leave(&self, shared: &mut Shared) {
        shared.window.release(self.buffer);
        for id in &self.sinks {
            if let Some(sink) = shared.sinks.get(*id)
                && sink.owner.is_some_and(|(owner, _)| owner == self.token)
            {
                sink.owner = None;
            }
            shared.sinks.leave(*id);
        }
    }

    /// One read, and the writes that follow from it. `last` gets the end of standard error.
    pub(super) fn turn(&mut self, shared: &mut Shared, last: Option<&mut LastWords>) -> io::Result<Turn> {
        if self.sinks.is_empty() {
            let count = shared.window.read_idly(&self.source.pipe)?;
            self.remember(shared, 0..count, last);
            return Ok(if count == 0 { Turn::End } else { Turn::Moved(count) });
        }
        if let Some(id) = self.waits_for(shared) {
            return Ok(Turn::Waits(id));
        }
        let Some(waiting) = self.waiting(shared)? else {
            return Ok(Turn::Nothing);
        };
        for id in &self.sinks {
            if let Some(sink) = shared.sinks.get(*id) {
                sink.look();
            }
        }
        if self.buffer == Buffer::COMMON {
            self.straight(waiting, shared, last)
        } else {
            self.lines(waiting, shared, last)
        }
    }

    /// How many bytes to ask for. What is not on record before must not be read. None: nothing for now.
    fn waiting(&mut self, shared: &mut Shared) -> io::Result<Option<usize>> {
        let pipe = &self.source.pipe;
        let waiting = pipes::waiting(pipe)?;
        if waiting == 0 {
            return match pipes::state(pipe)? {
                PipeState::Empty => Ok(None),
                // At its end, something is asked for that will not come. Else something came in between; or there is an
                // empty buffer, and the kernel lets go of it when it is asked for more.
                PipeState::Ended | PipeState::Readable => Ok(Some(pipes::waiting(pipe)?.max(1))),
            };
        }
        if let Some(full) = &mut self.full {
            *full = if waiting >= pipes::USUAL_SIZE { *full + 1 } else { 0 };
            if *full >= HOT {
                self.full = None;
                if shared.budget >= LARGE_PIPE && pipes::enlarge(pipe, LARGE_PIPE).is_ok() {
                    shared.budget -= LARGE_PIPE;
                    self.is_large = true;
                }
            }
        }
        Ok(Some(waiting))
    }

    /// The pipe's part of the budget comes back.
    pub(super) fn share(&self) -> usize {
        if self.is_large { LARGE_PIPE } else { 0 }
    }

    /// Bytes as they come.
    fn straight(&mut self, waiting: usize, shared: &mut Shared, last: Option<&mut LastWords>) -> io::Result<Turn> {
        let Shared { window, sinks, news, files, bytes, .. } = shared;
        let Some(id) = self.sinks.first().copied() else { return Ok(Turn::Nothing) };
        let Some(sink) = sinks.get(id) else { return Ok(Turn::Nothing) };
        let mut mark = sink.mark();
        let count = window.read(waiting, &self.source.pipe, Target { path: sink.path.as_path().into(), mark })?;
        if count == 0 {
            return Ok(Turn::End);
        }
        failpoint::here("log-taken");
        if mark.is_some_and(|mark| !sink.has_room(mark.size, count)) {
            window.copy(Area::Buffer, Buffer::COMMON, 0..count, bytes);
        }
        let (mut from, mut rotated) = (0, Vec::new());
        loop {
            let share = match mark {
                Some(mark) if !sink.has_room(mark.size, count - from) => sink.share(mark.size, &bytes[from..]),
                Some(_) | None => count - from,
            };
            if share > 0 {
                let batch = Batch { area: Area::Buffer, buffer: Buffer::COMMON, range: from..from + share };
                if let Some(mark) = mark {
                    sink.note(mark.size);
                }
                let health = match &sink.file {
                    Some(file) => {
                        if mark.is_none() {
                            window.begins(0);
                        }
                        let result = append(window, &batch, file);
                        let last = window.byte(Area::Buffer, Buffer::COMMON, from + share - 1);
                        settle(result, share, last, window, &batch, mark.map(|mark| mark.size), sink)
                    }
                    None => sink.on_lost(share, None),
                };
                news.extend(health.map(|health| (id, health)));
            }
            from += share;
            if from >= count {
                break;
            }
            // The file is full, and a line has ended.
            if let Ok(Some(archive)) = sink.rotate() {
                rotated.push((sink.path.clone(), archive));
                failpoint::here("log-rotated");
            }
            mark = sink.mark();
            window.arm(&through(from..count, None, Target { path: sink.path.as_path().into(), mark }))?;
        }
        failpoint::here("log-appended");
        window.is_done(Buffer::COMMON, Span::default());
        for (path, archive) in rotated {
            files.rotated(&path, archive);
        }
        self.remember(shared, 0..count, last);
        Ok(Turn::Moved(count))
    }

    /// Whole lines, in their form.
    fn lines(&mut self, waiting: usize, shared: &mut Shared, last: Option<&mut LastWords>) -> io::Result<Turn> {
        let count = shared.window.read_lines(waiting, &self.source.pipe, self.buffer)?;
        if count == 0 {
            return Ok(Turn::End);
        }
        failpoint::here("log-taken");
        let end = shared.window.span(self.buffer).range().end;
        self.remember(shared, end - count..end, last);
        self.write_lines(Coming::More, shared);
        Ok(Turn::Moved(count))
    }

    /// The last line, though it has no end.
    pub(super) fn write_rest(&mut self, shared: &mut Shared) {
        if self.buffer != Buffer::COMMON {
            self.write_lines(Coming::Nothing, shared);
        }
    }

    fn write_lines(&mut self, coming: Coming, shared: &mut Shared) {
        let now = if self.needs_time { chrono::Local::now().fixed_offset() } else { chrono::DateTime::default() };
        loop {
            let span = shared.window.span(self.buffer);
            shared.window.copy(Area::Buffer, self.buffer, span.range(), &mut shared.bytes);
            shared.out.clear();
            let piece = self.piece(shared);
            let coming = if piece < shared.bytes.len() { Coming::More } else { coming };
            let Shaped { taken, open, full } =
                self.shaper.shape(&shared.bytes[..piece], span.open, coming, now, (&mut shared.out, SHAPED));
            let full = full || piece < shared.bytes.len();
            if shared.out.is_empty() {
                return;
            }
            let start = span.start + u32::try_from(taken).unwrap_or(0);
            let then = if start == span.end { Span { start: 0, end: 0, open } } else { Span { start, open, ..span } };
            self.write(then, shared);
            if !full {
                return;
            }
        }
    }

    /// How much of what lies in `bytes` is written in one go: as many lines as one file may have, at least one.
    fn piece(&self, shared: &mut Shared) -> usize {
        let Shared { sinks, bytes, .. } = shared;
        let portion = self.sinks.iter().filter_map(|id| sinks.get(*id).map(|sink| sink.portion())).min();
        let Some((front, rest)) = portion.and_then(|portion| bytes.split_at_checked(portion)) else {
            return bytes.len();
        };
        let end = memchr::memrchr(b'\n', front).or_else(|| Some(front.len() + memchr::memchr(b'\n', rest)?));
        end.map_or(bytes.len(), |end| end + 1)
    }

    /// Ends a long line of which nobody knows when it will go on.
    pub(super) fn break_line(&mut self, shared: &mut Shared) {
        let then = Span { open: false, ..shared.window.span(self.buffer) };
        shared.out.clear();
        shared.out.push(b'\n');
        self.write(then, shared);
    }

    /// Appends what lies in `out` to all files.
    fn write(&mut self, then: Span, shared: &mut Shared) {
        let Shared { window, sinks, news, out, files, .. } = shared;
        let mut targets = Vec::with_capacity(self.sinks.len());
        for id in &self.sinks {
            if let Some(sink) = sinks.get(*id) {
                let size = sink.mark().map_or(0, |mark| mark.size);
                let may_be = sink.is_at_line_end || sink.is_overfull(size);
                if may_be
                    && sink.is_full(size, out.len())
                    && let Ok(Some(archive)) = sink.rotate()
                {
                    files.rotated(&sink.path, archive);
                    failpoint::here("log-rotated");
                }
                if let Some(mark) = sink.mark() {
                    sink.note(mark.size);
                }
                targets.push(Target { path: sink.path.clone().into(), mark: sink.mark() });
            }
        }
        let marks: Vec<_> = targets.iter().map(|target| target.mark).collect();
        let on_record =
            window.put_shaped(out).and_then(|()| window.arm(&shaped(out.len(), self.buffer, then, targets)));
        let batch = Batch { area: Area::Shaped, buffer: self.buffer, range: 0..out.len() };
        for (index, (id, mark)) in self.sinks.iter().zip(marks).enumerate() {
            let Some(sink) = sinks.get(*id) else { continue };
            let health = match (&sink.file, &on_record) {
                (Some(file), Ok(())) => {
                    if mark.is_none() {
                        window.begins(index);
                    }
                    let result = append(window, &batch, file);
                    settle(result, out.len(), out.last().copied(), window, &batch, mark.map(|mark| mark.size), sink)
                }
                (None, Ok(())) => sink.on_lost(out.len(), None),
                (_, Err(error)) => sink.on_lost(out.len(), Some(error)),
            };
            news.extend(health.map(|health| (*id, health)));
            sink.owner = then.open.then(|| (self.token, Instant::now()));
            failpoint::here("log-appended");
        }
        window.is_done(self.buffer, then);
    }

    /// The file within whose long line somebody else is.
    fn waits_for(&self, shared: &mut Shared) -> Option<SinkId> {
        self.sinks.iter().copied().find(|id| {
            let owner = shared.sinks.get(*id).and_then(|sink| sink.owner);
            owner.is_some_and(|(owner, _)| owner != self.token)
        })
    }

    fn remember(&self, shared: &mut Shared, range: std::ops::Range<usize>, last: Option<&mut LastWords>) {
        let Some(last) = last else { return };
        let start = range.start.max(range.end.saturating_sub(LastWords::ENOUGH));
        shared.window.copy(Area::Buffer, self.buffer, start..range.end, &mut shared.bytes);
        last.push(&shared.bytes);
    }

    /// Whether it is of an earlier run than this one, and writes to its file.
    pub(super) fn precedes(&self, source: &Source, shared: &mut Shared) -> bool {
        let is_earlier = self.source.stream == source.stream && self.source.run < source.run;
        is_earlier && self.path(shared).is_some_and(|path| source.files.iter().any(|file| file.path == path))
    }

    /// The name of its file.
    pub(super) fn path<'a>(&self, shared: &'a mut Shared) -> Option<&'a Path> {
        let sink = shared.sinks.get(*self.sinks.first()?)?;
        Some(&sink.path)
    }
}

/// What an append has come to.
fn settle(
    result: Result<(), Lost>,
    count: usize,
    last: Option<u8>,
    window: &Window,
    batch: &Batch,
    size: Option<u64>,
    sink: &mut Sink,
) -> Option<Health> {
    match result {
        Ok(()) => sink.on_written(last),
        Err(Lost { bytes, error }) => {
            let written = count - bytes.min(count);
            let kept = size.and_then(|size| sink.cut(size, written, window, batch)).unwrap_or(written);
            sink.on_lost(count - kept, Some(&error))
        }
    }
}
