//! Manual pages of section 1: rsx itself and each verb; and the list of all pages.

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::cli::pages::file_manual;
use crate::cli::pages::surface::{self, FILE_PAGE, surface, verbs};

/// One page.
#[derive(Debug)]
pub(super) struct Page {
    /// `rsx-start`
    pub(super) name: String,
    pub(super) section: char,
    pub(super) roff: String,
    /// The words by which `rsx man` finds it.
    pub(super) found_by: Vec<String>,
}

impl Page {
    /// Where man(1) looks for it below a folder of pages.
    pub(super) fn path(&self) -> String {
        format!("man{section}/{}.{section}", self.name, section = self.section)
    }
}

const EVERY_VERB: &str = "Options of every verb";

const TARGETS: &[(&str, &str)] = &[
    ("all", "Every app."),
    ("/regex/", "Apps whose name matches."),
    ("name", "An app, also one whose name is a number."),
    ("namespace", "All apps of it."),
    ("id", "One instance, by the number that rsx ls shows."),
    ("config file", "The apps that it declares."),
    ("script path", "The apps that execute it."),
];

const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "Done and true."),
    ("1", "The verb failed."),
    ("2", "The command line was not understood, or needs a later version."),
    ("3", "No daemon runs, or it speaks another protocol."),
    ("4", "No app, instance or file matches the target."),
    ("5", "Some or all targets failed."),
    ("6", "The configuration is invalid."),
    ("130", "Ctrl-C while waiting; what was asked goes on."),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("RSX_HOME", "The folder of the daemon and of the logs, absolute; default: ~/.rsx."),
    ("XDG_RUNTIME_DIR", "Where small files lie that need not outlive a reboot."),
    ("NO_COLOR", "No colour."),
    ("CLICOLOR_FORCE", "Colour also where the output is no terminal."),
];

const FILES: &[(&str, &str)] = &[
    ("ecosystem.toml", "What rsx start runs where it is given nothing else; see ecosystem.toml(5)."),
    ("$RSX_HOME/logs/", "NAME-out.log and NAME-error.log of each app."),
    ("$RSX_HOME/rsx.sock", "The socket of the daemon."),
    ("$RSX_HOME/daemon.log", "The daemon's own log."),
];

/// All pages.
pub(super) fn pages() -> Vec<Page> {
    let root = surface();
    let mut pages = vec![front(&root)];
    pages.extend(verbs(&root).map(of_verb));
    pages.push(file_manual::page());
    pages
}

/// `rsx(1)`.
fn front(root: &Command) -> Page {
    let mut roff = begin("rsx", '1', "runs programs and keeps them running");
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold("rsx"), roman(" ["), italic("OPTIONS"), roman("] "), italic("VERB"), roman(" …")]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([roman(
        "rsx starts programs, keeps them running, collects their output, and says why one of them ended. A daemon of \
         the user's own does the work; the first verb that needs it starts it.",
    )]);
    roff.control("SH", ["VERBS"]);
    for verb in verbs(root) {
        roff.control("TP", []);
        roff.text([bold(format!("rsx-{}", verb.get_name())), roman("(1)")]);
        roff.text([roman(verb.get_about().map(ToString::to_string).unwrap_or_default())]);
    }
    let after = section(|out| Man::new(root.clone()).render_options_section(out));
    let mut rest = Roff::new();
    for (title, rows) in
        [("TARGETS", TARGETS), ("EXIT STATUS", EXIT_STATUS), ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)]
    {
        define(&mut rest, title, rows);
    }
    rest.control("SH", ["SEE ALSO"]);
    rest.text([bold(FILE_PAGE), roman("(5)")]);
    let roff = format!("{}{after}{}", roff.render(), without_preamble(&rest.render()));
    Page { name: "rsx".into(), section: '1', roff, found_by: vec!["rsx".into()] }
}

