//! Starts the daemon when a verb needs one: many verbs at once end with one daemon, and none of them polls.

use std::fs::{DirBuilder, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;

use crate::client::connection::Absence;
use crate::client::greet::{Greeted, Purpose};
use crate::client::reach::GAP_LIMIT;
use crate::client::{Client, ClientError, Interrupt};
use crate::paths::Home;
use crate::proto::Record;
use crate::sys::lock::LockFile;
use crate::sys::system::boot_id;

/// How long another verb may be busy starting the daemon.
const LOCK_LIMIT: Duration = Duration::from_secs(10);
/// How long a new daemon may take until it says that it is ready.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// How much a daemon may say about its start.
const READY_MAX: usize = 8 * 1024;
/// How many last lines of its log are shown when it said nothing.
const LAST_LINES: usize = 5;
/// The longest first line of a journal.
const HEAD_MAX: u64 = 4096;

impl Client {
    /// Connects to the daemon of this home, and starts one where none runs.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`].
    pub fn connect_or_start(home: &Home, verb: &str) -> Result<Client, ClientError> {
        let purpose = Purpose::new(home, verb);
        let greeted = open_or_start(&purpose, None)?;
        Ok(Client::new(greeted, purpose, Absence::Mended))
    }

    /// Connects to the daemon of this home; `None` when none runs. Starts one where the last one was killed together with
    /// its guardian: what it ran may live on, and nobody watches over it.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`].
    pub fn connect_or_take_over(home: &Home, verb: &str) -> Result<Option<Client>, ClientError> {
        match Client::connect(home, verb)? {
            None if was_killed(home) => Client::connect_or_start(home, verb).map(Some),
            found => Ok(found),
        }
    }

    /// Waits until the daemon has ended and its home is free for the next one.
    ///
    /// # Errors
    ///
    /// When it is still there after the limit.
    pub fn wait_until_gone(mut self, home: &Home, limit: Duration) -> Result<(), ClientError> {
        let deadline = Instant::now() + limit;
        self.wait_until_closed(limit)?;
        // The guardian ends after its daemon. Nobody starts another one while its life is awaited, or that one would
        // find the lock taken by us.
        let _starting = lock(home, |file| file.start(LOCK_LIMIT))?;
        let left = deadline.saturating_duration_since(Instant::now());
        lock(home, |file| file.until_life_ends(left))
    }
}

/// Whether the last daemon of this home was killed since the machine has started: one that leaves takes its journal along.
fn was_killed(home: &Home) -> bool {
    let head = File::open(home.journal()).and_then(|file| {
        let mut line = Vec::new();
        BufReader::new(file.take(HEAD_MAX)).read_until(b'\n', &mut line)?;
        Ok(line)
    });
    let Ok(Ok(Record::Head(head))) = head.map(|line| serde_json::from_slice(&line)) else { return false };
    boot_id().is_ok_and(|boot| boot == head.boot)
}

/// Connects to the daemon, and starts one where neither a daemon nor its guardian lives.
pub(super) fn open_or_start(purpose: &Purpose, interrupt: Option<&Interrupt>) -> Result<Greeted, ClientError> {
    if let Some(greeted) = purpose.open(GAP_LIMIT, interrupt)? {
        return Ok(greeted);
    }
    let home = &purpose.home;
    create_home(home.root())?;
    let _starting = lock(home, |file| file.start(LOCK_LIMIT))?;
    // Whoever held the lock before may have started it.
    if let Some(greeted) = purpose.open(GAP_LIMIT, interrupt)? {
        return Ok(greeted);
    }
    let refused = match start(home) {
        Ok(()) => None,
        // It has refused because somebody who does not know this lock was faster (a service of the system, for instance),
        // or for a reason of its own, and is about to end.
        Err(error @ ClientError::NotStarted { .. }) => Some(error),
        Err(error) => return Err(error),
    };
    match (purpose.open(GAP_LIMIT, interrupt)?, refused) {
        (Some(greeted), _) => Ok(greeted),
        (None, Some(refused)) => Err(refused),
        (None, None) => Err(silent("the daemon said that it is ready and does not listen", home)),
    }
}

fn lock<T>(home: &Home, take: impl FnOnce(&LockFile) -> io::Result<T>) -> Result<T, ClientError> {
    let path = home.lock();
    LockFile::open(&path).and_then(|file| take(&file)).map_err(|source| ClientError::Home {
        activity: "lock",
        path,
        source,
    })
}

fn create_home(root: &Path) -> Result<(), ClientError> {
    DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(|source| ClientError::Home {
        activity: "create",
        path: root.to_owned(),
        source,
    })
}

/// Executes our own binary as the guardian and reads from a pipe what became of it.
fn start(home: &Home) -> Result<(), ClientError> {
    let exe = std::env::current_exe()
        .map_err(|source| ClientError::Execute { path: PathBuf::from("/proc/self/exe"), source })?;
    let refused = |source: io::Error| ClientError::Execute { path: exe.clone(), source };
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| refused(errno.into()))?;
    // From here to the spawn the write end is inherited; this process starts nothing else meanwhile.
    fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|errno| refused(errno.into()))?;
    let mut child = Command::new(&exe)
        .arg("daemon")
        .env("RSX_HOME", home.root())
        .env("RSX_READY_FD", theirs.as_raw_fd().to_string())
        .env_remove("RSX_GUARDIAN_FD")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(&refused)?;
    drop(theirs);
    let said = read_line(ours, READY_LIMIT).map_err(&refused)?;
    match said {
        Said::Line(line) if line == "ready" => Ok(()),
        Said::Line(line) => {
            // Not to leave a zombie for the rest of this verb, however short that is.
            let _ = child.try_wait();
            Err(ClientError::NotStarted { reason: line.strip_prefix("failed: ").unwrap_or(&line).to_owned() })
        }
        Said::End => {
            let _ = child.try_wait();
            Err(silent("the daemon ended while it was starting", home))
        }
        Said::Nothing => Err(silent(&format!("the daemon was not ready within {} s", READY_LIMIT.as_secs()), home)),
    }
}

