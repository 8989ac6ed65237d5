//! Clients that never try twice: each failure counts.
//!
//! What counts as a failure: a connection that is refused or reset, an answer that is cut off, any other status than 200,
//! and more than five seconds.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, socket};

use super::LIMIT;

/// A request that takes longer has failed.
const TOO_LONG: Duration = Duration::from_secs(5);

/// How much slower than nearly all steady answers the slowest one may be.
const SLOWER: Duration = Duration::from_millis(500);

/// Requests a second that make a proof.
const RATE: usize = 300;

/// Requests from several clients, until it is stopped.
pub(crate) struct Load {
    shared: Arc<(Mutex<Seen>, Condvar)>,
    clients: Vec<JoinHandle<()>>,
    began: Instant,
}

/// What clients do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clients {
    pub(crate) count: usize,
    pub(crate) connections: Connections,
    /// Between an answer and the next request: at least this, and at most twice that.
    pub(crate) think: Duration,
}

/// How many requests a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    /// One.
    New,
    /// As many as the server lets it have. One that the server has closed is not used again, which is no failure; one that
    /// it closes while a request is on its way is.
    Kept,
}

impl Clients {
    /// New connections, one after the other from each.
    pub(crate) fn new(count: usize) -> Clients {
        Clients { count, connections: Connections::New, think: Duration::ZERO }
    }

    /// Some hundred requests a second over new connections, with room for others on the machine.
    pub(crate) fn steady() -> Clients {
        Clients { think: Duration::from_millis(10), ..Clients::new(12) }
    }

    /// Some hundred requests a second over kept connections, of clients that think in between.
    pub(crate) fn kept() -> Clients {
        Clients { count: 72, connections: Connections::Kept, think: Duration::from_millis(100) }
    }
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// How many each process has answered, by what it calls itself.
    pub(crate) answers: BTreeMap<String, usize>,
    pub(crate) failed: Vec<String>,
    /// How long each took.
    times: Vec<Duration>,
    /// How long nearly all took (99.9 %) before anything was done.
    steady: Option<Duration>,
    elapsed: Duration,
    is_over: bool,
}

impl Seen {
    pub(crate) fn count(&self) -> usize {
        self.answers.values().sum()
    }

    pub(crate) fn slowest(&self) -> Duration {
        self.times.iter().max().copied().unwrap_or_default()
    }

    /// Requests a second, on average.
    pub(crate) fn rate(&self) -> usize {
        (self.count() as f64 / self.elapsed.as_secs_f64()) as usize
    }

    /// In words, for the report of a test.
    pub(crate) fn summary(&self) -> String {
        let steady = self.steady.unwrap_or_default().as_millis();
        let (count, rate, failed) = (self.count(), self.rate(), self.failed.len());
        format!(
            "{failed} of {count} failed, {rate}/s, slowest {} ms (steady p99.9: {steady})",
            self.slowest().as_millis()
        )
    }
}

impl Load {
    /// Unhurried clients with a connection for each request: a few hundred a second from each, with room for others on the
    /// machine.
    pub(crate) fn start(port: u16, clients: usize) -> Load {
        Load::of(port, Clients { think: Duration::from_millis(2), ..Clients::new(clients) })
    }

    pub(crate) fn of(port: u16, clients: Clients) -> Load {
        let shared = Arc::new((Mutex::new(Seen::default()), Condvar::new()));
        let client = |number| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || run(port, number, clients, &shared))
        };
        let clients = (0..clients.count).map(client).collect();
        Load { shared, clients, began: Instant::now() }
    }

    /// Waits until so many more requests have come to an end.
    #[track_caller]
    pub(crate) fn goes_on(&self, more: usize) {
        let (seen, changed) = &*self.shared;
        let total = |seen: &Seen| seen.count() + seen.failed.len();
        let seen = seen.lock().unwrap();
        let wanted = total(&seen) + more;
        let (seen, waited) = changed.wait_timeout_while(seen, LIMIT, |seen| total(seen) < wanted).unwrap();
        assert!(!waited.timed_out(), "{}: {:?}", seen.summary(), seen.failed);
    }

    /// Takes what there was so far for what is usual, from at least this many requests.
    #[track_caller]
    pub(crate) fn is_steady(&self, of: usize) {
        self.goes_on(of);
        let mut seen = self.shared.0.lock().unwrap();
        let mut times = seen.times.clone();
        times.sort_unstable();
        seen.steady = times.get(times.len() * 999 / 1000).copied();
    }

    /// How many have failed so far.
    pub(crate) fn failed(&self) -> usize {
        self.shared.0.lock().unwrap().failed.len()
    }

    pub(crate) fn stop(self) -> Seen {
        let elapsed = self.began.elapsed();
        self.shared.0.lock().unwrap().is_over = true;
        for client in self.clients {
            client.join().unwrap();
        }
        let mut seen = self.shared.0.lock().unwrap();
        seen.elapsed = elapsed;
        println!("{}", seen.summary());
        seen.clone()
    }

    /// Stops it: nothing may have failed.
    #[track_caller]
    pub(crate) fn has_lost_nothing(self) -> Seen {
        let seen = self.stop();
        assert!(seen.failed.is_empty(), "{}: {:?}", seen.summary(), seen.failed);
        seen
    }

    /// Stops it: nothing may have failed, or been much slower than before, and there was enough of it to prove something.
    #[track_caller]
    pub(crate) fn has_noticed_nothing(self) -> Seen {
        let seen = self.has_lost_nothing();
        seen.is_a_proof();
        seen
    }
}

