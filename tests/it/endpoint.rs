//! The metrics endpoint: `[daemon] metrics` in `config.toml`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::harness::{LIMIT, Rsx, free_port, holds};

/// Writes `config.toml` as an editor does: whole, by a rename.
fn configure(rsx: &Rsx, metrics: &str) {
    let path = rsx.home().join("config.toml");
    fs::write(path.with_extension("tmp"), format!("[daemon]\nmetrics = {metrics}\n")).unwrap();
    fs::rename(path.with_extension("tmp"), path).unwrap();
}

/// The answer to a request, as far as there is one.
fn try_ask(port: u16, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn scrape(port: u16) -> std::io::Result<String> {
    try_ask(port, &format!("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"))
}

/// Asks until the answer is as it should be.
#[track_caller]
fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "it did not come");
    }
}

/// Waits until metrics are served.
#[track_caller]
fn served(port: u16) -> String {
    until(|| scrape(port).ok().filter(|answer| answer.starts_with("HTTP/1.1 200 OK")))
}

/// What `ls` tells of the daemon itself.
fn said(rsx: &Rsx) -> String {
    rsx.ok("ls").err
}

#[test]
fn metrics_are_served_when_the_file_says_so_and_not_before_or_after() {
    let rsx = Rsx::new();
    let port = free_port();
    rsx.ok("start \"sleep 1000\" --name plain");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    configure(&rsx, &format!("\"127.0.0.1:{port}\""));
    let answer = served(port);
    assert!(answer.contains("application/openmetrics-text; version=1.0.0"), "{answer}");
    assert!(answer.contains("rsx_up{app=\"plain\""), "{answer}");
    assert!(answer.contains("# EOF\n"), "{answer}");
    rsx.ok("doctor").prints(&[&format!("http://127.0.0.1:{port}/metrics")]);
    rsx.ok(&format!("check {}", rsx.home().join("config.toml").display()))
        .prints(&[&format!("tcp://127.0.0.1:{port}")]);
    // Another address, then none.
    let other = free_port();
    configure(&rsx, &other.to_string());
    served(other);
    until(|| TcpStream::connect(("127.0.0.1", port)).err());
    fs::remove_file(rsx.home().join("config.toml")).unwrap();
    until(|| TcpStream::connect(("127.0.0.1", other)).err());
}

#[test]
fn a_page_in_a_browser_cannot_read_metrics_by_a_name_of_its_own() {
    let rsx = Rsx::new();
    let port = free_port();
    rsx.ok("start \"sleep 1000\" --name plain");
    configure(&rsx, &format!("{{ address = \"127.0.0.1:{port}\", hosts = [\"shop.example\"] }}"));
    served(port);
    let status = |request: &str| try_ask(port, request).unwrap().lines().next().unwrap_or_default().to_owned();
    assert_eq!(status("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n"), "HTTP/1.1 403 Forbidden");
    assert_eq!(status("GET /metrics HTTP/1.1\r\nHost: shop.example:1\r\n\r\n"), "HTTP/1.1 200 OK");
    assert_eq!(status("GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP/1.1 403 Forbidden");
    assert_eq!(status("GET /metrics HTTP/1.1\r\n\r\n"), "HTTP/1.1 400 Bad Request");
    assert_eq!(status("DELETE /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(status("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP/1.1 404 Not Found");
    let long = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    // What is too long is not read to its end: its writer may find the connection closed.
    assert!(try_ask(port, &long).map_or(true, |answer| !answer.contains("200 OK")));
    served(port);
}

#[test]
fn clients_that_say_nothing_hold_up_neither_the_daemon_nor_others_for_long() {
    let rsx = Rsx::new();
    let port = free_port();
    rsx.ok("start \"sleep 1000\" --name plain");
    configure(&rsx, &port.to_string());
    served(port);
    let silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    rsx.ok("ls").prints(&["plain"]);
    // Their time for a request is over after 5 s, eight at a time.
    let begun = Instant::now();
    while !scrape(port).is_ok_and(|answer| answer.contains("200 OK")) {
        assert!(begun.elapsed() < Duration::from_secs(40));
    }
    drop(silent);
}

#[test]
fn a_port_that_is_in_use_is_said_and_taken_when_it_is_free() {
    let rsx = Rsx::new();
    let port = free_port();
    let holder = holds(port);
    rsx.ok("start \"sleep 1000\" --name plain");
    configure(&rsx, &port.to_string());
    until(|| said(&rsx).contains("somebody listens there").then_some(()));
    rsx.ok("doctor").prints(&["is not served"]);
    rsx.ok("restart plain");
    drop(holder);
    served(port);
    assert!(!said(&rsx).contains("somebody listens there"));
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_is_said() {
    let rsx = Rsx::new();
    let port = free_port();
    rsx.ok("start \"sleep 1000\" --name plain");
    configure(&rsx, &port.to_string());
    served(port);
    configure(&rsx, "\"0.0.0.0:9615\"");
    until(|| said(&rsx).contains("open to other machines").then_some(()));
    served(port);
    let path = rsx.home().join("config.toml");
    rsx.fails(6, &format!("check {}", path.display())).says(&["config.toml:2", "remote = true"]);
    // An ecosystem file is another one.
    rsx.write("own.toml", "[daemon]\nmetrics = 1\n[[apps]]\nscript = \"sleep 1\"\n");
    rsx.fails(6, "check own.toml").says(&["`config.toml` in its RSX_HOME"]);
}

#[test]
fn a_unix_socket_is_for_its_user_and_goes_with_the_daemon() {
    let rsx = Rsx::new();
    let path = rsx.scratch().join("m.sock");
    rsx.ok("start \"sleep 1000\" --name plain");
    configure(&rsx, &format!("\"unix://{}\"", path.display()));
    let ask = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(&path)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: whatever\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    until(|| ask().ok().filter(|answer| answer.contains("rsx_up{app=\"plain\"")));
    let found = fs::metadata(&path).unwrap();
    assert!(found.file_type().is_socket() && found.permissions().mode() & 0o777 == 0o600);
    let (daemon, _) = rsx.daemon();
    daemon.kill("KILL");
    daemon.ends();
    until(|| ask().ok().filter(|answer| answer.contains("rsx_up{app=\"plain\"")));
    rsx.ok("kill");
    assert!(!path.exists());
}

#[test]
fn a_scrape_while_the_daemon_dies_waits_for_the_next_one() {
    let rsx = Rsx::new();
    let port = free_port();
    rsx.ok("start \"sleep 1000\" --name plain");
    configure(&rsx, &port.to_string());
    served(port);
    for _ in 0..3 {
        let (daemon, _) = rsx.daemon();
        daemon.kill("KILL");
        daemon.ends();
        // Connected to a queue that nobody empties at the moment.
        let answer = scrape(port).unwrap();
        assert!(answer.contains("rsx_up{app=\"plain\""), "{answer}");
    }
    rsx.ok("update");
    let answer = scrape(port).unwrap();
    assert!(answer.contains("rsx_up{app=\"plain\""), "{answer}");
    rsx.ok("kill");
    until(|| TcpStream::connect(("127.0.0.1", port)).err());
}
