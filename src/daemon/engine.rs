//! The engine: one event in, the core decides, effects out, readers get the new view. It never awaits an effect.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::daemon::adopt::Adopted;
use crate::daemon::clock::Clock;
use crate::daemon::convert;
use crate::daemon::failpoint;
use crate::daemon::journal::{Turn, Whole, Writer};
use crate::daemon::keys::{Keys, Known};
use crate::daemon::publish::Published;
use crate::daemon::relay;
use crate::daemon::report::{Report, Request, Saying};
use crate::daemon::shell::Shell;
use crate::proto::{Progress, Record};
use crate::supervisor::{Ask, Effect, Event, Hang, ReadyBy, Reply, RequestId, Supervisor, Who};
use crate::sys::peer;

/// How old the published view may be while much happens. Answers are always preceded by a fresh one.
const PUBLISH_EVERY: Duration = Duration::from_millis(20);

/// How many reports are taken before effects of the first are published.
const BATCH: usize = 256;

/// How often it is tried to write the journal anew.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// How long the daemon waits for its last answer to be written before it leaves.
const LAST_WORD: Duration = Duration::from_secs(1);

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
    kept_version: u64,
    last_word: Option<oneshot::Receiver<()>>,
    leaving: Leaving,
    writer: Writer,
    /// When it was tried last to write the journal anew.
    renewed_at: Instant,
    keys: Keys,
}

/// Whether the daemon leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It does not.
    Not,
    /// All apps are stopped.
    Stopped,
    /// All apps go on, under the guardian's next daemon or a guardian that this process becomes.
    HandOver(Option<PathBuf>),
}

/// What an engine begins with.
pub(super) struct Beginning {
    pub(super) core: Supervisor,
    pub(super) shell: Shell,
    pub(super) writer: Writer,
    pub(super) keys: Keys,
}

/// What an engine does before it takes any report.
pub(super) enum First {
    /// Nothing.
    Nothing,
    /// It asks itself.
    Ask(Ask),
    /// It goes on where an earlier daemon was.
    Adopt(Vec<Adopted>),
}

impl Engine {
    pub(super) fn new(
        beginning: Beginning,
        clock: Clock,
        inbox: mpsc::UnboundedReceiver<Report>,
        publisher: watch::Sender<Arc<Published>>,
    ) -> Engine {
        let Beginning { core, shell, writer, keys } = beginning;
        Engine {
            core,
            shell,
            clock,
            inbox,
            publisher,
            effects: Vec::new(),
            dirty: false,
            published_at: Instant::now(),
            kept_version: 0,
            last_word: None,
            leaving: Leaving::Not,
            writer,
            renewed_at: Instant::now(),
            keys,
        }
    }

