//! `import pm2`: what PM2 has saved, as an `ecosystem.toml`: printed, written, or started.
//!
//! PM2's files are read and never touched.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::args::ApplyArgs;
use crate::cli::render::table::Extent;
use crate::cli::session::Session;
use crate::cli::{act, apply, outside};
use crate::config::pm2::{DumpError, Imported, MAX_DUMP};
use crate::error::{ExitCode, Failure};
use crate::proto::Unchanged;

/// `rsx import`.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Whose list
    #[arg(value_name = "FROM", value_parser = ["pm2"])]
    pub(super) from: String,
    /// The saved list; default: dump.pm2 in PM2_HOME or ~/.pm2
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Write the apps into this file, which must not exist yet
    #[arg(long, value_name = "FILE")]
    pub(super) write: Option<PathBuf>,
    /// Start the apps
    #[arg(long)]
    pub(super) start: bool,
    /// Start them even if PM2 still runs, and take over names that are in the list
    #[arg(short, long, requires = "start")]
    pub(super) force: bool,
}

/// The file that `pm2 save` writes.
const DUMP: &str = "dump.pm2";
/// What it was before.
const BACKUP: &str = "dump.pm2.bak";

/// Runs `rsx import pm2`.
pub(super) fn run(session: &mut Session, args: &ImportArgs) -> Result<ExitCode, Failure> {
    let target = args.write.as_ref().map(|path| session.cwd().join(path));
    if let Some(path) = target.as_ref().filter(|path| path.extension().is_none_or(|end| end != "toml")) {
        return Err(Failure::new(ExitCode::Usage, format!("`{}` must end in `.toml`", path.display()))
            .because("the apps are written as TOML")
            .hint("rsx import pm2 --write ecosystem.toml"));
    }
    let (dump, imported) = find(session, args.file.as_deref())?;
    for notice in &imported.notices {
        session.out.talk(&format!("notice: {notice}"));
    }
    // Judged before anything is written or started.
    let loaded = outside::load_toml(session, &imported.toml)?;
    act::warn(session, &loaded.warnings);
    warn_of_secrets(session, &imported);
    if let Some(path) = &target {
        write(path, &imported)?;
        session.out.talk(&format!("written: {}", path.display()));
    }
    let end = if imported.unusable > 0 { ExitCode::TargetsFailed } else { ExitCode::Done };
    if args.start {
        let started = start(session, args, target.as_deref(), loaded, &dump)?;
        return Ok(if started == ExitCode::Done { end } else { started });
    }
    if session.json {
        let Imported { toml, names, notices, secrets, .. } = &imported;
        session.out.json(&json!({
            "dump": dump, "written": target, "apps": names, "toml": toml, "notices": notices, "secrets": secrets,
        }))?;
    } else if target.is_none() {
        session.out.data(&imported.toml)?;
    } else {
        session.out.talk("next: `pm2 kill`, then `rsx start` with this file");
    }
    Ok(end)
}

fn start(
    session: &mut Session,
    args: &ImportArgs,
    written: Option<&Path>,
    loaded: outside::Loaded,
    dump: &Path,
) -> Result<ExitCode, Failure> {
    if !args.force && is_alive(dump.parent().unwrap_or(Path::new("/"))) {
        return Err(Failure::failed("PM2 still runs these apps")
            .because("two of each would want the same ports and do the same work")
            .hint("`pm2 kill` ends PM2 and its apps; `--force` starts them all the same"));
    }
    let loaded = match written {
        Some(path) => outside::load(session, path, None, &[])?,
        None => loaded,
    };
    let flags = ApplyArgs { force: args.force, ..ApplyArgs::default() };
    let wish = apply::declaration(session, loaded.apps, &flags, Unchanged::Leave);
    apply::apply(session, wish, &loaded.names, Extent::Full)
}

/// Whether a PM2 with this home accepts connections. Nothing is sent.
fn is_alive(home: &Path) -> bool {
    UnixStream::connect(home.join("rpc.sock")).is_ok()
}

