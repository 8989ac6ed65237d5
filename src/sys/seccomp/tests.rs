//! Captured programs, each answered by a thread as the daemon does it.

mod captured;

use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::errno::Errno;

use self::captured::{Captured, Policy, Report, answer_of, ask, gate, python, reserved, server};
use super::*;
use crate::spec::{ExitStatus, Signal};
use crate::sys::fds::Channel;
use crate::sys::poller::readable_within;
use crate::sys::spawn::{Gate, SpawnError, Step, spawn_captured};
use crate::sys::tcp;
use crate::sys::testing::{LIMIT, end_of, requires, shell, until_line, with_output};

#[test]
fn a_program_is_asked_for_its_gate_and_runs_on() {
    let captured = Captured::start(shell("echo up"), Policy::Adopt);
    assert_eq!(end_of(&captured.process), ExitStatus::Code(0));
    assert!(matches!(captured.next(), Report::Ended));
}

#[test]
fn the_listener_hangs_up_with_the_last_descendant_however_far_it_went() {
    let mut launch = shell("exec 3<&0; (setsid sh -c 'read -r line' <&3 &); exit 0");
    let (reader, writer) = io::pipe().unwrap();
    launch.stdin = reader.into();
    let captured = Captured::start(launch, Policy::Adopt);
    end_of(&captured.process);
    // It was started before the end of its parent, and ends with the pipe.
    assert!(captured.reports.try_recv().is_err());
    drop(writer);
    assert!(matches!(captured.next(), Report::Ended));
}

#[test]
fn a_program_without_the_answer_of_the_gate_is_not_executed() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("ran");
    let launch = shell(&format!("touch {}", mark.display()));
    let refused = |gate: &Gate| -> SpawnError { spawn_captured(&launch, gate).expect_err("it must not start") };
    // Nobody took the listener, and the other end is gone.
    let (ours, theirs) = Channel::pair().unwrap();
    drop(ours);
    let error = refused(&gate(theirs));
    assert_eq!((error.step, error.source.raw_os_error()), (Step::Capture, Some(libc::EPIPE)));
    // Somebody took it and lost it.
    let (ours, theirs) = Channel::pair().unwrap();
    let thread = std::thread::spawn(move || drop(ours.recv().unwrap()));
    let error = refused(&gate(theirs));
    thread.join().unwrap();
    assert_eq!(error.to_string(), "capture bind and listen: Function not implemented (ENOSYS)");
    // Somebody took it and answers never.
    let (ours, theirs) = Channel::pair().unwrap();
    let mut gate = gate(theirs);
    gate.limit = Duration::ZERO;
    let error = refused(&gate);
    drop(ours);
    assert_eq!((error.step, error.source.raw_os_error()), (Step::Capture, Some(libc::ETIMEDOUT)));
    assert!(!mark.exists());
}

#[test]
fn a_gate_without_a_message_is_refused_before_anything_starts() {
    let (_ours, theirs) = Channel::pair().unwrap();
    let mut gate = gate(theirs);
    gate.message.clear();
    assert_eq!(spawn_captured(&shell("true"), &gate).expect_err("it must not start").step, Step::Capture);
}

