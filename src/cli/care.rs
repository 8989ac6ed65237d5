//! `scale`, `signal`, `send`, `env`, `flush`, `rotate`, `reload-logs`: verbs that look after what is there.

use std::time::Duration;

use crate::cli::args::{EnvArgs, FlushArgs, RotateArgs, ScaleArgs, SendArgs, SignalArgs};
use crate::cli::progress::{self, FIRST_LIMIT};
use crate::cli::render::units::{memory, printable};
use crate::cli::render::{outcome, plan};
use crate::cli::session::Session;
use crate::cli::style::Tint;
use crate::cli::{act, apply, targets};
use crate::client::ClientError;
use crate::error::{ExitCode, Failure};
use crate::proto::{
    Applied, Call, Count, EnvCall, Environments, FlushCall, LogFile, LogFiles, MAX_INPUT, Outcome, RotateCall,
    ScaleCall, SendCall, SignalCall, Target,
};
use crate::spec::{MAX_INSTANCES, Signal};

/// How long calls may take that are answered at once.
const AT_ONCE: Duration = Duration::from_secs(10);

/// How long log files may take: a disk may be slow.
const LOGS_LIMIT: Duration = Duration::from_secs(15);

/// Runs `rsx scale`.
pub(super) fn scale(session: &mut Session, args: &ScaleArgs) -> Result<ExitCode, Failure> {
    let count = count(&args.count, &args.target)?;
    let targets = targets::read(session, std::slice::from_ref(&args.target), &[])?;
    let waited = if args.no_wait { apply::Waited::No } else { apply::Waited::ToTheEnd };
    let call = Call::Scale(ScaleCall { targets, count, no_wait: args.no_wait });
    let mut client = session.daemon_to_act_or_fail()?;
    let applied: Applied = match progress::ask(session, &mut client, &call, FIRST_LIMIT) {
        Err(ClientError::Interrupted) => return Ok(apply::detached(session)),
        answer => answer?,
    };
    if session.json {
        session.out.json(&applied)?;
        return Ok(apply::verdict(&applied.results, waited));
    }
    if !session.out.is_silent() {
        let (style, now) = (session.out.style(), session.now());
        let steps: Vec<_> = applied.plan.iter().collect();
        plan::lines(&steps, plan::Length::Short, style, now).iter().try_for_each(|line| session.out.line(line))?;
    }
    apply::conclude(session, &mut client, &applied.results, act::extent(args.mini_list), waited)
}

/// Runs `rsx signal`.
pub(super) fn signal(session: &mut Session, args: &SignalArgs) -> Result<ExitCode, Failure> {
    let signal: Signal = args.signal.parse().map_err(|error| {
        Failure::new(ExitCode::Usage, "cannot send this signal").caused_by(&error).hint("SIGHUP, hup or 1")
    })?;
    let targets = targets::read(session, &args.to.targets, &[])?;
    at_once(session, &Call::Signal(SignalCall { targets, signal }), &format!("{signal} sent to"))
}

/// Runs `rsx send`.
pub(super) fn send(session: &mut Session, args: &SendArgs) -> Result<ExitCode, Failure> {
    let line = args.line.join(" ");
    if line.len() >= MAX_INPUT {
        let message = format!("a line has at most {} bytes, this one has {}", MAX_INPUT - 1, line.len());
        return Err(Failure::new(ExitCode::Usage, message));
    }
    let targets = targets::read(session, std::slice::from_ref(&args.target), &[])?;
    at_once(session, &Call::Send(SendCall { targets, line }), "sent to")
}

/// Runs `rsx env`.
pub(super) fn env(session: &mut Session, args: &EnvArgs) -> Result<ExitCode, Failure> {
    let mut client = session.daemon_to_act_or_fail()?;
    let targets = targets::read(session, &args.of.targets, &[])?;
    let answer: Environments = client.call(&Call::Env(EnvCall { targets, show: args.show }), AT_ONCE)?;
    if session.json {
        session.out.json(&answer.instances)?;
        return Ok(ExitCode::Done);
    }
    let style = session.out.style();
    for (n, instance) in answer.instances.iter().enumerate() {
        if answer.instances.len() > 1 {
            let blank = if n == 0 { "" } else { "\n" };
            let place = format!("{}:{} (id {})", printable(&instance.name), instance.instance, instance.id);
            session.out.line(format!("{blank}{}", style.paint(Tint::Bold, &place)))?;
        }
        for (name, value) in &instance.env {
            session.out.line(format!("{}: {}", printable(name), style.paint(Tint::Green, &printable(value))))?;
        }
    }
    Ok(ExitCode::Done)
}

