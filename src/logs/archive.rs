//! The names of rotated log files, and of the indexes of times that lie beside them.
//!
//! ```text
//! api-out.log                                   the live file
//! api-out.log.20260528T140307.123Z              an archive: the moment of its rotation, UTC
//! api-out.log.20260528T140307.123Z.gz           the same, compressed
//! .api-out.log.times                            the index of the live file
//! .api-out.log.20260528T140307.123Z.times       the index of the archive, compressed or not
//! .api-out.log.next                             the next archive, where the program itself writes the live file
//! .api-out.log.after                            the one after it, while the next one becomes an archive
//! .api-out.log.cut                              the record of what is being cut off
//! ```
//!
//! Names sort by time. An index keeps its name when its archive is compressed: its offsets are those of the lines.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime};

/// The form of the moment in a name.
const FORM: &str = "%Y%m%dT%H%M%S%.3fZ";

/// How long a moment is in that form.
const LENGTH: usize = "20260528T140307.123Z".len();

/// How the bytes of an archive are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Packing {
    /// As they were written.
    Plain,
    /// `.gz`.
    Gzip,
    /// `.zst`.
    Zstd,
}

impl Packing {
    const ALL: [Packing; 3] = [Packing::Plain, Packing::Gzip, Packing::Zstd];

    /// What stands behind the name.
    pub fn suffix(self) -> &'static str {
        match self {
            Packing::Plain => "",
            Packing::Gzip => ".gz",
            Packing::Zstd => ".zst",
        }
    }
}

/// What the name of an archive says beside the name of its live file. The order is that of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Archive {
    /// When it was rotated, in milliseconds of the epoch.
    pub moment: u64,
    /// How it is stored.
    pub packing: Packing,
}

impl Archive {
    /// The archive that is made now: later than the newest one, whatever the clock says, so that names keep the order of
    /// the lines.
    pub fn next(now: u64, newest: Option<Archive>) -> Archive {
        let after = newest.map_or(0, |newest| newest.moment.saturating_add(1));
        Archive { moment: now.max(after), packing: Packing::Plain }
    }

    /// Stands for the next archive of a live file that is rotated in place, which has no moment yet.
    pub const NEXT: Archive = Archive { moment: u64::MAX, packing: Packing::Plain };

    /// Its name. `live` is the name of the live file, with or without folders.
    pub fn name(self, live: &str) -> String {
        let moment = i64::try_from(self.moment).ok().and_then(DateTime::from_timestamp_millis);
        let moment = moment.filter(|moment| moment.timestamp_millis() <= LAST).unwrap_or(DateTime::UNIX_EPOCH);
        format!("{live}.{}{}", moment.format(FORM), self.packing.suffix())
    }

    /// Reads the name of any archive; gives the name of its live file, too.
    pub fn read(name: &str) -> Option<(&str, Archive)> {
        // No suffix is the end of another one.
        let packing = Packing::ALL.into_iter().rev().find(|packing| name.ends_with(packing.suffix()))?;
        let stem = name.strip_suffix(packing.suffix())?;
        let at = stem.len().checked_sub(LENGTH)?;
        let (live, text) = (stem.get(..at)?.strip_suffix('.')?, stem.get(at..)?);
        let moment = NaiveDateTime::parse_from_str(text, FORM).ok()?.and_utc();
        let archive = Archive { moment: u64::try_from(moment.timestamp_millis()).ok()?, packing };
        // What reads the same and is written otherwise was not written by rsx.
        (!live.is_empty() && moment.format(FORM).to_string() == text).then_some((live, archive))
    }

    /// The archives of one live file among the names of its folder, the oldest first. While one is being compressed both
    /// of its forms are there: only the plain one, which is whole, is given.
    pub fn of<'n>(live: &str, names: impl IntoIterator<Item = &'n str>) -> Vec<Archive> {
        let mut found: BTreeMap<u64, Packing> = BTreeMap::new();
        for name in names {
            if let Some((_, archive)) = Archive::read(name).filter(|(owner, _)| *owner == live) {
                let packing = found.entry(archive.moment).or_insert(archive.packing);
                *packing = archive.packing.min(*packing);
            }
        }
        found.into_iter().map(|(moment, packing)| Archive { moment, packing }).collect()
    }
}

