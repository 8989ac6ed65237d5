//! The shell: carries the core's effects out. Nothing here waits; what takes time is a thread or a task that reports.

mod cluster;
mod talk;
mod views;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use nix::errno::Errno;
use tokio::sync::{mpsc as tokio_mpsc, oneshot, watch as tokio_watch};
use tracing::{debug, info, warn};

use crate::daemon::adopt::Found;
use crate::daemon::clock::Clock;
use crate::daemon::cluster::Sockets;
use crate::daemon::engine::{Answered, Report};
use crate::daemon::failpoint;
use crate::daemon::history::History;
use crate::daemon::keep;
use crate::daemon::launch::{Resolved, marker};
use crate::daemon::link::Link;
use crate::daemon::looker::Looker;
use crate::daemon::publish::Events;
use crate::daemon::pump::{Health, Pump, Source, Style};
use crate::daemon::said::Sayings;
use crate::daemon::sight::{Kind, Seen, Sight};
use crate::daemon::spawner::{Job, Spawned, Task};
use crate::daemon::store::Store;
use crate::daemon::talk::{Ends, Talk};
use crate::daemon::watch;
use crate::guardian;
use crate::proto::{self, EventKind, Progress, Record};
use crate::spec::{ExitStatus, Signal, Stream};
use crate::supervisor::{
    Change, ChangeKind, Definition, Event, Left, Reply, RequestId, Resolve, RunId, SlotId, Wanted, Whom,
};
use crate::sys::moment::Moment;
use crate::sys::process::{PidFd, Process};
use crate::sys::tree::Remains;

/// What is said of an end that nobody has seen.
const LOST: ExitStatus = ExitStatus::Signal { signal: Signal::KILL, core: false };

/// How long the last words of a run that ended are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long an answer waits until a port refuses.
const REFUSED: Duration = Duration::from_secs(1);

/// What the shell works with.
pub(super) struct Tools {
    pub(super) clock: Clock,
    pub(super) reports: tokio_mpsc::UnboundedSender<Report>,
    pub(super) spawner: mpsc::Sender<Task>,
    pub(super) pump: Pump,
    pub(super) looker: Looker,
    pub(super) history: History,
    pub(super) events: Arc<Events>,
    pub(super) link: Option<Link>,
    pub(super) store: Store,
    pub(super) sockets: Sockets,
    pub(super) sayings: Sayings,
    pub(super) logs: PathBuf,
}

/// See the module.
pub(super) struct Shell {
    tools: Tools,
    runs: HashMap<RunId, Live>,
    /// What ended runs are remembered by, as long as their exits are.
    past: HashMap<RunId, Past>,
    /// The last launch of each slot.
    places: HashMap<SlotId, Arc<Place>>,
    /// Launches of runs that live, or whose output has not been read to its end.
    open: HashMap<RunId, Arc<Place>>,
    /// Live runs whose output has ended.
    closed: HashSet<RunId>,
    answers: HashMap<RequestId, Pending>,
    sight: Sight,
    generation: u64,
    /// Log files that cannot be written, and why.
    ill_logs: BTreeMap<PathBuf, String>,
    /// Ended runs whose last words are on their way.
    unworded: HashSet<RunId>,
    /// Runs whose first signal has been announced and not been sent.
    asking: HashSet<RunId>,
    /// Whether slots were given up since the last answer.
    is_giving_up: bool,
    /// Ended runs that the journal is to know of before they are forgotten.
    ended: Vec<Live>,
}

/// A run whose tree may live.
struct Live {
    run: RunId,
    slot: SlotId,
    process: Arc<Process>,
    born: Moment,
    /// See [`marker`].
    mark: String,
    kind: Kind,
    place: Arc<Place>,
    /// Held open, so that the program never reads an end of its input. None of a run whose guardian was lost.
    stdin: Option<OwnedFd>,
    talk: Talk,
    /// Until its end.
    pid_file: Option<PathBuf>,
    /// Whether SIGKILL was sent to the rest of its tree.
    killing: tokio_watch::Sender<bool>,
    end: End,
    /// Whether its main process, and the rest of its tree, were sent the signal to end.
    sent: (bool, bool),
}

