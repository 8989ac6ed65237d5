//! The manual page `ecosystem.toml(5)`: every key of the table.

use clap_mangen::roff::{Roff, bold, italic, roman};

use crate::cli::pages::manual::{Page, begin, define, marked};
use crate::cli::pages::surface::FILE_PAGE;
use crate::cli::pages::words;
use crate::config::keys::{GROUPS, KeySpec};

const EXAMPLE: &str = "\
[defaults]
kill_timeout = \"5s\"

[[apps]]
name = \"api\"
script = \"dist/app.js\"
port = 3000
env = { NODE_ENV = \"production\" }
env_staging = { NODE_ENV = \"staging\" }";

const SHAPE: &[&str] = &[
    "The file declares apps, each under a line `[[apps]]`. Keys under `[defaults]` hold for all of them; within `env`, \
     variable by variable.",
    "The same keys are read from JSON (with comments) and YAML. A key may also be written in camelCase. An unknown key \
     is an error in TOML and a warning in the other formats; `rsx check` shows all problems of a file at once.",
    "A table `env_NAME` holds variables over those of `env`; `rsx start --env NAME` chooses it.",
    "A key that is not in this version yet is refused, never ignored. `rsx init` writes a file in which each key that \
     is available is explained.",
];

/// The page.
pub(super) fn page() -> Page {
    let mut roff = begin(FILE_PAGE, '5', "what rsx runs");
    roff.control("SH", ["DESCRIPTION"]);
    for (at, paragraph) in SHAPE.iter().copied().enumerate() {
        if at > 0 {
            roff.control("PP", []);
        }
        roff.text(marked(paragraph));
    }
    roff.control("SH", ["EXAMPLE"]).control("nf", []);
    for line in EXAMPLE.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    for group in GROUPS {
        roff.control("SH", [group.title.to_uppercase().as_str()]);
        group.keys.iter().for_each(|key| describe(&mut roff, key));
    }
    define(&mut roff, "VALUES", words::LANGUAGES);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("rsx"), roman("(1), "), bold("rsx-check"), roman("(1), "), bold("rsx-init"), roman("(1)")]);
    let found_by = vec![FILE_PAGE.to_owned(), "ecosystem".to_owned(), "config".to_owned()];
    Page { name: FILE_PAGE.to_owned(), section: '5', roff: roff.render(), found_by }
}

fn describe(roff: &mut Roff, key: &KeySpec) {
    roff.control("TP", []);
    let mut head = vec![bold(key.name)];
    if !key.aliases.is_empty() {
        head.push(roman(format!(" (also {})", key.aliases.join(", "))));
    }
    let mut text = key.doc.to_owned();
    match (key.availability.since(), words::not_yet(key)) {
        (Some(since), _) => {
            head.extend([roman(" = "), italic(words::kind(&key.kind))]);
            text.push_str(&format!(" Default: {}. Since {since}.", key.default));
        }
        (None, Some(instead)) => text.push_str(&format!(" {}.", words::upper_first(&instead))),
        (None, None) => {}
    }
    roff.text(head);
    roff.text(marked(&text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn the_page_tells_about_every_key_and_every_alias() {
        let page = page().roff.replace("\\-", "-");
        for key in keys::all() {
            assert!(page.contains(&format!("\n\\fB{}\\fR", key.name)), "{}", key.name);
            for alias in key.aliases {
                assert!(page.contains(alias), "{alias}");
            }
        }
    }

    #[test]
    fn the_example_of_the_page_is_toml() {
        let table: toml::Table = toml::from_str(EXAMPLE).unwrap();
        for (name, _) in table["apps"][0].as_table().unwrap() {
            assert!(keys::find(name).is_some() || name.starts_with("env_"), "{name}");
        }
    }
}
