//! The core by tables: one behaviour a test, no process, no clock.

mod amend;
mod batch;
mod declare;
mod handover;
mod health;
mod meanwhile;
mod reload;
mod trial;
mod verbs;
mod watchdog;
mod weight;

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::spec::{AppSpec, Env, ExitStatus, Origin, RestartPolicy, Signal};

/// A core and what it has asked for.
pub(super) struct Bench {
    pub(super) core: Supervisor,
    pub(super) now: Time,
    pub(super) effects: Vec<Effect>,
    next_request: u64,
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench { core: Supervisor::new(7), now: Time::default(), effects: Vec::new(), next_request: 0 }
    }

    /// Takes in an event; what it caused is returned and kept in `effects` until the next one.
    pub(super) fn event(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.core.handle(self.now, event, &mut effects);
        self.effects.extend(effects.clone());
        effects
    }

    pub(super) fn ask(&mut self, ask: Ask) -> RequestId {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        let who = Arc::new(Who { uid: 0, verb: "test".into() });
        self.event(Event::Request { id, who, ask });
        id
    }

    pub(super) fn pass(&mut self, millis: u64) {
        let until = self.now.after(Duration::from_millis(millis));
        while let Some(at) = self.core.next_deadline().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.event(Event::Tick);
        }
        self.now = until;
    }

    /// The run of the last spawn that was asked for.
    fn spawn(&self) -> RunId {
        let run = self.effects.iter().rev().find_map(|e| match e {
            Effect::Spawn { run, .. } => Some(*run),
            _ => None,
        });
        run.expect("a spawn was asked for")
    }

    fn spawns(&self) -> usize {
        self.effects.iter().filter(|e| matches!(e, Effect::Spawn { .. })).count()
    }

    /// Lets the last spawn succeed and its process become ready.
    fn come_up(&mut self) -> RunId {
        let run = self.spawn();
        self.event(Event::Spawned { run });
        self.event(Event::Ready { run, by: ReadyBy::Listening });
        run
    }

    fn exit(&mut self, run: RunId, code: u8) {
        self.event(Event::Exited { run, status: ExitStatus::Code(code), left: Left::Nothing });
    }

    pub(super) fn replies(&self, to: RequestId) -> Vec<&Reply> {
        let reply = |e| match e {
            &Effect::Reply { to: id, ref reply } if id == to => Some(reply),
            _ => None,
        };
        self.effects.iter().filter_map(reply).collect()
    }

    #[track_caller]
    fn answers(&self, to: RequestId) -> Vec<SlotAnswer> {
        match self.replies(to).as_slice() {
            [Reply::Applied { results, .. } | Reply::Outcome(results)] => {
                results.iter().map(|r| r.answer.clone()).collect()
            }
            other => panic!("not one answer: {other:?}"),
        }
    }

    fn signals(&self) -> Vec<(Signal, Whom)> {
        let signal = |e: &Effect| match e {
            Effect::Signal { signal, whom, .. } => Some((*signal, *whom)),
            _ => None,
        };
        self.effects.iter().filter_map(signal).collect()
    }

    fn state(&self, id: u32) -> State {
        self.core.slots[&SlotId(id)].state()
    }

    /// A bench with one online app.
    fn online() -> (Bench, RunId) {
        let mut bench = Bench::new();
        bench.ask(apply(vec![AppSpec::sample("api")]));
        let run = bench.come_up();
        (bench, run)
    }
}

pub(super) fn apply(specs: Vec<AppSpec>) -> Ask {
    Ask::Apply(apply_of(specs))
}

fn apply_of(specs: Vec<AppSpec>) -> Apply {
    Apply {
        apps: specs.into_iter().map(|spec| (spec, None)).collect(),
        inherited: Arc::new(Env::new()),
        unchanged: Unchanged::Leave,
        dry_run: false,
        prune: false,
        force: false,
        update_env: false,
        parallel: None,
        strategy: None,
        wait: Wait::UntilDone,
    }
}

pub(super) fn act(word: &str) -> Act {
    Act {
        targets: vec![Target::Word(word.into())],
        update_env: None,
        changes: None,
        parallel: None,
        strategy: None,
        wait: Wait::UntilDone,
    }
}

fn plan(bench: &mut Bench, apply: Apply) -> Vec<PlanAction> {
    let id = bench.ask(Ask::Apply(apply));
    match bench.replies(id).as_slice() {
        [Reply::Applied { plan, .. }] => plan.iter().map(|step| step.action.clone()).collect(),
        other => panic!("not one plan: {other:?}"),
    }
}

