//! What is decided in each stage of a drain.

use super::*;

const SWITCH: u64 = 1000;
const NONE: [u64; 0] = [];

fn drain() -> Drain {
    Drain::new(Time(SWITCH), Duration::from_secs(10), Ending::Ours)
}

/// A drain that has come to its connections, and when.
fn open() -> (Drain, u64) {
    let mut drain = drain();
    drain.on_half_open(Time(1020), &[]);
    drain.on_queue(Time(1020), 0);
    drain.on_queue(Time(1030), 0);
    assert_eq!(drain.next(), Some((Time(1030), Reading::Connections)));
    (drain, 1030)
}

fn idle(connection: u64) -> Traffic {
    Traffic {
        connection,
        is_accepted: true,
        is_ended: false,
        unread: 0,
        unsent: 0,
        received: 100,
        sent: 100,
        since_received: Duration::from_millis(5),
        since_sent: Duration::from_millis(5),
    }
}

/// When this connection, which stays as it is, is ended within two seconds.
fn ended_at(traffic: Traffic) -> Vec<u64> {
    let (mut drain, start) = open();
    let mut ended = Vec::new();
    for now in (start..start + 2000).step_by(25) {
        if !drain.on_connections(Time(now), &[traffic]).is_empty() {
            ended.push(now - start);
        }
    }
    ended
}

#[test]
fn nothing_is_read_before_packets_have_settled() {
    let mut drain = drain();
    assert_eq!(drain.next(), Some((Time(1020), Reading::HalfOpen)));
    drain.on_half_open(Time(1010), &[]);
    drain.on_queue(Time(1010), 0);
    assert_eq!(drain.on_connections(Time(1010), &[]), NONE);
    assert_eq!(drain.next(), Some((Time(1020), Reading::HalfOpen)));
}

#[test]
fn those_half_open_at_the_switch_are_waited_for_and_later_ones_are_not() {
    let mut drain = drain();
    drain.on_half_open(Time(1020), &[1, 2]);
    drain.on_half_open(Time(1030), &[2, 3]);
    assert_eq!(drain.next(), Some((Time(1040), Reading::HalfOpen)));
    drain.on_half_open(Time(1040), &[3, 4]);
    assert_eq!(drain.next(), Some((Time(1040), Reading::Queue)));
}

#[test]
fn a_client_that_never_confirms_is_waited_for_three_seconds() {
    let mut drain = drain();
    for now in (1020..4000).step_by(10) {
        drain.on_half_open(Time(now), &[1]);
        assert_eq!(drain.next().unwrap().1, Reading::HalfOpen);
    }
    drain.on_half_open(Time(4000), &[1]);
    assert_eq!(drain.next(), Some((Time(4000), Reading::Queue)));
}

#[test]
fn the_queue_is_empty_when_two_readings_ten_milliseconds_apart_say_so() {
    let mut drain = drain();
    drain.on_half_open(Time(1020), &[]);
    for (now, depth) in [(1020, 1), (1030, 0), (1040, 2), (1050, 0)] {
        drain.on_queue(Time(now), depth);
        assert_eq!(drain.next(), Some((Time(now + 10), Reading::Queue)));
    }
    // Too early to count.
    drain.on_queue(Time(1055), 0);
    assert_eq!(drain.next(), Some((Time(1060), Reading::Queue)));
    drain.on_queue(Time(1060), 0);
    assert_eq!(drain.next(), Some((Time(1060), Reading::Connections)));
}

#[test]
fn a_quiet_connection_is_ended_after_a_while_and_asked_again_if_it_stays() {
    assert_eq!(ended_at(idle(1)), [100, 1100]);
}

#[test]
fn a_program_that_ends_its_connections_itself_is_given_time_for_it() {
    let mut drain = Drain::new(Time(SWITCH), Duration::from_secs(10), Ending::Programs);
    drain.on_half_open(Time(1020), &[]);
    drain.on_queue(Time(1020), 0);
    drain.on_queue(Time(1030), 0);
    assert_eq!(drain.on_connections(Time(1030), &[idle(1)]), NONE);
    assert_eq!(drain.on_connections(Time(2029), &[idle(1)]), NONE);
    assert_eq!(drain.on_connections(Time(2030), &[idle(1)]), [1]);
}

