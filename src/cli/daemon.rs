//! `ping`, `kill`, `version`: verbs about the daemon itself.

use std::time::Duration;

use serde::Serialize;

use crate::cli::apply;
use crate::cli::progress::{self, FIRST_LIMIT};
use crate::cli::render::outcome;
use crate::cli::session::Session;
use crate::client::ClientError;
use crate::error::{ExitCode, Failure};
use crate::proto::{Call, DaemonAnswer, Outcome};

const PING_LIMIT: Duration = Duration::from_secs(5);
/// How long the daemon may take to leave once all apps are stopped.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// Runs `rsx ping`.
pub(super) fn ping(session: &mut Session) -> Result<ExitCode, Failure> {
    let answer: DaemonAnswer = session.daemon_or_fail()?.call(&Call::Ping, PING_LIMIT)?;
    match session.json {
        true => session.out.json(&answer)?,
        false => session.out.line("pong")?,
    }
    Ok(ExitCode::Done)
}

/// Runs `rsx kill`.
pub(super) fn kill(session: &mut Session) -> Result<ExitCode, Failure> {
    let Some(mut client) = session.daemon_to_act()? else {
        session.out.talk("no rsx daemon runs");
        if let Some(left) = session.left() {
            session.out.talk(left);
        }
        if session.json {
            session.out.json(&Outcome::default())?;
        }
        return Ok(ExitCode::Done);
    };
    let outcome: Outcome = match progress::ask(session, &mut client, &Call::Kill, FIRST_LIMIT) {
        Err(ClientError::Interrupted) => return Ok(apply::detached(session)),
        answer => answer?,
    };
    client.wait_until_gone(&session.home()?, LEAVE_LIMIT)?;
    let verdict = apply::verdict(&outcome.results, apply::Waited::ToTheEnd);
    if session.json {
        session.out.json(&outcome)?;
        return Ok(verdict);
    }
    for line in outcome::failures(&outcome.results, session.out.error_style()) {
        session.out.complain(&line);
    }
    if let Some(summary) = outcome::summary("stopped", &outcome.results) {
        session.out.talk(&summary);
    }
    session.out.talk("the rsx daemon has ended");
    Ok(verdict)
}

/// Runs `rsx version`: ours on stdout; a daemon of another release is worth a word.
pub(super) fn version(session: &mut Session) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Versions {
        version: &'static str,
        protocol: u32,
        daemon: Option<String>,
    }
    let ours = env!("CARGO_PKG_VERSION");
    let daemon = session.daemon().ok().flatten().map(|client| client.daemon().version.clone());
    if session.json {
        session.out.json(&Versions { version: ours, protocol: crate::proto::PROTOCOL, daemon })?;
        return Ok(ExitCode::Done);
    }
    session.out.line(ours)?;
    if let Some(daemon) = daemon.filter(|daemon| daemon != ours) {
        session.out.talk(&format!("the daemon that runs is {daemon}"));
    }
    Ok(ExitCode::Done)
}
