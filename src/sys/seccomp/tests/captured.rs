//! A program under capture, answered by a thread as the daemon does it.

use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::spec::Signal;
use crate::sys::fds::Channel;
use crate::sys::poller::readable_within;
use crate::sys::process::Process;
use crate::sys::seccomp::*;
use crate::sys::spawn::{Gate, Launch, spawn_captured};
use crate::sys::tcp::{self, Facts, Kind};
use crate::sys::testing::{LIMIT, end_of, shell, with_output};
use nix::errno::Errno;

/// What the thread reports.
#[derive(Debug)]
pub(super) enum Report {
    Bound(SocketAddr),
    Joined(Facts, Holder),
    Ended,
}

/// What the thread does about `bind`.
pub(super) enum Policy {
    Adopt,
    Substitute(OwnedFd),
    Refuse(Errno),
    /// The thread may not look into anybody.
    Blind(OwnedFd),
}

/// A program under capture.
pub(super) struct Captured {
    pub(super) process: Process,
    pub(super) reports: Receiver<Report>,
    pub(super) output: File,
    thread: Option<JoinHandle<()>>,
}

impl Captured {
    #[track_caller]
    pub(super) fn start(launch: Launch, policy: Policy) -> Captured {
        let (launch, output) = with_output(launch);
        let (ours, theirs) = Channel::pair().unwrap();
        let (sender, reports) = channel();
        let thread = std::thread::spawn(move || serve(&ours, &policy, &sender));
        let process = spawn_captured(&launch, &gate(theirs)).unwrap();
        Captured { process, reports, output, thread: Some(thread) }
    }

    #[track_caller]
    pub(super) fn next(&self) -> Report {
        self.reports.recv_timeout(LIMIT).expect("something is reported")
    }

    #[track_caller]
    pub(super) fn until_joined(&self) -> (Facts, Holder) {
        loop {
            if let Report::Joined(facts, holder) = self.next() {
                return (facts, holder);
            }
        }
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        let _ = self.process.signal_group(Signal::KILL);
        if !std::thread::panicking() {
            if self.process.own_pid().is_some() {
                end_of(&self.process);
            }
            self.thread.take().unwrap().join().unwrap();
        }
    }
}

pub(super) fn gate(channel: Channel) -> Gate {
    Gate { channel: channel.into_fd(), message: b"run 7".to_vec(), limit: Duration::from_secs(10) }
}

fn serve(channel: &Channel, policy: &Policy, reports: &Sender<Report>) {
    let Some(message) = channel.recv().unwrap() else { return };
    assert_eq!(message.bytes, b"run 7");
    let listener = Listener::from_fd(message.fds.into_iter().next().unwrap()).unwrap();
    let mut slots = Slots::new().unwrap();
    let mut kept = Vec::new();
    if matches!(policy, Policy::Blind(_)) {
        drop_capabilities();
    }
    loop {
        assert!(readable_within(&listener, LIMIT).unwrap(), "the program neither asked nor ended");
        let index = slots.free().unwrap();
        match listener.try_receive(&mut slots, index, 7).unwrap() {
            Asked::Question(question) => {
                assert_eq!(slots.read(index), Some(question));
                let answer = decide(&listener, &question, policy, &mut kept, reports);
                listener.answer(&question, answer).unwrap();
                slots.clear(index);
            }
            Asked::Nothing => {}
            Asked::Ended => {
                let _ = reports.send(Report::Ended);
                return;
            }
        }
    }
}

