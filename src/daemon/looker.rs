//! The looker: a thread that reads /proc and the kernel's socket tables, so that the engine never waits for either.
//!
//! Two jobs: noticing that a starting run listens on its first socket (nothing announces that, so it looks at growing
//! intervals, only while something is starting, and into processes only when a new listening socket has appeared), and
//! sampling CPU time and memory of all trees.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::debug;

use crate::daemon::engine::Report;
use crate::supervisor::{ReadyBy, RunId};
use crate::sys::listening::{self, Listeners};
use crate::sys::proc_table::ProcTable;
use crate::sys::process::Process;

/// How often trees are sampled while there are any.
const SAMPLE_EVERY: Duration = Duration::from_secs(2);

/// The shortest time of which a share of CPU is told.
const SHORTEST: Duration = Duration::from_millis(500);

/// The shortest and longest pause between two looks for listening sockets.
const LOOK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// How many times as long as the last look took the next one waits: many starts at once are not slowed by looking.
const LOOK_SHARE: u32 = 15;

/// CPU and memory of one run's tree.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// Percent of one core since the last sample.
    pub(super) cpu: f32,
    /// Resident bytes.
    pub(super) memory: u64,
}

/// The handle of the thread.
#[derive(Clone, Debug)]
pub(super) struct Looker {
    requests: mpsc::Sender<Request>,
    samples: Arc<Mutex<HashMap<RunId, Sample>>>,
}

#[derive(Debug)]
enum Request {
    /// A new run; `starting`: tell when it listens.
    Watch(RunId, Arc<Process>),
    /// It is ready, or does not matter any more.
    Settled(RunId),
    /// It has ended.
    Ended(RunId),
    /// Sample now.
    Sample(oneshot::Sender<()>),
}

impl Looker {
    /// Starts the thread. `reports` hears of runs that listen.
    pub(super) fn start(reports: tokio::sync::mpsc::UnboundedSender<Report>) -> std::io::Result<Looker> {
        // Bounded by the number of runs, three requests each.
        let (requests, inbox) = mpsc::channel();
        let samples = Arc::new(Mutex::new(HashMap::new()));
        let thread = Thread {
            inbox,
            reports,
            samples: Arc::clone(&samples),
            runs: HashMap::new(),
            starting: HashMap::new(),
            known: Listeners::default(),
            last_sample: None,
            last_look: None,
            look_cost: Duration::ZERO,
        };
        std::thread::Builder::new().name("rsx-look".into()).spawn(move || thread.run())?;
        Ok(Looker { requests, samples })
    }

    pub(super) fn watch(&self, run: RunId, process: Arc<Process>) {
        self.ask(Request::Watch(run, process));
    }

    pub(super) fn settled(&self, run: RunId) {
        self.ask(Request::Settled(run));
    }

    pub(super) fn ended(&self, run: RunId) {
        self.ask(Request::Ended(run));
    }

    /// What was seen of these runs; looks again first if one of them has not been seen yet, at most `limit` long.
    pub(super) async fn samples(&self, runs: &[RunId], limit: Duration) -> HashMap<RunId, Sample> {
        let unseen = {
            let samples = lock(&self.samples);
            runs.iter().any(|run| !samples.contains_key(run))
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

struct Watched {
    process: Arc<Process>,
    /// CPU time and moment of the last sample.
    last: Option<(Duration, Instant)>,
    since: Instant,
    /// The percentage of the last sample that was long enough.
    cpu: f32,
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
    samples: Arc<Mutex<HashMap<RunId, Sample>>>,
    runs: HashMap<RunId, Watched>,
    starting: HashMap<RunId, Starting>,
    /// Listening sockets that were looked at and belong to nobody who is starting.
    known: Listeners,
    last_sample: Option<Instant>,
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
            let due = self.last_sample.is_none_or(|at| at.elapsed() >= SAMPLE_EVERY);
            if due && !self.runs.is_empty() {
                self.sample();
            }
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
        let sample = (!self.runs.is_empty())
            .then(|| self.last_sample.map_or(SAMPLE_EVERY, |at| SAMPLE_EVERY.saturating_sub(now.duration_since(at))));
        look.into_iter().chain(sample).min()
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Watch(run, process) => {
                let since = Instant::now();
                // The first regular sample comes when its start is over.
                self.last_sample.get_or_insert(since);
                self.starting.insert(run, Starting { since, was_seen: false });
                self.runs.insert(run, Watched { process, last: None, since, cpu: 0.0 });
            }
            Request::Settled(run) => {
                self.starting.remove(&run);
            }
            Request::Ended(run) => {
                self.starting.remove(&run);
                self.runs.remove(&run);
                lock(&self.samples).remove(&run);
                if self.runs.is_empty() {
                    self.last_sample = None;
                    self.known = Listeners::default();
                }
            }
            Request::Sample(done) => {
                self.sample();
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
            let watched = self.runs.get(run);
            if watched.is_some_and(|w| listening::process_tree_listens(&w.process, &table, candidates)) {
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

    fn sample(&mut self) {
        let now = Instant::now();
        self.last_sample = Some(now);
        let table = match ProcTable::read() {
            Ok(table) => table,
            Err(error) => return debug!("cannot read /proc: {error}"),
        };
        let mut samples = HashMap::with_capacity(self.runs.len());
        for (run, watched) in &mut self.runs {
            let usage = table.tree_usage(&watched.process);
            // Ticks are too coarse for a share of less time than this: the last one is shown on.
            if watched.last.is_some_and(|(_, at)| now.duration_since(at) < SHORTEST) {
                samples.insert(*run, Sample { cpu: watched.cpu, memory: usage.memory });
                continue;
            }
            let (cpu_before, before) = watched.last.unwrap_or((Duration::ZERO, watched.since));
            let (spent, passed) = (usage.cpu.saturating_sub(cpu_before), now.duration_since(before));
            let percent = if passed.is_zero() { 0.0 } else { spent.as_secs_f32() / passed.as_secs_f32() * 100.0 };
            watched.last = Some((usage.cpu, now));
            watched.cpu = percent;
            samples.insert(*run, Sample { cpu: percent, memory: usage.memory });
        }
        *lock(&self.samples) = samples;
    }
}

/// What is behind the lock is replaced whole; a panic elsewhere cannot have left it half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::sys::spawn::spawn;
    use crate::sys::testing::{LIMIT, end_of, shell};

    #[test]
    fn a_run_that_listened_before_it_was_watched_is_noticed() {
        let (reports, mut inbox) = tokio::sync::mpsc::unbounded_channel();
        let looker = Looker::start(reports).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut launch = shell("exec sleep 1000");
        launch.keep.push(socket.into());
        let holder = Arc::new(spawn(&launch).unwrap());
        let silent = Arc::new(spawn(&shell("exec sleep 1000")).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let report = runtime.block_on(async {
            // Whoever is watched first makes the looker see the socket, which is not his.
            looker.watch(RunId(1), Arc::clone(&silent));
            // Between the answers to two requests there is a look.
            for _ in 0..2 {
                looker.samples(&[RunId(99)], LIMIT).await;
            }
            looker.watch(RunId(2), Arc::clone(&holder));
            tokio::time::timeout(LIMIT, inbox.recv()).await
        });
        assert!(matches!(report, Ok(Some(Report::Ready { run: RunId(2), by: ReadyBy::Listening }))), "{report:?}");
        for process in [holder, silent] {
            process.signal(crate::spec::Signal::KILL).unwrap();
            end_of(&process);
        }
    }
}
