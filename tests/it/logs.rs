//! `rsx logs`: history, then what comes.

use std::process::Stdio;

use crate::harness::{LIMIT, Rsx, Watched, spawn};

/// An app that has written twenty lines to each stream, and is stopped.
fn twenty() -> Rsx {
    let rsx = Rsx::new();
    rsx.ok(
        "start 'for n in $(seq 20); do echo out $n; echo err $n >&2; done; exec sleep 1000' --name a --min-uptime 100",
    );
    rsx.wait_for_text(&rsx.log("a-error.log"), |text| text.ends_with("err 20\n"));
    rsx.wait_for_text(&rsx.log("a-out.log"), |text| text.ends_with("out 20\n"));
    rsx.ok("stop a");
    rsx
}

#[track_caller]
fn lines(rsx: &Rsx, flags: &str) -> Vec<String> {
    rsx.ok(&format!("logs a --nostream {flags}")).out.lines().map(str::to_owned).collect()
}

fn numbered(word: &str, from: u32) -> Vec<String> {
    (from..=20).map(|n| format!("{word} {n}")).collect()
}

#[test]
fn the_last_fifteen_lines_are_shown_unless_others_are_wanted() {
    let rsx = twenty();
    assert_eq!(lines(&rsx, "--raw --out"), numbered("out", 6));
    assert_eq!(lines(&rsx, "--raw --err"), numbered("err", 6));
    assert_eq!(lines(&rsx, "--raw").len(), 30);
    assert_eq!(lines(&rsx, "--raw --out --lines 3"), numbered("out", 18));
    assert_eq!(lines(&rsx, "--raw --out --lines 100"), numbered("out", 1));
    assert_eq!(lines(&rsx, "--out --lines 1"), ["0|a | out 20"]);
    let json: serde_json::Value = serde_json::from_str(&lines(&rsx, "--out --lines 1 --json")[0]).unwrap();
    assert_eq!((&json["app"], &json["id"], &json["line"]), (&"a".into(), &0.into(), &"out 20".into()));
    rsx.fails(4, "logs nobody --nostream").says(&["nobody"]);
}

#[test]
fn history_needs_no_daemon() {
    let rsx = twenty();
    rsx.ok("kill");
    assert_eq!(lines(&rsx, "--raw --out"), numbered("out", 6));
    // Without a daemon nothing can come: the verb ends.
    rsx.ok("logs").says(&["no rsx daemon runs"]).prints(&["err 20"]);
    rsx.fails(4, "logs nobody").says(&["nobody"]);
    assert!(!rsx.socket().exists());
}

#[test]
fn a_follower_sees_each_line_once_also_across_a_restart() {
    let rsx = Rsx::new();
    // Each run goes on where the last one ended.
    rsx.script(
        "count.sh",
        "n=$(cat n 2>/dev/null || echo 0)\ntrap 'exit 0' TERM\n\
         while :; do n=$((n+1)); echo $n > n; echo line $n; test $((n % 50)) = 0 && sleep 0.05; done\n",
    );
    rsx.ok("start count.sh --min-uptime 100 --kill-timeout 2s");
    let mut follower = rsx.lines("logs count --raw --out --lines 5");
    follower.wait("a first line", |line| line.starts_with("line "));
    rsx.ok("restart count");
    rsx.ok("stop count");
    let last: u32 = std::fs::read_to_string(rsx.scratch().join("n")).unwrap().trim().parse().unwrap();
    // It may have ended between counting a line and writing it.
    let ends = [last, last - 1].map(|n| format!("line {n}\n"));
    let written = rsx.wait_for_text(&rsx.log("count-out.log"), |text| ends.iter().any(|end| text.ends_with(end)));
    let end = written.lines().last().unwrap();
    follower.wait("the last line", |line| line == end);
    let seen = follower.seen();
    let first = written.lines().position(|line| line == seen[0]).unwrap();
    let expected: Vec<&str> = written.lines().skip(first).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_follower_tells_of_ends_and_starts_between_the_lines() {
    let rsx = Rsx::new();
    rsx.ok("start 'echo up; exec sleep 1000' --name a --min-uptime 100");
    let mut follower = rsx.lines("logs");
    follower.wait("the history", |line| line == "0|a | up");
    Watched::new(rsx.pid("a")).kill("KILL");
    follower.wait("the end", |line| line.contains("a:0 exited: SIGKILL"));
    follower.wait("the new start", |line| line.contains("a:0 started"));
    // It may stand before the news: what is in the files is shown first.
    let is_line = |line: &&String| *line == "0|a | up";
    follower.wait_until("its line", |lines| lines.iter().filter(is_line).count() == 2);
    // An app that comes later is followed, too.
    rsx.ok("start 'echo me too; exec sleep 1000' --name late --min-uptime 100");
    follower.wait("a newcomer", |line| line.contains("late") && line.ends_with("| me too"));
    rsx.ok("kill");
    follower.wait("the end of the daemon", |line| line.contains("the rsx daemon has ended"));
}

#[test]
fn a_follower_ends_when_its_reader_goes_away() {
    let rsx = twenty();
    for verb in ["logs", "events"] {
        let mut command = rsx.command();
        let mut child = spawn(command.arg(verb).stdin(Stdio::null()).stdout(Stdio::piped()));
        let watched = Watched::new(child.id());
        drop(child.stdout.take());
        let has_ended = watched.has_ended_within(LIMIT);
        let _ = child.kill();
        let status = child.wait().unwrap();
        assert!(has_ended && status.success(), "{verb}: {status}");
    }
}

#[test]
fn lines_that_are_no_text_are_passed_on_as_they_are() {
    let rsx = Rsx::new();
    rsx.ok("start \"printf 'a\\\\377\\\\000b\\\\n'; exec sleep 1000\" --name a --min-uptime 100");
    rsx.wait_for_text(&rsx.log("a-out.log"), |text| text.ends_with('\n'));
    rsx.ok("stop a");
    assert_eq!(std::fs::read(rsx.log("a-out.log")).unwrap(), b"a\xff\0b\n");
    let mut command = rsx.command();
    let logs = command.args(["logs", "--raw", "--nostream", "--out"]).stdout(Stdio::piped());
    assert_eq!(spawn(logs).wait_with_output().unwrap().stdout, b"a\xff\0b\n");
}
