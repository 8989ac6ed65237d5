//! Health checks with real servers under load: who is ill gets nothing, who stays ill is restarted, and clients notice
//! neither.

use std::time::{Duration, Instant};

use crate::harness::{Load, Rsx, Watched, alone, as_pid, free_port, requires};

/// Says who it is. Its health is what the file `ill-N` of its instance says: its status, or `hang`.
const SERVER: &str = "
import http.server, os, sys, time
instance = os.environ['NODE_APP_INSTANCE']
mark = os.path.join(os.environ['SCRATCH'], 'ill-' + instance)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        status = 200
        if self.path == '/health':
            try: status = int(open(mark).read())
            except FileNotFoundError: pass
        body = b'pid %d' % os.getpid()
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer.request_queue_size = 200
http.server.ThreadingHTTPServer((os.environ.get('AT', '127.0.0.1'), int(os.environ['SERVE'])), Handler).serve_forever()
";

/// From one question to the next, in the tests.
const INTERVAL: Duration = Duration::from_millis(400);

struct Site {
    rsx: Rsx,
    port: u16,
}

impl Site {
    /// So many instances with these checks and keys; none where Python is missing.
    fn new(instances: usize, health: &str, keys: &str) -> Option<Site> {
        if !requires("python3") {
            return None;
        }
        let (mut rsx, port) = (Rsx::new(), free_port());
        rsx.set_env("SERVE", port.to_string());
        let scratch = rsx.scratch().display().to_string();
        rsx.set_env("SCRATCH", scratch);
        rsx.set_env("RSX_FAILPOINT", rsx.scratch().join("failpoint"));
        rsx.write("web.py", SERVER);
        let instances = if instances == 0 { String::new() } else { format!("instances = {instances}\n") };
        rsx.ecosystem(&format!(
            "[[apps]]\nname = \"web\"\nscript = \"web.py\"\n{instances}kill_timeout = \"1s\"\ndrain_timeout = \"1s\"\n\
             health = {{ {health} }}\n{keys}\n"
        ));
        rsx.ok("start ecosystem.toml");
        Some(Site { rsx, port })
    }

    fn slot(&self, instance: usize) -> serde_json::Value {
        self.rsx.app("web")["slots"][instance].clone()
    }

    fn pid(&self, instance: usize) -> u32 {
        as_pid(&self.slot(instance)["pid"]).unwrap()
    }

    fn name(&self, instance: usize) -> String {
        format!("pid {}", self.pid(instance))
    }

    fn circuit(&self, instance: usize) -> String {
        self.slot(instance)["health"]["circuit"].as_str().unwrap_or_default().to_owned()
    }

    /// Makes an instance answer its checks with this status.
    fn falls_ill(&self, instance: usize, status: u16) {
        let scratch = self.rsx.scratch();
        let (path, draft) = (scratch.join(format!("ill-{instance}")), scratch.join("draft"));
        std::fs::write(&draft, status.to_string()).unwrap();
        std::fs::rename(draft, path).unwrap();
    }

    fn recovers(&self, instance: usize) {
        std::fs::remove_file(self.rsx.scratch().join(format!("ill-{instance}"))).unwrap();
    }
}

/// Whoever answers is in time, whatever else the machine does.
fn checks(fail: u16) -> String {
    format!("http = \"/health\", interval = \"{}ms\", timeout = \"5s\", fail = {fail}", INTERVAL.as_millis())
}

