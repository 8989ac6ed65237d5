//! Whether it was the kernel that killed, for want of memory, or somebody else: both look like SIGKILL.
//!
//! The machine's count is read each second while something runs, the count of a run's own control group once in its life
//! and at its end. Only when the first has risen within the last seconds is anything said: for sure where the run's own group
//! has counted one, too; else that it is likely.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::supervisor::{Proof, RunId};
use crate::sys::oom::{MemoryGroup, Mounts, kernel_kills};
use crate::sys::process::Process;

/// How long before its end a run can have been killed: much memory takes its time to be given back.
const WINDOW: Duration = Duration::from_secs(5);

/// Of how many runs the group is looked up in one second: of a thousand that start together not all at once.
const AT_ONCE: usize = 100;

/// Of all runs that live.
#[derive(Clone, Debug, Default)]
pub(super) struct Ooms(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// What the machine has counted, and when; the last few, oldest first.
    machine: VecDeque<(Instant, u64)>,
    /// The groups of runs that have one of their own, and what each had counted when it was looked up; none: that of this
    /// daemon.
    groups: HashMap<RunId, Option<(MemoryGroup, u64)>>,
}

impl Ooms {
    /// Looks at the machine, and at the groups of these runs, unless they are known.
    pub(super) fn look<'a>(&self, runs: impl Iterator<Item = (RunId, &'a Process)>, now: Instant) {
        let machine = kernel_kills();
        let mut known = self.lock();
        if let Ok(count) = machine {
            known.note(now, count);
        }
        let unknown: Vec<_> = runs.filter(|(run, _)| !known.groups.contains_key(run)).take(AT_ONCE).collect();
        drop(known);
        if unknown.is_empty() {
            return;
        }
        let Ok(mounts) = Mounts::read() else { return };
        let own = MemoryGroup::own(&mounts).ok();
        for (run, process) in unknown {
            let group = MemoryGroup::of(process, &mounts).ok().filter(|group| Some(group) != own.as_ref());
            let counted = group.and_then(|group| Some((group.kills().ok()?, group)));
            self.lock().groups.insert(run, counted.map(|(count, group)| (group, count)));
        }
    }

    /// Whether the kernel has killed this run, which has ended by SIGKILL just now.
    pub(super) fn has_killed(&self, run: RunId) -> Option<Proof> {
        let machine = kernel_kills().ok();
        let known = self.lock();
        let group = known.groups.get(&run).cloned().flatten();
        let has_machine_risen = machine.and_then(|count| known.has_risen(Instant::now(), count));
        drop(known);
        let has_group_risen = group.and_then(|(group, before)| Some(group.kills().ok()? > before));
        judge(has_machine_risen, has_group_risen)
    }

    /// It has ended.
    pub(super) fn forget(&self, run: RunId) {
        self.lock().groups.remove(&run);
    }

    /// A panic elsewhere cannot leave it half written: each change is one call.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn note(&mut self, now: Instant, count: u64) {
        self.machine.push_back((now, count));
        // One that is older than the window stays: it is what there was at its beginning.
        while self.machine.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.machine.pop_front();
        }
    }

    /// Whether the machine has counted one within the window; none: nobody has looked.
    fn has_risen(&self, now: Instant, count: u64) -> Option<bool> {
        let old = self.machine.iter().rev().find(|(at, _)| now.duration_since(*at) >= WINDOW);
        let (_, before) = old.or(self.machine.front())?;
        Some(count > *before)
    }
}

/// What two counts say of an end.
fn judge(has_machine_risen: Option<bool>, has_group_risen: Option<bool>) -> Option<Proof> {
    match (has_machine_risen, has_group_risen) {
        (Some(false), _) => None,
        (_, Some(true)) => Some(Proof::Sure),
        // It was another one's.
        (_, Some(false)) => None,
        (Some(true), None) => Some(Proof::Likely),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_the_kernels_when_the_counts_say_so() {
        for (machine, group, expected) in [
            (Some(true), Some(true), Some(Proof::Sure)),
            (Some(true), None, Some(Proof::Likely)),
            (Some(true), Some(false), None),
            (Some(false), Some(true), None),
            (Some(false), None, None),
            (None, Some(true), Some(Proof::Sure)),
            (None, None, None),
        ] {
            assert_eq!(judge(machine, group), expected, "{machine:?} {group:?}");
        }
    }

    #[test]
    fn only_what_was_counted_in_the_last_seconds_counts() {
        let (mut known, begun) = (Known::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(known.has_risen(begun, 7), None);
        for second in 0..20 {
            // One is killed in the eighth second.
            known.note(at(second), if second < 8 { 7 } else { 8 });
        }
        assert!(known.machine.len() <= 7, "{known:?}");
        assert_eq!(known.has_risen(at(20), 8), Some(false), "that was long ago");
        assert_eq!(known.has_risen(at(20), 9), Some(true));
    }
}
