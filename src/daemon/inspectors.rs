//! The ports at which a program's inspectors will listen, read from how it is started: Node's `--inspect`, the JVM's JDWP.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Where Node's inspector listens unless told otherwise, by `--inspect` or by SIGUSR1.
const NODE: u16 = 9229;

/// Programs that are Node, or start it.
const NODES: [&str; 8] = ["node", "nodejs", "npm", "npx", "yarn", "pnpm", "corepack", "tsx"];

/// Variables with options for Node and for the JVM.
const VARIABLES: [&str; 4] = ["NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"];

/// Those of a program with these arguments and this environment.
pub(super) fn ports(program: &Path, argv: &[OsString], env: &[(OsString, OsString)]) -> BTreeSet<u16> {
    let options = env.iter().filter(|(name, _)| VARIABLES.iter().any(|known| name == known)).map(|(_, value)| value);
    let texts: Vec<_> = argv.iter().chain(options).map(|text| text.to_string_lossy()).collect();
    let mut ports: BTreeSet<u16> = texts.iter().flat_map(|text| words(text)).flat_map(of_word).collect();
    let is_node = |text: &OsStr| Path::new(text).file_name().is_some_and(|name| NODES.iter().any(|node| name == *node));
    let mut first_words = texts.iter().take(3).flat_map(|text| words(text));
    if is_node(program.as_os_str()) || first_words.any(|word| is_node(OsStr::new(word))) {
        ports.insert(NODE);
    }
    ports
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || "'\";|&()".contains(c)).filter(|word| !word.is_empty())
}

fn of_word(word: &str) -> Option<u16> {
    const FLAGS: [&str; 5] = ["--inspect", "--inspect-brk", "--inspect-wait", "--inspect-port", "--debug-port"];
    let (flag, value) = word.split_once('=').unwrap_or((word, ""));
    if FLAGS.contains(&flag) {
        return if value.is_empty() { Some(NODE) } else { port(value) };
    }
    let options = word.strip_prefix("-agentlib:jdwp=").or_else(|| word.strip_prefix("-Xrunjdwp:"))?;
    let option = |name: &str| options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
    // Without a server it calls its debugger.
    (option("server") == Some("y")).then(|| option("address").and_then(port)).flatten()
}

/// `9230`, `0.0.0.0:9230`, `[::1]:9230`; none for a host alone, and for any port.
fn port(value: &str) -> Option<u16> {
    let number = value.rsplit_once(':').map_or(value, |(_, port)| port);
    number.parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(argv: &[&str], env: &[(&str, &str)]) -> Vec<u16> {
        let argv: Vec<OsString> = argv.iter().map(Into::into).collect();
        let env: Vec<(OsString, OsString)> = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        ports(Path::new(&argv[0]), &argv, &env).into_iter().collect()
    }

    #[test]
    fn ports_of_inspectors_are_read_from_arguments_lines_and_variables() {
        for (argv, env, expected) in [
            (vec!["node", "app.js"], vec![], vec![9229]),
            (vec!["node", "--inspect=9300", "app.js"], vec![], vec![9229, 9300]),
            (vec!["/usr/bin/node", "--inspect-brk=0.0.0.0:9300", "a.js"], vec![], vec![9229, 9300]),
            (vec!["bash", "-c", "exec node --inspect app.js"], vec![], vec![9229]),
            (vec!["server"], vec![("NODE_OPTIONS", "--inspect=[::1]:9400 --enable-source-maps")], vec![9400]),
            (vec!["java", "-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=*:5005"], vec![], vec![5005]),
            (vec!["java", "-Xrunjdwp:transport=dt_socket,address=5006,server=y"], vec![], vec![5006]),
            (vec!["java", "-agentlib:jdwp=transport=dt_socket,server=n,address=host:5005"], vec![], vec![]),
            (vec!["java", "Main"], vec![("JAVA_TOOL_OPTIONS", "-agentlib:jdwp=server=y,address=5007")], vec![5007]),
            (vec!["python3", "app.py", "--inspection=3"], vec![("PORT", "3000")], vec![]),
        ] {
            assert_eq!(found(&argv, &env), expected, "{argv:?} {env:?}");
        }
    }
}
