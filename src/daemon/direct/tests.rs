//! Files that others append to, on a real filesystem, and a keeper of them that is killed again and again.

use std::fs;
use std::io::{self, Read, Write};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use super::log::{Log, now};
use super::*;
use crate::logs::times::{ENTRY, Entry};
use crate::logs::{Archive, next_name};
use crate::spec::Rotation;
use crate::sys::shared::SharedMemory;
use crate::sys::testing::{Forked, become_process, end_of, let_go_by, shell, with_output};

/// Makes [`storm_process`] a storm in this folder.
const FOLDER: &str = "RSX_TEST_CUTS";

const KILLS: u64 = 300;

/// Two programs write into one file.
const WRITERS: usize = 2;

fn nobody() -> Files {
    Files::start(tokio::sync::mpsc::unbounded_channel().0).unwrap()
}

/// A folder whose filesystem can, with its unit.
fn able() -> Option<(tempfile::TempDir, u64)> {
    for place in [std::env::temp_dir(), "/var/tmp".into(), env!("CARGO_MANIFEST_DIR").into()] {
        let Ok(folder) = tempfile::tempdir_in(place) else { continue };
        if let Ok(unit) = crate::sys::collapse::unit(folder.path()) {
            return Some((folder, unit));
        }
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "no filesystem here can cut the head off a file");
    let _ = writeln!(io::stderr().lock(), "skipped: no filesystem here can cut the head off a file");
    None
}

fn appended(path: &Path) -> File {
    File::options().append(true).create(true).open(path).unwrap()
}

/// The archives of a log, the oldest first, then the next one, then the live file.
fn parts(path: &Path) -> Vec<PathBuf> {
    let live = path.file_name().unwrap().to_str().unwrap();
    let names: Vec<String> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut parts: Vec<PathBuf> = Archive::of(live, names.iter().map(String::as_str))
        .into_iter()
        .map(|archive| path.with_file_name(archive.name(live)))
        .collect();
    parts.extend(Some(path.with_file_name(next_name(live))).filter(|next| next.exists()));
    parts.push(path.to_owned());
    parts
}

fn joined(path: &Path) -> Vec<u8> {
    parts(path).iter().flat_map(|part| fs::read(part).unwrap()).collect()
}

fn entries(path: &Path) -> Vec<Entry> {
    let index = fs::read(log::beside(path, times_name).unwrap()).unwrap();
    index[HEADER..].chunks_exact(ENTRY).map(|bytes| Entry::decode(bytes).unwrap()).collect()
}

fn header(path: &Path) -> Header {
    Header::decode(&fs::read(log::beside(path, times_name).unwrap()).unwrap()).unwrap()
}

/// Appends numbered lines until the board says that it is enough.
fn write(path: &Path, board: &SharedMemory, index: usize) -> u8 {
    let mut file = appended(path);
    let mut number = 0_u64;
    while board.words()[0].load(SeqCst) == 0 {
        let length = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) % 300;
        let line = format!("{index} {number} {}\n", "x".repeat(usize::try_from(length).unwrap()));
        file.write_all(line.as_bytes()).unwrap();
        number += 1;
        board.words()[1 + index].store(number, SeqCst);
        if number.is_multiple_of(16) {
            let_go_by(Duration::from_micros(200));
        }
    }
    0
}

/// Rotates as fast as it can, until it is killed or it is enough.
fn keep(path: &Path, units: &Units, board: &SharedMemory) -> u8 {
    let files = nobody();
    loop {
        let is_last = board.words()[0].load(SeqCst) != 0;
        let mut log = Log::open(path, None, units);
        for _ in 0..5 {
            log.rotate(u64::MAX, &files).unwrap();
            board.words()[1 + WRITERS].fetch_add(1, SeqCst);
        }
        if is_last {
            return 0;
        }
    }
}

