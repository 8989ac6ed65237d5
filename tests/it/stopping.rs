//! How a run ends, and that nothing of its tree stays.

use crate::harness::{Rsx, Watched, requires};

/// A child that has left its session and its parent, as daemons of the old school do.
const OLD_SCHOOL: &str = "setsid sh -c 'sleep 4321 & echo $! > grandchild' & wait\n";

#[track_caller]
fn pid_in(rsx: &Rsx, name: &str) -> Watched {
    Watched::new(rsx.wait_for_word(name).parse().unwrap())
}

#[test]
fn a_deaf_program_is_killed_after_its_timeout() {
    let rsx = Rsx::new();
    rsx.script("deaf.sh", "trap '' TERM\necho up > up\nwhile :; do sleep 1000; done\n");
    rsx.ok("start deaf.sh --min-uptime 100 --kill-timeout 400");
    rsx.wait_for_word("up");
    rsx.ok("stop deaf");
    let mut events = rsx.events();
    events.wait_for("deaf", "stopping");
    events.wait_for("deaf", "killed");
    events.wait_for("deaf", "stopped");
    assert_eq!(rsx.processes().len(), 0);
    rsx.ok("describe deaf").prints(&["SIGKILL", "did not end within 400ms"]);
}

#[test]
fn the_signal_of_the_owner_is_sent() {
    let rsx = Rsx::new();
    rsx.script(
        "app.sh",
        "trap 'echo got INT; exit 0' INT\ntrap 'echo got TERM; exit 1' TERM\necho up > up\nwhile :; do sleep 0.05; done\n",
    );
    rsx.ok("start app.sh --min-uptime 100 --stop-signal SIGINT --kill-timeout 5s");
    rsx.wait_for_word("up");
    rsx.ok("stop app");
    assert_eq!(rsx.events().wait_for("app", "stopping").get("signal"), "SIGINT");
    rsx.wait_for_text(&rsx.log("app-out.log"), |text| text == "got INT\n");
}

#[test]
fn a_program_may_take_its_time_to_end_well() {
    let rsx = Rsx::new();
    rsx.script("app.sh", "trap 'sleep 0.5; echo flushed; exit 0' TERM\necho up > up\nwhile :; do sleep 0.05; done\n");
    rsx.ok("start app.sh --min-uptime 100");
    rsx.wait_for_word("up");
    rsx.ok("stop app");
    rsx.wait_for_text(&rsx.log("app-out.log"), |text| text == "flushed\n");
}

#[test]
fn a_shell_and_its_child_in_the_background_end_together() {
    let rsx = Rsx::new();
    rsx.ok(
        "start \"sh -c 'sleep 1000 & sleep 1001 & echo up > up; wait'\" --name pair --min-uptime 100 --kill-timeout 2s",
    );
    rsx.wait_for_word("up");
    assert_eq!(rsx.processes().len(), 3);
    rsx.ok("stop pair");
    assert_eq!(rsx.processes().len(), 0);
    let mut events = rsx.events();
    events.wait_for("pair", "stopped");
    assert_eq!(events.count("pair", "killed"), 0, "they were asked first");
}

#[test]
fn a_grandchild_in_a_session_of_its_own_ends_with_its_run() {
    let rsx = Rsx::new();
    rsx.script("app.sh", OLD_SCHOOL);
    // The last command waits, so that the run goes on without the child it has lost.
    rsx.ok("start \"sh app.sh; sleep 1000\" --name a --min-uptime 100 --kill-timeout 2s");
    let grandchild = pid_in(&rsx, "grandchild");
    rsx.ok("stop a");
    assert!(!grandchild.lives(), "the grandchild was left");
    assert_eq!(rsx.processes().len(), 0);
}

#[test]
fn what_a_crashed_run_left_ends_before_the_next_one_starts() {
    let rsx = Rsx::new();
    rsx.script("app.sh", OLD_SCHOOL);
    rsx.ok("start \"sh app.sh; sleep 1000\" --name a --min-uptime 100 --kill-timeout 2s");
    let (main, grandchild) = (Watched::new(rsx.pid("a")), pid_in(&rsx, "grandchild"));
    let mut events = rsx.events();
    events.wait_for("a", "online");
    main.kill("KILL");
    assert_eq!(events.wait_for("a", "exited").get("left"), true);
    events.wait_for("a", "started");
    assert!(!grandchild.lives(), "the grandchild of the crashed run was left");
    events.wait_for("a", "online");
    let next = rsx.wait_for_text(&rsx.scratch().join("grandchild"), |text| {
        text.trim().parse() != Ok(grandchild.pid) && text.ends_with('\n')
    });
    assert!(Watched::new(next.trim().parse().unwrap()).lives());
}

#[test]
fn a_deaf_child_that_was_left_is_killed() {
    let rsx = Rsx::new();
    rsx.script("child.sh", "trap '' TERM HUP\necho $$ > child\nwhile :; do sleep 1000; done\n");
    rsx.ok("start 'bash child.sh & sleep 1000' --name a --min-uptime 100 --kill-timeout 400");
    let child = pid_in(&rsx, "child");
    rsx.ok("stop a");
    assert!(!child.lives());
    assert_eq!(rsx.processes().len(), 0);
    rsx.events().wait_for("a", "killed");
}

#[test]
fn children_are_left_alone_where_the_owner_says_so() {
    let rsx = Rsx::new();
    rsx.ok("start 'sleep 1000 & echo $! > child; exec sleep 2000' --name a --min-uptime 100 --no-treekill");
    let child = pid_in(&rsx, "child");
    rsx.ok("stop a");
    assert!(child.lives());
    child.kill("KILL");
    child.ends();
    assert_eq!(rsx.processes().len(), 0);
}

#[test]
fn a_stop_ends_what_waits_for_its_restart() {
    let rsx = Rsx::new();
    rsx.fails(5, "start 'exit 1' --name a --restart-delay 60s");
    let mut events = rsx.events();
    events.wait_for("a", "waiting");
    assert_eq!(rsx.state("a"), "waiting restart");
    rsx.ok("stop a");
    assert_eq!(rsx.state("a"), "stopped");
}

#[test]
fn what_is_started_during_a_stop_ends_with_it() {
    let rsx = Rsx::new();
    rsx.script("app.sh", "trap 'setsid sleep 4321 & exit 0' TERM\necho up > up\nwhile :; do sleep 0.05; done\n");
    rsx.ok("start app.sh --min-uptime 100 --kill-timeout 2s");
    rsx.wait_for_word("up");
    rsx.ok("stop app");
    assert_eq!(rsx.processes().len(), 0, "{:?}", rsx.processes());
}

/// Forks, ends and leaves its session again and again: it is never where it was a moment ago.
const HOPPER: &str = "
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() > 0:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(1000)
print('up', flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    os.setsid()
    time.sleep(0.002)
    if os.fork() > 0:
        os._exit(0)
";

#[test]
fn a_program_that_moves_on_by_forking_does_not_escape() {
    if !requires("python3") {
        return;
    }
    let rsx = Rsx::new();
    rsx.write("hopper.py", HOPPER);
    for name in ["a", "b", "c", "d"] {
        rsx.ok(&format!("start hopper.py --name {name} --min-uptime 20 --kill-timeout 150"));
        rsx.wait_for_text(&rsx.log(&format!("{name}-out.log")), |text| text == "up\n");
    }
    for name in ["a", "b", "c", "d"] {
        rsx.ok(&format!("stop {name}"));
        rsx.events().wait_for(name, "killed");
    }
    assert_eq!(rsx.processes().len(), 0, "{:?}", rsx.processes());
}
