//! The answers to `bind` and `listen`.
//!
//! Answering twice does no harm: a question that a predecessor has left open may have had its effect already.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use nix::errno::Errno;
use tracing::debug;

use crate::cluster::{GroupKey, Member, SocketId, Standing};
use crate::daemon::cluster::own::{From, failed};
use crate::daemon::cluster::ports::{Kept, Port, Ports, place};
use crate::daemon::cluster::seen::{Address, Asked, Seen};
use crate::supervisor::RunId;
use crate::sys::seccomp::{Answer, Asker, Call, Holder, Listener, Question, substitute};
use crate::sys::tcp::{self, Facts, Form, Kind, Tag};

/// What is to happen before a bound socket listens.
enum Before {
    /// This socket joins its group.
    Join(SocketId),
    Answer(Answer),
}

/// More sockets than these are not kept of one run before they listen.
const BOUND: usize = 64;

impl Ports {
    /// Decides on a question of a run, and does what has to be done before its program goes on.
    pub(super) fn decide(&mut self, run: RunId, listener: &Listener, question: &Question) -> Answer {
        let decided = match question.call {
            Call::Bind { fd, address, length } => {
                self.on_bind(run, Asked { listener, question, fd }, (address, length))
            }
            Call::Listen { fd, backlog } => self.on_listen(run, Asked { listener, question, fd }, backlog),
            Call::Gate | Call::Other => Ok(Answer::Continue),
        };
        decided.unwrap_or_else(|error| {
            // One that is not open any more was killed or interrupted; its answer is nobody's.
            if error.kind() != io::ErrorKind::NotFound {
                debug!(run = run.0, call = ?question.call, "not decided: {error}");
                self.remark(run, &format!("a socket is not shared: {error}"));
            }
            Answer::Continue
        })
    }

    fn on_bind(&mut self, run: RunId, asked: Asked<'_>, (address, length): (u64, u32)) -> io::Result<Answer> {
        let seen = asked.socket()?;
        if let Seen::Whole(socket) = &seen
            && tcp::kind(socket)? == Kind::Other
        {
            return Ok(Answer::Continue);
        }
        let address = asked.address(address, length)?;
        match address {
            Address::Other => return Ok(Answer::Continue),
            Address::Inet(address) if address.port() == 0 => return Ok(Answer::Continue),
            Address::Inet(address) if !self.is_wanted(run, address.port()) => {
                if self.is_inspector(run, address.port()) {
                    return self.bind_inspector(run, asked, seen, address);
                }
                return Ok(Answer::Continue);
            }
            Address::Inet(_) | Address::Hidden => {}
        }
        if self.runs.get(&run).is_none_or(|captured| captured.bound.len() >= BOUND) {
            self.prune(run);
        }
        if self.runs.get(&run).is_none_or(|captured| captured.bound.len() >= BOUND) {
            self.remark(run, "a socket is not shared: too many are bound that do not listen");
            return Ok(Answer::Continue);
        }
        match seen {
            Seen::Whole(socket) => self.bind_seen(run, asked, socket, address),
            Seen::Outside(outside) => self.bind_from_outside(run, asked, &outside, address),
            Seen::Nothing => self.bind_blindly(run, asked, length),
        }
    }

    /// Whether a port of a run is to be shared.
    pub(super) fn is_wanted(&self, run: RunId, port: u16) -> bool {
        self.runs.get(&run).is_some_and(|captured| match &captured.wants.only {
            Some(only) => only.contains(&port),
            None => !captured.wants.inspectors.contains(&port),
        })
    }

    /// A `bind` of a socket that a duplicate was had of.
    fn bind_seen(&mut self, run: RunId, asked: Asked<'_>, socket: OwnedFd, address: Address) -> io::Result<Answer> {
        let Facts { address: bound, v6only, device, uid, namespace, cookie, .. } = Facts::of(&socket)?;
        let id = SocketId(cookie.0);
        if self.bound.contains_key(&id) || self.member(id).is_some() {
            return Ok(self.bind_again(run, id));
        }
        if bound.port() != 0 {
            // A second time, which is the kernel's to refuse.
            return Ok(Answer::Continue);
        }
        let kind = tcp::kind(&socket)?;
        if let Address::Inet(address) = address {
            let key = GroupKey { namespace, address, v6only, device, uid };
            if let Some(answer) = self.refuse_rival(run, address, Some(namespace)) {
                return Ok(answer);
            }
            // No duplicate of a replaced socket may be left.
            let form = Form::of(&socket)?;
            let socket = (kind == Kind::Tcp).then_some(socket);
            if self.keeps_for(run, |of| *of == key) {
                drop(socket);
                return Ok(self.give_kept(run, asked, |of| *of == key)?.unwrap_or(Answer::Continue));
            }
            return match socket {
                Some(socket) => self.adopt(run, asked, id, socket),
                None => self.put_own(run, asked, &form, From::Inside),
            };
        }
        match kind {
            Kind::Tcp => self.adopt(run, asked, id, socket),
            Kind::Mptcp | Kind::Other => {
                let form = Form::of(&socket)?;
                drop(socket);
                self.put_own(run, asked, &form, From::Inside)
            }
        }
    }

