//! How much memory an app may take.

use serde::{Deserialize, Serialize};

/// The limits of a run's tree, in bytes of memory where what processes share is divided among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemorySpec {
    /// A run above this is replaced.
    pub limit: Option<u64>,
    /// A run above this is told of.
    pub warn: Warn,
}

/// When a warning is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warn {
    /// At so many of a hundred of the limit.
    Percent(u16),
    /// At so many bytes.
    Bytes(u64),
}

impl Default for Warn {
    fn default() -> Warn {
        Warn::Percent(80)
    }
}

impl MemorySpec {
    /// The bytes from which on somebody is to be warned; none: never.
    pub fn warn_at(self) -> Option<u64> {
        match (self.warn, self.limit) {
            (Warn::Bytes(bytes), _) => Some(bytes),
            (Warn::Percent(percent), Some(limit)) => Some(limit / 100 * u64::from(percent)),
            (Warn::Percent(_), None) => None,
        }
    }

    /// The bytes from which on a run that is being drained is not waited for any more.
    pub fn too_much(self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_add(limit / 4))
    }

    pub(crate) fn is_none(&self) -> bool {
        *self == MemorySpec::default()
    }
}
