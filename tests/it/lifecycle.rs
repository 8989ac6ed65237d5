//! The main job: a file is started, looked at, changed, and stopped.

use crate::harness::{Rsx, environment_of, free_port, get};

const TWO: &str = "[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\nenv = { COLOUR = \"red\" }\n\
                   [[apps]]\nname = \"b\"\nscript = \"sleep 1000\"\n";

/// Two apps, started; their pids.
#[track_caller]
fn two(rsx: &Rsx) -> (u32, u32) {
    rsx.ecosystem(TWO);
    rsx.ok("start ecosystem.toml");
    (rsx.pid("a"), rsx.pid("b"))
}

#[test]
fn a_file_is_started_ready_and_every_verb_shows_the_same() {
    let (rsx, port) = (Rsx::new(), free_port());
    rsx.write("site/index.html", "hello from the site");
    rsx.ecosystem(&format!(
        "[[apps]]\nname = \"web\"\nscript = \"rsx:serve\"\nargs = [\"site\"]\nport = {port}\n\
         [[apps]]\nname = \"worker\"\nscript = \"sleep 1000\"\n"
    ));
    rsx.ok("start ecosystem.toml").prints(&["+ web: new", "+ worker: new", "online"]);
    assert!(get(port, "/").contains("hello from the site"));
    let (web, worker) = (rsx.pid("web"), rsx.pid("worker"));
    rsx.ok("ls").prints(&["web", "worker", &web.to_string(), &worker.to_string()]);
    let jlist = rsx.ok("jlist").json();
    assert_eq!((&jlist[0]["name"], &jlist[0]["pid"]), (&"web".into(), &web.into()));
    assert_eq!(jlist[1]["pm2_env"]["status"], "online");
    rsx.ok("describe web").prints(&["web", &web.to_string(), "online"]);
    assert_eq!(rsx.ok("pid web").out, format!("{web}\n"));
    assert_eq!(rsx.ok("pid").out, format!("{web}\n{worker}\n"));
    rsx.ok("stop all");
    assert_eq!((rsx.state("web"), rsx.processes().len()), ("stopped".into(), 0));
    rsx.ok("delete all");
    assert_eq!(rsx.apps().len(), 0);
}

#[test]
fn the_file_of_the_folder_is_started_without_naming_it() {
    let rsx = Rsx::new();
    rsx.fails(2, "start").says(&["no ecosystem file", "rsx init"]);
    rsx.ecosystem(TWO);
    rsx.ok("start");
    assert_eq!(rsx.apps().len(), 2);
}

#[test]
fn a_second_start_leaves_what_runs_alone_and_says_so() {
    let rsx = Rsx::new();
    let before = two(&rsx);
    rsx.ok("start ecosystem.toml").prints(&["= a: unchanged, running since", "rsx restart a", "= b: unchanged"]);
    assert_eq!((rsx.pid("a"), rsx.pid("b")), before);
}

#[test]
fn a_changed_variable_restarts_only_its_app() {
    let rsx = Rsx::new();
    let (a, b) = two(&rsx);
    rsx.ecosystem(&TWO.replace("red", "blue"));
    rsx.ok("start ecosystem.toml").prints(&["~ a: restart, changed: env", "= b: unchanged"]);
    assert_ne!(rsx.pid("a"), a);
    assert_eq!(rsx.pid("b"), b);
    assert_eq!(environment_of(rsx.pid("a"))["COLOUR"], "blue");
}

#[test]
fn a_changed_policy_restarts_nothing() {
    let rsx = Rsx::new();
    let before = two(&rsx);
    rsx.ecosystem(&format!("{TWO}max_restarts = 3\nrestart = \"on-failure\"\n"));
    rsx.ok("start ecosystem.toml").prints(&["~ b: no restart, changed: restart, max_restarts"]);
    assert_eq!((rsx.pid("a"), rsx.pid("b")), before);
    assert_eq!(rsx.json("describe b")[0]["spec"]["restart"]["max_restarts"], 3);
}

