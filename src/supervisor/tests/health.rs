//! Health checks: who is asked when, what the answers do to the place of a run, and who is restarted for them.

use super::reload::{is_failed, standings};
use super::*;
use crate::spec::{Check, ExecMode, HealthSpec};

const SECOND: u64 = 1_000;

fn health(spec: &mut AppSpec) -> &mut HealthSpec {
    spec.health.get_or_insert_with(|| HealthSpec {
        fail: 2,
        pass: 1,
        interval: Duration::from_secs(1),
        ..HealthSpec::new(Check::Http { path: "/health".into() }, Duration::from_secs(60))
    })
}

/// A cluster app whose instances listen, and are not known to be well.
fn listening(count: u16, change: impl FnOnce(&mut AppSpec)) -> (Bench, RequestId, Vec<RunId>) {
    let mut spec = AppSpec::sample("api");
    (spec.instances, spec.exec_mode) = (count, ExecMode::Cluster);
    health(&mut spec);
    change(&mut spec);
    let mut bench = Bench::new();
    let id = bench.ask(apply(vec![spec]));
    let runs = runs(&bench);
    for run in &runs {
        bench.event(Event::Spawned { run: *run });
        bench.event(Event::Ready { run: *run, by: ReadyBy::Listening });
    }
    (bench, id, runs)
}

/// The same, all well.
fn online(count: u16, change: impl FnOnce(&mut AppSpec)) -> (Bench, Vec<RunId>) {
    let (mut bench, _, runs) = listening(count, change);
    for _ in 0..2 {
        runs.iter().for_each(|run| well(&mut bench, *run));
    }
    assert!(bench.core.slots.values().all(|slot| slot.state() == State::Online));
    bench.effects.clear();
    (bench, runs)
}

fn runs(bench: &Bench) -> Vec<RunId> {
    bench.core.slots.values().filter_map(|slot| Some(slot.run()?.id)).collect()
}

fn well(bench: &mut Bench, run: RunId) {
    bench.event(Event::Checked { run, finding: Finding::Well });
}

fn ill(bench: &mut Bench, run: RunId, times: usize) {
    for _ in 0..times {
        bench.event(Event::Checked { run, finding: Finding::Ill("GET /health answered 503".into()) });
    }
}

/// Who was asked since the effects were cleared.
fn asked(bench: &Bench) -> Vec<RunId> {
    let run = |effect: &Effect| match effect {
        Effect::Check { run, .. } => Some(*run),
        _ => None,
    };
    bench.effects.iter().filter_map(run).collect()
}

fn told(bench: &Bench) -> Vec<ChangeKind> {
    let kind = |effect: &Effect| match effect {
        Effect::Announce(Change { kind, .. }) => Some(kind.clone()),
        _ => None,
    };
    bench.effects.iter().filter_map(kind).collect()
}

#[test]
fn a_run_is_ready_when_it_listens_and_its_check_passes() {
    let (mut bench, id, runs) = listening(1, |_| ());
    assert_eq!(asked(&bench), runs, "what listens is asked at once");
    bench.pass(10 * SECOND);
    assert!(bench.replies(id).is_empty());
    assert_eq!(bench.state(0), State::Launching);
    well(&mut bench, runs[0]);
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
    assert_eq!(standings(&bench), [(runs[0], Standing::Ready)]);
}

#[test]
fn a_check_stands_for_what_a_program_would_say_itself() {
    let (mut bench, id, runs) = listening(1, |spec| spec.wait_ready = true);
    bench.event(Event::Ready { run: runs[0], by: ReadyBy::Notified });
    assert_eq!(bench.state(0), State::Launching, "what it says is not enough");
    well(&mut bench, runs[0]);
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
    let (mut bench, _, runs) = listening(1, |spec| spec.wait_ready = true);
    well(&mut bench, runs[0]);
    assert_eq!(bench.state(0), State::Online, "and not needed");
}

