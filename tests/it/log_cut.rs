//! Rotation under a program that writes its log file itself.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::full_disk;
use crate::harness::{Rsx, requires, skip};

/// Numbered lines, from one on in each life, until it is asked to end; then one last line.
const LINES: &str = "
import errno, os, signal, time
ending = []
signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
def say(line):
    while line:
        try:
            line = line[os.write(1, line):]
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            time.sleep(0.02)
say(b'begin\\n')
number = 0
while not ending:
    number += 1
    say(b'line %d of %s\\n' % (number, b'x' * (number % 200)))
    if number % 20 == 0:
        time.sleep(0.002)
say(b'last %d\\n' % number)
";

/// Every life is whole and in order; how many lines there are. A life that was killed ends anywhere.
#[track_caller]
fn check(text: &str) -> usize {
    let mut number = 0;
    for line in text.lines() {
        match line.split_once(' ') {
            None => {
                assert_eq!(line, "begin");
                number = 0;
            }
            Some(("last", last)) => assert_eq!(last, number.to_string()),
            Some(_) => {
                number += 1;
                let expected = format!("line {number} of {}", "x".repeat(number % 200));
                assert!(*line == expected, "line {number} is {line:?}");
            }
        }
    }
    assert!(text.ends_with('\n'));
    text.lines().count()
}

/// Whether the head of a file can be cut off where these tests have their homes.
fn is_able(rsx: &Rsx) -> bool {
    let is_able = rsx::sys::collapse::unit(&rsx.scratch()).is_ok();
    if !is_able {
        let is_fatal = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!is_fatal, "this filesystem cannot cut the head off a file");
        skip("this filesystem cannot cut the head off a file");
    }
    is_able
}

