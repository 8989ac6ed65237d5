//! What the core wants of the sockets that runs share. Nothing shares any before cluster mode is there, so a drain has
//! nothing to wait for.

use crate::daemon::engine::Report;
use crate::daemon::shell::Shell;
use crate::supervisor::{RunId, SlotId, Standing, Time};

impl Shell {
    /// Gives a run its part of the new connections of its ports.
    pub(in crate::daemon) fn steer(&mut self, _run: RunId, _standing: Standing) {}

    /// Ends the connections of a run; reports [`Report::Drained`], also when `until` is over.
    pub(in crate::daemon) fn drain(&mut self, run: RunId, _until: Time) {
        // The engine is gone: so is everything that could be waited for.
        let _ = self.tools.reports.send(Report::Drained { run });
    }

    /// Closes what is kept for the next run of a slot.
    pub(in crate::daemon) fn give_up(&mut self, _slot: SlotId) {}
}
