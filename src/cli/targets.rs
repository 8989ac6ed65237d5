//! Which instances a word means, by the same order as the daemon: all, /regex/, name, namespace, id; then files.

use std::path::Path;

use regex_lite::Regex;

use crate::cli::args::FileArgs;
use crate::cli::declared;
use crate::cli::session::{Session, view};
use crate::error::{ExitCode, Failure};
use crate::proto::{AppView, SlotView, Target, View, ViewDetail};

/// Instances of one app that a target picked, in the order of ids.
pub(super) struct Picked<'v> {
    pub(super) app: &'v AppView,
    pub(super) slots: Vec<&'v SlotView>,
}

/// What the targets pick from a view; every one must match something. `File` and `Script` need a full view.
pub(super) fn pick_all<'v>(view: &'v View, targets: &[Target]) -> Result<Vec<Picked<'v>>, Failure> {
    let mut ids = Vec::new();
    for target in targets {
        let found = pick(view, target)?;
        // `all` of nothing is nothing to do, as in the daemon; a name of nothing is a mistake.
        if found.is_empty() && *target != Target::Word("all".into()) {
            return Err(unknown(view, target));
        }
        ids.extend(found);
    }
    let picked = view.apps.iter().filter_map(|app| {
        let slots: Vec<&SlotView> = app.slots.iter().filter(|slot| ids.contains(&slot.id)).collect();
        (!slots.is_empty()).then_some(Picked { app, slots })
    });
    Ok(picked.collect())
}

/// The ids that one target means.
pub(super) fn pick(view: &View, target: &Target) -> Result<Vec<u32>, Failure> {
    let of_apps = |is_meant: &dyn Fn(&AppView) -> bool| -> Vec<u32> {
        view.apps.iter().filter(|app| is_meant(app)).flat_map(|app| app.slots.iter().map(|slot| slot.id)).collect()
    };
    let declared = |is_meant: &dyn Fn(&crate::spec::AppSpec) -> bool| -> Vec<u32> {
        of_apps(&|app| app.spec.as_ref().is_some_and(is_meant))
    };
    Ok(match target {
        Target::Word(word) if word == "all" => of_apps(&|_| true),
        Target::Word(word) => {
            if let Some(regex) = regex_of(word)? {
                return Ok(of_apps(&|app| regex.is_match(&app.name)));
            }
            let by_name = of_apps(&|app| app.name == *word);
            let by_namespace = || of_apps(&|app| app.namespace == *word);
            let by_id = || {
                let id = word.parse().ok();
                view.apps.iter().flat_map(|app| &app.slots).map(|slot| slot.id).filter(|it| Some(*it) == id).collect()
            };
            [by_name, by_namespace(), by_id()].into_iter().find(|ids: &Vec<u32>| !ids.is_empty()).unwrap_or_default()
        }
        Target::File { path, names } => declared(&|spec| {
            matches!(&spec.origin, crate::spec::Origin::File(file) if file == path) && names.contains(&spec.name)
        }),
        Target::Script(path) => declared(&|spec| spec.script_path() == Some(path)),
    })
}

/// The expression of `/regex/`.
pub(super) fn regex_of(word: &str) -> Result<Option<Regex>, Failure> {
    let Some(inner) = word.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) else { return Ok(None) };
    // `/` and a path that ends in `/` are no expressions.
    if inner.is_empty() || Path::new(word).exists() {
        return Ok(None);
    }
    let wrong =
        |error| Failure::new(ExitCode::Usage, format!("`{word}` is not a regular expression")).caused_by(&error);
    Regex::new(inner).map(Some).map_err(wrong)
}

/// The failure of a target that matches nothing.
pub(super) fn unknown(view: &View, target: &Target) -> Failure {
    let (message, word) = match target {
        Target::Word(word) => (format!("no app, namespace or id matches `{word}`"), word.as_str()),
        Target::File { path, .. } => (format!("no app of `{}` is in the list", path.display()), ""),
        Target::Script(path) => (format!("no app in the list executes `{}`", path.display()), ""),
    };
    let failure = Failure::new(ExitCode::NoSuchTarget, message);
    match similar(view, word) {
        Some(name) => failure.hint(format!("did you mean `{name}`?")),
        None => failure.hint("`rsx ls` shows what there is"),
    }
}

