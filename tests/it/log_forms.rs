//! What lines look like in their files, and what becomes of a file that cannot be written or is not there any more.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{LIMIT, Rsx, Watched, requires};

/// Whether a line begins with a moment in ISO 8601 and goes on like this.
fn is_stamped(line: &str, rest: &str) -> bool {
    line.split_once(": ").is_some_and(|(time, text)| time.len() == 24 && time.ends_with('Z') && text == rest)
}

#[test]
fn lines_get_a_time_or_become_objects_and_go_to_a_common_file_as_well() {
    let rsx = Rsx::new();
    rsx.script("say.sh", "echo plain; echo '{\"level\":30}'; printf 'no end' >&2\n");
    rsx.ecosystem(
        "[[apps]]\nname = \"t\"\nscript = \"say.sh\"\nrestart = \"never\"\ntime = true\nlog_file = true\n\
         [[apps]]\nname = \"d\"\nscript = \"say.sh\"\nrestart = \"never\"\nlog_date_format = \"[at] YYYY\"\n\
         [[apps]]\nname = \"j\"\nscript = \"say.sh\"\nrestart = \"never\"\nlog_type = \"json\"\n",
    );
    rsx.ok("start ecosystem.toml");
    let ends = |text: &str| text.ends_with('\n');
    let text = rsx.wait_for_text(&rsx.log("t-out.log"), |text| text.lines().count() == 2);
    assert!(text.lines().zip(["plain", "{\"level\":30}"]).all(|(line, rest)| is_stamped(line, rest)), "{text}");
    let text = rsx.wait_for_text(&rsx.log("t-error.log"), ends);
    assert!(is_stamped(text.trim_end(), "no end"), "{text}");
    let mut all: Vec<String> =
        rsx.wait_for_text(&rsx.log("t.log"), |text| text.lines().count() == 3).lines().map(str::to_owned).collect();
    all.iter_mut().for_each(|line| *line = line.split_once(": ").unwrap().1.to_owned());
    all.sort();
    assert_eq!(all, ["no end", "plain", "{\"level\":30}"]);
    let text = rsx.wait_for_text(&rsx.log("d-out.log"), |text| text.lines().count() == 2);
    assert!(text.starts_with("at 20") && text.lines().next().unwrap().ends_with(": plain"), "{text}");
    let text = rsx.wait_for_text(&rsx.log("j-out.log"), |text| text.lines().count() == 2);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["app"], &lines[0]["instance"], &lines[0]["stream"]), (&"j".into(), &0.into(), &"out".into()));
    assert_eq!((&lines[0]["message"], &lines[1]["level"]), (&"plain".into(), &30.into()));
    assert!(lines[1]["message"].is_null() && lines[1]["time"].is_string());
}

#[test]
fn lines_of_four_instances_in_one_file_are_whole() {
    let rsx = Rsx::new();
    // Blocks that end within lines, as they come from programs that buffer.
    let program = "import os\nn = int(os.environ['NODE_APP_INSTANCE'])\n\
        text = b''.join(b'%d %06d %s\\n' % (n, i, b'x' * (i % 300)) for i in range(20000))\n\
        while text:\n    os.write(1, text[:4096]); text = text[4096:]\n";
    if !requires("python3") {
        return;
    }
    rsx.write("many.py", program);
    rsx.ecosystem(
        "[[apps]]\nname = \"many\"\nscript = \"many.py\"\ninstances = 4\nexec_mode = \"fork\"\nmerge_logs = true\n\
         restart = \"never\"\nmin_uptime = 50\nrotate = false\n",
    );
    rsx.ok("start ecosystem.toml");
    let is_all = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() == 80_000;
    let text = String::from_utf8(rsx.wait_for_bytes(&rsx.log("many-out.log"), is_all)).unwrap();
    let mut next = [0; 4];
    for line in text.lines() {
        let mut words = line.split(' ');
        let instance: usize = words.next().unwrap().parse().unwrap();
        let number: usize = words.next().unwrap().parse().unwrap();
        assert_eq!((number, words.next().unwrap().len()), (next[instance], number % 300));
        next[instance] += 1;
    }
    assert_eq!(next, [20_000; 4]);
}

#[test]
fn a_file_that_was_removed_or_moved_away_is_made_again() {
    let rsx = Rsx::new();
    rsx.ok("start 'n=0; while :; do n=$((n+1)); echo line $n; sleep 0.05; done' --name a --min-uptime 50");
    let log = rsx.log("a-out.log");
    rsx.wait_for_text(&log, |text| text.ends_with('\n'));
    fs::remove_file(&log).unwrap();
    rsx.wait_for_text(&log, |text| text.ends_with('\n'));
    let moved = rsx.log("moved");
    fs::rename(&log, &moved).unwrap();
    let later = rsx.wait_for_text(&log, |text| text.ends_with('\n'));
    let first = later.lines().next().unwrap().to_owned();
    let before = fs::read_to_string(&moved).unwrap();
    let number = |line: &str| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap();
    assert_eq!(number(before.lines().last().unwrap()) + 1, number(&first));
}

/// A small file system of its own, where this user may mount one.
struct Small(std::path::PathBuf);

impl Small {
    fn new(rsx: &Rsx) -> Option<Small> {
        let path = rsx.scratch().join("small");
        fs::create_dir(&path).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(&path)
            .output()
            .is_ok_and(|done| done.status.success());
        if !mounted {
            crate::harness::skip("this user may not mount a file system");
            return None;
        }
        Some(Small(path))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_of_and_writing_goes_on_when_there_is_room() {
    let rsx = Rsx::new();
    let Some(small) = Small::new(&rsx) else { return };
    let ballast = small.0.join("ballast");
    let filled = fs::write(&ballast, vec![0; 1 << 20]);
    assert!(filled.is_err());
    rsx.ok("start 'n=0; while :; do n=$((n+1)); echo line $n; sleep 0.02; done' --name a --out small/a.log --min-uptime 50");
    let mut events = rsx.events();
    events.wait("the trouble", |event| event.is("log_failing"));
    let pid = rsx.pid("a");
    assert!(rsx.slot("a", 0)["log_problem"].as_str().unwrap().contains("No space left"));
    rsx.ok("ls").says(&["a.log is not written: No space left"]);
    rsx.ok("describe a").prints(&["log problem"]);
    fs::remove_file(&ballast).unwrap();
    events.wait("its end", |event| event.is("log_written"));
    let text = rsx.wait_for_text(&small.0.join("a.log"), |text| text.lines().count() > 3);
    assert!(text.ends_with('\n') && text.lines().all(|line| line.starts_with("line ")), "{text}");
    assert_eq!(rsx.pid("a"), pid);
    assert!(rsx.slot("a", 0)["log_problem"].is_null());
    let watched = Watched::new(pid);
    rsx.ok("delete a");
    assert!(watched.has_ended_within(LIMIT + Duration::from_secs(1)));
}
