//! What a reload keeps until it is sure: the bake time, blue-green, and the way back.

use super::reload::{gone, is_failed, reloading, standings};
use super::*;
use crate::spec::{ExecMode, Strategy, Surge};

const NO_PAUSE: Duration = Duration::ZERO;

/// A cluster app whose instances are all online.
fn several(count: u16, change: impl FnOnce(&mut AppSpec)) -> (Bench, Vec<RunId>) {
    let mut spec = AppSpec::sample("api");
    (spec.instances, spec.exec_mode) = (count, ExecMode::Cluster);
    change(&mut spec);
    let mut bench = Bench::new();
    bench.ask(apply(vec![spec]));
    let runs = online(&bench);
    for run in &runs {
        bench.event(Event::Spawned { run: *run });
        bench.event(Event::Ready { run: *run, by: ReadyBy::Listening });
    }
    bench.effects.clear();
    (bench, runs)
}

/// The runs in the phases of the slots.
fn online(bench: &Bench) -> Vec<RunId> {
    bench.core.slots.values().map(|slot| slot.run().unwrap().id).collect()
}

/// The runs beside them.
fn beside(bench: &Bench) -> Vec<RunId> {
    bench.core.slots.values().filter_map(|slot| Some(slot.rollout.as_ref()?.run()?.id)).collect()
}

fn ready(bench: &mut Bench, run: RunId) {
    bench.event(Event::Spawned { run });
    bench.event(Event::Ready { run, by: ReadyBy::Listening });
}

fn blue_green(spec: &mut AppSpec) {
    spec.cluster.strategy = Strategy::BlueGreen;
}

#[test]
fn the_old_run_is_parked_until_the_new_one_has_held() {
    let (mut bench, id, old, new) = reloading(|spec| spec.cluster.bake = Duration::from_secs(3));
    bench.event(Event::Ready { run: new, by: ReadyBy::Listening });
    assert_eq!(standings(&bench), [(new, Standing::Ready), (old, Standing::Parked)]);
    bench.pass(2_999);
    assert!(bench.signals().is_empty() && bench.replies(id).is_empty());
    assert_eq!(standings(&bench).len(), 2);
    bench.pass(1);
    assert_eq!(standings(&bench)[2..], [(old, Standing::Draining)]);
    bench.event(Event::Drained { run: old });
    bench.exit(old, 0);
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
}

#[test]
fn a_canary_that_dies_gives_its_place_back() {
    let (mut bench, id, old, new) = reloading(|spec| spec.cluster.bake = Duration::from_secs(3));
    bench.event(Event::Ready { run: new, by: ReadyBy::Listening });
    bench.pass(2_000);
    bench.effects.clear();
    bench.exit(new, 7);
    assert_eq!(standings(&bench), [(old, Standing::Ready)]);
    is_failed(&bench.answers(id), "exit code 7 after 2s, on trial for 3s");
    assert_eq!((online(&bench), bench.state(0)), (vec![old], State::Online));
    bench.pass(600_000);
    assert_eq!((bench.spawns(), bench.signals().len(), gone(&bench)), (0, 0, 0));
}

#[test]
fn a_canary_that_leaves_others_behind_is_cleared_away_after_it_has_given_its_place_back() {
    let (mut bench, id, old, new) = reloading(|spec| spec.cluster.bake = Duration::from_secs(3));
    bench.event(Event::Ready { run: new, by: ReadyBy::Listening });
    bench.event(Event::Exited { run: new, status: ExitStatus::Code(1), left: Left::Survivors });
    assert_eq!(online(&bench), [old]);
    assert!(bench.replies(id).is_empty());
    bench.pass(10_000);
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::Survivors), (Signal::KILL, Whom::Tree)]);
    bench.event(Event::Gone { run: new });
    is_failed(&bench.answers(id), "exit code 1 after 0ms, on trial for 3s");
}

#[test]
fn an_old_run_that_dies_while_it_is_parked_is_not_missed() {
    let (mut bench, id, old, new) = reloading(|spec| spec.cluster.bake = Duration::from_secs(3));
    bench.event(Event::Ready { run: new, by: ReadyBy::Listening });
    bench.exit(old, 1);
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
    assert_eq!(online(&bench), [new]);
    // Its end is the end of the trial: what comes now is an exit as any other.
    bench.pass(1_000);
    bench.exit(new, 1);
    assert_eq!(bench.spawns(), 2);
}

