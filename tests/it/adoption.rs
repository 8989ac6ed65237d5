//! The daemon may die: no app notices, no line is lost, nothing runs twice.

use std::time::{Duration, Instant};

use crate::harness::{BINARY, Rsx, Watched, requires};
use crate::rotation::archived;

/// Writes numbered lines until it is asked to end; then one last line.
const LINES: &str = "
import os, signal, sys, time
ending = []
signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
number = 0
while not ending:
    number += 1
    os.write(1, b'line %d of %s\\n' % (number, b'x' * (number % 200)))
    if number % 7 == 0:
        time.sleep(0.0005)
os.write(1, b'last %d\\n' % number)
";

/// Says that it is ready, and writes down which process it is.
const READY: &str = "
import os, socket, time
time.sleep(float(os.environ.get('LATE', '0')))
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])
time.sleep(1000)
";

/// Every line once and in order, the last one at the end.
#[track_caller]
fn check_lines(rsx: &Rsx, log: &str) {
    let text = rsx.wait_for_text(&rsx.log(log), |text| {
        text.ends_with('\n') && text.lines().last().is_some_and(|line| without_time(line).starts_with("last"))
    });
    let text = archived(rsx, log) + &text;
    let lines: Vec<&str> = text.lines().map(without_time).collect();
    let (last, lines) = lines.split_last().unwrap();
    for (number, line) in (1..).zip(lines) {
        let expected = format!("line {number} of {}", "x".repeat(number % 200));
        assert!(*line == expected, "{log}: line {number} is {line:?}");
    }
    assert_eq!(*last, format!("last {}", lines.len()), "{log}");
}

/// Lines of apps with `--time` begin with the time.
fn without_time(line: &str) -> &str {
    line.split_once("Z: ").map_or(line, |(_, line)| line)
}

/// xorshift, seeded by the clock: which moments are tried differs from run to run.
fn dice(seed: usize) -> impl FnMut(u64) -> u64 {
    let mut state = u64::from(std::process::id()) << 32 | (seed as u64) << 1 | 1;
    move |sides| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % sides
    }
}

/// How many daemons die in each of how many homes.
const DEATHS: (usize, usize) = (10, 5);

