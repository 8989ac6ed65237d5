//! The history of all instances: what was measured each second for a quarter of an hour, and each minute for a day.
//!
//! `series` says what is written; the files (`track.rs`) are in memory, kept by the guardian: the next daemon goes on with
//! them.

mod answer;
mod track;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

use crate::daemon::clock::Clock;
use crate::daemon::history::track::Track;
use crate::daemon::link::Link;
use crate::series::{Curves, Key, Recorder, Series, Span, Step};

/// The names under which the guardian keeps the files.
const NAMES: [(&str, Step); 2] = [("history/seconds", Step::Second), ("history/minutes", Step::Minute)];

/// What every holder shares. The sampler writes, connections read.
#[derive(Clone, Debug)]
pub(super) struct History {
    inner: Arc<Mutex<Inner>>,
    clock: Clock,
}

#[derive(Debug)]
struct Inner {
    recorder: Recorder,
    seconds: Track,
    minutes: Track,
    /// What others than the sampler have measured, by slot and series: the latest value, until it is taken back.
    noted: Vec<(Key, f32)>,
    /// Whether it was told that it cannot be written.
    is_broken: bool,
}

/// Whether this name is that of a history with the guardian.
pub(super) fn is_ours(name: &str) -> bool {
    NAMES.iter().any(|(known, _)| *known == name)
}

impl History {
    /// That of a predecessor, as far as it has left one.
    ///
    /// # Errors
    ///
    /// EMFILE, ENOMEM.
    pub(super) fn begin(left: Vec<(String, OwnedFd)>, link: Option<&Link>, clock: Clock) -> io::Result<History> {
        let mut tracks = Vec::new();
        for (name, file) in left {
            let step = NAMES.iter().find(|(known, _)| *known == name).map_or(Step::Second, |(_, step)| *step);
            match Track::adopt(file, step) {
                Ok(track) => tracks.push((step, track)),
                Err(error) => warn!("what was measured before is lost: {name}: {error}"),
            }
        }
        let mut take = |step| match tracks.iter().position(|(known, _)| *known == step) {
            Some(at) => Ok(tracks.swap_remove(at).1),
            None => Track::new(step),
        };
        let (seconds, minutes) = (take(Step::Second)?, take(Step::Minute)?);
        let recorder = Recorder::recall(&seconds.since(0)?, &minutes.since(0)?);
        if let Some(link) = link {
            link.put(&[(NAMES[0].0, seconds.as_fd()), (NAMES[1].0, minutes.as_fd())]);
        }
        let inner = Inner { recorder, seconds, minutes, noted: Vec::new(), is_broken: false };
        Ok(History { inner: Arc::new(Mutex::new(inner)), clock })
    }

    /// What a guardian would hold of it.
    pub(super) fn leave(&self) -> Vec<(String, OwnedFd)> {
        let inner = self.lock();
        let files = [inner.seconds.as_fd().try_clone_to_owned(), inner.minutes.as_fd().try_clone_to_owned()];
        NAMES.iter().zip(files).filter_map(|((name, _), file)| Some(((*name).to_owned(), file.ok()?))).collect()
    }

    /// Notes the latest value of a series that the sampler does not measure itself: it is recorded each second from now on,
    /// while the slot runs. None takes it back.
    #[expect(clippy::cast_possible_truncation, reason = "what is kept has fewer digits than this")]
    pub(super) fn note(&self, slot: u32, series: Series, value: Option<f64>) {
        let Some(key) = Key::new(slot, series) else { return };
        let noted = &mut self.lock().noted;
        match (noted.binary_search_by_key(&key, |(key, _)| *key), value) {
            (Ok(at), Some(value)) => noted[at].1 = value as f32,
            (Ok(at), None) => drop(noted.remove(at)),
            (Err(at), Some(value)) => noted.insert(at, (key, value as f32)),
            (Err(_), None) => {}
        }
    }