fn storm(folder: &Path) -> u8 {
    let path = folder.join("app-out.log");
    drop(appended(&path));
    let units = Units::default();
    assert!(units.of(&path, &File::open(&path).unwrap()).is_ok());
    let board = SharedMemory::create("board", std::num::NonZeroUsize::new(4096).unwrap()).unwrap();
    let writers: Vec<Forked> = (0..WRITERS).map(|index| Forked::new(|| write(&path, &board, index))).collect();
    let mut caught = 0;
    for number in 0..KILLS {
        let rotated = board.words()[1 + WRITERS].load(SeqCst);
        let keeper = Forked::new(|| keep(&path, &units, &board));
        // Some get one rotation done, or the file would grow faster than it can be put away.
        let until = Instant::now() + Duration::from_secs(10);
        while number % 4 == 0 && board.words()[1 + WRITERS].load(SeqCst) == rotated && Instant::now() < until {
            let_go_by(Duration::from_micros(500));
        }
        // Golden steps: every part of the interval is met.
        let_go_by(Duration::from_micros(2000 + number * 6180 % 12_000));
        keeper.kill();
        let record = fs::read(path.with_file_name(crate::logs::cut_name("app-out.log"))).unwrap_or_default();
        caught += usize::from(crate::logs::Cut::decode(&record).is_some());
    }
    board.words()[0].store(1, SeqCst);
    assert!(writers.into_iter().all(|writer| writer.code() == 0));
    assert_eq!(Forked::new(|| keep(&path, &units, &board)).code(), 0);
    let text = String::from_utf8(joined(&path)).unwrap();
    let mut next = [0_u64; WRITERS];
    for line in text.lines() {
        let mut words = line.split(' ');
        let index: usize = words.next().unwrap().parse().unwrap();
        let number: u64 = words.next().unwrap().parse().unwrap();
        assert_eq!(number, next[index], "of {index}");
        next[index] += 1;
    }
    for (index, next) in next.iter().enumerate() {
        assert_eq!(*next, board.words()[1 + index].load(SeqCst), "of {index}");
    }
    let all = parts(&path);
    for archive in &all[..all.len() - 2] {
        assert!(fs::read(archive).unwrap().ends_with(b"\n"), "{} ends within a line", archive.display());
    }
    println!("{caught} of {KILLS} kills met a cut; {} archives, {next:?} lines", all.len() - 2);
    assert!(caught > 10 && all.len() > 50);
    0
}

/// No test by itself: the storm of the next one.
#[test]
fn storm_process() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        become_process(|| storm(Path::new(&folder)));
    }
}

#[test]
fn every_line_is_there_once_and_in_order_after_hundreds_of_kills() {
    let Some((folder, _)) = able() else { return };
    let mut launch = shell("");
    launch.program = std::env::current_exe().unwrap();
    let name = "daemon::direct::tests::storm_process";
    launch.argv = ["rsx", name, "--exact", "--nocapture", "--test-threads=1"].map(Into::into).into();
    launch.env.push((FOLDER.into(), folder.path().into()));
    let (mut launch, mut output) = with_output(launch);
    launch.stderr = launch.stdout.try_clone().unwrap();
    let process = crate::sys::spawn::spawn(&launch).unwrap();
    drop(launch);
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    println!("{text}");
    let is_over = process.has_ended_within(Duration::from_secs(60)).unwrap();
    assert!(is_over && end_of(&process) == crate::spec::ExitStatus::Code(0), "{text}");
}

