//! How users of PM2 arrive: their configuration unchanged, their saved list, their habits.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests act on the world and may fail")]

#[path = "it/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the harness serves the other end to end tests, too")]
mod harness;
#[path = "arrive/npm.rs"]
mod npm;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{LIMIT, Rsx, command_of, free_port, get, requires};
use crate::npm::packages;

/// A project of a real shape. Cargo runs tests in the package's folder.
const PROJECT: &str = "tests/data/pm2-project";
const DUMP: &str = "tests/data/pm2-dump/dump.pm2";

/// The lines of the project's configuration that this version refuses.
const NOT_YET: &[&str] = &[
    "      cron_restart: '0 4 * * *',\n",
    "      watch: ['worker'],\n",
    "      ignore_watch: ['node_modules'],\n",
    "      log_date_format: 'YYYY-MM-DD HH:mm:ss',\n",
    "      time: true,\n",
];

/// Copies the project into the scratch folder.
fn project(rsx: &Rsx) {
    for name in [
        "ecosystem.config.js",
        "package.json",
        "api/server.js",
        "worker/worker.js",
        "admin/server.js",
        "admin/public/style.css",
    ] {
        rsx.write(name, fs::read(Path::new(PROJECT).join(name)).unwrap());
    }
}

/// The project with what it needs from npm; false: that cannot be had here.
fn project_with_packages(rsx: &Rsx) -> bool {
    let Some(packages) = packages(Path::new(PROJECT)) else { return false };
    project(rsx);
    symlink(packages, rsx.scratch().join("node_modules")).unwrap();
    true
}

/// The configuration without what this version refuses.
fn edited() -> String {
    let mut text = fs::read_to_string(Path::new(PROJECT).join("ecosystem.config.js")).unwrap();
    for line in NOT_YET {
        assert!(text.contains(line), "{line}");
        text = text.replace(line, "");
    }
    text
}

fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn check_names_every_value_of_an_unchanged_project_that_this_version_refuses() {
    if !requires("node") {
        return;
    }
    let rsx = Rsx::new();
    project(&rsx);
    let done = rsx.fails(6, "check");
    for path in ["apps[1].cron_restart", "apps[1].watch", "apps[1].ignore_watch"] {
        done.says(&[&format!("{path} in the values of ")]);
    }
    done.says(&["`deploy` has no effect", "`vizion` has no effect", "ecosystem.config.js` has 3 problems"]);
    // What the file itself prints is talk.
    done.says(&["configuration of shop 1.4.2"]);
    assert_eq!(done.out, "");
}

#[test]
fn an_app_of_an_unchanged_project_that_this_version_can_run_runs() {
    let (mut rsx, port) = (Rsx::new(), free_port());
    if !project_with_packages(&rsx) {
        return;
    }
    rsx.set_env("ADMIN_PORT", port.to_string());
    rsx.fails(6, "start --env production").says(&["3 problems", "`--only api,admin` takes what this version can run"]);
    let done = rsx.ok("start ecosystem.config.js --only admin --env production");
    done.prints(&["+ admin", "online"]).says(&["left out, and with problems: `worker`", "rsx check FILE"]);
    assert!(!done.err.contains("cron_restart"), "{}", done.err);
    let settings = body(&get(port, "/settings"));
    assert_eq!(settings, json!({ "env": "production", "level": "warn", "options": ["--max-old-space-size=64"] }));
    assert!(get(port, "/static/style.css").ends_with("body { margin: 0 }\n"));
    rsx.wait_for_text(&rsx.scratch().join("logs/admin.log"), |text| text == format!("admin on {port}\n"));
    let number = fs::read_to_string(rsx.scratch().join("run/admin.pid")).unwrap();
    assert_eq!(number, format!("{}\n", rsx.pid("admin")));
    // The chosen environment is remembered, as are the apps that cannot run yet: each time by name.
    rsx.ok("restart ecosystem.config.js --only admin");
    assert_eq!(body(&get(port, "/settings"))["env"], "production");
    rsx.fails(6, "restart ecosystem.config.js").says(&["apps[1].cron_restart", "3 problems"]);
    rsx.ok("delete ecosystem.config.js --only admin");
    assert!(!rsx.scratch().join("run/admin.pid").exists());
}

