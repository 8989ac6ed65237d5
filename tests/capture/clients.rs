//! Clients that never try twice.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect as connect_socket, socket};

/// Longer than that is a failure.
const LIMIT: Duration = Duration::from_secs(20);

/// New connections, one after the other, until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Load {
    pub(crate) fn start(port: u16) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let until = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut answered, mut failed) = (0, Vec::new());
            while !until.load(Ordering::Relaxed) {
                match try_ask(port) {
                    Ok(_) => answered += 1,
                    Err(error) => failed.push(error.to_string()),
                }
            }
            (answered, failed)
        });
        Load { stop, thread }
    }

    /// How many were answered, and what became of the others.
    pub(crate) fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The name of whoever answers a new connection.
#[track_caller]
pub(crate) fn ask(port: u16) -> String {
    try_ask(port).unwrap()
}

fn try_ask(port: u16) -> std::io::Result<String> {
    answer(request(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?)?)
}

/// A connection with a request on its way.
#[track_caller]
pub(crate) fn connect(port: u16) -> TcpStream {
    request(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()).unwrap()
}

/// The name of whoever answers it.
#[track_caller]
pub(crate) fn finish(stream: TcpStream) -> String {
    answer(stream).unwrap()
}

/// The name of whoever answers a client from this address.
#[track_caller]
pub(crate) fn ask_from(source: Ipv4Addr, port: u16) -> String {
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&fd);
    bind(number, &SockaddrIn::from(std::net::SocketAddrV4::new(source, 0))).unwrap();
    connect_socket(number, &SockaddrIn::new(127, 0, 0, 1, port)).unwrap();
    finish(request(TcpStream::from(fd)).unwrap())
}

/// A connection that was answered once, by this one, and stays open.
#[track_caller]
pub(crate) fn keep_alive(port: u16, name: &str) -> TcpStream {
    let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(name.as_bytes()) {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "it ended after {:?}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    stream
}

fn request(mut stream: TcpStream) -> std::io::Result<TcpStream> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    Ok(stream)
}

/// The body of an answer that says it succeeded and comes to its end.
fn answer(mut stream: TcpStream) -> std::io::Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") && !body.is_empty() => Ok(without_chunks(body)),
        _ => Err(std::io::Error::other(format!("answered {text:?}"))),
    }
}

/// Node sends short bodies in one chunk.
fn without_chunks(body: &str) -> String {
    let name = body.lines().find(|line| line.starts_with("run "));
    name.unwrap_or(body).to_owned()
}
