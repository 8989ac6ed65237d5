//! What an app declares about the health of its instances: how each is asked, how often, and what its answers mean.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How the health of each instance is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthSpec {
    /// What is asked.
    pub check: Check,
    /// At which port; none: the lowest that the instance listens on.
    #[serde(default)]
    pub port: Option<u16>,
    /// From one question to the next.
    #[serde(with = "crate::spec::millis")]
    pub interval: Duration,
    /// How long an answer may take.
    #[serde(with = "crate::spec::millis")]
    pub timeout: Duration,
    /// As many failures in a row take it out; as many more have it restarted.
    pub fail: u16,
    /// As many passes in a row make it trusted.
    pub pass: u16,
    /// How long failures of a new process that has not passed yet do not count.
    #[serde(with = "crate::spec::millis")]
    pub start_period: Duration,
}

/// What an instance is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Check {
    /// `GET` of this path; 200 to 399 is well.
    Http {
        /// With its leading slash, and its query.
        path: String,
    },
    /// Whether its port takes a connection.
    Tcp,
    /// A command line in its folder and environment; exit code 0 is well.
    Exec {
        /// As the user wrote it.
        line: String,
    },
}

impl Check {
    /// Whether it is asked through its port.
    pub fn is_by_port(&self) -> bool {
        match self {
            Check::Http { .. } | Check::Tcp => true,
            Check::Exec { .. } => false,
        }
    }
}

impl HealthSpec {
    /// A check with all defaults.
    pub fn new(check: Check, start_period: Duration) -> HealthSpec {
        HealthSpec {
            check,
            port: None,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            fail: 3,
            pass: 1,
            start_period,
        }
    }

    /// What is wrong with one that did not come through a config file, as a sentence fragment.
    pub fn problem(&self) -> Option<String> {
        let path = match &self.check {
            Check::Http { path } => path_problem(path),
            Check::Exec { line } if line.trim().is_empty() || line.contains('\0') => Some("is no command line"),
            Check::Tcp | Check::Exec { .. } => None,
        };
        if let Some(problem) = path {
            Some(format!("what its `health` asks {problem}"))
        } else if self.interval < SHORTEST || self.timeout.is_zero() {
            Some(format!("its `health` has an interval below {} ms or no time for an answer", SHORTEST.as_millis()))
        } else if self.fail == 0 || self.pass == 0 {
            Some("its `health` counts to 0".to_owned())
        } else {
            None
        }
    }
}

/// Nobody is asked more often.
pub const SHORTEST: Duration = Duration::from_millis(50);

/// Why this cannot be asked for by HTTP, as a sentence fragment; none: it can.
pub fn path_problem(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        Some("does not begin with `/`")
    } else if path.len() > 2048 {
        Some("is longer than 2048 bytes")
    } else if !path.bytes().all(|byte| byte.is_ascii_graphic()) || path.contains('#') {
        Some("holds a blank, a `#` or a character that has to be written as %XX")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_can_stand_in_a_request() {
        for path in ["/", "/health", "/health?full=1&x=%20", "/a/../b;c"] {
            assert_eq!(path_problem(path), None, "{path}");
        }
        let long = format!("/{}", "x".repeat(2048));
        for path in ["", "health", "http://localhost/", "/a b", "/a#b", "/ä", "/a\r\nHost: x", &long] {
            assert!(path_problem(path).is_some(), "{path}");
        }
    }

    #[test]
    fn what_came_over_the_wire_is_looked_at() {
        let of = |check| HealthSpec::new(check, Duration::ZERO);
        let http = of(Check::Http { path: "/".into() });
        assert_eq!((http.problem(), of(Check::Tcp).problem()), (None, None));
        for bad in [
            of(Check::Http { path: "x".into() }),
            of(Check::Exec { line: " ".into() }),
            HealthSpec { interval: Duration::ZERO, ..http.clone() },
            HealthSpec { timeout: Duration::ZERO, ..http.clone() },
            HealthSpec { fail: 0, ..http.clone() },
        ] {
            assert!(bad.problem().is_some(), "{bad:?}");
        }
    }
}
