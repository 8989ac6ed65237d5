mod gap;
mod older;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;
use crate::error::{ExitCode, Failure};
use crate::paths::Home;
use crate::proto::{
    Act, Call, DaemonAnswer, HelloAnswer, Incoming, Outcome, PROTOCOL, Progress, Refusal, State, Target, read_call,
    write_notification, write_refusal, write_result,
};
use crate::sys::lock::{LockFile, daemon_lives};

const LIMIT: Duration = Duration::from_secs(5);

fn home(dir: &Path) -> Home {
    Home::resolve(Some(dir.as_os_str()), None, None, 0).unwrap()
}

/// A daemon for one connection that says hello and then what the test wants.
fn daemon(home: &Home, then: impl FnOnce(BufReader<UnixStream>) + Send + 'static) -> JoinHandle<()> {
    let listener = listen(home);
    std::thread::spawn(move || then(greeted(&listener)))
}

/// As a daemon does: the socket has its name when it listens.
fn listen(home: &Home) -> UnixListener {
    let new = home.socket().with_extension("new");
    let listener = UnixListener::bind(&new).unwrap();
    std::fs::rename(new, home.socket()).unwrap();
    listener
}

/// The next client, after its handshake.
fn greeted(listener: &UnixListener) -> BufReader<UnixStream> {
    let mut reader = BufReader::new(listener.accept().unwrap().0);
    let (id, call) = next_call(&mut reader);
    assert!(matches!(call, Call::Hello(hello) if hello.protocol == PROTOCOL && hello.verb == "test"));
    say(&reader, &write_result(id, &HelloAnswer { protocol: PROTOCOL, version: "9.9.9".into() }));
    reader
}

fn next_call(reader: &mut BufReader<UnixStream>) -> (u64, Call) {
    let incoming = next_incoming(reader);
    (incoming.id, incoming.call)
}

fn next_incoming(reader: &mut BufReader<UnixStream>) -> Incoming {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).unwrap();
    read_call(line.strip_suffix(b"\n").unwrap()).unwrap()
}

fn say(reader: &BufReader<UnixStream>, bytes: &[u8]) {
    reader.get_ref().write_all(bytes).unwrap();
}

#[test]
fn without_a_socket_there_is_no_daemon() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Client::connect(&home(dir.path()), "test").unwrap().is_none());
    // A socket that nobody listens on is what a killed daemon leaves.
    drop(UnixListener::bind(home(dir.path()).socket()).unwrap());
    assert!(Client::connect(&home(dir.path()), "test").unwrap().is_none());
}

#[test]
fn a_call_is_answered_after_its_progress() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let theirs = daemon(&home, |mut reader| {
        let (id, call) = next_call(&mut reader);
        assert!(matches!(call, Call::Stop(_)));
        let progress = Progress {
            id: 3,
            name: "api".into(),
            instance: 0,
            state: State::Stopping,
            done: 0,
            of: 1,
            remaining: None,
        };
        say(&reader, &write_notification("progress", &progress));
        say(&reader, &write_result(id, &Outcome::default()));
    });
    let mut client = Client::connect(&home, "test").unwrap().unwrap();
    assert_eq!(client.daemon().version, "9.9.9");
    let act = Act {
        targets: vec![Target::Word("all".into())],
        update_env: None,
        changes: None,
        parallel: None,
        no_wait: false,
    };
    let mut ticket = client.send(&Call::Stop(act), LIMIT).unwrap();
    let mut seen = Vec::new();
    let outcome: Outcome = client.wait(&mut ticket, LIMIT, &mut |progress| seen.push(progress.state)).unwrap();
    assert_eq!((outcome, seen), (Outcome::default(), vec![State::Stopping]));
    theirs.join().unwrap();
}

#[test]
fn a_refused_hello_of_another_protocol_is_exit_3() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let listener = UnixListener::bind(home.socket()).unwrap();
    let theirs = std::thread::spawn(move || {
        let mut reader = BufReader::new(listener.accept().unwrap().0);
        let (id, _) = next_call(&mut reader);
        say(&reader, &write_refusal(id, &Refusal::Protocol { daemon: 9, client: PROTOCOL }));
    });
    let failure = Failure::from(Client::connect(&home, "test").unwrap_err());
    assert_eq!(failure.code(), ExitCode::NoDaemon);
    theirs.join().unwrap();
}

