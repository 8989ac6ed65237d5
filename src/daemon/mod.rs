//! The shell around the core: birth and death of the daemon.
//!
//! ```text
//!  clients ──> server (a task each) ──┐                       ┌─> spawner thread ──> processes
//!                                     ├─> engine ─> core ─────┼─> signals through pidfds
//!  pidfds, notify sockets ─> watch ───┤    │                  └─> answers, events
//!  looker thread (/proc, sockets) ────┘    └─> published view ─> readers
//!  output pipes ──> log thread ──> files          names of descriptors ──> guardian
//! ```
//!
//! `engine.rs` is the loop, `shell.rs` carries effects out, `server` talks to clients. One single-threaded runtime
//! runs all of these; the log pump, the spawner and the looker have threads of their own.
#![allow(clippy::disallowed_methods, reason = "this layer is the shell: it has clocks, files, tasks and threads")]

mod adopt;
mod care;
mod checks;
mod clock;
mod cluster;
mod convert;
mod direct;
mod endpoint;
mod engine;
pub mod failpoint;
mod files;
mod handed;
mod history;
mod home;
mod inspectors;
mod journal;
mod keep;
mod keys;
mod launch;
mod link;
mod looker;
mod mend;
mod node;
mod notify;
mod ooms;
mod past;
mod pid_file;
mod predecessor;
mod privileges;
mod publish;
mod pump;
mod redact;
mod relay;
mod report;
mod rest;
mod said;
mod server;
mod shell;
mod sight;
mod spawner;
mod store;
mod strays;
mod talk;
mod watch;
mod watchdogs;

use std::cell::RefCell;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch as watch_channel};
use tracing::{error, info, warn};

use crate::daemon::checks::Checks;
use crate::daemon::clock::Clock;
use crate::daemon::cluster::Sockets;
use crate::daemon::endpoint::{Endpoint, Surroundings};
use crate::daemon::engine::{Beginning, Engine, First, Leaving};
use crate::daemon::files::Files;
use crate::daemon::handed::Handed;
use crate::daemon::history::History;
use crate::daemon::home::BirthError;
use crate::daemon::link::Link;
use crate::daemon::looker::Looker;
use crate::daemon::node::Preload;
use crate::daemon::ooms::Ooms;
use crate::daemon::past::Past;
use crate::daemon::publish::{Events, Published};
use crate::daemon::pump::Pump;
use crate::daemon::report::{Report, Request};
use crate::daemon::rest::Rest;
use crate::daemon::said::Sayings;
use crate::daemon::server::Shared;
use crate::daemon::shell::{Shell, Tools};
use crate::daemon::spawner::Ground;
use crate::daemon::store::Store;
use crate::daemon::watchdogs::Watchdogs;
use crate::guardian;
use crate::paths::Home;
use crate::proto::{DaemonView, EventKind, Key, UPDATE_FAILED};
use crate::supervisor::{Ask, Who};
use crate::sys::spawn::Bay;
use crate::sys::{fds, limits, peer, system};

/// How long the pump may take to empty its pipes at the end, and the store to write its files.
const LAST_LOGS: Duration = Duration::from_secs(3);

/// How long the guardian may take to hand out what it keeps.
const HAND_OUT: Duration = Duration::from_secs(5);

/// How long the log files may take to be opened anew after a signal.
const REOPEN: Duration = Duration::from_secs(10);

/// Runs the daemon of this home until it has stopped all apps and leaves. Returns its exit code: 0 tells the guardian
/// to leave, too.
///
/// Meant to be called by the guardian's child, with the guardian's socket, the lock and the readiness pipe inherited.
pub fn run(home: &Home) -> u8 {
    let ready = fds::take_inherited(guardian::READY_FD).map(File::from);
    // Held for life: as long as either of guardian and daemon lives, the home is taken.
    let lock = fds::take_inherited(guardian::LOCK_FD);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build();
    let lived = match runtime {
        Ok(runtime) => runtime.block_on(async { Daemon::born(home, ready).await?.live().await }),
        Err(source) => Err(BirthError::Runtime(source)),
    };
    match lived {
        Ok(End::Code(code)) => code,
        Ok(End::Guardian(exe, before, store)) => match lock {
            // Comes back only when it has failed; then nothing is lost but this daemon: the next verb finds the journal.
            Some(lock) => {
                error!("cannot become the guardian: {}", guardian::execute_as_guardian(&exe, &lock, before, store));
                1
            }
            None => 1,
        },
        // A first daemon has told its client why; trying again would say the same. A later one has apps to come back to.
        Err(_) if restarts() == 0 => guardian::HOPELESS,
        Err(_) => 1,
    }
}

