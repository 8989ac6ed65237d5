//! From measurements to frames: what has changed since the second before, and each minute what it was like.

use std::collections::BTreeMap;

use crate::series::curves::Reading;
use crate::series::frame::{Frames, Writer};
use crate::series::{Code, Key, Series, Step};

/// Every how manieth frame has all values.
const WHOLE_EVERY: u32 = 60;

/// What was written last of every series, and the minute so far.
#[derive(Debug, Default)]
pub struct Recorder {
    entries: BTreeMap<Key, Entry>,
    seconds: Cadence,
    minutes: Cadence,
}

/// One frame to be written.
#[derive(Debug, PartialEq, Eq)]
pub struct Recorded {
    /// What it is of.
    pub step: Step,
    /// When, in steps of the epoch.
    pub time: u32,
    /// Whether reading can begin here.
    pub is_whole: bool,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    second: Code,
    minute: Code,
    /// Of the values of this minute, in units.
    sum: f32,
    highest: f32,
    count: u16,
    /// Whether the frames of seconds, and those of minutes, are still to tell that the slot was deleted.
    forget: (bool, bool),
}

#[derive(Debug, Default)]
struct Cadence {
    /// The last frame; none before the first one.
    time: Option<u32>,
    /// How many frames there were since one with all values.
    since_whole: u32,
}

impl Recorder {
    /// One that goes on where another has ended, from the frames that it has left.
    pub fn recall(seconds: &[u8], minutes: &[u8]) -> Recorder {
        let mut recorder = Recorder::default();
        let mut reading = Reading::default();
        for frame in Frames::new(minutes) {
            reading.take(&frame);
            recorder.minutes.time = Some(frame.time);
        }
        for (key, code) in reading.codes() {
            recorder.entry(key).minute = code;
        }
        let mut reading = Reading::default();
        for frame in Frames::new(seconds) {
            reading.take(&frame);
            recorder.turn_to(frame.time);
            recorder.seconds.time = Some(frame.time);
            for (key, code) in reading.codes() {
                recorder.entry(key).fold(code);
            }
        }
        for (key, code) in reading.codes() {
            recorder.entry(key).second = code;
        }
        // The next frames have all values: what was read may not be what was meant.
        (recorder.seconds.since_whole, recorder.minutes.since_whole) = (WHOLE_EVERY, WHOLE_EVERY);
        recorder
    }

    /// What was measured in this second of the epoch; a series without a value has none. A second that was recorded
    /// already is passed over.
    pub fn record(&mut self, second: u32, values: impl Iterator<Item = (Key, f64)>) -> Vec<Recorded> {
        if self.seconds.time == Some(second) {
            return Vec::new();
        }
        let mut recorded = Vec::new();
        let minute = second / Step::Minute.seconds();
        // The clock was set back: what a reader knows counts no more.
        if self.seconds.time.is_some_and(|last| second < last) {
            (self.seconds.since_whole, self.minutes.since_whole) = (WHOLE_EVERY, WHOLE_EVERY);
        }
        if self.seconds.time.is_some_and(|last| last / Step::Minute.seconds() != minute) {
            recorded.extend(self.end_minute());
        }
        let mut codes = Vec::new();
        for (key, value) in values {
            let unit = key.series().map_or(1.0, Series::unit);
            self.entry(key);
            codes.push((key, Code::of(value / unit)));
        }
        codes.sort_unstable_by_key(|(key, _)| *key);
        recorded.push(self.end_second(second, &codes));
        recorded
    }

    /// A slot was deleted: its number may be given to another one.
    pub fn forget(&mut self, slot: u32) {
        for (_, entry) in self.of_slot(slot) {
            (entry.forget, entry.count) = ((true, true), 0);
        }
    }

    fn end_second(&mut self, second: u32, codes: &[(Key, Code)]) -> Recorded {
        let is_whole = self.seconds.turn(second);
        let mut writer = Writer::new(second, is_whole);
        let mut codes = codes.iter().peekable();
        for (key, entry) in &mut self.entries {
            let mut code = Code::NONE;
            while let Some((_, measured)) = codes.next_if(|(measured, _)| measured <= key) {
                code = *measured;
            }
            if std::mem::take(&mut entry.forget.0) {
                code = Code::FORGOTTEN;
            } else if code == Code::NONE && entry.second == Code::FORGOTTEN {
                continue;
            }
            if is_whole || code != entry.second {
                writer.push(*key, if is_whole { Code(0) } else { entry.second.base() }, code);
            }
            entry.second = code;
            entry.fold(code);
        }
        // Told in both; who comes back is new.
        self.entries.retain(|_, entry| (entry.second, entry.minute) != (Code::FORGOTTEN, Code::FORGOTTEN));
        Recorded { step: Step::Second, time: second, is_whole, bytes: writer.finish() }
    }

