//! `update`: the daemon hands over to another binary, and no app notices.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::{AccessFlags, access};
use serde::Serialize;

use crate::cli::args::UpdateArgs;
use crate::cli::render::units::printable;
use crate::cli::session::Session;
use crate::client::{Client, ClientError};
use crate::error::{ExitCode, Failure};
use crate::proto::{Call, DaemonView, Refusal, State, UPDATE_FAILED, UpdateCall, Updating, View, ViewCall, ViewDetail};

/// How long the binary may take to show that it can take over; the daemon allows it less.
const REHEARSAL_LIMIT: Duration = Duration::from_secs(15);
/// How long it may take until a daemon answers again: the new one, or after its failure the old one.
const HANDOVER_LIMIT: Duration = Duration::from_secs(30);
/// What the kernel appends to the path of a file that was removed while it runs (proc_pid_exe(5)).
const DELETED: &str = " (deleted)";

/// Runs `rsx update`.
pub(super) fn run(session: &mut Session, args: &UpdateArgs) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Updated<'a> {
        from: &'a str,
        to: &'a str,
        binary: &'a Path,
        changed: &'a [String],
    }
    let mut client = session.daemon()?.ok_or_else(nothing_to_update)?;
    let binary = binary(session, args.binary.as_deref())?;
    let before = view(&mut client, HANDOVER_LIMIT)?;
    let from = client.daemon().version.clone();
    let call = Call::Update(UpdateCall { binary: binary.clone() });
    match client.call_this::<Updating>(&call, REHEARSAL_LIMIT) {
        // It may leave before its answer has arrived.
        Ok(Updating { version: _ }) | Err(ClientError::Gone) => {}
        Err(ClientError::Refused(refusal)) => return Err(refused(&refusal, &from, &binary)),
        Err(error) => return Err(error.into()),
    }
    let deadline = Instant::now() + HANDOVER_LIMIT;
    let (to, after) = successor(session, &mut client, deadline)?;
    if let Some(why) = failure(&after.daemon) {
        return Err(Failure::failed(format!("the update failed, rsx {to} goes on"))
            .because(why)
            .hint("no app noticed; `daemon.log` in RSX_HOME tells more, and `rsx update` tries again"));
    }
    if after.daemon.pid == before.daemon.pid {
        return Err(Failure::failed("the rsx daemon has not handed over")
            .because("it closed the connection and goes on")
            .hint("`daemon.log` in RSX_HOME tells more, and `rsx update` tries again"));
    }
    let changed = changed(&before, &after);
    if session.json {
        session.out.json(&Updated { from: &from, to: &to, binary: &binary, changed: &changed })?;
        return Ok(ExitCode::Done);
    }
    let noticed = match changed.as_slice() {
        [] => "no app noticed".to_owned(),
        places => format!("another process than before: {}", places.join(", ")),
    };
    session.out.talk(&format!("updated {from} -> {to}, {noticed}"));
    Ok(ExitCode::Done)
}

/// The daemon after this one: its release, and what it sees once it has taken over.
fn successor(session: &Session, client: &mut Client, deadline: Instant) -> Result<(String, View), Failure> {
    let left = || deadline.saturating_duration_since(Instant::now());
    client.wait_until_closed(left()).map_err(|error| match error {
        ClientError::TimedOut { .. } => Failure::failed("the rsx daemon has not handed over")
            .because(format!("it is still there after {} s", HANDOVER_LIMIT.as_secs()))
            .hint("`rsx ping` tells whether it answers; its log is `daemon.log` in RSX_HOME"),
        error => error.into(),
    })?;
    let next = Client::connect_within(&session.home()?, session.verb, left())?;
    let mut next = next.ok_or_else(|| {
        Failure::failed("no rsx daemon runs any more")
            .because("neither the new binary nor the old one has taken over")
            .hint("`rsx start` starts one; `daemon.log` and `daemon.err` in RSX_HOME tell more")
    })?;
    let view = view(&mut next, left())?;
    // A daemon that died while it took over was followed by another one: the release is that of whoever answered.
    Ok((next.daemon().version.clone(), view))
}

fn view(client: &mut Client, limit: Duration) -> Result<View, Failure> {
    Ok(client.call(&Call::View(ViewCall { detail: ViewDetail::Brief }), limit)?)
}

