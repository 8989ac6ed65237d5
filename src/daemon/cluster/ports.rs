//! Who has which socket in which group, and what that makes the kernel do.
//!
//! A run's sockets are *bound* until they listen, then *members* of a group. A member whose run has ended is kept as dead,
//! with what waits in its queue, for the next run of its slot; it leaves when another run has taken over and nothing waits,
//! or when the slot is given up.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, info, warn};

use crate::cluster::{
    Balance, Finding, Group, GroupKey, Member, MemberId, Owner, Place, Run, Share, SocketId, Standing, Step, free_tag,
};
use crate::daemon::cluster::ledger::Ledger;
use crate::daemon::cluster::records::{captured_record, group_record, records};
use crate::daemon::cluster::views::Counted;
use crate::daemon::cluster::{Newcomer, SENT, Terms, Wants};
use crate::daemon::failpoint;
use crate::daemon::link::Link;
use crate::daemon::report::Report;
use crate::proto::SocketRecord;
use crate::supervisor::{RunId, SlotId};
use crate::sys::process::Process;
use crate::sys::seccomp::{Asker, Holder, Listener};
use crate::sys::tcp::diag::Diag;
use crate::sys::tcp::{self, Instruction, Tag};

/// More steps than any change of a group takes.
const STEPS: usize = 4 * Group::LIMIT;

/// All of them.
pub(super) struct Ports {
    pub(super) groups: Vec<Port>,
    pub(super) runs: BTreeMap<RunId, Captured>,
    /// Sockets that do not listen yet.
    pub(super) bound: HashMap<SocketId, OwnedFd>,
    pub(super) diag: Diag,
    pub(super) link: Option<Link>,
    pub(super) ledger: Ledger,
    /// Sockets that their programs have closed while they live on, and since when.
    pub(super) let_go: BTreeMap<SocketId, Instant>,
    /// The processes that have sockets which do not listen yet.
    pub(super) binders: BTreeMap<SocketId, Holder>,
    /// What is to be told. Bounded by the calls of one turn.
    pub(super) told: Vec<Report>,
    /// When it was looked in vain for who has a socket.
    pub(super) searched_at: Option<Instant>,
    /// How many connections its members have, for who looks.
    pub(super) counted: Counted,
    /// Whether something changed that is shown.
    pub(super) is_changed: bool,
}

/// One group, and our duplicates of its sockets.
pub(super) struct Port {
    pub(super) group: Group,
    /// Whose it is.
    pub(super) app: String,
    pub(super) kept: HashMap<SocketId, Kept>,
}

/// Our side of one member.
pub(super) struct Kept {
    pub(super) fd: OwnedFd,
    pub(super) tag: Tag,
    /// The process that made it listen; not known of those of a predecessor.
    pub(super) holder: Option<Holder>,
    /// The other runs that have it, where all have one queue, with their processes.
    pub(super) others: BTreeMap<RunId, Option<Holder>>,
}

/// A run that is captured.
pub(super) struct Captured {
    pub(super) slot: SlotId,
    /// Its index within the app.
    pub(super) instance: u16,
    pub(super) app: String,
    pub(super) wants: Wants,
    pub(super) needs: BTreeSet<u16>,
    pub(super) listens: BTreeSet<u16>,
    /// At how many addresses of each port it has to listen, and at which it does.
    pub(super) needed: BTreeMap<u16, u16>,
    pub(super) addresses: BTreeSet<SocketAddr>,
    pub(super) standing: Standing,
    pub(super) terms: Terms,
    /// Until the last process under it has ended.
    pub(super) filter: Option<Listener>,
    pub(super) process: Option<Arc<Process>>,
    pub(super) ended: bool,
    /// Whether it was told that it is ready.
    pub(super) told: bool,
    pub(super) bound: BTreeSet<SocketId>,
    pub(super) sockets: u16,
    /// The ports of its inspectors.
    pub(super) inspected: BTreeSet<u16>,
    /// What was told of it.
    pub(super) remarks: Vec<String>,
    /// Where it has sockets of ours that cannot be looked for.
    pub(super) places: BTreeMap<(Asker, RawFd), SocketId>,
    /// The marks that its connections may have, by port.
    pub(super) tags: BTreeSet<(u16, Tag)>,
}

impl Captured {
    /// Whether it listens where it has to, and the core knows that it exists.
    pub(super) fn is_ready(&self) -> bool {
        let count = |port: u16| self.addresses.iter().filter(|address| address.port() == port).count();
        let is_everywhere = self.needed.iter().all(|(port, many)| count(*port) >= usize::from(*many));
        let listens = !self.listens.is_empty() && self.needs.is_subset(&self.listens) && is_everywhere;
        self.process.is_some() && !self.ended && listens
    }
}