#[test]
fn a_connection_with_work_in_it_is_left_alone() {
    let ms = Duration::from_millis;
    let busy = [
        Traffic { unread: 1, ..idle(1) },
        Traffic { unsent: 1, ..idle(1) },
        // The last byte came in: a request is in hand.
        Traffic { since_received: ms(4), ..idle(1) },
        Traffic { is_accepted: false, ..idle(1) },
        Traffic { is_ended: true, ..idle(1) },
    ];
    for traffic in busy {
        assert_eq!(ended_at(traffic), NONE, "{traffic:?}");
    }
    assert_eq!(ended_at(Traffic { since_sent: ms(4), ..idle(1) }).len(), 2);
}

#[test]
fn a_connection_whose_counters_move_is_not_quiet_however_its_time_stamps_look() {
    let (mut drain, start) = open();
    for (step, now) in (0..).zip((start..start + 2000).step_by(75)) {
        let moving = Traffic { received: step, sent: step, ..idle(1) };
        assert_eq!(drain.on_connections(Time(now), &[moving]), NONE);
    }
}

#[test]
fn in_the_second_half_a_connection_that_is_never_quiet_is_ended_between_two_requests() {
    let (mut drain, _) = open();
    let ms = Duration::from_millis;
    // A request each 20 ms: answered, in hand, and just answered.
    for (since_received, since_sent, is_ended) in [(12, 12, true), (12, 16, false), (4, 4, false), (12, 8, true)] {
        let mut ended = BTreeMap::new();
        for (step, now) in (0..).zip((SWITCH + 4000..SWITCH + 6000).step_by(25)) {
            let (since_received, since_sent) = (ms(since_received), ms(since_sent));
            let moving = Traffic { received: step, sent: step, since_received, since_sent, ..idle(1) };
            ended.insert(now, !drain.on_connections(Time(now), &[moving]).is_empty());
        }
        let first = ended.iter().find(|(_, ended)| **ended).map(|(now, _)| *now);
        assert_eq!(first, is_ended.then_some(SWITCH + 5000));
        drain = open().0;
    }
}

#[test]
fn it_is_over_when_no_connection_is_left() {
    let (mut drain, start) = open();
    assert_eq!(drain.on_connections(Time(start), &[idle(1), idle(2)]), NONE);
    let shown = drain.progress(Time(start + 40));
    assert_eq!((shown.connections, shown.oldest), (Some(2), Duration::from_millis(40)));
    assert_eq!(drain.on_connections(Time(start + 100), &[idle(1), idle(2)]), [1, 2]);
    assert_eq!(drain.outcome(), None);
    assert_eq!(drain.on_connections(Time(start + 125), &[]), NONE);
    assert_eq!((drain.outcome(), drain.next()), (Some(Outcome::Empty), None));
    drain.on_time(Time(99_999));
    assert_eq!(drain.outcome(), Some(Outcome::Empty));
}

#[test]
fn the_time_limit_holds_in_every_stage() {
    let over = Time(SWITCH + 10_000);
    let mut short = Drain::new(Time(SWITCH), Duration::from_millis(5), Ending::Ours);
    assert_eq!(short.next(), Some((Time(1005), Reading::Clock)));
    short.on_time(Time(1005));
    assert_eq!(short.outcome(), Some(Outcome::TimedOut { connections: 0 }));
    let mut queue = drain();
    queue.on_half_open(Time(1020), &[]);
    queue.on_queue(over, 3);
    assert_eq!(queue.outcome(), Some(Outcome::TimedOut { connections: 0 }));
    let (mut connections, _) = open();
    connections.on_connections(over, &[Traffic { unread: 1, ..idle(1) }]);
    assert_eq!(connections.outcome(), Some(Outcome::TimedOut { connections: 1 }));
}

#[test]
fn every_reading_asked_for_brings_it_on() {
    // Obedient: whatever is asked for is answered with nothing. Stubborn: with something that never changes.
    for stubborn in [false, true] {
        let mut drain = drain();
        let mut readings = 0;
        while let Some((at, reading)) = drain.next() {
            readings += 1;
            assert!(readings < 2000, "{drain:?}");
            match reading {
                Reading::HalfOpen => drain.on_half_open(at, if stubborn { &[1] } else { &[] }),
                Reading::Queue => drain.on_queue(at, 0),
                Reading::Connections => {
                    drain.on_connections(at, if stubborn { std::slice::from_ref(&STUBBORN) } else { &[] });
                }
                Reading::Clock => drain.on_time(at),
            }
        }
        assert_eq!(drain.outcome() == Some(Outcome::Empty), !stubborn);
    }
}

const STUBBORN: Traffic = Traffic {
    connection: 1,
    is_accepted: true,
    is_ended: true,
    unread: 0,
    unsent: 0,
    received: 0,
    sent: 0,
    since_received: Duration::ZERO,
    since_sent: Duration::ZERO,
};
