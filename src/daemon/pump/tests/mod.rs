//! What a successor finds in the window, state by state, and what it makes of it.

mod storm;

use std::fs;
use std::io::{Read, Write, pipe};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::daemon::files::Files;
use crate::daemon::pump::finish::{Finished, finish};
use crate::daemon::pump::window::{Buffer, LENGTH, Refused};
use crate::daemon::spawner::open_log;
use crate::logs::{FileMark, Span, Target};
use crate::sys::fds::output_pipe;
use crate::sys::pipes;
use crate::sys::shared::SharedMemory;
use crate::sys::testing::LIMIT;

/// A pump that lives up to some point of its work, its pipe and its log.
struct Scene {
    folder: tempfile::TempDir,
    pipe: File,
    program: Option<File>,
    window: Window,
}

impl Scene {
    /// With this in the log.
    fn new(log: &[u8]) -> Scene {
        let (pipe, program) = output_pipe().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("app.log"), log).unwrap();
        Scene { folder, pipe: pipe.into(), program: Some(program.into()), window: Window::new().unwrap() }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("app.log")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.log()).unwrap()
    }

    fn mark(&self) -> FileMark {
        let found = fs::metadata(self.log()).unwrap();
        FileMark { device: found.dev(), inode: found.ino(), size: found.len() }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.program.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// What the program has written, read on its way to the log.
    fn read(&mut self, bytes: &[u8]) {
        self.write(bytes);
        let target = self.target();
        assert_eq!(self.window.read(bytes.len(), &self.pipe, target).unwrap(), bytes.len());
    }

    fn target(&self) -> Target<'static> {
        Target { path: self.log().into(), mark: Some(self.mark()) }
    }

    /// A successor takes over; what it has done, if anything.
    fn finish(&self) -> Option<Finished> {
        finish(&mut successor(&self.window)).unwrap().pop()
    }
}

fn style(form: LogForm) -> Arc<Style> {
    Arc::new(Style { app: "app".into(), instance: 0, form, driver: LogDriver::Pipe, rotate: None, is_shared: false })
}

fn successor(window: &Window) -> Window {
    Window::adopt(window.as_fd().try_clone_to_owned().unwrap()).unwrap()
}

#[test]
fn nothing_is_done_for_a_pump_that_was_idle() {
    let mut scene = Scene::new(b"old\n");
    assert!(scene.finish().is_none());
    scene.read(b"one\n");
    scene.window.is_done(Buffer::COMMON, Span::default());
    assert!(scene.finish().is_none());
    assert_eq!(scene.text(), "old\n");
}

#[test]
fn what_was_not_read_yet_stays_in_the_pipe() {
    for bytes in [&b"x"[..], b"fifteen bytes.\n", b"sixteen bytes..\n", &[b'x'; 60_000]] {
        let mut scene = Scene::new(b"old\n");
        scene.write(bytes);
        let (target, length) = (scene.target(), bytes.len());
        scene.window.prepare(length, &scene.pipe, target).unwrap();
        assert!(scene.finish().is_none(), "{length}");
        assert_eq!(scene.text(), "old\n");
        assert_eq!(pipes::waiting(&scene.pipe).unwrap(), length);
    }
}

#[test]
fn what_was_read_is_written_by_the_successor_once() {
    for bytes in [&b"x"[..], b"fifteen bytes.\n", b"sixteen bytes..\n", &[b'x'; 60_000]] {
        for written in [0, bytes.len() / 2, bytes.len()] {
            let mut scene = Scene::new(b"old\n");
            scene.read(bytes);
            open_log(&scene.log()).unwrap().write_all(&bytes[..written]).unwrap();
            let Some(Finished::Appended { path, bytes: count }) = scene.finish() else { panic!("not finished") };
            assert_eq!((path, count), (scene.log(), bytes.len() - written));
            assert_eq!(scene.text().as_bytes(), [b"old\n", bytes].concat());
            assert!(scene.finish().is_none());
        }
    }
}

#[test]
fn every_single_byte_can_be_told_from_one_that_was_not_read() {
    // One of them is what the window's own random sentinel begins with.
    let mut scene = Scene::new(b"");
    for byte in 0..=u8::MAX {
        scene.read(&[byte]);
        assert!(matches!(scene.finish(), Some(Finished::Appended { bytes: 1, .. })), "{byte}");
    }
    assert_eq!(fs::read(scene.log()).unwrap(), (0..=u8::MAX).collect::<Vec<u8>>());
}

