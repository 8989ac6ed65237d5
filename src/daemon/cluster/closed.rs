//! Sockets that their programs have closed while they live on: nobody tells, so it is looked.

use std::collections::BTreeSet;

use tracing::info;

use crate::cluster::{Member, Standing};
use crate::daemon::cluster::ports::Ports;
use crate::supervisor::RunId;
use crate::sys::listening::{Listeners, process_tree_listens};
use crate::sys::proc_table::ProcTable;
use crate::sys::seccomp::Holder;

impl Ports {
    /// Whether there is anything to look for.
    pub(super) fn has_holders(&self) -> bool {
        self.groups.iter().flat_map(|port| port.kept.values()).any(|kept| kept.holder.is_some())
    }

    /// Looks for sockets that their programs have closed: our duplicate keeps them in the group, where they would get
    /// connections that nobody accepts. What waits there is served by whoever binds the port next in that slot.
    pub(super) fn look(&mut self) {
        let mut closed = BTreeSet::new();
        let mut table = None;
        for port in &self.groups {
            for member in port.group.members().filter(|member| member.standing != Standing::Dead) {
                let holder = port.kept.get(&member.socket).and_then(|kept| kept.holder.as_ref());
                let is_let_go = holder.is_some_and(|holder| matches!(holder.is_holding(), Ok(false)));
                if is_let_go && !self.is_held_elsewhere(member, holder, &mut table) {
                    closed.insert(member.socket);
                }
            }
        }
        if !closed.is_empty() {
            info!(sockets = closed.len(), "programs have closed their sockets and live on");
            self.change(|member| closed.contains(&member.socket).then_some(Standing::Dead));
        }
    }

    /// Whether another process of its run has a socket: a child that inherited it.
    fn is_held_elsewhere(&self, member: &Member, holder: Option<&Holder>, table: &mut Option<ProcTable>) -> bool {
        let process = self.runs.get(&RunId(member.id.run.0)).and_then(|captured| captured.process.as_ref());
        let (Some(process), Some(holder)) = (process, holder) else { return true };
        if table.is_none() {
            *table = ProcTable::read().ok();
        }
        // Who cannot be seen may have it.
        table.as_ref().is_none_or(|table| process_tree_listens(process, table, &Listeners::only(holder.inode())))
    }
}
