//! What `start FILE` does to each app.

use super::*;

#[test]
fn apply_leaves_what_is_as_declared_and_changes_what_differs() {
    let (mut bench, run) = Bench::online();
    assert_eq!(
        plan(&mut bench, apply_of(vec![AppSpec::sample("api")])),
        [PlanAction::Leave { since: Some(Time::default()) }]
    );
    let mut spec = AppSpec::sample("api");
    spec.stop.kill_timeout = Duration::from_secs(3);
    let change = PlanAction::Change { what: vec!["kill_timeout".into()], restart: false };
    assert_eq!(plan(&mut bench, apply_of(vec![spec.clone()])), [change]);
    assert_eq!(bench.spawns(), 1, "a policy takes effect without a restart");
    spec.env.insert("A".into(), "1".into());
    let id = bench.ask(apply(vec![spec]));
    bench.exit(run, 0);
    bench.come_up();
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
    let Some(Effect::Spawn { definition, .. }) = bench.effects.iter().rfind(|e| matches!(e, Effect::Spawn { .. }))
    else {
        panic!("no spawn");
    };
    assert_eq!(definition.spec.env["A"], "1");
}

#[test]
fn apply_waits_for_what_is_as_declared_and_still_on_its_way() {
    let mut bench = Bench::new();
    bench.ask(apply(vec![AppSpec::sample("api")]));
    let again = bench.ask(apply(vec![AppSpec::sample("api")]));
    assert!(bench.replies(again).is_empty(), "it does not run yet");
    bench.come_up();
    assert_eq!(bench.answers(again), [SlotAnswer::Done(State::Online)]);
    assert_eq!(bench.spawns(), 1);
}

#[test]
fn apply_with_another_script_file_is_a_change() {
    let (mut bench, _) = Bench::online();
    let stamp = crate::spec::Stamp { device: 1, inode: 2, modified: 3, size: 4 };
    let mut apply = apply_of(vec![AppSpec::sample("api")]);
    apply.apps[0].1 = Some(stamp);
    apply.dry_run = true;
    assert_eq!(plan(&mut bench, apply), [PlanAction::Change { what: vec!["script file".into()], restart: true }]);
    assert_eq!(bench.spawns(), 1);
}

#[test]
fn more_instances_are_added_and_the_highest_go_first() {
    let mut bench = Bench::new();
    let mut spec = AppSpec::sample("api");
    spec.instances = 3;
    bench.ask(apply(vec![spec.clone()]));
    assert_eq!(bench.spawns(), 3);
    for run in 1..=3 {
        bench.event(Event::Spawned { run: RunId(run) });
    }
    spec.instances = 1;
    bench.ask(apply(vec![spec.clone()]));
    let stopped: Vec<RunId> = bench
        .effects
        .iter()
        .filter_map(|e| match e {
            Effect::Signal { run, .. } => Some(*run),
            _ => None,
        })
        .collect();
    assert_eq!(stopped, [RunId(2), RunId(3)]);
    for run in [2, 3] {
        bench.exit(RunId(run), 0);
    }
    assert_eq!(bench.core.slots.len(), 1);
    spec.instances = 2;
    bench.ask(apply(vec![spec]));
    assert_eq!(bench.spawns(), 4);
}

#[test]
fn a_name_of_another_file_is_refused_whole_and_force_takes_it() {
    let (mut bench, _) = Bench::online();
    let mut other = AppSpec::sample("api");
    other.origin = Origin::File("/etc/eco.toml".into());
    let id = bench.ask(apply(vec![AppSpec::sample("new"), other.clone()]));
    assert!(matches!(bench.replies(id)[..], [Reply::Refused(Refusal::NameTaken { .. })]));
    assert_eq!(bench.core.apps.len(), 1, "nothing was done");
    let mut apply = apply_of(vec![other]);
    apply.force = true;
    bench.ask(Ask::Apply(apply));
    assert_eq!(bench.core.apps.len(), 1);
}

#[test]
fn apps_gone_from_their_file_stay_unless_pruned() {
    let file = |name: &str| {
        let mut spec = AppSpec::sample(name);
        spec.origin = Origin::File("/srv/eco.toml".into());
        spec
    };
    let mut bench = Bench::new();
    bench.ask(apply(vec![file("a"), file("b")]));
    for run in [1, 2] {
        bench.event(Event::Spawned { run: RunId(run) });
        bench.event(Event::Ready { run: RunId(run), by: ReadyBy::Listening });
    }
    let leave = PlanAction::Leave { since: Some(Time::default()) };
    assert_eq!(plan(&mut bench, apply_of(vec![file("a")])), [leave.clone(), PlanAction::Keep]);
    let mut prune = apply_of(vec![file("a")]);
    prune.prune = true;
    let id = bench.ask(Ask::Apply(prune));
    bench.exit(RunId(2), 0);
    let [Reply::Applied { plan, .. }] = bench.replies(id)[..] else { panic!() };
    assert_eq!(plan[1].action, PlanAction::Delete);
    assert_eq!(bench.core.apps.len(), 1);
}

#[test]
fn an_app_without_autostart_is_registered_and_started_by_name() {
    let mut spec = AppSpec::sample("api");
    spec.autostart = false;
    let mut bench = Bench::new();
    let id = bench.ask(apply(vec![spec]));
    assert!(bench.answers(id).is_empty());
    assert_eq!((bench.spawns(), bench.state(0)), (0, State::Stopped));
    bench.ask(Ask::Start(act("api")));
    assert_eq!(bench.spawns(), 1);
}
