//! The sampler: CPU and memory of every run's tree each second, for readers and for the history.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing::debug;

use crate::daemon::history::History;
use crate::daemon::looker::scales::Scales;
use crate::daemon::looker::{Others, lock};
use crate::daemon::ooms::Ooms;
use crate::series::Series;
use crate::supervisor::{RunId, SlotId};
use crate::sys::meter::{Meter, Used};
use crate::sys::process::Process;

/// How often trees are sampled while there are any.
const EVERY: Duration = Duration::from_secs(1);

/// The shortest time of which a share of CPU is told, once one was told.
const SHORTEST: Duration = Duration::from_millis(500);

/// CPU and memory of one run's tree.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::daemon) struct Sample {
    /// Percent of one core since the last sample.
    pub(in crate::daemon) cpu: f32,
    /// Resident bytes.
    pub(in crate::daemon) memory: u64,
}

/// The last samples, by run.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Samples(Vec<(RunId, Sample)>);

/// See the module.
pub(super) struct Sampler {
    meter: Meter,
    /// By run.
    runs: Vec<Watched>,
    samples: Arc<Mutex<Samples>>,
    history: History,
    ooms: Ooms,
    scales: Scales,
    others: Others,
    /// What the history was told of besides.
    noted: BTreeMap<(u32, Series), f64>,
    /// When the next regular sample is due; none while nothing runs.
    due: Option<Instant>,
}

struct Watched {
    run: RunId,
    slot: SlotId,
    process: Arc<Process>,
    /// When the time began that `spent` is of.
    since: Instant,
    spent: Duration,
    /// The percentage of the last sample that was long enough; none before the first one.
    cpu: Option<f32>,
}

impl Samples {
    pub(in crate::daemon) fn of(&self, run: RunId) -> Option<Sample> {
        let at = self.0.binary_search_by_key(&run, |(known, _)| *known).ok()?;
        self.0.get(at).map(|(_, sample)| *sample)
    }
}

impl Sampler {
    pub(super) fn new(
        samples: Arc<Mutex<Samples>>,
        (history, ooms): (History, Ooms),
        others: Others,
        scales: Scales,
    ) -> Sampler {
        Sampler {
            meter: Meter::default(),
            runs: Vec::new(),
            samples,
            history,
            ooms,
            others,
            scales,
            noted: BTreeMap::new(),
            due: None,
        }
    }

    pub(super) fn watch(&mut self, run: RunId, slot: SlotId, process: Arc<Process>) {
        let since = Instant::now();
        self.meter.watch(run.0, Arc::clone(&process));
        let watched = Watched { run, slot, process, since, spent: Duration::ZERO, cpu: None };
        let at = self.runs.partition_point(|known| known.run < run);
        self.runs.insert(at, watched);
        // In the middle of seconds, so that every second has one sample although none comes to the millisecond. The first
        // one comes when starts are over.
        self.due.get_or_insert_with(|| since + self.history.until_half() + EVERY);
    }

    pub(super) fn forget(&mut self, run: RunId) {
        self.meter.forget(run.0);
        self.scales.forget(run);
        self.runs.retain(|known| known.run != run);
        lock(&self.samples).0.retain(|(known, _)| *known != run);
        if self.runs.is_empty() && self.due.take().is_some() {
            self.history.record(&[]);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn process(&self, run: RunId) -> Option<&Process> {
        self.runs.iter().find(|known| known.run == run).map(|known| &*known.process)
    }

    /// How long nothing has to be done.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(now))
    }

    /// The regular sample, if it is due.
    pub(super) fn turn(&mut self, now: Instant) {
        let Some(due) = self.due.filter(|due| *due <= now) else { return };
        // One that was missed is not made up for.
        let late = now.duration_since(due);
        self.due = Some(due + EVERY * (1 + u32::try_from(late.as_millis() / EVERY.as_millis()).unwrap_or(0)));
        self.sample(now);
        self.note();
        self.record();
        self.weigh(now);
        self.ooms.look(self.runs.iter().map(|watched| (watched.run, &*watched.process)), now);
    }

    /// Tells of those that take more memory than they should.
    fn weigh(&mut self, now: Instant) {
        if !self.scales.are_needed() {
            return;
        }
        let samples = lock(&self.samples).clone();
        for (watched, (_, sample)) in self.runs.iter().zip(&samples.0) {
            let proportional = || self.meter.proportional(watched.run.0);
            self.scales.weigh((watched.run, watched.slot), sample.memory, proportional, now);
        }
    }

    /// Looks, now.
    pub(super) fn sample(&mut self, now: Instant) {
        if let Err(error) = self.meter.measure() {
            return debug!("cannot read /proc: {error}");
        }
        let mut measured = self.meter.used().peekable();
        let mut samples = lock(&self.samples);
        samples.0.clear();
        for watched in &mut self.runs {
            let used = measured.next_if(|(run, _)| *run == watched.run.0).map_or(Used::default(), |(_, used)| used);
            let sample = watched.take(used, now);
            samples.0.push((watched.run, sample));
        }
    }

    /// What others have measured, by slot: during a reload an instance has two runs.
    fn note(&mut self) {
        let mut noted: BTreeMap<(u32, Series), f64> = BTreeMap::new();
        for (run, series, value) in (self.others)() {
            let at = self.runs.binary_search_by_key(&run, |watched| watched.run);
            let Some(watched) = at.ok().and_then(|at| self.runs.get(at)) else { continue };
            let known = noted.entry((watched.slot.0, series)).or_default();
            *known = if series.is_sum() { *known + value } else { known.max(value) };
        }
        for ((slot, series), value) in &noted {
            self.history.note(*slot, *series, Some(*value));
        }
        // What is not measured any more has no value, and not its last one for ever.
        for (slot, series) in self.noted.keys().filter(|key| !noted.contains_key(key)) {
            self.history.note(*slot, *series, None);
        }
        self.noted = noted;
    }

    fn record(&self) {
        let mut slots: Vec<(u32, f64, u64)> = Vec::with_capacity(self.runs.len());
        {
            let samples = lock(&self.samples);
            slots.extend(
                self.runs
                    .iter()
                    .zip(&samples.0)
                    .map(|(watched, (_, sample))| (watched.slot.0, f64::from(sample.cpu), sample.memory)),
            );
        }
        slots.sort_unstable_by_key(|(slot, ..)| *slot);
        // During a reload an instance has two runs.
        slots.dedup_by(|next, first| {
            let is_same = next.0 == first.0;
            if is_same {
                (first.1, first.2) = (first.1 + next.1, first.2 + next.2);
            }
            is_same
        });
        self.history.record(&slots);
    }
}

impl Watched {
    fn take(&mut self, used: Used, now: Instant) -> Sample {
        self.spent += used.cpu;
        let passed = now.duration_since(self.since);
        let cpu = match self.cpu {
            Some(cpu) if passed < SHORTEST => cpu,
            Some(_) | None => {
                let cpu = if passed.is_zero() { 0.0 } else { self.spent.as_secs_f32() / passed.as_secs_f32() * 100.0 };
                (self.since, self.spent, self.cpu) = (now, Duration::ZERO, Some(cpu));
                cpu
            }
        };
        Sample { cpu, memory: used.memory }
    }
}
