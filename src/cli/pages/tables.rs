//! Tables in Markdown: the keys of the ecosystem file for `docs/CONFIGURATION.md`, the verbs and flags for the README.

use clap::{Arg, Command};

use crate::cli::pages::surface::{surface, value_name, verbs};
use crate::cli::pages::words;
use crate::config::keys::{Availability, GROUPS, Group, KeySpec};

const INTRODUCTION: &str = "\
# The ecosystem file

Every key of an app, as `rsx` reads it from `ecosystem.toml`, JSON (with comments) or YAML. This page is generated from
the table that reads the files; `rsx man ecosystem.toml` shows the same in a terminal, `rsx init` writes a file in which
every available key is explained, and [ecosystem.schema.json](ecosystem.schema.json) tells editors.

```toml
[defaults]                               # keys for every app of this file
kill_timeout = \"5s\"

[[apps]]
name = \"api\"
script = \"dist/app.js\"
env = { NODE_ENV = \"production\" }
env_staging = { NODE_ENV = \"staging\" }   # over `env`; rsx start --env staging
```

- **Names.** Keys may be written in camelCase, too, and by PM2's other names, which stand behind \"also\".
- **Unknown keys** are errors in TOML and warnings in the other formats.
- **\"Not yet\"**: the key is understood and its value checked, then the file is refused: nothing is accepted and ignored.
- `env_NAME` is a table of variables over those of `env`, chosen by `--env NAME`.
";

const SCHEMA: &str = "
To have an editor check a file while it is written, name the schema in its first line, with the path of your clone:
`#:schema /path/to/rsx/docs/ecosystem.schema.json` in TOML, `\"$schema\"` in JSON.

## Values

";

/// The whole page about the keys.
pub(super) fn configuration() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str(SCHEMA);
    page.push_str("| word | means |\n|---|---|\n");
    for (word, meaning) in words::LANGUAGES {
        page.push_str(&row(&[word, meaning]));
    }
    for group in GROUPS {
        page.push_str(&format!("\n## {}\n\n{}", group.title, keys(group)));
    }
    page
}

fn keys(group: &Group) -> String {
    let is_gone = |key: &KeySpec| matches!(key.availability, Availability::NoCounterpart(_));
    if group.keys.iter().all(is_gone) {
        let rows = group.keys.iter().map(|key| match key.availability {
            Availability::NoCounterpart(instead) => row(&[&name(key), key.doc, instead]),
            Availability::Now | Availability::Later { .. } => String::new(),
        });
        return format!("| key | what it is in PM2 | in rsx |\n|---|---|---|\n{}", rows.collect::<String>());
    }
    let rows = group.keys.iter().map(|key| {
        let meaning = match words::not_yet(key) {
            Some(instead) if instead.contains(": ") => format!("{} {}.", key.doc, words::upper_first(&instead)),
            Some(_) | None => key.doc.to_owned(),
        };
        let since = key.availability.since().unwrap_or("not yet");
        row(&[&name(key), &words::kind(&key.kind), key.default, &meaning, since])
    });
    format!("| key | value | default | meaning | since |\n|---|---|---|---|---|\n{}", rows.collect::<String>())
}

fn name(key: &KeySpec) -> String {
    match key.aliases {
        [] => format!("`{}`", key.name),
        aliases => format!("`{}`, also {}", key.name, codes(aliases.iter().copied())),
    }
}

/// The part of the README about verbs and flags.
pub(super) fn verbs_table() -> String {
    verbs_of(&surface())
}

fn verbs_of(surface: &Command) -> String {
    let mut out = "| verb | does | flags |\n|---|---|---|\n".to_owned();
    for verb in verbs(surface) {
        let flags = verb.get_arguments().filter(|arg| is_own_flag(arg) && !declares_app(arg));
        let flags: Vec<String> = flags.map(|arg| format!("`{}`", longest(arg))).collect();
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        out.push_str(&row(&[&usage(verb), &about, &flags.join(" ")]));
    }
    let every: Vec<String> = surface.get_arguments().filter(|arg| arg.is_global_set()).map(flag).collect();
    out.push_str(&format!(
        "\nEvery verb takes {} and `--help`; `rsx man VERB` tells more about each. A verb that declares an app has a flag \
         for each key that has one; `restart` and `reload` take those from `--name` on as new values:\n\n| flag | is |\n|---|---|\n",
        every.join(", ")
    ));
    let declaring = surface.find_subcommand("start").into_iter().flat_map(Command::get_arguments);
    for arg in declaring.filter(|arg| declares_app(arg)) {
        out.push_str(&row(&[&flag(arg), &arg.get_help().map(ToString::to_string).unwrap_or_default()]));
    }
    out
}

/// Whether a flag stands for a key of the file; its heading in the help says so.
fn declares_app(arg: &Arg) -> bool {
    arg.get_help_heading().is_some_and(|heading| heading.starts_with("The app"))
}

fn is_own_flag(arg: &Arg) -> bool {
    !arg.is_positional() && !arg.is_global_set() && !matches!(arg.get_id().as_str(), "help" | "version")
}

/// The verb with its aliases and what stands behind it.
fn usage(verb: &Command) -> String {
    let mut words = vec![verb.get_name().to_owned()];
    for arg in verb.get_positionals() {
        let name = value_name(arg).unwrap_or_default();
        let many = if arg.get_num_args().is_some_and(|range| range.max_values() > 1) { "…" } else { "" };
        words.push(match (arg.is_last_set(), arg.is_required_set()) {
            (true, _) => format!("[-- {name}{many}]"),
            (false, true) => format!("{name}{many}"),
            (false, false) => format!("[{name}{many}]"),
        });
    }
    let usage = format!("`{}`", words.join(" "));
    let aliases: Vec<&str> = verb.get_visible_aliases().collect();
    if aliases.is_empty() { usage } else { format!("{usage}, also {}", codes(aliases.into_iter())) }
}

/// `--name NAME`, in the longest spelling.
fn longest(arg: &Arg) -> String {
    let name = match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => format!("--{long}"),
        (None, Some(short)) => format!("-{short}"),
        (None, None) => String::new(),
    };
    let takes_value = arg.get_action().takes_values();
    match value_name(arg).filter(|_| takes_value) {
        Some(value) => format!("{name} {value}"),
        None => name,
    }
}

/// All spellings of a flag: `-n`, `--name NAME`.
fn flag(arg: &Arg) -> String {
    let short = arg.get_short().filter(|_| arg.get_long().is_some()).map(|short| format!("`-{short}`"));
    let also = arg.get_visible_aliases().unwrap_or_default().into_iter().map(|alias| format!("`--{alias}`"));
    let all: Vec<String> = short.into_iter().chain([format!("`{}`", longest(arg))]).chain(also).collect();
    all.join(", ")
}

fn codes<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// A row of a table. A bar within a cell would end it.
fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | ").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn every_key_has_a_row_with_its_aliases() {
        let page = configuration();
        for key in keys::all() {
            assert_eq!(page.matches(&format!("\n| `{}`", key.name)).count(), 1, "{}", key.name);
            for alias in key.aliases {
                assert!(page.contains(&format!("`{alias}`")), "{alias}");
            }
        }
    }

    #[test]
    fn every_verb_has_a_row() {
        let table = verbs_table();
        for verb in verbs(&surface()) {
            let begin = format!("\n| `{}", verb.get_name());
            assert!(table.contains(&begin), "{}", verb.get_name());
        }
        assert!(table.contains("| `-n`, `--name NAME` |"), "{table}");
    }
}
