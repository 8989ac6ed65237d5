//! What is known of files and their archives, and what is done about them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{info, warn};

use crate::daemon::files::folder::{Names, name, named, times_of};
use crate::daemon::files::pack::pack;
use crate::daemon::files::{Flushed, Task};
use crate::daemon::report::Report;
use crate::logs::{Archive, Kept, Packing, Room, crowded_out, doomed, next_name};
use crate::proto::LogFile;
use crate::spec::{Compression, Rotation};

/// How often it is told that archives have made room.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What is done, and for whom.
#[derive(Debug)]
pub(super) struct Keeper {
    apps: BTreeMap<String, App>,
    /// Those in whose files something has changed, each once; who was served goes to the end.
    todo: VecDeque<String>,
    /// Disks are to be looked at.
    crowded: bool,
    /// The folders that were read for this piece of work, as long as nothing new comes.
    folders: HashMap<PathBuf, Names>,
    /// How many archives have made room in which folder, and their bytes, and when that was told last.
    removed: BTreeMap<PathBuf, (u64, u64)>,
    told: Option<Instant>,
    reports: UnboundedSender<Report>,
    waiting: Arc<AtomicUsize>,
    /// Archives that could not be compressed: not tried again for a while.
    failed: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct App {
    rotation: Rotation,
    /// Nothing has come since it was looked what is too many.
    is_thin: bool,
    files: BTreeMap<PathBuf, Known>,
}

/// A file that is written, or was since this daemon began.
#[derive(Clone, Copy, Debug)]
struct Known {
    instance: u16,
    /// Archives from this moment on are left alone: bytes may be on record for one that was only just made, and whoever
    /// finishes that looks for the file that was noted.
    before: u64,
    /// What a predecessor has left was looked for.
    is_tidy: bool,
}

/// An archive, with its live file.
type Found = (PathBuf, Archive);

impl Keeper {
    pub(super) fn new(reports: UnboundedSender<Report>, waiting: Arc<AtomicUsize>) -> Keeper {
        let (apps, todo, folders) = (BTreeMap::new(), VecDeque::new(), HashMap::new());
        Keeper {
            apps,
            todo,
            crowded: false,
            folders,
            removed: BTreeMap::new(),
            told: None,
            reports,
            waiting,
            failed: BTreeSet::new(),
        }
    }

    /// Whether there is anything that could be done as time goes by.
    pub(super) fn has_anything(&self) -> bool {
        !self.apps.is_empty()
    }

    /// Whether something is left to do.
    pub(super) fn is_busy(&self) -> bool {
        !self.todo.is_empty()
    }

    /// Takes in what there is to do. What somebody waits for is done at once.
    pub(super) fn take(&mut self, task: Task) {
        self.folders.clear();
        match task {
            Task::Known { app, path, rotation: None, .. } => {
                if let Some(known) = self.apps.get_mut(&app) {
                    known.files.remove(&path);
                    if known.files.is_empty() {
                        self.apps.remove(&app);
                    }
                }
            }
            Task::Known { app, instance, path, rotation: Some(rotation), before } => {
                self.is_to_do(&app);
                let known = self.apps.entry(app).or_insert_with(|| App {
                    rotation: rotation.clone(),
                    is_thin: false,
                    files: BTreeMap::new(),
                });
                (known.rotation, known.is_thin) = (rotation, false);
                let file = known.files.entry(path).or_insert(Known { instance, before, is_tidy: false });
                file.before = file.before.max(before);
                self.crowded = true;
            }
            Task::Rotated { path, before } => {
                let mut writers = Vec::new();
                for (app, known) in &mut self.apps {
                    if let Some(file) = known.files.get_mut(&path) {
                        file.before = file.before.max(before);
                        known.is_thin = false;
                        writers.push(app.clone());
                    }
                }
                writers.iter().for_each(|app| self.is_to_do(app));
                self.crowded = true;
            }
            Task::Crowded => self.crowded = true,
            Task::Flush { files, done } => {
                let files = files.into_iter().filter_map(flush).collect();
                self.waiting.fetch_sub(1, SeqCst);
                // Whoever asked may have gone.
                let _ = done.send(files);
            }
        }
    }

    /// Disks become full by other files, too.
    pub(super) fn look(&mut self) {
        self.crowded = true;
        self.failed.clear();
    }

    fn is_to_do(&mut self, app: &str) {
        if !self.todo.iter().any(|it| it == app) {
            self.todo.push_back(app.to_owned());
        }
    }

