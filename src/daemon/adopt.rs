//! After the death of a daemon: its runs, as they are now, and what is still to be done about them.
//!
//! The journal says what the daemon knew and meant to do, the guardian has what it held. Each run is one of these:
//!
//! | the journal says | there is | so |
//! |---|---|---|
//! | it is being made | no birth | it is made now, under the same number |
//! | it is being made | a birth, or its descriptor alone | it was made |
//! | it runs, or was asked to end | the process, alive or not | it is watched; what it was to be sent and was not is sent |
//! | it has ended, others of its tree not | its number | what is left is looked for |
//! | nothing | the process, alive | it is ended: a [`Stray`] |
//!
//! Whether a process has ended meanwhile is not asked here: its descriptor is readable then, and the guardian tells how.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{info, warn};

use crate::daemon::journal::Past;
use crate::daemon::keep;
use crate::daemon::link::Link;
use crate::daemon::node;
use crate::daemon::pid_file::Draft;
use crate::daemon::pump::{LogOut, Source};
use crate::daemon::shell::{End, Place, Shell};
use crate::daemon::spawner::open_log;
use crate::daemon::strays::{self, Stray};
use crate::daemon::talk::Ends;
use crate::proto::BornRecord;
use crate::spec::{ExecMode, Signal, Stream};
use crate::supervisor::{Batch, Doing, Effect, Event, Lasting, Resolve, Run, RunId, Slot, SlotId, Stage, Waiter, Whom};
use crate::sys::moment::Moment;
use crate::sys::process::Process;

/// One thing that an engine does before it takes any report.
pub(super) enum Adopted {
    /// The core is told.
    Event(Event),
    /// What the core had decided is done.
    Effect(Effect),
    /// It ended, and nobody can tell how.
    Lost(RunId),
    /// A client waits.
    Waiter(Waiter),
    /// A request has not asked all of its slots.
    Batch(Batch),
}

/// A run that an earlier daemon has started.
pub(super) struct Found {
    pub(super) place: Arc<Place>,
    pub(super) process: Arc<Process>,
    pub(super) born: Moment,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) ends: Ends,
    pub(super) end: End,
    /// Whether main process and rest of the tree were sent the signal to end.
    pub(super) sent: (bool, bool),
}

/// Where the sockets of runs have their names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dirs<'a> {
    pub(super) notify: &'a Path,
    pub(super) agent: &'a Path,
}

/// What the guardian has of one run.
#[derive(Default)]
struct Kept {
    /// With the number that is in its name.
    pidfd: Option<(u32, OwnedFd)>,
    stdin: Option<OwnedFd>,
    notify: Option<OwnedFd>,
    channel: Option<OwnedFd>,
    agent: Option<OwnedFd>,
    pipes: Vec<(Stream, OwnedFd)>,
}

/// Puts into the shell what runs, and says what is to be done; and which processes nobody knows.
pub(super) fn adopt(
    past: &Past,
    slots: &[Slot],
    kept: Vec<(String, OwnedFd)>,
    shell: &mut Shell,
    (link, dirs): (Option<&Link>, Dirs<'_>),
) -> (Vec<Adopted>, Vec<Stray>) {
    let mut kept = sorted(kept, link);
    let births = births(past, slots, &kept);
    let born_of = |run: &RunId| past.born.get(run).or_else(|| births.get(run)).copied();
    let places: BTreeMap<RunId, Arc<Place>> =
        past.launches.iter().map(|(run, record)| (*run, Arc::new(keep::recalled_launch(record.clone())))).collect();
    let ended = past.pids.iter().map(|(run, pid)| (*run, *pid, past.words.get(run).cloned().unwrap_or_default()));
    let ids: HashSet<SlotId> = slots.iter().map(|slot| slot.id).collect();
    shell.recall(places.values().filter(|place| ids.contains(&place.slot)).cloned().collect(), ended);
    for (run, kept) in &mut kept {
        for (stream, pipe) in kept.pipes.drain(..) {
            match places.get(run).filter(|_| born_of(run).is_some()) {
                Some(place) => shell.read_on(source(place, stream, pipe), place),
                // Nobody knows where it goes, or nobody has ever written: then the run is made now, and leaves a pipe of
                // its own under this name, which the end of the old one must not take away.
                None => forget(link, &keep::name(*run, keep::stream(stream))),
            }
        }
    }
    let mut adopted = Vec::new();
    for slot in slots {
        for (run, doing) in slot.runs() {
            let place = places.get(&run.id);
            let kept = kept.remove(&run.id).unwrap_or_default();
            let born = born_of(&run.id);
            let sent = (past.sent.contains(&(run.id, false)), past.sent.contains(&(run.id, true)));
            let taken = place.zip(born).map(|(place, born)| (place, born, kept, sent));
            adopted.extend(one(slot, (run, doing), taken, shell, (link, dirs)));
        }
        // What was decided may not have been done.
        if slot.runs().is_empty() && !slot.holds_sockets && slot.definition.spec.exec_mode == ExecMode::Cluster {
            adopted.push(Adopted::Effect(Effect::GiveUp { slot: slot.id }));
        }
    }
    let mut strays = Vec::new();
    for (run, kept) in kept {
        let Kept { pidfd, stdin, notify, channel, agent, pipes: _ } = kept;
        for (name, fd) in [("in", stdin), ("notify", notify), ("channel", channel), ("agent", agent)] {
            if fd.is_some() {
                forget(link, &keep::name(run, name));
            }
        }
        if let Some((pid, pidfd)) = pidfd {
            match Stray::of(run, (pid, pidfd)) {
                // Not forgotten before it has ended: this daemon may die, too.
                Some(stray) => strays.push(stray),
                None => forget(link, &keep::process_name(run, pid)),
            }
        }
    }
    shell.know_adopted();
    (adopted, strays)
}

/// Births that the journal does not tell of, for the disk was full: of processes that the guardian holds.
fn births(past: &Past, slots: &[Slot], kept: &BTreeMap<RunId, Kept>) -> HashMap<RunId, BornRecord> {
    let runs = slots.iter().flat_map(Slot::runs).map(|(run, _)| run.id).filter(|run| !past.born.contains_key(run));
    let found = runs.filter_map(|run| {
        let (pid, pidfd) = kept.get(&run)?.pidfd.as_ref()?;
        strays::birth(run, *pid, pidfd).map(|born| (run, born))
    });
    found.collect()
}

type Taken<'a> = Option<(&'a Arc<Place>, BornRecord, Kept, (bool, bool))>;