enum Said {
    Line(String),
    End,
    Nothing,
}

fn read_line(pipe: OwnedFd, limit: Duration) -> io::Result<Said> {
    let deadline = Instant::now() + limit;
    let mut pipe = File::from(pipe);
    let (mut said, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) => return Ok(Said::Nothing),
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let count = pipe.read(&mut buffer)?;
        said.extend_from_slice(&buffer[..count]);
        let end = said.iter().position(|byte| *byte == b'\n');
        match end {
            Some(end) => return Ok(Said::Line(String::from_utf8_lossy(&said[..end]).into_owned())),
            None if count == 0 && said.is_empty() => return Ok(Said::End),
            None if count == 0 || said.len() > READY_MAX => {
                return Ok(Said::Line(String::from_utf8_lossy(&said).into_owned()));
            }
            None => {}
        }
    }
}

fn silent(what: &str, home: &Home) -> ClientError {
    ClientError::Silent { what: what.to_owned(), lines: last_words(home) }
}

/// The last lines of `daemon.err` (panics) and of the newest `daemon.log*`.
fn last_words(home: &Home) -> Vec<String> {
    let newest = |dir: &Path| {
        let entries = std::fs::read_dir(dir).ok()?;
        entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("daemon.log"))
            .max_by_key(|entry| entry.metadata().and_then(|meta| meta.modified()).ok())
            .map(|entry| entry.path())
    };
    let log = newest(home.root()).map(|path| if path.is_dir() { newest(&path).unwrap_or(path) } else { path });
    [Some(home.root().join("daemon.err")), log].into_iter().flatten().flat_map(|path| last_lines(&path)).collect()
}

fn last_lines(path: &Path) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let start = file.metadata()?.len().saturating_sub(4096);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(4096).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let Ok(bytes) = read() else { return Vec::new() };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}
