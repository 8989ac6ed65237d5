//! The life of daemon and guardian.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;

use crate::harness::{BINARY, LIMIT, Rsx, Watched};

const THREE: &str = "[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\n\
     [[apps]]\nname = \"b\"\nscript = \"sleep 1000\"\ninstances = 2\nexec_mode = \"fork\"\n\
     [[apps]]\nname = \"off\"\nscript = \"sleep 1000\"\nautostart = false\n";

fn started() -> Rsx {
    let rsx = Rsx::new();
    rsx.ecosystem(THREE);
    rsx.ok("start ecosystem.toml");
    rsx
}

/// Names, ids, states and restarts of all instances.
#[track_caller]
fn picture(rsx: &Rsx) -> Vec<(String, u64, String)> {
    let apps = rsx.apps();
    let slots = apps.iter().flat_map(|app| {
        let name = app["name"].as_str().unwrap();
        app["slots"].as_array().unwrap().iter().map(move |slot| {
            (name.to_owned(), slot["id"].as_u64().unwrap(), slot["state"].as_str().unwrap().to_owned())
        })
    });
    slots.collect()
}

#[test]
fn five_first_starts_at_once_give_one_daemon_and_five_successes() {
    let rsx = Rsx::new();
    std::thread::scope(|scope| {
        let rsx = &rsx;
        let starting: Vec<_> = (0..5)
            .map(|n| scope.spawn(move || rsx.run(&format!("start 'sleep 1000' --name app{n} --min-uptime 100"))))
            .collect();
        for one in starting {
            let done = one.join().unwrap();
            assert_eq!(done.code, 0, "{}", done.err);
        }
    });
    assert_eq!(rsx.apps().len(), 5);
    assert_eq!(rsx.processes().len(), 5);
    assert_eq!(rsx.own_processes().len(), 2, "one guardian and one daemon");
}

#[test]
fn nobody_else_can_reach_home_and_socket() {
    let rsx = started();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(rsx.home()), 0o700);
    assert_eq!(mode(rsx.socket()), 0o600);
    assert_eq!(mode(rsx.home().join("rsx.lock")), 0o600);
    assert_eq!(mode(rsx.home().join("logs")), 0o750);
}

#[test]
fn verbs_that_read_start_no_daemon() {
    let rsx = Rsx::new();
    for verb in ["ls", "list", "logs", "logs --nostream"] {
        let done = rsx.ok(verb);
        assert!(!done.out.contains("online"));
        done.says(&["no rsx daemon runs"]);
    }
    assert_eq!(rsx.ok("jlist").json(), json!([]));
    assert_eq!(rsx.json("ls"), json!([]));
    rsx.ok("kill").says(&["no rsx daemon runs"]);
    for verb in ["ping", "stop all", "restart all", "delete all", "describe a", "pid", "events"] {
        rsx.fails(3, verb).says(&["no rsx daemon runs", "hint: `rsx start`"]);
    }
    assert_eq!(rsx.fails(3, "ping --json").json()["error"]["code"], 3);
    rsx.ok("version").prints(&[env!("CARGO_PKG_VERSION")]);
    assert!(!rsx.home().exists(), "a verb that only reads has made the home");
}

#[test]
fn a_ping_is_answered() {
    let rsx = started();
    assert_eq!(rsx.ok("ping").out, "pong\n");
    let (daemon, guardian) = rsx.daemon();
    assert_eq!(rsx.ok("pid --daemon").out, format!("{}\n", daemon.pid));
    assert_eq!(std::fs::read_to_string(rsx.home().join("rsx.lock")).unwrap().trim(), guardian.pid.to_string());
}

#[test]
fn kill_ends_all_and_a_new_start_begins_anew() {
    let rsx = started();
    let (daemon, guardian) = rsx.daemon();
    rsx.ok("kill").says(&["stopped a, b (2 instances)", "the rsx daemon has ended"]);
    // Their lock is free a moment before they are gone.
    daemon.ends();
    guardian.ends();
    assert_eq!(rsx.processes().len(), 0);
    assert!(!rsx.socket().exists());
    rsx.ok("start ecosystem.toml");
    assert_eq!(rsx.processes().len(), 3);
}

#[test]
fn a_signal_to_daemon_or_guardian_stops_all_apps_properly() {
    for whom in ["daemon", "guardian"] {
        let rsx = Rsx::new();
        rsx.script("app.sh", "trap 'echo proper end; exit 0' TERM\necho up > up\nwhile :; do sleep 0.05; done\n");
        rsx.ok("start app.sh --min-uptime 200 --kill-timeout 5s");
        rsx.wait_for_word("up");
        let (daemon, guardian) = rsx.daemon();
        let mut events = rsx.events();
        if whom == "daemon" {
            daemon.kill("TERM")
        } else {
            guardian.kill("TERM")
        }
        daemon.ends();
        guardian.ends();
        events.wait("the farewell", |event| event.is("daemon_leaving"));
        assert_eq!(events.end(), 0);
        assert_eq!(rsx.processes().len(), 0);
        assert_eq!(std::fs::read_to_string(rsx.log("app-out.log")).unwrap(), "proper end\n", "{whom}");
        assert!(!rsx.socket().exists());
    }
}

