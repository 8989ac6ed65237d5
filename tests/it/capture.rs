//! Servers of every kind, unmodified, in cluster mode: each shares its port, is replaced under load, and whoever asks it
//! notices nothing.

use std::collections::BTreeSet;
use std::net::TcpListener;

use crate::harness::{Load, Rsx, ask, free_port, requires};

/// What all of them have in common: an answer with the name of the main process, and the port.
const COMMON: &str = "
import http.server, os, signal, socket, socketserver, sys, threading
PORT, NAME = int(os.environ['SERVE']), b'pid %d' % os.getpid()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', str(len(NAME)))
        self.send_header('Connection', 'close')
        self.end_headers()
        self.wfile.write(NAME)
    def log_message(self, *_): pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
def made(family=socket.AF_INET, protocol=0):
    s = socket.socket(family, socket.SOCK_STREAM, protocol)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return s
def bound(address='127.0.0.1', port=PORT, family=socket.AF_INET, protocol=0):
    s = made(family, protocol)
    s.bind((address, port))
    return s
def listening(*a, **k):
    s = bound(*a, **k)
    s.listen(200)
    return s
def server(s):
    it = Server(('', 0), Handler, bind_and_activate=False)
    it.socket.close()
    it.socket = s
    return it
def serve(s): server(s).serve_forever(0.05)
def aside(s): threading.Thread(target=serve, args=(s,), daemon=True).start()
";

/// Each knows nothing of rsx.
const KINDS: &[(&str, &str)] = &[
    ("plain", "serve(listening())"),
    ("without_reuseaddr", "s = socket.socket(); s.bind(('127.0.0.1', PORT)); s.listen(200); serve(s)"),
    ("listens_twice", "s = bound(); s.listen(5); s.listen(200); serve(s)"),
    ("on_a_thread", "t = threading.Thread(target=lambda: serve(listening())); t.start(); t.join()"),
    ("everywhere", "serve(listening('0.0.0.0'))"),
    ("dual_stack", "s = made(socket.AF_INET6); s.setsockopt(41, 26, 0); s.bind(('::', PORT)); s.listen(200); serve(s)"),
    ("two_addresses", "aside(listening('127.0.0.2')); serve(listening())"),
    ("both_families", "aside(listening('::1', family=socket.AF_INET6)); serve(listening())"),
    ("two_ports", "aside(listening(port=int(os.environ['SERVE2']))); serve(listening())"),
    ("multipath", "serve(listening(protocol=262))"),
    (
        "executes_itself",
        "
if len(sys.argv) < 2:
    s = listening()
    os.execv(sys.executable, [sys.executable, sys.argv[0], 'again'])
serve(listening())",
    ),
    (
        "hands_its_socket_on",
        "
if len(sys.argv) < 2:
    s = listening(); s.set_inheritable(True)
    os.execv(sys.executable, [sys.executable, sys.argv[0], str(s.fileno())])
serve(socket.socket(fileno=int(sys.argv[1])))",
    ),
    (
        "opens_it_again",
        "
it = server(listening())
t = threading.Thread(target=it.serve_forever, args=(0.05,)); t.start()
it.shutdown(); it.server_close(); t.join()
serve(listening())",
    ),
    (
        "forks_workers",
        "
s = listening()
for _ in range(2):
    if os.fork() == 0: serve(s)
signal.pause()",
    ),
    (
        "workers_with_sockets_of_their_own",
        "
def own():
    s = made(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(('127.0.0.1', PORT)); s.listen(200); serve(s)
for _ in range(2):
    if os.fork() == 0: own()
signal.pause()",
    ),
    (
        "gives_up_rights",
        "
s = bound()
if os.getuid() == 0: os.setgid(65534); os.setuid(65534)
s.listen(200); serve(s)",
    ),
    (
        "gives_up_rights_first",
        "
if os.getuid() == 0: os.setgid(65534); os.setuid(65534)
serve(listening())",
    ),
    (
        "polls_before_it_binds",
        "
import select
s = made(); e = select.epoll(); s.setblocking(False)
e.register(s, select.EPOLLIN); s.bind(('127.0.0.1', PORT)); s.listen(200)
it = server(s)
while True:
    for _ in e.poll(1):
        it._handle_request_noblock()",
    ),
];

/// Where it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// As the user who tests.
    Here,
    /// As an ordinary user, whose programs get no_new_privs.
    Ordinary,
    /// Where duplicates of descriptors and the memory of others are refused, as in a container.
    Container,
    /// Both.
    OrdinaryContainer,
}

