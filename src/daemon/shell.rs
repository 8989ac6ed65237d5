//! The shell: carries the core's effects out. Nothing here waits; what takes time is a thread or a task that reports.

mod readers;

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use nix::errno::Errno;
use tokio::sync::{mpsc as tokio_mpsc, oneshot, watch as tokio_watch};
use tracing::{debug, info, warn};

use crate::daemon::clock::Clock;
use crate::daemon::convert;
use crate::daemon::engine::{Answered, Report};
use crate::daemon::keep;
use crate::daemon::launch::{Resolved, marker};
use crate::daemon::link::Link;
use crate::daemon::looker::Looker;
use crate::daemon::publish::Events;
use crate::daemon::pump::Pump;
use crate::daemon::sight::{Kind, Seen, Sight};
use crate::daemon::spawner::{Job, Spawned, Task};
use crate::daemon::store::Store;
use crate::daemon::watch;
use crate::proto::{EventKind, Progress};
use crate::spec::{ExitStatus, Signal, Stream};
use crate::supervisor::{
    Change, ChangeKind, Definition, Event, Left, Reply, RequestId, Resolve, RunId, SlotId, State, Wanted, Whom,
};
use crate::sys::process::Process;
use crate::sys::tree::Remains;

/// How long the last words of a run that ended are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the shell works with.
pub(super) struct Tools {
    pub(super) clock: Clock,
    pub(super) reports: tokio_mpsc::UnboundedSender<Report>,
    pub(super) spawner: mpsc::Sender<Task>,
    pub(super) pump: Pump,
    pub(super) looker: Looker,
    pub(super) events: Arc<Events>,
    pub(super) link: Option<Link>,
    pub(super) store: Store,
    pub(super) logs: PathBuf,
}

/// See the module.
pub(super) struct Shell {
    tools: Tools,
    runs: HashMap<RunId, Live>,
    /// What ended runs are remembered by, as long as their exits are.
    past: HashMap<RunId, Past>,
    /// What the last start by request found, and where each slot's output goes.
    places: HashMap<SlotId, Place>,
    answers: HashMap<RequestId, Pending>,
    sight: Sight,
    generation: u64,
}

/// A run whose tree may live.
struct Live {
    slot: SlotId,
    process: Arc<Process>,
    /// See [`marker`].
    mark: String,
    treekill: bool,
    kind: Kind,
    /// Held open, so that the program never reads an end of its input.
    stdin: std::os::fd::OwnedFd,
    notify: Option<watch::Notify>,
    pid_file: Option<PathBuf>,
    /// Whether SIGKILL was sent to the rest of its tree.
    killing: tokio_watch::Sender<bool>,
}

impl Live {
    fn seen(&self) -> Seen<'_> {
        Seen { process: &self.process, mark: &self.mark, kind: self.kind }
    }
}

#[derive(Default)]
struct Past {
    pid: u32,
    stderr: Vec<String>,
}

struct Place {
    resolved: Arc<Resolved>,
    out_file: Option<PathBuf>,
    error_file: Option<PathBuf>,
}

struct Pending {
    answer: oneshot::Sender<Answered>,
    progress: Option<tokio_mpsc::UnboundedSender<Progress>>,
}

impl Shell {
    pub(super) fn new(tools: Tools) -> Shell {
        Shell {
            tools,
            runs: HashMap::new(),
            past: HashMap::new(),
            places: HashMap::new(),
            answers: HashMap::new(),
            sight: Sight::default(),
            generation: 0,
        }
    }

    /// What outlives the engine for a moment: the pump has bytes to write.
    pub(super) fn into_tools(self) -> Tools {
        self.tools
    }

    // Reports.

    /// A batch of reports has been worked through: what was seen for it is old.
    pub(super) fn look_anew(&mut self) {
        self.sight.renew();
    }

