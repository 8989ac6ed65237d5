//! How many slots an app has: which stay, which go, which are new.
//!
//! The highest indexes go first and the lowest free ones are filled first, whatever single deletions have left.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::spec::MAX_INSTANCES;
use crate::supervisor::slot::{Goal, Slot};
use crate::supervisor::waiters::{Form, Want};
use crate::supervisor::{
    App, AppId, ChangeKind, Count, Definition, Effect, PlanAction, PlanStep, Refusal, RequestId, Scale, SlotId,
    Supervisor, Time, Who,
};

use super::requests::Renew;

/// The slots of an app after a change of their number.
pub(super) struct Places {
    /// There before, and still.
    pub(super) kept: Vec<SlotId>,
    /// New, or on their way out and wanted again.
    pub(super) new: Vec<SlotId>,
    /// Too many; nothing has been asked of them yet.
    pub(super) gone: Vec<SlotId>,
}

impl Supervisor {
    /// Gives an app its definition, and as many slots as that says.
    pub(super) fn define(&mut self, now: Time, app: AppId, definition: &Arc<Definition>) -> Places {
        self.apps.insert(app, App { definition: Arc::clone(definition), ignores_health: false });
        let (mut present, mut leaving) = (Vec::new(), Vec::new());
        for slot in self.slots.values_mut().filter(|slot| slot.app == app) {
            slot.definition = Arc::clone(definition);
            self.touched.insert(slot.id);
            let place = (slot.instance, slot.id);
            if slot.goal == Goal::Deleted { leaving.push(place) } else { present.push(place) }
        }
        present.sort_unstable();
        let wanted = usize::from(definition.spec.instances);
        let gone = present.split_off(wanted.min(present.len()));
        let taken: BTreeSet<u16> = present.iter().map(|(instance, _)| *instance).collect();
        let free = (0..=u16::MAX).filter(|instance| !taken.contains(instance)).take(wanted - present.len());
        let mut new = Vec::new();
        for instance in free {
            let again = leaving.iter().find(|(other, _)| *other == instance).map(|(_, id)| *id);
            new.push(again.unwrap_or_else(|| {
                let id = SlotId(self.next_slot);
                self.next_slot += 1;
                let edition = self.slots.values().filter(|slot| slot.app == app).map(|slot| slot.edition).max();
                let edition = edition.unwrap_or_default();
                let slot = Slot::new(id, app, instance, Arc::clone(definition), now);
                self.slots.insert(id, Slot { edition, ..slot });
                self.touched.insert(id);
                id
            }));
        }
        let ids = |places: Vec<(u16, SlotId)>| places.into_iter().map(|(_, id)| id).collect();
        Places { kept: ids(present), new, gone: ids(gone) }
    }

    /// Changes the number of instances and nothing else: those that stay are left as they are.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownTarget`], and [`Refusal::Instances`] for a number that cannot be; then nothing is done.
    pub(super) fn on_scale(
        &mut self,
        now: Time,
        id: RequestId,
        who: &Arc<Who>,
        scale: &Scale,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<SlotId>, Refusal> {
        let apps: BTreeSet<AppId> =
            self.resolve(&scale.targets)?.iter().filter_map(|slot| Some(self.slots.get(slot)?.app)).collect();
        let counts = apps.iter().map(|app| self.count(*app, scale.count)).collect::<Result<Vec<_>, _>>()?;
        let (mut plan, mut waited) = (Vec::new(), Vec::new());
        for (app, (from, to)) in apps.into_iter().zip(counts) {
            let Some(before) = self.apps.get(&app).map(|app| Arc::clone(&app.definition)) else { continue };
            let action = if from == to { PlanAction::Leave { since: None } } else { PlanAction::Scale { from, to } };
            let (name, namespace) = (before.spec.name.clone(), before.spec.namespace.clone());
            if from != to {
                effects.push(announced(&name, who, ChangeKind::Changed(vec!["instances".into()])));
            }
            plan.push(PlanStep { name, namespace, action });
            let mut definition = Definition::clone(&before);
            definition.spec.instances = to;
            let places = self.define(now, app, &Arc::new(definition));
            for slot in places.new {
                self.ask_slot(now, slot, who, Want::Ready, Renew::Always);
                waited.push((slot, Want::Ready));
            }
            for slot in places.gone {
                self.ask_slot(now, slot, who, Want::Gone, Renew::Never);
                waited.push((slot, Want::Gone));
            }
        }
        self.wanted_version += 1;
        let slots = waited.iter().map(|(slot, _)| *slot).collect();
        self.wait(now, id, Form::Applied(plan), scale.wait, waited);
        Ok(slots)
    }

    /// How many instances an app has, and how many it is to have.
    fn count(&self, app: AppId, count: Count) -> Result<(u16, u16), Refusal> {
        let present = self.slots.values().filter(|slot| slot.app == app && slot.goal != Goal::Deleted).count();
        let present = u16::try_from(present).unwrap_or(u16::MAX);
        let wanted = match count {
            Count::To(count) => i64::from(count),
            Count::By(difference) => i64::from(present) + i64::from(difference),
        };
        match u16::try_from(wanted) {
            Ok(count) if (1..=MAX_INSTANCES).contains(&count) => Ok((present, count)),
            Ok(_) | Err(_) => {
                let name = self.apps.get(&app).map(|app| app.definition.spec.name.clone()).unwrap_or_default();
                Err(Refusal::Instances { name, wanted })
            }
        }
    }
}

fn announced(app: &str, who: &Arc<Who>, kind: ChangeKind) -> Effect {
    Effect::Announce(crate::supervisor::Change { app: app.to_owned(), slot: None, by: Some(Arc::clone(who)), kind })
}
