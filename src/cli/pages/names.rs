//! `complete-names`, the hidden verb of the completion scripts: what targets can be typed.
//!
//! It runs at each press of a key, so it never starts a daemon, never complains and never takes long.

use std::sync::mpsc;
use std::time::Duration;

use crate::cli::session::{Session, view};
use crate::error::{ExitCode, Failure};
use crate::paths::Home;
use crate::proto::{View, ViewDetail};
use crate::{client::Client, spec::DEFAULT_NAMESPACE};

/// The longest that somebody who pressed Tab is kept waiting by a daemon that hangs.
const PATIENCE: Duration = Duration::from_millis(800);

/// Runs `rsx complete-names`: one line each, the word and what it is, with a tab between.
pub(in crate::cli) fn run(session: &mut Session) -> Result<ExitCode, Failure> {
    let Ok(home) = session.home() else { return Ok(ExitCode::Done) };
    let verb = session.verb;
    let (tell, told) = mpsc::sync_channel(1);
    // The client's own limits are for verbs; the end of this process ends a call that takes longer.
    let asked = std::thread::Builder::new().name("names".into()).spawn(move || {
        let _ = tell.send(ask(&home, verb));
    });
    if asked.is_ok()
        && let Ok(Some(view)) = told.recv_timeout(PATIENCE)
    {
        for (word, what) in words(&view) {
            session.out.line(format!("{word}\t{what}"))?;
        }
    }
    Ok(ExitCode::Done)
}

fn ask(home: &Home, verb: &'static str) -> Option<View> {
    let mut daemon = Client::connect(home, verb).ok()??;
    view(&mut daemon, ViewDetail::Brief).ok()
}

/// Names, namespaces and ids in the order in which targets are resolved; what an earlier one hides is left out.
fn words(view: &View) -> Vec<(String, String)> {
    let mut words: Vec<(String, String)> = Vec::new();
    let mut add = |word: String, what: String| {
        if !words.iter().any(|(known, _)| *known == word) {
            words.push((word, what));
        }
    };
    if !view.apps.is_empty() {
        add("all".into(), "every app".into());
    }
    for app in &view.apps {
        let state = app.slots.first().map_or("app", |slot| slot.state.as_str());
        add(
            app.name.clone(),
            match app.slots.len() {
                0 | 1 => state.to_owned(),
                count => format!("{count} instances"),
            },
        );
    }
    for app in view.apps.iter().filter(|app| app.namespace != DEFAULT_NAMESPACE) {
        add(app.namespace.clone(), "namespace".into());
    }
    for app in &view.apps {
        for slot in &app.slots {
            add(slot.id.to_string(), format!("{}:{}", app.name, slot.instance));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample;

    #[test]
    fn names_come_before_namespaces_and_ids_and_hide_them() {
        let words: Vec<String> = words(&sample::view()).into_iter().map(|(word, _)| word).collect();
        assert_eq!(words.first().map(String::as_str), Some("all"));
        let place = |word: &str| words.iter().position(|it| it == word);
        assert!(place("api") < place("1"), "{words:?}");
        // An app is called `0`, as is an id.
        assert_eq!(words.iter().filter(|word| *word == "0").count(), 1, "{words:?}");
    }

    #[test]
    fn nothing_is_offered_where_nothing_is() {
        assert!(words(&View::default()).is_empty());
    }
}