    pub(super) fn on_spawned(&mut self, spawned: Spawned) -> Event {
        let Spawned { run, slot, definition, resolved, process, stdin, sources, notify, .. } = spawned;
        let (out_file, error_file, pid_file) = (spawned.out_file, spawned.error_file, spawned.pid_file);
        let pid = process.display_pid();
        info!(app = %definition.spec.name, slot = slot.0, run = run.0, pid, "started");
        if let Some(link) = &self.tools.link {
            let (main, input) = (keep::process_name(run, pid), keep::name(run, "in"));
            let outputs: Vec<String> = sources.iter().map(|s| keep::name(run, keep::stream(s.stream))).collect();
            let mut named = vec![(main.as_str(), process.pidfd()), (input.as_str(), stdin.as_fd())];
            named.extend(outputs.iter().map(String::as_str).zip(sources.iter().map(|source| source.pipe.as_fd())));
            link.put(&named);
        }
        for source in sources {
            self.tools.pump.add(source);
        }
        self.tools.looker.watch(run, Arc::clone(&process));
        watch::exit(run, Arc::clone(&process), self.tools.reports.clone());
        let notify = notify.and_then(|(socket, path)| watch::notify(run, socket, path, self.tools.reports.clone()));
        let kind = if resolved.wraps { Kind::Wrapper } else { Kind::Server };
        let (mark, treekill) = (marker(slot), definition.spec.stop.treekill);
        self.places.insert(slot, Place { resolved, out_file, error_file });
        self.past.insert(run, Past { pid, stderr: Vec::new() });
        let killing = tokio_watch::Sender::new(false);
        self.runs.insert(run, Live { slot, process, mark, treekill, kind, stdin, notify, pid_file, killing });
        Event::Spawned { run }
    }

    pub(super) fn on_ended(&mut self, run: RunId) -> Option<Event> {
        let live = self.runs.get_mut(&run)?;
        let status = match live.process.try_status() {
            Ok(Some(status)) => status,
            Ok(None) => {
                watch::exit_later(run, self.tools.reports.clone());
                return None;
            }
            Err(error) => {
                warn!(run = run.0, "the exit status is lost: {error}");
                ExitStatus::Signal { signal: Signal::KILL, core: false }
            }
        };
        let pid = live.process.display_pid();
        if let Some(pid_file) = live.pid_file.take()
            && self.tools.spawner.send(Task::Clear { run, pid, pid_file }).is_ok()
        {
            // Who is told of the end finds no file any more: this end is reported again when it is gone.
            return None;
        }
        let live = self.runs.get(&run)?;
        info!(slot = live.slot.0, run = run.0, pid, "ended: {status}");
        let left = if live.treekill { self.sight.leftovers(live.seen()) } else { Remains::default() };
        let killing = live.killing.subscribe();
        self.ask_last_words(run);
        if left.is_nothing() {
            self.let_go(run);
            Some(Event::Exited { run, status, left: Left::Nothing })
        } else {
            let (process, mark) = (Arc::clone(&live.process), live.mark.clone());
            let tree = watch::Tree { process, mark, left: left.held, killing };
            watch::gone(run, tree, Sight::REAPER, self.tools.reports.clone());
            Some(Event::Exited { run, status, left: Left::Survivors })
        }
    }

    pub(super) fn on_gone(&mut self, run: RunId) -> Option<Event> {
        self.runs.contains_key(&run).then(|| {
            self.let_go(run);
            Event::Gone { run }
        })
    }

    pub(super) fn on_closed(&mut self, run: RunId) {
        if let Some(link) = &self.tools.link {
            let [out, error] = [Stream::Out, Stream::Error].map(|stream| keep::name(run, keep::stream(stream)));
            link.forget(&[&out, &error]);
        }
    }

    pub(super) fn on_last_words(&mut self, run: RunId, stderr: Vec<String>) {
        if let Some(past) = self.past.get_mut(&run) {
            past.stderr = stderr;
        }
    }

    // Effects.

    pub(super) fn spawn(
        &mut self,
        run: RunId,
        slot: SlotId,
        instance: u16,
        definition: Arc<Definition>,
        resolve: Resolve,
    ) {
        let resolved = match resolve {
            Resolve::Fresh => None,
            Resolve::Keep => self.places.get(&slot).map(|place| Arc::clone(&place.resolved)),
        };
        let job = Job { run, slot, instance, definition, resolved };
        if self.tools.spawner.send(Task::Make(job)).is_err() {
            let why = "the spawner thread has ended".to_owned();
            let report = Report::SpawnFailed { run, why, lasting: crate::supervisor::Lasting::Permanent };
            // The engine is on the other side and lives.
            let _ = self.tools.reports.send(report);
        }
    }

    pub(super) fn signal(&mut self, run: RunId, signal: Signal, whom: Whom) {
        let Some(live) = self.runs.get(&run) else { return };
        if let Err(error) = self.sight.signal(live.seen(), signal, whom) {
            warn!(run = run.0, "cannot send {signal}: {error}");
        }
        if signal == Signal::KILL && matches!(whom, Whom::Survivors | Whom::Tree) {
            // Who forks faster than he is listed is hunted down by the task that waits for the tree.
            live.killing.send_replace(true);
        }
    }

