//! What outlives a daemon: the list itself, `save`, `resurrect`; and where the variables of an app come from.

use std::path::Path;

use serde_json::json;

use crate::harness::{Rsx, environment_of, requires};

const TWO: &str = "[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\nmin_uptime = 50\n\
                   [[apps]]\nname = \"b\"\nscript = \"sleep 1000\"\nmin_uptime = 50\ninstances = 2\nexec_mode = \"fork\"\n";

/// (id, name, instance, state) of everything there is.
fn list(rsx: &Rsx) -> Vec<(u64, String, u64, String)> {
    let mut list = Vec::new();
    for app in rsx.apps() {
        for slot in app["slots"].as_array().unwrap() {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let number = |value: &serde_json::Value| value.as_u64().unwrap();
            list.push((number(&slot["id"]), text(&app["name"]), number(&slot["instance"]), text(&slot["state"])));
        }
    }
    list
}

fn states(rsx: &Rsx) -> Vec<String> {
    list(rsx).into_iter().map(|(_, _, _, state)| state).collect()
}

#[test]
fn what_ran_before_a_kill_is_listed_as_stopped_and_comes_back_with_its_ids_and_logs() {
    let rsx = Rsx::new();
    rsx.ecosystem(TWO);
    rsx.ok("start ecosystem.toml");
    rsx.ok("stop b");
    rsx.ok("start b");
    let before = list(&rsx);
    rsx.ok("kill");
    rsx.ok("start 'sleep 1000' --name late --min-uptime 50");
    assert_eq!(states(&rsx), ["stopped", "stopped", "stopped", "online"]);
    rsx.ok("ls").says(&["3 stopped instances", "rsx resurrect"]);
    rsx.ok("resurrect").says(&["started a, b"]);
    assert_eq!(list(&rsx)[..3], before[..]);
    assert_eq!(rsx.slot("b", 1)["out_file"], json!(rsx.home().join("logs/b-out-1.log")));
    rsx.ok("resurrect").says(&["nothing to bring back"]);
}

#[test]
fn what_was_stopped_by_hand_stays_stopped() {
    let rsx = Rsx::new();
    rsx.ecosystem(TWO);
    rsx.ok("start ecosystem.toml");
    rsx.ok("stop a");
    rsx.ok("kill");
    rsx.ok("resurrect").says(&["started b"]);
    assert_eq!(rsx.state("a"), "stopped");
}

#[test]
fn save_brings_back_what_was_deleted_and_doubles_nothing() {
    let rsx = Rsx::new();
    rsx.ecosystem(TWO);
    rsx.fails(3, "save");
    rsx.ok("start ecosystem.toml");
    rsx.ok("dump").says(&["saved 2 apps"]);
    rsx.ok("delete a");
    let b = rsx.pid("b");
    rsx.ok("resurrect").says(&["started a"]);
    assert_eq!(rsx.pid("b"), b);
    rsx.ok("delete all");
    rsx.fails(1, "save").says(&["no app to save", "--force"]);
    rsx.ok("save --force");
    rsx.ok("resurrect").says(&["nothing to bring back"]);
}

#[test]
fn only_delete_forgets() {
    let rsx = Rsx::new();
    rsx.ecosystem(TWO);
    rsx.ok("start ecosystem.toml");
    rsx.ok("delete a");
    rsx.ok("kill");
    rsx.ok("resurrect");
    assert_eq!(list(&rsx).len(), 2, "{:?}", list(&rsx));
}

#[test]
fn a_torn_list_is_reported_kept_aside_and_the_one_before_it_is_read() {
    let rsx = Rsx::new();
    rsx.ecosystem(TWO);
    rsx.ok("start ecosystem.toml");
    rsx.ok("stop b");
    rsx.ok("kill");
    let path = rsx.home().join("wanted.json");
    let torn = &std::fs::read(&path).unwrap()[..100];
    std::fs::write(&path, torn).unwrap();
    rsx.ok("resurrect");
    rsx.ok("ls").says(&["wanted.json cannot be read", "the one before it was read"]);
    assert_eq!(std::fs::read(rsx.home().join("wanted.json.unreadable")).unwrap(), torn);
    assert_eq!(list(&rsx).len(), 3);
}

#[test]
fn a_list_that_is_code_is_never_executed() {
    if !requires("node") {
        return;
    }
    let rsx = Rsx::new();
    std::fs::create_dir_all(rsx.home()).unwrap();
    let mark = rsx.scratch().join("executed");
    let code = format!("require('fs').writeFileSync({:?}, '')", mark.display().to_string());
    for name in ["wanted.json", "saved.json"] {
        std::fs::write(rsx.home().join(name), &code).unwrap();
    }
    rsx.fails(1, "resurrect").says(&["saved.json cannot be read"]);
    assert!(!Path::new(&mark).exists());
}

