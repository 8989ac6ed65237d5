//! The looker: a thread that reads /proc and the kernel's socket tables, so that the engine never waits for either.
//!
//! Two jobs: noticing that a starting run listens on its first socket (nothing announces that, so it looks at growing
//! intervals, only while something is starting, and into processes only when a new listening socket has appeared), and
//! sampling CPU time and memory of all trees (`sampler.rs`).

mod sampler;
mod scales;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tracing::debug;

use crate::daemon::history::History;
use crate::daemon::looker::sampler::Sampler;
pub(super) use crate::daemon::looker::sampler::Samples;
use crate::daemon::looker::scales::Scales;
use crate::daemon::ooms::Ooms;
use crate::daemon::publish::Published;
use crate::daemon::report::Report;
use crate::series::Series;
use crate::supervisor::{ReadyBy, RunId, SlotId};
use crate::sys::listening::{self, Listeners};
use crate::sys::proc_table::ProcTable;
use crate::sys::process::Process;

/// The shortest and longest pause between two looks for listening sockets.
const LOOK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// How many times as long as the last look took the next one waits: many starts at once are not slowed by looking.
const LOOK_SHARE: u32 = 15;

/// Tells what others have measured of runs: connections, queues, and what programs say of themselves.
pub(super) type Others = Box<dyn Fn() -> Vec<(RunId, Series, f64)> + Send>;

/// The handle of the thread.
#[derive(Clone, Debug)]
pub(super) struct Looker {
    requests: mpsc::Sender<Request>,
    samples: Arc<Mutex<Samples>>,
}

#[derive(Debug)]
enum Request {
    /// A new run, and what is to be told of it.
    Watch(RunId, SlotId, Arc<Process>, Tell),
    /// It is ready, or does not matter any more.
    Settled(RunId),
    /// It has ended.
    Ended(RunId),
    /// Sample now.
    Sample(oneshot::Sender<()>),
}

/// What is told of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tell {
    /// That it listens.
    Listening,
    /// Nothing: others see that, or it says nothing.
    Nothing,
}

impl Looker {
    /// Starts the thread. `reports` hears of runs that listen, `history` of all that is measured; `others` is asked each
    /// second, `published` what each app may take.
    pub(super) fn start(
        reports: tokio::sync::mpsc::UnboundedSender<Report>,
        (history, ooms): (History, Ooms),
        (others, published): (Others, watch::Receiver<Arc<Published>>),
    ) -> std::io::Result<Looker> {
        // Bounded by the number of runs, three requests each.
        let (requests, inbox) = mpsc::channel();
        let samples = Arc::new(Mutex::new(Samples::default()));
        let thread = Thread {
            inbox,
            sampler: Sampler::new(
                Arc::clone(&samples),
                (history, ooms),
                others,
                Scales::new(published, reports.clone()),
            ),
            reports,
            starting: HashMap::new(),
            known: Listeners::default(),
            last_look: None,
            look_cost: Duration::ZERO,
        };
        std::thread::Builder::new().name("rsx-look".into()).spawn(move || thread.run())?;
        Ok(Looker { requests, samples })
    }

    pub(super) fn watch(&self, run: RunId, slot: SlotId, process: Arc<Process>, tell: Tell) {
        self.ask(Request::Watch(run, slot, process, tell));
    }

    pub(super) fn settled(&self, run: RunId) {
        self.ask(Request::Settled(run));
    }

    pub(super) fn ended(&self, run: RunId) {
        self.ask(Request::Ended(run));
    }

    /// What was seen of these runs; looks again first if one of them has not been seen yet, at most `limit` long.
    pub(super) async fn samples(&self, runs: &[RunId], limit: Duration) -> Samples {
        let unseen = {
            let samples = lock(&self.samples);
            runs.iter().any(|run| samples.of(*run).is_none())
        };
        if unseen {
            let (done, sampled) = oneshot::channel();
            self.ask(Request::Sample(done));
            // Without an answer in time the last samples are shown.
            let _ = tokio::time::timeout(limit, sampled).await;
        }
        lock(&self.samples).clone()
    }

    fn ask(&self, request: Request) {
        // The thread ends only with the daemon.
        let _ = self.requests.send(request);
    }
}

/// A run that is not known to be ready.
struct Starting {
    since: Instant,
    /// Whether it was looked at once: the first time every listening socket may be its own, also one that others were
    /// compared with before its watch began.
    was_seen: bool,
}

struct Thread {
    inbox: mpsc::Receiver<Request>,
    reports: tokio::sync::mpsc::UnboundedSender<Report>,
    sampler: Sampler,
    starting: HashMap<RunId, Starting>,
    /// Listening sockets that were looked at and belong to nobody who is starting.
    known: Listeners,
    last_look: Option<Instant>,
    /// How long the last look took.
    look_cost: Duration,
}

