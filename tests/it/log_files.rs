//! Where output goes: names and folders of log files, nowhere, one file for several instances.

use std::fs;

use crate::harness::Rsx;

/// Says one line on each stream, with its index.
const BOTH: &str = "echo \"out $NODE_APP_INSTANCE\"; echo \"error $NODE_APP_INSTANCE\" >&2\nexec sleep 1000\n";

fn rsx() -> Rsx {
    let rsx = Rsx::new();
    rsx.script("both.sh", BOTH);
    rsx
}

#[test]
fn two_instances_write_to_the_files_that_their_flags_name() {
    for (flags, out, error) in [
        ("-o o.log -e e.log", vec!["o-0.log", "o-1.log"], vec!["e-0.log", "e-1.log"]),
        ("-o o.log -e e.log --merge-logs", vec!["o.log"], vec!["e.log"]),
        ("--output deep/er/o --error e.log", vec!["deep/er/o-0", "deep/er/o-1"], vec!["e-0.log", "e-1.log"]),
        ("--out one.log --err one.log --merge-logs", vec!["one.log"], vec!["one.log"]),
    ] {
        let rsx = rsx();
        rsx.ok(&format!("start both.sh -x -i 2 --min-uptime 50 {flags}"));
        for (files, word) in [(&out, "out"), (&error, "error")] {
            for (index, file) in files.iter().enumerate() {
                let is_all = |text: &str| {
                    let indexes = if files.len() == 2 { vec![index] } else { vec![0, 1] };
                    indexes.iter().all(|index| text.contains(&format!("{word} {index}\n")))
                };
                rsx.wait_for_text(&rsx.scratch().join(file), is_all);
            }
        }
        assert_eq!(fs::read_dir(rsx.home().join("logs")).map_or(0, Iterator::count), 0, "{flags}");
    }
}

#[test]
fn output_that_nobody_wants_is_written_nowhere() {
    for (flags, files) in [
        ("-o /dev/null -e /dev/null", vec![]),
        ("-o NULL", vec!["both-error.log"]),
        ("-e /dev/null", vec!["both-out.log"]),
        ("--disable-logs", vec![]),
    ] {
        let rsx = rsx();
        rsx.ok(&format!("start both.sh --min-uptime 50 {flags}"));
        for file in &files {
            rsx.wait_for_text(&rsx.log(file), |text| text.ends_with(" 0\n"));
        }
        let there = fs::read_dir(rsx.home().join("logs")).into_iter().flatten();
        let there: Vec<String> = there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let there: Vec<String> = there.into_iter().filter(|name| !name.starts_with('.')).collect();
        assert_eq!(there, files, "{flags}");
        assert_eq!(rsx.ok("logs both --nostream --raw").out.lines().count(), files.len(), "{flags}");
    }
}

#[test]
fn the_logs_of_a_namespace_are_those_of_its_apps() {
    let rsx = rsx();
    for (name, namespace) in [("a", "one"), ("b", "one"), ("c", "two")] {
        rsx.ok(&format!(
            "start 'echo line of {name}; exec sleep 1000' -n {name} --namespace {namespace} --min-uptime 50"
        ));
        let file = format!("{namespace}.{name}-out.log");
        rsx.wait_for_text(&rsx.log(&file), |text| text.ends_with('\n'));
    }
    let shown = |words: &str| {
        let mut lines: Vec<String> =
            rsx.ok(&format!("logs {words} --nostream --raw")).out.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(shown("one"), ["line of a", "line of b"]);
    assert_eq!(shown("two"), ["line of c"]);
    assert_eq!(shown("/^[bc]$/"), ["line of b", "line of c"]);
    assert_eq!(shown("c 0"), ["line of a", "line of c"]);
}
