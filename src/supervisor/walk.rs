//! The core in random worlds: invariants that hold after every event (safety), and answers that must come (liveness).

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::time::Duration;

use super::tests::{Bench, act, apply};
use super::*;
use crate::spec::{
    AppSpec, Changes, Check, ExecMode, ExitStatus, HealthSpec, RestartDelay, RestartPolicy, Signal, Strategy, Surge,
};

/// xorshift: the same walk for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What the world knows of a run: what the shell would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    /// The spawn is in flight.
    Ordered,
    /// It lives; whether it was asked to end, or killed.
    Lives { asked: bool, killed: bool },
    /// Its main process has ended, others live.
    Survivors { killed: bool },
}

#[derive(Default)]
struct World {
    processes: BTreeMap<RunId, (SlotId, Process)>,
    spawned: BTreeSet<RunId>,
    replied: BTreeSet<RequestId>,
    standing: BTreeMap<RunId, Standing>,
    draining: BTreeSet<RunId>,
    /// Who is to be looked at.
    checked: BTreeSet<RunId>,
    /// How many signs of being ready a run has given.
    signs: BTreeMap<RunId, u8>,
    /// Who is listened for.
    guarded: BTreeMap<RunId, Duration>,
    /// Who may have sockets that are kept for a next run.
    holding: BTreeSet<SlotId>,
    /// The most processes there were.
    most: usize,
    left: bool,
}

impl World {
    /// Carries out effects and checks what must hold of each.
    #[track_caller]
    fn take(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Spawn { run, slot, definition, replaces, .. } => {
                    assert!(self.spawned.insert(*run), "run {run:?} is spawned twice");
                    let twins: Vec<RunId> =
                        self.processes.iter().filter(|(_, (other, _))| other == slot).map(|(run, _)| *run).collect();
                    let shares = definition.spec.exec_mode == ExecMode::Cluster;
                    assert!(twins.is_empty() || shares && twins.len() == 1, "slot {slot:?} has too many: {twins:?}");
                    assert!(replaces.is_none_or(|old| twins == [old]), "{replaces:?} is not what runs: {twins:?}");
                    self.processes.insert(*run, (*slot, Process::Ordered));
                    if shares || !definition.spec.listen.is_empty() {
                        self.holding.insert(*slot);
                    }
                    self.most = self.most.max(self.processes.len());
                }
                Effect::Steer { run, standing } => {
                    assert!(self.processes.contains_key(run), "what does not live is steered");
                    self.standing.insert(*run, *standing);
                }
                Effect::Drain { run, .. } => {
                    assert_eq!(self.standing.get(run), Some(&Standing::Draining), "drained while it gets connections");
                    assert!(self.draining.insert(*run), "{run:?} is drained twice");
                }
                Effect::Check { run, .. } => {
                    let lives = matches!(self.processes.get(run), Some((_, Process::Lives { .. })));
                    assert!(lives, "{run:?} does not live and is asked how it is");
                    self.checked.insert(*run);
                }
                Effect::Guard { run, limit } => {
                    let lives = matches!(self.processes.get(run), Some((_, Process::Lives { killed: false, .. })));
                    assert!(lives, "{run:?} does not live and is to speak");
                    self.guarded.insert(*run, *limit);
                }
                Effect::GiveUp { slot } => {
                    let lives = self.processes.values().any(|(other, _)| other == slot);
                    assert!(!lives, "the sockets of {slot:?} are closed while it lives");
                    assert!(self.holding.remove(slot), "{slot:?} has no sockets");
                }
                Effect::Signal { run, signal, whom } | Effect::Message { run, signal, whom } => {
                    let (_, process) = self.processes.get_mut(run).expect("only what lives is signalled");
                    let kill = *signal == Signal::KILL;
                    let is_fed = matches!(self.standing.get(run), Some(Standing::Ready | Standing::Recovering));
                    let is_whole = !matches!(process, Process::Survivors { .. });
                    assert!(*signal == hangup() || !is_fed || !is_whole, "{run:?} is ended while it gets connections");
                    *process = match (*process, whom) {
                        (Process::Ordered, _) => panic!("run {run:?} is signalled before it exists"),
                        // A signal of the verb is no request to end.
                        (lives, _) if *signal == hangup() => lives,
                        (Process::Lives { killed, .. }, _) => Process::Lives { asked: true, killed: killed || kill },
                        (Process::Survivors { killed }, _) => Process::Survivors { killed: killed || kill },
                    };
                }
                Effect::Reply { to, .. } => assert!(self.replied.insert(*to), "{to:?} is answered twice"),
                Effect::Leave => {
                    assert!(self.processes.is_empty(), "leaves while {:?} live", self.processes);
                    self.left = true;
                }
                Effect::Forget { slot } => {
                    let lives = self.processes.values().any(|(other, _)| other == slot);
                    assert!(!lives, "slot {slot:?} is forgotten while it lives");
                    assert!(!self.holding.contains(slot), "the sockets of {slot:?} stay open for ever");
                }
                Effect::Progress { .. } | Effect::Announce(_) => {}
            }
        }
    }
}

