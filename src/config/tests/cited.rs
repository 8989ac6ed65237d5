//! What a user sees: rendered problems.

use crate::config::Format;
use crate::config::tests::rendered;

#[test]
fn all_problems_of_a_file_are_cited_at_once() {
    let text = "\
[defaults]
kill_timout = \"3s\"

[[apps]]
name = \"api\"
scirpt = \"app.js\"
kill_timeout = \"3x\"
max_restarts = -1

[[apps]]
name = \"web\"
script = \"app.js\"
instances = \"max\"
max_memory_restart = \"1G\"
stop_signal = \"SIGNOPE\"
out_file = \"a.log\"
output = \"b.log\"

[[apps]]
name = \"web\"
script = \"gone.js\"
cwd = \"nowhere\"
restart = \"on-failur\"
rotate = { size = \"10M\", kep = 3 }
";
    insta::assert_snapshot!(rendered(text, Format::Toml));
}

#[test]
fn two_apps_of_one_name_are_cited_both() {
    let text = "[[apps]]\nname = 'web'\nscript = 'app.js'\n\n[[apps]]\nscript = 'app.js'\nname = 'web'\n";
    insta::assert_snapshot!(rendered(text, Format::Toml));
}

#[test]
fn broken_syntax_is_cited_in_every_format() {
    insta::assert_snapshot!(rendered("[[apps]]\nscript = app.js\nname = \"x\n", Format::Toml));
    insta::assert_snapshot!(rendered(
        "{\n  \"apps\": [\n    { \"script\": \"a\" \"name\": 1 }\n  ]\n}\n",
        Format::Json
    ));
    insta::assert_snapshot!(rendered("apps:\n  - script: äöü\n   name: x\n", Format::Yaml));
    insta::assert_snapshot!(rendered("{\"apps\": [], \"apps\": []}", Format::Json));
}

#[test]
fn a_json_file_of_pm2_gets_notices_and_refusals() {
    let text = r#"{
  // as PM2 takes it
  "apps": [{
    "script": "app.js",
    "watch": false,
    "mergeLogs": true,
    "maxMemoryRestart": "300M",
    "pmx": false,
    "autorestart": "yes",
    "frobnicate": 1,
  }],
}"#;
    insta::assert_snapshot!(rendered(text, Format::Json));
}

#[test]
fn places_in_yaml_are_right_behind_other_scripts() {
    let text = "# ünïcödé 💥\napps:\n  - name: 日本\n    script: app.js # ä\n    kill_timeout: 3x\n";
    insta::assert_snapshot!(rendered(text, Format::Yaml));
}
