//! Which files a target means.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;

use crate::cli::logs::Source;
use crate::cli::session::{Session, view};
use crate::cli::targets;
use crate::error::{ExitCode, Failure};
use crate::logs::{Archive, log_name};
use crate::proto::{Kept, Target, View, ViewDetail};
use crate::spec::Stream;

/// The files of some targets.
pub(super) struct Found {
    pub(super) sources: Vec<Source>,
    /// Whether a daemon writes to them.
    pub(super) is_live: bool,
}

/// The files of these words; of all apps without one.
pub(super) fn find(session: &mut Session, words: &[String]) -> Result<Found, Failure> {
    let Some(mut daemon) = session.daemon()? else {
        let sources = from_files(session, words)?;
        session.out.talk("no rsx daemon runs: this is what the files hold");
        return Ok(Found { sources, is_live: false });
    };
    let targets = read(session, words)?;
    let view = view(&mut daemon, detail(&targets))?;
    match of_view(&view, &targets) {
        Ok(sources) => Ok(Found { sources, is_live: true }),
        // The app may be deleted and its files not.
        Err(failure) if failure.code() == ExitCode::NoSuchTarget => match from_names(session, words) {
            Ok(sources) => {
                session.out.talk("not in the list any more: this is what the files hold");
                Ok(Found { sources, is_live: false })
            }
            Err(_) => Err(failure),
        },
        Err(failure) => Err(failure),
    }
}

/// The files of these words now, for when instances came up after [`find`].
pub(super) fn find_again(session: &mut Session, words: &[String]) -> Result<Vec<Source>, Failure> {
    let Some(mut daemon) = session.daemon()? else { return Ok(Vec::new()) };
    let targets = read(session, words)?;
    let view = view(&mut daemon, detail(&targets))?;
    of_view(&view, &targets)
}

/// One file, one source: instances that share a file are followed once, under the name of the app.
pub(super) fn share(sources: &mut Vec<Source>) {
    let mut count: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for source in &*sources {
        *count.entry(source.path.clone()).or_default() += 1;
    }
    sources.retain_mut(|source| match count.get_mut(&source.path) {
        Some(1) => true,
        Some(seen) if *seen > 1 => {
            *seen = 0;
            source.id = None;
            true
        }
        Some(_) | None => false,
    });
}

fn read(session: &mut Session, words: &[String]) -> Result<Vec<Target>, Failure> {
    if words.is_empty() { Ok(vec![Target::Word("all".into())]) } else { targets::read(session, words, &[]) }
}

/// Files and scripts are compared with specs, which only a full view has.
fn detail(targets: &[Target]) -> ViewDetail {
    if targets.iter().all(|target| matches!(target, Target::Word(_))) { ViewDetail::Brief } else { ViewDetail::Full }
}

fn of_view(view: &View, targets: &[Target]) -> Result<Vec<Source>, Failure> {
    let picked = targets::pick_all(view, targets)?;
    let sources = picked.iter().flat_map(|picked| {
        picked.slots.iter().flat_map(|slot| {
            let files = [(&slot.out_file, Stream::Out), (&slot.error_file, Stream::Error)];
            files.into_iter().filter_map(|(path, stream)| {
                let path = path.clone()?;
                Some(Source { path, app: picked.app.name.clone(), id: Some(slot.id), stream })
            })
        })
    });
    Ok(sources.collect())
}

/// Without a daemon: what was wanted says whose files are where, the folder of logs has the rest.
fn from_files(session: &Session, words: &[String]) -> Result<Vec<Source>, Failure> {
    let mut sources = from_wanted(session, words)?;
    match from_names(session, words) {
        Ok(named) => {
            let known: Vec<PathBuf> = sources.iter().map(|source| source.path.clone()).collect();
            sources.extend(named.into_iter().filter(|source| !known.contains(&source.path)));
        }
        Err(failure) if failure.code() == ExitCode::NoSuchTarget && !sources.is_empty() => {}
        Err(failure) => return Err(failure),
    }
    Ok(sources)
}

/// The longest state file that is read, in bytes.
const LONGEST: u64 = 64 << 20;