impl Thread {
    fn run(mut self) {
        loop {
            let request = match self.pause(Instant::now()) {
                Some(pause) => self.inbox.recv_timeout(pause),
                None => self.inbox.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            };
            match request {
                Ok(request) => self.take(request),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            while let Ok(request) = self.inbox.try_recv() {
                self.take(request);
            }
            if !self.starting.is_empty() && self.pause_before_look(Instant::now()).is_zero() {
                let begun = Instant::now();
                self.look();
                self.last_look = Some(Instant::now());
                self.look_cost = begun.elapsed();
            }
            self.sampler.turn(Instant::now());
        }
    }

    /// How long until the next look for listening sockets: the longer the youngest has not listened, the longer.
    fn pause_before_look(&self, now: Instant) -> Duration {
        let youngest = self.starting.values().map(|run| now.duration_since(run.since)).min().unwrap_or_default();
        let pause = (youngest / 8).clamp(LOOK.0, LOOK.1).max(self.look_cost * LOOK_SHARE);
        self.last_look.map_or(Duration::ZERO, |at| (at + pause).saturating_duration_since(now))
    }

    /// How long nothing has to be done.
    fn pause(&self, now: Instant) -> Option<Duration> {
        let look = (!self.starting.is_empty()).then(|| self.pause_before_look(now));
        look.into_iter().chain(self.sampler.pause(now)).min()
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Watch(run, slot, process, tell) => {
                if tell == Tell::Listening {
                    self.starting.insert(run, Starting { since: Instant::now(), was_seen: false });
                }
                self.sampler.watch(run, slot, process);
            }
            Request::Settled(run) => {
                self.starting.remove(&run);
            }
            Request::Ended(run) => {
                self.starting.remove(&run);
                self.sampler.forget(run);
                if self.sampler.is_empty() {
                    self.known = Listeners::default();
                }
            }
            Request::Sample(done) => {
                self.sampler.sample(Instant::now());
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
        }
    }

    fn look(&mut self) {
        let Ok(listeners) = Listeners::read() else { return };
        let fresh = listeners.newer_than(&self.known);
        if fresh.is_empty() && self.starting.values().all(|starting| starting.was_seen) {
            return;
        }
        let table = match ProcTable::read() {
            Ok(table) => table,
            Err(error) => return debug!("cannot read /proc: {error}"),
        };
        let mut listening = Vec::new();
        for (run, starting) in &mut self.starting {
            let candidates = if std::mem::replace(&mut starting.was_seen, true) { &fresh } else { &listeners };
            let process = self.sampler.process(*run);
            if process.is_some_and(|process| listening::process_tree_listens(process, &table, candidates)) {
                listening.push(*run);
            }
        }
        for run in listening {
            self.starting.remove(&run);
            // The engine may have ended already.
            let _ = self.reports.send(Report::Ready { run, by: ReadyBy::Listening });
        }
        self.known = listeners;
    }
}

/// Samples are written one by one; a panic elsewhere cannot have left one half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::daemon::clock::Clock;
    use crate::sys::spawn::spawn;
    use crate::sys::testing::{LIMIT, end_of, shell};

    #[test]
    fn a_run_that_listened_before_it_was_watched_is_noticed() {
        let (reports, mut inbox) = tokio::sync::mpsc::unbounded_channel();
        let history = History::begin(Vec::new(), None, Clock::start(None)).unwrap();
        let (_publisher, published) = watch::channel(Arc::default());
        let looker = Looker::start(reports, (history, Ooms::default()), (Box::new(Vec::new), published)).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut launch = shell("exec sleep 1000");
        launch.keep.push(socket.into());
        let holder = Arc::new(spawn(&launch).unwrap());
        let silent = Arc::new(spawn(&shell("exec sleep 1000")).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let report = runtime.block_on(async {
            // Whoever is watched first makes the looker see the socket, which is not his.
            looker.watch(RunId(1), SlotId(1), Arc::clone(&silent), Tell::Listening);
            // Between the answers to two requests there is a look.
            for _ in 0..2 {
                looker.samples(&[RunId(99)], LIMIT).await;
            }
            looker.watch(RunId(2), SlotId(2), Arc::clone(&holder), Tell::Listening);
            tokio::time::timeout(LIMIT, inbox.recv()).await
        });
        assert!(matches!(report, Ok(Some(Report::Ready { run: RunId(2), by: ReadyBy::Listening }))), "{report:?}");
        for process in [holder, silent] {
            process.signal(crate::spec::Signal::KILL).unwrap();
            end_of(&process);
        }
    }

    #[test]
    fn who_was_handed_what_listens_is_not_told_of() {
        let (reports, mut inbox) = tokio::sync::mpsc::unbounded_channel();
        let history = History::begin(Vec::new(), None, Clock::start(None)).unwrap();
        let (_publisher, published) = watch::channel(Arc::default());
        let looker = Looker::start(reports, (history, Ooms::default()), (Box::new(Vec::new), published)).unwrap();
        let mut launch = shell("exec sleep 1000");
        launch.listen.push(TcpListener::bind("127.0.0.1:0").unwrap().into());
        let holder = Arc::new(spawn(&launch).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            looker.watch(RunId(1), SlotId(1), Arc::clone(&holder), Tell::Nothing);
            for _ in 0..2 {
                looker.samples(&[RunId(99)], LIMIT).await;
            }
        });
        assert!(inbox.try_recv().is_err());
        holder.signal(crate::spec::Signal::KILL).unwrap();
        end_of(&holder);
    }
}
