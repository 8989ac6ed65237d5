//! The thread with real programs, without an engine.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::cluster::{Ending, Share, Standing};
use crate::daemon::cluster::{Newcomer, Sockets, Terms, Wants, drains};
use crate::daemon::report::Report;
use crate::spec::Signal;
use crate::supervisor::{RunId, SlotId, Time};
use crate::sys::process::Process;
use crate::sys::spawn::{Launch, spawn_captured};
use crate::sys::tcp;

/// Nothing takes longer.
const LIMIT: Duration = Duration::from_secs(20);

const SERVER: &str = "
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = os.environ['NAME'].encode()
        self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
servers = [http.server.ThreadingHTTPServer(('127.0.0.1', int(port)), Handler) for port in os.environ['PORTS'].split()]
servers[0].serve_forever()
";

struct World {
    sockets: Sockets,
    reports: UnboundedReceiver<Report>,
    ports: Vec<u16>,
    processes: Vec<Arc<Process>>,
    _reserved: Vec<TcpListener>,
}

impl World {
    /// None where Python is missing, which CI does not forgive.
    fn new(ports: usize) -> Option<World> {
        if python().is_none() {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "python3 is missing, and this is CI");
            let _ = writeln!(std::io::stderr().lock(), "skipped: python3 is not installed");
            return None;
        }
        let (sender, reports) = unbounded_channel();
        let reserved: Vec<TcpListener> = (0..ports).map(|_| reserve()).collect();
        let ports = reserved.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        let sockets = Sockets::start(Vec::new(), None, sender).unwrap();
        Some(World { sockets, reports, ports, processes: Vec::new(), _reserved: reserved })
    }

    fn start(&mut self, run: u64, slot: u32, replaces: Option<u64>, ports: &[u16], app: &str) -> Arc<Process> {
        let newcomer = Newcomer {
            run: RunId(run),
            slot: SlotId(slot),
            instance: 0,
            app: app.to_owned(),
            wants: Wants::default(),
            replaces: replaces.map(RunId),
            terms: Terms::default(),
            is_probed: true,
        };
        let gate = self.sockets.gate(newcomer).unwrap();
        let process = Arc::new(spawn_captured(&launch(run, ports), &gate).unwrap());
        self.sockets.add(RunId(run), Arc::clone(&process));
        self.processes.push(Arc::clone(&process));
        process
    }

    #[track_caller]
    fn next(&mut self) -> Report {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let next = runtime.block_on(async { tokio::time::timeout(LIMIT, self.reports.recv()).await });
        next.expect("something is reported in time").unwrap()
    }

    #[track_caller]
    fn ready(&mut self, run: u64) {
        let mut report = self.next();
        while matches!(report, Report::Remark { .. }) {
            report = self.next();
        }
        assert!(matches!(report, Report::Ready { run: of, .. } if of == RunId(run)), "{report:?}");
        self.sockets.steer(RunId(run), Standing::Ready, Share::Whole);
    }

    fn ask(&self) -> std::io::Result<String> {
        answer(connect(self.ports[0])?)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for process in &self.processes {
            let _ = process.signal_group(Signal::KILL);
            let _ = process.has_ended_within(LIMIT);
            let _ = process.reap();
        }
    }
}

/// A port that is kept from others: bound and shared, and never listening.
fn reserve() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    tcp::share(&listener).unwrap();
    tcp::leave(&listener).unwrap();
    listener
}

fn python() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("python3")).find(|file| file.is_file())
}

fn launch(run: u64, ports: &[u16]) -> Launch {
    let null = || OwnedFd::from(File::options().read(true).write(true).open("/dev/null").unwrap());
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    Launch {
        program: python().unwrap(),
        argv: ["python3", "-c", SERVER].map(Into::into).into(),
        env: vec![("NAME".into(), format!("run {run}").into()), ("PORTS".into(), ports.join(" ").into())],
        cwd: "/".into(),
        stdin: null(),
        stdout: null(),
        stderr: null(),
        nofile: None,
        umask: None,
        oom_score_adj: None,
        keep: Vec::new(),
        listen: Vec::new(),
        watchdog_pid: false,
        birth: None,
    }
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    Ok(stream)
}

fn answer(mut stream: TcpStream) -> std::io::Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.split_once("\r\n\r\n").map_or(text.clone(), |(_, body)| body.to_owned()))
}

