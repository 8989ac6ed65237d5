//! Health checks, carried out: each is a task of its own with a time limit, and ends with one report.
//!
//! | module | is responsible for |
//! |---|---|
//! | `http` | a request and what its answer means |
//! | `exec` | a command line, and that nothing of it stays |
//! | `places` | where an instance can be asked |
//!
//! What was found is kept beside the engine's view, as samples are: that a check has passed once more is no news.

mod exec;
mod http;
mod places;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

use crate::daemon::checks::places::Place;
use crate::daemon::clock::Clock;
use crate::daemon::cluster::Sockets;
use crate::daemon::report::Report;
use crate::guardian::Before;
use crate::proto::{CheckView, HealthView};
use crate::spec::{Check, HealthSpec};
use crate::supervisor::{Definition, Finding, RunId, SlotId};
use crate::sys::process::Process;
use crate::sys::tcp;

/// The longest finding that is told, in characters.
const LONGEST: usize = 200;

/// Carries checks out.
#[derive(Clone)]
pub(super) struct Checks(Arc<Shared>);

struct Shared {
    sockets: Sockets,
    reports: mpsc::UnboundedSender<Report>,
    clock: Clock,
    /// What children get of what this process has changed for itself.
    before: Before,
    /// Of runs that live. Bounded by their number.
    found: Mutex<HashMap<RunId, Found>>,
}

/// What was found of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    passed: u64,
    failed: u64,
    last: Option<CheckView>,
    /// Where it was asked last, if that had to be looked for.
    places: Vec<SocketAddr>,
}

/// One check.
pub(super) struct Examination {
    pub(super) run: RunId,
    pub(super) slot: SlotId,
    pub(super) instance: u16,
    pub(super) definition: Arc<Definition>,
    pub(super) process: Arc<Process>,
    /// Where a command is executed.
    pub(super) cwd: PathBuf,
    /// Whether its sockets are shared.
    pub(super) captured: bool,
    /// Whether it was seen listening.
    pub(super) listens: bool,
}

impl Found {
    /// Adds what was found to what was made of it.
    pub(super) fn add_to(&self, view: &mut HealthView) {
        (view.passed, view.failed, view.last) = (self.passed, self.failed, self.last.clone());
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks").finish_non_exhaustive()
    }
}

impl Checks {
    pub(super) fn new(
        sockets: Sockets,
        reports: mpsc::UnboundedSender<Report>,
        (clock, before): (Clock, Before),
    ) -> Checks {
        Checks(Arc::new(Shared { sockets, reports, clock, before, found: Mutex::default() }))
    }

    /// Begins a check; its report comes when its time is over at the latest, but for the end of a command's tree.
    pub(super) fn begin(&self, examination: Examination) {
        let checks = self.clone();
        checks.lock().entry(examination.run).or_default();
        tokio::spawn(async move {
            let Some(spec) = &examination.definition.spec.health else { return };
            let begun = Instant::now();
            let found = checks.examine(&examination, spec).await;
            let took = begun.elapsed();
            let was_asked = found.as_ref().err() != Some(&nowhere(spec.port));
            let (finding, text) = match found {
                Ok(text) => (Finding::Well, text),
                Err(text) => {
                    let text = shortened(&text);
                    (Finding::Ill(text.clone()), text)
                }
            };
            let run = examination.run;
            if was_asked {
                checks.note(run, &finding, took, text);
            }
            // The engine may have ended.
            let _ = checks.0.reports.send(Report::Checked { run, finding });
        });
    }

    /// What was found of all runs.
    pub(super) fn all(&self) -> HashMap<RunId, Found> {
        self.lock().clone()
    }

    /// It has ended.
    pub(super) fn forget(&self, run: RunId) {
        self.lock().remove(&run);
    }

    fn note(&self, run: RunId, finding: &Finding, took: Duration, text: String) {
        let passed = *finding == Finding::Well;
        let time = self.0.clock.epoch_millis(self.0.clock.now());
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // It may have been forgotten meanwhile.
        if let Some(found) = self.lock().get_mut(&run) {
            *(if passed { &mut found.passed } else { &mut found.failed }) += 1;
            found.last = Some(CheckView { time, took, passed, found: text });
        }
    }

    /// What was found, as a sentence fragment; an error: it is not well.
    async fn examine(&self, examination: &Examination, spec: &HealthSpec) -> Result<String, String> {
        let limit = spec.timeout;
        let late = || format!("no answer within {}", in_words(limit));
        match &spec.check {
            Check::Exec { line } => exec::run(examination, line, limit, &self.0.before).await,
            Check::Tcp => {
                let asked = async {
                    self.connect(examination, spec.port)
                        .await
                        .map(|(_, to)| format!("port {} takes connections", to.port()))
                };
                tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err(late()))
            }
            Check::Http { path } => {
                let asked = async {
                    let (stream, to) = self.connect(examination, spec.port).await?;
                    http::get(stream, to, path).await
                };
                let (status, rest) = match tokio::time::timeout(limit, asked).await {
                    Ok(answer) => answer?,
                    Err(_) => return Err(late()),
                };
                // Who is cut off in the middle of its answer may take that for an error.
                tokio::spawn(rest.read(limit));
                match status {
                    200..=399 => Ok(format!("HTTP {status}")),
                    _ => Err(format!("GET {path} answered {status}")),
                }
            }
        }
    }

    /// A connection with this instance and no other.
    async fn connect(&self, examination: &Examination, port: Option<u16>) -> Result<(TcpStream, SocketAddr), String> {
        let run = examination.run;
        let mut places: Vec<Place> = Vec::new();
        if examination.captured {
            let marked = self.0.sockets.places(run, port).into_iter();
            places.extend(marked.map(|(to, from)| Place { to, from: Some(from) }));
        }
        // What is not shared, or not marked, is looked for; in vain as long as it does not listen.
        if places.is_empty() && (examination.listens || port.is_some()) {
            let known = self.lock().get(&run).map(|found| found.places.clone()).unwrap_or_default();
            let found = if known.is_empty() { places::search(&examination.process, port).await } else { known };
            if let Some(entry) = self.lock().get_mut(&run) {
                entry.places.clone_from(&found);
            }
            // At a shared port another run might answer for this one.
            let is_its_own = |to: &SocketAddr| !examination.captured || !self.0.sockets.is_others(run, to.port());
            places.extend(found.into_iter().filter(is_its_own).map(|to| Place { to, from: None }));
        }
        let mut error = nowhere(port);
        for place in places {
            match connect(&place).await {
                Ok(stream) => return Ok((stream, place.to)),
                Err(why) => error = format!("{}: {}", place.to, crate::daemon::launch::reason(&why)),
            }
        }
        // It may have moved.
        if let Some(found) = self.lock().get_mut(&run) {
            found.places.clear();
        }
        Err(error)
    }

    /// Entries are written one by one; a panic elsewhere cannot have left one half written.
    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Found>> {
        self.0.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(place: &Place) -> std::io::Result<TcpStream> {
    let fd: OwnedFd = tcp::unconnected(place.to, place.from)?;
    TcpSocket::from_std_stream(fd.into()).connect(place.to).await
}

/// What is said of one that cannot be asked, because it does not listen.
fn nowhere(port: Option<u16>) -> String {
    match port {
        Some(port) => format!("it does not listen at port {port}"),
        None => "it listens at no port".to_owned(),
    }
}

/// `1s`, `250ms`: as it is written in a file.
fn in_words(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{}ms", duration.as_millis())
    } else {
        format!("{}s", duration.as_secs_f64())
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}