#[test]
fn a_new_script_file_counts_as_a_change() {
    let rsx = Rsx::new();
    rsx.script("app.sh", "exec sleep 1000\n");
    rsx.ecosystem("[[apps]]\nname = \"a\"\nscript = \"app.sh\"\n");
    rsx.ok("start ecosystem.toml");
    let before = rsx.pid("a");
    // Deployed by rename, as tools do: another inode.
    std::fs::rename(rsx.script("next.sh", "exec sleep 2000\n"), rsx.scratch().join("app.sh")).unwrap();
    rsx.ok("start ecosystem.toml").prints(&["~ a: restart, changed: script file"]);
    assert_ne!(rsx.pid("a"), before);
    rsx.ok("start ecosystem.toml").prints(&["= a: unchanged"]);
}

#[test]
fn a_dry_run_prints_the_plan_and_changes_nothing() {
    let rsx = Rsx::new();
    rsx.ecosystem(TWO);
    rsx.ok("start ecosystem.toml --dry-run").prints(&["+ a: new", "+ b: new"]);
    assert!(!rsx.socket().exists(), "a dry run has started a daemon");
    let before = two(&rsx);
    rsx.ecosystem("[[apps]]\nname = \"a\"\nscript = \"sleep 2000\"\n[[apps]]\nname = \"c\"\nscript = \"sleep 1\"\n");
    rsx.ok("start ecosystem.toml --dry-run --prune").prints(&[
        "~ a: restart, changed",
        "+ c: new",
        "- b: no longer in the file",
    ]);
    assert_eq!((rsx.pid("a"), rsx.pid("b"), rsx.apps().len()), (before.0, before.1, 2));
}

#[test]
fn what_left_the_file_stays_until_it_is_pruned() {
    let rsx = Rsx::new();
    let (a, b) = two(&rsx);
    rsx.ecosystem(TWO.split("[[apps]]\nname = \"b\"").next().unwrap());
    rsx.ok("start ecosystem.toml").prints(&["= b: no longer in the file", "--prune"]);
    assert_eq!(rsx.pid("b"), b);
    rsx.ok("start ecosystem.toml --prune").prints(&["- b: no longer in the file: deleted"]);
    assert_eq!((rsx.apps().len(), rsx.pid("a"), rsx.processes().len()), (1, a, 1));
}

