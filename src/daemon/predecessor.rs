//! After the death of a daemon: what it wanted, and the end of what it left running.
//!
//! This version starts its apps anew; it does not adopt their processes yet. So these are asked to end, then killed, and
//! only then are their successors started: no app ever runs twice.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::daemon::keep;
use crate::daemon::link::Link;
use crate::daemon::pump::{Pump, Source};
use crate::spec::{Signal, Stream};
use crate::supervisor::{RunId, Wanted};
use crate::sys::proc_table::ProcTable;
use crate::sys::process::{PidFd, Process};
use crate::sys::tree;

/// How long the guardian may take to hand out what it keeps.
const HAND_OUT: Duration = Duration::from_secs(5);

/// How long left processes may take to end before they are killed.
const GRACE: Duration = Duration::from_secs(10);

/// How long killed processes are waited for.
const AFTER_KILL: Duration = Duration::from_secs(2);

/// Takes what the guardian keeps, ends what runs, and returns what was wanted.
pub(super) async fn clear(link: &Link, pump: &Pump) -> Vec<Wanted> {
    let kept = match link.take_all(HAND_OUT) {
        Ok(kept) => kept,
        Err(error) => {
            warn!("the guardian does not hand out what it keeps: {error}");
            return Vec::new();
        }
    };
    let mut wanted = Vec::new();
    let mut left = Vec::new();
    for (name, fd) in kept {
        link.forget(&name);
        let parts: Vec<&str> = name.split('/').collect();
        match parts.as_slice() {
            [keep::WANTED] => match keep::read_wanted(&fd) {
                Ok(read) => wanted = read,
                Err(error) => warn!("cannot read what the previous daemon wanted: {error}"),
            },
            ["run", _, "pid", pid] => left.extend(pid.parse().ok().map(|pid| Process::of_predecessor(fd, pid))),
            ["run", run, "out" | "error"] => empty(pump, run, fd),
            // The other end of a program's input: let go.
            _ => {}
        }
    }
    if !left.is_empty() {
        info!(processes = left.len(), "ending what the previous daemon left");
        let ended = tokio::task::spawn_blocking(move || end(&left)).await;
        if let Err(error) = ended {
            warn!("ending what was left failed: {error}");
        }
    }
    wanted
}

/// Reads a pipe that nobody else reads any more, so that its writer can end.
fn empty(pump: &Pump, run: &str, pipe: OwnedFd) {
    let run = RunId(u64::MAX - run.parse::<u64>().unwrap_or(0));
    pump.add(Source { run, stream: Stream::Out, pipe: File::from(pipe), sink: None, path: None });
}

fn end(left: &[Process]) {
    let trees = || -> Vec<PidFd> {
        let Ok(table) = ProcTable::read() else { return Vec::new() };
        left.iter().flat_map(|main| tree::members(main, &table).unwrap_or_default()).collect()
    };
    let mut members = trees();
    for (signal, grace) in [(Signal::TERM, GRACE), (Signal::KILL, AFTER_KILL)] {
        for main in left {
            if let Err(error) = main.signal(signal) {
                warn!("cannot send {signal} to {}: {error}", main.display_pid());
            }
        }
        if signal == Signal::KILL {
            members.extend(trees());
        }
        let until = Instant::now() + grace;
        let rest = |now: Instant| until.saturating_duration_since(now);
        let mains_ended = left.iter().all(|main| main.has_ended_within(rest(Instant::now())).unwrap_or(true));
        // What a main process did not take with it is asked now.
        for member in &members {
            if let Err(error) = member.signal(signal) {
                warn!("cannot send {signal} to {}: {error}", member.display_pid());
            }
        }
        let members_ended = members.iter().all(|one| one.has_ended_within(rest(Instant::now())).unwrap_or(true));
        if mains_ended && members_ended {
            return;
        }
    }
    warn!("something that the previous daemon left could not be ended");
}
