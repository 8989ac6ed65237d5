//! What there is to write after a turn of the core, and what a journal that is written anew has to hold.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::daemon::journal::file::Journal;
use crate::daemon::journal::{asked, state};
use crate::proto::{AppRecord, AskedRecord, BatchRecord, Event, Head, JOURNAL_VERSION, Next, Record};
use crate::spec::Env;
use crate::supervisor::{AppId, Counters, Definition, RequestId, RunId, Slot, SlotId, Supervisor};

/// A journal is written anew when it has grown by this much, in bytes, and to twice what it was.
const GROWTH: u64 = 1 << 20;

/// One turn of the engine, as far as its successor is concerned.
pub(crate) struct Turn<'a> {
    pub(crate) events: Vec<Arc<Event>>,
    /// The client's name for the request that was taken in, if it has one.
    pub(crate) asked: Option<(&'a str, RequestId)>,
    pub(crate) pid: &'a dyn Fn(RunId) -> u32,
    /// The clients' names for requests.
    pub(crate) key: &'a dyn Fn(RequestId) -> Option<&'a str>,
}

/// What a whole journal holds beside the core.
pub(crate) struct Whole<'a> {
    /// Launches and births of runs that matter, signals that were sent, last words.
    pub(crate) runs: Vec<Record>,
    pub(crate) events: Vec<Arc<Event>>,
    /// Answers that a client may ask for again.
    pub(crate) asked: Vec<AskedRecord>,
    pub(crate) batches: Vec<BatchRecord>,
    pub(crate) pid: &'a dyn Fn(RunId) -> u32,
}

/// What of the core is in the journal.
#[derive(Debug, Default)]
struct Known {
    environments: Vec<Arc<Env>>,
    apps: HashMap<AppId, Arc<Definition>>,
    /// The last exit of each slot.
    exits: HashMap<SlotId, RunId>,
    counters: Counters,
    batches: Vec<BatchRecord>,
}

/// Who writes the journal.
#[derive(Debug)]
pub(crate) struct Writer {
    journal: Journal,
    boot: String,
    epoch: u64,
    known: Known,
    /// Its size when it was written whole.
    whole: u64,
}

impl Writer {
    /// Writes a journal for what is, in the place of a predecessor's.
    ///
    /// # Errors
    ///
    /// See [`Journal::begin`].
    pub(crate) fn begin(
        path: &Path,
        (boot, epoch): (String, u64),
        core: &Supervisor,
        whole: Whole<'_>,
    ) -> io::Result<Writer> {
        let mut known = Known::default();
        let journal = Journal::begin(path, &known.all((&boot, epoch), core, whole))?;
        let whole = journal.written();
        Ok(Writer { journal, boot, epoch, known, whole })
    }

    /// Goes on with a predecessor's journal, which is as good as it was: the disk may be full.
    ///
    /// # Errors
    ///
    /// What opening the file says.
    pub(crate) fn go_on(path: &Path, (boot, epoch): (String, u64), why: &io::Error) -> io::Result<Writer> {
        let journal = Journal::go_on(path, why)?;
        let whole = journal.written();
        Ok(Writer { journal, boot, epoch, known: Known::default(), whole })
    }

    /// The file, for those who make processes.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Writes what a turn has changed, before anything is done about it.
    pub(crate) fn turn(&mut self, core: &mut Supervisor, turn: Turn<'_>) {
        let mut records = Vec::new();
        for id in core.take_touched() {
            match core.slot(id) {
                Some(slot) => self.known.slot(slot, turn.pid, &mut records),
                None => {
                    self.known.exits.remove(&id);
                    records.push(Record::Removed { slot: id.0 });
                }
            }
        }
        if self.known.counters != core.counters() {
            self.known.counters = core.counters();
            records.push(next(self.known.counters));
        }
        let batches: Vec<BatchRecord> =
            core.batches().iter().map(|one| asked::batch((turn.key)(one.request), one)).collect();
        if batches != self.known.batches {
            // What they wait for changes with every slot that is asked, the last one included: then the batch is no more.
            let of_batches =
                |key: &str| self.known.batches.iter().chain(&batches).any(|batch| batch.key.as_deref() == Some(key));
            for waiter in core.waiters() {
                if let Some(key) = (turn.key)(waiter.request).filter(|key| of_batches(key)) {
                    records.push(Record::Asked(Box::new(asked::waiting(key, waiter))));
                }
            }
            self.known.batches.clone_from(&batches);
            records.push(Record::Batches(batches));
        }
        if let Some((key, request)) = turn.asked {
            let waiting = core.waiter(request).map(|waiter| asked::waiting(key, waiter));
            records.extend(waiting.map(|asked| Record::Asked(Box::new(asked))));
        }
        records.extend(turn.events.into_iter().map(Record::Event));
        self.journal.append(&records);
    }

