//! A reload: the stages of one slot, whatever can happen in each, and several slots one after the other.

use super::*;
use crate::spec::{ExecMode, Surge};

/// A bench with one ready cluster app.
fn cluster(change: impl FnOnce(&mut AppSpec)) -> (Bench, RunId) {
    let mut spec = AppSpec::sample("api");
    spec.exec_mode = ExecMode::Cluster;
    change(&mut spec);
    let mut bench = Bench::new();
    bench.ask(apply(vec![spec]));
    let run = bench.come_up();
    bench.event(Event::Ready { run, by: ReadyBy::Notified });
    bench.effects.clear();
    (bench, run)
}

/// A reload whose new process lives.
fn reloading(change: impl FnOnce(&mut AppSpec)) -> (Bench, RequestId, RunId, RunId) {
    let (mut bench, old) = cluster(change);
    let id = bench.ask(Ask::Reload(act("api")));
    let new = bench.spawn();
    bench.event(Event::Spawned { run: new });
    (bench, id, old, new)
}

fn standings(bench: &Bench) -> Vec<(RunId, Standing)> {
    let steer = |effect: &Effect| match effect {
        Effect::Steer { run, standing } => Some((*run, *standing)),
        _ => None,
    };
    bench.effects.iter().filter_map(steer).collect()
}

fn gone(bench: &Bench) -> usize {
    bench.effects.iter().filter(|effect| matches!(effect, Effect::GiveUp { .. })).count()
}

#[track_caller]
fn is_failed(answers: &[SlotAnswer], expected: &str) {
    let [SlotAnswer::Failed { reason, run: Some(_), next: Some(next) }] = answers else {
        panic!("not one failure: {answers:?}");
    };
    assert_eq!(reason, expected);
    assert_eq!(next, "the instance that ran before goes on");
}

#[test]
fn the_new_run_is_ready_before_the_old_one_is_drained_and_asked_to_end() {
    let (mut bench, id, old, new) = reloading(|_| {});
    let replaces = bench.effects.iter().find_map(|effect| match effect {
        Effect::Spawn { replaces, resolve, .. } => Some((*replaces, *resolve)),
        _ => None,
    });
    assert_eq!(replaces, Some((Some(old), Resolve::Fresh)));
    assert!(bench.signals().is_empty() && standings(&bench).is_empty(), "nothing of the old run is touched");
    bench.event(Event::Ready { run: new, by: ReadyBy::Listening });
    assert_eq!(standings(&bench), [(new, Standing::Ready), (old, Standing::Draining)]);
    assert!(bench.signals().is_empty() && bench.replies(id).is_empty());
    bench.event(Event::Drained { run: old });
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::Main)]);
    bench.exit(old, 0);
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
    assert_eq!((bench.spawns(), gone(&bench)), (1, 0));
}

#[test]
fn who_waits_for_a_reload_hears_what_the_old_run_is_still_doing() {
    let (mut bench, id, old, new) = reloading(|_| {});
    let remaining = Remaining { connections: Some(3), oldest: Duration::from_secs(4) };
    let told = |bench: &Bench| {
        let told = bench.effects.iter().filter_map(|effect| match effect {
            Effect::Progress { to, state, remaining: Some(remaining), .. } => Some((*to, *state, *remaining)),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    bench.event(Event::Remaining { run: old, remaining });
    assert_eq!(told(&bench), [], "it is not drained yet");
    bench.event(Event::Ready { run: new, by: ReadyBy::Listening });
    assert_eq!(bench.core.facts(bench.now)[0].1[0].draining, Some(old));
    bench.event(Event::Remaining { run: old, remaining });
    assert_eq!(told(&bench), [(id, State::Online, remaining)]);
    bench.event(Event::Remaining { run: new, remaining });
    assert_eq!(told(&bench), []);
}

#[test]
fn a_drain_without_end_ends_at_its_time_and_the_kill_timeout_begins_then() {
    let (mut bench, id, old, new) = reloading(|_| {});
    bench.event(Event::Ready { run: new, by: ReadyBy::Listening });
    bench.pass(9_999);
    assert!(bench.signals().is_empty());
    bench.pass(1);
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::Main)]);
    bench.pass(9_999);
    assert_eq!(bench.signals().len(), 1);
    bench.pass(1);
    assert_eq!(bench.signals()[1], (Signal::KILL, Whom::Tree));
    bench.exit(old, 0);
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
}

#[test]
fn a_new_run_that_dies_changes_nothing() {
    let (mut bench, id, old, new) = reloading(|_| {});
    bench.exit(new, 7);
    is_failed(&bench.answers(id), "exit code 7 after 0ms, before it was ready");
    assert_eq!((bench.core.slots[&SlotId(0)].run().unwrap().id, bench.state(0)), (old, State::Online));
    bench.pass(600_000);
    assert_eq!((bench.spawns(), bench.signals().len(), standings(&bench).len()), (1, 0, 0));
}

