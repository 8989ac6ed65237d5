use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use super::*;
use crate::logs::times::{Header, Note, Times};
use crate::logs::{Archive, Packing, Pattern, times_name};
use crate::spec::Stream;

/// A writer as the daemon is one: an index beside the file, rotation by rename, compression later.
struct Writer {
    path: PathBuf,
    file: File,
    index: File,
    times: Times,
    newest: Option<Archive>,
    length: u64,
}

const NOON: u64 = 1_779_969_600_000;

impl Writer {
    fn new(path: PathBuf) -> Writer {
        let file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let name = times_name(path.file_name().unwrap().to_str().unwrap());
        let mut index = File::create(path.with_file_name(name)).unwrap();
        let inode = file.metadata().unwrap().ino();
        index.write_all(&Header { inode, base: 0, cutting: 0 }.encode()).unwrap();
        Writer { path, file, index, times: Times::default(), newest: None, length: 0 }
    }

    fn write(&mut self, text: &str, moment: u64) {
        match self.times.note(self.length, moment) {
            Note::Append(bytes) => self.index.write_all(&bytes).unwrap(),
            Note::Nothing => {}
            Note::Anew(_) => panic!("offsets ascend"),
        }
        self.file.write_all(text.as_bytes()).unwrap();
        self.length += text.len() as u64;
    }

    fn at(&self, archive: Archive) -> PathBuf {
        self.path.with_file_name(archive.name(self.path.file_name().unwrap().to_str().unwrap()))
    }

    fn rotate(&mut self, moment: u64) -> Archive {
        let archive = Archive::next(moment, self.newest);
        let place = self.at(archive);
        let times = |path: &Path| path.with_file_name(times_name(path.file_name().unwrap().to_str().unwrap()));
        fs::rename(&self.path, &place).unwrap();
        fs::rename(times(&self.path), times(&place)).unwrap();
        *self = Writer { newest: Some(archive), ..Writer::new(self.path.clone()) };
        archive
    }

    fn compress(&self, archive: Archive) {
        let plain = self.at(archive);
        let packed = self.at(Archive { packing: Packing::Gzip, ..archive });
        let part = packed.with_extension("part");
        let mut encoder = flate2::write::GzEncoder::new(File::create(&part).unwrap(), flate2::Compression::fast());
        encoder.write_all(&fs::read(&plain).unwrap()).unwrap();
        encoder.finish().unwrap();
        fs::rename(part, packed).unwrap();
        fs::remove_file(plain).unwrap();
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn tail_of(path: &Path, wish: Wish) -> Tail {
    let source = Source { path: path.to_owned(), app: "a".into(), id: Some(0), stream: Stream::Out };
    Tail::new(source, wish)
}

fn tail(path: &Path) -> Tail {
    tail_of(path, Wish::default())
}

#[track_caller]
fn lines(tail: &mut Tail) -> Vec<String> {
    let mut lines = Vec::new();
    let mut budget = usize::MAX;
    while let Ready::Line(_) = tail.ready(&mut budget).unwrap() {
        lines.extend(tail.hand_out(|_, _, line, _| String::from_utf8_lossy(line).into_owned()));
    }
    assert_eq!(tail.trouble(), None);
    lines
}

#[track_caller]
fn last(tail: &mut Tail, count: u64) -> Vec<String> {
    tail.open(Begin::Last(count), Then::Stream).unwrap();
    let history = lines(tail);
    tail.go_live();
    history
}

#[test]
fn the_last_lines_of_a_real_file_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a-out.log");
    let text: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
    fs::write(&path, &text).unwrap();
    assert_eq!(last(&mut tail(&path), 3), ["line 49997", "line 49998", "line 49999"]);
}

#[test]
fn history_and_stream_join_without_gap_or_double() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a-out.log");
    append(&path, "one\ntwo\nthr");
    let mut tail = tail(&path);
    assert_eq!(last(&mut tail, 2), ["two"]);
    append(&path, "ee\nfour\n");
    assert_eq!(lines(&mut tail), ["three", "four"]);
    assert_eq!(lines(&mut tail), Vec::<String>::new());
}

#[test]
fn a_last_line_without_end_is_shown_when_nothing_follows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a-out.log");
    append(&path, "one\ntwo");
    let mut tail = tail(&path);
    tail.open(Begin::Last(1), Then::Nothing).unwrap();
    assert_eq!(lines(&mut tail), ["two"]);
}