#[test]
fn start_is_answered_when_the_app_is_ready_and_not_before() {
    let mut bench = Bench::new();
    let id = bench.ask(apply(vec![AppSpec::sample("api")]));
    let run = bench.spawn();
    bench.event(Event::Spawned { run });
    assert!(bench.replies(id).is_empty());
    bench.event(Event::Ready { run, by: ReadyBy::Listening });
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
}

#[test]
fn a_silent_app_is_ready_when_it_has_lived_for_min_uptime() {
    let mut bench = Bench::new();
    let id = bench.ask(apply(vec![AppSpec::sample("api")]));
    let run = bench.spawn();
    bench.event(Event::Spawned { run });
    bench.pass(999);
    assert!(bench.replies(id).is_empty());
    bench.pass(1);
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
}

#[test]
fn start_fails_at_the_first_exit_and_says_that_it_goes_on() {
    let mut bench = Bench::new();
    let id = bench.ask(apply(vec![AppSpec::sample("api")]));
    let run = bench.spawn();
    bench.event(Event::Spawned { run });
    bench.exit(run, 3);
    let [SlotAnswer::Failed { reason, run: failed, next }] = &bench.answers(id)[..] else { panic!() };
    assert_eq!(reason, "exit code 3 after 0ms, before it was ready");
    assert_eq!((*failed, next.as_deref()), (Some(run), Some("it is being restarted")));
    assert_eq!(bench.spawns(), 2, "the first restart is at once");
}

#[test]
fn a_missing_program_is_errored_at_once_and_tried_again_after_retry_after() {
    let mut bench = Bench::new();
    let id = bench.ask(apply(vec![AppSpec::sample("api")]));
    let run = bench.spawn();
    bench.event(Event::SpawnFailed { run, why: "no such file".into(), lasting: Lasting::Permanent });
    assert!(matches!(&bench.answers(id)[..], [SlotAnswer::Failed { reason, .. }] if reason == "no such file"));
    assert_eq!(bench.state(0), State::Errored);
    bench.pass(59_999);
    assert_eq!(bench.spawns(), 1);
    bench.pass(1);
    assert_eq!(bench.spawns(), 2);
}

#[test]
fn a_lack_of_memory_is_tried_again_with_backoff() {
    let mut bench = Bench::new();
    bench.ask(apply(vec![AppSpec::sample("api")]));
    for _ in 0..3 {
        let run = bench.spawn();
        bench.event(Event::SpawnFailed { run, why: "fork: no memory".into(), lasting: Lasting::Transient });
        assert_ne!(bench.state(0), State::Errored);
        bench.pass(1_000);
    }
    assert_eq!(bench.spawns(), 4);
}

#[test]
fn stop_signals_waits_and_answers_when_nothing_is_left() {
    let (mut bench, run) = Bench::online();
    let id = bench.ask(Ask::Stop(act("api")));
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::Main)]);
    assert!(bench.replies(id).is_empty());
    bench.event(Event::Exited { run, status: ExitStatus::Code(0), left: Left::Survivors });
    assert_eq!(bench.signals()[1..], [(Signal::TERM, Whom::Survivors)]);
    assert!(bench.replies(id).is_empty());
    bench.event(Event::Gone { run });
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Stopped)]);
    bench.pass(3_600_000);
    assert_eq!(bench.spawns(), 1);
}

#[test]
fn a_deaf_process_is_killed_after_the_timeout_and_again_until_it_ends() {
    let (mut bench, run) = Bench::online();
    let id = bench.ask(Ask::Stop(act("api")));
    bench.pass(9_999);
    assert_eq!(bench.signals().len(), 1);
    bench.pass(1);
    assert_eq!(bench.signals()[1..], [(Signal::KILL, Whom::Tree)]);
    bench.pass(1_000);
    assert_eq!(bench.signals().len(), 3);
    let status = ExitStatus::Signal { signal: Signal::KILL, core: false };
    bench.event(Event::Exited { run, status, left: Left::Nothing });
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Stopped)]);
    assert_eq!(bench.core.slots[&SlotId(0)].history[0].reason, "SIGKILL: did not end within 10s");
}

#[test]
fn stop_of_something_unkillable_answers_that_it_goes_on() {
    let (mut bench, _) = Bench::online();
    let id = bench.ask(Ask::Stop(act("api")));
    bench.pass(13_000);
    assert_eq!(bench.answers(id), [SlotAnswer::Pending(State::Stopping)]);
}