#[test]
fn only_some_apps_of_a_file_are_started() {
    let rsx = Rsx::new();
    rsx.ecosystem(&format!("{TWO}[[apps]]\nname = \"c\"\nscript = \"sleep 1000\"\n"));
    rsx.ok("start ecosystem.toml --only a,c");
    let names: Vec<_> = rsx.apps().iter().map(|app| app["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["a", "c"]);
    rsx.fails(6, "start ecosystem.toml --only a,nobody").says(&["nobody"]);
}

#[test]
fn an_environment_is_merged_by_its_name() {
    let rsx = Rsx::new();
    rsx.ecosystem(
        "[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\nenv = { MODE = \"plain\", KEPT = \"yes\" }\n\
         env_staging = { MODE = \"staging\" }\n",
    );
    rsx.ok("start ecosystem.toml --env staging");
    let env = environment_of(rsx.pid("a"));
    assert_eq!((env["MODE"].as_str(), env["KEPT"].as_str()), ("staging", "yes"));
    rsx.fails(6, "start ecosystem.toml --env stagign").says(&["stagign", "staging"]);
}

#[test]
fn the_environment_is_that_of_the_shell_until_it_is_updated() {
    let mut rsx = Rsx::new();
    rsx.set_env("FROM_SHELL", "one");
    rsx.set_env("SSH_CLIENT", "not for apps");
    rsx.set_env("RSX_SECRET", "not for apps");
    let (a, _) = two(&rsx);
    let env = environment_of(a);
    assert_eq!(env["FROM_SHELL"], "one");
    assert!(!env.contains_key("SSH_CLIENT") && !env.contains_key("RSX_SECRET") && !env.contains_key("RSX_HOME"));
    assert_eq!((env["RSX_NAME"].as_str(), env["RSX_ID"].as_str(), env["pm_id"].as_str()), ("a", "0", "0"));
    rsx.set_env("FROM_SHELL", "two");
    rsx.ok("restart a");
    assert_eq!(environment_of(rsx.pid("a"))["FROM_SHELL"], "one");
    rsx.ok("restart a --update-env");
    assert_eq!(environment_of(rsx.pid("a"))["FROM_SHELL"], "two");
}

#[test]
fn restart_with_a_file_takes_its_values_also_removed_ones() {
    let rsx = Rsx::new();
    let (a, b) = two(&rsx);
    rsx.ecosystem(&TWO.replace("env = { COLOUR = \"red\" }\n", ""));
    // By name it keeps what it has, and says how to get the new values.
    rsx.ok("restart a").says(&["ecosystem.toml", "--only a"]);
    assert_eq!(environment_of(rsx.pid("a"))["COLOUR"], "red");
    rsx.ok("restart ecosystem.toml");
    assert_ne!((rsx.pid("a"), rsx.pid("b")), (a, b));
    assert_ne!(rsx.pid("b"), b, "an unchanged app is restarted, too");
    assert!(!environment_of(rsx.pid("a")).contains_key("COLOUR"));
}

#[test]
fn instances_have_their_slots_indexes_and_files() {
    let rsx = Rsx::new();
    let app = |instances| {
        format!(
            "[[apps]]\nname = \"a\"\nscript = \"echo $NODE_APP_INSTANCE; exec sleep 1000\"\ninstances = {instances}\nexec_mode = \"fork\"\n"
        )
    };
    rsx.ecosystem(&app(3));
    rsx.ok("start ecosystem.toml");
    for instance in 0..3 {
        let slot = rsx.slot("a", instance);
        let env = environment_of(u32::try_from(slot["pid"].as_u64().unwrap()).unwrap());
        assert_eq!((env["NODE_APP_INSTANCE"].as_str(), &slot["id"]), (&*instance.to_string(), &instance.into()));
        let file = rsx.log(&format!("a-out-{instance}.log"));
        assert_eq!(slot["out_file"], file.to_str().unwrap());
        rsx.wait_for_text(&file, |text| text == format!("{instance}\n"));
    }
    let first = rsx.pid("a");
    rsx.ecosystem(&app(1));
    rsx.ok("start ecosystem.toml").prints(&["~ a: instances 3 → 1"]);
    let slots = rsx.app("a")["slots"].clone();
    assert_eq!((slots.as_array().unwrap().len(), rsx.pid("a"), rsx.processes().len()), (1, first, 1));
    rsx.ecosystem(&app(2));
    rsx.ok("start ecosystem.toml").prints(&["~ a: instances 1 → 2"]);
    assert_eq!((rsx.pid("a"), rsx.processes().len()), (first, 2));
}

#[test]
fn what_is_not_to_start_is_registered_only() {
    let rsx = Rsx::new();
    rsx.ecosystem("[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\nautostart = false\n");
    rsx.ok("start ecosystem.toml").prints(&["+ a: new, not started"]);
    assert_eq!((rsx.state("a"), rsx.processes().len()), ("stopped".into(), 0));
    rsx.ok("start ecosystem.toml");
    assert_eq!(rsx.state("a"), "stopped");
    rsx.ok("start a");
    assert_eq!(rsx.state("a"), "online");
}

#[test]
fn a_name_of_another_file_is_refused_unless_forced() {
    let rsx = Rsx::new();
    let (a, b) = two(&rsx);
    rsx.write("other.toml", "[[apps]]\nname = \"a\"\nscript = \"sleep 2000\"\n");
    rsx.fails(1, "start other.toml").says(&["ecosystem.toml", "other.toml", "--name", "--namespace", "--force"]);
    assert_eq!((rsx.pid("a"), rsx.pid("b")), (a, b));
    rsx.ok("start other.toml --force");
    assert_ne!(rsx.pid("a"), a);
    rsx.ok("start 'sleep 3000' --name a --namespace mine");
    assert_eq!(rsx.apps().len(), 3);
}

#[test]
fn ids_are_kept_and_begin_anew_with_an_empty_list() {
    let rsx = Rsx::new();
    two(&rsx);
    rsx.ok("restart b");
    rsx.ok("delete a");
    assert_eq!(rsx.slot("b", 0)["id"], 1);
    rsx.ok("start ecosystem.toml");
    assert_eq!((&rsx.slot("b", 0)["id"], &rsx.slot("a", 0)["id"]), (&1.into(), &2.into()));
    rsx.ok("delete all");
    rsx.ok("start ecosystem.toml");
    assert_eq!((&rsx.slot("a", 0)["id"], &rsx.slot("b", 0)["id"]), (&0.into(), &1.into()));
}
