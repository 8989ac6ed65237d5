//! What is wanted, on disk: `wanted.json` after every change, `saved.json` by `rsx save`. A thread of its own writes, so
//! that a slow disk delays nobody but who asked to save.
//!
//! A file is replaced whole: written beside, fsynced, renamed; the one before it stays as `….previous`. What cannot be
//! read is never overwritten: it is set aside under another name and reported.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::daemon::keep;
use crate::paths::Home;
use crate::supervisor::Wanted;

/// The longest state file that is read, in bytes.
const LIMIT: u64 = 64 << 20;

/// How long an answer of the thread is waited for.
const ANSWER: Duration = Duration::from_secs(30);

/// How often a write that failed is tried again: whoever makes room on a full disk changes nothing else.
const AGAIN: Duration = Duration::from_secs(1);

/// The handle of the writing thread.
#[derive(Clone, Debug)]
pub(super) struct Store {
    jobs: mpsc::Sender<Job>,
    /// What the last write of `wanted.json` failed with.
    trouble: Arc<Mutex<Option<String>>>,
}

#[derive(Debug)]
enum Job {
    Wanted(Vec<u8>),
    Save(oneshot::Sender<io::Result<u64>>),
    Finish(oneshot::Sender<()>),
}

/// What a state file holds.
#[derive(Debug)]
pub(super) enum Found {
    /// There is none.
    Nothing,
    /// This, and what had to be said about it.
    State(Vec<Wanted>, Option<String>),
    /// It cannot be read, nor the one before it; it was left as it is, or set aside.
    Unreadable(String),
}

impl Store {
    /// Starts the thread.
    pub(super) fn start(home: &Home) -> io::Result<Store> {
        // Bounded by the changes of one moment: the thread takes all that wait and writes the last.
        let (jobs, inbox) = mpsc::channel();
        let trouble = Arc::new(Mutex::new(None));
        let thread = Thread { wanted: home.wanted(), saved: home.saved(), last: None, trouble: Arc::clone(&trouble) };
        std::thread::Builder::new().name("rsx-store".into()).spawn(move || thread.run(&inbox))?;
        Ok(Store { jobs, trouble })
    }

    /// Writes `wanted.json`, soon.
    pub(super) fn keep(&self, wanted: Vec<u8>) {
        self.ask(Job::Wanted(wanted));
    }

    /// Writes what is wanted as `saved.json`; the number of bytes.
    ///
    /// # Errors
    ///
    /// Whatever the disk says, or `TimedOut`.
    pub(super) async fn save(&self) -> io::Result<u64> {
        let (answer, saved) = oneshot::channel();
        self.ask(Job::Save(answer));
        match tokio::time::timeout(ANSWER, saved).await {
            Ok(Ok(saved)) => saved,
            Ok(Err(_)) => Err(ErrorKind::BrokenPipe.into()),
            Err(_) => Err(ErrorKind::TimedOut.into()),
        }
    }

    /// Waits until everything is on disk.
    pub(super) async fn finish(&self, limit: Duration) {
        let (done, finished) = oneshot::channel();
        self.ask(Job::Finish(done));
        if tokio::time::timeout(limit, finished).await.is_err() {
            warn!("what is wanted was not written in time");
        }
    }

    /// Why `wanted.json` is not up to date, if it is not.
    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    fn ask(&self, job: Job) {
        // The thread ends only with the daemon.
        let _ = self.jobs.send(job);
    }
}