/// Whether the core knows that the main process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    NotYet,
    Told,
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
    /// What was told of its sockets.
    remarks: Vec<String>,
}

/// One launch: what was found for it, and where its output goes.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) run: RunId,
    pub(super) slot: SlotId,
    pub(super) resolved: Arc<Resolved>,
    pub(super) out_file: Option<PathBuf>,
    pub(super) error_file: Option<PathBuf>,
    /// Where both go besides.
    pub(super) combined_file: Option<PathBuf>,
    pub(super) style: Arc<Style>,
    pub(super) pid_file: Option<PathBuf>,
    /// How long the file of its standard error was when it began.
    pub(super) error_began: u64,
    /// Whether its tree is looked after.
    pub(super) treekill: bool,
    /// Whether its sockets are shared.
    pub(super) captured: bool,
    /// Whether there is a socket for agents in its programs.
    pub(super) agent: bool,
}

impl Place {
    /// All log files of it.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.out_file, &self.error_file, &self.combined_file].into_iter().flatten()
    }
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
            open: HashMap::new(),
            closed: HashSet::new(),
            answers: HashMap::new(),
            sight: Sight::default(),
            generation: 0,
            ill_logs: BTreeMap::new(),
            unworded: HashSet::new(),
            asking: HashSet::new(),
            is_giving_up: false,
            ended: Vec::new(),
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
        let Spawned { run, slot, place, process, born, stdin, sources, ends } = spawned;
        let pid = process.display_pid();
        info!(slot = slot.0, run = run.0, pid, "started");
        if let Some(link) = &self.tools.link {
            link.put(&[(&keep::process_name(run, pid), process.pidfd())]);
        }
        for source in sources {
            self.tools.pump.add(source);
        }
        self.take_in(run, place, process, born, Some(stdin), ends);
        Event::Spawned { run }
    }

    /// Watches over a run from now on that an earlier daemon has started.
    pub(super) fn adopt(&mut self, found: Found) {
        let Found { place, process, born, stdin, ends, end, sent } = found;
        let run = place.run;
        self.take_in(run, place, process, born, stdin, ends);
        if let Some(live) = self.runs.get_mut(&run) {
            (live.end, live.sent) = (end, sent);
        }
        if end == End::Told {
            self.wait_for_tree(run, Vec::new());
        }
    }

    /// Adopted runs that had ended before anybody held them, and how many others there are.
    pub(super) fn unheld(&self) -> (Vec<RunId>, usize) {
        let gone: Vec<RunId> = self
            .runs
            .values()
            .filter(|live| live.process.was_gone() && live.end == End::NotYet)
            .map(|live| live.run)
            .collect();
        let live = self.runs.len() - gone.len();
        (gone, live)
    }

    /// A signal that an earlier daemon was to send is sent now.
    pub(super) fn will_ask(&mut self, run: RunId) {
        self.asking.insert(run);
    }

    /// What is remembered of runs, and of the launches of slots and of open pipes.
    pub(super) fn recall(&mut self, places: Vec<Arc<Place>>, ended: impl Iterator<Item = (RunId, u32, Vec<String>)>) {
        for place in places {
            let latest = self.places.get(&place.slot).is_none_or(|known| known.run < place.run);
            if latest {
                self.places.insert(place.slot, Arc::clone(&place));
            }
        }
        self.past.extend(ended.map(|(run, pid, stderr)| (run, Past { pid, stderr, remarks: Vec::new() })));
    }

    /// Reads a pipe that an earlier daemon has left.
    pub(super) fn read_on(&mut self, source: Source, place: &Arc<Place>) {
        self.open.insert(source.run, Arc::clone(place));
        self.tools.pump.adopt(source, place.error_began);
    }

    pub(super) fn know_adopted(&mut self) {
        self.sight.know(self.runs.values().map(|live| Arc::downgrade(&live.process)).collect());
    }

    /// Watches over a run from now on.
    fn take_in(
        &mut self,
        run: RunId,
        place: Arc<Place>,
        process: Arc<Process>,
        born: Moment,
        stdin: Option<OwnedFd>,
        ends: Ends,
    ) {
        let talk = Talk::open(run, ends, &self.tools.sayings, &self.tools.reports);
        let slot = place.slot;
        self.tools.looker.watch(run, slot, Arc::clone(&process));
        if place.captured {
            // Who is asked has no need to look.
            self.tools.looker.settled(run);
            self.tools.sockets.add(run, Arc::clone(&process));
        }
        watch::exit(run, Arc::clone(&process), self.tools.reports.clone());
        let kind = if place.resolved.wraps { Kind::Wrapper } else { Kind::Server };
        self.past.entry(run).or_default().pid = process.display_pid();
        self.places.insert(slot, Arc::clone(&place));
        self.open.insert(run, Arc::clone(&place));
        let (mark, killing) = (marker(slot), tokio_watch::Sender::new(false));
        let (end, sent) = (End::NotYet, (false, false));
        let pid_file = place.pid_file.clone();
        let live = Live { run, slot, process, born, mark, kind, place, stdin, talk, pid_file, killing, end, sent };
        self.runs.insert(run, live);
    }

    pub(super) fn on_ended(&mut self, run: RunId) -> Option<Event> {
        let live = self.runs.get_mut(&run).filter(|live| live.end == End::NotYet)?;
        let status = match live.process.try_status() {
            Ok(Some(status)) => status,
            Ok(None) if live.process.is_adopted() => {
                // Its parent tells, if there is one that can.
                watch::told_or_lost(run, self.tools.reports.clone());
                return None;
            }
            Ok(None) => {
                watch::exit_later(run, self.tools.reports.clone());
                return None;
            }
            Err(error) => {
                warn!(run = run.0, "the exit status is lost: {error}");
                LOST
            }
        };
        self.end(run, status)
    }

    /// Nobody has told how an adopted process ended.
    pub(super) fn on_lost(&mut self, run: RunId) -> Option<Event> {
        let live = self.runs.get(&run).filter(|live| live.end == End::NotYet)?;
        if let Ok(Some(status)) = live.process.try_status() {
            return self.end(run, status);
        }
        if live.process.is_unreaped() {
            // Its parent stands still, and will tell.
            watch::told_or_lost(run, self.tools.reports.clone());
            return None;
        }
        warn!(run = run.0, pid = live.process.display_pid(), "nobody knows how the process ended");
        self.end(run, LOST)
    }

    /// The guardian tells how an adopted process ended.
    pub(super) fn on_told(&mut self, ended: &guardian::Ended) -> Option<Event> {
        let is_it = |live: &&Live| live.born.monotonic == ended.born && live.process.display_pid() == ended.pid;
        let live = self.runs.values().find(is_it)?;
        let run = live.run;
        live.process.tell(ended.status);
        self.on_ended(run)
    }

    fn end(&mut self, run: RunId, status: ExitStatus) -> Option<Event> {
        let live = self.runs.get_mut(&run)?;
        let pid = live.process.display_pid();
        live.process.tell(status);
        if let Some(pid_file) = live.pid_file.take()
            && self.tools.spawner.send(Task::Clear { run, pid, pid_file }).is_ok()
        {
            // Who is told of the end finds no file any more: this end is reported again when it is gone.
            return None;
        }
        live.end = End::Told;
        if live.place.captured {
            self.tools.sockets.ended(run);
        }
        info!(slot = live.slot.0, run = run.0, pid, "ended: {status}");
        let left = if live.place.treekill { self.sight.leftovers(live.seen()) } else { Remains::default() };
        self.ask_last_words(run);
        if left.is_nothing() {
            self.let_go(run);
            return Some(Event::Exited { run, status, left: Left::Nothing });
        }
        self.wait_for_tree(run, left.held);
        Some(Event::Exited { run, status, left: Left::Survivors })
    }

    fn wait_for_tree(&self, run: RunId, left: Vec<PidFd>) {
        let Some((live, trace)) = self.runs.get(&run).and_then(|live| Some((live, live.process.trace()?))) else {
            return;
        };
        let (mark, killing, adopted) = (live.mark.clone(), live.killing.subscribe(), self.sight.adopted());
        let tree = watch::Tree { trace, mark, left, killing, adopted };
        watch::gone(run, tree, Sight::REAPER, self.tools.reports.clone());
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
        if self.runs.contains_key(&run) {
            self.closed.insert(run);
        } else {
            self.open.remove(&run);
        }
    }

    pub(super) fn on_log_file(&mut self, path: PathBuf, health: Health) {
        let event = match health {
            Health::Failing(reason) => {
                self.ill_logs.insert(path.clone(), reason.clone());
                EventKind::LogFailing { path: path.clone(), reason }
            }
            Health::Well(lost) => {
                self.ill_logs.remove(&path);
                EventKind::LogWritten { path: path.clone(), lost: lost as u64 }
            }
        };
        let time = self.tools.clock.epoch_millis(self.tools.clock.now());
        let whose = self.places.values().find(|place| place.files().any(|file| *file == path));
        let (app, slot) = match whose {
            Some(place) => (Some(place.style.app.clone()), (Some(place.slot.0), Some(place.style.instance))),
            None => (None, (None, None)),
        };
        self.tools.events.hold_of(app, slot, event, time);
    }

    /// What its owner should know; the event that tells it, unless it was told before.
    pub(super) fn on_remark(
        &mut self,
        run: RunId,
        of: (String, SlotId, u16),
        text: String,
        is_new: bool,
    ) -> Option<Arc<proto::Event>> {
        self.past.entry(run).or_default().remarks.push(text.clone());
        let time = self.tools.clock.epoch_millis(self.tools.clock.now());
        let event = EventKind::Remark { run: run.0, text };
        is_new.then(|| self.tools.events.hold_remark(of, event, time))
    }

    pub(super) fn on_last_words(&mut self, run: RunId, stderr: Vec<String>) {
        self.unworded.remove(&run);
        if let Some(past) = self.past.get_mut(&run) {
            past.stderr = stderr;
        }
    }

    // Effects.

    pub(super) fn spawn(
        &mut self,
        run: RunId,
        (slot, instance): (SlotId, u16),
        definition: Arc<Definition>,
        resolve: Resolve,
        replaces: Option<RunId>,
    ) {
        let resolved = match resolve {
            Resolve::Fresh => None,
            Resolve::Keep => self.places.get(&slot).map(|place| Arc::clone(&place.resolved)),
        };
        let capture = cluster::newcomer(run, (slot, instance), &definition, replaces);
        let job = Job { run, slot, instance, definition, resolved, capture };
        if self.tools.spawner.send(Task::Make(job)).is_err() {
            let why = "the spawner thread has ended".to_owned();
            let report = Report::SpawnFailed { run, why, lasting: crate::supervisor::Lasting::Permanent };
            // The engine is on the other side and lives.
            let _ = self.tools.reports.send(report);
        }
    }

    /// Sends a signal; what a successor has to know of it.
    pub(super) fn signal(&mut self, run: RunId, signal: Signal, whom: Whom) -> Option<Record> {
        let live = self.runs.get_mut(&run)?;
        if let Err(error) = self.sight.signal(live.seen(), signal, whom) {
            warn!(run = run.0, "cannot send {signal}: {error}");
        }
        if signal == Signal::KILL {
            if matches!(whom, Whom::Survivors | Whom::Tree) {
                // Who forks faster than he is listed is hunted down by the task that waits for the tree.
                live.killing.send_replace(true);
            }
            return None;
        }
        let survivors = whom == Whom::Survivors;
        match survivors {
            true => live.sent.1 = true,
            false if self.asking.remove(&run) => live.sent.0 = true,
            false => return None,
        }
        Some(Record::Sent { run: run.0, survivors })
    }

    /// Writes to the standard input of a run; why it could not be done, as a sentence fragment. Never waits: the pipe takes
    /// so few bytes whole or not at all (pipe(7)).
    pub(super) fn write_input(&self, run: RunId, bytes: &[u8]) -> Result<(), String> {
        let live = self.runs.get(&run).ok_or("it does not run")?;
        let stdin = live.stdin.as_ref().ok_or("its standard input was lost with an earlier guardian")?;
        match nix::unistd::write(stdin, bytes) {
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

    /// The answer that was given before, for a client that has not got it.
    pub(super) fn answer_again(&self, answer: oneshot::Sender<Answered>, reply: Reply) {
        // The client may have gone once more.
        let remarks = self.remarks(&reply);
        let _ = answer.send(Answered { reply, remarks, epoch: self.tools.clock, written: oneshot::channel().0 });
    }

    /// Sends an answer on its way; what is returned resolves when it has been written.
    pub(super) fn reply(&mut self, to: RequestId, reply: Reply) -> Option<oneshot::Receiver<()>> {
        let pending = self.answers.remove(&to)?;
        let (written, done) = oneshot::channel();
        let answered = Answered { remarks: self.remarks(&reply), reply, epoch: self.tools.clock, written };
        match self.until_refused() {
            // The client may have gone; what it asked for happens all the same.
            None => drop(pending.answer.send(answered)),
            // Who is told that something has stopped finds nobody at its port any more.
            Some(refused) => drop(tokio::spawn(async move {
                let _ = tokio::time::timeout(REFUSED, refused).await;
                let _ = pending.answer.send(answered);
            })),
        }
        Some(done)
    }

    pub(super) fn progress(&self, to: RequestId, step: Progress) {
        if let Some(progress) = self.answers.get(&to).and_then(|pending| pending.progress.as_ref()) {
            // The client may have gone.
            let _ = progress.send(step);
        }
    }

    /// Holds a change until the view shows it.
    pub(super) fn announce(&mut self, change: &Change) -> Arc<proto::Event> {
        match &change.kind {
            ChangeKind::Online { run, .. } => self.tools.looker.settled(*run),
            ChangeKind::Stopping(run, _) => drop(self.asking.insert(*run)),
            ChangeKind::Created
            | ChangeKind::Changed(_)
            | ChangeKind::Started(_)
            | ChangeKind::SpawnFailed(_)
            | ChangeKind::Signalled(..)
            | ChangeKind::Heavy { .. }
            | ChangeKind::Reset
            | ChangeKind::Killed(_)
            | ChangeKind::Exited { .. }
            | ChangeKind::Waiting { .. }
            | ChangeKind::Draining(_)
            | ChangeKind::ReloadAborted { .. }
            | ChangeKind::Held(_)
            | ChangeKind::Parked { .. }
            | ChangeKind::RolledBack { .. }
            | ChangeKind::Errored { .. }
            | ChangeKind::Stopped(_)
            | ChangeKind::Deleted => {}
        }
        let time = self.tools.clock.epoch_millis(self.tools.clock.now());
        self.tools.events.hold(change.clone(), time, |run| self.pid(run))
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
        self.tools.history.forget(slot.0);
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

    pub(super) fn pid(&self, run: RunId) -> u32 {
        self.past.get(&run).map_or(0, |past| past.pid)
    }

    /// Nothing of a run lives any more, or nobody cares. The process stays a zombie until the journal knows.
    fn let_go(&mut self, run: RunId) {
        let Some(live) = self.runs.remove(&run) else { return };
        self.tools.looker.ended(run);
        self.tools.sayings.forget(run);
        self.asking.remove(&run);
        if self.closed.remove(&run) {
            self.open.remove(&run);
        }
        self.ended.push(live);
    }

    /// The journal knows of all ends: nothing holds on to them any more.
    pub(super) fn reap(&mut self) {
        if !self.ended.is_empty() {
            failpoint::here("before-reap");
        }
        for live in self.ended.drain(..) {
            let (run, pid) = (live.run, live.process.display_pid());
            if let Err(error) = live.process.reap() {
                debug!(run = run.0, "reap: {error}");
            }
            if let Some(link) = &self.tools.link {
                let talk = ["in", "notify", "channel", "agent"].map(|part| keep::name(run, part));
                let pidfd = keep::process_name(run, pid);
                let names: Vec<&str> = talk.iter().map(String::as_str).chain([pidfd.as_str()]).collect();
                link.forget(&names);
                if live.process.is_adopted() {
                    link.settle(pid, live.born.monotonic);
                }
            }
            drop(live.talk);
        }
    }

    fn ask_last_words(&mut self, run: RunId) {
        self.unworded.insert(run);
        let (pump, reports) = (self.tools.pump.clone(), self.tools.reports.clone());
        tokio::spawn(async move {
            let stderr = pump.tail(run, LAST_WORDS).await;
            // The engine may have ended.
            let _ = reports.send(Report::LastWords { run, stderr });
        });
    }
}
