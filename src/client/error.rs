//! What can go wrong between a verb and the daemon, and how its user reads it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{ExitCode, Failure};
use crate::proto::{FrameError, MessageError, Refusal};

/// Why a call was not answered, or a daemon not reached or started.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket is there but cannot be used.
    #[error("cannot connect to `{path}`")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Reading or writing failed.
    #[error("cannot {activity} the daemon")]
    Io {
        /// `read from`, `write to` …
        activity: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The connection ended before the answer.
    #[error("the daemon closed the connection without an answer")]
    Gone,
    /// The connection ended before the answer, and no daemon lives that could give it.
    #[error("the daemon ended before it answered")]
    Ended,
    /// The limit passed.
    #[error("the daemon did not answer within {}", seconds(*.limit))]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// The kernel gives no random bytes.
    #[error("cannot get random bytes from the kernel")]
    Random {
        /// Why.
        source: io::Error,
    },
    /// The daemon sent what is no message.
    #[error("the daemon sent something unreadable")]
    Unreadable(#[from] MessageError),
    /// The daemon sent an answer that is too long.
    #[error("the daemon sent something unreadable")]
    Frame(#[from] FrameError),
    /// The daemon sent an answer of another shape.
    #[error("the daemon sent an answer of another shape")]
    Shape(#[from] serde_json::Error),
    /// The daemon refused the call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The home or its lock file cannot be made.
    #[error("cannot {activity} `{path}`")]
    Home {
        /// `create`, `open`, `lock` …
        activity: &'static str,
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The daemon could not be executed.
    #[error("cannot execute `{path}`")]
    Execute {
        /// Our own binary.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The daemon said why it cannot run.
    #[error("{reason}")]
    NotStarted {
        /// In its words.
        reason: String,
    },
    /// The daemon ended, or said nothing in time.
    #[error("{what}")]
    Silent {
        /// What happened instead.
        what: String,
        /// The last lines of its own log.
        lines: Vec<String>,
    },
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let no_answer = || Failure::new(ExitCode::NoDaemon, "the rsx daemon does not answer").caused_by(&error);
        match &error {
            ClientError::Connect { source, .. } => {
                let failure = Failure::new(ExitCode::NoDaemon, "cannot reach the rsx daemon").caused_by(&error);
                match source.kind() {
                    io::ErrorKind::PermissionDenied => {
                        failure.hint("the home belongs to another user: set RSX_HOME, or become that user")
                    }
                    _ => failure,
                }
            }
            ClientError::Io { .. } | ClientError::Gone => {
                no_answer().hint("`rsx ping` tells whether it is back; its log is `daemon.log` in RSX_HOME")
            }
            ClientError::Ended => Failure::new(ExitCode::NoDaemon, "the rsx daemon has ended")
                .caused_by(&error)
                .hint("`rsx start` starts one together with your apps; its log is `daemon.log` in RSX_HOME"),
            ClientError::Random { .. } => Failure::failed("cannot ask the rsx daemon").caused_by(&error),
            ClientError::TimedOut { .. } => {
                no_answer().hint("it is busy or hangs: try `rsx ping`; its log is `daemon.log` in RSX_HOME")
            }
            ClientError::Interrupted => Failure::new(ExitCode::Interrupted, "interrupted"),
            ClientError::Unreadable(_) | ClientError::Frame(_) | ClientError::Shape(_) => no_answer()
                .hint("client and daemon are probably of different releases: `rsx version` and `rsx ping` tell"),
            ClientError::Refused(refusal) => refused(refusal),
            ClientError::Home { source, .. } => {
                let failure = Failure::failed("cannot start the rsx daemon").caused_by(&error);
                match source.kind() {
                    io::ErrorKind::TimedOut => failure.hint("another `rsx` is starting a daemon and hangs: end it"),
                    _ => failure.hint("set RSX_HOME to a folder that you can write to"),
                }
            }
            ClientError::Execute { .. } | ClientError::NotStarted { .. } => {
                Failure::failed("cannot start the rsx daemon").caused_by(&error)
            }
            ClientError::Silent { lines, .. } => lines
                .iter()
                .fold(Failure::failed("cannot start the rsx daemon").caused_by(&error), |f, line| f.because(line)),
        }
    }
}

/// A refusal in the words and with the exit code of the command line.
fn refused(refusal: &Refusal) -> Failure {
    match refusal {
        Refusal::Protocol { daemon, client } => {
            let failure = Failure::new(ExitCode::NoDaemon, "this rsx and its daemon do not fit together")
                .because(refusal.to_string());
            if daemon < client {
                failure.hint("the daemon is older: `kill` it with the rsx that started it, then start again")
            } else {
                failure.hint("this rsx is older than the daemon: use the one that the daemon was started from")
            }
        }
        Refusal::UnknownTarget { similar, .. } => {
            let failure = Failure::new(ExitCode::NoSuchTarget, refusal.to_string());
            match similar.as_slice() {
                [] => failure.hint("`rsx ls` shows what there is"),
                names => failure.hint(format!("did you mean {}?", quoted(names))),
            }
        }
        Refusal::NameTaken { name, owner, asked_by } => {
            Failure::failed(format!("cannot start another `{name}` from {asked_by}"))
                .because(format!("there is one already, from {owner}"))
                .hint("`--name` or `--namespace` gives the new one a name of its own; `--force` replaces the old one")
        }
        Refusal::State { .. } => Failure::failed(refusal.to_string()),
        Refusal::Instances { name, wanted, .. } => {
            let failure = Failure::new(ExitCode::Usage, refusal.to_string());
            if *wanted < 1 {
                failure.hint(format!("`rsx stop {name}` stops it, `rsx delete {name}` forgets it"))
            } else {
                failure
            }
        }
        Refusal::Unchangeable { .. } => Failure::new(ExitCode::Usage, refusal.to_string()),
        Refusal::Reloading { name } => Failure::failed(refusal.to_string())
            .hint(format!("wait for it, or end it: `rsx stop {name}`, `rsx restart {name}`")),
        Refusal::Update { .. } => Failure::failed("the rsx daemon does not hand over").because(refusal.to_string()),
        Refusal::Leaving => Failure::new(ExitCode::NoDaemon, refusal.to_string()).hint("try again in a moment"),
        Refusal::HelloFirst | Refusal::BadRequest { .. } | Refusal::TooLarge { .. } => {
            Failure::failed("the rsx daemon refused the call").because(refusal.to_string())
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

fn seconds(limit: Duration) -> String {
    format!("{:.0} s", limit.as_secs_f64().ceil())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_target_is_exit_4_with_a_suggestion() {
        let refusal = Refusal::UnknownTarget { target: "apo".into(), similar: vec!["api".into()] };
        let failure = Failure::from(ClientError::from(refusal));
        assert_eq!(failure.code(), ExitCode::NoSuchTarget);
        assert_eq!(failure.hints(), ["did you mean `api`?"]);
    }

    #[test]
    fn another_protocol_is_exit_3_and_says_who_is_older() {
        let failure = Failure::from(ClientError::from(Refusal::Protocol { daemon: 1, client: 3 }));
        assert_eq!(failure.code(), ExitCode::NoDaemon);
        assert!(failure.hints()[0].contains("daemon is older"), "{failure}");
    }

    #[test]
    fn a_hanging_daemon_is_exit_3_with_the_limit() {
        let failure = Failure::from(ClientError::TimedOut { limit: Duration::from_millis(4200) });
        assert_eq!(failure.code(), ExitCode::NoDaemon);
        assert_eq!(failure.causes(), ["the daemon did not answer within 5 s"]);
    }
}
