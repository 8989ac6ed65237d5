//! What is known of the daemon and its apps: the view, the changes, reloads, and what was measured over time.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::proto::{AppView, Event, EventKind, SlotView, View};
use crate::tui::model::series::{Point, Series};
use crate::tui::model::stages::Stages;

/// How many changes are remembered; as many as the daemon keeps.
const EVENTS: usize = 1000;

/// What an instance costs now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// Percent of one core.
    pub(crate) cpu: f32,
    /// Bytes.
    pub(crate) memory: u64,
    /// Open connections, where they are counted.
    pub(crate) connections: Option<u32>,
    /// Connections that wait to be accepted, where a port is shared.
    pub(crate) queue: Option<u32>,
    /// Milliseconds by which its event loop is late, where that is reported.
    pub(crate) lag: Option<f32>,
    /// Bytes of its heap that are in use, where that is reported.
    pub(crate) heap: Option<u64>,
}

/// Everything that came from the daemon.
#[derive(Clone, Debug, Default)]
pub(crate) struct Data {
    pub(crate) view: View,
    pub(crate) events: VecDeque<Event>,
    pub(crate) stages: Stages,
    pub(crate) series: HashMap<u32, Series>,
    /// When the view was taken; 0 before the first one.
    pub(crate) taken: u64,
}

/// What an instance costs. The one place that knows where the view keeps that.
pub(crate) fn load(slot: &SlotView) -> Load {
    let queue = (!slot.ports.is_empty()).then(|| slot.ports.iter().map(|port| port.queued).sum());
    let connections = slot.ports.iter().filter_map(|port| port.connections).reduce(|sum, count| sum + count);
    let node = slot.said.node.as_ref();
    let lag = node.map(|node| node.lag);
    let heap = node.map(|node| node.heap_used).filter(|used| *used > 0);
    Load { cpu: slot.cpu, memory: slot.memory, connections, queue, lag, heap }
}

/// Milliseconds since the process was started; none where nothing runs.
pub(crate) fn uptime(slot: &SlotView, now: u64) -> Option<u64> {
    slot.pid.and(slot.started).map(|started| now.saturating_sub(started))
}

impl Data {
    /// Takes a new view in. Where it is a brief one, what a full one has told before stays.
    pub(crate) fn take_view(&mut self, mut view: View, now: u64) {
        for app in &mut view.apps {
            let Some(known) = self.app(&app.namespace, &app.name) else { continue };
            if app.spec.is_none() {
                app.spec.clone_from(&known.spec);
                for slot in &mut app.slots {
                    let before = known.slots.iter().find(|before| before.id == slot.id);
                    let before = before.filter(|before| before.last_exit == slot.last_exit);
                    slot.history = before.map(|before| before.history.clone()).unwrap_or_default();
                }
            }
        }
        let ids: HashSet<u32> = view.apps.iter().flat_map(|app| &app.slots).map(|slot| slot.id).collect();
        self.series.retain(|id, _| ids.contains(id));
        for slot in view.apps.iter().flat_map(|app| &app.slots) {
            let load = load(slot);
            let point = match slot.pid {
                Some(_) => Point {
                    time: now,
                    cpu: Some(load.cpu),
                    memory: Some(load.memory as f32),
                    connections: load.connections.map(|count| count as f32),
                    queue: load.queue.map(|count| count as f32),
                    lag: load.lag,
                    heap: load.heap.map(|bytes| bytes as f32),
                },
                None => Point { time: now, ..Point::default() },
            };
            self.series.entry(slot.id).or_default().push(point);
        }
        self.view = view;
        self.taken = now;
        self.stages.forget(now);
    }

    /// Takes what happened in, the oldest first.
    pub(crate) fn take_events(&mut self, events: Vec<Event>) {
        for event in events {
            // The history that the stream begins with may hold what is known.
            if event.seq > 0 && self.events.iter().rev().any(|known| known.seq == event.seq && known.time == event.time)
            {
                continue;
            }
            self.stages.take(&event);
            // A signal of the kernel, not of the daemon: there is nothing to remember.
            if !matches!(event.event, EventKind::Missed { .. }) {
                self.events.push_back(event);
            }
            if self.events.len() > EVENTS {
                self.events.pop_front();
            }
        }
    }

    /// What was measured before this screen was opened.
    pub(crate) fn take_past(&mut self, past: &[(u32, Vec<Point>)]) {
        for (id, points) in past {
            self.series.entry(*id).or_default().extend_past(points);
        }
    }

    /// An app by its names.
    pub(crate) fn app(&self, namespace: &str, name: &str) -> Option<&AppView> {
        self.view.apps.iter().find(|app| app.name == name && app.namespace == namespace)
    }

    /// An instance by its id, and whose it is.
    pub(crate) fn slot(&self, id: u32) -> Option<(&AppView, &SlotView)> {
        let slots = self.view.apps.iter().flat_map(|app| app.slots.iter().map(move |slot| (app, slot)));
        slots.into_iter().find(|(_, slot)| slot.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::sample::{self, NOW};

    #[test]
    fn a_brief_view_keeps_what_a_full_one_has_told() {
        let mut data = Data::default();
        data.take_view(sample::full_view(), NOW);
        let told = data.view.apps[0].slots[1].history.clone();
        data.take_view(sample::view(), NOW + 2_000);
        assert!(data.view.apps[0].spec.is_some());
        assert_eq!(data.view.apps[0].slots[1].history, told);
        // Another exit since: what is known is not all of it.
        let mut view = sample::view();
        view.apps[0].slots[1].last_exit = told.first().cloned();
        data.take_view(view, NOW + 4_000);
        assert!(data.view.apps[0].slots[1].history.is_empty());
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut data = Data::default();
        data.take_view(sample::view(), NOW);
        assert_eq!(data.series.len(), 4);
        data.take_view(View::default(), NOW + 1);
        assert!(data.series.is_empty());
    }
}
