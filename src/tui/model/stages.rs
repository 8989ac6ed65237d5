//! Reloads, stage by stage, read from the stream of changes: the view knows one run of a slot, a reload has two.
//!
//! ```text
//! Started beside a run that is online -> launch -> Online -> ready -> Draining -> drain -> Stopping -> stop -> Exited -> done
//!                                          |                  (of the old run from here on)
//!                                          +-- ReloadAborted, or the new run exited -> aborted
//! ```

use std::collections::HashMap;

use crate::proto::{Event, EventKind};

/// How long the end of a reload is shown, in milliseconds.
const SHOWN: u64 = 8_000;

/// How far the reload of one slot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The new run is on its way to being ready.
    Launch,
    /// It is ready and gets the new connections.
    Ready,
    /// The old run ends its connections.
    Drain,
    /// The old run was asked to end.
    Stop,
    /// The old run has ended.
    Done,
    /// The new run was not ready; the old one goes on.
    Aborted(String),
}

/// The reload of one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reload {
    pub(crate) old: u64,
    pub(crate) new: u64,
    pub(crate) stage: Stage,
    /// When it began, and when it reached its stage.
    pub(crate) begun: u64,
    pub(crate) since: u64,
}

impl Reload {
    /// Whether something is still to happen.
    pub(crate) fn is_going_on(&self) -> bool {
        match self.stage {
            Stage::Launch | Stage::Ready | Stage::Drain | Stage::Stop => true,
            Stage::Done | Stage::Aborted(_) => false,
        }
    }

    /// The stage as one word.
    pub(crate) fn word(&self) -> &'static str {
        match self.stage {
            Stage::Launch => "launch",
            Stage::Ready => "ready",
            Stage::Drain => "drain",
            Stage::Stop => "stop",
            Stage::Done => "done",
            Stage::Aborted(_) => "aborted",
        }
    }

    /// Which of the four steps it is at, from 0; none when it was aborted.
    pub(crate) fn step(&self) -> Option<usize> {
        match self.stage {
            Stage::Launch => Some(0),
            Stage::Ready => Some(1),
            Stage::Drain => Some(2),
            Stage::Stop => Some(3),
            Stage::Done => Some(4),
            Stage::Aborted(_) => None,
        }
    }
}

/// The runs of all slots as the events tell them. Bounded by the number of slots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stages {
    /// The run that is online, by slot.
    online: HashMap<u32, u64>,
    reloads: HashMap<u32, Reload>,
}

impl Stages {
    /// Takes in what happened.
    pub(crate) fn take(&mut self, event: &Event) {
        let Some(slot) = event.id else { return };
        let time = event.time;
        match &event.event {
            EventKind::Started { run, .. } => match self.online.get(&slot) {
                Some(old) if old != run => {
                    let reload = Reload { old: *old, new: *run, stage: Stage::Launch, begun: time, since: time };
                    self.reloads.insert(slot, reload);
                }
                Some(_) | None => {
                    self.reloads.remove(&slot);
                }
            },
            EventKind::Online { run, .. } => {
                self.online.insert(slot, *run);
                self.go(slot, time, Stage::Ready, |reload| reload.new == *run);
            }
            EventKind::Draining { run } => self.go(slot, time, Stage::Drain, |reload| reload.old == *run),
            EventKind::Stopping { run, .. } => {
                self.go(slot, time, Stage::Stop, |reload| reload.old == *run);
                self.leave(slot, *run);
            }
            EventKind::Exited { run, .. } => {
                self.go(slot, time, Stage::Done, |reload| reload.old == *run);
                let why = || Stage::Aborted("the new process ended".to_owned());
                self.go(slot, time, why(), |reload| reload.new == *run && reload.stage == Stage::Launch);
                self.leave(slot, *run);
            }
            EventKind::RolledBack { run, failed, reason } => {
                self.online.insert(slot, *run);
                self.go(slot, time, Stage::Aborted(reason.clone()), |reload| reload.new == *failed);
            }
            EventKind::ReloadAborted { run, reason } => {
                let is_it = |reload: &Reload| reload.new == *run;
                self.go(slot, time, Stage::Aborted(reason.clone()), is_it);
            }
            EventKind::Deleted => {
                self.online.remove(&slot);
                self.reloads.remove(&slot);
            }
            EventKind::Created
            | EventKind::Changed { .. }
            | EventKind::SpawnFailed { .. }
            | EventKind::Heavy { .. }
            | EventKind::Remark { .. }
            | EventKind::Held { .. }
            | EventKind::Parked { .. }
            | EventKind::Unhealthy { .. }
            | EventKind::Recovering { .. }
            | EventKind::Healthy { .. }
            | EventKind::GivenUpOn { .. }
            | EventKind::Hung { .. }
            | EventKind::OutOfMemory { .. }
            | EventKind::HealthIgnored { .. }
            | EventKind::HealthTrusted { .. }
            | EventKind::LogFailing { .. }
            | EventKind::LogWritten { .. }
            | EventKind::LogsRemoved { .. }
            | EventKind::Signalled { .. }
            | EventKind::Reset
            | EventKind::Killed { .. }
            | EventKind::Waiting { .. }
            | EventKind::Errored { .. }
            | EventKind::Stopped { .. }
            | EventKind::DaemonReady { .. }
            | EventKind::DaemonLeaving
            | EventKind::Missed { .. } => {}
        }
    }

