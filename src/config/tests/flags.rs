//! Apps given on the command line.

use std::path::Path;
use std::time::Duration;

use crate::config::flags::app;
use crate::config::tests::{Machine, options};
use crate::config::{Colour, CommandLine, Report};
use crate::spec::{AppSpec, Origin, Program, RestartPolicy};

fn start(script: &str, flags: &[(&str, &str)], args: &[&str]) -> Result<AppSpec, Report> {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let options = options();
    let line = CommandLine {
        verb: "rsx start",
        flags,
        script: Some(script),
        args: &args,
        cwd: Path::new("/p"),
        options: &options,
    };
    app(&line, &Machine).map(|(spec, _)| spec)
}

#[test]
fn flags_are_keys() {
    let flags = [
        ("name", "api"),
        ("kill_timeout", "3s"),
        ("max_restarts", "5"),
        ("autorestart", "false"),
        ("merge_logs", "true"),
        ("interpreter_args", "--x --y"),
        ("stop_exit_codes", "0 143"),
        ("exec_mode", "fork"),
        ("instances", "max"),
        ("restart_delay", "3000"),
    ];
    let app = start("app.js", &flags, &["-p", "a b"]).unwrap();
    assert_eq!((app.name.as_str(), app.instances, app.logs.merge), ("api", 2, true));
    assert_eq!(app.stop.kill_timeout, Duration::from_secs(3));
    assert_eq!((app.restart.max_restarts, app.restart.policy), (5, RestartPolicy::Never));
    assert_eq!(app.restart.stop_exit_codes, [0, 143]);
    assert_eq!(app.origin, Origin::Folder("/p".into()));
    let Program::Script { interpreter_args, args, .. } = app.program else { panic!() };
    assert_eq!((interpreter_args, args), (vec!["--x".into(), "--y".into()], vec!["-p".into(), "a b".into()]));
}

#[test]
fn a_script_belongs_to_its_folder_and_a_command_to_where_it_was_typed() {
    assert_eq!(start("dist/app.js", &[], &[]).unwrap().origin, Origin::Folder("/p/dist".into()));
    let npm = start("npm", &[], &["start"]).unwrap();
    assert_eq!((npm.origin, npm.name.as_str()), (Origin::Folder("/p".into()), "npm"));
    assert_eq!(npm.program, Program::Binary { path: "npm".into(), args: vec!["start".into()] });
    let server = start("python3 -m http.server 8000", &[("name", "web")], &[]).unwrap();
    assert_eq!((server.name.as_str(), server.cwd.as_path()), ("web", Path::new("/p")));
}

#[test]
fn problems_are_cited_as_flags() {
    let flags = [("kill_timeout", "3x"), ("instances", "2"), ("autorestart", "false"), ("name", "a/b")];
    let report = start("gone.js", &flags, &["x y"]).unwrap_err();
    insta::assert_snapshot!(report.render(Colour::Never, 100));
}

#[test]
fn a_nul_in_a_flag_is_a_problem() {
    assert!(start("app.js", &[("name", "a\0b")], &[]).is_err());
    assert!(start("app\0.js", &[], &[]).is_err());
    assert!(start("app.js", &[], &["a\0"]).is_err());
    assert!(start("", &[], &[]).is_err());
}

#[test]
fn an_empty_value_and_an_unknown_flag_are_problems() {
    assert_eq!(start("app.js", &[("name", "")], &[]).unwrap_err().problems()[0].message, "`--name` is empty");
    assert_eq!(start("app.js", &[("nam", "x")], &[]).unwrap_err().problems()[0].message, "unknown key `--nam`");
}
