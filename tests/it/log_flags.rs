//! `rsx logs` by time and by expression, and its other forms.

use crate::harness::Rsx;

/// An app that tells times, and one that does not; both stopped.
fn two() -> Rsx {
    let rsx = Rsx::new();
    rsx.script(
        "timed.sh",
        "echo 2026-01-01T00:00:00Z old error\necho '  at old'\necho \"$(date -u +%Y-%m-%dT%H:%M:%SZ) new error\"\n\
         echo '  at new'\nexec sleep 1000\n",
    );
    rsx.ecosystem(
        "[[apps]]\nname = \"timed\"\nscript = \"timed.sh\"\ninterpreter = \"bash\"\n\
         [[apps]]\nname = \"plain\"\nscript = \"echo hello; echo an error; exec sleep 1000\"\n",
    );
    rsx.ok("start");
    rsx.wait_for_text(&rsx.log("timed-out.log"), |text| text.ends_with("at new\n"));
    rsx.wait_for_text(&rsx.log("plain-out.log"), |text| text.ends_with("error\n"));
    // Nothing else tells when its lines came.
    std::fs::remove_file(rsx.log(".plain-out.log.times")).unwrap();
    rsx
}

#[test]
fn lines_are_chosen_by_the_times_they_begin_with() {
    let rsx = two();
    let since = rsx.ok("logs timed --nostream --raw --since 10m").out;
    assert!(since.ends_with(" new error\n  at new\n") && !since.contains("old"), "{since}");
    assert_eq!(
        rsx.ok("logs timed --raw --until 2026-01-01T00:00:01Z").out,
        "2026-01-01T00:00:00Z old error\n  at old\n",
        "until ends it without --nostream"
    );
    assert_eq!(rsx.ok("logs timed --nostream --raw --lines 1 --since 10m").out, "  at new\n");
    rsx.fails(2, "logs timed --since yesterday").says(&["`--since yesterday` is no time", "`10m`"]);
}

#[test]
fn logs_without_times_are_refused_or_left_out_with_a_word() {
    let rsx = two();
    rsx.fails(2, "logs plain --nostream --since 10m").says(&["no line of these logs begins with a time", "--grep"]);
    let all = rsx.ok("logs --nostream --since 10m");
    all.says(&["plain-out.log is left out"]).prints(&["new error"]);
    assert!(!all.out.contains("hello"));
}

#[test]
fn an_expression_chooses_among_all_lines_and_in_what_comes() {
    let rsx = two();
    assert_eq!(rsx.ok("logs plain --nostream --raw --lines 1 --grep hel+o").out, "hello\n");
    rsx.fails(2, "logs --grep (").says(&["`(` is not a regular expression"]);
    let mut lines = rsx.lines("logs plain --raw --grep ^hello --lines 1");
    lines.wait("the history", |line| line == "hello");
    rsx.ok("restart plain");
    lines.wait("what comes", |line| line == "hello");
    assert!(lines.seen().iter().all(|line| line == "hello"), "{:?}", lines.seen());
}

#[test]
fn lines_have_other_forms_and_new_ones_the_time_of_their_coming() {
    let rsx = two();
    assert_eq!(
        rsx.ok("logs plain --nostream --format --lines 1").out,
        "timestamp=- app=plain id=1 type=out message=an error\n"
    );
    let mut lines = rsx.lines("logs plain --raw --timestamp --lines 1");
    lines.wait("the history without a time", |line| line == "an error");
    rsx.ok("restart plain");
    lines.wait("a new line with one", |line| line.starts_with("20") && line.ends_with(" hello"));
    // Without colours there is nothing to mark with.
    assert_eq!(rsx.ok("logs plain --nostream --raw --highlight err --lines 1").out, "an error\n");
}
