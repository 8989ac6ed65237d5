//! Servers that know nothing of rsx, of shared ports, or of SIGTERM. Each answers with its name.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rsx::sys::spawn::Launch;

/// What a server is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Node,
    Go,
}

const PYTHON: &str = "
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = os.environ['NAME'].encode()
        self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer.request_queue_size = 200
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
";

const NODE: &str = "
require('http').createServer((_, answer) => answer.end(process.env.NAME)).listen(+process.env.PORT, '127.0.0.1')
";

const GO: &str = r#"package main

import ("fmt"; "net/http"; "os")

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getenv("NAME")) })
	panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
"#;

impl Language {
    fn toolchain(self) -> &'static str {
        match self {
            Language::Python => "python3",
            Language::Node => "node",
            Language::Go => "go",
        }
    }

    /// Whether its toolchain is there. Under `CI=true` it has to be.
    #[track_caller]
    pub(crate) fn is_there(self) -> bool {
        let is_there = self.program().is_some();
        if !is_there {
            let name = self.toolchain();
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "`{name}` is missing, and this is CI");
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            let _ = writeln!(std::io::stderr().lock(), "skipped {test}: `{name}` is not installed");
        }
        is_there
    }

    fn program(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(self.toolchain())).find(|file| file.is_file())
    }

    /// A copy with this name, which will bind this port.
    pub(crate) fn launch(self, port: u16, name: &str) -> Launch {
        let program = self.program().unwrap();
        let (program, argv): (PathBuf, Vec<OsString>) = match self {
            Language::Python => (program, vec!["python3".into(), "-c".into(), PYTHON.into()]),
            Language::Node => (program, vec!["node".into(), "-e".into(), NODE.into()]),
            Language::Go => (static_go().to_owned(), vec!["server".into()]),
        };
        let null = || OwnedFd::from(File::options().read(true).write(true).open("/dev/null").unwrap());
        let mut env: Vec<(OsString, OsString)> =
            vec![("NAME".into(), name.into()), ("PORT".into(), port.to_string().into())];
        env.extend(["PATH", "HOME"].map(|name| (name.into(), std::env::var_os(name).unwrap_or_default())));
        Launch {
            program,
            argv,
            env,
            cwd: "/".into(),
            stdin: null(),
            stdout: null(),
            stderr: std::io::stderr().try_into_fd(),
            nofile: None,
            umask: None,
            oom_score_adj: None,
            keep: Vec::new(),
            listen: Vec::new(),
            watchdog_pid: false,
            birth: None,
        }
    }
}

trait TryIntoFd {
    fn try_into_fd(self) -> OwnedFd;
}

impl TryIntoFd for std::io::Stderr {
    fn try_into_fd(self) -> OwnedFd {
        std::os::fd::AsFd::as_fd(&self).try_clone_to_owned().unwrap()
    }
}

/// The Go server, built once, without libc.
fn static_go() -> &'static Path {
    static BUILT: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, program) = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("main.go"), GO).unwrap();
        let mut build = Command::new("go");
        build.args(["build", "-o", "server", "main.go"]).env("CGO_ENABLED", "0").current_dir(folder.path());
        assert!(build.status().unwrap().success(), "go build fails");
        let program = folder.path().join("server");
        (folder, program)
    });
    program
}