    /// The minute that the last second was in is over.
    fn end_minute(&mut self) -> Option<Recorded> {
        let minute = self.seconds.time? / Step::Minute.seconds();
        if self.minutes.time == Some(minute) {
            return None;
        }
        let is_whole = self.minutes.turn(minute);
        let mut writer = Writer::new(minute, is_whole);
        for (key, entry) in &mut self.entries {
            let mut code = entry.minute(key.series());
            if std::mem::take(&mut entry.forget.1) {
                code = Code::FORGOTTEN;
            } else if code == Code::NONE && entry.minute == Code::FORGOTTEN {
                continue;
            }
            if is_whole || code != entry.minute {
                writer.push(*key, if is_whole { Code(0) } else { entry.minute.base() }, code);
            }
            (entry.minute, entry.count) = (code, 0);
        }
        Some(Recorded { step: Step::Minute, time: minute, is_whole, bytes: writer.finish() })
    }

    /// While recalling: a minute that is over is in the other frames.
    fn turn_to(&mut self, second: u32) {
        let minute = |second: u32| second / Step::Minute.seconds();
        if self.seconds.time.is_some_and(|last| minute(last) != minute(second)) {
            self.entries.values_mut().for_each(|entry| entry.count = 0);
        }
    }

    fn entry(&mut self, key: Key) -> &mut Entry {
        self.entries.entry(key).or_insert(Entry {
            second: Code(0),
            minute: Code(0),
            sum: 0.0,
            highest: 0.0,
            count: 0,
            forget: (false, false),
        })
    }

    fn of_slot(&mut self, slot: u32) -> impl Iterator<Item = (&Key, &mut Entry)> {
        self.entries.iter_mut().filter(move |(key, _)| key.slot() == slot)
    }
}

impl Entry {
    #[expect(clippy::cast_possible_truncation, reason = "a mean needs no more digits")]
    fn fold(&mut self, code: Code) {
        let Some(value) = code.value().map(|value| value as f32) else { return };
        if self.count == 0 {
            (self.sum, self.highest) = (0.0, 0.0);
        }
        self.sum += value;
        self.highest = self.highest.max(value);
        self.count = self.count.saturating_add(1);
    }

    /// What the minute was like.
    fn minute(&self, series: Option<Series>) -> Code {
        if self.count == 0 {
            return Code::NONE;
        }
        let mean = f64::from(self.sum) / f64::from(self.count);
        Code::of(if series.is_some_and(Series::is_averaged) { mean } else { f64::from(self.highest) })
    }
}

