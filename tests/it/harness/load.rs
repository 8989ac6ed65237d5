//! Clients that never try twice: each failure counts.

use std::collections::BTreeMap;
use std::io::{Error, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};

use super::LIMIT;

/// New connections, one after the other from each client, until it is stopped.
pub(crate) struct Load {
    shared: Arc<(Mutex<Seen>, Condvar)>,
    clients: Vec<JoinHandle<()>>,
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// How many each process has answered, by what it calls itself.
    pub(crate) answers: BTreeMap<String, usize>,
    pub(crate) failed: Vec<String>,
    is_over: bool,
}

impl Seen {
    pub(crate) fn count(&self) -> usize {
        self.answers.values().sum()
    }
}

impl Load {
    pub(crate) fn start(port: u16, clients: usize) -> Load {
        let shared = Arc::new((Mutex::new(Seen::default()), Condvar::new()));
        let client = |_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                loop {
                    let answer = ask(port);
                    let (seen, changed) = &*shared;
                    let mut seen = seen.lock().unwrap();
                    match answer {
                        Ok(who) => *seen.answers.entry(who).or_default() += 1,
                        Err(error) => seen.failed.push(error.to_string()),
                    }
                    changed.notify_all();
                    if seen.is_over {
                        return;
                    }
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Load { shared, clients }
    }

    /// Waits until so many more requests have come to an end.
    #[track_caller]
    pub(crate) fn goes_on(&self, more: usize) {
        let (seen, changed) = &*self.shared;
        let total = |seen: &Seen| seen.count() + seen.failed.len();
        let seen = seen.lock().unwrap();
        let wanted = total(&seen) + more;
        let (seen, waited) = changed.wait_timeout_while(seen, LIMIT, |seen| total(seen) < wanted).unwrap();
        assert!(!waited.timed_out(), "{seen:?}");
    }

    pub(crate) fn stop(self) -> Seen {
        self.shared.0.lock().unwrap().is_over = true;
        for client in self.clients {
            client.join().unwrap();
        }
        self.shared.0.lock().unwrap().clone()
    }

    /// Stops it: nothing may have failed.
    #[track_caller]
    pub(crate) fn has_lost_nothing(self) -> Seen {
        let seen = self.stop();
        assert!(seen.failed.is_empty(), "{} of {} failed: {:?}", seen.failed.len(), seen.count(), seen.failed);
        seen
    }
}

/// Who answers a new connection.
pub(crate) fn ask(port: u16) -> std::io::Result<String> {
    answer(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?)
}

/// Who answers a new connection of a client that has this address.
pub(crate) fn ask_from(client: Ipv4Addr, port: u16) -> std::io::Result<String> {
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(client, 0)))?;
    connect(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)))?;
    answer(TcpStream::from(fd))
}

fn answer(mut stream: TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    match text.split_once("\r\n\r\n") {
        // Some servers send short bodies in one chunk.
        Some((head, body)) if head.starts_with("HTTP/1.1 200") && !body.is_empty() => {
            Ok(body.lines().find(|line| line.starts_with("pid ")).unwrap_or(body).to_owned())
        }
        _ => Err(Error::other(format!("answered {text:?}"))),
    }
}
