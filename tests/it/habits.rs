//! What users of PM2 do every day, in sequences: verbs over files, names, numbers and expressions, with their counters.

use serde_json::{Value, json};

use crate::harness::{LIMIT, Rsx, command_of, environment_of};

/// Says its arguments, then lives.
const ECHO: &str = "echo \"$0: $*\"\nexec sleep 1000\n";

/// Six instances of three apps, as JSON.
fn six() -> String {
    let app = |name: &str| json!({ "name": name, "cmd": "sleep 1000", "instances": 2, "exec_mode": "fork", "min_uptime": 50 });
    json!({ "apps": [app("echo-1"), app("echo-2"), app("echo-3")] }).to_string()
}

/// The state and the count of restarts of each instance, in the order of ids.
#[track_caller]
fn counters(rsx: &Rsx) -> Vec<(String, u64)> {
    let list = rsx.ok("jlist").json();
    let env = |entry: &Value| entry["pm2_env"].clone();
    let counter = |env: Value| (env["status"].as_str().unwrap().to_owned(), env["restart_time"].as_u64().unwrap());
    list.as_array().unwrap().iter().map(env).map(counter).collect()
}

/// The same of all six.
fn all(state: &str, restarts: u64) -> Vec<(String, u64)> {
    vec![(state.to_owned(), restarts); 6]
}

#[test]
fn a_json_file_goes_through_all_verbs_and_its_counters_tell() {
    let rsx = Rsx::new();
    rsx.write("all.json", six());
    for (line, state, restarts) in [
        ("start all.json", "online", 0),
        ("stop all.json", "stopped", 0),
        ("restart all.json", "online", 1),
        ("reload all.json", "online", 2),
        ("stop all", "stopped", 2),
        ("start all.json", "online", 3),
        ("reload all", "online", 4),
        ("restart all", "online", 5),
    ] {
        rsx.ok(line);
        assert_eq!(counters(&rsx), all(state, restarts), "{line}");
    }
    rsx.ok("delete all.json");
    assert_eq!(rsx.ok("jlist").out, "[]\n");
}

#[test]
fn start_or_restart_and_start_or_reload_start_first_and_count_afterwards() {
    let rsx = Rsx::new();
    rsx.write("all.json", six());
    for (line, restarts) in
        [("startOrRestart all.json", 0), ("startOrRestart all.json", 1), ("startOrReload all.json", 2)]
    {
        rsx.ok(line);
        assert_eq!(counters(&rsx), all("online", restarts), "{line}");
    }
}

#[test]
fn a_configuration_is_piped_into_every_verb_that_takes_a_file() {
    let rsx = Rsx::new();
    let piped = |line: &str| {
        let done = rsx.run_with(line, six().as_bytes(), LIMIT);
        assert_eq!(done.code, 0, "{line}: {}", done.err);
    };
    for (line, state, restarts) in [
        ("start -", "online", 0),
        ("restart -", "online", 1),
        ("stop -", "stopped", 1),
        ("startOrRestart -", "online", 2),
    ] {
        piped(line);
        assert_eq!(counters(&rsx), all(state, restarts), "{line}");
    }
    piped("delete - --only echo-2,echo-3");
    assert_eq!(rsx.apps().len(), 1);
    let done = rsx.run_with("stop -", b"{ \"apps\": [", LIMIT);
    assert_eq!(done.code, 6, "{}", done.err);
}

#[test]
fn an_expression_restarts_and_deletes_what_it_matches_only() {
    let rsx = Rsx::new();
    rsx.write("all.json", six());
    rsx.ok("start all.json");
    rsx.ok("restart /echo-[1,2]/");
    assert_eq!(counters(&rsx).iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 1, 1, 1, 0, 0]);
    rsx.ok("stop /3$/");
    assert_eq!(counters(&rsx).iter().filter(|(state, _)| state == "stopped").count(), 2);
    rsx.ok("delete /echo-[1,2]/");
    assert_eq!(rsx.ok("id all").out, "[ 4, 5 ]\n");
}

#[test]
fn several_names_and_numbers_are_taken_by_each_verb() {
    let rsx = Rsx::new();
    rsx.write("all.json", six());
    rsx.ok("start all.json");
    rsx.ok("restart echo-1 2 echo-3");
    assert_eq!(counters(&rsx).iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 1, 1, 0, 1, 1]);
    rsx.ok("stop 0 1 echo-3");
    rsx.ok("start echo-1 4");
    assert_eq!(counters(&rsx).iter().filter(|(state, _)| state == "online").count(), 5);
    rsx.ok("reset 0 echo-3");
    assert_eq!(counters(&rsx).iter().map(|(_, count)| *count).collect::<Vec<_>>(), [0, 2, 1, 0, 0, 0]);
    rsx.ok("reset all");
    assert!(counters(&rsx).iter().all(|(_, count)| *count == 0));
    rsx.ok("delete 0 echo-3");
    assert_eq!(rsx.ok("id all").out, "[ 1, 2, 3 ]\n");
}