#[test]
fn a_log_that_was_moved_away_is_finished_where_it_is() {
    let mut scene = Scene::new(b"old\n");
    scene.read(b"one\ntwo\n");
    open_log(&scene.log()).unwrap().write_all(b"one").unwrap();
    let moved = scene.folder.path().join("app.log.1");
    fs::rename(scene.log(), &moved).unwrap();
    fs::write(scene.log(), "new\n").unwrap();
    assert!(matches!(scene.finish(), Some(Finished::Appended { bytes: 5, .. })));
    assert_eq!((fs::read_to_string(&moved).unwrap().as_str(), scene.text().as_str()), ("old\none\ntwo\n", "new\n"));
}

#[test]
fn what_was_left_by_a_death_within_a_rotation_comes_into_the_next_file() {
    for (written, next) in [("one\n", None), ("one\n", Some("")), ("one\ntwo\n", None)] {
        let mut scene = Scene::new(b"old\n");
        scene.read(b"one\ntwo\n");
        open_log(&scene.log()).unwrap().write_all(written.as_bytes()).unwrap();
        let archive = scene.folder.path().join("app.log.20260528T140307.123Z");
        fs::rename(scene.log(), &archive).unwrap();
        next.iter().for_each(|text| fs::write(scene.log(), text).unwrap());
        let left = "one\ntwo\n".len() - written.len();
        assert!(matches!(scene.finish(), Some(Finished::Appended { bytes, .. }) if bytes == left));
        assert_eq!(fs::read_to_string(&archive).unwrap(), format!("old\n{written}"));
        assert_eq!(fs::read_to_string(scene.log()).unwrap_or_default(), &"two\n"[..left]);
        assert!(scene.finish().is_none());
    }
}

#[test]
fn a_log_that_somebody_else_has_changed_gets_everything_rather_than_too_little() {
    let changes: [fn(&Path); 3] = [
        |log| fs::write(log, "").unwrap(),
        |log| fs::remove_file(log).unwrap(),
        |log| open_log(log).unwrap().write_all(b"one and a half\n").unwrap(),
    ];
    for (change, before) in changes.into_iter().zip(["", "", "old\none and a half\n"]) {
        let mut scene = Scene::new(b"old\n");
        scene.read(b"one\ntwo\n");
        change(&scene.log());
        assert!(matches!(scene.finish(), Some(Finished::Doubtful { bytes: 8, .. })), "{before}");
        assert_eq!(scene.text(), format!("{before}one\ntwo\n"));
    }
}

#[test]
fn a_log_that_cannot_be_opened_is_told_of() {
    let mut scene = Scene::new(b"");
    scene.read(b"one\n");
    fs::remove_file(scene.log()).unwrap();
    fs::create_dir(scene.log()).unwrap();
    assert!(matches!(scene.finish(), Some(Finished::Lost { .. })));
    assert!(scene.finish().is_none());
}

#[test]
fn a_write_to_a_fifo_is_not_repeated_but_one_that_never_began_is_made() {
    for begun in [false, true] {
        let mut scene = Scene::new(b"");
        let path = scene.folder.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut reader = File::options().read(true).write(true).open(&path).unwrap();
        scene.write(b"one\n");
        let target = Target { path: path.clone().into(), mark: None };
        assert_eq!(scene.window.read(4, &scene.pipe, target).unwrap(), 4);
        if begun {
            scene.window.begins(0);
            assert!(matches!(scene.finish(), Some(Finished::Untold { bytes: 4, .. })));
            assert_eq!(pipes::waiting(&reader).unwrap(), 0);
        } else {
            assert!(matches!(scene.finish(), Some(Finished::Appended { bytes: 4, .. })));
            let mut text = [0; 4];
            reader.read_exact(&mut text).unwrap();
            assert_eq!(&text, b"one\n");
        }
    }
}

#[test]
fn fewer_bytes_than_the_pipe_said_are_on_record_as_so_many() {
    // What a program does that reads from its own output.
    for (said, there) in [(10, 3), (40, 30), (40, 3)] {
        let mut scene = Scene::new(b"");
        let target = scene.target();
        scene.write(&vec![b'x'; there]);
        assert_eq!(scene.window.read(said, &scene.pipe, target).unwrap(), there);
        assert!(matches!(scene.finish(), Some(Finished::Appended { bytes, .. }) if bytes == there));
        assert_eq!(scene.text(), "x".repeat(there));
    }
    // Nothing at all, and the end.
    let mut scene = Scene::new(b"");
    let target = scene.target();
    let nothing = scene.window.read(1, &scene.pipe, target.clone()).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    assert!(scene.finish().is_none());
    scene.program = None;
    assert_eq!(scene.window.read(1, &scene.pipe, target).unwrap(), 0);
    assert!(scene.finish().is_none());
}

