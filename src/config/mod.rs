//! Ecosystem files: text → tree with places → `Vec<AppSpec>`, or *all* problems, cited.
//!
//! ```text
//! text --read--> Node --shape--> RawApp --settings--> Settings --resolve--> AppSpec
//!                  (syntax)  (where are apps)  (keys, values)  (defaults, paths, programs)
//! ```
//!
//! Each step reports what it finds and goes on where it can, so that a user sees every problem at once. What the file
//! system must be asked (is this a file, is this on PATH) goes through a [`Probe`]; only `load` touches it. Nothing that
//! is read is evaluated as code, but a configuration in JavaScript: by `node`, in a process of its own (`script`).

mod check;
mod document;
mod env;
mod flags;
mod health;
pub mod keys;
mod listen;
mod load;
mod mask;
mod node;
mod own;
pub mod pm2;
mod problem;
mod program;
mod read;
mod render;
mod resolve;
mod schema;
mod script;
mod settings;
mod shape;
mod template;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::spec::AppSpec;

pub use document::{Document, Owner, parse};
pub use env::{inherited_env, is_secret};
pub use flags::{CommandLine, app_from_flags, changes_from_flags};
pub use load::{ConfigError, SystemProbe, find_default, is_config_path, load, parse_stdin_json};
pub use node::Span;
pub use own::{Endpoint, OwnConfig, own_config};
pub use problem::{Problem, Report, Severity};
pub use render::Colour;
pub use schema::schema;
pub use template::{Template, template};

/// The longest file that is read, in bytes.
pub const MAX_FILE: usize = 4 * 1024 * 1024;

/// What the verb and the machine add to a file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--env NAME`; `default` means `env` alone, unless there is an `env_default`.
    pub env_name: Option<String>,
    /// The `--env NAME` of earlier starts, by the name of the app; used where this one names none.
    pub remembered: BTreeMap<String, String>,
    /// `--only a,b`; empty: all.
    pub only: Vec<String>,
    /// What `~` stands for.
    pub home_dir: Option<PathBuf>,
    /// How many cores can be used, for `instances = "max"`.
    pub cores: u16,
}

/// The apps of a file.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Those that are wanted, in the order of the file.
    pub apps: Vec<AppSpec>,
    /// The names of all that it declares.
    pub names: Vec<String>,
    /// What has no effect or will fail.
    pub warnings: Report,
    /// The file, absolute.
    pub path: PathBuf,
}

/// The syntax of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// TOML.
    Toml,
    /// JSON, with comments and trailing commas.
    Json,
    /// YAML.
    Yaml,
    /// JSON that stands for the values of a file in another language: problems are cited by their path, too.
    Evaluated,
}

/// The few facts that reading a configuration asks of a machine.
pub trait Probe {
    /// Whether the path is there and not a folder.
    fn is_file(&self, path: &Path) -> bool;
    /// Whether the path is a folder.
    fn is_folder(&self, path: &Path) -> bool;
    /// The program of this name in `search`, or in the caller's PATH.
    fn on_path(&self, word: &str, search: Option<&str>) -> Option<PathBuf>;
}
