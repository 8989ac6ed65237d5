//! Who gets a connection, and what a reload keeps until it is sure: balances, canaries, blue-green, and the way back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::harness::{Load, Rsx, as_pid, ask, ask_from, free_port, requires};

/// Knows nothing of rsx. Says who it is, after what it is told to do first.
fn server(first: &str) -> String {
    format!(
        "
import http.server, os, sys, threading, time
instance = os.environ['NODE_APP_INSTANCE']
pause = 0
{first}
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        time.sleep(pause)
        body = b'pid %d' % os.getpid()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer.request_queue_size = 200
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['SERVE'])), Handler).serve_forever()
"
    )
}

struct Served {
    rsx: Rsx,
    port: u16,
}

impl Served {
    /// An app of so many instances with these keys; none where Python is missing.
    fn new(instances: usize, keys: &str, first: &str) -> Option<Served> {
        if !requires("python3") {
            return None;
        }
        let (mut rsx, port) = (Rsx::new(), free_port());
        rsx.set_env("SERVE", port.to_string());
        rsx.write("web.py", server(first));
        let app =
            format!("name = \"web\"\nscript = \"web.py\"\ninstances = {instances}\nkill_timeout = \"2s\"\n{keys}\n");
        rsx.ecosystem(&format!("[[apps]]\n{app}"));
        rsx.ok("start ecosystem.toml");
        Some(Served { rsx, port })
    }

    /// Of each instance.
    fn pids(&self) -> Vec<u32> {
        let app = self.rsx.app("web");
        app["slots"].as_array().unwrap().iter().filter_map(|slot| as_pid(&slot["pid"])).collect()
    }

    fn name(&self, instance: usize) -> String {
        format!("pid {}", self.pids()[instance])
    }

    /// Where the second processes of the instances are.
    fn beside(&self) -> Vec<String> {
        let app = self.rsx.app("web");
        let slots = app["slots"].as_array().unwrap().iter();
        slots.filter_map(|slot| Some(slot["second"]["state"].as_str()?.to_owned())).collect()
    }
}

#[test]
fn a_canary_that_dies_under_load_gives_its_place_back() {
    const CLIENTS: usize = 3;
    let Some(served) = Served::new(2, "bake = \"5s\"", "") else { return };
    let Served { rsx, port } = &served;
    let before = served.pids();
    let load = Load::start(*port, CLIENTS);
    load.goes_on(50);
    rsx.write(
        "web.py",
        server(
            "threading.Timer(2, lambda: (print('no such table', file=sys.stderr, flush=True), os._exit(9))).start()",
        ),
    );
    let done = rsx.fails(5, "reload web");
    done.says(&["exit code 9 after 2", "on trial for 5s", "no such table", "the instance that ran before goes on"]);
    done.says(&["left running, because `web:0` failed"]);
    assert_eq!(served.pids(), before);
    load.goes_on(100);
    let seen = load.stop();
    // What it had accepted, one for each client at most; who waited in its queue was answered by another.
    assert!(seen.failed.len() <= CLIENTS, "{seen:?}");
    assert_eq!(seen.answers.len(), 3, "both, and the canary: {:?}", seen.answers);
    let mut events = rsx.events();
    events.wait_for("web", "parked");
    let back = events.wait_for("web", "rolled_back");
    assert!(back.get("reason").as_str().unwrap().starts_with("exit code 9"), "{}", back.json);
    // It is as it was before: the next one is like the first.
    rsx.write("web.py", server(""));
    rsx.ok("reload web");
    assert!(served.pids().iter().all(|pid| !before.contains(pid)));
}

#[test]
fn blue_green_with_a_broken_fourth_switches_nothing() {
    let Some(served) = Served::new(4, "strategy = \"blue-green\"\nbake = \"200ms\"", "") else { return };
    let Served { rsx, port } = &served;
    let before = served.pids();
    let load = Load::start(*port, 2);
    rsx.write("web.py", server("if instance == '3': time.sleep(1); sys.exit(3)"));
    rsx.fails(5, "reload web").says(&["exit code 3", "`web:3` failed"]);
    assert_eq!(served.pids(), before);
    load.goes_on(50);
    assert_eq!(load.has_lost_nothing().answers.len(), 4);
    let load = Load::start(*port, 2);
    rsx.write("web.py", server(""));
    rsx.ok("reload web");
    assert!(served.pids().iter().all(|pid| !before.contains(pid)));
    load.goes_on(50);
    load.has_lost_nothing();
    // All were beside each other before the first was replaced.
    let mut events = rsx.events();
    events.wait("the last that waits", |event| event.is("held"));
    events.wait_for("web", "parked");
    assert!(events.count("web", "held") >= 4, "{}", events.count("web", "held"));
}

