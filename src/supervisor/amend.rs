//! New values for apps that are there: `rsx restart api --kill-timeout 3s`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::spec::{AppSpec, Changes};
use crate::supervisor::{AppId, Change, ChangeKind, Definition, Effect, Refusal, SlotId, Supervisor, Who};

impl Supervisor {
    /// Gives the apps of these slots their new values, which their next launches use.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unchangeable`]; then no app has changed.
    pub(super) fn amend(
        &mut self,
        slots: &[SlotId],
        changes: &Changes,
        who: &Arc<Who>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let apps: BTreeSet<AppId> = slots.iter().filter_map(|slot| Some(self.slots.get(slot)?.app)).collect();
        let mut amended: Vec<(AppId, AppSpec, Vec<&'static str>)> = Vec::with_capacity(apps.len());
        for (id, app) in self.apps.iter().filter(|(id, _)| apps.contains(id)) {
            let old = &app.definition.spec;
            let refuse = |why| Refusal::Unchangeable { name: old.name.clone(), why };
            let (new, keys) = changes.apply(old).map_err(refuse)?;
            let others =
                self.apps.iter().filter(|(other, _)| !apps.contains(other)).map(|(_, app)| &app.definition.spec);
            let is_same = |other: &&AppSpec| (&other.name, &other.namespace) == (&new.name, &new.namespace);
            if others.chain(amended.iter().map(|(_, spec, _)| spec)).any(|other| is_same(&other)) {
                return Err(refuse(format!("there is another app called `{}`", new.name)));
            }
            amended.push((*id, new, keys));
        }
        for (id, spec, keys) in amended {
            let Some(app) = self.apps.get_mut(&id) else { continue };
            if keys.is_empty() {
                continue;
            }
            let name = spec.name.clone();
            let definition = Arc::new(Definition { spec, ..Definition::clone(&app.definition) });
            app.definition = Arc::clone(&definition);
            for slot in self.slots.values_mut().filter(|slot| slot.app == id) {
                slot.definition = Arc::clone(&definition);
                self.touched.insert(slot.id);
            }
            let kind = ChangeKind::Changed(keys.into_iter().map(Into::into).collect());
            effects.push(Effect::Announce(Change { app: name, slot: None, by: Some(Arc::clone(who)), kind }));
        }
        Ok(())
    }
}
