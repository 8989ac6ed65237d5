//! What all connections share, and what is answered from it without the engine.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::daemon::checks::Checks;
use crate::daemon::cluster::Sockets;
use crate::daemon::endpoint::Endpoint;
use crate::daemon::history::History;
use crate::daemon::journal::Journal;
use crate::daemon::link::Link;
use crate::daemon::looker::Looker;
use crate::daemon::mend;
use crate::daemon::publish::{Events, Extent, Published};
use crate::daemon::pump::Pump;
use crate::daemon::report::Report;
use crate::daemon::rest::Rest;
use crate::daemon::said::Sayings;
use crate::daemon::store::Store;
use crate::daemon::times::Times;
use crate::guardian::Verdict;
use crate::proto::{DaemonView, OwnView, View};
use crate::sys::system;

/// How long the guardian may take to try another binary.
const VERDICT: Duration = Duration::from_secs(10);

/// How long a view waits for a sample of what has just been started.
const SAMPLE_LIMIT: Duration = Duration::from_millis(100);

/// How long a turn of the engine's runtime is waited for.
const LAG_LIMIT: Duration = Duration::from_secs(1);

/// The longest path of a binary, in bytes (PATH_MAX with its NUL).
const MAX_PATH: usize = 4095;

/// What all connections share.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Shared {
    pub(in crate::daemon) reports: mpsc::UnboundedSender<Report>,
    pub(in crate::daemon) published: watch::Receiver<Arc<Published>>,
    pub(in crate::daemon) events: Arc<Events>,
    pub(in crate::daemon) looker: Looker,
    pub(in crate::daemon) history: History,
    pub(in crate::daemon) sockets: Sockets,
    pub(in crate::daemon) sayings: Sayings,
    pub(in crate::daemon) checks: Checks,
    pub(in crate::daemon) rest: Rest,
    pub(in crate::daemon) pump: Pump,
    pub(in crate::daemon) daemon: DaemonView,
    pub(in crate::daemon) link: Option<Link>,
    pub(in crate::daemon) store: Store,
    pub(in crate::daemon) journal: Journal,
    pub(in crate::daemon) endpoint: Endpoint,
    pub(in crate::daemon) times: Times,
    /// The one in which the engine runs.
    pub(in crate::daemon) runtime: Handle,
    /// The file of `save`.
    pub(in crate::daemon) saved: PathBuf,
    pub(in crate::daemon) user: String,
    pub(in crate::daemon) uid: u32,
}

impl Shared {
    /// The daemon itself, as it is now.
    pub(super) fn daemon(&self) -> DaemonView {
        let alone = self.link.as_ref().is_none_or(Link::is_alone);
        let mut daemon = self.daemon.clone();
        daemon.guardian = if alone { 0 } else { daemon.guardian };
        daemon.parked = self.published.borrow().parked;
        daemon.notices.extend(self.store.trouble());
        daemon.notices.extend(self.journal.trouble());
        daemon.notices.extend(self.endpoint.trouble());
        daemon.metrics = self.endpoint.address();
        daemon
    }

    /// All apps as they are now.
    pub(in crate::daemon) async fn view(&self, extent: Extent) -> View {
        let published = Arc::clone(&self.published.borrow());
        let samples = self.looker.samples(&published.runs(), SAMPLE_LIMIT).await;
        let ports = match extent {
            Extent::Full | Extent::Measured => self.sockets.look(SAMPLE_LIMIT).await,
            Extent::Brief => self.sockets.shown(),
        };
        let seen = (&samples, &ports, &self.sayings.all(), &self.checks.all());
        let mut daemon = self.daemon();
        if extent != Extent::Brief {
            daemon.own = self.own().await;
        }
        let mut view = published.view(extent, daemon, &self.user, seen);
        if extent != Extent::Brief {
            let times = self.times.all();
            for slot in view.apps.iter_mut().flat_map(|app| &mut app.slots) {
                slot.times = Some(times.get(&slot.id).copied().unwrap_or_default());
            }
        }
        view
    }

    /// What this daemon uses itself.
    async fn own(&self) -> Option<OwnView> {
        let used = system::own_use().ok()?;
        let asked = Instant::now();
        // The engine's turns come between.
        let turn = tokio::time::timeout(LAG_LIMIT, self.runtime.spawn(async {})).await;
        let lag = turn.ok().map(|_| u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX));
        let cpu = u64::try_from(used.cpu.as_millis()).unwrap_or(u64::MAX);
        Some(OwnView { memory: used.memory, cpu, descriptors: used.descriptors, lag })
    }

    /// Waits until the engine has published its first view: until then nothing is known of what an earlier daemon left,
    /// and an answer would say that there is nothing. False when that does not come.
    pub(in crate::daemon) async fn is_born(&self, limit: Duration) -> bool {
        let mut published = self.published.clone();
        let first = published.wait_for(|published| published.generation > 0);
        matches!(tokio::time::timeout(limit, first).await, Ok(Ok(_)))
    }

    /// Hands over to another binary: its release, once it has shown that it can take over, or why that is not done. After
    /// this has succeeded the daemon leaves.
    pub(super) async fn update(&self, binary: &Path) -> Result<String, String> {
        acceptable(binary)?;
        let Some(link) = self.link.as_ref().filter(|link| !link.is_alone()) else {
            return mend::rehearse(binary).await;
        };
        let verdict = link.update(binary).map_err(|error| match error.kind() {
            ErrorKind::ResourceBusy => "another update is under way".to_owned(),
            _ => format!("the guardian cannot be asked: {error}"),
        })?;
        match tokio::time::timeout(VERDICT, verdict).await {
            Ok(Ok(Verdict::Go { version })) => Ok(version),
            Ok(Ok(Verdict::Refused { why })) => Err(why),
            Ok(Err(_)) => Err("the guardian has ended".to_owned()),
            Err(_) => Err(format!("the guardian did not answer within {} s", VERDICT.as_secs())),
        }
    }

    /// Leaves for another binary: its release has been told to whoever asked.
    pub(super) fn hand_over(&self, binary: &Path) {
        let alone = self.link.as_ref().is_none_or(Link::is_alone);
        // The engine may have ended; then the daemon leaves anyhow.
        let _ = self.reports.send(Report::HandOver(alone.then(|| binary.to_owned())));
    }
}

/// The path goes to the guardian in a line of text.
fn acceptable(binary: &Path) -> Result<(), String> {
    let bytes = binary.as_os_str().as_encoded_bytes();
    if bytes.len() > MAX_PATH {
        return Err(format!("the path of a binary has at most {MAX_PATH} bytes, this one has {}", bytes.len()));
    }
    if !binary.is_absolute() {
        return Err(format!("the path `{}` is not absolute", binary.display()));
    }
    if bytes.iter().any(u8::is_ascii_control) {
        return Err(format!("the path `{}` holds a control character", binary.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_has_an_absolute_path_of_one_line() {
        assert_eq!(acceptable(Path::new("/usr/local/bin/rsx")), Ok(()));
        for (path, word) in [("rsx", "absolute"), ("/a\nb", "control"), (&"/x".repeat(3000), "at most 4095 bytes")] {
            assert!(acceptable(Path::new(path)).unwrap_err().contains(word), "{path}");
        }
    }
}
