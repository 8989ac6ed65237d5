//! `check` and `init`: verbs about config files. They never speak to a daemon.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::Serialize;

use crate::cli::args::{CheckArgs, InitArgs};
use crate::cli::render::units::redacted;
use crate::cli::session::Session;
use crate::cli::{act, outside};
use crate::error::{ExitCode, Failure};
use crate::spec::{AppSpec, Program};

/// The file that `init` writes.
const NAME: &str = "ecosystem.toml";

/// Runs `rsx check`: a file with errors ends as a failure with all of them, cited.
pub(super) fn check(session: &mut Session, args: &CheckArgs) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Checked<'a> {
        ok: bool,
        apps: &'a [AppSpec],
        warnings: &'a str,
    }
    let path = match &args.path {
        Some(path) => session.cwd().join(path),
        None => outside::find_default(session.cwd()).ok_or_else(|| {
            Failure::new(ExitCode::Usage, format!("no ecosystem file in `{}`", session.cwd().display()))
                .hint("name the file, or write one with `rsx init`")
        })?,
    };
    if is_own(session, &path) {
        return check_own(session);
    }
    let loaded = outside::load(session, &path, args.file.env.as_deref(), &args.file.only)?;
    if session.json {
        session.out.json(&Checked { ok: true, apps: &loaded.apps, warnings: &loaded.warnings })?;
        return Ok(ExitCode::Done);
    }
    act::warn(session, &loaded.warnings);
    let count = loaded.apps.len();
    session.out.line(format!("ok: {count} {}", if count == 1 { "app" } else { "apps" }))?;
    for app in &loaded.apps {
        let times = if app.instances == 1 { String::new() } else { format!(" ×{}", app.instances) };
        session.out.line(format!("  {}{times}: {}", app.name, command(&app.program)))?;
    }
    Ok(ExitCode::Done)
}

/// Whether this is the file in which the daemon is told about itself.
fn is_own(session: &Session, path: &Path) -> bool {
    let Ok(own) = session.home().map(|home| home.config()) else { return false };
    let real = |path: &Path| path.canonicalize().ok();
    own.exists() && real(&own) == real(path)
}

fn check_own(session: &mut Session) -> Result<ExitCode, Failure> {
    let own = outside::own_config(session)?;
    let metrics = own.metrics.map(|it| it.socket.address.to_string());
    if session.json {
        session.out.json(&serde_json::json!({ "ok": true, "metrics": metrics }))?;
    } else {
        let metrics = metrics.unwrap_or_else(|| "nowhere".to_owned());
        session.out.line(format!("ok: the daemon's own\n  metrics are served: {metrics}"))?;
    }
    Ok(ExitCode::Done)
}

/// Runs `rsx init`.
pub(super) fn init(session: &mut Session, args: &InitArgs) -> Result<ExitCode, Failure> {
    let path = session.cwd().join(NAME);
    let text = outside::template(args.kind.is_some());
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Failure::failed(format!("`{}` is there already", path.display()))
                .hint(format!("`rsx check {NAME}` tells whether it is right; move it away to write a new one")));
        }
        Err(error) => {
            return Err(Failure::failed(format!("cannot write `{}`", path.display())).caused_by(&error));
        }
    }
    if session.json {
        session.out.json(&serde_json::json!({ "written": path }))?;
    } else {
        session.out.line(format!("written: {}", path.display()))?;
        session.out.talk("edit it, then `rsx check` and `rsx start`");
    }
    Ok(ExitCode::Done)
}

/// What will be executed, for people.
fn command(program: &Program) -> String {
    let words = |first: &[&str], rest: &[String]| {
        first.iter().copied().chain(rest.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    };
    match program {
        Program::Script { script, interpreter, interpreter_args, args } => {
            let front = words(&[interpreter], interpreter_args);
            words(&[&front, &script.display().to_string()], args)
        }
        Program::Binary { path, args } => words(&[&path.display().to_string()], args),
        Program::CommandLine { line } => format!("bash -c {line:?}"),
        Program::Serve { args } => words(&["rsx:serve"], &redacted(args)),
    }
}
