//! What a declaration would change, one line an app.

use crate::cli::render::units::{printable, span};
use crate::cli::style::{Style, Tint};
use crate::proto::{PlanAction, PlanStep};
use crate::spec::DEFAULT_NAMESPACE;

/// One line: a sign, the app, what is done to it.
pub(in crate::cli) fn line(step: &PlanStep, style: Style, now: u64) -> String {
    let name = printable(&step.name);
    let place = if step.namespace == DEFAULT_NAMESPACE {
        name.clone().into_owned()
    } else {
        format!("{name} ({})", printable(&step.namespace))
    };
    let (tint, sign, what) = match &step.action {
        PlanAction::Create => (Tint::Green, '+', "new".to_owned()),
        PlanAction::Register => (Tint::Green, '+', format!("new, not started: `rsx start {name}`")),
        PlanAction::Start => (Tint::Green, '+', "start".to_owned()),
        PlanAction::Change { what, restart: true } => {
            (Tint::Yellow, '~', format!("changed, restarts: {}", what.join(", ")))
        }
        PlanAction::Change { what, restart: false } => {
            (Tint::Yellow, '~', format!("changed while it runs: {}", what.join(", ")))
        }
        PlanAction::Scale { from, to } => (Tint::Yellow, '~', format!("instances {from} → {to}")),
        PlanAction::Restart => (Tint::Yellow, '~', "restart".to_owned()),
        PlanAction::Leave { since: Some(since) } => {
            let age = span(now.saturating_sub(*since));
            (Tint::Grey, '=', format!("unchanged, running since {age}: new code needs `rsx restart {name}`"))
        }
        PlanAction::Leave { since: None } => (Tint::Grey, '=', "unchanged".to_owned()),
        PlanAction::Keep => (Tint::Grey, '=', "no longer in the file, stays: `--prune` deletes it".to_owned()),
        PlanAction::Delete => (Tint::Red, '-', "no longer in the file: deleted".to_owned()),
    };
    format!("{} {place}: {what}", style.paint(tint, &sign.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample::NOW;

    #[test]
    fn every_step_says_what_is_done_and_what_to_type() {
        let actions = [
            PlanAction::Create,
            PlanAction::Register,
            PlanAction::Start,
            PlanAction::Change { what: vec!["env.PORT".into(), "args".into()], restart: true },
            PlanAction::Change { what: vec!["max_restarts".into()], restart: false },
            PlanAction::Scale { from: 2, to: 4 },
            PlanAction::Restart,
            PlanAction::Leave { since: Some(NOW - 3 * 86_400_000) },
            PlanAction::Leave { since: None },
            PlanAction::Keep,
            PlanAction::Delete,
        ];
        let step = |action| PlanStep { name: "api".into(), namespace: "default".into(), action };
        let lines: Vec<String> = actions.map(|action| line(&step(action), Style::Plain, NOW)).into();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