#[test]
fn restart_keeps_the_environment_unless_it_is_told_to_take_the_callers() {
    let mut rsx = Rsx::new();
    rsx.set_env("COLOUR", "red");
    rsx.ok("start 'sleep 1000' --name a --min-uptime 50");
    rsx.set_env("COLOUR", "blue");
    rsx.ok("restart a");
    assert_eq!(environment_of(rsx.pid("a"))["COLOUR"], "red");
    rsx.ok("restart a --update-env");
    assert_eq!(environment_of(rsx.pid("a"))["COLOUR"], "blue");
    rsx.remove_env("COLOUR");
    rsx.ok("restart a --update-env");
    assert!(!environment_of(rsx.pid("a")).contains_key("COLOUR"), "a removed variable is removed");
}

#[test]
fn what_describes_the_shell_is_not_inherited() {
    let mut rsx = Rsx::new();
    let shells = ["SSH_CLIENT", "SUDO_USER", "SHLVL", "npm_config_x", "LISTEN_FDS", "NODE_UNIQUE_ID", "JOURNAL_STREAM"];
    for name in shells {
        rsx.set_env(name, "x");
    }
    rsx.set_env("name", "evil");
    rsx.set_env("MY_SECRET", "x");
    // No shell between: it would set its own.
    rsx.ok("start sleep --name a --min-uptime 50 --filter-env SECRET -- 1000");
    assert!(!environment_of(rsx.pid("a")).contains_key("MY_SECRET"));
    let env = environment_of(rsx.pid("a"));
    assert_eq!(env["name"], "a");
    assert_eq!((env["pm_id"].as_str(), env["NODE_APP_INSTANCE"].as_str()), ("0", "0"));
    for name in shells {
        assert!(!env.contains_key(name), "{name}");
    }
}

#[test]
fn files_filters_and_counting_variables_make_the_environment() {
    let mut rsx = Rsx::new();
    rsx.set_env("MY_SECRET", "x");
    rsx.write(".env", "FROM_FILE=yes\nCOLOUR=file\n");
    rsx.ecosystem(
        "[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\nmin_uptime = 50\ninstances = 2\nexec_mode = \"fork\"\n\
         env_file = \".env\"\nfilter_env = [\"SECRET\"]\nport = 4000\nincrement_var = \"PORT\"\ninstance_var = \"N\"\n\
         env = { COLOUR = \"declared\" }\n",
    );
    rsx.ok("start ecosystem.toml");
    let pid = rsx.slot("a", 1)["pid"].as_u64().unwrap();
    let env = environment_of(u32::try_from(pid).unwrap());
    let get = |name: &str| env.get(name).map(String::as_str);
    assert_eq!((get("FROM_FILE"), get("COLOUR")), (Some("yes"), Some("declared")));
    assert_eq!((get("PORT"), get("N"), get("MY_SECRET")), (Some("4001"), Some("1"), None));
    let stored = std::fs::read_to_string(rsx.home().join("wanted.json")).unwrap();
    assert!(!stored.contains("FROM_FILE"), "values of files are not stored");
    rsx.write(".env", "FROM_FILE=no\n");
    rsx.ok("restart a");
    assert_eq!(environment_of(rsx.pid("a"))["FROM_FILE"], "no", "read at every start");
    std::fs::remove_file(rsx.scratch().join(".env")).unwrap();
    rsx.fails(5, "restart a").says(&["env_file", ".env", "No such file"]);
}

#[test]
fn a_chosen_environment_is_remembered_until_another_one_is_chosen() {
    let rsx = Rsx::new();
    let app = "[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\nmin_uptime = 50\nenv = { COLOUR = \"plain\" }\n\
               env_staging = { COLOUR = \"staging\" }\n";
    rsx.ecosystem(app);
    rsx.ok("start ecosystem.toml --env staging");
    rsx.ok("start ecosystem.toml").prints(&["= a: unchanged"]);
    rsx.ok("restart ecosystem.toml");
    assert_eq!(environment_of(rsx.pid("a"))["COLOUR"], "staging");
    rsx.ok("start ecosystem.toml --env default");
    assert_eq!(environment_of(rsx.pid("a"))["COLOUR"], "plain");
    // A key that is removed from the file is removed from the app.
    rsx.ecosystem(&app.replace("env = { COLOUR = \"plain\" }\n", ""));
    rsx.ok("restart ecosystem.toml");
    assert!(!environment_of(rsx.pid("a")).contains_key("COLOUR"));
}
