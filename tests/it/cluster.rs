//! Cluster mode: unmodified servers share a port, are replaced, killed, added and taken away under load, and whoever asks
//! them notices nothing.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpStream};

use crate::harness::{Load, Rsx, Watched, as_pid, ask, free_port, requires};

/// Knows nothing of rsx, of shared ports, or of signals.
const PYTHON: &str = "
import http.server, os
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

/// As that.
const NODE: &str = "
require('http').createServer((_, answer) => answer.end(`pid ${process.pid}`)).listen(+process.env.SERVE, '127.0.0.1')
";

/// An app of this many instances, and its port.
struct Served {
    rsx: Rsx,
    port: u16,
    script: &'static str,
}

impl Served {
    /// None where the toolchain is missing.
    fn new(program: &str, instances: usize) -> Option<Served> {
        Served::with(program, instances, &[])
    }

    fn with(program: &str, instances: usize, env: &[(&str, &OsStr)]) -> Option<Served> {
        if !requires(program) {
            return None;
        }
        let mut rsx = Rsx::new();
        env.iter().for_each(|(name, value)| rsx.set_env(name, value));
        let port = free_port();
        rsx.set_env("SERVE", port.to_string());
        let (script, text) = if program == "node" { ("web.js", NODE) } else { ("web.py", PYTHON) };
        rsx.write(script, text);
        rsx.ecosystem(&format!("[[apps]]\nname = \"web\"\nscript = \"{script}\"\ninstances = {instances}\n"));
        rsx.ok("start ecosystem.toml").prints(&[&format!("web shares 127.0.0.1:{port}")]);
        Some(Served { rsx, port, script })
    }

    fn pids(&self) -> BTreeSet<u32> {
        let app = self.rsx.app("web");
        app["slots"].as_array().unwrap().iter().filter_map(|slot| as_pid(&slot["pid"])).collect()
    }

    fn names(&self) -> BTreeSet<String> {
        self.pids().iter().map(|pid| format!("pid {pid}")).collect()
    }
}

/// The same test with each program that is there.
macro_rules! with_each_program {
    ($($name:ident($instances:expr))*) => {$(
        mod $name {
            #[test]
            fn in_python() {
                if let Some(served) = super::Served::new("python3", $instances) {
                    super::$name(served);
                }
            }

            #[test]
            fn in_node() {
                if let Some(served) = super::Served::new("node", $instances) {
                    super::$name(served);
                }
            }
        }
    )*};
}

with_each_program! {
    instances_share_a_port_and_all_of_them_answer(4)
    a_reload_under_load_loses_nothing(4)
    a_killed_instance_loses_what_it_had_in_hand_and_no_more(4)
    a_reload_to_a_broken_program_changes_nothing(2)
    scaling_under_load_loses_nothing(2)
    the_daemon_may_die_under_load(4)
    with_one_instance_connections_wait_for_its_next_life(1)
}

fn instances_share_a_port_and_all_of_them_answer(served: Served) {
    let Served { rsx, port, .. } = &served;
    let load = Load::start(*port, 4);
    load.goes_on(400);
    let seen = load.has_lost_nothing();
    assert_eq!(seen.answers.keys().cloned().collect::<BTreeSet<_>>(), served.names());
    // 400 over 4: six standard deviations.
    assert!(seen.answers.values().all(|count| *count > seen.count() / 10), "{:?}", seen.answers);
    rsx.ok("ls").prints(&["cluster"]);
    rsx.ok("describe web").prints(&[&format!("127.0.0.1:{port}, 4 sockets, 4 serving, 0 waiting here")]);
    rsx.ok("stop web");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_err(), "nobody is there, and nobody waits");
}

fn a_reload_under_load_loses_nothing(served: Served) {
    let load = Load::start(served.port, 3);
    for _ in 0..2 {
        let before = served.names();
        load.goes_on(100);
        served.rsx.ok("reload web");
        load.goes_on(100);
        assert!(served.names().is_disjoint(&before), "all were replaced");
    }
    let seen = load.has_lost_nothing();
    assert_eq!(seen.answers.len(), 12, "{:?}", seen.answers);
}

fn a_killed_instance_loses_what_it_had_in_hand_and_no_more(served: Served) {
    const CLIENTS: usize = 3;
    const KILLS: usize = 3;
    let load = Load::start(served.port, CLIENTS);
    let mut events = served.rsx.events();
    for _ in 0..KILLS {
        load.goes_on(100);
        let pid = *served.pids().first().unwrap();
        Watched::new(pid).kill("KILL");
        events.wait("its end", |event| event.is("exited") && event.pid() == pid);
        events.wait_for("web", "online");
    }
    load.goes_on(100);
    let seen = load.stop();
    assert!(seen.failed.len() <= CLIENTS * KILLS, "{seen:?}");
    assert!(seen.failed.iter().all(|why| !why.contains("refused")), "{seen:?}");
}

