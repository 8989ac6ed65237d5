//! The seams to the layers beside this one: one function for each thing that is asked of them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cli::session::Session;
use crate::error::{ExitCode, Failure};
use crate::spec::{AppSpec, Env};

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
    let _ = (session.user_home(), env, only);
    Err(unwired(&format!("cannot read `{}`", path.display())))
}

/// Reads a JSON config from text.
pub(super) fn load_json(
    session: &mut Session,
    text: &str,
    env: Option<&str>,
    only: &[String],
) -> Result<Loaded, Failure> {
    let _ = (session, text, env, only);
    Err(unwired("cannot read the configuration on stdin"))
}

/// Makes an app of a script or command line.
pub(super) fn app_from_flags(session: &mut Session, typed: &Typed<'_>) -> Result<AppSpec, Failure> {
    let _ = (session, typed.args, typed.flags);
    Err(unwired(&format!("cannot make an app of `{}`", typed.script)))
}

/// The config file of a folder, if there is one.
pub(super) fn find_default(dir: &Path) -> Option<PathBuf> {
    ["ecosystem.toml", "ecosystem.json", "ecosystem.yaml", "ecosystem.yml"]
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.is_file())
}

/// Whether a word of the command line names a config file.
pub(super) fn is_config_path(word: &str) -> bool {
    [".toml", ".json", ".yaml", ".yml", ".config.js", ".config.cjs", ".config.mjs"]
        .iter()
        .any(|end| word.ends_with(end))
}

/// The text that `rsx init` writes.
pub(super) fn template(is_simple: bool) -> String {
    let _ = is_simple;
    "[[apps]]\nname = \"app\"\nscript = \"app.js\"\n".to_owned()
}

/// What an app inherits of this shell's environment.
pub(super) fn inherited_env(variables: impl Iterator<Item = (OsString, OsString)>) -> Env {
    variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

fn unwired(what: &str) -> Failure {
    Failure::new(ExitCode::InvalidConfig, what).because("configuration is not part of this build")
}
