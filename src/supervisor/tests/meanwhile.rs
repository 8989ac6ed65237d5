//! What is asked or declared while something else is on its way, and what outlives it.

use super::*;

#[test]
fn a_successor_does_not_do_a_finished_job_once_more() {
    let mut spec = AppSpec::sample("job");
    spec.restart.policy = RestartPolicy::Never;
    let mut bench = Bench::new();
    bench.ask(apply(vec![spec]));
    let run = bench.come_up();
    assert!(bench.core.wanted()[0].slots[0].2);
    let before = bench.core.wanted_version();
    bench.exit(run, 0);
    assert_ne!(bench.core.wanted_version(), before);
    assert!(!bench.core.wanted()[0].slots[0].2);
}

#[test]
fn survivors_that_are_waited_for_are_killed_though_the_declaration_has_changed() {
    let (mut bench, run) = Bench::online();
    bench.event(Event::Exited { run, status: ExitStatus::Code(1), left: Left::Survivors });
    let mut spec = AppSpec::sample("api");
    spec.stop.treekill = false;
    bench.ask(apply(vec![spec]));
    bench.pass(10_000);
    assert_eq!(bench.signals().last(), Some(&(Signal::KILL, Whom::Tree)));
}

#[test]
fn an_app_without_autostart_takes_new_values_without_being_started() {
    let mut spec = AppSpec::sample("job");
    spec.autostart = false;
    let mut bench = Bench::new();
    bench.ask(apply(vec![spec.clone()]));
    spec.cwd = "/elsewhere".into();
    let change = PlanAction::Change { what: vec!["cwd".into()], restart: false };
    assert_eq!(plan(&mut bench, apply_of(vec![spec.clone()])), [change]);
    assert_eq!(bench.spawns(), 0);
    bench.ask(Ask::Start(act("job")));
    bench.come_up();
    spec.cwd = "/again".into();
    let id = bench.ask(apply(vec![spec]));
    assert!(bench.replies(id).is_empty(), "what runs is restarted");
}

#[test]
fn what_is_declared_again_while_it_is_deleted_stays() {
    let mut spec = AppSpec::sample("job");
    spec.autostart = false;
    let mut bench = Bench::new();
    bench.ask(apply(vec![spec.clone()]));
    bench.ask(Ask::Start(act("job")));
    let run = bench.come_up();
    let delete = bench.ask(Ask::Delete(act("job")));
    bench.ask(apply(vec![spec]));
    bench.exit(run, 0);
    assert_eq!(bench.answers(delete), [SlotAnswer::Superseded]);
    assert_eq!(bench.state(0), State::Stopped);
}

#[test]
fn a_second_start_is_answered_by_the_launch_that_it_finds_not_by_the_one_before() {
    let mut bench = Bench::new();
    bench.ask(apply(vec![AppSpec::sample("api")]));
    let first = bench.spawn();
    bench.event(Event::Spawned { run: first });
    bench.exit(first, 1);
    let second = bench.spawn();
    assert_ne!(first, second);
    bench.event(Event::Spawned { run: second });
    let start = bench.ask(Ask::Start(act("api")));
    assert!(bench.replies(start).is_empty());
    bench.come_up();
    assert_eq!(bench.answers(start), [SlotAnswer::Done(State::Online)]);
}