#[test]
fn a_file_that_is_emptied_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a-out.log");
    append(&path, "old\npart");
    let mut tail = tail(&path);
    assert_eq!(last(&mut tail, 9), ["old"]);
    OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    append(&path, "new\n");
    assert_eq!(lines(&mut tail), ["new"]);
}

#[test]
fn a_file_that_is_emptied_and_longer_than_before_starts_again_where_it_has_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(dir.path().join("a-out.log"));
    writer.write("old\n", NOON);
    let mut tail = tail(&writer.path);
    assert_eq!(last(&mut tail, 9), ["old"]);
    let inode = writer.file.metadata().unwrap().ino();
    std::os::unix::fs::FileExt::write_all_at(&writer.index, &Header { inode, base: 4, cutting: 0 }.encode(), 0)
        .unwrap();
    writer.file.set_len(0).unwrap();
    writer.write("new and longer\n", NOON + 1_000);
    assert_eq!(lines(&mut tail), ["new and longer"]);
}

#[test]
fn a_file_that_strangers_renamed_is_read_to_its_end_before_its_successor() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a-out.log");
    append(&path, "one\n");
    let mut tail = tail(&path);
    assert_eq!(last(&mut tail, 9), ["one"]);
    fs::rename(&path, dir.path().join("a-out.log.1")).unwrap();
    append(&dir.path().join("a-out.log.1"), "last of the old");
    append(&path, "first of the new\n");
    assert_eq!(lines(&mut tail), ["last of the old", "first of the new"]);
}

#[test]
fn a_file_that_comes_later_is_read_from_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a-out.log");
    let mut tail = tail(&path);
    assert_eq!(last(&mut tail, 1), Vec::<String>::new());
    append(&path, "one\ntwo\n");
    assert_eq!(lines(&mut tail), ["one", "two"]);
    fs::remove_file(&path).unwrap();
    assert_eq!(lines(&mut tail), Vec::<String>::new());
    append(&path, "again\n");
    assert_eq!(lines(&mut tail), ["again"]);
}

#[test]
fn a_busy_file_ends_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a-out.log");
    fs::write(&path, vec![b'x'; 3 << 20]).unwrap();
    let mut tail = tail(&path);
    tail.open(Begin::All, Then::Stream).unwrap();
    assert_eq!(tail.ready(&mut (1 << 20)).unwrap(), Ready::Later);
    assert_eq!(tail.ready(&mut usize::MAX.clone()).unwrap(), Ready::Empty);
}

#[test]
fn the_last_lines_reach_back_into_archives() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(dir.path().join("a-out.log"));
    writer.write("one\ntwo\nth", NOON);
    let first = writer.rotate(NOON + 1_000);
    writer.write("ree\nfour\n", NOON + 2_000);
    writer.rotate(NOON + 3_000);
    writer.write("five\n", NOON + 4_000);
    for _ in 0..2 {
        for (count, expected) in
            [(1, &["five"][..]), (2, &["four", "five"]), (9, &["one", "two", "three", "four", "five"])]
        {
            assert_eq!(last(&mut tail(&writer.path), count), expected);
        }
        if writer.at(first).exists() {
            writer.compress(first);
        }
    }
    let mut wish = Wish::default();
    wish.grep = Some(Pattern::new("o").unwrap());
    assert_eq!(last(&mut tail_of(&writer.path, wish), 2), ["two", "four"]);
}

#[test]
fn a_reader_that_stood_still_finds_every_line_of_rotated_and_compressed_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(dir.path().join("a-out.log"));
    let mut tail = tail(&writer.path);
    let mut seen = last(&mut tail, 5);
    let mut expected = Vec::new();
    for n in 0..200 {
        // Lines that a rotation cuts in two are whole again.
        writer.write(&format!("line {n}\nhalf"), NOON + n * 50);
        expected.push(if n == 0 { format!("line {n}") } else { format!("halfline {n}") });
        if n % 3 == 0 {
            let archive = writer.rotate(NOON + n * 50);
            if n % 2 == 0 {
                writer.compress(archive);
            }
        }
        if n % 7 == 0 {
            seen.extend(lines(&mut tail));
        }
    }
    seen.extend(lines(&mut tail));
    assert_eq!(seen, expected);
}