/// What must hold of one on trial, or of one that waits for others.
#[track_caller]
fn check_trial(core: &Supervisor, slot: &Slot) {
    match &slot.rollout {
        Some(Rollout::Baking { run, .. }) => {
            assert!(matches!(slot.phase, Phase::Online { .. }) && run.was_ready, "nobody is on trial: {slot:?}");
            assert!(slot.goal == Goal::Up && slot.generation <= slot.launched, "kept for nothing: {slot:?}");
        }
        Some(Rollout::Held { run }) => {
            assert!(!run.was_ready && slot.goal == Goal::Up, "{slot:?}");
            let is_awaited = |other: &Slot| {
                let waits = matches!(other.rollout, Some(Rollout::Launch { .. } | Rollout::AwaitReady { .. }));
                other.app == slot.app && waits && other.manner() == Manner::Together
            };
            assert!(core.slots.values().any(is_awaited), "it waits for nobody: {slot:?}");
        }
        Some(Rollout::Asked { .. } | Rollout::Launch { .. } | Rollout::AwaitReady { .. } | Rollout::Leaving { .. }) => {
        }
        None => {}
    }
}

/// Clients of what will not run again are refused, and those of what will wait.
#[track_caller]
fn check_sockets(slot: &Slot, world: &World) {
    let is_over = matches!(slot.phase, Phase::Stopped | Phase::Errored { .. } | Phase::Completed { .. });
    let holds = world.holding.contains(&slot.id);
    assert!(!(is_over && slot.rollout.is_none() && holds), "nobody comes for what waits: {slot:?}");
    let is_up = matches!(slot.phase, Phase::Starting { .. } | Phase::Online { .. } | Phase::Waiting { .. });
    assert!(!is_up || holds == slot.holds_sockets, "{slot:?}");
}

/// What must hold of health checks.
#[track_caller]
fn check_health(core: &Supervisor, world: &World, now: Time) {
    for slot in core.slots.values() {
        if let Phase::Online { run } = &slot.phase
            && run.mode == ExecMode::Cluster
        {
            let wanted = Slot::serves_as(run);
            assert_eq!(world.standing.get(&run.id), Some(&wanted), "its health and its part differ: {slot:?}");
        }
        let is_trusted = |run: &Run| run.health.is_none_or(Circuit::is_proven);
        assert!(!matches!(&slot.phase, Phase::Online { run } if !is_trusted(run)), "online unproven: {slot:?}");
    }
    for app in core.apps.keys() {
        let mended = core.slots.values().filter(|slot| {
            let is_ending = matches!(slot.phase, Phase::Stopping { cause: Cause::Unhealthy, .. });
            slot.app == *app && is_ending && slot.mending.is_under_way
        });
        assert!(mended.count() <= 1, "more than one is restarted for its health");
    }
    assert!(core.schedule.next().is_none_or(|at| at > now), "nobody is asked in time");
    for (slot, run) in core.schedule.due(Time::from_millis(u64::MAX)) {
        let lives = matches!(world.processes.get(&run), Some((of, Process::Lives { .. })) if *of == slot);
        assert!(lives, "{run:?} is to be asked and does not live");
    }
}

