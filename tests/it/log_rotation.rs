//! `rsx logs` while its files are rotated and compressed under it, and while readers and daemons are killed.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rsx::logs::times::{Header, Note, Times};
use rsx::logs::{Archive, Packing, times_name};

use crate::harness::{Rsx, Watched, spawn};

/// Writes a log as rotation leaves it: archives by rename, each with its index, compressed a while later.
struct Writer {
    path: PathBuf,
    file: File,
    index: File,
    times: Times,
    archives: Vec<Archive>,
    length: u64,
}

impl Writer {
    fn new(path: PathBuf) -> Writer {
        let file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let mut index = File::create(Writer::index_of(&path)).unwrap();
        let inode = file.metadata().unwrap().ino();
        index.write_all(&Header { inode, base: 0, cutting: 0 }.encode()).unwrap();
        Writer { path, file, index, times: Times::default(), archives: Vec::new(), length: 0 }
    }

    fn index_of(path: &Path) -> PathBuf {
        path.with_file_name(times_name(path.file_name().unwrap().to_str().unwrap()))
    }

    fn write(&mut self, text: &str) {
        if let Note::Append(bytes) = self.times.note(self.length, now()) {
            self.index.write_all(&bytes).unwrap();
        }
        self.file.write_all(text.as_bytes()).unwrap();
        self.length += text.len() as u64;
    }

    fn at(&self, archive: Archive) -> PathBuf {
        self.path.with_file_name(archive.name(self.path.file_name().unwrap().to_str().unwrap()))
    }

    fn rotate(&mut self) {
        let archive = Archive::next(now(), self.archives.last().copied());
        let place = self.at(archive);
        fs::rename(&self.path, &place).unwrap();
        fs::rename(Writer::index_of(&self.path), Writer::index_of(&place)).unwrap();
        let mut archives = std::mem::take(&mut self.archives);
        archives.push(archive);
        *self = Writer { archives, ..Writer::new(self.path.clone()) };
    }

    fn compress(&self, n: usize) {
        let Some(archive) = self.archives.get(n).copied() else { return };
        let packed = self.at(Archive { packing: Packing::Gzip, ..archive });
        let part = packed.with_extension("part");
        let mut encoder = flate2::write::GzEncoder::new(File::create(&part).unwrap(), flate2::Compression::fast());
        encoder.write_all(&fs::read(self.at(archive)).unwrap()).unwrap();
        encoder.finish().unwrap();
        fs::rename(part, packed).unwrap();
        fs::remove_file(self.at(archive)).unwrap();
    }
}

/// A follower whose lines go to a file, so that it may be stopped and killed.
struct Follower {
    child: Child,
    into: PathBuf,
}

impl Follower {
    fn new(rsx: &Rsx, into: &str) -> Follower {
        let into = rsx.scratch().join(into);
        let mut command = rsx.command();
        command.args(["logs", "w", "--raw", "--out", "--lines", "1000000"]).stdin(Stdio::null());
        let child = spawn(command.stdout(File::create(&into).unwrap()).stderr(Stdio::null()));
        Follower { child, into }
    }

    fn signal(&self, signal: &str) {
        Watched::new(self.child.id()).kill(signal);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// One that says nothing itself, and whose files the daemon leaves alone.
fn app(name: &str) -> String {
    format!(
        "[[apps]]\nname = \"{name}\"\nscript = \"exec sleep 1000\"\nmin_uptime = 50\nout_file = \"{name}.log\"\n\
         rotate = false\n"
    )
}

fn numbered(from: usize, to: usize) -> String {
    (from..to).map(|n| format!("line {n}\n")).collect()
}

#[test]
fn every_line_is_seen_once_and_in_order_whatever_is_rotated_compressed_stopped_or_killed() {
    const LINES: usize = 20_000;
    let rsx = Rsx::new();
    rsx.ecosystem(&app("w"));
    rsx.ok("start ecosystem.toml");
    let mut writer = Writer::new(rsx.scratch().join("w.log"));
    let whole = Follower::new(&rsx, "whole");
    rsx.wait_for_text(&whole.into, str::is_empty);
    let (mut second, mut rotations) = (None, 0);
    for n in 0..LINES {
        writer.write(&format!("line {n}\n"));
        if n % 400 == 399 {
            writer.rotate();
            rotations += 1;
            // Some at once, some a while later, some never.
            match rotations % 3 {
                0 => writer.compress(rotations - 1),
                1 if rotations > 3 => writer.compress(rotations - 4),
                _ => {}
            }
        }
        match n {
            1_000 => drop(rsx.wait_for_text(&whole.into, |text| text.ends_with("line 1000\n"))),
            2_000 => whole.signal("STOP"),
            5_000 => rsx.daemon().0.kill("KILL"),
            9_000 => second = Some(Follower::new(&rsx, "second")),
            10_000 => whole.signal("CONT"),
            14_000 => drop(second.take()),
            _ => {}
        }
    }
    let end = format!("line {}\n", LINES - 1);
    let seen = rsx.wait_for_text(&whole.into, |text| text.ends_with(&end));
    assert!(seen == numbered(0, LINES), "{} lines of {LINES}", seen.lines().count());
    let seen = fs::read_to_string(rsx.scratch().join("second")).unwrap();
    assert!(numbered(0, LINES).starts_with(&seen), "the one that was killed saw {} lines", seen.lines().count());
    for (flags, from) in [("--lines 1000000", 0), ("--lines 7777", LINES - 7_777), ("--since 1h", 0)] {
        let seen = rsx.ok(&format!("logs w --raw --out --nostream {flags}")).out;
        assert!(seen == numbered(from, LINES), "{flags}: {} lines", seen.lines().count());
    }
}

#[test]
fn logs_of_several_apps_are_merged_by_the_times_of_the_index() {
    let rsx = Rsx::new();
    rsx.ecosystem(&(app("a") + &app("b")));
    rsx.ok("start ecosystem.toml");
    let mut writers = ["a", "b"].map(|name| Writer::new(rsx.scratch().join(format!("{name}.log"))));
    let mut expected = Vec::new();
    for n in 0..20_u64 {
        let writer = &mut writers[usize::from(n % 3 == 0)];
        let moment = 1_700_000_000_000 + n * 1_000;
        let Note::Append(bytes) = writer.times.note(writer.length, moment) else { panic!("a second is long enough") };
        writer.index.write_all(&bytes).unwrap();
        let text = format!("line {n}\n");
        writer.file.write_all(text.as_bytes()).unwrap();
        // What comes later than the index says has no entry yet.
        writer.file.set_modified(UNIX_EPOCH + Duration::from_millis(moment)).unwrap();
        writer.length += text.len() as u64;
        expected.push(text);
        if n % 5 == 4 {
            writer.rotate();
        }
    }
    assert_eq!(rsx.ok("logs --raw --out --nostream --lines 100").out, expected.concat());
    rsx.ok("kill");
    assert_eq!(rsx.ok("logs --raw --out --lines 100").out, expected.concat(), "without a daemon, by what was wanted");
    assert_eq!(rsx.ok("logs b --raw --lines 1").out, "line 18\n");
}
