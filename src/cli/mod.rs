//! The command line: clap types, one file a family of verbs, pure rendering.
//!
//! A verb reads its words, asks the daemon through [`crate::client`], and prints. What is decided without the world is
//! in `targets`, `start` and `render`, which are pure; the environment is read in `session` and nowhere else.
//!
//! stdout is data, stderr is talk; every failure is a [`Failure`] with an exit code of [`ExitCode`].
#![allow(clippy::disallowed_methods, reason = "the command line is the edge: it reads the environment and files")]

mod act;
mod apply;
mod args;
mod care;
mod daemon;
mod declared;
mod doctor;
mod events;
mod files;
mod import;
mod later;
mod list;
mod logs;
mod metrics;
mod monit;
mod output;
mod outside;
mod pages;
mod progress;
mod render;
mod saved;
mod serve;
mod session;
mod start;
mod style;
mod targets;
mod update;
mod watch;
mod why;

use std::ffi::OsString;
use std::io::Write;

use clap::{CommandFactory, FromArgMatches};
use serde_json::json;

use crate::cli::args::{Cli, Verb};
use crate::cli::session::Session;
use crate::cli::style::{Style, Tint};
use crate::error::{ExitCode, Failure};

pub use pages::{Generated, Part, generated};

/// Runs one command line, program name first; prints what there is to print.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    // Asked for before clap could say so, because clap itself may fail.
    let wants_json = args.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    if let Err(failure) = later::refuse_verb(args.iter().filter_map(|word| word.to_str())) {
        return failed(&failure, wants_json, Style::Plain);
    }
    let matches = match later::with_known_flags(Cli::command()).try_get_matches_from(&args) {
        Ok(matches) => matches,
        Err(error) => return misunderstood(&error, wants_json),
    };
    let known = matches.subcommand().map_or(Ok(Vec::new()), |(name, sub)| later::judge_flags(name, sub));
    let cli = known.and_then(|notices| {
        Cli::from_arg_matches(&matches)
            .map(|cli| (cli, notices))
            .map_err(|error| Failure::new(ExitCode::Usage, error.render().to_string()))
    });
    let (cli, notices) = match cli {
        Ok(cli) => cli,
        Err(failure) => return failed(&failure, wants_json, Style::Plain),
    };
    let mut session = Session::new(&cli.global, name(&cli.verb));
    for notice in notices {
        session.out.talk(&format!("notice: {notice}"));
    }
    let ended = dispatch(&mut session, &cli.verb).and_then(|code| session.out.flush().map(|()| code));
    match ended {
        Ok(code) => code,
        Err(failure) => {
            let _ = session.out.flush();
            failed(&failure, session.json, session.out.error_style())
        }
    }
}

fn dispatch(session: &mut Session, verb: &Verb) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Start(args) => start::run(session, args),
        Verb::Restart(args) => act::restart(session, args),
        Verb::Reload(args) => act::reload(session, args),
        Verb::StartOrRestart(args) => act::start_or_restart(session, args),
        Verb::StartOrReload(args) => act::start_or_reload(session, args),
        Verb::Scale(args) => care::scale(session, args),
        Verb::Stop(args) => act::stop(session, args),
        Verb::Delete(args) => act::delete(session, args),
        Verb::Serve(args) => serve::run(session, args),
        Verb::Ls(args) => list::ls(session, args),
        Verb::Jlist => list::jlist(session),
        Verb::Prettylist => list::prettylist(session),
        Verb::Why(args) => why::run(session, args),
        Verb::Metrics(args) => metrics::run(session, args),
        Verb::Monit(args) => monit::run(session, args),
        Verb::Env(args) => care::env(session, args),
        Verb::Id(args) => list::id(session, args),
        Verb::Signal(args) => care::signal(session, args),
        Verb::Send(args) => care::send(session, args),
        Verb::Reset(args) => act::reset(session, args),
        Verb::Flush(args) => care::flush(session, args),
        Verb::Rotate(args) => care::rotate(session, args),
        Verb::ReloadLogs => care::reload_logs(session),
        Verb::Doctor => doctor::run(session),
        Verb::Describe(args) => list::describe(session, args),
        Verb::Logs(args) => logs::run(session, args),
        Verb::Pid(args) => list::pid(session, args),
        Verb::Events(args) => events::run(session, args),
        Verb::Ping => daemon::ping(session),
        Verb::Save(args) => saved::save(session, args),
        Verb::Resurrect(args) => saved::resurrect(session, args),
        Verb::Update(args) => update::run(session, args),
        Verb::Kill => daemon::kill(session),
        Verb::Check(args) => files::check(session, args),
        Verb::Init(args) => files::init(session, args),
        Verb::Import(args) => import::run(session, args),
        Verb::Version => daemon::version(session),
        Verb::Man(args) => pages::man(session, args),
        Verb::Completions(args) => pages::completions(session, args),
        Verb::CompleteNames => pages::complete_names(session),
    }
}

