//! Rotation by the daemon: what is put away, what goes, and that nobody misses a line, whoever is killed meanwhile.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rsx::logs::Archive;

use crate::harness::{Lines, Rsx, Watched, requires, skip, spawn};

/// Writes numbered lines, each run under a number of its own, as long as it lives; a rest comes when there are so many.
const WRITER: &str = "
import os, sys, time
with open('runs', 'a') as runs:
    runs.write('x')
run, number, most = os.stat('runs').st_size, 0, int(sys.argv[1])
while number < most or os.path.exists('more'):
    number += 1
    os.write(1, b'run %d line %d of %s\\n' % (run, number, b'x' * (number % 90)))
    if number % 20 == 0:
        time.sleep(0.001)
os.write(1, b'run %d end\\n' % run)
time.sleep(1000)
";

/// All names beginning so in the folder of logs; indexes of times begin with a dot.
fn files(rsx: &Rsx, name: &str) -> Vec<String> {
    let all = fs::read_dir(rsx.home().join("logs")).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = all.filter(|it| it.starts_with(name)).collect();
    files.sort();
    files
}

fn text_of(path: &Path) -> String {
    text_if_there(path).unwrap()
}

fn text_if_there(path: &Path) -> io::Result<String> {
    let (mut text, mut file) = (String::new(), File::open(path)?);
    match path.extension().and_then(|it| it.to_str()) {
        Some("gz") => flate2::read::GzDecoder::new(file).read_to_string(&mut text)?,
        Some("zst") => zstd::Decoder::new(file)?.read_to_string(&mut text)?,
        _ => file.read_to_string(&mut text)?,
    };
    Ok(text)
}

/// What was put away, compressed meanwhile or not.
pub(crate) fn archived(rsx: &Rsx, log: &str) -> String {
    loop {
        let archives = Archive::of(log, files(rsx, log).iter().map(String::as_str));
        let texts: io::Result<String> = archives.iter().map(|it| text_if_there(&rsx.log(&it.name(log)))).collect();
        match texts {
            Ok(text) => return text,
            // It has another name by now.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}"),
        }
    }
}

/// What was put away, then what there is, when nothing is being put away any more.
fn whole(rsx: &Rsx, log: &str) -> String {
    // For a moment it may not be there.
    archived(rsx, log) + &fs::read_to_string(rsx.log(log)).unwrap_or_default()
}

fn has_only(rsx: &Rsx, log: &str, ending: &str) -> bool {
    let names = files(rsx, &format!("{log}."));
    !names.is_empty() && names.iter().all(|name| name.ends_with(ending))
}

/// A follower whose lines go to a file, so that it may be killed.
fn follow(rsx: &Rsx, into: &Path) -> Child {
    let mut command = rsx.command();
    command.args(["logs", "w", "--raw", "--out", "--lines", "1000000"]).stdin(Stdio::null());
    spawn(command.stdout(File::create(into).unwrap()).stderr(Stdio::null()))
}

