//! What runs that write their files themselves have said last on their standard errors.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

use crate::daemon::direct::{base, header};
use crate::daemon::shell::Place;
use crate::logs::LastWords;
use crate::supervisor::{RunId, SlotId};

/// How many runs that have ended are remembered.
const REMEMBERED: usize = 512;

/// How long the end of a cut is waited for, and how often.
const PATIENCE: (Duration, u32) = (Duration::from_millis(10), 30);

/// Where the runs write.
#[derive(Clone, Debug, Default)]
pub(super) struct Words(Arc<Mutex<Runs>>);

#[derive(Debug, Default)]
struct Runs {
    all: HashMap<RunId, Writer>,
    ended: VecDeque<RunId>,
}

/// A run, and where its standard error began.
#[derive(Clone, Debug)]
struct Writer {
    of: (String, SlotId, u16),
    error: Option<(PathBuf, u64)>,
}

impl Words {
    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run writes its files.
    pub(super) fn begin(&self, place: &Place) {
        let of = (place.style.app.clone(), place.slot, place.style.instance);
        let error = place.error_file.clone().map(|path| (path, place.error_began));
        self.runs().all.insert(place.run, Writer { of, error });
    }

    /// It has ended; the last of these are remembered.
    pub(super) fn end(&self, run: RunId) {
        let mut runs = self.runs();
        runs.ended.push_back(run);
        if runs.ended.len() > REMEMBERED
            && let Some(oldest) = runs.ended.pop_front()
        {
            runs.all.remove(&oldest);
        }
    }

    /// Whose it is.
    pub(super) fn owner(&self, run: RunId) -> Option<(String, SlotId, u16)> {
        self.runs().all.get(&run).map(|writer| writer.of.clone())
    }

    /// Its last words.
    pub(super) fn of(&self, run: RunId) -> Vec<String> {
        let writer = self.runs().all.get(&run).cloned();
        let Some((path, began)) = writer.and_then(|writer| writer.error) else { return Vec::new() };
        let mut words = LastWords::default();
        match last_bytes(&path, began, LastWords::ENOUGH as u64) {
            Ok(bytes) => words.push(&bytes),
            Err(error) => warn!("cannot read the last words in {}: {error}", path.display()),
        }
        words.lines()
    }
}

/// The last bytes of a file since it had this logical length, and no more than so many.
fn last_bytes(path: &Path, began: u64, most: u64) -> io::Result<Vec<u8>> {
    for _ in 0..PATIENCE.1 {
        if header(path).is_none_or(|header| header.cutting == 0) {
            break;
        }
        std::thread::sleep(PATIENCE.0);
    }
    let (base, size) = (base(path), fs::metadata(path)?.len());
    // A file that was emptied since has been shorter.
    let start = if began > base + size { 0 } else { began.saturating_sub(base) };
    let start = start.max(size.saturating_sub(most));
    let mut bytes = vec![0; usize::try_from(size - start).unwrap_or(0)];
    File::open(path)?.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}
