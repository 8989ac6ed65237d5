//! What is shown of a run that finishes what it has.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::{LIMIT, Rsx, as_pid, free_port, requires};

/// Answers when a file is there.
const SLOW: &str = "
import http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        while not os.path.exists('go'): time.sleep(0.02)
        self.send_response(200); self.end_headers(); self.wfile.write(b'pid %d' % os.getpid())
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
";

/// A request that will be answered when the file is there.
fn request(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    stream
}

fn slow(drain_timeout: &str) -> Option<(Rsx, u16)> {
    if !requires("python3") {
        return None;
    }
    let (rsx, port) = (Rsx::new(), free_port());
    rsx.write("web.py", SLOW);
    rsx.ecosystem(&format!(
        "[[apps]]\nname = \"web\"\nscript = \"web.py\"\nport = {port}\ninstances = 1\ndrain_timeout = \"{drain_timeout}\"\n"
    ));
    rsx.ok("start ecosystem.toml");
    Some((rsx, port))
}

/// Looks until it is shown so.
#[track_caller]
fn shows(rsx: &Rsx, verb: &str, text: &str) {
    let until = Instant::now() + LIMIT;
    loop {
        let shown = rsx.ok(verb).out;
        if shown.contains(text) {
            return;
        }
        assert!(Instant::now() < until, "`{verb}` does not show `{text}`:\n{shown}");
    }
}

#[test]
fn a_reload_shows_what_the_old_process_is_still_doing() {
    let Some((rsx, port)) = slow("30s") else { return };
    let old = rsx.pid("web");
    let mut in_hand = [request(port), request(port)];
    // Taken by the program for certain: it answers in the order of nothing, so the queue is looked at.
    shows(&rsx, "describe web", "0 waiting here");
    let mut reload = rsx.lines("reload web");
    shows(&rsx, "ls", "draining: 2 connections, oldest ");
    shows(&rsx, "ls", &format!("(pid {old}, replaced)"));
    shows(&rsx, "describe web", &format!("pid {old}, replaced, draining: 2 connections, oldest "));
    let slot = rsx.slot("web", 0);
    assert_eq!((&slot["state"], as_pid(&slot["draining"]["pid"])), (&"online".into(), Some(old)));
    assert_ne!(as_pid(&slot["pid"]), Some(old));
    assert_eq!(slot["draining"]["remaining"]["connections"], 2);
    rsx.write("go", "");
    assert_eq!(reload.ends(), 0);
    for stream in &mut in_hand {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with(&format!("pid {old}")), "{answer}");
    }
    assert_eq!(rsx.slot("web", 0)["draining"], serde_json::Value::Null);
}

#[test]
fn what_is_stopped_is_draining_first() {
    let Some((rsx, port)) = slow("30s") else { return };
    let mut stream = request(port);
    shows(&rsx, "describe web", "0 waiting here");
    rsx.ok("stop web --no-wait");
    shows(&rsx, "ls", "web: draining: 1 connection, ");
    assert_eq!(rsx.state("web"), "draining");
    // In PM2's words, which scripts compare.
    assert_eq!(rsx.json("jlist")[0]["pm2_env"]["status"], "stopping");
    rsx.write("go", "");
    rsx.events().wait_for("web", "stopped");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("pid "), "{answer}");
}

#[test]
fn a_drain_ends_at_its_time() {
    let Some((rsx, port)) = slow("1s") else { return };
    let old = rsx.pid("web");
    let _in_hand = request(port);
    shows(&rsx, "describe web", "0 waiting here");
    let began = Instant::now();
    rsx.ok("reload web");
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    let mut events = rsx.events();
    events.wait("its end", |event| event.is("exited") && event.pid() == old);
}