    /// Forgets reloads that have been over for a while.
    pub(crate) fn forget(&mut self, now: u64) {
        self.reloads.retain(|_, reload| reload.is_going_on() || reload.since + SHOWN > now);
    }

    /// The reload of a slot.
    pub(crate) fn of(&self, slot: u32) -> Option<&Reload> {
        self.reloads.get(&slot)
    }

    fn go(&mut self, slot: u32, time: u64, stage: Stage, is_it: impl Fn(&Reload) -> bool) {
        if let Some(reload) = self.reloads.get_mut(&slot).filter(|reload| reload.is_going_on() && is_it(reload)) {
            (reload.stage, reload.since) = (stage, time);
        }
    }

    /// A run that was told to end, or has ended, is none that a reload could replace.
    fn leave(&mut self, slot: u32, run: u64) {
        if self.online.get(&slot) == Some(&run) {
            self.online.remove(&slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ExitStatus;

    fn stages(events: &[EventKind]) -> Stages {
        let mut stages = Stages::default();
        for (n, event) in events.iter().enumerate() {
            let event = event.clone();
            let (app, time) = (Some("api".to_owned()), n as u64);
            stages.take(&Event { seq: time, time, app, id: Some(0), instance: Some(0), uid: None, verb: None, event });
        }
        stages
    }

    fn started(run: u64) -> EventKind {
        EventKind::Started { pid: 1, run }
    }

    fn online(run: u64) -> EventKind {
        EventKind::Online { run, after: 1, by: "listening".into() }
    }

    fn stopping(run: u64) -> EventKind {
        EventKind::Stopping { run, signal: "SIGTERM".into() }
    }

    fn exited(run: u64) -> EventKind {
        EventKind::Exited { run, pid: 1, status: ExitStatus::Code(0), uptime: 1, asked: true, left: false }
    }

    #[test]
    fn a_reload_goes_through_its_stages() {
        let story =
            [started(1), online(1), started(2), online(2), EventKind::Draining { run: 1 }, stopping(1), exited(1)];
        let words: Vec<Option<&str>> = (1..=story.len()).map(|n| stages(&story[..n]).of(0).map(Reload::word)).collect();
        let wanted = [None, None, Some("launch"), Some("ready"), Some("drain"), Some("stop"), Some("done")];
        assert_eq!(words, wanted);
        let mut over = stages(&story);
        over.forget(SHOWN);
        assert!(over.of(0).is_some());
        over.forget(SHOWN + 100);
        assert_eq!(over.of(0), None);
    }

    #[test]
    fn a_restart_is_no_reload() {
        let story = [started(1), online(1), stopping(1), exited(1), started(2), online(2)];
        assert_eq!(stages(&story).of(0), None);
        // Nor is a crash.
        assert_eq!(stages(&[started(1), online(1), exited(1), started(2)]).of(0), None);
    }

    #[test]
    fn an_aborted_reload_says_why() {
        let aborted = EventKind::ReloadAborted { run: 2, reason: "exit code 1".into() };
        let stages = stages(&[started(1), online(1), started(2), exited(2), aborted]);
        assert!(matches!(stages.of(0), Some(Reload { stage: Stage::Aborted(_), .. })));
    }
}
