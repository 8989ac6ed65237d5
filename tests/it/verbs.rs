//! The verbs that look after what is there: scale, reload, signal, send, env, reset, flush, reload-logs, why, doctor.

use std::fs;

use crate::harness::{Rsx, Watched, environment_of};

/// Says what it reads and when it gets SIGHUP.
const LISTENER: &str = "trap 'echo hup' HUP\nexec 3<&0\n(trap '' HUP; while read -r line; do echo \"got $line\"; done) <&3 &\n\
     echo up\nwhile :; do wait; done\n";

/// An app that listens to its standard input and to SIGHUP.
fn listener() -> Rsx {
    let rsx = Rsx::new();
    rsx.script("listen.sh", LISTENER);
    rsx.ecosystem("[[apps]]\nname = \"a\"\nscript = \"listen.sh\"\ninterpreter = \"bash\"\n");
    rsx.ok("start");
    rsx.wait_for_text(&rsx.log("a-out.log"), |text| text == "up\n");
    rsx
}

fn sleeper(count: u32) -> Rsx {
    let rsx = Rsx::new();
    write_sleeper(&rsx, count, "");
    rsx.ok("start");
    rsx
}

fn write_sleeper(rsx: &Rsx, count: u32, env: &str) {
    let app = format!("name = \"a\"\nscript = \"sleep 1000\"\nexec_mode = \"fork\"\ninstances = {count}");
    rsx.ecosystem(&format!("[[apps]]\n{app}\nenv = {{ {env} }}\n"));
}

fn count(rsx: &Rsx) -> usize {
    rsx.app("a")["slots"].as_array().unwrap().len()
}

#[test]
fn a_signal_and_a_line_reach_the_program() {
    let rsx = listener();
    let mut events = rsx.events();
    rsx.ok("signal hup a").says(&["SIGHUP sent to a"]);
    assert_eq!(events.wait_for("a", "signalled").get("signal"), "SIGHUP");
    rsx.wait_for_text(&rsx.log("a-out.log"), |text| text.ends_with("hup\n"));
    rsx.ok("send 0 hello big world");
    rsx.wait_for_text(&rsx.log("a-out.log"), |text| text.ends_with("got hello big world\n"));
    rsx.ok("sendSignal SIGHUP a");
    rsx.fails(2, "signal SIGNOPE a").says(&["`SIGNOPE` is not a signal"]);
    rsx.fails(2, &format!("send a {}", "x".repeat(5000))).says(&["at most 4095 bytes"]);
    rsx.ok("stop a");
    rsx.fails(5, "signal hup a").says(&["`a:0` it does not run"]);
    rsx.fails(5, "send a hello").says(&["`a:0` it does not run"]);
}

#[test]
fn scale_starts_and_ends_the_highest_and_the_file_keeps_the_count_until_it_says_another() {
    let rsx = sleeper(1);
    let first = rsx.pid("a");
    rsx.ok("scale a +2").prints(&["instances 1 → 3"]);
    assert_eq!((count(&rsx), rsx.pid("a")), (3, first));
    let last = Watched::new(rsx.slot("a", 2)["pid"].as_u64().unwrap().try_into().unwrap());
    rsx.ok("scale a -1").prints(&["instances 3 → 2"]);
    assert!(!last.lives());
    rsx.ok("start").prints(&["= a: unchanged"]);
    assert_eq!((count(&rsx), rsx.pid("a")), (2, first));
    write_sleeper(&rsx, 4, "");
    rsx.ok("start").prints(&["instances 2 → 4"]);
    assert_eq!((count(&rsx), rsx.pid("a")), (4, first));
    rsx.fails(2, "scale a -4").says(&["would have 0 instances", "rsx stop a"]);
    rsx.fails(2, "scale a none").says(&["`none` is no number of instances"]);
    rsx.fails(4, "scale nobody 2");
}

#[test]
fn restart_of_a_file_takes_its_values_over_and_removed_keys_away() {
    let rsx = Rsx::new();
    write_sleeper(&rsx, 1, "OLD = \"1\", KEPT = \"1\"");
    rsx.ok("start");
    assert_eq!(environment_of(rsx.pid("a")).get("OLD").map(String::as_str), Some("1"));
    write_sleeper(&rsx, 1, "KEPT = \"2\"");
    rsx.ok("restart a").says(&["--only a"]);
    assert!(environment_of(rsx.pid("a")).contains_key("OLD"), "a restart by name keeps the values");
    rsx.ok("restart ecosystem.toml");
    let env = environment_of(rsx.pid("a"));
    assert_eq!((env.get("OLD"), env.get("KEPT").map(String::as_str)), (None, Some("2")));
}