/// Whether this binary could take over from the daemon that runs: it can read what that has written down. Changes
/// nothing.
///
/// # Errors
///
/// Why not, as a sentence.
pub fn rehearse(home: &Home) -> Result<(), String> {
    let boot = system::boot_id().map_err(|error| format!("cannot read the boot id: {error}"))?;
    match journal::read(&home.journal(), &boot) {
        journal::Read::Past(_) => Ok(()),
        // No daemon has been here: there is nothing to take over.
        journal::Read::Nothing if !home.socket().exists() => Ok(()),
        journal::Read::Nothing => Err(format!("there is no journal {}", home.journal().display())),
        journal::Read::Unusable(why) => Err(why),
    }
}

/// How a daemon ends.
enum End {
    /// With this exit code.
    Code(u8),
    /// As a guardian, of this binary and with these descriptors.
    Guardian(PathBuf, guardian::Before, Vec<(String, OwnedFd)>),
}

struct Daemon {
    engine: Engine,
    reports: mpsc::UnboundedSender<Report>,
    events: Arc<Events>,
    clock: Clock,
    home: Home,
    restarts: u32,
    first: First,
    link: Option<Link>,
    pump: Pump,
    endpoint: Endpoint,
    taken: Taken,
    before: guardian::Before,
}

impl Daemon {
    async fn born(home: &Home, mut ready: Option<File>) -> Result<Daemon, BirthError> {
        match Daemon::build(home).await {
            Ok(daemon) => {
                tell(ready.as_mut(), "ready");
                Ok(daemon)
            }
            Err(error) => {
                error!("{error}");
                tell(ready.as_mut(), &format!("failed: {error}"));
                Err(error)
            }
        }
    }

