//! Which programs are Node, or start it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::daemon::launch::Resolved;
use crate::spec::{Agent, AppSpec, Program};

/// What a program has to do with Node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon) enum Kin {
    /// Nothing, as far as can be seen.
    Stranger,
    /// It is Node.
    Node,
    /// It starts Node: npm and the like, or a shell whose line speaks of it.
    Parent,
}

/// Words by which a line for a shell speaks of Node.
const WORDS: [&str; 14] = [
    "node", "nodejs", "npm", "npx", "pnpm", "pnpx", "yarn", "yarnpkg", "corepack", "tsx", "ts-node", "nodemon", "next",
    "nest",
];

/// How much of a script is read to see who interprets it (execve(2)).
const FIRST_LINE: u64 = 256;

impl Kin {
    pub(in crate::daemon) fn of(spec: &AppSpec, resolved: &Resolved) -> Kin {
        let is_node = |word: &str| matches!(base(word), "node" | "nodejs");
        match &spec.program {
            Program::Script { interpreter, .. } if is_node(interpreter) => Kin::Node,
            Program::Script { .. } | Program::Serve { .. } => Kin::Stranger,
            Program::CommandLine { line } if resolved.wraps => {
                let mut words = line.split(|sign: char| sign.is_whitespace() || ";&|()`\"'".contains(sign));
                if words.any(|word| WORDS.contains(&base(word))) { Kin::Parent } else { Kin::Stranger }
            }
            Program::CommandLine { line } => match line.split_whitespace().next() {
                Some(first) if is_node(first) => Kin::Node,
                Some(_) | None => Kin::Stranger,
            },
            Program::Binary { path, .. } if is_node(&path.to_string_lossy()) => Kin::Node,
            Program::Binary { .. } if !is_script_of_node(&resolved.program) => Kin::Stranger,
            Program::Binary { .. } if resolved.wraps => Kin::Parent,
            Program::Binary { .. } => Kin::Node,
        }
    }

    /// Whether it gets the channel: npm and the like would keep it from what they start.
    pub(in crate::daemon) fn has_channel(self) -> bool {
        self == Kin::Node
    }

    /// Whether it gets the agent.
    pub(in crate::daemon) fn has_agent(self, spec: &AppSpec) -> bool {
        match spec.agent {
            Agent::Off => false,
            Agent::On => true,
            Agent::Auto => self != Kin::Stranger,
        }
    }
}

fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// Whether the first line of a file names node: `#!/usr/bin/env node`.
fn is_script_of_node(path: &Path) -> bool {
    let mut first = Vec::new();
    let Ok(file) = File::open(path) else { return false };
    if file.take(FIRST_LINE).read_to_end(&mut first).is_err() {
        return false;
    }
    let text = String::from_utf8_lossy(&first);
    let Some(line) = text.strip_prefix("#!").and_then(|rest| rest.lines().next()) else { return false };
    line.split_whitespace().any(|word| matches!(base(word), "node" | "nodejs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kin(program: Program, resolved: &str, wraps: bool) -> Kin {
        let spec = AppSpec { program, ..AppSpec::sample("a") };
        Kin::of(&spec, &Resolved { program: resolved.into(), argv: vec![], cwd: "/".into(), wraps, version: None })
    }

    #[test]
    fn node_is_known_however_it_is_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let bin = file("serve", "#!/usr/bin/env node\nrequire('x')");
        let python = file("web", "#!/usr/bin/env python3\n# node\n");
        let script = |interpreter: &str| Program::Script {
            script: "/srv/a.js".into(),
            interpreter: interpreter.into(),
            interpreter_args: vec![],
            args: vec![],
        };
        let line = |text: &str| Program::CommandLine { line: text.into() };
        let binary = |path: &str| Program::Binary { path: path.into(), args: vec![] };
        for (program, resolved, wraps, expected) in [
            (script("node"), "/usr/bin/node", false, Kin::Node),
            (script("/opt/node20/bin/node"), "/opt/node20/bin/node", false, Kin::Node),
            (script("python3"), "/usr/bin/python3", false, Kin::Stranger),
            (line("node a.js"), "/bin/bash", false, Kin::Node),
            (line("cd x && node a.js"), "/bin/bash", true, Kin::Parent),
            (line("npm start"), "/bin/bash", true, Kin::Parent),
            (line("cd x && python3 a.py"), "/bin/bash", true, Kin::Stranger),
            (binary("node"), "/usr/bin/node", false, Kin::Node),
            (binary(&bin), &bin, false, Kin::Node),
            (binary(&bin), &bin, true, Kin::Parent),
            (binary(&python), &python, false, Kin::Stranger),
            (binary("/bin/true"), "/bin/true", false, Kin::Stranger),
        ] {
            assert_eq!(kin(program.clone(), resolved, wraps), expected, "{program:?}");
        }
    }

    #[test]
    fn the_agent_goes_where_its_owner_wants_it() {
        let with = |agent| AppSpec { agent, ..AppSpec::sample("a") };
        assert!(Kin::Parent.has_agent(&with(Agent::Auto)) && !Kin::Stranger.has_agent(&with(Agent::Auto)));
        assert!(Kin::Stranger.has_agent(&with(Agent::On)) && !Kin::Node.has_agent(&with(Agent::Off)));
        assert!(Kin::Node.has_channel() && !Kin::Parent.has_channel());
    }
}