impl Ports {
    /// A run is about to be made.
    pub(super) fn expect(&mut self, newcomer: Newcomer) {
        let Newcomer { run, slot, instance, app, replaces, wants, mut terms, is_probed } = newcomer;
        terms.mark = is_probed.then(|| self.free_mark(&app));
        let is_outgoing = |member: &Member| Some(RunId(member.id.run.0)) == replaces;
        let outgoing = self.groups.iter().filter(|port| port.group.members().any(is_outgoing));
        let mut needed = BTreeMap::<u16, u16>::new();
        for port in outgoing {
            let many = needed.entry(port.group.key().address.port()).or_default();
            *many = many.saturating_add(1);
        }
        let needs = needed.keys().copied().collect();
        let captured = Captured {
            slot,
            instance,
            app,
            wants,
            needs,
            listens: BTreeSet::new(),
            needed,
            addresses: BTreeSet::new(),
            standing: Standing::Starting,
            terms,
            filter: None,
            process: None,
            ended: false,
            told: false,
            bound: BTreeSet::new(),
            sockets: 0,
            inspected: BTreeSet::new(),
            remarks: Vec::new(),
            places: BTreeMap::new(),
            tags: BTreeSet::new(),
        };
        self.runs.insert(run, captured);
        self.save_run(run);
    }

    /// A run is good for something else.
    pub(super) fn steer(&mut self, run: RunId, standing: Standing) {
        let Some(captured) = self.runs.get_mut(&run).filter(|captured| !captured.ended) else { return };
        captured.standing = standing;
        let slot = captured.slot;
        self.save_run(run);
        self.change(|member| {
            if RunId(member.id.run.0) == run {
                // One that its program has closed stays what it is.
                return (member.standing != Standing::Dead && member.standing != Standing::Leaving).then_some(standing);
            }
            // It has not asked for what its slot has kept, and is ready without.
            let is_left =
                standing == Standing::Ready && place(slot) == member.place && member.standing == Standing::Dead;
            is_left.then_some(Standing::Leaving)
        });
        self.stand_together();
    }

    /// A run has ended, or could not be made.
    pub(super) fn ended(&mut self, run: RunId) {
        let Some(captured) = self.runs.get_mut(&run).filter(|captured| !captured.ended) else { return };
        captured.ended = true;
        let (slot, bound) = (captured.slot, std::mem::take(&mut captured.bound));
        self.save_run(run);
        for socket in bound {
            self.bound.remove(&socket);
            self.forget(socket);
        }
        self.leave_queues(run);
        let is_replaced = self.runs.values().any(|other| other.slot == slot && !other.ended);
        let waiting: BTreeSet<SocketId> = self
            .groups
            .iter()
            .flat_map(|port| port.kept.iter())
            .filter(|(_, kept)| tcp::queue_depth(&kept.fd).is_ok_and(|depth| depth > 0))
            .map(|(socket, _)| *socket)
            .collect();
        self.change(|member| {
            if RunId(member.id.run.0) != run || member.standing == Standing::Leaving {
                return None;
            }
            // What waits, or is on its way to it, is served by the next run of the slot, or passed on.
            let is_fed = member.standing == Standing::Ready;
            let is_kept = !is_replaced || is_fed || waiting.contains(&member.socket);
            Some(if is_kept { Standing::Dead } else { Standing::Leaving })
        });
        self.drop_if_over(run);
    }

    /// Nobody will come for what a slot has kept.
    pub(super) fn give_up(&mut self, slot: SlotId) {
        self.change(|member| {
            let is_kept = member.place == place(slot) && member.standing == Standing::Dead;
            is_kept.then_some(Standing::Leaving)
        });
    }

    /// The last process of a run has ended: nobody calls any more.
    pub(super) fn over(&mut self, run: RunId) {
        if let Some(captured) = self.runs.get_mut(&run) {
            captured.filter = None;
        }
        if let Some(link) = &self.link {
            link.forget(&[&filter_name(run)]);
        }
        self.ended(run);
        self.drop_if_over(run);
    }

    fn drop_if_over(&mut self, run: RunId) {
        if self.runs.get(&run).is_some_and(|captured| captured.ended && captured.filter.is_none()) {
            self.runs.remove(&run);
            self.ledger.write(&SocketRecord::Gone { run: run.0 });
            self.is_changed = true;
        }
    }

    /// Gives members another standing and does what follows from it.
    pub(super) fn change(&mut self, standing: impl Fn(&Member) -> Option<Standing>) {
        for at in (0..self.groups.len()).rev() {
            let Some(port) = self.groups.get_mut(at) else { continue };
            let wanted: Vec<(MemberId, Standing)> = port
                .group
                .members()
                .filter_map(|member| Some((member.id, standing(member).filter(|wanted| *wanted != member.standing)?)))
                .collect();
            if wanted.is_empty() {
                continue;
            }
            wanted.into_iter().for_each(|(id, standing)| port.group.set_standing(id, standing));
            self.save_group(at);
            self.settle(at);
        }
    }

