//! What a log pump writes down before it takes bytes out of a pipe or puts them into files, as words of memory that
//! outlives it; and, from that record and the file, what is still to be appended after its death.
//!
//! The form is read by later versions, too: a change needs a new one beside it.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The bytes that stand at the end of a place until something has been read into it.
pub const SENTINEL: usize = 16;

/// The most files that the same bytes go to.
pub const MAX_TARGETS: usize = 2;

/// Words before the first target.
const HEAD: usize = 8;

/// Words of a target before its path.
const TARGET_HEAD: usize = 5;

/// The longest path (path_resolution(7): PATH_MAX).
const PATH_MAX: usize = 4096;

/// The longest record, in words.
pub const RECORD_WORDS: usize = HEAD + MAX_TARGETS * (TARGET_HEAD + PATH_MAX / 8);

/// Bytes that are about to be read, or appended to files, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where they are.
    pub area: Area,
    /// From there to there.
    pub from: u32,
    /// The end of them.
    pub to: u32,
    /// What stands at the end of their place, or in all of it when it is smaller, until they are read; none: they are
    /// there.
    pub sentinel: Option<[u8; SENTINEL]>,
    /// Whose buffer it is about.
    pub buffer: u32,
    /// How that buffer is when all is done.
    pub then: Span,
    /// Where they go.
    pub targets: Vec<Target<'a>>,
}

/// Where bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// In the buffer of the record.
    Buffer,
    /// In the place for what has its form.
    Shaped,
}

/// What a buffer holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub start: u32,
    /// Where it ends.
    pub end: u32,
    /// It begins within a line whose beginning stands in the file.
    pub open: bool,
}

/// A file that bytes go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Its name.
    pub path: Cow<'a, Path>,
    /// What it was before; none when it has no size, like a pipe or a terminal.
    pub mark: Option<FileMark>,
}

/// A regular file and its size before bytes were appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMark {
    /// The number of its device.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// In bytes.
    pub size: u64,
}

/// Words that are no record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record is torn")]
pub struct Torn;

impl Span {
    /// As one word, which memory changes at once.
    pub fn to_word(self) -> u64 {
        u64::from(self.start & 0xff_ffff) | u64::from(self.end & 0xff_ffff) << 24 | u64::from(self.open) << 48
    }

    /// From one word.
    #[expect(clippy::cast_possible_truncation, reason = "24 bits each")]
    pub fn from_word(word: u64) -> Span {
        Span { start: word as u32 & 0xff_ffff, end: (word >> 24) as u32 & 0xff_ffff, open: word >> 48 & 1 == 1 }
    }

    /// The bytes of it.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Record<'_> {
    /// Replaces `words` by this record; returns its check, which is never 0. None: a path is too long.
    pub fn encode(&self, words: &mut Vec<u64>) -> Option<u64> {
        let sentinel = self.sentinel.unwrap_or_default();
        let (front, back) = sentinel.split_at(SENTINEL / 2);
        let flags = u64::from(self.sentinel.is_some()) | u64::from(self.area == Area::Shaped) << 1;
        words.clear();
        words.extend([u64::from(self.from), u64::from(self.to), flags, u64::from(self.buffer), self.then.to_word()]);
        words.extend([word(front), word(back), self.targets.len() as u64]);
        if self.targets.len() > MAX_TARGETS {
            return None;
        }
        for Target { path, mark } in &self.targets {
            let path = path.as_os_str().as_bytes();
            if path.len() > PATH_MAX {
                return None;
            }
            let FileMark { device, inode, size } = mark.unwrap_or(FileMark { device: 0, inode: 0, size: 0 });
            words.extend([path.len() as u64, u64::from(mark.is_some()), device, inode, size]);
            words.extend(path.chunks(8).map(word));
        }
        Some(check(words))
    }

    /// Reads a record back.
    ///
    /// # Errors
    ///
    /// [`Torn`] when the words do not fit the check, or each other.
    pub fn decode(words: &[u64], expected: u64) -> Result<Record<'static>, Torn> {
        let [from, to, flags, buffer, then, front, back, count, ..] = *words else { return Err(Torn) };
        let count = usize::try_from(count).ok().filter(|count| *count <= MAX_TARGETS).ok_or(Torn)?;
        let (mut targets, mut at) = (Vec::with_capacity(count), HEAD);
        for _ in 0..count {
            let Some([length, has_mark, device, inode, size]) = words.get(at..at + TARGET_HEAD) else {
                return Err(Torn);
            };
            let length = usize::try_from(*length).ok().filter(|length| *length <= PATH_MAX).ok_or(Torn)?;
            at += TARGET_HEAD;
            let path = words.get(at..at + length.div_ceil(8)).ok_or(Torn)?;
            at += path.len();
            let path: Vec<u8> = path.iter().flat_map(|word| word.to_ne_bytes()).take(length).collect();
            let mark = FileMark { device: *device, inode: *inode, size: *size };
            let path = Cow::Owned(OsStr::from_bytes(&path).into());
            targets.push(Target { path, mark: (*has_mark == 1).then_some(mark) });
        }
        if check(&words[..at]) != expected {
            return Err(Torn);
        }
        let mut sentinel = [0; SENTINEL];
        sentinel[..SENTINEL / 2].copy_from_slice(&front.to_ne_bytes());
        sentinel[SENTINEL / 2..].copy_from_slice(&back.to_ne_bytes());
        let number = |word: u64| u32::try_from(word).map_err(|_| Torn);
        Ok(Record {
            area: if flags >> 1 & 1 == 1 { Area::Shaped } else { Area::Buffer },
            from: number(from)?,
            to: number(to)?,
            sentinel: (flags & 1 == 1).then_some(sentinel),
            buffer: number(buffer)?,
            then: Span::from_word(then),
            targets,
        })
    }
}

