//! The metrics endpoint: `[daemon] metrics = "127.0.0.1:9615"` in `config.toml`.
//!
//! ```text
//!  config.toml ── inotify ──> keep ── opens, closes ──> socket (a copy with the guardian)
//!                              │ starts, stops                │
//!                              └──────────────────> thread `rsx-metrics`: accepts, judges, writes
//! ```
//!
//! A task of the daemon's runtime keeps what the file says and what is served together; serving happens on a thread of its
//! own, which reads what all readers read, so that no scrape makes the engine wait. The socket outlives a daemon: who asks in
//! the gap waits in its queue. What is wrong (the file, the address) is a notice of the daemon and changes nothing else.

mod asked;
mod thread;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tracing::{info, warn};

use crate::config::{self, MAX_FILE};
use crate::daemon::endpoint::thread::Serving;
use crate::daemon::handed::{file_of, name_of};
use crate::daemon::link::Link;
use crate::daemon::server::Shared;
use crate::paths::Home;
use crate::spec::ListenAddress;
use crate::sys::handed::{self, FileId, OpenError};
use crate::sys::readable::Readiness;

/// What the name begins with under which the guardian keeps the socket.
const PREFIX: &str = "metrics/";

/// How soon an address that could not be had is tried again, first and at most: nobody tells when it is free.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The file mode mask where no mode is named; there always is one.
const UMASK: u32 = 0o077;

/// Whether the guardian keeps this for us.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// What is served at the moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Endpoint(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    trouble: Option<String>,
    /// Whether a thread serves it.
    is_served: bool,
    held: Option<Held>,
}

/// A listening socket.
#[derive(Debug)]
struct Held {
    fd: OwnedFd,
    address: ListenAddress,
    file: Option<FileId>,
    /// Where the guardian has it.
    name: String,
}

/// What an endpoint needs of the daemon that it belongs to.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) config: PathBuf,
    /// What `~` stands for.
    pub(super) user_home: Option<PathBuf>,
    pub(super) link: Option<Link>,
    pub(super) shared: Shared,
}

impl Surroundings {
    pub(super) fn of(home: &Home, link: Option<Link>, shared: Shared) -> Surroundings {
        let user_home = std::env::var_os("HOME").map(PathBuf::from);
        Surroundings { config: home.config(), user_home, link, shared }
    }
}

impl Endpoint {
    /// What is wrong with it, as a notice.
    pub(super) fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// Where it is served.
    pub(super) fn address(&self) -> Option<String> {
        let state = self.lock();
        state.held.as_ref().filter(|_| state.is_served).map(|held| match &held.address {
            ListenAddress::Tcp { address, .. } => format!("http://{address}/metrics"),
            unix @ ListenAddress::Unix { .. } => unix.to_string(),
        })
    }

    /// What a guardian would hold of it.
    pub(super) fn leave(&self) -> Option<(String, OwnedFd)> {
        let state = self.lock();
        let held = state.held.as_ref()?;
        Some((held.name.clone(), held.fd.try_clone().ok()?))
    }

