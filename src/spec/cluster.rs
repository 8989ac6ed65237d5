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
    /// Who gets a new connection.
    pub balance: Balance,
    /// The parts of the instances under [`Balance::Weighted`], by index; instances beyond the last begin anew.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<u16>,
    /// How many instances a reload replaces at a time.
    pub max_surge: Surge,
    /// How long the connections of a leaving instance may take.
    #[serde(with = "crate::spec::millis")]
    pub drain_timeout: Duration,
    /// In which order a reload replaces them.
    pub strategy: Strategy,
    /// How long the old run of a reload's first slot waits, to take over again should the new one fail.
    #[serde(with = "crate::spec::millis")]
    pub bake: Duration,
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

/// Who of the instances that share a port gets a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Each instance is as likely as any other, and has a queue of its own.
    #[default]
    Random,
    /// As likely as its weight.
    Weighted,
    /// The same client always the same one.
    SourceIp,
    /// Who has least to do is the most likely.
    Least,
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
    /// All new ones beside the old ones, then all at once.
    BlueGreen,
}

impl Default for ClusterSpec {
    fn default() -> ClusterSpec {
        ClusterSpec {
            capture: Capture::Auto,
            balance: Balance::Random,
            weights: Vec::new(),
            max_surge: Surge::Percent(25),
            drain_timeout: Duration::from_secs(10),
            strategy: Strategy::Rolling,
            bake: Duration::from_secs(3),
        }
    }
}

impl ClusterSpec {
    /// The weight of an instance, at least 1.
    pub fn weight(&self, instance: u16) -> u16 {
        let at = usize::from(instance).checked_rem(self.weights.len());
        at.and_then(|at| self.weights.get(at)).copied().unwrap_or(1).max(1)
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
    fn weights_are_those_of_the_indexes_and_begin_anew_behind_the_last() {
        let weights = |weights: &[u16]| {
            let spec = ClusterSpec { weights: weights.to_vec(), ..ClusterSpec::default() };
            (0..4).map(|instance| spec.weight(instance)).collect::<Vec<_>>()
        };
        assert_eq!(weights(&[3, 1]), [3, 1, 3, 1]);
        assert_eq!(weights(&[]), [1, 1, 1, 1]);
        assert_eq!(weights(&[0, 5, 7, 9]), [1, 5, 7, 9]);
    }

    #[test]
    fn a_spec_of_before_is_in_fork_mode_with_all_defaults() {
        assert_eq!(ExecMode::default(), ExecMode::Fork);
        assert_eq!(serde_json::from_str::<ClusterSpec>("{}").unwrap(), ClusterSpec::default());
    }
}
