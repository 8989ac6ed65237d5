//! One daemon ends and the next comes: at each point of the exchange, and with nobody to come.

use std::time::Instant;

use super::*;
use crate::proto::{Event, EventKind, EventsAnswer, EventsCall, Key, Mark, Resumed};

/// A home whose guardian lives.
fn guarded() -> (tempfile::TempDir, Home, LockFile) {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let life = LockFile::open(&home.lock()).unwrap();
    assert!(life.try_life().unwrap());
    (dir, home, life)
}

fn restart() -> Call {
    Call::Restart(Act {
        targets: vec![Target::Word("api".into())],
        update_env: None,
        changes: None,
        parallel: None,
        no_wait: false,
    })
}

/// Where the first daemon ends.
#[derive(Clone, Copy, Debug)]
enum Point {
    BeforeItAccepts,
    BeforeHello,
    AfterHello,
    AfterTheCall,
    AfterProgress,
    WithinTheAnswer,
}

const POINTS: [Point; 6] = [
    Point::BeforeItAccepts,
    Point::BeforeHello,
    Point::AfterHello,
    Point::AfterTheCall,
    Point::AfterProgress,
    Point::WithinTheAnswer,
];

fn progress() -> Vec<u8> {
    let state = State::Stopping;
    write_notification(
        "progress",
        &Progress { id: 3, name: "api".into(), instance: 0, state, done: 0, of: 1, remaining: None },
    )
}

/// One daemon that ends at this point, then one that answers; the keys under which each was asked.
fn two_daemons(home: &Home, point: Point) -> JoinHandle<(Option<Key>, Option<Key>)> {
    let (first, home) = (listen(home), home.clone());
    std::thread::spawn(move || {
        let asked = ends_at(&first, point);
        drop(first);
        let second = listen(&home);
        let mut reader = greeted(&second);
        let incoming = next_incoming(&mut reader);
        assert_eq!(incoming.call, restart(), "{point:?}");
        say(&reader, &progress());
        say(&reader, &write_result(incoming.id, &Outcome::default()));
        // It is not asked again.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "{point:?}");
        (asked, incoming.key)
    })
}

/// The key of the call that it got before.
fn ends_at(listener: &UnixListener, point: Point) -> Option<Key> {
    let mut reader = match point {
        Point::BeforeItAccepts => {
            // A client is in the queue.
            nix::poll::poll(
                &mut [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(listener), nix::poll::PollFlags::POLLIN)],
                nix::poll::PollTimeout::NONE,
            )
            .unwrap();
            return None;
        }
        Point::BeforeHello => {
            let mut reader = BufReader::new(listener.accept().unwrap().0);
            let _ = next_call(&mut reader);
            return None;
        }
        Point::AfterHello => {
            // What it is asked lies unread in its socket: that ends the connection by a reset.
            drop(greeted(listener));
            return None;
        }
        Point::AfterTheCall | Point::AfterProgress | Point::WithinTheAnswer => greeted(listener),
    };
    let incoming = next_incoming(&mut reader);
    let answer = write_result(incoming.id, &Outcome::default());
    match point {
        Point::AfterProgress => say(&reader, &progress()),
        Point::WithinTheAnswer => say(&reader, &answer[..answer.len() - 3]),
        Point::BeforeItAccepts | Point::BeforeHello | Point::AfterHello | Point::AfterTheCall => {}
    }
    incoming.key
}

#[test]
fn wherever_a_daemon_ends_the_next_one_is_asked_the_same_under_the_same_key() {
    for point in POINTS {
        let (_dir, home, _life) = guarded();
        let theirs = two_daemons(&home, point);
        let mut client = Client::connect(&home, "test").unwrap().unwrap();
        let mut ticket = client.send(&restart(), LIMIT).unwrap();
        let mut steps = 0;
        let outcome: Outcome = client.wait(&mut ticket, LIMIT, &mut |_| steps += 1).unwrap();
        assert_eq!(outcome, Outcome::default(), "{point:?}");
        assert_eq!(steps, if matches!(point, Point::AfterProgress) { 2 } else { 1 }, "{point:?}: progress goes on");
        drop(client);
        let (asked, again) = theirs.join().unwrap();
        assert!(again.is_some() && (asked.is_none() || asked == again), "{point:?}: {asked:?}, {again:?}");
    }
}

#[test]
fn a_question_is_asked_again_as_well_and_has_no_key() {
    let (_dir, home, _life) = guarded();
    let (first, theirs) = (listen(&home), home.clone());
    let daemons = std::thread::spawn(move || {
        let mut reader = greeted(&first);
        assert_eq!(next_incoming(&mut reader).key, None);
        drop((first, reader));
        let mut reader = greeted(&listen(&theirs));
        let (id, _) = next_call(&mut reader);
        say(&reader, &write_result(id, &DaemonAnswer { version: "1".into(), pid: 7, guardian: 2 }));
    });
    let mut client = Client::connect(&home, "test").unwrap().unwrap();
    assert_eq!(client.call::<DaemonAnswer>(&Call::Ping, LIMIT).unwrap().pid, 7);
    daemons.join().unwrap();
}

#[test]
fn a_call_is_sent_again_once_and_one_that_is_for_this_daemon_never() {
    for is_for_this in [false, true] {
        let (_dir, home, _life) = guarded();
        let (first, theirs) = (listen(&home), home.clone());
        let daemons = std::thread::spawn(move || {
            drop(next_call(&mut greeted(&first)));
            drop(first);
            if !is_for_this {
                let second = listen(&theirs);
                drop(next_call(&mut greeted(&second)));
            }
        });
        let mut client = Client::connect(&home, "test").unwrap().unwrap();
        let answer = match is_for_this {
            true => client.call_this::<Outcome>(&restart(), LIMIT),
            false => client.call::<Outcome>(&restart(), LIMIT),
        };
        assert!(matches!(answer, Err(ClientError::Gone)), "{answer:?}");
        daemons.join().unwrap();
    }
}