/// Who promised to speak is listened for as long as that matters, and for as long as he promised.
#[track_caller]
fn check_guards(slot: &Slot, world: &World) {
    for (run, _) in slot.runs() {
        if let Some(limit) = slot.guarded(run.id) {
            assert_eq!(world.guarded.get(&run.id), Some(&limit), "nobody listens for {run:?}: {slot:?}");
        }
    }
    let is_fed = |run: &Run| matches!(world.standing.get(&run.id), Some(Standing::Ready | Standing::Recovering));
    let hangs = matches!(&slot.phase, Phase::Stopping { run, cause: Cause::Hung, .. } if is_fed(run));
    assert!(!hangs, "what hangs gets connections: {slot:?}");
}

/// What must hold of the core after every event.
#[track_caller]
fn check(core: &Supervisor, world: &World, now: Time) {
    for slot in core.slots.values() {
        let lives = world.processes.values().filter(|(id, _)| *id == slot.id).count();
        assert_eq!(slot.runs().len(), lives, "slot {slot:?}");
        assert!(!matches!(slot.rollout, Some(Rollout::Asked { .. })), "a wish is left lying: {slot:?}");
        check_trial(core, slot);
        check_sockets(slot, world);
        check_guards(slot, world);
        assert!(slot.launched <= slot.generation, "{slot:?}");
        assert!(slot.history.len() <= 10);
        if let Some(at) = slot.deadline() {
            assert!(at > now, "a deadline of the past is left: {slot:?} at {now:?}");
        }
        match slot.goal {
            Goal::Up => {
                assert!(
                    slot.phase != Phase::Stopped || slot.rollout.is_some(),
                    "wanted, but nothing happens: {slot:?}"
                );
            }
            Goal::Down => assert!(
                matches!(slot.phase, Phase::Stopped | Phase::Stopping { .. }),
                "unwanted, but nothing happens: {slot:?}"
            ),
            Goal::Deleted => {
                assert!(matches!(slot.phase, Phase::Stopping { .. }) || slot.rollout.is_some(), "{slot:?}");
            }
        }
    }
    check_health(core, world, now);
    for app in core.apps.keys() {
        assert!(core.slots.values().any(|slot| slot.app == *app), "an app without slots");
    }
    for (run, (slot, _)) in &world.processes {
        let known = core.slots.get(slot).map(Slot::runs).unwrap_or_default();
        assert!(known.iter().any(|(known, _)| known.id == *run), "a process nobody knows");
    }
}

fn hangup() -> Signal {
    Signal::from_number(1).unwrap()
}

fn random_spec(dice: &mut Dice) -> AppSpec {
    let mut spec = AppSpec::sample(["a", "b", "c"][usize::try_from(dice.roll(3)).unwrap()]);
    spec.instances = u16::try_from(1 + dice.roll(3)).unwrap();
    spec.autostart = dice.roll(5) > 0;
    spec.stop.treekill = dice.roll(3) > 0;
    spec.stop.kill_timeout = Duration::from_millis(dice.roll(2_000));
    if dice.roll(2) == 0 {
        spec.exec_mode = ExecMode::Cluster;
        spec.cluster.drain_timeout = Duration::from_millis(dice.roll(2_000));
        spec.cluster.max_surge = Surge::Count(u16::try_from(dice.roll(3)).unwrap());
        spec.cluster.bake = Duration::from_millis([0, 500, 3_000, 9_000][usize::try_from(dice.roll(4)).unwrap()]);
        spec.cluster.strategy = if dice.roll(3) == 0 { Strategy::BlueGreen } else { Strategy::Rolling };
    }
    if spec.stop.kill_timeout.as_millis().is_multiple_of(3) {
        let address = crate::spec::ListenAddress::Unix { path: "/run/s".into() };
        spec.listen = vec![crate::spec::ListenSpec::sample(address)];
    }
    if dice.roll(2) == 0 {
        spec.memory.limit = Some(100);
    }
    spec.health = (dice.roll(3) == 0).then(|| random_health(dice));
    spec.watchdog = (dice.roll(3) == 0).then(|| Duration::from_millis(100 + dice.roll(5_000)));
    spec.wait_ready = dice.roll(5) == 0;
    spec.stop.message = dice.roll(5) == 0;
    spec.listen_timeout = Duration::from_millis(1 + dice.roll(8_000));
    spec.restart.max_restarts = u32::try_from(dice.roll(4)).unwrap();
    spec.restart.policy =
        [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never][usize::try_from(dice.roll(3)).unwrap()];
    if dice.roll(2) == 0 {
        spec.restart.delay = RestartDelay::Fixed { pause: Duration::from_millis(dice.roll(500)) };
    }
    if dice.roll(3) == 0 {
        spec.restart.retry_after = None;
    }
    spec
}