    async fn build(home: &Home) -> Result<Daemon, BirthError> {
        let taken = Taken::new()?;
        // Before there are many descriptors.
        let bay = Bay::new().ok().flatten();
        let umask = system::set_umask(0o077);
        home::prepare(home)?;
        home::log_to_file(home)?;
        let clock = Clock::start(journal::epoch(&home.journal()));
        let nofile = limits::raise_nofile().ok();
        // Not allowed to everybody, and not needed by anybody.
        let badness = limits::lower_badness(guardian::DAEMON_BADNESS).ok().flatten();
        let before = guardian::Before { nofile, umask, badness };
        let restarts = restarts();
        // Every sender is a task or thread of this process; `server` and `watch` say what bounds each.
        let (reports, inbox) = mpsc::unbounded_channel();
        let link = Link::from_env();
        let (mut kept, mut missed) = (Vec::new(), None);
        if let Some(link) = &link {
            let ended = reports.clone();
            // The engine may have ended.
            link.start(move |end| drop(ended.send(Report::Told(end)))).map_err(BirthError::Runtime)?;
            kept = match link.take_all(HAND_OUT) {
                Ok(kept) => kept,
                // It stands still, and nothing that it holds is lost: the next daemon has all of it.
                Err(error) if error.kind() == ErrorKind::TimedOut && restarts > 0 => {
                    return Err(BirthError::HandOut(error));
                }
                // Another daemon would fare no better: it is gone, or keeps more than a process may have.
                Err(error) => {
                    missed = Some(error);
                    Vec::new()
                }
            };
        }
        let own_binary = own_binary().map_err(BirthError::OwnBinary)?;
        let thread = |source| BirthError::Thread { source };
        let window = kept.iter().position(|(name, _)| name == keep::LOG_WINDOW).map(|at| kept.swap_remove(at).1);
        let files = Files::start(reports.clone()).map_err(thread)?;
        let pump = Pump::start(reports.clone(), window, files).map_err(thread)?;
        if let Some(link) = &link {
            link.put(&[(keep::LOG_WINDOW, pump.window())]);
        }
        // First of all that connections are led to, whatever else takes its time.
        let (left, kept): (Vec<_>, Vec<_>) = kept.into_iter().partition(|(name, _)| cluster::is_ours(name));
        let sockets = Sockets::start(left, link.clone(), reports.clone()).map_err(thread)?;
        let (listening, kept): (Vec<_>, Vec<_>) = kept.into_iter().partition(|(name, _)| handed::is_ours(name));
        let (left, kept): (Vec<_>, Vec<_>) = kept.into_iter().partition(|(name, _)| history::is_ours(name));
        let (scraped, kept): (Vec<_>, Vec<_>) = kept.into_iter().partition(|(name, _)| endpoint::is_ours(name));
        let history = History::begin(left, link.as_ref(), clock).map_err(BirthError::Runtime)?;
        let (publisher, published) = watch_channel::channel(Arc::new(Published::default()));
        let sayings = Sayings::default();
        let (looked_at, said) = (sockets.clone(), sayings.clone());
        let others = Box::new(move || [looked_at.measured(), said.measured()].concat());
        let ooms = Ooms::default();
        let looker = Looker::start(reports.clone(), (history.clone(), ooms.clone()), (others, published.clone()))
            .map_err(thread)?;
        let store = Store::start(home).map_err(thread)?;
        let events = Arc::new(Events::new());
        let (spawner, jobs) = spawner::channel();
        let checks = Checks::new(sockets.clone(), reports.clone(), (clock, before));
        let mut shell = Shell::new(Tools {
            clock,
            reports: reports.clone(),
            spawner,
            pump: pump.clone(),
            looker: looker.clone(),
            history: history.clone(),
            events: Arc::clone(&events),
            link: link.clone(),
            store: store.clone(),
            sockets: sockets.clone(),
            sayings: sayings.clone(),
            checks: checks.clone(),
            watchdogs: Watchdogs::default(),
            ooms: ooms.clone(),
            logs: home.logs(),
        });
        let Past { core, keys, first, writer, mut notices } =
            past::recall(home, (link.as_ref(), kept), restarts, &mut shell, (&pump, &events, clock)).await?;
        notices.extend(missed.and_then(|error| without_hand_out(&error, shell.unheld().1)));
        notices.extend(failed_update());
        notices.iter().for_each(|said| warn!("{said}"));
        let journal = writer.journal().clone();
        let ground = Ground {
            own_binary,
            logs: home.logs(),
            notify_dir: home.notify_dir(),
            agent_dir: home.agent_dir(),
            preload: Preload::new(home.root()),
            nofile,
            badness,
            umask,
            link: link.clone(),
            journal: journal.clone(),
            sockets: sockets.clone(),
            units: pump.direct().units().clone(),
            bay: RefCell::new(bay),
        };
        let handed = Handed::restore(listening, core.all_slots(), &shell.holders(), (link.clone(), umask));
        spawner::start(ground, handed, jobs, reports.clone()).map_err(thread)?;
        let listener = server::bind(&home.socket()).map_err(|source| BirthError::File {
            doing: "bind",
            path: home.socket(),
            source,
        })?;
        let uid = peer::own_uid();
        let daemon = DaemonView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            guardian: if link.is_some() { std::os::unix::process::parent_id() } else { 0 },
            started: clock.epoch_millis(clock.now()),
            parked: 0,
            notices,
            metrics: None,
        };
        let rest = Rest::default();
        let endpoint = Endpoint::default();
        let shared = Shared {
            reports: reports.clone(),
            published,
            events: Arc::clone(&events),
            looker,
            history,
            sockets,
            sayings,
            checks,
            rest: rest.clone(),
            pump: pump.clone(),
            daemon,
            link: link.clone(),
            store,
            journal,
            endpoint: endpoint.clone(),
            saved: home.saved(),
            user: system::user_name(uid),
            uid,
        };
        // Nobody is served before the engine runs and has published what there is.
        let around = Surroundings::of(home, link.clone(), shared.clone());
        tokio::spawn(server::serve(listener, shared));
        tokio::spawn(endpoint.clone().keep(scraped, around));
        tokio::spawn(rest.keep());
        let engine = Engine::new(Beginning { core, shell, writer, keys }, clock, inbox, publisher);
        Ok(Daemon {
            engine,
            reports,
            events,
            clock,
            home: home.clone(),
            restarts,
            first,
            link,
            pump,
            endpoint,
            taken,
            before,
        })
    }

    async fn live(self) -> Result<End, BirthError> {
        let Daemon { engine, reports, events, clock, home, restarts, first, link, pump, endpoint, taken, before } =
            self;
        if let Some(link) = link {
            link.ready();
        }
        let pid = std::process::id();
        info!(version = env!("CARGO_PKG_VERSION"), pid, restarts, "the daemon is up");
        events.tell_own(EventKind::DaemonReady { pid, restarts }, clock.epoch_millis(clock.now()));
        tokio::spawn(taken.leave(reports, pump.clone()));
        let (shell, leaving) = engine.run(first).await;
        match leaving {
            Leaving::HandOver(None) => {
                info!("another binary takes over");
                return Ok(End::Code(guardian::HANDOVER));
            }
            Leaving::HandOver(Some(exe)) => {
                info!("another binary takes over, and is the guardian that was lost");
                let mut store = mend::descriptors(&shell, &pump).await;
                store.extend(endpoint.leave());
                return Ok(End::Guardian(exe, before, store));
            }
            Leaving::Not | Leaving::Stopped => {}
        }
        // Nobody may find a socket that nobody answers.
        if let Err(error) = std::fs::remove_file(home.socket()) {
            error!("cannot remove {}: {error}", home.socket().display());
        }
        endpoint.close();
        let tools = shell.into_tools();
        tools.pump.finish(LAST_LOGS).await;
        tools.store.finish(LAST_LOGS).await;
        info!("the daemon leaves");
        Ok(End::Code(0))
    }
}