#[test]
fn each_change_has_a_key_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let theirs = daemon(&home, |mut reader| {
        let mut keys = Vec::new();
        for _ in 0..2 {
            let incoming = next_incoming(&mut reader);
            keys.push(incoming.key.unwrap());
            say(&reader, &write_result(incoming.id, &Outcome::default()));
        }
        assert_ne!(keys[0], keys[1]);
    });
    let mut client = Client::connect(&home, "test").unwrap().unwrap();
    for _ in 0..2 {
        client.call::<Outcome>(&restart(), LIMIT).unwrap();
    }
    theirs.join().unwrap();
}

#[test]
fn a_client_in_the_gap_hears_at_once_that_nobody_comes() {
    let (_dir, home, life) = guarded();
    let (theirs, began) = (home.clone(), Instant::now());
    let client = std::thread::spawn(move || Client::connect(&theirs, "test"));
    // Whether it already waits or has still to look: both have to see it.
    std::thread::yield_now();
    drop(life);
    assert!(client.join().unwrap().unwrap().is_none());
    assert!(began.elapsed() < LIMIT);
}

#[test]
fn a_gap_without_end_is_left_after_its_limit() {
    let (_dir, home, _life) = guarded();
    let limit = Duration::from_millis(30);
    let error = Client::connect_within(&home, "test", limit).unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { limit: told } if told == limit), "{error:?}");
}

#[test]
fn a_daemon_that_talks_to_somebody_else_only_is_not_asked_for_ever() {
    let (_dir, home, _life) = guarded();
    let listener = listen(&home);
    let theirs = std::thread::spawn(move || {
        let mut count = 0;
        while let Ok((stream, _)) = listener.accept() {
            count += 1;
            drop(stream);
            if count == 3 {
                break;
            }
        }
        listener
    });
    assert!(matches!(Client::connect(&home, "test"), Err(ClientError::Gone)));
    let listener = theirs.join().unwrap();
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "three times are enough");
}

fn event(seq: u64) -> Event {
    let event = EventKind::DaemonLeaving;
    Event { seq, time: seq * 10, app: None, id: None, instance: None, uid: None, verb: None, event }
}

/// A stream that has seen event 7 when its daemon ends; what it is asked by the next one, and what it makes of this answer.
fn resumed(answer: Option<EventsAnswer>) -> (EventsCall, News) {
    let (_dir, home, _life) = guarded();
    let (first, theirs) = (listen(&home), home.clone());
    let daemons = std::thread::spawn(move || {
        let mut reader = greeted(&first);
        let (id, _) = next_call(&mut reader);
        let newest = Mark { seq: 6, time: Some(60) };
        say(&reader, &write_result(id, &EventsAnswer { newest, resumed: None }));
        say(&reader, &write_notification("event", &event(7)));
        // Of a kind that this release does not know.
        let unknown = br#"{"jsonrpc":"2.0","method":"event","params":{"seq":8,"time":80,"event":{"kind":"sang"}}}"#;
        say(&reader, unknown);
        say(&reader, b"\n");
        drop((first, reader));
        let mut reader = greeted(&listen(&theirs));
        let (id, call) = next_call(&mut reader);
        let Call::Events(call) = call else { panic!("{call:?}") };
        let both = [write_result(id, &answer), write_notification("event", &event(9))].concat();
        say(&reader, &both);
        // Until the client has seen enough.
        let _ = reader.read(&mut [0]);
        call
    });
    let mut events = Client::connect(&home, "test").unwrap().unwrap().into_events(0).unwrap();
    let (mut seen, mut gap) = (Vec::new(), None);
    while seen.len() < 2 {
        assert!(
            nix::poll::poll(
                &mut [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&events), nix::poll::PollFlags::POLLIN)],
                5000u16
            )
            .is_ok_and(|count| count > 0 || seen.is_empty())
        );
        let news = events.take_ready().unwrap();
        gap = gap.or(news.gap);
        seen.extend(news.events);
    }
    assert_eq!(seen, [event(7), event(9)]);
    drop(events);
    (daemons.join().unwrap(), News { events: seen, gap })
}

#[test]
fn a_stream_goes_on_behind_what_it_has_told() {
    let newest = Mark { seq: 9, time: Some(90) };
    let answer = |resumed| Some(EventsAnswer { newest, resumed: Some(resumed) });
    let (call, news) = resumed(answer(Resumed::Whole));
    assert_eq!(call.after, Some(Mark { seq: 8, time: Some(80) }), "what is not understood has been seen, too");
    assert_eq!(news.gap, None);
    let (_, news) = resumed(answer(Resumed::Missed { count: 12 }));
    assert_eq!(news.gap, Some(Gap::Missed(12)));
    assert!(news.gap.unwrap().to_string().contains("12 events"));
    let (_, news) = resumed(answer(Resumed::Anew));
    assert_eq!(news.gap, Some(Gap::Unknown));
    // A daemon that is older than this question answers null, and gives all it has.
    let (call, news) = resumed(None);
    assert_eq!((call.history, news.gap), (u32::MAX, Some(Gap::Unknown)));
}

#[test]
fn a_stream_ends_with_the_last_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let theirs = daemon(&home, |mut reader| {
        let (id, _) = next_call(&mut reader);
        say(&reader, &write_result(id, &EventsAnswer::default()));
    });
    let mut events = Client::connect(&home, "test").unwrap().unwrap().into_events(0).unwrap();
    theirs.join().unwrap();
    assert!(matches!(events.take_ready(), Err(ClientError::Ended)));
}
