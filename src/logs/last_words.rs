//! The last words of a stream: its final lines, within a fixed memory.

/// How many bytes are kept.
const KEPT: usize = 2048;

/// How many lines are shown.
const LINES: usize = 25;

/// The end of a stream of bytes.
#[derive(Clone, Debug, Default)]
pub struct LastWords {
    kept: Vec<u8>,
    /// Whether something before `kept` was dropped.
    cut: bool,
}

impl LastWords {
    /// How many bytes of the end of a long stream make all the difference: what is kept, and one that tells of more.
    pub const ENOUGH: usize = KEPT + 1;

    /// Takes in what came.
    pub fn push(&mut self, bytes: &[u8]) {
        let (start, cut) = (bytes.len().saturating_sub(KEPT), bytes.len() > KEPT);
        let fresh = &bytes[start..];
        let over = (self.kept.len() + fresh.len()).saturating_sub(KEPT);
        self.cut |= cut || over > 0;
        self.kept.drain(..over.min(self.kept.len()));
        self.kept.extend_from_slice(fresh);
    }

    /// The last whole lines, at most 25, oldest first; bytes that are no UTF-8 are shown as U+FFFD. A line whose
    /// beginning is lost starts with `…`.
    pub fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.kept);
        let mut lines: Vec<String> = text.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect();
        if let Some(first) = lines.first_mut().filter(|_| self.cut) {
            first.insert(0, '…');
        }
        lines.retain(|line| !line.trim().is_empty());
        lines.split_off(lines.len().saturating_sub(LINES))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_lines_are_kept_in_order() {
        let mut tail = LastWords::default();
        tail.push(b"one\ntwo");
        tail.push(b" and a half\n\nthree\n");
        assert_eq!(tail.lines(), ["one", "two and a half", "three"]);
    }

    #[test]
    fn what_was_cut_is_marked_and_the_rest_is_bounded() {
        let mut tail = LastWords::default();
        tail.push(&[b'x'; 5000]);
        tail.push(b"\nend");
        assert_eq!(tail.kept.len(), KEPT);
        let lines = tail.lines();
        assert!(lines[0].starts_with('…') && lines[1] == "end", "{lines:?}");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_not_lost() {
        let mut tail = LastWords::default();
        tail.push(b"a\xff\xfeb\n");
        assert_eq!(tail.lines(), ["a\u{fffd}\u{fffd}b"]);
    }

    proptest! {
        #[test]
        fn memory_is_bounded_whatever_comes(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..6)) {
            let mut tail = LastWords::default();
            for chunk in &chunks {
                tail.push(chunk);
                prop_assert!(tail.kept.len() <= KEPT);
            }
            let all = chunks.concat();
            prop_assert!(all.ends_with(&tail.kept));
            prop_assert!(tail.lines().len() <= LINES);
        }
    }
}
