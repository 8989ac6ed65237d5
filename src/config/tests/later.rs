//! Keys of later versions and of PM2: validated, then refused or noticed; never accepted and ignored.

use crate::config::keys::{self, Availability};
use crate::config::tests::{app, messages, options, read_with, rendered};
use crate::config::{Format, Severity};
use crate::spec::ExecMode;

#[test]
fn every_example_of_the_table_means_what_its_availability_says() {
    for key in keys::all().filter(|key| !key.example.is_empty()) {
        let script = if key.name == "script" { "" } else { "script = 'app.js'\n" };
        let fork = match key.name {
            "instances" => "exec_mode = 'fork'\n",
            // A part of it.
            "memory_warn" => "max_memory_restart = '300M'\n",
            _ => "",
        };
        let text = format!("[[apps]]\n{script}{fork}{} = {}\n", key.name, key.example);
        let result = read_with(&text, Format::Toml, &options());
        match key.availability {
            Availability::Now => assert!(result.unwrap().warnings.is_empty(), "{text}"),
            Availability::Later { .. } => {
                let report = result.unwrap_err();
                assert_eq!(report.problems().len(), 1, "{text}");
                let message = &report.problems()[0].message;
                assert!(message.ends_with("is not in this version yet") && message.contains(key.name), "{message}");
            }
            Availability::NoCounterpart(_) => panic!("{} has an example", key.name),
        }
    }
}

#[test]
fn a_value_that_says_what_happens_anyway_is_accepted() {
    for key in keys::all() {
        let Availability::Later { unless, .. } = key.availability else { continue };
        for value in unless {
            let value = if *value == "false" { "false".to_owned() } else { format!("'{value}'") };
            app(&format!("script = 'app.js'\n{} = {value}", key.name));
        }
    }
}

#[test]
fn a_later_key_with_a_bad_value_is_refused_for_the_value() {
    for (keys, message) in [
        ("max_memory_restart = '1X'", "`max_memory_restart` cannot be `1X`"),
        ("health = { htp = '/x' }", "unknown key `htp` in `health`"),
        ("health = { interval = 'soon' }", "`health.interval` cannot be `soon`"),
        ("rotate = { keep = -1 }", "`rotate.keep` cannot be `-1`"),
        ("watch = 3.5", "`watch` is not in this version yet"),
        ("nice = 40", "`nice` cannot be `40`"),
        ("cron_restart = 'often'", "`cron_restart` cannot be `often`"),
        ("depends_on = { db = 'perhaps' }", "`depends_on.db` cannot be `perhaps`"),
        ("limits = { nofile = 'many' }", "`limits.nofile` cannot be `many`"),
        ("weights = [1, 'x']", "`weights` cannot be `x`"),
    ] {
        let found = messages(&format!("[[apps]]\nscript='app.js'\n{keys}"), Format::Toml);
        assert_eq!(found.len(), 1, "{keys}: {found:?}");
        assert!(found[0].starts_with(message) || found[0].contains("watching"), "{keys}: {found:?}");
    }
}

#[test]
fn several_instances_share_ports_unless_they_say_otherwise() {
    for keys in [
        "instances = 2",
        "instances = 1",
        "instances = 'max'",
        "instances = 0",
        "instances = -1",
        "exec_mode = 'cluster'",
        "instances = 2\nexec_mode = 'cluster_mode'",
    ] {
        assert_eq!(app(&format!("script='app.js'\n{keys}")).exec_mode, ExecMode::Cluster, "{keys}");
    }
    for keys in ["", "instances=2\nexecute_command=true", "instances=2\nexec_mode='fork'", "exec_mode='fork_mode'"] {
        assert_eq!(app(&format!("script='app.js'\n{keys}")).exec_mode, ExecMode::Fork, "{keys}");
    }
    assert_eq!(app("script='app.js'\ninstances=2\nexecute_command=true").instances, 2);
}

#[test]
fn keys_of_pm2_without_a_counterpart_are_notices() {
    let text = r#"{apps: [{script: "app.js", pmx: true, vizion: false, windowsHide: true, source_map_support: false,
        trace: {x: 1}, automation: true, km_link: false, post_update: ["x"], username: "u", force: true}], deploy: {}}"#;
    let loaded = read_with(text, Format::Json, &options()).unwrap();
    assert_eq!(loaded.warnings.count(Severity::Warning), 11);
    assert!(loaded.warnings.problems().iter().all(|problem| problem.help.is_some()));
}

#[test]
fn unknown_keys_are_errors_in_toml_and_warnings_elsewhere() {
    assert_eq!(messages("[[apps]]\nscript='app.js'\nfoo=1", Format::Toml), ["unknown key `foo`"]);
    assert!(rendered("apps:\n- script: app.js\n  foo: 1", Format::Yaml).contains("unknown key `foo`"));
    let loaded = read_with("apps: [{script: 'app.js', kilTimeout: 1}], foo: 1", Format::Yaml, &options());
    assert!(loaded.is_err(), "not YAML at the top");
    let loaded = read_with("{apps: [{script: 'app.js', kilTimeout: 1}], foo: 1}", Format::Yaml, &options()).unwrap();
    assert_eq!(loaded.warnings.problems()[0].help.as_deref(), Some("did you mean `kill_timeout`?"));
}
