//! The index of times: when which bytes of a log file came, for choosing and merging lines that do not tell it.
//!
//! ```text
//! index   header, entry, entry, …                         appended to, an entry at a time
//! header  magic and version, inode, base, cutting, check  40 bytes, five little-endian words
//! entry   offset (44 bits), moment (44), check (8)        12 bytes, one little-endian number
//! ```
//!
//! An entry says: the bytes from `offset` on came at `moment`, or up to [`SPACING`] later, until the next entry's. It is
//! appended before the bytes are written, so a dead writer leaves at most an entry for bytes that are not there. A torn
//! end is recognised by its length, anything else by the checks; a damaged entry is passed over.
//!
//! Offsets are *logical*: they count from the first byte that the file ever had. Where the head of a file is cut off in
//! place (rotation by the `file` driver) or all of it is (`flush`, both drivers), only the header changes, and whoever reads
//! the file goes on by the same numbers:
//!
//! ```text
//! physical = logical - base           the archive of a cut has the bytes base … base + cut, its own base says so
//! cutting = 0                         nothing is being cut
//! cutting = n                         n bytes are being cut: byte 0 is that of `base`, or already of `base + n`
//! ```
//!
//! The writer sets `cutting`, cuts, then sets the new base and `cutting = 0`, each by one write of the header. What stands
//! before `base` is never asked for again; [`part`] makes an index smaller that has grown by it.
//!
//! A file that was made anew after a rotation by rename has an index of its own with base 0; that of its predecessor keeps
//! its content and gets the archive's name. The header's inode ties an index to its file, whatever the names are at the
//! moment; that of an archive goes on to name the inode that the lines were written to when the archive has been compressed.

use std::ops::Range;
use std::time::Duration;

/// How far apart two entries are at least.
pub const SPACING: Duration = Duration::from_millis(100);

/// The length of the header.
pub const HEADER: usize = 40;

/// The length of an entry.
pub const ENTRY: usize = 12;

/// The beginning of an index, with the version of its form.
const MAGIC: u64 = u64::from_le_bytes(*b"rsxtime\x01");

/// Bits of an offset (16 TiB) and of a moment (until the year 2527).
const BITS: u32 = 44;

const MASK: u128 = (1 << BITS) - 1;

/// The largest offset and moment that fit.
const LARGEST: u64 = (1 << BITS) - 1;

/// What is known of the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The number of the file that the lines were written to.
    pub inode: u64,
    /// The logical offset of its first byte.
    pub base: u64,
    /// How many bytes of its head are just being cut off.
    pub cutting: u64,
}

/// When the bytes from here on came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Logical.
    pub offset: u64,
    /// In milliseconds of the epoch.
    pub moment: u64,
}

impl Header {
    /// The bytes at the beginning of the index.
    pub fn encode(self) -> [u8; HEADER] {
        let words = [MAGIC, self.inode, self.base, self.cutting];
        let mut bytes = [0; HEADER];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words.into_iter().chain([check(&words)])) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads it back; none: it is torn, just being written, or of another version.
    pub fn decode(bytes: &[u8]) -> Option<Header> {
        let mut words = bytes.get(..HEADER)?.chunks_exact(8).map(word);
        let words: [u64; HEADER / 8] = std::array::from_fn(|_| words.next().unwrap_or_default());
        let [magic, inode, base, cutting, sum] = words;
        (magic == MAGIC && check(&words[..4]) == sum).then_some(Header { inode, base, cutting })
    }
}

impl Entry {
    /// Its bytes. None: the file is absurdly long, and what is added to it has no times.
    pub fn encode(self) -> Option<[u8; ENTRY]> {
        if self.offset > LARGEST || self.moment > LARGEST {
            return None;
        }
        let body = u128::from(self.offset) | u128::from(self.moment) << BITS;
        let whole = (body | u128::from(sum(self)) << (2 * BITS)).to_le_bytes();
        let mut bytes = [0; ENTRY];
        bytes.copy_from_slice(&whole[..ENTRY]);
        Some(bytes)
    }

