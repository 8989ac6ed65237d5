//! `log_driver = "file"`: the program's output is the file.

use std::fs;

use crate::full_disk;
use crate::harness::{BINARY, Rsx, requires};

/// Numbered lines until it is asked to end; then one last line.
const LINES: &str = "
import os, signal, time
ending = []
signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
number = 0
while not ending:
    number += 1
    os.write(1, b'line %d of %s\\n' % (number, b'x' * (number % 200)))
    if number % 20 == 0:
        time.sleep(0.0005)
os.write(1, b'last %d\\n' % number)
";

#[track_caller]
fn check(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let (last, lines) = lines.split_last().unwrap();
    for (number, line) in (1..).zip(lines) {
        let expected = format!("line {number} of {}", "x".repeat(number % 200));
        assert!(*line == expected, "line {number} is {line:?}");
    }
    assert_eq!(*last, format!("last {}", lines.len()));
    lines.len()
}

#[test]
fn every_line_is_there_once_whoever_dies() {
    let rsx = Rsx::new();
    if !requires("python3") {
        return;
    }
    rsx.write("lines.py", LINES);
    let file = rsx.ecosystem("[[apps]]\nname = 'app'\nscript = 'lines.py'\nlog_driver = 'file'\nrotate = false\n");
    rsx.ok(&format!("start {}", file.display()));
    let mut follower = rsx.lines("logs app --raw --lines 100000000");
    let pid = rsx.pid("app");
    for deaths in 1..=3 {
        follower.wait_until("more lines", |lines| lines.len() >= 2000 * deaths);
        let (daemon, _) = rsx.daemon();
        daemon.kill("KILL");
        daemon.ends();
        rsx.ok("ls");
    }
    rsx.ok_at_length(&format!("update {BINARY}")).says(&["no app noticed"]);
    assert_eq!(rsx.pid("app"), pid);
    rsx.ok("stop app");
    let text = fs::read_to_string(rsx.log("app-out.log")).unwrap();
    let count = check(&text);
    let shown = rsx.ok_at_length("logs app --raw --nostream --lines 100000000").out;
    assert!(shown == text, "{} lines of {}", shown.lines().count(), text.lines().count());
    follower.wait("the last line", |line| line.starts_with("last "));
    let followed: String = follower.seen().iter().map(|line| format!("{line}\n")).collect();
    assert!(followed == text, "{} lines of {count} were followed", follower.seen().len());
}

#[test]
fn last_words_readiness_and_history_work_without_pipes() {
    let rsx = Rsx::new();
    rsx.script("say.sh", "echo out; echo \"the reason\" >&2; exit 3\n");
    rsx.script("tell.sh", "readlink /proc/$$/fd/1 /proc/$$/fd/2\necho $NODE_APP_INSTANCE\nexec sleep 1000\n");
    let file = rsx.ecosystem(
        "log_driver = 'file'\nrotate = false\n\
         [[apps]]\nname = 'fails'\nscript = 'say.sh'\nmax_restarts = 1\nautorestart = false\n\
         [[apps]]\nname = 'two'\nscript = 'tell.sh'\ninstances = 2\nexec_mode = 'fork'\n\
         [[apps]]\nname = 'one'\nscript = 'tell.sh'\ninstances = 2\nexec_mode = 'fork'\nmerge_logs = true\nerror_file = '/dev/null'\n",
    );
    let started = rsx.run(&format!("start {}", file.display()));
    assert!(format!("{}{}", started.out, started.err).contains("the reason"), "{started:?}");
    rsx.ok("why fails").prints(&["the reason"]);
    for instance in 0..2 {
        let log = rsx.log(&format!("two-out-{instance}.log"));
        let text = rsx.wait_for_text(&log, |text| text.lines().count() == 3);
        let error = rsx.log(&format!("two-error-{instance}.log"));
        assert_eq!(text, format!("{}\n{}\n{instance}\n", log.display(), error.display()));
    }
    let text = rsx.wait_for_text(&rsx.log("one-out.log"), |text| text.lines().count() == 6);
    assert_eq!(text.lines().filter(|line| *line == "/dev/null").count(), 2);
    rsx.ok("flush one");
    assert_eq!(fs::read(rsx.log("one-out.log")).unwrap(), b"");
    rsx.ok("reload-logs");
}

