//! The drains that go on: reads what each asks for when it asks for it, and ends what it says is quiet.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::cluster::{Drain, Ending, Progress, Reading, Time, Traffic};
use crate::daemon::cluster::ports::{Port, Ports};
use crate::daemon::cluster::traffic::Found;
use crate::daemon::failpoint;
use crate::supervisor::{Remaining, RunId};
use crate::sys::moment::Moment;
use crate::sys::proc_table::ProcTable;
use crate::sys::tcp;
use crate::sys::tcp::diag::Connection;

/// How often those who wait for the end of a run are told what it is still doing.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// By run.
#[derive(Default)]
pub(super) struct Drains {
    all: BTreeMap<RunId, Going>,
    /// Whether there is something else to show than before.
    is_changed: bool,
}

/// One that goes on.
struct Going {
    drain: Drain,
    tell_at: Time,
}

/// The time of the core and of drains: milliseconds of CLOCK_MONOTONIC.
pub(super) fn now() -> Time {
    Time(Moment::now().monotonic)
}

impl Drains {
    /// The switch was just now.
    pub(super) fn begin(&mut self, run: RunId, until: Time, ending: Ending) {
        let now = now();
        let drain = Drain::new(now, until.since(now), ending);
        self.all.insert(run, Going { drain, tell_at: now.after(TELL_EVERY) });
        self.is_changed = true;
    }

    /// It has ended by itself.
    pub(super) fn end(&mut self, run: RunId) {
        self.is_changed |= self.all.remove(&run).is_some();
    }

    /// When the next one has something to read.
    pub(super) fn next(&self) -> Option<Time> {
        self.all.values().filter_map(|going| going.drain.next().map(|(at, _)| at)).min()
    }

    /// What the runs are still doing, if that has changed.
    pub(super) fn remaining_if_changed(&mut self) -> Option<BTreeMap<RunId, Remaining>> {
        let now = now();
        std::mem::take(&mut self.is_changed)
            .then(|| self.all.iter().map(|(run, going)| (*run, remaining(&going.drain, now))).collect())
    }

    /// What is to be told now to those who wait.
    pub(super) fn due_to_be_told(&mut self) -> Vec<(RunId, Remaining)> {
        let now = now();
        let due = self.all.iter_mut().filter(|(_, going)| going.tell_at <= now);
        due.map(|(run, going)| {
            going.tell_at = now.after(TELL_EVERY);
            (*run, remaining(&going.drain, now))
        })
        .collect()
    }

    /// Reads what is due. Returns the runs that are drained, or whose time is over.
    pub(super) fn go_on(&mut self, ports: &mut Ports) -> Vec<RunId> {
        let mut done = Vec::new();
        let is_changed = &mut self.is_changed;
        self.all.retain(|run, Going { drain, .. }| {
            let now = now();
            let Some((_, reading)) = drain.next().filter(|(at, _)| *at <= now) else { return true };
            failpoint::here("drain-step");
            *is_changed = true;
            if let Err(error) = read(ports, *run, drain, reading) {
                // What cannot be seen is not waited for.
                warn!(run = run.0, "cannot see whether it is drained: {error}");
                done.push(*run);
                return false;
            }
            let Some(outcome) = drain.outcome() else { return true };
            info!(run = run.0, ?outcome, "drained");
            done.push(*run);
            false
        });
        done
    }
}

fn remaining(drain: &Drain, now: Time) -> Remaining {
    let Progress { connections, oldest } = drain.progress(now);
    Remaining { connections: connections.and_then(|count| u32::try_from(count).ok()), oldest }
}

fn read(ports: &mut Ports, run: RunId, drain: &mut Drain, reading: Reading) -> io::Result<()> {
    match reading {
        Reading::HalfOpen => {
            let mut found = Vec::new();
            for port in ports_of(ports, run) {
                found.extend(ports.diag.half_open(port)?.iter().map(|found| found.cookie.0));
            }
            drain.on_half_open(now(), &found);
        }
        Reading::Queue => drain.on_queue(now(), ports.queue_of(run, None)?),
        Reading::Connections => {
            let Found { connections, waiting } = ports.connections_of(run)?;
            let waiting = (waiting > 0).then_some(WAITING);
            let quiet =
                drain.on_connections(now(), &connections.iter().map(traffic).chain(waiting).collect::<Vec<_>>());
            let quiet: Vec<Connection> =
                connections.into_iter().filter(|found| quiet.contains(&found.cookie.0)).collect();
            if !quiet.is_empty()
                && let Some(process) = ports.runs.get(&run).and_then(|captured| captured.process.as_ref())
            {
                match tcp::end_reading(process, &ProcTable::read()?, &quiet) {
                    Ok(ended) => debug!(run = run.0, ended = ended.len(), "ended quiet connections"),
                    // They end by themselves, or with the program.
                    Err(error) => debug!(run = run.0, "cannot end quiet connections: {error}"),
                }
            }
        }
        Reading::Clock => drain.on_time(now()),
    }
    Ok(())
}

fn ports_of(ports: &Ports, run: RunId) -> BTreeSet<u16> {
    let of_run = |port: &&Port| port.group.members().any(|member| RunId(member.id.run.0) == run);
    ports.groups.iter().filter(of_run).map(|port| port.group.key().address.port()).collect()
}

/// What waits for the run and cannot be told from what waits for others.
const WAITING: Traffic = Traffic {
    connection: u64::MAX,
    is_accepted: false,
    is_ended: false,
    unread: 0,
    unsent: 0,
    received: 0,
    sent: 0,
    since_received: Duration::ZERO,
    since_sent: Duration::ZERO,
};

fn traffic(found: &Connection) -> Traffic {
    Traffic {
        connection: found.cookie.0,
        is_accepted: found.inode != 0,
        is_ended: found.is_ended,
        unread: found.unread,
        unsent: found.unsent,
        received: found.received,
        sent: found.sent,
        since_received: found.since_received,
        since_sent: found.since_sent,
    }
}
