//! One daemon has died and the next has not come: what verbs make of it.

use serde_json::{Value, json};

use crate::harness::{Rsx, Watched};

const TWO: &str = "[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\n\
     [[apps]]\nname = \"b\"\nscript = \"sleep 1000\"\ninstances = 2\nexec_mode = \"fork\"\n";

fn started() -> Rsx {
    let rsx = Rsx::new();
    rsx.ecosystem(TWO);
    rsx.ok("start ecosystem.toml");
    rsx
}

/// The names in an answer of `ls --json`.
fn names(apps: &Value) -> Vec<&str> {
    apps.as_array().unwrap().iter().filter_map(|app| app["name"].as_str()).collect()
}

#[test]
fn five_verbs_in_the_gap_get_five_right_answers_from_one_daemon() {
    let rsx = started();
    for round in 0..3 {
        let (daemon, guardian) = rsx.daemon();
        daemon.kill("KILL");
        let verbs =
            ["ls --json", "restart a", "ping --json", "start 'sleep 1000' --name late --min-uptime 100", "id b --json"];
        let answers = std::thread::scope(|scope| {
            let rsx = &rsx;
            let asked = verbs.map(|verb| scope.spawn(move || rsx.run(verb)));
            asked.map(|verb| verb.join().unwrap())
        });
        for (verb, answer) in verbs.iter().zip(&answers) {
            assert_eq!(answer.code, 0, "round {round}, `{verb}`: {}", answer.err);
        }
        let listed = answers[0].json();
        assert!(["a", "b"].iter().all(|name| names(&listed).contains(name)), "round {round}: {listed}");
        assert_ne!(answers[2].json()["pid"], json!(daemon.pid));
        assert_eq!(answers[4].json(), json!([1, 2]));
        let (next, same) = rsx.daemon();
        assert_eq!((next.pid == daemon.pid, same.pid), (false, guardian.pid));
        assert_eq!(rsx.own_processes().len(), 2, "{:?}", rsx.own_processes());
    }
    assert_eq!(rsx.processes().len(), 4, "{:?}", rsx.processes());
}

#[test]
fn a_verb_whose_daemon_dies_is_answered_by_the_next_one() {
    let rsx = Rsx::new();
    rsx.script("slow.sh", "trap 'sleep 0.3; exit 0' TERM\necho up\nwhile :; do sleep 0.05; done\n");
    rsx.ok("start slow.sh --min-uptime 100");
    let mut events = rsx.events();
    std::thread::scope(|scope| {
        let rsx = &rsx;
        let restart = scope.spawn(move || rsx.run("restart slow"));
        events.wait_for("slow", "stopping");
        rsx.daemon().0.kill("KILL");
        let done = restart.join().unwrap();
        assert_eq!(done.code, 0, "{}", done.err);
        done.says(&["restarted slow"]);
    });
    // The stream has followed to the next daemon as well.
    events.wait("the next daemon", |event| event.is("daemon_ready") && *event.get("restarts") == json!(1));
    assert_eq!(rsx.state("slow"), "online");
}

#[test]
fn a_daemon_that_ends_for_good_is_said_to_have_ended() {
    let rsx = Rsx::new();
    rsx.script("slow.sh", "trap 'sleep 0.3; exit 0' TERM\necho up\nwhile :; do sleep 0.05; done\n");
    rsx.ok("start slow.sh --min-uptime 100");
    let (daemon, guardian) = rsx.daemon();
    let mut events = rsx.events();
    std::thread::scope(|scope| {
        let rsx = &rsx;
        let stop = scope.spawn(move || rsx.run("stop slow"));
        events.wait_for("slow", "stopping");
        guardian.kill("KILL");
        daemon.kill("KILL");
        let done = stop.join().unwrap();
        assert_eq!(done.code, 3, "{}", done.err);
        done.says(&["the rsx daemon has ended", "ended before it answered", "hint: `rsx start`"]);
    });
    assert_eq!(events.end(), 0);
    // Nobody supervises these any more.
    for left in rsx.processes() {
        let left = Watched::new(left.pid);
        left.kill("KILL");
        left.ends();
    }
}

#[test]
fn the_list_says_that_the_guardian_is_gone_and_how_to_mend_that() {
    let rsx = started();
    assert_eq!(rsx.ok("ls").err, "");
    let guardian = rsx.daemon().1;
    guardian.kill("KILL");
    guardian.ends();
    rsx.ok("ls").says(&["notice: the daemon has lost its guardian", "`rsx update`"]);
}