/// None where it cannot be tried.
fn at(place: Place) -> Option<(Rsx, u16)> {
    if !requires("python3") {
        return None;
    }
    let mut rsx = Rsx::new();
    if matches!(place, Place::Ordinary | Place::OrdinaryContainer) && !rsx.become_ordinary() {
        return None;
    }
    if matches!(place, Place::Container | Place::OrdinaryContainer) {
        rsx.confine("pidfd_getfd,process_vm_readv");
    }
    let port = free_port();
    rsx.set_env("SERVE", port.to_string());
    rsx.set_env("SERVE2", free_port().to_string());
    Some((rsx, port))
}

fn declare(rsx: &Rsx, text: &str, keys: &str) {
    rsx.write("web.py", format!("{COMMON}\n{text}\n"));
    rsx.ecosystem(&format!("[[apps]]\nname = \"web\"\nscript = \"web.py\"\ninstances = 2\n{keys}\n"));
}

fn behaves(place: Place, kind: &str, text: &str) {
    let Some((rsx, port)) = at(place) else { return };
    declare(&rsx, text, "");
    rsx.ok("start ecosystem.toml").prints(&["web shares ", &format!(":{port}")]);
    is_replaced_under_load(&rsx, port, kind, 2);
}

#[track_caller]
fn is_replaced_under_load(rsx: &Rsx, port: u16, kind: &str, instances: usize) {
    let load = Load::start(port, 2);
    load.goes_on(60);
    rsx.ok("reload web");
    load.goes_on(60);
    let seen = load.has_lost_nothing();
    // Old and new instances, those that share one queue perhaps not all.
    assert!(seen.answers.len() > instances, "{kind}: {:?}", seen.answers);
    rsx.ok("stop web");
    assert!(ask(port).is_err(), "{kind}");
}

fn each(place: Place, kinds: &[&str]) {
    for (kind, text) in KINDS.iter().filter(|(kind, _)| kinds.contains(kind)) {
        println!("-- {kind}, {place:?}");
        behaves(place, kind, text);
    }
}

/// Those that another user and a container could make a difference to.
const TELLING: [&str; 4] = ["plain", "opens_it_again", "forks_workers", "multipath"];

#[test]
fn simple_servers_share_their_port() {
    each(Place::Here, &["plain", "without_reuseaddr", "listens_twice", "on_a_thread", "everywhere"]);
}

#[test]
fn servers_of_several_addresses_share_them_all() {
    each(Place::Here, &["dual_stack", "two_addresses", "both_families", "two_ports", "multipath"]);
}

#[test]
fn servers_that_let_go_of_their_socket_get_it_again() {
    each(Place::Here, &["executes_itself", "hands_its_socket_on", "opens_it_again", "polls_before_it_binds"]);
}

#[test]
fn servers_of_several_processes_and_users_share_their_port() {
    each(
        Place::Here,
        &["forks_workers", "workers_with_sockets_of_their_own", "gives_up_rights", "gives_up_rights_first"],
    );
}

#[test]
fn an_ordinary_user_has_the_same() {
    each(Place::Ordinary, &TELLING);
}

#[test]
fn in_a_container_sockets_of_ours_take_their_place() {
    each(Place::Container, &TELLING);
    each(Place::Container, &["dual_stack", "two_addresses", "executes_itself", "gives_up_rights_first"]);
}

#[test]
fn in_a_container_an_ordinary_user_has_the_same() {
    each(Place::OrdinaryContainer, &TELLING);
}

#[test]
fn in_a_container_what_waits_for_a_dead_instance_is_served_by_the_next() {
    let Some((rsx, port)) = at(Place::Container) else { return };
    declare(&rsx, "serve(listening())", "");
    rsx.ok("start ecosystem.toml");
    let load = Load::start(port, 2);
    let mut events = rsx.events();
    for _ in 0..2 {
        load.goes_on(30);
        let pid = rsx.pid("web");
        crate::harness::Watched::new(pid).kill("KILL");
        events.wait("its end", |event| event.is("exited") && event.pid() == pid);
        events.wait_for("web", "online");
    }
    rsx.daemon().0.kill("KILL");
    load.goes_on(30);
    rsx.ok("reload web");
    load.goes_on(30);
    let seen = load.stop();
    assert!(seen.failed.len() <= 4, "{seen:?}");
    assert!(seen.failed.iter().all(|why| !why.contains("refused")), "{seen:?}");
}

#[test]
fn a_process_that_may_not_be_looked_into_shares_the_ports_that_are_declared() {
    let Some((rsx, port)) = at(Place::Ordinary) else { return };
    let text = "
import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
s = made(); s.setblocking(False); s.bind(('127.0.0.1', PORT)); s.listen(200); serve(s)";
    declare(&rsx, text, "");
    // The second one has no port, and is told why.
    rsx.fails(5, "start ecosystem.toml").says(&["may not be looked into", "`capture = [PORT]`"]);
    rsx.ok("delete web");
    declare(&rsx, text, &format!("capture = [{port}]"));
    rsx.ok("start ecosystem.toml").prints(&[&format!("web shares 127.0.0.1:{port}")]);
    is_replaced_under_load(&rsx, port, "not dumpable", 2);
}

