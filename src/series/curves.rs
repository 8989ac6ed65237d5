//! Reading frames: the values of some series over time.

use std::collections::BTreeMap;

use crate::series::frame::moved;
use crate::series::{Code, Frame, Frames, Key, Series, Step};

/// A shorter gap between two frames, in steps, is one that was late, and not one at which nobody measured.
const LATE: u32 = 3;

/// What part of the past is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first moment, in steps of the epoch.
    pub from: u32,
    /// How far values are apart.
    pub step: Step,
}

/// Values of some series, all from the same moment on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// The moment of the first value, in steps of the epoch.
    pub from: u32,
    /// How many values each has.
    pub length: usize,
    codes: BTreeMap<Key, Vec<Code>>,
}

/// What frames have told so far.
#[derive(Debug, Default)]
pub(super) struct Reading {
    codes: BTreeMap<Key, Code>,
}

impl Reading {
    pub(super) fn take(&mut self, frame: &Frame<'_>) {
        self.take_of(frame, |_| true, |_| ());
    }

    /// What has a value, or had none.
    pub(super) fn codes(&self) -> impl Iterator<Item = (Key, Code)> {
        self.codes.iter().map(|(key, code)| (*key, *code))
    }

    fn take_of(&mut self, frame: &Frame<'_>, is_wanted: impl Fn(Key) -> bool, mut forget: impl FnMut(Key)) {
        if frame.is_whole {
            self.codes.clear();
        }
        for (key, difference) in frame.entries().filter(|(key, _)| is_wanted(*key)) {
            let before = self.codes.get(&key).copied().unwrap_or(Code(0));
            match moved(before, difference) {
                Code::FORGOTTEN => {
                    self.codes.remove(&key);
                    forget(key);
                }
                code => drop(self.codes.insert(key, code)),
            }
        }
    }
}

impl Curves {
    /// What these frames tell of the wanted series. The first frame has all values.
    pub fn read(bytes: &[u8], span: Span, is_wanted: impl Fn(Key) -> bool) -> Curves {
        let (mut curves, mut reading, mut last) = (Curves::default(), Reading::default(), None);
        for frame in Frames::new(bytes) {
            if last.is_some_and(|last| frame.time <= last) {
                // The clock was set back.
                curves = Curves::default();
                last = None;
            }
            if let Some(last) = last.filter(|_| curves.length > 0) {
                let gap = usize::try_from(frame.time - last - 1).unwrap_or(0);
                curves.pass(gap, |key| if frame.time - last <= LATE { reading.code(key) } else { Code::NONE });
            }
            reading.take_of(&frame, &is_wanted, |key| drop(curves.codes.remove(&key)));
            last = Some(frame.time);
            if frame.time < span.from {
                continue;
            }
            if curves.length == 0 {
                curves.from = frame.time;
            }
            for key in reading.codes.keys() {
                let length = curves.length;
                curves.codes.entry(*key).or_insert_with(|| vec![Code::NONE; length]);
            }
            curves.pass(1, |key| reading.code(key));
        }
        curves
    }

    /// The series that have values.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.codes.keys().copied()
    }

    /// The values of one, in its own unit.
    pub fn of(&self, key: Key) -> Option<Vec<Option<f64>>> {
        let unit = key.series().map_or(1.0, Series::unit);
        let codes = self.codes.get(&key)?;
        Some(codes.iter().map(|code| Some(code.value()? * unit)).collect())
    }

    fn pass(&mut self, steps: usize, code: impl Fn(Key) -> Code) {
        for (key, codes) in &mut self.codes {
            codes.resize(codes.len() + steps, code(*key));
        }
        self.length += steps;
    }
}

impl Reading {
    fn code(&self, key: Key) -> Code {
        self.codes.get(&key).copied().unwrap_or(Code::NONE)
    }
}
