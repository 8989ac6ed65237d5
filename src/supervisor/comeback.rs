//! What an earlier daemon ran, or what was saved, comes back.

use std::sync::Arc;

use crate::supervisor::batch::Wish;
use crate::supervisor::requests::Renew;
use crate::supervisor::slot::Slot;
use crate::supervisor::waiters::{Form, Want};
use crate::supervisor::{
    App, AppId, Change, ChangeKind, Definition, Effect, RequestId, SlotId, Supervisor, Time, Wait, Wanted, Who,
};

impl Supervisor {
    /// Puts what an earlier daemon had into an empty core.
    fn restore(&mut self, now: Time, wanted: Vec<Wanted>) -> Vec<SlotId> {
        let mut up = Vec::new();
        for Wanted { definition, slots } in wanted {
            up.extend(self.recreate(now, &definition, &slots));
        }
        self.wanted_version += 1;
        up
    }

    /// Makes an app anew with its old ids, as far as they are free; returns those of its slots that were up.
    fn recreate(&mut self, now: Time, definition: &Arc<Definition>, slots: &[(SlotId, u16, bool)]) -> Vec<SlotId> {
        self.next_app += 1;
        let app = AppId(self.next_app);
        self.apps.insert(app, App { definition: Arc::clone(definition), ignores_health: false });
        let mut up = Vec::new();
        for (old, instance, was_up) in slots {
            let id = if self.slots.contains_key(old) { SlotId(self.next_slot) } else { *old };
            self.next_slot = self.next_slot.max(id.0.saturating_add(1));
            self.slots.insert(id, Slot::new(id, app, *instance, Arc::clone(definition), now));
            self.touched.insert(id);
            up.extend(was_up.then_some(id));
        }
        up
    }

    pub(super) fn on_restore(&mut self, now: Time, id: RequestId, who: &Arc<Who>, wanted: Vec<Wanted>) -> Vec<SlotId> {
        let up = self.restore(now, wanted);
        self.start_all(now, id, who, up, Wait::UntilDone)
    }

    pub(super) fn on_register(&mut self, now: Time, id: RequestId, wanted: Vec<Wanted>) -> Vec<SlotId> {
        for slot in self.restore(now, wanted) {
            if let Some(slot) = self.slots.get_mut(&slot) {
                slot.parked = true;
            }
        }
        self.wait(now, id, Form::Outcome, Wait::No, Vec::new());
        Vec::new()
    }

    pub(super) fn on_resurrect(
        &mut self,
        now: Time,
        id: RequestId,
        who: &Arc<Who>,
        saved: Vec<Wanted>,
        wait: Wait,
        effects: &mut Vec<Effect>,
    ) -> Vec<SlotId> {
        let mut up: Vec<SlotId> = self.slots.values().filter(|slot| slot.parked).map(|slot| slot.id).collect();
        for Wanted { definition, slots } in saved {
            let (name, namespace) = (&definition.spec.name, &definition.spec.namespace);
            let is_it = |app: &App| app.definition.spec.name == *name && app.definition.spec.namespace == *namespace;
            match self.apps.iter().find(|(_, app)| is_it(app)).map(|(app, _)| *app) {
                Some(app) => {
                    let was_up = |instance| slots.iter().any(|(_, index, was_up)| *index == instance && *was_up);
                    let down = |slot: &&Slot| slot.app == app && !slot.is_up() && was_up(slot.instance);
                    up.extend(self.slots.values().filter(down).map(|slot| slot.id));
                }
                None => {
                    let kind = ChangeKind::Created;
                    let change = Change { app: name.clone(), slot: None, by: Some(Arc::clone(who)), kind };
                    effects.push(Effect::Announce(change));
                    up.extend(self.recreate(now, &definition, &slots));
                }
            }
        }
        up.sort_unstable();
        up.dedup();
        self.wanted_version += 1;
        self.start_all(now, id, who, up, wait)
    }

    fn start_all(&mut self, now: Time, id: RequestId, who: &Arc<Who>, slots: Vec<SlotId>, wait: Wait) -> Vec<SlotId> {
        let wish = |slot: &SlotId| Wish { slot: *slot, want: Want::Ready, renew: Renew::Always };
        self.number(&slots.iter().map(wish).collect::<Vec<_>>());
        for slot in &slots {
            self.ask_slot(now, *slot, who, Want::Ready, Renew::Always);
        }
        self.wait(now, id, Form::Outcome, wait, slots.iter().map(|slot| (*slot, Want::Ready)).collect());
        slots
    }
}
