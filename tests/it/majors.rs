//! What the agent builds on is not Node's to keep for ever: each release of it that people run is tried.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::harness::{LIMIT, Rsx, Watched, free_port, requires, skip, spawn};

/// How long an installation may take, with nothing in npm's own cache.
const INSTALLING: Duration = Duration::from_secs(240);

/// One installation at a time: npm shares a cache.
static ONE: Mutex<()> = Mutex::new(());

/// A release of Node out of the package that carries its binary. None, with the reason told: it cannot be had here, and this
/// is not CI.
fn release(version: &str) -> Option<PathBuf> {
    if !requires("npm") {
        return None;
    }
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("node-{version}-{arch}"));
    let bin = kept.join(format!("node_modules/node-linux-{arch}/bin"));
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if bin.join("node").is_file() {
        return Some(bin);
    }
    let is_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    if !is_ci {
        skip(&format!("Node {version} is not installed; CI=true fetches it"));
        return None;
    }
    let fresh = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // With the caller's environment: that is where npm learns of proxies and registries.
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix"]).arg(fresh.path());
    npm.arg(format!("node-linux-{arch}@{version}"));
    let mut child = spawn(npm.stdin(Stdio::null()).stdout(Stdio::null()));
    let is_in_time = Watched::new(child.id()).has_ended_within(INSTALLING);
    if !is_in_time {
        child.kill().unwrap();
    }
    assert!(child.wait().unwrap().success() && is_in_time, "npm cannot install Node {version}");
    // Another test process may have been faster, which is as good.
    if std::fs::rename(fresh.path(), &kept).is_ok() {
        let _ = fresh.keep();
    }
    Some(bin)
}

/// Clients that keep their connections, one request after the other, and never try twice.
struct Clients {
    is_over: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Clients {
    fn start(port: u16, pauses: &[Duration]) -> Clients {
        let (is_over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |pause: &Duration| {
            let (is_over, answers, pause) = (Arc::clone(&is_over), Arc::clone(&answers), *pause);
            std::thread::spawn(move || {
                let (mut failed, mut connection) = (Vec::new(), None);
                while !is_over.load(Ordering::Relaxed) {
                    match ask(&mut connection, port) {
                        Ok(()) => drop(answers.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => failed.push(error.to_string()),
                    }
                    // The pace of a client, not a wait for anything.
                    std::thread::sleep(pause);
                }
                failed
            })
        };
        let threads = pauses.iter().map(client).collect();
        Clients { is_over, answers, threads }
    }

    #[track_caller]
    fn go_on(&self, more: usize) {
        let (wanted, until) = (self.answers.load(Ordering::Relaxed) + more, Instant::now() + LIMIT);
        while self.answers.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < until, "nobody answers");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many answers there were. None may be missing.
    #[track_caller]
    fn have_lost_nothing(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        let failed: Vec<String> = self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let answers = self.answers.load(Ordering::Relaxed);
        assert!(failed.is_empty(), "{} of {answers} failed: {failed:?}", failed.len());
        answers
    }
}

/// One request on a connection that is there, or a new one; kept unless the server says that it closes it.
fn ask(connection: &mut Option<BufReader<TcpStream>>, port: u16) -> std::io::Result<()> {
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_read_timeout(Some(LIMIT))?;
            BufReader::new(stream)
        }
    };
    stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let (mut closes, mut length, mut is_first) = (false, 0, true);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::Error::other("closed before its answer"));
        }
        let line = line.trim_end().to_ascii_lowercase();
        if std::mem::take(&mut is_first) && !line.starts_with("http/1.1 200") {
            return Err(std::io::Error::other(line));
        }
        if line.is_empty() {
            break;
        }
        closes |= line == "connection: close";
        length = line.strip_prefix("content-length: ").map_or(length, |text| text.parse().unwrap());
    }
    stream.read_exact(&mut vec![0; length])?;
    *connection = (!closes).then_some(stream);
    Ok(())
}

/// Forks a cluster where nobody has done so; ends its connections by itself, or knows nothing of signals.
const SERVER: &str = "
import cluster, { isPrimary } from 'node:cluster';
import http from 'node:http';
if (isPrimary) {
  for (let i = 0; i < 3; i++) cluster.fork();
} else {
  const server = http.createServer((_, answer) => {
    const text = `worker ${cluster.worker.id}`;
    setTimeout(() => { answer.setHeader('Content-Length', text.length); answer.end(text); }, 2);
  });
  server.listen(+process.env.SERVE, '127.0.0.1', () => process.send('ready'));
  if (process.env.GRACEFUL) process.on('SIGINT', () => server.close(() => process.exit(0)));
}
";

#[track_caller]
fn works_with(version: &str) {
    let Some(bin) = release(version) else { return };
    let (mut rsx, port) = (Rsx::new(), free_port());
    rsx.set_env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    rsx.set_env("SERVE", port.to_string());
    rsx.write("web.mjs", SERVER);
    for graceful in ["", "GRACEFUL = 1"] {
        rsx.ecosystem(&format!(
            "[[apps]]\nname = \"web\"\nscript = \"web.mjs\"\ninstances = 2\nwait_ready = true\nenv = {{ {graceful} }}\n"
        ));
        rsx.ok("start ecosystem.toml");
        assert_eq!(rsx.processes().len(), 2, "a cluster in a cluster: {:?}", rsx.processes());
        rsx.ok("describe web").prints(&[&format!("v{version}")]);
        let clients = Clients::start(port, &[0, 0, 20, 150].map(Duration::from_millis));
        clients.go_on(100);
        rsx.ok("reload web");
        clients.go_on(100);
        let answers = clients.have_lost_nothing();
        println!("Node {version}: {answers} answers over a reload, keep-alive, {graceful:?}: none lost");
        rsx.ok("stop web");
        let mut events = rsx.events();
        let signal = if graceful.is_empty() { "SIGTERM" } else { "SIGINT" };
        events.wait("its stop", |event| event.is("stopping") && event.get("signal") == signal);
        rsx.ok("delete web");
    }
    rsx.write("exits.js", "for (let i = 0; i < 20000; i++) console.log('line', i);\nprocess.exit(0);");
    rsx.ok("start exits.js --no-autorestart --no-wait");
    let text = rsx.wait_for_text(&rsx.log("exits-out.log"), |text| text.ends_with("line 19999\n"));
    assert_eq!(text.lines().count(), 20_000);
}

#[test]
fn node_18_is_as_it_should_be() {
    works_with("18.20.8");
}

#[test]
fn node_20_is_as_it_should_be() {
    works_with("20.20.2");
}

#[test]
fn node_22_is_as_it_should_be() {
    works_with("22.23.3");
}

#[test]
fn node_24_is_as_it_should_be() {
    works_with("24.21.0");
}
