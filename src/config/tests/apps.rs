//! What a file means: programs, names, environments, policies.

use std::path::Path;
use std::time::Duration;

use crate::config::tests::{Machine, app, loaded, messages, options, read_with};
use crate::config::{Format, Options, Severity, Template, load, template};
use crate::spec::{Check, HealthSpec, LogTarget, Origin, Program, RestartDelay, RestartPolicy, Signal};

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_limit_of_memory_is_bytes_and_a_warning_a_part_of_it_or_bytes() {
    let memory = |keys: &str| {
        let memory = app(&format!("script = 'app.js'\n{keys}")).memory;
        (memory.limit, memory.warn_at(), memory.too_much())
    };
    assert_eq!(memory(""), (None, None, None));
    assert_eq!(memory("max_memory_restart = '0'"), (None, None, None));
    assert_eq!(memory("max_memory_restart = '1000'"), (Some(1000), Some(800), Some(1250)));
    assert_eq!(memory("max_memory_restart = '100k'\nmemory_warn = '50%'").1, Some(102_400 / 100 * 50));
    assert_eq!(memory("memory_warn = '1k'"), (None, Some(1024), None));
}

#[test]
fn a_file_with_one_line_gets_all_defaults() {
    let app = app("script = 'app.js'");
    let mut expected = crate::spec::AppSpec::sample("app");
    expected.origin = Origin::File("/p/ecosystem.toml".into());
    expected.cwd = "/p".into();
    expected.program = Program::Script {
        script: "/p/app.js".into(),
        interpreter: "node".into(),
        interpreter_args: vec![],
        args: vec![],
    };
    assert_eq!(app, expected);
}

#[test]
fn the_program_follows_from_the_script() {
    let script = |script: &str, interpreter: &str| Program::Script {
        script: script.into(),
        interpreter: interpreter.into(),
        interpreter_args: vec![],
        args: vec![],
    };
    let binary = |path: &str| Program::Binary { path: path.into(), args: vec![] };
    for (keys, program, name) in [
        ("script = './app.js'", script("/p/app.js", "node"), "app"),
        ("script = '/p/w.py'", script("/p/w.py", "python3"), "w"),
        ("script = 'a.ts'", script("/p/a.ts", "node"), "a"),
        ("script = '~/x.sh'", script("/home/u/x.sh", "bash"), "x"),
        ("script = 'my app.js'", script("/p/my app.js", "node"), "my app"),
        ("script = 'app.js'\ncwd = 'dist'", script("/p/dist/app.js", "node"), "app"),
        ("script = 'w.py'\ncwd = 'dist'", script("/p/w.py", "python3"), "w"),
        ("script = 'tool'", binary("/p/tool"), "tool"),
        ("script = 'app.js'\ninterpreter = 'none'", binary("/p/app.js"), "app"),
        ("script = 'tool'\ninterpreter = 'bun'", script("/p/tool", "bun"), "tool"),
        ("script = 'tool'\ninterpreter = './bin/x'", script("/p/tool", "/p/bin/x"), "tool"),
        ("script = 'npm'", binary("npm"), "npm"),
        ("script = 'npm'\ninterpreter = 'node'", script("/usr/bin/npm", "node"), "npm"),
        ("exec = 'gone.py'", script("/p/gone.py", "python3"), "gone"),
        ("cmd = 'gone'", binary("/p/gone"), "gone"),
        ("script = 'npm'\nenv = { PATH = '/empty' }", binary("/p/npm"), "npm"),
        (
            "command = 'python3 -m http.server'",
            Program::CommandLine { line: "python3 -m http.server".into() },
            "python3",
        ),
        ("script = \"./run.sh 'x\"", Program::CommandLine { line: "./run.sh 'x".into() }, "run"),
        ("script = 'rsx:serve'", Program::Serve { args: vec![] }, "serve"),
    ] {
        let app = app(keys);
        assert_eq!((app.program, app.name.as_str()), (program, name), "{keys}");
    }
}

