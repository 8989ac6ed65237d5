//! The seams to the layers beside this one: one function for each thing that is asked of them, with the session's
//! facts filled in and their problems printed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cli::session::Session;
use crate::cli::style::Style;
use crate::config::{self, Colour, CommandLine, ConfigError, Options, Report, Template};
use crate::error::{ExitCode, Failure};
use crate::spec::{AppSpec, Env};
use crate::sys::system;

/// How wide problems are drawn where stderr has no width of its own.
const REPORT_WIDTH: usize = 100;

/// What a config file declares.
pub(super) struct Loaded {
    /// The apps that were asked for.
    pub(super) apps: Vec<AppSpec>,
    /// The names of all that it declares.
    pub(super) names: Vec<String>,
    /// Problems that stop nothing, rendered; empty if there are none.
    pub(super) warnings: String,
    /// The file, absolute.
    pub(super) path: PathBuf,
}

/// What a script or command line on the command line is, with its flags by key.
pub(super) struct Typed<'a> {
    pub(super) script: &'a str,
    pub(super) args: &'a [String],
    pub(super) flags: &'a [(&'static str, String)],
}

/// Reads a config file.
pub(super) fn load(session: &mut Session, path: &Path, env: Option<&str>, only: &[String]) -> Result<Loaded, Failure> {
    let loaded = config::load(path, &options(session, env, only));
    settle(session, loaded)
}

/// Reads a JSON config from text.
pub(super) fn load_json(
    session: &mut Session,
    text: &str,
    env: Option<&str>,
    only: &[String],
) -> Result<Loaded, Failure> {
    let loaded = config::parse_stdin_json(text, session.cwd(), &options(session, env, only));
    settle(session, loaded)
}

/// Makes an app of a script or command line. What is wrong with it is a usage error: it was typed.
pub(super) fn app_from_flags(session: &mut Session, typed: &Typed<'_>) -> Result<AppSpec, Failure> {
    let options = options(session, None, &[]);
    let flags: Vec<(&str, &str)> = typed.flags.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let line =
        CommandLine { flags: &flags, script: typed.script, args: typed.args, cwd: session.cwd(), options: &options };
    match config::app_from_flags(&line) {
        Ok((app, warnings)) => {
            let warnings = rendered(session, &warnings);
            super::act::warn(session, &warnings);
            Ok(app)
        }
        Err(report) => {
            let failure = Failure::new(ExitCode::Usage, format!("cannot make an app of `{}`", typed.script));
            Err(cited(session, failure, &report))
        }
    }
}

/// The config file of a folder, if there is one.
pub(super) fn find_default(dir: &Path) -> Option<PathBuf> {
    config::find_default(dir)
}

/// Whether a word of the command line names a config file.
pub(super) fn is_config_path(word: &str) -> bool {
    config::is_config_path(word)
}

/// The text that `rsx init` writes.
pub(super) fn template(is_simple: bool) -> String {
    config::template(if is_simple { Template::Simple } else { Template::Full })
}

/// What an app inherits of this shell's environment.
pub(super) fn inherited_env(variables: impl Iterator<Item = (OsString, OsString)>) -> Env {
    config::inherited_env(variables)
}

fn options(session: &Session, env: Option<&str>, only: &[String]) -> Options {
    Options {
        env_name: env.map(str::to_owned),
        only: only.to_vec(),
        home_dir: session.user_home(),
        cores: u16::try_from(system::usable_cores()).unwrap_or(u16::MAX),
    }
}

fn settle(session: &mut Session, loaded: Result<config::Loaded, ConfigError>) -> Result<Loaded, Failure> {
    match loaded {
        Ok(config::Loaded { apps, names, warnings, path }) => {
            Ok(Loaded { apps, names, warnings: rendered(session, &warnings), path })
        }
        Err(error) => match error.report() {
            Some(report) => Err(cited(session, error.to_failure(), report)),
            None => Err(error.to_failure()),
        },
    }
}

/// For people, the report stands in front of the failure; for programs, in it.
fn cited(session: &mut Session, failure: Failure, report: &Report) -> Failure {
    let text = rendered(session, report);
    if session.json {
        return failure.because(text);
    }
    session.out.complain(text.trim_end());
    failure
}

fn rendered(session: &Session, report: &Report) -> String {
    let colour = match session.out.error_style() {
        Style::Plain => Colour::Never,
        Style::Colour => Colour::Always,
    };
    let width = system::terminal_width(&std::io::stderr()).map_or(REPORT_WIDTH, usize::from);
    report.render(colour, width)
}
