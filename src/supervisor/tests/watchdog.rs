//! Runs that hang, and what restarts are counted as.

use super::reload::{is_failed, standings};
use super::*;
use crate::spec::ExecMode;

const LIMIT: Duration = Duration::from_secs(10);

fn runs(bench: &Bench) -> Vec<RunId> {
    let spawn = |effect: &Effect| match effect {
        Effect::Spawn { run, .. } => Some(*run),
        _ => None,
    };
    bench.effects.iter().filter_map(spawn).collect()
}

/// An app whose instances are ready and promised to speak.
fn speaking(count: u16, change: impl FnOnce(&mut AppSpec)) -> (Bench, Vec<RunId>) {
    let mut spec = AppSpec::sample("api");
    (spec.instances, spec.watchdog) = (count, Some(LIMIT));
    change(&mut spec);
    let mut bench = Bench::new();
    bench.ask(apply(vec![spec]));
    let runs = runs(&bench);
    for run in &runs {
        bench.event(Event::Spawned { run: *run });
        bench.event(Event::Ready { run: *run, by: ReadyBy::Listening });
    }
    (bench, runs)
}

fn hangs(bench: &mut Bench, run: RunId) -> Vec<Effect> {
    bench.event(Event::Hung { run, hang: Hang::Silent(LIMIT) })
}

fn ends(bench: &mut Bench, run: RunId) -> Vec<Effect> {
    let status = ExitStatus::Signal { signal: Signal::ABRT, core: true };
    bench.event(Event::Exited { run, status, left: Left::Nothing })
}

fn guards(effects: &[Effect]) -> Vec<(RunId, Duration)> {
    let guards = effects.iter().filter_map(|effect| match effect {
        Effect::Guard { run, limit } => Some((*run, *limit)),
        _ => None,
    });
    guards.collect()
}

#[test]
fn who_is_ready_is_listened_for_and_who_starts_is_not() {
    let (mut bench, runs) = speaking(1, |spec| spec.wait_ready = true);
    assert_eq!(guards(&bench.effects), []);
    assert_eq!(hangs(&mut bench, runs[0]), [], "it takes its time to start");
    bench.event(Event::Ready { run: runs[0], by: ReadyBy::Notified });
    assert_eq!(guards(&bench.effects), [(runs[0], LIMIT)]);
    let (bench, _) = speaking(1, |spec| spec.watchdog = None);
    assert_eq!(guards(&bench.effects), []);
}

#[test]
fn what_hangs_is_aborted_then_killed_and_restarted_as_after_a_failure() {
    let (mut bench, runs) = speaking(1, |_| {});
    let effects = hangs(&mut bench, runs[0]);
    let abort = Effect::Signal { run: runs[0], signal: Signal::ABRT, whom: Whom::Main };
    assert!(effects.contains(&abort), "{effects:?}");
    assert!(hangs(&mut bench, runs[0]).is_empty(), "once is enough");
    bench.now = bench.now.after(Duration::from_secs(10));
    let effects = bench.event(Event::Tick);
    assert!(effects.contains(&Effect::Signal { run: runs[0], signal: Signal::KILL, whom: Whom::Tree }), "{effects:?}");
    let status = ExitStatus::Signal { signal: Signal::KILL, core: false };
    bench.event(Event::Exited { run: runs[0], status, left: Left::Nothing });
    let slot = &bench.core.slots[&SlotId(0)];
    assert_eq!(slot.history[0].reason, "SIGKILL: hung: no word for 10s, and did not end within 10s");
    assert_eq!((slot.history[0].by, slot.tally.watchdog, slot.restarts), (EndedBy::Watchdog, 1, 1));
    assert_eq!(slot.state(), State::Launching);
}

#[test]
fn a_member_that_hangs_gets_nothing_any_more_and_is_not_waited_for() {
    let (mut bench, runs) = speaking(2, |spec| spec.exec_mode = ExecMode::Cluster);
    bench.effects.clear();
    hangs(&mut bench, runs[0]);
    assert_eq!(standings(&bench), [(runs[0], Standing::Draining)]);
    assert!(!bench.effects.iter().any(|effect| matches!(effect, Effect::Drain { .. })), "{:?}", bench.effects);
    ends(&mut bench, runs[0]);
    assert_eq!(bench.state(0), State::Launching);
    assert_eq!(bench.core.slots[&SlotId(0)].history[0].reason, "SIGABRT (core dumped), hung: no word for 10s");
}