#[test]
fn a_reload_restarts_in_fork_mode_and_says_so_once() {
    let rsx = sleeper(1);
    let mut pid = rsx.pid("a");
    for (line, says) in [
        ("reload a", true),
        ("reload ecosystem.toml", true),
        ("startOrReload ecosystem.toml", true),
        ("startOrGracefulReload ecosystem.toml --only a", true),
        ("startOrRestart ecosystem.toml", false),
    ] {
        let done = rsx.ok(line);
        assert_eq!(done.err.matches("in fork mode a reload is a restart").count(), usize::from(says), "{}", done.err);
        assert_ne!(std::mem::replace(&mut pid, rsx.pid("a")), rsx.pid("a"), "{line}");
    }
    rsx.fails(2, "startOrRestart a").says(&["`a` is no config file", "rsx restart a"]);
    rsx.ok("delete a");
    rsx.ok("startOrReload ecosystem.toml");
    assert_eq!(rsx.state("a"), "online");
}

#[test]
fn reset_sets_the_counters_back() {
    let rsx = sleeper(1);
    rsx.ok("restart a");
    assert_eq!(rsx.slot("a", 0)["restarts"], 1);
    let pid = rsx.pid("a");
    rsx.ok("reset a");
    assert_eq!((rsx.slot("a", 0)["restarts"].as_u64(), rsx.pid("a")), (Some(0), pid));
}

#[test]
fn flush_empties_files_in_place_and_the_program_goes_on_at_their_beginning() {
    let rsx = listener();
    rsx.ok("flush a").says(&["emptied: 2 files, 3b"]);
    assert_eq!(fs::read(rsx.log("a-out.log")).unwrap(), b"");
    rsx.ok("send a again");
    rsx.wait_for_text(&rsx.log("a-out.log"), |text| text == "got again\n");
    assert_eq!(rsx.json("flush")["files"].as_array().unwrap().len(), 2);
    rsx.fails(4, "flush nobody");
}

#[test]
fn a_log_that_was_moved_is_opened_anew_by_the_verb_and_by_a_signal() {
    let rsx = listener();
    let (log, daemon) = (rsx.log("a-out.log"), rsx.daemon().0);
    fs::rename(&log, rsx.log("a-out.log.1")).unwrap();
    rsx.ok("reload-logs");
    rsx.ok("send a one");
    rsx.wait_for_text(&log, |text| text == "got one\n");
    assert_eq!(fs::read_to_string(rsx.log("a-out.log.1")).unwrap(), "up\n");
    fs::rename(&log, rsx.log("a-out.log.2")).unwrap();
    daemon.kill("USR2");
    rsx.wait_for_text(&log, |text| text.is_empty() && log.exists());
    rsx.ok("send a two");
    rsx.wait_for_text(&log, |text| text == "got two\n");
}

#[test]
fn why_tells_the_end_its_last_words_who_asked_and_what_comes_next() {
    let rsx = Rsx::new();
    rsx.ecosystem(
        "[[apps]]\nname = \"a\"\nscript = \"echo cannot reach the database >&2; exit 3\"\nmax_restarts = 2\n\
         restart_delay = 0\nmin_uptime = \"5s\"\n",
    );
    rsx.fails(5, "start");
    rsx.events().wait_for("a", "errored");
    rsx.ok("why a").prints(&[
        "created  [start by uid",
        "exited: exit code 3",
        "| cannot reach the database",
        "errored: exit code 3, 2 lives shorter than 5s",
        "now: errored",
        "next attempt: in",
        "policy: restarted after every end",
    ]);
    let story = &rsx.json("why 0")[0];
    assert_eq!((&story["app"], &story["state"]), (&"a".into(), &"errored".into()));
    let ends = story["entries"].as_array().unwrap().iter().filter(|entry| entry["stderr"].is_array()).count();
    assert_eq!(ends, 2);
    rsx.fails(4, "why nobody");
}

#[test]
fn doctor_needs_no_daemon_and_starts_none() {
    let rsx = Rsx::new();
    rsx.ok("doctor").prints(&["pidfd", "seccomp notify", "cgroup v2", "open files", "does not run"]);
    assert!(!rsx.socket().exists());
    let checks = rsx.json("doctor");
    assert!(checks.as_array().unwrap().iter().all(|check| check["verdict"] != "broken"), "{checks}");
}

#[test]
fn doctor_fails_where_no_home_can_be_made() {
    let mut rsx = Rsx::new();
    rsx.write("file", "");
    let home = rsx.scratch().join("file");
    rsx.set_env("RSX_HOME", home);
    rsx.fails(1, "doctor").prints(&["broken   home", "is no folder", "rsx does not work here"]);
    rsx.set_env("RSX_HOME", rsx.home());
}

#[test]
fn verbs_that_need_a_daemon_say_so_and_start_none() {
    let rsx = Rsx::new();
    for line in ["scale a 2", "signal hup a", "send a x", "env a", "id a", "reset a", "flush", "reload-logs", "why a"] {
        rsx.fails(3, line).says(&["no rsx daemon runs"]);
    }
    assert_eq!(rsx.ok("prettylist").out, "[]\n");
    assert!(!rsx.socket().exists());
}
