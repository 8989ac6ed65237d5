//! Time stamps, in the form that `log_date_format` asks for.

use std::io::Write;

use chrono::format::SecondsFormat;
use chrono::{DateTime, Datelike, FixedOffset, Timelike, Utc};

use crate::spec::{DateFormat, DatePart, Digits, Words};

/// Writes moments as text. The last one is remembered: thousands of lines share it.
#[derive(Debug)]
pub struct Stamp {
    /// None: ISO 8601 in UTC, with milliseconds.
    parts: Option<Vec<DatePart>>,
    known: Option<DateTime<FixedOffset>>,
    text: Vec<u8>,
}

impl Stamp {
    /// None: ISO 8601.
    pub fn new(format: Option<&DateFormat>) -> Stamp {
        Stamp { parts: format.map(DateFormat::parts), known: None, text: Vec::new() }
    }

    /// The text for a moment; its milliseconds are what counts unless more digits are asked for.
    pub fn text(&mut self, at: DateTime<FixedOffset>) -> &[u8] {
        if self.known != Some(at) {
            self.known = Some(at);
            self.text.clear();
            match &self.parts {
                None => self
                    .text
                    .extend_from_slice(at.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::Millis, true).as_bytes()),
                Some(parts) => parts.iter().for_each(|part| write(&mut self.text, part, at)),
            }
        }
        &self.text
    }
}

fn write(out: &mut Vec<u8>, part: &DatePart, at: DateTime<FixedOffset>) {
    let (half, hour12) = at.hour12();
    let number = |digits: &Digits, all: usize, value: u32| match digits {
        Digits::Needed => value.to_string(),
        Digits::All => format!("{value:0all$}"),
    };
    let name = |words: &Words, whole: &str| match words {
        Words::Two => whole[..2].to_owned(),
        Words::Three => whole[..3].to_owned(),
        Words::Whole => whole.to_owned(),
    };
    let text = match part {
        DatePart::Text(text) => text.clone(),
        DatePart::Year(Digits::All) => format!("{:04}", at.year()),
        DatePart::Year(Digits::Needed) => format!("{:02}", at.year().rem_euclid(100)),
        DatePart::Quarter => (at.month0() / 3 + 1).to_string(),
        DatePart::Month(digits) => number(digits, 2, at.month()),
        DatePart::MonthName(words) => name(words, &at.format("%B").to_string()),
        DatePart::Day(digits) => number(digits, 2, at.day()),
        DatePart::DayOrdinal => format!("{}{}", at.day(), ordinal(at.day())),
        DatePart::DayOfYear(digits) => number(digits, 3, at.ordinal()),
        DatePart::Weekday => at.weekday().num_days_from_sunday().to_string(),
        DatePart::IsoWeekday => at.weekday().number_from_monday().to_string(),
        DatePart::WeekdayName(words) => name(words, &at.format("%A").to_string()),
        DatePart::Hour(digits) => number(digits, 2, at.hour()),
        DatePart::Hour12(digits) => number(digits, 2, hour12),
        DatePart::Half { upper } => match (half, upper) {
            (true, true) => "PM",
            (true, false) => "pm",
            (false, true) => "AM",
            (false, false) => "am",
        }
        .to_owned(),
        DatePart::Minute(digits) => number(digits, 2, at.minute()),
        DatePart::Second(digits) => number(digits, 2, at.second()),
        DatePart::Fraction(digits) => format!("{:09}", at.nanosecond() % 1_000_000_000)[..usize::from(*digits)].into(),
        DatePart::Offset { colon: true } => at.format("%:z").to_string(),
        DatePart::Offset { colon: false } => at.format("%z").to_string(),
        DatePart::Seconds => at.timestamp().to_string(),
        DatePart::Milliseconds => at.timestamp_millis().to_string(),
    };
    // Writing into memory does not fail.
    let _ = out.write_all(text.as_bytes());
}

fn ordinal(day: u32) -> &'static str {
    match (day % 10, day % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(format: Option<&str>, at: &str) -> String {
        let format = format.map(|text| DateFormat::try_from(text.to_owned()).unwrap());
        let at = DateTime::parse_from_rfc3339(at).unwrap();
        String::from_utf8(Stamp::new(format.as_ref()).text(at).to_vec()).unwrap()
    }

    #[test]
    fn a_moment_is_iso_8601_unless_another_form_is_wanted() {
        let at = "2026-03-02T17:04:05.067089+02:00";
        assert_eq!(stamp(None, at), "2026-03-02T15:04:05.067Z");
        for (format, text) in [
            ("YYYY-MM-DD HH:mm:ss", "2026-03-02 17:04:05"),
            ("YYYY-MM-DDTHH:mm:ss.SSSZ", "2026-03-02T17:04:05.067+02:00"),
            ("D/M/YY h:m:s A", "2/3/26 5:4:5 PM"),
            ("dddd, MMMM Do", "Monday, March 2nd"),
            ("ddd dd d E DDD DDDD Q", "Mon Mo 1 1 61 061 1"),
            ("[at] x X SSSSSS ZZ hh a", "at 1772463845067 1772463845 067089 +0200 05 pm"),
            ("", ""),
        ] {
            assert_eq!(stamp(Some(format), at), text, "{format}");
        }
        assert_eq!(stamp(Some("Do h"), "2026-03-11T00:00:00Z"), "11th 12");
    }
}