#[test]
fn fifty_deaths_of_the_daemon_change_no_pid_and_lose_no_line() {
    if !requires("python3") {
        return;
    }
    // Side by side, because between two deaths a guardian wants a second to pass.
    let mut gaps: Vec<Duration> = std::thread::scope(|scope| {
        let homes: Vec<_> = (0..DEATHS.1).map(|seed| scope.spawn(move || deaths(seed))).collect();
        homes.into_iter().flat_map(|home| home.join().unwrap()).collect()
    });
    gaps.sort();
    println!("from the kill to an answer: median {:?}, longest {:?}", gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
}

/// How long each death was noticed.
fn deaths(seed: usize) -> Vec<Duration> {
    let rsx = Rsx::new();
    rsx.write("lines.py", LINES);
    rsx.write("ready.py", READY);
    rsx.ecosystem(
        "[[apps]]\nname = \"lines\"\nscript = \"lines.py\"\ninstances = 2\nexec_mode = \"fork\"\n\
         [[apps]]\nname = \"ready\"\nscript = \"ready.py\"\n",
    );
    rsx.ok("start ecosystem.toml");
    let pids = rsx.ok("pid").out;
    let (mut dice, mut gaps) = (dice(seed), Vec::new());
    for _ in 0..DEATHS.0 {
        let (daemon, _) = rsx.daemon();
        // A moment of its life, not a wait for anything: a guardian that has just started one pauses before the next.
        std::thread::sleep(Duration::from_micros(1_000_000 + dice(20_000)));
        daemon.kill("KILL");
        let killed = Instant::now();
        rsx.ok("ping");
        gaps.push(killed.elapsed());
        assert_eq!(rsx.ok("pid").out, pids);
    }
    rsx.ok("stop all");
    check_lines(&rsx, "lines-out-0.log");
    check_lines(&rsx, "lines-out-1.log");
    for app in rsx.apps() {
        assert_eq!(app["slots"][0]["restarts"], 0, "{app}");
    }
    gaps
}

#[test]
fn an_end_that_the_daemon_has_missed_is_seen_as_it_was() {
    let rsx = Rsx::new();
    rsx.ok("start 'read line; exit 42' --name a --min-uptime 50 --no-autorestart");
    let (daemon, guardian) = rsx.daemon();
    let app = Watched::new(rsx.pid("a"));
    // While the guardian stands still there is no next daemon.
    guardian.kill("STOP");
    daemon.kill("KILL");
    app.kill("INT");
    guardian.kill("CONT");
    let exited = rsx.events().wait_for("a", "exited");
    assert_eq!(exited.get("status")["signal"]["signal"], "SIGINT");
    assert_eq!(exited.pid(), app.pid);

    rsx.write("exit.sh", "trap 'exit 42' USR1\necho up > up\nwhile :; do sleep 0.05; done\n");
    rsx.ok("start exit.sh --name b --min-uptime 50 --no-autorestart");
    rsx.wait_for_word("up");
    let ((daemon, guardian), app) = (rsx.daemon(), Watched::new(rsx.pid("b")));
    guardian.kill("STOP");
    daemon.kill("KILL");
    app.kill("USR1");
    app.ends();
    guardian.kill("CONT");
    assert_eq!(rsx.events().wait_for("b", "exited").get("status")["code"], 42);
    assert_eq!(rsx.processes().len(), 0);
}

#[test]
fn what_lives_on_without_guardian_and_daemon_can_be_named_to_the_next_verb() {
    let rsx = Rsx::new();
    rsx.ok("start 'sleep 1000' --name a --min-uptime 50");
    for verb in ["start a", "send a hello", "stop a", "kill"] {
        let (daemon, guardian) = rsx.daemon();
        let apps: Vec<Watched> = rsx.processes().iter().map(|found| Watched::new(found.pid)).collect();
        guardian.kill("KILL");
        daemon.kill("KILL");
        guardian.ends();
        daemon.ends();
        assert!(apps.iter().all(Watched::lives));
        let done = rsx.run(verb);
        assert!(!done.err.contains("no rsx daemon runs"), "`{verb}`: {}", done.err);
        assert_eq!(rsx.processes().len(), usize::from(verb.starts_with('s') && verb != "stop a"), "{verb}");
    }
}

#[test]
fn restarts_backoff_and_history_live_on() {
    let rsx = Rsx::new();
    rsx.fails(5, "start 'echo reason >&2; exit 3' --name a --restart-delay 1h --retry-after off --min-uptime 50");
    rsx.ok("start 'sleep 1000' --name b --min-uptime 50");
    Watched::new(rsx.pid("b")).kill("KILL");
    let mut events = rsx.events();
    events.wait("its next life", |event| event.of("b") && event.is("online") && *event.get("run") != 2);
    let before = rsx.apps();
    let last = rsx.events().seen().len();
    rsx.daemon().0.kill("KILL");
    let mut after = rsx.apps();
    for (app, before) in after.iter_mut().zip(&before) {
        // What is sampled anew.
        app["slots"][0]["cpu"] = before["slots"][0]["cpu"].clone();
        app["slots"][0]["memory"] = before["slots"][0]["memory"].clone();
    }
    assert_eq!(after, before);
    assert!(last > 0);
    rsx.ok("describe a").prints(&["waiting restart", "exit code 3"]);
    rsx.ok("why a").prints(&["reason"]);
}

#[test]
fn a_stop_that_was_begun_is_finished() {
    let rsx = Rsx::new();
    rsx.script("slow.sh", "trap 'sleep 0.4; echo flushed; exit 0' TERM\necho up > up\nwhile :; do sleep 0.02; done\n");
    rsx.ok("start slow.sh --name a --min-uptime 50");
    rsx.wait_for_word("up");
    let (daemon, _) = rsx.daemon();
    rsx.ok("stop a --no-wait");
    daemon.kill("KILL");
    daemon.ends();
    rsx.events().wait_for("a", "stopped");
    assert_eq!(rsx.state("a"), "stopped");
    rsx.wait_for_text(&rsx.log("a-out.log"), |text| text == "flushed\n");
    rsx.ok("describe a").prints(&["exit code 0, stopped by request"]);
}

#[test]
fn what_deaf_programs_and_their_trees_have_coming_they_get_from_the_successor() {
    let rsx = Rsx::new();
    rsx.script("child.sh", "trap '' TERM HUP\necho $$ > child\nwhile :; do sleep 1000; done\n");
    rsx.ok("start 'bash child.sh & sleep 1000' --name a --min-uptime 50 --kill-timeout 700");
    let child = Watched::new(rsx.wait_for_word("child").parse().unwrap());
    let (daemon, _) = rsx.daemon();
    rsx.ok("stop a --no-wait");
    rsx.events().wait_for("a", "exited");
    daemon.kill("KILL");
    rsx.events().wait_for("a", "stopped");
    assert!(!child.lives());
    assert_eq!(rsx.processes().len(), 0);
}

#[test]
fn a_run_that_is_not_ready_yet_becomes_ready_under_the_next_daemon() {
    if !requires("python3") {
        return;
    }
    let mut rsx = Rsx::new();
    rsx.write("ready.py", READY);
    rsx.set_env("LATE", "0.6");
    rsx.ok("start ready.py --name a --no-wait --min-uptime 60s");
    rsx.events().wait_for("a", "started");
    rsx.daemon().0.kill("KILL");
    let online = rsx.events().wait_for("a", "online");
    assert_eq!(online.get("by"), "notified");
}

#[test]
fn a_daemon_that_was_replaced_writes_to_the_inputs_that_its_predecessor_held() {
    let rsx = Rsx::new();
    rsx.ok("start 'while read line; do echo got $line; done' --name a --min-uptime 50");
    rsx.daemon().0.kill("KILL");
    rsx.ok("send 0 hello");
    rsx.wait_for_text(&rsx.log("a-out.log"), |text| text == "got hello\n");
}

/// A copy of the binary that calls itself another release.
#[track_caller]
fn release(rsx: &Rsx, name: &str, version: &str) -> String {
    let own = env!("CARGO_PKG_VERSION").as_bytes();
    assert_eq!(own.len(), version.len(), "the release is replaced in place");
    let mut bytes = std::fs::read(BINARY).unwrap();
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(&bytes[at..], own) {
        bytes[at + found..at + found + own.len()].copy_from_slice(version.as_bytes());
        at += found + own.len();
    }
    rsx.program(name, &bytes).display().to_string()
}

const OTHER: &str = "9.8.7";

/// What is done while a daemon dies at one place or another: each step again, until it holds.
#[cfg(feature = "failpoints")]
#[test]
fn a_death_at_any_place_is_made_good() {
    if !requires("python3") {
        return;
    }
    let only = std::env::var("RSX_TEST_PLACE").ok();
    for place in
        rsx::daemon::failpoint::PLACES.iter().filter(|place| only.as_deref().is_none_or(|only| only == **place))
    {
        let mut rsx = Rsx::new();
        let file = rsx.scratch().join("failpoint");
        rsx.set_env("RSX_FAILPOINT", &file);
        rsx.write("lines.py", LINES);
        rsx.ok("start lines.py --min-uptime 50 --kill-timeout 5s");
        let witness = rsx.pid("lines");
        let steps = [
            "start 'sleep 1000' --name a --min-uptime 50 --kill-timeout 2s",
            "restart a",
            "stop a",
            "start a",
            "delete a",
        ];
        let mut hits = 0;
        // Two deaths a step, and the pauses of the guardian grow.
        let adopts = *place == "adopting";
        for step in steps.iter().take(if adopts { 3 } else { 5 }) {
            let (daemon, _) = rsx.daemon();
            // The guardian pauses where one daemon follows another within a second.
            std::thread::sleep(Duration::from_millis(1050));
            std::fs::write(&file, place).unwrap();
            if adopts {
                daemon.kill("KILL");
            }
            rsx.ok(step);
            let was_hit = !file.exists();
            // Not every place lies on the way of every step.
            let _ = std::fs::remove_file(&file);
            hits += usize::from(was_hit);
            assert_eq!(rsx.pid("lines"), witness, "{place}: `{step}`");
            let wanted = match step.split_whitespace().next().unwrap() {
                "start" | "restart" => 2,
                _ => 1,
            };
            assert_eq!(rsx.processes().len(), wanted, "{place}: `{step}`: {:?}", rsx.processes());
        }
        rsx.ok("stop all");
        check_lines(&rsx, "lines-out.log");
        assert!(hits > 0, "nothing comes by {place}");
    }
}

/// The daemon dies with bytes in its hands, in each way in which it holds them.
#[cfg(feature = "failpoints")]
#[test]
fn a_death_at_any_place_of_log_bytes_loses_no_line() {
    if !requires("python3") {
        return;
    }
    for place in rsx::daemon::failpoint::LOG_PLACES {
        for keys in ["", "time = true", "time = true\nlog_file = \"all.log\""] {
            let mut rsx = Rsx::new();
            let file = rsx.scratch().join("failpoint");
            rsx.set_env("RSX_FAILPOINT", &file);
            rsx.write("lines.py", LINES);
            rsx.ecosystem(&format!(
                "[[apps]]\nname = \"lines\"\nscript = \"lines.py\"\nkill_timeout = \"5s\"\n{keys}\n\
                 rotate = {{ size = \"8K\", keep = 100000, compress = false }}\n"
            ));
            rsx.ok("start ecosystem.toml");
            for _ in 0..3 {
                // The guardian pauses where one daemon follows another within a second.
                std::thread::sleep(Duration::from_millis(1050));
                let (daemon, _) = rsx.daemon();
                std::fs::write(&file, place).unwrap();
                assert!(daemon.has_ended_within(Duration::from_secs(10)), "{place} {keys}");
            }
            rsx.ok("stop all");
            check_lines(&rsx, "lines-out.log");
        }
    }
}

#[test]
fn updates_back_and_forth_change_no_pid_and_lose_no_line() {
    if !requires("python3") {
        return;
    }
    let rsx = Rsx::new();
    rsx.write("lines.py", LINES);
    rsx.write("ready.py", READY);
    let (own, other) = (release(&rsx, "own", env!("CARGO_PKG_VERSION")), release(&rsx, "other", OTHER));
    rsx.ecosystem(
        "[[apps]]\nname = \"lines\"\nscript = \"lines.py\"\n[[apps]]\nname = \"ready\"\nscript = \"ready.py\"\n",
    );
    rsx.ok("start ecosystem.toml");
    let (pids, guardian) = (rsx.ok("pid").out, rsx.daemon().1);
    for round in 0..3 {
        for (binary, version) in [(&other, OTHER), (&own, env!("CARGO_PKG_VERSION"))] {
            let before = rsx.daemon().0;
            rsx.ok(&format!("update {binary}")).says(&["no app noticed"]);
            let (daemon, same) = rsx.daemon();
            assert_eq!((daemon.pid == before.pid, same.pid), (false, guardian.pid), "round {round}");
            assert_eq!(rsx.ok("pid").out, pids, "round {round}");
            assert_eq!(rsx.json("ping")["version"], version);
        }
    }
    assert!(!rsx.own_processes().is_empty());
    rsx.ok("stop all");
    check_lines(&rsx, "lines-out.log");
}

#[test]
fn a_release_that_cannot_take_over_changes_nothing() {
    let rsx = Rsx::new();
    rsx.ok("start 'sleep 1000' --name a --min-uptime 50");
    let pid = rsx.pid("a");
    let before = rsx.daemon();
    rsx.script("broken", "#!/bin/sh\necho no such thing >&2\nexit 3\n");
    rsx.fails(1, "update ./broken").says(&["no such thing"]);
    let same = rsx.daemon();
    assert_eq!((same.0.pid, same.1.pid), (before.0.pid, before.1.pid));
    // It rehearses well, and then does not come up: the daemon that ran goes on.
    rsx.script("liar", "#!/bin/sh\n[ \"$2\" = --rehearse ] && exec echo rehearsed 9.9.9 guardian-state 1 1\nexit 3\n");
    rsx.fails(1, "update ./liar").says(&["exit code 3"]);
    assert_eq!(rsx.pid("a"), pid);
    let next = rsx.daemon();
    assert_eq!(next.1.pid, before.1.pid);
    rsx.ok("ls").says(&["update"]);
}

#[test]
fn an_update_mends_a_daemon_that_has_lost_its_guardian() {
    if !requires("python3") {
        return;
    }
    let rsx = Rsx::new();
    rsx.write("lines.py", LINES);
    rsx.ok("start lines.py --min-uptime 50 --kill-timeout 5s");
    rsx.ok("start 'read line; exit 42' --name a --min-uptime 50 --no-autorestart");
    let (pids, (daemon, guardian)) = (rsx.ok("pid").out, rsx.daemon());
    guardian.kill("KILL");
    guardian.ends();
    rsx.ok("ls").says(&["guardian", "rsx update"]);
    rsx.script("broken", "#!/bin/sh\nexit 3\n");
    rsx.fails(1, "update ./broken").says(&["exit code 3"]);
    rsx.ok(&format!("update {BINARY}")).says(&["no app noticed"]);
    let (next, mended) = rsx.daemon();
    // The daemon has become the guardian.
    assert_eq!((mended.pid, next.pid == daemon.pid), (daemon.pid, false));
    assert_eq!(rsx.ok("pid").out, pids);
    // Inputs, ends and output are as they were.
    rsx.ok("send a x");
    assert_eq!(rsx.events().wait_for("a", "exited").get("status")["code"], 42);
    next.kill("KILL");
    rsx.ok("restart a --no-wait");
    rsx.ok("stop all");
    check_lines(&rsx, "lines-out.log");
    assert_eq!(rsx.own_processes().len(), 2, "{:?}", rsx.own_processes());
}
