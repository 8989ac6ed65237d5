//! Rotation in place: the head of a file that a program itself writes moves into an archive, step by step, so that a
//! death at any moment loses no line and doubles none.
//!
//! ```text
//! api-out.log.20260528T140307.123Z      archives, which end with the end of a line
//! .api-out.log.next                     the next archive, which begins with the rest of a line that was cut in two
//! api-out.log                           the live file
//! ```
//!
//! Joined bytewise they are what was written. Only whole blocks can be cut off, so the live file may begin within a line;
//! its beginning stands in the next archive. What is about to happen is on record first (`.api-out.log.cut`):
//!
//! ```text
//! Record ─ Copy ─ Carry ─ Index ─ Arm ─ Drop ─ Name ─ Open ─ Settle ─ Forget
//!          head into the next      │     │     it becomes an archive, the
//!          archive, its last line  │     │     rest becomes the next one
//!          into the one after it   │     the head is cut off
//!                                  readers wait
//! ```
//!
//! A successor that finds a record asks where the first byte of the file lies on the disk. There as before: nothing was cut
//! off, and the copies are taken back. Elsewhere: it was, and what follows is done. Content and size cannot tell that.

use crate::logs::times;

/// The most that is cut off at once: the longer the cut, the longer writers wait (a gigabyte took a second).
pub const LARGEST_CUT: u64 = 64 << 20;

/// So much stays in the live file: its last words are asked for.
pub const STAYS: u64 = 4096;

/// How far back the end of a line is looked for. A longer line is torn into two archives.
pub const LOOKED_BACK: u64 = 1 << 20;

/// The beginning of a record, with the version of its form.
const MAGIC: u64 = u64::from_le_bytes(*b"rsxcut\0\x01");

/// The words of a record.
const WORDS: usize = 10;

/// The length of a record.
pub const CUT_RECORD: usize = 8 * WORDS;

/// What is about to happen to a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// The number of the file.
    pub inode: u64,
    /// The logical offset of its first byte.
    pub base: u64,
    /// How many bytes are cut off its front.
    pub length: u64,
    /// How many of them the next archive gets; those behind belong to the one after it.
    pub whole: u64,
    /// Where its first byte lies on the disk.
    pub physical: u64,
    /// How long the next archive is before.
    pub archive: u64,
    /// Which archive it becomes, as the moment in its name; 0: it goes on to grow.
    pub moment: u64,
}

/// One thing that is done to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The record is written, and is on the disk.
    Record,
    /// The head is copied behind what the next archive has.
    Copy,
    /// What belongs to the archive after that is copied into a file of its own. Only where the archive is finished.
    Carry,
    /// The archive gets its index.
    Index,
    /// Readers wait from now on.
    Arm,
    /// The head is cut off.
    Drop,
    /// The next archive becomes an archive, unless that was done.
    Name,
    /// The one after it becomes the next one, unless that was done.
    Open,
    /// Readers go on, with the new beginning.
    Settle,
    /// What was copied is taken back.
    TakeBack,
    /// Readers go on, with the old beginning.
    Unsettle,
    /// The record is removed.
    Forget,
}

/// All of it.
pub const STEPS: &[Step] = &[
    Step::Record,
    Step::Copy,
    Step::Carry,
    Step::Index,
    Step::Arm,
    Step::Drop,
    Step::Name,
    Step::Open,
    Step::Settle,
    Step::Forget,
];

/// What is left to do when the head is gone.
const FORWARD: &[Step] = &[Step::Name, Step::Open, Step::Settle, Step::Forget];

/// What is to be done when it is not, and nobody goes on.
const BACK: &[Step] = &[Step::TakeBack, Step::Unsettle, Step::Forget];

/// What a successor finds in the place of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The file itself; its first byte lies there, if it has one.
    File(Option<u64>),
    /// Another one, or none.
    Other,
}

impl Cut {
    /// The next step of moving so many bytes out of a file of this size; none: nothing that could be moved. `finishes`: it
    /// is the last one.
    pub fn length(wanted: u64, size: u64, unit: u64) -> Option<u64> {
        let most = size.checked_sub(1)?.min(wanted).min(LARGEST_CUT.max(unit));
        Some(most / unit.max(1) * unit).filter(|length| *length > 0)
    }

