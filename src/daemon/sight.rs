//! What the engine sees of the machine's processes while it works through one batch of reports.
//!
//! Looking costs a pass over all processes. One look serves a whole batch, or else stopping a thousand apps would take a
//! thousand passes over a thousand processes on the engine's thread. What a look is too old for (a child that was made
//! since) is found when its main process has ended, by a later look.

use std::io;

use tracing::warn;

use crate::spec::Signal;
use crate::supervisor::Whom;
use crate::sys::proc_table::ProcTable;
use crate::sys::process::{PidFd, Process};
use crate::sys::tree::{self, Reaper, Remains, Survivors};

/// The looks of one batch; each is taken when it is needed first.
#[derive(Debug, Default)]
pub(super) struct Sight {
    table: Option<ProcTable>,
    survivors: Option<Survivors>,
}

/// Whether a main process is one that starts the real server as its child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Server,
    Wrapper,
}

/// One run, as far as looking at it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) process: &'a Process,
    /// What only its processes have in their environment.
    pub(super) mark: &'a str,
    pub(super) kind: Kind,
}

impl Sight {
    /// Who adopts the orphans of runs: the guardian, or whoever has adopted this process when that is gone.
    pub(super) const REAPER: Reaper = Reaper::Parent;

    /// To be called between two batches: whatever a batch tells of has then happened before the looks taken for it.
    pub(super) fn renew(&mut self) {
        *self = Sight::default();
    }

    /// What is left of a run whose main process had ended before this batch arrived.
    pub(super) fn leftovers(&mut self, run: Seen<'_>) -> Remains {
        let seen = self.survivors().and_then(|survivors| survivors.of(run.process, run.mark));
        let left = match seen {
            // Most trees that move are ending: a second look finds nothing.
            Ok(remains) if remains.is_moving && remains.held.is_empty() => {
                self.survivors = None;
                tree::leftovers(run.process, run.mark, Sight::REAPER)
            }
            seen => seen,
        };
        left.unwrap_or_else(|error| {
            warn!(pid = run.process.display_pid(), "cannot see what the process left: {error}");
            Remains::default()
        })
    }

    /// Sends a signal to a part of a run's tree.
    pub(super) fn signal(&mut self, run: Seen<'_>, signal: Signal, whom: Whom) -> io::Result<()> {
        match whom {
            Whom::OnlyMain => run.process.signal(signal),
            Whom::Main => {
                // The children of a wrapper first: once it has gone, nobody knows that they were its.
                if run.kind == Kind::Wrapper {
                    send(self.table().and_then(|table| tree::descendants(run.process, table)), signal);
                }
                run.process.signal(signal)
            }
            Whom::Survivors => {
                send(Ok(self.leftovers(run).held), signal);
                Ok(())
            }
            Whom::Tree => {
                send(self.table().and_then(|table| tree::members(run.process, table)), signal);
                send(Ok(self.leftovers(run).held), signal);
                run.process.signal_group(signal).and_then(|()| run.process.signal(signal))
            }
        }
    }

    fn table(&mut self) -> io::Result<&ProcTable> {
        let table = match self.table.take() {
            Some(table) => table,
            None => ProcTable::read()?,
        };
        Ok(self.table.insert(table))
    }

    fn survivors(&mut self) -> io::Result<&Survivors> {
        let survivors = match self.survivors.take() {
            Some(survivors) => survivors,
            None => Survivors::read(Sight::REAPER)?,
        };
        Ok(self.survivors.insert(survivors))
    }
}

fn send(processes: io::Result<Vec<PidFd>>, signal: Signal) {
    match processes {
        Ok(processes) => {
            for process in processes {
                if let Err(error) = process.signal(signal) {
                    warn!("cannot send {signal} to {}: {error}", process.display_pid());
                }
            }
        }
        Err(error) => warn!("cannot list processes: {error}"),
    }
}
