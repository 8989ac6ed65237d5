//! When a log file is put away, and which archives go.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime};

use crate::logs::Archive;
use crate::spec::Rotation;

/// How much of a file system stays free as long as there are archives to remove: a twentieth.
const FLOOR: u64 = 20;

/// The first Monday of the epoch, in milliseconds.
const MONDAY: i64 = 4 * 86_400_000;

/// An archive that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which live file it belongs to, by number.
    pub file: usize,
    /// What its name says.
    pub archive: Archive,
    /// In bytes.
    pub size: u64,
}

/// How full a file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that can be written.
    pub free: u64,
    /// All bytes.
    pub all: u64,
}

/// Whether a file has to be put away before so many bytes are appended to it.
pub fn is_due(rotation: &Rotation, size: u64, more: u64) -> bool {
    size > 0 && rotation.size.is_some_and(|limit| size.saturating_add(more) > limit)
}

/// When the time of a file is over that began then, both as clocks on walls show it. Times are counted from the midnight
/// before a Monday, so that a day ends at midnight and a week on Sunday.
pub fn period_end(every: Duration, began: NaiveDateTime) -> NaiveDateTime {
    let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1);
    let since = began.and_utc().timestamp_millis().saturating_sub(MONDAY);
    let end = since.div_euclid(every).saturating_add(1).saturating_mul(every).saturating_add(MONDAY);
    DateTime::from_timestamp_millis(end).map_or(NaiveDateTime::MAX, |end| end.naive_utc())
}

/// Whether a file that is due is put away within a line: it is twice as large as it should be, and no line has ended.
pub fn is_overdue(rotation: &Rotation, size: u64) -> bool {
    rotation.size.is_some_and(|limit| size >= limit.saturating_mul(2))
}

/// Which archives of an app go, by their place in the list, the oldest first: those beyond `keep` of each file, then the
/// oldest of all as long as everything together has more than `total`. `live`: the bytes of the live files.
pub fn doomed(archives: &[Kept], live: u64, rotation: &Rotation) -> Vec<usize> {
    let newer = |index: usize| {
        let one = &archives[index];
        archives.iter().filter(|other| other.file == one.file && other.archive > one.archive).count()
    };
    let keep = usize::try_from(rotation.keep).unwrap_or(usize::MAX);
    let (mut doomed, rest): (Vec<usize>, Vec<usize>) =
        by_age(archives).into_iter().partition(|index| newer(*index) >= keep);
    let mut all = rest.iter().fold(live, |all, index| all.saturating_add(archives[*index].size));
    for index in rest {
        if rotation.total.is_none_or(|total| all <= total) {
            break;
        }
        doomed.push(index);
        all -= archives[index].size;
    }
    doomed
}

/// Which archives go, of all apps on a file system, so that a twentieth of it is free again: the oldest first.
pub fn crowded_out(archives: &[Kept], room: Room) -> Vec<usize> {
    let mut free = room.free;
    let is_too_full = |index: &usize| {
        let is_too_full = free < room.all / FLOOR;
        free = free.saturating_add(archives[*index].size);
        is_too_full
    };
    by_age(archives).into_iter().take_while(is_too_full).collect()
}

fn by_age(archives: &[Kept]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..archives.len()).collect();
    order.sort_by_key(|index| (archives[*index].archive, archives[*index].file));
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::logs::Packing;

    fn rotation(keep: u32, total: Option<u64>) -> Rotation {
        Rotation { keep, total, ..Rotation::default() }
    }

    fn kept(file: usize, moment: u64, size: u64) -> Kept {
        Kept { file, archive: Archive { moment, packing: Packing::Plain }, size }
    }

    #[test]
    fn a_file_is_put_away_before_it_grows_too_large() {
        let rotation = Rotation { size: Some(100), ..Rotation::default() };
        assert!(!is_due(&rotation, 60, 40) && is_due(&rotation, 61, 40));
        // An empty file stays: there is nothing to put away.
        assert!(!is_due(&rotation, 0, 1000));
        assert!(is_overdue(&rotation, 200) && !is_overdue(&rotation, 199));
        let never = Rotation { size: None, ..rotation };
        assert!(!is_due(&never, 1 << 50, 1) && !is_overdue(&never, 1 << 50));
    }

    #[test]
    fn times_are_over_when_clocks_on_walls_say_so() {
        let end = |every: u64, began: &str| {
            let began = NaiveDateTime::parse_from_str(began, "%Y-%m-%d %H:%M:%S").unwrap();
            period_end(Duration::from_secs(every), began).to_string()
        };
        assert_eq!(end(86_400, "2026-03-04 15:10:00"), "2026-03-05 00:00:00");
        assert_eq!(end(86_400, "2026-03-05 00:00:00"), "2026-03-06 00:00:00");
        assert_eq!(end(3_600, "2026-03-04 15:10:00"), "2026-03-04 16:00:00");
        // The 4th is a Wednesday.
        assert_eq!(end(7 * 86_400, "2026-03-04 15:10:00"), "2026-03-09 00:00:00");
        assert_eq!(end(86_400, "1969-12-31 23:59:59"), "1970-01-01 00:00:00");
        let far = NaiveDateTime::MAX;
        assert_eq!(period_end(Duration::MAX, far), far);
    }

    #[test]
    fn the_oldest_archives_go_until_everything_fits() {
        let archives = [kept(0, 5, 10), kept(0, 1, 10), kept(1, 2, 10), kept(0, 3, 10)];
        assert_eq!(doomed(&archives, 0, &rotation(10, None)), [0_usize; 0]);
        assert_eq!(doomed(&archives, 0, &rotation(2, None)), [1]);
        assert_eq!(doomed(&archives, 0, &rotation(0, None)), [1, 2, 3, 0]);
        assert_eq!(doomed(&archives, 5, &rotation(10, Some(30))), [1, 2]);
        assert_eq!(doomed(&archives, 5, &rotation(2, Some(30))), [1, 2]);
        let room = |free| Room { free, all: 1000 };
        assert_eq!(crowded_out(&archives, room(50)), [0_usize; 0]);
        assert_eq!(crowded_out(&archives, room(35)), [1, 2]);
        assert_eq!(crowded_out(&archives, room(0)), [1, 2, 3, 0]);
    }

    proptest! {
        #[test]
        fn what_stays_keeps_to_the_limits(
            sizes in proptest::collection::vec((0usize..3, 0u64..100, 0u64..50), 0..20), live in 0u64..100,
            keep in 0u32..5, total in proptest::option::of(0u64..300),
        ) {
            let archives: Vec<Kept> = sizes.iter().map(|(file, moment, size)| kept(*file, *moment, *size)).collect();
            let gone = doomed(&archives, live, &rotation(keep, total));
            let stays: Vec<&Kept> = archives.iter().enumerate().filter(|(index, _)| !gone.contains(index)).map(|(_, it)| it).collect();
            let all: u64 = live + stays.iter().map(|it| it.size).sum::<u64>();
            prop_assert!(stays.is_empty() || total.is_none_or(|total| all <= total));
            let oldest = stays.iter().map(|it| it.archive.moment).min();
            for file in 0..3 {
                let mut mine: Vec<u64> = stays.iter().filter(|it| it.file == file).map(|it| it.archive.moment).collect();
                mine.sort_unstable();
                mine.dedup();
                prop_assert!(mine.len() <= keep as usize);
            }
            prop_assert!(oldest.is_none() || !gone.is_empty() || archives.len() == stays.len());
        }
    }
}
