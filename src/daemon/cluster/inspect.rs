//! Inspectors: a debugger talks to one process, so each instance has one of its own, at the port that its program names
//! plus its index.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use nix::errno::Errno;

use crate::daemon::cluster::own::failed;
use crate::daemon::cluster::ports::Ports;
use crate::daemon::cluster::seen::{Asked, Seen};
use crate::supervisor::RunId;
use crate::sys::seccomp::{Answer, substitute};
use crate::sys::tcp::{self, Facts, Form, Target};

impl Ports {
    /// Whether a port is one of a run's inspectors.
    pub(super) fn is_inspector(&self, run: RunId, port: u16) -> bool {
        self.runs.get(&run).is_some_and(|captured| captured.wants.inspectors.contains(&port))
    }

    /// A `bind` of an inspector. During a reload both runs of an instance have it: the one that goes gives way by going.
    pub(super) fn bind_inspector(
        &mut self,
        run: RunId,
        asked: Asked<'_>,
        seen: Seen,
        address: SocketAddr,
    ) -> io::Result<Answer> {
        let Some(captured) = self.runs.get(&run) else { return Ok(Answer::Continue) };
        let Some(port) = address.port().checked_add(captured.instance) else { return Ok(Answer::Continue) };
        let (app, instance) = (captured.app.clone(), captured.instance);
        let is_rival = |other: &&crate::daemon::cluster::ports::Captured| {
            other.inspected.contains(&port) && !other.ended && (&other.app, other.instance) != (&app, instance)
        };
        if let Some(rival) = self.runs.values().find(is_rival).map(|other| other.app.clone()) {
            self.remark(run, &format!("its inspector cannot have port {port}: `{rival}` has one there"));
            return Ok(Answer::Failed(Errno::EADDRINUSE));
        }
        let form = match &seen {
            Seen::Whole(socket) => {
                let bound = Facts::of(socket).map_or(0, |facts| facts.address.port());
                if bound != 0 {
                    // It was put there before this question was answered, or is bound a second time.
                    return Ok(if bound == port { Answer::Done } else { Answer::Continue });
                }
                Form::of(socket)?
            }
            Seen::Outside(outside) => Form { is_v6: outside.is_v6, v6only: false, device: 0, uid: outside.uid },
            Seen::Nothing => return Ok(Answer::Continue),
        };
        if let Some(captured) = self.runs.get_mut(&run) {
            captured.inspected.insert(port);
        }
        self.save_run(run);
        if let (Seen::Whole(socket), 0) = (&seen, instance) {
            tcp::share(socket)?;
            return Ok(Answer::Continue);
        }
        drop(seen);
        let Form { v6only, device, uid, .. } = form;
        let own = match tcp::open(&Target { address: SocketAddr::new(address.ip(), port), v6only, device, uid }) {
            Ok(own) => own,
            Err(error) => return failed(error),
        };
        substitute(asked.listener, asked.question, asked.fd, own.as_fd())?;
        Ok(Answer::Done)
    }
}
