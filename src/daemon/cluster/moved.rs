//! What else nobody tells: who has moved in the kernel's array, and what was left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cluster::{SocketId, Standing};
use crate::daemon::cluster::ports::{Kept, Ports};
use crate::supervisor::RunId;
use crate::sys::proc_table::ProcTable;
use crate::sys::seccomp::Holder;
use crate::sys::tcp;

/// How long a program that has closed its socket and lives on has time to open it again.
const ABANDONED: Duration = Duration::from_secs(5);

impl Ports {
    /// Whether there is anything to look at.
    pub(super) fn has_suspects(&self) -> bool {
        let is_suspect =
            |port: &crate::daemon::cluster::ports::Port| port.group.has_strangers() || port.group.is_in_doubt();
        !self.binders.is_empty() || !self.let_go.is_empty() || self.groups.iter().any(is_suspect)
    }

    /// Looks at it.
    pub(super) fn look_around(&mut self) {
        self.look_for_abandoned();
        self.look_for_moved();
        self.look_for_unbound();
    }

    /// Nobody has come for what a program has closed while it lives on: its clients go elsewhere.
    fn look_for_abandoned(&mut self) {
        let members = self.groups.iter().flat_map(|port| port.group.members());
        let dead: BTreeMap<SocketId, RunId> = members
            .filter(|member| member.standing == Standing::Dead)
            .map(|member| (member.socket, RunId(member.id.run.0)))
            .collect();
        let lives = |run: &RunId| self.runs.get(run).is_some_and(|captured| !captured.ended);
        self.let_go.retain(|socket, _| dead.get(socket).is_some_and(&lives));
        let is_served = |socket: &SocketId| {
            let port = self.groups.iter().find(|port| port.kept.contains_key(socket));
            port.is_some_and(|port| port.group.serving().all(|member| member.standing != Standing::Dead))
        };
        let old = self.let_go.iter().filter(|(socket, at)| at.elapsed() >= ABANDONED && is_served(socket));
        let old: BTreeSet<SocketId> = old.map(|(socket, _)| *socket).collect();
        if !old.is_empty() {
            self.let_go.retain(|socket, _| !old.contains(socket));
            self.change(|member| old.contains(&member.socket).then_some(Standing::Leaving));
        }
    }

    /// Groups in which somebody may have moved: strangers come and go as they like, and a program may take its own socket
    /// out (shutdown(2)).
    fn look_for_moved(&mut self) {
        for at in (0..self.groups.len()).rev() {
            let is_suspect = self.groups.get(at).is_some_and(|port| {
                let is_out = |kept: &Kept| matches!(tcp::is_listening(&kept.fd), Ok(false));
                port.group.has_strangers() || port.group.is_in_doubt() || port.kept.values().any(is_out)
            });
            if is_suspect {
                self.settle(at);
            }
        }
    }

    /// Sockets that were bound, never listened, and are nobody's any more: our duplicate would keep their port.
    fn look_for_unbound(&mut self) {
        self.binders.retain(|socket, _| self.bound.contains_key(socket));
        let (mut gone, mut table) = (Vec::new(), None);
        for (socket, holder) in &self.binders {
            let run = self.runs.iter().find(|(_, captured)| captured.bound.contains(socket)).map(|(run, _)| *run);
            if let Some(run) = run.filter(|run| self.is_let_go(*run, holder, &mut table)) {
                gone.push((run, *socket));
            }
        }
        gone.into_iter().for_each(|(run, socket)| self.unbind(run, socket));
    }

    fn is_let_go(&self, run: RunId, holder: &Holder, table: &mut Option<ProcTable>) -> bool {
        if !matches!(holder.is_holding(), Ok(false)) {
            return false;
        }
        if table.is_none() {
            *table = ProcTable::read().ok();
        }
        let process = self.runs.get(&run).and_then(|captured| captured.process.as_ref());
        // Who cannot be seen may have it.
        let (Some(process), Some(table)) = (process, table) else { return false };
        matches!(tcp::holder_of(process, table, holder.inode()), Ok(None))
    }
}