#[test]
fn every_line_is_there_once_and_in_order_over_hundreds_of_rotations_whoever_is_killed() {
    if !requires("python3") {
        return;
    }
    for compress in ["gzip", "zstd"] {
        let rsx = Rsx::new();
        rsx.write("writer.py", WRITER);
        rsx.ecosystem(&format!(
            "[[apps]]\nname = \"w\"\nscript = \"writer.py\"\nargs = [\"4000\"]\nmin_uptime = 10\nrestart_delay = 0\n\
             exp_backoff_restart_delay = 0\nrotate = {{ size = \"4K\", keep = 100000, compress = \"{compress}\" }}\n"
        ));
        rsx.write("more", "");
        rsx.ok("start ecosystem.toml");
        let [killed, lives] = ["killed", "lives"].map(|name| rsx.scratch().join(name));
        let mut first = follow(&rsx, &killed);
        let mut second = follow(&rsx, &lives);
        rsx.wait_for_text(&killed, |text| text.ends_with('\n'));
        let log = rsx.home().join("logs");
        let until = |count| rsx.wait_for_change(&log, || files(&rsx, "w-out.log.").len() >= count);
        for round in 1..=10 {
            until(round * 20);
            match round {
                2 | 5 | 8 => {
                    // The one that was killed last may not have been replaced yet.
                    rsx.wait_for_change(&log, || !rsx.slot("w", 0)["pid"].is_null());
                    Watched::new(rsx.pid("w")).kill("KILL");
                }
                4 => Watched::new(first.id()).kill("KILL"),
                3 | 6 | 9 => rsx.daemon().0.kill("KILL"),
                _ => {}
            }
        }
        fs::remove_file(rsx.scratch().join("more")).unwrap();
        let end = |text: &str| text.ends_with("end\n");
        let seen = rsx.wait_for_text(&lives, end);
        rsx.wait_for_change(&log, || has_only(&rsx, "w-out.log", if compress == "zstd" { ".zst" } else { ".gz" }));
        let all = whole(&rsx, "w-out.log");
        let (mut run, mut next) = (1, 1);
        for line in all.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number: usize = words[1].parse().unwrap();
            if number != run {
                (run, next) = (run + 1, 1);
            }
            assert_eq!(number, run, "{line}");
            if words[2] == "end" {
                continue;
            }
            assert_eq!(line, format!("run {run} line {next} of {}", "x".repeat(next % 90)));
            next += 1;
        }
        assert!(run == 4 && all.ends_with("end\n"), "{run} runs");
        assert!(files(&rsx, "w-out.log.").len() >= 200);
        assert!(seen == all, "the follower has {} lines of {}", seen.lines().count(), all.lines().count());
        let before = fs::read_to_string(&killed).unwrap();
        assert!(all.starts_with(&before) && !before.is_empty(), "the killed one has {} lines", before.lines().count());
        for flags in ["--lines 1000000", "--since 1h"] {
            let history = rsx.ok(&format!("logs w --raw --out --nostream {flags}")).out;
            assert!(history == all, "{flags}: {} lines", history.lines().count());
        }
        let found = rsx.ok("logs w --raw --out --nostream --lines 1000000 --grep 'line 7[0-9] of'").out;
        let expected: Vec<&str> = all
            .lines()
            .filter(|line| line.contains(" line 7") && line.ends_with("of ") | line.contains(" of x"))
            .filter(|line| {
                let number = line.split(' ').nth(3).unwrap();
                number.len() == 2
            })
            .collect();
        assert_eq!(found.lines().collect::<Vec<_>>(), expected);
        Watched::new(second.id()).kill("KILL");
        let _ = (first.wait(), second.wait());
    }
}

#[test]
fn a_follower_of_the_file_misses_nothing_over_fifty_rotations() {
    let rsx = Rsx::new();
    // A follower that is slower than two rotations would miss what lies between them: a batch is smaller than a file, and
    // waits until he has seen the one before it.
    rsx.script("many.sh", "n=0; while read -r _; do n=$((n+1)); seq $((n*600-599)) $((n*600)); done\n");
    rsx.ecosystem(
        "[[apps]]\nname = \"a\"\nscript = \"many.sh\"\nrotate = { size = \"4K\", compress = false, keep = 1000 }\n",
    );
    fs::create_dir_all(rsx.home().join("logs")).unwrap();
    fs::write(rsx.log("a-out.log"), "").unwrap();
    let mut tail = Command::new("tail");
    tail.args(["-n", "+1", "-s", "0.01", "-F"]).arg(rsx.log("a-out.log"));
    let mut lines = Lines::of(tail, "tail -F");
    rsx.ok("start ecosystem.toml");
    for batch in 1..=80 {
        rsx.ok("send a more");
        lines.wait("the last line", |line| line == (batch * 600).to_string());
    }
    let expected: Vec<String> = (1..=80 * 600).map(|n| n.to_string()).collect();
    // What else it says is about the file: `tail: '…' has been replaced`.
    let seen: Vec<&String> = lines.seen().iter().filter(|line| !line.starts_with("tail: ")).collect();
    let differs = seen.iter().zip(&expected).position(|(seen, expected)| *seen != expected);
    assert!(differs.is_none() && seen.len() == expected.len(), "{} lines, wrong from {differs:?} on", seen.len());
    assert!(files(&rsx, "a-out.log.").len() >= 50);
}

