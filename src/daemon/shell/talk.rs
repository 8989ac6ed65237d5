//! What the core wants said to a run.

use tracing::info;

use crate::daemon::shell::Shell;
use crate::proto::Record;
use crate::spec::Signal;
use crate::supervisor::{RunId, Whom};

impl Shell {
    /// Asks a run to end by a message, or by a signal where nobody can hear one; what a successor has to know of it.
    pub(in crate::daemon) fn message(&mut self, run: RunId, signal: Signal, whom: Whom) -> Option<Record> {
        let live = self.runs.get_mut(&run)?;
        if !live.talk.say("shutdown") {
            info!(run = run.0, "it hears no messages, so it gets {signal}");
            return self.signal(run, signal, whom);
        }
        self.asking.remove(&run);
        live.sent.0 = true;
        Some(Record::Sent { run: run.0, survivors: false })
    }
}
