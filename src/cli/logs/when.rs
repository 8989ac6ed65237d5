//! Times of lines, and times as users write them.

use std::time::Duration;

use chrono::{DateTime, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};

use crate::error::{ExitCode, Failure};

/// A moment in milliseconds of the epoch.
pub(super) type Moment = i64;

/// The longest beginning of a line that can be a time: `[2026-05-28T14:03:07.123456789+02:00`.
const LONGEST: usize = 40;

/// Reads `10m` (ago), `2026-05-28T14:03`, `2026-05-28`, `14:03`; without zone local time.
pub(super) fn read(flag: &str, text: &str, now: Moment) -> Result<Moment, Failure> {
    let wrong = || {
        Failure::new(ExitCode::Usage, format!("`{flag} {text}` is no time"))
            .hint("`10m` or `1h30m` ago, `2026-05-28`, `2026-05-28T14:03:07`, or `14:03` of today")
    };
    if let Some((moment, "")) = iso(text) {
        return Ok(moment);
    }
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return local(day.and_time(NaiveTime::MIN)).ok_or_else(wrong);
    }
    let times = ["%H:%M:%S", "%H:%M"].into_iter().find_map(|form| NaiveTime::parse_from_str(text, form).ok());
    if let Some(time) = times {
        let today = DateTime::from_timestamp_millis(now).ok_or_else(wrong)?.with_timezone(&Local).date_naive();
        return local(today.and_time(time)).ok_or_else(wrong);
    }
    let ago = ago(text).ok_or_else(wrong)?;
    Ok(now.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)))
}

/// The time with which a line begins, if it begins with one in the form of ISO 8601.
pub(super) fn of_line(line: &[u8]) -> Option<Moment> {
    let head = &line[..line.len().min(LONGEST)];
    let valid = std::str::from_utf8(head).map_or_else(|error| error.valid_up_to(), str::len);
    let text = std::str::from_utf8(&head[..valid]).ok()?;
    iso(text.strip_prefix('[').unwrap_or(text)).map(|(moment, _)| moment)
}

/// `2026-05-28T14:03[:07[.123]][Z|±02:00]`, also with a blank for the `T`; and what is behind it.
fn iso(text: &str) -> Option<(Moment, &str)> {
    let date = NaiveDate::parse_from_str(text.get(..10)?, "%Y-%m-%d").ok()?;
    let rest = text.get(10..)?.strip_prefix(['T', ' '])?;
    let (clock, rest) = match rest.get(..8).and_then(|hms| NaiveTime::parse_from_str(hms, "%H:%M:%S").ok()) {
        Some(clock) => (clock, &rest[8..]),
        None => (NaiveTime::parse_from_str(rest.get(..5)?, "%H:%M").ok()?, &rest[5..]),
    };
    let (millis, rest) = fraction(rest);
    let time = date.and_time(clock);
    let (base, rest) = match rest.strip_prefix('Z') {
        Some(rest) => (time.and_utc().timestamp_millis(), rest),
        None => match zone(rest) {
            Some((seconds, rest)) => (time.and_utc().timestamp_millis() - seconds * 1000, rest),
            None => (local(time)?, rest),
        },
    };
    Some((base + millis, rest))
}

fn fraction(rest: &str) -> (i64, &str) {
    let Some(digits) = rest.strip_prefix(['.', ',']) else { return (0, rest) };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let millis = digits[..end.min(3)].parse::<i64>().unwrap_or(0) * [100, 10, 1][end.clamp(1, 3) - 1];
    if end == 0 { (0, rest) } else { (millis, &digits[end..]) }
}

/// `+02:00`, `-0530`, in seconds.
fn zone(rest: &str) -> Option<(i64, &str)> {
    let sign = if rest.starts_with('+') { 1 } else { -1 };
    let digits = rest.strip_prefix(['+', '-'])?;
    let hours = digits.get(..2)?.parse::<i64>().ok()?;
    let rest = digits.get(2..)?;
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    let minutes = rest.get(..2)?.parse::<i64>().ok()?;
    Some((sign * (hours * 3600 + minutes * 60), &rest[2..]))
}

fn local(time: NaiveDateTime) -> Option<Moment> {
    // An hour that the clock goes through twice means the earlier one.
    Local.from_local_datetime(&time).earliest().map(|time| time.timestamp_millis())
}

/// `10m`, `1h30m`, `45s`, `2d`.
fn ago(text: &str) -> Option<Duration> {
    let (mut total, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let unit = match rest[end..].chars().next()? {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        total = total.checked_add(rest[..end].parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = &rest[end + 1..];
    }
    (!text.is_empty()).then_some(Duration::from_secs(total))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: Moment = 1_779_969_600_000;

    #[test]
    fn a_time_is_read_from_the_beginning_of_a_line() {
        for (line, millis) in [
            ("2026-05-28T12:00:00Z hello", 0),
            ("2026-05-28T12:00:00.25Z: hello", 250),
            ("[2026-05-28 14:00:00,123456+02:00] x", 123),
            ("2026-05-28T06:30-0530", 0),
        ] {
            assert_eq!(of_line(line.as_bytes()), Some(NOON + millis), "{line}");
        }
        assert!(of_line(b"2026-05-28 14:00:00 local").is_some());
        for line in ["", "hello", "2026-05-28", "2026-13-01T00:00:00Z", "12:00:00 x", "at 2026-05-28T12:00:00Z"] {
            assert_eq!(of_line(line.as_bytes()), None, "{line}");
        }
        assert_eq!(
            of_line("2026-05-28T12:00:00Z \u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}".as_bytes()),
            Some(NOON)
        );
    }

    #[test]
    fn a_user_names_a_moment_or_how_long_ago_it_was() {
        let read = |text| read("--since", text, NOON).ok();
        assert_eq!(read("10m"), Some(NOON - 600_000));
        assert_eq!(read("1h30m"), Some(NOON - 5_400_000));
        assert_eq!(read("2026-05-28T11:59:00Z"), Some(NOON - 60_000));
        assert!(read("2026-05-28").is_some_and(|moment| moment <= NOON + 86_400_000));
        assert!(read("14:03").is_some());
        for wrong in ["", "m", "10", "10w", "yesterday", "2026-05-28T12:00:00Zx", "99999999999999999999s"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_line_and_no_word_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in ".{0,40}") {
            let _ = of_line(&bytes);
            let _ = read("--since", &text, NOON);
            let _ = read("--since", &String::from_utf8_lossy(&bytes), NOON);
            let _ = of_line(format!("2026-05-28T12:00:00{text}").as_bytes());
        }
    }
}
