//! The table of a group as a program that the kernel runs for each new connection.
//!
//! ```text
//!  a probe's source address, for one member ──> that member
//!  else, by the balance:  random   a random number modulo the members
//!                         weighted a random number, looked up in sums of weights
//!                         least    the same, with weights that follow what each has to do
//!                         source   a hash of the client's address, looked up in 256 buckets
//! ```
//!
//! Look-ups are binary trees of comparisons: some ten steps for a thousand members.
//!
//! Probes (health checks of one given member, through the real port) come from where nobody else can: over IPv4 from
//! 127.83.0.0/16, which never arrives from outside (ip-sysctl: route_localnet), over IPv6 from ::1 with a traffic class.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;

use crate::cluster::assembler::{Assembler, Instruction, Op, Test, TooLong};
use crate::cluster::sticky;

/// linux/filter.h: SKF_NET_OFF, the beginning of the network header.
const NETWORK: u32 = 0xfff0_0000;
/// linux/filter.h: SKF_AD_OFF + SKF_AD_RANDOM.
const RANDOM: u32 = 0xffff_f000 + 56;

/// The network that probes come from, 127.83.0.0/16.
const PROBES: u32 = 127 << 24 | 83 << 16;

/// An odd number near 2^32 divided by the golden ratio: the upper bits of a product with it depend on all bits below.
const SPREAD: u32 = 0x9e37_79b1;

/// What a group's clients may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Both: a socket of IPv6 that takes IPv4 as well.
    Dual,
}

/// How members are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Each as likely as any other.
    #[default]
    Random,
    /// As likely as its weight.
    Weighted,
    /// The same client always to the same one, as long as that is there.
    SourceIp,
    /// As likely as its weight, which follows what it has to do.
    Least,
}

/// Which place of its app a member fills, whatever run does: a client of [`Balance::SourceIp`] belongs to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub u32);

/// A member's weight.
pub type Weight = NonZeroU16;

/// What a probe is recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(u16);

/// A member that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its index in the kernel's array.
    pub index: u32,
    /// Its place.
    pub place: Place,
    /// Its weight, where weights count.
    pub weight: Weight,
}

/// Who gets what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Those that get new connections.
    pub candidates: Vec<Candidate>,
    /// Which index a probe with this mark reaches, also of members that get nothing else.
    pub probes: Vec<(Mark, u32)>,
}

/// A program, and which indexes it can return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    code: Vec<Instruction>,
    reaches: BTreeSet<u32>,
}

impl Mark {
    /// How many there are over IPv6: the upper six bits of a traffic class (the lower two are for congestion, RFC 3168),
    /// but zero, which is everybody's.
    const V6_COUNT: u16 = 63;

    /// The n-th.
    pub const fn new(number: u16) -> Mark {
        Mark(number)
    }

    /// Which it is.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Where a probe over IPv4 comes from.
    pub fn source(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(PROBES | u32::from(self.0))
    }

    /// The traffic class of a probe over IPv6, from ::1 (ipv6(7): IPV6_TCLASS); none for the 64th and later.
    pub fn traffic_class(self) -> Option<u8> {
        (self.0 < Mark::V6_COUNT).then(|| u8::try_from((self.0 + 1) << 2).ok()).flatten()
    }
}

/// Whether somebody is a probe of ours, as far as an address tells: those over IPv6 have everybody's.
pub fn is_probe(client: IpAddr) -> bool {
    matches!(client.to_canonical(), IpAddr::V4(ip) if ip.to_bits() & 0xffff_0000 == PROBES)
}

impl Program {
    /// The program of a table; none if nobody is in it, not even for probes.
    ///
    /// # Errors
    ///
    /// That it would be too long: some 1,000 members with probes, 2,000 without.
    pub fn of(net: Net, balance: Balance, table: &Table) -> Result<Option<Program>, TooLong> {
        let Some(first) = table.candidates.first() else { return Ok(None) };
        let balance = if table.candidates.len() == 1 { Balance::Random } else { balance };
        let mut code = Assembler::default();
        let end = code.label();
        if balance == Balance::SourceIp || !table.probes.is_empty() {
            look_at_source(&mut code, net, balance, &table.probes, end);
        }
        code.place(end);
        match balance {
            Balance::Random if table.candidates.len() == 1 => code.op(Op::Give(first.index)),
            Balance::Random => random(&mut code, &table.candidates),
            Balance::Weighted | Balance::Least => weighted(&mut code, &table.candidates),
            Balance::SourceIp => by_source(&mut code, &table.candidates),
        }
        let reaches = table.candidates.iter().map(|candidate| candidate.index);
        let reaches = reaches.chain(table.probes.iter().map(|(_, index)| *index)).collect();
        Ok(Some(Program { code: code.assemble()?, reaches }))
    }

    /// A program by which a probe with the n-th mark reaches the n-th of `count` indexes, and everything else is spread by
    /// the kernel: to find out who is where.
    pub(super) fn survey(net: Net, count: u16) -> Result<Program, TooLong> {
        let probes: Vec<(Mark, u32)> = (0..count).map(|index| (Mark(index), index.into())).collect();
        let mut code = Assembler::default();
        let end = code.label();
        look_at_source(&mut code, net, Balance::Random, &probes, end);
        code.place(end);
        // Out of range: the kernel takes its own hash (net/core/sock_reuseport.c).
        code.op(Op::Give(u32::MAX));
        Ok(Program { code: code.assemble()?, reaches: (0..count.into()).collect() })
    }

