//! `stop`, `restart`, `reload`, `delete`, `reset`: actions on what exists, and on files of apps.

use std::path::PathBuf;

use crate::cli::args::{ApplyArgs, FileArgs, FilesArgs, ReloadArgs, RestartArgs, StopArgs, TargetArgs};
use crate::cli::logs::Attach;
use crate::cli::progress::{self, FIRST_LIMIT};
use crate::cli::render::{outcome, table::Extent};
use crate::cli::session::Session;
use crate::cli::{apply, declared, outside, start, targets};
use crate::client::ClientError;
use crate::error::{ExitCode, Failure};
use crate::proto::{Act, Call, Outcome, Target, Unchanged};
use crate::spec::{Changes, ExecMode, Strategy};

/// How what is unchanged is renewed, and in which order what is reloaded is replaced.
type How = (Unchanged, Option<Strategy>);

/// What a reload is for an app in fork mode.
const NO_RELOAD: &str = "notice: in fork mode a reload is a restart: each instance stops before it starts";

/// Runs `rsx stop`.
pub(super) fn stop(session: &mut Session, args: &StopArgs) -> Result<ExitCode, Failure> {
    let targets = targets::read(session, &args.targets, &args.only)?;
    let act = Act { no_wait: args.no_wait, ..act_on(targets) };
    carry_out(session, act, Call::Stop, "stopped", extent(args.mini_list))
}

/// Runs `rsx delete`.
pub(super) fn delete(session: &mut Session, args: &StopArgs) -> Result<ExitCode, Failure> {
    let targets = targets::read(session, &args.targets, &args.only)?;
    let act = Act { no_wait: args.no_wait, ..act_on(targets) };
    carry_out(session, act, Call::Delete, "deleted", extent(args.mini_list))
}

/// Runs `rsx reset`.
pub(super) fn reset(session: &mut Session, args: &TargetArgs) -> Result<ExitCode, Failure> {
    let targets = targets::read(session, &args.targets, &[])?;
    carry_out(session, act_on(targets), Call::Reset, "counters set back:", Extent::Full)
}

/// Runs `rsx reload`.
pub(super) fn reload(session: &mut Session, args: &ReloadArgs) -> Result<ExitCode, Failure> {
    if args.abort {
        return abort(session, &args.renew);
    }
    let strategy = args.strategy.as_deref().map(|word| match word {
        "blue-green" => Strategy::BlueGreen,
        _ => Strategy::Rolling,
    });
    renew(session, &args.renew, (Unchanged::Reload, strategy))
}

/// Runs `rsx reload --abort`.
fn abort(session: &mut Session, args: &RestartArgs) -> Result<ExitCode, Failure> {
    if !start::values(&args.values).is_empty() {
        let message = "`--abort` ends a reload; it takes no new values";
        return Err(Failure::new(ExitCode::Usage, message).hint("rsx reload --abort api"));
    }
    let targets = targets::read(session, &args.targets, &[])?;
    let act = Act { no_wait: args.apply.no_wait, ..act_on(targets) };
    carry_out(session, act, Call::AbortReload, "reload ended, as before:", extent(args.mini_list))
}

/// An action without anything special.
fn act_on(targets: Vec<Target>) -> Act {
    Act { targets, update_env: None, changes: None, parallel: None, strategy: None, no_wait: false }
}

/// Runs `rsx startOrReload`.
pub(super) fn start_or_reload(session: &mut Session, args: &FilesArgs) -> Result<ExitCode, Failure> {
    start_or(session, args, Unchanged::Reload)
}

/// Runs `rsx startOrRestart`.
pub(super) fn start_or_restart(session: &mut Session, args: &FilesArgs) -> Result<ExitCode, Failure> {
    start_or(session, args, Unchanged::Restart)
}

