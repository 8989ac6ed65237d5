//! Whose connections are whose: those with a run's own marks, and of a mark that it shares, those that its processes hold.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::cluster::is_probe;
use crate::daemon::cluster::ports::Ports;
use crate::supervisor::RunId;
use crate::sys::proc_table::ProcTable;
use crate::sys::tcp::diag::Connection;
use crate::sys::tcp::{self, Cookie, Tag};

/// The connections of a run.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) connections: Vec<Connection>,
    /// How many more wait in its queues, which a shared mark does not show.
    pub(super) waiting: u32,
}

impl Ports {
    /// Everything that a run has to do with, and what waits for it.
    pub(super) fn connections_of(&mut self, run: RunId) -> io::Result<Found> {
        let Some(captured) = self.runs.get(&run) else { return Ok(Found::default()) };
        let mut tags: BTreeMap<u16, BTreeSet<Tag>> = BTreeMap::new();
        for (port, tag) in &captured.tags {
            tags.entry(*port).or_default().insert(*tag);
        }
        let mut found = Found::default();
        for (port, tags) in tags {
            let (own, shared): (BTreeSet<Tag>, BTreeSet<Tag>) =
                tags.into_iter().partition(|tag| self.is_its_alone(run, port, *tag));
            if !shared.is_empty() {
                // Before the list: whoever is taken out of the queue after this is in it.
                found.waiting = found.waiting.saturating_add(self.queue_of(run, Some(port))?);
            }
            let mut listed = self.diag.connections(port)?;
            // A health check ends by itself, and soon.
            listed.retain(|it| !is_probe(it.client.ip()));
            let held = if shared.is_empty() { BTreeSet::new() } else { self.held_among(run, &listed, &shared)? };
            let is_its = |it: &Connection| own.contains(&it.tag) || held.contains(&it.cookie);
            found.connections.extend(listed.into_iter().filter(is_its));
        }
        Ok(found)
    }

    /// How many connections wait for a run, on one port or all.
    pub(super) fn queue_of(&self, run: RunId, number: Option<u16>) -> io::Result<u32> {
        let mut sum = 0_u32;
        let ports = self.groups.iter().filter(|port| number.is_none_or(|it| it == port.group.key().address.port()));
        for port in ports {
            for member in port.group.members().filter(|member| RunId(member.id.run.0) == run) {
                if let Some(kept) = port.kept.get(&member.socket) {
                    sum = sum.saturating_add(tcp::queue_depth(&kept.fd)?);
                }
            }
        }
        Ok(sum)
    }

    /// Which of these have a mark that others have, too, and are this run's: looked for twice, because a connection is
    /// nowhere for a moment while it is accepted.
    fn held_among(&self, run: RunId, listed: &[Connection], shared: &BTreeSet<Tag>) -> io::Result<BTreeSet<Cookie>> {
        let Some(process) = self.runs.get(&run).and_then(|captured| captured.process.as_ref()) else {
            return Ok(BTreeSet::new());
        };
        let candidates: Vec<Connection> = listed.iter().filter(|it| shared.contains(&it.tag)).copied().collect();
        if candidates.is_empty() {
            return Ok(BTreeSet::new());
        }
        let table = ProcTable::read()?;
        let mut held = tcp::held_by(process, &table, &candidates)?;
        if held.is_empty() {
            held = tcp::held_by(process, &table, &candidates)?;
        }
        Ok(held)
    }
}