/// What to say of processes whose descriptors the guardian did not hand out.
fn without_hand_out(error: &std::io::Error, live: usize) -> Option<String> {
    let lost = "were taken over without their outputs: what they write is lost until `rsx restart`";
    (live > 0).then(|| format!("the guardian does not hand out what it keeps ({error}): {live} processes {lost}"))
}

/// What is said by a daemon that its guardian has gone back to.
fn failed_update() -> Option<String> {
    let why = std::env::var_os(guardian::UPDATE_FAILED)?;
    Some(format!("{UPDATE_FAILED}{}", why.to_string_lossy()))
}

/// The file that this daemon executes; by way of the process itself when its file has been replaced.
fn own_binary() -> std::io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    Ok(if path.exists() { path } else { PathBuf::from(format!("/proc/{}/exe", std::process::id())) })
}

/// How many daemons this guardian had before.
fn restarts() -> u32 {
    std::env::var(guardian::RESTARTS).ok().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The signals that the daemon takes. Made before anything else is done: until then they would end it at once.
struct Taken {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user: Signal,
}

impl Taken {
    fn new() -> Result<Taken, BirthError> {
        let on = |kind| signal(kind).map_err(BirthError::Runtime);
        Ok(Taken {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
            user: on(SignalKind::user_defined2())?,
        })
    }

    /// SIGTERM and SIGINT: stop all apps properly, then leave. SIGUSR2: open all log files anew, as scripts of logrotate for
    /// PM2 expect. SIGHUP is taken and does nothing.
    async fn leave(mut self, reports: mpsc::UnboundedSender<Report>, pump: Pump) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.hangup.recv() => {}
                _ = self.user.recv() => match pump.reopen(REOPEN).await {
                    Some(files) => info!(files = files.len(), "opened the log files anew"),
                    None => warn!("the log files could not be opened anew in time"),
                },
            }
        }
        info!("asked to leave by a signal");
        let who = Arc::new(Who { uid: peer::own_uid(), verb: "signal".to_owned() });
        let (answer, _) = oneshot::channel();
        // The engine is on the other side; when it has ended, there is nothing to ask any more.
        let _ = reports.send(Report::Asked(Box::new(Request {
            who,
            ask: Ask::Shutdown,
            // Known by name like any other wish: a successor leaves, too.
            key: Some(Key::from_bytes([0; 16])),
            answer,
            progress: None,
        })));
    }
}

/// One line to the client that started this daemon. It may have gone.
fn tell(ready: Option<&mut File>, line: &str) {
    if let Some(pipe) = ready {
        let _ = writeln!(pipe, "{line}");
    }
}