    /// Reads it back; none: it is damaged.
    pub fn decode(bytes: &[u8]) -> Option<Entry> {
        let mut whole = [0; 16];
        whole[..ENTRY].copy_from_slice(bytes.get(..ENTRY)?);
        let whole = u128::from_le_bytes(whole);
        let part = |shift: u32| u64::try_from(whole >> shift & MASK).unwrap_or(LARGEST);
        let entry = Entry { offset: part(0), moment: part(BITS) };
        (whole >> (2 * BITS) == u128::from(sum(entry))).then_some(entry)
    }
}

/// How many whole entries an index of so many bytes has.
pub fn entries(length: u64) -> u64 {
    length.saturating_sub(HEADER as u64) / ENTRY as u64
}

/// Where the n-th entry stands. With [`entries`] of a length: where a torn end begins, and the next entry belongs.
pub fn place(n: u64) -> u64 {
    HEADER as u64 + n * ENTRY as u64
}

/// What a writer has to do before it appends to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Nothing: the last entry is fresh enough.
    Nothing,
    /// Append this to the index.
    Append([u8; ENTRY]),
    /// The file is not the one that was written to last: make the index anew, with a header, and append this.
    Anew([u8; ENTRY]),
}

/// The side of the writer: decides when an entry is due.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    last: Option<Entry>,
}

impl Times {
    /// For an index with this last entry; none: it is empty.
    pub fn after(last: Option<Entry>) -> Times {
        Times { last }
    }

    /// Bytes have come at this moment and begin at this logical offset. A clock that was set back stands still here, so
    /// that moments never descend.
    pub fn note(&mut self, offset: u64, moment: u64) -> Note {
        let is_anew = self.last.is_some_and(|last| offset < last.offset);
        let moment = self.last.map_or(moment, |last| moment.max(last.moment));
        let spacing = u64::try_from(SPACING.as_millis()).unwrap_or(u64::MAX);
        let is_due = self.last.is_none_or(|last| moment - last.moment >= spacing);
        if !is_due && !is_anew {
            return Note::Nothing;
        }
        let entry = Entry { offset, moment };
        match entry.encode() {
            Some(bytes) => {
                self.last = Some(entry);
                if is_anew { Note::Anew(bytes) } else { Note::Append(bytes) }
            }
            None => Note::Nothing,
        }
    }
}

/// The index of a part of a file that becomes a file of its own: the entries for these logical offsets, the first one for
/// its very beginning. `index` is a whole index; its damaged entries and its torn end are left behind. With the offsets
/// that are left after a cut it makes the index of the rest smaller.
pub fn part(index: &[u8], inode: u64, of: Range<u64>) -> Vec<u8> {
    let mut bytes = Header { inode, base: of.start, cutting: 0 }.encode().to_vec();
    let all = index.get(HEADER..).unwrap_or_default().chunks_exact(ENTRY).filter_map(Entry::decode);
    let mut first = None;
    let mut rest = Vec::new();
    for entry in all {
        if entry.offset <= of.start {
            first = Some(Entry { offset: of.start, ..entry });
        } else if entry.offset < of.end {
            rest.push(entry);
        }
    }
    first.into_iter().chain(rest).filter_map(Entry::encode).for_each(|entry| bytes.extend(entry));
    bytes
}

/// How many of the first entries are `before` something; all of those have to stand before all others. `probe` reads the
/// n-th entry, none if it is damaged: then its nearest neighbour in front answers for it.
///
/// # Errors
///
/// Those of `probe`.
pub fn partition<E>(
    count: u64,
    mut probe: impl FnMut(u64) -> Result<Option<Entry>, E>,
    before: impl Fn(Entry) -> bool,
) -> Result<u64, E> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        let mut looked_at = middle;
        let entry = loop {
            match probe(looked_at)? {
                Some(entry) => break Some(entry),
                None if looked_at == low => break None,
                None => looked_at -= 1,
            }
        };
        // Where all up to the middle are damaged, they are in front of whatever is asked for.
        if entry.is_none_or(&before) {
            low = middle + 1;
        } else {
            high = looked_at;
        }
    }
    Ok(low)
}