fn start_or(session: &mut Session, args: &FilesArgs, how: Unchanged) -> Result<ExitCode, Failure> {
    if let Some(word) = args.files.iter().find(|word| !declared::is_declaration(session, word)) {
        return Err(Failure::new(ExitCode::Usage, format!("`{word}` is no config file"))
            .hint(format!("`rsx restart {word}` restarts what is in the list")));
    }
    let files: Vec<&String> = args.files.iter().collect();
    let mut attach = Attach::begin(session, &args.apply)?;
    let how = (&args.apply, how, None);
    let code = apply_files(session, &files, &args.file, how, (extent(args.mini_list), attach.as_mut()))?;
    attach.map_or(Ok(code), |attach| attach.follow(session, code))
}

/// Runs `rsx restart`: files are applied first, and what is unchanged in them is restarted, too.
pub(super) fn restart(session: &mut Session, args: &RestartArgs) -> Result<ExitCode, Failure> {
    renew(session, args, (Unchanged::Restart, None))
}

fn renew(session: &mut Session, args: &RestartArgs, how: How) -> Result<ExitCode, Failure> {
    let mut attach = Attach::begin(session, &args.apply)?;
    let code = renew_all(session, args, how, attach.as_mut())?;
    attach.map_or(Ok(code), |attach| attach.follow(session, code))
}

fn renew_all(
    session: &mut Session,
    args: &RestartArgs,
    (how, strategy): How,
    mut attach: Option<&mut Attach>,
) -> Result<ExitCode, Failure> {
    let extent = extent(args.mini_list);
    let (files, words): (Vec<&String>, Vec<&String>) =
        args.targets.iter().partition(|word| declared::is_declaration(session, word));
    if files.is_empty() && (args.file.env.is_some() || !args.file.only.is_empty()) {
        let message = "`--env` and `--only` choose from a config file, and none was named";
        return Err(Failure::new(ExitCode::Usage, message).hint("rsx restart ecosystem.toml --only api"));
    }
    let changes = changes(session, args, files.first().map(|file| file.as_str()))?;
    let mut code = ExitCode::Done;
    if !files.is_empty() {
        let how = (&args.apply, how, strategy);
        code = apply_files(session, &files, &args.file, how, (extent, attach.as_deref_mut()))?;
    }
    if words.is_empty() || code == ExitCode::Interrupted {
        return Ok(code);
    }
    let words: Vec<String> = words.into_iter().cloned().collect();
    let targets = targets::read(session, &words, &[])?;
    if let Some(attach) = attach {
        attach.named(words);
    }
    let update_env = args.apply.update_env.then(|| outside::inherited_env(session.environment()));
    let edited = edited_files(session, &targets);
    let (parallel, no_wait) = (args.apply.parallel, args.apply.no_wait);
    let act = Act { targets, update_env, changes, parallel, strategy, no_wait };
    let done = match how {
        Unchanged::Reload => {
            tell_of_fork_mode(session, &act.targets);
            carry_out(session, act, Call::Reload, "reloaded", extent)?
        }
        Unchanged::Leave | Unchanged::Restart => carry_out(session, act, Call::Restart, "restarted", extent)?,
    };
    for (file, name) in edited {
        session.out.talk(&format!(
            "hint: `{}` was edited after `{name}` was started: `rsx restart {} --only {name}` takes it over",
            file.display(),
            file.display()
        ));
    }
    Ok(if done == ExitCode::Done { code } else { done })
}

/// Says what a reload is for those that share no port.
fn tell_of_fork_mode(session: &mut Session, targets: &[Target]) {
    let view = || {
        let mut client = session.daemon().ok()??;
        crate::cli::session::view(&mut client, crate::proto::ViewDetail::Full).ok()
    };
    let Some(view) = view() else { return };
    let Ok(picked) = targets::pick_all(&view, targets) else { return };
    let is_fork = |spec: &crate::spec::AppSpec| spec.exec_mode == ExecMode::Fork;
    if picked.iter().any(|picked| picked.app.spec.as_ref().is_some_and(is_fork)) {
        session.out.talk(NO_RELOAD);
    }
}

