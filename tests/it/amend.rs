//! `rsx restart api --flags -- args`: what is in the list takes new values, one by one.

use crate::harness::{Rsx, command_of, requires};

fn rsx() -> Rsx {
    let rsx = Rsx::new();
    rsx.script("app.sh", "echo \"$0 $*\"; exec sleep 1000\n");
    rsx.ok("start app.sh -n api --min-uptime 50 -- --port 1");
    rsx
}

#[test]
fn flags_change_what_is_in_the_list_and_stay_for_the_next_restart() {
    let rsx = rsx();
    for verb in ["restart", "reload"] {
        let end = format!("--port {verb}\n");
        rsx.ok(&format!("{verb} api --kill-timeout 3s --max-restarts 5 -o {verb}.log -- --port {verb}"));
        rsx.wait_for_text(&rsx.scratch().join(format!("{verb}.log")), |text| text.ends_with(&end));
    }
    rsx.ok("restart api");
    rsx.wait_for_text(&rsx.scratch().join("reload.log"), |text| text.lines().count() == 2);
    let env = rsx.ok("jlist").json()[0]["pm2_env"].clone();
    assert_eq!((&env["kill_timeout"], &env["max_restarts"], &env["min_uptime"]), (&3000.into(), &5.into(), &50.into()));
    let mut events = rsx.events();
    let changed = events.wait_for("api", "changed");
    assert_eq!(changed.get("what"), &serde_json::json!(["out_file", "max_restarts", "kill_timeout", "script"]));
    // `null` is the default again; the declaration has the last word.
    rsx.ok("restart api --kill-timeout null");
    assert_eq!(rsx.ok("jlist").json()[0]["pm2_env"]["kill_timeout"], 10_000);
    rsx.ok("start app.sh -n api --min-uptime 50 -- --port 1").prints(&["max_restarts", "script"]);
}

#[test]
fn an_app_is_renamed_and_keeps_its_id_and_its_place() {
    let rsx = rsx();
    rsx.ok("restart api --name web --namespace shop");
    assert_eq!((rsx.app("web")["namespace"].clone(), rsx.slot("web", 0)["id"].clone()), ("shop".into(), 0.into()));
    rsx.fails(4, "restart api");
    rsx.ok("start 'sleep 1000' -n other --min-uptime 50");
    rsx.fails(2, "restart other --name web --namespace shop")
        .says(&["`other` cannot be changed", "another app called `web`"]);
    // A daemon that comes back knows it by the new name.
    rsx.ok("kill");
    rsx.ok("resurrect");
    assert_eq!(rsx.state("web"), "online");
}

#[test]
fn the_arguments_of_the_interpreter_change_and_go() {
    if !requires("node") {
        return;
    }
    let rsx = Rsx::new();
    rsx.write("app.js", "setInterval(() => {}, 1000)");
    rsx.ok("start app.js --node-args=--max-old-space-size=64 --min-uptime 50");
    for (flag, words) in [
        ("--node-args '--no-warnings --trace-exit'", vec!["--no-warnings", "--trace-exit"]),
        ("--node-args=null", vec![]),
    ] {
        rsx.ok(&format!("restart app {flag}"));
        let command = command_of(rsx.pid("app"));
        assert_eq!(command[1..command.len() - 1], words, "{flag}");
    }
}

#[test]
fn what_cannot_be_changed_so_is_said_and_nothing_is_done() {
    let rsx = rsx();
    rsx.ok("start 'sleep 1000; true' -n line --min-uptime 50");
    let before = rsx.ok("pid").out;
    rsx.fails(2, "restart line -- x").says(&["`line` cannot be changed", "it is a command line"]);
    rsx.fails(2, "restart api --kill-timeout 3x").says(&["rsx restart api --kill-timeout 3x", "expected a time"]);
    rsx.fails(2, "restart api --name a/b").says(&["contains `/`"]);
    rsx.write("all.json", "[{ \"script\": \"app.sh\" }]");
    rsx.fails(2, "restart all.json --max-restarts 3").says(&["flags change what is in the list", "into the file"]);
    rsx.fails(2, "start api --max-restarts 3").says(&["rsx restart api --flags"]);
    assert_eq!(rsx.ok("pid").out, before);
    // As PM2 does, but not in silence.
    rsx.ok("restart api -i 4").says(&["`--instances` has no effect", "rsx scale NAME N"]);
    assert_eq!(rsx.app("api")["slots"].as_array().unwrap().len(), 1);
}
