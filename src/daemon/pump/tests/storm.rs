//! A pump that is killed hundreds of times while programs write.

use std::io::BufReader;
use std::sync::atomic::Ordering::SeqCst;

use nix::fcntl::{FcntlArg, fcntl};

use super::*;
use crate::daemon::files::{archives, named};
use crate::logs::Packing;
use crate::spec::{Compression, Rotation};
use crate::sys::testing::{Forked, become_process, end_of, let_go_by, shell, with_output};

/// Makes [`storm_process`] a storm in this folder.
const FOLDER: &str = "RSX_TEST_STORM";

const KILLS: u64 = 300;

/// A program that writes numbered lines.
struct Lane {
    /// Its file; two write into one.
    log: &'static str,
    /// Set in all bytes of its lines, so that they can be told from those of another program in the same file.
    bit: u8,
    /// How long its lines are at most.
    line: u64,
    /// Into how many writes a line is cut.
    cuts: usize,
    /// How long it rests after a line.
    rest: Duration,
    /// The size of its pipe.
    pipe: i32,
    form: LogForm,
}

const RAW: LogForm = LogForm::Raw;

const LANES: [Lane; 7] = [
    Lane { log: "tiny", bit: 0, line: 4, cuts: 1, rest: Duration::ZERO, pipe: 65_536, form: RAW },
    Lane { log: "merged", bit: 0, line: 200, cuts: 2, rest: Duration::from_micros(20), pipe: 65_536, form: RAW },
    Lane { log: "merged", bit: 0x80, line: 200, cuts: 1, rest: Duration::from_micros(20), pipe: 4096, form: RAW },
    Lane { log: "big", bit: 0, line: 50_000, cuts: 3, rest: Duration::from_micros(500), pipe: 65_536, form: RAW },
    Lane { log: "huge", bit: 0, line: 600_000, cuts: 2, rest: Duration::from_millis(10), pipe: 1 << 20, form: RAW },
    Lane {
        log: "stamped",
        bit: 0,
        line: 300,
        cuts: 2,
        rest: Duration::from_micros(20),
        pipe: 65_536,
        form: LogForm::Stamped { date: None },
    },
    Lane {
        log: "json",
        bit: 0,
        line: 90_000,
        cuts: 3,
        rest: Duration::from_micros(500),
        pipe: 65_536,
        form: LogForm::Json { date: None },
    },
];

impl Lane {
    /// Those whose archives are looked into.
    fn rotate(&self) -> Option<Rotation> {
        let (size, compress) = match self.log {
            "tiny" => (16_384, Compression::Gzip),
            "merged" | "stamped" => (65_536, Compression::None),
            "big" => (1 << 20, Compression::None),
            _ => return None,
        };
        Some(Rotation { size: Some(size), every: None, keep: u32::MAX, total: None, compress })
    }

    /// All of its file, what was put away first.
    fn whole(&self, folder: &Path) -> Vec<u8> {
        let path = folder.join(self.log);
        let mut all = Vec::new();
        for archive in archives(&path).unwrap() {
            let file = File::open(named(&path, archive)).unwrap();
            match archive.packing {
                Packing::Gzip => flate2::read::GzDecoder::new(file).read_to_end(&mut all).unwrap(),
                Packing::Plain | Packing::Zstd => BufReader::new(file).read_to_end(&mut all).unwrap(),
            };
        }
        File::open(path).unwrap().read_to_end(&mut all).unwrap();
        all
    }

    fn text(&self, number: u64) -> Vec<u8> {
        let length = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) % self.line;
        let mut line = number.to_string().into_bytes();
        line.resize(line.len() + usize::try_from(length).unwrap(), b'a' + u8::try_from(number % 26).unwrap());
        line.iter_mut().for_each(|byte| *byte |= self.bit);
        line.push(b'\n');
        line
    }

    /// Writes lines until word 0 of the board is set; says in its own word how many.
    fn run(&self, mut pipe: File, board: &SharedMemory, index: usize) -> u8 {
        for number in 0.. {
            if board.words()[0].load(SeqCst) != 0 {
                break;
            }
            let text = self.text(number);
            for part in text.chunks(text.len().div_ceil(self.cuts)) {
                pipe.write_all(part).unwrap();
            }
            board.words()[1 + index].store(number + 1, SeqCst);
            if self.rest.is_zero() {
                std::thread::yield_now();
            } else {
                let_go_by(self.rest);
            }
        }
        0
    }

    /// Compares the log with what was written, byte by byte.
    #[track_caller]
    fn check(&self, folder: &Path, lines: u64) {
        let all = self.whole(folder);
        let shares = LANES.iter().filter(|lane| lane.log == self.log).count() > 1;
        let mut found = Vec::new();
        if shares || self.form != RAW {
            for line in all.split_inclusive(|byte| *byte == b'\n').filter(|line| line[0] & 0x80 == self.bit) {
                match &self.form {
                    LogForm::Raw => found.extend_from_slice(line),
                    LogForm::Stamped { .. } => found.extend_from_slice(&line["2026-03-02T15:04:05.067Z: ".len()..]),
                    LogForm::Json { .. } => {
                        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
                        found.extend_from_slice(line["message"].as_str().unwrap().as_bytes());
                        found.push(b'\n');
                    }
                }
            }
        }
        let is_whole = shares || self.form != RAW;
        let mut rest: Box<dyn Read> = if is_whole { Box::new(found.as_slice()) } else { Box::new(all.as_slice()) };
        let mut line = Vec::new();
        for number in 0..lines {
            let text = self.text(number);
            line.resize(text.len(), 0);
            rest.read_exact(&mut line).unwrap();
            assert!(line == text, "{}: line {number} of {lines} is another one", self.log);
        }
        assert_eq!(rest.read(&mut [0]).unwrap(), 0, "{}: there is more than {lines} lines", self.log);
    }
}

