//! One history as a file in memory: frames are appended, old ones are given back to the kernel page by page.
//!
//! The file is not mapped and nobody holds a copy: what was measured costs the daemon nothing until somebody asks. Its
//! places are never used twice, so there is no ring to go round: the file only ever grows at its end, and is a hole before
//! its beginning.
//!
//! ```text
//!  0 ─ magic, where the frames begin ─ 4096 ─ (hole) ─ frames ─ end
//! ```

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::fcntl::{FallocateFlags, fallocate};

use crate::series::{Frames, Recorded, Step};
use crate::sys::fds;

/// The beginning of the file, with the version of its form.
const MAGIC: u64 = u64::from_le_bytes(*b"rsxhist\x01");

/// Where frames begin in a new file.
const FIRST: u64 = 4096;

/// Pages are at least as large as this.
const PAGE: u64 = 4096;

/// More bytes than this are given up, whatever their age.
const LIMIT: u64 = 24 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Track {
    file: File,
    step: Step,
    /// The places of the frames at which reading can begin, with their times.
    whole: VecDeque<(u64, u32)>,
    end: u64,
}

/// Why a predecessor's file cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("it cannot be read")]
    File(#[from] io::Error),
    #[error("it is no history, or one of another version")]
    Foreign,
}

impl Track {
    /// A new one.
    ///
    /// # Errors
    ///
    /// EMFILE, ENOMEM.
    pub(super) fn new(step: Step) -> io::Result<Track> {
        let file = File::from(fds::memory_file("rsx-history", &[])?);
        file.write_all_at(&MAGIC.to_le_bytes(), 0)?;
        file.set_len(FIRST)?;
        let track = Track { file, step, whole: VecDeque::new(), end: FIRST };
        track.say_where(FIRST)?;
        Ok(track)
    }

    /// A predecessor's. What it had not written to its end is cut off.
    pub(super) fn adopt(file: OwnedFd, step: Step) -> Result<Track, Refused> {
        let file = File::from(file);
        let mut head = [0; 16];
        file.read_exact_at(&mut head, 0)?;
        let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
        let (begin, end) = (word(8), file.metadata()?.len());
        if word(0) != MAGIC || begin < FIRST || end < begin || end - begin > 2 * LIMIT {
            return Err(Refused::Foreign);
        }
        let mut track = Track { file, step, whole: VecDeque::new(), end };
        let bytes = track.bytes(begin)?;
        let mut frames = Frames::new(&bytes);
        let mut place = 0;
        while let Some(frame) = frames.next() {
            if frame.is_whole {
                track.whole.push_back((begin + place, frame.time));
            } else if track.whole.is_empty() {
                return Err(Refused::Foreign);
            }
            place = u64::try_from(frames.position()).unwrap_or(0);
        }
        track.end = begin + place;
        track.file.set_len(track.end)?;
        Ok(track)
    }

    /// Appends a frame.
    pub(super) fn append(&mut self, recorded: &Recorded) -> io::Result<()> {
        self.file.write_all_at(&recorded.bytes, self.end)?;
        if recorded.is_whole {
            self.whole.push_back((self.end, recorded.time));
            self.let_go(recorded.time)?;
        }
        self.end += u64::try_from(recorded.bytes.len()).unwrap_or(0);
        Ok(())
    }

    /// The frames from the last one on at which reading can begin and that is not later than this.
    pub(super) fn since(&self, time: u32) -> io::Result<Vec<u8>> {
        let before = self.whole.iter().rev().find(|(_, whole)| *whole <= time);
        match before.or(self.whole.front()) {
            Some((place, _)) => self.bytes(*place),
            None => Ok(Vec::new()),
        }
    }

    /// Lets go of what is too old.
    fn let_go(&mut self, now: u32) -> io::Result<()> {
        let oldest = now.saturating_sub(self.step.kept());
        let before = self.whole.len();
        // The second one may be the first as long as it is old enough itself.
        while self.whole.get(1).is_some_and(|(place, time)| *time <= oldest || self.end - place > LIMIT) {
            self.whole.pop_front();
        }
        let Some((begin, _)) = self.whole.front().copied().filter(|_| self.whole.len() < before) else { return Ok(()) };
        self.say_where(begin)?;
        let hole = begin / PAGE * PAGE;
        if hole > FIRST {
            let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let length = i64::try_from(hole - FIRST).map_err(io::Error::other)?;
            fallocate(&self.file, flags, i64::try_from(FIRST).map_err(io::Error::other)?, length)?;
        }
        Ok(())
    }

    /// Reading begins here from now on. Before the hole is made: a successor begins where there is something.
    fn say_where(&self, begin: u64) -> io::Result<()> {
        self.file.write_all_at(&begin.to_le_bytes(), 8)
    }

    fn bytes(&self, from: u64) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.end.saturating_sub(from)).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, from)?;
        Ok(bytes)
    }
}

impl AsFd for Track {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::series::{Curves, Key, Recorder, Series, Span};

    fn value(slot: u32, second: u32) -> f64 {
        f64::from((second * 7 + slot * 13) % 1000)
    }

    fn record(track: &mut Track, recorder: &mut Recorder, seconds: std::ops::Range<u32>) {
        for second in seconds {
            let values = (0..50).map(|slot| (Key::new(slot, Series::Connections).unwrap(), value(slot, second)));
            for recorded in recorder.record(second, values).iter().filter(|recorded| recorded.step == Step::Second) {
                track.append(recorded).unwrap();
            }
        }
    }

    #[test]
    fn a_quarter_of_an_hour_is_kept_and_older_pages_are_given_back() {
        let (mut track, mut recorder) = (Track::new(Step::Second).unwrap(), Recorder::default());
        record(&mut track, &mut recorder, 0..10_000);
        let curves =
            Curves::read(&track.since(0).unwrap(), Span { from: 0, step: Step::Second }, |key| key.slot() == 3);
        assert!((9_000..=9_100).contains(&curves.from), "{}", curves.from);
        let values = curves.of(Key::new(3, Series::Connections).unwrap()).unwrap();
        assert!(values.len() >= 900 && values.len() <= 1000, "{}", values.len());
        assert_eq!(values.last().copied().flatten(), Some(value(3, 9_999)));
        let held = track.file.metadata().unwrap().blocks() * 512;
        assert!(held < 300_000 && track.end > 1_000_000, "{held} of {}", track.end);
    }

    #[test]
    fn a_successor_finds_what_was_written_to_its_end() {
        let (mut track, mut recorder) = (Track::new(Step::Second).unwrap(), Recorder::default());
        record(&mut track, &mut recorder, 0..500);
        let whole = track.since(0).unwrap();
        track.file.write_all_at(&[200, 0, 0, 0, 1, 2, 3], track.end).unwrap();
        let adopted = Track::adopt(track.file.try_clone().unwrap().into(), Step::Second).unwrap();
        assert_eq!((adopted.end, &adopted.whole), (track.end, &track.whole));
        assert_eq!(adopted.since(0).unwrap(), whole);
        assert!(adopted.since(499).unwrap().len() < whole.len() / 4);
    }

    #[test]
    fn what_is_no_history_is_refused() {
        let refused = |bytes: &[u8]| Track::adopt(fds::memory_file("t", bytes).unwrap(), Step::Second).unwrap_err();
        assert!(matches!(refused(b"short"), Refused::File(_)));
        assert!(matches!(refused(&[7; 5000]), Refused::Foreign));
    }
}
