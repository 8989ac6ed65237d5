//! What the smaller verbs ask of the core: scale, signal, reset.

use super::*;
use crate::supervisor::{Count, Scale};

fn scale(word: &str, count: Count) -> Ask {
    Ask::Scale(Scale { targets: vec![Target::Word(word.into())], count, wait: Wait::UntilDone })
}

fn several(count: u16) -> Bench {
    let mut spec = AppSpec::sample("api");
    spec.instances = count;
    let mut bench = Bench::new();
    bench.ask(apply(vec![spec]));
    bench.come_up_all();
    bench
}

impl Bench {
    /// Lets every spawn so far succeed and its process become ready.
    fn come_up_all(&mut self) {
        let spawned: Vec<RunId> = self
            .effects
            .iter()
            .filter_map(|e| match e {
                Effect::Spawn { run, .. } => Some(*run),
                _ => None,
            })
            .collect();
        for run in spawned {
            self.event(Event::Spawned { run });
            self.event(Event::Ready { run, by: ReadyBy::Listening });
        }
    }

    /// Ends whoever was asked to.
    fn obey_signals(&mut self) {
        let asked: Vec<RunId> = self
            .core
            .slots
            .values()
            .filter(|slot| matches!(slot.phase, Phase::Stopping { .. }))
            .filter_map(|slot| Some(slot.run()?.id))
            .collect();
        for run in asked {
            self.exit(run, 0);
        }
    }

    fn instances(&self) -> Vec<(u32, u16)> {
        self.core.slots.values().map(|slot| (slot.id.0, slot.instance)).collect()
    }

    fn changes(&self) -> Vec<&ChangeKind> {
        let change = |e| match e {
            &Effect::Announce(Change { ref kind, .. }) => Some(kind),
            _ => None,
        };
        self.effects.iter().filter_map(change).collect()
    }
}

#[test]
fn scale_up_starts_only_what_is_new_and_answers_when_that_is_ready() {
    let mut bench = several(2);
    let id = bench.ask(scale("api", Count::By(1)));
    assert_eq!(bench.spawns(), 3);
    assert!(bench.replies(id).is_empty());
    bench.come_up();
    let [Reply::Applied { plan, results }] = bench.replies(id)[..] else { panic!() };
    assert_eq!(plan[0].action, PlanAction::Scale { from: 2, to: 3 });
    assert_eq!(
        results.iter().map(|r| (r.instance, r.answer.clone())).collect::<Vec<_>>(),
        [(2, SlotAnswer::Done(State::Online))]
    );
}

#[test]
fn scale_down_ends_the_highest_slots_first() {
    let mut bench = several(4);
    let id = bench.ask(scale("api", Count::To(2)));
    assert_eq!(bench.signals().len(), 2);
    bench.obey_signals();
    assert_eq!(bench.instances(), [(0, 0), (1, 1)]);
    assert_eq!(bench.answers(id).len(), 2);
    assert_eq!(bench.spawns(), 4);
}

#[test]
fn after_a_single_deletion_scale_fills_the_gap_and_never_ends_a_low_slot() {
    let mut bench = several(3);
    bench.ask(Ask::Delete(act("1")));
    bench.obey_signals();
    bench.ask(scale("api", Count::By(-1)));
    bench.obey_signals();
    assert_eq!(bench.instances(), [(0, 0)]);
    bench.ask(scale("api", Count::To(2)));
    assert_eq!(bench.instances(), [(0, 0), (3, 1)]);
}

#[test]
fn an_instance_that_is_still_leaving_comes_back_under_its_id() {
    let mut bench = several(2);
    let down = bench.ask(scale("api", Count::To(1)));
    let up = bench.ask(scale("api", Count::To(2)));
    assert_eq!(bench.answers(down), [SlotAnswer::Superseded]);
    bench.obey_signals();
    bench.come_up();
    assert_eq!(bench.instances(), [(0, 0), (1, 1)]);
    assert_eq!(bench.answers(up), [SlotAnswer::Done(State::Online)]);
}