#[test]
fn a_stop_or_a_restart_on_trial_wins() {
    for restart in [false, true] {
        let (mut bench, id, old, new) = reloading(|spec| spec.cluster.bake = Duration::from_secs(3));
        bench.event(Event::Ready { run: new, by: ReadyBy::Listening });
        let ask = if restart { Ask::Restart(act("api")) } else { Ask::Stop(act("api")) };
        let later = bench.ask(ask);
        for run in [old, new] {
            bench.event(Event::Drained { run });
            bench.exit(run, 0);
        }
        if restart {
            assert_eq!(bench.come_up(), online(&bench)[0]);
            assert_eq!(bench.answers(later), [SlotAnswer::Done(State::Online)]);
        } else {
            assert_eq!(bench.answers(id), [SlotAnswer::Superseded]);
            assert_eq!((bench.answers(later), gone(&bench)), (vec![SlotAnswer::Done(State::Stopped)], 1));
        }
    }
}

#[test]
fn the_others_wait_for_the_canary_and_are_not_baked() {
    let (mut bench, old) = several(5, |spec| spec.cluster.max_surge = Surge::Count(4));
    let id = bench.ask(Ask::Reload(act("api")));
    assert_eq!(bench.spawns(), 1);
    let canary = beside(&bench)[0];
    ready(&mut bench, canary);
    bench.pass(3_000);
    bench.event(Event::Drained { run: old[0] });
    assert_eq!(bench.spawns(), 1, "the old one is still there");
    bench.exit(old[0], 0);
    assert_eq!(bench.spawns(), 5);
    for (new, old) in beside(&bench).into_iter().zip(&old[1..]) {
        ready(&mut bench, new);
        assert_eq!(standings(&bench).last(), Some(&(*old, Standing::Draining)));
        bench.event(Event::Drained { run: *old });
        bench.exit(*old, 0);
    }
    assert_eq!(bench.answers(id), vec![SlotAnswer::Done(State::Online); 5]);
}

#[test]
fn a_canary_that_fails_ends_the_reload_of_the_others() {
    let (mut bench, old) = several(3, |_| {});
    let id = bench.ask(Ask::Reload(act("api")));
    let canary = beside(&bench)[0];
    ready(&mut bench, canary);
    bench.pass(1_000);
    bench.exit(canary, 1);
    let answers = bench.answers(id);
    assert!(matches!(&answers[0], SlotAnswer::Failed { reason, .. } if reason.contains("on trial")), "{answers:?}");
    assert!(matches!(&answers[2], SlotAnswer::Failed { reason, .. } if reason.starts_with("left running")));
    assert_eq!((online(&bench), bench.spawns()), (old, 1));
}

#[test]
fn when_somebody_else_wants_the_canary_the_next_one_goes_first() {
    let (mut bench, old) = several(4, |spec| spec.cluster.max_surge = Surge::Count(3));
    bench.ask(Ask::Reload(act("api")));
    let canary = beside(&bench)[0];
    ready(&mut bench, canary);
    bench.ask(Ask::Stop(act("0")));
    assert_eq!(bench.spawns(), 2, "one, and not three");
    let next = beside(&bench)[1];
    ready(&mut bench, next);
    assert_eq!(standings(&bench).last(), Some(&(old[1], Standing::Parked)));
}

#[test]
fn all_are_switched_when_the_last_of_them_is_ready() {
    let (mut bench, old) = several(4, blue_green);
    let id = bench.ask(Ask::Reload(act("api")));
    let new = beside(&bench);
    assert_eq!((bench.spawns(), new.len()), (4, 4));
    for run in &new[..3] {
        ready(&mut bench, *run);
    }
    assert!(standings(&bench).is_empty() && online(&bench) == old);
    ready(&mut bench, new[3]);
    assert_eq!(online(&bench), new);
    let parked = standings(&bench).iter().filter(|(_, standing)| *standing == Standing::Parked).count();
    assert_eq!(parked, 4);
    bench.pass(3_000);
    for run in &old {
        bench.event(Event::Drained { run: *run });
        bench.exit(*run, 0);
    }
    assert_eq!(bench.answers(id), vec![SlotAnswer::Done(State::Online); 4]);
}

#[test]
fn when_one_of_all_fails_before_the_switch_nothing_was_touched() {
    let (mut bench, old) = several(4, blue_green);
    let id = bench.ask(Ask::Reload(act("api")));
    let new = beside(&bench);
    for run in &new[..3] {
        ready(&mut bench, *run);
    }
    bench.event(Event::Spawned { run: new[3] });
    bench.exit(new[3], 3);
    assert!(standings(&bench).is_empty());
    assert_eq!(bench.signals(), vec![(Signal::TERM, Whom::Main); 3]);
    new[..3].iter().for_each(|run| bench.exit(*run, 0));
    let answers = bench.answers(id);
    let failed =
        |answer: &SlotAnswer, why: &str| matches!(answer, SlotAnswer::Failed { reason, .. } if reason.starts_with(why));
    assert!(answers[..3].iter().all(|answer| failed(answer, "`api:3` failed")), "{answers:?}");
    assert!(failed(&answers[3], "exit code 3"));
    assert_eq!(online(&bench), old);
}

