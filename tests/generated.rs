//! What is generated stands in the repository as this build would write it: completions, manual pages, the schema, the
//! tables. `RSX_BLESS=1 cargo test --test generated` rewrites all of it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test reads and writes the repository")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rsx::cli::{Generated, Part, generated};
use rsx::config::keys::{self, Availability};
use rsx::config::{Colour, Options, load};

/// Folders in which everything is generated. Cargo runs tests in the package's folder.
const FOLDERS: [&str; 2] = ["completions", "man"];
const EXAMPLE: &str = "ecosystem.example.toml";

#[test]
fn the_repository_holds_what_is_generated() {
    let files = generated();
    let is_blessing = std::env::var_os("RSX_BLESS").is_some();
    let mut wrong = Vec::new();
    for file in &files {
        let found = fs::read_to_string(&file.path).unwrap_or_default();
        let wanted = wanted(file, &found);
        if found == wanted {
            continue;
        }
        if is_blessing {
            fs::create_dir_all(Path::new(&file.path).parent().unwrap()).unwrap();
            fs::write(&file.path, wanted).unwrap();
        } else {
            wrong.push(format!("{} differs{}", file.path, first_difference(&found, &wanted)));
        }
    }
    let known: BTreeSet<PathBuf> = files.iter().map(|file| PathBuf::from(&file.path)).collect();
    for stray in FOLDERS.iter().flat_map(|folder| files_below(Path::new(folder))).filter(|path| !known.contains(path)) {
        if is_blessing {
            fs::remove_file(stray).unwrap();
        } else {
            wrong.push(format!("{} is not generated any more", stray.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\nrewrite them: RSX_BLESS=1 cargo test --test generated", wrong.join("\n"));
}

#[test]
fn the_shells_that_are_here_can_read_their_scripts() {
    for (shell, flag, file) in [
        ("bash", "-n", "completions/rsx.bash"),
        ("zsh", "-n", "completions/_rsx"),
        ("fish", "-n", "completions/rsx.fish"),
    ] {
        let text = generated().into_iter().find(|it| it.path == file).unwrap().text;
        let spawned = Command::new(shell).arg(flag).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if shell != "bash" => {
                println!("skipped: {shell} is not here ({error})");
                continue;
            }
            Err(error) => panic!("{shell}: {error}"),
        };
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What bash offers for this line, sorted; `tests/data/complete.bash` says which apps there are.
#[track_caller]
fn completed(line: &str) -> Vec<String> {
    let text = generated().into_iter().find(|it| it.path == "completions/rsx.bash").unwrap().text;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rsx.bash"), text).unwrap();
    fs::create_dir(folder.path().join("api.d")).unwrap();
    let output = Command::new("bash")
        .args([fs::canonicalize("tests/data/complete.bash").unwrap().to_str().unwrap(), "rsx.bash", line])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(!folder.path().join("evaluated").exists(), "{line}: a name was evaluated");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut words: Vec<String> = text.lines().filter(|word| !word.is_empty()).map(str::to_owned).collect();
    words.sort();
    words
}

#[test]
fn bash_completes_targets_where_a_verb_takes_them() {
    assert_eq!(completed("rsx stop a"), ["all", "api"]);
    assert_eq!(completed("rsx --json stop --no-wait my"), ["my\\ app"]);
    assert_eq!(completed("rsx stop api 0"), ["0"]);
    assert_eq!(completed("rsx stop shop:w"), ["web"], "the shell has cut at the colon");
    assert_eq!(completed("rsx stop "), ["0", "$(touch evaluated)", "all", "api", "my app", "shop:web"].map(quoted));
}

#[test]
fn bash_completes_names_and_files_where_a_verb_takes_both() {
    assert_eq!(completed("rsx start api"), ["api", "api.d/"]);
    assert_eq!(completed("rsx start rsx."), [""; 0], "the shell's own completion of files follows");
}

#[test]
fn bash_completes_verbs_flags_and_their_values() {
    assert_eq!(completed("rsx desc"), ["desc", "describe"]);
    assert_eq!(completed("rsx stop --no-w"), ["--no-wait"]);
    assert_eq!(completed("rsx completions z"), ["zsh"]);
    assert_eq!(completed("rsx man sta"), ["start", "startOrReload", "startOrRestart"]);
    assert!(!completed("rsx start --name a").contains(&"api".to_owned()), "the name is a new one");
    assert!(!completed("rsx start app.js -- a").contains(&"api".to_owned()), "behind -- are the program's arguments");
}

/// As bash's printf quotes it.
fn quoted(word: &str) -> String {
    word.chars().flat_map(|it| if "$() ".contains(it) { vec!['\\', it] } else { vec![it] }).collect()
}

#[test]
fn the_example_loads_without_a_warning() {
    let loaded = load(&PathBuf::from(EXAMPLE), &options()).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings.render(Colour::Never, 100));
    assert!(loaded.apps.len() >= 2);
}

#[test]
fn the_example_mentions_every_key_that_has_its_effect() {
    let text = fs::read_to_string(EXAMPLE).unwrap();
    let mentioned: BTreeSet<&str> = text.lines().filter_map(key_of).collect();
    for key in keys::all().filter(|key| key.availability == Availability::Now) {
        let is_there = std::iter::once(&key.name).chain(key.aliases).any(|name| mentioned.contains(name));
        assert!(is_there, "{EXAMPLE} does not mention `{}`", key.name);
    }
}

#[test]
fn every_line_of_the_examples_tour_works_when_it_is_used() {
    let text = fs::read_to_string(EXAMPLE).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("dist")).unwrap();
    fs::write(folder.path().join("dist/app.js"), "").unwrap();
    fs::write(folder.path().join("app.js"), "").unwrap();
    for line in text.lines().filter(|line| line.starts_with("# ")) {
        let Some(name) = key_of(line) else { continue };
        let script = match name {
            // Whether npm is here is not the question.
            "script" => continue,
            "cwd" => "script = \"../app.js\"\n",
            _ => "script = \"./app.js\"\n",
        };
        let fork = match name {
            "instances" => "exec_mode = \"fork\"\n",
            _ => "",
        };
        let path = folder.path().join("ecosystem.toml");
        fs::write(&path, format!("[[apps]]\n{script}{fork}{}\n", &line[2..])).unwrap();
        match load(&path, &options()) {
            Ok(loaded) => assert!(!loaded.apps.is_empty()),
            Err(error) => panic!("{line}: {error}: {:?}", error.report().map(|it| it.render(Colour::Never, 100))),
        }
    }
}

/// The key of a line `key = value` or `# key = value`.
fn key_of(line: &str) -> Option<&str> {
    let (name, _) = line.trim_start_matches("# ").split_once(" = ")?;
    let is_key = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_key.then_some(name)
}

fn options() -> Options {
    Options { cores: 2, ..Options::default() }
}

/// The whole text that a file should have.
#[track_caller]
fn wanted(file: &Generated, found: &str) -> String {
    match file.part {
        Part::Whole => file.text.clone(),
        Part::Between(name) => {
            let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
            let (before, rest) = found.split_once(&begin).unwrap_or_else(|| panic!("{} has no `{begin}`", file.path));
            let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{} has no `{end}`", file.path));
            format!("{before}{begin}{}{end}{after}", file.text)
        }
    }
}

fn first_difference(found: &str, wanted: &str) -> String {
    let pairs = found.lines().zip(wanted.lines()).enumerate();
    match pairs.into_iter().find(|(_, (found, wanted))| found != wanted) {
        Some((at, (found, wanted))) => format!(", first in line {}:\n  has    {found}\n  wanted {wanted}", at + 1),
        None => format!(": it has {} lines, wanted {}", found.lines().count(), wanted.lines().count()),
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
