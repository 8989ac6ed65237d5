//! Completion scripts: verbs and flags by clap's generators, with a live part that asks for targets.
//!
//! The live parts are shell programs of their own (`live.bash`, `live.zsh`, `live.fish`), in which `@VERBS@` stands for
//! what is known of each verb. Words that come from a daemon are data: no script lets a shell evaluate them.

use clap::{Arg, Command, ValueHint};
use clap_complete::aot;

use crate::cli::pages::args::Shell;
use crate::cli::pages::surface::{self, Takes};

/// All shells.
pub(super) const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// What clap's script for zsh does at its end, when it is autoloaded.
const ZSH_TAIL: &str = "if [ \"$funcstack[1]\" = \"_rsx\" ]; then";

/// The name under which the shell looks for the script.
pub(super) fn file_name(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => "rsx.bash",
        Shell::Zsh => "_rsx",
        Shell::Fish => "rsx.fish",
    }
}

/// The whole script.
pub(super) fn script(shell: Shell) -> String {
    let surface = surface::surface();
    match shell {
        Shell::Bash => {
            let live = include_str!("live.bash").replace("@VERBS@\n", &bash_verbs(&surface));
            // The last lines of clap's script bind its own function; the live part binds the one around it.
            format!("{}\n{live}", fixed(aot::Bash, &surface))
        }
        Shell::Zsh => zsh(&surface),
        Shell::Fish => {
            let live = include_str!("live.fish").replace("@VERBS@\n", &fish_verbs(&surface));
            format!("{}\n{live}", fixed(aot::Fish, &surface))
        }
    }
}

fn fixed(generator: impl aot::Generator, surface: &Command) -> String {
    let mut script = Vec::new();
    aot::generate(generator, &mut surface.clone(), "rsx", &mut script);
    let script = String::from_utf8_lossy(&script);
    let lines: Vec<&str> = script.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

fn with_targets(surface: &Command) -> impl Iterator<Item = (&Command, surface::Place)> {
    surface::verbs(surface).filter_map(|verb| Some((verb, surface::place(verb)?)))
}

/// One arm of a `case` for each verb: which of its words are targets, and which flags swallow the next word.
fn bash_verbs(surface: &Command) -> String {
    let arms = with_targets(surface).map(|(verb, place)| {
        let files = match place.takes {
            Takes::Targets => "",
            Takes::TargetsAndFiles => " files=1",
        };
        let values: Vec<String> = verb.get_opts().flat_map(spellings).collect();
        format!(
            "                {}) first={}{files} values=' {} ' ;;\n",
            names(verb).join(" | "),
            place.index,
            values.join(" ")
        )
    });
    arms.collect()
}

/// Clap's script for fish knows nothing of positional arguments, and offers files in the place of each.
fn fish_verbs(surface: &Command) -> String {
    let lines = surface::verbs(surface).filter_map(|verb| {
        let words: Vec<String> = verb.get_positionals().flat_map(possible_words).collect();
        let offered = match surface::place(verb).map(|place| place.takes) {
            Some(Takes::Targets) => "-k -f -a \"(__rsx_targets)\"".to_owned(),
            Some(Takes::TargetsAndFiles) => "-k -a \"(__rsx_targets)\"".to_owned(),
            None if !words.is_empty() => format!("-f -a \"{}\"", words.join(" ")),
            None if verb.get_positionals().any(|arg| arg.get_value_hint() == ValueHint::AnyPath) => return None,
            None => "-f".to_owned(),
        };
        let names = names(verb).join(" ");
        Some(format!("complete -c rsx -n \"__fish_rsx_using_subcommand {names}\" {offered}\n"))
    });
    lines.collect()
}

fn possible_words(arg: &Arg) -> Vec<String> {
    arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect()
}

/// Zsh completes positional arguments by an action each; those of targets get ours instead of the default one.
fn zsh(surface: &Command) -> String {
    let mut script = fixed(aot::Zsh, surface);
    let mut places: Vec<(&str, &str)> = with_targets(surface)
        .filter_map(|(verb, place)| {
            let action = match place.takes {
                Takes::Targets => "_rsx_targets",
                Takes::TargetsAndFiles => "_rsx_targets_and_files",
            };
            Some((verb.get_positionals().nth(place.index)?.get_id().as_str(), action))
        })
        .collect();
    places.sort_unstable();
    places.dedup();
    let lines: Vec<String> = script
        .lines()
        .map(|line| {
            let action = places.iter().find(|(id, _)| {
                let behind = line.trim_start_matches(['\'', '*', ':']).strip_prefix(id);
                line.starts_with('\'') && behind.is_some_and(|rest| rest.starts_with(" -- ") || rest.starts_with(':'))
            });
            match (action, line.strip_suffix(":_default' \\")) {
                (Some((_, action)), Some(front)) => format!("{front}:{action}' \\"),
                _ => line.to_owned(),
            }
        })
        .collect();
    script = lines.join("\n") + "\n";
    // An autoloaded function runs at its end, so the live part must be known by then.
    match script.find(ZSH_TAIL) {
        Some(tail) => script.insert_str(tail, &format!("{}\n", include_str!("live.zsh"))),
        None => script.push_str(include_str!("live.zsh")),
    }
    script
}

fn names(verb: &Command) -> Vec<&str> {
    std::iter::once(verb.get_name()).chain(verb.get_visible_aliases()).collect()
}

fn spellings(option: &Arg) -> Vec<String> {
    let shorts = option.get_short_and_visible_aliases().unwrap_or_default();
    let longs = option.get_long_and_visible_aliases().unwrap_or_default();
    shorts.iter().map(|it| format!("-{it}")).chain(longs.iter().map(|it| format!("--{it}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_that_takes_targets_asks_for_them_in_every_shell() {
        let surface = surface::surface();
        let [bash, zsh, fish] = SHELLS.map(script);
        for (verb, _) in with_targets(&surface) {
            let name = verb.get_name();
            assert!(bash.contains(&format!("                {}) first=", names(verb).join(" | "))), "{name}");
            assert!(fish.contains(&format!("__fish_rsx_using_subcommand {}", names(verb).join(" "))), "{name}");
            let own = zsh.split_once(&format!("({name})\n")).unwrap().1.split_once(";;").unwrap().0;
            assert!(own.contains(":_rsx_targets"), "{name}: {own}");
        }
        assert!(zsh.starts_with("#compdef rsx\n") && zsh.contains(ZSH_TAIL));
        assert!(!format!("{bash}{zsh}{fish}").contains("@VERBS@"));
    }

    #[test]
    fn flags_that_take_a_value_are_known_to_bash() {
        let bash = script(Shell::Bash);
        let start = bash.lines().find(|line| line.trim_start().starts_with("start) first=0")).unwrap();
        assert!(start.contains(" files=1 ") && start.contains(" --name ") && start.contains(" -k "), "{start}");
        assert!(!start.contains(" --dry-run "), "{start}");
    }
}
