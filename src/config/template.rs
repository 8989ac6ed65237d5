//! The text of `rsx init`, made from the table of keys so that it never lags behind.

use crate::config::keys::{Availability, GROUPS, KeySpec};

/// How much `rsx init` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// Every key, explained.
    Full,
    /// What a first app needs.
    Simple,
}

/// Keys that the template sets, so that their comment would be a second one.
const SET: &[&str] = &["script", "name", "env"];

/// An `ecosystem.toml` to start from.
pub fn template(kind: Template) -> String {
    let mut out = String::from(
        "# What rsx runs: `rsx start` here starts it, `rsx check` looks for mistakes.\n\n\
         [[apps]]\n\
         name = \"app\"\n\
         script = \"app.js\" # a path, a program on PATH, or a command line\n\
         env = { NODE_ENV = \"production\" }\n",
    );
    match kind {
        Template::Simple => out.push_str("# env_staging = { NODE_ENV = \"staging\" } # chosen by `--env staging`\n"),
        Template::Full => {
            for group in GROUPS {
                let now = group.keys.iter().filter(|key| key.availability == Availability::Now);
                let lines: Vec<String> = now.filter(|key| !SET.contains(&key.name)).map(line).collect();
                if !lines.is_empty() {
                    out.push_str(&format!("\n# --- {} ---\n{}", group.title, lines.concat()));
                }
            }
            out.push_str(
                "\n# Variables over those of `env`, chosen by `rsx start --env staging`.\n\
                 # env_staging = { NODE_ENV = \"staging\" }\n\
                 \n# More apps follow, each under a line `[[apps]]`. Keys under `[defaults]` hold for all of them.\n",
            );
        }
    }
    out
}

fn line(key: &KeySpec) -> String {
    format!("# {} Default: {}.\n# {} = {}\n", key.doc, key.default, key.name, key.example)
}
