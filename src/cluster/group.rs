//! The members of one port, and the kernel steps from what is to what is wanted.
//!
//! The kernel keeps the sockets of a group in an array: one that begins to listen is appended, one that leaves is replaced
//! by the last. A program names members by their index there, which nobody can ask for; so this keeps the same array.
//!
//! A change is told with [`Group::joined`], [`Group::set_standing`] and the others; then, until there is none,
//! [`Group::next_step`] is carried out and confirmed with [`Group::done`]. Nothing is remembered between two steps but the
//! array and the program, so a successor that knows the array begins anywhere.
//!
//! # Leaving
//!
//! While a socket leaves, for a moment, the array has changed and the program has not: the index of the last member then
//! means nothing, and an index out of range makes the kernel choose among all. So, before that, a program without the last
//! and without the leaving is attached. Where that would leave nobody to choose and others, unwanted ones, are in the
//! group, the socket stays for now: no program returns it, its queue is as empty as it was, and the next change will find
//! a better moment.

use std::collections::BTreeSet;

use crate::cluster::member::{GroupKey, Member, MemberId, Share, SocketId, Standing};
use crate::cluster::steering::{Balance, Candidate, Mark, Place, Program, Table, Weight};

/// What the kernel is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The group gets a program.
    Attach {
        /// Through this member, which listens.
        through: SocketId,
        /// The program.
        program: Program,
    },
    /// A socket leaves: shutdown for reading, which also works where somebody has inherited it, then close.
    Leave(SocketId),
}

/// The program that the group has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attached {
    /// Nobody knows: a predecessor may have been interrupted.
    Unknown,
    /// None: the kernel spreads by a hash.
    None,
    /// This one.
    Program(Program),
}

/// One index of the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Ours(Member),
    /// A socket that shares the port and is not ours.
    Stranger(SocketId),
}

/// The sockets of one port.
#[derive(Clone, Debug)]
pub struct Group {
    key: GroupKey,
    balance: Balance,
    pub(super) entries: Vec<Entry>,
    pub(super) attached: Attached,
    /// Whether the array may be another one than we think.
    pub(super) is_in_doubt: bool,
    /// How many of the entries were there when the kernel's list was looked at last. Somebody else may have come between
    /// those behind them.
    pub(super) observed: usize,
    /// Whether strangers may be at each other's index: they cannot be told apart.
    pub(super) are_strangers_mixed: bool,
}

impl Group {
    /// More members than these are not for one port: programs grow with them, and the kernel limits those
    /// (net.core.optmem_max, 20 KiB on older machines).
    pub const LIMIT: usize = 350;

    /// A group that nobody has joined.
    pub fn new(key: GroupKey, balance: Balance) -> Group {
        Group {
            key,
            balance,
            entries: Vec::new(),
            attached: Attached::None,
            is_in_doubt: false,
            observed: 0,
            are_strangers_mixed: false,
        }
    }

    /// The group of a predecessor: its members in the order of its array. What program it has is not known; the first step
    /// gives it one.
    pub fn restored(key: GroupKey, balance: Balance, members: impl IntoIterator<Item = Member>) -> Group {
        let entries: Vec<Entry> = members.into_iter().map(Entry::Ours).collect();
        let observed = entries.len();
        Group {
            key,
            balance,
            entries,
            attached: Attached::Unknown,
            is_in_doubt: false,
            observed,
            are_strangers_mixed: false,
        }
    }

    /// What it is.
    pub fn key(&self) -> &GroupKey {
        &self.key
    }

    /// Whether another member may listen.
    pub fn has_room(&self) -> bool {
        self.entries.len() < Group::LIMIT
    }

