//! kill -9 of instances under load: what a dead run had in its hands is lost, and nothing else. The server counts what it has
//! taken and answered, in memory that outlives it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::{Clients, Load, Rsx, Watched, free_port, requires, spawn};

/// Short; `RSX_TEST_KILLS` makes it longer.
const KILLS: usize = 5;

#[test]
fn a_killed_instance_loses_what_it_had_taken_and_not_answered() {
    if !requires("cc") {
        return;
    }
    let (rsx, port) = (Rsx::new(), free_port());
    let counts = rsx.scratch().join("counts");
    std::fs::create_dir(&counts).unwrap();
    let (program, counts_text) = (counting().display().to_string(), counts.display().to_string());
    rsx.ecosystem(&format!(
        "[[apps]]\nname = \"web\"\nscript = {program:?}\nargs = [\"{port}\", {counts_text:?}]\ninstances = 4\n\
         restart_delay = 0\nmax_restarts = 1000\n"
    ));
    rsx.ok("start ecosystem.toml").prints(&[&format!("web shares 127.0.0.1:{port}")]);
    let load = Load::of(port, Clients { count: 12, ..Clients::steady() });
    load.goes_on(400);
    let mut events = rsx.events();
    let kills = std::env::var("RSX_TEST_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(KILLS);
    let (mut lost, mut in_hand) = (0, 0);
    for kill in 0..kills {
        let slot = rsx.slot("web", kill % 4);
        let pid = u32::try_from(slot["pid"].as_u64().unwrap()).unwrap();
        let before = load.failed();
        Watched::new(pid).kill("KILL");
        events.wait("its end", |event| event.is("exited") && event.pid() == pid);
        events.wait_for("web", "online");
        // Long enough for whoever waited in its queue.
        load.goes_on(60);
        let now_lost = load.failed() - before;
        let had = had_in_hand(&counts.join(pid.to_string()));
        assert!(now_lost <= had, "kill {kill} lost {now_lost}, the dead run had {had} in its hands");
        (lost, in_hand) = (lost + now_lost, in_hand + had);
    }
    let seen = load.stop();
    println!("{kills} kills: {lost} lost, {in_hand} were taken and not answered");
    assert_eq!(seen.failed.len(), lost, "none is lost at another time: {:?}", seen.failed);
    let is_refused = |why: &String| why.to_lowercase().contains("refused");
    assert!(!seen.failed.iter().any(is_refused), "{:?}", seen.failed);
}

/// What a dead server had taken and not answered.
fn had_in_hand(file: &Path) -> usize {
    let bytes = std::fs::read(file).unwrap();
    let count = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
    usize::try_from(count(0) - count(8)).unwrap()
}

/// The server, compiled once.
fn counting() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("counting");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/traffic/counting.c");
        let status = spawn(Command::new("cc").args(["-O1", "-o"]).arg(&program).arg(source)).wait().unwrap();
        assert!(status.success(), "cc fails");
        program
    })
}