fn random_health(dice: &mut Dice) -> HealthSpec {
    let small = |dice: &mut Dice| u16::try_from(1 + dice.roll(3)).unwrap();
    HealthSpec {
        interval: Duration::from_millis(50 + dice.roll(3_000)),
        timeout: Duration::from_millis(1 + dice.roll(3_000)),
        fail: small(dice),
        pass: small(dice),
        ..HealthSpec::new(Check::Tcp, Duration::from_millis(dice.roll(3) * 1_500))
    }
}

fn random_ask(dice: &mut Dice) -> Ask {
    let word = ["a", "b", "c", "all", "0", "1", "nope"][usize::try_from(dice.roll(7)).unwrap()];
    match dice.roll(20) {
        0..=2 => {
            let Ask::Apply(mut ask) = apply(vec![random_spec(dice)]) else { unreachable!("apply makes an Apply") };
            ask.unchanged = [Unchanged::Leave, Unchanged::Leave, Unchanged::Restart, Unchanged::Reload]
                [usize::try_from(dice.roll(4)).unwrap()];
            ask.parallel = NonZeroU16::new(u16::try_from(dice.roll(3)).unwrap());
            ask.wait = if dice.roll(4) == 0 { Wait::No } else { Wait::UntilDone };
            Ask::Apply(ask)
        }
        3 | 4 => Ask::Stop(act(word)),
        5 => Ask::Start(Act { changes: changes(dice), ..act(word) }),
        6 => Ask::Restart(act(word)),
        7 => Ask::Restart(Act { parallel: NonZeroU16::new(1), ..act(word) }),
        8 => Ask::Reset(act(word)),
        9 => Ask::Signal { targets: act(word).targets, signal: hangup() },
        10 | 11 => {
            let count = match dice.roll(4) {
                0 => Count::To(u16::try_from(dice.roll(4)).unwrap()),
                1 => Count::By(-1),
                _ => Count::By(1),
            };
            Ask::Scale(Scale { targets: act(word).targets, count, wait: Wait::UntilDone })
        }
        12 => Ask::Resurrect { saved: saved(dice), wait: Wait::UntilDone },
        13 | 14 => Ask::Reload(act(word)),
        15 => Ask::Reload(Act { changes: changes(dice), ..act("all") }),
        16 => Ask::Reload(Act { parallel: NonZeroU16::new(1), ..act("all") }),
        17 => Ask::Reload(Act { strategy: Some(Strategy::BlueGreen), ..act("all") }),
        18 => Ask::AbortReload(act(word)),
        _ => Ask::Delete(act(word)),
    }
}

/// Now and then another name, which may be taken, and another value.
fn changes(dice: &mut Dice) -> Option<Box<Changes>> {
    let keys = ["name", "kill_timeout", "treekill"].map(str::to_owned);
    let keys = keys.into_iter().filter(|_| dice.roll(2) == 0).collect();
    let from = random_spec(dice);
    let changes = Changes { keys, from, interpreter: None, interpreter_args: None, args: None };
    (dice.roll(2) == 0).then(|| Box::new(changes))
}

fn saved(dice: &mut Dice) -> Vec<Wanted> {
    let spec = random_spec(dice);
    let slots = (0..spec.instances).map(|n| (SlotId(u32::from(n)), n, dice.roll(2) == 0)).collect();
    vec![Wanted {
        definition: Arc::new(Definition { spec, inherited: Arc::default(), stamp: None, declared: 1 }),
        slots,
    }]
}