#[test]
fn what_listens_nowhere_has_to_live_for_a_while_and_be_well() {
    for health_first in [true, false] {
        let mut spec = AppSpec::sample("job");
        health(&mut spec).check = Check::Exec { line: "true".into() };
        let mut bench = Bench::new();
        bench.ask(apply(vec![spec]));
        let run = bench.spawn();
        bench.event(Event::Spawned { run });
        if health_first {
            well(&mut bench, run);
            assert_eq!(bench.state(0), State::Launching);
            bench.pass(SECOND);
        } else {
            bench.pass(SECOND);
            assert_eq!(bench.state(0), State::Launching);
            well(&mut bench, run);
        }
        assert_eq!(bench.state(0), State::Online, "{health_first}");
    }
}

#[test]
fn an_ill_one_gets_nothing_and_comes_back_step_by_step() {
    let (mut bench, runs) = online(3, |_| ());
    ill(&mut bench, runs[1], 1);
    assert!(standings(&bench).is_empty() && told(&bench).is_empty());
    ill(&mut bench, runs[1], 1);
    assert_eq!(standings(&bench), [(runs[1], Standing::Unhealthy)]);
    assert_eq!(told(&bench), [ChangeKind::Unhealthy { run: runs[1], reason: "GET /health answered 503".into() }]);
    assert_eq!(bench.state(1), State::Unhealthy);
    bench.effects.clear();
    well(&mut bench, runs[1]);
    assert_eq!(standings(&bench), [(runs[1], Standing::Recovering)]);
    assert_eq!(bench.state(1), State::Online);
    well(&mut bench, runs[1]);
    assert_eq!(standings(&bench)[1..], [(runs[1], Standing::Ready)]);
    assert_eq!(told(&bench), [ChangeKind::Recovering(runs[1]), ChangeKind::Healthy(runs[1])]);
}

#[test]
fn a_relapse_takes_it_out_again_at_once() {
    let (mut bench, runs) = online(3, |spec| health(spec).pass = 2);
    ill(&mut bench, runs[0], 2);
    well(&mut bench, runs[0]);
    well(&mut bench, runs[0]);
    ill(&mut bench, runs[0], 1);
    let expected = [Standing::Unhealthy, Standing::Recovering, Standing::Unhealthy];
    assert_eq!(standings(&bench).into_iter().map(|(_, it)| it).collect::<Vec<_>>(), expected);
}

#[test]
fn each_is_asked_once_an_interval_and_not_all_at_once() {
    let (mut bench, runs) = online(8, |spec| health(spec).interval = Duration::from_secs(10));
    let mut times: BTreeMap<RunId, Vec<u64>> = BTreeMap::new();
    for _ in 0..60_000 {
        bench.now = bench.now.after(Duration::from_millis(1));
        if bench.core.next_deadline().is_none_or(|at| at > bench.now) {
            continue;
        }
        bench.effects.clear();
        bench.event(Event::Tick);
        for run in asked(&bench) {
            times.entry(run).or_default().push(bench.now.as_millis());
            bench.event(Event::Checked { run, finding: Finding::Well });
        }
    }
    assert_eq!(times.len(), runs.len());
    for (run, times) in &times {
        assert!((5..=7).contains(&times.len()), "{run:?} {times:?}");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 10_000), "{times:?}");
    }
}

#[test]
fn a_check_that_is_never_reported_is_asked_for_again() {
    let (mut bench, runs) = online(1, |_| ());
    bench.pass(SECOND);
    assert_eq!(asked(&bench), runs);
    bench.pass(6 * SECOND);
    assert_eq!(asked(&bench).len(), 2);
}

#[test]
fn those_that_go_on_failing_are_restarted_one_at_a_time() {
    let (mut bench, old) = online(3, |_| ());
    ill(&mut bench, old[0], 3);
    ill(&mut bench, old[1], 3);
    assert_eq!(bench.spawns() + bench.signals().len(), 0);
    ill(&mut bench, old[0], 1);
    ill(&mut bench, old[1], 1);
    assert_eq!(standings(&bench).last(), Some(&(old[0], Standing::Draining)));
    assert!(told(&bench).contains(&ChangeKind::GivenUpOn { run: old[0], reason: "GET /health answered 503".into() }));
    bench.event(Event::Drained { run: old[0] });
    bench.exit(old[0], 0);
    bench.pass(1);
    let new = bench.spawn();
    assert_eq!(bench.spawns(), 1);
    assert_eq!(bench.state(1), State::Unhealthy, "it waits for its turn");
    // Nobody asked for it.
    let by = |effect: &Effect| match effect {
        Effect::Announce(Change { by, .. }) => by.is_some(),
        _ => false,
    };
    assert!(!bench.effects.iter().any(by), "{:?}", bench.effects);
    bench.event(Event::Spawned { run: new });
    bench.event(Event::Ready { run: new, by: ReadyBy::Listening });
    assert_eq!(bench.signals().len(), 1);
    well(&mut bench, new);
    assert_eq!(standings(&bench).last(), Some(&(old[1], Standing::Draining)), "now it is its turn");
}