#[test]
fn a_captured_program_has_no_descriptor_more_and_no_alarm() {
    let mut captured =
        Captured::start(shell("ls /proc/$$/fd; grep -E '^Sig(Blk|Ign)' /proc/self/status"), Policy::Adopt);
    let mut text = String::new();
    captured.output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "0\n1\n2\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

#[test]
fn no_new_privs_is_set_only_where_the_kernel_demands_it() {
    let mut captured =
        Captured::start(shell("grep -E '^(NoNewPrivs|CapEff|Seccomp)' /proc/self/status"), Policy::Adopt);
    let mut text = String::new();
    captured.output.read_to_string(&mut text).unwrap();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let has_sys_admin = u64::from_str_radix(&field("CapEff:"), 16).unwrap() >> 21 & 1 == 1;
    assert_eq!(field("NoNewPrivs:"), if has_sys_admin { "0" } else { "1" });
    assert_eq!(field("Seccomp:"), "2");
}

#[test]
fn a_capture_within_a_capture_is_refused_by_its_name() {
    if !requires("python3") {
        return;
    }
    // seccomp(SECCOMP_SET_MODE_FILTER, NEW_LISTENER, {allow}) on x86_64 and aarch64.
    let mut captured = Captured::start(
        python(
            "import ctypes, errno, platform, struct\nlibc = ctypes.CDLL(None, use_errno=True)\n\
             code = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7fff0000))\n\
             prog = struct.pack('HxxxxxxP', 1, ctypes.addressof(code))\nlibc.prctl(38, 1, 0, 0, 0)\n\
             number = 317 if platform.machine() == 'x86_64' else 277\n\
             made = libc.syscall(number, 1, 8, prog)\nprint(made, errno.errorcode[ctypes.get_errno()])\n",
        ),
        Policy::Adopt,
    );
    until_line(&mut captured.output, "-1 EBUSY");
}

#[test]
fn a_bound_socket_is_adopted_and_listens_when_its_keeper_says_so() {
    if !requires("python3") {
        return;
    }
    let (_reserved, port) = reserved();
    let mut captured = Captured::start(server("one", port, "", "print('bound', s.getsockname()[1])"), Policy::Adopt);
    until_line(&mut captured.output, &format!("bound {port}"));
    let Report::Bound(address) = captured.next() else { panic!("it is bound first") };
    assert_eq!(address, SocketAddr::from(([127, 0, 0, 1], port)));
    let (facts, holder) = captured.until_joined();
    assert_eq!((facts.address, facts.v6only, facts.device), (address, false, 0));
    assert_eq!(facts.uid, nix::unistd::getuid().as_raw());
    assert_eq!(ask(port), "one");
    assert!(holder.is_holding().unwrap());
    // A second copy, which never heard of SO_REUSEPORT, has the same port.
    let second = Captured::start(server("two", port, "", ""), Policy::Adopt);
    let (other, _) = second.until_joined();
    assert_eq!(other.namespace, facts.namespace);
    assert_ne!(other.cookie, facts.cookie);
}

#[test]
fn calls_that_are_nobodys_business_pass_untouched() {
    if !requires("python3") {
        return;
    }
    let mut captured = Captured::start(
        python(
            "import socket, tempfile, os\nd = tempfile.mkdtemp()\nu = socket.socket(socket.AF_UNIX); u.bind(d + '/s'); u.listen()\n\
             os.remove(d + '/s'); os.rmdir(d)\ne = socket.socket(); e.bind(('127.0.0.1', 0)); e.listen()\n\
             p = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); p.bind(('127.0.0.1', 0))\n\
             n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); n.bind((0, 0))\n\
             try:\n    e.bind(('127.0.0.1', 5000))\nexcept OSError as error:\n    print(error.errno)\n\
             try:\n    socket.socket(fileno=os.dup(1)).listen()\nexcept OSError as error:\n    print(error.errno)\nprint('up')\n",
        ),
        Policy::Adopt,
    );
    // The kernel's own errors: bound already, no socket.
    until_line(&mut captured.output, "22");
    until_line(&mut captured.output, "88");
    until_line(&mut captured.output, "up");
}

#[test]
fn a_refusal_is_the_programs_own_error() {
    if !requires("python3") {
        return;
    }
    let (_reserved, port) = reserved();
    let script = format!(
        "import socket\ntry:\n    socket.socket().bind(('127.0.0.1', {port}))\nexcept OSError as error:\n    print(error.errno)\n"
    );
    let mut captured = Captured::start(python(&script), Policy::Refuse(Errno::EADDRINUSE));
    until_line(&mut captured.output, &libc::EADDRINUSE.to_string());
}

#[test]
fn a_thread_that_is_not_the_first_is_looked_into_as_well() {
    if !requires("python3") {
        return;
    }
    let (_reserved, port) = reserved();
    let script = format!(
        "import socket, threading\ndef run():\n    s = socket.socket(); s.bind(('127.0.0.1', {port})); s.listen()\n    print('up')\n\
         \x20   c, _ = s.accept(); c.sendall(b'thread'); c.close()\nt = threading.Thread(target=run); t.start(); t.join()\n"
    );
    let captured = Captured::start(python(&script), Policy::Adopt);
    let (_, holder) = captured.until_joined();
    assert!(holder.is_holding().unwrap());
    assert_eq!(holder.process().display_pid(), captured.process.display_pid());
    assert_eq!(ask(port), "thread");
}

#[test]
fn a_child_of_the_script_is_captured_too_and_is_the_holder() {
    if !requires("python3") {
        return;
    }
    let (_reserved, port) = reserved();
    let mut launch = server("child", port, "", "");
    launch.argv[2] = "python3 -u -c \"$0\"; exit 3".into();
    let captured = Captured::start(launch, Policy::Adopt);
    let (_, holder) = captured.until_joined();
    assert_ne!(holder.process().display_pid(), captured.process.display_pid());
    assert!(holder.is_holding().unwrap());
    assert_eq!(ask(port), "child");
}

#[test]
fn a_program_that_closes_its_listener_and_lives_on_is_noticed() {
    if !requires("python3") {
        return;
    }
    let (_reserved, port) = reserved();
    let script = format!(
        "import socket\ns = socket.socket(); s.bind(('127.0.0.1', {port})); s.listen()\nc, _ = s.accept(); s.close()\n\
         c.sendall(b'closed'); c.close()\nprint('closed')\nimport time; time.sleep(1000)\n"
    );
    let mut captured = Captured::start(python(&script), Policy::Adopt);
    let (_, holder) = captured.until_joined();
    assert!(holder.is_holding().unwrap());
    assert_eq!(ask(port), "closed");
    until_line(&mut captured.output, "closed");
    assert!(!holder.is_holding().unwrap());
    captured.process.signal(Signal::KILL).unwrap();
    end_of(&captured.process);
    assert!(!holder.is_holding().unwrap());
}

#[test]
fn what_waits_in_a_kept_socket_is_served_by_the_program_that_gets_it() {
    if !requires("python3") {
        return;
    }
    let (kept, port) = reserved();
    tcp::join(&kept, 50).unwrap();
    let mut waiting: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    assert_eq!(tcp::queue_depth(&kept).unwrap(), 3);
    // Its own options and flags are the kept socket's afterwards.
    let before = "s.setsockopt(socket.SOL_TCP, socket.TCP_NODELAY, 1); s.set_inheritable(True)";
    let after = "print(s.getsockopt(socket.SOL_TCP, socket.TCP_NODELAY), s.get_inheritable(), s.getsockname()[1])";
    let mut captured = Captured::start(server("heir", port, before, after), Policy::Substitute(kept));
    until_line(&mut captured.output, &format!("1 True {port}"));
    for stream in &mut waiting {
        assert_eq!(answer_of(stream), "heir");
    }
    assert_eq!(ask(port), "heir");
}

#[test]
fn a_program_that_may_not_be_looked_into_gets_a_socket_all_the_same() {
    if !requires("python3") {
        return;
    }
    let (own, port) = reserved();
    // PR_SET_DUMPABLE: as a program with capabilities of its own, or of another user. It does not wait in `accept`, which
    // is what such a program is taken for.
    let before = "import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); s.settimeout(20)";
    let mut captured = Captured::start(server("unseen", port, before, ""), Policy::Blind(own));
    until_line(&mut captured.output, "up");
    assert_eq!(ask(port), "unseen");
}

#[test]
fn a_socket_that_does_not_wait_does_not_wait_after_it_was_replaced() {
    if !requires("python3") {
        return;
    }
    let (kept, port) = reserved();
    tcp::join(&kept, 50).unwrap();
    let after =
        "s.listen(); \ntry:\n    s.accept()\nexcept BlockingIOError:\n    print('would block')\ns.setblocking(True)";
    let launch = server("heir", port, "s.setblocking(False)", after);
    let mut captured = Captured::start(launch, Policy::Substitute(kept));
    until_line(&mut captured.output, "would block");
    assert_eq!(ask(port), "heir");
}

#[test]
fn a_program_that_watched_its_socket_before_bind_still_hears_of_connections() {
    if !requires("python3") {
        return;
    }
    let (kept, port) = reserved();
    tcp::join(&kept, 50).unwrap();
    let mut waiting = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // As Java NIO and Netty do it: into the epoll set first, then bind.
    let script = format!(
        "import select, socket, time\ns = socket.socket(); s.setblocking(False)\ne = select.epoll(); e.register(s, select.EPOLLIN)\n\
         s.bind(('127.0.0.1', {port})); s.listen()\nwakes = 0\nserved = 0\nwhile served < 2:\n    for fd, events in e.poll(20):\n\
         \x20       wakes += 1\n        c, _ = s.accept(); c.sendall(b'epoll'); c.close(); served += 1\n\
         e.modify(s, select.EPOLLIN | select.EPOLLET)\nprint('wakes', wakes, len(e.poll(0.2)))\n"
    );
    let mut captured = Captured::start(python(&script), Policy::Substitute(kept));
    assert_eq!(answer_of(&mut waiting), "epoll");
    assert_eq!(ask(port), "epoll");
    until_line(&mut captured.output, "wakes 2 0");
}

#[test]
fn a_question_of_a_dead_predecessor_is_answered_by_its_successor() {
    if !requires("python3") {
        return;
    }
    let (reserved, port) = reserved();
    // Nobody shares the port here.
    drop(reserved);
    let (launch, mut output) = with_output(server("late", port, "", ""));
    let (ours, theirs) = Channel::pair().unwrap();
    // The predecessor answers the gate, receives `bind` and dies; a guardian has listener and page.
    let (sender, kept) = channel();
    let thread = std::thread::spawn(move || {
        let fd = ours.recv().unwrap().unwrap().fds.into_iter().next().unwrap();
        let (listener, mut slots) = (Listener::from_fd(fd).unwrap(), Slots::new().unwrap());
        let index = slots.free().unwrap();
        loop {
            assert!(readable_within(&listener, LIMIT).unwrap());
            let Asked::Question(question) = listener.try_receive(&mut slots, index, 42).unwrap() else { continue };
            match question.call {
                Call::Bind { .. } => break,
                Call::Gate | Call::Listen { .. } | Call::Other => {
                    listener.answer(&question, Answer::Continue).unwrap();
                    slots.clear(index);
                }
            }
        }
        sender.send((listener.into_fd(), slots.as_fd().try_clone_to_owned().unwrap())).unwrap();
    });
    let process = spawn_captured(&launch, &gate(theirs)).unwrap();
    drop(launch);
    thread.join().unwrap();
    let (listener, page) = kept.recv_timeout(LIMIT).unwrap();
    let (listener, mut slots) = (Listener::from_fd(listener).unwrap(), Slots::from_fd(page).unwrap());
    // Nothing new is reported: the page alone knows.
    let index = slots.indexes().find(|index| slots.read(*index).is_some()).unwrap();
    assert_eq!(listener.try_receive(&mut slots, index, 1).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    let question = slots.read(index).unwrap();
    assert_eq!(question.mark, 42);
    assert!(listener.is_open(&question));
    assert_eq!(listener.answer(&question, Answer::Continue).unwrap(), Delivery::Delivered);
    // Once more, as after a death between answer and clearing.
    assert_eq!(listener.answer(&question, Answer::Continue).unwrap(), Delivery::TooLate);
    assert!(!listener.is_open(&question));
    slots.clear(index);
    loop {
        assert!(readable_within(&listener, LIMIT).unwrap());
        let Asked::Question(question) = listener.try_receive(&mut slots, index, 42).unwrap() else { continue };
        listener.answer(&question, Answer::Continue).unwrap();
        slots.clear(index);
        if matches!(question.call, Call::Listen { .. }) {
            break;
        }
    }
    until_line(&mut output, "up");
    assert_eq!(ask(port), "late");
    process.signal(Signal::KILL).unwrap();
    end_of(&process);
}

#[test]
fn nothing_is_believed_of_a_program_that_was_killed_meanwhile() {
    if !requires("python3") {
        return;
    }
    let (_reserved, port) = reserved();
    let (ours, theirs) = Channel::pair().unwrap();
    let (sender, asked) = channel();
    let (killed, when_killed) = channel::<()>();
    let thread = std::thread::spawn(move || {
        let fd = ours.recv().unwrap().unwrap().fds.into_iter().next().unwrap();
        let (listener, mut slots) = (Listener::from_fd(fd).unwrap(), Slots::new().unwrap());
        let index = slots.free().unwrap();
        loop {
            assert!(readable_within(&listener, LIMIT).unwrap());
            let Asked::Question(question) = listener.try_receive(&mut slots, index, 0).unwrap() else { continue };
            if let Call::Bind { fd, .. } = question.call {
                sender.send(()).unwrap();
                when_killed.recv_timeout(LIMIT).unwrap();
                let seen = listener.look(&question, |_| Ok(()));
                assert_eq!(seen.unwrap_err().kind(), io::ErrorKind::NotFound);
                let null = File::open("/dev/null").unwrap();
                let put = listener.put(&question, null.as_fd(), fd, CloseOnExec::Yes).unwrap();
                assert_eq!(put, Delivery::TooLate);
                assert_eq!(listener.answer(&question, Answer::Done).unwrap(), Delivery::TooLate);
                slots.clear(index);
                assert_eq!(listener.try_receive(&mut slots, index, 0).unwrap(), Asked::Ended);
                break;
            }
            listener.answer(&question, Answer::Continue).unwrap();
            slots.clear(index);
        }
    });
    let process = spawn_captured(&server("dead", port, "", ""), &gate(theirs)).unwrap();
    asked.recv_timeout(LIMIT).unwrap();
    process.signal(Signal::KILL).unwrap();
    end_of(&process);
    killed.send(()).unwrap();
    thread.join().unwrap();
}
