//! Bytes in, whole lines out, with a bound on what an endless line can cost.

/// The longest line that is shown whole.
pub const MAX_LINE: usize = 1024 * 1024;

/// Cuts a stream of bytes into lines; keeps the unfinished one for later.
#[derive(Debug, Default)]
pub struct LineCutter {
    partial: Vec<u8>,
    /// How many bytes of the unfinished line were too many.
    lost: u64,
}

impl LineCutter {
    /// An empty one.
    pub fn new() -> LineCutter {
        LineCutter::default()
    }

    /// Takes in bytes and hands out each line that they complete, without its newline.
    pub fn push(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, tail) = rest.split_at(end);
            // The usual case needs no copy.
            if self.partial.is_empty() && self.lost == 0 && line.len() <= MAX_LINE {
                on_line(line);
            } else {
                self.keep(line);
                self.finish(on_line);
            }
            rest = &tail[1..];
        }
        self.keep(rest);
    }

    /// Hands out the unfinished line, if there is one.
    pub fn finish(&mut self, on_line: &mut dyn FnMut(&[u8])) {
        if self.lost > 0 {
            let mark = format!(" [{} bytes cut]", self.lost);
            self.partial.extend_from_slice(mark.as_bytes());
        }
        // An empty line that was completed arrives here only with something kept before.
        if !self.partial.is_empty() {
            on_line(&self.partial);
        }
        self.partial.clear();
        self.lost = 0;
    }

    /// Forgets the unfinished line: the file was emptied under it.
    pub fn forget(&mut self) {
        self.partial.clear();
        self.lost = 0;
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_LINE - self.partial.len().min(MAX_LINE);
        let kept = &bytes[..bytes.len().min(room)];
        self.partial.extend_from_slice(kept);
        self.lost += (bytes.len() - kept.len()) as u64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut cutter, mut lines) = (LineCutter::new(), Vec::new());
        for chunk in chunks {
            cutter.push(chunk, &mut |line| lines.push(line.to_vec()));
        }
        cutter.finish(&mut |line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn bytes_that_are_no_text_come_through_untouched() {
        assert_eq!(lines(&[b"\xff\x00\xfe\n", b"ok"]), [b"\xff\x00\xfe".to_vec(), b"ok".to_vec()]);
    }

    #[test]
    fn a_line_over_the_limit_is_cut_with_a_mark_and_the_next_is_whole() {
        let long = vec![b'x'; MAX_LINE];
        let got = lines(&[&long, b"yyyy", b"y\nnext\n"]);
        assert_eq!(got.len(), 2);
        assert!(got[0].starts_with(&long) && got[0].ends_with(b"x [5 bytes cut]"));
        assert_eq!(got[1], b"next");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(text in "[ab\n]{0,60}", cut in 0usize..60) {
            let cut = cut.min(text.len());
            let (head, tail) = text.as_bytes().split_at(cut);
            prop_assert_eq!(lines(&[head, tail]), lines(&[text.as_bytes()]));
        }
    }
}
