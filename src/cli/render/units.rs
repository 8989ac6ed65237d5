//! Numbers as people read them, in the forms of PM2.

use crate::proto::Remaining;

/// The largest whole unit: `45s`, `12m`, `5h`, `3d`.
pub(in crate::cli) fn span(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// As [`span`], with milliseconds below ten seconds, where they matter: `340ms`, `1.2s`.
pub(in crate::cli) fn fine_span(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds}ms"),
        1_000..10_000 if milliseconds % 1000 < 100 => format!("{}s", milliseconds / 1000),
        1_000..10_000 => format!("{}.{}s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => span(milliseconds),
    }
}

/// `draining: 3 connections, oldest 4s`; before it is known how many there are, `draining`.
pub(in crate::cli) fn remaining(remaining: &Remaining) -> String {
    match remaining.connections {
        None => "draining".to_owned(),
        Some(1) => format!("draining: 1 connection, {}", fine_span(remaining.oldest)),
        Some(count) => format!("draining: {count} connections, oldest {}", fine_span(remaining.oldest)),
    }
}

/// `0b`, `812.0kb`, `51.1mb`, `1.2gb`.
pub(in crate::cli) fn memory(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kb", "mb", "gb", "tb"];
    if bytes < 1024 {
        return format!("{bytes}b");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"kb");
    while value >= 1024.0 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1024.0, next);
    }
    format!("{value:.1}{unit}")
}

/// `0%`, `12.3%`.
pub(in crate::cli) fn cpu(percent: f32) -> String {
    if percent < 0.05 { "0%".to_owned() } else { format!("{percent:.1}%") }
}

/// Text that a terminal may be shown: control characters of names and reasons are made visible.
pub(in crate::cli) fn printable(text: &str) -> std::borrow::Cow<'_, str> {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
    } else {
        text.into()
    }
}

/// At most `limit` characters, the last one `…` if something was cut.
pub(in crate::cli) fn shortened(text: &str, limit: usize) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(limit) {
        None => text.into(),
        Some(_) => text.chars().take(limit - 1).chain(['…']).collect(),
    }
}

/// The arguments of `rsx serve` without the password among them.
pub(in crate::cli) fn redacted(args: &[String]) -> Vec<String> {
    let mut is_secret = false;
    let shown = args.iter().map(|arg| {
        let hides = std::mem::replace(&mut is_secret, arg == "--basic-auth");
        match arg.split_once('=') {
            _ if hides => "***".to_owned(),
            Some(("--basic-auth", _)) => "--basic-auth=***".to_owned(),
            Some(_) | None => arg.clone(),
        }
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_their_largest_unit() {
        assert_eq!([0, 59_999, 60_000, 7_200_000, 260_000_000].map(span), ["0s", "59s", "1m", "2h", "3d"]);
        assert_eq!([340, 1_000, 1_230, 61_000].map(fine_span), ["340ms", "1s", "1.2s", "1m"]);
    }

    #[test]
    fn memory_is_told_as_pm2_does() {
        assert_eq!([0, 1023, 1024, 53_582_233, 1 << 30].map(memory), ["0b", "1023b", "1.0kb", "51.1mb", "1.0gb"]);
    }

    #[test]
    fn a_long_name_is_cut_with_a_mark() {
        assert_eq!(shortened("abcdef", 4), "abc…");
        assert_eq!(shortened("abcd", 4), "abcd");
    }

    #[test]
    fn a_password_for_static_files_is_never_shown() {
        let args = ["site", "--basic-auth", "me:secret", "--basic-auth=me:secret", "--spa"].map(str::to_owned);
        assert_eq!(redacted(&args), ["site", "--basic-auth", "***", "--basic-auth=***", "--spa"]);
    }

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(printable("a\x1b[31mb"), "a\u{fffd}[31mb");
    }
}
