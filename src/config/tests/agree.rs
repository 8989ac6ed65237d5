//! The formats agree: one app, written in TOML, JSON and YAML, is one spec.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::config::Format;
use crate::config::tests::{options, read_with};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_same_app_means_the_same_in_every_format(app in any_app()) {
        let json = Value::Array(vec![Value::Object(app.clone())]);
        let toml: String = app.iter().map(|(key, value)| format!("{key} = {}\n", toml(value))).collect();
        let yaml: String = app.iter().map(|(key, value)| format!("  {key}: {value}\n")).collect();
        let read = |text: &str, format| {
            let mut loaded = read_with(text, format, &options()).map_err(|report| TestCaseError::fail(format!("{report:?}")))?;
            let mut app = loaded.apps.remove(0);
            app.origin = crate::spec::Origin::Folder("/".into());
            Ok::<_, TestCaseError>(app)
        };
        let from_json = read(&format!("{{\"apps\": {json}}}"), Format::Json)?;
        prop_assert_eq!(&read(&format!("[[apps]]\n{toml}"), Format::Toml)?, &from_json);
        prop_assert_eq!(&read(&format!("apps:\n-\n{yaml}"), Format::Yaml)?, &from_json);
        // What came out of a file survives the wire.
        let wire = serde_json::to_string(&from_json).unwrap();
        prop_assert_eq!(serde_json::from_str::<crate::spec::AppSpec>(&wire).unwrap(), from_json);
    }
}

fn any_app() -> impl Strategy<Value = Map<String, Value>> {
    let word = "[a-zA-Z0-9 äß日💥_.:\"'#\\\\{}&*!|>%@`,=-]{1,20}";
    let name = "[a-z][a-z0-9äß_.-]{0,20}".prop_filter("a name", |name| name != "all");
    let scalar = prop_oneof![
        word.prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        (0..1000, 1..100).prop_map(|(a, b)| json!(f64::from(a) + f64::from(b) / 128.0)),
    ];
    let env = proptest::collection::btree_map("[A-Z][A-Z0-9_]{0,9}", scalar.clone(), 0..5);
    let time = prop_oneof![(0..100_000).prop_map(Value::from), "[1-9][0-9]{0,2}(ms|s|m)".prop_map(Value::from)];
    let keys = (
        proptest::option::of(name),
        proptest::option::of(proptest::collection::vec(scalar, 0..4)),
        proptest::option::of(env),
        proptest::option::of(time.clone()),
        proptest::option::of(time),
        proptest::option::of(0..1000),
        proptest::option::of(any::<bool>()),
        proptest::option::of(proptest::sample::select(vec!["always", "on-failure", "never"])),
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..4)),
    );
    keys.prop_map(|(name, args, env, kill, uptime, restarts, treekill, restart, codes)| {
        let all = [
            ("script", Some(json!("app.js"))),
            ("name", name.map(Value::from)),
            ("args", args.map(Value::from)),
            ("env", env.map(|env| json!(env))),
            ("kill_timeout", kill),
            ("min_uptime", uptime),
            ("max_restarts", restarts.map(Value::from)),
            ("treekill", treekill.map(Value::from)),
            ("restart", restart.map(Value::from)),
            ("stop_exit_codes", codes.map(|codes| json!(codes))),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    })
}

/// JSON's texts, numbers and lists are TOML's, too; only tables are written otherwise.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(table) => {
            let entries: Vec<String> = table.iter().map(|(key, value)| format!("{key} = {}", toml(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}