fn a_reload_to_a_broken_program_changes_nothing(served: Served) {
    let Served { rsx, port, script } = &served;
    let before = served.pids();
    let load = Load::start(*port, 2);
    let broken = if *script == "web.js" {
        "console.error('no such table'); process.exit(3)"
    } else {
        "import sys\nprint('no such table', file=sys.stderr)\nsys.exit(3)"
    };
    rsx.write(script, broken);
    rsx.fails(5, "reload web").says(&["exit code 3", "no such table"]);
    assert_eq!(served.pids(), before);
    load.goes_on(50);
    assert_eq!(load.has_lost_nothing().answers.len(), 2);
}

fn scaling_under_load_loses_nothing(served: Served) {
    let Served { rsx, port, .. } = &served;
    let load = Load::start(*port, 3);
    for count in [4, 1, 3] {
        load.goes_on(50);
        rsx.ok(&format!("scale web {count}"));
        assert_eq!(served.pids().len(), count);
        load.goes_on(50);
    }
    load.has_lost_nothing();
    let load = Load::start(*port, 3);
    load.goes_on(200);
    assert_eq!(load.has_lost_nothing().answers.keys().cloned().collect::<BTreeSet<_>>(), served.names());
}

fn the_daemon_may_die_under_load(served: Served) {
    let Served { rsx, port, .. } = &served;
    let before = served.pids();
    let load = Load::start(*port, 3);
    for _ in 0..2 {
        rsx.daemon().0.kill("KILL");
        load.goes_on(100);
        assert_eq!(served.pids(), before);
    }
    // What its successor has restored can be changed.
    rsx.ok("reload web");
    // And it may die in the middle of that: the reload is finished or undone.
    let newest = (0..4).filter_map(|instance| rsx.slot("web", instance)["run"].as_u64()).max();
    let mut events = rsx.events();
    rsx.ok("reload web --no-wait");
    events.wait("a new run", |event| event.is("started") && event.get("run").as_u64() > newest);
    rsx.daemon().0.kill("KILL");
    for _ in 0..4 {
        events.wait_for("web", "exited");
    }
    rsx.ok("reload web");
    let seen = load.has_lost_nothing();
    assert!(seen.answers.len() >= 12, "{:?}", seen.answers);
    assert_eq!(served.pids().len(), 4);
}

fn with_one_instance_connections_wait_for_its_next_life(served: Served) {
    let Served { rsx, port, .. } = &served;
    let load = Load::start(*port, 2);
    for _ in 0..2 {
        load.goes_on(20);
        rsx.ok("restart web");
        rsx.ok("reload web");
    }
    load.goes_on(20);
    load.has_lost_nothing();
}

#[test]
fn a_port_belongs_to_one_app() {
    let Some(served) = Served::new("python3", 2) else { return };
    let Served { rsx, port, script } = &served;
    rsx.fails(5, &format!("start {script} --name other -i 2 --no-autorestart")).says(&["Address already in use"]);
    rsx.wait_for_text(&rsx.home().join("daemon.log"), |text| text.contains("`web` has this port"));
    assert!(served.names().contains(&ask(*port).unwrap()));
}

/// While a daemon dies at one place or another: each step again, until it holds, and nobody who asks notices.
#[cfg(feature = "failpoints")]
#[test]
fn a_death_at_any_place_of_cluster_mode_is_made_good() {
    use rsx::daemon::failpoint::{CLUSTER_PLACES, PLACES};
    use std::time::Duration;

    let only = std::env::var("RSX_TEST_PLACE").ok();
    let places = CLUSTER_PLACES.iter().chain(PLACES);
    for place in places.filter(|place| only.as_deref().is_none_or(|only| only == **place)) {
        // Its environment is that of the daemon, which the first verb starts.
        let file = std::env::temp_dir().join(format!("rsx-place-{}", std::process::id()));
        let Some(served) = Served::with("python3", 2, &[("RSX_FAILPOINT", file.as_os_str())]) else { return };
        let Served { rsx, port, .. } = &served;
        let load = Load::start(*port, 2);
        let mut hits = 0;
        let steps = [("reload web", 2), ("scale web 3", 3), ("restart web", 3), ("scale web 1", 1), ("reload web", 1)];
        for (step, count) in steps {
            // The guardian pauses where one daemon follows another within a second.
            std::thread::sleep(Duration::from_millis(1050));
            std::fs::write(&file, place).unwrap();
            if *place == "adopting" {
                rsx.daemon().0.kill("KILL");
            }
            rsx.ok(step);
            hits += usize::from(std::fs::remove_file(&file).is_err());
            load.goes_on(20);
            // Finished, and nothing else lives.
            assert_eq!((served.pids().len(), rsx.processes().len()), (count, count), "{place}: {step}");
        }
        assert!(hits > 0, "nothing comes by {place}");
        let seen = load.stop();
        println!("{place}: {hits} deaths, {} answers, failed: {:?}", seen.count(), seen.failed);
        assert!(seen.failed.is_empty(), "{place}: {} of {}: {:?}", seen.failed.len(), seen.count(), seen.failed);
    }
}