impl Cadence {
    /// One frame more; whether it has all values.
    fn turn(&mut self, time: u32) -> bool {
        let is_whole = self.time.is_none() || self.since_whole >= WHOLE_EVERY;
        self.since_whole = if is_whole { 1 } else { self.since_whole + 1 };
        self.time = Some(time);
        is_whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{Curves, Span};

    /// What was written, as it lies in the files.
    #[derive(Default)]
    struct Written {
        seconds: Vec<u8>,
        minutes: Vec<u8>,
    }

    impl Written {
        fn record(&mut self, recorder: &mut Recorder, second: u32, values: &[(u32, Series, f64)]) -> usize {
            let values = values.iter().map(|(slot, series, value)| (Key::new(*slot, *series).unwrap(), *value));
            let mut length = 0;
            for recorded in recorder.record(second, values) {
                length += recorded.bytes.len();
                match recorded.step {
                    Step::Second => self.seconds.extend(recorded.bytes),
                    Step::Minute => self.minutes.extend(recorded.bytes),
                }
            }
            length
        }

        fn curve(&self, step: Step, slot: u32, series: Series) -> (u32, Vec<Option<f64>>) {
            let bytes = if step == Step::Second { &self.seconds } else { &self.minutes };
            let curves = Curves::read(bytes, Span { from: 0, step }, |key| key.slot() == slot);
            (curves.from, curves.of(Key::new(slot, series).unwrap()).unwrap_or_default())
        }
    }

    #[test]
    fn what_was_measured_is_read_again_and_what_was_not_is_none() {
        let (mut recorder, mut written) = (Recorder::default(), Written::default());
        written.record(&mut recorder, 1000, &[(1, Series::Cpu, 12.5), (1, Series::Memory, 2048.0)]);
        written.record(&mut recorder, 1001, &[(1, Series::Cpu, 12.5), (2, Series::Cpu, 1.0)]);
        written.record(&mut recorder, 1002, &[(2, Series::Cpu, 3.0)]);
        assert_eq!(written.curve(Step::Second, 1, Series::Cpu), (1000, vec![Some(12.5), Some(12.5), None]));
        assert_eq!(written.curve(Step::Second, 1, Series::Memory), (1000, vec![Some(2048.0), None, None]));
        assert_eq!(written.curve(Step::Second, 2, Series::Cpu), (1000, vec![None, Some(1.0), Some(3.0)]));
    }

    #[test]
    fn a_second_that_was_missed_is_filled_and_a_pause_is_not() {
        let (mut recorder, mut written) = (Recorder::default(), Written::default());
        for second in [10, 12, 20] {
            written.record(&mut recorder, second, &[(1, Series::Cpu, 1.0)]);
        }
        let (from, values) = written.curve(Step::Second, 1, Series::Cpu);
        let there: Vec<bool> = values.iter().map(Option::is_some).collect();
        assert_eq!(from, 10);
        assert_eq!(there, [true, true, true, false, false, false, false, false, false, false, true]);
    }

    #[test]
    fn a_minute_is_the_mean_of_cpu_and_the_highest_of_memory() {
        let (mut recorder, mut written) = (Recorder::default(), Written::default());
        for second in 0..121 {
            let cpu = if second % 2 == 0 { 10.0 } else { 20.0 };
            let values = [(1, Series::Cpu, cpu), (1, Series::Memory, f64::from(second) * 1024.0)];
            written.record(&mut recorder, 600 + second, &values);
        }
        assert_eq!(written.curve(Step::Minute, 1, Series::Cpu), (10, vec![Some(15.0), Some(15.0)]));
        let memory = vec![Some(59.0 * 1024.0), Some(119.0 * 1024.0)];
        assert_eq!(written.curve(Step::Minute, 1, Series::Memory), (10, memory));
    }

    #[test]
    fn what_was_deleted_is_not_told_of_who_gets_its_number() {
        let (mut recorder, mut written) = (Recorder::default(), Written::default());
        for second in 0..200 {
            written.record(&mut recorder, second, &[(1, Series::Cpu, 50.0), (2, Series::Cpu, 1.0)]);
        }
        recorder.forget(1);
        for second in 200..400 {
            let values = [(2, Series::Cpu, 1.0), (1, Series::Cpu, 7.0)];
            written.record(&mut recorder, second, if second < 300 { &values[..1] } else { &values });
        }
        let known = |step| {
            let (_, values) = written.curve(step, 1, Series::Cpu);
            let mut values: Vec<f64> = values.into_iter().flatten().collect();
            values.dedup();
            values
        };
        assert_eq!((known(Step::Second), known(Step::Minute)), (vec![7.0], vec![7.0]));
        assert_eq!(written.curve(Step::Second, 2, Series::Cpu).1.len(), 400);
    }

    #[test]
    fn a_successor_goes_on_where_its_predecessor_was() {
        let (mut recorder, mut written) = (Recorder::default(), Written::default());
        let value =
            |second: u32| [(1, Series::Cpu, f64::from(second % 7)), (1, Series::Memory, f64::from(second) * 1e6)];
        for second in 0..90 {
            written.record(&mut recorder, second, &value(second));
        }
        let mut successor = Recorder::recall(&written.seconds, &written.minutes);
        let mut twin = Written { seconds: written.seconds.clone(), minutes: written.minutes.clone() };
        for second in 90..300 {
            written.record(&mut recorder, second, &value(second));
            twin.record(&mut successor, second, &value(second));
        }
        for step in [Step::Second, Step::Minute] {
            for series in [Series::Cpu, Series::Memory] {
                assert_eq!(twin.curve(step, 1, series), written.curve(step, 1, series));
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let (mut recorder, mut written) = (Recorder::default(), Written::default());
        for second in (5000..5010).chain(100..103) {
            written.record(&mut recorder, second, &[(1, Series::Cpu, 4.0)]);
        }
        assert_eq!(written.curve(Step::Second, 1, Series::Cpu), (100, vec![Some(4.0); 3]));
    }

    #[test]
    fn instances_at_rest_cost_nothing() {
        let (mut recorder, mut written) = (Recorder::default(), Written::default());
        let values: Vec<_> =
            (0..1000).flat_map(|slot| [(slot, Series::Cpu, 0.0), (slot, Series::Memory, 2e6)]).collect();
        let lengths: Vec<usize> = (0..60).map(|second| written.record(&mut recorder, second, &values)).collect();
        assert!(lengths[0] < 8_000, "{}", lengths[0]);
        assert!(lengths[1..].iter().all(|length| *length < 16), "{lengths:?}");
    }
}
