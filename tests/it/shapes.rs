//! What scripts written for PM2 read, and what nobody may read: shapes, ids, secrets.

use std::fs;

use crate::harness::Rsx;

/// Values that must be found nowhere.
const SECRETS: [&str; 5] =
    ["hunter2-declared", "hunter2-inherited", "hunter2-address", "hunter2-argument", "hunter2/slash@sign"];

#[test]
fn ids_and_lists_have_the_shapes_of_pm2() {
    let rsx = Rsx::new();
    rsx.ecosystem(
        "[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\nexec_mode = \"fork\"\ninstances = 2\n\
         [[apps]]\nname = \"b\"\nscript = \"sleep 1000\"\n",
    );
    rsx.ok("start");
    assert_eq!(rsx.ok("id a").out, "[ 0, 1 ]\n");
    assert_eq!(rsx.ok("id all --json").out, "[0,1,2]\n");
    rsx.fails(4, "id nobody").says(&["nobody"]);
    let list = rsx.ok("jlist").json();
    let entry = &list[2];
    assert_eq!((&entry["name"], &entry["pm_id"]), (&"b".into(), &2.into()));
    assert!(entry["monit"]["memory"].is_u64() && entry["monit"]["cpu"].is_number(), "{entry}");
    let env = &entry["pm2_env"];
    assert_eq!((&env["status"], &env["exec_mode"]), (&"online".into(), &"fork_mode".into()));
    assert!(env["pm_uptime"].as_u64().unwrap() >= env["created_at"].as_u64().unwrap(), "{env}");
    rsx.ok("stop b");
    let stopped = &rsx.ok("jlist").json()[2];
    assert_eq!((&stopped["pid"], &stopped["pm2_env"]["status"]), (&0.into(), &"stopped".into()));
    rsx.ok("prettylist").prints(&["[\n  {\n    monit: { cpu: ", "    name: 'a',\n", "      status: 'stopped',\n"]);
}

#[test]
fn a_watched_table_is_drawn_again_when_something_changes() {
    let rsx = Rsx::new();
    rsx.ok("start 'sleep 1000' -n a --min-uptime 100");
    let mut lines = rsx.lines("ls --watch");
    lines.wait("the app online", |line| line.contains("online"));
    rsx.ok("stop a");
    lines.wait("the app stopped", |line| line.contains("stopped"));
    rsx.ok("start 'sleep 1000' -n b --min-uptime 100");
    lines.wait("the new app", |line| line.contains(" b ") && line.contains("online"));
}

#[test]
fn env_shows_what_the_program_gets_and_secrets_only_when_asked() {
    let mut rsx = Rsx::new();
    rsx.set_env("DATABASE_URL", "postgres://u:hunter2@db/app");
    rsx.ecosystem(
        "[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\nenv = { PORT = \"3000\", API_TOKEN = \"hunter2\" }\n",
    );
    rsx.ok("start");
    let hidden = rsx.ok("env a");
    hidden.prints(&["PORT: 3000\n", "API_TOKEN: [redacted]\n", "DATABASE_URL: [redacted]\n", "RSX_ID: 0\n"]);
    assert!(!hidden.out.contains("hunter2"));
    rsx.ok("env 0 --show").prints(&["API_TOKEN: hunter2\n", "DATABASE_URL: postgres://u:hunter2@db/app\n"]);
    assert_eq!(rsx.json("env a")[0]["env"]["PORT"], "3000");
    rsx.fails(4, "env nobody");
}

#[test]
fn secrets_are_found_in_no_listing_event_log_or_error() {
    let mut rsx = Rsx::new();
    rsx.set_env("AWS_SECRET_ACCESS_KEY", SECRETS[1]);
    rsx.ecosystem(&format!(
        "[[apps]]\nname = \"a\"\nscript = \"/bin/sleep\"\nargs = [\"1000\"]\n\
         env = {{ DB_PASSWORD = \"{}\", REDIS = \"redis://:{}@h\", QUEUE = \"amqp://u:{}@h/q\" }}\n\
         [[apps]]\nname = \"bad\"\nscript = \"/nope/x\"\nargs = [\"--api-token\", \"{}\"]\n\
         env = {{ DB_PASSWORD = \"{}\" }}\n",
        SECRETS[0], SECRETS[2], SECRETS[4], SECRETS[3], SECRETS[0]
    ));
    let mut told = String::new();
    let mut tell = |done: crate::harness::Done| told.push_str(&format!("{}{}", done.out, done.err));
    for line in [
        "start",
        "start --json",
        "restart a --update-env",
        "scale a +1",
        "signal nope a",
        "ls",
        "ls --json",
        "jlist",
        "prettylist",
        "describe all",
        "describe all --json",
        "env all",
        "env all --json",
        "why all",
        "why all --json",
        "stop a --json",
        "start a --json",
        "restart ecosystem.toml",
        "start ecosystem.toml --dry-run",
        "logs --nostream",
    ] {
        tell(rsx.run(line));
    }
    let mut events = rsx.events();
    events.wait_for("a", "stopped");
    told.push_str(&events.seen().iter().map(|event| event.json.to_string()).collect::<String>());
    for entry in fs::read_dir(rsx.home()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // What is wanted is kept with its values, 0600, and nothing else is.
        if entry.path().is_file() && name.starts_with("daemon") {
            told.push_str(&String::from_utf8_lossy(&fs::read(entry.path()).unwrap()));
        }
    }
    assert!(told.contains("[redacted]"), "the listings are there");
    for secret in SECRETS {
        let at = told.find(secret);
        assert!(
            at.is_none(),
            "`{secret}`: {}",
            told.chars().skip(at.unwrap_or(0).saturating_sub(300)).take(600).collect::<String>()
        );
    }
}