#[test]
fn one_that_fails_its_check_gets_no_connection_within_an_interval_and_comes_back() {
    let _alone = alone();
    let Some(site) = Site::new(3, &(checks(1) + ", pass = 2"), "restart = \"never\"") else { return };
    let Site { rsx, port } = &site;
    let ill = site.name(1);
    let mut events = rsx.events();
    let load = Load::start(*port, 3);
    load.goes_on(60);
    let began = Instant::now();
    site.falls_ill(1, 503);
    let told = events.wait_for("web", "unhealthy");
    assert!(began.elapsed() < INTERVAL + Duration::from_millis(100), "{:?}", began.elapsed());
    assert_eq!(told.get("reason"), "GET /health answered 503");
    // What was on its way comes to its end.
    load.goes_on(20);
    load.has_lost_nothing();
    let load = Load::start(*port, 3);
    load.goes_on(100);
    let seen = load.has_lost_nothing();
    assert!(!seen.answers.contains_key(&ill) && seen.answers.len() == 2, "{ill}: {:?}", seen.answers);
    rsx.ok("ls").prints(&["unhealthy"]);
    rsx.ok("describe 1").prints(&["circuit open", "GET /health answered 503"]);
    rsx.ok("why 1").prints(&["GET /health answered 503"]);
    let jlist = rsx.ok("jlist").out;
    assert!(jlist.contains("\"online\"") && !jlist.contains("unhealthy"), "{jlist}");
    let load = Load::start(*port, 3);
    site.recovers(1);
    events.wait_for("web", "recovering");
    assert_eq!(site.circuit(1), "half-open");
    events.wait_for("web", "healthy");
    load.goes_on(20);
    load.has_lost_nothing();
    let load = Load::start(*port, 3);
    load.goes_on(150);
    let seen = load.has_lost_nothing();
    assert!(seen.answers.contains_key(&ill), "{ill}: {:?}", seen.answers);
    let health = &site.slot(1)["health"];
    assert_eq!((&health["circuit"], health["last"]["passed"].as_bool()), (&"closed".into(), Some(true)), "{health}");
    assert!(health["last"]["took"].as_u64().unwrap() > 0 && health["failed"].as_u64().unwrap() > 0, "{health}");
    // Checks are nobody's connections.
    assert_eq!(site.slot(1)["restarts"], 0);
}

#[test]
fn when_all_fail_connections_go_on() {
    let Some(site) = Site::new(3, &checks(1), "restart = \"never\"") else { return };
    let Site { rsx, port } = &site;
    let mut events = rsx.events();
    let load = Load::start(*port, 3);
    (0..3).for_each(|instance| site.falls_ill(instance, 500));
    let told = events.wait_for("web", "health_ignored");
    assert_eq!(told.get("of").as_u64(), Some(3));
    events.wait_for("web", "unhealthy");
    load.goes_on(60);
    load.has_lost_nothing();
    let load = Load::start(*port, 3);
    load.goes_on(150);
    assert_eq!(load.has_lost_nothing().answers.len(), 3);
    rsx.ok("describe 0").prints(&["ignored, because fewer than half"]);
    site.recovers(0);
    site.recovers(2);
    events.wait_for("web", "health_trusted");
}

#[test]
fn a_hung_one_is_taken_out_restarted_and_nobody_else_is_meanwhile() {
    let _alone = alone();
    let Some(site) = Site::new(3, &checks(2).replace("5s", "300ms"), "") else { return };
    let Site { rsx, port } = &site;
    let hung = site.pid(0);
    let mut events = rsx.events();
    Watched::new(hung).kill("STOP");
    let told = events.wait_for("web", "unhealthy");
    assert_eq!(told.get("reason"), "no answer within 300ms");
    // Whoever was led to it before that waits until it is there again; nobody is led to it now.
    let load = Load::start(*port, 3);
    load.goes_on(30);
    site.falls_ill(1, 503);
    events.wait_for("web", "given_up_on");
    let exited = events.wait_for("web", "exited");
    assert_eq!(exited.get("pid").as_u64(), Some(u64::from(hung)));
    events.wait("instance 0 again", |event| event.is("online") && event.json["instance"] == 0);
    // Its turn comes when the first is well again.
    events.wait("instance 1 restarted", |event| event.is("given_up_on") && event.json["instance"] == 1);
    site.recovers(1);
    events.wait("instance 1 again", |event| event.is("online") && event.json["instance"] == 1);
    load.goes_on(30);
    load.has_lost_nothing();
    assert_ne!(site.pid(0), hung);
    rsx.ok("why 0").prints(&["health check goes on failing", "no answer within 300ms"]);
}

