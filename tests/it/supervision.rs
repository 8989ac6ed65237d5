//! What happens when a run ends, by itself or by force.

use serde_json::json;

use crate::harness::{Rsx, Watched, zombies_of};

#[test]
fn a_killed_app_is_replaced_at_once_and_its_end_is_remembered() {
    let rsx = Rsx::new();
    rsx.ecosystem("[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\n");
    rsx.ok("start ecosystem.toml");
    let before = rsx.pid("a");
    let mut events = rsx.events();
    events.wait_for("a", "online");
    Watched::new(before).kill("KILL");
    let exited = events.wait_for("a", "exited");
    assert_eq!((exited.pid(), exited.get("asked")), (before, &json!(false)));
    assert_eq!(events.wait_for("a", "waiting").get("delay"), 0);
    let started = events.wait_for("a", "started");
    events.wait_for("a", "online");
    let slot = rsx.slot("a", 0);
    assert_eq!((&slot["pid"], &slot["restarts"]), (&json!(started.pid()), &json!(1)));
    assert_ne!(started.pid(), before);
    let last = &rsx.json("describe a")[0]["slots"][0]["history"][0];
    assert_eq!((&last["pid"], &last["status"]["signal"]["signal"]), (&json!(before), &json!("SIGKILL")));
    rsx.ok("describe a").prints(&["SIGKILL"]);
    let (daemon, guardian) = rsx.daemon();
    assert_eq!((zombies_of(daemon.pid), zombies_of(guardian.pid)), (vec![], vec![]));
}

#[test]
fn a_script_that_exits_at_once_fails_the_start_with_its_last_words() {
    let rsx = Rsx::new();
    rsx.script("bad.sh", "echo 'first line' >&2\necho 'the table is missing' >&2\nexit 3\n");
    rsx.ecosystem(
        "[[apps]]\nname = \"bad\"\nscript = \"bad.sh\"\nmax_restarts = 3\nmin_uptime = \"5s\"\nretry_after = \"off\"\n",
    );
    let done = rsx.fails(5, "start ecosystem.toml");
    done.says(&["`bad:0`", "exit code 3", "| first line", "| the table is missing", "rsx logs bad"]);
    // The verb has ended, the supervision goes on.
    let mut events = rsx.events();
    let delays: Vec<u64> = (0..2).map(|_| events.wait_for("bad", "waiting").get("delay").as_u64().unwrap()).collect();
    assert_eq!(delays[0], 0);
    assert!((90..=110).contains(&delays[1]), "{delays:?}");
    let errored = events.wait_for("bad", "errored");
    assert!(errored.get("reason").as_str().unwrap().starts_with("exit code 3, 3 lives"), "{errored:?}");
    assert_eq!((errored.get("retry"), events.count("bad", "started")), (&json!(null), 3));
    assert_eq!(rsx.state("bad"), "errored");
    rsx.ok("ls").prints(&["bad: errored: exit code 3"]);
    rsx.ok("describe bad").prints(&["errored", "exit code 3", "the table is missing"]);
}

#[test]
fn an_errored_app_is_tried_again_and_again_until_it_stays() {
    let rsx = Rsx::new();
    rsx.script("app.sh", "test -e ready || exit 1\nexec sleep 1000\n");
    rsx.ecosystem(
        "[[apps]]\nname = \"a\"\nscript = \"app.sh\"\nmax_restarts = 1\nmin_uptime = \"1s\"\nretry_after = \"200ms\"\n",
    );
    rsx.fails(5, "start ecosystem.toml").says(&["exit code 1"]);
    let mut events = rsx.events();
    assert_eq!(events.wait_for("a", "errored").get("retry"), 200);
    let again = events.wait_for("a", "started");
    assert_eq!(again.json.get("verb"), None, "nobody asked for it");
    events.wait_for("a", "errored");
    rsx.write("ready", "");
    events.wait_for("a", "online");
    assert_eq!(rsx.state("a"), "online");
}

