//! A socket of ours in the place of a program's own: where that may not be looked into, or cannot be shared.
//!
//! It is not bound yet: the program's own `bind` goes on with it, with the program's rights and its own address, which
//! nobody has to read for that. What the program has set on its socket before is lost where it cannot be seen.

use std::io;

use nix::errno::Errno;
use tracing::debug;

use crate::cluster::SocketId;
use crate::daemon::cluster::ports::Ports;
use crate::daemon::cluster::seen::{Address, Asked};
use crate::daemon::failpoint;
use crate::supervisor::RunId;
use crate::sys::seccomp::{Answer, Outside, put, substitute};
use crate::sys::tcp::{self, Cookie, Form, Kind};

/// The lengths of struct sockaddr_in and struct sockaddr_in6.
const V4: u32 = 16;
const V6: u32 = 28;

/// How much of a replaced socket can be carried over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// All that is known.
    Inside,
    /// What can be told from outside.
    Outside,
}

impl Ports {
    /// A `bind` of a socket that no duplicate can be had of.
    pub(super) fn bind_from_outside(
        &mut self,
        run: RunId,
        asked: Asked<'_>,
        outside: &Outside,
        address: Address,
    ) -> io::Result<Answer> {
        if let Some(id) = self.by_inode(outside.inode) {
            return Ok(self.bind_again(run, id));
        }
        if !matches!(outside.kind, Kind::Tcp | Kind::Mptcp) || outside.is_v6 && address == Address::Other {
            return Ok(Answer::Continue);
        }
        if let Address::Inet(address) = address {
            if let Some(answer) = self.refuse_rival(run, address, None) {
                return Ok(answer);
            }
            let (is_v6, uid) = (outside.is_v6, outside.uid);
            let is_it = |key: &crate::cluster::GroupKey| {
                key.address == address && key.address.is_ipv6() == is_v6 && key.uid == uid
            };
            if let Some(answer) = self.give_kept(run, asked, is_it)? {
                return Ok(answer);
            }
        }
        let form = Form { is_v6: outside.is_v6, v6only: false, device: 0, uid: outside.uid };
        self.put_own(run, asked, &form, From::Outside)
    }

    /// A `bind` of which nothing can be seen but how long the address is.
    pub(super) fn bind_blindly(&mut self, run: RunId, asked: Asked<'_>, length: u32) -> io::Result<Answer> {
        let is_v6 = match length {
            V4 => false,
            V6 => true,
            _ => return Ok(Answer::Continue),
        };
        if self.runs.get(&run).is_none_or(|captured| captured.wants.only.is_none()) {
            let why = "a socket is not shared: its process may not be looked into; `capture = [PORT]` names its ports";
            self.remark(run, why);
            return Ok(Answer::Continue);
        }
        let uid = asked.listener.look(asked.question, |caller| caller.uid())?;
        self.put_own(run, asked, &Form { is_v6, v6only: false, device: 0, uid }, From::Outside)
    }

    /// Puts a new socket there, for the program to bind.
    pub(super) fn put_own(&mut self, run: RunId, asked: Asked<'_>, form: &Form, from: From) -> io::Result<Answer> {
        let own = match tcp::unbound(form) {
            Ok(own) => own,
            Err(error) => {
                self.remark(run, &format!("a socket is not shared: none can be made for uid {}: {error}", form.uid));
                return Ok(Answer::Continue);
            }
        };
        let id = SocketId(Cookie::of(&own)?.0);
        let copy = own.try_clone()?;
        let asker = asked.asker()?;
        self.bound(run, id, own, (from == From::Outside).then_some((asker, asked.fd)));
        failpoint::here("own-kept");
        let copy = std::os::fd::AsFd::as_fd(&copy);
        let done = match from {
            From::Inside => substitute(asked.listener, asked.question, asked.fd, copy),
            From::Outside => put(asked.listener, asked.question, asked.fd, copy),
        };
        failpoint::here("own-put");
        match done {
            Ok(done) => {
                debug!(run = run.0, ?done, "binds a socket of ours");
                Ok(Answer::Continue)
            }
            Err(error) => {
                self.unbind(run, id);
                if error.kind() == io::ErrorKind::Unsupported {
                    self.remark(run, &format!("a socket is not shared: {error}"));
                    return Ok(Answer::Continue);
                }
                Err(error)
            }
        }
    }

    /// A socket of a run is not kept any more.
    pub(super) fn unbind(&mut self, run: RunId, id: SocketId) {
        self.bound.remove(&id);
        if let Some(captured) = self.runs.get_mut(&run) {
            captured.bound.remove(&id);
            captured.places.retain(|_, socket| *socket != id);
        }
        self.forget(id);
        self.save_run(run);
    }

    /// Sockets that could not be bound, and were closed since: a program that looks for a free port leaves many.
    pub(super) fn prune(&mut self, run: RunId) {
        let Some(captured) = self.runs.get(&run) else { return };
        let is_unbound = |id: &&SocketId| {
            self.bound.get(id).is_none_or(|fd| tcp::Facts::of(fd).map_or(true, |facts| facts.address.port() == 0))
        };
        let stale: Vec<SocketId> = captured.bound.iter().filter(is_unbound).copied().collect();
        stale.into_iter().for_each(|id| self.unbind(run, id));
    }
}

/// What a failed call of ours means to the program whose call it stands for.
pub(super) fn failed(error: io::Error) -> io::Result<Answer> {
    error.raw_os_error().map(|errno| Answer::Failed(Errno::from_raw(errno))).ok_or(error)
}
