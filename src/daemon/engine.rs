//! The engine: one event in, the core decides, effects out, readers get the new view. It never awaits an effect.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{debug, info};

use crate::daemon::clock::Clock;
use crate::daemon::publish::Published;
use crate::daemon::shell::Shell;
use crate::daemon::spawner::Spawned;
use crate::proto::{Key, Progress};
use crate::supervisor::{Ask, Effect, Event, Lasting, ReadyBy, Reply, RequestId, RunId, Supervisor, Who};
use crate::sys::peer;

/// How old the published view may be while much happens. Answers are always preceded by a fresh one.
const PUBLISH_EVERY: Duration = Duration::from_millis(20);

/// How many reports are taken before effects of the first are published.
const BATCH: usize = 256;

/// How long the daemon waits for its last answer to be written before it leaves.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What reaches the engine.
#[derive(Debug)]
pub(super) enum Report {
    /// A client asks.
    Asked(Box<Request>),
    /// A process was made.
    Spawned(Box<Spawned>),
    /// A process could not be made.
    SpawnFailed { run: RunId, why: String, lasting: Lasting },
    /// A run is ready.
    Ready { run: RunId, by: ReadyBy },
    /// A main process is a zombie.
    Ended { run: RunId },
    /// Nothing of a tree is left.
    Gone { run: RunId },
    /// Both output pipes of a run have ended.
    Closed { run: RunId },
    /// Bytes for the standard input of runs, few enough for a pipe to take whole.
    Input { key: Option<Key>, runs: Vec<RunId>, bytes: Vec<u8>, written: oneshot::Sender<Vec<Result<(), String>>> },
    /// The last words of a run.
    LastWords { run: RunId, stderr: Vec<String> },
}

/// A request and where its answer goes.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) who: Arc<Who>,
    pub(super) ask: Ask,
    /// The name of the wish: a client whose connection broke before its answer asks again under the same.
    pub(super) key: Option<Key>,
    pub(super) answer: oneshot::Sender<Answered>,
    pub(super) progress: Option<mpsc::UnboundedSender<Progress>>,
}

/// An answer of the core on its way to a client.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) reply: Reply,
    pub(super) epoch: Clock,
    /// Dropped when the answer has been written.
    pub(super) written: oneshot::Sender<()>,
}

/// The owner of the core.
pub(super) struct Engine {
    core: Supervisor,
    shell: Shell,
    clock: Clock,
    inbox: mpsc::UnboundedReceiver<Report>,
    publisher: watch::Sender<Arc<Published>>,
    effects: Vec<Effect>,
    dirty: bool,
    published_at: Instant,
    next_request: u64,
    kept_version: u64,
    last_word: Option<oneshot::Receiver<()>>,
    leaving: bool,
}

impl Engine {
    pub(super) fn new(
        shell: Shell,
        clock: Clock,
        inbox: mpsc::UnboundedReceiver<Report>,
        publisher: watch::Sender<Arc<Published>>,
        seed: u64,
    ) -> Engine {
        Engine {
            core: Supervisor::new(seed),
            shell,
            clock,
            inbox,
            publisher,
            effects: Vec::new(),
            dirty: false,
            published_at: Instant::now(),
            next_request: 0,
            kept_version: 0,
            last_word: None,
            leaving: false,
        }
    }