/// Something that can happen to a process: often what it was asked for, sometimes anything.
fn random_report(dice: &mut Dice, world: &mut World) -> Option<Event> {
    let index = usize::try_from(dice.roll(u64::try_from(world.processes.len().max(1)).unwrap())).unwrap();
    let (run, (slot, process)) = world.processes.iter().nth(index).map(|(run, at)| (*run, *at))?;
    let left = if dice.roll(4) == 0 { Left::Survivors } else { Left::Nothing };
    // Checks come and go much more often than processes.
    if let Process::Lives { .. } = process
        && (world.checked.remove(&run) || dice.roll(4) == 0)
    {
        let is_well = dice.roll(5) < if run.0 % 3 == 0 { 1 } else { 4 };
        let finding = if is_well { Finding::Well } else { Finding::Ill(format!("no {}", dice.roll(2))) };
        return Some(Event::Checked { run, finding });
    }
    Some(match process {
        Process::Ordered if dice.roll(5) == 0 => {
            world.processes.remove(&run);
            let lasting = if dice.roll(2) == 0 { Lasting::Permanent } else { Lasting::Transient };
            Event::SpawnFailed { run, why: "no".into(), lasting }
        }
        Process::Ordered => {
            world.processes.insert(run, (slot, Process::Lives { asked: false, killed: false }));
            Event::Spawned { run }
        }
        Process::Lives { asked: false, .. } if world.draining.contains(&run) && dice.roll(2) == 0 => {
            match dice.roll(3) {
                0 => Event::Remaining { run, remaining: Remaining::default() },
                _ => Event::Drained { run },
            }
        }
        Process::Lives { .. } if dice.roll(40) == 0 => match dice.roll(4) {
            0 => Event::Guarded { run, limit: Duration::from_millis(dice.roll(2) * 700) },
            1 => Event::Hung { run, hang: Hang::Told },
            2 => Event::Starved { run, proof: if dice.roll(2) == 0 { Proof::Sure } else { Proof::Likely } },
            _ => Event::Hung { run, hang: Hang::Silent(Duration::from_secs(1)) },
        },
        Process::Lives { .. } if dice.roll(6) == 0 => Event::Weighed { run, memory: 70 + dice.roll(60) },
        Process::Lives { asked: false, .. } if dice.roll(8) == 0 => match dice.roll(2) {
            0 => Event::Closing { run },
            _ => Event::Heeds { run, interrupt_only: dice.roll(2) == 0 },
        },
        Process::Lives { asked: false, .. } if dice.roll(3) > 0 => {
            let by = if dice.roll(4) == 0 { ReadyBy::Notified } else { ReadyBy::Listening };
            Event::Ready { run, by }
        }
        Process::Lives { killed, .. } => {
            let status = match dice.roll(3) {
                0 => ExitStatus::Code(0),
                1 => ExitStatus::Code(1),
                _ => ExitStatus::Signal { signal: Signal::KILL, core: false },
            };
            match left {
                Left::Nothing => world.processes.remove(&run),
                Left::Survivors => world.processes.insert(run, (slot, Process::Survivors { killed })),
            };
            Event::Exited { run, status, left }
        }
        Process::Survivors { .. } => {
            world.processes.remove(&run);
            Event::Gone { run }
        }
    })
}

/// Now and then one on trial fails: by itself that happens seldom.
fn trial_fails(core: &Supervisor, dice: &mut Dice, world: &mut World) -> Option<Event> {
    let on_trial = core.slots.values().find_map(|slot| match (&slot.phase, &slot.rollout) {
        (Phase::Online { run }, Some(Rollout::Baking { .. })) => Some(run.id),
        (_, _) => None,
    });
    let run = on_trial.filter(|_| dice.roll(8) == 0)?;
    if dice.roll(2) == 0 {
        return Some(Event::Hung { run, hang: Hang::Told });
    }
    world.processes.remove(&run);
    Some(Event::Exited { run, status: ExitStatus::Code(1), left: Left::Nothing })
}

/// With `treekill = false` the core does not wait for survivors, so the world forgets them, too.
fn forget_ignored(bench: &Bench, world: &mut World, event: &Event) {
    if let Event::Exited { run, left: Left::Survivors, .. } = event {
        let waits = bench.core.slots.values().any(|slot| slot.runs().iter().any(|(r, _)| r.id == *run));
        if !waits {
            world.processes.remove(run);
        }
    }
}