#[test]
fn a_foreign_or_torn_window_is_refused() {
    let refused = |file: OwnedFd| Window::adopt(file).unwrap_err();
    let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().unwrap();
    let length = LENGTH;
    let foreign = SharedMemory::create("t", length).unwrap();
    assert!(matches!(refused(copy(foreign.as_fd())), Refused::Foreign));
    assert!(matches!(refused(pipe().unwrap().0.into()), Refused::Memory(_)));
    let mut scene = Scene::new(b"");
    scene.read(b"one\n");
    let memory = SharedMemory::adopt(copy(scene.window.as_fd()), length).unwrap();
    memory.words()[514].fetch_add(1, Relaxed);
    assert!(matches!(refused(copy(scene.window.as_fd())), Refused::Torn(_)));
    memory.words()[514].fetch_sub(1, Relaxed);
    assert!(matches!(scene.finish(), Some(Finished::Appended { bytes: 4, .. })));
}

/// Starts a pump with this window, lets it adopt the scene's pipe as standard error of run 1, and lets that end.
fn adopted(mut scene: Scene, since: u64, window: Option<OwnedFd>) -> (String, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (reports, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let pump = Pump::start(reports.clone(), window, Files::start(reports).unwrap()).unwrap();
    let path = scene.log();
    let files = vec![LogOut { path: path.clone(), file: Some(open_log(&path).unwrap()) }];
    let pipe = scene.pipe.try_clone().unwrap();
    let style = style(LogForm::Raw);
    pump.adopt(Source { run: RunId(1), stream: Stream::Error, pipe, files, style }, since);
    scene.program = None;
    runtime.block_on(async {
        let report = tokio::time::timeout(LIMIT, inbox.recv()).await.unwrap().unwrap();
        assert!(matches!(report, Report::Closed { run: RunId(1) }));
        let tail = pump.tail(RunId(1), LIMIT).await;
        pump.finish(LIMIT).await;
        (scene.text(), tail)
    })
}

#[test]
fn the_last_words_of_an_adopted_run_are_its_own_ones() {
    for (since, expected) in [(8, &["early", "between", "late"][..]), (0, &["earlier", "early", "between", "late"])] {
        let mut scene = Scene::new(b"earlier\nearly\n");
        scene.read(b"between\n");
        scene.write(b"late\n");
        let window = scene.window.as_fd().try_clone_to_owned().unwrap();
        let (text, tail) = adopted(scene, since, Some(window));
        assert_eq!(
            (text.as_str(), tail),
            ("earlier\nearly\nbetween\nlate\n", expected.iter().map(|s| (*s).into()).collect())
        );
    }
}

#[test]
fn a_pump_goes_on_without_a_window_that_it_refuses() {
    let mut scene = Scene::new(b"");
    scene.write(b"one\n");
    let (text, tail) = adopted(scene, 0, Some(pipe().unwrap().0.into()));
    assert_eq!((text.as_str(), tail.as_slice()), ("one\n", &["one".to_owned()][..]));
}

#[test]
fn what_an_earlier_run_has_left_comes_before_the_first_line_of_a_later_one() {
    // Whether the earlier one has ended does not matter, nor whether its line has.
    for has_ended in [true, false] {
        let mut scene = Scene::new(b"run 1 beg");
        scene.write(b"un\n");
        scene.write(&b"run 1 left\n".repeat(3_000));
        let (pipe, program) = output_pipe().unwrap();
        let mut later = File::from(program);
        later.write_all(b"run 2\n").unwrap();
        let mut earlier = scene.program.take();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (reports, _inbox) = tokio::sync::mpsc::unbounded_channel();
        let window = Some(scene.window.as_fd().try_clone_to_owned().unwrap());
        let pump = Pump::start(reports.clone(), window, Files::start(reports).unwrap()).unwrap();
        if has_ended {
            earlier = None;
        }
        for (run, pipe) in [(1, scene.pipe.try_clone().unwrap()), (2, File::from(pipe))] {
            let file = Some(open_log(&scene.log()).unwrap());
            let files = vec![LogOut { path: scene.log(), file }];
            let style = style(LogForm::Raw);
            pump.adopt(Source { run: RunId(run), stream: Stream::Out, pipe, files, style }, 0);
        }
        runtime.block_on(pump.settle(LIMIT));
        let mut expected = "run 1 begun\n".to_owned() + &"run 1 left\n".repeat(3_000) + "run 2\n";
        assert_eq!(scene.text(), expected);
        // Neither comes into the other's line.
        if let Some(earlier) = &mut earlier {
            earlier.write_all(b"run 1 go").unwrap();
            runtime.block_on(pump.settle(LIMIT));
            later.write_all(b"run 2 too\n").unwrap();
            runtime.block_on(pump.settle(LIMIT));
            earlier.write_all(b"es on\n").unwrap();
            runtime.block_on(pump.settle(LIMIT));
            expected += "run 2 too\nrun 1 goes on\n";
            assert_eq!(scene.text(), expected);
        }
        drop((earlier, later));
        runtime.block_on(pump.finish(LIMIT));
    }
}