    /// Writes to the standard input of a run; why it could not be done, as a sentence fragment. Never waits: the pipe takes
    /// so few bytes whole or not at all (pipe(7)).
    pub(super) fn write_input(&self, run: RunId, bytes: &[u8]) -> Result<(), String> {
        let live = self.runs.get(&run).ok_or("it does not run")?;
        match nix::unistd::write(&live.stdin, bytes) {
            Ok(_) => Ok(()),
            Err(Errno::EAGAIN) => Err("it does not read its standard input, which is full".to_owned()),
            Err(Errno::EPIPE) => Err("it has closed its standard input".to_owned()),
            Err(errno) => Err(format!("its standard input: {}", errno.desc())),
        }
    }

    pub(super) fn expect_answer(
        &mut self,
        id: RequestId,
        answer: oneshot::Sender<Answered>,
        progress: Option<tokio_mpsc::UnboundedSender<Progress>>,
    ) {
        self.answers.insert(id, Pending { answer, progress });
    }

    /// Sends an answer on its way; what is returned resolves when it has been written.
    pub(super) fn reply(&mut self, to: RequestId, reply: Reply) -> Option<oneshot::Receiver<()>> {
        let pending = self.answers.remove(&to)?;
        let (written, done) = oneshot::channel();
        // The client may have gone; what it asked for happens all the same.
        let _ = pending.answer.send(Answered { reply, epoch: self.tools.clock, written });
        Some(done)
    }

    pub(super) fn progress(
        &self,
        to: RequestId,
        (id, name, instance): (SlotId, String, u16),
        state: State,
        (done, of): (u32, u32),
    ) {
        if let Some(progress) = self.answers.get(&to).and_then(|pending| pending.progress.as_ref()) {
            let step = Progress { id: id.0, name, instance, state: convert::state(state), done, of };
            // The client may have gone.
            let _ = progress.send(step);
        }
    }

    pub(super) fn announce(&self, change: Change) {
        if let ChangeKind::Online { run, .. } = &change.kind {
            self.tools.looker.settled(*run);
        }
        let time = self.tools.clock.epoch_millis(self.tools.clock.now());
        self.tools.events.hold(change, time, |run| self.pid(run));
    }

    /// The view shows all that was announced.
    pub(super) fn tell_announced(&self) {
        self.tools.events.release();
    }

    pub(super) fn announce_leaving(&self) {
        let time = self.tools.clock.epoch_millis(self.tools.clock.now());
        self.tools.events.tell_own(EventKind::DaemonLeaving, time);
    }

    pub(super) fn forget(&mut self, slot: SlotId) {
        self.places.remove(&slot);
    }

    /// Leaves with the guardian what a successor must know, and on disk what the next daemon must.
    pub(super) fn keep_wanted(&self, wanted: &[Wanted]) {
        let kept = keep::to_bytes(wanted).and_then(|bytes| {
            if let Some(link) = &self.tools.link {
                link.put(&[(keep::WANTED, keep::memory_file(&bytes)?.as_fd())]);
            }
            self.tools.store.keep(bytes);
            Ok(())
        });
        if let Err(error) = kept {
            warn!("cannot keep what is wanted: {error}");
        }
    }

    fn pid(&self, run: RunId) -> u32 {
        self.past.get(&run).map_or(0, |past| past.pid)
    }

    /// Nothing of a run lives any more, or nobody cares.
    fn let_go(&mut self, run: RunId) {
        let Some(live) = self.runs.remove(&run) else { return };
        if let Err(error) = live.process.reap() {
            debug!(run = run.0, "reap: {error}");
        }
        self.tools.looker.ended(run);
        if let Some(link) = &self.tools.link {
            let (main, input) = (keep::process_name(run, live.process.display_pid()), keep::name(run, "in"));
            link.forget(&[&main, &input]);
        }
        drop(live.notify);
    }

    fn ask_last_words(&self, run: RunId) {
        let (pump, reports) = (self.tools.pump.clone(), self.tools.reports.clone());
        tokio::spawn(async move {
            let stderr = pump.tail(run, LAST_WORDS).await;
            if !stderr.is_empty() {
                // The engine may have ended.
                let _ = reports.send(Report::LastWords { run, stderr });
            }
        });
    }
}