pub(super) fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// A sum that a torn or foreign header does not fit. It guards against accidents, not against forgers.
pub(super) fn check(words: &[u64]) -> u64 {
    let mix = |sum: u64, word: &u64| (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    words.iter().fold(words.len() as u64, mix)
}

/// The same in a byte. An entry of zeros, as a crash of the machine leaves them, does not fit.
fn sum(entry: Entry) -> u8 {
    check(&[entry.offset, entry.moment]).to_le_bytes()[7]
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    const NOON: u64 = 1_779_969_600_000;

    fn entry(offset: u64, moment: u64) -> Entry {
        Entry { offset, moment }
    }

    fn index(header: Header, entries: &[Entry]) -> Vec<u8> {
        let mut bytes = header.encode().to_vec();
        entries.iter().for_each(|entry| bytes.extend(entry.encode().unwrap()));
        bytes
    }

    fn decoded(index: &[u8]) -> Vec<Entry> {
        index[HEADER..].chunks_exact(ENTRY).filter_map(Entry::decode).collect()
    }

    fn search(index: &[u8], before: impl Fn(Entry) -> bool) -> u64 {
        let probe = |n| {
            let at = usize::try_from(place(n)).unwrap();
            Ok::<_, Infallible>(Entry::decode(&index[at..at + ENTRY]))
        };
        partition(entries(index.len() as u64), probe, before).unwrap()
    }

    /// What version 1 wrote. Never to be changed: later versions read it.
    #[test]
    fn the_released_form_is_read() {
        let bytes = b"rsxtime\x01\x07\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x85\xbf\xa0\x66\xf0\xc2\xfb\xf9\
                      \x39\x30\x00\x00\x00\x00\xa0\x4a\xe7\xe6\x19\x66";
        assert_eq!(Header::decode(bytes), Some(Header { inode: 7, base: 4096, cutting: 0 }));
        assert_eq!(decoded(bytes), [entry(12_345, NOON)]);
    }

    #[test]
    fn a_torn_end_and_damaged_entries_are_recognised() {
        let whole = index(Header::default(), &[entry(0, NOON), entry(10, NOON + 100)]);
        for cut in HEADER..whole.len() {
            let torn = &whole[..cut];
            assert_eq!(entries(cut as u64), u64::from(cut >= HEADER + ENTRY));
            assert_eq!(decoded(torn).len() as u64, entries(cut as u64));
        }
        assert_eq!(entries(0), 0);
        assert_eq!(place(entries(whole.len() as u64 + 5)), whole.len() as u64);
        assert_eq!(Entry::decode(&[0; ENTRY]), None);
        assert_eq!(Header::decode(&[0; HEADER]), None);
        assert_eq!(Header::decode(&whole[..HEADER - 1]), None);
        for at in 0..HEADER {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert_eq!(Header::decode(&changed), None);
        }
    }

    #[test]
    fn entries_are_written_when_time_has_passed_and_bytes_have_come() {
        let mut times = Times::default();
        assert!(matches!(times.note(0, NOON), Note::Append(_)));
        assert_eq!(times.note(100, NOON + 99), Note::Nothing);
        let Note::Append(bytes) = times.note(200, NOON + 100) else { panic!() };
        assert_eq!(Entry::decode(&bytes), Some(entry(200, NOON + 100)));
        // Nothing of it may have been written, as on a full disk: the later moment counts.
        assert!(matches!(times.note(200, NOON + 300), Note::Append(_)));
        let mut successor = Times::after(Some(entry(200, NOON + 300)));
        assert_eq!(successor.note(300, NOON + 399), Note::Nothing);
    }

    #[test]
    fn a_clock_that_was_set_back_stands_still() {
        let mut times = Times::after(Some(entry(10, NOON)));
        assert_eq!(times.note(20, NOON - 3_600_000), Note::Nothing);
        assert_eq!(times.note(30, NOON + 50), Note::Nothing);
        assert!(matches!(times.note(40, NOON + 100), Note::Append(_)));
    }

    #[test]
    fn what_begins_before_the_last_entry_begins_anew() {
        let mut times = Times::after(Some(entry(1_000, NOON)));
        let Note::Anew(bytes) = times.note(0, NOON + 1) else { panic!() };
        assert_eq!(Entry::decode(&bytes), Some(entry(0, NOON + 1)));
        assert_eq!(times.note(10, NOON + 2), Note::Nothing);
    }

    #[test]
    fn a_part_has_the_times_of_its_bytes() {
        let whole = index(
            Header { inode: 1, base: 100, cutting: 0 },
            &[entry(100, NOON), entry(200, NOON + 100), entry(300, NOON + 200), entry(400, NOON + 300)],
        );
        let head = part(&whole, 2, 100..250);
        assert_eq!(Header::decode(&head), Some(Header { inode: 2, base: 100, cutting: 0 }));
        assert_eq!(decoded(&head), [entry(100, NOON), entry(200, NOON + 100)]);
        let rest = part(&whole, 1, 250..u64::MAX);
        assert_eq!(decoded(&rest), [entry(250, NOON + 100), entry(300, NOON + 200), entry(400, NOON + 300)]);
        assert_eq!(decoded(&part(&[], 1, 0..9)), []);
    }

    #[test]
    fn damaged_entries_do_not_stop_a_search() {
        let all: Vec<Entry> = (0..20).map(|n| entry(n * 10, NOON + n * 100)).collect();
        let mut bytes = index(Header::default(), &all);
        for n in [0_u64, 1, 9, 10, 11, 19] {
            let at = usize::try_from(place(n)).unwrap();
            bytes[at..at + ENTRY].fill(0);
        }
        for offset in [25, 30, 85, 125, 180, 500] {
            let found = search(&bytes, |entry| entry.offset <= offset);
            let last = (0..found).rev().find_map(|n| {
                let at = usize::try_from(place(n)).unwrap();
                Entry::decode(&bytes[at..at + ENTRY])
            });
            let expected = decoded(&bytes).into_iter().rev().find(|entry| entry.offset <= offset);
            assert_eq!(last, expected, "{offset}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(offset in 0..=LARGEST, moment in 0..=LARGEST, inode: u64, base: u64, cutting: u64) {
            prop_assert_eq!(Entry::decode(&entry(offset, moment).encode().unwrap()), Some(entry(offset, moment)));
            prop_assert_eq!(entry(offset, LARGEST + 1).encode(), None);
            let header = Header { inode, base, cutting };
            prop_assert_eq!(Header::decode(&header.encode()), Some(header));
        }

        #[test]
        fn the_search_agrees_with_looking_at_all(
            steps in proptest::collection::vec((0_u64..50, 0_u64..500), 0..60), asked in 0_u64..3_000
        ) {
            let mut at = entry(0, NOON);
            let all: Vec<Entry> = steps.iter().map(|(bytes, millis)| {
                at = entry(at.offset + bytes, at.moment + millis);
                at
            }).collect();
            let bytes = index(Header::default(), &all);
            let by_offset = all.iter().filter(|entry| entry.offset <= asked).count() as u64;
            prop_assert_eq!(search(&bytes, |entry| entry.offset <= asked), by_offset);
            let by_moment = all.iter().filter(|entry| entry.moment < NOON + asked).count() as u64;
            prop_assert_eq!(search(&bytes, |entry| entry.moment < NOON + asked), by_moment);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), from: u64, to: u64) {
            let _ = Header::decode(&bytes);
            let _ = Entry::decode(&bytes);
            let _ = part(&bytes, 0, from..to);
        }
    }
}
