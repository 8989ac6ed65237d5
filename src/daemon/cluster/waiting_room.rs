//! Where connections wait while the last run of a port goes and the next one has not come.
//!
//! A run that is drained gets nothing new, if there is anybody else. Where there is not, a socket of ours joins the group
//! for its slot: newcomers wait in its queue for the next run, which gets it in the place of its own, and the run that
//! goes can come to an end.

use std::collections::BTreeMap;
use std::io;

use tracing::{debug, warn};

use crate::cluster::{Member, MemberId, Owner, Run, SocketId, Standing, Weight};
use crate::daemon::cluster::ports::{Kept, Ports, place};
use crate::supervisor::{RunId, SlotId};
use crate::sys::tcp::{self, Cookie, Facts, Target};

/// The run of sockets that no run has yet.
pub(super) const NOBODY: Run = Run(0);

/// How many connections may wait. The kernel's own limit is lower where that is wanted (net.core.somaxconn).
const BACKLOG: i32 = 4096;

impl Ports {
    /// A run is being drained: what comes now waits where it would still get it.
    pub(super) fn hold_back(&mut self, run: RunId) {
        let Some(slot) = self.runs.get(&run).map(|captured| captured.slot) else { return };
        for at in 0..self.groups.len() {
            let is_last = self.groups.get(at).is_some_and(|port| {
                let is_its = |member: &Member| RunId(member.id.run.0) == run;
                port.group.members().any(is_its) && port.group.serving().all(|it| it.standing == Standing::Draining)
            });
            if is_last && let Err(error) = self.open_room(at, slot) {
                // Connections reach the run that goes, as long as it is there.
                warn!(run = run.0, "newcomers cannot be held back: {error}");
            }
        }
    }

    fn open_room(&mut self, at: usize, slot: SlotId) -> io::Result<()> {
        let Some(port) = self.groups.get(at) else { return Ok(()) };
        let key = *port.group.key();
        let fd = tcp::open(&Target { address: key.address, v6only: key.v6only, device: key.device, uid: key.uid })?;
        if Facts::of(&fd)?.namespace != key.namespace {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let id = SocketId(Cookie::of(&fd)?.0);
        let member = Member {
            socket: id,
            id: MemberId { run: NOBODY, owner: Owner(id.0), nth: 0 },
            place: place(slot),
            weight: Weight::MIN,
            mark: None,
            standing: Standing::Dead,
        };
        let tag = self.tag_for(RunId(NOBODY.0), key.address.port());
        tcp::set_tag(&fd, tag)?;
        self.leave_with_guardian(id, &fd);
        self.save_joining(at, &member, tag);
        tcp::join(&fd, BACKLOG)?;
        if let Some(port) = self.groups.get_mut(at) {
            port.group.joined(member);
            port.kept.insert(id, Kept { fd, tag, holder: None, others: BTreeMap::new() });
        }
        debug!(slot = slot.0, address = %key.address, "newcomers wait for the next run");
        self.save_group(at);
        self.settle(at);
        Ok(())
    }
}
