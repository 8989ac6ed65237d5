//! Groups against a kernel that is a list: random histories, and the ones that have a name.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::cluster::interpreter::{Packet, run};

/// What the kernel does with a port (net/core/sock_reuseport.c).
#[derive(Default)]
struct Kernel {
    array: Vec<SocketId>,
    /// In the order in which they began to listen.
    listening: Vec<SocketId>,
    program: Option<Program>,
}

impl Kernel {
    fn listen(&mut self, socket: SocketId) {
        self.array.push(socket);
        self.listening.push(socket);
    }

    fn leave(&mut self, socket: SocketId) {
        let at = self.array.iter().position(|found| *found == socket).expect("only what listens leaves");
        self.array.swap_remove(at);
        self.listening.retain(|found| *found != socket);
        if self.array.is_empty() {
            self.program = None;
        }
    }

    /// Where a connection can go, whatever the dice say.
    fn targets(&self) -> BTreeSet<SocketId> {
        let Some(program) = &self.program else { return self.array.iter().copied().collect() };
        let mut found = BTreeSet::new();
        // As many as the weights of all can come to: a small share is 1, a whole one 10.
        for random in 0..10 * u32::try_from(self.array.len()).unwrap() {
            let index = run(program.code(), &Packet::v4(Ipv4Addr::new(10, 0, 0, 1)), random);
            match self.array.get(index as usize) {
                Some(socket) => drop(found.insert(*socket)),
                None => return self.array.iter().copied().collect(),
            }
        }
        found
    }
}

fn key(address: &str, v6only: bool) -> GroupKey {
    GroupKey { namespace: 1, address: address.parse().unwrap(), v6only, device: 0, uid: 0 }
}

fn id(number: u64) -> MemberId {
    MemberId { run: Run(number), owner: Owner(0), nth: 0 }
}

fn member(number: u64, standing: Standing) -> Member {
    Member {
        socket: SocketId(number),
        id: id(number),
        place: Place(u32::try_from(number).unwrap()),
        weight: Weight::MIN,
        share: Share::Whole,
        mark: Some(Mark::new(u16::try_from(number).unwrap())),
        standing,
    }
}

/// A group and its kernel.
struct World {
    group: Group,
    kernel: Kernel,
    next: u64,
}

impl World {
    fn new() -> World {
        World { group: Group::new(key("0.0.0.0:3000", false), Balance::Random), kernel: Kernel::default(), next: 0 }
    }

    /// Members of these standings, all steps done.
    fn of(standings: &[Standing]) -> World {
        let mut world = World::new();
        for standing in standings {
            world.join(*standing);
            world.settle();
        }
        world
    }

    fn join(&mut self, standing: Standing) -> u64 {
        let number = self.stranger();
        self.group.joined(member(number, standing));
        number
    }

    fn stranger(&mut self) -> u64 {
        self.next += 1;
        self.kernel.listen(SocketId(self.next));
        self.next
    }

    fn serving(&self) -> BTreeSet<SocketId> {
        self.group.serving().map(|member| member.socket).collect()
    }

    fn leaving(&self) -> BTreeSet<SocketId> {
        let members = self.group.members().filter(|member| member.standing == Standing::Leaving);
        members.map(|member| member.socket).collect()
    }

    /// Carries all steps out, as the shell does, and holds the invariant to account after each. Returns them.
    #[track_caller]
    fn settle(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        let before = self.serving();
        loop {
            self.group.observe(&self.kernel.listening);
            assert!(!self.group.is_in_doubt());
            let array: Vec<SocketId> = self.group.entries.iter().map(group::Entry::socket).collect();
            assert_eq!(array, self.kernel.array);
            let Some(step) = self.group.next_step() else { break };
            assert!(steps.len() < 100, "it never ends: {steps:?}");
            match &step {
                Step::Attach { through, program } => {
                    assert!(self.kernel.array.contains(through) && !self.leaving().contains(through));
                    self.kernel.program = Some(program.clone());
                }
                Step::Leave(socket) => self.kernel.leave(*socket),
            }
            self.group.done(&step);
            let wanted = self.serving();
            if !wanted.is_empty() {
                let allowed: BTreeSet<SocketId> = wanted.union(&before).copied().collect();
                let targets = self.kernel.targets();
                assert!(targets.is_disjoint(&self.leaving()), "{targets:?} leave, after {step:?}");
                assert!(targets.is_subset(&allowed), "{targets:?} are not all of {allowed:?}, after {step:?}");
            }
            steps.push(step);
        }
        if !self.serving().is_empty() {
            assert_eq!(self.kernel.targets(), self.serving());
        }
        steps
    }
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    Join(Standing),
    Stand(prop::sample::Index, Standing),
    Inherit(prop::sample::Index),
    Trust(prop::sample::Index, Share),
    StrangerComes,
    StrangerGoes(prop::sample::Index),
    MemberGoesByItself(prop::sample::Index),
    DaemonDies,
}

