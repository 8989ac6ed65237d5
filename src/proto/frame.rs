//! The line codec: bytes in, whole messages out, with a limit that is checked before memory is taken.

use std::collections::VecDeque;

/// A message broke the framing; the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The line is longer than the limit.
    #[error("a message may have {limit} bytes at most")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

/// Cuts a stream of bytes into lines.
///
/// At most `limit` bytes of an unfinished line are kept; one byte more is an error, so a peer cannot make its reader
/// allocate more than the limit whatever it sends.
#[derive(Debug)]
pub struct LineCodec {
    limit: usize,
    partial: Vec<u8>,
    ready: VecDeque<Vec<u8>>,
}

impl LineCodec {
    /// A codec for lines of at most `limit` bytes, the newline not counted.
    pub fn new(limit: usize) -> LineCodec {
        LineCodec { limit, partial: Vec::new(), ready: VecDeque::new() }
    }

    /// Changes the limit for what comes from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes in what was read.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLarge`] as soon as a line exceeds the limit; lines completed before it can still be taken.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, tail) = rest.split_at(end);
            self.extend(line)?;
            self.ready.push_back(std::mem::take(&mut self.partial));
            rest = &tail[1..];
        }
        self.extend(rest)
    }

    /// The next whole line, without its newline.
    pub fn next_line(&mut self) -> Option<Vec<u8>> {
        self.ready.pop_front()
    }

    /// Whether bytes of an unfinished line are waiting for the rest.
    pub fn is_mid_line(&self) -> bool {
        !self.partial.is_empty()
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        if self.partial.len() + bytes.len() > self.limit {
            return Err(FrameError::TooLarge { limit: self.limit });
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(codec: &mut LineCodec) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| codec.next_line()).collect()
    }

    #[test]
    fn messages_come_out_whole_however_they_arrive() {
        let mut codec = LineCodec::new(100);
        codec.push(b"one\ntw").unwrap();
        assert_eq!(lines(&mut codec), [b"one".to_vec()]);
        assert!(codec.is_mid_line());
        codec.push(b"o\n\nthree\n").unwrap();
        assert_eq!(lines(&mut codec), [b"two".to_vec(), vec![], b"three".to_vec()]);
        assert!(!codec.is_mid_line());
    }

    #[test]
    fn a_line_over_the_limit_is_refused_before_it_is_kept() {
        let mut codec = LineCodec::new(4);
        codec.push(b"1234\n").unwrap();
        assert_eq!(codec.push(&vec![b'x'; 1 << 20]), Err(FrameError::TooLarge { limit: 4 }));
        assert!(codec.partial.capacity() < 1 << 10, "{}", codec.partial.capacity());
        assert_eq!(lines(&mut codec), [b"1234".to_vec()]);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(
            messages in proptest::collection::vec("[^\n]{0,20}", 0..8),
            cuts in proptest::collection::vec(1usize..9, 1..40),
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|m| [m.as_bytes(), b"\n"].concat()).collect();
            let mut codec = LineCodec::new(1000);
            let (mut rest, mut cuts) = (stream.as_slice(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (head, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                codec.push(head).unwrap();
                rest = tail;
            }
            let expected: Vec<Vec<u8>> = messages.iter().map(|m| m.as_bytes().to_vec()).collect();
            prop_assert_eq!(lines(&mut codec), expected);
        }

        #[test]
        fn memory_never_exceeds_the_limit(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..20)) {
            let mut codec = LineCodec::new(32);
            for chunk in chunks {
                if codec.push(&chunk).is_err() { break; }
                prop_assert!(codec.partial.len() <= 32);
            }
        }
    }
}
