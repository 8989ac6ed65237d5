//! The core by tables: one behaviour a test, no process, no clock.

mod meanwhile;

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
        restart_unchanged: false,
        dry_run: false,
        prune: false,
        force: false,
        update_env: false,
        wait: Wait::UntilDone,
    }
}

pub(super) fn act(word: &str) -> Act {
    Act { targets: vec![Target::Word(word.into())], update_env: None, wait: Wait::UntilDone }
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
fn apply_leaves_what_is_as_declared_and_changes_what_differs() {
    let (mut bench, run) = Bench::online();
    assert_eq!(
        plan(&mut bench, apply_of(vec![AppSpec::sample("api")])),
        [PlanAction::Leave { since: Some(Time::default()) }]
    );
    let mut spec = AppSpec::sample("api");
    spec.stop.kill_timeout = Duration::from_secs(3);
    let change = PlanAction::Change { what: vec!["kill_timeout"], restart: false };
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
    assert_eq!(plan(&mut bench, apply), [PlanAction::Change { what: vec!["script file"], restart: true }]);
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
fn a_successor_restores_ids_and_starts_only_what_was_up() {
    let (bench, _) = Bench::online();
    let mut wanted = bench.core.wanted();
    wanted[0].slots.push((SlotId(5), 1, false));
    let mut successor = Bench::new();
    successor.ask(Ask::Restore(wanted));
    assert_eq!(successor.spawns(), 1);
    assert_eq!(successor.core.slots.keys().copied().collect::<Vec<_>>(), [SlotId(0), SlotId(5)]);
    successor.ask(apply(vec![AppSpec::sample("new")]));
    assert!(successor.core.slots.contains_key(&SlotId(6)));
}

#[test]
fn what_an_earlier_daemon_ran_is_listed_as_stopped_until_resurrected() {
    let (bench, _) = Bench::online();
    let wanted = bench.core.wanted();
    let mut next = Bench::new();
    next.ask(Ask::Register(wanted.clone()));
    assert_eq!((next.spawns(), next.state(0), next.core.parked()), (0, State::Stopped, 1));
    assert_eq!(next.core.wanted(), wanted, "it is still wanted, should this daemon end, too");
    let id = next.ask(Ask::Resurrect { saved: vec![], wait: Wait::UntilDone });
    next.come_up();
    assert_eq!(next.answers(id), [SlotAnswer::Done(State::Online)]);
    assert_eq!(next.core.parked(), 0);
}

#[test]
fn a_wish_about_a_parked_app_ends_its_waiting() {
    let (bench, _) = Bench::online();
    let mut next = Bench::new();
    next.ask(Ask::Register(bench.core.wanted()));
    next.ask(Ask::Stop(act("api")));
    assert!(!next.core.wanted()[0].slots[0].2, "stopped is stopped");
    next.ask(Ask::Resurrect { saved: vec![], wait: Wait::UntilDone });
    assert_eq!(next.spawns(), 0);
}

#[test]
fn resurrect_brings_back_what_was_saved_with_its_ids_and_doubles_nothing() {
    let mut bench = Bench::new();
    bench.ask(apply(vec![AppSpec::sample("a"), AppSpec::sample("b")]));
    let saved = bench.core.wanted();
    let mut next = Bench::new();
    next.ask(apply(vec![AppSpec::sample("b")]));
    next.come_up();
    next.ask(Ask::Resurrect { saved: saved.clone(), wait: Wait::UntilDone });
    assert_eq!(next.spawns(), 2, "b runs already");
    let names: Vec<(u32, &str)> =
        next.core.slots.values().map(|slot| (slot.id.0, slot.definition.spec.name.as_str())).collect();
    assert_eq!(names, [(0, "b"), (1, "a")], "the id of a is taken, so it gets the next one");
    let mut empty = Bench::new();
    empty.ask(Ask::Resurrect { saved, wait: Wait::UntilDone });
    let ids: Vec<u32> = empty.core.slots.keys().map(|id| id.0).collect();
    assert_eq!(ids, [0, 1]);
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