/// Runs `rsx flush`. Without a daemon nobody knows who writes to the files, so it is refused.
pub(super) fn flush(session: &mut Session, args: &FlushArgs) -> Result<ExitCode, Failure> {
    let mut client = session.daemon_to_act_or_fail()?;
    let targets = all_or(session, &args.targets)?;
    let call = FlushCall { targets, keep_archives: args.keep_archives };
    let answer: LogFiles = client.call(&Call::Flush(call), LOGS_LIMIT)?;
    log_files(session, &answer, "emptied")
}

/// Runs `rsx rotate`.
pub(super) fn rotate(session: &mut Session, args: &RotateArgs) -> Result<ExitCode, Failure> {
    let mut client = session.daemon_to_act_or_fail()?;
    let targets = all_or(session, &args.targets)?;
    let answer: LogFiles = client.call(&Call::Rotate(RotateCall { targets }), LOGS_LIMIT)?;
    log_files(session, &answer, "put away")
}

fn all_or(session: &mut Session, words: &[String]) -> Result<Vec<Target>, Failure> {
    match words {
        [] => Ok(vec![Target::Word("all".into())]),
        words => targets::read(session, words, &[]),
    }
}

/// Runs `rsx reload-logs`.
pub(super) fn reload_logs(session: &mut Session) -> Result<ExitCode, Failure> {
    let answer: LogFiles = session.daemon_to_act_or_fail()?.call(&Call::ReloadLogs, LOGS_LIMIT)?;
    log_files(session, &answer, "opened anew")
}

/// Reads `3`, `+2`, `-1`.
fn count(text: &str, target: &str) -> Result<Count, Failure> {
    let wrong = || {
        Failure::new(ExitCode::Usage, format!("`{text}` is no number of instances"))
            .hint(format!("rsx scale {target} 3, rsx scale {target} +1, rsx scale {target} -1"))
    };
    if text.starts_with(['+', '-']) {
        return text.parse().map(Count::By).map_err(|_| wrong());
    }
    match text.parse() {
        Ok(0) => Err(Failure::new(ExitCode::Usage, "an app has at least 1 instance")
            .hint(format!("`rsx stop {target}` stops it, `rsx delete {target}` forgets it"))),
        Ok(count @ 1..=MAX_INSTANCES) => Ok(Count::To(count)),
        Ok(_) => Err(Failure::new(ExitCode::Usage, format!("an app has at most {MAX_INSTANCES} instances"))),
        Err(_) => Err(wrong()),
    }
}

fn at_once(session: &mut Session, call: &Call, done: &str) -> Result<ExitCode, Failure> {
    let outcome: Outcome = session.daemon_to_act_or_fail()?.call(call, AT_ONCE)?;
    let verdict = apply::verdict(&outcome.results, apply::Waited::ToTheEnd);
    if session.json {
        session.out.json(&outcome)?;
        return Ok(verdict);
    }
    if let Some(summary) = outcome::summary(done, &outcome.results) {
        session.out.talk(&summary);
    }
    for line in outcome::failures(&outcome.results, session.out.error_style()) {
        session.out.complain(&line);
    }
    Ok(verdict)
}

fn log_files(session: &mut Session, answer: &LogFiles, done: &str) -> Result<ExitCode, Failure> {
    let failed: Vec<_> = answer.files.iter().filter_map(|file| Some((file, file.problem.as_ref()?))).collect();
    let verdict = if failed.is_empty() { ExitCode::Done } else { ExitCode::TargetsFailed };
    if session.json {
        session.out.json(answer)?;
        return Ok(verdict);
    }
    for (file, problem) in &failed {
        let word = session.out.error_style().paint(Tint::Red, "failed:");
        session.out.complain(&format!("{word} {}: {}", file.path.display(), printable(problem)));
    }
    let count = answer.files.len() - failed.len();
    let sum = |of: fn(&LogFile) -> u64| answer.files.iter().map(of).sum::<u64>();
    let (bytes, archives, archived) = (sum(|file| file.bytes), sum(|file| file.archives), sum(|file| file.archived));
    let counted = |count, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    session.out.talk(&format!("{done}: {}, {}", counted(count as u64, "file"), memory(bytes)));
    if archives > 0 {
        session.out.talk(&format!("removed: {}, {}", counted(archives, "archive"), memory(archived)));
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_instances_is_absolute_or_a_difference() {
        assert_eq!(count("3", "api").unwrap(), Count::To(3));
        assert_eq!(count("+2", "api").unwrap(), Count::By(2));
        assert_eq!(count("-1", "api").unwrap(), Count::By(-1));
        for wrong in ["", "three", "+", "1.5", "10001", "99999999999"] {
            assert_eq!(count(wrong, "api").unwrap_err().code(), ExitCode::Usage, "{wrong}");
        }
        assert_eq!(count("0", "api").unwrap_err().hints(), ["`rsx stop api` stops it, `rsx delete api` forgets it"]);
    }
}