    /// What was measured now: CPU in percent and memory in bytes of each slot that runs, by slot.
    pub(super) fn record(&self, measured: &[(u32, f64, u64)]) {
        let second = u32::try_from(self.clock.epoch_millis(self.clock.now()) / 1000).unwrap_or(u32::MAX);
        let mut inner = self.lock();
        let Inner { recorder, seconds, minutes, noted, is_broken } = &mut *inner;
        #[expect(clippy::cast_precision_loss, reason = "what is kept has fewer digits than this")]
        let own = measured.iter().flat_map(|(slot, cpu, memory)| {
            [Key::new(*slot, Series::Cpu).zip(Some(*cpu)), Key::new(*slot, Series::Memory).zip(Some(*memory as f64))]
        });
        let runs = |slot: u32| measured.binary_search_by_key(&slot, |(slot, ..)| *slot).is_ok();
        let others = noted.iter().filter(|(key, _)| runs(key.slot())).map(|(key, value)| (*key, f64::from(*value)));
        for recorded in recorder.record(second, own.flatten().chain(others)) {
            let track = match recorded.step {
                Step::Second => &mut *seconds,
                Step::Minute => &mut *minutes,
            };
            match track.append(&recorded) {
                Ok(()) => *is_broken = false,
                Err(error) if !std::mem::replace(is_broken, true) => warn!("cannot keep what was measured: {error}"),
                Err(_) => {}
            }
        }
    }

    /// A slot was deleted.
    pub(super) fn forget(&self, slot: u32) {
        let mut inner = self.lock();
        inner.recorder.forget(slot);
        inner.noted.retain(|(key, _)| key.slot() != slot);
    }

    /// What was measured of these slots since a second of the epoch.
    ///
    /// # Errors
    ///
    /// ENOMEM.
    pub(super) fn read(&self, slots: &BTreeSet<u32>, series: &[Series], step: Step, since: u32) -> io::Result<Curves> {
        let from = since / step.seconds();
        let bytes = {
            let inner = self.lock();
            match step {
                Step::Second => inner.seconds.since(from)?,
                Step::Minute => inner.minutes.since(from)?,
            }
        };
        let is_wanted = |key: Key| {
            slots.contains(&key.slot())
                && key.series().is_some_and(|named| series.is_empty() || series.contains(&named))
        };
        Ok(Curves::read(&bytes, Span { from, step }, is_wanted))
    }

    /// How long until the middle of the next second that has one ahead.
    pub(super) fn until_half(&self) -> Duration {
        let passed = self.clock.epoch_millis(self.clock.now()) % 1000;
        Duration::from_millis((1500 - passed) % 1000)
    }

    /// Now, in seconds of the epoch.
    pub(super) fn now(&self) -> u32 {
        u32::try_from(self.clock.epoch_millis(self.clock.now()) / 1000).unwrap_or(u32::MAX)
    }

    /// A panic elsewhere cannot leave it half written: a torn frame is cut off by who reads it.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_shows_what_its_predecessor_measured_and_what_was_noted_beside_it() {
        let clock = Clock::start(None);
        let history = History::begin(Vec::new(), None, clock).unwrap();
        history.note(3, Series::Connections, Some(12.0));
        history.note(4, Series::Connections, Some(1.0));
        history.record(&[(3, 25.0, 4096)]);
        let successor = History::begin(history.leave(), None, clock).unwrap();
        let since = history.now() - 5;
        let curves = successor.read(&BTreeSet::from([3, 4]), &[], Step::Second, since).unwrap();
        let last = |slot, series| curves.of(Key::new(slot, series).unwrap()).and_then(|values| *values.last().unwrap());
        assert_eq!(last(3, Series::Cpu), Some(25.0));
        assert_eq!(last(3, Series::Memory), Some(4096.0));
        assert_eq!(last(3, Series::Connections), Some(12.0));
        assert_eq!(last(4, Series::Connections), None);
        history.note(3, Series::Connections, None);
        assert_eq!(history.lock().noted.len(), 1);
    }
}