#[test]
fn the_rest_of_the_project_runs() {
    let (mut rsx, port, admin) = (Rsx::new(), free_port(), free_port());
    if !project_with_packages(&rsx) {
        return;
    }
    rsx.set_env("ADMIN_PORT", admin.to_string());
    rsx.write("ecosystem.config.js", edited());
    rsx.set_env("SHOP_PORT", port.to_string());
    rsx.ok("start --env production").prints(&["api", "worker"]);
    let answer = body(&get(port, "/"));
    // Whichever of the two is asked.
    let instance = answer["instance"].clone();
    assert!(instance == "0" || instance == "1", "{answer}");
    let expected = json!({
        "env": "production", "version": "1.4.2", "instance": instance, "options": ["--max-old-space-size=128"],
    });
    assert_eq!(answer, expected);
    rsx.wait_for_text(&rsx.scratch().join("logs/worker.log"), |text| {
        text == "production: [\"--queue\",\"late mails\"]\n"
    });
    let (api, worker) = (rsx.pid("api"), rsx.pid("worker"));
    // Evaluated again, the file means the same.
    rsx.ok("start ecosystem.config.js --env production").prints(&["= api: unchanged", "= worker: unchanged"]);
    assert!(get(port, "/orders/1").starts_with("HTTP/1.1 404"));
    assert_eq!((rsx.pid("api"), rsx.pid("worker")), (api, worker));
    rsx.ok("restart ecosystem.config.js --only worker --env production");
    assert_eq!(rsx.pid("api"), api);
    assert_ne!(rsx.pid("worker"), worker);
    rsx.ok("delete ecosystem.config.js");
    assert_eq!(rsx.apps(), Vec::<Value>::new());
}

#[test]
fn package_json_with_the_key_pm2_is_a_file_of_apps() {
    if !requires("node") {
        return;
    }
    let rsx = Rsx::new();
    project(&rsx);
    rsx.ok("start package.json");
    rsx.wait_for_text(&rsx.log("worker-out.log"), |text| text == "undefined: [\"--queue\",\"late mails\"]\n");
    rsx.write("package.json", "{ \"name\": \"shop\" }");
    rsx.fails(6, "start package.json").says(&["no key `pm2`", "rsx start npm -- start"]);
}

#[test]
fn what_a_configuration_prints_is_no_part_of_the_answer() {
    if !requires("node") {
        return;
    }
    let rsx = Rsx::new();
    rsx.write("a.config.mjs", "console.log('[1]'); export default [{ name: 'a', script: 'sleep', args: '1000' }]\n");
    let done = rsx.ok("check a.config.mjs --json");
    assert_eq!(done.json()["apps"][0]["name"], "a");
    done.says(&["[1]"]);
}

#[test]
fn a_configuration_that_throws_is_cited_and_starts_nothing() {
    if !requires("node") {
        return;
    }
    let rsx = Rsx::new();
    rsx.write("ecosystem.config.js", "const apps = [];\n\nmodule.exports = { apps: apps[0].apps };\n");
    let done = rsx.fails(6, "start");
    done.says(&["TypeError: ", "ecosystem.config.js:3:34", "ecosystem.config.js` has 1 problem"]);
    assert_eq!(rsx.own_processes().len(), 0);
}

#[test]
fn without_node_a_configuration_in_javascript_says_the_way_out() {
    let mut rsx = Rsx::new();
    rsx.write("ecosystem.config.js", "module.exports = {}");
    rsx.set_env("PATH", "/nowhere");
    rsx.fails(6, "start").says(&["needs `node`, and PATH has none", "install Node.js, or write the same keys"]);
}

/// A PM2 home with this dump; what must not change, to be compared.
fn pm2_home(rsx: &Rsx, dump: &[u8], backup: Option<&[u8]>) -> PathBuf {
    let home = rsx.scratch().parent().unwrap().join("u/.pm2");
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("dump.pm2"), dump).unwrap();
    if let Some(backup) = backup {
        fs::write(home.join("dump.pm2.bak"), backup).unwrap();
    }
    home
}