    fn adopt(&mut self, run: RunId, asked: Asked<'_>, id: SocketId, socket: OwnedFd) -> io::Result<Answer> {
        tcp::share(&socket)?;
        self.bound(run, id, socket, None);
        self.remember_binder(asked, id);
        Ok(Answer::Continue)
    }

    /// Whose a socket is that does not listen yet.
    pub(super) fn remember_binder(&mut self, asked: Asked<'_>, id: SocketId) {
        let inode = self.bound.get(&id).and_then(|fd| tcp::inode(fd).ok());
        let holder = |inode| asked.listener.look(asked.question, |caller| caller.holder(asked.fd, inode)).ok();
        if let Some(holder) = inode.and_then(holder) {
            self.binders.insert(id, holder);
        }
    }

    /// It is a socket that is kept already: one of ours that was put there before the question was answered, or one that
    /// is bound a second time.
    pub(super) fn bind_again(&mut self, run: RunId, id: SocketId) -> Answer {
        let Some((at, member)) = self.member(id) else {
            // Not bound yet, or the kernel's to refuse.
            return Answer::Continue;
        };
        let has_one_queue = self.runs.get(&run).is_some_and(|captured| captured.wants.has_one_queue);
        if has_one_queue {
            self.share_queue(run, at, &member);
        } else if member.standing == Standing::Dead {
            self.inherit(run, at, &member);
        }
        Answer::Done
    }

    /// What a program gets whose port another app has.
    pub(super) fn refuse_rival(&mut self, run: RunId, address: SocketAddr, namespace: Option<u64>) -> Option<Answer> {
        let captured = self.runs.get(&run)?;
        let rival = self.rival((address, namespace), (&captured.app, captured.slot))?.to_owned();
        self.remark(run, &format!("{address} is refused: the app `{rival}` has this port"));
        Some(Answer::Failed(Errno::EADDRINUSE))
    }

    /// Whether there is a socket for a run that it did not make.
    fn keeps_for(&self, run: RunId, is_it: impl Fn(&GroupKey) -> bool) -> bool {
        let is_queue = |port: &Port, app: &str| is_it(port.group.key()) && port.app == app;
        let has_queue = self.runs.get(&run).is_some_and(|captured| {
            captured.wants.has_one_queue && self.groups.iter().any(|port| is_queue(port, &captured.app))
        });
        has_queue || self.waiting(run, &is_it).is_some()
    }

    /// Gives a run a socket that is kept for it: the one queue of its app, or what waits for the next run of its slot.
    pub(super) fn give_kept(
        &mut self,
        run: RunId,
        asked: Asked<'_>,
        is_it: impl Fn(&GroupKey) -> bool,
    ) -> io::Result<Option<Answer>> {
        if let Some(answer) = self.give_queue(run, asked, &is_it)? {
            return Ok(Some(answer));
        }
        let Some((at, kept)) = self.waiting(run, &is_it) else { return Ok(None) };
        let Some(fd) = self.groups.get(at).and_then(|port| port.kept.get(&kept.socket)) else { return Ok(None) };
        substitute(asked.listener, asked.question, asked.fd, fd.fd.as_fd())?;
        self.inherit(run, at, &kept);
        debug!(run = run.0, "got the socket that was kept");
        Ok(Some(Answer::Done))
    }

    /// A socket of a run is kept, before its program goes on.
    pub(super) fn bound(&mut self, run: RunId, id: SocketId, socket: OwnedFd, place: Option<(Asker, RawFd)>) {
        self.leave_with_guardian(id, &socket);
        self.bound.insert(id, socket);
        if let Some(captured) = self.runs.get_mut(&run) {
            captured.bound.insert(id);
            captured.places.extend(place.map(|place| (place, id)));
        }
        self.save_run(run);
    }

