//! What programs say of themselves by sd_notify(3): ready, about to end, and in their own words.

use crate::harness::{LIMIT, Load, Rsx, Watched, free_port, requires};

/// Says what it is told to say on its standard input.
const SAYS: &str = "
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ['NOTIFY_SOCKET'])
for line in sys.stdin:
    s.send(line.strip().replace(' ', '\\n').encode())
";

#[test]
fn a_status_is_shown_and_ready_is_what_is_waited_for() {
    if !requires("python3") {
        return;
    }
    let rsx = Rsx::new();
    rsx.write("app.py", SAYS);
    rsx.ok("start app.py --wait-ready --no-wait --kill-timeout 2s");
    rsx.events().wait_for("app", "started");
    rsx.ok("send app STATUS=warming-up");
    let until = std::time::Instant::now() + LIMIT;
    while rsx.slot("app", 0)["said"]["status"] != "warming-up" {
        assert!(std::time::Instant::now() < until, "{}", rsx.slot("app", 0));
    }
    rsx.ok("describe app").prints(&["warming-up"]);
    assert_eq!(rsx.state("app"), "launching");
    rsx.ok("send app 'READY=1 STATUS=serving'");
    rsx.events().wait_for("app", "online");
    rsx.ok("describe app").prints(&["serving"]);
}

/// A server that says that it is about to end when it is asked by SIGUSR2, and goes on.
const LEAVES: &str = "
import http.server, os, signal, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ['NOTIFY_SOCKET'])
signal.signal(signal.SIGUSR2, lambda *_: s.send(b'STOPPING=1'))
signal.signal(signal.SIGUSR1, lambda *_: s.send(b'READY=1'))
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = b'pid %d' % os.getpid()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer.request_queue_size = 200
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['SERVE'])), Handler).serve_forever()
";

/// Asks until as many answer as should.
#[track_caller]
fn answered_by(port: u16, count: usize) -> Vec<String> {
    let until = std::time::Instant::now() + LIMIT;
    loop {
        let load = Load::start(port, 2);
        load.goes_on(60);
        let seen = load.has_lost_nothing();
        if seen.answers.len() == count {
            return seen.answers.keys().cloned().collect();
        }
        assert!(std::time::Instant::now() < until, "{seen:?}");
    }
}

#[test]
fn who_is_about_to_end_gets_nothing_new_until_it_changes_its_mind() {
    if !requires("python3") {
        return;
    }
    let mut rsx = Rsx::new();
    let port = free_port();
    rsx.set_env("SERVE", port.to_string());
    rsx.write("web.py", LEAVES);
    rsx.ok("start web.py -i 2 --kill-timeout 2s");
    answered_by(port, 2);
    let leaving = Watched::new(rsx.pid("web"));
    leaving.kill("USR2");
    let left = answered_by(port, 1);
    assert_ne!(left, [format!("pid {}", leaving.pid)]);
    // The successor knows, too.
    rsx.daemon().0.kill("KILL");
    rsx.ok("ls");
    assert_eq!(answered_by(port, 1), left);
    leaving.kill("USR1");
    answered_by(port, 2);
}

/// While a daemon dies when a program has said that it is ready: it is ready all the same.
#[cfg(feature = "failpoints")]
#[test]
fn a_death_at_any_place_where_somebody_says_something_is_made_good() {
    use std::time::Duration;

    if !requires("node") || !requires("python3") {
        return;
    }
    for place in rsx::daemon::failpoint::SAYING_PLACES {
        let mut rsx = Rsx::new();
        let file = rsx.scratch().join("failpoint");
        rsx.set_env("RSX_FAILPOINT", &file);
        rsx.write("node.js", "process.send('ready'); setInterval(() => {}, 1000)");
        rsx.write(
            "npm",
            "#!/usr/bin/env node\nrequire('child_process').spawnSync('node', ['node.js'], { stdio: 'inherit' })",
        );
        rsx.write(
            "notify.py",
            "import os, socket, time\nsocket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])\ntime.sleep(1000)\n",
        );
        rsx.ok("start 'sleep 1000' --name witness --min-uptime 50 --kill-timeout 2s");
        let witness = rsx.pid("witness");
        for step in ["start node.js", "start notify.py", "start npm --interpreter node --name behind", "restart all"] {
            // The guardian pauses where one daemon follows another within a second.
            std::thread::sleep(Duration::from_millis(1050));
            std::fs::write(&file, place).unwrap();
            let more = if step.starts_with("start") { "--wait-ready --kill-timeout 2s" } else { "" };
            rsx.ok(&format!("{step} {more}"));
            assert!(!file.exists(), "{place}: `{step}` does not come by");
            if step.starts_with("start") {
                assert_eq!(rsx.pid("witness"), witness, "{place}: `{step}`");
            }
        }
        rsx.ok("stop all");
        assert_eq!(rsx.processes().len(), 0, "{place}");
    }
}
