//! How a verb goes about several instances: so many at a time, and what it shows afterwards.

use std::fs;

use crate::harness::Rsx;

/// An app that takes its turn only when it is let.
fn three(rsx: &Rsx, script: &str) {
    rsx.script("app.sh", script);
    rsx.ecosystem(
        "[[apps]]\nname = \"a\"\nscript = \"app.sh\"\ninterpreter = \"bash\"\nexec_mode = \"fork\"\ninstances = 3\n",
    );
}

#[test]
fn instances_are_restarted_one_after_the_other() {
    let rsx = Rsx::new();
    three(&rsx, "exec sleep 1000\n");
    rsx.ok("start --parallel 3");
    rsx.ok("restart a --parallel 1");
    let mut events = rsx.events();
    // Runs 1 to 3 are those of the start.
    events.wait("the end of the last turn", |event| event.is("online") && event.get("run") == 6);
    let steps = events.seen().into_iter().skip_while(|event| !event.is("stopping"));
    let steps = steps.filter(|event| event.is("stopping") || event.is("online"));
    let told: Vec<(String, u64)> = steps
        .map(|event| (event.get("kind").as_str().unwrap().to_owned(), event.json["instance"].as_u64().unwrap()))
        .collect();
    let expected = [("stopping", 0), ("online", 0), ("stopping", 1), ("online", 1), ("stopping", 2), ("online", 2)];
    assert_eq!(told, expected.map(|(kind, instance)| (kind.to_owned(), instance)));
    rsx.fails(2, "restart a --parallel 0").says(&["--parallel"]);
}

#[test]
fn a_file_starts_one_app_after_the_other() {
    let rsx = Rsx::new();
    rsx.ecosystem("[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\n[[apps]]\nname = \"b\"\nscript = \"sleep 1000\"\n");
    rsx.ok("start --parallel 1");
    let mut events = rsx.events();
    events.wait_for("a", "online");
    assert_eq!(events.count("b", "started"), 0);
    events.wait_for("b", "online");
}

#[test]
fn when_one_fails_its_siblings_are_left_running() {
    let rsx = Rsx::new();
    three(&rsx, "[ -e broken ] && { echo 'no config' >&2; exit 3; }\nexec sleep 1000\n");
    rsx.ok("start");
    let before: Vec<_> = (1..3).map(|n| rsx.slot("a", n)["pid"].clone()).collect();
    rsx.write("broken", "");
    let done = rsx.fails(5, "restart a --parallel 1");
    done.says(&["`a:0`", "no config", "`a:1` left running, because `a:0` failed"]);
    assert_eq!((1..3).map(|n| rsx.slot("a", n)["pid"].clone()).collect::<Vec<_>>(), before);
    fs::remove_file(rsx.scratch().join("broken")).unwrap();
    rsx.ok("restart a --parallel 2");
}

#[test]
fn attached_a_start_shows_its_own_lines_and_no_older_ones() {
    let rsx = Rsx::new();
    three(&rsx, "echo \"life $(cat life) of $NODE_APP_INSTANCE\"\nexec sleep 1000\n");
    rsx.write("life", "1");
    rsx.ok("start");
    for instance in 0..3 {
        rsx.wait_for_text(&rsx.log(&format!("a-out-{instance}.log")), |text| text.ends_with('\n'));
    }
    rsx.write("life", "2");
    let mut lines = rsx.lines("restart a --attach --parallel 2");
    lines.wait("what it does", |line| line.contains("following the logs"));
    for instance in 0..3 {
        lines
            .wait_until("its lines", |lines| lines.iter().any(|line| line.ends_with(&format!("life 2 of {instance}"))));
    }
    assert!(!lines.seen().iter().any(|line| line.contains("life 1")), "{:?}", lines.seen());
    // What comes later, too.
    rsx.write("life", "3");
    rsx.ok("restart 0");
    lines.wait("the next life", |line| line.ends_with("life 3 of 0"));
    drop(lines);
    assert_eq!(rsx.state("a"), "online");
}

#[test]
fn attached_a_new_app_is_shown_from_its_first_line_on() {
    let rsx = Rsx::new();
    let mut lines = rsx.lines("start 'echo first; echo second >&2; exec sleep 1000' -n new --min-uptime 50 --attach");
    lines.wait_until("both lines", |lines| {
        ["| first", "| second"].iter().all(|end| lines.iter().any(|line| line.ends_with(end)))
    });
    rsx.fails(2, "start new --attach --json");
    // What failed has said why; there is nothing to wait for.
    rsx.fails(5, "start 'echo no; exit 3' -n bad --max-restarts 1 --attach");
}