    /// Carries out what a group asks for; a group without sockets is no more.
    pub(super) fn settle(&mut self, at: usize) {
        if let Err(error) = self.try_settle(at) {
            warn!("the sockets of a port are not as they should be: {error}");
        }
        self.is_changed = true;
        if self.groups.get(at).is_some_and(|port| port.group.is_empty() || port.kept.is_empty()) {
            self.groups.swap_remove(at);
        }
    }

    fn try_settle(&mut self, at: usize) -> io::Result<()> {
        for _ in 0..STEPS {
            let Some(port) = self.groups.get_mut(at) else { return Ok(()) };
            let listed = listed(&mut self.diag, port.group.key())?;
            for finding in port.group.observe(&listed) {
                self.on_finding(at, finding);
            }
            let Some(port) = self.groups.get_mut(at) else { return Ok(()) };
            let Some(step) = port.group.next_step() else {
                if self.survey(at) {
                    continue;
                }
                return Ok(());
            };
            debug!(address = %port.group.key().address, ?step, "step");
            failpoint::here("group-step");
            match &step {
                Step::Attach { through, program } => {
                    let Some(kept) = port.kept.get(through) else { return Err(io::ErrorKind::NotFound.into()) };
                    let code: Vec<Instruction> = program.code().iter().map(instruction).collect();
                    tcp::attach(&kept.fd, &code)?;
                    port.group.done(&step);
                }
                Step::Leave(socket) => {
                    if let Some(kept) = port.kept.get(socket) {
                        tcp::leave(&kept.fd)?;
                    }
                    port.group.done(&step);
                    self.let_go(at, *socket);
                }
            }
        }
        Err(io::Error::other("there is no end to the steps of a group"))
    }

    fn on_finding(&mut self, at: usize, finding: Finding) {
        let Some(port) = self.groups.get(at) else { return };
        let address = port.group.key().address;
        match finding {
            Finding::StrangerCame(_) => {
                let what = format!("{address} is shared by a socket that is not of this app; it gets no connection");
                self.remark_in_group(at, &what);
            }
            Finding::StrangerLeft(_) => info!(%address, "a socket that was not of this app has left the port"),
            Finding::MemberGone(_) => {
                let left: BTreeSet<SocketId> = port.group.members().map(|member| member.socket).collect();
                let gone: Vec<SocketId> = port.kept.keys().copied().filter(|socket| !left.contains(socket)).collect();
                info!(%address, "a program has taken its socket out of the port");
                gone.into_iter().for_each(|socket| self.let_go(at, socket));
            }
        }
    }

    /// A socket is in no group any more.
    fn let_go(&mut self, at: usize, socket: SocketId) {
        let Some(port) = self.groups.get_mut(at) else { return };
        if port.kept.remove(&socket).is_none() {
            return;
        }
        self.save_group(at);
        self.forget(socket);
    }

    /// Which group a key is, made if there is none.
    pub(super) fn group(&mut self, key: GroupKey, app: &str, balance: Balance) -> usize {
        self.groups.iter().position(|port| *port.group.key() == key).unwrap_or_else(|| {
            let group = Group::new(key, balance);
            self.groups.push(Port { group, app: app.to_owned(), kept: HashMap::new() });
            self.groups.len() - 1
        })
    }

    /// Another app that has this address. One that was renamed is known by its slots.
    pub(super) fn rival(
        &self,
        (address, namespace): (SocketAddr, Option<u64>),
        (app, slot): (&str, SlotId),
    ) -> Option<&str> {
        let covers = |a: IpAddr, b: IpAddr| a == b || a.is_unspecified() || b.is_unspecified();
        let is_rival = |port: &&Port| {
            let its = port.group.key();
            port.app != app
                && !port.group.members().any(|member| member.place == place(slot))
                && namespace.is_none_or(|namespace| its.namespace == namespace)
                && its.address.port() == address.port()
                && covers(its.address.ip(), address.ip())
        };
        self.groups.iter().find(is_rival).map(|port| port.app.as_str())
    }

    /// The group that has a socket.
    pub(super) fn member(&self, socket: SocketId) -> Option<(usize, Member)> {
        let find = |port: &Port| port.group.members().find(|member| member.socket == socket).copied();
        self.groups.iter().enumerate().find_map(|(at, port)| Some((at, find(port)?)))
    }

    /// The mark for a socket of a run on this port: its own, or a new one.
    pub(super) fn tag_for(&self, run: RunId, port: u16) -> Tag {
        let own = self.runs.get(&run).and_then(|captured| captured.tags.iter().find(|(of, _)| *of == port));
        own.map_or_else(|| Tag::new(free_tag(self.tags_of_others(run, port))).unwrap_or(Tag::NONE), |(_, tag)| *tag)
    }

