//! Everything that is generated: completions, manual pages, the schema and the tables of keys and verbs.
//!
//! There are three sources, the clap types of `args`, the table of keys of `config` and the families of `metrics`; nothing here is written twice.
//! The repository keeps what comes out, so that a reader finds it without building; the test `generated` compares.
//!
//! ```text
//! Cli ----------> surface --> completions, manual (section 1), tables (README)
//! metrics ------------> METRICS.md
//! config::keys ------------> schema, file_manual (section 5), tables (CONFIGURATION.md)
//! ```

mod args;
mod completions;
mod file_manual;
mod manual;
mod metrics;
mod names;
mod plain;
mod show;
mod surface;
mod tables;
mod words;

use crate::config;

pub(super) use args::{CompletionsArgs, ManArgs};
pub(super) use names::run as complete_names;
pub(super) use show::{completions, man};

/// A file of the repository that is generated, whole or in part.
#[derive(Debug)]
pub struct Generated {
    /// Its path from the root of the repository.
    pub path: String,
    /// What is generated of it.
    pub part: Part,
    /// The text.
    pub text: String,
}

/// Which part of a file is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// What stands between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->`.
    Between(&'static str),
}

/// Everything that is generated, as this build would write it.
pub fn generated() -> Vec<Generated> {
    let mut files = Vec::new();
    let mut add = |path: String, part, text| files.push(Generated { path, part, text });
    for shell in completions::SHELLS {
        add(format!("completions/{}", completions::file_name(shell)), Part::Whole, completions::script(shell));
    }
    for page in manual::pages() {
        add(format!("man/{}", page.path()), Part::Whole, page.roff);
    }
    let schema = format!("{:#}\n", config::schema());
    add("docs/ecosystem.schema.json".into(), Part::Whole, schema);
    add("docs/CONFIGURATION.md".into(), Part::Whole, tables::configuration());
    add("README.md".into(), Part::Between("verbs"), tables::verbs_table());
    add("docs/METRICS.md".into(), Part::Between("metrics"), metrics::table());
    files
}