#[test]
fn arguments_are_a_list_or_split_as_a_shell_does() {
    let args = |keys: &str| match app(keys).program {
        Program::Script { args, interpreter_args, .. } => (interpreter_args, args),
        Program::Binary { args, .. } | Program::Serve { args } => (vec![], args),
        Program::CommandLine { line } => (vec![], vec![line]),
    };
    assert_eq!(args("script='app.js'\nargs=['a b', 3, true]").1, ["a b", "3", "true"]);
    assert_eq!(args("script='tool'\nargs=\"a 'b c'\"").1, ["a", "b c"]);
    assert_eq!(args("script='app.js'\nnode_args='--x --y'").0, ["--x", "--y"]);
    assert_eq!(args("script='echo hi'\nargs=['a b', \"it's\"]").1, [r#"echo hi 'a b' 'it'\''s'"#]);
    assert_eq!(args("script='rsx:serve'\nargs='site --spa'").1, words("site --spa"));
}

#[test]
fn a_missing_script_is_a_warning_and_stops_no_other_app() {
    let loaded = loaded("[[apps]]\nscript='gone.js'\n[[apps]]\nscript='app.js'\n[[apps]]\nname='f'\nscript='dist'");
    assert_eq!(loaded.names, ["gone", "app", "f"]);
    assert_eq!(loaded.warnings.count(Severity::Warning), 2);
    assert_eq!(loaded.warnings.problems()[1].message, "`dist` is a folder, not a program");
}

#[test]
fn an_environment_chosen_before_is_remembered_until_another_one_is_named() {
    let text =
        "[[apps]]\nscript='app.js'\nenv={A='plain'}\nenv_staging={A='staging'}\n[[apps]]\nname='b'\nscript='b.py'";
    let remembered = [("app".to_owned(), "staging".to_owned()), ("b".to_owned(), "staging".to_owned())].into();
    let with = Options { remembered, ..options() };
    let loaded = read_with(text, Format::Toml, &with).unwrap();
    assert_eq!((loaded.apps[0].env["A"].as_str(), loaded.apps[0].env_name.as_deref()), ("staging", Some("staging")));
    assert_eq!(loaded.apps[1].env_name, None, "what its file does not declare any more is forgotten");
    let plain = Options { env_name: Some("default".into()), ..with };
    let loaded = read_with(text, Format::Toml, &plain).unwrap();
    assert_eq!((loaded.apps[0].env["A"].as_str(), loaded.apps[0].env_name.as_deref()), ("plain", None));
}

#[test]
fn what_is_wrong_with_an_app_that_was_not_asked_for_stops_nothing() {
    let text = "[[apps]]\nname='a'\nscript='a.js'\nwatch=true\nkill_timout=1\n[[apps]]\nname='b'\nscript='b.py'";
    assert_eq!(read_with(text, Format::Toml, &options()).unwrap_err().count(Severity::Error), 2);
    let with = Options { only: vec!["b".into()], ..options() };
    let loaded = read_with(text, Format::Toml, &with).unwrap();
    assert_eq!(loaded.apps.iter().map(|app| app.name.as_str()).collect::<Vec<_>>(), ["b"]);
    let told: Vec<&str> = loaded.warnings.problems().iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(told, ["left out, and with problems: `a`", "`b.py` is neither a file nor a program on PATH"]);
    let with = Options { only: vec!["a".into()], ..options() };
    assert!(read_with(text, Format::Toml, &with).is_err());
    let with = Options { only: vec!["c".into()], ..options() };
    assert!(read_with(text, Format::Toml, &with).is_err(), "nobody is named c");
}

#[test]
fn where_only_this_version_stands_in_the_way_the_rest_is_named() {
    let way_out = |a: &str| {
        let text = format!("[[apps]]\nname='a'\nscript='a.js'\n{a}\n[[apps]]\nname='b'\nscript='b.py'");
        read_with(&text, Format::Toml, &options()).unwrap_err().way_out()
    };
    assert_eq!(way_out("watch=true").as_deref(), Some("`--only b` takes what this version can run"));
    assert_eq!(way_out("exec_mode='cluster'\nwatch=true").as_deref().map(|hint| hint.contains("--only b")), Some(true));
    assert_eq!(way_out("watch=true\nkill_timout=1"), None, "a mistake is to be mended");
}

#[test]
fn the_environment_is_merged_by_name() {
    let text = "[defaults]\nenv = { A = 'd', B = 'd', D = 1.10 }\n[[apps]]\nscript='app.js'\nport = 3000\n\
        env = { B = 2, C = true, E = { x = [1, 2] } }\nenv_production = { C = 'p' }\nenv_other = { }\n\
        [[apps]]\nscript='w.py'\nport=1\nenv = { PORT = 8 }";
    let with = Options { env_name: Some("production".into()), ..options() };
    let loaded = read_with(text, Format::Toml, &with).unwrap();
    let env: Vec<String> = loaded.apps[0].env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["A=d", "B=2", "C=p", "D=1.10", r#"E={"x":[1,2]}"#, "PORT=3000"]);
    assert_eq!(loaded.apps[0].env_name.as_deref(), Some("production"));
    assert_eq!(loaded.apps[1].env["PORT"], "8");
    assert_eq!(loaded.apps[1].env_name, None);
}

#[test]
fn null_removes_a_variable_and_restores_a_default() {
    let text = r#"{defaults: {kill_timeout: "3s", env: {A: 1, B: 1}}, apps: {script: "app.js", kill_timeout: null, env: {A: null}}}"#;
    let app = read_with(text, Format::Json, &options()).unwrap().apps.remove(0);
    assert_eq!(app.stop.kill_timeout, Duration::from_secs(10));
    assert_eq!(app.env.keys().collect::<Vec<_>>(), ["B"]);
}

#[test]
fn names_are_built_from_prefix_and_environment() {
    let with = Options { env_name: Some("staging".into()), ..options() };
    let text = "[[apps]]\nscript='app.js'\nname_prefix='shop'\nappend_env_to_name=true\nenv_staging={}\n\
        [[apps]]\nscript='app.js'\nname='api'\nnamespace='blue'\n[[apps]]\nscript='app.js'\nname='api'";
    let loaded = read_with(text, Format::Toml, &with).unwrap();
    assert_eq!(loaded.names, ["shop:app-staging", "api", "api"]);
    assert_eq!(loaded.apps[1].namespace, "blue");
}

#[test]
fn only_the_wanted_apps_are_taken_but_all_are_named() {
    let text = "[[apps]]\nscript='app.js'\n[[apps]]\nscript='w.py'";
    let with = |only: &str| Options { only: vec![only.into()], ..options() };
    let loaded = read_with(text, Format::Toml, &with("w")).unwrap();
    assert_eq!((loaded.apps.len(), loaded.apps[0].name.as_str(), loaded.names.len()), (1, "w", 2));
    let report = read_with(text, Format::Toml, &with("ap")).unwrap_err();
    assert_eq!(report.problems()[0].help.as_deref(), Some("did you mean `app`?"));
    let with = Options { env_name: Some("x".into()), ..options() };
    let report = read_with(text, Format::Toml, &with).unwrap_err();
    assert_eq!(report.problems()[0].message, "no app has `env_x`");
}

#[test]
fn policies_are_read() {
    let one = app("script='app.js'\nrestart='on-failure'\nstop_exit_codes=[0, 143]\nmin_uptime='2s'\nmax_restarts=3\n\
        restart_delay=500\nretry_after='off'\nkill_timeout='1m30s'\nstop_signal='int'\ntreekill=false\n\
        listen_timeout=3000\nautostart=false\ninstance_var='N'");
    assert_eq!(one.restart.policy, RestartPolicy::OnFailure);
    assert_eq!(one.restart.stop_exit_codes, [0, 143]);
    assert_eq!(one.restart.delay, RestartDelay::Fixed { pause: Duration::from_millis(500) });
    assert_eq!((one.restart.max_restarts, one.restart.retry_after), (3, None));
    assert_eq!((one.stop.signal, one.stop.treekill), (Signal::INT, false));
    assert_eq!(one.stop.kill_timeout, Duration::from_secs(90));
    assert_eq!((one.listen_timeout, one.autostart), (Duration::from_secs(3), false));
    assert_eq!(one.instance_var, "N");
    let two = app(
        "script='app.js'\nautorestart=false\nexp_backoff_restart_delay='1s'\nstop_exit_codes='1,2'\nretry_after=false",
    );
    assert_eq!((two.restart.policy, two.restart.retry_after), (RestartPolicy::Never, None));
    assert_eq!(two.restart.delay, RestartDelay::Backoff { first: Duration::from_secs(1) });
    assert_eq!(two.restart.stop_exit_codes, [1, 2]);
}

#[test]
fn instances_in_fork_mode_are_counted_by_cores() {
    for (value, count) in [("3", 3), ("'max'", 2), ("0", 2), ("-1", 1), ("-7", 1), ("'4'", 4), ("10000", 10_000)] {
        let app = app(&format!("script='app.js'\nexec_mode='fork'\ninstances={value}"));
        assert_eq!(app.instances, count, "{value}");
    }
}

#[test]
fn a_pid_file_is_relative_to_the_file_and_belongs_to_one_app() {
    let path = |text: &str| app(&format!("script='app.js'\n{text}")).pid_file;
    assert_eq!(path("pid_file='run/a.pid'"), Some("/p/run/a.pid".into()));
    assert_eq!(path("pid='~/a.pid'"), Some("/home/u/a.pid".into()));
    assert_eq!(path(""), None);
    let text = "[defaults]\npid_file='a.pid'\n[[apps]]\nname='a'\nscript='app.js'\n[[apps]]\nname='b'\nscript='app.js'";
    let report = read_with(text, Format::Toml, &options()).unwrap_err();
    assert_eq!(report.problems()[0].message, "`a` and `b` have one `pid_file`");
}

#[test]
fn logs_go_where_they_are_told_to() {
    let one = app("script='app.js'\nout_file='logs/o.log'\nerr_log='/dev/null'\nmerge_logs=true");
    assert_eq!(one.logs.out, LogTarget::Path("/p/logs/o.log".into()));
    assert_eq!((one.logs.error, one.logs.merge), (LogTarget::Null, true));
    let two = app("script='app.js'\noutput='~/o.log'");
    assert_eq!(two.logs.out, LogTarget::Path("/home/u/o.log".into()));
    assert_eq!(app("script='app.js'\ndisable_logs=true").logs.out, LogTarget::Null);
}

#[test]
fn a_key_without_effect_is_a_warning() {
    for keys in [
        "script='app.js'\ndisable_logs=true\nout_file='x'",
        "script='echo hi'\ninterpreter='node'",
        "script='tool'\nnode_args='--x'",
        "script='app.js'\nrestart_delay=1\nexp_backoff_restart_delay=1",
    ] {
        let loaded = loaded(&format!("[[apps]]\n{keys}"));
        assert_eq!(loaded.warnings.count(Severity::Warning), 1, "{keys}");
    }
    assert_eq!(messages("[[apps]]\nscript='app.js'\nautorestart=false\nrestart='always'", Format::Toml).len(), 1);
    assert_eq!(messages("[[apps]]\nscript='app.js'\nretry_after=0", Format::Toml), ["`retry_after` cannot be 0"]);
}

#[test]
fn all_shapes_of_pm2_are_understood() {
    for text in [
        r#"{"apps": [{"script": "app.js"}]}"#,
        r#"{"apps": {"script": "app.js"}}"#,
        r#"{"apps": {"app": {"script": "app.js"}}}"#,
        r#"[{"script": "app.js"}]"#,
        r#"{"script": "app.js"}"#,
        "\u{feff}{apps: [{script: 'app.js',},], /* one */ } // two",
    ] {
        let json = read_with(text, Format::Json, &options()).unwrap();
        assert_eq!(json.names, ["app"], "{text}");
    }
    for text in ["apps:\n- script: app.js\n", "- script: app.js", "script: app.js", "apps:\n  app:\n    script: app.js"]
    {
        assert_eq!(read_with(text, Format::Yaml, &options()).unwrap().names, ["app"], "{text}");
    }
}

#[test]
fn yaml_anchors_and_merge_keys_work() {
    let text = "x: &base\n  script: app.js\n  kill_timeout: 3s\n  env: {A: 0123}\napps:\n- <<: *base\n  name: a\n- <<: *base\n  name: b\n  kill_timeout: 4s\n";
    let loaded = read_with(text, Format::Yaml, &options()).unwrap();
    assert_eq!(loaded.names, ["a", "b"]);
    assert_eq!(loaded.apps[0].stop.kill_timeout, Duration::from_secs(3));
    assert_eq!(loaded.apps[1].stop.kill_timeout, Duration::from_secs(4));
    assert_eq!(loaded.apps[0].env["A"], "0123");
}

#[test]
fn the_pm2_key_of_package_json_holds_apps() {
    let document = crate::config::Document {
        path: Path::new("/p/package.json"),
        format: Format::Json,
        folder: Path::new("/p"),
        owner: crate::config::Owner::File,
    };
    let read = |text| crate::config::parse(text, &document, &options(), &Machine);
    assert_eq!(read(r#"{"name": "x", "pm2": {"apps": [{"script": "app.js"}]}}"#).unwrap().names, ["app"]);
    assert_eq!(read(r#"{"name": "x"}"#).unwrap_err().problems()[0].message, "the file has no key `pm2` with apps");
}

#[test]
fn what_rsx_init_writes_loads_without_a_problem() {
    for kind in [Template::Full, Template::Simple] {
        let text = template(kind);
        assert!(loaded(&text).warnings.is_empty(), "{text}");
    }
    // Every key of the tour holds what it says: uncommented, all of them load together but the contradictions.
    let text = template(Template::Full);
    let mut keys = String::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# ")) {
        let is_key = line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        let contradicts =
            ["restart_delay", "weights", "cwd", "listen = ", "log_driver"].iter().any(|key| line.starts_with(key));
        if is_key && !contradicts {
            keys.push_str(line);
            keys.push('\n');
        }
    }
    assert!(keys.lines().count() > 25, "{keys}");
    assert!(loaded(&format!("[[apps]]\nscript='app.js'\n{keys}")).warnings.is_empty(), "{keys}");
}

#[test]
fn weights_and_balance_go_together() {
    use crate::spec::Balance;

    let cluster = |keys: &str| app(&format!("script = 'app.js'\ninstances = 2\n{keys}")).cluster;
    assert_eq!(cluster("balance = 'least'").balance, Balance::Least);
    assert_eq!(cluster("weights = [3, 1]").balance, Balance::Weighted);
    let both = cluster("balance = 'weighted'\nweights = [3, 1]");
    assert_eq!((both.balance, both.weights.as_slice()), (Balance::Weighted, &[3, 1][..]));
    let file = |keys: &str| messages(&format!("[[apps]]\nscript = 'app.js'\n{keys}"), Format::Toml);
    assert_eq!(file("balance = 'weighted'"), ["`weighted` without `weights`"]);
    assert!(file("weights = [0]")[0].starts_with("`weights` cannot be `0`"));
    let unused = loaded("[[apps]]\nscript = 'app.js'\nbalance = 'source-ip'\nweights = [1]");
    assert_eq!(unused.warnings.problems()[0].message, "`weights` has no effect here");
}

#[test]
fn the_example_of_the_repository_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ecosystem.example.toml");
    let loaded = load(&path, &options()).unwrap();
    assert_eq!(loaded.apps.len(), 2);
    assert!(loaded.warnings.is_empty());
    for (app, port) in loaded.apps.iter().zip(["8080", "8081"]) {
        assert_eq!(app.program, Program::Serve { args: vec!["examples/site".into()] });
        assert_eq!(app.env["PORT"], port);
    }
}

#[test]
fn an_app_outside_of_apps_is_refused_in_toml_with_the_line_to_write() {
    assert_eq!(messages("script = 'app.js'", Format::Toml), ["an app outside of `[[apps]]`"]);
}

#[test]
fn a_health_check_is_one_of_three_with_its_defaults() {
    let of = |keys: &str| app(&format!("script = 'app.js'\n{keys}")).health;
    assert_eq!((of(""), of("health = false")), (None, None));
    let usual = HealthSpec::new(Check::Http { path: "/health?x=1".into() }, Duration::from_secs(60));
    assert_eq!(of("health = { http = '/health?x=1' }"), Some(usual.clone()));
    let all = "health = { exec = 'test -e x', interval = '2s', timeout = 500, fail = 5, pass = 2, startPeriod = '1m' }";
    let expected = HealthSpec {
        interval: Duration::from_secs(2),
        timeout: Duration::from_millis(500),
        fail: 5,
        pass: 2,
        ..HealthSpec::new(Check::Exec { line: "test -e x".into() }, Duration::from_secs(60))
    };
    assert_eq!(of(all), Some(expected));
    let tcp = HealthSpec { port: Some(81), ..HealthSpec::new(Check::Tcp, Duration::from_secs(5)) };
    assert_eq!(of("listen_timeout = '5s'\nhealth = { tcp = true, port = 81 }"), Some(tcp));
}

#[test]
fn what_a_health_check_cannot_be_is_said() {
    for (keys, message) in [
        ("health = true", "`health` is true"),
        ("health = {}", "`health` has no check"),
        ("health = { tcp = false }", "`health` has no check"),
        ("health = { tcp = true, http = '/' }", "`health` has several checks"),
        ("health = { http = 'health' }", "`health.http` does not begin with `/`: `health`"),
        ("health = { http = '/a b' }", "`health.http` holds a blank"),
        ("health = { exec = 'true', port = 80 }", "`health.port` has no effect on `exec`"),
        ("health = { tcp = true, interval = '1ms' }", "`health.interval` is shorter than 50 ms"),
        ("health = { tcp = true, timeout = 0 }", "`health.timeout` cannot be 0"),
        ("health = { tcp = true, port = 0 }", "`health.port` cannot be `0`"),
        ("health = { tcp = true, fail = 0 }", "`health.fail` cannot be `0`"),
        ("instances = 2\nbalance = 'shared'\nhealth = { tcp = true }", "`health` cannot ask one instance by a port"),
    ] {
        let found = messages(&format!("[[apps]]\nscript='app.js'\n{keys}"), Format::Toml);
        assert!(found.len() == 1 && found[0].starts_with(message), "{keys}: {found:?}");
    }
    assert!(app("script='app.js'\ninstances=2\nbalance='shared'\nhealth={exec='true'}").health.is_some());
}
