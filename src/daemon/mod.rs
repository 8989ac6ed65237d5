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
//! `engine.rs` is the loop, `shell.rs` carries effects out, `server.rs` talks to clients. One single-threaded runtime
//! runs all of these; the log pump, the spawner and the looker have threads of their own.
#![allow(clippy::disallowed_methods, reason = "this layer is the shell: it has clocks, files, tasks and threads")]

mod care;
mod clock;
mod convert;
mod engine;
mod home;
mod keep;
mod launch;
mod link;
mod looker;
mod predecessor;
mod publish;
mod pump;
mod redact;
mod server;
mod shell;
mod sight;
mod spawner;
mod store;
mod watch;

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch as watch_channel};
use tracing::{error, info, warn};

use crate::daemon::clock::Clock;
use crate::daemon::engine::{Engine, Report, Request};
use crate::daemon::home::BirthError;
use crate::daemon::link::Link;
use crate::daemon::looker::Looker;
use crate::daemon::publish::{Events, Published};
use crate::daemon::pump::Pump;
use crate::daemon::server::Shared;
use crate::daemon::shell::{Shell, Tools};
use crate::daemon::spawner::Ground;
use crate::daemon::store::{Found, Store};
use crate::guardian;
use crate::paths::Home;
use crate::proto::{DaemonView, EventKind};
use crate::supervisor::{Ask, Who};
use crate::sys::{fds, limits, memory, peer, system};

/// How long the pump may take to empty its pipes at the end, and the store to write its files.
const LAST_LOGS: Duration = Duration::from_secs(3);

/// How long the log files may take to be opened anew after a signal.
const REOPEN: Duration = Duration::from_secs(10);

/// Runs the daemon of this home until it has stopped all apps and leaves. Returns its exit code: 0 tells the guardian
/// to leave, too.
///
/// Meant to be called by the guardian's child, with the guardian's socket, the lock and the readiness pipe inherited.
pub fn run(home: &Home) -> u8 {
    let ready = fds::take_inherited(guardian::READY_FD).map(File::from);
    // Held for life: as long as either of guardian and daemon lives, the home is taken.
    let _lock = fds::take_inherited(guardian::LOCK_FD);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build();
    let lived = match runtime {
        Ok(runtime) => runtime.block_on(async { Daemon::born(home, ready).await?.live().await }),
        Err(source) => Err(BirthError::Runtime(source)),
    };
    match lived {
        Ok(()) => 0,
        // A first daemon has told its client why; trying again would say the same. A later one has apps to come back to.
        Err(_) if restarts() == 0 => guardian::HOPELESS,
        Err(_) => 1,
    }
}