#[test]
fn a_name_that_is_a_number_is_that_app_and_no_id() {
    let rsx = Rsx::new();
    rsx.ok("start 'sleep 1000' --name 455 --min-uptime 50");
    rsx.ok("start 'sleep 1000' --name 1 --min-uptime 50");
    rsx.ok("start 'sleep 1000' --name last --min-uptime 50");
    rsx.ok("restart 455");
    rsx.ok("restart 1");
    assert_eq!(counters(&rsx).iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 1, 0]);
    rsx.ok("delete 455 2");
    assert_eq!(rsx.apps()[0]["name"], "1");
    rsx.fails(4, "delete 455").says(&["455"]);
}

#[test]
fn an_app_is_stopped_restarted_and_deleted_by_its_script() {
    let rsx = Rsx::new();
    rsx.script("echo.sh", ECHO);
    rsx.ok("start echo.sh --min-uptime 50");
    let pid = rsx.pid("echo");
    // A second start leaves it alone, and `--force` is no reason for a second one either.
    rsx.ok("start echo.sh --min-uptime 50").prints(&["= echo: unchanged"]);
    rsx.ok("start echo.sh --min-uptime 50 -f");
    assert_eq!((rsx.pid("echo"), rsx.apps().len()), (pid, 1));
    rsx.ok("restart ./echo.sh");
    assert_eq!(counters(&rsx), [("online".into(), 1)]);
    rsx.ok("reload echo.sh");
    rsx.ok("stop echo.sh");
    assert_eq!(counters(&rsx), [("stopped".into(), 2)]);
    rsx.ok("delete echo.sh");
    rsx.fails(4, "stop echo.sh");
}

#[test]
fn several_scripts_share_the_arguments_behind_the_dashes() {
    let rsx = Rsx::new();
    rsx.script("one.sh", ECHO);
    rsx.script("two.sh", ECHO);
    rsx.ok("start one.sh two.sh --min-uptime 50 -- --port 1 'a b'");
    for name in ["one", "two"] {
        rsx.wait_for_text(&rsx.log(&format!("{name}-out.log")), |text| text.ends_with(".sh: --port 1 a b\n"));
    }
    // Other arguments are another declaration.
    rsx.ok("start one.sh --min-uptime 50 -- --port 2").prints(&["script"]);
    rsx.wait_for_text(&rsx.log("one-out.log"), |text| text.ends_with(".sh: --port 2\n"));
}

#[test]
fn what_runs_a_script_follows_from_its_kind_or_from_the_flag() {
    let rsx = Rsx::new();
    rsx.script("plain", "#!/bin/sh\nexec sleep 1000\n");
    rsx.write("words.txt", ECHO);
    rsx.ok("start plain words.txt --interpreter sh --min-uptime 50");
    rsx.ok("start sleep -n path --min-uptime 50 -- 1000");
    assert_eq!(command_of(rsx.pid("path")), ["sleep", "1000"]);
    let list = rsx.ok("jlist").json();
    let of = |index: usize| list[index]["pm2_env"]["exec_interpreter"].clone();
    assert_eq!((of(0), of(1), of(2)), (json!("sh"), json!("sh"), json!("none")));
    rsx.ok("start 'echo \"exec sleep 1000\" > made.sh; sh made.sh' --name line --min-uptime 50");
    assert_eq!(rsx.state("line"), "online");
}

#[test]
fn a_fraction_of_the_cores_is_at_least_one_instance() {
    let rsx = Rsx::new();
    rsx.ok("start 'sleep 1000' -n one -x -i -100 --min-uptime 50");
    assert_eq!(rsx.app("one")["slots"].as_array().unwrap().len(), 1);
}

#[test]
fn the_index_of_an_instance_is_used_again_after_scaling() {
    let rsx = Rsx::new();
    rsx.ecosystem(
        "[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\nexec_mode = \"fork\"\ninstances = 2\n\
         increment_var = \"PORT\"\nenv = { PORT = 3000 }\n",
    );
    rsx.ok("start");
    for (count, ports) in [(4, vec![3000, 3001, 3002, 3003]), (2, vec![3000, 3001]), (4, vec![3000, 3001, 3002, 3003])]
    {
        rsx.ok(&format!("scale a {count}"));
        let slots = rsx.app("a")["slots"].as_array().unwrap().clone();
        let env = |slot: &Value| environment_of(u32::try_from(slot["pid"].as_u64().unwrap()).unwrap());
        let number = |slot: &Value, name: &str| env(slot)[name].parse::<u64>().unwrap();
        assert_eq!(slots.iter().map(|slot| number(slot, "PORT")).collect::<Vec<_>>(), ports);
        let indexes: Vec<u64> = slots.iter().map(|slot| number(slot, "NODE_APP_INSTANCE")).collect();
        assert_eq!(indexes, (0..count).collect::<Vec<u64>>());
    }
}

