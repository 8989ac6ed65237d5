//! The form of a time stamp, in the letters of `log_date_format` (those of moment.js, which PM2 users know).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest form, in bytes.
const MAX_FORMAT: usize = 200;

/// `YYYY-MM-DD HH:mm:ss`: a text whose letters all have a meaning that is known here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DateFormat(String);

/// One part of a time stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatePart {
    /// As it is.
    Text(String),
    /// The year, with all digits or the last two.
    Year(Digits),
    /// 1 to 4.
    Quarter,
    /// 1 to 12, with two digits or as many as needed.
    Month(Digits),
    /// `Jan` or `January`.
    MonthName(Words),
    /// 1 to 31.
    Day(Digits),
    /// `1st`.
    DayOrdinal,
    /// 1 to 366, with three digits or as many as needed.
    DayOfYear(Digits),
    /// 0 (Sunday) to 6.
    Weekday,
    /// 1 (Monday) to 7.
    IsoWeekday,
    /// `Mo`, `Mon` or `Monday`.
    WeekdayName(Words),
    /// 0 to 23.
    Hour(Digits),
    /// 1 to 12.
    Hour12(Digits),
    /// `am` or `AM`.
    Half {
        /// In capitals.
        upper: bool,
    },
    /// 0 to 59.
    Minute(Digits),
    /// 0 to 59.
    Second(Digits),
    /// So many digits of the fraction of a second, 1 to 9.
    Fraction(u8),
    /// `+01:00`, or without the colon.
    Offset {
        /// With it.
        colon: bool,
    },
    /// Seconds of the epoch.
    Seconds,
    /// Milliseconds of the epoch.
    Milliseconds,
}

/// How many digits a number has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digits {
    /// As many as it needs.
    Needed,
    /// A fixed number.
    All,
}

/// How much of a name is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// Two letters.
    Two,
    /// Three letters.
    Three,
    /// All of it.
    Whole,
}

impl DateFormat {
    /// The parts, in their order.
    pub fn parts(&self) -> Vec<DatePart> {
        parse(&self.0).unwrap_or_default()
    }
}

impl TryFrom<String> for DateFormat {
    type Error = String;

    /// Why it is none, as a sentence fragment.
    fn try_from(text: String) -> Result<DateFormat, String> {
        parse(&text)?;
        Ok(DateFormat(text))
    }
}

impl From<DateFormat> for String {
    fn from(format: DateFormat) -> String {
        format.0
    }
}

impl fmt::Display for DateFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All that have a meaning, the longest of each letter first.
const TOKENS: &[(&str, DatePart)] = &[
    ("YYYY", DatePart::Year(Digits::All)),
    ("YY", DatePart::Year(Digits::Needed)),
    ("Q", DatePart::Quarter),
    ("MMMM", DatePart::MonthName(Words::Whole)),
    ("MMM", DatePart::MonthName(Words::Three)),
    ("MM", DatePart::Month(Digits::All)),
    ("M", DatePart::Month(Digits::Needed)),
    ("DDDD", DatePart::DayOfYear(Digits::All)),
    ("DDD", DatePart::DayOfYear(Digits::Needed)),
    ("DD", DatePart::Day(Digits::All)),
    ("Do", DatePart::DayOrdinal),
    ("D", DatePart::Day(Digits::Needed)),
    ("dddd", DatePart::WeekdayName(Words::Whole)),
    ("ddd", DatePart::WeekdayName(Words::Three)),
    ("dd", DatePart::WeekdayName(Words::Two)),
    ("d", DatePart::Weekday),
    ("E", DatePart::IsoWeekday),
    ("HH", DatePart::Hour(Digits::All)),
    ("H", DatePart::Hour(Digits::Needed)),
    ("hh", DatePart::Hour12(Digits::All)),
    ("h", DatePart::Hour12(Digits::Needed)),
    ("A", DatePart::Half { upper: true }),
    ("a", DatePart::Half { upper: false }),
    ("mm", DatePart::Minute(Digits::All)),
    ("m", DatePart::Minute(Digits::Needed)),
    ("ss", DatePart::Second(Digits::All)),
    ("s", DatePart::Second(Digits::Needed)),
    ("ZZ", DatePart::Offset { colon: false }),
    ("Z", DatePart::Offset { colon: true }),
    ("X", DatePart::Seconds),
    ("x", DatePart::Milliseconds),
];

/// `[text]` stands for itself; so do signs, digits, and `T` between a date and a time.
fn parse(text: &str) -> Result<Vec<DatePart>, String> {
    if text.len() > MAX_FORMAT {
        return Err(format!("it has more than {MAX_FORMAT} bytes"));
    }
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let (part, length) = if let Some(inside) = rest.strip_prefix('[') {
            let end = inside.find(']').ok_or("a `[` without its `]`")?;
            (DatePart::Text(inside[..end].to_owned()), end + 2)
        } else if first == 'S' {
            let count = rest.bytes().take_while(|byte| *byte == b'S').count();
            let digits = u8::try_from(count).ok().filter(|digits| *digits <= 9).ok_or("a second has 9 `S` at most")?;
            (DatePart::Fraction(digits), count)
        } else if let Some((token, part)) = TOKENS.iter().find(|(token, _)| rest.starts_with(token)) {
            (part.clone(), token.len())
        } else if first.is_ascii_alphabetic() && first != 'T' {
            return Err(format!("`{first}` has no meaning here; text stands in brackets: `[{first}]`"));
        } else if first.is_control() {
            return Err("it has a control character".to_owned());
        } else {
            (DatePart::Text(first.to_string()), first.len_utf8())
        };
        parts.push(part);
        rest = &rest[length..];
    }
    if parts.iter().any(|part| matches!(part, DatePart::Text(text) if text.chars().any(char::is_control))) {
        return Err("it has a control character".to_owned());
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<DatePart>, String> {
        DateFormat::try_from(text.to_owned()).map(|format| format.parts())
    }

    #[test]
    fn letters_have_the_meaning_that_moment_gives_them() {
        let text = |text: &str| DatePart::Text(text.to_owned());
        assert_eq!(
            parsed("YYYY-MM [at] HH.SSS Z").unwrap(),
            [
                DatePart::Year(Digits::All),
                text("-"),
                DatePart::Month(Digits::All),
                text(" "),
                text("at"),
                text(" "),
                DatePart::Hour(Digits::All),
                text("."),
                DatePart::Fraction(3),
                text(" "),
                DatePart::Offset { colon: true },
            ]
        );
        assert_eq!(parsed("DTH").unwrap().len(), 3);
        assert_eq!(parsed("").unwrap(), []);
    }

    #[test]
    fn a_letter_without_a_meaning_is_named() {
        assert!(parsed("YYYY-wo").unwrap_err().contains("`w`"));
        assert!(parsed("[open").unwrap_err().contains("`[`"));
        assert!(parsed("SSSSSSSSSS").unwrap_err().contains("9"));
        assert!(parsed("[a\nb]").is_err() && parsed("YYYY\n").is_err());
        assert!(parsed(&"-".repeat(201)).is_err());
    }
}
