//! The drains that go on: reads what each asks for when it asks for it, and ends what it says is quiet.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use tracing::{debug, info, warn};

use crate::cluster::{Drain, Ending, Reading, Time, Traffic};
use crate::daemon::cluster::ports::Ports;
use crate::supervisor::RunId;
use crate::sys::moment::Moment;
use crate::sys::proc_table::ProcTable;
use crate::sys::tcp::diag::Connection;
use crate::sys::tcp::{self, Tag};

/// By run.
#[derive(Default)]
pub(super) struct Drains(BTreeMap<RunId, Drain>);

/// The time of the core and of drains: milliseconds of CLOCK_MONOTONIC.
pub(super) fn now() -> Time {
    Time(Moment::now().monotonic)
}

impl Drains {
    /// The switch was just now.
    pub(super) fn begin(&mut self, run: RunId, until: Time, ending: Ending) {
        let now = now();
        self.0.insert(run, Drain::new(now, until.since(now), ending));
    }

    /// It has ended by itself.
    pub(super) fn end(&mut self, run: RunId) {
        self.0.remove(&run);
    }

    /// When the next one has something to read.
    pub(super) fn next(&self) -> Option<Time> {
        self.0.values().filter_map(|drain| drain.next().map(|(at, _)| at)).min()
    }

    /// Reads what is due. Returns the runs that are drained, or whose time is over.
    pub(super) fn go_on(&mut self, ports: &mut Ports) -> Vec<RunId> {
        let mut done = Vec::new();
        self.0.retain(|run, drain| {
            let now = now();
            if let Some((_, reading)) = drain.next().filter(|(at, _)| *at <= now)
                && let Err(error) = read(ports, *run, drain, reading)
            {
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

fn read(ports: &mut Ports, run: RunId, drain: &mut Drain, reading: Reading) -> io::Result<()> {
    match reading {
        Reading::HalfOpen => {
            let mut found = Vec::new();
            for port in ports_of(ports, run) {
                found.extend(ports.diag.half_open(port)?.iter().map(|found| found.cookie.0));
            }
            drain.on_half_open(now(), &found);
        }
        Reading::Queue => drain.on_queue(now(), queue(ports, run)?),
        Reading::Connections => {
            let found = connections(ports, run)?;
            let quiet = drain.on_connections(now(), &found.iter().map(traffic).collect::<Vec<_>>());
            let quiet: Vec<Connection> = found.into_iter().filter(|found| quiet.contains(&found.cookie.0)).collect();
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
    let of_run =
        |port: &&crate::daemon::cluster::ports::Port| port.group.members().any(|member| RunId(member.id.run.0) == run);
    ports.groups.iter().filter(of_run).map(|port| port.group.key().address.port()).collect()
}

fn queue(ports: &Ports, run: RunId) -> io::Result<u32> {
    let mut sum = 0_u32;
    for port in &ports.groups {
        for member in port.group.members().filter(|member| RunId(member.id.run.0) == run) {
            if let Some(kept) = port.kept.get(&member.socket) {
                sum = sum.saturating_add(tcp::queue_depth(&kept.fd)?);
            }
        }
    }
    Ok(sum)
}

/// Those of its members' marks. Of a member without one, which shares its port with more than fifteen others, the
/// connections are those that its processes hold.
fn connections(ports: &mut Ports, run: RunId) -> io::Result<Vec<Connection>> {
    let mut tags: BTreeMap<u16, BTreeSet<Tag>> = BTreeMap::new();
    for port in &ports.groups {
        for member in port.group.members().filter(|member| RunId(member.id.run.0) == run) {
            if let Some(kept) = port.kept.get(&member.socket) {
                tags.entry(port.group.key().address.port()).or_default().insert(kept.tag);
            }
        }
    }
    let mut found = Vec::new();
    for (port, tags) in tags {
        let listed = ports.diag.connections(port)?;
        if tags.contains(&Tag::NONE) {
            let Some(process) = ports.runs.get(&run).and_then(|captured| captured.process.as_ref()) else { continue };
            let held = tcp::held_by(process, &ProcTable::read()?, &listed)?;
            found.extend(listed.into_iter().filter(|found| held.contains(&found.cookie)));
        } else {
            found.extend(listed.into_iter().filter(|found| tags.contains(&found.tag)));
        }
    }
    Ok(found)
}

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