    /// Nobody is served any more, and none comes after this daemon.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_served = false;
        if let Some(held) = state.held.take() {
            handed::close(held.fd, &held.address, held.file);
        }
    }

    /// Keeps what is served as the file says, for ever. `kept` is what the guardian has of an earlier daemon's.
    pub(super) async fn keep(self, kept: Vec<(String, OwnedFd)>, around: Surroundings) {
        self.recall(kept, &around);
        let watch = Watch::new(&around.config);
        if let Err(error) = &watch {
            warn!("changes of {} take effect with the next daemon: {error}", around.config.display());
        }
        let mut served: Option<(config::Endpoint, Serving)> = None;
        let mut pause = AGAIN.0;
        loop {
            let retry = match read(&around).await {
                // What was served before goes on.
                Err(why) => {
                    if served.is_none() {
                        self.let_go(&around);
                    }
                    self.tell(Some(why));
                    false
                }
                Ok(None) => {
                    served = None;
                    self.let_go(&around);
                    self.tell(None);
                    false
                }
                Ok(Some(wanted)) if served.as_ref().is_some_and(|(it, serving)| *it == wanted && serving.lives()) => {
                    self.tell(None);
                    false
                }
                Ok(Some(wanted)) => {
                    served = None;
                    match self.serve(&wanted, &around) {
                        Ok(serving) => {
                            info!("metrics are served at {}", wanted.socket.address);
                            served = Some((wanted, serving));
                            self.tell(None);
                            false
                        }
                        Err(why) => {
                            self.tell(Some(why));
                            true
                        }
                    }
                }
            };
            self.lock().is_served = served.is_some();
            let again = tokio::time::sleep(pause);
            pause = if retry { (pause * 2).min(AGAIN.1) } else { AGAIN.0 };
            tokio::select! {
                () = again, if retry => {}
                () = changed(watch.as_ref().ok()) => {}
            }
        }
    }

    /// Takes over what an earlier daemon served.
    fn recall(&self, kept: Vec<(String, OwnedFd)>, around: &Surroundings) {
        for (name, fd) in kept {
            match handed::address_of(&fd) {
                Some(address) if self.lock().held.is_none() => {
                    let file = file_of(PREFIX, &name);
                    self.lock().held = Some(Held { fd, address, file, name });
                }
                Some(_) | None => around.forget(&name),
            }
        }
    }

    fn serve(&self, wanted: &config::Endpoint, around: &Surroundings) -> Result<Serving, String> {
        let is_there = self.lock().held.as_ref().is_some_and(|held| held.address == wanted.socket.address);
        let cannot = |error: &dyn std::fmt::Display| format!("metrics: cannot serve them: {error}");
        if is_there {
            handed::change(&wanted.socket, UMASK).map_err(|error| refused(&wanted.socket.address, &error))?;
        } else {
            self.let_go(around);
            let fd = handed::open(&wanted.socket, UMASK).map_err(|error| refused(&wanted.socket.address, &error))?;
            let address = wanted.socket.address.clone();
            let file = match &address {
                ListenAddress::Tcp { .. } => None,
                ListenAddress::Unix { path } => handed::file_id(path),
            };
            let name = name_of(PREFIX, &fd, file).map_err(|error| cannot(&error))?;
            if let Some(link) = &around.link {
                link.put(&[(&name, fd.as_fd())]);
            }
            self.lock().held = Some(Held { fd, address, file, name });
        }
        let copy = self.lock().held.as_ref().map(|held| held.fd.try_clone());
        let copy = copy.unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()));
        copy.and_then(|fd| thread::serve(fd, wanted, around.shared.clone())).map_err(|error| cannot(&error))
    }

    /// Closes what is open.
    fn let_go(&self, around: &Surroundings) {
        let Some(held) = self.lock().held.take() else { return };
        info!("metrics are not served at {} any more", held.address);
        around.forget(&held.name);
        handed::close(held.fd, &held.address, held.file);
    }

    fn tell(&self, trouble: Option<String>) {
        let mut state = self.lock();
        if let Some(why) = trouble.as_ref().filter(|_| state.trouble != trouble) {
            warn!("{why}");
        }
        state.trouble = trouble;
    }

    /// A panic elsewhere cannot leave it half written: each change is one assignment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Surroundings {
    fn forget(&self, name: &str) {
        if let Some(link) = &self.link {
            link.forget(&[name]);
        }
    }
}

/// What the file says; why it cannot be used, as a notice.
async fn read(around: &Surroundings) -> Result<Option<config::Endpoint>, String> {
    let path = &around.config;
    let unusable = |why: &dyn std::fmt::Display| format!("{} is not used: {why}", path.display());
    match tokio::fs::metadata(path).await {
        Ok(found) if found.len() > MAX_FILE as u64 => return Err(unusable(&"it is too large")),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(&error)),
    }
    let text = tokio::fs::read_to_string(path).await.map_err(|error| unusable(&error))?;
    let own = config::own_config(&text, path, around.user_home.as_deref());
    own.map(|own| own.metrics).map_err(|report| {
        let first = report.problems().first();
        let line =
            first.and_then(|problem| report.place(problem)).map_or(String::new(), |(line, _)| format!("line {line}: "));
        let what = first.map_or("", |problem| problem.message.as_str());
        unusable(&format!("{line}{what} (`rsx check {}` shows it)", path.display()))
    })
}

fn refused(address: &ListenAddress, error: &OpenError) -> String {
    let way_out = match (error, address) {
        (OpenError::Taken, ListenAddress::Tcp { address, .. }) => {
            format!(" (`ss -ltnp sport = :{}` shows who; it is tried again)", address.port())
        }
        _ => String::new(),
    };
    format!("metrics: cannot listen on {address}: {error}{way_out}")
}

/// Tells of changes of one file, also of one that is not there yet.
struct Watch {
    inotify: Inotify,
    readiness: Readiness,
    name: std::ffi::OsString,
}

impl Watch {
    fn new(path: &Path) -> io::Result<Watch> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        // Editors write a file anew under another name and rename it.
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE;
        inotify.add_watch(path.parent().unwrap_or(Path::new("/")), flags)?;
        let readiness = Readiness::new(inotify.as_fd().try_clone_to_owned()?)?;
        Ok(Watch { inotify, readiness, name: path.file_name().unwrap_or_default().to_owned() })
    }
}

/// Waits until the file may have changed; for ever where that is not told.
async fn changed(watch: Option<&Watch>) {
    let Some(watch) = watch else { return std::future::pending().await };
    while watch.readiness.wait(false).await.is_ok() {
        let mut is_it = false;
        while let Ok(events) = watch.inotify.read_events() {
            is_it |= events.iter().any(|event| event.name.as_ref() == Some(&watch.name));
        }
        if is_it {
            return;
        }
    }
    std::future::pending().await
}