#[test]
fn all_that_node_printed_before_it_ended_itself_is_there() {
    const LINES: usize = 200_000;
    let rsx = Rsx::new();
    if !requires("node") {
        return;
    }
    rsx.write("app.js", "for (let n = 0; n < 200000; n++) console.log('line', n);\nprocess.exit(0);\n");
    for agent in [true, false] {
        let file = rsx.ecosystem(&format!(
            "[[apps]]\nname = 'app-{agent}'\nscript = 'app.js'\nagent = {agent}\nrestart = 'never'\n\
             log_driver = 'file'\nrotate = false\n"
        ));
        rsx.ok_at_length(&format!("start {}", file.display()));
        let text = rsx.wait_for_text(&rsx.log(&format!("app-{agent}-out.log")), |text| text.ends_with("line 199999\n"));
        assert_eq!(text.lines().count(), LINES);
        assert!(text.lines().enumerate().all(|(n, line)| line == format!("line {n}")));
    }
}

#[test]
fn lines_of_four_instances_in_one_file_stay_whole() {
    const LINES: usize = 5_000;
    let rsx = Rsx::new();
    if !requires("python3") {
        return;
    }
    let lines = "import os, time\nme = os.environ['NODE_APP_INSTANCE']\nfor n in range(5000):\n    \
                 os.write(1, b'%s %d %s\\n' % (me.encode(), n, b'y' * (n % 300)))\nos.write(1, b'end\\n')\ntime.sleep(1000)\n";
    rsx.write("app.py", lines);
    let file = rsx.ecosystem(
        "[[apps]]\nname = 'app'\nscript = 'app.py'\ninstances = 4\nexec_mode = 'fork'\nmerge_logs = true\n\
         log_driver = 'file'\nrotate = false\n",
    );
    rsx.ok(&format!("start {}", file.display()));
    let is_all = |text: &str| text.matches("end\n").count() == 4;
    let text = rsx.wait_for_text(&rsx.log("app-out.log"), is_all);
    let mut next = [0_usize; 4];
    for line in text.lines().filter(|line| *line != "end") {
        let words: Vec<&str> = line.split(' ').collect();
        let (me, number) = (words[0].parse::<usize>().unwrap(), words[1].parse::<usize>().unwrap());
        assert_eq!((number, words[2].len()), (next[me], number % 300), "{line}");
        next[me] += 1;
    }
    assert_eq!(next, [LINES; 4]);
}

/// Numbered lines, whole ones whatever happens: what does not fit is written when it does. It ends its last line when it
/// is asked to.
const PATIENT: &str = "
import errno, os, signal, time
ending = []
signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
number = 0
while not ending:
    number += 1
    line = b'line %d %s\\n' % (number, b'x' * 200)
    while line:
        try:
            line = line[os.write(1, line):]
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            open('full', 'a').write('full\\n')
            time.sleep(0.02)
    if number % 20 == 0:
        time.sleep(0.005)
";

#[test]
fn a_full_disk_reaches_the_program_and_nobody_else() {
    let Some(rsx) = full_disk::alone() else { return };
    let disk = rsx.scratch().join("logs");
    if !requires("python3") || !full_disk::mount_ext4(&rsx, &disk, 8) {
        return;
    }
    rsx.write("app.py", PATIENT);
    let file = rsx.ecosystem(
        "[[apps]]\nname = 'app'\nscript = 'app.py'\nout_file = 'logs/out.log'\nlog_driver = 'file'\nrotate = false\n\
         [[apps]]\nname = 'other'\nscript = 'sleep 1000'\nout_file = 'logs/other.log'\nlog_driver = 'file'\nrotate = false\n",
    );
    rsx.ok(&format!("start {}", file.display()));
    full_disk::fill(&disk);
    rsx.wait_for_text(&rsx.scratch().join("full"), |text| !text.is_empty());
    let pid = rsx.pid("app");
    rsx.ok("restart other");
    let (daemon, _) = rsx.daemon();
    daemon.kill("KILL");
    daemon.ends();
    rsx.ok("ls");
    assert_eq!(rsx.pid("app"), pid);
    // There is room again: the program goes on by itself, in the middle of its line.
    fs::remove_file(disk.join("ballast")).unwrap();
    let before = fs::metadata(disk.join("out.log")).unwrap().len();
    rsx.wait_for_bytes(&disk.join("out.log"), |bytes| bytes.len() as u64 > before + 10_000);
    rsx.ok("stop app");
    let text = fs::read_to_string(disk.join("out.log")).unwrap();
    for (number, line) in (1..).zip(text.lines()) {
        assert_eq!(line, format!("line {number} {}", "x".repeat(200)));
    }
}

