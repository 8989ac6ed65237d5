//! A limit of memory: who takes more is replaced.

use std::time::Instant;

use crate::harness::{Event, Events, Load, Rsx, alone, free_port, requires};

/// Serves, and takes 25 MB more each second.
const LEAK: &str = "
import http.server, os, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        text = b'pid %d' % os.getpid()
        self.send_response(200)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_):
        pass
held = []
def leak():
    while True:
        held.append(os.urandom(1) * 2_500_000)
        time.sleep(0.1)
threading.Thread(target=leak, daemon=True).start()
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
";

/// Waits until this is done about the memory of an app.
#[track_caller]
fn heavy(events: &mut Events, app: &str, then: &str) -> Event {
    events
        .wait(&format!("`{then}` of `{app}`"), |event| event.of(app) && event.is("heavy") && event.get("then") == then)
}

#[test]
fn a_leaking_instance_is_replaced_under_load_without_a_failed_request() {
    if !requires("python3") {
        return;
    }
    let rsx = Rsx::new();
    let port = free_port();
    rsx.write("leak.py", LEAK);
    rsx.ecosystem(&format!(
        "[[apps]]\nname = \"leak\"\nscript = \"leak.py\"\ninstances = 2\nmax_memory_restart = \"200M\"\n\
         env = {{ PORT = {port} }}\n"
    ));
    rsx.ok("start ecosystem.toml");
    let load = Load::start(port, 4);
    let mut events = rsx.events();
    let mut replaced = Vec::new();
    heavy(&mut events, "leak", "warned");
    for _ in 0..2 {
        replaced.push(heavy(&mut events, "leak", "replaced").get("memory").as_u64().unwrap());
    }
    for _ in 0..2 {
        events.wait_for("leak", "exited");
    }
    load.has_lost_nothing();
    assert!(replaced.iter().all(|bytes| (200 << 20..300 << 20).contains(bytes)), "{replaced:?}");
    let why = rsx.ok("why leak").out;
    assert!(why.contains("limit 200") && why.contains("a new run takes over"), "{why}");
}

#[test]
fn an_app_that_shares_nothing_is_restarted_and_a_warning_comes_first() {
    if !requires("python3") {
        return;
    }
    let rsx = Rsx::new();
    rsx.write(
        "big.py",
        "import os, time\nheld = []\nwhile True:\n    held.append(bytearray(b'x' * 4_000_000))\n    time.sleep(0.2)\n",
    );
    rsx.ok("start big.py --max-memory-restart 100M --min-uptime 50");
    let mut events = rsx.events();
    heavy(&mut events, "big", "warned");
    heavy(&mut events, "big", "restarted");
    events.wait_for("big", "exited");
    let app = rsx.json("describe big");
    assert!(app[0]["slots"][0]["history"][0]["reason"].as_str().unwrap().ends_with("stopped for its memory"), "{app}");
    assert!(rsx.ok("describe big").out.contains("memory limit"), "the limit is shown");
}

/// Takes so much of the wall clock's time, whatever else the machine does: 12 MB a second.
const STEADY_LEAK: &str = "
import time
held, began = [], time.monotonic()
while True:
    while len(held) < (time.monotonic() - began) * 12:
        held.append(bytearray(b'x' * (1 << 20)))
    time.sleep(0.02)
";

#[test]
fn a_leak_is_foretold() {
    if !requires("python3") {
        return;
    }
    let _alone = alone();
    let rsx = Rsx::new();
    rsx.write("leak.py", STEADY_LEAK);
    rsx.ecosystem(
        "[[apps]]\nname = \"leak\"\nscript = \"leak.py\"\nmax_memory_restart = \"160M\"\nmemory_warn = \"70M\"\n\
         [[apps]]\nname = \"calm\"\nscript = \"sleep 1000\"\nmax_memory_restart = \"160M\"\n",
    );
    rsx.ok("start ecosystem.toml");
    let mut events = rsx.events();
    heavy(&mut events, "leak", "warned");
    let (asked, told) = (Instant::now(), rsx.ok("describe leak").out);
    heavy(&mut events, "leak", "restarted");
    let truth = asked.elapsed().as_secs_f64();
    let told = told.lines().find(|line| line.contains("at this rate the limit of 160")).expect(&told);
    let seconds = told.rsplit_once(" in ").and_then(|(_, left)| left.split_once('s')).unwrap().0;
    // Said in whole seconds, and measured once a second.
    let foretold: f64 = seconds.parse().unwrap();
    assert!(foretold <= truth * 1.2 && foretold + 2.0 >= truth * 0.8, "{told}, and it took {truth}");
    assert!(!rsx.ok("describe calm").out.contains("at this rate"));
}