#[test]
fn lines_of_several_instances_in_one_file_stay_whole_over_rotations() {
    if !requires("python3") {
        return;
    }
    let rsx = Rsx::new();
    rsx.write(
        "many.py",
        "import os, time\nme = os.environ['NODE_APP_INSTANCE']\nfor n in range(3000):\n    line = '%s %d %s\\n' % (me, n, 'y' * (n % 300))\n    \
         half = len(line) // 2\n    os.write(1, line[:half].encode())\n    os.write(1, line[half:].encode())\ntime.sleep(1000)\n",
    );
    rsx.ecosystem(
        "[[apps]]\nname = \"m\"\nscript = \"many.py\"\ninstances = 4\nexec_mode = \"fork\"\nmerge_logs = true\nmin_uptime = 50\n\
         rotate = { size = \"16K\", keep = 100000, compress = false }\n",
    );
    rsx.ok("start ecosystem.toml");
    let ends = || {
        let all = whole(&rsx, "m-out.log");
        all.matches(" 2999 ").count() == 4 && all.ends_with('\n')
    };
    rsx.wait_for_change(&rsx.home().join("logs"), ends);
    let mut next = [0; 4];
    let all = whole(&rsx, "m-out.log");
    for line in all.lines() {
        let mut words = line.split(' ');
        let instance: usize = words.next().unwrap().parse().unwrap();
        let number: usize = words.next().unwrap().parse().unwrap();
        assert_eq!((number, words.next().unwrap().len()), (next[instance], number % 300), "{line}");
        next[instance] += 1;
    }
    assert_eq!(next, [3000; 4]);
    assert!(files(&rsx, "m-out.log.").len() > 50);
    // Each file begins with a line and ends with one.
    for name in files(&rsx, "m-out.log.") {
        assert!(text_of(&rsx.log(&name)).ends_with('\n'), "{name}");
    }
}

#[test]
fn a_file_that_has_grown_is_put_away_compressed_and_the_oldest_go() {
    let rsx = Rsx::new();
    rsx.script("many.sh", "seq 20000; exec sleep 1000\n");
    rsx.ecosystem(
        "[[apps]]\nname = \"a\"\nscript = \"many.sh\"\nrotate = { size = \"8K\", keep = 3 }\n\
         [[apps]]\nname = \"b\"\nscript = \"many.sh\"\nrotate = false\n\
         [[apps]]\nname = \"c\"\nscript = \"many.sh\"\nrotate = { size = \"8K\", keep = 1000, total = \"40K\", compress = false }\n",
    );
    rsx.ok("start ecosystem.toml");
    for log in ["a-out.log", "c-out.log"] {
        rsx.wait_for_text(&rsx.log(log), |text| text.ends_with("\n20000\n") && text.len() <= 8192);
    }
    rsx.ok("rotate a").says(&["put away: 1 file"]);
    let folder = rsx.home().join("logs");
    rsx.wait_for_change(&folder, || files(&rsx, "a-out.log.").len() == 3 && has_only(&rsx, "a-out.log", ".gz"));
    assert_eq!(fs::read(rsx.log("a-out.log")).unwrap(), b"");
    // The newest are those that stay.
    assert!(whole(&rsx, "a-out.log").ends_with("\n20000\n"));
    let size = || -> u64 {
        let names = [files(&rsx, "c-out.log"), files(&rsx, ".c-out.log")].concat();
        names.iter().filter_map(|name| fs::metadata(rsx.log(name)).ok()).map(|found| found.len()).sum()
    };
    rsx.wait_for_change(&folder, || size() <= 40 << 10);
    assert!(size() > 20 << 10 && whole(&rsx, "c-out.log").ends_with("\n19999\n20000\n"));
    rsx.wait_for_text(&rsx.log("b-out.log"), |text| text.ends_with("\n20000\n") && text.starts_with("1\n"));
    assert!(files(&rsx, "b-out.log.").is_empty());
    // By hand it is put away all the same, also when nobody writes it; nothing is left to do the second time.
    rsx.ok("stop b");
    rsx.ok("rotate b").says(&["put away: 1 file"]);
    rsx.ok("rotate b").says(&["put away: 0 files"]);
    assert_eq!(rsx.ok("logs b --nostream --raw --out --lines 2").out, "19999\n20000\n");
    rsx.fails(4, "rotate nobody");
    assert!(fs::metadata(folder.join(".a-out.log.times")).unwrap().len() >= 40);
}

