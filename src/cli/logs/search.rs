//! Where the last lines of one file begin.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use memchr::memchr;

use crate::cli::logs::chain::BLOCK;
use crate::cli::logs::segment::{Got, Segment};
use crate::logs::{Lines, Pattern, TailSearch};

/// Where the last lines of a file begin, and how many are missing.
pub(super) fn search(file: &File, lines: u64, pattern: Option<&Pattern>) -> io::Result<(u64, u64)> {
    let mut search = TailSearch::new(file.metadata()?.len(), lines, pattern);
    let mut buffer = Vec::new();
    while let Some(block) = search.next_block() {
        buffer.resize(usize::try_from(block.end - block.start).unwrap_or_default(), 0);
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], block.start + filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        search.take(&buffer[..filled]);
    }
    Ok((search.start(), search.missing()))
}

/// The same for what can only be read from its beginning.
pub(super) fn search_packed(segment: &mut Segment, wanted: u64, pattern: Option<&Pattern>) -> io::Result<(u64, u64)> {
    let mut lines = Lines::new();
    let mut starts: VecDeque<u64> = VecDeque::new();
    let base = segment.base();
    loop {
        let mut got = Got::End;
        lines.fill(BLOCK, |place| -> io::Result<usize> {
            got = segment.read(place)?;
            Ok(if let Got::Bytes(count) = got { count } else { 0 })
        })?;
        if got == Got::End {
            lines.end();
        }
        let end = segment.position() - base;
        let whole = lines.whole();
        let mut from = 0;
        while from < whole.len() {
            let line = match pattern {
                Some(pattern) => pattern.find(whole, from),
                None => Some(from..memchr(b'\n', &whole[from..]).map_or(whole.len(), |length| from + length)),
            };
            let Some(line) = line else { break };
            starts.push_back(end.saturating_sub(lines.since(line.start)));
            if starts.len() as u64 > wanted {
                starts.pop_front();
            }
            from = line.end + 1;
        }
        lines.take(whole.len());
        if got == Got::End {
            let missing = wanted - starts.len() as u64;
            return Ok((if missing == 0 { starts.front().copied().unwrap_or(end) } else { 0 }, missing));
        }
    }
}
