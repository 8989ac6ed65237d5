//! What a new user reads when something is wrong, word for word; and that no secret is among what anybody reads.

use std::fmt::Write as _;
use std::path::Path;

use crate::harness::Rsx;

/// What was typed, and everything that came back, with what differs from run to run taken out.
fn told(rsx: &Rsx, lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        let done = rsx.run(line);
        let _ = writeln!(text, "$ rsx {line}");
        text.push_str(&done.out);
        text.push_str(&done.err);
        let _ = writeln!(text, "[{}]\n", done.code);
    }
    let home = rsx.home().display().to_string();
    let scratch = rsx.scratch().display().to_string();
    let text = text.replace(&scratch, "HERE").replace(&home, "HOME");
    let age = regex_lite::Regex::new(r"after \d+m?s").unwrap();
    age.replace_all(&text, "after [TIME]").into_owned()
}

#[test]
fn without_a_daemon_each_verb_says_what_to_do() {
    let rsx = Rsx::new();
    insta::assert_snapshot!(told(
        &rsx,
        &[
            "start",
            "start gone.js",
            "start gone.toml",
            "start a --frobnicate",
            "stop api",
            "restart api",
            "delete api",
            "describe api",
            "pid api",
            "ping",
            "kill",
            "ls",
            "logs api --nostream",
            "save",
            "check",
            "check gone.toml",
            "man gone",
            "completions tcsh",
            "strat",
            "install pm2-logrotate",
            "startup",
        ]
    ));
}

#[test]
fn each_wrong_app_is_told_by_its_own_words() {
    let rsx = Rsx::new();
    rsx.write("plain.txt", "no program\n");
    rsx.script("bad.sh", "echo 'Error: no database' >&2; exit 3\n");
    rsx.ok("start 'sleep 1000' --name good --min-uptime 50");
    insta::assert_snapshot!(told(
        &rsx,
        &[
            "start ./plain.txt --name plain --interpreter none -s",
            "start bad.sh --name bad --max-restarts 1 -s",
            "start 'sleep 1' --name nocwd --cwd /nowhere -s",
            "start 'sleep 1' --name x --kill-timeout 3x",
            "start 'sleep 1' --name x --watch",
            "start bad.sh --name nolog --output /proc/nope/x.log -s",
            "stop goud",
            "stop /goo(/",
            "start /^nothing$/",
        ]
    ));
}

#[test]
fn new_values_turns_and_files_are_refused_by_their_own_words() {
    let rsx = Rsx::new();
    rsx.ok("start 'sleep 1000; true' --name good --min-uptime 50");
    rsx.ok("start 'sleep 1000' --name other --min-uptime 50");
    rsx.write("some.json", "[{ \"name\": \"now\", \"script\": \"sleep 1\" }, { \"script\": \"sleep 2\", \"name\": \"later\", \"watch\": true }]");
    insta::assert_snapshot!(told(
        &rsx,
        &[
            "restart good --name other",
            "restart good --name a/b",
            "restart good --kill-timeout 3x",
            "restart good -- --port 1",
            "restart good -i 3 --max-restarts many",
            "restart good --parallel 0",
            "restart some.json --max-restarts 3",
            "start good --max-restarts 3",
            "start good --attach --json",
            "start good --attach --dry-run",
            "start 'sleep 1' --name p -p /proc/nope/p.pid -s",
            "start 'sleep 1' --name p -p /dev/null -s",
            "start 'sleep 1' --no-daemon",
            "start 'sleep 1' --watch --ext js",
            "start some.json",
            "check some.json --only now",
            "stop -",
        ]
    ));
}

#[test]
fn no_secret_is_found_in_anything_that_is_shown_or_logged() {
    let rsx = Rsx::new();
    let secret = "hunter2hunter2";
    rsx.ecosystem(&format!(
        "[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\nmin_uptime = 50\n\
         env = {{ DB_PASSWORD = \"{secret}\", API_TOKEN = \"{secret}\", URL = \"postgres://u:{secret}@db/x\" }}\n\
         [[apps]]\nname = \"bad\"\nscript = \"exit 3\"\nmax_restarts = 1\nenv = {{ MY_SECRET = \"{secret}\" }}\n"
    ));
    let mut shown = String::new();
    for line in [
        "start ecosystem.toml",
        "start ecosystem.toml --dry-run",
        "ls",
        "ls --json",
        "jlist",
        "describe a",
        "describe all --json",
        "describe bad",
        "check ecosystem.toml",
        "restart a",
        "stop a --json",
        "start a",
        "save",
        "logs --nostream",
        "pid a --json",
        "delete bad",
    ] {
        let done = rsx.run(line);
        shown.push_str(&done.out);
        shown.push_str(&done.err);
    }
    let mut events = rsx.events();
    events.wait("the last change", |event| event.of("bad") && event.is("deleted"));
    for event in events.seen() {
        let _ = write!(shown, "{event:?}");
    }
    assert!(!shown.contains(secret), "{shown}");
    for name in ["daemon.log", "daemon.err"] {
        let text = std::fs::read_to_string(rsx.home().join(name)).unwrap_or_default();
        assert!(!text.contains(secret), "{name}");
    }
    // The files that must hold it are for its owner alone.
    for name in ["wanted.json", "saved.json"] {
        assert_is_private(&rsx.home().join(name));
    }
}

#[track_caller]
fn assert_is_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{}", path.display());
}