#[test]
fn flush_removes_archives_unless_they_are_to_stay() {
    let rsx = Rsx::new();
    rsx.script("many.sh", "seq 5000; exec sleep 1000\n");
    rsx.ecosystem("[[apps]]\nname = \"a\"\nscript = \"many.sh\"\nrotate = { size = \"8K\", compress = \"zstd\" }\n");
    rsx.ok("start ecosystem.toml");
    // Two or three, as reads happen to end.
    let written = || {
        rsx.wait_for_text(&rsx.log("a-out.log"), |text| text.ends_with("\n5000\n"));
        rsx.wait_for_change(&rsx.home().join("logs"), || has_only(&rsx, "a-out.log", ".zst"));
        files(&rsx, "a-out.log.").len()
    };
    let count = written();
    rsx.ok("flush a --keep-archives").says(&["emptied: 2 files, "]);
    assert_eq!((fs::read(rsx.log("a-out.log")).unwrap().len(), files(&rsx, "a-out.log.").len()), (0, count));
    let answer = rsx.json("flush a");
    let out =
        answer["files"].as_array().unwrap().iter().find(|file| file["path"].as_str().unwrap().ends_with("out.log"));
    let out = out.unwrap();
    assert_eq!((&out["archives"], &out["bytes"]), (&count.into(), &0.into()));
    assert!(out["archived"].as_u64().unwrap() > 100 && files(&rsx, "a-out.log.").is_empty());
    assert_eq!(rsx.ok("logs a --nostream --raw --out").out, "");
    rsx.ok("restart a");
    let count = written();
    rsx.ok("flush").says(&["emptied: ", &format!("removed: {count} archives, ")]);
    assert!(files(&rsx, ".a-out.log.2").is_empty());
}

#[test]
fn a_link_is_not_rotated_and_it_is_said_why() {
    let rsx = Rsx::new();
    rsx.script("many.sh", "seq 5000; exec sleep 1000\n");
    let real = rsx.write("real.log", "");
    let link = rsx.scratch().join("link.log");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    rsx.ecosystem(
        "[[apps]]\nname = \"a\"\nscript = \"many.sh\"\nout_file = \"link.log\"\nrotate = { size = \"8K\" }\n",
    );
    rsx.ok("start ecosystem.toml");
    rsx.wait_for_text(&real, |text| text.starts_with("1\n2\n") && text.ends_with("\n5000\n"));
    rsx.fails(5, "rotate a").says(&["link.log: it is a symbolic link"]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn a_quiet_file_is_put_away_when_its_time_is_over() {
    let rsx = Rsx::new();
    rsx.ecosystem(
        "[[apps]]\nname = \"a\"\nscript = \"echo once; exec sleep 1000\"\nrotate = { every = \"1s\", compress = false }\n",
    );
    rsx.ok("start ecosystem.toml");
    rsx.wait_for_change(&rsx.home().join("logs"), || files(&rsx, "a-out.log.").len() == 1);
    rsx.wait_for_text(&rsx.log("a-out.log"), str::is_empty);
    assert_eq!(whole(&rsx, "a-out.log"), "once\n");
}

/// A small file system of its own, where this user may mount one.
struct Small(PathBuf);

impl Small {
    fn new(rsx: &Rsx) -> Option<Small> {
        let path = rsx.scratch().join("small");
        fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&path).output();
        if !mounted.is_ok_and(|done| done.status.success()) {
            skip("this user may not mount a file system");
            return None;
        }
        Some(Small(path))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn where_a_disk_is_nearly_full_the_oldest_archives_of_all_apps_go() {
    let rsx = Rsx::new();
    let Some(small) = Small::new(&rsx) else { return };
    fs::write(small.0.join("ballast"), vec![0; 700 << 10]).unwrap();
    rsx.script("many.sh", "while :; do seq 3000; sleep 0.1; done\n");
    let app = |name: &str| {
        format!(
            "[[apps]]\nname = \"{name}\"\nscript = \"many.sh\"\nout_file = \"small/{name}.log\"\n\
             rotate = {{ size = \"8K\", keep = 100000, compress = false }}\n"
        )
    };
    rsx.ecosystem(&(app("a") + &app("b")));
    rsx.ok("start ecosystem.toml");
    let mut events = rsx.events();
    let event = events.wait("room to be made", |event| event.is("logs_removed"));
    assert!(event.get("folder").as_str().unwrap().ends_with("small") && event.get("archives").as_u64() > Some(0));
    // Those that stay are the newest of each.
    for name in ["a", "b"] {
        let before = fs::read_dir(&small.0).unwrap().count();
        assert!(before > 2, "{name}");
        rsx.wait_for_text(&small.0.join(format!("{name}.log")), |text| text.ends_with("\n3000\n"));
    }
    rsx.ok("delete all");
}