    /// A socket of this address that waits for the next run of a slot.
    pub(super) fn waiting(&self, run: RunId, is_it: impl Fn(&GroupKey) -> bool) -> Option<(usize, Member)> {
        let slot = place(self.runs.get(&run)?.slot);
        let (at, port) = self.groups.iter().enumerate().find(|(_, port)| is_it(port.group.key()))?;
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

    pub(super) fn inherit(&mut self, run: RunId, at: usize, kept: &Member) {
        let heir = self.next_id(run);
        let Some((standing, mark)) = self.runs.get(&run).map(|captured| (captured.standing, captured.terms.mark))
        else {
            return;
        };
        if let Some(port) = self.groups.get_mut(at) {
            port.group.inherited(kept.id, heir, standing);
            port.group.set_mark(heir, mark);
            let number = port.group.key().address.port();
            if let Some(kept) = port.kept.get_mut(&kept.socket) {
                kept.holder = None;
                // What waits there has its mark already.
                if let Some(captured) = self.runs.get_mut(&run) {
                    captured.tags.insert((number, kept.tag));
                }
            }
        }
        self.save_run(run);
        self.save_group(at);
        self.settle(at);
    }

    fn on_listen(&mut self, run: RunId, asked: Asked<'_>, backlog: i32) -> io::Result<Answer> {
        let Some(mut id) = self.find(run, asked)? else { return Ok(Answer::Continue) };
        if self.bound.contains_key(&id) {
            match self.before_join(run, asked, id)? {
                Before::Join(kept) => id = kept,
                Before::Answer(answer) => return Ok(answer),
            }
        }
        let Some(facts) = self.kept_fd(id).map(Facts::of).transpose()? else { return Ok(Answer::Continue) };
        let holder = asked.listener.look(asked.question, |caller| caller.holder(asked.fd, facts.inode)).ok();
        let Some((at, member)) = self.member(id) else { return self.join(run, &facts, holder, backlog) };
        let Some(kept) = self.groups.get_mut(at).and_then(|port| port.kept.get_mut(&id)) else {
            return Ok(Answer::Continue);
        };
        if RunId(member.id.run.0) == run {
            kept.holder = holder;
        } else if let Some(its) = kept.others.get_mut(&run) {
            *its = holder;
        }
        if let Err(error) = tcp::join(&kept.fd, backlog) {
            return failed(error);
        }
        self.listens(run, facts.address);
        Ok(Answer::Done)
    }

    fn kept_fd(&self, id: SocketId) -> Option<&OwnedFd> {
        let of_member = || Some(&self.groups.get(self.member(id)?.0)?.kept.get(&id)?.fd);
        self.bound.get(&id).or_else(of_member)
    }

    /// What only the bound socket says, where the call that bound it could not be seen.
    fn before_join(&mut self, run: RunId, asked: Asked<'_>, id: SocketId) -> io::Result<Before> {
        let Some(Facts { address, uid, namespace, .. }) = self.bound.get(&id).map(Facts::of).transpose()? else {
            return Ok(Before::Answer(Answer::Continue));
        };
        if address.port() == 0 || !self.is_wanted(run, address.port()) {
            return Ok(Before::Answer(Answer::Continue));
        }
        if let Some(answer) = self.refuse_rival(run, address, Some(namespace)) {
            return Ok(Before::Answer(answer));
        }
        let is_unseen = self.runs.get(&run).is_some_and(|it| it.places.values().any(|socket| *socket == id));
        let is_it = |key: &GroupKey| key.address == address && key.uid == uid && key.namespace == namespace;
        // Two that bind at once find no queue yet; the first that listens makes it.
        let has_one_queue = self.runs.get(&run).is_some_and(|it| it.wants.has_one_queue);
        if (is_unseen || has_one_queue) && self.keeps_for(run, is_it) && self.give_kept(run, asked, is_it)?.is_some() {
            // It has another one now; this one was never its port's.
            self.unbind(run, id);
            let mine = |member: &&Member| RunId(member.id.run.0) == run;
            let port = self.groups.iter().find(|port| is_it(port.group.key()));
            let kept = port.and_then(|port| {
                let of_others = || port.kept.iter().find(|(_, kept)| kept.others.contains_key(&run)).map(|(id, _)| *id);
                port.group.members().filter(mine).map(|member| member.socket).last().or_else(of_others)
            });
            if let Some(kept) = kept {
                if is_unseen && let Some(captured) = self.runs.get_mut(&run) {
                    captured.places.insert((asked.asker()?, asked.fd), kept);
                }
                return Ok(Before::Join(kept));
            }
            return Ok(Before::Answer(Answer::Continue));
        }
        Ok(Before::Join(id))
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
        let tag = self.tag_for(run, address.port());
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
            self.save_group(at);
            if self.groups.get(at).is_some_and(|port| port.kept.is_empty()) {
                self.groups.swap_remove(at);
            }
            return failed(error);
        }
        if let Some(port) = self.groups.get_mut(at) {
            port.group.joined(member);
            port.group.set_balance(terms.balance);
            port.kept.insert(id, Kept { fd: socket, tag, holder, others: BTreeMap::new() });
        }
        if let Some(captured) = self.runs.get_mut(&run) {
            captured.bound.remove(&id);
            captured.tags.insert((address.port(), tag));
        }
        self.listens(run, address);
        self.settle(at);
        Ok(Answer::Done)
    }

    fn listens(&mut self, run: RunId, address: SocketAddr) {
        if let Some(captured) = self.runs.get_mut(&run) {
            captured.listens.insert(address.port());
            captured.addresses.insert(address);
        }
        self.save_run(run);
    }
}
