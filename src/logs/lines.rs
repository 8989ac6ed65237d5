//! Bytes in, whole lines out, with a bound on what an endless line can cost.

use std::convert::Infallible;

use memchr::{memchr, memrchr};

/// The longest line that is shown whole.
pub const MAX_LINE: usize = 16 * 1024 * 1024;

/// A stream of bytes that is taken line by line. The unfinished line stays until its end comes.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// What is before was taken.
    start: usize,
    /// Behind the last whole line.
    whole: usize,
    /// How many bytes of the unfinished line were too many.
    lost: u64,
}

impl Lines {
    /// An empty one.
    pub fn new() -> Lines {
        Lines::default()
    }

    /// Takes in up to `room` bytes that `read` puts into the place it is given; how many came.
    ///
    /// # Errors
    ///
    /// Those of `read`; nothing has come then.
    pub fn fill<E>(&mut self, room: usize, read: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<usize, E> {
        self.bytes.drain(..self.start);
        self.whole -= self.start;
        self.start = 0;
        let before = self.bytes.len();
        self.bytes.resize(before + room, 0);
        let count = read(&mut self.bytes[before..]);
        let end = before + count.as_ref().map_or(0, |count| *count).min(room);
        self.bytes.truncate(end);
        self.frame(before);
        count
    }

    /// The whole lines that were not taken yet, each with its end; the last one may be without, after [`Lines::end`].
    pub fn whole(&self) -> &[u8] {
        &self.bytes[self.start..self.whole]
    }

    /// How many bytes have come since this place in [`Lines::whole`], itself included.
    pub fn since(&self, at: usize) -> u64 {
        (self.bytes.len() - self.start - at) as u64
    }

    /// So many bytes of [`Lines::whole`] are done with.
    pub fn take(&mut self, count: usize) {
        self.start = (self.start + count).min(self.whole);
    }

    /// Takes in bytes and hands out each line that they complete, without its end.
    pub fn push(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(&[u8])) {
        let copied = self.fill(bytes.len(), |place| -> Result<usize, Infallible> {
            place.copy_from_slice(bytes);
            Ok(bytes.len())
        });
        match copied {
            Ok(_) => self.hand_out(on_line),
            Err(never) => match never {},
        }
    }

    /// Hands out the unfinished line, if there is one.
    pub fn finish(&mut self, on_line: &mut dyn FnMut(&[u8])) {
        self.end();
        self.hand_out(on_line);
    }

    fn hand_out(&mut self, on_line: &mut dyn FnMut(&[u8])) {
        let whole = self.whole();
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            on_line(line.strip_suffix(b"\n").unwrap_or(line));
        }
        self.take(whole.len());
    }

    /// Gives memory back while nothing comes.
    pub fn rest(&mut self) {
        if self.start == self.bytes.len() {
            self.bytes = Vec::new();
            (self.start, self.whole) = (0, 0);
        }
    }

    /// Nothing will be added to the unfinished line: it is whole. The next one must not be filled in before it is taken.
    pub fn end(&mut self) {
        self.mark_lost(self.bytes.len());
        self.whole = self.bytes.len();
    }

    /// Forgets the unfinished line: the file was emptied under it.
    pub fn forget(&mut self) {
        self.bytes.truncate(self.whole);
        self.lost = 0;
    }

    /// Finds the line ends in what has come.
    fn frame(&mut self, from: usize) {
        let Some(last) = memrchr(b'\n', &self.bytes[from..]) else {
            // Too long, and no end in sight: what is over goes.
            let kept = self.bytes.len().min(self.whole.saturating_add(MAX_LINE));
            self.lost += (self.bytes.len() - kept) as u64;
            self.bytes.truncate(kept);
            return;
        };
        self.whole = from + last + 1;
        if self.lost > 0
            && let Some(first) = memchr(b'\n', &self.bytes[from..])
        {
            self.lost += first as u64;
            self.bytes.drain(from..from + first);
            let mark = self.mark_lost(from);
            self.whole = self.whole - first + mark;
        }
    }

    /// Says at this place how much was cut; the length of the words.
    fn mark_lost(&mut self, at: usize) -> usize {
        if self.lost == 0 {
            return 0;
        }
        let mark = format!(" [{} bytes cut]", self.lost).into_bytes();
        let length = mark.len();
        self.bytes.splice(at..at, mark);
        self.lost = 0;
        length
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn push(lines: &mut Lines, bytes: &[u8]) {
        let read = |place: &mut [u8]| {
            place.copy_from_slice(bytes);
            Ok::<_, Infallible>(bytes.len())
        };
        lines.fill(bytes.len(), read).unwrap();
    }

    fn taken(lines: &mut Lines) -> Vec<Vec<u8>> {
        let mut taken = Vec::new();
        while !lines.whole().is_empty() {
            let end = memchr(b'\n', lines.whole());
            let length = end.unwrap_or(lines.whole().len());
            taken.push(lines.whole()[..length].to_vec());
            lines.take(length + usize::from(end.is_some()));
        }
        taken
    }

    fn lines(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut all) = (Lines::new(), Vec::new());
        for chunk in chunks {
            push(&mut lines, chunk);
            all.extend(taken(&mut lines));
        }
        lines.end();
        all.extend(taken(&mut lines));
        all
    }

    #[test]
    fn bytes_that_are_no_text_come_through_untouched() {
        assert_eq!(lines(&[b"\xff\x00\xfe\n", b"ok"]), [b"\xff\x00\xfe".to_vec(), b"ok".to_vec()]);
    }

    #[test]
    fn a_line_over_the_limit_is_cut_with_a_mark_and_the_next_is_whole() {
        let long = vec![b'x'; MAX_LINE];
        let got = lines(&[&long, b"yyyy", b"y\nnext\nlast"]);
        assert_eq!(got.len(), 3);
        assert!(got[0].starts_with(&long) && got[0].ends_with(b"x [5 bytes cut]"));
        assert_eq!((&got[1][..], &got[2][..]), (&b"next"[..], &b"last"[..]));
        let unfinished = lines(&[&long, b"yyy"]);
        assert!(unfinished.len() == 1 && unfinished[0].ends_with(b"x [3 bytes cut]"));
    }

    #[test]
    fn what_was_emptied_is_forgotten_and_places_count_from_the_end() {
        let mut lines = Lines::new();
        push(&mut lines, b"one\ntwo\nthr");
        assert_eq!((lines.since(0), lines.since(4)), (11, 7));
        assert_eq!(taken(&mut lines).len(), 2);
        lines.forget();
        lines.rest();
        push(&mut lines, b"new\n");
        assert_eq!(taken(&mut lines), [b"new"]);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(text in "[ab\n]{0,60}", cut in 0usize..60) {
            let cut = cut.min(text.len());
            let (head, tail) = text.as_bytes().split_at(cut);
            let whole = text.strip_suffix('\n').unwrap_or(&text);
            let expected: Vec<&[u8]> = if text.is_empty() { vec![] } else { whole.split('\n').map(str::as_bytes).collect() };
            prop_assert_eq!(lines(&[head, tail]), expected);
        }
    }
}