    /// Runs until everything is stopped and the daemon may leave. What comes from an earlier
    /// daemon comes before all requests.
    pub(super) async fn run(mut self, first: Option<Ask>) -> Shell {
        if let Some(ask) = first {
            let who = Arc::new(Who { uid: peer::own_uid(), verb: "guardian".to_owned() });
            self.decide(Event::Request { id: RequestId(0), who, ask });
        }
        // Clients wait for the first view, also where there is nothing to see.
        self.publish();
        while !self.leaving {
            let deadline = self.core.next_deadline().map(|time| Instant::from_std(self.clock.instant(time)));
            let publish = self.dirty.then(|| self.published_at + PUBLISH_EVERY);
            let wake = deadline.into_iter().chain(publish).min();
            let report = tokio::select! {
                biased;
                report = self.inbox.recv() => report,
                () = sleep_until(wake) => None,
            };
            let mut batch: Vec<Report> = report.into_iter().collect();
            let is_due = batch.is_empty();
            batch.extend(std::iter::from_fn(|| self.inbox.try_recv().ok()).take(BATCH));
            if is_due {
                self.decide(Event::Tick);
            }
            for report in batch {
                self.take(report);
            }
            self.shell.look_anew();
            if self.dirty && self.published_at.elapsed() >= PUBLISH_EVERY {
                self.publish();
            }
        }
        self.shell.tell_announced();
        if let Some(written) = self.last_word.take() {
            // It was written, or the client is gone, or too slow: the daemon leaves either way.
            let _ = tokio::time::timeout(LAST_WORD, written).await;
        }
        self.shell
    }

    fn take(&mut self, report: Report) {
        let event = match report {
            Report::Asked(request) => {
                self.next_request += 1;
                let id = RequestId(self.next_request);
                let Request { who, ask, key, answer, progress } = *request;
                info!(uid = who.uid, verb = %who.verb, request = id.0, key = key.map(display), "asked");
                if matches!(ask, Ask::Shutdown) && !self.core.is_leaving() {
                    self.shell.announce_leaving();
                }
                self.shell.expect_answer(id, answer, progress);
                Some(Event::Request { id, who, ask })
            }
            Report::Spawned(spawned) => Some(self.shell.on_spawned(*spawned)),
            Report::SpawnFailed { run, why, lasting } => Some(Event::SpawnFailed { run, why, lasting }),
            Report::Ready { run, by } => Some(Event::Ready { run, by }),
            Report::Ended { run } => self.shell.on_ended(run),
            Report::Gone { run } => self.shell.on_gone(run),
            Report::Closed { run } => {
                self.shell.on_closed(run);
                None
            }
            Report::Input { key, runs, bytes, written } => {
                debug!(key = key.map(display), "input");
                // The client may have gone.
                let _ = written.send(runs.into_iter().map(|run| self.shell.write_input(run, &bytes)).collect());
                None
            }
            Report::LastWords { run, stderr } => {
                self.shell.on_last_words(run, stderr);
                self.dirty = true;
                None
            }
        };
        if let Some(event) = event {
            self.decide(event);
        }
    }

    fn decide(&mut self, event: Event) {
        let now = self.clock.now();
        let mut effects = std::mem::take(&mut self.effects);
        self.core.handle(now, event, &mut effects);
        self.dirty |= !effects.is_empty();
        if effects.iter().any(|effect| matches!(effect, Effect::Reply { .. })) {
            // Who gets an answer must find its truth in the next view.
            self.publish();
        }
        for effect in effects.drain(..) {
            self.perform(effect);
        }
        self.effects = effects;
        if !self.dirty {
            self.shell.tell_announced();
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { run, slot, instance, definition, resolve } => {
                self.shell.spawn(run, slot, instance, definition, resolve);
            }
            Effect::Signal { run, signal, whom } => self.shell.signal(run, signal, whom),
            Effect::Reply { to, reply } => {
                let written = self.shell.reply(to, reply);
                if self.core.is_leaving() {
                    self.last_word = written;
                }
            }
            Effect::Progress { to, slot, name, instance, state, done, of } => {
                self.shell.progress(to, (slot, name, instance), state, (done, of));
            }
            Effect::Announce(change) => self.shell.announce(change),
            Effect::Forget { slot } => self.shell.forget(slot),
            Effect::Leave => self.leaving = true,
        }
    }

    fn publish(&mut self) {
        let now = self.clock.now();
        let published = self.shell.published(&self.core, now);
        self.publisher.send_replace(Arc::new(published));
        self.dirty = false;
        self.published_at = Instant::now();
        self.shell.tell_announced();
        if self.kept_version != self.core.wanted_version() && !self.core.is_leaving() {
            self.kept_version = self.core.wanted_version();
            self.shell.keep_wanted(&self.core.wanted());
        }
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