#[test]
fn a_new_run_that_cannot_be_made_changes_nothing() {
    let (mut bench, old) = cluster(|_| {});
    let id = bench.ask(Ask::Reload(act("api")));
    let run = bench.spawn();
    bench.event(Event::SpawnFailed { run, why: "no such file".into(), lasting: Lasting::Permanent });
    is_failed(&bench.answers(id), "no such file");
    assert_eq!(bench.core.slots[&SlotId(0)].run().unwrap().id, old);
    bench.pass(600_000);
    assert_eq!(bench.spawns(), 1);
}

#[test]
fn a_new_run_that_is_not_ready_in_time_is_ended_and_answered_for_when_it_is_gone() {
    let (mut bench, id, old, new) = reloading(|_| {});
    bench.pass(59_999);
    assert!(bench.signals().is_empty(), "to have lived long is no sign: the old run listens");
    bench.pass(1);
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::Main)]);
    assert!(bench.replies(id).is_empty());
    bench.event(Event::Ready { run: new, by: ReadyBy::Listening });
    bench.exit(new, 0);
    is_failed(&bench.answers(id), "not ready within 60s");
    assert_eq!(bench.core.slots[&SlotId(0)].run().unwrap().id, old);
}

#[test]
fn a_new_run_with_survivors_is_answered_for_when_they_are_gone() {
    let (mut bench, id, _, new) = reloading(|_| {});
    bench.event(Event::Exited { run: new, status: ExitStatus::Code(1), left: Left::Survivors });
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::Survivors)]);
    bench.pass(10_000);
    assert_eq!(bench.signals()[1], (Signal::KILL, Whom::Tree));
    bench.event(Event::Gone { run: new });
    is_failed(&bench.answers(id), "exit code 1 after 0ms, before it was ready");
}

#[test]
fn a_program_that_listens_nowhere_is_ready_after_three_seconds() {
    let mut spec = AppSpec::sample("api");
    spec.exec_mode = ExecMode::Cluster;
    let mut bench = Bench::new();
    let id = bench.ask(apply(vec![spec]));
    let old = bench.spawn();
    bench.event(Event::Spawned { run: old });
    bench.pass(2_999);
    assert!(bench.replies(id).is_empty());
    bench.pass(1);
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
    bench.ask(Ask::Reload(act("api")));
    let new = bench.spawn();
    bench.event(Event::Spawned { run: new });
    bench.pass(3_000);
    assert_eq!(bench.core.slots[&SlotId(0)].run().unwrap().id, new);
}

#[test]
fn who_listens_later_has_to_be_replaced_by_who_listens() {
    let mut spec = AppSpec::sample("api");
    spec.exec_mode = ExecMode::Cluster;
    let mut bench = Bench::new();
    bench.ask(apply(vec![spec]));
    let old = bench.spawn();
    bench.event(Event::Spawned { run: old });
    bench.pass(3_000);
    bench.event(Event::Ready { run: old, by: ReadyBy::Listening });
    bench.ask(Ask::Reload(act("api")));
    let new = bench.spawn();
    bench.event(Event::Spawned { run: new });
    bench.pass(30_000);
    assert_eq!(bench.core.slots[&SlotId(0)].run().unwrap().id, old);
    bench.event(Event::Ready { run: new, by: ReadyBy::Listening });
    assert_eq!(bench.core.slots[&SlotId(0)].run().unwrap().id, new);
}

#[test]
fn under_wait_ready_listening_is_not_enough_and_neither_is_saying_so_alone() {
    for (first, second) in [(ReadyBy::Listening, ReadyBy::Notified), (ReadyBy::Notified, ReadyBy::Listening)] {
        let (mut bench, _, old, new) = reloading(|spec| spec.wait_ready = true);
        bench.event(Event::Ready { run: new, by: first });
        assert_eq!(bench.core.slots[&SlotId(0)].run().unwrap().id, old);
        bench.event(Event::Ready { run: new, by: second });
        assert_eq!(bench.core.slots[&SlotId(0)].run().unwrap().id, new);
    }
}

#[test]
fn an_old_run_that_dies_meanwhile_leaves_its_place_to_the_new_one() {
    let (mut bench, id, old, new) = reloading(|_| {});
    bench.exit(old, 1);
    assert_eq!((bench.spawns(), bench.state(0)), (1, State::Launching), "no third run");
    bench.event(Event::Ready { run: new, by: ReadyBy::Listening });
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
    assert_eq!((bench.spawns(), gone(&bench)), (1, 0));
}

#[test]
fn a_stop_meanwhile_wins_and_ends_both_runs() {
    let (mut bench, id, old, new) = reloading(|_| {});
    let stop = bench.ask(Ask::Stop(act("api")));
    assert_eq!(bench.answers(id), [SlotAnswer::Superseded]);
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::Main)], "the new one has no connections");
    bench.event(Event::Drained { run: old });
    bench.exit(old, 0);
    assert!(bench.replies(stop).is_empty() && gone(&bench) == 0);
    bench.exit(new, 0);
    assert_eq!((bench.answers(stop), gone(&bench)), (vec![SlotAnswer::Done(State::Stopped)], 1));
}

