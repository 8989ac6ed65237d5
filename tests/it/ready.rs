//! What makes a run ready, and what `start` waits for.

use serde_json::json;

use crate::harness::{Rsx, free_port, requires};

/// Says READY=1 over the socket of sd_notify(3).
const NOTIFY: &str = "import os, socket, time\n\
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
    s.connect(os.environ['NOTIFY_SOCKET'])\n\
    s.send(b'STATUS=warming up')\ns.send(b'READY=1\\nSTATUS=serving')\ntime.sleep(1000)\n";

#[test]
fn a_program_that_says_so_is_ready_at_once() {
    if !requires("python3") {
        return;
    }
    let rsx = Rsx::new();
    rsx.write("app.py", NOTIFY);
    // A life of a minute would be needed without the word.
    rsx.ok("start app.py --min-uptime 60s --kill-timeout 2s");
    assert_eq!(rsx.events().wait_for("app", "online").get("by"), "notified");
}

#[test]
fn a_program_that_listens_is_ready() {
    if !requires("python3") {
        return;
    }
    let (rsx, port) = (Rsx::new(), free_port());
    rsx.ok(&format!("start 'python3 -m http.server {port}' --name web --min-uptime 60s --kill-timeout 2s"));
    assert_eq!(rsx.events().wait_for("web", "online").get("by"), "listening");
}

#[test]
fn a_child_that_listens_makes_its_shell_ready() {
    if !requires("python3") {
        return;
    }
    let (rsx, port) = (Rsx::new(), free_port());
    rsx.ok(&format!(
        "start 'cd . && python3 -m http.server {port}; true' --name web --min-uptime 60s --kill-timeout 2s"
    ));
    assert_eq!(rsx.events().wait_for("web", "online").get("by"), "listening");
    rsx.ok("stop web");
    assert_eq!(rsx.processes().len(), 0);
}

#[test]
fn a_silent_program_is_ready_when_it_has_lived_long_enough() {
    let rsx = Rsx::new();
    rsx.ok("start 'sleep 1000' --name a --min-uptime 300");
    let online = rsx.events().wait_for("a", "online");
    assert_eq!(online.get("by"), "alive");
    assert!(online.get("after").as_u64() >= Some(300), "{online:?}");
}

#[test]
fn a_start_that_takes_too_long_says_so_and_kills_nothing() {
    let rsx = Rsx::new();
    rsx.ecosystem(
        "[[apps]]\nname = \"slow\"\nscript = \"sleep 1000\"\nmin_uptime = \"2s\"\nlisten_timeout = \"200ms\"\n",
    );
    rsx.fails(5, "start ecosystem.toml").says(&["slow:0", "still launching"]);
    assert_eq!(rsx.state("slow"), "launching");
    let mut events = rsx.events();
    events.wait_for("slow", "online");
    assert_eq!(events.count("slow", "started"), 1);
}

#[test]
fn nobody_waits_who_does_not_want_to() {
    let rsx = Rsx::new();
    rsx.ok("start 'sleep 1000' --name a --min-uptime 60s --no-wait");
    assert_eq!(rsx.state("a"), "launching");
    rsx.ok("stop a");
    assert_eq!(rsx.state("a"), "stopped");
}

#[test]
fn a_start_that_is_stopped_meanwhile_is_told_so() {
    let rsx = Rsx::new();
    rsx.ok("start true --name seed --no-autorestart");
    let mut events = rsx.events();
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| rsx.fails(5, "start 'sleep 1000' --name a --min-uptime 60s"));
        events.wait_for("a", "started");
        rsx.ok("stop a");
        starting.join().unwrap().says(&["a:0", "another request"]);
    });
    assert_eq!(rsx.slot("a", 0)["pid"], json!(null));
}
