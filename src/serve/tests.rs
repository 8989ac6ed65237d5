//! Real requests over real sockets.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::error::ExitCode;
use crate::serve::options::{Missing, Options};
use crate::serve::server::Server;

/// A site in a temporary folder, served on a free port until it is dropped.
struct Served {
    folder: TempDir,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn new(change: impl FnOnce(&mut Options)) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path().join("site");
        fs::create_dir_all(site.join("sub/deep")).unwrap();
        for (name, text) in [
            ("index.html", "<h1>home</h1>"),
            ("style.css", "body {}"),
            ("sub/index.html", "<h1>sub</h1>"),
            ("sub/a b.txt", "0123456789"),
            (".env", "SECRET=1"),
        ] {
            fs::write(site.join(name), text).unwrap();
        }
        fs::write(folder.path().join("outside.txt"), "outside").unwrap();
        let mut options = options(&site);
        change(&mut options);

        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::bind(&options).await.unwrap();
                tell.send(server.address()).unwrap();
                server.run(async { drop(stopped.await) }).await;
            });
        });
        let address = told.recv_timeout(Duration::from_secs(10)).unwrap();
        Served { folder, address, stop: Some(stop), thread: Some(thread) }
    }

    fn site(&self) -> std::path::PathBuf {
        self.folder.path().join("site")
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Sends one request on a connection of its own: head and body of the answer.
    #[track_caller]
    fn ask(&self, line: &str, headers: &str) -> (String, String) {
        let mut stream = self.connect();
        write!(stream, "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head ends with an empty line");
        (head.to_ascii_lowercase(), body.to_owned())
    }

    #[track_caller]
    fn get(&self, path: &str) -> (u16, String) {
        let (head, body) = self.ask(&format!("GET {path}"), "");
        (status(&head), body)
    }

    fn end(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.end();
    }
}

fn options(path: &Path) -> Options {
    Options { path: path.into(), host: "127.0.0.1".into(), port: 0, missing: Missing::NotFound, credentials: None }
}

#[track_caller]
fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line")
}

