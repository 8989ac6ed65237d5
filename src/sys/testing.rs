//! Real processes for the tests of this layer and of the guardian.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::{ForkResult, Pid};

use crate::spec::ExitStatus;
use crate::sys::process::{PidFd, Process};
use crate::sys::spawn::{Launch, spawn};

/// No test waits longer for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// `sh -c SCRIPT` in `/`, with a small environment and /dev/null everywhere.
pub(crate) fn shell(script: &str) -> Launch {
    let null = || OwnedFd::from(File::options().read(true).write(true).open("/dev/null").unwrap());
    Launch {
        program: PathBuf::from("/bin/sh"),
        argv: ["sh", "-c", script].map(Into::into).into(),
        env: vec![("PATH".into(), std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()))],
        cwd: PathBuf::from("/"),
        stdin: null(),
        stdout: null(),
        stderr: null(),
        nofile: None,
        umask: None,
        oom_score_adj: None,
        keep: Vec::new(),
        listen: Vec::new(),
        watchdog_pid: false,
        birth: None,
    }
}

/// Whether a program is there; a test without it is skipped, but not where everything has to be tested.
#[track_caller]
pub(crate) fn requires(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !is_there {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "`{program}` is missing, and this is CI");
        // Past the capture of the test harness, or nobody would read it.
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        let _ = writeln!(std::io::stderr().lock(), "skipped {name}: `{program}` is not installed");
    }
    is_there
}

/// Connects standard output; the reader sees the end when the last writer is gone.
pub(crate) fn with_output(mut launch: Launch) -> (Launch, File) {
    let (reader, writer) = std::io::pipe().unwrap();
    launch.stdout = writer.into();
    (launch, File::from(OwnedFd::from(reader)))
}

/// Runs it to its end.
#[track_caller]
pub(crate) fn run(launch: Launch) -> (ExitStatus, String) {
    let (launch, mut reader) = with_output(launch);
    let process = spawn(&launch).unwrap();
    drop(launch);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    (end_of(&process), text)
}

/// Waits for the end and reaps.
#[track_caller]
pub(crate) fn end_of(process: &Process) -> ExitStatus {
    assert!(process.has_ended_within(LIMIT).unwrap(), "it did not end in time");
    let seen = process.try_status().unwrap().unwrap();
    assert_eq!(process.reap().unwrap(), Some(seen));
    seen
}

/// Runs this on the only thread of a process of its own, and ends with its exit code: a test has a thread, and what it
/// does to signals would not hold for the others. A panic is exit code 101: it would end a thread, and with the last one
/// of a process its code is 0.
pub(crate) fn become_process(main: impl FnOnce() -> u8) -> ! {
    // SAFETY: the other threads of this process, which are not copied, wait for this test and hold no lock.
    match unsafe { nix::unistd::fork() }.unwrap() {
        ForkResult::Child => std::process::exit(code_of(main)),
        ForkResult::Parent { child } => match nix::sys::wait::waitpid(child, None).unwrap() {
            WaitStatus::Exited(_, code) => std::process::exit(code),
            other => panic!("it did not exit: {other:?}"),
        },
    }
}

fn code_of(main: impl FnOnce() -> u8) -> i32 {
    catch_unwind(AssertUnwindSafe(main)).unwrap_or(101).into()
}

/// A copy of this process, to be made by one that has a single thread. It does not outlive us.
#[derive(Debug)]
pub(crate) struct Forked(Pid);

impl Forked {
    /// Runs this in a copy, which ends with its exit code, or 101 if it panics.
    pub(crate) fn new(main: impl FnOnce() -> u8) -> Forked {
        // SAFETY: by the contract of this function there is no other thread that could hold a lock.
        match unsafe { nix::unistd::fork() }.unwrap() {
            ForkResult::Child => {
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
                std::process::exit(code_of(main))
            }
            ForkResult::Parent { child } => Forked(child),
        }
    }

    /// kill -9, and its end.
    #[track_caller]
    pub(crate) fn kill(self) {
        nix::sys::signal::kill(self.0, Signal::SIGKILL).unwrap();
        let end = nix::sys::wait::waitpid(self.0, None).unwrap();
        assert!(matches!(end, WaitStatus::Signaled(_, Signal::SIGKILL, _)), "{end:?}");
    }

    /// Its exit code.
    #[track_caller]
    pub(crate) fn code(self) -> i32 {
        match nix::sys::wait::waitpid(self.0, None).unwrap() {
            WaitStatus::Exited(_, code) => code,
            other => panic!("it did not exit: {other:?}"),
        }
    }
}

/// Lets this much time go by: for tests whose subject is the moment at which something happens.
pub(crate) fn let_go_by(time: Duration) {
    // Interrupted by a signal it is shorter, and just another moment.
    let _ = nix::poll::ppoll(&mut [], Some(time.into()), None);
}

/// The process whose number this text is.
#[track_caller]
pub(crate) fn process_of(text: &str) -> PidFd {
    PidFd::open(text.trim().parse().unwrap()).unwrap()
}

/// Reads, byte by byte, up to this line.
#[track_caller]
pub(crate) fn until_line(output: &mut File, wanted: &str) {
    let mut line = String::new();
    let mut byte = [0];
    while line.trim_end() != wanted || !line.ends_with('\n') {
        if line.ends_with('\n') {
            line.clear();
        }
        assert_eq!(output.read(&mut byte).unwrap(), 1, "it ended before `{wanted}`, after `{line}`");
        line.push(char::from(byte[0]));
    }
}