#[test]
fn a_daemon_that_hangs_costs_the_limit_and_the_call_stays_open() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let (go, wait) = std::sync::mpsc::channel();
    let theirs = daemon(&home, move |mut reader| {
        let (id, _) = next_call(&mut reader);
        wait.recv().unwrap();
        say(&reader, &write_result(id, &DaemonAnswer { version: "1".into(), pid: 1, guardian: 2 }));
    });
    let mut client = Client::connect(&home, "test").unwrap().unwrap();
    let mut ticket = client.send(&Call::Ping, LIMIT).unwrap();
    let error = client.wait::<DaemonAnswer>(&mut ticket, Duration::from_millis(20), &mut |_| {}).unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
    go.send(()).unwrap();
    assert_eq!(client.wait::<DaemonAnswer>(&mut ticket, LIMIT, &mut |_| {}).unwrap().pid, 1);
    theirs.join().unwrap();
}

#[test]
fn a_daemon_that_has_ended_without_a_successor_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let theirs = daemon(&home, |mut reader| drop(next_call(&mut reader)));
    let mut client = Client::connect(&home, "test").unwrap().unwrap();
    let error = client.call::<DaemonAnswer>(&Call::Ping, LIMIT).unwrap_err();
    assert!(matches!(error, ClientError::Ended), "{error:?}");
    assert_eq!(Failure::from(error).code(), ExitCode::NoDaemon);
    theirs.join().unwrap();
}

#[test]
fn an_endless_answer_is_cut_off_at_the_limit_of_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let theirs = daemon(&home, |mut reader| {
        let _ = next_call(&mut reader);
        let block = vec![b'x'; 1 << 20];
        while reader.get_ref().write_all(&block).is_ok() {}
    });
    let mut client = Client::connect(&home, "test").unwrap().unwrap();
    let error = client.call::<DaemonAnswer>(&Call::Ping, LIMIT).unwrap_err();
    assert!(matches!(error, ClientError::Frame(_)), "{error:?}");
    drop(client);
    theirs.join().unwrap();
}

#[test]
fn events_come_as_they_are_and_end_with_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let event = crate::proto::Event {
        seq: 1,
        time: 2,
        app: None,
        id: None,
        instance: None,
        uid: None,
        verb: None,
        event: crate::proto::EventKind::DaemonLeaving,
    };
    let sent = event.clone();
    let theirs = daemon(&home, move |mut reader| {
        let (id, call) = next_call(&mut reader);
        assert!(matches!(call, Call::Events(events) if events.history == 7));
        // An empty answer may be null or an empty object.
        let both = [write_result(id, &()), write_notification("event", &sent)].concat();
        say(&reader, &both);
        // Until the client has seen enough.
        let _ = reader.read(&mut [0]);
    });
    let mut events = Client::connect(&home, "test").unwrap().unwrap().into_events(7).unwrap();
    let mut seen = Vec::new();
    while seen.is_empty() {
        seen = events.take_ready().unwrap().events;
    }
    assert_eq!(seen, [event]);
    drop(events);
    theirs.join().unwrap();
}

#[test]
fn a_home_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let error = Client::connect_or_start(&home(&dir.path().join("file/home")), "test").unwrap_err();
    let failure = Failure::from(error);
    assert_eq!(failure.message(), "cannot start the rsx daemon");
    assert!(failure.causes()[0].contains("file/home"), "{failure}");
}

#[test]
fn a_daemon_that_is_being_started_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let life = LockFile::open(&home.lock()).unwrap();
    assert!(life.try_life().unwrap());
    let (theirs, (go, wait)) = (home.clone(), std::sync::mpsc::channel());
    let starting = std::thread::spawn(move || {
        wait.recv().unwrap();
        daemon(&theirs, |_| {}).join().unwrap();
    });
    let client = std::thread::spawn(move || Client::connect(&home, "test"));
    go.send(()).unwrap();
    assert!(client.join().unwrap().unwrap().is_some());
    starting.join().unwrap();
}

#[test]
fn a_daemon_that_leaves_is_waited_for_until_its_home_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let life = LockFile::open(&home.lock()).unwrap();
    assert!(life.try_life().unwrap());
    let theirs = daemon(&home, move |reader| {
        drop(reader);
        drop(life);
    });
    let client = Client::connect(&home, "test").unwrap().unwrap();
    client.wait_until_gone(&home, LIMIT).unwrap();
    assert!(!daemon_lives(&home.lock()));
    theirs.join().unwrap();
}
