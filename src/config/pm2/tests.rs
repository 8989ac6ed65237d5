use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::config::keys;
use crate::config::{Document, Format, Loaded, Options, Owner, SystemProbe, parse};
use crate::spec::{Program, RestartDelay};

/// A dump of a real shape: two instances of a web server in cluster mode, a worker, a stopped command line, a module.
const DUMP: &str = include_str!("../../../tests/data/pm2-dump/dump.pm2");

fn shell() -> Env {
    let shell = [("PATH", "/usr/bin:/bin"), ("HOME", "/home/deploy"), ("LANG", "C.UTF-8"), ("SHELL", "/bin/bash")];
    shell.into_iter().chain([("USER", "deploy")]).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn import(text: &str) -> Result<Imported, DumpError> {
    let shell = shell();
    import_pm2(text, &Surroundings { folder: Path::new("/home/deploy/.pm2"), shell: &shell })
}

/// Imports one entry with these fields; its file, read back.
#[track_caller]
fn one(fields: Value) -> (Imported, Loaded) {
    let mut entry = json!({ "name": "a", "pm_exec_path": "/srv/a.js", "pm_cwd": "/srv", "exec_interpreter": "node" });
    entry.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let imported = import(&json!([entry]).to_string()).unwrap();
    let loaded = read(&imported.toml);
    (imported, loaded)
}

#[track_caller]
fn read(toml: &str) -> Loaded {
    let path = Path::new("/srv/ecosystem.toml");
    let document = Document { path, format: Format::Toml, folder: Path::new("/srv"), owner: Owner::File };
    parse(toml, &document, &Options { cores: 2, ..Options::default() }, &SystemProbe)
        .unwrap_or_else(|report| panic!("{}\n{toml}", report.render(crate::config::Colour::Never, 100)))
}

#[test]
fn a_dump_becomes_the_file_that_its_owner_would_have_written() {
    let imported = import(DUMP).unwrap();
    insta::assert_snapshot!(imported.toml);
    insta::assert_snapshot!(imported.notices.join("\n"));
    assert_eq!(imported.secrets, ["api: DATABASE_URL", "api: SESSION_SECRET"]);
    assert_eq!(imported.names, ["api", "mailer", "front"]);
    let loaded = read(&imported.toml);
    assert_eq!(loaded.names, ["api", "mailer", "front"]);
    let mailer = &loaded.apps[1];
    assert_eq!((mailer.namespace.as_str(), &mailer.restart.stop_exit_codes), ("jobs", &vec![0, 3]));
    assert!(matches!(mailer.restart.delay, RestartDelay::Fixed { pause } if pause.as_secs() == 3));
    let front = &loaded.apps[2];
    assert_eq!(front.program, Program::CommandLine { line: "npm run serve -- --port 8081".into() });
    assert!(!front.autostart && mailer.autostart);
}

#[test]
fn what_is_no_dump_is_told_from_what_is_torn() {
    for torn in ["", "[", &DUMP[..DUMP.len() / 2], "require('fs').unlinkSync('x')", "[{\"name\": 1,}]"] {
        assert!(matches!(import(torn), Err(DumpError::Torn(_))), "{torn:.20}");
    }
    for foreign in ["{}", "3", "[1]", "[{\"id\": 1}]", "{\"apps\": []}"] {
        assert!(matches!(import(foreign), Err(DumpError::Foreign)), "{foreign}");
    }
    assert!(matches!(import("[]"), Err(DumpError::Empty { .. })));
}

#[test]
fn an_entry_that_cannot_be_translated_does_not_hide_the_others() {
    let text = json!([{ "name": "lost", "exec_mode": "fork_mode" }, { "name": "b", "pm_exec_path": "/srv/b.js" }]);
    let imported = import(&text.to_string()).unwrap();
    assert_eq!((imported.names.as_slice(), imported.unusable), (["b".to_owned()].as_slice(), 1));
    assert!(imported.notices[0].starts_with("entry 1, `lost`: left out: it has no `pm_exec_path`"), "{imported:?}");
}

#[test]
fn instances_in_fork_mode_are_counted() {
    let instance = |port: u16| {
        json!({ "name": "w", "pm_exec_path": "/srv/w.js", "exec_interpreter": "node", "exec_mode": "fork_mode",
            "env": { "PORT": port }, "increment_var": "PORT" })
    };
    let imported = import(&json!([instance(3000), instance(3001), instance(3002)]).to_string()).unwrap();
    let loaded = read(&imported.toml);
    assert_eq!((loaded.apps.len(), loaded.apps[0].instances), (1, 3));
    assert!(!imported.notices.iter().any(|notice| notice.contains("differently")), "{imported:?}");
    let mut other = instance(3001);
    other["kill_timeout"] = json!(9000);
    let imported = import(&json!([instance(3000), other]).to_string()).unwrap();
    assert!(
        imported
            .notices
            .contains(&"w: its instances were declared differently; the first one's values are taken".into())
    );
}

#[test]
fn two_programs_of_one_name_get_two_names() {
    let entry = |path: &str| json!({ "name": "w", "pm_exec_path": path });
    let imported = import(&json!([entry("/srv/a"), entry("/srv/b"), entry("/srv/c")]).to_string()).unwrap();
    assert_eq!(read(&imported.toml).names, ["w", "w-2", "w-3"]);
    assert_eq!(imported.notices[0], "w-2: renamed, because another program is called `w`, too");
}

#[test]
fn names_that_rsx_cannot_carry_are_changed_and_told() {
    for (written, name) in
        [("a/b", "a-b"), ("all", "app-all"), ("..", "app"), (" x ", "x"), ("-n", "n"), ("\n", "app--")]
    {
        let (imported, loaded) = one(json!({ "name": written }));
        assert!(loaded.names[0] == name || written == "\n", "{written:?} {:?}", loaded.names);
        assert!(imported.notices[0].contains("cannot be a name here"), "{imported:?}");
    }
    let (_, loaded) = one(json!({ "name": "ä".repeat(5000) }));
    assert_eq!(loaded.names[0], "ä".repeat(100));
}

#[test]
fn of_the_environment_only_what_the_owner_declared_is_kept() {
    let env = json!({
        "PATH": "/usr/bin:/bin", "LANG": "de_DE.UTF-8", "TERM": "xterm", "SSH_TTY": "/dev/pts/0", "npm_config_x": "1",
        "PM2_USAGE": "CLI", "pm_id": 3, "unique_id": "x", "name": "outer", "watch": "false", "NODE_APP_INSTANCE": 0,
        "NODE_ENV": "production", "port": 1, "LIST": [1, "a"], "EMPTY": "", "XDG_RUNTIME_DIR": "/run/user/0", "we ird": "\u{7f}\n\"",
    });
    let (_, loaded) = one(json!({ "env": env }));
    let kept: Vec<(&str, &str)> = loaded.apps[0].env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let expected = [
        ("EMPTY", ""),
        ("LANG", "de_DE.UTF-8"),
        ("LIST", "[1,\"a\"]"),
        ("NODE_ENV", "production"),
        ("we ird", "\u{7f}\n\""),
    ];
    assert_eq!(kept, expected);
    // Outside of PM2's own inheritance, small letters are the owner's.
    let (_, loaded) = one(json!({ "env": { "port": 1 }, "port": 1 }));
    assert_eq!(loaded.apps[0].env["port"], "1");
}

#[test]
fn every_field_that_pm2_fills_in_by_itself_is_left_out_in_silence() {
    let (imported, _) = one(json!({
        "vizion": true, "pmx": true, "watch": false, "kill_timeout": 1600, "min_uptime": 1000, "ignore_watch": [],
        "stop_exit_codes": [], "cron_restart": null, "windowsHide": true, "max_restarts": 16, "exec_mode": "fork_mode",
        "axm_monitor": { "x": 1 }, "pm_out_log_path": "/home/deploy/.pm2/logs/a-out-3.log", "namespace": "default",
        "pm_err_log_path": "/opt/u/.pm2/logs/a-error.log", "pm_pid_path": "/home/deploy/.pm2/pids/a-0.pid",
        "USER_ID": 3, "env": {}, "status": "errored", "merge_logs": true,
    }));
    assert_eq!(imported.notices, Vec::<String>::new());
    let lines: Vec<&str> = imported.toml.lines().skip(3).collect();
    assert_eq!(lines, ["name = \"a\"", "script = \"/srv/a.js\"", "cwd = \"/srv\""]);
}

#[test]
fn every_key_that_pm2_knows_is_taken_over_told_or_a_comment() {
    let values = [
        ("out_file", json!("/l/o.log")),
        ("log_date_format", json!("YYYY")),
        ("max_memory_restart", json!(1_073_741_824)),
        ("watch", json!(["src"])),
        ("ignore_watch", json!(["tmp"])),
        ("watch_options", json!({ "usePolling": true, "interval": null })),
        ("wait_ready", json!(true)),
        ("uid", json!("www-data")),
        ("filter_env", json!(["SECRET"])),
        ("time", json!(true)),
        ("log_type", json!("json")),
        ("kill_timeout", json!(2500)),
        ("autorestart", json!(false)),
        ("treekill", json!(false)),
        ("disable_logs", json!(true)),
        ("exp_backoff_restart_delay", json!(100)),
        ("instance_var", json!("INSTANCE_ID")),
        ("vizion", json!(false)),
        ("post_update", json!(["npm install"])),
        ("frobnicate", json!(1)),
    ];
    let (imported, _) = one(Value::Object(values.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect()));
    for (name, _) in &values {
        let name = keys::find(name).map_or(*name, |key| key.name);
        let is_told = imported.notices.iter().any(|notice| notice.contains(&format!("`{name}`")));
        let is_line =
            imported.toml.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{name} = ")));
        assert!(is_told || is_line, "{name}\n{}\n{:?}", imported.toml, imported.notices);
    }
    assert!(imported.toml.contains("\nmax_memory_restart = \"1G\"\n"), "{}", imported.toml);
    assert!(imported.toml.contains("\nkill_timeout = \"2500ms\"\n"), "{}", imported.toml);
}
