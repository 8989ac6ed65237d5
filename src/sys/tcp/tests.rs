use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, socket};

use super::diag::{Connection, Diag};
use super::*;
use crate::spec::Signal;
use crate::sys::proc_table::ProcTable;
use crate::sys::spawn::spawn;
use crate::sys::testing::{LIMIT, end_of, shell, until_line, with_output};

/// BPF_RET | BPF_K.
fn always(index: u32) -> Vec<Instruction> {
    vec![Instruction { code: 0x06, jt: 0, jf: 0, k: index }]
}

/// A socket that shares its port and does not listen yet.
fn member(address: SocketAddr) -> OwnedFd {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None).unwrap();
    share(&fd).unwrap();
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).unwrap();
    fd
}

/// This many listening members of a new group.
fn group(ip: IpAddr, count: usize) -> (SocketAddr, Vec<TcpListener>) {
    let first = member(SocketAddr::new(ip, 0));
    let address = Facts::of(&first).unwrap().address;
    let rest = (1..count).map(|_| member(address));
    let members = std::iter::once(first).chain(rest).inspect(|member| join(member, 200).unwrap());
    (address, members.map(TcpListener::from).collect::<Vec<_>>())
}

/// Where this many new connections go.
fn spread(address: SocketAddr, members: &[TcpListener], count: usize) -> Vec<usize> {
    let clients: Vec<TcpStream> = (0..count).map(|_| TcpStream::connect(address).unwrap()).collect();
    let accepted = members.iter().map(|member| std::iter::from_fn(|| member.accept().ok()).count()).collect();
    drop(clients);
    accepted
}

fn loopbacks() -> impl Iterator<Item = IpAddr> {
    let v6 = TcpListener::bind("[::1]:0").is_ok().then_some(Ipv6Addr::LOCALHOST.into());
    [Some(IpAddr::from(Ipv4Addr::LOCALHOST)), v6].into_iter().flatten()
}

fn cookies(port: u16) -> Vec<Cookie> {
    let mut found: Vec<_> = Diag::open().unwrap().listeners(port).unwrap().iter().map(|found| found.cookie).collect();
    found.sort_unstable();
    found
}

#[test]
fn a_program_chooses_the_member_and_without_it_they_share() {
    for ip in loopbacks() {
        let (address, members) = group(ip, 4);
        for index in 0..4 {
            attach(&members[0], &always(index)).unwrap();
            let mut expected = vec![0; 4];
            expected[index as usize] = 20;
            assert_eq!(spread(address, &members, 20), expected, "{ip}");
        }
        // Of no member: the kernel chooses by itself.
        attach(&members[3], &always(4)).unwrap();
        assert!(spread(address, &members, 200).iter().all(|count| *count > 0));
        attach(&members[3], &always(0)).unwrap();
        detach(&members[1]).unwrap();
        detach(&members[1]).unwrap();
        assert!(spread(address, &members, 200).iter().all(|count| *count > 0));
    }
}

#[test]
fn a_member_that_leaves_is_replaced_by_the_last_and_comes_back_as_the_last() {
    let (address, members) = group(Ipv4Addr::LOCALHOST.into(), 4);
    leave(&members[1]).unwrap();
    // 0 3 2
    for (index, member) in [0, 3, 2].into_iter().enumerate() {
        attach(&members[0], &always(u32::try_from(index).unwrap())).unwrap();
        assert_eq!(spread(address, &members, 5)[member], 5);
    }
    leave(&members[1]).unwrap();
    assert!(!is_listening(&members[1]).unwrap());
    join(&members[1], 200).unwrap();
    attach(&members[0], &always(3)).unwrap();
    assert_eq!(spread(address, &members, 5), [0, 5, 0, 0]);
    // A second listen changes the queue and nothing else.
    join(&members[0], 10).unwrap();
    assert_eq!(spread(address, &members, 5), [0, 5, 0, 0]);
}

#[test]
fn a_member_leaves_although_a_child_of_its_program_still_has_it() {
    let (address, mut members) = group(Ipv4Addr::LOCALHOST.into(), 2);
    let inherited = members[1].try_clone().unwrap();
    attach(&members[0], &always(1)).unwrap();
    drop(members.pop());
    // Closing alone changes nothing.
    assert_eq!(spread(address, &[inherited.try_clone().unwrap()], 3), [3]);
    leave(&inherited).unwrap();
    assert_eq!(spread(address, &members, 3), [3]);
}