    /// Runs until everything is stopped and the daemon may leave. What comes from an earlier
    /// daemon comes before all requests.
    pub(super) async fn run(mut self, first: First) -> (Shell, Leaving) {
        match first {
            First::Nothing => {}
            First::Ask(ask) => {
                let who = Arc::new(Who { uid: peer::own_uid(), verb: "guardian".to_owned() });
                self.decide(Event::Request { id: RequestId(0), who, ask });
            }
            First::Adopt(adopted) => self.adopt(adopted),
        }
        // Clients wait for the first view, also where there is nothing to see.
        self.publish();
        while self.leaving == Leaving::Not {
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
        if matches!(self.leaving, Leaving::HandOver(_)) {
            // As if it was killed: what its successor needs is there at any moment.
            return (self.shell, self.leaving);
        }
        if let Err(error) = self.writer.journal().end() {
            warn!("cannot remove the journal: {error}");
        }
        if let Some(written) = self.last_word.take() {
            // It was written, or the client is gone, or too slow: the daemon leaves either way.
            let _ = tokio::time::timeout(LAST_WORD, written).await;
        }
        (self.shell, self.leaving)
    }

    fn take(&mut self, report: Report) {
        let event = match report {
            Report::Asked(request) => self.on_asked(*request),
            Report::Spawned(spawned) => {
                self.writer.journal().is_made(spawned.run.0);
                Some(self.shell.on_spawned(*spawned))
            }
            Report::SpawnFailed { run, why, lasting } => {
                self.writer.journal().is_made(run.0);
                Some(Event::SpawnFailed { run, why, lasting })
            }
            Report::Ready { run, by } => Some(Event::Ready { run, by }),
            Report::Said { run, what, noted } => {
                failpoint::here("before-noted");
                self.decide(match what {
                    Saying::Ready => Event::Ready { run, by: ReadyBy::Notified },
                    Saying::Closing => Event::Closing { run },
                    Saying::Heeds { interrupt_only } => Event::Heeds { run, interrupt_only },
                    Saying::Guarded { limit } => Event::Guarded { run, limit },
                    Saying::Hung => Event::Hung { run, hang: Hang::Told },
                });
                failpoint::here("after-noted");
                drop(noted);
                None
            }
            Report::Drained { run } => Some(Event::Drained { run }),
            Report::Checked { run, finding } => {
                failpoint::here("before-checked");
                self.decide(Event::Checked { run, finding });
                failpoint::here("after-checked");
                None
            }
            Report::Hung { run, hang } => {
                failpoint::here("before-hung");
                self.decide(Event::Hung { run, hang });
                failpoint::here("after-hung");
                None
            }
            Report::Rescued { stream, address } => {
                relay::pass_on(stream, address);
                None
            }
            Report::Remaining { run, remaining } => Some(Event::Remaining { run, remaining }),
            Report::Ended { run } => self.shell.on_ended(run),
            Report::HandOver(guardian) => {
                self.leaving = Leaving::HandOver(guardian);
                None
            }
            Report::Told(ended) => self.shell.on_told(&ended),
            Report::Lost { run } => self.shell.on_lost(run),
            Report::Weighed { run, memory } => Some(Event::Weighed { run, memory }),
            Report::Gone { run } => self.shell.on_gone(run),
            Report::Closed { run } => {
                self.shell.on_closed(run);
                None
            }
            Report::Input { key, runs, bytes, written } => {
                debug!(key = key.map(display), "input");
                let is_new = key.is_none_or(|key| self.is_new(&key.to_string()));
                let write = |run| if is_new { self.shell.write_input(run, &bytes) } else { Ok(()) };
                // The client may have gone.
                let _ = written.send(runs.into_iter().map(write).collect());
                None
            }
            Report::LogFile { path, health } => {
                self.shell.on_log_file(path, health);
                self.dirty = true;
                None
            }
            Report::LogsRemoved { folder, archives, bytes } => {
                self.shell.on_logs_removed(folder, archives, bytes);
                self.dirty = true;
                None
            }
            Report::Remark { run, of, text, is_new } => {
                let event = self.shell.on_remark(run, of, text, is_new);
                self.writer.journal().append(&event.map(Record::Event).into_iter().collect::<Vec<_>>());
                self.dirty = true;
                None
            }
            Report::LastWords { run, stderr } => {
                if !stderr.is_empty() {
                    self.writer.journal().append(&[Record::Words { run: run.0, lines: stderr.clone() }]);
                }
                self.shell.on_last_words(run, stderr);
                self.dirty = true;
                None
            }
        };
        if let Some(event) = event {
            // Why it has ended is known before that it has.
            if let Event::Exited { run, .. } = &event
                && let Some(proof) = self.shell.proof_of(*run)
            {
                self.decide(Event::Starved { run: *run, proof });
            }
            self.decide(event);
        }
    }

    /// Whether nobody has asked this before; it is done now, and written down before that: a line that is written twice
    /// can do more harm than one that is lost with its daemon.
    fn is_new(&mut self, key: &str) -> bool {
        if self.keys.find(key) != Known::Not {
            return false;
        }
        let id = self.keys.new_request(Some(key.to_owned()));
        let asked = self.keys.answered(id, &Reply::Outcome(Vec::new()));
        self.writer
            .journal()
            .append(&asked.map(|asked| Record::Asked(Box::new(asked))).into_iter().collect::<Vec<_>>());
        true
    }

    /// A request, unless it is one that a client asks about again: that is answered, and done once.
    fn on_asked(&mut self, request: Request) -> Option<Event> {
        let Request { who, ask, answer, progress, key } = request;
        let key = key.map(|key| key.to_string());
        match key.as_deref().map(|key| self.keys.find(key)) {
            Some(Known::Waits(id)) => {
                info!(uid = who.uid, verb = %who.verb, request = id.0, "asked again");
                self.shell.expect_answer(id, answer, progress);
                return None;
            }
            Some(Known::Answered(reply)) => {
                info!(uid = who.uid, verb = %who.verb, "asked again, answered again");
                self.shell.answer_again(answer, reply);
                return None;
            }
            Some(Known::Not) | None => {}
        }
        let id = self.keys.new_request(key);
        info!(uid = who.uid, verb = %who.verb, request = id.0, "asked");
        if matches!(ask, Ask::Shutdown) && !self.core.is_leaving() {
            self.shell.announce_leaving();
        }
        self.shell.expect_answer(id, answer, progress);
        Some(Event::Request { id, who, ask })
    }

    /// Takes over the runs of an earlier daemon, and what clients of it wait for.
    fn adopt(&mut self, adopted: Vec<Adopted>) {
        for one in adopted {
            failpoint::here("adopting");
            match one {
                Adopted::Event(event) => self.decide(event),
                Adopted::Effect(effect) => self.perform(effect),
                Adopted::Lost(run) => {
                    if let Some(event) = self.shell.on_lost(run) {
                        self.decide(event);
                    }
                }
                Adopted::Batch(batch) => self.core.ask_on(batch),
                Adopted::Waiter(waiter) => {
                    let mut effects = Vec::new();
                    self.core.wait_on(self.clock.now(), waiter, &mut effects);
                    self.effects = self.follow(None, effects);
                }
            }
        }
        // Whose turn it is by now has it.
        self.decide(Event::Tick);
        self.publish();
    }

    fn decide(&mut self, event: Event) {
        let asked = match &event {
            Event::Request { id, .. } => Some(*id),
            Event::Spawned { .. }
            | Event::SpawnFailed { .. }
            | Event::Ready { .. }
            | Event::Closing { .. }
            | Event::Heeds { .. }
            | Event::Guarded { .. }
            | Event::Hung { .. }
            | Event::Starved { .. }
            | Event::Exited { .. }
            | Event::Drained { .. }
            | Event::Weighed { .. }
            | Event::Checked { .. }
            | Event::Remaining { .. }
            | Event::Gone { .. }
            | Event::Tick => None,
        };
        let mut effects = std::mem::take(&mut self.effects);
        self.core.handle(self.clock.now(), event, &mut effects);
        self.effects = self.follow(asked, effects);
    }

    /// Writes down what was decided, publishes it where somebody gets an answer, and does it.
    fn follow(&mut self, asked: Option<RequestId>, mut effects: Vec<Effect>) -> Vec<Effect> {
        // That somebody is asked how it is changes nothing.
        self.dirty |= effects.iter().any(|effect| !matches!(effect, Effect::Check { .. }));
        failpoint::here("before-journal");
        self.write(asked, &effects);
        failpoint::here("after-journal");
        self.shell.reap();
        if effects.iter().any(|effect| matches!(effect, Effect::Reply { .. })) {
            // Who gets an answer must find its truth in the next view.
            self.publish();
        }
        for effect in effects.drain(..) {
            self.perform(effect);
        }
        if !self.dirty {
            self.shell.tell_announced();
        }
        effects
    }

    fn write(&mut self, asked: Option<RequestId>, effects: &[Effect]) {
        let asked = asked.and_then(|id| Some((self.keys.key(id)?.to_owned(), id)));
        let mut events = Vec::new();
        for effect in effects {
            match effect {
                Effect::Announce(change) => events.push(self.shell.announce(change)),
                // Kept when all that it tells of has been done.
                Effect::Reply { .. }
                | Effect::Spawn { .. }
                | Effect::Signal { .. }
                | Effect::Message { .. }
                | Effect::Steer { .. }
                | Effect::Drain { .. }
                | Effect::Check { .. }
                | Effect::Guard { .. }
                | Effect::GiveUp { .. }
                | Effect::Progress { .. }
                | Effect::Forget { .. }
                | Effect::Leave => {}
            }
        }
        let asked = asked.as_ref().map(|(key, id)| (key.as_str(), *id));
        let (shell, keys) = (&self.shell, &self.keys);
        self.writer.turn(&mut self.core, Turn { events, asked, pid: &|run| shell.pid(run), key: &|id| keys.key(id) });
        let is_broken = self.writer.journal().trouble().is_some();
        if (is_broken || self.writer.is_due()) && self.renewed_at.elapsed() >= RENEW_EVERY {
            self.renewed_at = Instant::now();
            let (runs, events) = (shell.journalled(), shell.past_events());
            let (asked, batches) = (keys.records(&self.core), keys.batches(&self.core));
            self.writer.renew(&self.core, Whole { runs, events, asked, batches, pid: &|run| shell.pid(run) });
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { run, slot, instance, definition, resolve, replaces } => {
                self.shell.spawn(run, (slot, instance), definition, resolve, replaces);
            }
            Effect::Steer { run, standing } => {
                failpoint::here("before-steer");
                self.shell.steer(run, standing);
            }
            Effect::Drain { run, until } => {
                failpoint::here("before-drain");
                self.shell.drain(run, until);
            }
            Effect::Check { run, slot, instance, definition, listens } => {
                failpoint::here("before-check");
                self.shell.check(run, (slot, instance), (definition, listens));
            }
            Effect::Guard { run, limit } => self.shell.guard(run, limit),
            Effect::GiveUp { slot } => self.shell.give_up(slot),
            Effect::Signal { run, signal, whom } => {
                failpoint::here("before-signal");
                let sent = self.shell.signal(run, signal, whom);
                failpoint::here("after-signal");
                self.writer.journal().append(&sent.into_iter().collect::<Vec<_>>());
            }
            Effect::Message { run, signal, whom } => {
                failpoint::here("before-signal");
                let sent = self.shell.message(run, signal, whom);
                failpoint::here("after-signal");
                self.writer.journal().append(&sent.into_iter().collect::<Vec<_>>());
            }
            Effect::Reply { to, reply } => {
                failpoint::here("before-reply");
                let answered = self.keys.answered(to, &reply).map(|asked| Record::Asked(Box::new(asked)));
                self.writer.journal().append(&answered.into_iter().collect::<Vec<_>>());
                let written = self.shell.reply(to, reply);
                if self.core.is_leaving() {
                    self.last_word = written;
                }
            }
            Effect::Progress { to, slot, name, instance, state, done, of, remaining } => {
                let (state, remaining) = (convert::state(state), remaining.map(convert::remaining));
                self.shell.progress(to, Progress { id: slot.0, name, instance, state, done, of, remaining });
            }
            // Held already, in the order of what is written down.
            Effect::Announce(_) => {}
            Effect::Forget { slot } => self.shell.forget(slot),
            Effect::Leave => self.leaving = Leaving::Stopped,
        }
    }

    fn publish(&mut self) {
        failpoint::here("before-publish");
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
