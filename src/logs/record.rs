//! What a log pump writes down before it takes bytes out of a pipe, as words of memory that outlives it; and, from that
//! record and the file, what is still to be appended after its death.
//!
//! The form is read by later versions, too: a change needs a new one beside it.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The bytes that stand at the end of a place until something has been read into it.
pub const SENTINEL: usize = 16;

/// Words before the path.
const HEAD: usize = 8;

/// The longest path (path_resolution(7): PATH_MAX).
const PATH_MAX: usize = 4096;

/// The longest record, in words.
pub const RECORD_WORDS: usize = HEAD + PATH_MAX / 8;

/// Bytes that are about to be read and then appended to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// How many.
    pub length: u32,
    /// What stands at the end of their place, or in all of it when it is smaller, until they are read.
    pub sentinel: [u8; SENTINEL],
    /// The file's name.
    pub path: Cow<'a, Path>,
    /// The file; none when it has no size, like a pipe or a terminal.
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

impl Record<'_> {
    /// Replaces `words` by this record; returns its check, which is never 0. None: the path is too long.
    pub fn encode(&self, words: &mut Vec<u64>) -> Option<u64> {
        let path = self.path.as_os_str().as_bytes();
        if path.len() > PATH_MAX {
            return None;
        }
        let FileMark { device, inode, size } = self.mark.unwrap_or(FileMark { device: 0, inode: 0, size: 0 });
        let (front, back) = self.sentinel.split_at(SENTINEL / 2);
        words.clear();
        words.extend([u64::from(self.length), path.len() as u64, u64::from(self.mark.is_some()), device, inode, size]);
        words.extend([word(front), word(back)]);
        words.extend(path.chunks(8).map(word));
        Some(check(words))
    }

    /// Reads a record back.
    ///
    /// # Errors
    ///
    /// [`Torn`] when the words do not fit the check, or each other.
    pub fn decode(words: &[u64], expected: u64) -> Result<Record<'static>, Torn> {
        let [length, path_length, has_mark, device, inode, size, front, back, ..] = *words else { return Err(Torn) };
        let path_length = usize::try_from(path_length).ok().filter(|length| *length <= PATH_MAX).ok_or(Torn)?;
        let path_words = words.get(HEAD..HEAD + path_length.div_ceil(8)).ok_or(Torn)?;
        if check(&words[..HEAD + path_words.len()]) != expected || has_mark > 1 {
            return Err(Torn);
        }
        let path: Vec<u8> = path_words.iter().flat_map(|word| word.to_ne_bytes()).take(path_length).collect();
        let mut sentinel = [0; SENTINEL];
        sentinel[..SENTINEL / 2].copy_from_slice(&front.to_ne_bytes());
        sentinel[SENTINEL / 2..].copy_from_slice(&back.to_ne_bytes());
        Ok(Record {
            length: u32::try_from(length).map_err(|_| Torn)?,
            sentinel,
            path: Cow::Owned(OsStr::from_bytes(&path).into()),
            mark: (has_mark == 1).then_some(FileMark { device, inode, size }),
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
        Record { length: 4711, sentinel: *b"sixteen bytes ok", path: Path::new(path).into(), mark }
    }

    /// What version 1 wrote. Never to be changed: a later version finishes what an older one has left.
    #[test]
    #[cfg(target_endian = "little")]
    fn the_released_form_is_read() {
        let words = [4711, 6, 1, 5, 7, 1 << 40, 0x206e_6565_7478_6973, 0x6b6f_2073_6574_7962, 0x676f_6c2e_612f];
        assert_eq!(Record::decode(&words, 0x791d_f3e8_504a_c3d9), Ok(record("/a.log")));
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
        assert_eq!(Record::decode(&[1, u64::MAX, 0, 0, 0, 0, 0, 0], check), Err(Torn));
    }

    #[test]
    fn the_longest_path_fits_and_a_longer_one_is_refused() {
        let path = "x".repeat(PATH_MAX);
        let (words, check) = encoded(&record(&path));
        assert!(words.len() <= RECORD_WORDS);
        assert_eq!(Record::decode(&words, check), Ok(record(&path)));
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
            length in any::<u32>(), sentinel in any::<[u8; 16]>(), path in proptest::collection::vec(1_u8.., 0..60),
            mark in proptest::option::of(any::<(u64, u64, u64)>()), more in proptest::collection::vec(any::<u64>(), 0..4),
        ) {
            let mark = mark.map(|(device, inode, size)| FileMark { device, inode, size });
            let record = Record { length, sentinel, path: Path::new(OsStr::from_bytes(&path)).into(), mark };
            let (mut words, check) = encoded(&record);
            // What an earlier, longer record has left behind this one does not matter.
            words.extend(more);
            prop_assert_eq!(Record::decode(&words, check), Ok(record));
        }
    }
}
