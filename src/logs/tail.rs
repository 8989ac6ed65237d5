//! Where the last N lines of a file begin, found from its end, so that the size of the file does not matter.

use std::ops::Range;

use memchr::{memchr, memrchr};

use crate::logs::{MAX_LINE, Pattern};

/// How much is looked at first, and at least.
const SMALLEST: u64 = 64 * 1024;

/// How much is looked at once at most, unless a line is longer.
const LARGEST: u64 = 4 * 1024 * 1024;

/// A search for the start of the last lines. Feed it the blocks that it names until it names none.
#[derive(Debug)]
pub struct TailSearch<'p> {
    pattern: Option<&'p Pattern>,
    /// Lines still to be found.
    missing: u64,
    /// From here on all has been looked at: the beginning of a line, or the end of the file.
    position: u64,
    window: u64,
    is_done: bool,
}

impl<'p> TailSearch<'p> {
    /// A search for the last `lines` lines, those that match a pattern where there is one, of a file of `length` bytes.
    pub fn new(length: u64, lines: u64, pattern: Option<&'p Pattern>) -> TailSearch<'p> {
        let is_done = lines == 0 || length == 0;
        TailSearch { pattern, missing: lines, position: length, window: SMALLEST, is_done }
    }

    /// The bytes to hand in next; none when the search is over.
    pub fn next_block(&self) -> Option<Range<u64>> {
        (!self.is_done).then(|| self.position.saturating_sub(self.window)..self.position)
    }

    /// Takes in the bytes of [`TailSearch::next_block`].
    pub fn take(&mut self, block: &[u8]) {
        let start = self.position.saturating_sub(self.window);
        // The file shrank meanwhile; what is there is all there is.
        if block.len() as u64 != self.position - start {
            (self.position, self.is_done) = (0, true);
            return;
        }
        // What comes before the first line end belongs to a line that begins further in front.
        let first = match memchr(b'\n', block) {
            _ if start == 0 => 0,
            Some(end) if end + 1 < block.len() => end + 1,
            Some(_) | None if self.window <= MAX_LINE as u64 => {
                self.window *= 2;
                return;
            }
            // Absurdly long: it begins here.
            Some(_) | None => 0,
        };
        let body = &block[first..];
        let found = match self.pattern {
            Some(pattern) => self.matching(pattern, body),
            None => self.any(body),
        };
        self.position = start + first as u64 + found.unwrap_or(0);
        self.is_done = found.is_some() || self.position == 0 || first == 0;
        self.window = (self.window * 2).clamp(SMALLEST, LARGEST);
    }

    /// Where the lines begin, once the search is over.
    pub fn start(&self) -> u64 {
        self.position
    }

    /// How many lines were not there.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Where the wanted number of lines begins in some whole lines, if it does.
    fn any(&mut self, body: &[u8]) -> Option<u64> {
        // The last byte only ends the last line; it begins none.
        let mut end = body.len().saturating_sub(1);
        while let Some(at) = memrchr(b'\n', &body[..end]) {
            self.missing -= 1;
            if self.missing == 0 {
                return Some(at as u64 + 1);
            }
            end = at;
        }
        self.missing -= 1;
        (self.missing == 0).then_some(0)
    }

    fn matching(&mut self, pattern: &Pattern, body: &[u8]) -> Option<u64> {
        let mut found = Vec::new();
        let mut from = 0;
        while from < body.len()
            && let Some(line) = pattern.find(body, from)
        {
            found.push(line.start as u64);
            from = line.end + 1;
        }
        let count = found.len() as u64;
        if count < self.missing {
            self.missing -= count;
            return None;
        }
        let wanted = usize::try_from(count - self.missing).ok()?;
        self.missing = 0;
        found.get(wanted).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn search<'p>(text: &[u8], lines: u64, pattern: Option<&'p Pattern>) -> TailSearch<'p> {
        let mut search = TailSearch::new(text.len() as u64, lines, pattern);
        search.window = 8;
        while let Some(block) = search.next_block() {
            let block = usize::try_from(block.start).unwrap()..usize::try_from(block.end).unwrap();
            search.take(&text[block]);
        }
        search
    }

    fn start_of(text: &[u8], lines: u64) -> u64 {
        search(text, lines, None).start()
    }

    #[test]
    fn the_last_lines_are_found_with_and_without_a_final_newline() {
        assert_eq!(start_of(b"a\nb\nc\n", 2), 2);
        assert_eq!(start_of(b"a\nb\nc", 2), 2);
        assert_eq!(start_of(b"a\nb\nc\n", 9), 0);
        assert_eq!(start_of(b"a\nb\nc\n", 0), 6);
        assert_eq!(start_of(b"", 3), 0);
        assert_eq!(start_of(b"\n\n\n", 2), 1);
        assert_eq!(search(b"a\nb\n", 5, None).missing(), 3);
    }

    #[test]
    fn the_last_lines_that_match_are_found() {
        let error = Pattern::new("err").unwrap();
        let text = b"err 1\nx\nerr 2\nx\nx\nerr 3\nx\n";
        assert_eq!(search(text, 1, Some(&error)).start(), 18);
        assert_eq!(search(text, 2, Some(&error)).start(), 8);
        assert_eq!((search(text, 9, Some(&error)).start(), search(text, 9, Some(&error)).missing()), (0, 6));
    }

    #[test]
    fn a_huge_file_costs_a_few_blocks() {
        let mut search = TailSearch::new(10 << 30, 2, None);
        let block = search.next_block().unwrap();
        assert_eq!(block.end - block.start, SMALLEST);
        let mut text = vec![b'x'; usize::try_from(SMALLEST).unwrap()];
        text[100] = b'\n';
        text[900] = b'\n';
        search.take(&text);
        assert_eq!(search.next_block(), None);
        assert_eq!(search.start(), block.start + 101);
    }

    #[test]
    fn a_file_without_line_ends_is_not_searched_to_its_beginning() {
        let mut search = TailSearch::new(10 << 30, 1, None);
        while let Some(block) = search.next_block() {
            let length = block.end - block.start;
            assert!(length <= 2 * MAX_LINE as u64);
            search.take(&vec![b'x'; usize::try_from(length).unwrap()]);
        }
        assert!((10 << 30) - search.start() >= MAX_LINE as u64);
    }

    proptest! {
        #[test]
        fn it_agrees_with_splitting_the_whole_text(text in "[ab\n]{0,200}", lines in 1u64..6, matching: bool) {
            let pattern = matching.then(|| Pattern::new("a").unwrap());
            let body = text.strip_suffix('\n').unwrap_or(&text);
            let all: Vec<&str> = if text.is_empty() { vec![] } else { body.split('\n').collect() };
            let wanted: Vec<&str> = all.into_iter().filter(|line| !matching || line.contains('a')).collect();
            let kept = &wanted[wanted.len().saturating_sub(usize::try_from(lines).unwrap())..];
            let search = search(text.as_bytes(), lines, pattern.as_ref());
            let rest = &text[usize::try_from(search.start()).unwrap()..];
            let rest = rest.strip_suffix('\n').unwrap_or(rest);
            let found: Vec<&str> = match text.is_empty() {
                true => vec![],
                false => rest.split('\n').filter(|line| !matching || line.contains('a')).collect(),
            };
            prop_assert_eq!(&found[..], kept);
            prop_assert_eq!(search.missing(), lines - kept.len() as u64);
        }
    }
}
