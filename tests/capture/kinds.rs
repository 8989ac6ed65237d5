//! Programs of every kind, on sockets of this process: what the interpreter says, the kernel does.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use rsx::cluster::{Balance, Candidate, Mark, Net, Place, Program, Table, Weight};
use rsx::sys::tcp::{self, Facts, Instruction};

/// Members of one port, in the array's order.
struct Members {
    address: SocketAddr,
    sockets: Vec<TcpListener>,
}

impl Members {
    /// None where this machine has no IPv6.
    fn new(net: Net, count: usize) -> Option<Members> {
        let ip: IpAddr = match net {
            Net::V4 => Ipv4Addr::LOCALHOST.into(),
            Net::V6 => Ipv6Addr::LOCALHOST.into(),
            Net::Dual => Ipv6Addr::UNSPECIFIED.into(),
        };
        let first = member(SocketAddr::new(ip, 0))?;
        let address = Facts::of(&first).unwrap().address;
        let mut sockets = vec![first];
        sockets.extend((1..count).map(|_| member(address).unwrap()));
        sockets.iter().for_each(|socket| tcp::join(socket, 1000).unwrap());
        Some(Members { address, sockets: sockets.into_iter().map(TcpListener::from).collect() })
    }

    fn steer(&self, net: Net, balance: Balance, table: &Table) {
        let program = Program::of(net, balance, table).unwrap().unwrap();
        let code: Vec<Instruction> = program.code().iter().map(crate::keeper::instruction).collect();
        tcp::attach(&self.sockets[0], &code).unwrap();
    }

    /// Which index each of these connections went to.
    fn spread(&self, clients: impl Iterator<Item = TcpStream>) -> BTreeMap<usize, usize> {
        let clients: Vec<TcpStream> = clients.collect();
        let accepted = |socket: &TcpListener| std::iter::from_fn(|| socket.accept().ok()).count();
        let counts = self.sockets.iter().map(accepted).enumerate().filter(|(_, count)| *count > 0).collect();
        drop(clients);
        counts
    }

    fn client(&self, source: Option<IpAddr>, traffic_class: u8) -> TcpStream {
        let family = match source.unwrap_or(self.address.ip()) {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        if family == AddressFamily::Inet6 {
            setsockopt(&fd, sockopt::Ipv6TClass, &traffic_class.into()).unwrap();
        }
        let loopback: IpAddr = match family {
            AddressFamily::Inet => Ipv4Addr::LOCALHOST.into(),
            _ => Ipv6Addr::LOCALHOST.into(),
        };
        let from = SocketAddr::new(source.unwrap_or(loopback), 0);
        bind(fd.as_raw_fd(), &SockaddrStorage::from(from)).unwrap();
        let to = SocketAddr::new(loopback, self.address.port());
        connect(fd.as_raw_fd(), &SockaddrStorage::from(to)).unwrap();
        TcpStream::from(fd)
    }
}

fn member(address: SocketAddr) -> Option<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None).ok()?;
    tcp::share(&fd).unwrap();
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).ok()?;
    Some(fd)
}

fn candidate(index: u32, weight: u16) -> Candidate {
    Candidate { index, place: Place(index), weight: Weight::new(weight).unwrap() }
}

fn nets() -> impl Iterator<Item = (Net, Members)> {
    [Net::V4, Net::V6, Net::Dual].into_iter().filter_map(|net| match Members::new(net, 5) {
        Some(members) => Some((net, members)),
        None => {
            let _ = writeln!(std::io::stderr().lock(), "skipped {net:?}: this machine has no IPv6");
            None
        }
    })
}

#[test]
fn the_kernel_spreads_as_the_balance_says() {
    for (net, members) in nets() {
        let clients = || (0..400).map(|_| members.client(None, 0));
        // Index 1 is not in the table.
        let candidates = [(0, 1), (2, 1), (3, 2), (4, 12)].map(|(index, weight)| candidate(index, weight));
        let table = Table { candidates: candidates.into(), probes: Vec::new() };
        for (balance, expected) in [
            (Balance::Random, [(0, 100.0), (2, 100.0), (3, 100.0), (4, 100.0)]),
            (Balance::Weighted, [(0, 25.0), (2, 25.0), (3, 50.0), (4, 300.0)]),
        ] {
            members.steer(net, balance, &table);
            let found = members.spread(clients());
            assert_eq!(found.len(), 4, "{net:?} {balance:?}: {found:?}");
            for (index, count) in expected {
                let difference: f64 = found[&index] as f64 - count;
                // Six standard deviations.
                assert!(difference.abs() < 6.0 * f64::sqrt(count), "{net:?} {balance:?}: {found:?}");
            }
        }
    }
}

#[test]
fn a_client_stays_with_its_member() {
    for (net, members) in nets() {
        let table = Table { candidates: [0, 2, 3, 4].map(|index| candidate(index, 1)).into(), probes: Vec::new() };
        members.steer(net, Balance::SourceIp, &table);
        // One machine has many addresses of IPv4 and one of IPv6.
        let sources: Vec<Option<IpAddr>> = match net {
            Net::V6 => vec![None],
            Net::V4 | Net::Dual => (2..40).map(|host| Some(Ipv4Addr::new(127, 0, 0, host).into())).collect(),
        };
        let mut used = BTreeMap::new();
        for source in &sources {
            let found = members.spread((0..5).map(|_| members.client(*source, 0)));
            assert_eq!(found.len(), 1, "{net:?} {source:?}: {found:?}");
            used.extend(found);
        }
        assert!(net == Net::V6 || used.len() == 4, "{net:?}: {used:?}");
    }
}

#[test]
fn a_probe_reaches_each_member_through_the_real_port() {
    for (net, members) in nets() {
        let probes = (0..5).map(|at| (Mark::new(at), u32::from(at))).collect();
        let table = Table { candidates: vec![candidate(1, 1), candidate(2, 1)], probes };
        for balance in [Balance::Random, Balance::Weighted, Balance::SourceIp] {
            members.steer(net, balance, &table);
            for at in 0..5_u16 {
                let mark = Mark::new(at);
                let expected = BTreeMap::from([(usize::from(at), 1)]);
                if net != Net::V6 {
                    let probe = members.client(Some(mark.source().into()), 0);
                    assert_eq!(members.spread(std::iter::once(probe)), expected, "{net:?} over IPv4");
                }
                if net != Net::V4 {
                    let probe = members.client(None, mark.traffic_class().unwrap());
                    assert_eq!(members.spread(std::iter::once(probe)), expected, "{net:?} over IPv6");
                }
            }
        }
    }
}