fn any_standing() -> impl Strategy<Value = Standing> {
    use Standing::*;
    prop_oneof![
        4 => Just(Ready), 1 => Just(Parked), 1 => Just(Unhealthy), 2 => Just(Starting), 1 => Just(Dead),
        2 => Just(Draining), 3 => Just(Leaving),
    ]
}

fn anything() -> impl Strategy<Value = Happening> {
    let which = any::<prop::sample::Index>;
    prop_oneof![
        4 => any_standing().prop_map(Happening::Join),
        8 => (which(), any_standing()).prop_map(|(which, standing)| Happening::Stand(which, standing)),
        1 => which().prop_map(Happening::Inherit),
        1 => (which(), prop_oneof![Just(Share::Whole), Just(Share::Small)])
            .prop_map(|(which, share)| Happening::Trust(which, share)),
        1 => Just(Happening::StrangerComes),
        1 => which().prop_map(Happening::StrangerGoes),
        1 => which().prop_map(Happening::MemberGoesByItself),
        1 => Just(Happening::DaemonDies),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]
    #[test]
    fn between_any_two_steps_connections_go_where_they_are_wanted(history in prop::collection::vec(anything(), 1..40)) {
        let mut world = World::new();
        for happening in history {
            let members: Vec<MemberId> = world.group.members().map(|member| member.id).collect();
            let pick = |which: prop::sample::Index| (!members.is_empty()).then(|| members[which.index(members.len())]);
            match happening {
                Happening::Join(standing) => drop(world.join(standing)),
                Happening::Stand(which, standing) => {
                    // What leaves never comes back.
                    let may = pick(which).filter(|id| world.group.member(*id).unwrap().standing != Standing::Leaving);
                    may.into_iter().for_each(|id| world.group.set_standing(id, standing));
                }
                Happening::Inherit(which) => {
                    if let Some(from) = pick(which).filter(|id| world.group.member(*id).unwrap().standing != Standing::Leaving) {
                        world.next += 1;
                        world.group.inherited(from, id(world.next), Standing::Starting);
                    }
                }
                Happening::Trust(which, share) => {
                    pick(which).into_iter().for_each(|id| world.group.set_share(id, share));
                }
                Happening::StrangerComes => drop(world.stranger()),
                Happening::StrangerGoes(which) => {
                    let ours: BTreeSet<SocketId> = world.group.members().map(|member| member.socket).collect();
                    let strangers: Vec<SocketId> =
                        world.kernel.array.iter().copied().filter(|socket| !ours.contains(socket)).collect();
                    if !strangers.is_empty() {
                        world.kernel.leave(strangers[which.index(strangers.len())]);
                    }
                }
                Happening::MemberGoesByItself(which) => {
                    if let Some(id) = pick(which) {
                        world.kernel.leave(world.group.member(id).unwrap().socket);
                    }
                }
                Happening::DaemonDies => {
                    // The journal knows the array; strangers are seen anew, so without them here.
                    if world.kernel.array.len() == members.len() {
                        let members: Vec<Member> = world.group.members().copied().collect();
                        world.group = Group::restored(*world.group.key(), Balance::Random, members);
                    }
                }
            }
            world.settle();
        }
    }
}

#[test]
fn a_run_that_is_not_ready_gets_nothing_while_another_is() {
    let mut world = World::of(&[Standing::Ready]);
    let starting = world.join(Standing::Starting);
    // The program that is attached does not know its index.
    assert_eq!(world.kernel.targets(), BTreeSet::from([SocketId(1)]));
    assert!(matches!(world.settle()[..], [Step::Attach { .. }]), "its probes");
    world.group.set_standing(id(starting), Standing::Ready);
    assert_eq!(world.settle().len(), 1);
    assert_eq!(world.serving().len(), 2);
}

#[test]
fn connections_wait_where_somebody_will_come_for_them() {
    use Standing::*;
    for (standings, expected) in [
        (&[Starting][..], &[1][..]),
        (&[Dead, Starting], &[2]),
        (&[Dead, Dead], &[1, 2]),
        (&[Draining, Dead], &[2]),
        (&[Parked, Starting, Draining], &[1]),
        (&[Ready, Parked], &[1]),
        (&[Draining], &[1]),
    ] {
        let expected: BTreeSet<SocketId> = expected.iter().copied().map(SocketId).collect();
        assert_eq!(World::of(standings).kernel.targets(), expected, "{standings:?}");
    }
}