#[test]
fn a_new_run_takes_over_when_it_listens_and_the_old_one_is_drained() {
    let Some(mut world) = World::new(1) else { return };
    let ports = world.ports.clone();
    let old = world.start(1, 0, None, &ports, "a");
    world.ready(1);
    assert_eq!(world.ask().unwrap(), "run 1");
    world.start(2, 0, Some(1), &ports, "a");
    world.ready(2);
    world.sockets.drain(RunId(1), Time::from_millis(drains::now().0 + 10_000), Ending::Ours);
    let report = world.next();
    assert!(matches!(report, Report::Drained { run: RunId(1) }), "{report:?}");
    for _ in 0..20 {
        assert_eq!(world.ask().unwrap(), "run 2");
    }
    old.signal(Signal::KILL).unwrap();
    assert!(old.has_ended_within(LIMIT).unwrap());
    world.sockets.ended(RunId(1));
    assert_eq!(world.ask().unwrap(), "run 2");
}

#[test]
fn what_waits_for_a_dead_run_is_served_by_the_next_one_of_its_slot_and_refused_when_it_is_given_up() {
    let Some(mut world) = World::new(1) else { return };
    let ports = world.ports.clone();
    let first = world.start(1, 0, None, &ports, "a");
    world.ready(1);
    first.signal(Signal::KILL).unwrap();
    assert!(first.has_ended_within(LIMIT).unwrap());
    world.sockets.ended(RunId(1));
    let waiting = connect(ports[0]).unwrap();
    let second = world.start(2, 0, None, &ports, "a");
    world.ready(2);
    assert_eq!(answer(waiting).unwrap(), "run 2");
    second.signal(Signal::KILL).unwrap();
    assert!(second.has_ended_within(LIMIT).unwrap());
    world.sockets.ended(RunId(2));
    let mut waiting = connect(ports[0]).unwrap();
    world.sockets.give_up(SlotId(0));
    // It is reset, or closed: it does not hang.
    assert!(!matches!(waiting.read(&mut [0]), Ok(1..)));
    assert!(connect(ports[0]).is_err());
}

#[test]
fn a_run_that_replaces_another_is_ready_when_it_listens_on_all_of_its_ports() {
    let Some(mut world) = World::new(2) else { return };
    let ports = world.ports.clone();
    world.start(1, 0, None, &ports, "a");
    world.ready(1);
    // Both listen when the first request is answered.
    world.ask().unwrap();
    world.start(2, 0, Some(1), &ports[..1], "a");
    world.start(3, 0, Some(1), &ports, "a");
    world.ready(3);
}

#[test]
fn a_port_of_another_app_is_in_use() {
    let Some(mut world) = World::new(1) else { return };
    let ports = world.ports.clone();
    world.start(1, 0, None, &ports, "a");
    world.ready(1);
    let other = world.start(2, 1, None, &ports, "b");
    assert!(other.has_ended_within(LIMIT).unwrap(), "it fails to bind");
    assert_eq!(world.ask().unwrap(), "run 1");
}

#[test]
fn an_order_that_nobody_can_know_is_found_out() {
    let Some(mut world) = World::new(1) else { return };
    let ports = world.ports.clone();
    let stranger = || {
        let address = (Ipv4Addr::LOCALHOST, ports[0]).into();
        let uid = nix::unistd::Uid::effective().as_raw();
        let fd = tcp::open(&tcp::Target { address, v6only: false, device: 0, uid }).unwrap();
        tcp::join(&fd, 100).unwrap();
        fd
    };
    let mut strangers = Vec::new();
    for run in 1..=3 {
        world.start(run, u32::try_from(run).unwrap(), None, &ports, "a");
        world.ready(run);
        if run < 3 {
            strangers.push(stranger());
        }
    }
    // Both go between two looks: who has moved where?
    drop(strangers);
    for ready in 1..=3 {
        for run in 1..=3 {
            world.sockets.steer(
                RunId(run),
                if run == ready { Standing::Ready } else { Standing::Starting },
                Share::Whole,
            );
        }
        wait(&world.sockets);
        for _ in 0..10 {
            assert_eq!(world.ask().unwrap(), format!("run {ready}"));
        }
    }
}

/// Until all that was told is done.
fn wait(sockets: &Sockets) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, sockets.settled()).await }).unwrap().unwrap();
}