#[test]
fn a_program_is_for_members_that_listen() {
    let alone = member("127.0.0.1:0".parse().unwrap());
    let refused = |program: &[Instruction]| attach(&alone, program).unwrap_err().kind();
    assert_eq!(refused(&always(0)), std::io::ErrorKind::InvalidInput);
    join(&alone, 1).unwrap();
    assert_eq!(refused(&[]), std::io::ErrorKind::InvalidInput);
    assert_eq!(refused(&always(0).repeat(4097)), std::io::ErrorKind::InvalidInput);
    // A program has to end.
    assert!(attach(&alone, &[Instruction { code: 0x20, jt: 0, jf: 0, k: 0 }]).is_err());
    attach(&alone, &always(0)).unwrap();
}

#[test]
fn sharing_may_begin_when_a_socket_listens_already() {
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    share(&first).unwrap();
    let second = member(first.local_addr().unwrap());
    join(&second, 10).unwrap();
    attach(&first, &always(1)).unwrap();
    let _client = TcpStream::connect(first.local_addr().unwrap()).unwrap();
    assert_eq!((queue_depth(&first).unwrap(), queue_depth(&second).unwrap()), (0, 1));
}

#[test]
fn a_socket_that_does_not_share_keeps_others_out() {
    let alone = TcpListener::bind("127.0.0.1:0").unwrap();
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    share(&fd).unwrap();
    let address = SockaddrStorage::from(alone.local_addr().unwrap());
    assert_eq!(bind(fd.as_raw_fd(), &address).unwrap_err(), nix::errno::Errno::EADDRINUSE);
}

#[test]
fn the_kind_of_a_socket_is_known_before_it_is_bound() {
    let kind_of = |family, kind| super::kind(&socket(family, kind, SockFlag::SOCK_CLOEXEC, None).unwrap()).unwrap();
    assert_eq!(kind_of(AddressFamily::Inet, SockType::Stream), Kind::Tcp);
    assert_eq!(kind_of(AddressFamily::Inet, SockType::Datagram), Kind::Other);
    assert_eq!(kind_of(AddressFamily::Unix, SockType::Stream), Kind::Other);
    assert_eq!(kind(&std::fs::File::open("/dev/null").unwrap()).unwrap(), Kind::Other);
}

#[test]
fn a_group_of_multipath_sockets_cannot_be_steered_which_is_why_they_are_told_apart() {
    // SAFETY: integers only.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, libc::IPPROTO_MPTCP) };
    if fd < 0 {
        eprintln!("skipped: no multipath TCP here");
        return;
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let fd = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) };
    assert_eq!(kind(&fd).unwrap(), Kind::Mptcp);
    share(&fd).unwrap();
    bind(fd.as_raw_fd(), &SockaddrStorage::from("127.0.0.1:0".parse::<SocketAddr>().unwrap())).unwrap();
    join(&fd, 10).unwrap();
    let refused = attach(&fd, &always(0)).expect_err("if this works by now, Kind::Mptcp can be adopted");
    assert_eq!(refused.raw_os_error(), Some(libc::EOPNOTSUPP));
}

#[test]
fn facts_tell_groups_apart() {
    for ip in loopbacks() {
        let (address, members) = group(ip, 2);
        let facts: Vec<Facts> = members.iter().map(|member| Facts::of(member).unwrap()).collect();
        assert_eq!((facts[0].address, facts[1].address), (address, address));
        assert_ne!((facts[0].cookie, facts[0].inode), (facts[1].cookie, facts[1].inode));
        assert_eq!(facts[0].namespace, facts[1].namespace);
        assert_eq!(facts[0].cookie, Cookie::of(&members[0].try_clone().unwrap()).unwrap());
        // An address of IPv6 alone makes a socket of IPv6 alone.
        assert_eq!(facts[0].v6only, ip.is_ipv6());
    }
}

