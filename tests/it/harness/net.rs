//! Ports and requests, on loopback only.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Mutex;

use super::LIMIT;

/// The next port to try. Below the range from which the kernel takes ports for whoever asks for any, or a connection of
/// another test could sit on the number between its choice and its use.
static NEXT: Mutex<u16> = Mutex::new(0);

const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

/// A port that nobody listens on and that no other test of this process gets.
pub(crate) fn free_port() -> u16 {
    let mut next = NEXT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Test processes that run side by side start far from each other.
    let own = u16::try_from(std::process::id() * 131 % u32::from(COUNT)).unwrap();
    for _ in 0..COUNT {
        *next += 1;
        let port = FIRST + (own + *next) % COUNT;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// Takes a port and holds it until dropped.
pub(crate) fn holds(port: u16) -> TcpListener {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap()
}

/// The answer to a GET request, head and body.
#[track_caller]
pub(crate) fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
