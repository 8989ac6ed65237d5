//! Tests of the whole layer: texts in, specs or rendered problems out.

mod agree;
mod apps;
mod bad;
mod cited;
mod flags;
mod later;
mod listen;
mod pm2;
mod rotate;

use std::path::{Path, PathBuf};

use crate::config::{Colour, Document, Format, Loaded, Options, Owner, Probe, Report, parse};
use crate::spec::AppSpec;

/// A machine with two cores, a few programs, and the files of one project in `/p`.
pub(super) struct Machine;

impl Probe for Machine {
    fn is_file(&self, path: &Path) -> bool {
        let files = ["/p/app.js", "/p/my app.js", "/p/dist/app.js", "/p/tool", "/p/w.py", "/p/a.ts", "/home/u/x.sh"];
        files.iter().any(|file| path == Path::new(file))
    }

    fn is_folder(&self, path: &Path) -> bool {
        ["/", "/p", "/p/dist", "/home/u"].iter().any(|folder| path == Path::new(folder))
    }

    fn on_path(&self, word: &str, search: Option<&str>) -> Option<PathBuf> {
        let programs = ["npm", "node", "python3", "sleep"];
        (search != Some("/empty") && programs.contains(&word)).then(|| Path::new("/usr/bin").join(word))
    }
}

pub(super) fn options() -> Options {
    Options { home_dir: Some("/home/u".into()), cores: 2, ..Options::default() }
}

pub(super) fn read_with(text: &str, format: Format, options: &Options) -> Result<Loaded, Report> {
    let path = match format {
        Format::Toml => "/p/ecosystem.toml",
        Format::Json => "/p/ecosystem.json",
        Format::Yaml => "/p/ecosystem.yaml",
        Format::Evaluated => "/p/ecosystem.config.js",
    };
    let document = Document { path: Path::new(path), format, folder: Path::new("/p"), owner: Owner::File };
    parse(text, &document, options, &Machine)
}

#[track_caller]
pub(super) fn loaded(text: &str) -> Loaded {
    read_with(text, Format::Toml, &options()).unwrap_or_else(|report| panic!("{}", report.render(Colour::Never, 100)))
}

/// The only app of a TOML text whose `[[apps]]` line is given.
#[track_caller]
pub(super) fn app(keys: &str) -> AppSpec {
    let mut loaded = loaded(&format!("[[apps]]\n{keys}"));
    assert_eq!(loaded.apps.len(), 1);
    loaded.apps.remove(0)
}

/// All problems of a text, rendered; warnings of a text that loads, too.
pub(super) fn rendered(text: &str, format: Format) -> String {
    match read_with(text, format, &options()) {
        Ok(loaded) => loaded.warnings.render(Colour::Never, 100),
        Err(report) => report.render(Colour::Never, 100),
    }
}

/// The messages of the problems of a text that does not load.
#[track_caller]
pub(super) fn messages(text: &str, format: Format) -> Vec<String> {
    let Err(report) = read_with(text, format, &options()) else { panic!("it loads: {text}") };
    report.problems().iter().map(|problem| problem.message.clone()).collect()
}
