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
mod tests;