    /// Does a part of what is to be done, one compression at most: meanwhile there may be more, and less of it worth the
    /// work.
    pub(super) fn work(&mut self) {
        while let Some(app) = self.todo.pop_front() {
            if self.waiting.load(SeqCst) > 0 || !self.tend(&app) {
                self.todo.push_back(app);
                break;
            }
        }
        if std::mem::take(&mut self.crowded) {
            self.make_room();
        }
        if !self.is_busy() {
            self.folders.clear();
        }
        self.tell();
    }

    /// Tells what has made room, once in a while.
    fn tell(&mut self) {
        if self.removed.is_empty() || self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        for (folder, (archives, bytes)) in std::mem::take(&mut self.removed) {
            warn!("less than a twentieth of the disk of {} was free: {archives} archives went", folder.display());
            // The engine may have ended.
            let _ = self.reports.send(Report::LogsRemoved { folder, archives, bytes });
        }
    }

    /// Looks after the archives of an app; whether nothing is left to do.
    fn tend(&mut self, app: &str) -> bool {
        let Some(App { rotation, is_thin, files }) = self.apps.get_mut(app) else { return true };
        let (rotation, was_thin, all) = (rotation.clone(), std::mem::replace(is_thin, true), files.clone());
        files.values_mut().for_each(|file| file.is_tidy = true);
        for (path, known) in all.iter().filter(|(_, known)| !known.is_tidy) {
            self.tidy(path, known.before);
        }
        if !was_thin {
            self.thin_out(app, &rotation);
        }
        for (path, known) in &all {
            if self.pack(path, rotation.compress, known.before) {
                // It takes less room now.
                return false;
            }
        }
        true
    }

    /// Removes archives that are too many. Nothing is compressed in order to be removed.
    fn thin_out(&mut self, app: &str, rotation: &Rotation) {
        let (kept, found, live) = self.kept(app);
        let gone = doomed(&kept, live, rotation).into_iter().map(|index| &found[index]);
        for (path, archive) in gone {
            info!("{} goes: it is more than `rotate` lets its app keep", named(path, *archive).display());
            self.remove(path, *archive);
        }
    }

    /// Removes drafts, and indexes whose archive somebody has removed.
    fn tidy(&mut self, path: &Path, before: u64) {
        let (live, names) = (name(path), self.names(path));
        let drafts: Vec<PathBuf> = names.drafts(&live).map(|draft| path.with_file_name(draft)).collect();
        let lost = names.lost(&live).into_iter().filter(|archive| archive.moment < before);
        let lost: Vec<PathBuf> = lost.map(|archive| times_of(&named(path, archive))).collect();
        for path in drafts.into_iter().chain(lost) {
            // Somebody else may have done it.
            let _ = fs::remove_file(&path);
        }
    }

