//! Ends of orphans, and what a dead daemon leaves on its connection.

use super::*;

#[test]
fn the_ends_of_a_dead_daemons_runs_are_told_to_its_successors_until_they_are_settled() {
    let stage = Stage::new(&plays("leaves-runs"));
    let guardian = stage.start();
    assert_eq!(end_of(&guardian.process), ExitStatus::Code(0), "{}", stage.text("daemon.err"));
    let codes: Vec<String> = (0..40).map(|code| format!("exit code {code}")).collect();
    let first = stage.text("first");
    // Whether there is a core dump is a matter of the machine.
    let all = format!("exit code 7, SIGSEGV, {}, SIGKILL, exit code 42", codes.join(", "));
    assert_eq!(first.replace(" (core dumped)", ""), all);
    assert_eq!(stage.text("second"), first);
    assert_eq!(stage.text("third").replace(", nothing", ""), "exit code 7");
}

#[test]
fn what_a_child_of_a_dead_daemon_says_is_heard_before_the_next_daemon_starts() {
    let stage = Stage::new(&plays("leaves-a-late-child"));
    let guardian = stage.start();
    assert_eq!(end_of(&guardian.process), ExitStatus::Code(0), "{}", stage.text("daemon.err"));
    assert_eq!(stage.text("result").split(", ").count(), 100);
}

#[test]
fn a_child_that_keeps_the_connection_of_a_dead_daemon_holds_up_the_next_one_for_a_second() {
    let stage = Stage::new(&plays("leaves-a-holder"));
    let guardian = stage.start();
    assert_eq!(end_of(&guardian.process), ExitStatus::Code(0), "{}", stage.text("daemon.err"));
    let waited: u64 = stage.text("result").parse().unwrap();
    assert!((1_000..10_000).contains(&waited), "{waited}");
}