#[test]
fn what_is_known_of_health_outlives_the_daemon() {
    let Some(site) = Site::new(3, &checks(1).replace("fail = 1", "fail = 3"), "") else { return };
    let Site { rsx, port } = &site;
    let (ill, pids) = (site.name(2), [0, 1, 2].map(|at| site.pid(at)));
    let mut events = rsx.events();
    site.falls_ill(2, 503);
    events.wait_for("web", "unhealthy");
    rsx.daemon().0.kill("KILL");
    let load = Load::start(*port, 3);
    load.goes_on(60);
    let seen = load.has_lost_nothing();
    assert!(!seen.answers.contains_key(&ill), "{:?}", seen.answers);
    assert_eq!((site.circuit(2).as_str(), [0, 1, 2].map(|at| site.pid(at))), ("open", pids));
    site.recovers(2);
    events.wait_for("web", "healthy");
}

#[test]
fn a_canary_that_falls_ill_gives_its_place_back() {
    let Some(site) = Site::new(2, &checks(2), "bake = \"20s\"") else { return };
    let Site { rsx, port } = &site;
    let before = [0, 1].map(|at| site.pid(at));
    let load = Load::start(*port, 2);
    let mut events = rsx.events();
    rsx.ok("reload web --no-wait");
    events.wait_for("web", "parked");
    site.falls_ill(0, 500);
    let back = events.wait_for("web", "rolled_back");
    assert!(back.get("reason").as_str().unwrap().starts_with("unhealthy on trial: GET /health"), "{}", back.json);
    site.recovers(0);
    events.wait_for("web", "exited");
    load.goes_on(30);
    load.has_lost_nothing();
    assert_eq!([0, 1].map(|at| site.pid(at)), before);
}

#[test]
fn a_reload_to_ill_ones_replaces_nothing() {
    let Some(site) = Site::new(2, &checks(1), "listen_timeout = \"2s\"\nbake = 0") else { return };
    let Site { rsx, .. } = &site;
    let before = [0, 1].map(|at| site.pid(at));
    // The new process reads the same file as the old one, so that one is not asked any more often than it has to be.
    rsx.write("web.py", SERVER.replace("status = 200", "status = 500 if self.path == '/health' else 200"));
    let done = rsx.fails(5, "reload web");
    done.says(&["not ready within 2s, its health check has not passed: GET /health answered 500"]);
    assert_eq!([0, 1].map(|at| site.pid(at)), before);
}

#[test]
fn all_addresses_and_ways_of_asking_reach_the_instance_that_is_meant() {
    for (at, v6) in [("0.0.0.0", false), ("::", true), ("::1", true)] {
        if !requires("python3") || (v6 && std::net::TcpListener::bind("[::1]:0").is_err()) {
            continue;
        }
        let (mut rsx, port) = (Rsx::new(), free_port());
        let scratch = rsx.scratch().display().to_string();
        for (name, value) in [("SERVE", port.to_string()), ("SCRATCH", scratch), ("AT", at.to_owned())] {
            rsx.set_env(name, value);
        }
        let family = "http.server.ThreadingHTTPServer.address_family = __import__('socket').AF_INET6\n";
        let server = if v6 {
            SERVER.replace(
                "http.server.ThreadingHTTPServer.request",
                &format!("{family}http.server.ThreadingHTTPServer.request"),
            )
        } else {
            SERVER.to_owned()
        };
        rsx.write("web.py", &server);
        rsx.ecosystem(&format!(
            "[[apps]]\nname = \"web\"\nscript = \"web.py\"\ninstances = 4\nkill_timeout = \"1s\"\nrestart = \"never\"\n\
             health = {{ {} }}\n",
            checks(1)
        ));
        rsx.ok("start ecosystem.toml");
        let site = Site { rsx, port };
        let mut events = site.rsx.events();
        site.falls_ill(2, 503);
        let told = events.wait_for("web", "unhealthy");
        assert_eq!(told.json["instance"], 2, "{at}: {}", told.json);
        assert_eq!([0, 1, 2, 3].map(|it| site.circuit(it)), ["closed", "closed", "open", "closed"], "{at}");
    }
}