#[test]
fn where_seccomp_is_forbidden_cluster_mode_is_refused_with_the_reason() {
    let Some((mut rsx, _)) = at(Place::Here) else { return };
    rsx.confine("seccomp");
    declare(&rsx, "serve(listening())", "");
    rsx.fails(5, "start ecosystem.toml").says(&["needs seccomp", "Operation not permitted", "exec_mode = \"fork\""]);
    declare(&rsx, "serve(listening(port=PORT + int(os.environ['NODE_APP_INSTANCE'])))", "capture = \"off\"");
    rsx.ok("start ecosystem.toml");
    let doctor = rsx.run("doctor");
    doctor.prints(&["seccomp"]);
}

#[test]
fn one_queue_is_shared_by_all_instances() {
    for place in [Place::Here, Place::Container] {
        let Some((rsx, port)) = at(place) else { return };
        declare(&rsx, "serve(listening())", "balance = \"shared\"");
        rsx.ok("start ecosystem.toml").prints(&[&format!("web shares 127.0.0.1:{port}")]);
        rsx.ok("describe web").prints(&["one queue for 2 instances"]);
        let load = Load::start(port, 4);
        load.goes_on(100);
        // Whoever is killed, the queue lives on.
        let mut events = rsx.events();
        let pid = rsx.pid("web");
        crate::harness::Watched::new(pid).kill("KILL");
        events.wait("its end", |event| event.is("exited") && event.pid() == pid);
        events.wait_for("web", "online");
        load.goes_on(60);
        rsx.daemon().0.kill("KILL");
        load.goes_on(60);
        rsx.ok("scale web 3");
        load.goes_on(60);
        let seen = load.stop();
        assert!(seen.failed.len() <= 4, "{:?}", seen.failed);
        assert!(seen.answers.len() >= 3, "{:?}", seen.answers);
        rsx.ok("describe web").prints(&["one queue for 3 instances"]);
        rsx.ok("restart web");
        assert!(ask(port).is_ok());
        rsx.ok("stop web");
        assert!(ask(port).is_err());
    }
}

#[test]
fn only_the_ports_of_the_list_are_shared() {
    let Some((rsx, port)) = at(Place::Here) else { return };
    let text = "
def own():
    try: aside(listening(port=int(os.environ['SERVE2'])))
    except OSError as error: print(error, flush=True)
own(); serve(listening())";
    declare(&rsx, text, &format!("capture = [{port}]"));
    let start = rsx.ok("start ecosystem.toml");
    start.prints(&[&format!("web shares 127.0.0.1:{port}\n")]);
    let both = [0, 1].map(|instance| rsx.log(&format!("web-out-{instance}.log")));
    let text = || both.iter().map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect::<String>();
    assert_eq!(text().matches("Address already in use").count(), 1, "{}", text());
    rsx.ok("describe web").prints(&[&format!("cluster, of port {port}")]);
}

#[test]
fn a_port_of_another_app_is_refused_with_its_name() {
    let Some((rsx, port)) = at(Place::Here) else { return };
    declare(&rsx, "serve(listening())", "");
    rsx.ok("start ecosystem.toml");
    let before = ask(port).unwrap();
    let reason = format!("127.0.0.1:{port} is refused: the app `web` has this port");
    rsx.fails(5, "start web.py --name other -i 2 --no-autorestart").says(&[&reason, "Address already in use"]);
    rsx.ok("why other").prints(&[&reason]);
    rsx.ok("describe other").prints(&[&reason]);
    // It may have it once it is free, and then it is the other way round.
    rsx.ok("stop web");
    rsx.ok("start other");
    assert_ne!(ask(port).unwrap(), before);
    rsx.fails(5, "start web").says(&["the app `other` has this port"]);
    rsx.ok("delete all");
}

#[test]
fn a_port_that_a_stranger_holds_is_refused_by_the_kernel() {
    let Some((rsx, port)) = at(Place::Here) else { return };
    let stranger = TcpListener::bind(("127.0.0.1", port)).unwrap();
    declare(&rsx, "serve(listening())", "autorestart = false");
    rsx.fails(5, "start ecosystem.toml").says(&["Address already in use"]);
    drop(stranger);
    rsx.ok("start web");
}