fn decide(
    listener: &Listener,
    question: &Question,
    policy: &Policy,
    kept: &mut Vec<(OwnedFd, tcp::Cookie)>,
    reports: &Sender<Report>,
) -> Answer {
    match question.call {
        Call::Gate | Call::Other => Answer::Continue,
        Call::Bind { .. } | Call::Listen { .. } if matches!(policy, Policy::Blind(_)) => {
            blind(listener, question, policy)
        }
        Call::Bind { fd, address, length } => {
            let look = |caller: &Caller| Ok((caller.duplicate(fd)?, caller.address(address, length)?));
            let (socket, address) = listener.look(question, look).unwrap();
            let SocketAddress::Inet(address) = address else { return Answer::Continue };
            if address.port() == 0 || tcp::kind(&socket).unwrap() != Kind::Tcp {
                return Answer::Continue;
            }
            let _ = reports.send(Report::Bound(address));
            match policy {
                Policy::Adopt => {
                    tcp::share(&socket).unwrap();
                    let cookie = tcp::Cookie::of(&socket).unwrap();
                    kept.push((socket, cookie));
                    Answer::Continue
                }
                Policy::Substitute(own) => {
                    drop(socket);
                    let done = substitute(listener, question, fd, own.as_fd()).unwrap();
                    assert_eq!(done, Substituted { delivery: Delivery::Delivered, options: Options::Copied });
                    kept.push((own.try_clone().unwrap(), tcp::Cookie::of(own).unwrap()));
                    Answer::Done
                }
                Policy::Refuse(errno) => Answer::Failed(*errno),
                Policy::Blind(_) => unreachable!("answered above"),
            }
        }
        Call::Listen { fd, backlog } => {
            let look = |caller: &Caller| {
                let cookie = tcp::Cookie::of(&caller.duplicate(fd)?)?;
                let known = kept.iter().find(|(_, known)| *known == cookie);
                known.map(|(socket, _)| Ok((socket, caller.holder(fd, Facts::of(socket)?.inode)?))).transpose()
            };
            let Some((socket, holder)) = listener.look(question, look).unwrap() else { return Answer::Continue };
            tcp::join(socket, backlog).unwrap();
            let _ = reports.send(Report::Joined(Facts::of(socket).unwrap(), holder));
            Answer::Done
        }
    }
}

/// Answers from the outside alone.
fn blind(listener: &Listener, question: &Question, policy: &Policy) -> Answer {
    let Policy::Blind(own) = policy else { return Answer::Continue };
    match question.call {
        Call::Bind { fd, address, length } => {
            for refused in [
                listener.look(question, |caller| caller.duplicate(fd).map(drop)),
                listener.look(question, |caller| caller.address(address, length).map(drop)),
                listener.look(question, |caller| caller.close_on_exec(fd).map(drop)),
            ] {
                assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            }
            let done = substitute(listener, question, fd, own.as_fd()).unwrap();
            assert_eq!(done, Substituted { delivery: Delivery::Delivered, options: Options::Lost });
            Answer::Done
        }
        Call::Listen { backlog, .. } => {
            tcp::join(own, backlog).unwrap();
            Answer::Done
        }
        Call::Gate | Call::Other => Answer::Continue,
    }
}

/// Capabilities are a thread's own (capabilities(7)).
fn drop_capabilities() {
    // struct __user_cap_header_struct of version 3, and two of struct __user_cap_data_struct.
    let (header, none) = ([0x2008_0522_u32, 0], [0_u32; 6]);
    // SAFETY: both are read only, and as long as the kernel's structs of this version.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) }).unwrap();
}

pub(super) fn python(script: &str) -> Launch {
    let mut launch = shell("exec python3 -u -c \"$0\"");
    launch.argv.push(script.into());
    launch
}

/// A port of our own: bound, shared and not listening, so that nobody else gets the number, and no connection comes here.
pub(super) fn reserved() -> (OwnedFd, u16) {
    let socket = shared("127.0.0.1:0".parse().unwrap());
    let port = Facts::of(&socket).unwrap().address.port();
    (socket, port)
}

fn shared(address: SocketAddr) -> OwnedFd {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, socket};
    use std::os::fd::AsRawFd;
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    tcp::share(&fd).unwrap();
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).unwrap();
    fd
}

/// One connection, as bytes to the end.
#[track_caller]
pub(super) fn ask(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    answer_of(&mut stream)
}

#[track_caller]
pub(super) fn answer_of(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Accepts for ever, says its name, closes.
pub(super) fn server(name: &str, port: u16, before_bind: &str, after_bind: &str) -> Launch {
    python(&format!(
        "import os, socket, select\ns = socket.socket()\n{before_bind}\ns.bind(('127.0.0.1', {port}))\n{after_bind}\n\
         s.listen(50)\nprint('up')\nwhile True:\n    c, _ = s.accept()\n    c.sendall(b'{name}')\n    c.close()\n"
    ))
}
