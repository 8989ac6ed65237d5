//! What an app declares about its instances as one server: whether they share ports, and how they are replaced.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whether the instances of an app know of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecMode {
    /// They do not.
    #[default]
    Fork,
    /// They share the ports they bind.
    Cluster,
}

/// How the instances of an app are one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterSpec {
    /// Which ports are shared.
    pub capture: Capture,
    /// How their connections are spread.
    #[serde(default)]
    pub balance: Balance,
    /// How many instances a reload replaces at a time.
    pub max_surge: Surge,
    /// How long the connections of a leaving instance may take.
    #[serde(with = "crate::spec::millis")]
    pub drain_timeout: Duration,
    /// In which order a reload replaces them.
    pub strategy: Strategy,
}

/// Which ports are shared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capture {
    /// Every TCP port that a run binds, but those of inspectors.
    #[default]
    Auto,
    /// These alone.
    Ports(BTreeSet<u16>),
    /// None: queue workers, which are reloaded like servers.
    Off,
}

/// How the connections of a port are spread over the instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Each instance is as likely as any other, and has a queue of its own.
    #[default]
    Random,
    /// All have one queue: whoever accepts first has the connection.
    Shared,
}

/// A part of the instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surge {
    /// So many.
    Count(u16),
    /// So many of a hundred, at least one.
    Percent(u16),
}

/// In which order a reload replaces instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Batch by batch.
    #[default]
    Rolling,
}

impl Default for ClusterSpec {
    fn default() -> ClusterSpec {
        ClusterSpec {
            capture: Capture::Auto,
            balance: Balance::Random,
            max_surge: Surge::Percent(25),
            drain_timeout: Duration::from_secs(10),
            strategy: Strategy::Rolling,
        }
    }
}

impl Surge {
    /// How many of `instances` are replaced at a time: at least one, at most all.
    pub fn of(self, instances: usize) -> usize {
        let wanted = match self {
            Surge::Count(count) => usize::from(count),
            Surge::Percent(percent) => instances.saturating_mul(usize::from(percent)) / 100,
        };
        wanted.clamp(1, instances.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surge_is_at_least_one_and_at_most_all() {
        let table = [
            (Surge::Percent(25), 8, 2),
            (Surge::Percent(25), 3, 1),
            (Surge::Percent(0), 8, 1),
            (Surge::Percent(900), 8, 8),
            (Surge::Count(3), 8, 3),
            (Surge::Count(0), 8, 1),
            (Surge::Count(9), 4, 4),
            (Surge::Count(9), 0, 1),
        ];
        for (surge, instances, width) in table {
            assert_eq!(surge.of(instances), width, "{surge:?} of {instances}");
        }
    }

    #[test]
    fn a_spec_of_before_is_in_fork_mode_with_all_defaults() {
        assert_eq!(ExecMode::default(), ExecMode::Fork);
        assert_eq!(serde_json::from_str::<ClusterSpec>("{}").unwrap(), ClusterSpec::default());
    }
}