#[test]
fn a_restart_that_is_waited_for_is_not_counted_yet() {
    let rsx = Rsx::new();
    rsx.ok("start 'sleep 0.2; exit 1' -n a --restart-delay 60s --min-uptime 50");
    rsx.events().wait_for("a", "waiting");
    assert_eq!(counters(&rsx), [("waiting restart".into(), 0)]);
    rsx.ok("reset a");
    assert_eq!(counters(&rsx), [("waiting restart".into(), 0)]);
}

#[test]
fn a_list_is_sorted_by_each_column_both_ways() {
    let rsx = Rsx::new();
    for name in ["b", "c", "a"] {
        rsx.ok(&format!("start 'sleep 1000' -n {name} --min-uptime 50"));
    }
    let order = |flags: &str| -> Vec<String> {
        let out = rsx.ok(&format!("ls {flags}")).out;
        let cells =
            |line: &str| line.split(|c: char| c == '│' || c.is_whitespace()).map(str::to_owned).collect::<Vec<_>>();
        out.lines().filter_map(|line| cells(line).into_iter().find(|cell| ["a", "b", "c"].contains(&&**cell))).collect()
    };
    for (flags, names) in [
        ("--sort name", ["a", "b", "c"]),
        ("--sort name:asc", ["a", "b", "c"]),
        ("--sort name:desc", ["c", "b", "a"]),
        ("--sort id", ["b", "c", "a"]),
        ("--sort id:desc", ["a", "c", "b"]),
        ("--sort pid", ["b", "c", "a"]),
    ] {
        assert_eq!(order(flags), names, "{flags}");
    }
    rsx.fails(2, "ls --sort colour").says(&["colour", "name"]);
    rsx.fails(2, "ls --sort name:sideways").says(&["sideways"]);
}

#[test]
fn exit_codes_tell_what_kind_of_failure_it_was() {
    let rsx = Rsx::new();
    rsx.write("bad.yaml", "apps:\n  - name: a\n   script: x\n");
    for (code, line) in [
        (3, "restart all"),
        (3, "stop api"),
        (0, "kill"),
        (0, "ls"),
        (6, "start bad.yaml"),
        (4, "start gone.yaml"),
        (2, "start -i"),
        (0, "start 'sleep 1000' -n api --min-uptime 50"),
        (4, "restart nobody"),
        (4, "stop nobody"),
        (4, "delete nobody"),
        (4, "reload nobody"),
        (4, "describe nobody"),
        (0, "describe api"),
        (5, "start 'exit 3' -n bad --max-restarts 1"),
        (2, "serve a b c d"),
        (2, "nonsense"),
        (0, "delete all"),
        (0, "kill"),
        (0, "kill"),
    ] {
        rsx.fails(code, line);
    }
    assert_eq!(rsx.own_processes().len(), 0);
}

#[test]
fn the_same_app_by_flags_and_by_file_has_the_same_list() {
    let seen = |start: &dyn Fn(&Rsx)| {
        let rsx = Rsx::new();
        rsx.script("echo.sh", ECHO);
        start(&rsx);
        let mut env = rsx.ok("jlist").json()[0]["pm2_env"].clone();
        let scratch = rsx.scratch().parent().unwrap().display().to_string();
        for key in ["pm_uptime", "created_at", "unique_id", "TEST_HOME_OF_RSX", "HOME", "XDG_RUNTIME_DIR", "env"] {
            env.as_object_mut().unwrap().remove(key);
        }
        env.to_string().replace(&scratch, "ROOT")
    };
    let by_flags =
        seen(&|rsx| drop(rsx.ok("start echo.sh -n same --kill-timeout 2s --min-uptime 50 -o o.log -- x 'y z'")));
    let by_file = seen(&|rsx| {
        let app = json!({
            "name": "same", "script": "./echo.sh", "killTimeout": "2s", "min_uptime": 50, "output": "o.log",
            "args": ["x", "y z"],
        });
        rsx.write("same.json", json!([app]).to_string());
        rsx.ok("start same.json");
    });
    assert_eq!(by_flags, by_file);
}

#[test]
fn a_daemon_holds_no_descriptor_of_what_is_gone() {
    let rsx = Rsx::new();
    rsx.ok("start 'sleep 1000' -n stays --min-uptime 50");
    let daemon = rsx.daemon().0;
    let open = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid)).unwrap().count();
    let cycle = || {
        rsx.ok("start 'sleep 1000' -n goes -x -i 4 --min-uptime 50");
        rsx.ok("restart goes");
        rsx.ok("delete goes");
    };
    cycle();
    let before = open();
    (0..3).for_each(|_| cycle());
    // A connection that is just being closed is one more.
    assert!(open() <= before + 2, "{before} became {}", open());
}
