//! The command line as its users see it: without what is hidden, and with what each positional argument stands for.

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, CommandFactory, ValueHint};

use crate::cli::args::Cli;

/// The page about the ecosystem file, by the name under which `rsx man` finds it.
pub(super) const FILE_PAGE: &str = "ecosystem.toml";

/// The positional argument of a verb that names apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// How many other positional arguments stand before it.
    pub(super) index: usize,
    pub(super) takes: Takes,
}

/// What stands in such a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Targets; a file only where no target fits.
    Targets,
    /// Targets or files alike.
    TargetsAndFiles,
}

/// The command line; hidden verbs and flags left out, because the generators would print them.
pub(super) fn surface() -> Command {
    let cli = Cli::command();
    let names: Vec<String> = verbs(&cli).map(|verb| verb.get_name().to_owned()).chain([FILE_PAGE.into()]).collect();
    let subcommands: Vec<Command> = verbs(&cli).map(|verb| visible(verb, &names)).collect();
    let mut root = visible(&cli, &names).version(env!("CARGO_PKG_VERSION")).subcommands(subcommands);
    root = root.disable_version_flag(true).disable_help_subcommand(true).subcommand_required(true);
    root.build();
    root
}

/// The verbs of a command that are not hidden.
pub(super) fn verbs(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set())
}

/// Where a verb takes targets, if it does.
pub(super) fn place(verb: &Command) -> Option<Place> {
    verb.get_positionals().enumerate().find_map(|(index, arg)| Some(Place { index, takes: takes(arg)? }))
}

/// The positional argument is known by the word that stands for it in the help.
fn takes(arg: &Arg) -> Option<Takes> {
    match value_name(arg)? {
        "TARGET" | "NAME" => Some(Takes::Targets),
        "WHAT" => Some(Takes::TargetsAndFiles),
        _ => None,
    }
}

pub(super) fn value_name(arg: &Arg) -> Option<&str> {
    arg.get_value_names()?.first().map(AsRef::as_ref)
}

fn visible(command: &Command, verbs: &[String]) -> Command {
    let mut shown = Command::new(command.get_name().to_owned());
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(about) = command.get_long_about() {
        shown = shown.long_about(about.clone());
    }
    if let Some(after) = command.get_after_help() {
        shown = shown.after_help(after.clone());
    }
    let args = command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned();
    shown
        .visible_aliases(command.get_visible_aliases().map(str::to_owned).collect::<Vec<_>>())
        .args(args.map(|arg| hinted(arg, verbs)))
}

/// Tells the generators what a value is, where its name says it.
fn hinted(arg: Arg, verbs: &[String]) -> Arg {
    match value_name(&arg) {
        Some("DIR") => arg.value_hint(ValueHint::DirPath),
        Some("FILE" | "PATH") => arg.value_hint(ValueHint::AnyPath),
        Some("VERB") => arg.value_parser(PossibleValuesParser::new(verbs.to_vec())).hide_possible_values(true),
        _ => arg,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_not_on_the_surface() {
        let surface = surface();
        assert!(surface.get_subcommands().all(|verb| verb.get_name() != "complete-names"));
        assert!(surface.get_subcommands().flat_map(Command::get_arguments).all(|arg| !arg.is_hide_set()));
    }

    #[test]
    fn verbs_that_act_on_apps_have_a_place_for_targets() {
        let surface = surface();
        let place_of = |name: &str| place(surface.find_subcommand(name).unwrap());
        assert_eq!(place_of("start"), Some(Place { index: 0, takes: Takes::TargetsAndFiles }));
        for verb in ["stop", "restart", "delete", "describe", "logs", "pid"] {
            assert_eq!(place_of(verb), Some(Place { index: 0, takes: Takes::Targets }), "{verb}");
        }
        for verb in ["ls", "check", "init", "serve", "man"] {
            assert_eq!(place_of(verb), None, "{verb}");
        }
    }
}
