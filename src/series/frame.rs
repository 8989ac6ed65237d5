//! The values of one moment as bytes: those that differ from the moment before, or all of them.
//!
//! ```text
//!  length of the rest u32 │ time u32 │ whole u8 │ (key - key before, code - code before)…
//! ```
//!
//! Differences are in groups of seven bits; those of codes are zigzag. In a whole frame codes stand alone, so that reading
//! can begin there.

use crate::series::{Code, Key};

/// The bytes before the rest that the length counts.
const HEAD: usize = 4;

/// The time and the mark of a whole frame.
const FIXED: usize = 5;

/// A longer frame than this is none.
const LONGEST: usize = 8 << 20;

/// One frame, as it lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When, in steps of the epoch.
    pub time: u32,
    /// Whether it has all values.
    pub is_whole: bool,
    entries: &'a [u8],
}

/// Frame after frame. Ends where the bytes are no frame, or not all of one.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    read: usize,
}

/// Writes a frame.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    last: u32,
}

impl Writer {
    pub(super) fn new(time: u32, is_whole: bool) -> Writer {
        let mut bytes = vec![0; HEAD];
        bytes.extend(time.to_le_bytes());
        bytes.push(u8::from(is_whole));
        Writer { bytes, last: 0 }
    }

    /// Keys go up.
    pub(super) fn push(&mut self, key: Key, before: Code, code: Code) {
        put(&mut self.bytes, key.0 - self.last);
        self.last = key.0;
        let difference = i32::from(code.0) - i32::from(before.0);
        put(&mut self.bytes, zigzag(difference));
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len() - HEAD).unwrap_or(u32::MAX);
        self.bytes[..HEAD].copy_from_slice(&length.to_le_bytes());
        self.bytes
    }
}

impl<'a> Frames<'a> {
    /// The frames of these bytes.
    pub fn new(bytes: &'a [u8]) -> Frames<'a> {
        Frames { bytes, read: 0 }
    }

    /// How many bytes have been read: where the next frame begins, or would.
    pub fn position(&self) -> usize {
        self.read
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let rest = self.bytes.get(self.read..)?;
        let length = usize::try_from(u32::from_le_bytes(rest.get(..HEAD)?.try_into().ok()?)).ok()?;
        if !(FIXED..LONGEST).contains(&length) {
            return None;
        }
        let body = rest.get(HEAD..HEAD + length)?;
        let (time, rest) = body.split_at(4);
        let (whole, entries) = rest.split_first()?;
        self.read += HEAD + length;
        Some(Frame { time: u32::from_le_bytes(time.try_into().ok()?), is_whole: *whole != 0, entries })
    }
}

impl Frame<'_> {
    /// Its values: how much each code differs. Ends where the bytes are wrong.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Key, i32)> {
        let (mut rest, mut key) = (self.entries, 0_u32);
        std::iter::from_fn(move || {
            key = key.checked_add(take(&mut rest)?)?;
            Some((Key(key), unzigzag(take(&mut rest)?)))
        })
    }
}

/// A code that differs by this much from another one.
pub(super) fn moved(before: Code, difference: i32) -> Code {
    Code(u16::try_from(i32::from(before.0) + difference.clamp(-65_535, 65_535)).unwrap_or(Code::NONE.0))
}

fn zigzag(value: i32) -> u32 {
    (value.cast_unsigned() << 1) ^ (value >> 31).cast_unsigned()
}

fn unzigzag(value: u32) -> i32 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

fn put(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap_or(0));
}

fn take(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    for shift in (0..35).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_that_is_not_whole_is_none() {
        let mut writer = Writer::new(77, true);
        writer.push(Key(3), Code(0), Code(9));
        writer.push(Key(700), Code(500), Code(2));
        let bytes = writer.finish();
        let mut frames = Frames::new(&bytes);
        let frame = frames.next().unwrap();
        assert_eq!((frame.time, frame.is_whole, frames.position()), (77, true, bytes.len()));
        assert_eq!(frame.entries().collect::<Vec<_>>(), [(Key(3), 9), (Key(700), -498)]);
        for end in 0..bytes.len() {
            let mut torn = Frames::new(&bytes[..end]);
            assert_eq!((torn.next(), torn.position()), (None, 0));
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for frame in Frames::new(&bytes) {
                let _ = frame.entries().count();
            }
        }

        #[test]
        fn differences_come_back(values in proptest::collection::vec((0_u32..100_000, any::<u16>(), any::<u16>()), 0..40)) {
            let mut sorted = values;
            sorted.sort_unstable_by_key(|value| value.0);
            sorted.dedup_by_key(|value| value.0);
            let mut writer = Writer::new(1, false);
            for (key, before, code) in &sorted {
                writer.push(Key(*key), Code(*before), Code(*code));
            }
            let bytes = writer.finish();
            let frame = Frames::new(&bytes).next().unwrap();
            let back: Vec<_> = frame.entries().zip(&sorted).map(|((key, by), (_, before, _))| (key.0, *before, moved(Code(*before), by).0)).collect();
            prop_assert_eq!(back, sorted);
        }
    }
}
