//! Carries out a declaration: plan, progress, results, table.

use std::os::unix::fs::MetadataExt;

use crate::cli::args::ApplyArgs;
use crate::cli::outside;
use crate::cli::progress::{self, limit_of};
use crate::cli::render::{outcome, plan, table};
use crate::cli::session::{Session, view};
use crate::client::{Client, ClientError};
use crate::error::{ExitCode, Failure};
use crate::proto::{Applied, Apply, Call, PlanAction, PlanStep, Refusal, SlotResult, StartApp, Unchanged, ViewDetail};
use crate::spec::{AppSpec, Stamp};

/// Whether the verb waited for the end of what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// For all of it.
    ToTheEnd,
    /// `--no-wait`.
    No,
}

/// The declaration of these apps as the flags want it carried out.
pub(super) fn declaration(session: &Session, apps: Vec<AppSpec>, flags: &ApplyArgs, unchanged: Unchanged) -> Apply {
    Apply {
        apps: apps.into_iter().map(|spec| StartApp { stamp: stamp(&spec), spec }).collect(),
        inherited: outside::inherited_env(session.environment()),
        unchanged,
        dry_run: flags.dry_run,
        prune: flags.prune,
        force: flags.force,
        update_env: flags.update_env,
        parallel: flags.parallel,
        strategy: None,
        no_wait: flags.no_wait,
    }
}