#[test]
fn one_that_is_better_in_time_is_not_restarted() {
    let (mut bench, runs) = online(2, |_| ());
    ill(&mut bench, runs[0], 4);
    ill(&mut bench, runs[1], 4);
    well(&mut bench, runs[1]);
    bench.event(Event::Drained { run: runs[0] });
    bench.exit(runs[0], 0);
    bench.pass(1);
    let new = bench.come_up();
    well(&mut bench, new);
    assert_eq!((bench.state(0), bench.state(1)), (State::Online, State::Online));
    assert_eq!(bench.spawns(), 1);
}

#[test]
fn a_hung_one_is_killed_and_started_anew() {
    let (mut bench, runs) = online(2, |_| ());
    ill(&mut bench, runs[0], 4);
    bench.pass(10 * SECOND);
    bench.pass(10 * SECOND);
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::Main), (Signal::KILL, Whom::Tree)]);
    bench.event(Event::Exited {
        run: runs[0],
        status: ExitStatus::Signal { signal: Signal::KILL, core: false },
        left: Left::Nothing,
    });
    bench.pass(1);
    assert_eq!(bench.spawns(), 1);
    let exit = &bench.core.slots[&SlotId(0)].history[0];
    assert_eq!(exit.reason, "SIGKILL: unhealthy, and did not end within 10s");
}

#[test]
fn who_is_never_restarted_is_not_for_its_health() {
    let (mut bench, runs) = online(2, |spec| spec.restart.policy = RestartPolicy::Never);
    ill(&mut bench, runs[0], 40);
    assert_eq!((bench.state(0), bench.signals().len()), (State::Unhealthy, 0));
}

#[test]
fn one_that_was_asked_to_stop_meanwhile_stays_stopped() {
    let (mut bench, runs) = online(1, |_| ());
    ill(&mut bench, runs[0], 4);
    let id = bench.ask(Ask::Stop(act("api")));
    bench.event(Event::Drained { run: runs[0] });
    bench.exit(runs[0], 0);
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Stopped)]);
    bench.pass(60 * SECOND);
    assert_eq!(bench.spawns(), 0);
}

#[test]
fn a_new_one_has_its_start_period_and_is_then_restarted_like_any_other() {
    let (mut bench, id, runs) = listening(1, |spec| {
        health(spec).start_period = Duration::from_secs(20);
        spec.listen_timeout = Duration::from_secs(300);
    });
    ill(&mut bench, runs[0], 10);
    bench.pass(20 * SECOND);
    bench.effects.clear();
    ill(&mut bench, runs[0], 3);
    assert!(bench.signals().is_empty());
    ill(&mut bench, runs[0], 1);
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::Main)]);
    bench.exit(runs[0], 0);
    let answers = bench.answers(id);
    let [SlotAnswer::Failed { reason, next: Some(next), .. }] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!((reason.as_str(), next.as_str()), ("unhealthy: GET /health answered 503", "it is being restarted"));
    bench.pass(1);
    assert_eq!(bench.spawns(), 1);
}

#[test]
fn one_whose_successor_never_is_well_does_not_keep_the_others_from_their_turn() {
    let (mut bench, runs) = online(2, |spec| health(spec).start_period = Duration::ZERO);
    ill(&mut bench, runs[0], 4);
    ill(&mut bench, runs[1], 4);
    bench.event(Event::Drained { run: runs[0] });
    bench.exit(runs[0], 0);
    bench.pass(1);
    let new = bench.come_up();
    bench.effects.clear();
    ill(&mut bench, new, 3);
    assert!(standings(&bench).is_empty());
    ill(&mut bench, new, 1);
    assert_eq!(standings(&bench), [(runs[1], Standing::Draining)], "the one that has waited longer");
}

