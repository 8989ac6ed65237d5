//! Programs that promise to speak (`watchdog`), and what becomes of those that hang.

use crate::harness::{Load, Rsx, Watched, free_port, requires};

/// Says that it is ready and that it lives, ten times a second, until a signal makes it hang or say something else. A line on
/// its standard output says what it was told.
const SPEAKS: &str = "
import os, signal, socket, sys, time
talk = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
talk.connect(os.environ['NOTIFY_SOCKET'])
usec, pid = os.environ.get('WATCHDOG_USEC'), os.environ.get('WATCHDOG_PID')
print('told', usec, pid == str(os.getpid()), flush=True)
def hang(*_):
    while True: time.sleep(1000)
signal.signal(signal.SIGUSR1, hang)
signal.signal(signal.SIGUSR2, lambda *_: talk.send(b'WATCHDOG=trigger'))
signal.signal(signal.SIGHUP, lambda *_: talk.send(b'WATCHDOG_USEC=60000000'))
if len(sys.argv) > 1: signal.signal(signal.SIGABRT, lambda *_: None)
talk.send(b'READY=1')
while True:
    talk.send(b'WATCHDOG=1')
    time.sleep(0.1)
";

fn speaking(more: &str) -> Option<Rsx> {
    if !requires("python3") {
        return None;
    }
    let rsx = Rsx::new();
    rsx.write("speaks.py", SPEAKS);
    rsx.ecosystem(&format!(
        "[[apps]]\nname = \"speaks\"\nscript = \"speaks.py\"\nwait_ready = true\nwatchdog = \"1500ms\"\n{more}\n"
    ));
    rsx.ok("start ecosystem.toml");
    Some(rsx)
}

#[test]
fn who_hangs_is_aborted_and_started_anew_and_that_is_said() {
    let Some(rsx) = speaking("") else { return };
    rsx.wait_for_text(&rsx.log("speaks-out.log"), |text| text.contains("told 1500000 True"));
    let mut events = rsx.events();
    let hanging = Watched::new(rsx.pid("speaks"));
    hanging.kill("USR1");
    let told = events.wait_for("speaks", "hung");
    assert_eq!(told.get("reason"), "hung: no word for 1.5s");
    hanging.ends();
    events.wait_for("speaks", "online");
    let slot = rsx.slot("speaks", 0);
    assert_eq!((&slot["last_exit"]["by"], &slot["restarts_by"]["watchdog"]), (&"watchdog".into(), &1.into()), "{slot}");
    rsx.ok("why speaks").prints(&["hung: no word for 1.5s", "SIGABRT"]);
    rsx.ok("describe speaks").prints(&["aborted after 1.5s without a word", "hung: no word for 1.5s"]);
}

#[test]
fn who_ignores_that_is_killed() {
    let Some(rsx) = speaking("args = [\"deaf\"]\nkill_timeout = \"300ms\"") else { return };
    let mut events = rsx.events();
    let hanging = Watched::new(rsx.pid("speaks"));
    hanging.kill("STOP");
    events.wait_for("speaks", "hung");
    events.wait_for("speaks", "killed");
    hanging.ends();
    events.wait_for("speaks", "online");
    rsx.ok("why speaks").prints(&["and did not end within 300ms"]);
}

#[test]
fn a_program_says_itself_that_it_hangs_or_that_it_needs_more_time() {
    let Some(rsx) = speaking("") else { return };
    let mut events = rsx.events();
    Watched::new(rsx.pid("speaks")).kill("USR2");
    let told = events.wait_for("speaks", "hung");
    assert!(told.get("reason").as_str().unwrap().contains("WATCHDOG=trigger"), "{}", told.json);
    events.wait_for("speaks", "online");
    // It is silent for longer than it was allowed to at first, also under another daemon.
    let patient = Watched::new(rsx.pid("speaks"));
    patient.kill("HUP");
    rsx.daemon().0.kill("KILL");
    rsx.ok("ls");
    patient.kill("USR1");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(patient.lives() && rsx.pid("speaks") == patient.pid);
}

#[test]
fn who_hung_while_no_daemon_lived_is_found_by_the_next_one_and_who_spoke_is_let_alone() {
    let Some(rsx) = speaking("instances = 2\nexec_mode = \"fork\"") else { return };
    let [hanging, other] = [0, 1].map(|at| Watched::new(rsx.slot("speaks", at)["pid"].as_u64().unwrap() as u32));
    let (daemon, _) = rsx.daemon();
    daemon.kill("KILL");
    hanging.kill("USR1");
    let mut events = rsx.events();
    events.wait_for("speaks", "hung");
    hanging.ends();
    events.wait_for("speaks", "online");
    assert!(other.lives());
    assert_eq!(rsx.slot("speaks", 1)["restarts"], 0);
}

/// Serves while it speaks.
const SERVES: &str = "
import http.server, os, signal, socket, sys, threading, time
talk = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
talk.connect(os.environ['NOTIFY_SOCKET'])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'pid %d' % os.getpid()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    def service_actions(self): talk.send(b'WATCHDOG=1')
server = Server(('127.0.0.1', int(sys.argv[1])), Handler)
server.serve_forever(poll_interval=0.1)
";

#[test]
fn a_member_that_hangs_is_replaced_and_who_waits_for_it_is_served() {
    if !requires("python3") {
        return;
    }
    let rsx = Rsx::new();
    let port = free_port();
    rsx.write("serves.py", SERVES);
    rsx.ecosystem(&format!(
        "[[apps]]\nname = \"web\"\nscript = \"serves.py\"\nargs = [\"{port}\"]\ninstances = 2\nwatchdog = \"1s\"\n\
         kill_timeout = \"500ms\"\n"
    ));
    rsx.ok("start ecosystem.toml");
    let mut events = rsx.events();
    let hanging = Watched::new(rsx.pid("web"));
    hanging.kill("STOP");
    events.wait_for("web", "hung");
    hanging.ends();
    events.wait("its successor", |event| event.is("online") && event.json["instance"] == 0);
    let load = Load::start(port, 2);
    load.goes_on(60);
    load.has_lost_nothing();
}

#[cfg(feature = "failpoints")]
#[test]
fn a_death_at_any_place_where_somebody_hangs_is_made_good() {
    let places = rsx::daemon::failpoint::HANG_PLACES.iter().chain(&["before-signal", "after-signal", "after-journal"]);
    for place in places {
        if !requires("python3") {
            return;
        }
        let mut rsx = Rsx::new();
        let file = rsx.scratch().join("failpoint");
        rsx.set_env("RSX_FAILPOINT", &file);
        rsx.write("speaks.py", SPEAKS);
        rsx.ecosystem(
            "[[apps]]\nname = \"speaks\"\nscript = \"speaks.py\"\nwait_ready = true\nwatchdog = \"1500ms\"\n\
             kill_timeout = \"1s\"\n",
        );
        rsx.ok("start ecosystem.toml");
        let mut events = rsx.events();
        let hanging = Watched::new(rsx.pid("speaks"));
        std::fs::write(&file, place).unwrap();
        hanging.kill("USR1");
        hanging.ends();
        // The first of all is among the past ones.
        events.wait("its successor", |event| event.of("speaks") && event.is("online") && event.get("run") != 1);
        assert!(!file.exists(), "{place}: nothing comes by it");
        assert_eq!(rsx.slot("speaks", 0)["restarts_by"]["watchdog"], 1, "{place}");
    }
}