#[test]
fn a_health_check_that_fails_nearly_everywhere_is_not_believed() {
    use Standing::*;
    let count = |standings: &[Standing]| World::of(standings).serving().len();
    assert_eq!(count(&[Ready, Ready, Unhealthy]), 2);
    assert_eq!(count(&[Ready, Unhealthy]), 1);
    assert_eq!(count(&[Ready, Unhealthy, Unhealthy]), 3);
    assert_eq!(count(&[Unhealthy, Starting]), 1);
    assert_eq!(count(&[Unhealthy, Parked]), 1);
}

/// How often each of 2,100 connections, one of each sort, comes where.
fn spread(world: &World) -> Vec<usize> {
    let program = world.kernel.program.as_ref().expect("there is one");
    let mut counts = vec![0; world.kernel.array.len()];
    for random in 0..2_100 {
        counts[run(program.code(), &Packet::v4(Ipv4Addr::new(10, 0, 0, 1)), random) as usize] += 1;
    }
    counts
}

#[test]
fn one_that_was_ill_gets_a_tenth_of_its_share_until_it_is_trusted() {
    use Standing::*;
    let mut world = World::of(&[Ready, Ready, Unhealthy]);
    assert_eq!(spread(&world), [1_050, 1_050, 0]);
    world.group.set_share(id(3), Share::Small);
    world.settle();
    assert_eq!(spread(&world), [1_050, 1_050, 0], "not while it is ill");
    world.group.set_standing(id(3), Ready);
    world.settle();
    assert_eq!(spread(&world), [1_000, 1_000, 100]);
    world.group.set_share(id(3), Share::Whole);
    world.settle();
    assert_eq!(spread(&world), [700, 700, 700]);
    // Weights are kept in proportion.
    world.group.set_balance(Balance::Weighted);
    world.group.set_weight(id(1), Weight::new(10).unwrap());
    world.group.set_share(id(1), Share::Small);
    world.settle();
    assert_eq!(spread(&world), [700, 700, 700]);
    // When most are ill nobody's illness counts.
    for number in [1, 2] {
        world.group.set_standing(id(number), Unhealthy);
        world.group.set_share(id(number), Share::Whole);
    }
    world.group.set_balance(Balance::Random);
    world.settle();
    assert_eq!(spread(&world), [700, 700, 700]);
}

#[test]
fn a_check_reaches_the_one_that_it_is_for_whatever_its_standing_is() {
    use Standing::*;
    let mut world = World::of(&[Ready, Unhealthy, Starting, Ready]);
    for number in 1..=4_u16 {
        let from = Mark::new(number).source();
        let reached = |world: &World, random| {
            let program = world.kernel.program.as_ref().unwrap();
            world.kernel.array[run(program.code(), &Packet::v4(from), random) as usize]
        };
        assert!((0..50).all(|random| reached(&world, random) == SocketId(number.into())), "{number}");
    }
    // Whoever gets the socket of another has a mark of its own.
    world.group.inherited(id(2), id(9), Starting);
    world.group.set_mark(id(9), Some(Mark::new(9)));
    world.settle();
    let program = world.kernel.program.as_ref().unwrap();
    assert_eq!(run(program.code(), &Packet::v4(Mark::new(9).source()), 0), 1);
}

#[test]
fn a_member_leaves_in_three_steps_while_others_must_not_be_hit() {
    use Standing::*;
    let mut world = World::of(&[Draining, Starting, Ready, Ready]);
    world.group.set_standing(id(1), Leaving);
    let steps = world.settle();
    let [Step::Attach { program: first, .. }, Step::Leave(SocketId(1)), Step::Attach { .. }] = &steps[..] else {
        panic!("{steps:?}")
    };
    // Neither the one that leaves nor the last, which takes its index.
    assert!(!first.reaches(0) && !first.reaches(3));
}

#[test]
fn a_member_that_nobody_could_stand_in_for_leaves_later() {
    use Standing::*;
    let mut world = World::of(&[Draining, Starting, Ready]);
    world.group.set_standing(id(1), Leaving);
    assert!(world.settle().iter().all(|step| matches!(step, Step::Attach { .. })));
    assert_eq!(world.leaving().len(), 1);
    world.group.set_standing(id(2), Ready);
    assert!(world.settle().contains(&Step::Leave(SocketId(1))));
}

#[test]
fn when_all_leave_they_go_from_the_last_to_the_first() {
    let mut world = World::of(&[Standing::Ready, Standing::Starting, Standing::Ready]);
    for number in 1..=3 {
        world.group.set_standing(id(number), Standing::Leaving);
    }
    assert_eq!(world.settle(), [3, 2, 1].map(|number| Step::Leave(SocketId(number))));
    assert!(world.group.is_empty());
    // The program went with them; the next member gets its own.
    world.join(Standing::Starting);
    assert_eq!(world.settle().len(), 1);
}

