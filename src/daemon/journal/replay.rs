//! Reading a journal: what a predecessor knew, put together from its records.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use crate::daemon::journal::state;
use crate::proto::{
    AppRecord, AskedRecord, BatchRecord, BornRecord, Event, ExitRecord, Head, JOURNAL_VERSION, LaunchRecord, Next,
    Record, SlotRecord,
};
use crate::spec::Env;
use crate::supervisor::{AppId, Counters, Definition, RunId, Slot};

/// The longest journal that is read, in bytes.
const LIMIT: u64 = 1 << 30;

/// The longest first line that is read, in bytes.
const HEAD: u64 = 4096;

/// How many past events are kept.
const EVENTS: usize = 1000;

/// How many exits a slot remembers.
const HISTORY: usize = 10;

/// What became of reading a journal.
#[derive(Debug)]
pub(crate) enum Read {
    /// There is none, or it is of another boot.
    Nothing,
    /// What it says.
    Past(Box<Past>),
    /// It is there and cannot be used.
    Unusable(String),
}

/// What a predecessor knew.
#[derive(Debug, Default)]
pub(crate) struct Past {
    pub(crate) counters: Counters,
    pub(crate) slots: Vec<Slot>,
    pub(crate) launches: HashMap<RunId, LaunchRecord>,
    pub(crate) born: HashMap<RunId, BornRecord>,
    /// Runs that were sent the signal to end; true: the rest of their tree.
    pub(crate) sent: HashSet<(RunId, bool)>,
    /// The numbers of ended runs, for showing.
    pub(crate) pids: HashMap<RunId, u32>,
    pub(crate) words: HashMap<RunId, Vec<String>>,
    pub(crate) events: VecDeque<Arc<Event>>,
    pub(crate) asked: Vec<AskedRecord>,
    pub(crate) batches: Vec<BatchRecord>,
    /// Records that could not be read. One, the last, is torn if the writer was killed on a full disk.
    pub(crate) torn: usize,
}

/// Reads the journal of this boot. A line that cannot be read is passed over: each tells of one thing alone.
pub(crate) fn read(path: &Path, boot: &str) -> Read {
    match try_read(path, boot) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Read::Nothing,
        Err(error) => Read::Unusable(format!("cannot read the journal {}: {error}", path.display())),
    }
}

/// What the writer of this journal took for the beginning of time, whatever boot it is of: who asks compares.
pub(crate) fn epoch(path: &Path) -> Option<u64> {
    let mut line = Vec::new();
    BufReader::new(File::open(path).ok()?.take(HEAD)).read_until(b'\n', &mut line).ok()?;
    match serde_json::from_slice(&line).ok()? {
        Record::Head(head) => Some(head.epoch),
        _ => None,
    }
}

fn try_read(path: &Path, boot: &str) -> io::Result<Read> {
    let mut lines = BufReader::new(File::open(path)?.take(LIMIT));
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line)?;
    let head = match serde_json::from_slice::<Record>(&line) {
        Ok(Record::Head(head)) => head,
        Ok(_) | Err(_) => return Ok(Read::Unusable(format!("{} is no journal of rsx", path.display()))),
    };
    let Head { version, boot: of, writer, epoch: _ } = head;
    if of != boot {
        return Ok(Read::Nothing);
    }
    if version > JOURNAL_VERSION {
        let why = format!("the journal {} is of version {version}, by rsx {writer}", path.display());
        return Ok(Read::Unusable(format!("{why}; this daemon reads up to {JOURNAL_VERSION}")));
    }
    let mut replay = Replay::default();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line == b"\n" {
            // It ends one that was torn.
            continue;
        }
        match serde_json::from_slice(&line) {
            Ok(record) => replay.take(record),
            Err(error) => {
                warn!("a record of the journal cannot be read: {error}");
                replay.past.torn += 1;
            }
        }
    }
    Ok(Read::Past(Box::new(replay.into_past())))
}

#[derive(Default)]
struct Replay {
    past: Past,
    environments: HashMap<usize, Arc<Env>>,
    apps: HashMap<AppId, Arc<Definition>>,
    slots: BTreeMap<u32, SlotRecord>,
    exits: HashMap<u32, VecDeque<ExitRecord>>,
    asked: BTreeMap<String, (usize, AskedRecord)>,
}

impl Replay {
    fn take(&mut self, record: Record) {
        let past = &mut self.past;
        match record {
            // Written once; a second one is a line of another journal, which says nothing here.
            Record::Head(_) => {}
            Record::Next(Next { app, slot, run }) => past.counters = Counters { app, slot, run },
            Record::Environment { index, env } => drop(self.environments.insert(index, Arc::new(env))),
            Record::App(app) => {
                let AppRecord { app, spec, environment, stamp, declared } = *app;
                let inherited = self.environments.get(&environment).cloned().unwrap_or_default();
                self.apps.insert(AppId(app), Arc::new(Definition { spec, inherited, stamp, declared }));
            }
            Record::Slot(slot) => drop(self.slots.insert(slot.slot, *slot)),
            Record::Exit(exit) => {
                past.pids.insert(RunId(exit.run), exit.pid);
                let exits = self.exits.entry(exit.slot).or_default();
                exits.push_front(exit);
                exits.truncate(HISTORY);
            }
            Record::Removed { slot } => {
                self.slots.remove(&slot);
                self.exits.remove(&slot);
            }
            Record::Launch(launch) => drop(past.launches.insert(RunId(launch.run), *launch)),
            Record::Born(born) => drop(past.born.insert(RunId(born.run), born)),
            Record::Unborn { run } => drop(past.born.remove(&RunId(run))),
            Record::Sent { run, survivors } => drop(past.sent.insert((RunId(run), survivors))),
            Record::Words { run, lines } => drop(past.words.insert(RunId(run), lines)),
            Record::Event(event) => {
                past.events.push_back(event);
                if past.events.len() > EVENTS {
                    past.events.pop_front();
                }
            }
            Record::Batches(batches) => past.batches = batches,
            Record::Asked(asked) => {
                let place = self.asked.len();
                self.asked.insert(asked.key.clone(), (place, *asked));
            }
        }
    }

    fn into_past(mut self) -> Past {
        let mut past = self.past;
        for (id, record) in self.slots {
            let Some(definition) = self.apps.get(&AppId(record.app)) else {
                warn!(slot = id, "the journal does not say what this slot is");
                past.torn += 1;
                continue;
            };
            let exits = self.exits.remove(&id).unwrap_or_default();
            let history = exits.iter().map(state::recalled_exit).collect();
            let counters = &mut past.counters;
            counters.app = counters.app.max(record.app);
            counters.slot = counters.slot.max(id + 1);
            counters.run = counters.run.max(record.last_run.unwrap_or(0));
            past.slots.push(state::recalled_slot(record, Arc::clone(definition), history));
        }
        let runs = past.launches.keys().chain(past.born.keys()).map(|run| run.0);
        past.counters.run = runs.max().unwrap_or(0).max(past.counters.run);
        let mut asked: Vec<_> = self.asked.into_values().collect();
        asked.sort_by_key(|(place, _)| *place);
        past.asked = asked.into_iter().map(|(_, record)| record).collect();
        past
    }
}