/// The verb as events name it.
fn name(verb: &Verb) -> &'static str {
    match verb {
        Verb::Start(_) => "start",
        Verb::Restart(_) => "restart",
        Verb::Reload(_) => "reload",
        Verb::StartOrRestart(_) => "startOrRestart",
        Verb::StartOrReload(_) => "startOrReload",
        Verb::Scale(_) => "scale",
        Verb::Stop(_) => "stop",
        Verb::Delete(_) => "delete",
        Verb::Serve(_) => "serve",
        Verb::Ls(_) => "ls",
        Verb::Jlist => "jlist",
        Verb::Prettylist => "prettylist",
        Verb::Why(_) => "why",
        Verb::Metrics(_) => "metrics",
        Verb::Monit(_) => "monit",
        Verb::Env(_) => "env",
        Verb::Id(_) => "id",
        Verb::Signal(_) => "signal",
        Verb::Send(_) => "send",
        Verb::Reset(_) => "reset",
        Verb::Flush(_) => "flush",
        Verb::Rotate(_) => "rotate",
        Verb::ReloadLogs => "reload-logs",
        Verb::Doctor => "doctor",
        Verb::Describe(_) => "describe",
        Verb::Logs(_) => "logs",
        Verb::Pid(_) => "pid",
        Verb::Events(_) => "events",
        Verb::Ping => "ping",
        Verb::Save(_) => "save",
        Verb::Resurrect(_) => "resurrect",
        Verb::Update(_) => "update",
        Verb::Kill => "kill",
        Verb::Check(_) => "check",
        Verb::Init(_) => "init",
        Verb::Import(_) => "import",
        Verb::Version => "version",
        Verb::Man(_) => "man",
        Verb::Completions(_) => "completions",
        Verb::CompleteNames => "complete-names",
    }
}

/// Help and the version are answers; everything else that clap says is a usage error.
fn misunderstood(error: &clap::Error, wants_json: bool) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::Done;
    }
    if wants_json {
        let text = error.render().to_string();
        return failed(&Failure::new(ExitCode::Usage, text.trim().trim_start_matches("error: ")), true, Style::Plain);
    }
    let _ = error.print();
    ExitCode::Usage
}

/// Prints a failure: on stderr for people, as JSON on stdout for programs.
pub fn report(failure: &Failure) -> ExitCode {
    failed(failure, false, Style::Plain)
}

fn failed(failure: &Failure, wants_json: bool, style: Style) -> ExitCode {
    // Nobody may be reading; the exit code says it, too.
    let _ = if wants_json {
        let error = json!({
            "code": failure.code() as u8,
            "message": failure.message(),
            "causes": failure.causes(),
            "hints": failure.hints(),
            "report": failure.report(),
        });
        writeln!(std::io::stdout().lock(), "{}", json!({ "error": error }))
    } else {
        let text = failure.to_string();
        let text = match text.rfind("error: ").filter(|at| *at == 0 || text[..*at].ends_with('\n')) {
            Some(at) => format!("{}{}{}", &text[..at], style.paint(Tint::Red, "error:"), &text[at + "error:".len()..]),
            None => text,
        };
        writeln!(std::io::stderr().lock(), "{text}")
    };
    failure.code()
}

#[cfg(test)]
mod tests;
