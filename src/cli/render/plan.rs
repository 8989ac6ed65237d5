//! What a declaration would change, one line an app.

use crate::cli::render::units::{printable, span};
use crate::cli::style::{Style, Tint};
use crate::proto::{PlanAction, PlanStep};
use crate::spec::DEFAULT_NAMESPACE;

/// More steps of one kind than these are counted, unless the plan is all that was asked for.
const MANY: usize = 20;

/// How much of a plan is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Length {
    /// Every step.
    Whole,
    /// Many equal steps in one line.
    Short,
}

/// The lines of a plan.
pub(in crate::cli) fn lines(steps: &[&PlanStep], length: Length, style: Style, now: u64) -> Vec<String> {
    let alike = |step: &PlanStep| match &step.action {
        PlanAction::Create => Some((Tint::Green, '+', "new")),
        PlanAction::Leave { .. } => {
            Some((Tint::Grey, '=', "unchanged: new code needs `rsx restart`, with the file or a name"))
        }
        PlanAction::Restart => Some((Tint::Yellow, '~', "restart")),
        PlanAction::Register
        | PlanAction::Start
        | PlanAction::Change { .. }
        | PlanAction::Scale { .. }
        | PlanAction::Keep
        | PlanAction::Delete => None,
    };
    let mut told: Vec<char> = Vec::new();
    let mut lines = Vec::new();
    for step in steps {
        let kind = alike(step).filter(|_| length == Length::Short);
        let count = kind.map_or(0, |kind| steps.iter().filter(|other| alike(other) == Some(kind)).count());
        match kind {
            Some((tint, sign, what)) if count > MANY => {
                if !told.contains(&sign) {
                    told.push(sign);
                    lines.push(format!("{} {count} apps: {what}", style.paint(tint, &sign.to_string())));
                }
            }
            Some(_) | None => lines.push(line(step, style, now)),
        }
    }
    lines
}

/// One line: a sign, the app, what is done to it.
fn line(step: &PlanStep, style: Style, now: u64) -> String {
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
            (Tint::Yellow, '~', format!("restart, changed: {}", what.join(", ")))
        }
        PlanAction::Change { what, restart: false } => {
            (Tint::Yellow, '~', format!("no restart, changed: {}", what.join(", ")))
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
        let lines: Vec<String> = actions.map(|action| line(&step(action), Style::Plain, NOW)).into();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn many_equal_steps_are_counted_unless_only_the_plan_was_asked_for() {
        let new: Vec<PlanStep> = (0..30).map(|_| step(PlanAction::Create)).collect();
        let restart = step(PlanAction::Restart);
        let steps: Vec<&PlanStep> = new.iter().chain([&restart]).collect();
        assert_eq!(lines(&steps, Length::Short, Style::Plain, NOW), ["+ 30 apps: new", "~ api: restart"]);
        assert_eq!(lines(&steps, Length::Whole, Style::Plain, NOW).len(), 31);
    }

    fn step(action: PlanAction) -> PlanStep {
        PlanStep { name: "api".into(), namespace: "default".into(), action }
    }
}