/// The dump and what is in it. Without a name, the backup stands in for a dump that is gone or torn.
fn find(session: &mut Session, named: Option<&Path>) -> Result<(PathBuf, Imported), Failure> {
    if let Some(named) = named {
        let path = session.cwd().join(named);
        let imported = read(session, &path).map_err(|trouble| trouble.into_failure(&path, None))?;
        return Ok((path, imported));
    }
    let home = session.pm2_home().ok_or_else(|| {
        Failure::failed("PM2's folder is unknown").because("neither PM2_HOME nor HOME is set").hint("name the file")
    })?;
    let (dump, backup) = (home.join(DUMP), home.join(BACKUP));
    let trouble = match read(session, &dump) {
        Ok(imported) => return Ok((dump, imported)),
        Err(trouble) => trouble,
    };
    // An empty list is a wish of its owner's; the older list is offered, not taken.
    let is_replaceable = match &trouble {
        Trouble::Unreadable(error) => error.kind() == ErrorKind::NotFound,
        Trouble::Useless(error) => matches!(error, DumpError::Torn(_)),
    };
    match read(session, &backup) {
        Ok(imported) if is_replaceable => {
            session.out.complain(&format!("warning: {}: {trouble}; `{BACKUP}` is read in its place", dump.display()));
            Ok((backup, imported))
        }
        Ok(_) => Err(trouble.into_failure(&dump, Some(&backup))),
        Err(_) => Err(trouble.into_failure(&dump, None)),
    }
}

/// Why a dump gives no apps.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("{0}")]
    Useless(DumpError),
}

impl Trouble {
    fn into_failure(self, path: &Path, backup: Option<&Path>) -> Failure {
        let what = format!("cannot import `{}`", path.display());
        let failure = match &self {
            Trouble::Unreadable(error) if error.kind() == ErrorKind::NotFound => {
                Failure::new(ExitCode::NoSuchTarget, what).caused_by(error).hint("`pm2 save` writes this file")
            }
            Trouble::Unreadable(error) => Failure::failed(what).caused_by(error),
            Trouble::Useless(DumpError::Empty { notices }) => {
                let failure = Failure::failed(what).because("it holds no app");
                notices.iter().fold(failure, |failure, notice| failure.because(notice.as_str()))
            }
            Trouble::Useless(error) => {
                let hint = "while PM2 runs, `pm2 save --force` writes it anew";
                Failure::new(ExitCode::InvalidConfig, what).caused_by(error).hint(hint)
            }
        };
        match backup {
            Some(backup) => failure.hint(format!("`rsx import pm2 {}` takes the list before it", backup.display())),
            None => failure,
        }
    }
}

fn read(session: &Session, path: &Path) -> Result<Imported, Trouble> {
    let text = read_text(path).map_err(Trouble::Unreadable)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    outside::import_pm2(session, &text, folder).map_err(Trouble::Useless)
}

fn read_text(path: &Path) -> io::Result<String> {
    // Opening a FIFO would wait for a writer.
    let found = path.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(MAX_DUMP + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_DUMP {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it has more than {} MiB", MAX_DUMP >> 20)));
    }
    Ok(text)
}

fn write(path: &Path, imported: &Imported) -> Result<(), Failure> {
    let what = || format!("cannot write `{}`", path.display());
    let mode = if imported.secrets.is_empty() { 0o644 } else { 0o600 };
    match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Ok(mut file) => file.write_all(imported.toml.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
            // Half of a list would look like a whole one.
            let _ = std::fs::remove_file(path);
            Failure::failed(what()).caused_by(&error)
        }),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(Failure::failed(what()).because("it is there already").hint("name another file, or move this one away"))
        }
        Err(error) => Err(Failure::failed(what()).caused_by(&error)),
    }
}

fn warn_of_secrets(session: &mut Session, imported: &Imported) {
    if imported.secrets.is_empty() {
        return;
    }
    let names = imported.secrets.join(", ");
    session.out.talk(&format!("warning: these variables look like secrets, and their values are written out: {names}"));
}