/// The new values that the flags give to what is in the list.
fn changes(session: &mut Session, args: &RestartArgs, file: Option<&str>) -> Result<Option<Box<Changes>>, Failure> {
    let flags = start::values(&args.values);
    if flags.is_empty() && args.args.is_empty() {
        return Ok(None);
    }
    if let Some(file) = file {
        let message = format!("flags change what is in the list, and `{file}` is a file of apps");
        return Err(Failure::new(ExitCode::Usage, message).hint("write the values into the file, by the same names"));
    }
    let verb = format!("rsx {} {}", session.verb, args.targets.join(" "));
    let (changes, warnings) = outside::changes_from_flags(session, &verb, &flags, &args.args)?;
    warn(session, &warnings);
    Ok(Some(Box::new(changes)))
}

/// Applies files, and restarts what is unchanged in them.
fn apply_files(
    session: &mut Session,
    files: &[&String],
    file: &FileArgs,
    (args, how, strategy): (&ApplyArgs, Unchanged, Option<Strategy>),
    (extent, attach): (Extent, Option<&mut Attach>),
) -> Result<ExitCode, Failure> {
    start::refuse_partial_prune(args, file)?;
    let (mut apps, mut names) = (Vec::new(), Vec::new());
    for path in files {
        let loaded = declared::load(session, path, file)?;
        warn(session, &loaded.warnings);
        apps.extend(loaded.apps);
        names.extend(loaded.names);
    }
    if let Some(attach) = attach {
        attach.declared(session, &apps)?;
    }
    if how == Unchanged::Reload && apps.iter().any(|app| app.exec_mode == ExecMode::Fork) {
        session.out.talk(NO_RELOAD);
    }
    let wish = crate::proto::Apply { strategy, ..apply::declaration(session, apps, args, how) };
    apply::apply(session, wish, &names, extent)
}

/// Starts what targets name (`rsx start api`).
pub(super) fn start(session: &mut Session, act: Act, extent: Extent) -> Result<ExitCode, Failure> {
    carry_out(session, act, Call::Start, "started", extent)
}

/// The table that a verb prints afterwards.
pub(super) fn extent(is_mini: bool) -> Extent {
    if is_mini { Extent::Short } else { Extent::Full }
}

/// Prints problems of a file that stop nothing.
pub(super) fn warn(session: &mut Session, warnings: &str) {
    if !warnings.is_empty() {
        session.out.talk(warnings.trim_end());
    }
}

fn carry_out(
    session: &mut Session,
    act: Act,
    call: fn(Act) -> Call,
    done: &str,
    extent: Extent,
) -> Result<ExitCode, Failure> {
    let waited = if act.no_wait { apply::Waited::No } else { apply::Waited::ToTheEnd };
    let call = call(act);
    let mut client = session.daemon_to_act_or_fail()?;
    let outcome: Outcome = match progress::ask(session, &mut client, &call, FIRST_LIMIT) {
        Err(ClientError::Interrupted) => return Ok(apply::detached(session)),
        answer => answer?,
    };
    if session.json {
        session.out.json(&outcome)?;
        return Ok(apply::verdict(&outcome.results, waited));
    }
    if let Some(summary) = outcome::summary(done, &outcome.results) {
        session.out.talk(&summary);
    }
    apply::conclude(session, &mut client, &outcome.results, extent, waited)
}

/// Files that declare what is restarted and were written after it was last started by request; a restart by name keeps
/// the old values. With one of the apps each declares.
fn edited_files(session: &Session, targets: &[Target]) -> Vec<(PathBuf, String)> {
    let view = || {
        let mut client = session.daemon().ok()??;
        crate::cli::session::view(&mut client, crate::proto::ViewDetail::Full).ok()
    };
    let Some(view) = view() else { return Vec::new() };
    let Ok(picked) = targets::pick_all(&view, targets) else { return Vec::new() };
    let mut edited: Vec<(PathBuf, String)> = Vec::new();
    for picked in picked {
        let Some(crate::spec::Origin::File(path)) = picked.app.spec.as_ref().map(|spec| &spec.origin) else { continue };
        if edited.iter().any(|(known, _)| known == path) {
            continue;
        }
        let written = std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let written = written.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let started = picked.slots.iter().map(|slot| slot.created).min().unwrap_or(u64::MAX);
        if written.is_some_and(|written| written.as_millis() > u128::from(started)) {
            edited.push((path.clone(), picked.app.name.clone()));
        }
    }
    edited
}