#[test]
fn a_look_marks_when_bytes_came_and_rotates_what_has_grown() {
    let Some((folder, unit)) = able() else { return };
    let path = folder.path().join("a.log");
    let mut file = appended(&path);
    let rotation = Rotation { size: Some(3 * unit), ..Rotation::default() };
    let before = now();
    let mut log = Log::open(&path, Some(rotation), &Units::default());
    file.write_all(b"one\ntwo\n").unwrap();
    assert_eq!(log.look(&nobody()), Vec::<String>::new());
    assert_eq!(log.look(&nobody()), Vec::<String>::new());
    let marks: Vec<u64> = entries(&path).iter().map(|entry| entry.offset).collect();
    assert_eq!(marks, [0, 8]);
    assert!(entries(&path).iter().all(|entry| (before..=now()).contains(&entry.moment)));
    let mut written = b"one\ntwo\n".to_vec();
    for number in 0..1000 {
        let line = format!("line {number} {}\n", "y".repeat(20));
        file.write_all(line.as_bytes()).unwrap();
        written.extend(line.into_bytes());
    }
    assert!(written.len() as u64 > 3 * unit, "the unit is {unit}");
    assert_eq!(log.look(&nobody()), Vec::<String>::new());
    let parts = parts(&path);
    assert_eq!(parts.len(), 3);
    assert!(joined(&path) == written);
    assert!(fs::read(&parts[0]).unwrap().ends_with(b"\n"));
    // Archive, next archive and live file say where they begin.
    assert_eq!(header(&parts[0]), Header { inode: header(&path).inode, base: 0, cutting: 0 });
    assert_eq!(header(&parts[1]).base, fs::metadata(&parts[0]).unwrap().len());
    let base = written.len() as u64 - fs::metadata(&path).unwrap().len();
    assert_eq!((header(&path).base, header(&path).cutting), (base, 0));
    assert_eq!(entries(&path)[0].offset, header(&parts[1]).base);
    assert_eq!(logical_end(&path), written.len() as u64);
}

#[test]
fn a_file_larger_than_one_cut_becomes_one_archive() {
    let Some((folder, _)) = able() else { return };
    let path = folder.path().join("a.log");
    let mut file = appended(&path);
    let line = [&[b'z'; 1022][..], b"\r\n"].concat();
    let all = line.repeat(70 << 10);
    file.write_all(&all).unwrap();
    let mut log = Log::open(&path, None, &Units::default());
    let moved = log.rotate(u64::MAX, &nobody()).unwrap();
    assert!(moved > 64 << 20 && moved < all.len() as u64);
    let parts = parts(&path);
    assert_eq!(parts.len(), 3);
    assert_eq!(fs::metadata(&parts[0]).unwrap().len(), moved / 1024 * 1024);
    assert!(joined(&path) == all);
}

#[test]
fn what_others_do_to_a_file_is_told() {
    let Some((folder, _)) = able() else { return };
    let path = folder.path().join("a.log");
    let mut file = appended(&path);
    let mut log = Log::open(&path, None, &Units::default());
    file.write_all(&b"twelve bytes".repeat(1000)).unwrap();
    log.look(&nobody());
    log.rotate(u64::MAX, &nobody()).unwrap();
    fs::write(&path, "x").unwrap();
    let told = log.look(&nobody());
    assert!(told.len() == 1 && told[0].contains("was emptied, not by rsx"), "{told:?}");
    fs::rename(&path, folder.path().join("b.log")).unwrap();
    let told = log.look(&nobody());
    assert!(told.len() == 1 && told[0].contains("was moved or removed"), "{told:?}");
    assert_eq!(log.look(&nobody()), Vec::<String>::new());
    assert!(log.is_written().problem.is_some());
    // A new run opens a new file: what the old one has left over becomes an archive.
    drop(appended(&path));
    log.take();
    assert_eq!(log.is_written().problem, None);
    assert_eq!((log.base, header(&path).base), (0, 0));
    assert!(!folder.path().join(next_name("a.log")).exists());
}

#[test]
fn a_file_that_is_emptied_on_request_begins_anew() {
    let Some((folder, _)) = able() else { return };
    let path = folder.path().join("a.log");
    let mut file = appended(&path);
    let mut log = Log::open(&path, None, &Units::default());
    file.write_all(&b"some words\n".repeat(2000)).unwrap();
    log.rotate(u64::MAX, &nobody()).unwrap();
    let rest = fs::metadata(&path).unwrap().len();
    assert_eq!(log.flush().map(|file| file.bytes), Some(rest));
    file.write_all(b"new\n").unwrap();
    assert_eq!(log.look(&nobody()), Vec::<String>::new());
    assert_eq!(fs::read(&path).unwrap(), b"new\n");
    assert!(!folder.path().join(next_name("a.log")).exists());
}