/// What a file lacks of bytes that were to be appended to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// All are there.
    Nothing,
    /// Those from here on.
    From(usize),
    /// Somebody else has changed the file meanwhile: all may be missing, or none.
    Unknown,
}

/// Compares the bytes with what the file holds behind the size that was noted.
pub fn missing(bytes: &[u8], behind: &[u8]) -> Missing {
    if behind.starts_with(bytes) || behind.ends_with(bytes) {
        Missing::Nothing
    } else if bytes.starts_with(behind) {
        Missing::From(behind.len())
    } else {
        Missing::Unknown
    }
}

/// Up to 8 bytes, filled up with zeros.
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

/// A sum that a torn or foreign record does not fit. It guards against accidents, not against forgers.
fn check(words: &[u64]) -> u64 {
    let mix = |sum: u64, word: &u64| (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    words.iter().fold(words.len() as u64, mix).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(record: &Record<'_>) -> (Vec<u64>, u64) {
        let mut words = vec![99; 3];
        let check = record.encode(&mut words).unwrap();
        (words, check)
    }

    fn record(path: &str) -> Record<'_> {
        let mark = Some(FileMark { device: 5, inode: 7, size: 1 << 40 });
        let targets = vec![Target { path: Path::new(path).into(), mark }];
        let then = Span { start: 1, end: 2, open: true };
        let sentinel = Some(*b"sixteen bytes ok");
        Record { area: Area::Shaped, from: 1, to: 4711, sentinel, buffer: 3, then, targets }
    }

    /// What version 2 wrote. Never to be changed: a later version finishes what an older one has left.
    #[test]
    #[cfg(target_endian = "little")]
    fn the_released_form_is_read() {
        let words = [
            1,
            4711,
            3,
            3,
            1 << 48 | 2 << 24 | 1,
            0x206e_6565_7478_6973,
            0x6b6f_2073_6574_7962,
            1,
            6,
            1,
            5,
            7,
            1 << 40,
            0x676f_6c2e_612f,
        ];
        assert_eq!(Record::decode(&words, 0xb707_4d78_a4e1_70da), Ok(record("/a.log")));
    }

    #[test]
    fn a_changed_word_is_noticed() {
        let (words, check) = encoded(&record("/var/log/app-out.log"));
        assert!(Record::decode(&words, check).is_ok());
        for index in 0..words.len() {
            let mut torn = words.clone();
            torn[index] ^= 1;
            assert_eq!(Record::decode(&torn, check), Err(Torn), "{index}");
        }
        assert_eq!(Record::decode(&words, check + 1), Err(Torn));
        assert_eq!(Record::decode(&words[..words.len() - 1], check), Err(Torn));
        assert_eq!(Record::decode(&[], 0), Err(Torn));
        // A length from outside is no length to read.
        assert_eq!(Record::decode(&[1, 2, 0, 0, 0, 0, 0, u64::MAX], check), Err(Torn));
        assert_eq!(Record::decode(&[1, 2, 0, 0, 0, 0, 0, 1, u64::MAX, 0, 0, 0, 0], check), Err(Torn));
    }

    #[test]
    fn the_longest_path_fits_and_a_longer_one_is_refused() {
        let path = "x".repeat(PATH_MAX);
        let mut longest = record(&path);
        longest.targets.push(longest.targets[0].clone());
        let (words, check) = encoded(&longest);
        assert_eq!(words.len(), RECORD_WORDS);
        assert_eq!(Record::decode(&words, check), Ok(longest));
        assert_eq!(record(&"x".repeat(PATH_MAX + 1)).encode(&mut Vec::new()), None);
    }

    #[test]
    fn what_a_file_lacks_is_seen() {
        assert_eq!(missing(b"one\ntwo\n", b""), Missing::From(0));
        assert_eq!(missing(b"one\ntwo\n", b"one\nt"), Missing::From(5));
        assert_eq!(missing(b"one\ntwo\n", b"one\ntwo\n"), Missing::Nothing);
        // Others have appended before, after, or in between.
        assert_eq!(missing(b"one\n", b"one\nother\n"), Missing::Nothing);
        assert_eq!(missing(b"one\n", b"other\none\n"), Missing::Nothing);
        assert_eq!(missing(b"one\n", b"other\n"), Missing::Unknown);
        assert_eq!(missing(b"one\ntwo\n", b"one\nother\n"), Missing::Unknown);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            numbers in any::<(u32, u32, u32)>(), (start, end, open) in (0u32..1 << 24, 0u32..1 << 24, any::<bool>()),
            sentinel in proptest::option::of(any::<[u8; 16]>()),
            targets in proptest::collection::vec((proptest::collection::vec(1_u8.., 0..60), proptest::option::of(any::<(u64, u64, u64)>())), 0..3),
            more in proptest::collection::vec(any::<u64>(), 0..4), is_shaped in any::<bool>(),
        ) {
            let targets = targets.iter().map(|(path, mark)| Target {
                path: Path::new(OsStr::from_bytes(path)).into(),
                mark: mark.map(|(device, inode, size)| FileMark { device, inode, size }),
            });
            let (from, to, buffer) = numbers;
            let area = if is_shaped { Area::Shaped } else { Area::Buffer };
            let then = Span { start, end, open };
            let record = Record { area, from, to, sentinel, buffer, then, targets: targets.collect() };
            let (mut words, check) = encoded(&record);
            // What an earlier, longer record has left behind this one does not matter.
            words.extend(more);
            prop_assert_eq!(Record::decode(&words, check), Ok(record));
        }
    }
}
