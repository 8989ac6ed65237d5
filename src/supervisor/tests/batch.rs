//! `--parallel`: who is asked when, and who is not asked any more.

use std::num::NonZeroU16;

use super::*;

fn several(names: &[&str], count: u16) -> Bench {
    let spec = |name: &&str| AppSpec { instances: count, ..AppSpec::sample(name) };
    let mut bench = Bench::new();
    bench.ask(apply(names.iter().map(spec).collect()));
    come_up(&mut bench);
    bench
}

/// Everything that was asked for and has not happened yet, happens.
fn come_up(bench: &mut Bench) {
    let launching = |slot: &Slot| matches!(slot.phase, Phase::Launching { .. });
    let runs: Vec<RunId> =
        bench.core.slots.values().filter(|slot| launching(slot)).filter_map(|slot| Some(slot.run()?.id)).collect();
    for run in runs {
        bench.event(Event::Spawned { run });
        bench.event(Event::Ready { run, by: ReadyBy::Listening });
    }
}

fn end_stopping(bench: &mut Bench) {
    let stopping = |slot: &Slot| matches!(slot.phase, Phase::Stopping { .. });
    let runs: Vec<RunId> =
        bench.core.slots.values().filter(|slot| stopping(slot)).filter_map(|slot| Some(slot.run()?.id)).collect();
    for run in runs {
        bench.exit(run, 0);
    }
}

fn states(bench: &Bench) -> Vec<State> {
    bench.core.slots.values().map(Slot::state).collect()
}

fn by(width: u16, word: &str) -> Act {
    Act { parallel: NonZeroU16::new(width), ..act(word) }
}

use State::{Launching, Online, Stopped, Stopping};

#[test]
fn so_many_are_restarted_at_a_time_and_the_answer_comes_after_the_last() {
    let mut bench = several(&["api"], 5);
    let id = bench.ask(Ask::Restart(by(2, "api")));
    assert_eq!(states(&bench), [Stopping, Stopping, Online, Online, Online]);
    end_stopping(&mut bench);
    assert_eq!(states(&bench), [Launching, Launching, Online, Online, Online]);
    come_up(&mut bench);
    assert_eq!(states(&bench), [Online, Online, Stopping, Stopping, Online]);
    end_stopping(&mut bench);
    come_up(&mut bench);
    assert!(bench.replies(id).is_empty());
    assert_eq!(states(&bench), [Online, Online, Online, Online, Stopping]);
    end_stopping(&mut bench);
    come_up(&mut bench);
    assert_eq!(bench.answers(id), vec![SlotAnswer::Done(Online); 5]);
    assert_eq!(bench.spawns(), 10);
}

#[test]
fn one_that_is_there_makes_room_at_once() {
    let mut bench = several(&["api"], 3);
    bench.ask(Ask::Restart(by(2, "api")));
    let run = bench.core.slots[&SlotId(1)].run().unwrap().id;
    bench.exit(run, 0);
    bench.come_up();
    assert_eq!(states(&bench), [Stopping, Online, Stopping]);
}

#[test]
fn a_file_starts_its_apps_so_many_at_a_time() {
    let mut bench = Bench::new();
    let specs = ["a", "b", "c"].map(AppSpec::sample).to_vec();
    let id = bench.ask(Ask::Apply(Apply { parallel: NonZeroU16::new(1), ..apply_of(specs) }));
    for state in [[Launching, Stopped, Stopped], [Online, Launching, Stopped], [Online, Online, Launching]] {
        assert_eq!(states(&bench), state);
        come_up(&mut bench);
    }
    assert_eq!(bench.answers(id), vec![SlotAnswer::Done(Online); 3]);
}

#[test]
fn what_another_request_wants_meanwhile_holds() {
    let mut bench = several(&["a", "b", "c"], 1);
    let id = bench.ask(Ask::Restart(by(1, "all")));
    bench.ask(Ask::Stop(act("b")));
    bench.ask(Ask::Delete(act("c")));
    end_stopping(&mut bench);
    come_up(&mut bench);
    assert_eq!(states(&bench), [Online, Stopped]);
    assert_eq!(bench.answers(id), [SlotAnswer::Done(Online), SlotAnswer::Superseded, SlotAnswer::Superseded]);
}

#[test]
fn after_a_failure_its_siblings_that_run_are_left_running_and_other_apps_go_on() {
    let mut bench = several(&["api", "web"], 2);
    let id = bench.ask(Ask::Restart(by(1, "all")));
    end_stopping(&mut bench);
    let run = bench.spawn();
    bench.event(Event::SpawnFailed { run, why: "no such file".into(), lasting: Lasting::Permanent });
    assert_eq!(states(&bench), [State::Errored, Online, Stopping, Online]);
    for _ in 0..2 {
        end_stopping(&mut bench);
        come_up(&mut bench);
    }
    let answers = bench.answers(id);
    assert!(
        matches!(&answers[1], SlotAnswer::Failed { reason, .. } if reason == "left running, because `api:0` failed")
    );
    assert_eq!(answers[2..], [SlotAnswer::Done(Online), SlotAnswer::Done(Online)]);
}

#[test]
fn one_that_takes_too_long_does_not_hold_up_the_rest_for_ever() {
    let mut bench = several(&["api"], 2);
    let id = bench.ask(Ask::Restart(by(1, "api")));
    end_stopping(&mut bench);
    // The spawn is never reported.
    bench.pass(73_000);
    assert_eq!(states(&bench), [Launching, Stopping]);
    assert!(bench.replies(id).is_empty());
    end_stopping(&mut bench);
    come_up(&mut bench);
    assert_eq!(bench.answers(id), [SlotAnswer::Done(Online), SlotAnswer::Done(Online)]);
}

#[test]
fn without_waiting_the_answer_comes_at_once_and_the_turns_go_on() {
    let mut bench = several(&["api"], 2);
    let id = bench.ask(Ask::Restart(Act { wait: Wait::No, ..by(1, "api") }));
    assert_eq!(bench.answers(id), [SlotAnswer::Pending(Stopping), SlotAnswer::Pending(Online)]);
    for _ in 0..2 {
        end_stopping(&mut bench);
        come_up(&mut bench);
    }
    assert_eq!(bench.spawns(), 4);
}

#[test]
fn a_shutdown_does_not_wait_for_turns() {
    let mut bench = several(&["api"], 3);
    bench.ask(Ask::Restart(by(1, "api")));
    bench.ask(Ask::Shutdown);
    end_stopping(&mut bench);
    assert!(bench.effects.contains(&Effect::Leave));
    assert_eq!(bench.spawns(), 3);
}
