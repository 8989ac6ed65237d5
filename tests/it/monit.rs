//! `rsx monit` on a real terminal: keys in, the screen out.

use crate::harness::{Rsx, Watched, free_port, requires};

/// A server that says which process answers.
const SERVER: &str = "\
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'ok')
print('serving', flush=True)
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['SERVE'])), Handler).serve_forever()
";

/// A home with an app that writes a line and stays.
fn with_an_app() -> Rsx {
    let rsx = Rsx::new();
    rsx.script("talk.sh", "#!/bin/sh\necho hello from the app\nexec sleep 1000\n");
    rsx.ecosystem("[[apps]]\nname = \"talk\"\nscript = \"./talk.sh\"\n");
    rsx.ok("start ecosystem.toml");
    rsx
}

#[test]
fn the_screen_shows_what_runs_and_gives_the_terminal_back() {
    let rsx = with_an_app();
    let mut screen = rsx.screen("monit", (120, 36));
    screen.shows(&["1 online", "talk", "hello from the app", "? help"]);
    screen.keys("?");
    screen.shows(&["any other key closes", "everything about it"]);
    screen.keys("x:");
    screen.keys("des\t");
    screen.shows(&["describe"]);
    screen.keys("\r");
    screen.shows(&["online since", "declared in"]);
    assert!(!screen.is_restored());
    screen.keys("q");
    assert_eq!(screen.ends(), 0);
    assert!(screen.is_restored(), "{}", screen.text());
}

#[test]
fn an_action_is_asked_about_done_and_seen_by_all() {
    let rsx = with_an_app();
    let mut events = rsx.events();
    let before = rsx.pid("talk");
    let mut screen = rsx.screen("monit", (80, 24));
    screen.shows(&["talk", "1 online"]);
    screen.keys("R");
    screen.shows(&["restart talk?"]);
    screen.keys("y");
    let stopping = events.wait_for("talk", "stopping");
    assert_eq!(stopping.json["verb"].as_str(), Some("restart"));
    assert_eq!(events.wait_for("talk", "exited").pid(), before);
    events.wait_for("talk", "online");
    screen.shows(&["restart talk", "1 online"]);
    screen.keys(":stop talk\r");
    screen.shows(&["stop talk?"]);
    screen.keys("y");
    screen.shows(&["1 stopped"]);
}

#[test]
fn a_screen_for_looking_changes_nothing() {
    let rsx = with_an_app();
    let before = rsx.pid("talk");
    let mut screen = rsx.screen("monit --read-only", (80, 24));
    screen.shows(&["read only", "talk"]);
    screen.keys("R");
    screen.shows(&["read only: restart is not done here"]);
    screen.keys("q");
    assert_eq!(screen.ends(), 0);
    assert_eq!(rsx.pid("talk"), before);
}

#[test]
fn a_reload_is_shown_stage_by_stage() {
    if !requires("python3") {
        return;
    }
    let mut rsx = Rsx::new();
    rsx.set_env("SERVE", free_port().to_string());
    rsx.write("web.py", SERVER);
    rsx.ecosystem("[[apps]]\nname = \"web\"\nscript = \"web.py\"\ninstances = 2\n");
    rsx.ok("start ecosystem.toml");
    let mut screen = rsx.screen("monit", (120, 36));
    screen.shows(&["2 online", "serving"]);
    screen.keys("r");
    screen.shows(&["reload web (2 instances)?"]);
    screen.keys("y");
    screen.shows(&["launch ●"]);
    screen.shows(&["stop ✓"]);
    screen.shows(&["✓ reload web", "2 online"]);
}

#[test]
fn a_crash_loop_is_seen_and_explained() {
    let rsx = Rsx::new();
    rsx.script("bad.sh", "#!/bin/sh\necho the table is missing >&2\nexit 3\n");
    rsx.ecosystem("[[apps]]\nname = \"bad\"\nscript = \"./bad.sh\"\nmax_restarts = 4\n");
    rsx.fails(5, "start ecosystem.toml");
    let mut screen = rsx.screen("monit", (120, 36));
    screen.shows(&["✗ errored", "! the table is missing"]);
    screen.keys("we");
    screen.shows(&["exit code 3", "| the table is missing", "now: errored", "next try in"]);
}

#[test]
fn keys_are_heard_in_a_flood_of_lines() {
    let rsx = Rsx::new();
    // As fast as a pipe takes them.
    rsx.script(
        "flood.sh",
        "#!/bin/sh\nyes a line of a flood that nobody can read | head -n 2000000\necho all is said\nexec sleep 1000\n",
    );
    rsx.ecosystem("[[apps]]\nname = \"flood\"\nscript = \"./flood.sh\"\n");
    let mut screen = rsx.screen("monit", (120, 36));
    screen.shows(&["no rsx daemon runs"]);
    rsx.ok("start ecosystem.toml --no-wait");
    screen.shows(&["a line of a flood"]);
    screen.keys("?");
    screen.shows(&["any other key closes", "everything about it"]);
    screen.keys("x3/nobody\r");
    screen.shows(&["/nobody", "held"]);
    screen.keys("f");
    screen.shows(&["all is said"]);
}

#[test]
fn the_daemon_may_die_behind_the_screen() {
    let rsx = with_an_app();
    let mut screen = rsx.screen("monit", (120, 36));
    screen.shows(&["talk", "1 online"]);
    let (daemon, _) = rsx.daemon();
    daemon.kill("KILL");
    screen.shows(&["daemon is back"]);
    screen.shows(&["1 online", "hello from the app"]);
    rsx.ok("kill");
    screen.shows(&["waiting for the next one"]);
    rsx.ok("start ecosystem.toml");
    screen.shows(&["1 online"]);
    screen.keys("q");
    assert_eq!(screen.ends(), 0);
    assert!(screen.is_restored());
}

#[test]
fn a_signal_ends_the_screen_and_the_terminal_is_as_before() {
    let rsx = with_an_app();
    for (signal, number) in [("TERM", 15), ("HUP", 1), ("INT", 2)] {
        let mut screen = rsx.screen("monit", (80, 24));
        screen.shows(&["1 online"]);
        Watched::new(screen.pid()).kill(signal);
        assert_eq!(screen.ends(), 128 + number, "{signal}");
        assert!(screen.is_restored(), "{signal}");
    }
}

#[test]
fn without_a_terminal_it_says_what_to_use_instead() {
    let rsx = Rsx::new();
    rsx.fails(2, "monit").says(&["needs a terminal", "rsx ls"]);
    rsx.fails(2, "monit --json").prints(&["has no JSON"]);
}

/// A panic of the screen itself, and one of a thread behind it.
#[cfg(feature = "failpoints")]
#[test]
fn a_death_at_any_place_of_the_screen_gives_the_terminal_back() {
    let mut rsx = with_an_app();
    let mark = rsx.scratch().join("failpoint");
    rsx.set_env("RSX_FAILPOINT", &mark);
    for (place, code) in [("screen", 101), ("keys", 1)] {
        let mut screen = rsx.screen("monit", (100, 30));
        screen.shows(&["1 online", "talk", "? help"]);
        assert!(!screen.is_restored());
        rsx.write("failpoint", place);
        screen.keys("?");
        assert_eq!(screen.ends(), code, "{place}: {}", screen.text());
        assert!(screen.is_restored(), "{place}: {}", screen.text());
        screen.shows(&[&format!("as the test wants at `{place}`")]);
        assert!(!mark.exists());
    }
    assert_eq!(rsx.state("talk"), "online");
}
