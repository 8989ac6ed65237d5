//! What one daemon leaves to the next.

use super::*;

#[test]
fn a_successor_restores_ids_and_starts_only_what_was_up() {
    let (bench, _) = Bench::online();
    let mut wanted = bench.core.wanted();
    wanted[0].slots.push((SlotId(5), 1, false));
    let mut successor = Bench::new();
    successor.ask(Ask::Restore(wanted));
    assert_eq!(successor.spawns(), 1);
    assert_eq!(successor.core.slots.keys().copied().collect::<Vec<_>>(), [SlotId(0), SlotId(5)]);
    successor.ask(apply(vec![AppSpec::sample("new")]));
    assert!(successor.core.slots.contains_key(&SlotId(6)));
}

#[test]
fn what_an_earlier_daemon_ran_is_listed_as_stopped_until_resurrected() {
    let (bench, _) = Bench::online();
    let wanted = bench.core.wanted();
    let mut next = Bench::new();
    next.ask(Ask::Register(wanted.clone()));
    assert_eq!((next.spawns(), next.state(0), next.core.parked()), (0, State::Stopped, 1));
    assert_eq!(next.core.wanted(), wanted, "it is still wanted, should this daemon end, too");
    let id = next.ask(Ask::Resurrect { saved: vec![], wait: Wait::UntilDone });
    next.come_up();
    assert_eq!(next.answers(id), [SlotAnswer::Done(State::Online)]);
    assert_eq!(next.core.parked(), 0);
}

#[test]
fn a_wish_about_a_parked_app_ends_its_waiting() {
    let (bench, _) = Bench::online();
    let mut next = Bench::new();
    next.ask(Ask::Register(bench.core.wanted()));
    next.ask(Ask::Stop(act("api")));
    assert!(!next.core.wanted()[0].slots[0].2, "stopped is stopped");
    next.ask(Ask::Resurrect { saved: vec![], wait: Wait::UntilDone });
    assert_eq!(next.spawns(), 0);
}

#[test]
fn resurrect_brings_back_what_was_saved_with_its_ids_and_doubles_nothing() {
    let mut bench = Bench::new();
    bench.ask(apply(vec![AppSpec::sample("a"), AppSpec::sample("b")]));
    let saved = bench.core.wanted();
    let mut next = Bench::new();
    next.ask(apply(vec![AppSpec::sample("b")]));
    next.come_up();
    next.ask(Ask::Resurrect { saved: saved.clone(), wait: Wait::UntilDone });
    assert_eq!(next.spawns(), 2, "b runs already");
    let names: Vec<(u32, &str)> =
        next.core.slots.values().map(|slot| (slot.id.0, slot.definition.spec.name.as_str())).collect();
    assert_eq!(names, [(0, "b"), (1, "a")], "the id of a is taken, so it gets the next one");
    let mut empty = Bench::new();
    empty.ask(Ask::Resurrect { saved, wait: Wait::UntilDone });
    let ids: Vec<u32> = empty.core.slots.keys().map(|id| id.0).collect();
    assert_eq!(ids, [0, 1]);
}
