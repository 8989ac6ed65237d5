//! What a target means: `all`, `/regex/`, name, namespace, id, file or script, in this order.

use std::path::Path;

use regex_lite::Regex;

use crate::spec::Origin;
use crate::supervisor::{Refusal, SlotId, Target};

/// What a target is compared with.
pub(super) struct Candidate<'a> {
    pub(super) slot: SlotId,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) origin: &'a Origin,
    pub(super) script: Option<&'a Path>,
}

/// The slots that the targets name, in the order of ids, each once.
///
/// # Errors
///
/// [`Refusal::UnknownTarget`] for the first target that matches nothing (but `all`), with names that look alike;
/// [`Refusal::BadPattern`] for a `/regex/` that is none.
pub(super) fn resolve(targets: &[Target], candidates: &[Candidate<'_>]) -> Result<Vec<SlotId>, Refusal> {
    let mut slots = Vec::new();
    for target in targets {
        let found = match target {
            Target::Word(word) => word_matches(word, candidates)?,
            Target::File { path, names } => select(candidates, |c| {
                matches!(c.origin, Origin::File(owner) if owner == path) && names.iter().any(|name| name == c.name)
            }),
            Target::Script(path) => select(candidates, |c| c.script == Some(path)),
        };
        if found.is_empty() && *target != Target::Word("all".into()) {
            return Err(unknown(target, candidates));
        }
        slots.extend(found);
    }
    slots.sort_unstable();
    slots.dedup();
    Ok(slots)
}

fn word_matches(word: &str, candidates: &[Candidate<'_>]) -> Result<Vec<SlotId>, Refusal> {
    if word == "all" {
        return Ok(select(candidates, |_| true));
    }
    if let Some(pattern) = word.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')).filter(|p| !p.is_empty()) {
        let regex = Regex::new(pattern)
            .map_err(|error| Refusal::BadPattern { target: word.to_owned(), why: error.to_string() })?;
        return Ok(select(candidates, |c| regex.is_match(c.name)));
    }
    let by_name = select(candidates, |c| c.name == word);
    if !by_name.is_empty() {
        return Ok(by_name);
    }
    let by_namespace = select(candidates, |c| c.namespace == word);
    if !by_namespace.is_empty() {
        return Ok(by_namespace);
    }
    let id = word.parse().ok().map(SlotId);
    Ok(select(candidates, |c| Some(c.slot) == id))
}

fn select(candidates: &[Candidate<'_>], matches: impl Fn(&Candidate<'_>) -> bool) -> Vec<SlotId> {
    candidates.iter().filter(|c| matches(c)).map(|c| c.slot).collect()
}

fn unknown(target: &Target, candidates: &[Candidate<'_>]) -> Refusal {
    let word = match target {
        Target::Word(word) => word.clone(),
        Target::File { path, .. } | Target::Script(path) => path.display().to_string(),
    };
    let length = word.chars().count();
    // The distance is at least the difference in length: comparing a long word with a thousand names takes seconds.
    let may_be_similar = |name: &&str| {
        let own = name.chars().count();
        length.abs_diff(own) <= 1 + own / 4
    };
    let mut similar: Vec<(usize, String)> = candidates
        .iter()
        .flat_map(|c| [c.name, c.namespace])
        .filter(may_be_similar)
        .map(|name| (strsim::damerau_levenshtein(&word, name), name.to_owned()))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 4)
        .collect();
    similar.sort();
    similar.dedup();
    similar.truncate(3);
    Refusal::UnknownTarget { target: word, similar: similar.into_iter().map(|(_, name)| name).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_candidates<T>(test: impl FnOnce(&[Candidate<'_>]) -> T) -> T {
        let file = Origin::File("/srv/eco.toml".into());
        let folder = Origin::Folder("/srv".into());
        let make =
            |id, name, namespace, origin, script| Candidate { slot: SlotId(id), name, namespace, origin, script };
        test(&[
            make(0, "api", "default", &file, Some(Path::new("/srv/api.js"))),
            make(1, "api", "default", &file, Some(Path::new("/srv/api.js"))),
            make(2, "worker", "jobs", &file, None),
            make(3, "1", "jobs", &folder, None),
        ])
    }

    #[track_caller]
    fn means(word: &str, ids: &[u32]) {
        let expected: Vec<SlotId> = ids.iter().copied().map(SlotId).collect();
        with_candidates(|c| assert_eq!(resolve(&[Target::Word(word.into())], c), Ok(expected)));
    }

    #[test]
    fn words_are_tried_in_the_documented_order() {
        means("all", &[0, 1, 2, 3]);
        means("/^(api|wor)/", &[0, 1, 2]);
        means("api", &[0, 1]);
        means("jobs", &[2, 3]);
        means("2", &[2]);
        means("1", &[3]);
    }

    #[test]
    fn several_targets_give_each_slot_once() {
        with_candidates(|c| {
            let targets = [Target::Word("2".into()), Target::Word("api".into()), Target::Word("0".into())];
            assert_eq!(resolve(&targets, c), Ok(vec![SlotId(0), SlotId(1), SlotId(2)]));
        });
    }

    #[test]
    fn files_and_scripts_name_what_they_own() {
        with_candidates(|c| {
            let file = Target::File { path: "/srv/eco.toml".into(), names: vec!["worker".into(), "1".into()] };
            assert_eq!(resolve(&[file], c), Ok(vec![SlotId(2)]));
            assert_eq!(resolve(&[Target::Script("/srv/api.js".into())], c), Ok(vec![SlotId(0), SlotId(1)]));
        });
    }

    #[test]
    fn an_unknown_target_is_refused_with_what_looks_alike() {
        with_candidates(|c| {
            let refused = resolve(&[Target::Word("api".into()), Target::Word("wroker".into())], c);
            assert_eq!(
                refused,
                Err(Refusal::UnknownTarget { target: "wroker".into(), similar: vec!["worker".into()] })
            );
            assert!(matches!(resolve(&[Target::Word("/(/".into())], c), Err(Refusal::BadPattern { .. })));
            let absurd = Target::Word("x".repeat(10_000_000));
            assert!(matches!(resolve(&[absurd], c), Err(Refusal::UnknownTarget { similar, .. }) if similar.is_empty()));
        });
        assert_eq!(resolve(&[Target::Word("all".into())], &[]), Ok(vec![]));
    }
}