    /// What a successor does.
    pub fn steps_after(&self, found: Found) -> &'static [Step] {
        match found {
            Found::File(Some(physical)) if physical == self.physical => BACK,
            // The file was emptied, or moved away: whether before or after, nobody knows, and its lines are kept.
            Found::File(_) | Found::Other => FORWARD,
        }
    }

    /// What is done when a step has failed. Before the cut everything is taken back; behind it a successor goes on.
    pub fn steps_after_failed(step: Step) -> &'static [Step] {
        match step {
            Step::Record | Step::Copy | Step::Carry | Step::Index | Step::Arm | Step::Drop => BACK,
            Step::Name | Step::Open | Step::Settle | Step::TakeBack | Step::Unsettle | Step::Forget => &[],
        }
    }

    /// The bytes on the disk.
    pub fn encode(&self) -> [u8; CUT_RECORD] {
        let Cut { inode, base, length, whole, physical, archive, moment } = *self;
        let words = [MAGIC, inode, base, length, whole, physical, archive, moment, 0];
        let mut bytes = [0; CUT_RECORD];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words.into_iter().chain([times::check(&words)])) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads it back. None: there is none, or it was not written to its end, and then nothing was done.
    pub fn decode(bytes: &[u8]) -> Option<Cut> {
        let mut words = bytes.get(..CUT_RECORD)?.chunks_exact(8).map(times::word);
        let words: [u64; WORDS] = std::array::from_fn(|_| words.next().unwrap_or_default());
        let [magic, inode, base, length, whole, physical, archive, moment, _, sum] = words;
        let is_whole = magic == MAGIC && times::check(&words[..WORDS - 1]) == sum;
        is_whole.then_some(Cut { inode, base, length, whole, physical, archive, moment })
    }
}

/// When which bytes of a file came that is looked at from time to time: what its index gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// How far it was looked at, as a logical offset.
    seen: u64,
    /// Whether the index says that what comes from there on came later.
    is_closed: bool,
}

impl Marks {
    /// For a file that is known up to this logical offset.
    pub fn new(seen: u64) -> Marks {
        Marks { seen, is_closed: false }
    }

