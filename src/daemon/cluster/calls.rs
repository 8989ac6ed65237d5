//! The answers to `bind` and `listen`.
//!
//! Answering twice does no harm: a question that a predecessor has left open may have had its effect already.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};

use nix::errno::Errno;
use tracing::{debug, warn};

use crate::cluster::{GroupKey, Member, SocketId, Standing};
use crate::daemon::cluster::ports::{Kept, Ports, place};
use crate::supervisor::RunId;
use crate::sys::seccomp::{Answer, Call, Holder, Listener, Question, SocketAddress, substitute};
use crate::sys::tcp::{self, Cookie, Facts, Kind, Tag, Target};

/// More sockets than these are not kept of one run before they listen.
const BOUND: usize = 64;

/// What was seen of a `bind`.
struct Binding {
    socket: OwnedFd,
    id: SocketId,
    /// Where it is to be bound.
    key: GroupKey,
    kind: Kind,
}

impl Ports {
    /// Decides on a question of a run, and does what has to be done before its program goes on.
    pub(super) fn decide(&mut self, run: RunId, listener: &Listener, question: &Question) -> Answer {
        let decided = match question.call {
            Call::Bind { fd, address, length } => self.on_bind(run, listener, question, (fd, address, length)),
            Call::Listen { fd, backlog } => self.on_listen(run, listener, question, fd, backlog),
            Call::Gate | Call::Other => Ok(Answer::Continue),
        };
        decided.unwrap_or_else(|error| {
            // One that is not open any more was killed or interrupted; its answer is nobody's.
            if error.kind() != io::ErrorKind::NotFound {
                warn!(run = run.0, call = ?question.call, "a socket is not shared: {error}");
            }
            Answer::Continue
        })
    }

    fn on_bind(
        &mut self,
        run: RunId,
        listener: &Listener,
        question: &Question,
        (fd, address, length): (RawFd, u64, u32),
    ) -> io::Result<Answer> {
        let seen = listener.look(question, |caller| Ok((caller.duplicate(fd)?, caller.address(address, length)?)))?;
        let (socket, SocketAddress::Inet(address)) = seen else { return Ok(Answer::Continue) };
        let kind = tcp::kind(&socket)?;
        if address.port() == 0 || kind == Kind::Other {
            return Ok(Answer::Continue);
        }
        let facts = Facts::of(&socket)?;
        let id = SocketId(facts.cookie.0);
        if self.bound.contains_key(&id) || self.member(id).is_some() {
            // It was put there by us, or is bound a second time, which is the kernel's to refuse.
            let is_ours = facts.address.port() != 0;
            return Ok(if is_ours { self.answer_again(run, id) } else { Answer::Continue });
        }
        if facts.address.port() != 0 {
            return Ok(Answer::Continue);
        }
        let Facts { v6only, device, uid, namespace, .. } = facts;
        let key = GroupKey { namespace, address, v6only, device, uid };
        self.bind(run, (listener, question, fd), Binding { socket, id, key, kind })
    }

    /// It had our socket before the question was answered.
    fn answer_again(&mut self, run: RunId, id: SocketId) -> Answer {
        if let Some((at, member)) = self.member(id).filter(|(_, member)| member.standing == Standing::Dead) {
            self.inherit(run, at, &member);
        }
        Answer::Done
    }

    fn bind(
        &mut self,
        run: RunId,
        (listener, question, fd): (&Listener, &Question, RawFd),
        binding: Binding,
    ) -> io::Result<Answer> {
        let Some(captured) = self.runs.get(&run) else { return Ok(Answer::Continue) };
        if let Some(rival) = self.rival(&binding.key, (&captured.app, captured.slot)) {
            warn!(app = captured.app, address = %binding.key.address, "refused: `{rival}` has this port");
            return Ok(Answer::Failed(Errno::EADDRINUSE));
        }
        if captured.bound.len() >= BOUND {
            return Ok(Answer::Continue);
        }
        if let Some((at, kept)) = self.waiting(run, &binding.key) {
            let Binding { socket, .. } = binding;
            // No duplicate of a replaced socket may be left.
            drop(socket);
            if let Some(port) = self.groups.get(at).and_then(|port| port.kept.get(&kept.socket)) {
                substitute(listener, question, fd, std::os::fd::AsFd::as_fd(&port.fd))?;
                self.inherit(run, at, &kept);
                debug!(run = run.0, address = %binding.key.address, "got the socket that was kept");
                return Ok(Answer::Done);
            }
            return Ok(Answer::Continue);
        }
        match binding.kind {
            Kind::Tcp => {
                tcp::share(&binding.socket)?;
                self.bound(run, binding.id, binding.socket);
                Ok(Answer::Continue)
            }
            Kind::Mptcp => self.replace(run, (listener, question, fd), &binding.key),
            Kind::Other => Ok(Answer::Continue),
        }
    }

    /// What cannot be steered gets a socket of ours.
    fn replace(
        &mut self,
        run: RunId,
        (listener, question, fd): (&Listener, &Question, RawFd),
        key: &GroupKey,
    ) -> io::Result<Answer> {
        let GroupKey { address, v6only, device, uid, .. } = *key;
        let own = match tcp::open(&Target { address, v6only, device, uid }) {
            Ok(own) => own,
            Err(error) => {
                let errno = error.raw_os_error().map(Errno::from_raw).ok_or(error)?;
                return Ok(Answer::Failed(errno));
            }
        };
        let id = SocketId(Cookie::of(&own)?.0);
        let copy = own.try_clone()?;
        self.bound(run, id, own);
        substitute(listener, question, fd, std::os::fd::AsFd::as_fd(&copy))?;
        Ok(Answer::Done)
    }