#[test]
fn a_log_that_cannot_be_opened_after_a_crash_does_not_keep_the_app_down() {
    let rsx = Rsx::new();
    rsx.script("app.sh", "echo begin\nexec sleep 1000\n");
    let file = rsx.ecosystem(
        "[[apps]]\nname = 'app'\nscript = 'app.sh'\nout_file = 'logs/out.log'\nlog_driver = 'file'\nrotate = false\n",
    );
    rsx.ok(&format!("start {}", file.display()));
    let (folder, away) = (rsx.scratch().join("logs"), rsx.scratch().join("away"));
    fs::rename(&folder, &away).unwrap();
    fs::write(&folder, "no folder").unwrap();
    let mut events = rsx.events();
    rsx.ok("signal KILL app");
    events.wait("that its output is lost", |event| {
        event.is("remark") && event.get("text").to_string().contains("is lost until it is restarted: Not a directory")
    });
    events.wait_for("app", "online");
    rsx.fails(5, "restart app").says(&["out.log"]);
    fs::remove_file(&folder).unwrap();
    fs::rename(&away, &folder).unwrap();
    rsx.ok("restart app");
    rsx.wait_for_text(&folder.join("out.log"), |text| text == "begin\nbegin\n");
}

#[test]
fn what_needs_rsx_between_program_and_file_is_refused() {
    let rsx = Rsx::new();
    rsx.script("app.sh", "exec sleep 1000\n");
    for (keys, word) in [
        ("rotate = false\ntime = true", "`time` cannot be done"),
        ("rotate = false\nlog_file = true", "`log_file` cannot be done"),
        ("rotate = false\nlog_type = 'json'", "`log_type` cannot be done"),
        ("rotate = false\nlog_date_format = 'HH:mm'", "`log_date_format` cannot be done"),
    ] {
        let file = rsx.ecosystem(&format!("[[apps]]\nname = 'app'\nscript = 'app.sh'\nlog_driver = 'file'\n{keys}\n"));
        rsx.fails(6, &format!("check {}", file.display())).says(&[word]);
    }
    let file = rsx.ecosystem(
        "[[apps]]\nname = 'app'\nscript = 'app.sh'\nlog_driver = 'file'\nrotate = false\ntime = false\nlog_file = false\n\
         log_full = 'block'\n",
    );
    rsx.ok(&format!("start {}", file.display()));
    rsx.run("restart app --time").says(&["`time` cannot be done with `log_driver = \"file\"`"]);
    rsx.ok("check ecosystem.toml");
}

#[test]
fn a_log_that_others_empty_or_move_is_told() {
    let rsx = Rsx::new();
    rsx.script("app.sh", "head -c 20000 /dev/zero | tr '\\0' x\nwhile sleep 0.1; do echo more; done\n");
    let file = rsx.ecosystem("[[apps]]\nname = 'app'\nscript = 'app.sh'\nlog_driver = 'file'\nrotate = false\n");
    rsx.ok(&format!("start {}", file.display()));
    let mut events = rsx.events();
    let log = rsx.log("app-out.log");
    let is_said = |event: &crate::harness::Event, words: &str| {
        event.is("remark") && event.get("text").to_string().contains(words)
    };
    // Only what was seen can be missed: the second entry of the index stands behind it.
    rsx.wait_for_bytes(&rsx.log(".app-out.log.times"), |bytes| bytes.len() > 40 + 12);
    fs::write(&log, "").unwrap();
    events.wait("that it was emptied", |event| is_said(event, "was emptied"));
    fs::rename(&log, rsx.log("moved.log")).unwrap();
    events.wait("that it was moved", |event| is_said(event, "was moved or removed"));
    rsx.ok("restart app");
    rsx.wait_for_text(&log, |text| text.starts_with("xxxx"));
}
