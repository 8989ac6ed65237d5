//! A server from little more than Rust's standard library, for trying rsx: one thread a connection, one request each.
//!
//! It does nothing about SIGTERM, like many a program: the kernel ends it at once.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process;
use std::time::Duration;

fn main() {
    let port = std::env::var("PORT").unwrap_or_else(|_| "8104".to_owned());
    // With `listen` in the ecosystem file the socket is there already.
    let handed = listenfd::ListenFd::from_env().take_tcp_listener(0);
    let opened = handed.and_then(|handed| handed.map_or_else(|| TcpListener::bind(format!("0.0.0.0:{port}")), Ok));
    let listener = opened.unwrap_or_else(|error| {
        eprintln!("cannot listen on port {port}: {error}");
        process::exit(1);
    });
    let address = listener.local_addr().map_or(port, |address| address.to_string());
    println!("rust: pid {} listens on {address}", process::id());
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            // An error here is a client that left.
            let _ = answer(stream);
        });
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    // The head is read to its end: closing a socket with unread bytes would reset it under the answer.
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let pid = process::id();
    let (status, body) = match request.split(' ').nth(1) {
        Some("/") => ("200 OK", format!("{{\"hello\":\"rust\",\"pid\":{pid}}}\n")),
        Some("/health") => ("200 OK", "{\"ok\":true}\n".to_owned()),
        Some("/crash") => {
            eprintln!("crashed on request");
            process::abort();
        }
        Some(_) => ("404 Not Found", "{\"error\":\"not found\"}\n".to_owned()),
        None => ("400 Bad Request", "{\"error\":\"not HTTP\"}\n".to_owned()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