    /// Compresses the oldest plain archive of a file; whether there was one, or more is to be done later.
    fn pack(&mut self, path: &Path, compression: Compression, before: u64) -> bool {
        let packing = match compression {
            Compression::None => return false,
            Compression::Gzip => Packing::Gzip,
            Compression::Zstd => Packing::Zstd,
        };
        let waiting = Arc::clone(&self.waiting);
        let is_to_do = |archive: &Archive| archive.packing == Packing::Plain && archive.moment < before;
        for archive in self.names(path).archives(path).into_iter().filter(is_to_do) {
            let (plain, packed) = (named(path, archive), named(path, Archive { packing, ..archive }));
            if self.failed.contains(&plain) {
                continue;
            }
            match pack(&plain, &packed, packing, || waiting.load(SeqCst) > 0) {
                Ok(()) => {
                    let names = self.names(path);
                    names.remove(&plain);
                    names.insert(&packed);
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => return true,
                // One that somebody has removed meanwhile, or that cannot be read, does not hold up the others.
                Err(error) => {
                    warn!("cannot compress {}: {error}", plain.display());
                    self.failed.insert(plain);
                }
            }
        }
        false
    }

    /// The archives of an app, those of instances that are no more included, and the size of everything else.
    fn kept(&mut self, app: &str) -> (Vec<Kept>, Vec<Found>, u64) {
        let Some(App { files, .. }) = self.apps.get(app) else { return (Vec::new(), Vec::new(), 0) };
        // Those that are no more are written by nobody.
        let mut all: BTreeMap<PathBuf, u64> = BTreeMap::new();
        for (path, known) in files.clone() {
            for relative in self.names(&path).relatives(&name(&path), known.instance) {
                all.entry(path.with_file_name(relative)).or_insert(u64::MAX);
            }
            all.insert(path, known.before);
        }
        let (mut kept, mut found, mut live) = (Vec::new(), Vec::new(), 0);
        for (file, (path, before)) in all.into_iter().enumerate() {
            live += size(&path) + size(&times_of(&path));
            // What was cut off and is no archive yet, where the program itself writes the file.
            live += size(&path.with_file_name(next_name(&name(&path))));
            for archive in self.names(&path).archives(&path) {
                let size = size(&named(&path, archive)) + size(&times_of(&named(&path, archive)));
                if archive.moment < before {
                    kept.push(Kept { file, archive, size });
                    found.push((path.clone(), archive));
                } else {
                    live += size;
                }
            }
        }
        (kept, found, live)
    }

    /// Where a disk is nearly full the oldest archives on it go, whose ever they are.
    fn make_room(&mut self) {
        let mut disks: BTreeMap<u64, (PathBuf, BTreeSet<String>)> = BTreeMap::new();
        for (app, App { files, .. }) in &self.apps {
            for folder in files.keys().filter_map(|path| path.parent()) {
                let Ok(found) = fs::metadata(folder) else { continue };
                disks.entry(found.dev()).or_insert_with(|| (folder.to_owned(), BTreeSet::new())).1.insert(app.clone());
            }
        }
        for (disk, (folder, apps)) in disks {
            let Ok(found) = statvfs(&folder) else { continue };
            let room = Room {
                free: found.blocks_available() * found.fragment_size(),
                all: found.blocks() * found.fragment_size(),
            };
            if crowded_out(&[NOTHING], room).is_empty() {
                continue;
            }
            let (mut kept, mut all) = (Vec::new(), Vec::new());
            for app in apps {
                let (more, found, _) = self.kept(&app);
                for (Kept { archive, size, .. }, found) in more.into_iter().zip(found) {
                    if fs::metadata(named(&found.0, archive)).is_ok_and(|it| it.dev() == disk) {
                        kept.push(Kept { file: all.len(), archive, size });
                        all.push(found);
                    }
                }
            }
            let gone = crowded_out(&kept, room);
            let bytes: u64 = gone.iter().map(|index| kept[*index].size).sum();
            let archives = gone.iter().filter(|index| self.remove(&all[**index].0, all[**index].1)).count();
            if archives > 0 {
                let removed = self.removed.entry(folder).or_default();
                *removed = (removed.0 + archives as u64, removed.1 + bytes);
            }
        }
    }

    /// Removes an archive and its index.
    fn remove(&mut self, path: &Path, archive: Archive) -> bool {
        let archive = named(path, archive);
        if let Err(error) = fs::remove_file(&archive)
            && error.kind() != ErrorKind::NotFound
        {
            warn!("cannot remove {}: {error}", archive.display());
            return false;
        }
        // It may never have had one.
        let _ = fs::remove_file(times_of(&archive));
        self.names(path).remove(&archive);
        true
    }

    /// What lies beside a file.
    fn names(&mut self, path: &Path) -> &mut Names {
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        self.folders.entry(folder).or_insert_with_key(|folder| {
            Names::read(folder).unwrap_or_else(|error| {
                warn!("cannot read {}: {error}", folder.display());
                Names::default()
            })
        })
    }
}

/// Something that goes wherever there is too little room.
const NOTHING: Kept = Kept { file: 0, archive: Archive { moment: 0, packing: Packing::Plain }, size: 0 };

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

/// Removes the archives of a file that was emptied.
fn flush(Flushed { path, file, newest }: Flushed) -> Option<LogFile> {
    let Some(newest) = newest else { return file };
    let is_there = file.is_some();
    let mut file = file.unwrap_or(LogFile { path: path.clone(), ..LogFile::default() });
    let all = super::archives(&path).unwrap_or_default().into_iter();
    for archive in all.filter(|archive| archive.moment <= newest.moment) {
        // While one is being compressed, or where that was cut short, it is there twice.
        for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
            let archive = named(&path, Archive { packing, ..archive });
            let Ok(found) = fs::metadata(&archive) else { continue };
            match fs::remove_file(&archive) {
                Ok(()) => {
                    file.archives += 1;
                    file.archived += found.len();
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => file.problem = Some(format!("cannot remove {}: {error}", archive.display())),
            }
        }
        let _ = fs::remove_file(times_of(&named(&path, archive)));
    }
    (is_there || file.archives > 0 || file.problem.is_some()).then_some(file)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::logs::times_name;

    fn keeper() -> Keeper {
        Keeper::new(tokio::sync::mpsc::unbounded_channel().0, Arc::default())
    }

    fn known(path: &Path, rotation: &Rotation, before: u64) -> Task {
        Task::Known { app: "a".into(), instance: 0, path: path.into(), rotation: Some(rotation.clone()), before }
    }

    fn archive(path: &Path, moment: u64, text: &str) {
        let archive = Archive { moment, packing: Packing::Plain };
        fs::write(named(path, archive), text).unwrap();
        fs::write(path.with_file_name(times_name(&archive.name(&name(path)))), "t").unwrap();
    }

    fn finish(keeper: &mut Keeper) {
        keeper.work();
        while keeper.is_busy() {
            keeper.work();
        }
    }

    fn left(path: &Path) -> Vec<(u64, Packing)> {
        super::super::archives(path).unwrap().iter().map(|it| (it.moment, it.packing)).collect()
    }

    #[test]
    fn archives_are_compressed_and_those_beyond_the_limit_go_with_their_times() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(&path, "live\n").unwrap();
        (1..=4).for_each(|moment| archive(&path, moment, &format!("{moment}\n")));
        // Left by a predecessor.
        fs::write(folder.path().join(".a.log.19700101T000000.001Z.gz.tmp"), "half").unwrap();
        fs::write(folder.path().join(".a.log.19700101T000000.000Z.times"), "lost").unwrap();
        let rotation = Rotation { keep: 2, ..Rotation::default() };
        let mut keeper = keeper();
        keeper.take(known(&path, &rotation, 4));
        // One after the other, and none that goes.
        keeper.work();
        assert_eq!(left(&path), [(2, Packing::Gzip), (3, Packing::Plain), (4, Packing::Plain)]);
        finish(&mut keeper);
        // Of the last one it is not known yet that nothing more comes.
        assert_eq!(left(&path), [(2, Packing::Gzip), (3, Packing::Gzip), (4, Packing::Plain)]);
        let mut text = String::new();
        let second = named(&path, Archive { moment: 2, packing: Packing::Gzip });
        GzDecoder::new(File::open(second).unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "2\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1 + 3 + 3);
        keeper.take(Task::Rotated { path: path.clone(), before: 5 });
        finish(&mut keeper);
        assert_eq!(left(&path), [(3, Packing::Gzip), (4, Packing::Gzip)]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "live\n");
    }

    #[test]
    fn the_total_counts_instances_that_are_no_more_and_indexes() {
        let folder = tempfile::tempdir().unwrap();
        let [path, gone] = ["a-out-0.log", "a-out-7.log"].map(|name| folder.path().join(name));
        fs::write(&path, "0123456789").unwrap();
        fs::write(&gone, "0123456789").unwrap();
        (1..=3).for_each(|moment| archive(&gone, moment, "0123456789"));
        archive(&path, 2, "0123456789");
        let rotation = Rotation { total: Some(43), compress: Compression::None, ..Rotation::default() };
        let mut keeper = keeper();
        keeper.take(known(&path, &rotation, 9));
        keeper.work();
        // 20 live, and 4 times 11: the two oldest go.
        assert_eq!((left(&path).len(), left(&gone)), (0, vec![(2, Packing::Plain), (3, Packing::Plain)]));
    }

    #[test]
    fn who_waits_for_a_flush_is_served_first_and_the_rest_is_done_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        (1..=3).for_each(|moment| archive(&path, moment, "0123456789"));
        let mut keeper = keeper();
        keeper.take(known(&path, &Rotation::default(), 9));
        keeper.waiting.fetch_add(1, SeqCst);
        keeper.work();
        assert!(left(&path).iter().all(|(_, packing)| *packing == Packing::Plain));
        let (done, mut files) = tokio::sync::oneshot::channel();
        let newest = Some(Archive { moment: 2, packing: Packing::Plain });
        let nothing = Flushed { path: folder.path().join("b.log"), file: None, newest: None };
        keeper.take(Task::Flush { files: vec![Flushed { path: path.clone(), file: None, newest }, nothing], done });
        let file = LogFile { path: path.clone(), archives: 2, archived: 20, ..LogFile::default() };
        assert_eq!(files.try_recv().unwrap(), [file]);
        keeper.work();
        assert_eq!(left(&path), [(3, Packing::Gzip)]);
    }
}
