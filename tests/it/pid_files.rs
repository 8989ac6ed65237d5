//! `-p FILE` and `pid_file`: who wants the pid of an app in a file finds the one that runs, and nothing else.

use std::fs;
use std::path::Path;

use crate::harness::{Rsx, Watched};

#[track_caller]
fn number_in(path: &Path) -> u32 {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.strip_suffix('\n').unwrap().parse().unwrap()
}

#[test]
fn the_file_holds_the_pid_of_each_run_and_goes_with_the_last() {
    let rsx = Rsx::new();
    let path = rsx.scratch().join("run/a.pid");
    rsx.ok("start 'sleep 1000' -n a -p run/a.pid --min-uptime 50");
    assert_eq!(number_in(&path), rsx.pid("a"));
    assert_eq!(rsx.ok("jlist").json()[0]["pm2_env"]["pm_pid_path"], path.display().to_string());
    rsx.ok("describe a").prints(&["pid file", "run/a.pid"]);
    rsx.ok("restart a");
    assert_eq!(number_in(&path), rsx.pid("a"));
    let mut events = rsx.events();
    let run = Watched::new(rsx.pid("a"));
    run.kill("KILL");
    events.wait("its end", |event| event.of("a") && event.is("exited") && event.pid() == run.pid);
    let next = events.wait_for("a", "started").pid();
    assert_eq!(number_in(&path), next);
    rsx.ok("stop a");
    assert!(!path.exists());
    rsx.ok("start a");
    assert_eq!(number_in(&path), rsx.pid("a"));
    rsx.ok("kill");
    assert!(!path.exists());
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
}

#[test]
fn several_instances_have_a_file_each() {
    let rsx = Rsx::new();
    rsx.ecosystem(
        "[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\nexec_mode = \"fork\"\ninstances = 2\npid_file = \"a.pid\"\n",
    );
    rsx.ok("start");
    for instance in 0..2 {
        let pid = rsx.slot("a", instance)["pid"].as_u64().unwrap();
        assert_eq!(u64::from(number_in(&rsx.scratch().join(format!("a-{instance}.pid")))), pid);
    }
    rsx.ok("scale a 1");
    assert!(!rsx.scratch().join("a-1.pid").exists());
    // Another file is another declaration.
    rsx.ecosystem("[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\npid_file = \"~/b.pid\"\n");
    rsx.ok("start").prints(&["pid_file"]);
    let home = rsx.scratch().parent().unwrap().join("u");
    assert_eq!(number_in(&home.join("b.pid")), rsx.pid("a"));
    assert!(!rsx.scratch().join("a-0.pid").exists());
}

#[test]
fn a_file_that_cannot_be_written_fails_the_start_and_starts_nothing() {
    let rsx = Rsx::new();
    fs::create_dir(rsx.scratch().join("folder")).unwrap();
    let done = rsx.fails(5, "start 'sleep 1000' -n a -p folder");
    done.says(&["`a:0` pid file ", "folder: it is there, and no regular file"]);
    rsx.fails(5, "start 'sleep 1000' -n b -p /proc/nope/b.pid").says(&["pid file /proc/nope/b.pid: "]);
    assert!(rsx.processes().is_empty());
}

#[test]
fn a_file_that_another_program_has_taken_over_is_left_to_it() {
    let rsx = Rsx::new();
    let path = rsx.scratch().join("a.pid");
    rsx.ok("start 'sleep 1000' -n a -p a.pid --min-uptime 50");
    fs::write(&path, "1\n").unwrap();
    rsx.ok("stop a");
    assert_eq!(number_in(&path), 1);
}