#[test]
fn what_a_crashed_app_left_is_ended_before_it_is_restarted() {
    let (mut bench, run) = Bench::online();
    bench.event(Event::Exited { run, status: ExitStatus::Code(1), left: Left::Survivors });
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::Survivors)]);
    assert_eq!(bench.spawns(), 1);
    bench.pass(10_000);
    assert_eq!(bench.signals()[1..], [(Signal::KILL, Whom::Tree)]);
    bench.event(Event::Gone { run });
    assert_eq!(bench.spawns(), 2);
}

#[test]
fn without_treekill_only_the_main_process_matters() {
    let mut spec = AppSpec::sample("api");
    spec.stop.treekill = false;
    let mut bench = Bench::new();
    bench.ask(apply(vec![spec]));
    let run = bench.come_up();
    let id = bench.ask(Ask::Stop(act("api")));
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::OnlyMain)]);
    bench.event(Event::Exited { run, status: ExitStatus::Code(0), left: Left::Survivors });
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Stopped)]);
}

#[test]
fn stop_while_the_spawn_is_in_flight_ends_what_comes_of_it() {
    let mut bench = Bench::new();
    let start = bench.ask(apply(vec![AppSpec::sample("api")]));
    let run = bench.spawn();
    let stop = bench.ask(Ask::Stop(act("api")));
    assert_eq!(bench.answers(start), [SlotAnswer::Superseded]);
    assert!(bench.signals().is_empty());
    bench.event(Event::Spawned { run });
    assert_eq!(bench.signals(), [(Signal::TERM, Whom::Main)]);
    bench.exit(run, 0);
    assert_eq!(bench.answers(stop), [SlotAnswer::Done(State::Stopped)]);
}

#[test]
fn restart_ends_the_old_run_first_and_counts() {
    let (mut bench, old) = Bench::online();
    let id = bench.ask(Ask::Restart(act("api")));
    assert_eq!(bench.spawns(), 1);
    bench.exit(old, 0);
    assert_eq!(bench.spawns(), 2);
    bench.come_up();
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
    assert_eq!(bench.core.slots[&SlotId(0)].restarts, 1);
}

#[test]
fn restart_also_starts_what_is_stopped_or_errored_and_leaves_the_backoff_behind() {
    let (mut bench, run) = Bench::online();
    bench.ask(Ask::Stop(act("api")));
    bench.exit(run, 0);
    bench.ask(Ask::Restart(act("api")));
    let run = bench.spawn();
    bench.event(Event::SpawnFailed { run, why: "gone".into(), lasting: Lasting::Permanent });
    assert_eq!(bench.state(0), State::Errored);
    let id = bench.ask(Ask::Restart(act("api")));
    bench.come_up();
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
}

#[test]
fn two_restarts_at_once_are_both_answered_by_one_launch() {
    let (mut bench, run) = Bench::online();
    let first = bench.ask(Ask::Restart(act("api")));
    let second = bench.ask(Ask::Restart(act("api")));
    bench.exit(run, 0);
    bench.come_up();
    assert_eq!(bench.spawns(), 2);
    for id in [first, second] {
        assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Online)]);
    }
}

#[test]
fn a_crash_restart_stays_in_its_release_and_a_request_looks_anew() {
    let (mut bench, run) = Bench::online();
    bench.pass(60_000);
    bench.exit(run, 1);
    let run = bench.come_up();
    bench.ask(Ask::Restart(act("api")));
    bench.exit(run, 0);
    let resolves: Vec<Resolve> = bench
        .effects
        .iter()
        .filter_map(|e| match e {
            Effect::Spawn { resolve, .. } => Some(*resolve),
            _ => None,
        })
        .collect();
    assert_eq!(resolves, [Resolve::Fresh, Resolve::Keep, Resolve::Fresh]);
}

#[test]
fn a_job_that_never_restarts_is_done_when_it_exits_zero() {
    for (code, done) in [(0, true), (1, false)] {
        let mut spec = AppSpec::sample("job");
        spec.restart.policy = RestartPolicy::Never;
        let mut bench = Bench::new();
        let id = bench.ask(apply(vec![spec]));
        let run = bench.spawn();
        bench.event(Event::Spawned { run });
        bench.exit(run, code);
        let answer = &bench.answers(id)[0];
        assert_eq!(*answer == SlotAnswer::Done(State::Stopped), done, "{answer:?}");
        assert_eq!((bench.state(0), bench.spawns()), (State::Stopped, 1));
    }
}