#[test]
fn a_program_changes_how_long_it_may_be_silent_and_says_itself_that_it_hangs() {
    let (mut bench, runs) = speaking(1, |_| {});
    let longer = Duration::from_secs(60);
    let effects = bench.event(Event::Guarded { run: runs[0], limit: longer });
    assert_eq!(guards(&effects), [(runs[0], longer)]);
    assert_eq!(bench.core.slots[&SlotId(0)].guarded(runs[0]), Some(longer));
    let effects = bench.event(Event::Hung { run: runs[0], hang: Hang::Told });
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Signal { signal: Signal::ABRT, .. })), "{effects:?}");
    // Who is not listened for cannot ask to be, but can say that it hangs.
    let (mut bench, runs) = speaking(1, |spec| spec.watchdog = None);
    assert_eq!(guards(&bench.event(Event::Guarded { run: runs[0], limit: longer })), []);
    assert_eq!(hangs(&mut bench, runs[0]), []);
    bench.event(Event::Hung { run: runs[0], hang: Hang::Told });
    assert_eq!(bench.state(0), State::Stopping);
}

#[test]
fn a_job_that_is_never_restarted_is_not_restarted_because_it_hung() {
    let (mut bench, runs) = speaking(1, |spec| spec.restart.policy = RestartPolicy::Never);
    hangs(&mut bench, runs[0]);
    ends(&mut bench, runs[0]);
    assert_eq!(bench.state(0), State::Stopped);
}

#[test]
fn a_canary_that_hangs_is_taken_back() {
    let (mut bench, old) = speaking(1, |spec| spec.exec_mode = ExecMode::Cluster);
    let request = bench.ask(Ask::Reload(act("api")));
    let new = *runs(&bench).last().unwrap();
    bench.event(Event::Spawned { run: new });
    bench.event(Event::Ready { run: new, by: ReadyBy::Listening });
    bench.effects.clear();
    hangs(&mut bench, new);
    assert_eq!(standings(&bench), [(new, Standing::Draining), (old[0], Standing::Ready)]);
    ends(&mut bench, new);
    is_failed(&bench.answers(request), "hung: no word for 10s, on trial");
    assert_eq!(bench.core.slots[&SlotId(0)].run().unwrap().id, old[0]);
}

#[test]
fn a_kernel_that_kills_for_memory_is_named() {
    let (mut bench, runs) = speaking(1, |_| {});
    let killed = ExitStatus::Signal { signal: Signal::KILL, core: false };
    bench.event(Event::Starved { run: runs[0], proof: Proof::Sure });
    bench.event(Event::Exited { run: runs[0], status: killed, left: Left::Nothing });
    let slot = &bench.core.slots[&SlotId(0)];
    assert_eq!(slot.history[0].reason, "SIGKILL: out of memory, killed by the kernel");
    assert_eq!((slot.history[0].by, slot.tally.kernel), (EndedBy::Kernel, 1));
    let next = slot.last_run.unwrap();
    bench.event(Event::Spawned { run: next });
    bench.event(Event::Exited { run: next, status: killed, left: Left::Nothing });
    let slot = &bench.core.slots[&SlotId(0)];
    assert_eq!((slot.history[0].reason.as_str(), slot.history[0].by), ("SIGKILL", EndedBy::Itself));
    assert_eq!(slot.tally, Tally { kernel: 1, ..Tally::default() });
}

#[test]
fn restarts_are_counted_by_what_they_were_for() {
    let (mut bench, runs) = speaking(1, |_| {});
    bench.ask(Ask::Restart(act("api")));
    bench.event(Event::Exited { run: runs[0], status: ExitStatus::Code(0), left: Left::Nothing });
    let slot = &bench.core.slots[&SlotId(0)];
    assert_eq!((slot.restarts, slot.tally), (1, Tally { request: 1, ..Tally::default() }));
    bench.ask(Ask::Reset(act("api")));
    assert_eq!(bench.core.slots[&SlotId(0)].tally, Tally::default());
}