    fn bound(&mut self, run: RunId, id: SocketId, socket: OwnedFd) {
        self.leave_with_guardian(id, &socket);
        self.bound.insert(id, socket);
        if let Some(captured) = self.runs.get_mut(&run) {
            captured.bound.insert(id);
        }
        self.save_run(run);
    }

    /// A socket of this address that waits for the next run of a slot.
    fn waiting(&self, run: RunId, key: &GroupKey) -> Option<(usize, Member)> {
        let slot = place(self.runs.get(&run)?.slot);
        let (at, port) = self.groups.iter().enumerate().find(|(_, port)| port.group.key() == key)?;
        // A program that has closed its socket and opens another one, before that was noticed.
        let is_let_go = |member: &Member| {
            let holder = port.kept.get(&member.socket).and_then(|kept| kept.holder.as_ref());
            RunId(member.id.run.0) == run && holder.is_some_and(|holder| matches!(holder.is_holding(), Ok(false)))
        };
        let members = port.group.members().filter(|member| member.place == slot);
        let kept = members.filter(|member| member.standing == Standing::Dead || is_let_go(member));
        let depth = |member: &&Member| {
            port.kept.get(&member.socket).and_then(|kept| tcp::queue_depth(&kept.fd).ok()).unwrap_or_default()
        };
        Some((at, *kept.max_by_key(depth)?))
    }

    fn inherit(&mut self, run: RunId, at: usize, kept: &Member) {
        let heir = self.next_id(run);
        let Some(standing) = self.runs.get(&run).map(|captured| captured.standing) else { return };
        if let Some(port) = self.groups.get_mut(at) {
            port.group.inherited(kept.id, heir, standing);
            if let Some(kept) = port.kept.get_mut(&kept.socket) {
                kept.holder = None;
            }
        }
        self.save_run(run);
        self.save_group(at);
        self.settle(at);
    }

    fn on_listen(
        &mut self,
        run: RunId,
        listener: &Listener,
        question: &Question,
        fd: RawFd,
        backlog: i32,
    ) -> io::Result<Answer> {
        let socket = listener.look(question, |caller| caller.duplicate(fd))?;
        if tcp::kind(&socket)? != Kind::Tcp {
            return Ok(Answer::Continue);
        }
        let facts = Facts::of(&socket)?;
        let id = SocketId(facts.cookie.0);
        let holder = listener.look(question, |caller| caller.holder(fd, facts.inode)).ok();
        drop(socket);
        if let Some((at, _)) = self.member(id) {
            let Some(kept) = self.groups.get_mut(at).and_then(|port| port.kept.get_mut(&id)) else {
                return Ok(Answer::Continue);
            };
            kept.holder = holder;
            if let Err(error) = tcp::join(&kept.fd, backlog) {
                return failed(error);
            }
            self.listens(run, facts.address);
            return Ok(Answer::Done);
        }
        if !self.bound.contains_key(&id) || facts.address.port() == 0 {
            return Ok(Answer::Continue);
        }
        self.join(run, &facts, holder, backlog)
    }

    fn join(&mut self, run: RunId, facts: &Facts, holder: Option<Holder>, backlog: i32) -> io::Result<Answer> {
        let id = SocketId(facts.cookie.0);
        let Facts { address, v6only, device, uid, namespace, .. } = *facts;
        let Some((app, terms)) = self.runs.get(&run).map(|captured| (captured.app.clone(), captured.terms)) else {
            return Ok(Answer::Continue);
        };
        let Some(member) = self.new_member(run, id) else { return Ok(Answer::Continue) };
        let at = self.group(GroupKey { namespace, address, v6only, device, uid }, &app, terms.balance);
        let Some(port) = self.groups.get_mut(at) else { return Ok(Answer::Continue) };
        if !port.group.has_room() {
            return Ok(Answer::Failed(Errno::EADDRINUSE));
        }
        let Some(socket) = self.bound.remove(&id) else { return Ok(Answer::Continue) };
        let tag = port.tags.take().and_then(Tag::new).unwrap_or(Tag::NONE);
        // Before anybody can connect: connections that exist keep the mark of before.
        let tag = match tcp::set_tag(&socket, tag) {
            Ok(()) => tag,
            Err(error) => {
                debug!("connections of this socket cannot be told from others: {error}");
                Tag::NONE
            }
        };
        self.save_joining(at, &member, tag);
        if let Err(error) = tcp::join(&socket, backlog) {
            self.bound.insert(id, socket);
            if let Some(port) = self.groups.get_mut(at) {
                port.tags.give_back(tag.number());
            }
            self.save_group(at);
            if self.groups.get(at).is_some_and(|port| port.kept.is_empty()) {
                self.groups.swap_remove(at);
            }
            return failed(error);
        }
        if let Some(port) = self.groups.get_mut(at) {
            port.group.joined(member);
            port.group.set_balance(terms.balance);
            port.kept.insert(id, Kept { fd: socket, tag, holder });
        }
        if let Some(captured) = self.runs.get_mut(&run) {
            captured.bound.remove(&id);
        }
        self.listens(run, address);
        self.settle(at);
        Ok(Answer::Done)
    }

    fn listens(&mut self, run: RunId, address: SocketAddr) {
        if let Some(captured) = self.runs.get_mut(&run) {
            captured.listens.insert(address.port());
        }
        self.save_run(run);
    }
}

fn failed(error: io::Error) -> io::Result<Answer> {
    error.raw_os_error().map(|errno| Answer::Failed(Errno::from_raw(errno))).ok_or(error)
}
