//! The seams to the layers beside this one: one function for each thing that is asked of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cli::session::{Session, view};
use crate::cli::style::Style;
use crate::config::pm2::{self, DumpError, Imported, Surroundings};
use crate::config::{
    self, Colour, CommandLine, ConfigError, Document, Format, Options, OwnConfig, Owner, Report, SystemProbe, Template,
};
use crate::error::{ExitCode, Failure};
use crate::proto::ViewDetail;
use crate::spec::{AppSpec, Changes, Env, Origin};
use crate::sys::system;

/// The narrowest and the widest a report of problems is printed.
const REPORT_WIDTH: (u16, u16) = (60, 120);

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
pub(super) fn load(session: &Session, path: &Path, env: Option<&str>, only: &[String]) -> Result<Loaded, Failure> {
    let path = session.cwd().join(path);
    let mut options = options(session, env, only);
    if env.is_none() {
        options.remembered = remembered(session, &path);
    }
    let loaded = config::load(&path, &options);
    shown(session, loaded)
}

/// Reads a JSON config from text.
pub(super) fn load_json(session: &Session, text: &str, env: Option<&str>, only: &[String]) -> Result<Loaded, Failure> {
    let loaded = config::parse_stdin_json(text, session.cwd(), &options(session, env, only));
    shown(session, loaded)
}

/// Reads the apps of a TOML text that is in no file.
pub(super) fn load_toml(session: &Session, text: &str) -> Result<Loaded, Failure> {
    let path = Path::new("the translated list");
    let document = Document { path, format: Format::Toml, folder: session.cwd(), owner: Owner::Folder };
    let loaded = config::parse(text, &document, &options(session, None, &[]), &SystemProbe);
    shown(session, loaded.map_err(ConfigError::Invalid))
}

/// Translates the list that PM2 has saved in `folder`.
pub(super) fn import_pm2(session: &Session, text: &str, folder: &Path) -> Result<Imported, DumpError> {
    let shell = inherited_env(session.environment());
    pm2::import_pm2(text, &Surroundings { folder, shell: &shell })
}

/// Makes an app of a script or command line; with problems that stop nothing, rendered.
pub(super) fn app_from_flags(session: &Session, typed: &Typed<'_>) -> Result<(AppSpec, String), Failure> {
    from_flags(session, ("rsx start", Some(typed.script)), typed.flags, typed.args, config::app_from_flags)
}

/// Reads the flags and arguments that change what is in the list; `verb` is how the command line begins.
pub(super) fn changes_from_flags(
    session: &Session,
    verb: &str,
    flags: &[(&'static str, String)],
    args: &[String],
) -> Result<(Changes, String), Failure> {
    from_flags(session, (verb, None), flags, args, config::changes_from_flags)
}

fn from_flags<T>(
    session: &Session,
    (verb, script): (&str, Option<&str>),
    flags: &[(&'static str, String)],
    args: &[String],
    read: fn(&CommandLine<'_>) -> Result<(T, Report), Report>,
) -> Result<(T, String), Failure> {
    let options = options(session, None, &[]);
    let flags: Vec<(&str, &str)> = flags.iter().map(|(key, value)| (*key, value.as_str())).collect();
    match read(&CommandLine { verb, flags: &flags, script, args, cwd: session.cwd(), options: &options }) {
        Ok((read, warnings)) => Ok((read, rendered(session, &warnings))),
        Err(report) => Err(Failure::new(ExitCode::Usage, report.summary()).reported(rendered(session, &report))),
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

/// The environments that the apps of this file were started with before, by name. Without a daemon nothing is known.
fn remembered(session: &Session, path: &Path) -> BTreeMap<String, String> {
    let Ok(Some(mut daemon)) = session.daemon() else { return BTreeMap::new() };
    let Ok(view) = view(&mut daemon, ViewDetail::Full) else { return BTreeMap::new() };
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let of_file = |spec: &AppSpec| matches!(&spec.origin, Origin::File(owner) if *owner == path);
    let specs = view.apps.into_iter().filter_map(|app| app.spec).filter(of_file);
    specs.filter_map(|spec| Some((spec.name, spec.env_name?))).collect()
}

fn options(session: &Session, env: Option<&str>, only: &[String]) -> Options {
    Options {
        env_name: env.map(str::to_owned),
        remembered: BTreeMap::new(),
        only: only.to_vec(),
        home_dir: session.user_home(),
        cores: u16::try_from(system::usable_cores()).unwrap_or(u16::MAX),
    }
}

fn shown(session: &Session, loaded: Result<config::Loaded, ConfigError>) -> Result<Loaded, Failure> {
    match loaded {
        Ok(config::Loaded { apps, names, warnings, path }) => {
            Ok(Loaded { apps, names, warnings: rendered(session, &warnings), path })
        }
        Err(error) => {
            let report = error.report().map(|report| rendered(session, report)).unwrap_or_default();
            Err(error.to_failure().reported(report))
        }
    }
}

/// What the daemon of this home is told in `config.toml`; nothing where there is none.
pub(super) fn own_config(session: &Session) -> Result<OwnConfig, Failure> {
    let path = session.home()?.config();
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(OwnConfig::default()),
        text => text.map_err(|error| Failure::failed(format!("cannot read `{}`", path.display())).caused_by(&error))?,
    };
    config::own_config(&text, &path, session.user_home().as_deref()).map_err(|report| {
        let text = rendered(session, &report);
        ConfigError::Invalid(report).to_failure().reported(text)
    })
}

fn rendered(session: &Session, report: &Report) -> String {
    if report.is_empty() {
        return String::new();
    }
    let colour = match session.out.error_style() {
        Style::Plain => Colour::Never,
        Style::Colour => Colour::Always,
    };
    let width = session.width().unwrap_or(REPORT_WIDTH.1).clamp(REPORT_WIDTH.0, REPORT_WIDTH.1);
    report.render(colour, width.into())
}