#[test]
fn a_single_process_is_asked_by_its_port_or_by_a_command() {
    let Some(site) = Site::new(0, &checks(1), "exec_mode = \"fork\"\nrestart = \"never\"") else { return };
    let mut events = site.rsx.events();
    site.falls_ill(0, 404);
    events.wait_for("web", "unhealthy");
    assert_eq!(site.slot(0)["state"], "unhealthy");
    site.recovers(0);
    events.wait_for("web", "healthy");
}

#[test]
fn a_command_says_how_a_process_is_and_nothing_of_it_stays() {
    let rsx = Rsx::new();
    rsx.ecosystem(
        "[[apps]]\nname = \"job\"\nscript = \"sleep 1000\"\nenv = { WORD = \"here\" }\nrestart = \"never\"\n\
         health = { exec = \"test -e $WORD || { echo no file; exit 3; }\", interval = \"100ms\", timeout = \"5s\", \
         fail = 1 }\n\n[[apps]]\nname = \"slow\"\nscript = \"sleep 1001\"\n\
         health = { exec = \"sh -c 'echo $$ > child; exec sleep 1002' & wait\", interval = \"100ms\", \
         timeout = \"2s\", fail = 1, start_period = 0 }\n",
    );
    let here = rsx.scratch().join("here");
    std::fs::write(&here, "").unwrap();
    rsx.ok("start ecosystem.toml --only job");
    let mut events = rsx.events();
    std::fs::remove_file(&here).unwrap();
    let told = events.wait_for("job", "unhealthy");
    assert!(told.get("reason").as_str().unwrap().ends_with("exit code 3: no file"), "{}", told.json);
    std::fs::write(&here, "").unwrap();
    events.wait_for("job", "healthy");
    // One that is never over is ended with all that it has started.
    rsx.ok("start ecosystem.toml --only slow --no-wait");
    let child = Watched::new(rsx.wait_for_word("child").parse().unwrap());
    child.ends();
    let told = events.wait_for("slow", "given_up_on");
    assert!(told.get("reason").as_str().unwrap().ends_with("not over within 2s"), "{}", told.json);
}

#[cfg(feature = "failpoints")]
#[test]
fn a_death_at_any_place_of_a_health_check_is_made_good() {
    let only = std::env::var("RSX_TEST_PLACE").ok();
    let places = rsx::daemon::failpoint::CHECK_PLACES.iter().chain(&["before-steer", "after-journal"]);
    for place in places.filter(|place| only.as_deref().is_none_or(|only| only == **place)) {
        let Some(site) = Site::new(3, &checks(1).replace("fail = 1", "fail = 2"), "bake = 0") else { return };
        let Site { rsx, port } = &site;
        let (healthy, file) = ([0, 2].map(|at| site.pid(at)), rsx.scratch().join("failpoint"));
        let mut events = rsx.events();
        let load = Load::start(*port, 2);
        for turn in 0..2 {
            std::fs::write(&file, place).unwrap();
            match turn {
                0 => site.falls_ill(1, 503),
                _ => site.recovers(1),
            }
            events.wait("its end", |event| event.is(if turn == 0 { "unhealthy" } else { "healthy" }));
            assert!(!file.exists(), "{place}: nothing comes by it");
        }
        load.goes_on(20);
        load.has_lost_nothing();
        assert_eq!([0, 2].map(|at| site.pid(at)), healthy, "{place}");
        assert_eq!([0, 1, 2].map(|at| site.circuit(at)), ["closed", "closed", "closed"], "{place}");
    }
}
