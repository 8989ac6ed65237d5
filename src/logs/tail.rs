//! Where the last N lines of a file begin, found from its end, so that the size of the file does not matter.

use std::ops::Range;

use crate::logs::MAX_LINE;

/// How much is read at once.
const BLOCK: u64 = 64 * 1024;

/// A search for the start of the last lines. Feed it the blocks that it names until it names none.
#[derive(Debug)]
pub struct TailSearch {
    /// Line ends still to be found.
    missing: u64,
    /// Everything from here on has been looked at.
    position: u64,
    /// Where looking ends even if lines are missing, because they are absurdly long.
    floor: u64,
    length: u64,
    is_done: bool,
}

impl TailSearch {
    /// A search for the last `lines` lines of a file of `length` bytes.
    pub fn new(length: u64, lines: u64) -> TailSearch {
        let reach = lines.saturating_mul(MAX_LINE as u64).saturating_add(1);
        TailSearch {
            missing: lines,
            position: length,
            floor: length.saturating_sub(reach),
            length,
            is_done: lines == 0 || length == 0,
        }
    }

    /// The bytes to hand in next; none when the search is over.
    pub fn next_block(&self) -> Option<Range<u64>> {
        (!self.is_done).then(|| self.position.saturating_sub(BLOCK).max(self.floor)..self.position)
    }

    /// Takes in the bytes of [`TailSearch::next_block`].
    pub fn take(&mut self, block: &[u8]) {
        let start = self.position.saturating_sub(block.len() as u64);
        for (index, byte) in block.iter().enumerate().rev() {
            let at = start + index as u64;
            // The last byte only ends the last line; it begins none.
            if *byte != b'\n' || at + 1 == self.length {
                continue;
            }
            self.missing -= 1;
            if self.missing == 0 {
                self.position = at + 1;
                self.is_done = true;
                return;
            }
        }
        self.position = start;
        // An empty block: the file shrank meanwhile; what is there is all there is.
        self.is_done = start <= self.floor || block.is_empty();
    }

    /// Where the lines begin, once the search is over.
    pub fn start(&self) -> u64 {
        self.position
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn start_of(text: &[u8], lines: u64) -> usize {
        let mut search = TailSearch::new(text.len() as u64, lines);
        while let Some(block) = search.next_block() {
            let block = usize::try_from(block.start).unwrap()..usize::try_from(block.end).unwrap();
            search.take(&text[block]);
        }
        usize::try_from(search.start()).unwrap()
    }

    #[test]
    fn the_last_lines_are_found_with_and_without_a_final_newline() {
        assert_eq!(start_of(b"a\nb\nc\n", 2), 2);
        assert_eq!(start_of(b"a\nb\nc", 2), 2);
        assert_eq!(start_of(b"a\nb\nc\n", 9), 0);
        assert_eq!(start_of(b"a\nb\nc\n", 0), 6);
        assert_eq!(start_of(b"", 3), 0);
        assert_eq!(start_of(b"\n\n\n", 2), 1);
    }

    #[test]
    fn a_huge_file_costs_a_few_blocks() {
        let mut search = TailSearch::new(10 << 30, 2);
        let block = search.next_block().unwrap();
        assert_eq!(block.end - block.start, BLOCK);
        let mut text = vec![b'x'; usize::try_from(BLOCK).unwrap()];
        text[100] = b'\n';
        text[900] = b'\n';
        search.take(&text);
        assert_eq!(search.next_block(), None);
        assert_eq!(search.start(), block.start + 101);
    }

    #[test]
    fn a_file_without_line_ends_is_not_searched_to_its_beginning() {
        let mut search = TailSearch::new(10 << 30, 1);
        let mut looked_at = 0;
        while let Some(block) = search.next_block() {
            looked_at += block.end - block.start;
            search.take(&vec![b'x'; usize::try_from(block.end - block.start).unwrap()]);
        }
        assert_eq!(looked_at, MAX_LINE as u64 + 1);
    }

    proptest! {
        #[test]
        fn it_agrees_with_splitting_the_whole_text(text in "[ab\n]{0,200}", lines in 1u64..6) {
            let body = text.strip_suffix('\n').unwrap_or(&text);
            let all: Vec<&str> = if text.is_empty() { vec![] } else { body.split('\n').collect() };
            let kept = all[all.len().saturating_sub(usize::try_from(lines).unwrap())..].join("\n");
            prop_assert_eq!(text[start_of(text.as_bytes(), lines)..].strip_suffix('\n').unwrap_or(&text[start_of(text.as_bytes(), lines)..]), kept);
        }
    }
}