fn seen(home: &Path) -> Vec<(String, Vec<u8>, i64)> {
    let mut files: Vec<_> = fs::read_dir(home)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.metadata().unwrap().is_file())
        .map(|entry| {
            let meta = entry.metadata().unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap(), meta.mtime_nsec() ^ meta.mtime())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_list_that_pm2_saved_is_printed_or_written_and_left_alone() {
    let rsx = Rsx::new();
    let home = pm2_home(&rsx, &fs::read(DUMP).unwrap(), None);
    let before = seen(&home);
    let done = rsx.ok("import pm2");
    done.prints(&["[[apps]]\nname = \"api\"\n", "[apps.env_staging]", "\nmax_memory_restart = \"300M\""]);
    done.says(&["notice: api: `pmx` left out", "secrets", "api: DATABASE_URL, api: SESSION_SECRET"]);
    let written = rsx.ok("import pm2 --write shop.toml");
    assert_eq!(written.out, "");
    let path = rsx.scratch().join("shop.toml");
    assert_eq!(fs::read_to_string(&path).unwrap(), done.out);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    rsx.ok("check shop.toml").prints(&["ok: 3 apps"]);
    rsx.fails(1, "import pm2 --write shop.toml").says(&["it is there already"]);
    rsx.fails(2, "import pm2 --write shop.js").says(&["must end in `.toml`"]);
    let answer = rsx.json("import pm2");
    assert_eq!(answer["apps"], json!(["api", "mailer", "front"]));
    assert_eq!(answer["toml"], done.out.as_str());
    assert_eq!(seen(&home), before);
    assert_eq!(rsx.own_processes().len(), 0);
}

#[test]
fn the_apps_that_pm2_saved_are_started() {
    let rsx = Rsx::new();
    let script = rsx.script("tick.sh", "echo \"$0 $* $GREETING\"; exec sleep 1000\n");
    let entry = |name: &str, status: &str| {
        json!({
            "name": name, "pm_exec_path": script, "pm_cwd": rsx.scratch(), "exec_interpreter": "bash", "exec_mode": "fork_mode",
            "args": ["a b"], "status": status, "kill_timeout": 2000, "min_uptime": 100, "env": { "GREETING": "hello" },
        })
    };
    let dump = json!([entry("tick", "online"), entry("tick", "online"), entry("idle", "stopped")]).to_string();
    let home = pm2_home(&rsx, dump.as_bytes(), None);
    // A PM2 that lives would have every app twice.
    let alive = UnixListener::bind(home.join("rpc.sock")).unwrap();
    rsx.fails(1, "import pm2 --start").says(&["PM2 still runs", "`pm2 kill`"]);
    drop(alive);
    rsx.ok("import pm2 --start --write ecosystem.toml");
    assert_eq!((rsx.state("tick"), rsx.state("idle")), ("online".into(), "stopped".into()));
    assert_eq!(rsx.app("tick")["slots"].as_array().unwrap().len(), 2);
    assert_eq!(command_of(rsx.pid("tick")), ["sleep", "1000"]);
    let expected = format!("{} a b hello\n", script.display());
    rsx.wait_for_text(&rsx.log("tick-out-0.log"), |text| text == expected);
    // The file owns them: applied again, nothing is new.
    rsx.ok("start ecosystem.toml").prints(&["= tick: unchanged"]);
}

#[test]
fn a_torn_list_is_told_and_its_backup_read() {
    let rsx = Rsx::new();
    let whole = fs::read(DUMP).unwrap();
    let home = pm2_home(&rsx, &whole[..whole.len() / 3], Some(&whole));
    let before = seen(&home);
    let done = rsx.ok("import pm2");
    done.says(&["dump.pm2: it is not valid JSON; `dump.pm2.bak` is read in its place"]).prints(&["name = \"api\""]);
    // Named, it is taken at its word.
    let named = format!("import pm2 {}", home.join("dump.pm2").display());
    rsx.fails(6, &named).says(&["cannot import", "it is not valid JSON"]);
    assert_eq!(seen(&home), before);
    fs::write(home.join("dump.pm2"), "[]").unwrap();
    rsx.fails(1, "import pm2").says(&["it holds no app", "rsx import pm2 ", "dump.pm2.bak` takes the list before it"]);
    fs::write(home.join("dump.pm2"), "{\"apps\": []}").unwrap();
    rsx.fails(6, "import pm2").says(&["it is not a list of processes as PM2 saves it"]);
}

#[test]
fn what_cannot_be_a_saved_list_is_refused() {
    let mut rsx = Rsx::new();
    rsx.fails(4, "import pm2").says(&["dump.pm2`", "No such file", "`pm2 save` writes this file"]);
    // Code, as PM2 itself would run it.
    let mark = rsx.scratch().join("ran");
    let code = format!("(require('fs').writeFileSync('{}', 'x'), [])", mark.display());
    let path = rsx.write("code.pm2", code);
    rsx.fails(6, &format!("import pm2 {}", path.display())).says(&["it is not valid JSON"]);
    assert!(!mark.exists());
    symlink("/dev/zero", rsx.scratch().join("endless")).unwrap();
    rsx.fails(1, "import pm2 endless").says(&["not a regular file"]);
    let long = rsx.write("long.pm2", vec![b' '; (64 << 20) + 1]);
    let done = rsx.run_with(&format!("import pm2 {}", long.display()), b"", LIMIT);
    assert_eq!(done.code, 1);
    done.says(&["it has more than 64 MiB"]);
    rsx.set_env("PM2_HOME", rsx.scratch().join("elsewhere"));
    rsx.fails(4, "import pm2").says(&["elsewhere/dump.pm2`"]);
    rsx.fails(2, "import forever");
}
