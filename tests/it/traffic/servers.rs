//! Servers as they come: each knows nothing of rsx, and most know nothing of signals.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::harness::{Rsx, as_pid, free_port, requires, skip};

/// What serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// The example: Express from npm, with a handler for SIGTERM.
    Express,
    /// Node's own, without any handler.
    Node,
    /// Go's own, static, without any handler.
    Go,
    /// The example: Go's own, static, with a handler for SIGTERM.
    GracefulGo,
    /// Python's own, without any handler.
    Python,
    /// The example: Python's own, with a handler for SIGTERM.
    GracefulPython,
    /// The example, in Rust.
    Rust,
    /// Of the distribution: an event loop in C.
    Lighttpd,
    /// Of the distribution: a process for each connection, which it announces to end.
    Busybox,
}

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
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
";

const NODE: &str = "
require('http').createServer((_, answer) => answer.end(`pid ${process.pid}`)).listen(+process.env.PORT, '127.0.0.1')
";

const GO: &str = r#"package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "pid %d", os.Getpid()) })
	panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
"#;

/// An app of some instances of a server, and its port.
pub(super) struct Site {
    pub(super) rsx: Rsx,
    pub(super) port: u16,
    file: String,
}

impl Server {
    /// Whether all that it needs is there. Under `CI=true` it has to be.
    fn is_there(self) -> bool {
        let built = |path: PathBuf, by: &str| {
            let is_there = path.exists();
            if !is_there {
                assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{} is not built", path.display());
                skip(&format!("{} is missing: {by}", path.display()));
            }
            is_there
        };
        match self {
            Server::Express => {
                requires("node") && built(example("express/node_modules/express"), "npm ci --prefix examples/express")
            }
            Server::Node => requires("node"),
            Server::Go => requires("go"),
            Server::GracefulGo => built(example("go/server"), "see examples/README.md"),
            Server::Python | Server::GracefulPython => requires("python3"),
            Server::Rust => built(rust(), "see examples/README.md"),
            Server::Lighttpd => requires("lighttpd"),
            Server::Busybox => requires("busybox"),
        }
    }

    /// What is declared of it in the file, after writing what it needs.
    fn declare(self, rsx: &Rsx, port: u16) -> String {
        let script = |path: &Path| format!("script = {:?}", path.display().to_string());
        let root = rsx.scratch().join("www");
        match self {
            Server::Express => script(&example("express/app.js")),
            Server::Node => script(&rsx.write("web.js", NODE)),
            // A copy: whoever may enter this folder may execute it.
            Server::Go => script(&rsx.program("web", &std::fs::read(static_go()).unwrap())),
            Server::GracefulGo => script(&example("go/server")),
            Server::Python => script(&rsx.write("web.py", PYTHON)),
            Server::GracefulPython => script(&example("python/app.py")),
            Server::Rust => script(&rust()),
            Server::Lighttpd => {
                rsx.write("www/index.html", "hello from lighttpd");
                let text = format!(
                    "server.document-root = {root:?}\nserver.port = {port}\nserver.bind = \"127.0.0.1\"\n\
                     index-file.names = ( \"index.html\" )\n"
                );
                let file = rsx.write("lighttpd.conf", text);
                format!("script = \"lighttpd\"\nargs = [\"-D\", \"-f\", {:?}]", file.display().to_string())
            }
            Server::Busybox => {
                rsx.write("www/index.html", "hello from busybox");
                let port = format!("127.0.0.1:{port}");
                format!("script = \"busybox\"\nargs = [\"httpd\", \"-f\", \"-p\", {port:?}, \"-h\", {root:?}]")
            }
        }
    }
}

impl Site {
    /// Runs it as an app `web`; `keys` are what else is declared. None where something is missing.
    pub(super) fn new(server: Server, instances: usize, keys: &str) -> Option<Site> {
        Site::within(Rsx::new(), server, instances, keys)
    }

    /// The same in a home that there is.
    pub(super) fn within(rsx: Rsx, server: Server, instances: usize, keys: &str) -> Option<Site> {
        if !server.is_there() {
            return None;
        }
        let port = free_port();
        let declared = server.declare(&rsx, port);
        let file = format!("[[apps]]\nname = \"web\"\n{declared}\nport = {port}\n{keys}\n");
        let site = Site { rsx, port, file };
        site.declare(instances);
        site.rsx.ok_at_length("start ecosystem.toml").prints(&[&format!(":{port}")]);
        Some(site)
    }

    /// Writes the file anew, with so many instances.
    pub(super) fn declare(&self, instances: usize) {
        self.rsx.ecosystem(&format!("{}instances = {instances}\n", self.file));
    }

    /// Writes the file anew, with something else declared.
    pub(super) fn declare_also(&self, instances: usize, keys: &str) {
        self.rsx.ecosystem(&format!("{}instances = {instances}\n{keys}\n", self.file));
    }

    /// The processes of all instances, in their order.
    pub(super) fn pids(&self) -> Vec<u32> {
        let app = self.rsx.app("web");
        app["slots"].as_array().unwrap().iter().filter_map(|slot: &Value| as_pid(&slot["pid"])).collect()
    }
}

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path)
}

fn rust() -> PathBuf {
    example("rust/target/release/rsx-example-server")
}

/// The Go server, built once, without libc.
fn static_go() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plain-go-server");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("main.go"), GO).unwrap();
        let mut build = Command::new("go");
        build.args(["build", "-o", "server", "main.go"]).env("CGO_ENABLED", "0").current_dir(&folder);
        assert!(crate::harness::spawn(&mut build).wait().unwrap().success(), "go build fails");
        folder.join("server")
    })
}