#[test]
fn a_number_that_cannot_be_is_refused_and_nothing_is_done() {
    let mut bench = several(2);
    for (count, wanted) in [(Count::To(0), 0), (Count::By(-2), 0), (Count::By(20_000), 20_002)] {
        let id = bench.ask(scale("api", count));
        let refused = Reply::Refused(Refusal::Instances { name: "api".into(), wanted });
        assert_eq!(bench.replies(id), [&refused]);
    }
    assert_eq!((bench.instances().len(), bench.spawns(), bench.signals().len()), (2, 2, 0));
}

#[test]
fn a_scaled_count_stays_until_the_declared_one_changes() {
    let mut bench = several(2);
    bench.ask(scale("api", Count::To(3)));
    bench.come_up_all();
    let mut spec = AppSpec::sample("api");
    spec.instances = 2;
    assert!(matches!(plan(&mut bench, apply_of(vec![spec.clone()]))[..], [PlanAction::Leave { .. }]));
    assert_eq!(bench.instances().len(), 3);
    spec.env.insert("A".into(), "1".into());
    bench.ask(apply(vec![spec.clone()]));
    assert_eq!(bench.core.apps.values().next().unwrap().definition.spec.instances, 3, "another value is no news of it");
    spec.instances = 1;
    bench.ask(apply(vec![spec]));
    bench.obey_signals();
    assert_eq!(bench.instances().len(), 1);
}

#[test]
fn start_of_a_file_brings_back_an_instance_that_was_deleted() {
    let mut bench = several(3);
    bench.ask(Ask::Delete(act("1")));
    bench.obey_signals();
    let mut spec = AppSpec::sample("api");
    spec.instances = 3;
    let id = bench.ask(apply(vec![spec]));
    bench.come_up();
    let [Reply::Applied { plan, .. }] = bench.replies(id)[..] else { panic!() };
    assert_eq!(plan[0].action, PlanAction::Start);
    assert_eq!((bench.instances(), bench.spawns()), (vec![(0, 0), (2, 2), (3, 1)], 4));
}

#[test]
fn a_signal_reaches_what_runs_and_its_end_is_an_end_like_any_other() {
    let (mut bench, run) = Bench::online();
    let hangup = Signal::from_number(1).unwrap();
    let id = bench.ask(Ask::Signal { targets: act("api").targets, signal: hangup });
    assert_eq!(bench.signals(), [(hangup, Whom::Main)]);
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
    assert!(bench.changes().contains(&&ChangeKind::Signalled(run, hangup)));
    bench.exit(run, 0);
    assert_eq!(bench.spawns(), 2, "it was not asked to stop");
}

#[test]
fn a_signal_to_what_does_not_run_fails_and_sends_nothing() {
    let mut bench = Bench::new();
    bench.ask(apply(vec![AppSpec::sample("api")]));
    let early = bench.ask(Ask::Signal { targets: act("api").targets, signal: Signal::INT });
    assert!(matches!(&bench.answers(early)[..], [SlotAnswer::Failed { reason, .. }] if reason.contains("just being")));
    let run = bench.come_up();
    bench.ask(Ask::Stop(act("api")));
    bench.exit(run, 0);
    let late = bench.ask(Ask::Signal { targets: act("api").targets, signal: Signal::INT });
    assert!(matches!(&bench.answers(late)[..], [SlotAnswer::Failed { reason, .. }] if reason == "it does not run"));
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::Main)]);
}

#[test]
fn reset_forgets_restarts_and_quick_exits_and_touches_no_process() {
    let (mut bench, run) = Bench::online();
    bench.exit(run, 1);
    bench.come_up();
    let before = bench.effects.len();
    bench.pass(5_000);
    let id = bench.ask(Ask::Reset(act("all")));
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
    let facts = bench.core.facts(bench.now);
    let slot = &facts[0].1[0];
    assert_eq!((slot.restarts, slot.unstable, slot.created), (0, 0, bench.now));
    let touched = bench.effects[before..].iter().any(|e| matches!(e, Effect::Signal { .. } | Effect::Spawn { .. }));
    assert!(!touched);
}
