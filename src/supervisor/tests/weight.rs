//! What follows when a run takes too much memory.

use super::*;
use crate::spec::{ExecMode, MemorySpec, Warn};

const LIMIT: u64 = 1000;

/// A bench with one ready app that has a limit.
fn limited(mode: ExecMode) -> (Bench, RunId) {
    let mut spec = AppSpec::sample("api");
    spec.exec_mode = mode;
    spec.memory = MemorySpec { limit: Some(LIMIT), warn: Warn::Percent(80) };
    let mut bench = Bench::new();
    bench.ask(apply(vec![spec]));
    let run = bench.come_up();
    bench.event(Event::Ready { run, by: ReadyBy::Notified });
    bench.effects.clear();
    (bench, run)
}

fn weigh(bench: &mut Bench, run: RunId, memory: u64) {
    bench.event(Event::Weighed { run, memory });
}

fn told(bench: &Bench) -> Vec<Then> {
    let heavy = |effect: &Effect| match effect {
        Effect::Announce(Change { kind: ChangeKind::Heavy { then, .. }, .. }) => Some(*then),
        _ => None,
    };
    bench.effects.iter().filter_map(heavy).collect()
}

#[test]
fn a_run_that_shares_ports_is_replaced_before_it_is_drained_and_a_drain_that_grows_is_cut_short() {
    let (mut bench, old) = limited(ExecMode::Cluster);
    bench.pass(60_000);
    weigh(&mut bench, old, 900);
    weigh(&mut bench, old, LIMIT);
    assert_eq!(told(&bench), [Then::Warned, Then::Replaced]);
    let new = bench.spawn();
    let spawned = bench.effects.iter().find_map(|effect| match effect {
        Effect::Spawn { replaces, resolve, .. } => Some((*replaces, *resolve)),
        _ => None,
    });
    assert_eq!(spawned, Some((Some(old), Resolve::Keep)), "nobody asked for another release");
    weigh(&mut bench, old, LIMIT + 100);
    bench.event(Event::Spawned { run: new });
    bench.event(Event::Ready { run: new, by: ReadyBy::Listening });
    bench.event(Event::Ready { run: new, by: ReadyBy::Notified });
    assert!(bench.signals().is_empty(), "it is drained");
    weigh(&mut bench, old, LIMIT + LIMIT / 4 - 1);
    assert!(bench.signals().is_empty());
    weigh(&mut bench, old, LIMIT + LIMIT / 4);
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::Main)]);
    bench.exit(old, 0);
    assert_eq!((bench.state(0), bench.spawns()), (State::Online, 1));
    assert_eq!(told(&bench), [Then::Warned, Then::Replaced], "what is on its way is waited for");
}

#[test]
fn a_run_that_shares_nothing_is_restarted_and_its_end_says_why() {
    let (mut bench, old) = limited(ExecMode::Fork);
    bench.pass(60_000);
    weigh(&mut bench, old, LIMIT);
    assert_eq!(told(&bench), [Then::Restarted]);
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::Main)]);
    bench.exit(old, 0);
    let slot = &bench.core.slots[&SlotId(0)];
    assert_eq!(slot.history[0].reason, "exit code 0, stopped for its memory");
    assert_eq!((bench.spawns(), bench.state(0)), (1, State::Launching));
}

#[test]
fn an_app_that_needs_more_than_its_limit_is_replaced_more_and_more_seldom() {
    let (mut bench, mut run) = limited(ExecMode::Fork);
    let mut lives = Vec::new();
    for _ in 0..4 {
        let (restarts, begun) = (told(&bench).len(), bench.now);
        while told(&bench).len() == restarts {
            bench.pass(1000);
            weigh(&mut bench, run, LIMIT + LIMIT / 4);
        }
        lives.push(bench.now.since(begun).as_secs());
        bench.exit(run, 0);
        run = bench.spawn();
        bench.event(Event::Spawned { run });
        bench.event(Event::Ready { run, by: ReadyBy::Notified });
    }
    assert_eq!(lives, [1, 10, 20, 40]);
    // A life that was long enough begins anew.
    bench.pass(200_000);
    weigh(&mut bench, run, LIMIT);
    bench.exit(run, 0);
    assert_eq!(bench.core.slots[&SlotId(0)].weight.hasty, 0);
}

#[test]
fn an_app_that_leaks_fast_is_let_alone_for_ten_seconds_at_most() {
    let (mut bench, mut run) = limited(ExecMode::Fork);
    for _ in 0..5 {
        let (restarts, begun) = (told(&bench).len(), bench.now);
        while told(&bench).len() == restarts {
            bench.pass(1000);
            weigh(&mut bench, run, 2 * LIMIT);
        }
        assert!(bench.now.since(begun).as_secs() <= 10);
        bench.exit(run, 0);
        run = bench.spawn();
        bench.event(Event::Spawned { run });
        bench.event(Event::Ready { run, by: ReadyBy::Notified });
    }
}

#[test]
fn a_replacement_that_fails_is_not_tried_again_at_once() {
    let (mut bench, old) = limited(ExecMode::Cluster);
    bench.pass(60_000);
    weigh(&mut bench, old, LIMIT);
    let new = bench.spawn();
    bench.event(Event::Spawned { run: new });
    bench.exit(new, 1);
    assert_eq!((bench.spawns(), bench.state(0)), (1, State::Online));
    weigh(&mut bench, old, LIMIT);
    bench.pass(9_000);
    weigh(&mut bench, old, LIMIT);
    assert_eq!(bench.spawns(), 1);
    bench.pass(1_000);
    weigh(&mut bench, old, LIMIT);
    assert_eq!(bench.spawns(), 2);
}