#[test]
fn a_code_that_means_finished_ends_it_and_a_signal_never_does() {
    let rsx = Rsx::new();
    rsx.ecosystem(
        "[[apps]]\nname = \"done\"\nscript = \"sleep 1; exit 7\"\nstop_exit_codes = [7]\n\
         [[apps]]\nname = \"zero\"\nscript = \"sleep 1000\"\nstop_exit_codes = [0]\n",
    );
    rsx.ok("start ecosystem.toml");
    let mut events = rsx.events();
    assert_eq!(events.wait_for("done", "stopped").get("reason"), "finished: exit code 7");
    assert_eq!(rsx.state("done"), "stopped");
    let before = rsx.pid("zero");
    Watched::new(before).kill("KILL");
    events.wait("a new run of `zero`", |e| e.of("zero") && e.is("started") && e.pid() != before);
    Watched::new(rsx.pid("zero")).kill("TERM");
    events.wait_for("zero", "waiting");
    events.wait_for("zero", "online");
}

#[test]
fn policies_decide_which_ends_are_followed_by_a_restart() {
    let rsx = Rsx::new();
    let app = |name, code, policy| {
        format!("[[apps]]\nname = \"{name}\"\nscript = \"sleep 1; exit {code}\"\nrestart = \"{policy}\"\n")
    };
    rsx.ecosystem(
        &[app("f0", 0, "on-failure"), app("f1", 1, "on-failure"), app("n0", 0, "never"), app("n1", 1, "never")]
            .concat(),
    );
    rsx.ok("start ecosystem.toml");
    let mut events = rsx.events();
    for name in ["f0", "n0", "n1"] {
        rsx.events().wait_for(name, "stopped");
    }
    events.wait_for("f1", "waiting");
    events.wait_for("f1", "started");
    for name in ["f0", "n0", "n1"] {
        assert_eq!((rsx.state(name), events.count(name, "waiting")), ("stopped".into(), 0), "{name}");
    }
}

#[test]
fn a_job_that_ends_well_before_it_is_ready_has_succeeded() {
    let rsx = Rsx::new();
    rsx.ok("start true --no-autorestart");
    assert_eq!(rsx.state("true"), "stopped");
    rsx.fails(5, "start false --no-autorestart").says(&["exit code 1"]);
    assert_eq!(rsx.state("false"), "stopped");
}

#[test]
fn a_restart_gives_a_new_process_and_also_wakes_what_is_stopped() {
    let rsx = Rsx::new();
    rsx.ecosystem("[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\n");
    rsx.ok("start ecosystem.toml");
    let before = Watched::new(rsx.pid("a"));
    rsx.ok("restart a");
    assert!(!before.lives() && rsx.pid("a") != before.pid);
    rsx.ok("stop a");
    rsx.ok("restart a");
    assert_eq!((rsx.state("a"), rsx.processes().len()), ("online".into(), 1));
}

#[test]
fn one_bad_app_hides_and_stops_no_other() {
    let rsx = Rsx::new();
    rsx.ecosystem(
        "[[apps]]\nname = \"bad\"\nscript = \"./nowhere.sh\"\n[[apps]]\nname = \"good\"\nscript = \"sleep 1000\"\n\
         [[apps]]\nname = \"worse\"\nscript = \"exit 9\"\nmax_restarts = 1\nmin_uptime = \"5s\"\n",
    );
    let done = rsx.fails(5, "start ecosystem.toml");
    done.says(&["`bad:0`", "nowhere.sh", "`worse:0`", "exit code 9"]).prints(&["good"]);
    assert_eq!(
        (rsx.state("good"), rsx.state("bad"), rsx.state("worse")),
        ("online".into(), "errored".into(), "errored".into())
    );
    let results = rsx.fails(5, "start ecosystem.toml --json").json();
    assert_eq!(results["results"].as_array().unwrap().len(), 2, "the good one is left alone: {results}");
}