/// What is to be done about one run.
fn one(
    slot: &Slot,
    (run, doing): (Run, Doing),
    taken: Taken<'_>,
    shell: &mut Shell,
    (link, dirs): (Option<&Link>, Dirs<'_>),
) -> Vec<Adopted> {
    let stop = &slot.definition.spec.stop;
    let launch = run;
    let run = run.id;
    let to_tree = |signal| Adopted::Effect(Effect::Signal { run, signal, whom: Whom::Tree });
    let to_survivors = |signal| Adopted::Effect(Effect::Signal { run, signal, whom: Whom::Survivors });
    let main = if stop.treekill { Whom::Main } else { Whom::OnlyMain };
    let ask = slot.request_to_end(launch);
    let Some((place, born, kept, sent)) = taken else { return vec![unborn(slot, launch, doing)] };
    let end = match doing {
        Doing::Leaving(Stage::Survivors(_) | Stage::KilledSurvivors(_), _) => End::Told,
        Doing::Launching
        | Doing::Running
        | Doing::Parked
        | Doing::Leaving(Stage::Unspawned | Stage::Draining | Stage::Asked | Stage::Killed, _) => End::NotYet,
    };
    let found = match find(place, born, kept, (end, sent), dirs) {
        Ok(found) => found,
        Err(error) => {
            warn!(run = run.0, pid = born.pid, "cannot take over the process: {error}");
            let why = format!("the process {} could not be taken over: {error}", born.pid);
            return vec![Adopted::Event(Event::SpawnFailed { run, why, lasting: Lasting::Transient })];
        }
    };
    info!(slot = slot.id.0, run = run.0, pid = born.pid, "took over");
    if let Some(link) = link {
        link.watch(&[(born.pid, born.at)]);
    }
    shell.adopt(found);
    let steer = slot.standing(run).map(|standing| Adopted::Effect(Effect::Steer { run, standing }));
    // Everybody has a whole period, whatever he has said to an earlier daemon.
    let guard = slot.guarded(run).map(|limit| Adopted::Effect(Effect::Guard { run, limit }));
    let mut adopted: Vec<Adopted> = steer.into_iter().chain(guard).collect();
    adopted.extend(match doing {
        Doing::Launching | Doing::Leaving(Stage::Unspawned, _) => Some(Adopted::Event(Event::Spawned { run })),
        Doing::Leaving(Stage::Draining, until) => Some(Adopted::Effect(Effect::Drain { run, until })),
        Doing::Leaving(Stage::Asked, _) if !sent.0 => {
            shell.will_ask(run);
            Some(Adopted::Effect(ask))
        }
        Doing::Leaving(Stage::Survivors(_), _) if !sent.1 => Some(to_survivors(stop.signal)),
        Doing::Leaving(Stage::Killed, _) if !stop.treekill => {
            Some(Adopted::Effect(Effect::Signal { run, signal: Signal::KILL, whom: main }))
        }
        Doing::Leaving(Stage::Killed | Stage::KilledSurvivors(_), _) => Some(to_tree(Signal::KILL)),
        Doing::Leaving(Stage::Asked | Stage::Survivors(_), _) | Doing::Running | Doing::Parked => None,
    });
    adopted
}

/// A process that was to be made, and was not.
fn unborn(slot: &Slot, launch: Run, doing: Doing) -> Adopted {
    let run = launch.id;
    match doing {
        Doing::Launching => {
            let resolve = if launch.asked { Resolve::Fresh } else { Resolve::Keep };
            let replaces = slot.replaced_by(run);
            let (slot, instance, definition) = (slot.id, slot.instance, Arc::clone(&slot.definition));
            Adopted::Effect(Effect::Spawn { run, slot, instance, definition, resolve, replaces })
        }
        Doing::Running | Doing::Parked | Doing::Leaving(..) => {
            let why = "the daemon ended before the process was made".to_owned();
            Adopted::Event(Event::SpawnFailed { run, why, lasting: Lasting::Transient })
        }
    }
}

fn find(
    place: &Arc<Place>,
    born: BornRecord,
    kept: Kept,
    (end, sent): (End, (bool, bool)),
    dirs: Dirs<'_>,
) -> io::Result<Found> {
    let BornRecord { run, pid, at, boot } = born;
    let moment = Moment { monotonic: at, boot };
    let process = match Process::adopt(pid, moment, kept.pidfd.map(|(_, fd)| fd))? {
        Some(process) => process,
        None => Process::gone(pid, moment)?,
    };
    let agent = kept.agent.map(|socket| (UnixListener::from(socket), dirs.agent.join(run.to_string())));
    let ends = Ends {
        notify: kept.notify.map(|socket| (UnixDatagram::from(socket), dirs.notify.join(run.to_string()))),
        channel: kept.channel,
        // Agents connect again, whoever listens there; also when the guardian was lost.
        agent: agent.or_else(|| place.agent.then(|| node::listen(dirs.agent, place.run).ok()).flatten()),
    };
    if end == End::NotYet
        && let Some(path) = &place.pid_file
        && let Err(error) = Draft::new(path, place.run).and_then(|draft| draft.publish(pid))
    {
        warn!(run, "cannot write {}: {error}", path.display());
    }
    let (place, process) = (Arc::clone(place), Arc::new(process));
    Ok(Found { place, process, born: moment, stdin: kept.stdin, ends, end, sent })
}

fn source(place: &Place, stream: Stream, pipe: OwnedFd) -> Source {
    let path = match stream {
        Stream::Out => place.out_file.clone(),
        Stream::Error => place.error_file.clone(),
    };
    let open = |path: PathBuf| match open_log(&path) {
        Ok(file) => LogOut { path, file: Some(file) },
        Err(error) => {
            warn!("cannot open {}: {error}", path.display());
            LogOut { path, file: None }
        }
    };
    let files = path.into_iter().chain(place.combined_file.clone()).map(open).collect();
    Source { run: place.run, stream, pipe: File::from(pipe), files, style: Arc::clone(&place.style) }
}

/// By run. What has no meaning for this version is let go.
fn sorted(kept: Vec<(String, OwnedFd)>, link: Option<&Link>) -> BTreeMap<RunId, Kept> {
    let mut runs: BTreeMap<RunId, Kept> = BTreeMap::new();
    for (name, fd) in kept {
        let parts: Vec<&str> = name.split('/').collect();
        let (run, part, pid) = match parts.as_slice() {
            ["run", run, part, rest @ ..] => {
                (run.parse().map(RunId), *part, rest.first().and_then(|pid| pid.parse().ok()))
            }
            [keep::WANTED] | ["log", ..] => continue,
            _ => {
                forget(link, &name);
                continue;
            }
        };
        let Ok(run) = run else {
            forget(link, &name);
            continue;
        };
        let kept = runs.entry(run).or_default();
        match part {
            "pid" => match pid {
                Some(pid) => kept.pidfd = Some((pid, fd)),
                None => forget(link, &name),
            },
            "in" => kept.stdin = Some(fd),
            "notify" => kept.notify = Some(fd),
            "channel" => kept.channel = Some(fd),
            "agent" => kept.agent = Some(fd),
            "out" => kept.pipes.push((Stream::Out, fd)),
            "error" => kept.pipes.push((Stream::Error, fd)),
            _ => forget(link, &name),
        }
    }
    runs
}

fn forget(link: Option<&Link>, name: &str) {
    if let Some(link) = link {
        link.forget(&[name]);
    }
}
