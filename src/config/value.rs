//! The small languages inside of values: sizes, times, percentages, cron patterns, words as a shell splits them.
//!
//! Each function gives the value or the reason, a fragment that stands beside the caret.

use std::time::Duration;

/// The longest time that can be configured.
pub(crate) const MAX_TIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// The greatest size that can be configured: 1 PiB.
pub(crate) const MAX_SIZE: u64 = 1 << 50;

/// `300M`, `1.5G`, `200MB`, `512KiB`, `1024`. All units are powers of 1024, as PM2's.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (number, unit) = split_number(text)?;
    let letter = unit.to_ascii_lowercase();
    let shift = match letter.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(format!("unknown unit `{unit}`")),
    };
    #[expect(clippy::cast_precision_loss, reason = "the factor is a power of two, which is exact")]
    let bytes = number * (1_u64 << shift) as f64;
    #[expect(clippy::cast_precision_loss, reason = "the limit is a power of two, which is exact")]
    if bytes > MAX_SIZE as f64 {
        return Err("more than 1024 TiB".into());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1 PiB, checked above")]
    Ok(bytes.round() as u64)
}

/// `500ms`, `3s`, `1m30s`, `2h`, `1.5d`, or a bare number of milliseconds.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let mut total = 0.0_f64;
    let mut last = f64::INFINITY;
    loop {
        let (number, behind) = split_number(rest)?;
        let end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, next) = behind.split_at(end);
        let millis = match unit.trim() {
            "" if last.is_infinite() && next.is_empty() => 1.0,
            "" => return Err(format!("no unit after `{number}`")),
            "ms" => 1.0,
            "s" | "sec" => 1e3,
            "m" | "min" => 60e3,
            "h" => 3600e3,
            "d" => 86_400e3,
            other => return Err(format!("unknown unit `{other}`")),
        };
        if millis >= last {
            return Err("units must go from large to small".into());
        }
        last = millis;
        total += number * millis;
        rest = next;
        if rest.is_empty() {
            break;
        }
    }
    milliseconds(total)
}

/// A number of milliseconds.
pub(crate) fn milliseconds(millis: f64) -> Result<Duration, String> {
    if millis < 0.0 {
        return Err("less than nothing".into());
    }
    if millis.is_nan() || millis / 1e3 > MAX_TIME.as_secs_f64() {
        return Err("more than 30 days".into());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 30 days, checked above")]
    Ok(Duration::from_millis(millis.round() as u64))
}

/// `0660`, `660` or `0o660`.
pub(crate) fn mode(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o777 && digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(mode),
        Ok(_) => Err("more than 0777".into()),
        Err(_) => Err("not an octal number".into()),
    }
}

/// `25%`, as a number from 0 to 100.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').ok_or("no `%` at the end")?;
    let value: f64 = number.trim().parse().map_err(|_| "no number before the `%`")?;
    if (0.0..=100.0).contains(&value) { Ok(value) } else { Err("not between 0% and 100%".into()) }
}

/// Five or six fields of digits, names and `* , - / ? L W #`, or a word such as `@daily`.
pub(crate) fn cron(text: &str) -> Result<(), String> {
    let text = text.trim();
    if let Some(word) = text.strip_prefix('@') {
        let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"];
        return if known.contains(&word) { Ok(()) } else { Err(format!("unknown word `@{word}`")) };
    }
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    if !(5..=6).contains(&fields.len()) {
        return Err(format!("{} fields", fields.len()));
    }
    let odd = |c: char| !c.is_ascii_alphanumeric() && !"*,-/?#".contains(c);
    match fields.iter().find(|field| field.contains(odd)) {
        Some(field) => Err(format!("unknown field `{field}`")),
        None => Ok(()),
    }
}

/// Splits a text as a shell does, without expanding anything.
pub(crate) fn words(text: &str) -> Result<Vec<String>, String> {
    shell_words::split(text).map_err(|_| "a quote is not closed".into())
}

fn split_number(text: &str) -> Result<(f64, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    match (number, number.parse()) {
        ("", _) if text.is_empty() => Err("nothing".into()),
        ("", _) => Err("does not begin with a number".into()),
        (_, Ok(value)) => Ok((value, unit.trim_start())),
        (_, Err(_)) => Err(format!("`{number}` is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_all_their_forms() {
        for (text, bytes) in [
            ("300M", 300 << 20),
            ("1.5G", 3 << 29),
            ("200MB", 200 << 20),
            ("512KiB", 512 << 10),
            ("100k", 100 << 10),
            ("1 T", 1 << 40),
            ("4096", 4096),
            ("0", 0),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "nothing"),
            ("M", "does not begin with a number"),
            ("3X", "unknown unit `X`"),
            ("1.2.3G", "`1.2.3` is not a number"),
            ("-1", "does not begin with a number"),
            ("999999999999T", "more than 1024 TiB"),
        ] {
            assert_eq!(size(text), Err(reason.into()), "{text}");
        }
    }

    #[test]
    fn times_are_read_in_all_their_forms() {
        for (text, millis) in [
            ("3s", 3000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
            ("1.5s", 1500),
            ("1600", 1600),
            ("0", 0),
            ("1h 5m", 3_900_000),
        ] {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "nothing"),
            ("3x", "unknown unit `x`"),
            ("soon", "does not begin with a number"),
            ("30s1m", "units must go from large to small"),
            ("1s1s", "units must go from large to small"),
            ("1m30", "no unit after `30`"),
            ("31d", "more than 30 days"),
            ("99999999999999999999999999", "more than 30 days"),
        ] {
            assert_eq!(time(text), Err(reason.into()), "{text}");
        }
        assert!(milliseconds(f64::NAN).is_err());
        assert!(milliseconds(-1.0).is_err());
    }

    #[test]
    fn percentages_and_cron_patterns_are_checked() {
        assert_eq!(percent("25%"), Ok(25.0));
        assert!(percent("25").is_err() && percent("101%").is_err() && percent("x%").is_err());
        for text in ["0 3 * * *", "*/5 * * * * *", "0 0 * * MON-FRI", "@daily"] {
            assert_eq!(cron(text), Ok(()), "{text}");
        }
        assert!(cron("* *").is_err() && cron("a b c d !").is_err() && cron("@often").is_err());
    }

    #[test]
    fn permissions_are_octal_however_they_begin() {
        for text in ["0660", "660", "0o660", " 660 "] {
            assert_eq!(mode(text), Ok(0o660), "{text}");
        }
        for text in ["", "rw", "668", "1777", "+66", "-1"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(words("a 'b c' \"d e\" f\\ g"), Ok(vec!["a".into(), "b c".into(), "d e".into(), "f g".into()]));
        assert!(words("a 'b").is_err());
    }
}
