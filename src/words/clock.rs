//! Moments as people read them, in the time zone of the reader.

use chrono::{DateTime, Local};

/// `2026-05-28 14:03:07`, local time.
pub(crate) fn moment(milliseconds: u64) -> String {
    let since_epoch = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    match DateTime::from_timestamp_millis(since_epoch) {
        Some(time) => time.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string(),
        None => "-".to_owned(),
    }
}