impl Seen {
    /// There was enough of it, and nothing was much slower than before.
    #[track_caller]
    pub(crate) fn is_a_proof(&self) {
        assert!(self.rate() >= RATE, "too few to prove anything: {}", self.summary());
        let steady = self.steady.expect("what is usual was asked for");
        assert!(self.slowest() <= steady + SLOWER, "one was slow: {}", self.summary());
    }
}

fn run(port: u16, number: usize, clients: Clients, shared: &(Mutex<Seen>, Condvar)) {
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number as u64 + 1);
    let mut connection = None;
    loop {
        let began = Instant::now();
        let answer = match clients.connections {
            Connections::New => ask(port),
            Connections::Kept => ask_again(port, &mut connection),
        };
        let took = began.elapsed();
        let answer = if took > TOO_LONG { Err(Error::other(format!("took {took:?}"))) } else { answer };
        let (seen, changed) = shared;
        {
            let mut seen = seen.lock().unwrap();
            match answer {
                Ok(who) => {
                    *seen.answers.entry(who).or_default() += 1;
                    seen.times.push(took);
                }
                Err(error) => {
                    seen.failed.push(format!("{error} after {took:?}"));
                    connection = None;
                }
            }
            changed.notify_all();
            if seen.is_over {
                return;
            }
        }
        if !clients.think.is_zero() {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let part = (dice >> 33) as f64 / f64::from(1_u32 << 31);
            // What a client does between two requests, and not a wait for anything.
            std::thread::sleep(clients.think.mul_f64(1.0 + part));
        }
    }
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, TOO_LONG)?;
    stream.set_read_timeout(Some(TOO_LONG))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Who answers a new connection.
pub(crate) fn ask(port: u16) -> std::io::Result<String> {
    answer(connect(port)?)
}

/// Who answers a new connection of a client that has this address.
pub(crate) fn ask_from(client: Ipv4Addr, port: u16) -> std::io::Result<String> {
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(client, 0)))?;
    nix::sys::socket::connect(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)))?;
    let stream = TcpStream::from(fd);
    stream.set_read_timeout(Some(TOO_LONG))?;
    answer(stream)
}

fn answer(mut stream: TcpStream) -> std::io::Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let head = Head::of(&bytes)?.ok_or_else(|| cut_off(&bytes))?;
    // An old server ends its answer by the end of the connection alone.
    if head.length.is_some_and(|length| bytes.len() < head.end + length) {
        return Err(cut_off(&bytes));
    }
    Ok(who(&bytes[head.end..]))
}

/// Who answers on a connection that there was, or on a new one if its server has closed it.
fn ask_again(port: u16, kept: &mut Option<TcpStream>) -> std::io::Result<String> {
    let open = kept.take().filter(is_open);
    let mut stream = open.map_or_else(|| connect(port), Ok)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(head) = Head::of(&bytes)?
            && let Some(end) = head.body_end(&bytes)
        {
            if !head.closes {
                *kept = Some(stream);
            }
            return Ok(who(&bytes[head.end..end]));
        }
        match stream.read(&mut chunk)? {
            0 => {
                return match Head::of(&bytes)? {
                    Some(head) if head.length.is_none() && !head.is_chunked => Ok(who(&bytes[head.end..])),
                    Some(_) | None => Err(cut_off(&bytes)),
                };
            }
            count => bytes.extend(&chunk[..count]),
        }
    }
}

/// Whether its server has not closed it yet, as every client with a pool of connections asks before it uses one.
fn is_open(stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    let peeked = stream.peek(&mut [0]);
    let _ = stream.set_nonblocking(false);
    matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// The beginning of an answer.
struct Head {
    /// Where the body begins.
    end: usize,
    length: Option<usize>,
    is_chunked: bool,
    /// Whether the server announces the end of the connection.
    closes: bool,
}

impl Head {
    /// None: it is not complete.
    fn of(bytes: &[u8]) -> std::io::Result<Option<Head>> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let mut lines = text.lines();
        let status = lines.next().unwrap_or_default();
        if status.split_whitespace().nth(1) != Some("200") {
            return Err(Error::other(format!("answered {text:?}")));
        }
        let fields: BTreeMap<&str, &str> =
            lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.trim(), value.trim())).collect();
        let has = |name, value| fields.get(name).is_some_and(|found| found.contains(value));
        Ok(Some(Head {
            end: end + 4,
            length: fields.get("content-length").and_then(|length| length.parse().ok()),
            is_chunked: has("transfer-encoding", "chunked"),
            closes: has("connection", "close") || (status.starts_with("http/1.0") && !has("connection", "keep-alive")),
        }))
    }

    /// Where the answer ends, once it is there.
    fn body_end(&self, bytes: &[u8]) -> Option<usize> {
        match (self.length, self.is_chunked) {
            (Some(length), _) => (bytes.len() >= self.end + length).then_some(self.end + length),
            (None, true) => bytes.ends_with(b"0\r\n\r\n").then_some(bytes.len()),
            (None, false) => None,
        }
    }
}

fn cut_off(bytes: &[u8]) -> Error {
    Error::other(format!("cut off: {:?}", String::from_utf8_lossy(bytes)))
}

/// What a server calls itself: `pid N`, in whatever it answers; or all of it.
fn who(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    if let Some(line) = text.lines().find(|line| line.starts_with("pid ")) {
        return line.to_owned();
    }
    let json = serde_json::from_str::<serde_json::Value>(&text).ok();
    json.and_then(|json| json.get("pid").map(|pid| format!("pid {pid}"))).unwrap_or_else(|| text.into_owned())
}
