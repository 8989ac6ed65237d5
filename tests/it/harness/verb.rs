//! One run of the binary: to its end within a limit, or line by line.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{LIMIT, Watched};

/// How a verb ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// Its exit code; 128 + signal as shells count.
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// What it printed, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// All of these are on stderr.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) -> &Done {
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not on stderr:\n{}", self.err);
        }
        self
    }

    /// All of these are on stdout.
    #[track_caller]
    pub(crate) fn prints(&self, words: &[&str]) -> &Done {
        for word in words {
            assert!(self.out.contains(word), "`{word}` is not on stdout:\n{}", self.out);
        }
        self
    }
}

/// Held shared while a process is started, and alone while an executable file is written: a process between fork and
/// exec holds all our descriptors, and a file that somebody holds open for writing cannot be executed (execve(2),
/// ETXTBSY).
static STARTING: RwLock<()> = RwLock::new(());

/// Starts a process. Every start of these tests goes through here.
#[track_caller]
pub(crate) fn spawn(command: &mut Command) -> Child {
    let _shared = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Writes what will be executed.
pub(super) fn write_alone(write: impl FnOnce()) {
    let _alone = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    write();
}

/// Runs a command to its end. `shown` is what a failure calls it.
#[track_caller]
pub(super) fn run(mut command: Command, shown: &str, input: &[u8], limit: Duration) -> Done {
    let began = Instant::now();
    let mut child = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let watched = Watched::new(child.id());
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
    // A verb need not read its input; it may even end before it was written.
    std::thread::spawn(move || drop(stdin.write_all(&input)));
    let (out, err) = (reader(child.stdout.take().unwrap()), reader(child.stderr.take().unwrap()));
    let is_in_time = watched.has_ended_within(limit);
    if !is_in_time {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    let collect = |stream: Receiver<Vec<u8>>, name: &str| match stream.recv_timeout(LIMIT) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => panic!("`{shown}` has ended, and something else holds its {name}"),
    };
    let (out, err) = (collect(out, "stdout"), collect(err, "stderr"));
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
    // Shown by the test harness if this test fails.
    eprintln!("$ {shown}    [{code}, {} ms]\n{out}{err}", began.elapsed().as_millis());
    assert!(is_in_time, "`{shown}` did not end within {limit:?}");
    Done { code, out, err }
}

fn reader(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

/// A verb that goes on, read line by line. Ended when it is dropped.
pub(crate) struct Lines {
    shown: String,
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    /// How many of `seen` a wait has passed.
    passed: usize,
}

impl Lines {
    #[track_caller]
    pub(crate) fn of(mut command: Command, shown: &str) -> Lines {
        let mut child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
        let (sender, lines) = channel();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                let mut line = Vec::new();
                while stream.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                    let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
                    if sender.send(text).is_err() {
                        return;
                    }
                    line.clear();
                }
            });
        }
        eprintln!("$ {shown} &");
        Lines { shown: shown.to_owned(), child, lines, seen: Vec::new(), passed: 0 }
    }

    /// Waits for a line; the next wait goes on behind it.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, mut is_it: impl FnMut(&str) -> bool) -> String {
        let until = Instant::now() + LIMIT;
        loop {
            while let Some(line) = self.seen.get(self.passed) {
                self.passed += 1;
                if is_it(line) {
                    return line.clone();
                }
            }
            self.read_until(until, what);
        }
    }

    /// Waits until all lines so far are as they should be. Passes none of them.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, is_it: impl Fn(&[String]) -> bool) {
        let until = Instant::now() + LIMIT;
        while !is_it(&self.seen) {
            self.read_until(until, what);
        }
    }

    /// Waits until it has ended by itself; its exit code.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> i32 {
        assert!(
            Watched::new(self.child.id()).has_ended_within(LIMIT),
            "`{}` goes on:\n{}",
            self.shown,
            self.seen.join("\n")
        );
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    /// Everything that a wait has read so far.
    pub(crate) fn seen(&self) -> &[String] {
        &self.seen
    }

    #[track_caller]
    fn read_until(&mut self, until: Instant, what: &str) {
        let why = match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => return self.seen.push(line),
            Err(RecvTimeoutError::Timeout) => format!("did not come within {LIMIT:?}"),
            Err(RecvTimeoutError::Disconnected) => "never came".to_owned(),
        };
        panic!("`{}`: {what} {why}. What came:\n{}", self.shown, self.seen.join("\n"));
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