#[track_caller]
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[test]
fn a_file_comes_with_its_type_and_its_validators() {
    let served = Served::new(|_| {});
    let (head, body) = served.ask("GET /style.css", "");
    assert_eq!((status(&head), body.as_str()), (200, "body {}"));
    assert_eq!(header(&head, "content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(header(&head, "content-length"), Some("7"));
    assert_eq!(header(&head, "x-content-type-options"), Some("nosniff"));

    assert!(header(&head, "last-modified").is_some(), "{head}");
    let etag = header(&head, "etag").expect("an ETag");
    let (head, body) = served.ask("GET /style.css", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((status(&head), body.as_str()), (304, ""));
}

#[test]
fn a_folder_shows_its_index_and_wants_a_slash() {
    let served = Served::new(|_| {});
    assert_eq!(served.get("/"), (200, "<h1>home</h1>".into()));
    assert_eq!(served.get("/?a=b"), (200, "<h1>home</h1>".into()));
    assert_eq!(served.get("/sub/"), (200, "<h1>sub</h1>".into()));
    let (head, _) = served.ask("GET /sub?q", "");
    assert_eq!((status(&head), header(&head, "location")), (307, Some("/sub/?q")));
    assert_eq!(served.get("/sub/deep/").0, 404, "a folder without index is not listed");
    assert_eq!(served.get("/style.css/").0, 404);
}

#[test]
fn a_range_is_answered_with_that_part() {
    let served = Served::new(|_| {});
    let (head, body) = served.ask("GET /sub/a%20b.txt", "Range: bytes=2-4\r\n");
    assert_eq!((status(&head), body.as_str()), (206, "234"));
    assert_eq!(header(&head, "content-range"), Some("bytes 2-4/10"));
    let (head, _) = served.ask("GET /sub/a%20b.txt", "Range: bytes=20-\r\n");
    assert_eq!(status(&head), 416);
}

#[test]
fn only_get_and_head_are_answered() {
    let served = Served::new(|_| {});
    let (head, body) = served.ask("HEAD /style.css", "");
    assert_eq!((status(&head), header(&head, "content-length"), body.as_str()), (200, Some("7"), ""));
    for method in ["POST /", "DELETE /style.css", "OPTIONS *", "BREW /missing"] {
        let (head, _) = served.ask(method, "Content-Length: 0\r\n");
        assert_eq!((status(&head), header(&head, "allow")), (405, Some("get, head")), "{method}");
    }
}

#[test]
fn dotfiles_are_not_served_but_well_known_is() {
    let served = Served::new(|_| {});
    fs::create_dir_all(served.site().join(".well-known")).unwrap();
    fs::create_dir_all(served.site().join("sub/.git")).unwrap();
    fs::write(served.site().join(".well-known/security.txt"), "mail us").unwrap();
    fs::write(served.site().join(".well-known/.hidden"), "x").unwrap();
    fs::write(served.site().join("sub/.git/config"), "x").unwrap();
    for path in ["/.env", "/%2eenv", "/%2Eenv", "/sub/.git/config", "/sub/%2egit/config", "/.well-known/.hidden"] {
        assert_eq!(served.get(path).0, 404, "{path}");
    }
    assert_eq!(served.get("/.well-known/security.txt"), (200, "mail us".into()));
}

#[test]
fn no_path_leads_out_of_the_folder() {
    let served = Served::new(|_| {});
    symlink(served.folder.path().join("outside.txt"), served.site().join("link.txt")).unwrap();
    symlink(served.folder.path(), served.site().join("up")).unwrap();
    symlink("/dev/zero", served.site().join("zero")).unwrap();
    symlink("style.css", served.site().join("inside.css")).unwrap();
    for path in [
        "/../outside.txt",
        "/sub/../../outside.txt",
        "/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/%2e%2e%2foutside.txt",
        "/sub/..%2f..%2foutside.txt",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/etc/passwd",
        "/style.css%00.html",
        "/%ff",
        "/link.txt",
        "/up/outside.txt",
        "/up",
        "/zero",
        "//sub",
    ] {
        assert_eq!(served.get(path).0, 404, "{path}");
    }
    assert_eq!(served.get("/inside.css").0, 200, "a link that stays inside is fine");
}

#[test]
fn the_sites_own_404_page_is_shown_with_status_404() {
    let served = Served::new(|_| {});
    assert_eq!(served.get("/missing"), (404, "404 not found\n".into()));
    fs::write(served.site().join("404.html"), "<h1>lost</h1>").unwrap();
    let (head, body) = served.ask("GET /missing", "Range: bytes=0-1\r\nIf-None-Match: *\r\n");
    assert_eq!((status(&head), body.as_str()), (404, "<h1>lost</h1>"));
    assert_eq!(header(&head, "content-type"), Some("text/html; charset=utf-8"));
    let (head, body) = served.ask("HEAD /missing", "");
    assert_eq!((status(&head), body.as_str()), (404, ""));
}

#[test]
fn a_single_page_app_answers_every_page_and_no_missing_part() {
    let served = Served::new(|options| options.missing = Missing::Index);
    assert_eq!(served.get("/users/7"), (200, "<h1>home</h1>".into()));
    assert_eq!(served.get("/assets/gone.js").0, 404);
    let (head, _) = served.ask("GET /users/john.doe", "Accept: text/html,*/*\r\n");
    assert_eq!(status(&head), 200);
    assert_eq!(served.get("/style.css").1, "body {}");
}

#[test]
fn without_the_password_nothing_is_told() {
    let served = Served::new(|options| options.credentials = Some("rsx:secret".parse().unwrap()));
    for (path, headers) in [("/", ""), ("/missing", ""), ("/", "Authorization: Basic cnN4Ondyb25n\r\n")] {
        let (head, body) = served.ask(&format!("GET {path}"), headers);
        assert_eq!(status(&head), 401, "{path}");
        assert!(header(&head, "www-authenticate").is_some_and(|value| value.starts_with("basic realm=")), "{head}");
        assert!(!body.contains("home"));
    }
    let (head, body) = served.ask("GET /", "Authorization: Basic cnN4OnNlY3JldA==\r\n");
    assert_eq!((status(&head), body.as_str()), (200, "<h1>home</h1>"));
}

#[test]
fn one_connection_carries_several_requests() {
    let served = Served::new(|_| {});
    let mut stream = served.connect();
    for _ in 0..3 {
        stream.write_all(b"GET /style.css HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"body {}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
    }
}

#[test]
fn what_is_no_http_ends_the_connection_and_nothing_else() {
    let served = Served::new(|_| {});
    let mut stream = served.connect();
    stream.write_all(b"\x16\x03\x01\x00\xff nonsense\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{:?}", String::from_utf8_lossy(&answer));
    assert_eq!(served.get("/").0, 200);
}

#[test]
fn at_the_end_requests_in_hand_are_finished_and_idle_clients_let_go() {
    let mut served = Served::new(|_| {});
    // More than the socket buffers hold: the answer is in hand when the end comes.
    let big = vec![b'x'; 24 * 1024 * 1024];
    fs::write(served.site().join("big.bin"), &big).unwrap();
    let mut idle = served.connect();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    idle.read_exact(&mut [0; 12]).unwrap();
    let mut busy = served.connect();
    busy.write_all(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    busy.read_exact(&mut [0; 12]).unwrap();
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        busy.read_to_end(&mut rest).map(|_| rest)
    });

    let began = Instant::now();
    served.end();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let rest = reader.join().unwrap().unwrap();
    assert!(rest.ends_with(&big), "{} bytes came", rest.len());
    let mut rest = String::new();
    idle.read_to_string(&mut rest).unwrap();
    assert!(TcpStream::connect(served.address).is_err(), "nobody listens any more");
}

#[test]
fn a_client_that_does_not_read_cannot_hold_up_the_end() {
    let mut served = Served::new(|_| {});
    fs::write(served.site().join("big.bin"), vec![b'x'; 24 * 1024 * 1024]).unwrap();
    let mut deaf = served.connect();
    deaf.write_all(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    deaf.read_exact(&mut [0; 12]).unwrap();
    let began = Instant::now();
    served.end();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_port_in_use_is_named_with_a_way_out() {
    let served = Served::new(|_| {});
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut options = options(&served.site());
    options.port = served.address.port();
    let failure = runtime.block_on(Server::bind(&options)).err().expect("the port is taken");
    assert_eq!(failure.code(), ExitCode::Failed);
    let text = failure.to_string();
    assert!(text.contains(&format!("port {} is in use", options.port)) && text.contains("hint: "), "{text}");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for path in ["/nowhere/at/all", "/dev/null", "8080"] {
        let failure = runtime.block_on(Server::bind(&options(Path::new(path)))).err().expect("no folder");
        assert!(failure.message().contains(&format!("`{path}`")), "{failure}");
    }
}
