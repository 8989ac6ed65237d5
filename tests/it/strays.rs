//! What is left of a daemon and does not fit together: a journal that has lost lines, a guardian that stands still.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::harness::{LIMIT, Rsx, Watched};

fn journal(rsx: &Rsx) -> PathBuf {
    let runtime = std::fs::read_dir(rsx.home().with_file_name("r")).unwrap();
    let mut found = runtime.map(|entry| entry.unwrap().path().join("journal")).filter(|path| path.exists());
    found.next().expect("a daemon runs, so there is a journal")
}

/// The daemon dies, and before the next one starts its journal becomes what is made of it.
fn die_with(rsx: &Rsx, journal_of: impl Fn(String) -> String) {
    let (daemon, guardian) = rsx.daemon();
    let path = journal(rsx);
    guardian.kill("STOP");
    daemon.kill("KILL");
    daemon.ends();
    std::fs::write(&path, journal_of(std::fs::read_to_string(&path).unwrap())).unwrap();
    guardian.kill("CONT");
}

#[test]
fn a_process_that_the_journal_has_lost_is_ended_and_named() {
    let rsx = Rsx::new();
    rsx.ok("start 'sleep 1000' --name a --min-uptime 50");
    let a = rsx.pid("a");
    let before = std::fs::read_to_string(journal(&rsx)).unwrap();
    rsx.script("b.sh", "trap 'echo asked > asked; kill %1; exit 0' TERM\nsleep 1000 &\necho up > up\nwait\n");
    rsx.ok("start b.sh --name b --min-uptime 50");
    rsx.wait_for_word("up");
    let lost: Vec<Watched> =
        rsx.processes().iter().filter(|found| found.pid != a).map(|found| Watched::new(found.pid)).collect();
    let b = rsx.pid("b");
    assert_eq!(lost.len(), 2);
    die_with(&rsx, |_| before.clone());
    let said = rsx.ok("ls").err;
    assert!(said.contains("the journal knows nothing of: ended") && said.contains(&b.to_string()), "{said}");
    assert_eq!(rsx.wait_for_word("asked"), "asked");
    assert!(!lost.iter().any(Watched::lives));
    assert_eq!(rsx.pid("a"), a);
    // Its number and its place are free, and nothing is confused.
    rsx.ok("start b.sh --name b --min-uptime 50");
    assert_eq!(rsx.processes().len(), 3, "{:?}", rsx.processes());
    rsx.daemon().0.kill("KILL");
    let said = rsx.ok("ls").err;
    assert!(!said.contains("journal"), "{said}");
    assert_eq!(rsx.processes().len(), 3, "{:?}", rsx.processes());
}

#[test]
fn a_process_whose_birth_the_journal_has_lost_is_taken_over() {
    let rsx = Rsx::new();
    rsx.ok("start 'while read line; do echo got $line; done' --name a --min-uptime 50");
    let a = rsx.pid("a");
    let unborn = |text: String| {
        text.lines().filter(|line| !line.starts_with("{\"born\"")).map(|line| line.to_owned() + "\n").collect()
    };
    die_with(&rsx, unborn);
    assert_eq!(rsx.pid("a"), a);
    assert_eq!(rsx.slot("a", 0)["restarts"], 0);
    assert_eq!(rsx.processes().len(), 1, "{:?}", rsx.processes());
    rsx.ok("send a hello");
    rsx.wait_for_text(&rsx.log("a-out.log"), |text| text == "got hello\n");
    Watched::new(a).kill("TERM");
    let exited = rsx.events().wait_for("a", "exited");
    assert_eq!(exited.get("status")["signal"]["signal"], "SIGTERM");
}

#[test]
fn a_daemon_whose_guardian_stands_still_leaves_to_the_next_one_what_that_holds() {
    let rsx = Rsx::new();
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let inherited: OwnedFd = theirs.try_clone().unwrap();
    fcntl(&inherited, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let mut daemon = rsx.command();
    daemon.arg("daemon").env("RSX_GUARDIAN_FD", inherited.as_raw_fd().to_string()).env("RSX_RESTARTS", "1");
    let began = Instant::now();
    let done = rsx.run_command(daemon);
    assert_eq!(done.code, 1, "{}", done.err);
    assert!(began.elapsed() >= Duration::from_secs(5), "it waits for its guardian");
    let log = std::fs::read_to_string(rsx.home().join("daemon.log")).unwrap();
    assert!(log.contains("does not hand out what it keeps: timed out; another daemon asks again"), "{log}");
    drop((ours, theirs));
}

/// Kilobytes of memory that a process shares with nobody.
fn own_memory(process: &Watched) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_guardian_takes_half_a_megabyte() {
    let rsx = Rsx::new();
    rsx.ok("start 'sleep 1000' --name a --min-uptime 50");
    let guardian = rsx.daemon().1;
    rsx.ok_at_length("start 'sleep 1000' --name many --fork -i 300 --min-uptime 50");
    let until = Instant::now() + LIMIT;
    // A second after the last word it gives back what that took; nobody is told of it.
    while own_memory(&guardian) > 500 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("the guardian of 301 processes has {} kB of its own", own_memory(&guardian));
    assert!(own_memory(&guardian) <= 500, "{} kB", own_memory(&guardian));
}
