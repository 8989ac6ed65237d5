//! What lies in a folder of logs: which names belong to which file.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::logs::{Archive, times_name};

/// The archives of a live file, the oldest first.
pub(in crate::daemon) fn archives(path: &Path) -> io::Result<Vec<Archive>> {
    let Some(folder) = path.parent() else { return Ok(Vec::new()) };
    Ok(Names::read(folder)?.archives(path))
}

/// Where an archive of a live file is.
pub(in crate::daemon) fn named(path: &Path, archive: Archive) -> PathBuf {
    path.with_file_name(archive.name(&name(path)))
}

/// Where the index of times of a live file or an archive is.
pub(super) fn times_of(path: &Path) -> PathBuf {
    path.with_file_name(times_name(&name(path)))
}

/// What an archive is called while it is being compressed.
pub(super) fn draft_of(packed: &Path) -> PathBuf {
    packed.with_file_name(format!(".{}{DRAFT}", name(packed)))
}

const DRAFT: &str = ".tmp";

/// The names in a folder. Names that are no text are not ours.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Names(BTreeSet<String>);

impl Names {
    pub(in crate::daemon) fn read(folder: &Path) -> io::Result<Names> {
        match fs::read_dir(folder) {
            Ok(entries) => Ok(Names(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Names::default()),
            Err(error) => Err(error),
        }
    }

    /// The archives of a live file, the oldest first.
    pub(in crate::daemon) fn archives(&self, live: &Path) -> Vec<Archive> {
        let live = name(live);
        Archive::of(&live, self.with(format!("{live}.")))
    }

    /// What was left by a compression that was cut short.
    pub(super) fn drafts(&self, live: &str) -> impl Iterator<Item = &str> {
        self.with(format!(".{live}.")).filter(move |name| {
            let archive = name.strip_prefix('.').and_then(|name| Archive::read(name.strip_suffix(DRAFT)?));
            archive.is_some_and(|(owner, _)| owner == live)
        })
    }

    /// The archives of which only the index of times is there.
    pub(super) fn lost(&self, live: &str) -> Vec<Archive> {
        let indexes = self.with(format!(".{live}.")).filter_map(|name| {
            let (owner, archive) = Archive::read(name.strip_prefix('.')?.strip_suffix(".times")?)?;
            (owner == live).then_some(archive)
        });
        let there = Archive::of(live, self.with(format!("{live}.")));
        indexes.filter(|archive| !there.iter().any(|it| it.moment == archive.moment)).collect()
    }

    /// The live files, there or not, that belong to other instances of the app which writes this one as this instance.
    pub(super) fn relatives(&self, live: &str, instance: u16) -> BTreeSet<String> {
        let (stem, extension) = live.rsplit_once('.').unwrap_or((live, ""));
        let ending = if extension.is_empty() { String::new() } else { format!(".{extension}") };
        let Some(stem) = stem.strip_suffix(&format!("-{instance}")) else { return BTreeSet::new() };
        let front = format!("{stem}-");
        let lives = self.with(front.clone()).map(|name| Archive::read(name).map_or(name, |(live, _)| live));
        let is_relative = |name: &&str| {
            let number = name.strip_prefix(&front).and_then(|name| name.strip_suffix(&ending));
            number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        lives.filter(is_relative).filter(|name| *name != live).map(str::to_owned).collect()
    }

    pub(super) fn insert(&mut self, path: &Path) {
        self.0.insert(name(path));
    }

    pub(super) fn remove(&mut self, path: &Path) {
        self.0.remove(&name(path));
    }

    fn with(&self, front: String) -> impl Iterator<Item = &str> {
        let from = self.0.range(front.clone()..).map(String::as_str);
        from.take_while(move |name| name.starts_with(&front))
    }
}

/// The last part of a path.
pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Packing;

    #[test]
    fn names_tell_whose_they_are() {
        let names = [
            "a-0.log",
            "a-0.log.20260528T140307.123Z",
            "a-0.log.20260528T140307.123Z.gz",
            ".a-0.log.times",
            ".a-0.log.20260528T140307.123Z.times",
            ".a-0.log.20260528T140307.124Z.times",
            ".a-0.log.20260528T140307.123Z.gz.tmp",
            "a-12.log.20260528T140307.123Z.zst",
            "a-x.log",
            "a-1.log.old",
            "ab-1.log",
        ];
        let names = Names(names.map(str::to_owned).into());
        let archives = names.archives(Path::new("/l/a-0.log"));
        assert_eq!(archives.iter().map(|it| it.packing).collect::<Vec<_>>(), [Packing::Plain]);
        assert_eq!(names.drafts("a-0.log").collect::<Vec<_>>(), [".a-0.log.20260528T140307.123Z.gz.tmp"]);
        assert_eq!(names.lost("a-0.log"), [Archive { moment: archives[0].moment + 1, packing: Packing::Plain }]);
        assert_eq!(names.relatives("a-0.log", 0).into_iter().collect::<Vec<_>>(), ["a-12.log"]);
        assert_eq!(names.relatives("a-12.log", 12).into_iter().collect::<Vec<_>>(), ["a-0.log"]);
        assert!(names.relatives("a-0.log", 1).is_empty() && names.relatives("a.log", 0).is_empty());
        assert_eq!(draft_of(Path::new("/l/a.gz")), Path::new("/l/.a.gz.tmp"));
    }
}