#[test]
fn strangers_of_a_group_are_listed_and_so_is_what_waits() {
    for ip in loopbacks() {
        let (address, members) = group(ip, 2);
        let mut own: Vec<Cookie> = members.iter().map(|member| Cookie::of(member).unwrap()).collect();
        own.sort_unstable();
        assert_eq!(cookies(address.port()), own);
        let stranger = member(address);
        // Bound is not joined.
        assert_eq!(cookies(address.port()), own);
        join(&stranger, 10).unwrap();
        attach(&stranger, &always(2)).unwrap();
        let _clients = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
        let listed = Diag::open().unwrap().listeners(address.port()).unwrap();
        assert_eq!(listed.len(), 3);
        let found = listed.iter().find(|found| found.cookie == Cookie::of(&stranger).unwrap()).unwrap();
        assert_eq!((found.address, found.queued), (address, 2));
        assert_eq!(queue_depth(&stranger).unwrap(), 2);
        assert_eq!((found.uid, found.inode), {
            let facts = Facts::of(&stranger).unwrap();
            (facts.uid, facts.inode)
        });
        leave(&stranger).unwrap();
        assert_eq!(cookies(address.port()), own);
    }
}

#[test]
fn listeners_are_listed_in_the_order_in_which_they_joined() {
    for ip in loopbacks() {
        let (address, members) = group(ip, 5);
        leave(&members[1]).unwrap();
        join(&members[1], 10).unwrap();
        let expected: Vec<Cookie> = [0, 2, 3, 4, 1].map(|at| Cookie::of(&members[at]).unwrap()).into();
        let listed = Diag::open().unwrap().listeners(address.port()).unwrap();
        assert_eq!(listed.iter().map(|found| found.cookie).collect::<Vec<_>>(), expected, "{ip}");
    }
}

#[test]
fn what_is_half_open_is_listed_and_in_no_queue() {
    for ip in loopbacks() {
        let (address, members) = group(ip, 1);
        // The kernel keeps a connection half open until its first byte comes (tcp(7)).
        option::set(members[0].as_fd(), libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 20).unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let mut diag = Diag::open().unwrap();
        let found = diag.half_open(address.port()).unwrap();
        assert_eq!(found.iter().map(|found| found.client).collect::<Vec<_>>(), [client.local_addr().unwrap()], "{ip}");
        assert_eq!(queue_depth(&members[0]).unwrap(), 0);
        client.write_all(b"x").unwrap();
        assert!(diag.half_open(address.port()).unwrap().is_empty());
        assert_eq!(queue_depth(&members[0]).unwrap(), 1);
        // The connection has the identity that it had when it was half open.
        assert_eq!(diag.connections(address.port()).unwrap()[0].cookie, found[0].cookie);
    }
}

#[test]
fn connections_carry_the_mark_of_their_member_before_they_are_accepted() {
    for ip in loopbacks() {
        let (address, members) = group(ip, 2);
        let tags = [Tag::new(5).unwrap(), Tag::new(10).unwrap()];
        for (member, tag) in members.iter().zip(tags) {
            set_tag(member, tag).unwrap();
        }
        let mut clients = Vec::new();
        for (index, count) in [(0, 3), (1, 7)] {
            attach(&members[0], &always(index)).unwrap();
            clients.extend((0..count).map(|_| TcpStream::connect(address).unwrap()));
        }
        let mut diag = Diag::from_fd(Diag::open().unwrap().as_fd().try_clone_to_owned().unwrap()).unwrap();
        let count = |found: &[Connection], tag| found.iter().filter(|found| found.tag == tag).count();
        let found = diag.connections(address.port()).unwrap();
        assert_eq!((count(&found, tags[0]), count(&found, tags[1]), found.len()), (3, 7, 10), "{ip}");
        assert!(found.iter().all(|found| found.inode == 0));
        let (accepted, _) = members[0].accept().unwrap();
        let inode = Facts::of(&accepted).unwrap().inode;
        assert_eq!(read_tag(&accepted).unwrap(), tags[0]);
        let found = diag.connections(address.port()).unwrap();
        assert_eq!(
            found.iter().filter(|found| found.inode == inode).map(|found| found.tag).collect::<Vec<_>>(),
            [tags[0]]
        );
        // A mark that changes marks those that come later.
        set_tag(&members[1], Tag::new(3).unwrap()).unwrap();
        clients.push(TcpStream::connect(address).unwrap());
        let found = diag.connections(address.port()).unwrap();
        assert_eq!((count(&found, tags[1]), count(&found, Tag::new(3).unwrap())), (7, 1));
    }
}