#[test]
fn what_retention_has_deleted_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(dir.path().join("a-out.log"));
    writer.write("seen\n", NOON);
    let mut tail = tail(&writer.path);
    assert_eq!(last(&mut tail, 5), ["seen"]);
    writer.write("still open\n", NOON + 1);
    let first = writer.rotate(NOON + 100);
    writer.write("lost\n", NOON + 101);
    let second = writer.rotate(NOON + 200);
    writer.write("kept\n", NOON + 201);
    writer.rotate(NOON + 300);
    writer.write("live\n", NOON + 301);
    fs::remove_file(writer.at(first)).unwrap();
    fs::remove_file(writer.at(second)).unwrap();
    assert_eq!(lines(&mut tail), ["still open", "kept", "live"]);
}

#[test]
fn lines_since_a_moment_are_found_by_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(dir.path().join("a-out.log"));
    for n in 0..30 {
        writer.write(&format!("line {n}\n"), NOON + n * 1_000);
        if n % 10 == 9 {
            let archive = writer.rotate(NOON + n * 1_000);
            writer.compress(archive);
        }
    }
    for (from, to) in [(5, 8), (10, 29), (19, 20), (29, 29)] {
        let text =
            |n: u64| chrono::DateTime::from_timestamp_millis((NOON + n * 1_000).cast_signed()).unwrap().to_rfc3339();
        let args = crate::cli::args::LogsArgs { since: Some(text(from)), until: Some(text(to)), ..Default::default() };
        let mut tail = tail_of(&writer.path, Wish::read(&args, NOON).unwrap());
        tail.open(Begin::All, Then::Nothing).unwrap();
        let expected: Vec<String> = (from..=to).map(|n| format!("line {n}")).collect();
        assert_eq!(lines(&mut tail), expected);
    }
}

#[test]
fn a_head_that_was_cut_off_before_it_was_read_is_found_in_the_archive() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(dir.path().join("a-out.log"));
    writer.write("one\n", NOON);
    let mut tail = tail(&writer.path);
    assert_eq!(last(&mut tail, 5), ["one"]);
    let inode = writer.file.metadata().unwrap().ino();
    let mut base = 0;
    let mut content = String::from("one\n");
    for n in 0..3 {
        content += &format!("line {n}\nhalf ");
        // As a cut of the head leaves it: the archive has what was cut, the file the rest, its name and inode.
        let archive = Archive::next(NOON, writer.newest);
        writer.newest = Some(archive);
        let cut = content.len() - 3;
        fs::write(writer.at(archive), &content[..cut]).unwrap();
        let index = Header { inode, base, cutting: 0 }.encode();
        fs::write(crate::cli::logs::index::path_of(&writer.at(archive)).unwrap(), index).unwrap();
        base += cut as u64;
        content.drain(..cut);
        std::os::unix::fs::FileExt::write_all_at(&writer.index, &Header { inode, base, cutting: 0 }.encode(), 0)
            .unwrap();
        fs::write(&writer.path, &content).unwrap();
    }
    append(&writer.path, "end\n");
    assert_eq!(lines(&mut tail), ["line 0", "half line 1", "half line 2", "half end"]);
}

#[test]
fn a_damaged_archive_is_told_of_and_what_is_behind_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(dir.path().join("a-out.log"));
    writer.write(&(0..9_999).map(|n| format!("line {n}\n")).collect::<String>(), NOON);
    let archive = writer.rotate(NOON);
    writer.compress(archive);
    writer.write("live\n", NOON + 1);
    let packed = writer.at(Archive { packing: Packing::Gzip, ..archive });
    let bytes = fs::read(&packed).unwrap();
    fs::write(packed, &bytes[..bytes.len() / 2]).unwrap();
    let mut tail = tail(&writer.path);
    tail.open(Begin::All, Then::Stream).unwrap();
    let (mut seen, mut budget) = (Vec::new(), usize::MAX);
    while let Ready::Line(_) = tail.ready(&mut budget).unwrap() {
        seen.extend(tail.hand_out(|_, _, line, _| line.to_vec()));
    }
    assert!(tail.trouble().is_some_and(|trouble| trouble.contains("damaged")));
    assert_eq!((seen.first().unwrap().as_slice(), seen.last().unwrap().as_slice()), (&b"line 0"[..], &b"live"[..]));
}
