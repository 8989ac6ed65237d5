//! The edge of this layer: files are found and read here, and the machine is asked.
#![expect(clippy::disallowed_methods, reason = "reading configuration files is the job of this file")]

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::config::document::{Document, Owner, parse};
use crate::config::node::Span;
use crate::config::problem::{Problem, Report, STDIN};
use crate::config::script;
use crate::config::{Format, Loaded, MAX_FILE, Options, Probe};
use crate::error::{ExitCode, Failure};

/// Why there are no apps.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is in a form that is not read.
    #[error("{}", .0.summary())]
    Unsupported(Report),
    /// The file is invalid.
    #[error("{}", .0.summary())]
    Invalid(Report),
}

impl ConfigError {
    /// The problems to show, where there are any.
    pub fn report(&self) -> Option<&Report> {
        match self {
            ConfigError::Unreadable { .. } => None,
            ConfigError::Unsupported(report) | ConfigError::Invalid(report) => Some(report),
        }
    }

    /// As the failure of a verb; the report is to be printed before it.
    pub fn to_failure(&self) -> Failure {
        match self {
            ConfigError::Unreadable { source, .. } => {
                let code = match source.kind() {
                    io::ErrorKind::NotFound => ExitCode::NoSuchTarget,
                    _ => ExitCode::Failed,
                };
                Failure::new(code, self.to_string()).because(source.to_string())
            }
            ConfigError::Unsupported(_) => Failure::new(ExitCode::InvalidConfig, self.to_string()),
            ConfigError::Invalid(report) => {
                let failure = Failure::new(ExitCode::InvalidConfig, self.to_string());
                report.way_out().into_iter().fold(failure, Failure::hint)
            }
        }
    }
}

/// What the file system of this machine says.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemProbe;

impl Probe for SystemProbe {
    fn is_file(&self, path: &Path) -> bool {
        path.metadata().is_ok_and(|found| !found.is_dir())
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn on_path(&self, word: &str, search: Option<&str>) -> Option<PathBuf> {
        let path = search.map(Into::into).or_else(|| std::env::var_os("PATH"))?;
        let runs = |file: &PathBuf| {
            file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        std::env::split_paths(&path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(word)).find(runs)
    }
}

/// Reads an ecosystem file. `path` is absolute, or relative to the current folder.
///
/// # Errors
///
/// [`ConfigError`]: the file cannot be read, or all that is wrong with it.
pub fn load(path: &Path, options: &Options) -> Result<Loaded, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let path: PathBuf = std::path::absolute(path).map_err(unreadable)?;
    let invalid = |text: &str, problem| ConfigError::Invalid(Report::new(&path, text, vec![problem]));
    let format = if is_script_config(&path) { Some(Format::Evaluated) } else { format(&path) };
    let Some(format) = format else {
        let problem = Problem::error(None, "the file's name does not say what is in it")
            .help("it must end in `.toml`, `.json`, `.yaml`, `.yml` or `.config.js`");
        // Before its kind is judged, it must be there: a missing file is not a wrong one.
        path.metadata().map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
        return Err(ConfigError::Unsupported(Report::new(&path, "", vec![problem])));
    };
    let bytes = read_file(&path).map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
    if bytes.len() > MAX_FILE {
        return Err(invalid("", Problem::error(None, format!("the file has more than {} MiB", MAX_FILE >> 20))));
    }
    if path.to_str().is_none() {
        return Err(invalid("", Problem::error(None, "the file's path is not UTF-8")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        let place = Span::new(at, at + char::REPLACEMENT_CHARACTER.len_utf8());
        let problem = Problem::error(place, "the file is not UTF-8 text").label("no character");
        invalid(&text, problem)
    })?;
    let (text, more) = match format {
        Format::Evaluated => evaluated(&path, &text)?,
        Format::Toml | Format::Json | Format::Yaml => (text, Vec::new()),
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let document = Document { path: &path, format, folder, owner: Owner::File };
    match parse(&text, &document, options, &SystemProbe) {
        Ok(loaded) => Ok(Loaded { warnings: loaded.warnings.with(more), ..loaded }),
        Err(report) => Err(ConfigError::Invalid(report.with(more))),
    }
}

/// The values of a configuration in JavaScript, as JSON.
fn evaluated(path: &Path, text: &str) -> Result<(String, Vec<Problem>), ConfigError> {
    let report = |problem| Report::new(path, text, vec![problem]);
    let Some(node) = SystemProbe.on_path("node", None) else {
        let problem = Problem::error(None, "a configuration in JavaScript needs `node`, and PATH has none").help(
            "install Node.js, or write the same keys as TOML, JSON or YAML: `rsx init` writes a file to start from",
        );
        return Err(ConfigError::Unsupported(report(problem)));
    };
    match script::evaluate(node.as_os_str(), path, text, script::LIMIT) {
        Ok(evaluated) => Ok((evaluated.text, evaluated.warnings)),
        Err(problem) => Err(ConfigError::Invalid(report(*problem))),
    }
}

/// Reads what came over standard input (`rsx start -`): JSON, paths relative to `cwd`.
///
/// # Errors
///
/// All that is wrong with it.
pub fn parse_stdin_json(text: &str, cwd: &Path, options: &Options) -> Result<Loaded, ConfigError> {
    let document = Document { path: Path::new(STDIN), format: Format::Json, folder: cwd, owner: Owner::Folder };
    if text.len() > MAX_FILE {
        let problem = Problem::error(None, format!("the text has more than {} MiB", MAX_FILE >> 20));
        return Err(ConfigError::Invalid(Report::new(document.path, "", vec![problem])));
    }
    parse(text, &document, options, &SystemProbe).map_err(ConfigError::Invalid)
}

/// The file that `rsx start` without arguments means, if `folder` has one.
pub fn find_default(folder: &Path) -> Option<PathBuf> {
    const NAMES: [&str; 7] = ["toml", "json", "yaml", "yml", "config.js", "config.cjs", "config.mjs"];
    NAMES.iter().map(|name| folder.join(format!("ecosystem.{name}"))).find(|path| path.is_file())
}

/// Whether a word of the command line names a configuration rather than a script.
pub fn is_config_path(word: &str) -> bool {
    let path = Path::new(word);
    format(path).is_some() || is_script_config(path)
}

fn format(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "toml" => Some(Format::Toml),
        "json" | "jsonc" | "json5" => Some(Format::Json),
        "yaml" | "yml" => Some(Format::Yaml),
        _ => None,
    }
}

fn is_script_config(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    [".config.js", ".config.cjs", ".config.mjs"].iter().any(|end| name.ends_with(end))
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a FIFO would wait for a writer, perhaps for ever.
    let found = path.metadata()?;
    if found.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