    /// Its members, in the array's order.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Ours(member) => Some(member),
            Entry::Stranger(_) => None,
        })
    }

    /// All sockets in the array's order, strangers too.
    pub fn sockets(&self) -> Vec<SocketId> {
        self.entries.iter().map(Entry::socket).collect()
    }

    /// Whether there are sockets in it that are not ours.
    pub fn has_strangers(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Stranger(_)))
    }

    /// Those that get new connections, once all steps are done.
    pub fn serving(&self) -> impl Iterator<Item = &Member> {
        let is_wanted = self.wanted();
        self.members().filter(move |member| is_wanted(member.standing))
    }

    /// One of them.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.members().find(|member| member.id == id)
    }

    /// Whether nobody is in it, strangers neither.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A socket listens now. One that did before has only changed the length of its queue.
    pub fn joined(&mut self, member: Member) {
        if self.position(member.socket).is_none() {
            self.entries.push(Entry::Ours(member));
        }
    }

    /// A member is good for something else now.
    pub fn set_standing(&mut self, id: MemberId, standing: Standing) {
        if let Some(member) = self.find(id) {
            member.standing = standing;
        }
    }

    /// Another run has got the socket of a member, with what waits in it.
    pub fn inherited(&mut self, from: MemberId, heir: MemberId, standing: Standing) {
        if let Some(member) = self.find(from) {
            member.id = heir;
            member.standing = standing;
        }
    }

    /// A member fills another place.
    pub fn move_to(&mut self, id: MemberId, place: Place) {
        if let Some(member) = self.find(id) {
            member.place = place;
        }
    }

    /// Members are chosen in another way.
    pub fn set_balance(&mut self, balance: Balance) {
        self.balance = balance;
    }

    /// How members are chosen.
    pub fn balance(&self) -> Balance {
        self.balance
    }

    /// A member gets more or less of what its weight says.
    pub fn set_share(&mut self, id: MemberId, share: Share) {
        if let Some(member) = self.find(id) {
            member.share = share;
        }
    }

    /// A member's probes are recognised by something else.
    pub fn set_mark(&mut self, id: MemberId, mark: Option<Mark>) {
        if let Some(member) = self.find(id) {
            member.mark = mark;
        }
    }

    /// Members have other weights.
    pub fn set_weight(&mut self, id: MemberId, weight: Weight) {
        if let Some(member) = self.find(id) {
            member.weight = weight;
        }
    }

    /// Whether the order of the array is to be found out: [`Group::next_step`] attaches a program that lets a probe with
    /// the n-th mark reach the n-th index, and [`Group::settle`] takes what was found.
    pub fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// The order of the array, found out. Sockets that are not ours are strangers.
    pub fn settle(&mut self, order: &[SocketId]) {
        let members: Vec<Member> = self.members().copied().collect();
        let entry = |socket: &SocketId| {
            let ours = members.iter().find(|member| member.socket == *socket);
            ours.map_or(Entry::Stranger(*socket), |member| Entry::Ours(*member))
        };
        self.entries = order.iter().map(entry).collect();
        self.observed = self.entries.len();
        self.are_strangers_mixed = self.entries.iter().filter(|it| matches!(it, Entry::Stranger(_))).count() > 1;
        self.is_in_doubt = false;
    }

    /// What the kernel is to do next, if anything. A step that failed is not confirmed, and comes again when it is asked for
    /// again: when, is for whoever asks.
    pub fn next_step(&self) -> Option<Step> {
        let Some(through) = self.members().find(|member| member.standing != Standing::Leaving) else {
            // The last first, so that nobody moves, and everybody goes.
            return self.members().last().map(|member| Step::Leave(member.socket));
        };
        let attach = |program: &Program| {
            let program = program.clone();
            (self.attached != Attached::Program(program.clone()))
                .then_some(Step::Attach { through: through.socket, program })
        };
        if self.is_in_doubt {
            return attach(&self.survey()?);
        }
        let wanted = self.program(&self.table(None))?;
        if self.attached == Attached::Unknown {
            return attach(&wanted);
        }
        // The last first: it has nobody to move.
        let leaving = self.entries.iter().enumerate().rev().filter_map(|(at, entry)| match entry {
            Entry::Ours(member) if member.standing == Standing::Leaving => Some((at, member.socket)),
            Entry::Ours(_) | Entry::Stranger(_) => None,
        });
        for (at, socket) in leaving {
            if let Some(meanwhile) = self.program_to_leave_by(at, &wanted) {
                return attach(&meanwhile).or(Some(Step::Leave(socket)));
            }
        }
        attach(&wanted)
    }

    /// A step was carried out.
    pub fn done(&mut self, step: &Step) {
        match step {
            Step::Attach { program, .. } => self.attached = Attached::Program(program.clone()),
            Step::Leave(socket) => self.left(*socket),
        }
    }

    /// A socket does not listen any more: the last one has its index.
    pub(super) fn left(&mut self, socket: SocketId) {
        if let Some(at) = self.position(socket) {
            self.entries.swap_remove(at);
            self.observed = self.observed.min(self.entries.len());
        }
        if self.entries.is_empty() {
            // It went with its last member.
            self.attached = Attached::None;
            self.is_in_doubt = false;
        }
    }

    pub(super) fn position(&self, socket: SocketId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.socket() == socket)
    }

    fn find(&mut self, id: MemberId) -> Option<&mut Member> {
        self.entries.iter_mut().find_map(|entry| match entry {
            Entry::Ours(member) if member.id == id => Some(member),
            Entry::Ours(_) | Entry::Stranger(_) => None,
        })
    }

    /// The program that stays true while this index goes and the last one moves there.
    fn program_to_leave_by(&self, leaving: usize, wanted: &Program) -> Option<Program> {
        if !wanted.reaches(index(self.last())) {
            return Some(wanted.clone());
        }
        let without_last = self.program(&self.table(Some(self.last())));
        // Or everybody else is wanted: then the kernel's own choice can do no harm.
        without_last.or_else(|| self.are_all_wanted_but(leaving).then(|| wanted.clone()))
    }

    fn are_all_wanted_but(&self, leaving: usize) -> bool {
        let is_wanted = self.wanted();
        self.entries.iter().enumerate().filter(|(at, _)| *at != leaving).all(|(_, entry)| match entry {
            Entry::Ours(member) => is_wanted(member.standing),
            Entry::Stranger(_) => false,
        })
    }

    fn last(&self) -> usize {
        self.entries.len().saturating_sub(1)
    }

    /// Who gets new connections, and who is reached by probes, without one index.
    fn table(&self, without: Option<usize>) -> Table {
        let is_wanted = self.wanted();
        let (mut table, mut outgoing) = (Table::default(), Vec::new());
        for (at, entry) in self.entries.iter().enumerate().filter(|(at, _)| Some(*at) != without) {
            let Entry::Ours(member) = entry else { continue };
            if is_wanted(member.standing) {
                let (place, weight) = (member.place, self.weight(member));
                table.candidates.push(Candidate { index: index(at), place, weight });
            }
            match (member.standing, member.mark) {
                (Standing::Leaving | Standing::Dead, _) | (_, None) => {}
                (Standing::Parked | Standing::Draining, Some(mark)) => outgoing.push((mark, index(at))),
                (Standing::Ready | Standing::Unhealthy | Standing::Starting, Some(mark)) => {
                    table.probes.push((mark, index(at)));
                }
            }
        }
        // While two runs fill one place, a probe is for the one that stays, or that came last.
        let mut seen = BTreeSet::new();
        table.probes.reverse();
        table.probes.extend(outgoing);
        table.probes.retain(|(mark, _)| seen.insert(*mark));
        table
    }

    /// What counts of a member's weight.
    fn weight(&self, member: &Member) -> Weight {
        /// How much smaller a small share is.
        const SMALLER: Weight = Weight::MIN.saturating_add(9);
        let own = match self.balance {
            Balance::Weighted | Balance::Least => member.weight,
            Balance::Random | Balance::SourceIp => Weight::MIN,
        };
        match member.share {
            Share::Small => own,
            Share::Whole => own.saturating_mul(SMALLER),
        }
    }

    /// Which standings get new connections.
    fn wanted(&self) -> impl Fn(Standing) -> bool + use<> {
        let count = |standing| self.members().filter(|member| member.standing == standing).count();
        // When most of them look ill, it is more likely the check that is.
        let is_ill_ignored = count(Standing::Unhealthy) > count(Standing::Ready) + count(Standing::Parked);
        let best = self.members().map(|member| member.standing).min();
        move |standing| match standing {
            Standing::Leaving => false,
            Standing::Ready | Standing::Unhealthy if is_ill_ignored => true,
            Standing::Ready
            | Standing::Parked
            | Standing::Unhealthy
            | Standing::Starting
            | Standing::Dead
            | Standing::Draining => !is_ill_ignored && Some(standing) == best,
        }
    }

    fn program(&self, table: &Table) -> Option<Program> {
        // `LIMIT` keeps programs far below the kernel's limit.
        let weights: BTreeSet<Weight> = table.candidates.iter().map(|candidate| candidate.weight).collect();
        let balance = match self.balance {
            Balance::Random if weights.len() > 1 => Balance::Weighted,
            Balance::Weighted | Balance::Least if weights.len() < 2 => Balance::Random,
            balance @ (Balance::Random | Balance::Weighted | Balance::SourceIp | Balance::Least) => balance,
        };
        Program::of(self.key.net(), balance, table).ok().flatten()
    }

    fn survey(&self) -> Option<Program> {
        Program::survey(self.key.net(), u16::try_from(self.entries.len()).ok()?).ok()
    }
}

impl Entry {
    pub(super) fn socket(&self) -> SocketId {
        match self {
            Entry::Ours(member) => member.socket,
            Entry::Stranger(socket) => *socket,
        }
    }
}

/// Far below 2^32: [`Group::LIMIT`], and what the kernel takes of strangers (65,535).
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
