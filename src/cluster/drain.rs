//! From the switch to a run without connections.
//!
//! ```text
//!              20 ms          those half open at          two readings of          no connection
//!              over            the switch are gone          the queue are 0           is left
//!  [Settling] ------> [HalfOpen] ---------------> [Queue] ----------------> [Open] -------------> [Done(Empty)]
//!                         | 3 s over                 ^
//!                         +--------------------------+          each of them, at the time limit: [Done(TimedOut)]
//! ```
//!
//! A connection is decided to go to a run when its first packet comes, and comes into its queue with its third: those on
//! the way must have landed, and a packet may still be under way on another processor when the switch returns. Then, which
//! connections are quiet: nothing unread, nothing unsent, the last byte went out after the last one came in, and the byte
//! counters have not moved for a while (time stamps are as coarse as the kernel's tick, and cannot tell alone). Such a
//! connection is ended as if its client had left. One with a request in hand never is. In the second half of the time, less
//! has to do: a connection on which one request follows the other at short distance is ended between two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Packets under way on another processor have arrived.
const SETTLE: Duration = Duration::from_millis(20);
/// Between looks at what is half open: a round trip of a near client.
const HALF_OPEN_EVERY: Duration = Duration::from_millis(10);
/// A client that takes longer to confirm is not waited for; half-open connections live up to a minute.
const HALF_OPEN_LIMIT: Duration = Duration::from_secs(3);
/// Between the two readings of the queue.
const QUEUE_EVERY: Duration = Duration::from_millis(10);
/// Between looks at the connections.
const OPEN_EVERY: Duration = Duration::from_millis(25);
/// How long the counters of a quiet connection have not moved. With 30 ms, 6 of 250 were not quiet.
const QUIET: Duration = Duration::from_millis(100);
/// The same where the program itself closes its connections, after their next answer or when they are idle: before that we
/// do not interfere.
const QUIET_WITH_AGENT: Duration = Duration::from_millis(1000);
/// How long ago the last request of a connection came that is ended in the second half of the time: more than the
/// resolution of time stamps, so that it is clear that it was answered.
const REST: Duration = Duration::from_millis(10);
/// An end that was asked for and not seen is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A moment, in milliseconds since some beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

/// Who ends connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// We do: the program knows nothing of it.
    Ours,
    /// The program does, and we help it with what it leaves.
    Programs,
}

/// What is to be read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The connections of the port that are half open: [`Drain::on_half_open`].
    HalfOpen,
    /// The depth of the run's queue: [`Drain::on_queue`].
    Queue,
    /// The run's connections: [`Drain::on_connections`].
    Connections,
    /// Nothing: the time is over, [`Drain::on_time`].
    Clock,
}

/// One connection at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Its identity.
    pub connection: u64,
    /// Whether the program has accepted it.
    pub is_accepted: bool,
    /// Whether its reading side was ended already.
    pub is_ended: bool,
    /// Bytes that the program has not read.
    pub unread: u32,
    /// Bytes that the client has not confirmed.
    pub unsent: u32,
    /// Bytes that came in since the beginning.
    pub received: u64,
    /// Bytes that went out since the beginning.
    pub sent: u64,
    /// How long ago the last ones came in.
    pub since_received: Duration,
    /// How long ago the last ones went out.
    pub since_sent: Duration,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left.
    Empty,
    /// The time was over.
    TimedOut {
        /// So many connections were left, as far as known.
        connections: usize,
    },
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Packets settle.
    Settling,
    /// Clients confirm.
    HalfOpen {
        /// Those that were there at the first look and ever since.
        waited_for: BTreeSet<u64>,
        /// When to look.
        look_at: Time,
    },
    /// The program accepts what it got.
    Queue {
        /// Whether the last reading was 0.
        was_empty: bool,
        /// When to read.
        read_at: Time,
    },
    /// Connections end.
    Open {
        /// Those that were there.
        connections: BTreeMap<u64, Watched>,
        /// When to look.
        look_at: Time,
    },
    /// It is over.
    Done(Outcome),
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watched {
    first_seen: Time,
    received: u64,
    sent: u64,
    moved_at: Time,
    asked_at: Option<Time>,
}

/// How still a connection has to be to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// For so long: nobody is about to send.
    Patient { quiet: Duration },
    /// Between two requests.
    Hurried,
}

/// What to show meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many connections are left; none while that is not known.
    pub connections: Option<usize>,
    /// How long the one that is waited for longest has been waited for.
    pub oldest: Duration,
}

/// The drain of one run.
#[derive(Clone, Debug)]
pub struct Drain {
    switched: Time,
    /// When connections are not waited for any more that never are quiet.
    hurry_at: Time,
    deadline: Time,
    /// How long a quiet connection is left alone.
    quiet: Duration,
    stage: Stage,
}