/// The binary that takes over: the one that was named, else the file that this command was executed from.
fn binary(session: &Session, named: Option<&Path>) -> Result<PathBuf, Failure> {
    let path = match named {
        Some(named) => session.cwd().join(named),
        None => own_path().map_err(|error| {
            Failure::failed("cannot find the file of this command").caused_by(&error).hint("rsx update /path/to/rsx")
        })?,
    };
    let found = path.canonicalize().map_err(|error| {
        Failure::new(ExitCode::NoSuchTarget, format!("there is no file `{}`", path.display()))
            .caused_by(&error)
            .hint("rsx update /path/to/rsx")
    })?;
    match found.is_file() && access(&found, AccessFlags::X_OK).is_ok() {
        true => Ok(found),
        false => Err(Failure::new(ExitCode::Usage, format!("`{}` is no program", path.display()))
            .hint("rsx update /path/to/rsx")),
    }
}

/// Where this command was executed from. An installer that replaced the file meanwhile has left its name to the new one.
fn own_path() -> std::io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let stripped = path.to_str().filter(|_| !path.exists()).and_then(|text| text.strip_suffix(DELETED));
    Ok(stripped.map_or_else(|| path.clone(), PathBuf::from))
}

/// Why the daemon that answers is the old one again.
fn failure(daemon: &DaemonView) -> Option<String> {
    daemon.notices.iter().find_map(|notice| notice.strip_prefix(UPDATE_FAILED)).map(|why| printable(why).into_owned())
}

/// Instances that ran before and are another process now.
fn changed(before: &View, after: &View) -> Vec<String> {
    let slots = |view: &View| {
        let all = view.apps.iter().flat_map(|app| app.slots.iter().map(|slot| (app.name.clone(), slot.clone())));
        all.collect::<Vec<_>>()
    };
    let after = slots(after);
    let ran = |state: State| state == State::Online;
    slots(before)
        .into_iter()
        .filter(|(_, slot)| ran(slot.state))
        .filter(|(_, slot)| !after.iter().any(|(_, other)| (other.id, other.pid) == (slot.id, slot.pid)))
        .map(|(name, slot)| format!("{}:{}", printable(&name), slot.instance))
        .collect()
}

fn refused(refusal: &Refusal, from: &str, binary: &Path) -> Failure {
    let failure = Failure::failed(format!("the rsx daemon ({from}) does not hand over to `{}`", binary.display()));
    match refusal {
        // It does not know the call.
        Refusal::BadRequest { why } => failure
            .because(printable(why).into_owned())
            .hint("it is of a release that cannot: `rsx save`, `rsx kill`, then `rsx resurrect` by the new one"),
        other => failure
            .because(printable(&other.to_string()).into_owned())
            .hint("nothing has changed, and the daemon goes on; `rsx update /path/to/rsx` names another binary"),
    }
}

fn nothing_to_update() -> Failure {
    Failure::new(ExitCode::NoDaemon, "no rsx daemon runs, so there is nothing to update")
        .hint("`rsx start` starts one by this binary")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample;

    #[test]
    fn an_instance_that_is_another_process_has_noticed() {
        let before = sample::view();
        assert_eq!(changed(&before, &before), Vec::<String>::new());
        let mut after = before.clone();
        after.apps[0].slots[0].pid = Some(9);
        assert_eq!(changed(&before, &after), ["api:0"]);
        // What did not run before has nothing to notice.
        after = before.clone();
        after.apps.retain(|app| app.name == "api");
        assert_eq!(changed(&before, &after), Vec::<String>::new());
    }

    #[test]
    fn a_daemon_that_came_back_says_why() {
        let mut daemon = DaemonView::default();
        assert_eq!(failure(&daemon), None);
        daemon.notices = vec!["something else".into(), format!("{UPDATE_FAILED}it ended with exit code 1")];
        assert_eq!(failure(&daemon).unwrap(), "it ended with exit code 1");
    }

    #[test]
    fn a_daemon_that_is_too_old_is_told_with_the_way_round() {
        let refusal = Refusal::BadRequest { why: "unknown method `update`".into() };
        let failure = refused(&refusal, "0.0.9", Path::new("/usr/bin/rsx"));
        assert!(failure.hints()[0].contains("rsx kill"), "{failure}");
    }
}
