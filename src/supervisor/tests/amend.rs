//! New values for what is in the list.

use super::*;
use crate::spec::Changes;

fn changes(keys: &[&str], change: impl FnOnce(&mut AppSpec)) -> Option<Box<Changes>> {
    let mut from = AppSpec::sample("from");
    change(&mut from);
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    Some(Box::new(Changes { keys, from, interpreter: None, interpreter_args: None, args: None }))
}

fn named(name: &str) -> Option<Box<Changes>> {
    changes(&["name"], |from| from.name = name.into())
}

#[test]
fn a_restart_with_new_values_launches_with_them_and_keeps_them() {
    let (mut bench, run) = Bench::online();
    let changes = changes(&["cwd", "max_restarts"], |from| from.cwd = "/new".into());
    let id = bench.ask(Ask::Restart(Act { changes, ..act("api") }));
    let told = Change {
        app: "api".into(),
        slot: None,
        by: Some(Arc::new(Who { uid: 0, verb: "test".into() })),
        kind: ChangeKind::Changed(vec!["cwd".into()]),
    };
    assert!(bench.effects.contains(&Effect::Announce(told)), "only what differs is told");
    bench.exit(run, 0);
    bench.come_up();
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
    assert_eq!(bench.core.slots[&SlotId(0)].definition.spec.cwd, std::path::Path::new("/new"));
    // What its owner declares has the last word again.
    let ask = Apply { dry_run: true, ..apply_of(vec![AppSpec::sample("api")]) };
    assert_eq!(plan(&mut bench, ask), [PlanAction::Change { what: vec!["cwd".into()], restart: true }]);
}

#[test]
fn an_app_gets_another_name_and_keeps_its_id() {
    let (mut bench, run) = Bench::online();
    let id = bench.ask(Ask::Restart(Act { changes: named("web"), ..act("api") }));
    bench.exit(run, 0);
    bench.come_up();
    let [Reply::Outcome(results)] = bench.replies(id)[..] else { panic!() };
    assert_eq!((results[0].slot, results[0].name.as_str()), (SlotId(0), "web"));
    let lost = bench.ask(Ask::Stop(act("api")));
    assert!(matches!(bench.replies(lost)[..], [Reply::Refused(Refusal::UnknownTarget { .. })]));
}

#[test]
fn no_two_apps_get_one_name_and_then_nothing_has_happened() {
    let mut bench = Bench::new();
    bench.ask(apply(["a", "b"].map(AppSpec::sample).to_vec()));
    for (targets, name) in [("a", "b"), ("all", "c")] {
        let id = bench.ask(Ask::Restart(Act { changes: named(name), ..act(targets) }));
        assert!(matches!(bench.replies(id)[..], [Reply::Refused(Refusal::Unchangeable { .. })]), "{targets}");
    }
    assert_eq!(bench.spawns(), 2);
    let own = bench.ask(Ask::Start(Act { changes: named("a"), ..act("a") }));
    assert!(bench.replies(own).is_empty(), "its own name is no other app's");
}