#[test]
fn when_most_look_ill_that_is_said_and_taken_back() {
    let (mut bench, runs) = online(4, |_| ());
    ill(&mut bench, runs[0], 2);
    ill(&mut bench, runs[1], 2);
    let is_about_all =
        |kind: &ChangeKind| matches!(kind, ChangeKind::HealthIgnored { .. } | ChangeKind::HealthTrusted { .. });
    assert!(!told(&bench).iter().any(is_about_all), "half of them is not most");
    ill(&mut bench, runs[2], 2);
    assert_eq!(told(&bench).last(), Some(&ChangeKind::HealthIgnored { healthy: 1, of: 4 }));
    let ignored = |bench: &Bench| bench.core.facts(bench.now)[0].1[0].health.unwrap().is_ignored;
    assert!(ignored(&bench));
    well(&mut bench, runs[0]);
    assert_eq!(told(&bench).last(), Some(&ChangeKind::HealthTrusted { healthy: 2, of: 4 }));
    assert!(!ignored(&bench));
}

/// A reload of one instance that is well; its old run, and the new one, which listens.
fn reloading(change: impl FnOnce(&mut AppSpec)) -> (Bench, RequestId, RunId, RunId) {
    let (mut bench, runs) = online(1, change);
    let id = bench.ask(Ask::Reload(act("api")));
    let new = bench.come_up();
    (bench, id, runs[0], new)
}

#[test]
fn a_reload_switches_when_the_new_one_is_well() {
    let (mut bench, _, old, new) = reloading(|spec| spec.cluster.bake = Duration::ZERO);
    assert!(standings(&bench).is_empty());
    ill(&mut bench, new, 5);
    assert!(standings(&bench).is_empty());
    well(&mut bench, new);
    assert_eq!(standings(&bench), [(new, Standing::Ready), (old, Standing::Draining)]);
}

#[test]
fn a_reload_to_one_that_never_is_well_ends_and_says_why() {
    let (mut bench, id, old, new) = reloading(|_| ());
    ill(&mut bench, new, 5);
    bench.pass(60 * SECOND);
    bench.exit(new, 0);
    is_failed(&bench.answers(id), "not ready within 60s, its health check has not passed: GET /health answered 503");
    assert_eq!((runs(&bench), bench.state(0)), (vec![old], State::Online));
}

#[test]
fn a_canary_that_falls_ill_on_trial_gives_its_place_back() {
    let (mut bench, id, old, new) = reloading(|spec| {
        health(spec).interval = Duration::from_secs(10);
        spec.cluster.bake = Duration::from_secs(3);
    });
    well(&mut bench, new);
    bench.effects.retain(|effect| matches!(effect, Effect::Reply { .. }));
    bench.pass(2_500);
    assert!(!asked(&bench).is_empty(), "on trial it is asked often enough to fail");
    assert!(asked(&bench).iter().all(|run| *run == new), "who is parked is left alone");
    ill(&mut bench, new, 2);
    assert_eq!(standings(&bench), [(old, Standing::Ready), (new, Standing::Draining)]);
    bench.event(Event::Drained { run: new });
    bench.exit(new, 0);
    is_failed(&bench.answers(id), "unhealthy on trial: GET /health answered 503");
    assert_eq!((runs(&bench), bench.state(0)), (vec![old], State::Online));
}

#[test]
fn a_successor_knows_who_is_ill_and_asks_them_in_time() {
    let (mut bench, runs) = online(2, |_| ());
    ill(&mut bench, runs[0], 2);
    let slots = bench.core.all_slots().cloned().collect();
    let mut core = Supervisor::recalled(7, bench.now, bench.core.counters(), slots);
    assert_eq!(core.slots[&SlotId(0)].standing(runs[0]), Some(Standing::Unhealthy));
    let at = core.next_deadline().unwrap();
    assert!(at <= bench.now.after(Duration::from_secs(1)));
    let mut effects = Vec::new();
    core.handle(at, Event::Tick, &mut effects);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Check { .. })), "{effects:?}");
}
