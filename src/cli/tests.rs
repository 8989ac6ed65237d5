use super::*;

fn command() -> clap::Command {
    later::with_known_flags(Cli::command())
}

#[track_caller]
fn parsed(line: &str) -> Cli {
    let matches = command().try_get_matches_from(line.split(' ')).unwrap();
    Cli::from_arg_matches(&matches).unwrap()
}

#[test]
fn help_names_every_verb_that_works_and_no_other() {
    let help = command().render_help().to_string();
    let groups = help.split("Options:").next().unwrap();
    let named: Vec<&str> =
        groups.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    let mut verbs: Vec<String> =
        command().get_subcommands().filter(|sub| !sub.is_hide_set()).map(|sub| sub.get_name().to_owned()).collect();
    verbs.retain(|verb| verb != "help");
    for verb in &verbs {
        assert!(named.contains(&verb.as_str()), "`{verb}` is not in the help");
    }
    assert_eq!(named.len(), verbs.len(), "{named:?}");
}

#[test]
fn help_is_what_its_readers_expect() {
    insta::assert_snapshot!(command().render_help());
}

#[test]
fn short_forms_of_pm2_are_understood() {
    let Verb::Start(args) = parsed("rsx start app.js -n api -i -1 -x -o a.log -e b.log -k 3s -f -- --port 1").verb
    else {
        panic!("not start");
    };
    assert_eq!((args.what, args.args), (vec!["app.js".to_owned()], vec!["--port".to_owned(), "1".to_owned()]));
    assert!(args.apply.force);
    let declared = start::declared_by(&args.app);
    let expected = [
        ("name", "api"),
        ("out_file", "a.log"),
        ("error_file", "b.log"),
        ("kill_timeout", "3s"),
        ("instances", "-1"),
        ("exec_mode", "fork"),
    ];
    assert_eq!(declared, expected.map(|(key, value)| (key, value.to_owned())));
}

#[test]
fn aliases_of_verbs_are_understood() {
    for line in ["rsx list", "rsx l", "rsx ps", "rsx status"] {
        assert!(matches!(parsed(line).verb, Verb::Ls(_)), "{line}");
    }
    assert!(matches!(parsed("rsx del api").verb, Verb::Delete(_)));
    assert!(matches!(parsed("rsx show api").verb, Verb::Describe(_)));
    assert!(matches!(parsed("rsx log api --no-follow").verb, Verb::Logs(args) if args.nostream));
}

#[test]
fn a_mistyped_verb_is_answered_with_what_looks_like_it() {
    let error = command().try_get_matches_from(["rsx", "strat"]).unwrap_err();
    assert!(error.to_string().contains("'start'"), "{error}");
}