#[test]
fn a_reload_is_aborted_and_both_generations_are_shown_meanwhile() {
    let Some(served) = Served::new(2, "bake = \"60s\"", "") else { return };
    let Served { rsx, port } = &served;
    let before = served.pids();
    let load = Load::start(*port, 2);
    let mut events = rsx.events();
    rsx.ok("reload web --no-wait");
    events.wait_for("web", "parked");
    assert_eq!(served.beside(), ["parked"]);
    rsx.ok("ls").prints(&["parked", "online (old)"]);
    rsx.ok("describe web").prints(&[&format!("parked, pid {}", before[0]), "generation 1"]);
    // It is remembered by the next daemon.
    rsx.daemon().0.kill("KILL");
    assert_eq!(served.beside(), ["parked"]);
    rsx.ok("reload web --abort");
    assert_eq!((served.pids(), served.beside()), (before, Vec::new()));
    load.goes_on(20);
    load.has_lost_nothing();
    rsx.fails(1, "reload web --abort").says(&["no reload of `web` is under way"]);
    rsx.fails(2, "reload web --abort --strategy rolling");
}

#[test]
fn the_daemon_may_die_while_all_new_ones_wait_for_the_last() {
    let Some(served) = Served::new(2, "strategy = \"blue-green\"\nbake = \"200ms\"", "") else { return };
    let Served { rsx, port } = &served;
    let before = served.pids();
    let load = Load::start(*port, 2);
    let gate = rsx.scratch().join("gate");
    rsx.write("web.py", server(&format!("while instance == '1' and not os.path.exists({gate:?}): time.sleep(0.01)")));
    let mut events = rsx.events();
    rsx.ok("reload web --no-wait");
    events.wait_for("web", "held");
    rsx.daemon().0.kill("KILL");
    assert_eq!(served.pids(), before);
    std::fs::write(&gate, "").unwrap();
    for _ in 0..2 {
        events.wait_for("web", "draining");
    }
    load.goes_on(20);
    load.has_lost_nothing();
    assert!(served.pids().iter().all(|pid| !before.contains(pid)));
}

#[test]
fn a_client_keeps_its_instance_and_only_those_of_a_lost_one_move() {
    let Some(served) = Served::new(4, "balance = \"source-ip\"", "") else { return };
    let Served { rsx, port } = &served;
    let clients: Vec<Ipv4Addr> = (0..200).map(|n: u8| Ipv4Addr::new(127, 0, 1 + n / 100, 1 + n % 100)).collect();
    let whose = || -> BTreeMap<Ipv4Addr, String> {
        clients.iter().map(|client| (*client, ask_from(*client, *port).unwrap())).collect()
    };
    let first = whose();
    assert_eq!(whose(), first);
    let lost = served.name(1);
    let of_lost: BTreeSet<Ipv4Addr> =
        first.iter().filter(|(_, name)| **name == lost).map(|(client, _)| *client).collect();
    // A quarter of 200; a table of 256 is not quite even.
    assert!((20..=85).contains(&of_lost.len()), "{}", of_lost.len());
    rsx.ok("stop 1");
    for (client, name) in whose() {
        assert_eq!(name == first[&client], !of_lost.contains(&client), "{client}");
    }
    rsx.ok("start 1");
    let again = served.name(1);
    for (client, name) in whose() {
        let expected = if of_lost.contains(&client) { &again } else { &first[&client] };
        assert_eq!(&name, expected, "{client}");
    }
    // A reload moves nobody to another place.
    let places = |pids: Vec<u32>| pids.into_iter().map(|pid| format!("pid {pid}")).collect::<Vec<_>>();
    let (before, old) = (whose(), places(served.pids()));
    rsx.ok("reload web");
    let new = places(served.pids());
    let place = |names: &[String], name: &String| names.iter().position(|it| it == name);
    for (client, name) in whose() {
        assert_eq!(place(&new, &name), place(&old, &before[&client]), "{client}");
    }
}

#[test]
fn connections_are_spread_by_weight() {
    let Some(served) = Served::new(2, "weights = [3, 1]\nbake = 0", "") else { return };
    let Served { rsx, port } = &served;
    let is_three_to_one = || {
        let load = Load::start(*port, 4);
        load.goes_on(800);
        let seen = load.has_lost_nothing();
        let heavy = seen.answers[&served.name(0)] * 1000 / seen.count();
        // Six standard deviations.
        assert!((660..=840).contains(&heavy), "{heavy} of 1000: {:?}", seen.answers);
    };
    is_three_to_one();
    rsx.daemon().0.kill("KILL");
    is_three_to_one();
    rsx.ok("describe web").prints(&["by weight [3, 1]"]);
}

#[test]
fn who_has_least_to_do_gets_most() {
    let Some(served) = Served::new(2, "balance = \"least\"", "pause = 0.3 if instance == '0' else 0.002") else {
        return;
    };
    let Served { port, .. } = &served;
    let slow = served.name(0);
    let crowd = Load::start(*port, 16);
    crowd.goes_on(3_000);
    let mut shares = Vec::new();
    for _ in 0..5 {
        let probe = Load::start(*port, 2);
        probe.goes_on(60);
        let seen = probe.has_lost_nothing();
        shares.push(seen.answers.get(&slow).copied().unwrap_or_default() * 100 / seen.count());
    }
    crowd.has_lost_nothing();
    // Half of them, if it was not looked at what it has to do.
    let mean = shares.iter().sum::<usize>() / shares.len();
    assert!(mean < 35, "{shares:?}");
    assert!(ask(*port).is_ok());
}