/// The end of the year 9999, behind which a moment needs more room.
const LAST: i64 = 253_402_300_799_999;

/// The name of the index of times of a live file or an archive, from that file's name.
pub fn times_name(name: &str) -> String {
    match Archive::read(name) {
        Some((live, archive)) => format!(".{}.times", Archive { packing: Packing::Plain, ..archive }.name(live)),
        None => format!(".{name}.times"),
    }
}

/// The name of the next archive of a live file that is rotated in place (see `cut.rs`).
pub fn next_name(live: &str) -> String {
    format!(".{live}.next")
}

/// The name of the archive after the next one.
pub fn after_name(live: &str) -> String {
    format!(".{live}.after")
}

/// The name of the record of what is being cut off.
pub fn cut_name(live: &str) -> String {
    format!(".{live}.cut")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOMENT: u64 = 1_779_976_987_123;

    fn archive(packing: Packing) -> Archive {
        Archive { moment: MOMENT, packing }
    }

    #[test]
    fn a_name_tells_file_moment_and_packing() {
        for (packing, name) in [
            (Packing::Plain, "api-out.log.20260528T140307.123Z"),
            (Packing::Gzip, "api-out.log.20260528T140307.123Z.gz"),
            (Packing::Zstd, "api-out.log.20260528T140307.123Z.zst"),
        ] {
            assert_eq!(archive(packing).name("api-out.log"), name);
            assert_eq!(Archive::read(name), Some(("api-out.log", archive(packing))));
            assert_eq!(times_name(name), ".api-out.log.20260528T140307.123Z.times");
        }
        assert_eq!(times_name("api-out.log"), ".api-out.log.times");
    }

    #[test]
    fn other_names_are_no_archives() {
        for name in [
            "",
            "api-out.log",
            "api-out.log.1",
            "api-out.log.gz",
            ".20260528T140307.123Z",
            "20260528T140307.123Z",
            "api-out.log.20260528T140307Z",
            "api-out.log.20261328T140307.123Z",
            "api-out.log.20260528T140307.123Z.xz",
            "api-out.log.20260528T140307.123Z.gz.gz",
            "api-out.log.\u{e4}\u{e4}60528T140307.123Z",
        ] {
            assert_eq!(Archive::read(name), None, "{name}");
        }
    }

    #[test]
    fn archives_are_told_in_order_and_each_once() {
        let names = [
            "a.log",
            "a.log.20260528T140308.000Z.gz",
            "a.log.20260528T140307.123Z.gz",
            "a.log.20260528T140307.123Z",
            "aa.log.20260528T140309.000Z",
            ".a.log.20260528T140307.123Z.times",
        ];
        let found: Vec<String> = Archive::of("a.log", names).into_iter().map(|one| one.name("a.log")).collect();
        assert_eq!(found, [names[3], names[1]]);
    }

    #[test]
    fn two_rotations_in_a_moment_and_a_clock_that_was_set_back_keep_the_order() {
        let first = Archive::next(MOMENT, None);
        let second = Archive::next(MOMENT, Some(archive(Packing::Gzip)));
        let third = Archive::next(5, Some(second));
        assert!(first < second && second < third);
        assert!(second.name("a") < third.name("a"));
    }

    proptest! {
        #[test]
        fn a_name_is_read_back_and_sorts_by_time(
            a in 0..=LAST.cast_unsigned(), b in 0..=LAST.cast_unsigned(), live in "[a-z.0-9-]{1,20}", packed in any::<bool>()
        ) {
            let packing = if packed { Packing::Gzip } else { Packing::Plain };
            let [one, other] = [a, b].map(|moment| Archive { moment, packing });
            let (name, other_name) = (one.name(&live), other.name(&live));
            prop_assert_eq!(Archive::read(&name), Some((live.as_str(), one)));
            prop_assert_eq!(one.cmp(&other), name.cmp(&other_name));
        }

        #[test]
        fn no_name_panics(name in ".{0,60}", tail in ".{0,4}") {
            let _ = Archive::read(&name);
            let _ = times_name(&format!("a.20260528T140307.123Z{tail}"));
        }
    }
}