    /// How far it was looked at.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The file ends at this logical offset now. Where an entry of the index begins that says "now", if one is due: bytes
    /// that have come since the last look get one, and once after them, so that later ones are not taken for as old.
    pub fn look(&mut self, end: u64) -> Option<u64> {
        let from = self.seen;
        if end == from {
            let is_due = !self.is_closed && end > 0;
            self.is_closed = true;
            return is_due.then_some(end);
        }
        *self = Marks { seen: end, is_closed: false };
        (end > from).then_some(from)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What lies on the disk, as far as it matters.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Disk {
        live: Vec<u8>,
        /// Stands for the place of its first byte.
        place: u64,
        archives: Vec<Vec<u8>>,
        next: Option<Vec<u8>>,
        after: Option<Vec<u8>>,
        record: Option<Cut>,
        base: u64,
        cutting: u64,
    }

    impl Disk {
        fn plan(&self, unit: u64, is_last: bool) -> Option<Cut> {
            let length = Cut::length(u64::MAX, self.live.len() as u64, unit)?;
            let head = &self.live[..usize::try_from(length).unwrap()];
            let end = head.iter().rposition(|byte| *byte == b'\n').map(|at| at as u64 + 1);
            let whole = if is_last { end.unwrap_or(length) } else { length };
            let moment = if is_last { self.archives.len() as u64 + 1 } else { 0 };
            let archive = self.next.as_ref().map_or(0, Vec::len) as u64;
            Some(Cut { inode: 7, base: self.base, length, whole, physical: self.place, archive, moment })
        }

        fn perform(&mut self, cut: &Cut, step: Step) {
            let [length, whole, archive] =
                [cut.length, cut.whole, cut.archive].map(|bytes| usize::try_from(bytes).unwrap());
            match step {
                Step::Record => self.record = Some(*cut),
                Step::Copy => {
                    let next = self.next.get_or_insert_default();
                    next.truncate(archive);
                    next.extend_from_slice(&self.live[..whole]);
                }
                Step::Carry if cut.moment > 0 => self.after = Some(self.live[whole..length].to_vec()),
                Step::Carry | Step::Index => {}
                Step::Arm => self.cutting = cut.length,
                Step::Drop => {
                    drop(self.live.drain(..length));
                    self.place += cut.length;
                }
                Step::Name => {
                    if self.after.is_some() && self.archives.len() < usize::try_from(cut.moment).unwrap() {
                        self.archives.extend(self.next.take());
                    }
                }
                Step::Open => {
                    if let Some(after) = self.after.take() {
                        self.next = Some(after);
                    }
                }
                Step::Settle => (self.base, self.cutting) = (cut.base + cut.length, 0),
                Step::TakeBack => {
                    self.after = None;
                    self.next.iter_mut().for_each(|next| next.truncate(archive));
                }
                Step::Unsettle => (self.base, self.cutting) = (cut.base, 0),
                Step::Forget => self.record = None,
            }
        }

        fn mend(&mut self, die_after: usize) {
            let Some(cut) = self.record else { return };
            for step in cut.steps_after(Found::File(Some(self.place))).iter().take(die_after) {
                self.perform(&cut, *step);
            }
        }

        fn joined(&self) -> Vec<u8> {
            let next = self.next.clone().unwrap_or_default();
            self.archives.iter().chain([&next, &self.live]).flatten().copied().collect()
        }
    }

    fn disk(text: &[u8]) -> Disk {
        Disk { live: text.to_vec(), place: 1000, ..Disk::default() }
    }

    #[test]
    fn a_cut_is_whole_units_and_leaves_a_byte() {
        assert_eq!(Cut::length(u64::MAX, 0, 4096), None);
        assert_eq!(Cut::length(u64::MAX, 4096, 4096), None);
        assert_eq!(Cut::length(u64::MAX, 4097, 4096), Some(4096));
        assert_eq!(Cut::length(5000, 100_000, 4096), Some(4096));
        assert_eq!(Cut::length(4095, 100_000, 4096), None);
        assert_eq!(Cut::length(u64::MAX, 1 << 30, 4096), Some(LARGEST_CUT));
        assert_eq!(Cut::length(u64::MAX, 1 << 30, 128 << 20), Some(128 << 20));
    }

    #[test]
    fn a_death_at_any_place_and_another_one_while_it_is_mended_change_nothing() {
        let text = b"one\ntwo\nthree\nfour\nfive\nsix\nseven";
        for (first_is_last, second_is_last) in [(true, true), (false, true), (true, false), (false, false)] {
            for died in 0..=STEPS.len() {
                for died_again in 0..=FORWARD.len() {
                    let mut disk = disk(text);
                    let first = disk.plan(8, first_is_last).unwrap();
                    STEPS.iter().for_each(|step| disk.perform(&first, *step));
                    disk.live.extend_from_slice(b"eight\nnine\nten\n");
                    let second = disk.plan(8, second_is_last).unwrap();
                    STEPS.iter().take(died).for_each(|step| disk.perform(&second, *step));
                    // The program goes on.
                    disk.live.extend_from_slice(b"eleven\n");
                    disk.mend(died_again);
                    disk.live.extend_from_slice(b"twelve\n");
                    disk.mend(usize::MAX);
                    assert!(disk.record.is_none() && disk.after.is_none() && disk.cutting == 0, "{died}");
                    assert_eq!(disk.joined(), [&text[..], b"eight\nnine\nten\neleven\ntwelve\n"].concat(), "{died}");
                    assert!(disk.archives.iter().all(|archive| archive.ends_with(b"\n")), "{disk:?}");
                    let before = disk.joined().len() - disk.live.len();
                    assert_eq!(disk.base, before as u64);
                }
            }
        }
    }

    #[test]
    fn what_a_successor_finds_decides() {
        let cut = Cut { physical: 5, ..Cut::default() };
        for (found, steps) in [
            (Found::File(Some(5)), BACK),
            (Found::File(Some(6)), FORWARD),
            (Found::File(None), FORWARD),
            (Found::Other, FORWARD),
        ] {
            assert_eq!(cut.steps_after(found), steps, "{found:?}");
        }
        assert_eq!(Cut::steps_after_failed(Step::Drop), BACK);
        assert_eq!(Cut::steps_after_failed(Step::Name), []);
    }

    #[test]
    fn bytes_are_marked_when_they_are_seen_and_once_after() {
        let mut marks = Marks::new(0);
        assert_eq!(marks.look(0), None);
        assert_eq!(marks.look(100), Some(0));
        assert_eq!(marks.look(300), Some(100));
        assert_eq!((marks.look(300), marks.look(300)), (Some(300), None));
        assert_eq!(marks.look(301), Some(300));
        assert_eq!((marks.look(5), marks.seen()), (None, 5));
    }

    proptest! {
        #[test]
        fn a_record_is_read_back_and_a_torn_one_is_none(
            inode: u64, base: u64, length: u64, whole: u64, physical: u64, archive: u64, moment: u64, at in 0..CUT_RECORD
        ) {
            let cut = Cut { inode, base, length, whole, physical, archive, moment };
            let bytes = cut.encode();
            prop_assert_eq!(Cut::decode(&bytes), Some(cut));
            prop_assert_eq!(Cut::decode(&bytes[..at]), None);
            let mut changed = bytes;
            changed[at] ^= 0x20;
            prop_assert_eq!(Cut::decode(&changed), None);
        }

        #[test]
        fn any_story_keeps_every_byte_in_its_place(
            story in proptest::collection::vec(("[a-z\n]{0,30}", 0..=STEPS.len(), any::<bool>()), 0..30), unit in 1_u64..20
        ) {
            let (mut disk, mut written) = (disk(b""), Vec::new());
            for (text, died, is_last) in story {
                disk.live.extend_from_slice(text.as_bytes());
                written.extend_from_slice(text.as_bytes());
                let Some(cut) = disk.plan(unit, is_last) else { continue };
                STEPS.iter().take(died).for_each(|step| disk.perform(&cut, *step));
                disk.live.extend_from_slice(b"!\n");
                written.extend_from_slice(b"!\n");
                disk.mend(usize::MAX);
                prop_assert_eq!(disk.joined(), &*written);
                prop_assert!(!disk.live.is_empty());
            }
        }
    }
}
