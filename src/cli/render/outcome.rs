//! How it went: failures whole, successes in one line.

use crate::cli::render::units::printable;
use crate::cli::style::{Style, Tint};
use crate::proto::{Answer, SlotResult};

/// The lines for all that did not end as asked.
pub(in crate::cli) fn failures(results: &[SlotResult], style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    for result in results {
        let place = format!("{}:{}", printable(&result.name), result.instance);
        match &result.answer {
            Answer::Done { .. } => {}
            Answer::Failed { reason, stderr, remarks, next } => {
                lines.push(format!("{} `{place}` {}", style.paint(Tint::Red, "failed:"), printable(reason)));
                lines.extend(stderr.iter().map(|line| format!("  | {}", printable(line))));
                lines.extend(remarks.iter().map(|remark| format!("  note: {}", printable(remark))));
                lines.extend(next.iter().map(|next| format!("  next: {}", printable(next))));
                // Without last words it may never have run, and have no logs.
                let verb = if stderr.is_empty() { "describe" } else { "logs" };
                lines.push(format!("  hint: `rsx {verb} {}`", printable(&result.name)));
            }
            Answer::Pending { state } => {
                let word = match state {
                    crate::proto::State::Launching => "still launching",
                    other => other.as_str(),
                };
                lines.push(format!("{} `{place}` is {word}", style.paint(Tint::Yellow, "not done yet:")));
                lines.push("  hint: it goes on by itself: `rsx ls`, `rsx logs` show how".to_owned());
            }
            Answer::Superseded => {
                let word = style.paint(Tint::Yellow, "superseded:");
                lines.push(format!("{word} another request for `{place}` came after this one"));
            }
        }
    }
    lines
}

/// `stopped api (2 instances), web`: all that ended as asked; none if nothing did.
pub(in crate::cli) fn summary(done: &str, results: &[SlotResult]) -> Option<String> {
    let mut apps: Vec<(&str, usize)> = Vec::new();
    for result in results.iter().filter(|result| is_done(result)) {
        match apps.iter_mut().find(|(name, _)| *name == result.name) {
            Some((_, count)) => *count += 1,
            None => apps.push((&result.name, 1)),
        }
    }
    let instances: usize = apps.iter().map(|(_, count)| count).sum();
    let named = |(name, count): &(&str, usize)| match count {
        1 => printable(name).into_owned(),
        count => format!("{} ({count} instances)", printable(name)),
    };
    match apps.len() {
        0 => None,
        1..=10 => Some(format!("{done} {}", apps.iter().map(named).collect::<Vec<_>>().join(", "))),
        count => Some(format!("{done} {instances} instances of {count} apps")),
    }
}

/// Whether what was asked holds.
pub(in crate::cli) fn is_done(result: &SlotResult) -> bool {
    match result.answer {
        Answer::Done { .. } => true,
        Answer::Failed { .. } | Answer::Pending { .. } | Answer::Superseded => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::State;

    fn result(name: &str, instance: u16, answer: Answer) -> SlotResult {
        SlotResult { id: 0, name: name.into(), instance, answer }
    }

    #[test]
    fn a_failure_shows_the_reason_the_last_words_and_what_comes_next() {
        let failed = Answer::Failed {
            reason: "exit code 1".into(),
            stderr: vec!["Error: listen EADDRINUSE :::3000".into()],
            remarks: vec!["0.0.0.0:3000 is refused: the app `web` has this port".into()],
            next: Some("tried again in 1m".into()),
        };
        let results = [
            result("api", 0, failed),
            result("web", 1, Answer::Pending { state: State::Launching }),
            result("job", 0, Answer::Superseded),
            result("ok", 0, Answer::Done { state: State::Online }),
        ];
        insta::assert_snapshot!(failures(&results, Style::Plain).join("\n"));
    }

    #[test]
    fn what_ended_as_asked_is_one_line() {
        let done = || Answer::Done { state: State::Stopped };
        let results = [result("api", 0, done()), result("api", 1, done()), result("web", 0, done())];
        assert_eq!(summary("stopped", &results).unwrap(), "stopped api (2 instances), web");
        assert_eq!(summary("stopped", &[]), None);
    }
}