/// Carries it out and tells how it went. `names` are all that the files declare, whether chosen or not.
pub(super) fn apply(
    session: &mut Session,
    apply: Apply,
    names: &[String],
    extent: table::Extent,
) -> Result<ExitCode, Failure> {
    if apply.dry_run {
        return dry_run(session, apply, names);
    }
    let waited = if apply.no_wait { Waited::No } else { Waited::ToTheEnd };
    let limit = limit_of(apply.apps.iter().map(|app| &app.spec));
    let mut client = session.daemon_or_start()?;
    // A person sees what will happen before it takes its time; a pipe gets it with the answer.
    let mut is_told_before = false;
    if session.draws_progress() {
        let planned = Call::Apply(Box::new(Apply { dry_run: true, ..apply.clone() }));
        match client.call::<Applied>(&planned, limit) {
            Ok(planned) => {
                print_plan(session, &planned.plan, names, plan::Length::Short)?;
                session.out.flush()?;
                is_told_before = true;
            }
            // The call itself meets the same refusal and knows what to do.
            Err(ClientError::Refused(Refusal::Leaving)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let call = Call::Apply(Box::new(apply));
    let mut answer = progress::ask(session, &mut client, &call, limit);
    // It is shutting down, for a `kill` just before: the next one takes the declaration.
    if matches!(answer, Err(ClientError::Refused(Refusal::Leaving))) {
        client.wait_until_gone(&session.home()?, limit)?;
        client = session.daemon_or_start()?;
        answer = progress::ask(session, &mut client, &call, limit);
    }
    let applied: Applied = match answer {
        Err(ClientError::Interrupted) => return Ok(detached(session)),
        answer => answer?,
    };
    if session.json {
        session.out.json(&applied)?;
        return Ok(verdict(&applied.results, waited));
    }
    if !is_told_before && !session.out.is_silent() {
        print_plan(session, &applied.plan, names, plan::Length::Short)?;
    }
    conclude(session, &mut client, &applied.results, extent, waited)
}

/// Prints the table and failures; says by the exit code whether all ended as asked.
pub(super) fn conclude(
    session: &mut Session,
    client: &mut Client,
    results: &[SlotResult],
    extent: table::Extent,
    waited: Waited,
) -> Result<ExitCode, Failure> {
    let verdict = verdict(results, waited);
    if !session.out.is_silent() {
        let view = view(client, ViewDetail::Brief)?;
        let sheet = sheet(session, extent);
        let told: Vec<u32> = results.iter().filter(|it| !outcome::is_done(it)).map(|it| it.id).collect();
        session.out.data(table::table(&view, sheet))?;
        session.out.data(table::troubles(&view, sheet, &told))?;
        let named: Vec<&str> = results.iter().map(|it| it.name.as_str()).collect();
        session.out.data(table::shared(&view, &named))?;
    }
    // Last, so that a long table does not push what went wrong out of sight.
    if verdict != ExitCode::Done {
        for line in outcome::failures(results, session.out.error_style()) {
            session.out.complain(&line);
        }
    }
    Ok(verdict)
}

/// Where and how tables of this session are drawn.
pub(super) fn sheet(session: &Session, extent: table::Extent) -> table::Sheet {
    table::Sheet { width: session.width(), style: session.out.style(), extent, now: session.now() }
}

/// Ctrl-C during a wait: what was asked goes on.
pub(super) fn detached(session: &mut Session) -> ExitCode {
    session.out.complain("detached: it goes on by itself; `rsx ls` and `rsx logs` show how");
    ExitCode::Interrupted
}

/// The exit code of some results.
pub(super) fn verdict(results: &[SlotResult], waited: Waited) -> ExitCode {
    let is_pending = |result: &SlotResult| matches!(result.answer, crate::proto::Answer::Pending { .. });
    let is_fine = |result: &SlotResult| outcome::is_done(result) || (waited == Waited::No && is_pending(result));
    if results.iter().all(is_fine) { ExitCode::Done } else { ExitCode::TargetsFailed }
}

/// A dry run reads only, so it starts no daemon: where none runs, everything is new.
fn dry_run(session: &mut Session, apply: Apply, names: &[String]) -> Result<ExitCode, Failure> {
    let limit = limit_of(std::iter::empty());
    let applied = match session.daemon()? {
        Some(mut client) => client.call(&Call::Apply(Box::new(apply)), limit)?,
        None => Applied { plan: apply.apps.into_iter().map(|app| all_new(app.spec)).collect(), results: Vec::new() },
    };
    if session.json {
        session.out.json(&applied)?;
    } else {
        print_plan(session, &applied.plan, names, plan::Length::Whole)?;
    }
    Ok(ExitCode::Done)
}

fn all_new(spec: AppSpec) -> PlanStep {
    let action = if spec.autostart { PlanAction::Create } else { PlanAction::Register };
    PlanStep { name: spec.name, namespace: spec.namespace, action }
}

/// The daemon calls gone what a declaration leaves out; with `--only` that may well be in the file.
fn print_plan(
    session: &mut Session,
    steps: &[PlanStep],
    names: &[String],
    length: plan::Length,
) -> Result<(), Failure> {
    let (style, now) = (session.out.style(), session.now());
    let is_left_out = |step: &PlanStep| step.action == PlanAction::Keep && names.contains(&step.name);
    let steps: Vec<&PlanStep> = steps.iter().filter(|step| !is_left_out(step)).collect();
    plan::lines(&steps, length, style, now).into_iter().try_for_each(|line| session.out.line(line))
}

/// The state of the script file now; none where there is no such file, which starting it will say by name.
fn stamp(spec: &AppSpec) -> Option<Stamp> {
    let meta = std::fs::metadata(spec.script_path()?).ok()?;
    let modified = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    Some(Stamp { device: meta.dev(), inode: meta.ino(), modified, size: meta.size() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Answer, State};

    fn result(answer: Answer) -> SlotResult {
        SlotResult { id: 0, name: "api".into(), instance: 0, answer }
    }

    #[test]
    fn only_all_done_is_success() {
        let done = || result(Answer::Done { state: State::Online });
        let pending = || result(Answer::Pending { state: State::Launching });
        assert_eq!(verdict(&[], Waited::ToTheEnd), ExitCode::Done);
        assert_eq!(verdict(&[done()], Waited::ToTheEnd), ExitCode::Done);
        assert_eq!(verdict(&[done(), pending()], Waited::ToTheEnd), ExitCode::TargetsFailed);
        assert_eq!(verdict(&[done(), pending()], Waited::No), ExitCode::Done);
        assert_eq!(verdict(&[result(Answer::Superseded)], Waited::No), ExitCode::TargetsFailed);
    }

    #[test]
    fn a_new_file_in_place_of_the_old_has_another_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app");
        std::fs::write(&path, "1").unwrap();
        let mut spec = AppSpec::sample("app");
        spec.program = crate::spec::Program::Binary { path: path.clone(), args: vec![] };
        let before = stamp(&spec).unwrap();
        assert_eq!(stamp(&spec), Some(before));
        std::fs::write(dir.path().join("next"), "1").unwrap();
        std::fs::rename(dir.path().join("next"), &path).unwrap();
        assert_ne!(stamp(&spec), Some(before));
    }
}