#[test]
fn clients_of_the_old_protocol_of_a_dual_stack_member_are_among_its_connections() {
    let Ok(listener) = TcpListener::bind("[::]:0") else { return };
    set_tag(&listener, Tag::new(9).unwrap()).unwrap();
    let facts = Facts::of(&listener).unwrap();
    let _client = TcpStream::connect(("127.0.0.1", facts.address.port())).unwrap();
    let found = Diag::open().unwrap().connections(facts.address.port()).unwrap();
    assert_eq!(found.iter().map(|found| found.tag.number()).collect::<Vec<_>>(), [9]);
    assert_eq!(found[0].client.ip().to_canonical(), IpAddr::from(Ipv4Addr::LOCALHOST));
}

#[test]
fn what_went_in_and_out_of_a_connection_is_told() {
    let (address, members) = group(Ipv4Addr::LOCALHOST.into(), 1);
    let mut diag = Diag::open().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"request").unwrap();
    let (mut server, _) = members[0].accept().unwrap();
    let look = |diag: &mut Diag| diag.connections(address.port()).unwrap()[0];
    assert_eq!((look(&mut diag).unread, look(&mut diag).received, look(&mut diag).sent), (7, 7, 0));
    server.read_exact(&mut [0; 7]).unwrap();
    server.write_all(b"ok").unwrap();
    client.read_exact(&mut [0; 2]).unwrap();
    let found = look(&mut diag);
    assert_eq!((found.unread, found.received, found.sent, found.is_ended), (0, 7, 2, false));
    assert!(found.since_sent <= found.since_received);
}

#[test]
fn a_connection_is_ended_in_the_place_of_the_program_that_holds_it() {
    let (address, members) = group(Ipv4Addr::LOCALHOST.into(), 1);
    let mut clients: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
    let accepted: Vec<TcpStream> = (0..2).map(|_| members[0].accept().unwrap().0).collect();
    // A child reads the first one to its end; the second one it only keeps.
    let mut launch = shell("echo up; cat; echo end; exec sleep 1000");
    launch.stdin = accepted[0].try_clone().unwrap().into();
    launch.keep.push(accepted[1].try_clone().unwrap().into());
    let wanted = Cookie::of(&accepted[0]).unwrap();
    drop(accepted);
    let (launch, mut output) = with_output(launch);
    let process = spawn(&launch).unwrap();
    drop(launch);
    until_line(&mut output, "up");
    let mut diag = Diag::open().unwrap();
    let all = diag.connections(address.port()).unwrap();
    let one: Vec<Connection> = all.into_iter().filter(|found| found.cookie == wanted).collect();
    let end = |connections: &[Connection]| {
        let ended = end_reading(&process, &ProcTable::read().unwrap(), connections).unwrap();
        ended.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(end(&one), [wanted]);
    until_line(&mut output, "end");
    let found = diag.connections(address.port()).unwrap();
    assert!(found.iter().all(|found| found.is_ended == (found.cookie == wanted)));
    assert_eq!(found.len(), 2);
    // One that nobody has accepted, one that this run does not hold, and one whose number is another socket's by now.
    let other = Connection { cookie: Cookie(1), ..one[0] };
    assert_eq!(end(&[Connection { inode: 0, ..other }, Connection { inode: 1, ..other }, other]), []);
    process.signal(Signal::KILL).unwrap();
    end_of(&process);
    assert_eq!(end(&one), []);
    for client in &mut clients {
        client.set_read_timeout(Some(LIMIT)).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    }
}

#[test]
fn members_of_two_families_are_two_groups() {
    let Ok(probe) = TcpListener::bind("[::1]:0") else { return };
    drop(probe);
    let (address, members) = group(Ipv4Addr::UNSPECIFIED.into(), 2);
    let v6 = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
    let fd = socket(AddressFamily::Inet6, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    share(&fd).unwrap();
    option::set(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1).unwrap();
    bind(fd.as_raw_fd(), &SockaddrStorage::from(v6)).unwrap();
    join(&fd, 10).unwrap();
    // The program of one is not the other's.
    attach(&members[0], &always(1)).unwrap();
    let _client = TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).unwrap();
    assert_eq!(queue_depth(&fd).unwrap(), 1);
    let keys: BTreeMap<bool, bool> = [Facts::of(&fd).unwrap(), Facts::of(&members[0]).unwrap()]
        .map(|facts| (facts.address.is_ipv6(), facts.v6only))
        .into();
    assert_eq!(keys, BTreeMap::from([(false, false), (true, true)]));
}
