//! What was measured of instances over time.

use serde::{Deserialize, Serialize, Serializer};

use crate::proto::call::Target;

/// The most values that one answer to [`HistoryCall`] holds.
pub const MAX_VALUES: usize = 1_000_000;

/// Asks for what was measured of instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryCall {
    /// What is meant; every one must match something.
    pub targets: Vec<Target>,
    /// Which series, by name; none: all that there are.
    #[serde(default)]
    pub series: Vec<String>,
    /// How far values are apart.
    #[serde(default)]
    pub step: StepName,
    /// The earliest moment that is wanted, in milliseconds of the epoch; none: all that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

/// How far values are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    /// A second; a quarter of an hour is kept.
    #[default]
    Second,
    /// A minute; a day is kept.
    Minute,
}

/// The answer to [`HistoryCall`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The moment of the first value of every series, in milliseconds of the epoch.
    pub from: u64,
    /// How far values are apart, in milliseconds.
    pub step: u64,
    /// How many values every series has.
    pub length: usize,
    /// In the order of ids.
    pub instances: Vec<InstanceHistory>,
}

/// What was measured of one instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstanceHistory {
    /// Its id.
    pub id: u32,
    /// Its app.
    pub name: String,
    /// Its index within the app.
    pub instance: u16,
    /// Those that have values.
    pub series: Vec<SeriesHistory>,
}

/// One series of one instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeriesHistory {
    /// `cpu`, `memory` …
    pub name: String,
    /// A value a step; none where nothing ran, or nobody measured.
    #[serde(serialize_with = "values")]
    pub values: Vec<Option<f64>>,
}

fn values<S: Serializer>(values: &[Option<f64>], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().copied().map(Value))
}

/// Whole numbers are written as such: there are many.
struct Value(Option<f64>);

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[expect(clippy::cast_possible_truncation, reason = "only numbers that are whole and fit are cast")]
        match self.0 {
            Some(value) if value.fract() == 0.0 && value.abs() < 9e15 => to.serialize_i64(value as i64),
            Some(value) => to.serialize_f64((value * 1000.0).round() / 1000.0),
            None => to.serialize_none(),
        }
    }
}
