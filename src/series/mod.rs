//! What was measured over time: its compact form, and where it leads.
//!
//! Pure. A *series* is one kind of value of one instance, a value each second. `code.rs` is a value in two bytes, `frame.rs`
//! the values of one moment as bytes, `recorder.rs` makes those from measurements and folds seconds into minutes,
//! `curves.rs` reads them. Only what has changed is written: a thousand instances at rest cost nothing.

mod code;
mod curves;
mod frame;
mod recorder;

pub use code::Code;
pub use curves::{Curves, Span};
pub use frame::{Frame, Frames};
pub use recorder::{Recorded, Recorder};

/// What is measured. The numbers are those of the form on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Series {
    /// CPU time of the tree in percent of one core.
    Cpu = 0,
    /// Resident memory of the tree in bytes.
    Memory = 1,
    /// Open connections of its shared ports.
    Connections = 2,
    /// Connections that wait to be accepted.
    AcceptQueue = 3,
    /// How late the event loop is, in milliseconds.
    LoopLag = 4,
    /// The heap of the language's runtime in bytes.
    Heap = 5,
}

/// One series of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u32);

/// How often a series has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Each second.
    Second,
    /// Each minute: the mean of CPU and lag, the highest of everything else.
    Minute,
}

impl Series {
    /// All there are.
    pub const ALL: [Series; 6] =
        [Series::Cpu, Series::Memory, Series::Connections, Series::AcceptQueue, Series::LoopLag, Series::Heap];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Series::Cpu => "cpu",
            Series::Memory => "memory",
            Series::Connections => "connections",
            Series::AcceptQueue => "accept_queue",
            Series::LoopLag => "loop_lag",
            Series::Heap => "heap",
        }
    }

    /// The series of this name.
    pub fn named(name: &str) -> Option<Series> {
        Series::ALL.into_iter().find(|series| series.name() == name)
    }

    /// The smallest difference that is kept.
    fn unit(self) -> f64 {
        match self {
            Series::Cpu => 0.01,
            Series::Memory | Series::Heap => 1024.0,
            Series::Connections | Series::AcceptQueue => 1.0,
            Series::LoopLag => 0.001,
        }
    }

    /// Whether values of several processes of an instance are added; else the greatest counts.
    pub fn is_sum(self) -> bool {
        match self {
            Series::Cpu | Series::Memory | Series::Connections | Series::AcceptQueue | Series::Heap => true,
            Series::LoopLag => false,
        }
    }

    /// Whether a minute is its mean, and not its highest value.
    fn is_averaged(self) -> bool {
        match self {
            Series::Cpu | Series::LoopLag => true,
            Series::Memory | Series::Connections | Series::AcceptQueue | Series::Heap => false,
        }
    }
}

impl Key {
    /// How many series a slot can have.
    const SERIES: u32 = 16;

    /// This series of this slot; none for a slot beyond all that can be.
    pub fn new(slot: u32, series: Series) -> Option<Key> {
        Some(Key(slot.checked_mul(Key::SERIES)?.checked_add(series as u32)?))
    }

    /// Its slot.
    pub fn slot(self) -> u32 {
        self.0 / Key::SERIES
    }

    /// Its series; none for one of a later release.
    pub fn series(self) -> Option<Series> {
        Series::ALL.into_iter().find(|series| *series as u32 == self.0 % Key::SERIES)
    }
}

impl Step {
    /// In seconds.
    pub fn seconds(self) -> u32 {
        match self {
            Step::Second => 1,
            Step::Minute => 60,
        }
    }

    /// How many values are kept at least.
    pub fn kept(self) -> u32 {
        match self {
            Step::Second => 15 * 60,
            Step::Minute => 24 * 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_slot_and_its_series() {
        for series in Series::ALL {
            let key = Key::new(999, series).unwrap();
            assert_eq!((key.slot(), key.series()), (999, Some(series)));
            assert_eq!(Series::named(series.name()), Some(series));
        }
        assert_eq!(Key::new(u32::MAX, Series::Cpu), None);
        assert_eq!(Key(16 * 3 + 15).series(), None);
    }
}