#[test]
fn when_one_of_all_fails_on_trial_all_go_back() {
    let (mut bench, old) = several(2, blue_green);
    let id = bench.ask(Ask::Reload(act("api")));
    let new = beside(&bench);
    new.iter().for_each(|run| ready(&mut bench, *run));
    bench.pass(1_000);
    bench.exit(new[0], 3);
    assert_eq!(online(&bench), old);
    // The other one has connections: they end in peace.
    assert_eq!(standings(&bench).last(), Some(&(new[1], Standing::Draining)));
    bench.event(Event::Drained { run: new[1] });
    bench.exit(new[1], 0);
    assert!(bench.answers(id).iter().all(|answer| matches!(answer, SlotAnswer::Failed { .. })));
}

#[test]
fn the_strategy_of_a_request_is_stronger_than_that_of_the_app() {
    let (mut bench, _) = several(4, blue_green);
    bench.ask(Ask::Reload(Act { strategy: Some(Strategy::Rolling), ..act("api") }));
    assert_eq!(bench.spawns(), 1);
    let (mut bench, _) = several(4, |spec| spec.cluster.bake = NO_PAUSE);
    bench.ask(Ask::Reload(Act { strategy: Some(Strategy::BlueGreen), ..act("api") }));
    assert_eq!(bench.spawns(), 4);
}

#[test]
fn without_a_bake_time_all_old_runs_are_drained_at_the_switch() {
    let (mut bench, old) = several(2, |spec| {
        blue_green(spec);
        spec.cluster.bake = NO_PAUSE;
    });
    bench.ask(Ask::Reload(act("api")));
    beside(&bench).into_iter().for_each(|run| ready(&mut bench, run));
    let draining: Vec<RunId> = standings(&bench)
        .into_iter()
        .filter(|(_, standing)| *standing == Standing::Draining)
        .map(|(run, _)| run)
        .collect();
    assert_eq!(draining, old);
}

#[test]
fn one_that_is_stopped_meanwhile_does_not_hold_up_the_others() {
    let (mut bench, old) = several(3, blue_green);
    bench.ask(Ask::Reload(act("api")));
    let new = beside(&bench);
    new[..2].iter().for_each(|run| ready(&mut bench, *run));
    bench.ask(Ask::Stop(act("2")));
    assert_eq!(online(&bench)[..2], new[..2]);
    assert_eq!(online(&bench)[2], old[2]);
}

#[test]
fn a_reload_is_aborted_before_the_switch_and_on_trial() {
    for on_trial in [false, true] {
        let (mut bench, id, old, new) = reloading(|spec| spec.cluster.bake = Duration::from_secs(3));
        if on_trial {
            bench.event(Event::Ready { run: new, by: ReadyBy::Listening });
        }
        let abort = bench.ask(Ask::AbortReload(act("api")));
        assert_eq!(online(&bench), [old]);
        if on_trial {
            bench.event(Event::Drained { run: new });
        }
        bench.exit(new, 0);
        is_failed(&bench.answers(id), "aborted by request");
        assert_eq!(bench.answers(abort), [SlotAnswer::Done(State::Online)]);
    }
}

#[test]
fn an_abort_ends_the_waiting_for_turns_and_is_refused_where_there_is_nothing_to_abort() {
    let (mut bench, old) = several(3, |spec| spec.cluster.bake = NO_PAUSE);
    let id = bench.ask(Ask::Reload(act("api")));
    let first = beside(&bench)[0];
    ready(&mut bench, first);
    // It is past the switch: what is left is not begun.
    let abort = bench.ask(Ask::AbortReload(act("api")));
    bench.event(Event::Drained { run: old[0] });
    bench.exit(old[0], 0);
    assert_eq!(online(&bench), [first, old[1], old[2]]);
    let answers = bench.answers(id);
    assert_eq!(answers[0], SlotAnswer::Done(State::Online));
    assert!(matches!(&answers[1], SlotAnswer::Failed { reason, .. } if reason.contains("was aborted")));
    assert_eq!(bench.answers(abort), vec![SlotAnswer::Done(State::Online); 2]);
    let again = bench.ask(Ask::AbortReload(act("api")));
    let refused = Reply::Refused(Refusal::NotReloading { name: "api".into() });
    assert_eq!(bench.replies(again), [&refused]);
}

#[test]
fn editions_are_what_one_request_has_put_in_place() {
    let (mut bench, _) = several(2, |spec| spec.cluster.bake = NO_PAUSE);
    let editions =
        |bench: &Bench| bench.core.slots.values().map(|slot| slot.run().unwrap().edition).collect::<Vec<_>>();
    assert_eq!(editions(&bench), [1, 1]);
    bench.ask(Ask::Reload(act("api")));
    let first = beside(&bench)[0];
    ready(&mut bench, first);
    assert_eq!(editions(&bench), [2, 1]);
}