impl Time {
    /// The moment this much later.
    #[must_use]
    pub fn after(self, pause: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Drain {
    /// Begins at the switch: no program returns the run's members any more.
    pub fn new(switched: Time, timeout: Duration, ending: Ending) -> Drain {
        let quiet = match ending {
            Ending::Ours => QUIET,
            Ending::Programs => QUIET_WITH_AGENT,
        };
        let hurry_at = switched.after(timeout / 2);
        Drain { switched, hurry_at, deadline: switched.after(timeout), quiet, stage: Stage::Settling }
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<Outcome> {
        match &self.stage {
            Stage::Done(outcome) => Some(*outcome),
            Stage::Settling | Stage::HalfOpen { .. } | Stage::Queue { .. } | Stage::Open { .. } => None,
        }
    }

    /// What is to be read next, and when; nothing once it is over.
    pub fn next(&self) -> Option<(Time, Reading)> {
        let (at, reading) = match &self.stage {
            Stage::Settling => (self.switched.after(SETTLE), Reading::HalfOpen),
            Stage::HalfOpen { look_at, .. } => (*look_at, Reading::HalfOpen),
            Stage::Queue { read_at, .. } => (*read_at, Reading::Queue),
            Stage::Open { look_at, .. } => (*look_at, Reading::Connections),
            Stage::Done(_) => return None,
        };
        Some(if at < self.deadline { (at, reading) } else { (self.deadline, Reading::Clock) })
    }

    /// What is shown while it lasts.
    pub fn progress(&self, now: Time) -> Progress {
        match &self.stage {
            Stage::Settling | Stage::HalfOpen { .. } | Stage::Queue { .. } => {
                Progress { connections: None, oldest: now.since(self.switched) }
            }
            Stage::Open { connections, .. } => {
                let oldest = connections.values().map(|watched| now.since(watched.first_seen)).max();
                Progress { connections: Some(connections.len()), oldest: oldest.unwrap_or_default() }
            }
            Stage::Done(_) => Progress { connections: Some(0), oldest: Duration::ZERO },
        }
    }

    /// The time may be over.
    pub fn on_time(&mut self, now: Time) {
        if now < self.deadline {
            return;
        }
        let connections = match &self.stage {
            Stage::Settling | Stage::HalfOpen { .. } | Stage::Queue { .. } => 0,
            Stage::Open { connections, .. } => connections.len(),
            Stage::Done(_) => return,
        };
        self.stage = Stage::Done(Outcome::TimedOut { connections });
    }

    /// These connections of the port are half open. Those that came after the first look are another member's.
    pub fn on_half_open(&mut self, now: Time, listed: &[u64]) {
        let still: BTreeSet<u64> = match &self.stage {
            Stage::Settling if now >= self.switched.after(SETTLE) => listed.iter().copied().collect(),
            Stage::HalfOpen { waited_for, .. } => {
                listed.iter().copied().filter(|found| waited_for.contains(found)).collect()
            }
            Stage::Settling | Stage::Queue { .. } | Stage::Open { .. } | Stage::Done(_) => return self.on_time(now),
        };
        self.stage = if still.is_empty() || now.since(self.switched) >= HALF_OPEN_LIMIT {
            Stage::Queue { was_empty: false, read_at: now }
        } else {
            Stage::HalfOpen { waited_for: still, look_at: now.after(HALF_OPEN_EVERY) }
        };
        self.on_time(now);
    }

    /// So many connections wait to be accepted.
    pub fn on_queue(&mut self, now: Time, depth: u32) {
        if let Stage::Queue { was_empty, read_at } = &mut self.stage
            && now >= *read_at
        {
            if depth == 0 && *was_empty {
                self.stage = Stage::Open { connections: BTreeMap::new(), look_at: now };
            } else {
                *was_empty = depth == 0;
                *read_at = now.after(QUEUE_EVERY);
            }
        }
        self.on_time(now);
    }

    /// These are all connections of the run now. Returns those that are to be ended.
    pub fn on_connections(&mut self, now: Time, found: &[Traffic]) -> Vec<u64> {
        let mut quiet = Vec::new();
        let pace = if now < self.hurry_at { Pace::Patient { quiet: self.quiet } } else { Pace::Hurried };
        if let Stage::Open { connections, look_at } = &mut self.stage {
            let before = std::mem::take(connections);
            for traffic in found {
                let mut watched = Watched::next(before.get(&traffic.connection), now, traffic);
                if watched.is_to_be_ended(now, traffic, pace) {
                    watched.asked_at = Some(now);
                    quiet.push(traffic.connection);
                }
                connections.insert(traffic.connection, watched);
            }
            *look_at = now.after(OPEN_EVERY);
            if found.is_empty() {
                self.stage = Stage::Done(Outcome::Empty);
            }
        }
        self.on_time(now);
        quiet
    }
}

impl Watched {
    fn next(before: Option<&Watched>, now: Time, traffic: &Traffic) -> Watched {
        let Traffic { received, sent, .. } = *traffic;
        let Some(before) = before else {
            return Watched { first_seen: now, received, sent, moved_at: now, asked_at: None };
        };
        let has_moved = (before.received, before.sent) != (received, sent);
        Watched { received, sent, moved_at: if has_moved { now } else { before.moved_at }, ..*before }
    }

    fn is_to_be_ended(&self, now: Time, traffic: &Traffic, pace: Pace) -> bool {
        let is_still = match pace {
            Pace::Patient { quiet } => now.since(self.moved_at) >= quiet,
            Pace::Hurried => traffic.since_received >= REST,
        };
        let has_answered = traffic.since_sent <= traffic.since_received;
        let is_quiet = traffic.unread == 0 && traffic.unsent == 0 && has_answered && is_still;
        let was_asked = self.asked_at.is_some_and(|asked| now.since(asked) < ASK_AGAIN);
        is_quiet && traffic.is_accepted && !traffic.is_ended && !was_asked
    }
}

#[cfg(test)]
mod tests {
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
}