/// `rsx-VERB(1)`.
fn of_verb(verb: &Command) -> Page {
    let name = format!("rsx-{}", verb.get_name());
    let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
    let mut roff = begin(&name, '1', &about);
    roff.control("SH", ["SYNOPSIS"]);
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let command = format!("rsx {}", verb.get_name());
    match usage.strip_prefix(&command) {
        Some(rest) => roff.text([bold(command), roman(rest)]),
        None => roff.text([roman(usage)]),
    };
    roff.control("SH", ["DESCRIPTION"]);
    let text = verb.get_long_about().map(ToString::to_string).unwrap_or(about);
    for line in text.lines() {
        match line.trim() {
            "" => roff.control("PP", []),
            line => roff.text([roman(sentence(line))]),
        };
    }
    let aliases: Vec<&str> = verb.get_visible_aliases().collect();
    if !aliases.is_empty() {
        roff.control("PP", []);
        roff.text([roman("Also: "), bold(aliases.join(", ")), roman(".")]);
    }
    let spelled_out = verb.clone().mut_args(spelled_out);
    let options = section(|out| Man::new(spelled_out).render_options_section(out));
    let mut rest = Roff::new();
    if let Some(after) = verb.get_after_help() {
        rest.control("SH", ["NOTES"]).control("nf", []);
        for line in after.to_string().lines() {
            rest.text([roman(line)]);
        }
        rest.control("fi", []);
    }
    rest.control("SH", ["SEE ALSO"]);
    let mut see = vec![bold("rsx"), roman("(1)")];
    let is_about_files = verb.get_arguments().any(|arg| surface::value_name(arg) == Some("FILE"))
        || surface::place(verb).is_some_and(|place| place.takes == surface::Takes::TargetsAndFiles);
    if is_about_files {
        see.extend([roman(", "), bold(FILE_PAGE), roman("(5)")]);
    }
    rest.text(see);
    let roff = format!("{}{options}{}", roff.render(), without_preamble(&rest.render()));
    let found_by = verb.get_name_and_visible_aliases().into_iter().map(str::to_owned).chain([name.clone()]).collect();
    Page { name, section: '1', roff, found_by }
}

/// Options that every verb has stand apart; other names of an option stand in its text.
fn spelled_out(arg: Arg) -> Arg {
    let arg = if arg.is_global_set() { arg.help_heading(EVERY_VERB) } else { arg };
    let aliases = arg.get_visible_aliases().unwrap_or_default();
    if aliases.is_empty() {
        return arg;
    }
    let also: Vec<String> = aliases.iter().map(|alias| format!("--{alias}")).collect();
    let help = format!("{} (also {})", arg.get_help().map(ToString::to_string).unwrap_or_default(), also.join(", "));
    arg.help(help)
}

/// Title and name. The date is left out: a page is as old as its release.
pub(super) fn begin(name: &str, section: char, about: &str) -> Roff {
    let mut roff = Roff::new();
    let release = concat!("rsx ", env!("CARGO_PKG_VERSION"));
    roff.control("TH", [name.to_uppercase().as_str(), &section.to_string(), "\"\"", release, "\"\""]);
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{name} - {}", lower_first(about)))]);
    roff
}

/// A section of terms and their meanings.
pub(super) fn define(roff: &mut Roff, title: &str, rows: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (term, meaning) in rows {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text(marked(meaning));
    }
}

/// A text in which backticks mark what is typed.
pub(super) fn marked(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate().filter(|(_, part)| !part.is_empty());
    parts.map(|(at, part)| if at % 2 == 1 { bold(part) } else { roman(part) }).collect()
}

fn section(render: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    // Writing into memory cannot fail.
    let _ = render(&mut out);
    without_preamble(&String::from_utf8_lossy(&out)).to_owned()
}

/// Each rendering begins with the two lines that define an apostrophe; one page needs them once.
fn without_preamble(roff: &str) -> &str {
    let mut rest = roff;
    while let Some(line) = rest.lines().next().filter(|line| line.contains(".ds Aq")) {
        rest = rest[line.len()..].trim_start_matches('\n');
    }
    rest
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// Help texts of one line have no period; on a page they are sentences.
fn sentence(line: &str) -> String {
    if line.ends_with(['.', ',', ':', ';']) { line.to_owned() } else { format!("{line}.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_every_verb_and_one_for_the_file() {
        let names: Vec<String> = pages().iter().map(Page::path).collect();
        assert_eq!(names.first().map(String::as_str), Some("man1/rsx.1"));
        assert_eq!(names.last().map(String::as_str), Some("man5/ecosystem.toml.5"));
        for verb in verbs(&surface()) {
            assert!(names.contains(&format!("man1/rsx-{}.1", verb.get_name())), "{}", verb.get_name());
        }
    }

    #[test]
    fn a_page_has_its_sections_once_and_in_order() {
        let pages = pages();
        let start = pages.iter().find(|page| page.name == "rsx-start").unwrap();
        let titles: Vec<&str> = start.roff.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        assert_eq!(titles[..4], ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"], "{titles:?}");
        assert_eq!(titles.last(), Some(&"\"SEE ALSO\""));
        for page in &pages {
            assert_eq!(page.roff.matches(".TH ").count(), 1, "{}", page.name);
            assert_eq!(page.roff.matches(".ds Aq").count(), 2, "{}", page.name);
        }
    }
}