/// A core on a random walk, for whoever has to hold at every step of it.
pub(crate) struct Stroll {
    bench: Bench,
    world: World,
    dice: Dice,
}

impl Stroll {
    pub(crate) fn new(seed: u64) -> Stroll {
        Stroll { bench: Bench::new(), world: World::default(), dice: Dice(seed * 0x9e37_79b9) }
    }

    pub(crate) fn core(&mut self) -> &mut Supervisor {
        &mut self.bench.core
    }

    /// One event, and what it caused; the request, if it was one.
    #[track_caller]
    pub(crate) fn step(&mut self) -> (Option<RequestId>, Vec<Effect>) {
        let Stroll { bench, world, dice } = self;
        let before = bench.effects.len();
        let mut asked = None;
        match dice.roll(10) {
            0 | 1 => asked = Some(bench.ask(random_ask(dice))),
            2..=7 => {
                if let Some(event) = trial_fails(&bench.core, dice, world).or_else(|| random_report(dice, world)) {
                    bench.event(event.clone());
                    // A report may end one run and order the next in one turn: what it ends is gone first.
                    forget_ignored(bench, world, &event);
                }
            }
            _ => {
                bench.now = bench.now.after(Duration::from_millis(dice.roll(3_000)));
                bench.event(Event::Tick);
            }
        }
        let new = bench.effects[before..].to_vec();
        world.take(&new);
        check(&bench.core, world, bench.now);
        (asked, new)
    }
}

#[test]
fn a_random_walk_never_breaks_an_invariant() {
    let (mut switched, mut aborted, mut taken_back) = (0, 0, 0);
    let (mut ill, mut better, mut mended, mut ignored) = (0, 0, 0, 0);
    let (mut hung, mut starved) = (0, 0);
    for seed in 1..600 {
        let mut stroll = Stroll::new(seed);
        for _ in 0..300 {
            for effect in stroll.step().1 {
                match effect {
                    Effect::Drain { .. } => switched += 1,
                    Effect::Announce(Change { kind: ChangeKind::ReloadAborted { .. }, .. }) => aborted += 1,
                    Effect::Announce(Change { kind: ChangeKind::RolledBack { .. }, .. }) => taken_back += 1,
                    Effect::Announce(Change { kind: ChangeKind::Unhealthy { .. }, .. }) => ill += 1,
                    Effect::Announce(Change { kind: ChangeKind::Healthy(_), .. }) => better += 1,
                    Effect::Announce(Change { kind: ChangeKind::GivenUpOn { .. }, .. }) => mended += 1,
                    Effect::Announce(Change { kind: ChangeKind::HealthIgnored { .. }, .. }) => ignored += 1,
                    Effect::Announce(Change { kind: ChangeKind::Hung { .. }, .. }) => hung += 1,
                    Effect::Announce(Change { kind: ChangeKind::Starved { .. }, .. }) => starved += 1,
                    _ => {}
                }
            }
        }
    }
    let went = format!("{switched} drains, {aborted} aborts, {taken_back} taken back");
    assert!(switched > 500 && aborted > 100 && taken_back > 20, "it goes everywhere: {went}");
    let went = format!("{ill} ill, {better} better, {mended} restarted, {ignored} ignored");
    assert!(ill > 100 && better > 10 && mended > 50 && ignored > 50, "it goes everywhere: {went}");
    assert!(hung > 100 && starved > 100, "it goes everywhere: {hung} hung, {starved} starved");
}

