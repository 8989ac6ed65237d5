//! Values as PM2's users write them: understood where this version can, refused by name where it cannot yet.

use std::path::Path;
use std::time::Duration;

use crate::config::tests::{Machine, messages, options, read_with, rendered};
use crate::config::{Document, Format, Loaded, Owner, parse};
use crate::spec::{LogTarget, Program, RestartDelay, RestartPolicy};

#[track_caller]
fn loaded(text: &str) -> Loaded {
    read_with(text, Format::Json, &options()).unwrap_or_else(|_| panic!("{}", rendered(text, Format::Json)))
}

#[track_caller]
fn package(text: &str) -> Result<Vec<String>, Vec<String>> {
    let document = Document {
        path: Path::new("/p/package.json"),
        format: Format::Json,
        folder: Path::new("/p"),
        owner: Owner::File,
    };
    match parse(text, &document, &options(), &Machine) {
        Ok(loaded) => Ok(loaded.apps.into_iter().map(|app| app.name).collect()),
        Err(report) => Err(report.problems().iter().map(|problem| problem.message.clone()).collect()),
    }
}

#[test]
fn numbers_in_quotes_and_texts_for_lists_are_understood() {
    let text = r#"{ "apps": [{
        "script": "./app.js", "name": 7, "exec_mode": "fork_mode", "instances": "2",
        "args": "serve --title 'a b' -p 80", "node_args": ["--inspect", 9],
        "max_restarts": "10", "min_uptime": "60s", "restart_delay": "3000", "kill_timeout": 1600,
        "stop_exit_codes": 0, "error_file": "NULL", "out_file": "/dev/null", "cron_restart": 0,
        "watch": false, "pmx": false, "vizion": false, "env": { "A": 1, "B": true, "C": null, "D": { "e": [1] }, "F": 1.50 }
    }] }"#;
    let app = &loaded(text).apps[0];
    assert_eq!((app.name.as_str(), app.instances), ("7", 2));
    let Program::Script { interpreter, interpreter_args, args, .. } = &app.program else { panic!("{app:?}") };
    assert_eq!(interpreter, "node");
    assert_eq!(interpreter_args, &["--inspect", "9"]);
    assert_eq!(args, &["serve", "--title", "a b", "-p", "80"]);
    assert_eq!(app.restart.max_restarts, 10);
    assert_eq!(app.restart.min_uptime, Duration::from_secs(60));
    assert_eq!(app.restart.delay, RestartDelay::Fixed { pause: Duration::from_secs(3) });
    assert_eq!(app.restart.stop_exit_codes, [0]);
    assert_eq!((&app.logs.out, &app.logs.error), (&LogTarget::Null, &LogTarget::Null));
    let env: Vec<(&str, &str)> = app.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(env, [("A", "1"), ("B", "true"), ("D", r#"{"e":[1]}"#), ("F", "1.50")]);
}

#[test]
fn apps_may_be_one_app_a_table_of_apps_or_the_whole_file() {
    let app = r#"{ "script": "app.js", "autorestart": false }"#;
    for text in [
        format!(r#"{{ "apps": {app} }}"#),
        format!(r#"{{ "apps": {{ "app": {app} }} }}"#),
        format!("[{app}]"),
        app.to_owned(),
        format!(r#"{{ /* deployed by hand */ "apps": [{app},], "deploy": {{ "production": {{ "ref": "main" }} }} }}"#),
    ] {
        let loaded = loaded(&text);
        assert_eq!(loaded.apps.len(), 1, "{text}");
        assert_eq!((loaded.apps[0].name.as_str(), loaded.apps[0].restart.policy), ("app", RestartPolicy::Never));
    }
}

#[test]
fn what_this_version_lacks_is_refused_by_name() {
    let text = r#"{ "apps": [
        { "script": "app.js", "instances": "max" },
        { "script": "app.js", "name": "b", "exec_mode": "cluster_mode", "instances": 4 },
        { "script": "app.js", "name": "c", "watch": ["src"], "max_memory_restart": "300M" }
    ] }"#;
    let found = messages(text, Format::Json);
    assert_eq!(found, ["watching files (`watch`) is not in this version yet",]);
}

#[test]
fn package_json_holds_apps_under_its_key_pm2() {
    let app = r#"{ "name": "web", "script": "app.js" }"#;
    for pm2 in [app.to_owned(), format!("[{app}]"), format!(r#"{{ "apps": [{app}] }}"#)] {
        let text = format!(r#"{{ "name": "shop", "version": "1.0.0", "scripts": {{}}, "pm2": {pm2} }}"#);
        assert_eq!(package(&text), Ok(vec!["web".to_owned()]), "{text}");
    }
    assert_eq!(package(r#"{ "name": "shop" }"#), Err(vec!["the file has no key `pm2` with apps".to_owned()]));
    assert_eq!(package(r#"{ "pm2": 3 }"#), Err(vec!["the file is a number, not a list of apps".to_owned()]));
}
