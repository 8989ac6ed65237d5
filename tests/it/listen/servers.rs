//! Servers of other people, as they take a socket that they are handed: by `--fd`, `listen({fd})`, or LISTEN_FDS alone.

use std::path::Path;
use std::process::Command;

use super::is_refused;
use crate::harness::{Clients, Load, Rsx, ask, free_port, requires, skip};

const NODE: &str = r"
const server = require('http').createServer((request, answer) => answer.end('pid ' + process.pid))
server.listen({ fd: Number(process.argv[2]) }, () => process.send('ready'))
process.on('SIGTERM', () => server.close(() => process.exit(0)))
";

const WSGI: &str = r"
import os
def app(environ, start_response):
    body = b'pid %d' % os.getpid()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
";

const ASGI: &str = r"
import os
async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'pid %d' % os.getpid()})
";

/// What a server does with connections that it has accepted when it is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InHand {
    /// It answers.
    Answered,
    /// It closes those whose request has not come yet, or all.
    Lost,
}

/// Starts two instances, reloads and restarts them under load: nobody is refused, and a server that answers what it has
/// loses nothing.
fn serves(rsx: &Rsx, keys: &str, in_hand: InHand) {
    let port = free_port();
    rsx.ecosystem(&format!(
        "[[apps]]\nname = \"web\"\ninstances = 2\nbake = 0\nlisten = [{{ address = \"tcp://127.0.0.1:{port}\", name = \
         \"web\" }}]\n{keys}\n"
    ));
    rsx.ok_at_length("start ecosystem.toml");
    let load = Load::of(port, Clients::steady());
    load.is_steady(200);
    for verb in ["reload web", "restart web"] {
        rsx.ok_at_length(verb);
        load.goes_on(100);
    }
    match in_hand {
        InHand::Answered => drop(load.has_lost_nothing()),
        InHand::Lost => {
            let seen = load.stop();
            assert!(!seen.failed.iter().any(|failure| failure.contains("refused")), "{:?}", seen.failed);
            // Of four processes that have ended.
            assert!(seen.failed.len() <= 4 * 12, "{}: {:?}", seen.summary(), seen.failed);
        }
    }
    rsx.ok("stop web");
    assert!(is_refused(port));
}

/// A Python with these servers; none where they are not installed.
fn python(module: &str) -> Option<String> {
    if !requires("python3") {
        return None;
    }
    let python = std::env::var("RSX_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let has_it = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if !has_it.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none_or(|it| it != "true"), "no {module} for {python}");
        skip(&format!("{python} has no {module}"));
        return None;
    }
    // Where PATH leads it depends on who asks.
    let output = Command::new(&python).args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[test]
fn node_listens_on_a_descriptor() {
    if !requires("node") {
        return;
    }
    let rsx = Rsx::new();
    rsx.write("web.js", NODE);
    serves(&rsx, "script = \"web.js\"\nargs = [\"{fd}\"]\nwait_ready = true", InHand::Answered);
}

#[test]
fn gunicorn_finds_what_systemd_would_give_it() {
    let Some(python) = python("gunicorn") else { return };
    let rsx = Rsx::new();
    rsx.write("web.py", WSGI);
    serves(&rsx, &format!("script = \"{python} -m gunicorn --threads 2 web:app\""), InHand::Lost);
}

#[test]
fn uvicorn_takes_a_descriptor() {
    let Some(python) = python("uvicorn") else { return };
    let rsx = Rsx::new();
    rsx.write("web.py", ASGI);
    serves(&rsx, &format!("script = \"{python} -m uvicorn --fd {{fd}} web:app\""), InHand::Lost);
}

#[test]
fn a_rust_program_takes_its_sockets_by_the_crate_listenfd() {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/rust/target/release/rsx-example-server");
    if !takes_sockets(&built) {
        return;
    }
    let rsx = Rsx::new();
    serves(&rsx, &format!("script = {:?}", built.display().to_string()), InHand::Lost);
}

/// Whether the example is there. Under `CI=true` it has to be.
fn takes_sockets(path: &Path) -> bool {
    if path.exists() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{} is not built", path.display());
    skip(&format!("{} is missing: see examples/README.md", path.display()));
    false
}

#[test]
fn one_process_takes_what_the_other_has_left_in_the_queue() {
    if !requires("node") {
        return;
    }
    let rsx = Rsx::new();
    rsx.write("web.js", NODE);
    let port = free_port();
    rsx.ecosystem(&format!(
        "[[apps]]\nname = \"web\"\nscript = \"web.js\"\nargs = [\"{{fd}}\"]\nwait_ready = true\nlisten = \
         [\"tcp://127.0.0.1:{port}\"]\n"
    ));
    rsx.ok("start ecosystem.toml");
    for _ in 0..3 {
        // Node has made it non-blocking: the next one finds it as it was.
        rsx.ok("restart web");
        assert_eq!(ask(port).unwrap(), format!("pid {}", rsx.pid("web")));
    }
}