#[test]
fn a_killed_daemon_is_replaced_and_no_app_notices() {
    let rsx = started();
    rsx.ok("stop 1");
    let before = picture(&rsx);
    let (daemon, guardian) = rsx.daemon();
    let apps: Vec<Watched> = rsx.processes().iter().map(|found| Watched::new(found.pid)).collect();
    let mut events = rsx.events();
    events.wait("this daemon", |event| event.is("daemon_ready"));
    daemon.kill("KILL");
    daemon.ends();
    // The stream goes on with the next daemon.
    let ready = events.wait("the next daemon", |event| event.is("daemon_ready") && *event.get("restarts") != json!(0));
    assert_eq!(ready.get("restarts"), 1);
    assert_eq!(picture(&rsx), before);
    assert_eq!(rsx.processes().len(), 2, "{:?}", rsx.processes());
    assert!(apps.iter().all(Watched::lives));
    let (next, same) = rsx.daemon();
    assert_eq!((next.pid == daemon.pid, same.pid), (false, guardian.pid));
}

#[test]
fn a_daemon_without_guardian_goes_on() {
    let rsx = started();
    let (daemon, guardian) = rsx.daemon();
    // A child in a session of its own, which the guardian has adopted.
    rsx.ok("start \"setsid sh -c 'sleep 4321 & echo \\$! > child' & sleep 1000\" --name parent --min-uptime 100");
    let child = Watched::new(rsx.wait_for_word("child").parse().unwrap());
    let before = rsx.ok("pid").out;
    guardian.kill("KILL");
    guardian.ends();
    assert_eq!(rsx.ok("pid").out, before);
    assert_eq!(rsx.json("ping")["guardian"], 0);
    rsx.ok("restart a");
    rsx.ok("start 'sleep 1000' --name late --min-uptime 100");
    let pid = Watched::new(rsx.pid("late"));
    pid.kill("KILL");
    rsx.events().wait("its replacement", |event| event.of("late") && event.is("started") && event.pid() != pid.pid);
    assert!(child.lives());
    let done = rsx.run_with("kill", b"", LIMIT);
    assert_eq!(done.code, 0, "{}", done.err);
    // Its lock is free a moment before it is gone.
    daemon.ends();
    assert_eq!(rsx.processes().len(), 0);
}

#[test]
fn what_lives_on_without_guardian_and_daemon_is_taken_over_by_the_next_verb() {
    let rsx = started();
    let (daemon, guardian) = rsx.daemon();
    let apps: Vec<Watched> = rsx.processes().iter().map(|found| Watched::new(found.pid)).collect();
    guardian.kill("KILL");
    daemon.kill("KILL");
    guardian.ends();
    daemon.ends();
    rsx.ok("ls").says(&["no rsx daemon runs", "rsx resurrect"]);
    // One ends while nobody looks.
    apps[0].kill("KILL");
    apps[0].ends();
    rsx.ok("start ecosystem.toml");
    assert!(apps[1..].iter().all(Watched::lives));
    let mut events = rsx.events();
    let is_known = |pid| apps.iter().any(|app| app.pid == pid);
    events.wait("its replacement", |event| event.is("started") && !is_known(event.pid()));
    assert_eq!(rsx.processes().len(), apps.len(), "{:?}", rsx.processes());
    rsx.ok("stop all");
    assert_eq!(rsx.processes().len(), 0, "{:?}", rsx.processes());
}

#[test]
fn a_binary_says_in_its_rehearsal_that_it_could_take_over() {
    let rsx = Rsx::new();
    let line = format!("rehearsed {} guardian-state 1 1\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(rsx.ok("daemon --rehearse").out, line);
    assert!(!rsx.home().exists(), "a rehearsal changes nothing");
}

#[test]
fn apps_run_with_the_limits_and_the_badness_of_the_shell() {
    let rsx = Rsx::new();
    rsx.script("app.sh", "(ulimit -Sn; cat /proc/self/oom_score_adj) > facts\necho up > up\nexec sleep 1000\n");
    let start = format!("{BINARY} start app.sh --min-uptime 100");
    let line = format!("echo 900 > /proc/self/oom_score_adj; ulimit -Sn 200; exec {start}");
    let environment: Vec<_> = rsx.command().get_envs().map(|(n, v)| (n.to_owned(), v.map(ToOwned::to_owned))).collect();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &line]).current_dir(rsx.scratch()).env_clear();
    shell.envs(environment.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let done = rsx.run_command(shell);
    assert_eq!(done.code, 0, "{}", done.err);
    rsx.wait_for_word("up");
    assert_eq!(std::fs::read_to_string(rsx.scratch().join("facts")).unwrap(), "200\n900\n");
    let (daemon, guardian) = rsx.daemon();
    for process in [daemon, guardian] {
        let badness = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", process.pid)).unwrap();
        // How far down is a matter of rights.
        assert!(badness.trim().parse::<i32>().unwrap() <= 900, "{badness}");
    }
}

#[test]
fn events_tell_who_asked() {
    let rsx = started();
    rsx.ok("restart a");
    let mut events = rsx.events();
    let stopping = events.wait_for("a", "stopping");
    let uid = nix::unistd::getuid().as_raw();
    assert_eq!((&stopping.json["verb"], &stopping.json["uid"]), (&json!("restart"), &json!(uid)));
    let numbers: Vec<u64> = events.seen().iter().map(|event| event.json["seq"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    rsx.ok("version --json").prints(&[env!("CARGO_PKG_VERSION")]);
}
