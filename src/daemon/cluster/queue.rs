//! `balance = "shared"`: all runs of an app have one socket, and whoever accepts first has the connection.
//!
//! The first run's socket is adopted; those that come later get it in the place of their own. Its member is that of one of
//! them, the others stand beside it; when that one ends, another takes its place, and the queue goes on.

use std::io;
use std::os::fd::AsFd;

use crate::cluster::{GroupKey, Member, Standing};
use crate::daemon::cluster::ports::{Port, Ports, place};
use crate::daemon::cluster::seen::Asked;
use crate::daemon::failpoint;
use crate::supervisor::RunId;
use crate::sys::seccomp::{Answer, substitute};

impl Ports {
    /// Gives a run the one queue of its app, if there is one.
    pub(super) fn give_queue(
        &mut self,
        run: RunId,
        asked: Asked<'_>,
        is_it: impl Fn(&GroupKey) -> bool,
    ) -> io::Result<Option<Answer>> {
        let Some(captured) = self.runs.get(&run).filter(|captured| captured.wants.has_one_queue) else {
            return Ok(None);
        };
        let find = |port: &Port| {
            let is_mine = is_it(port.group.key()) && port.app == captured.app;
            // What waits for somebody first, and last of all what is on its way out.
            let rank = |member: &&Member| match member.standing {
                Standing::Dead => 0,
                Standing::Ready | Standing::Parked | Standing::Unhealthy | Standing::Starting => 1,
                Standing::Draining => 2,
                Standing::Leaving => 3,
            };
            let members = port.group.members().filter(|member| member.standing != Standing::Leaving);
            if is_mine { members.min_by_key(rank).copied() } else { None }
        };
        let Some((at, member)) = self.groups.iter().enumerate().find_map(|(at, port)| Some((at, find(port)?))) else {
            return Ok(None);
        };
        let Some(kept) = self.groups.get(at).and_then(|port| port.kept.get(&member.socket)) else { return Ok(None) };
        substitute(asked.listener, asked.question, asked.fd, kept.fd.as_fd())?;
        failpoint::here("queue-given");
        self.share_queue(run, at, &member);
        Ok(Some(Answer::Done))
    }

    /// A run has the socket of a member, too.
    pub(super) fn share_queue(&mut self, run: RunId, at: usize, member: &Member) {
        if member.standing == Standing::Dead {
            return self.inherit(run, at, member);
        }
        if let Some(kept) = self.groups.get_mut(at).and_then(|port| port.kept.get_mut(&member.socket))
            && RunId(member.id.run.0) != run
        {
            kept.others.insert(run, None);
        }
        self.save_run(run);
        self.save_group(at);
        self.stand_together();
    }

    /// A run has let go of all that it has with others; where it was the first of them, another one is.
    pub(super) fn leave_queues(&mut self, run: RunId) {
        for at in 0..self.groups.len() {
            let Some(Port { group, kept, .. }) = self.groups.get_mut(at) else { continue };
            let (mut is_changed, mut left) = (false, Vec::new());
            for member in group.members() {
                let Some(kept) = kept.get_mut(&member.socket) else { continue };
                is_changed |= kept.others.remove(&run).is_some();
                if RunId(member.id.run.0) == run && !kept.others.is_empty() {
                    left.push(*member);
                }
            }
            is_changed |= !left.is_empty();
            left.iter().for_each(|member| self.hand_on(at, member));
            if is_changed {
                self.save_group(at);
            }
        }
        self.stand_together();
    }

    /// Another run takes the place of the one that a member is of.
    pub(super) fn hand_on(&mut self, at: usize, member: &Member) {
        let kept = self.groups.get(at).and_then(|port| port.kept.get(&member.socket));
        let best = kept.into_iter().flat_map(|kept| kept.others.keys());
        let standing = |run: &&RunId| self.runs.get(run).map_or(Standing::Leaving, |captured| captured.standing);
        let Some(heir) = best.min_by_key(standing).copied() else { return };
        let id = self.next_id(heir);
        let Some((slot, standing)) = self.runs.get(&heir).map(|captured| (captured.slot, captured.standing)) else {
            return;
        };
        if let Some(port) = self.groups.get_mut(at) {
            port.group.inherited(member.id, id, standing);
            port.group.move_to(id, place(slot));
            if let Some(kept) = port.kept.get_mut(&member.socket) {
                kept.holder = kept.others.remove(&heir).flatten();
            }
        }
        self.save_run(heir);
    }

    /// A socket that several have is as good as the best of them.
    pub(super) fn stand_together(&mut self) {
        let mut wanted = std::collections::BTreeMap::new();
        for port in &self.groups {
            for member in port.group.members() {
                let Some(kept) = port.kept.get(&member.socket).filter(|kept| !kept.others.is_empty()) else { continue };
                let all = kept.others.keys().copied().chain([RunId(member.id.run.0)]);
                let standing = |run| self.runs.get(&run).filter(|captured| !captured.ended).map(|it| it.standing);
                wanted.extend(all.filter_map(standing).min().map(|standing| (member.socket, standing)));
            }
        }
        if !wanted.is_empty() {
            self.change(|member| wanted.get(&member.socket).copied());
        }
    }
}
