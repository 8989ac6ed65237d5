//! What readers get: a snapshot of the core's facts, replaced whole, and the ring of past events.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::daemon::checks::Found;
use crate::daemon::cluster::Seen;
use crate::daemon::convert;
use crate::daemon::looker::Samples;
use crate::daemon::redact;
use crate::daemon::said::Said;
use crate::proto::{
    AppView, DaemonView, DrainView, Event, EventKind, ExitView, Mark, Resumed, SlotView, View, ViewDetail,
};
use crate::supervisor::{self as core, Candidate, Change, Definition, Refusal, RunId, SlotId, Target};

/// How many past events are kept for `events --history`.
const RING: usize = 1000;

/// How many events a listener may be behind before it misses some.
const BEHIND: usize = 4096;

/// The state of all apps at one moment, as the engine publishes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Published {
    pub(super) generation: u64,
    /// How many slots wait for `resurrect`.
    pub(super) parked: u32,
    /// How many ended runs' last words are on their way.
    pub(super) unworded: usize,
    pub(super) apps: Vec<PublishedApp>,
}

/// One app of it.
#[derive(Clone, Debug)]
pub(super) struct PublishedApp {
    pub(super) definition: Arc<Definition>,
    pub(super) version: Option<String>,
    pub(super) slots: Vec<SlotView>,
}

impl Published {
    /// The runs whose processes may live.
    pub(super) fn runs(&self) -> Vec<RunId> {
        let slots = self.apps.iter().flat_map(|app| &app.slots);
        slots.filter(|slot| slot.pid.is_some()).map(|slot| RunId(slot.run)).collect()
    }

    /// What targets mean, in the order of ids: readers do not queue for the core to tell them.
    pub(super) fn find(&self, targets: &[Target]) -> Result<Vec<(&PublishedApp, &SlotView)>, Refusal> {
        let candidates: Vec<Candidate<'_>> = self.slots().map(|(app, slot)| candidate(app, slot)).collect();
        let ids: BTreeSet<u32> = core::resolve(targets, &candidates)?.into_iter().map(|slot| slot.0).collect();
        let mut found: Vec<_> = self.slots().filter(|(_, slot)| ids.contains(&slot.id)).collect();
        found.sort_by_key(|(_, slot)| slot.id);
        Ok(found)
    }

    fn slots(&self) -> impl Iterator<Item = (&PublishedApp, &SlotView)> {
        self.apps.iter().flat_map(|app| app.slots.iter().map(move |slot| (app, slot)))
    }

    /// The view of the wire: with samples, in the wanted detail, secrets redacted.
    pub(super) fn view(&self, extent: Extent, daemon: DaemonView, user: &str, outside: Outside<'_>) -> View {
        let app = |app: &PublishedApp| {
            let spec = &app.definition.spec;
            let full = extent == Extent::Full;
            AppView {
                name: spec.name.clone(),
                namespace: spec.namespace.clone(),
                version: app.version.clone(),
                user: user.to_owned(),
                mode: spec.exec_mode,
                memory_limit: spec.memory.limit,
                memory_warn: spec.memory.warn_at(),
                spec: full.then(|| {
                    let mut spec = spec.clone();
                    spec.env = redact::env(&spec.env);
                    spec.program = redact::program(&spec.program);
                    spec
                }),
                inherited: full.then(|| redact::env(&app.definition.inherited)),
                slots: app.slots.iter().map(|slot| sampled(slot, extent, outside)).collect(),
            }
        };
        View { generation: self.generation, daemon, apps: self.apps.iter().map(app).collect() }
    }
}

fn candidate<'a>(app: &'a PublishedApp, slot: &SlotView) -> Candidate<'a> {
    let spec = &app.definition.spec;
    Candidate {
        slot: SlotId(slot.id),
        name: &spec.name,
        namespace: &spec.namespace,
        origin: &spec.origin,
        script: spec.script_path(),
    }
}

/// How much of everything a view has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// What a list shows.
    Brief,
    /// That, and what programs measure of themselves.
    Measured,
    /// All there is.
    Full,
}

impl From<ViewDetail> for Extent {
    fn from(detail: ViewDetail) -> Extent {
        match detail {
            ViewDetail::Brief => Extent::Brief,
            ViewDetail::Full => Extent::Full,
        }
    }
}

/// What others than the engine see of runs: samples, sockets, and what programs say.
type Outside<'a> = (&'a Samples, &'a Seen, &'a HashMap<RunId, Said>, &'a HashMap<RunId, Found>);