    /// Whether it is time to write it anew: it has grown, or could not be written.
    pub(crate) fn is_due(&self) -> bool {
        self.journal.written() > self.whole.saturating_mul(2).saturating_add(GROWTH)
    }

    /// Writes it anew.
    pub(crate) fn renew(&mut self, core: &Supervisor, whole: Whole<'_>) {
        let mut known = Known::default();
        if self.journal.renew(&known.all((&self.boot, self.epoch), core, whole)) {
            self.whole = self.journal.written();
            self.known = known;
        }
    }
}

impl Known {
    fn all(&mut self, (boot, epoch): (&str, u64), core: &Supervisor, whole: Whole<'_>) -> Vec<Record> {
        let version = JOURNAL_VERSION;
        let writer = env!("CARGO_PKG_VERSION").to_owned();
        let head = Head { version, boot: boot.to_owned(), writer, epoch };
        self.counters = core.counters();
        let mut records = vec![Record::Head(head), next(self.counters)];
        for slot in core.all_slots() {
            self.slot(slot, whole.pid, &mut records);
        }
        records.extend(whole.runs);
        records.extend(whole.asked.into_iter().map(|asked| Record::Asked(Box::new(asked))));
        records.push(Record::Batches(whole.batches.clone()));
        self.batches = whole.batches;
        records.extend(whole.events.into_iter().map(Record::Event));
        records
    }

    /// A slot, with what is new of its app and its exits.
    fn slot(&mut self, slot: &Slot, pid: &dyn Fn(RunId) -> u32, records: &mut Vec<Record>) {
        let definition = &slot.definition;
        if !self.apps.get(&slot.app).is_some_and(|known| Arc::ptr_eq(known, definition)) {
            let Definition { spec, inherited, stamp, declared } = &**definition;
            let environment = self.environment(inherited, records);
            records.push(Record::App(Box::new(AppRecord {
                app: slot.app.0,
                spec: spec.clone(),
                environment,
                stamp: *stamp,
                declared: *declared,
            })));
            self.apps.insert(slot.app, Arc::clone(definition));
        }
        records.push(Record::Slot(Box::new(state::slot(slot))));
        let last = self.exits.get(&slot.id).copied();
        let new: Vec<_> = slot.history.iter().take_while(|exit| Some(exit.run) != last).collect();
        records.extend(new.iter().rev().map(|exit| Record::Exit(state::exit(slot.id, exit, pid(exit.run)))));
        if let Some(newest) = slot.history.front() {
            self.exits.insert(slot.id, newest.run);
        }
    }

    fn environment(&mut self, env: &Arc<Env>, records: &mut Vec<Record>) -> usize {
        // Apps of one request share one allocation, so the comparison is nearly always of pointers.
        let same = |known: &Arc<Env>| Arc::ptr_eq(known, env) || known == env;
        self.environments.iter().position(same).unwrap_or_else(|| {
            let index = self.environments.len();
            self.environments.push(Arc::clone(env));
            records.push(Record::Environment { index, env: Env::clone(env) });
            index
        })
    }
}

fn next(counters: Counters) -> Record {
    let Counters { app, slot, run } = counters;
    Record::Next(Next { app, slot, run })
}