    /// Its instructions.
    pub fn code(&self) -> &[Instruction] {
        &self.code
    }

    /// Whether it can return this index.
    pub fn reaches(&self, index: u32) -> bool {
        self.reaches.contains(&index)
    }
}

/// Ends with the member that a probe is for. For everything else, comes to `end`, with the client's bucket in the
/// accumulator where the balance asks for it.
fn look_at_source(
    code: &mut Assembler,
    net: Net,
    balance: Balance,
    probes: &[(Mark, u32)],
    end: crate::cluster::assembler::Label,
) {
    let v6 = code.label();
    if net == Net::Dual {
        code.ops(&[Op::LoadByte(NETWORK), Op::ShiftRight(4)]);
        code.jump(Test::NotEqual(4), v6);
    }
    if net != Net::V6 {
        v4_probes(code, probes);
        if balance == Balance::SourceIp {
            code.ops(&[Op::Load(NETWORK + 12), Op::Multiply(SPREAD), Op::ShiftRight(24)]);
        }
        code.jump(Test::Always, end);
    }
    code.place(v6);
    if net != Net::V4 {
        v6_probes(code, probes);
        if balance == Balance::SourceIp {
            code.ops(&[Op::Load(NETWORK + 8), Op::Multiply(SPREAD)]);
            for word in [12, 16, 20] {
                code.ops(&[Op::ToIndex, Op::Load(NETWORK + word), Op::XorIndex, Op::Multiply(SPREAD)]);
            }
            code.op(Op::ShiftRight(24));
        }
    }
}

fn v4_probes(code: &mut Assembler, probes: &[(Mark, u32)]) {
    if probes.is_empty() {
        return;
    }
    let no_probe = code.label();
    code.ops(&[Op::Load(NETWORK + 12), Op::And(0xffff_0000)]);
    code.jump(Test::NotEqual(PROBES), no_probe);
    code.ops(&[Op::Load(NETWORK + 12), Op::And(0xffff)]);
    give_each(code, probes.iter().map(|(mark, index)| (mark.0.into(), *index)));
    code.place(no_probe);
}

fn v6_probes(code: &mut Assembler, probes: &[(Mark, u32)]) {
    let known: Vec<(u32, u32)> =
        probes.iter().filter_map(|(mark, index)| Some((u32::from(mark.traffic_class()? >> 2), *index))).collect();
    if known.is_empty() {
        return;
    }
    let no_probe = code.label();
    for (word, value) in [(20, 1), (16, 0), (12, 0), (8, 0)] {
        code.op(Op::Load(NETWORK + word));
        code.jump(Test::NotEqual(value), no_probe);
    }
    // Version, traffic class and flow label, from the highest bit on: 4, 6 + 2, 20.
    code.ops(&[Op::Load(NETWORK), Op::ShiftRight(22), Op::And(0x3f)]);
    give_each(code, known.into_iter());
    code.place(no_probe);
}

/// Ends with the index of the value that the accumulator has, if it is one of these.
fn give_each(code: &mut Assembler, known: impl Iterator<Item = (u32, u32)>) {
    for (value, index) in known {
        let other = code.label();
        code.jump(Test::NotEqual(value), other);
        code.op(Op::Give(index));
        code.place(other);
    }
}

fn random(code: &mut Assembler, candidates: &[Candidate]) {
    let count = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
    code.ops(&[Op::Load(RANDOM), Op::Modulo(count)]);
    if candidates.iter().map(|candidate| candidate.index).eq(0..count) {
        code.op(Op::GiveIt);
    } else {
        look_up(code, &(0..).zip(candidates.iter().map(|candidate| candidate.index)).collect::<Vec<_>>());
    }
}

fn weighted(code: &mut Assembler, candidates: &[Candidate]) {
    let mut sum = 0_u32;
    let mut starts = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        starts.push((sum, candidate.index));
        // 2^16 members of the largest weight fit; a program of them does not.
        sum = sum.saturating_add(candidate.weight.get().into());
    }
    code.ops(&[Op::Load(RANDOM), Op::Modulo(sum)]);
    look_up(code, &starts);
}

fn by_source(code: &mut Assembler, candidates: &[Candidate]) {
    let places: Vec<Place> = candidates.iter().map(|candidate| candidate.place).collect();
    let owners = sticky::table(&places).into_iter().filter_map(|at| candidates.get(at));
    let mut starts: Vec<(u32, u32)> = (0..sticky::BUCKETS).zip(owners.map(|owner| owner.index)).collect();
    starts.dedup_by_key(|(_, index)| *index);
    look_up(code, &starts);
}

/// Ends with the index of the last entry whose value is not above the accumulator. The first value is 0.
fn look_up(code: &mut Assembler, starts: &[(u32, u32)]) {
    match starts {
        [] => code.op(Op::Give(u32::MAX)),
        [(_, index)] => code.op(Op::Give(*index)),
        _ => {
            let (low, high) = starts.split_at(starts.len() / 2);
            let upper = code.label();
            code.jump(Test::AtLeast(high.first().map_or(0, |(start, _)| *start)), upper);
            look_up(code, low);
            code.place(upper);
            look_up(code, high);
        }
    }
}