fn sampled(slot: &SlotView, extent: Extent, (samples, seen, sayings, found): Outside<'_>) -> SlotView {
    let full = extent == Extent::Full;
    let said = sayings.get(&RunId(slot.run)).filter(|_| slot.pid.is_some());
    let health = slot.health.clone().map(|mut health| {
        found.get(&RunId(slot.run)).into_iter().for_each(|found| found.add_to(&mut health));
        health
    });
    let sample = samples.of(RunId(slot.run)).unwrap_or_default();
    let bare = |exit: &ExitView| ExitView { stderr: Vec::new(), ..exit.clone() };
    SlotView {
        cpu: sample.cpu,
        memory: sample.memory,
        ports: seen.ports.get(&RunId(slot.run)).filter(|_| slot.pid.is_some()).cloned().unwrap_or_default(),
        health,
        said: said.map(|said| if extent == Extent::Brief { said.brief() } else { said.whole() }).unwrap_or_default(),
        draining: slot.draining.map(|drain| DrainView {
            remaining: seen.drains.get(&RunId(drain.run)).copied().map(convert::remaining).unwrap_or_default(),
            ..drain
        }),
        last_exit: slot.history.first().map(bare),
        history: if full { slot.history.clone() } else { Vec::new() },
        out_file: slot.out_file.clone(),
        error_file: slot.error_file.clone(),
        combined_file: slot.combined_file.clone(),
        log_problem: slot.log_problem.clone(),
        pid_file: slot.pid_file.clone(),
        reason: slot.reason.clone(),
        remarks: slot.remarks.clone(),
        ..*slot
    }
}

/// The events of this daemon: the last thousand, and a channel for those who listen.
#[derive(Debug)]
pub(super) struct Events {
    ring: Mutex<Ring>,
    sender: broadcast::Sender<Arc<Event>>,
}

#[derive(Debug, Default)]
struct Ring {
    next: u64,
    events: VecDeque<Arc<Event>>,
    /// Not told yet: the view does not show them. Bounded by what happens between two views.
    held: Vec<Arc<Event>>,
}

impl Ring {
    fn hold(&mut self, mut event: Event) -> Arc<Event> {
        self.next += 1;
        event.seq = self.next;
        let event = Arc::new(event);
        self.held.push(Arc::clone(&event));
        event
    }
}

/// What a listener begins with.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) past: Vec<Arc<Event>>,
    pub(super) later: broadcast::Receiver<Arc<Event>>,
    pub(super) newest: Mark,
    pub(super) resumed: Option<Resumed>,
}

impl Ring {
    fn newest(&self) -> Mark {
        let time = self.events.back().map(|event| event.time);
        Mark { seq: self.next, time }
    }

    /// How much is there of what came after an event, and the number that it comes after.
    fn after(&self, mark: Mark) -> (Resumed, u64) {
        let Some(oldest) = self.events.front().map(|event| event.seq) else {
            return (if mark.seq == self.next { Resumed::Whole } else { Resumed::Anew }, 0);
        };
        if mark.seq > self.next {
            return (Resumed::Anew, 0);
        }
        let known = self.events.iter().find(|event| event.seq == mark.seq);
        // The same number of another life is no answer to the question.
        match known {
            Some(event) if mark.time.is_some_and(|time| time != event.time) => (Resumed::Anew, 0),
            Some(_) => (Resumed::Whole, mark.seq),
            None if mark.seq + 1 >= oldest => (Resumed::Whole, mark.seq),
            None => (Resumed::Missed { count: oldest - mark.seq - 1 }, 0),
        }
    }
}

impl Events {
    pub(super) fn new() -> Events {
        Events { ring: Mutex::default(), sender: broadcast::channel(BEHIND).0 }
    }

    /// The events of an earlier daemon; the numbers go on.
    pub(super) fn recall(&self, events: VecDeque<Arc<Event>>) {
        let mut ring = self.lock();
        ring.next = events.back().map_or(ring.next, |event| event.seq);
        ring.events = events;
    }

    /// Holds a change of the core until [`Events::release`]: who hears of a change and then asks for the view must find
    /// it there. `time` is in milliseconds of the epoch, `pid` gives the number of a run.
    pub(super) fn hold(&self, change: Change, time: u64, pid: impl Fn(RunId) -> u32) -> Arc<Event> {
        self.lock().hold(Event {
            seq: 0,
            time,
            app: Some(change.app),
            id: change.slot.map(|(id, _)| id.0),
            instance: change.slot.map(|(_, instance)| instance),
            uid: change.by.as_ref().map(|who| who.uid),
            verb: change.by.as_ref().map(|who| who.verb.clone()),
            event: convert::event(change.kind, pid),
        })
    }

    /// Holds what is to be known of a run.
    pub(super) fn hold_remark(
        &self,
        (app, id, instance): (String, SlotId, u16),
        event: EventKind,
        time: u64,
    ) -> Arc<Event> {
        let (id, instance) = (Some(id.0), Some(instance));
        self.lock().hold(Event { seq: 0, time, app: Some(app), id, instance, uid: None, verb: None, event })
    }

    /// Tells all that was held: a view that shows it has been published.
    pub(super) fn release(&self) {
        let mut ring = self.lock();
        for event in std::mem::take(&mut ring.held) {
            if ring.events.len() == RING {
                ring.events.pop_front();
            }
            ring.events.push_back(Arc::clone(&event));
            // Nobody listens: no error.
            let _ = self.sender.send(event);
        }
    }

    /// Tells of a change of the daemon itself, and of all that was held.
    pub(super) fn tell_own(&self, event: EventKind, time: u64) -> Arc<Event> {
        let event = Event { seq: 0, time, app: None, id: None, instance: None, uid: None, verb: None, event };
        let event = self.lock().hold(event);
        self.release();
        event
    }