    /// Whether every connection of this port with this mark is this run's.
    pub(super) fn is_its_alone(&self, run: RunId, port: u16, tag: Tag) -> bool {
        tag != Tag::NONE && !self.tags_of_others(run, port).any(|other| other == tag.number())
    }

    /// The marks on this port that connections of other runs may have, and those of sockets that wait for a run.
    fn tags_of_others(&self, run: RunId, port: u16) -> impl Iterator<Item = u8> {
        let others = self.runs.iter().filter(move |(other, _)| **other != run).flat_map(|(_, captured)| &captured.tags);
        let others = others.filter(move |(of, _)| *of == port).map(|(_, tag)| tag.number());
        let of_port = self.groups.iter().filter(move |of| of.group.key().address.port() == port);
        let waiting =
            of_port.flat_map(|port| port.group.members().filter_map(|it| Some((it, port.kept.get(&it.socket)?))));
        let waiting = waiting.filter(|(it, _)| !self.runs.contains_key(&RunId(it.id.run.0)));
        others.chain(waiting.map(|(_, kept)| kept.tag.number()))
    }

    /// The next name of a socket of a run.
    pub(super) fn next_id(&mut self, run: RunId) -> MemberId {
        let nth = self.runs.get_mut(&run).map_or(0, |captured| {
            captured.sockets = captured.sockets.wrapping_add(1);
            captured.sockets
        });
        MemberId { run: Run(run.0), owner: Owner(0), nth }
    }

    /// A new member, before it listens.
    pub(super) fn new_member(&mut self, run: RunId, socket: SocketId) -> Option<Member> {
        let id = self.next_id(run);
        let captured = self.runs.get(&run)?;
        let (place, standing) = (place(captured.slot), captured.standing);
        let Terms { weight, mark, .. } = captured.terms;
        Some(Member { socket, id, place, weight, share: Share::Whole, mark, standing })
    }

    /// Leaves a socket with the guardian, before its program goes on.
    pub(super) fn leave_with_guardian(&self, socket: SocketId, fd: &impl AsFd) {
        self.put(&socket_name(socket), fd);
    }

    pub(super) fn put(&self, name: &str, fd: &impl AsFd) {
        let Some(link) = &self.link else { return };
        link.put(&[(name, fd.as_fd())]);
        if !link.is_sent_within(SENT) {
            warn!("the guardian is slow to take descriptors");
        }
    }

    pub(super) fn forget(&self, socket: SocketId) {
        if let Some(link) = &self.link {
            link.forget(&[&socket_name(socket)]);
        }
    }

    pub(super) fn save_run(&mut self, run: RunId) {
        if let Some(captured) = self.runs.get(&run) {
            self.ledger.write(&SocketRecord::Run(Box::new(captured_record(run, captured))));
        }
        self.is_changed = true;
        self.renew_ledger();
    }

    pub(super) fn save_group(&mut self, at: usize) {
        if let Some(port) = self.groups.get(at) {
            self.ledger.write(&SocketRecord::Group(group_record(port, None)));
        }
        self.renew_ledger();
    }

    /// Before it listens: whether it came is found out by its successor.
    pub(super) fn save_joining(&mut self, at: usize, member: &Member, tag: Tag) {
        if let Some(port) = self.groups.get(at) {
            self.ledger.write(&SocketRecord::Group(group_record(port, Some((member, tag)))));
        }
    }

    fn renew_ledger(&mut self) {
        if self.ledger.is_due() {
            self.ledger.renew(&records(&self.groups, &self.runs));
        }
    }
}

/// The sockets that listen on the port of a group.
fn listed(diag: &mut Diag, key: &GroupKey) -> io::Result<Vec<SocketId>> {
    let listed = diag.listeners(key.address.port())?;
    let is_of_group = |found: &&tcp::diag::Listening| {
        found.address.ip() == key.address.ip()
            && found.v6only == key.v6only
            && found.device == key.device
            && found.uid == key.uid
    };
    Ok(listed.iter().filter(is_of_group).map(|found| SocketId(found.cookie.0)).collect())
}

fn instruction(found: &crate::cluster::Instruction) -> Instruction {
    let crate::cluster::Instruction { code, jt, jf, k } = *found;
    Instruction { code, jt, jf, k }
}

pub(super) fn place(slot: SlotId) -> Place {
    Place(slot.0)
}

/// The name of a socket with the guardian.
pub(super) fn socket_name(socket: SocketId) -> String {
    format!("sock/fd/{}", socket.0)
}

pub(super) fn filter_name(run: RunId) -> String {
    format!("run/{}/filter", run.0)
}
