//! The rules of a reload: what goes wrong before the switch changes nothing, and nobody who asks notices.

use super::{Server, Site};
use crate::harness::{Clients, Connections, Load, Rsx, free_port, requires};

/// A program in the place of the server: `%` is what it does before it serves.
fn after(what: &str) -> String {
    format!(
        "import http.server, os, sys, time\n{what}\n\
         class Handler(http.server.BaseHTTPRequestHandler):\n    \
             def do_GET(self):\n        \
                 self.send_response(200); self.end_headers(); self.wfile.write(b'pid %d' % os.getpid())\n    \
             def log_message(self, *_): pass\n\
         http.server.ThreadingHTTPServer.request_queue_size = 200\n\
         http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()\n"
    )
}

/// A few clients, which leave room for other tests.
const CLIENTS: Clients =
    Clients { count: 3, connections: Connections::New, think: std::time::Duration::from_millis(10) };

/// A reload to this program ends with exit code 5 and these words; the old runs go on, and nobody has noticed.
#[track_caller]
fn ends_without_a_change(program: &str, words: &[&str]) {
    let Some(site) = Site::new(Server::Python, 3, "listen_timeout = \"1500ms\"\nmax_surge = 2") else { return };
    let load = Load::of(site.port, CLIENTS);
    load.goes_on(50);
    let before = site.pids();
    site.rsx.write("web.py", program);
    site.rsx.fails(5, "reload web").says(words);
    assert_eq!(site.pids(), before, "nothing of them was touched");
    load.goes_on(50);
    let mut events = site.rsx.events();
    let aborted = events.wait_for("web", "reload_aborted");
    assert!(words.iter().any(|word| aborted.get("reason").as_str().unwrap().contains(word)), "{aborted:?}");
    let seen = load.has_lost_nothing();
    assert_eq!(seen.answers.len(), 3, "{:?}", seen.answers);
    // What was launched in vain is gone.
    assert_eq!(site.rsx.processes().len(), 3);
}

#[test]
fn a_release_that_hangs_changes_nothing() {
    ends_without_a_change(
        &after("print('warming up', file=sys.stderr, flush=True); time.sleep(1000)"),
        &["not ready within 1.5s", "warming up"],
    );
}

#[test]
fn a_release_that_throws_changes_nothing() {
    ends_without_a_change(&after("raise Exception('no such table')"), &["exit code 1", "no such table"]);
}

#[test]
fn a_release_that_ends_at_once_changes_nothing() {
    ends_without_a_change("print('nothing to do')\n", &["exit code 0 after"]);
}

#[test]
fn a_release_that_listens_elsewhere_changes_nothing() {
    let elsewhere = free_port();
    ends_without_a_change(&after(&format!("os.environ['PORT'] = '{elsewhere}'")), &["not ready within 1.5s"]);
}

#[test]
fn a_release_that_cannot_be_started_changes_nothing() {
    let Some(site) = Site::new(Server::Go, 2, "") else { return };
    let load = Load::of(site.port, CLIENTS);
    let before = site.pids();
    std::fs::remove_file(site.rsx.scratch().join("web")).unwrap();
    site.rsx.fails(5, "reload web").says(&["No such file"]);
    assert_eq!(site.pids(), before);
    load.goes_on(50);
    load.has_lost_nothing();
}

#[test]
fn a_release_that_takes_its_time_is_waited_for() {
    let Some(site) = Site::new(Server::Python, 2, "listen_timeout = \"9s\"\nmax_surge = 2") else { return };
    let load = Load::of(site.port, CLIENTS);
    let before = site.pids();
    site.rsx.write("web.py", after("time.sleep(2)"));
    site.rsx.ok("reload web");
    load.goes_on(50);
    assert!(site.pids().iter().all(|pid| !before.contains(pid)));
    load.has_lost_nothing();
}

#[test]
fn a_second_reload_meanwhile_is_refused_by_name_and_a_stop_wins() {
    let Some(site) = Site::new(Server::Python, 2, "listen_timeout = \"9s\"") else { return };
    let before = site.pids();
    site.rsx.write("web.py", after("time.sleep(1000)"));
    let mut events = site.rsx.events();
    let started = events.count("web", "started");
    site.rsx.ok("reload web --no-wait");
    while events.count("web", "started") <= started.max(2) {
        events.wait_for("web", "started");
    }
    site.rsx.fails(1, "reload web").says(&["`web`", "reload"]);
    site.rsx.ok("stop web");
    assert!(site.pids().is_empty());
    assert_eq!(site.rsx.processes().len(), 0, "old ones and new ones are gone");
    assert!(!before.is_empty());
}

#[test]
fn a_changed_file_is_applied_by_a_reload() {
    let Some(site) = Site::new(Server::Go, 3, "") else { return };
    let load = Load::of(site.port, CLIENTS);
    load.goes_on(50);
    let before = site.pids();
    site.declare_also(3, "env = { COLOUR = \"blue\" }");
    site.rsx.ok("reload ecosystem.toml");
    let after = site.pids();
    assert!(after.iter().all(|pid| !before.contains(pid)));
    for pid in after {
        assert_eq!(crate::harness::environment_of(pid)["COLOUR"], "blue");
    }
    load.goes_on(50);
    load.has_lost_nothing();
}

#[test]
fn what_is_in_fork_mode_is_restarted_and_that_is_said() {
    if !requires("python3") {
        return;
    }
    let (rsx, port) = (Rsx::new(), free_port());
    rsx.write("web.py", after(""));
    rsx.ecosystem(&format!("[[apps]]\nname = \"web\"\nscript = \"web.py\"\nport = {port}\n"));
    rsx.ok("start ecosystem.toml");
    let before = rsx.pid("web");
    rsx.ok("reload web").says(&["in fork mode a reload is a restart"]);
    assert_ne!(rsx.pid("web"), before);
}