/// Everything does at once what it is asked for, until the request has its answer.
#[track_caller]
fn obey(bench: &mut Bench, world: &mut World, request: RequestId) {
    for _ in 0..400 {
        if !bench.replies(request).is_empty() {
            return;
        }
        // Whoever was not asked for anything shows that it is ready, and lives.
        let (signs, draining) = (&world.signs, &world.draining);
        let idle = |run: &RunId, process: &Process| {
            let is_quiet = signs.get(run).is_some_and(|signs| *signs == 2) && !draining.contains(run);
            matches!(process, Process::Lives { asked: false, .. }) && is_quiet
        };
        let next = world.processes.iter().map(|(run, at)| (*run, *at)).find(|(run, (_, process))| !idle(run, process));
        let asked = world
            .checked
            .pop_first()
            .filter(|run| matches!(world.processes.get(run), Some((_, Process::Lives { .. }))));
        let event = match next {
            _ if asked.is_some() => Event::Checked { run: asked.unwrap(), finding: Finding::Well },
            Some((run, (_, Process::Lives { asked: false, .. }))) if world.draining.remove(&run) => {
                Event::Drained { run }
            }
            Some((run, (_, Process::Lives { asked: false, .. }))) => {
                let signs = world.signs.entry(run).or_default();
                *signs += 1;
                Event::Ready { run, by: if *signs == 1 { ReadyBy::Listening } else { ReadyBy::Notified } }
            }
            Some((run, (slot, Process::Ordered))) => {
                world.processes.insert(run, (slot, Process::Lives { asked: false, killed: false }));
                Event::Spawned { run }
            }
            Some((run, (_, Process::Lives { .. }))) => {
                world.processes.remove(&run);
                Event::Exited { run, status: ExitStatus::Code(0), left: Left::Nothing }
            }
            Some((run, (_, Process::Survivors { .. }))) => {
                world.processes.remove(&run);
                Event::Gone { run }
            }
            None => {
                bench.now = bench.core.next_deadline().expect("something is awaited").max(bench.now);
                Event::Tick
            }
        };
        let new = bench.event(event);
        world.take(&new);
    }
    panic!("no answer within 400 steps: {:?}", bench.core);
}

/// Asks, and lets the world obey until there is an answer.
#[track_caller]
fn ask_and_obey(bench: &mut Bench, world: &mut World, ask: Ask) {
    let from = bench.effects.len();
    let request = bench.ask(ask);
    world.take(&bench.effects[from..]);
    obey(bench, world, request);
}

#[test]
fn in_an_obedient_world_every_request_is_answered_with_exactly_as_many_spawns_as_needed() {
    let mut spec = AppSpec::sample("api");
    spec.instances = 4;
    let (mut bench, mut world) = (Bench::new(), World::default());
    let scale = |count| Ask::Scale(Scale { targets: act("api").targets, count, wait: Wait::UntilDone });
    let table: [(Ask, usize); 14] = [
        (apply(vec![spec.clone()]), 4),
        (apply(vec![spec.clone()]), 0),
        (Ask::Restart(act("api")), 4),
        (Ask::Restart(Act { parallel: NonZeroU16::new(3), ..act("api") }), 4),
        (Ask::Signal { targets: act("api").targets, signal: hangup() }, 0),
        (Ask::Reset(act("api")), 0),
        (scale(Count::By(2)), 2),
        (apply(vec![spec.clone()]), 0),
        (scale(Count::To(4)), 0),
        (Ask::Stop(act("0")), 0),
        (Ask::Start(act("api")), 1),
        (Ask::Stop(act("all")), 0),
        (Ask::Restart(act("all")), 4),
        (Ask::Delete(act("all")), 0),
    ];
    for (ask, spawns) in table {
        let label = format!("{ask:?}");
        let before = world.spawned.len();
        ask_and_obey(&mut bench, &mut world, ask);
        assert_eq!(world.spawned.len() - before, spawns, "{label}");
        check(&bench.core, &world, bench.now);
    }
    assert!(bench.core.slots.is_empty());
}