#[test]
fn a_successor_attaches_before_anything_else() {
    let mut world = World::of(&[Standing::Ready, Standing::Ready]);
    world.group.set_standing(id(1), Standing::Leaving);
    let members: Vec<Member> = world.group.members().copied().collect();
    world.group = Group::restored(*world.group.key(), Balance::Random, members);
    assert!(matches!(world.settle()[..], [Step::Attach { .. }, Step::Leave(_), ..]));
}

#[test]
fn a_second_listen_is_no_second_member() {
    let mut world = World::of(&[Standing::Ready]);
    world.group.joined(member(1, Standing::Starting));
    assert_eq!(world.group.members().count(), 1);
    assert_eq!(world.settle(), []);
}

#[test]
fn a_run_that_inherits_a_socket_gets_what_waits_in_it_and_nothing_new() {
    let mut world = World::of(&[Standing::Ready, Standing::Dead]);
    world.group.inherited(id(2), id(9), Standing::Starting);
    assert_eq!(world.group.member(id(9)).unwrap().socket, SocketId(2));
    assert!(matches!(world.settle()[..], [Step::Attach { .. }]), "its probes, which the dead one had none of");
    world.group.set_standing(id(9), Standing::Ready);
    world.settle();
    assert_eq!(world.serving().len(), 2);
}

#[test]
fn a_stranger_is_found_and_gets_nothing() {
    let mut world = World::of(&[Standing::Ready]);
    let stranger = SocketId(world.stranger());
    assert_eq!(world.group.observe(&world.kernel.listening), [Finding::StrangerCame(stranger)]);
    world.join(Standing::Ready);
    world.settle();
    assert_eq!(world.kernel.targets(), BTreeSet::from([SocketId(1), SocketId(3)]));
    world.kernel.leave(stranger);
    assert_eq!(world.group.observe(&world.kernel.listening), [Finding::StrangerLeft(stranger)]);
    world.settle();
}

#[test]
fn a_member_that_took_itself_out_is_found() {
    let mut world = World::of(&[Standing::Ready, Standing::Ready]);
    world.kernel.leave(SocketId(1));
    assert_eq!(world.group.observe(&world.kernel.listening), [Finding::MemberGone(id(1))]);
    world.settle();
    assert_eq!(world.kernel.targets(), BTreeSet::from([SocketId(2)]));
}

#[test]
fn an_order_that_cannot_be_known_is_found_out_by_a_survey() {
    let mut world = World::of(&[Standing::Ready, Standing::Starting]);
    let strangers = [world.stranger(), world.stranger()];
    world.settle();
    world.join(Standing::Ready);
    world.settle();
    // Two go between two looks: the last member has now one index or the other.
    for stranger in [strangers[1], strangers[0]] {
        world.kernel.leave(SocketId(stranger));
    }
    world.group.observe(&world.kernel.listening);
    assert!(world.group.is_in_doubt());
    let Some(step @ Step::Attach { .. }) = world.group.next_step() else { panic!("a survey is attached") };
    let Step::Attach { program, .. } = &step else { unreachable!() };
    world.group.done(&step);
    assert_eq!(world.group.next_step(), None);
    let probe = |mark| run(program.code(), &Packet::v4(Mark::new(mark).source()), 0) as usize;
    let order: Vec<SocketId> = (0..3).map(|mark| world.kernel.array[probe(mark)]).collect();
    // Everything else is spread by the kernel.
    assert_eq!(run(program.code(), &Packet::v4(Ipv4Addr::LOCALHOST), 0), u32::MAX);
    world.group.settle(&order);
    world.settle();
    assert_eq!(world.serving().len(), 2);
}

#[test]
fn last_ones_that_go_together_leave_no_doubt() {
    let mut world = World::of(&[Standing::Ready]);
    let strangers = [world.stranger(), world.stranger()];
    world.settle();
    for stranger in strangers {
        world.kernel.leave(SocketId(stranger));
    }
    world.settle();
    // One goes and one comes: who has the index?
    let mut world = World::of(&[Standing::Ready]);
    let first = world.stranger();
    world.settle();
    world.kernel.leave(SocketId(first));
    world.stranger();
    world.group.observe(&world.kernel.listening);
    assert!(world.group.is_in_doubt());
}

#[test]
fn what_clients_may_speak_follows_from_the_address() {
    for (address, v6only, expected) in [
        ("0.0.0.0:80", false, Net::V4),
        ("[::]:80", false, Net::Dual),
        ("[::]:80", true, Net::V6),
        ("[::1]:80", false, Net::V6),
        ("[::ffff:127.0.0.1]:80", false, Net::V4),
    ] {
        assert_eq!(key(address, v6only).net(), expected, "{address}");
    }
}