fn archives(log: &Path) -> Vec<PathBuf> {
    let live = log.file_name().unwrap().to_str().unwrap();
    let names = fs::read_dir(log.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
    names.retain(|name| name.len() > live.len() && name.starts_with(live));
    // A plain one beside a packed one is the same.
    let packed: Vec<String> = names.iter().filter_map(|name| name.strip_suffix(".gz")).map(str::to_owned).collect();
    names.retain(|name| !packed.contains(name));
    names.sort();
    names.into_iter().map(|name| log.with_file_name(name)).collect()
}

/// All of a log that nobody writes any more: its archives, what is not in one yet, and the live file.
fn whole(rsx: &Rsx, log: &Path) -> String {
    let mut bytes = Vec::new();
    // The last look at it, which may put something away, comes behind the end of its program and before this answer.
    rsx.ok("reload-logs");
    for archive in archives(log) {
        let mut packed = archive.clone().into_os_string();
        packed.push(".gz");
        // It may be compressed at this moment.
        let packed = if archive.extension().is_some_and(|it| it == "gz") { archive.clone() } else { packed.into() };
        match fs::read(&archive) {
            Ok(plain) if packed != archive => bytes.extend(plain),
            Ok(_) | Err(_) => {
                let file = fs::File::open(packed).unwrap();
                flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
            }
        }
    }
    let live = log.file_name().unwrap().to_str().unwrap();
    bytes.extend(fs::read(log.with_file_name(format!(".{live}.next"))).unwrap_or_default());
    bytes.extend(fs::read(log).unwrap());
    String::from_utf8(bytes).unwrap()
}

/// Waits until there are so many archives.
#[track_caller]
fn wait_for_archives(rsx: &Rsx, log: &Path, count: usize) {
    // The index changes with each of them.
    let index = log.with_file_name(format!(".{}.times", log.file_name().unwrap().to_str().unwrap()));
    let mut most = archives(log).len();
    while most < count {
        // Each wait has its limit.
        rsx.wait_for_bytes(&index, |_| archives(log).len() > most);
        most = archives(log).len();
    }
}

fn app(more: &str) -> String {
    format!("[[apps]]\nname = 'app'\nscript = 'lines.py'\nlog_driver = 'file'\n{more}\n")
}

#[test]
fn every_line_is_there_once_over_two_hundred_rotations_whoever_dies() {
    const ROTATIONS: usize = 200;
    let rsx = Rsx::new();
    if !requires("python3") || !is_able(&rsx) {
        return;
    }
    rsx.write("lines.py", LINES);
    rsx.ecosystem(&app("rotate = { size = '16K', keep = 10000 }"));
    rsx.ok("start ecosystem.toml");
    let log = rsx.log("app-out.log");
    let mut follower = rsx.lines("logs app --raw --out --lines 100000000");
    let mut second = None;
    for step in 1..=10 {
        wait_for_archives(&rsx, &log, ROTATIONS / 10 * step);
        match step {
            2 | 5 | 8 => {
                let (daemon, _) = rsx.daemon();
                daemon.kill("KILL");
                daemon.ends();
                rsx.ok("ls");
            }
            3 | 6 => drop(rsx.ok("signal KILL app")),
            4 => second = Some(rsx.lines("logs app --raw --out --lines 10")),
            7 => drop(second.take()),
            _ => {}
        }
    }
    rsx.ok("stop app");
    let text = whole(&rsx, &log);
    let count = check(&text);
    assert_eq!(text.matches("begin\n").count(), 3);
    assert!(archives(&log).iter().any(|archive| archive.extension().is_some_and(|it| it == "gz")));
    // The same, read by rsx: whole, its last lines, and as it came.
    let shown = rsx.ok_at_length("logs app --raw --out --nostream --lines 100000000").out;
    assert!(shown == text, "{} lines of {count}", shown.lines().count());
    let last = rsx.ok("logs app --raw --out --nostream --lines 3000").out;
    assert!(text.ends_with(&last) && last.lines().count() == 3000);
    follower.wait("the last line", |line| line.starts_with("last "));
    let seen = follower.seen();
    let differs = seen.iter().zip(text.lines()).position(|(seen, line)| seen != line);
    let around = differs.map(|at| &seen[at.saturating_sub(2)..seen.len().min(at + 3)]);
    assert!(differs.is_none() && seen.len() == count, "{} lines of {count}: {differs:?}, {around:?}", seen.len());
}

/// The daemon dies at each step of a cut.
#[cfg(feature = "failpoints")]
#[test]
fn a_death_at_any_place_of_a_cut_loses_no_line() {
    let rsx = Rsx::new();
    if !requires("python3") || !is_able(&rsx) {
        return;
    }
    drop(rsx);
    for place in rsx::daemon::failpoint::CUT_PLACES {
        let mut rsx = Rsx::new();
        let file = rsx.scratch().join("failpoint");
        rsx.set_env("RSX_FAILPOINT", &file);
        rsx.write("lines.py", LINES);
        rsx.ecosystem(&app("rotate = { size = '32K', keep = 10000 }"));
        rsx.ok("start ecosystem.toml");
        let mut follower = rsx.lines("logs app --raw --out --lines 100000000");
        for _ in 0..2 {
            // The guardian pauses where one daemon follows another within a second.
            std::thread::sleep(std::time::Duration::from_millis(1050));
            let (daemon, _) = rsx.daemon();
            fs::write(&file, place).unwrap();
            assert!(daemon.has_ended_within(std::time::Duration::from_secs(10)), "nothing comes by {place}");
        }
        rsx.ok("stop app");
        let text = whole(&rsx, &rsx.log("app-out.log"));
        check(&text);
        follower.wait("the last line", |line| line.starts_with("last "));
        let followed: String = follower.seen().iter().map(|line| format!("{line}\n")).collect();
        assert!(followed == text, "{place}: {} of {} lines", follower.seen().len(), text.lines().count());
    }
}

#[test]
fn what_cannot_be_rotated_is_refused_before_it_starts() {
    let rsx = Rsx::new();
    rsx.script("lines.py", "#!/bin/sh\necho begin\nexec sleep 1000\n");
    let memory = Path::new("/dev/shm");
    if rsx::sys::collapse::filesystem(memory) != Some("tmpfs") {
        return skip("/dev/shm is no tmpfs");
    }
    let folder = tempfile::tempdir_in(memory).unwrap();
    let out = format!("interpreter = 'none'\nout_file = '{}'", folder.path().join("out.log").display());
    rsx.ecosystem(&app(&out));
    rsx.fails(5, "start ecosystem.toml").says(&["(tmpfs) cannot cut the head off a file", "`rotate = false`"]);
    rsx.ecosystem(&app(&format!("{out}\nrotate = false")));
    rsx.ok("start ecosystem.toml");
    rsx.fails(5, "rotate app").says(&["(tmpfs) cannot cut the head off a file"]);
}

#[test]
fn a_log_is_put_away_and_emptied_on_request() {
    let rsx = Rsx::new();
    if !requires("python3") || !is_able(&rsx) {
        return;
    }
    rsx.write("lines.py", LINES);
    rsx.ecosystem(&app("rotate = { compress = false }"));
    rsx.ok("start ecosystem.toml");
    let log = rsx.log("app-out.log");
    rsx.wait_for_bytes(&log, |bytes| bytes.len() > 100_000);
    rsx.ok("rotate app").says(&["put away: 1 file"]);
    assert_eq!(archives(&log).len(), 1);
    rsx.ok("stop app");
    check(&whole(&rsx, &log));
    rsx.ok("start app");
    // What the first life has left in the file may be long, too.
    rsx.wait_for_text(&log, |text| text.contains("begin\n"));
    rsx.ok("flush app");
    rsx.ok("stop app");
    let text = whole(&rsx, &log);
    assert!(archives(&log).is_empty() && !text.contains("begin") && text.contains("last "), "{text:.200}");
}

#[test]
fn a_rotation_that_finds_no_room_is_told_and_done_later() {
    let Some(rsx) = full_disk::alone() else { return };
    let disk = rsx.scratch().join("logs");
    if !requires("python3") || !full_disk::mount_ext4(&rsx, &disk, 8) {
        return;
    }
    rsx.write("lines.py", LINES.replace("0.002", "0.05"));
    rsx.ecosystem(&app("out_file = 'logs/out.log'\nrotate = { size = '100K', keep = 100 }"));
    rsx.ok("start ecosystem.toml");
    let log = disk.join("out.log");
    rsx.wait_for_bytes(&log, |bytes| bytes.len() > 20_000);
    // Room for what the program writes, and not for a copy of it.
    let ballast = disk.join("ballast");
    let file = fs::File::create(&ballast).unwrap();
    let room = nix::sys::statvfs::statvfs(&disk).unwrap();
    let free = room.blocks_available() * room.fragment_size();
    nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, i64::try_from(free).unwrap() - 140_000)
        .unwrap();
    let mut events = rsx.events();
    events.wait("that there is no room", |event| {
        event.is("remark") && event.get("text").to_string().contains("cannot be rotated and grows on: No space left")
    });
    drop(file);
    fs::remove_file(ballast).unwrap();
    rsx.ok("rotate app");
    assert_eq!(archives(&log).len(), 1);
    rsx.ok("stop app");
    check(&whole(&rsx, &log));
}