#[test]
fn a_stop_before_the_new_process_exists_waits_for_it() {
    let (mut bench, old) = cluster(|_| {});
    bench.ask(Ask::Reload(act("api")));
    let new = bench.spawn();
    let stop = bench.ask(Ask::Delete(act("api")));
    bench.exit(old, 0);
    assert!(bench.replies(stop).is_empty());
    bench.event(Event::Spawned { run: new });
    assert_eq!(bench.signals().last(), Some(&(Signal::TERM, Whom::Main)));
    bench.exit(new, 0);
    assert_eq!(bench.answers(stop), [SlotAnswer::Done(State::Stopped)]);
    assert!(bench.core.slots.is_empty());
}

#[test]
fn a_restart_meanwhile_wins_with_one_more_launch() {
    let (mut bench, _, old, new) = reloading(|_| {});
    let restart = bench.ask(Ask::Restart(act("api")));
    bench.event(Event::Drained { run: old });
    bench.exit(old, 0);
    let third = bench.come_up();
    assert!(bench.replies(restart).is_empty(), "the run of the reload is still there");
    bench.exit(new, 0);
    assert_eq!(bench.answers(restart), [SlotAnswer::Done(State::Online)]);
    assert_eq!((bench.spawns(), bench.core.slots[&SlotId(0)].run().unwrap().id), (2, third));
}

#[test]
fn a_second_reload_meanwhile_is_refused_by_name() {
    let (mut bench, first, old, new) = reloading(|_| {});
    let mut changed = AppSpec::sample("api");
    changed.exec_mode = ExecMode::Cluster;
    changed.env.insert("A".into(), "1".into());
    for ask in [Ask::Reload(act("all")), apply(vec![changed])] {
        let second = bench.ask(ask);
        let refused = Reply::Refused(Refusal::Reloading { name: "api".into() });
        assert_eq!(bench.replies(second), [&refused]);
    }
    bench.event(Event::Ready { run: new, by: ReadyBy::Listening });
    bench.exit(old, 0);
    assert_eq!(bench.answers(first), [SlotAnswer::Done(State::Online)]);
}

#[test]
fn a_stop_of_a_cluster_app_is_drained_first() {
    let (mut bench, run) = cluster(|_| {});
    let stop = bench.ask(Ask::Stop(act("api")));
    assert_eq!(standings(&bench), [(run, Standing::Draining)]);
    assert!(bench.signals().is_empty());
    bench.event(Event::Drained { run });
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::Main)]);
    bench.exit(run, 0);
    assert_eq!((bench.answers(stop), gone(&bench)), (vec![SlotAnswer::Done(State::Stopped)], 1));
}

#[test]
fn sockets_are_kept_while_a_restart_is_due_and_given_up_with_the_slot() {
    let (mut bench, run) = cluster(|spec| spec.restart.max_restarts = 2);
    bench.pass(5_000);
    bench.exit(run, 1);
    assert_eq!(gone(&bench), 0);
    for _ in 0..2 {
        let run = bench.spawn();
        bench.event(Event::Spawned { run });
        bench.exit(run, 1);
        bench.pass(500);
    }
    assert_eq!((bench.state(0), gone(&bench)), (State::Errored, 1));
    bench.pass(60_000);
    let run = bench.come_up();
    bench.ask(Ask::Restart(act("api")));
    bench.event(Event::Drained { run });
    bench.exit(run, 0);
    assert_eq!(gone(&bench), 1, "a restart lets connections wait");
}

#[test]
fn what_is_in_fork_mode_is_restarted() {
    let (mut bench, run) = Bench::online();
    let id = bench.ask(Ask::Reload(act("api")));
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::Main)]);
    bench.exit(run, 0);
    bench.come_up();
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
    assert!(standings(&bench).is_empty() && gone(&bench) == 0);
}

#[test]
fn a_failure_ends_the_reload_of_the_slots_behind_it() {
    let mut spec = AppSpec::sample("api");
    (spec.exec_mode, spec.instances, spec.cluster.max_surge) = (ExecMode::Cluster, 3, Surge::Count(1));
    let mut bench = Bench::new();
    bench.ask(apply(vec![spec]));
    let old: Vec<RunId> = bench.core.slots.values().map(|slot| slot.run().unwrap().id).collect();
    for run in &old {
        bench.event(Event::Spawned { run: *run });
        bench.event(Event::Ready { run: *run, by: ReadyBy::Listening });
    }
    let id = bench.ask(Ask::Reload(act("api")));
    let first = bench.come_up();
    bench.exit(old[0], 0);
    let second = bench.spawn();
    bench.event(Event::Spawned { run: second });
    bench.exit(second, 3);
    let answers = bench.answers(id);
    assert_eq!(answers[0], SlotAnswer::Done(State::Online));
    assert!(matches!(&answers[1], SlotAnswer::Failed { reason, .. } if reason.starts_with("exit code 3")));
    assert!(
        matches!(&answers[2], SlotAnswer::Failed { reason, .. } if reason == "left running, because `api:1` failed")
    );
    let runs: Vec<RunId> = bench.core.slots.values().map(|slot| slot.run().unwrap().id).collect();
    assert_eq!((runs, bench.spawns()), (vec![first, old[1], old[2]], 5));
}