fn similar<'v>(view: &'v View, word: &str) -> Option<&'v str> {
    let names = view.apps.iter().flat_map(|app| [app.name.as_str(), app.namespace.as_str()]);
    let scored = names.map(|name| (strsim::jaro_winkler(name, word), name)).filter(|(score, _)| *score > 0.8);
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// Words of the command line as targets for the daemon.
pub(super) fn read(session: &mut Session, words: &[String], only: &[String]) -> Result<Vec<Target>, Failure> {
    let mut targets = Vec::with_capacity(words.len());
    for word in words {
        if declared::is_declaration(session, word) {
            targets.extend(read_declaration(session, word, only)?);
        } else {
            targets.push(read_one(session, word)?);
        }
    }
    Ok(targets)
}

/// The apps of a file are its own; those of standard input are whoever has their names.
fn read_declaration(session: &mut Session, word: &str, only: &[String]) -> Result<Vec<Target>, Failure> {
    let file = FileArgs { env: None, only: only.to_vec() };
    let loaded = declared::load(session, word, &file)?;
    let names = if only.is_empty() { loaded.names } else { loaded.apps.into_iter().map(|app| app.name).collect() };
    Ok(match word == declared::STDIN {
        true => names.into_iter().map(Target::Word).collect(),
        false => vec![Target::File { path: loaded.path, names }],
    })
}

fn read_one(session: &Session, word: &str) -> Result<Target, Failure> {
    let path = session.cwd().join(word);
    // The daemon would say the same, as a call that it does not understand.
    regex_of(word)?;
    let as_word = Target::Word(word.to_owned());
    if !path.is_file() {
        return Ok(as_word);
    }
    // A file and perhaps a name: names come first.
    let Some(mut daemon) = session.daemon()? else { return Ok(as_word) };
    let is_name = !pick(&view(&mut daemon, ViewDetail::Brief)?, &as_word)?.is_empty();
    Ok(if is_name { as_word } else { Target::Script(std::path::absolute(&path).unwrap_or(path)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample;

    #[track_caller]
    fn picked(word: &str) -> Vec<u32> {
        pick(&sample::view(), &Target::Word(word.into())).unwrap()
    }

    #[test]
    fn a_name_wins_over_a_namespace_and_that_over_an_id() {
        assert_eq!(picked("api"), [0, 1]);
        assert_eq!(picked("default"), [0, 1, 2]);
        assert_eq!(picked("2"), [2]);
        // The app that is called `0` hides the id 0.
        assert_eq!(picked("0"), [3]);
        assert_eq!(picked("nothing"), Vec::<u32>::new());
    }

    #[test]
    fn all_and_expressions_pick_several() {
        assert_eq!(picked("all"), [0, 1, 2, 3]);
        assert_eq!(picked("/^a|w/"), [0, 1, 2]);
    }

    #[test]
    fn a_broken_expression_is_a_usage_error() {
        let failure = pick(&sample::view(), &Target::Word("/(/".into())).unwrap_err();
        assert_eq!(failure.code(), ExitCode::Usage);
    }

    #[test]
    fn an_unknown_word_is_answered_with_what_looks_like_it() {
        let view = sample::view();
        let failure = pick_all(&view, &[Target::Word("apo".into())]).err().unwrap();
        assert_eq!(failure.code(), ExitCode::NoSuchTarget);
        assert_eq!(failure.hints(), ["did you mean `api`?"]);
    }

    #[test]
    fn several_targets_pick_each_instance_once() {
        let view = sample::view();
        let picked = pick_all(&view, &[Target::Word("1".into()), Target::Word("api".into())]).unwrap();
        assert_eq!(picked.len(), 1);
        assert_eq!(picked[0].slots.iter().map(|slot| slot.id).collect::<Vec<_>>(), [0, 1]);
    }
}