/// A pump in a process of its own, on all pipes; it ends with the last of them.
fn pump(folder: &Path, window: &Window, pipes: &[File]) -> u8 {
    let (reports, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let window = Some(window.as_fd().try_clone_to_owned().unwrap());
    let pump = Pump::start(reports.clone(), window, Files::start(reports).unwrap()).unwrap();
    for ((run, pipe), lane) in (0..).zip(pipes).zip(&LANES) {
        let path = folder.join(lane.log);
        let source = Source {
            run: RunId(run),
            stream: if run % 2 == 0 { Stream::Out } else { Stream::Error },
            pipe: pipe.try_clone().unwrap(),
            files: vec![LogOut { path: path.clone(), file: Some(open_log(&path).unwrap()) }],
            style: Arc::new(Style { rotate: lane.rotate(), ..(*style(lane.form.clone())).clone() }),
        };
        pump.adopt(source, 0);
    }
    for _ in pipes {
        inbox.blocking_recv().unwrap();
    }
    0
}

fn storm(folder: &Path) -> u8 {
    let board = SharedMemory::create("board", NonZeroUsize::new(4096).unwrap()).unwrap();
    let window = Window::new().unwrap();
    let (mut pipes, mut programs) = (Vec::new(), Vec::new());
    for (index, lane) in LANES.iter().enumerate() {
        let (ours, theirs) = output_pipe().unwrap();
        fcntl(&ours, FcntlArg::F_SETPIPE_SZ(lane.pipe)).unwrap();
        pipes.push(File::from(ours));
        programs.push(Forked::new(|| lane.run(theirs.try_clone().unwrap().into(), &board, index)));
    }
    let mut caught = 0;
    // On a busy machine a program may hardly have written by then.
    let is_idle = || (0..LANES.len()).any(|index| board.words()[1 + index].load(SeqCst) <= 10);
    for number in (0..20 * KILLS).take_while(|number| *number < KILLS || is_idle()) {
        let pump = Forked::new(|| pump(folder, &window, &pipes));
        // Golden steps: every part of the interval is met. Some live until archives are compressed, and where hardly
        // anything gets done all live longer.
        let life = 1000 + number * 6180 % 5000;
        let life = if number % 50 == 49 { life + 150_000 } else { life * (1 + number / KILLS) };
        let_go_by(Duration::from_micros(life));
        pump.kill();
        caught += usize::from(window.unfinished().unwrap().is_some());
    }
    board.words()[0].store(1, SeqCst);
    let last = Forked::new(|| pump(folder, &window, &pipes));
    assert!(programs.into_iter().all(|program| program.code() == 0));
    assert_eq!(last.code(), 0);
    for (index, lane) in LANES.iter().enumerate() {
        let lines = board.words()[1 + index].load(SeqCst);
        assert!(lines > 10, "{}: {lines} lines only", lane.log);
        lane.check(folder, lines);
    }
    println!("{caught} of {KILLS} kills met bytes that only the window had");
    assert!(caught > 0);
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
    let folder = tempfile::tempdir().unwrap();
    let mut launch = shell("");
    launch.program = std::env::current_exe().unwrap();
    let name = "daemon::pump::tests::storm::storm_process";
    launch.argv = ["rsx", name, "--exact", "--nocapture", "--test-threads=1"].map(Into::into).into();
    launch.env.push((FOLDER.into(), folder.path().into()));
    let (mut launch, mut output) = with_output(launch);
    launch.stderr = launch.stdout.try_clone().unwrap();
    let process = crate::sys::spawn::spawn(&launch).unwrap();
    drop(launch);
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    println!("{text}");
    assert_eq!(end_of(&process), crate::spec::ExitStatus::Code(0), "{text}");
}
