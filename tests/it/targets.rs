//! What the words of a verb can mean.

use serde_json::json;

use crate::harness::Rsx;

/// `a` and `b` of `default`, `c` of `jobs`, and one whose name is a number; ids 0 to 3.
fn four() -> Rsx {
    let rsx = Rsx::new();
    rsx.script("c.sh", "exec sleep 1000\n");
    rsx.ecosystem(
        "[[apps]]\nname = \"alpha\"\nscript = \"sleep 1000\"\n[[apps]]\nname = \"beta\"\nscript = \"sleep 1000\"\n\
         [[apps]]\nname = \"gamma\"\nscript = \"c.sh\"\nnamespace = \"jobs\"\n\
         [[apps]]\nname = \"0\"\nscript = \"sleep 1000\"\nnamespace = \"jobs\"\n",
    );
    rsx.ok("start ecosystem.toml");
    rsx
}

/// Stops what the words mean; the names of what is stopped then.
#[track_caller]
fn stopped_by(rsx: &Rsx, words: &str) -> Vec<String> {
    rsx.ok(&format!("stop {words}"));
    let apps = rsx.apps();
    let stopped = apps.iter().filter(|app| app["slots"][0]["state"] == "stopped");
    let names = stopped.map(|app| app["name"].as_str().unwrap().to_owned()).collect();
    rsx.ok("start all");
    names
}

#[test]
fn every_form_of_a_target_means_what_the_reference_says() {
    let rsx = four();
    for (words, names) in [
        ("all", vec!["alpha", "beta", "gamma", "0"]),
        ("'/^(alp|gam)/'", vec!["alpha", "gamma"]),
        ("beta", vec!["beta"]),
        // A name that is a number comes before the id.
        ("0", vec!["0"]),
        ("jobs", vec!["gamma", "0"]),
        ("1", vec!["beta"]),
        ("ecosystem.toml", vec!["alpha", "beta", "gamma", "0"]),
        ("ecosystem.toml --only beta,0", vec!["beta", "0"]),
        ("c.sh", vec!["gamma"]),
        ("./c.sh", vec!["gamma"]),
        ("alpha 1 jobs", vec!["alpha", "beta", "gamma", "0"]),
        ("alpha alpha 3", vec!["alpha", "0"]),
    ] {
        assert_eq!(stopped_by(&rsx, words), names, "{words}");
    }
}

#[test]
fn a_target_that_means_nothing_is_answered_with_what_looks_like_it_and_nothing_is_done() {
    let rsx = four();
    let before = rsx.ok("pid").out;
    for verb in ["stop", "restart", "delete", "describe", "pid"] {
        rsx.fails(4, &format!("{verb} beta alpah")).says(&["alpah", "did you mean `alpha`"]);
    }
    rsx.fails(4, "start alpah").says(&["alpah", "did you mean `alpha`"]);
    rsx.fails(4, "stop 99").says(&["99", "rsx ls"]);
    rsx.fails(4, "stop '/^z/'").says(&["/^z/"]);
    rsx.fails(2, "stop '/(/'").says(&["not a regular expression"]);
    rsx.fails(2, "stop").says(&["TARGET"]);
    assert_eq!(rsx.ok("pid").out, before);
    let error = rsx.fails(4, "stop alpah --json").json()["error"].clone();
    assert_eq!((&error["code"], &error["hints"]), (&json!(4), &json!(["did you mean `alpha`?"])));
}

#[test]
fn one_instance_is_meant_by_its_id() {
    let rsx = Rsx::new();
    rsx.ecosystem("[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\ninstances = 3\nexec_mode = \"fork\"\n");
    rsx.ok("start ecosystem.toml");
    let before = rsx.app("a");
    rsx.ok("restart 1");
    let after = rsx.app("a");
    let pid = |app: &serde_json::Value, instance: usize| app["slots"][instance]["pid"].clone();
    assert_eq!((pid(&before, 0), pid(&before, 2)), (pid(&after, 0), pid(&after, 2)));
    assert_ne!(pid(&before, 1), pid(&after, 1));
    assert_eq!(after["slots"][1]["restarts"], 1);
}

#[test]
fn the_aliases_of_pm2_do_what_their_verbs_do() {
    let rsx = four();
    for alias in ["list", "l", "ps", "status"] {
        rsx.ok(alias).prints(&["alpha", "gamma"]);
    }
    for alias in ["desc", "show", "info"] {
        rsx.ok(&format!("{alias} alpha")).prints(&["sleep 1000"]);
    }
    rsx.ok("del alpha");
    assert_eq!(rsx.apps().len(), 3);
    rsx.fails(2, "deploy production").says(&["deploy"]);
}
