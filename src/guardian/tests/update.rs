//! Updates: the old binary is `daemon.sh`, the new one `new.sh`.

use super::*;

/// The new binary, as a guardian and as a daemon; its rehearsal is put in front.
const NEW: &str = "[ -z \"$RSX_GUARDIAN_STATE\" ] || RSX_TEST_EXE=$RSX_HOME/new.sh exec \"$TEST_BINARY\" daemon
RSX_TEST_ROLE=updated exec \"$TEST_BINARY\"";

/// A new binary with this rehearsal.
fn new(rehearsal: &str, then: &str) -> String {
    format!("[ \"$2\" != --rehearse ] || {{ {rehearsal}; }}\n{then}")
}

const GOES_WELL: &str = "echo rehearsed 9.9.9 guardian-state 1 1; exit 0";

fn stage_with(new: &str) -> Stage {
    let stage = Stage::new(&plays("updates"));
    stage.add("new.sh", new);
    nix::unistd::mkfifo(&stage.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    stage
}

/// What the old binary's daemon reports of an update, with this in the environment.
#[track_caller]
fn outcome(stage: &Stage, env: &[(&str, &str)]) -> String {
    let env: Vec<_> = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let guardian = stage.start_with(|launch| launch.env.extend(env));
    assert_eq!(end_of(&guardian.process), ExitStatus::Code(0), "{}", stage.text("daemon.err"));
    stage.text("result")
}

#[test]
fn an_update_replaces_daemon_and_guardian_and_nothing_is_lost() {
    let stage = stage_with(&new(GOES_WELL, NEW));
    assert_eq!(outcome(&stage, &[]), "a, b, replaced true");
    assert_eq!(stage.text("version"), "9.9.9");
    assert_eq!(stage.text("ended"), "exit code 42");
}

#[test]
fn a_daemon_that_dies_when_it_was_told_to_leave_is_followed_by_the_new_binary() {
    let stage = stage_with(&new(GOES_WELL, NEW));
    assert_eq!(outcome(&stage, &[("TEST_THEN", "die")]), "a, b, replaced true");
}

#[test]
fn a_daemon_that_was_told_to_leave_and_stays_is_told_that_nothing_has_changed() {
    let stage = stage_with(&new(GOES_WELL, NEW));
    let told = outcome(&stage, &[("TEST_THEN", "stay")]);
    assert_eq!(told, "Refused { why: \"the daemon did not leave within 3 s\" }");
}

#[test]
fn a_guardian_whose_state_is_not_read_by_the_new_binary_stays() {
    let stage = stage_with(&new("echo rehearsed 9.9.9 guardian-state 2 7; exit 0", NEW));
    assert_eq!(outcome(&stage, &[]), "a, b, replaced false");
    assert_eq!(stage.text("ended"), "exit code 42");
}

#[test]
fn a_guardian_that_cannot_execute_the_new_binary_goes_on() {
    let stage = stage_with(&new(GOES_WELL, NEW));
    assert_eq!(outcome(&stage, &[("TEST_THEN", "forbid")]), "a, b, replaced false");
    assert!(stage.text("daemon.err").contains("cannot execute the new binary, this guardian goes on"));
}

#[test]
fn a_new_binary_that_dies_before_it_is_ready_is_followed_by_the_old_one() {
    let stage = stage_with(&new(GOES_WELL, "exit 3"));
    assert_eq!(outcome(&stage, &[]), "it ended before it was ready: exit code 3 (a)");
}

#[test]
fn a_new_binary_that_leaves_before_it_is_ready_is_followed_by_the_old_one() {
    let stage = stage_with(&new(GOES_WELL, "exit 0"));
    assert_eq!(outcome(&stage, &[]), "it ended before it was ready: exit code 0 (a)");
}

#[test]
fn a_new_binary_that_is_not_ready_in_time_is_followed_by_the_old_one() {
    let stage = stage_with(&new(GOES_WELL, "exec sleep 1000"));
    assert_eq!(outcome(&stage, &[]), "it was not ready within 3 s (a)");
}

#[test]
fn the_old_binary_is_there_even_when_its_file_is_gone() {
    let stage = stage_with(&new(GOES_WELL, "exit 3"));
    let outcome = outcome(&stage, &[("TEST_THEN", "delete")]);
    assert_eq!(outcome, "it ended before it was ready: exit code 3 (a)");
    assert!(!stage.path("daemon.sh").exists());
}

#[test]
fn a_rehearsal_that_fails_is_told_with_its_words() {
    let stage = stage_with(&new("echo error: the journal is newer >&2; exit 4", NEW));
    assert_eq!(outcome(&stage, &[]), "its rehearsal ended with exit code 4: error: the journal is newer");
}

#[test]
fn a_rehearsal_that_takes_too_long_is_ended_with_all_its_children() {
    let stage = stage_with(&new("sleep 1000 & yes; exit 0", NEW));
    assert_eq!(outcome(&stage, &[]), "its rehearsal took longer than 3 s");
    let orphan = "read x < $RSX_HOME/fifo";
    for process in stage.processes() {
        let command = fs::read_to_string(format!("/proc/{}/cmdline", process.display_pid())).unwrap_or_default();
        assert!(command.contains(orphan) || process.has_ended_within(LIMIT).unwrap(), "{command}");
    }
}

#[test]
fn a_rehearsal_has_neither_connection_nor_lock() {
    let stage = stage_with(&new("env | grep -c -e _FD= -e RSX_RESTARTS >&2; ls /proc/self/fd >&2; exit 4", NEW));
    assert_eq!(outcome(&stage, &[]), "its rehearsal ended with exit code 4: 0; 0; 1; 2; 3");
}

#[test]
fn what_is_no_rsx_is_refused() {
    let stage = stage_with("");
    assert!(outcome(&stage, &[("TEST_NEW", "/bin/true")]).starts_with("it does not say that it could take over"));
    let stage = stage_with("");
    let refused = outcome(&stage, &[("TEST_NEW", "/nope/rsx")]);
    assert_eq!(refused, "cannot open /nope/rsx: No such file or directory (os error 2)");
    let stage = stage_with("");
    let refused = outcome(&stage, &[("TEST_NEW", "/etc/passwd")]);
    assert!(refused.starts_with("exec /etc/passwd: it is not executable"), "{refused}");
}