/// The files of the apps that the last daemon had. A state that cannot be read is the next daemon's to complain about.
fn from_wanted(session: &Session, words: &[String]) -> Result<Vec<Source>, Failure> {
    let home = session.home()?;
    let mut text = Vec::new();
    let file = std::fs::File::open(home.wanted()).and_then(|file| file.take(LONGEST).read_to_end(&mut text));
    let Ok(kept) = file.map_err(serde_json::Error::io).and_then(|_| serde_json::from_slice::<Kept>(&text)) else {
        return Ok(Vec::new());
    };
    let regexes = words.iter().map(|word| targets::regex_of(word)).collect::<Result<Vec<_>, _>>()?;
    let mut sources = Vec::new();
    for app in kept.apps {
        let is_of_app = |word: &String, regex: &Option<regex_lite::Regex>| match regex {
            Some(regex) => regex.is_match(&app.spec.name),
            None => word == "all" || [&app.spec.name, &app.spec.namespace].contains(&word),
        };
        let is_app = words.is_empty() || words.iter().zip(&regexes).any(|(word, regex)| is_of_app(word, regex));
        for slot in &app.slots {
            let is_slot = || words.iter().any(|word| word.parse() == Ok(slot.id));
            if !is_app && !is_slot() {
                continue;
            }
            let files = [Stream::Out, Stream::Error].map(|stream| (stream, slot.instance));
            sources.extend(files.into_iter().filter_map(|(stream, instance)| {
                let path = app.spec.log_path(&home.logs(), stream, instance)?;
                Some(Source { path, app: app.spec.name.clone(), id: Some(slot.id), stream })
            }));
        }
    }
    Ok(sources)
}

fn from_names(session: &Session, words: &[String]) -> Result<Vec<Source>, Failure> {
    let folder = session.home()?.logs();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && words.is_empty() => return Ok(Vec::new()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(nothing(words)),
        Err(error) => return Err(Failure::failed(format!("cannot read `{}`", folder.display())).caused_by(&error)),
    };
    // Of some only archives may be left.
    let live = |name: String| Archive::read(&name).map_or(name.clone(), |(live, _)| live.to_owned());
    let names: BTreeSet<String> =
        entries.flatten().filter_map(|entry| Some(live(entry.file_name().into_string().ok()?))).collect();
    let files: Vec<(PathBuf, crate::logs::LogName)> =
        names.iter().filter_map(|name| Some((folder.join(name), log_name(name)?))).collect();
    let regexes = words.iter().map(|word| targets::regex_of(word)).collect::<Result<Vec<_>, _>>()?;
    let is_meant = |name: &crate::logs::LogName| {
        words.is_empty()
            || words.iter().zip(&regexes).any(|(word, regex)| match regex {
                Some(regex) => regex.is_match(&name.app),
                None => word == "all" || [&name.app, &name.label, &name.namespace].contains(&word),
            })
    };
    let sources: Vec<Source> = files
        .into_iter()
        .filter(|(_, name)| is_meant(name))
        .map(|(path, name)| {
            let app = match name.instance {
                Some(instance) => format!("{}:{instance}", name.label),
                None => name.label,
            };
            Source { path, app, id: None, stream: name.stream }
        })
        .collect();
    if sources.is_empty() && !words.is_empty() { Err(nothing(words)) } else { Ok(sources) }
}

fn nothing(words: &[String]) -> Failure {
    let words = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    Failure::new(ExitCode::NoSuchTarget, format!("no log file belongs to {words}"))
        .hint("`rsx logs` without a target shows all of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, id: u32) -> Source {
        Source { path: path.into(), app: "api".into(), id: Some(id), stream: Stream::Out }
    }

    #[test]
    fn a_shared_file_is_read_once_and_belongs_to_the_app() {
        let mut sources = vec![source("/l/a", 0), source("/l/b", 1), source("/l/a", 2)];
        share(&mut sources);
        assert_eq!(sources, [Source { id: None, ..source("/l/a", 0) }, source("/l/b", 1)]);
    }
}