#[test]
fn a_stranger_in_the_group_gets_nothing_and_is_named() {
    let Some((rsx, port)) = at(Place::Here) else { return };
    declare(&rsx, "serve(listening())", "");
    rsx.ok("start ecosystem.toml");
    // It listens, and never accepts.
    let join = || {
        let target = rsx::sys::tcp::Target {
            address: ([127, 0, 0, 1], port).into(),
            v6only: false,
            device: 0,
            uid: nix::unistd::getuid().as_raw(),
        };
        let fd = rsx::sys::tcp::open(&target).unwrap();
        rsx::sys::tcp::join(&fd, 100).unwrap();
        fd
    };
    let strangers = [join(), join()];
    let load = Load::start(port, 2);
    load.goes_on(60);
    rsx.ok("scale web 4");
    load.goes_on(60);
    rsx.ok("describe web").prints(&["shared by a socket that is not of this app"]);
    // Those that came after them move in the kernel's array.
    drop(strangers);
    load.goes_on(100);
    rsx.ok("reload web");
    load.goes_on(60);
    let seen = load.has_lost_nothing();
    assert!(seen.answers.len() >= 8, "{:?}", seen.answers);
}

#[test]
fn who_closes_its_socket_and_lives_on_is_passed_over() {
    let Some((rsx, port)) = at(Place::Here) else { return };
    let text = "
it = server(listening())
def close(*_): threading.Thread(target=lambda: (it.shutdown(), it.server_close(), print('closed', flush=True))).start()
signal.signal(signal.SIGUSR1, close)
it.serve_forever(0.05)
signal.pause()";
    declare(&rsx, text, "");
    rsx.ok("start ecosystem.toml");
    rsx.ok("signal USR1 0");
    rsx.wait_for_text(&rsx.log("web-out-0.log"), |text| text.contains("closed"));
    // At the latest with the next look at it.
    let until = std::time::Instant::now() + crate::harness::LIMIT;
    while !rsx.ok("describe web").out.contains("1 serving") {
        assert!(std::time::Instant::now() < until);
    }
    let answers: BTreeSet<String> = (0..30).map(|_| ask(port).unwrap()).collect();
    assert_eq!(answers.len(), 1);
    rsx.ok("restart web");
    let answers: BTreeSet<String> = (0..60).map(|_| ask(port).unwrap()).collect();
    assert_eq!(answers.len(), 2);
}

#[test]
fn each_instance_has_an_inspector_of_its_own() {
    if !requires("node") {
        return;
    }
    let (mut rsx, port, inspector) = (Rsx::new(), free_port(), 20_000 + free_port() % 9_000);
    rsx.set_env("SERVE", port.to_string());
    let listen =
        "require('http').createServer((_, a) => a.end(`pid ${process.pid}`)).listen(+process.env.SERVE, '127.0.0.1')";
    rsx.write("web.js", listen);
    let keys = format!("node_args = \"--inspect={inspector}\"\ninstances = 2");
    rsx.ecosystem(&format!("[[apps]]\nname = \"web\"\nscript = \"web.js\"\n{keys}\n"));
    rsx.ok("start ecosystem.toml").prints(&[&format!("web shares 127.0.0.1:{port}\n")]);
    for instance in [0, 1] {
        let own = inspector + instance;
        rsx.wait_for_text(&rsx.log(&format!("web-error-{instance}.log")), |text| {
            text.contains(&format!("ws://127.0.0.1:{own}/"))
        });
    }
    let load = Load::start(port, 2);
    load.goes_on(40);
    rsx.ok("reload web");
    load.goes_on(40);
    load.has_lost_nothing();
    for instance in [0, 1] {
        let own = inspector + instance;
        rsx.wait_for_text(&rsx.log(&format!("web-error-{instance}.log")), |text| {
            text.matches(&format!("ws://127.0.0.1:{own}/")).count() >= 2 && !text.contains("in use")
        });
    }
}

#[test]
fn what_no_new_privs_would_break_is_refused_before_it_starts() {
    let Some((rsx, _)) = at(Place::Ordinary) else { return };
    if nix::unistd::getuid().is_root() {
        rsx.script("sudo", "#!/bin/sh\nexec \"$@\"\n");
        let line = format!("{} python3 web.py", rsx.scratch().join("sudo").display());
        declare(&rsx, "serve(listening())", "");
        let says = ["`sudo`", "no_new_privs", "ip_unprivileged_port_start", "exec_mode"];
        rsx.fails(5, &format!("start '{line}' --name web -i 2")).says(&says);
        // In fork mode nothing is taken from it.
        rsx.ok(&format!("start '{line}' --name alone --kill-timeout 2s"));
        let python = rsx.script("own", "#!/bin/sh\nexec sleep 1000\n");
        let mark = std::process::Command::new("python3")
            .args(["-c", "import os, struct, sys; os.setxattr(sys.argv[1], 'security.capability', struct.pack('<5I', 0x02000001, 1 << 10, 0, 0, 0))"])
            .arg(&python)
            .status()
            .unwrap();
        if mark.success() {
            rsx.fails(5, "start ./own -i 2").says(&["file capabilities", "no_new_privs"]);
        }
    }
}