struct Daemon {
    engine: Engine,
    reports: mpsc::UnboundedSender<Report>,
    events: Arc<Events>,
    clock: Clock,
    home: Home,
    restarts: u32,
    first: Option<Ask>,
    link: Option<Link>,
    pump: Pump,
    taken: Taken,
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
        let umask = system::set_umask(0o077);
        home::prepare(home)?;
        home::log_to_file(home)?;
        let clock = Clock::start();
        let nofile = limits::raise_nofile().ok();
        let restarts = restarts();
        let link = Link::from_env();
        if let Some(link) = &link {
            link.start().map_err(BirthError::Runtime)?;
        }
        let own_binary = std::env::current_exe().map_err(BirthError::OwnBinary)?;
        // Every sender is a task or thread of this process; server.rs and watch.rs say what bounds each.
        let (reports, inbox) = mpsc::unbounded_channel();
        let thread = |source| BirthError::Thread { source };
        let mut kept = match (&link, restarts) {
            (Some(link), 1..) => predecessor::take(link),
            (Some(_) | None, _) => Vec::new(),
        };
        let window = kept.iter().position(|(name, _)| name == keep::LOG_WINDOW).map(|at| kept.swap_remove(at).1);
        let pump = Pump::start(reports.clone(), window).map_err(thread)?;
        if let Some(link) = &link {
            link.put(&[(keep::LOG_WINDOW, pump.window())]);
        }
        let looker = Looker::start(reports.clone()).map_err(thread)?;
        let ground = Ground { own_binary, logs: home.logs(), notify_dir: home.notify_dir(), nofile, umask };
        let spawner = spawner::start(ground, reports.clone()).map_err(thread)?;
        let store = Store::start(home).map_err(thread)?;
        let listener = server::bind(&home.socket()).map_err(|source| BirthError::File {
            doing: "bind",
            path: home.socket(),
            source,
        })?;
        let events = Arc::new(Events::new());
        let (publisher, published) = watch_channel::channel(Arc::new(Published::default()));
        let uid = peer::own_uid();
        // After the death of a daemon its guardian knows better than the disk.
        let (known, notices) = match store::read(&home.wanted()) {
            Found::Nothing => (None, Vec::new()),
            Found::State(wanted, said) => (Some(Ask::Register(wanted)), said.into_iter().collect()),
            Found::Unreadable(said) => (None, vec![said]),
        };
        notices.iter().for_each(|said| warn!("{said}"));
        let daemon = DaemonView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            guardian: if link.is_some() { std::os::unix::process::parent_id() } else { 0 },
            started: clock.epoch_millis(clock.now()),
            parked: 0,
            notices,
        };
        let shared = Shared {
            reports: reports.clone(),
            published,
            events: Arc::clone(&events),
            looker: looker.clone(),
            pump: pump.clone(),
            daemon,
            link: link.clone(),
            store: store.clone(),
            saved: home.saved(),
            user: system::user_name(uid),
            uid,
        };
        // Clients are greeted from now on; what they ask waits until the engine runs.
        tokio::spawn(server::serve(listener, shared));
        let first = match (&link, restarts) {
            (Some(link), 1..) => Some(Ask::Restore(predecessor::clear(link, &pump, kept).await)),
            (Some(_) | None, _) => known,
        };
        let tools = Tools {
            clock,
            reports: reports.clone(),
            spawner,
            pump: pump.clone(),
            looker,
            events: Arc::clone(&events),
            link: link.clone(),
            store,
            logs: home.logs(),
        };
        let seed = clock.epoch_millis(clock.now()) ^ u64::from(std::process::id());
        let engine = Engine::new(Shell::new(tools), clock, inbox, publisher, seed);
        Ok(Daemon { engine, reports, events, clock, home: home.clone(), restarts, first, link, pump, taken })
    }

    async fn live(self) -> Result<(), BirthError> {
        let Daemon { engine, reports, events, clock, home, restarts, first, link, pump, taken } = self;
        if let Some(link) = link {
            link.ready();
        }
        let pid = std::process::id();
        info!(version = env!("CARGO_PKG_VERSION"), pid, restarts, "the daemon is up");
        events.tell_own(EventKind::DaemonReady { pid, restarts }, clock.epoch_millis(clock.now()));
        tokio::spawn(taken.leave(reports, pump));
        if let Err(error) = memory::let_go_of_code() {
            warn!("cannot give back the memory of the start: {error}");
        }
        let shell = engine.run(first).await;
        // Nobody may find a socket that nobody answers.
        if let Err(error) = std::fs::remove_file(home.socket()) {
            error!("cannot remove {}: {error}", home.socket().display());
        }
        let tools = shell.into_tools();
        tools.pump.finish(LAST_LOGS).await;
        tools.store.finish(LAST_LOGS).await;
        info!("the daemon leaves");
        Ok(())
    }
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
        let _ = reports.send(Report::Asked(Box::new(Request { who, ask: Ask::Shutdown, answer, progress: None })));
    }
}

/// One line to the client that started this daemon. It may have gone.
fn tell(ready: Option<&mut File>, line: &str) {
    if let Some(pipe) = ready {
        let _ = writeln!(pipe, "{line}");
    }
}