#[test]
fn delete_stops_forgets_and_begins_ids_anew_when_nothing_is_left() {
    let (mut bench, run) = Bench::online();
    let id = bench.ask(Ask::Delete(act("0")));
    assert!(matches!(bench.core.resolve(&[Target::Word("api".into())]), Err(Refusal::UnknownTarget { .. })));
    bench.exit(run, 0);
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Stopped)]);
    assert!(bench.effects.contains(&Effect::Forget { slot: SlotId(0) }));
    assert!(bench.core.apps.is_empty());
    bench.ask(apply(vec![AppSpec::sample("web")]));
    assert_eq!(bench.core.slots.keys().next(), Some(&SlotId(0)));
}

#[test]
fn one_bad_app_neither_hides_nor_stops_another() {
    let mut bench = Bench::new();
    let id = bench.ask(apply(vec![AppSpec::sample("bad"), AppSpec::sample("good")]));
    bench.event(Event::SpawnFailed { run: RunId(1), why: "x".into(), lasting: Lasting::Permanent });
    assert!(bench.replies(id).is_empty());
    bench.event(Event::Spawned { run: RunId(2) });
    bench.event(Event::Ready { run: RunId(2), by: ReadyBy::Listening });
    let answers = bench.answers(id);
    assert!(matches!(answers[0], SlotAnswer::Failed { .. }));
    assert_eq!(answers[1], SlotAnswer::Done(State::Online));
}

#[test]
fn a_slow_start_is_answered_as_pending_and_goes_on() {
    let mut spec = AppSpec::sample("api");
    spec.restart.min_uptime = Duration::from_secs(600);
    let mut bench = Bench::new();
    let id = bench.ask(apply(vec![spec]));
    let run = bench.spawn();
    bench.event(Event::Spawned { run });
    bench.pass(60_000);
    assert_eq!(bench.answers(id), [SlotAnswer::Pending(State::Launching)]);
    bench.event(Event::Ready { run, by: ReadyBy::Listening });
    assert_eq!(bench.state(0), State::Online);
    assert!(bench.signals().is_empty());
}

#[test]
fn shutdown_stops_all_answers_and_leaves_and_refuses_what_comes_later() {
    let (mut bench, run) = Bench::online();
    let id = bench.ask(Ask::Shutdown);
    let late = bench.ask(Ask::Start(act("api")));
    assert!(matches!(bench.replies(late)[..], [Reply::Refused(Refusal::Leaving)]));
    assert!(!bench.effects.contains(&Effect::Leave));
    bench.exit(run, 0);
    assert_eq!(bench.answers(id), [SlotAnswer::Done(State::Stopped)]);
    assert_eq!(bench.effects.last(), Some(&Effect::Leave));
}

#[test]
fn reports_of_an_old_run_change_nothing() {
    let (mut bench, old) = Bench::online();
    bench.ask(Ask::Restart(act("api")));
    bench.exit(old, 0);
    let new = bench.come_up();
    let before = format!("{:?}", bench.core.slots);
    for event in [
        Event::Exited { run: old, status: ExitStatus::Code(1), left: Left::Nothing },
        Event::Gone { run: old },
        Event::Spawned { run: old },
        Event::Ready { run: old, by: ReadyBy::Alive },
        Event::Gone { run: new },
    ] {
        assert!(bench.event(event).is_empty());
    }
    assert_eq!(format!("{:?}", bench.core.slots), before);
}

#[test]
fn progress_is_told_step_by_step() {
    let mut bench = Bench::new();
    bench.ask(apply(vec![AppSpec::sample("api")]));
    bench.come_up();
    let steps: Vec<(State, u32)> = bench
        .effects
        .iter()
        .filter_map(|e| match e {
            Effect::Progress { state, done, .. } => Some((*state, *done)),
            _ => None,
        })
        .collect();
    assert_eq!(steps, [(State::Launching, 0), (State::Online, 1)]);
}

#[test]
fn every_slot_has_facts_in_the_order_of_ids() {
    let mut bench = Bench::new();
    bench.ask(apply(vec![AppSpec::sample("b"), AppSpec::sample("a")]));
    let ids: BTreeMap<String, u32> = bench
        .core
        .facts(bench.now)
        .iter()
        .map(|(definition, slots)| (definition.spec.name.clone(), slots[0].id.0))
        .collect();
    assert_eq!(ids, BTreeMap::from([("a".into(), 1), ("b".into(), 0)]));
}