    /// Holds a change of an app that is none of the core's until [`Events::release`].
    pub(super) fn hold_of(
        &self,
        app: Option<String>,
        (id, instance): (Option<u32>, Option<u16>),
        event: EventKind,
        time: u64,
    ) {
        self.lock().hold(Event { seq: 0, time, app, id, instance, uid: None, verb: None, event });
    }

    /// The last `history` events, and everything that comes after them.
    pub(super) fn join(&self, history: usize) -> Joined {
        let ring = self.lock();
        let past = ring.events.iter().skip(ring.events.len().saturating_sub(history)).cloned().collect();
        Joined { past, later: self.sender.subscribe(), newest: ring.newest(), resumed: None }
    }

    /// What came after an event, as far as it is there, and everything that comes.
    pub(super) fn resume(&self, after: Mark) -> Joined {
        let ring = self.lock();
        let (resumed, from) = ring.after(after);
        let past = ring.events.iter().filter(|event| event.seq > from).cloned().collect();
        Joined { past, later: self.sender.subscribe(), newest: ring.newest(), resumed: Some(resumed) }
    }

    /// All events that are kept, those that are not told yet included.
    pub(super) fn all(&self) -> Vec<Arc<Event>> {
        let ring = self.lock();
        ring.events.iter().chain(&ring.held).cloned().collect()
    }

    /// The last `history` events.
    pub(super) fn past(&self, history: usize) -> Vec<Arc<Event>> {
        self.join(history).past
    }

    /// A panic elsewhere cannot leave the ring half written: every change of it is one push.
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::ChangeKind;

    #[test]
    fn a_subscriber_gets_the_past_it_asked_for_and_then_all() {
        let events = Events::new();
        for _ in 0..RING + 5 {
            events.tell_own(EventKind::Created, 0);
        }
        let Joined { past, mut later, newest, resumed } = events.join(3);
        let last = RING as u64 + 5;
        assert_eq!((newest, resumed), (Mark { seq: last, time: Some(0) }, None));
        assert_eq!(past.iter().map(|e| e.seq).collect::<Vec<_>>(), [last - 2, last - 1, last]);
        events.tell_own(EventKind::Deleted, 0);
        assert_eq!(later.try_recv().unwrap().seq, last + 1);
    }

    #[test]
    fn a_change_is_told_when_the_view_shows_it() {
        let events = Events::new();
        let change = || Change { app: "api".into(), slot: None, by: None, kind: ChangeKind::Created };
        events.hold(change(), 1, |_| 0);
        events.hold(change(), 2, |_| 0);
        let Joined { past, mut later, .. } = events.join(10);
        assert!(past.is_empty() && later.try_recv().is_err());
        events.release();
        let times: Vec<u64> = std::iter::from_fn(|| later.try_recv().ok()).map(|event| event.time).collect();
        assert_eq!(times, [1, 2]);
    }

    /// What a listener gets that has seen the event of this number and time.
    #[track_caller]
    fn resumed(events: &Events, seq: u64, time: Option<u64>) -> (Resumed, Option<u64>, usize) {
        let joined = events.resume(Mark { seq, time });
        (joined.resumed.unwrap(), joined.past.first().map(|event| event.seq), joined.past.len())
    }

    #[test]
    fn a_listener_that_comes_back_gets_what_it_has_missed() {
        let events = Events::new();
        for time in 1..=10 {
            events.tell_own(EventKind::Created, time);
        }
        assert_eq!(resumed(&events, 7, Some(7)), (Resumed::Whole, Some(8), 3));
        assert_eq!(resumed(&events, 7, None), (Resumed::Whole, Some(8), 3));
        assert_eq!(resumed(&events, 10, Some(10)), (Resumed::Whole, None, 0));
        assert_eq!(resumed(&events, 0, None), (Resumed::Whole, Some(1), 10));
    }

    #[test]
    fn a_listener_of_a_daemon_that_counted_otherwise_gets_everything() {
        let events = Events::new();
        assert_eq!(resumed(&events, 3, Some(3)), (Resumed::Anew, None, 0));
        assert_eq!(resumed(&events, 0, None), (Resumed::Whole, None, 0));
        for time in 11..=20 {
            events.tell_own(EventKind::Created, time);
        }
        assert_eq!(resumed(&events, 99, Some(1)), (Resumed::Anew, Some(1), 10));
        assert_eq!(resumed(&events, 4, Some(4)), (Resumed::Anew, Some(1), 10), "the same number of another life");
    }

    #[test]
    fn a_listener_that_was_away_too_long_is_told_how_much_it_has_missed() {
        let events = Events::new();
        for time in 1..=RING as u64 + 50 {
            events.tell_own(EventKind::Created, time);
        }
        assert_eq!(resumed(&events, 50, Some(50)), (Resumed::Whole, Some(51), RING));
        assert_eq!(resumed(&events, 49, Some(49)), (Resumed::Missed { count: 1 }, Some(51), RING));
        assert_eq!(resumed(&events, 0, None), (Resumed::Missed { count: 50 }, Some(51), RING));
    }
}
