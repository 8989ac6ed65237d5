//! What clients are told: answers, progress, and changes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc as tokio_mpsc, oneshot};

use crate::daemon::report::Answered;
use crate::daemon::shell::Shell;
use crate::proto::{self, EventKind, Progress};
use crate::supervisor::{Change, ChangeKind, Reply, RequestId};

/// How long an answer waits until a port refuses.
const REFUSED: Duration = Duration::from_secs(1);

/// A client that waits for its answer.
pub(super) struct Pending {
    answer: oneshot::Sender<Answered>,
    progress: Option<tokio_mpsc::UnboundedSender<Progress>>,
}

impl Shell {
    pub(in crate::daemon) fn expect_answer(
        &mut self,
        id: RequestId,
        answer: oneshot::Sender<Answered>,
        progress: Option<tokio_mpsc::UnboundedSender<Progress>>,
    ) {
        self.answers.insert(id, Pending { answer, progress });
    }

    /// The answer that was given before, for a client that has not got it.
    pub(in crate::daemon) fn answer_again(&self, answer: oneshot::Sender<Answered>, reply: Reply) {
        // The client may have gone once more.
        let remarks = self.remarks(&reply);
        let _ = answer.send(Answered { reply, remarks, epoch: self.tools.clock, written: oneshot::channel().0 });
    }

    /// Sends an answer on its way; what is returned resolves when it has been written.
    pub(in crate::daemon) fn reply(&mut self, to: RequestId, reply: Reply) -> Option<oneshot::Receiver<()>> {
        let pending = self.answers.remove(&to)?;
        let (written, done) = oneshot::channel();
        let answered = Answered { remarks: self.remarks(&reply), reply, epoch: self.tools.clock, written };
        let refused = self.until_refused();
        if refused.is_empty() {
            // The client may have gone; what it asked for happens all the same.
            drop(pending.answer.send(answered));
        } else {
            // Who is told that something has stopped finds nobody at its port any more.
            drop(tokio::spawn(async move {
                let all = async {
                    for one in refused {
                        let _ = one.await;
                    }
                };
                let _ = tokio::time::timeout(REFUSED, all).await;
                let _ = pending.answer.send(answered);
            }));
        }
        Some(done)
    }

    pub(in crate::daemon) fn progress(&self, to: RequestId, step: Progress) {
        if let Some(progress) = self.answers.get(&to).and_then(|pending| pending.progress.as_ref()) {
            // The client may have gone.
            let _ = progress.send(step);
        }
    }

    /// Holds a change until the view shows it.
    pub(in crate::daemon) fn announce(&mut self, change: &Change) -> Arc<proto::Event> {
        match &change.kind {
            ChangeKind::Online { run, .. } => self.tools.looker.settled(*run),
            ChangeKind::Stopping(run, _) => drop(self.asking.insert(*run)),
            ChangeKind::Created
            | ChangeKind::Changed(_)
            | ChangeKind::Started(_)
            | ChangeKind::SpawnFailed(_)
            | ChangeKind::Signalled(..)
            | ChangeKind::Heavy { .. }
            | ChangeKind::Reset
            | ChangeKind::Killed(_)
            | ChangeKind::Exited { .. }
            | ChangeKind::Waiting { .. }
            | ChangeKind::Draining(_)
            | ChangeKind::ReloadAborted { .. }
            | ChangeKind::Held(_)
            | ChangeKind::Parked { .. }
            | ChangeKind::RolledBack { .. }
            | ChangeKind::Unhealthy { .. }
            | ChangeKind::Recovering(_)
            | ChangeKind::Healthy(_)
            | ChangeKind::GivenUpOn { .. }
            | ChangeKind::Hung { .. }
            | ChangeKind::Starved { .. }
            | ChangeKind::HealthIgnored { .. }
            | ChangeKind::HealthTrusted { .. }
            | ChangeKind::Errored { .. }
            | ChangeKind::Stopped(_)
            | ChangeKind::Deleted => {}
        }
        let time = self.tools.clock.epoch_millis(self.tools.clock.now());
        self.tools.events.hold(change.clone(), time, |run| self.pid(run))
    }

    /// The view shows all that was announced.
    pub(in crate::daemon) fn tell_announced(&self) {
        self.tools.events.release();
    }

    pub(in crate::daemon) fn announce_leaving(&self) {
        let time = self.tools.clock.epoch_millis(self.tools.clock.now());
        self.tools.events.tell_own(EventKind::DaemonLeaving, time);
    }
}