struct Thread {
    wanted: PathBuf,
    saved: PathBuf,
    last: Option<Vec<u8>>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Thread {
    fn run(mut self, inbox: &mpsc::Receiver<Job>) {
        while let Ok(first) = self.next(inbox) {
            let mut jobs: Vec<Job> = first.into_iter().collect();
            jobs.extend(inbox.try_iter());
            let is_changed = jobs.is_empty() || jobs.iter().any(|job| matches!(job, Job::Wanted(_)));
            let mut answers = Vec::new();
            for job in jobs {
                match job {
                    Job::Wanted(bytes) => self.last = Some(bytes),
                    Job::Save(_) | Job::Finish(_) => answers.push(job),
                }
            }
            if let Some(bytes) = self.last.as_ref().filter(|_| is_changed) {
                let outcome = replace(&self.wanted, bytes);
                let trouble = outcome.err().map(|error| format!("cannot write {}: {error}", self.wanted.display()));
                self.note(trouble);
            }
            for job in answers {
                // Whoever asked may have stopped waiting.
                match job {
                    Job::Save(answer) => drop(answer.send(self.save())),
                    Job::Finish(done) => drop(done.send(())),
                    Job::Wanted(_) => {}
                }
            }
        }
    }

    /// The next job; none when it is time to try again.
    fn next(&self, inbox: &mpsc::Receiver<Job>) -> Result<Option<Job>, mpsc::RecvTimeoutError> {
        if lock(&self.trouble).is_none() {
            return inbox.recv().map(Some).map_err(|_| mpsc::RecvTimeoutError::Disconnected);
        }
        match inbox.recv_timeout(AGAIN) {
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(None),
            job => job.map(Some),
        }
    }

    fn note(&self, trouble: Option<String>) {
        let mut known = lock(&self.trouble);
        match (&*known, &trouble) {
            (known, Some(new)) if known.as_ref() != Some(new) => warn!("{new}"),
            (Some(_), None) => info!("{} is written again", self.wanted.display()),
            _ => {}
        }
        *known = trouble;
    }

    fn save(&self) -> io::Result<u64> {
        let bytes = match &self.last {
            Some(bytes) => bytes.clone(),
            None => keep::to_bytes(&[])?,
        };
        replace(&self.saved, &bytes)?;
        Ok(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
    }
}

/// Reads a state file; if it is torn or unknown, the one before it. A file that cannot be read is set aside, so that the
/// next write does not end it.
pub(super) fn read(path: &Path) -> Found {
    let why = match read_one(path) {
        Ok(wanted) => return Found::State(wanted, None),
        Err(error) if error.kind() == ErrorKind::NotFound => match read_one(&previous(path)) {
            Ok(wanted) => {
                return Found::State(
                    wanted,
                    Some(format!("{} is missing, the one before it was read", path.display())),
                );
            }
            Err(_) => return Found::Nothing,
        },
        Err(error) => error,
    };
    let aside = path.with_extension("json.unreadable");
    let kept = match std::fs::rename(path, &aside) {
        Ok(()) => format!("it was kept as {}", aside.display()),
        Err(error) => format!("it could not be set aside: {error}"),
    };
    let what = format!("{} cannot be read ({why}); {kept}", path.display());
    match read_one(&previous(path)) {
        Ok(wanted) => Found::State(wanted, Some(format!("{what}; the one before it was read"))),
        Err(_) => Found::Unreadable(what),
    }
}

fn read_one(path: &Path) -> io::Result<Vec<Wanted>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LIMIT).read_to_end(&mut bytes)?;
    keep::from_bytes(&bytes)
}

fn previous(path: &Path) -> PathBuf {
    path.with_extension("json.previous")
}

/// Replaces a file whole, or leaves it as it is.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("json.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_all()) {
        // On a full disk it would take room that others need.
        let _ = std::fs::remove_file(&fresh);
        return Err(error);
    }
    let before = previous(path);
    match std::fs::remove_file(&before).and_then(|()| std::fs::hard_link(path, &before)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // One of the two is missing: the first or second write of this home.
            if let Err(error) = std::fs::hard_link(path, &before)
                && error.kind() != ErrorKind::NotFound
            {
                warn!("cannot keep {}: {error}", before.display());
            }
        }
        Err(error) => warn!("cannot keep {}: {error}", before.display()),
        Ok(()) => {}
    }
    std::fs::rename(&fresh, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// What is behind the lock is replaced whole; a panic elsewhere cannot have left it half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::spec::AppSpec;
    use crate::supervisor::{Definition, SlotId};

    fn wanted(name: &str) -> Vec<Wanted> {
        let definition =
            Definition { spec: AppSpec::sample(name), inherited: Arc::default(), stamp: None, declared: 1 };
        vec![Wanted { definition: Arc::new(definition), slots: vec![(SlotId(0), 0, true)] }]
    }

    fn names(found: Found) -> (Vec<String>, Option<String>) {
        match found {
            Found::State(wanted, said) => (wanted.iter().map(|app| app.definition.spec.name.clone()).collect(), said),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_the_one_before_it_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wanted.json");
        assert!(matches!(read(&path), Found::Nothing));
        for name in ["a", "b", "c"] {
            replace(&path, &keep::to_bytes(&wanted(name)).unwrap()).unwrap();
        }
        assert_eq!(names(read(&path)), (vec!["c".into()], None));
        assert_eq!(names(read(&previous(&path))).0, ["b"]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_torn_file_is_set_aside_and_the_one_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wanted.json");
        for name in ["a", "b"] {
            replace(&path, &keep::to_bytes(&wanted(name)).unwrap()).unwrap();
        }
        std::fs::write(&path, br#"{"version":1,"apps":[{"spec":{"na"#).unwrap();
        let (names, said) = names(read(&path));
        assert_eq!(names, ["a"]);
        assert!(said.unwrap().contains("the one before it was read"));
        let aside = std::fs::read_to_string(folder.path().join("wanted.json.unreadable")).unwrap();
        assert!(aside.starts_with(r#"{"version":1"#), "nothing of it is lost");
    }

    #[test]
    fn a_file_of_a_later_version_is_reported_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wanted.json");
        std::fs::write(&path, br#"{"version":99,"environments":[],"apps":[]}"#).unwrap();
        let Found::Unreadable(said) = read(&path) else { panic!() };
        assert!(said.contains("version 99"), "{said}");
        assert!(folder.path().join("wanted.json.unreadable").exists());
    }

    #[test]
    fn a_missing_folder_is_an_error_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        assert!(replace(&folder.path().join("no/wanted.json"), b"x").is_err());
    }

    #[test]
    fn the_released_form_stays_readable() {
        let form = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/wanted-v1.json");
        let wanted = read_one(Path::new(form)).unwrap();
        assert_eq!(wanted[0].definition.spec.name, "api");
        assert_eq!(wanted[0].slots, [(SlotId(0), 0, true), (SlotId(1), 1, false)]);
    }
}
