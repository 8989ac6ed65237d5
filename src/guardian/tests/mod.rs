//! Guardian and daemon as processes of their own: this test binary, told by its environment what to be.

mod ends;
mod roles;
mod update;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;

use self::roles::ROLE;
use super::*;
use crate::sys::fds::{Channel, memory_file};
use crate::sys::poller::readable_within;
use crate::sys::process::{ExitStatus, PidFd, Process};
use crate::sys::spawn::{Launch, spawn};
use crate::sys::testing::{LIMIT, end_of, process_of, shell};

/// What the role `guardian` executes as its daemon.
const EXE: &str = "RSX_TEST_EXE";

/// A home with a script in it that is executed as the daemon.
struct Stage {
    folder: tempfile::TempDir,
}

struct Started {
    process: Process,
    ready: File,
}

impl Stage {
    fn new(daemon: &str) -> Stage {
        let stage = Stage { folder: tempfile::tempdir().unwrap() };
        stage.add("daemon.sh", daemon);
        stage
    }

    /// A second program beside the daemon.
    fn add(&self, name: &str, script: &str) {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A guardian on this home.
    fn start(&self) -> Started {
        self.start_with(|_| {})
    }

    /// A guardian that is started with a difference.
    fn start_with(&self, change: impl FnOnce(&mut Launch)) -> Started {
        let (reader, writer) = io::pipe().unwrap();
        let mut launch = shell("");
        launch.program = std::env::current_exe().unwrap();
        launch.argv = ["rsx", "daemon"].map(Into::into).into();
        let writer = OwnedFd::from(writer);
        launch.env.push((READY_FD.into(), writer.as_raw_fd().to_string().into()));
        launch.env.push((ROLE.into(), "guardian".into()));
        launch.env.push((EXE.into(), self.path("daemon.sh").into()));
        launch.env.push(("RSX_HOME".into(), self.folder.path().into()));
        launch.env.push(("TEST_BINARY".into(), std::env::current_exe().unwrap().into()));
        launch.keep.push(writer);
        change(&mut launch);
        let process = spawn(&launch).unwrap();
        Started { process, ready: OwnedFd::from(reader).into() }
    }

    /// The guardian itself; what was spawned waits for it.
    fn guardian(&self) -> PidFd {
        process_of(&self.text("rsx.lock"))
    }

    /// Everything that was started here: it is found by the home in its environment.
    fn processes(&self) -> Vec<PidFd> {
        crate::sys::tree::marked(&format!("RSX_HOME={}", self.folder.path().display()))
    }

    /// Ends what a killed guardian has left.
    fn end_all(&self) {
        for process in self.processes() {
            process.signal(Signal::KILL).unwrap();
            assert!(process.has_ended_within(LIMIT).unwrap());
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

/// A test that fails leaves nothing behind, either.
impl Drop for Stage {
    fn drop(&mut self) {
        self.end_all();
    }
}

impl Started {
    /// One line of the ready pipe.
    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = String::new();
        while !line.ends_with('\n') {
            assert!(readable_within(&self.ready, LIMIT).unwrap(), "nothing after `{line}`");
            let mut byte = [0];
            if self.ready.read(&mut byte).unwrap() == 0 {
                break;
            }
            line.push(char::from(byte[0]));
        }
        line
    }
}

/// A daemon that plays this role, see `roles.rs`.
fn plays(role: &str) -> String {
    format!("RSX_TEST_ROLE={role} exec \"$TEST_BINARY\"")
}

fn home() -> Home {
    Home::resolve(std::env::var_os("RSX_HOME").as_deref(), None, None, 0).unwrap()
}

#[test]
fn what_a_run_leaves_is_found_below_the_guardian_and_other_runs_are_not() {
    let stage = Stage::new(&plays("leaves-a-tree"));
    let guardian = stage.start();
    assert_eq!(end_of(&guardian.process), ExitStatus::Code(0), "{}", stage.text("daemon.err"));
    assert_eq!(stage.text("result"), "quiet 0, left 2, then 0");
}

#[test]
fn descriptors_outlive_the_daemon_that_stored_them() {
    let stage = Stage::new(&plays("stores"));
    let guardian = stage.start();
    assert_eq!(end_of(&guardian.process), ExitStatus::Code(0), "{}", stage.text("daemon.err"));
    assert_eq!(stage.text("result"), "restarts 1, many 600, a second");
}

#[test]
fn a_dying_daemon_is_started_again_and_its_orphans_are_reaped() {
    let stage = Stage::new(
        "echo $RSX_RESTARTS >> $RSX_HOME/lives; (setsid true &)
         [ $RSX_RESTARTS = 2 ] || kill -KILL $$; echo ready >/proc/self/fd/$RSX_READY_FD",
    );
    let mut guardian = stage.start();
    assert_eq!(guardian.line(), "ready\n");
    assert_eq!(end_of(&guardian.process), ExitStatus::Code(0));
    assert_eq!(stage.text("lives"), "0\n1\n2\n");
    assert!(stage.text("daemon.err").contains("the daemon ended: SIGKILL"));
}

#[test]
fn a_daemon_that_never_gets_ready_is_given_up() {
    let stage = Stage::new("echo $RSX_RESTARTS >> $RSX_HOME/lives; echo why >&2; exit 7");
    let mut guardian = stage.start();
    assert_eq!(guardian.line(), "failed: the daemon ended before it was ready: exit code 7\n");
    assert_eq!(end_of(&guardian.process), ExitStatus::Code(1));
    assert_eq!(stage.text("lives"), "0\n1\n2\n");
    assert!(stage.text("daemon.err").contains("why\n"));
}

#[test]
fn a_daemon_that_said_why_it_cannot_start_is_not_tried_again() {
    let stage = Stage::new("echo failed: no room >/proc/self/fd/$RSX_READY_FD; exit 78");
    let mut guardian = stage.start();
    assert_eq!(guardian.line(), "failed: no room\n");
    assert_eq!(end_of(&guardian.process), ExitStatus::Code(1));
    assert_eq!(guardian.line(), "");
}

#[test]
fn a_missing_daemon_is_given_up_with_the_step_that_failed() {
    let stage = Stage::new("");
    fs::remove_file(stage.path("daemon.sh")).unwrap();
    let mut guardian = stage.start();
    let line = guardian.line();
    assert!(line.starts_with("failed: exec /") && line.ends_with("(ENOENT)\n"), "{line}");
    assert_eq!(end_of(&guardian.process), ExitStatus::Code(1));
}

#[test]
fn a_second_guardian_is_refused_and_a_stop_is_passed_on() {
    let stage = Stage::new("trap 'exit 0' TERM; sleep 1000 & echo ready >/proc/self/fd/$RSX_READY_FD; wait");
    let mut first = stage.start();
    assert_eq!(first.line(), "ready\n");
    let mut second = stage.start();
    let guardian = stage.guardian();
    let pid = guardian.display_pid();
    let path = stage.path("rsx.lock");
    assert_eq!(second.line(), format!("failed: another rsx daemon (pid {pid}) holds {}\n", path.display()));
    assert_eq!(end_of(&second.process), ExitStatus::Code(1));
    guardian.signal(signals::hangup()).unwrap();
    guardian.signal(Signal::TERM).unwrap();
    assert_eq!(end_of(&first.process), ExitStatus::Code(0));
}

#[test]
fn the_lock_lives_while_the_daemon_does() {
    let stage = Stage::new("echo ready >/proc/self/fd/$RSX_READY_FD; exec sleep 1000");
    let mut guardian = stage.start();
    assert_eq!(guardian.line(), "ready\n");
    stage.guardian().signal(Signal::KILL).unwrap();
    assert_ne!(end_of(&guardian.process), ExitStatus::Code(0));
    let lock = LockFile::open(&stage.path("rsx.lock")).unwrap();
    assert!(lock.life_is_held().unwrap());
    stage.end_all();
    assert!(!lock.life_is_held().unwrap());
}

#[test]
fn a_daemon_starts_with_the_badness_of_its_client() {
    let stage = Stage::new("cat /proc/self/oom_score_adj /proc/$PPID/oom_score_adj > $RSX_HOME/result; exit 0");
    let guardian = stage.start_with(|launch| launch.oom_score_adj = Some(900));
    assert_eq!(end_of(&guardian.process), ExitStatus::Code(0));
    // Without the right to it a process may not go below where it was put, but back from where it went by itself.
    let text = stage.text("result");
    assert!(["900\n0\n", "900\n-900\n", "900\n900\n"].contains(&text.as_str()), "{text}");
}

#[test]
fn a_guardian_lets_go_of_what_its_client_had_open() {
    let stage = Stage::new("trap 'exit 0' TERM; sleep 1000 & echo ready >/proc/self/fd/$RSX_READY_FD; wait");
    let (_reader, writer) = io::pipe().unwrap();
    let pipe = fs::read_link(format!("/proc/self/fd/{}", writer.as_raw_fd())).unwrap();
    let mut guardian = stage.start_with(|launch| launch.keep.push(writer.into()));
    assert_eq!(guardian.line(), "ready\n");
    let folder = format!("/proc/{}/fd", stage.guardian().display_pid());
    let open: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect();
    assert!(open.len() > 3 && !open.contains(&pipe), "{open:?}");
    stage.guardian().signal(Signal::TERM).unwrap();
    assert_eq!(end_of(&guardian.process), ExitStatus::Code(0));
}

#[test]
fn a_large_file_of_old_errors_is_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("daemon.err");
    fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
    drop(open_stderr(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
    fs::write(&path, vec![b'x'; (1 << 20) + 1]).unwrap();
    open_stderr(&path).unwrap().write_all(b"new\n").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
}

#[test]
fn a_burst_is_queued_while_the_guardian_does_not_read() {
    let (ours, theirs) = Channel::pair().unwrap();
    let mut keeper = Keeper::new(ours).unwrap();
    let mut connection = store::Connection::new(theirs).unwrap();
    let mut kept = store::Kept::new();
    let file = memory_file("x", b"").unwrap();
    for number in 0..2_000 {
        keeper.put(&[(&format!("run {}", number % 500), file.as_fd())]).unwrap();
    }
    assert!(keeper.is_behind());
    while !keeper.is_settled() {
        assert!(!connection.go_on(&mut kept).is_closed);
        keeper.pump().unwrap();
    }
    drop(connection);
    // A child of another test may hold the other end for a moment.
    assert!(readable_within(&keeper, LIMIT).unwrap());
    keeper.pump().unwrap();
    assert!(keeper.is_alone());
    keeper.put(&[("after", file.as_fd())]).unwrap();
    assert!(!keeper.is_behind());
}