#[test]
fn in_an_obedient_world_a_reload_replaces_every_run_once() {
    let mut spec = AppSpec::sample("api");
    (spec.instances, spec.exec_mode) = (8, ExecMode::Cluster);
    let together = |spec: &AppSpec| Ask::Reload(Act { strategy: Some(Strategy::BlueGreen), ..act(&spec.name) });
    let changed = AppSpec { env: [("A".to_owned(), "1".to_owned())].into(), ..spec.clone() };
    let (mut bench, mut world) = (Bench::new(), World::default());
    let scale = |count| Ask::Scale(Scale { targets: act("api").targets, count, wait: Wait::UntilDone });
    let reload_file = |spec: &AppSpec| match apply(vec![spec.clone()]) {
        Ask::Apply(ask) => Ask::Apply(Apply { unchanged: Unchanged::Reload, ..ask }),
        other => other,
    };
    let table: [(Ask, usize, usize); 16] = [
        (apply(vec![spec.clone()]), 8, 8),
        (Ask::Reload(act("api")), 8, 10),
        (Ask::Reload(Act { parallel: NonZeroU16::new(3), ..act("api") }), 8, 11),
        (together(&spec), 8, 16),
        (apply(vec![changed.clone()]), 8, 10),
        (apply(vec![changed.clone()]), 0, 8),
        (reload_file(&changed), 8, 10),
        (Ask::Stop(act("0")), 0, 8),
        // One is started, seven are replaced, by ones.
        (Ask::Reload(act("api")), 8, 9),
        (scale(Count::To(4)), 0, 8),
        (Ask::Reload(act("api")), 4, 5),
        (scale(Count::By(1)), 1, 5),
        (Ask::Restart(act("api")), 5, 5),
        (Ask::Stop(act("all")), 0, 5),
        (Ask::Reload(act("all")), 5, 5),
        (Ask::Delete(act("all")), 0, 5),
    ];
    for (ask, spawns, most) in table {
        let label = format!("{ask:?}");
        let before = world.spawned.len();
        world.most = world.processes.len();
        let from = bench.effects.len();
        ask_and_obey(&mut bench, &mut world, ask);
        assert_eq!((world.spawned.len() - before, world.most), (spawns, most), "{label}");
        check(&bench.core, &world, bench.now);
        let failed = bench.effects[from..].iter().find(|effect| match effect {
            Effect::Reply { reply: Reply::Applied { results, .. } | Reply::Outcome(results), .. } => {
                results.iter().any(|result| !matches!(result.answer, SlotAnswer::Done(_)))
            }
            _ => false,
        });
        assert_eq!(failed, None, "{label}");
    }
    assert!(bench.core.slots.is_empty());
}

#[test]
fn after_any_walk_an_obedient_world_lets_the_daemon_leave() {
    for seed in 1..200 {
        let (mut bench, mut world, mut dice) = (Bench::new(), World::default(), Dice(seed * 0x51_7c_c1));
        for _ in 0..60 {
            let from = bench.effects.len();
            match dice.roll(3) {
                0 => {
                    let ask = random_ask(&mut dice);
                    bench.ask(ask);
                }
                _ => {
                    let Some(event) = random_report(&mut dice, &mut world) else { continue };
                    bench.event(event.clone());
                    forget_ignored(&bench, &mut world, &event);
                }
            }
            let new = bench.effects[from..].to_vec();
            world.take(&new);
        }
        ask_and_obey(&mut bench, &mut world, Ask::Shutdown);
        assert!(world.left, "seed {seed}: the daemon does not leave");
    }
}

#[test]
fn in_an_obedient_world_a_reload_with_health_checks_replaces_every_run_once() {
    let mut spec = AppSpec::sample("api");
    (spec.instances, spec.exec_mode) = (4, ExecMode::Cluster);
    spec.health = Some(HealthSpec::new(Check::Tcp, Duration::from_secs(60)));
    for wait_ready in [false, true] {
        spec.wait_ready = wait_ready;
        let (mut bench, mut world) = (Bench::new(), World::default());
        let together = Ask::Reload(Act { strategy: Some(Strategy::BlueGreen), ..act("api") });
        let table = [
            (apply(vec![spec.clone()]), 4),
            (Ask::Reload(act("api")), 4),
            (together, 4),
            (Ask::Restart(act("api")), 4),
        ];
        for (ask, spawns) in table {
            let (label, before) = (format!("{ask:?}"), world.spawned.len());
            ask_and_obey(&mut bench, &mut world, ask);
            assert_eq!(world.spawned.len() - before, spawns, "{label}");
            assert!(bench.core.slots.values().all(|slot| slot.state() == State::Online), "{label}: {:?}", bench.core);
            check(&bench.core, &world, bench.now);
        }
    }
}
