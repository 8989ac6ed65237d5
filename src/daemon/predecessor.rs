//! After the death of a daemon that left no journal: what it wanted, and the end of what it left running.
//!
//! Without a journal nobody knows which process is whose. So all are asked to end, then killed, and only then are their
//! successors started: no app ever runs twice.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::daemon::keep;
use crate::daemon::link::Link;
use crate::daemon::pump::{Pump, Source, Style};
use crate::spec::{LogDriver, LogForm, Signal, Stream};
use crate::supervisor::{RunId, Wanted};
use crate::sys::process::{Parent, PidFd};
use crate::sys::tree;

/// How long left processes may take to end before they are killed.
const GRACE: Duration = Duration::from_secs(10);

/// How long killed processes are waited for.
const AFTER_KILL: Duration = Duration::from_secs(2);

/// Lets go of what the guardian keeps, ends what runs, and returns what was wanted.
pub(super) async fn clear(link: &Link, kept: Vec<(String, OwnedFd)>, pump: &Pump) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for (name, fd) in kept {
        link.forget(&[&name]);
        let parts: Vec<&str> = name.split('/').collect();
        match parts.as_slice() {
            [keep::WANTED] => match keep::read_wanted(&fd) {
                Ok(read) => wanted = read,
                Err(error) => warn!("cannot read what the previous daemon wanted: {error}"),
            },
            ["run", run, "out" | "error"] => empty(pump, run, fd),
            // Pidfds, and the other ends of inputs: let go.
            _ => {}
        }
    }
    match link.guardian() {
        Ok(guardian) => {
            if let Err(error) = tokio::task::spawn_blocking(move || end_all(&guardian)).await {
                warn!("ending what was left failed: {error}");
            }
        }
        Err(error) => warn!("the guardian is gone, what the previous daemon left cannot be told from others: {error}"),
    }
    wanted
}

/// Reads a pipe that nobody else reads any more, so that its writer can end.
fn empty(pump: &Pump, run: &str, pipe: OwnedFd) {
    let run = RunId(u64::MAX - run.parse::<u64>().unwrap_or(0));
    let style = Style {
        app: String::new(),
        instance: 0,
        form: LogForm::Raw,
        driver: LogDriver::Pipe,
        rotate: None,
        is_shared: false,
    };
    let (pipe, files, style) = (File::from(pipe), Vec::new(), Arc::new(style));
    pump.add(Source { run, stream: Stream::Out, pipe, files, style });
}

/// Ends everything that the previous daemon left: orphans, which are the guardian's children now.
fn end_all(guardian: &Parent) {
    match end_rounds(|| tree::left_with(guardian)) {
        Ok(0) => {}
        Ok(left) => warn!(processes = left, "some of what the previous daemon left could not be ended"),
        Err(error) => warn!("cannot see what the previous daemon left: {error}"),
    }
}

/// Asks to end whoever is seen, then kills who is left; how many there are after that.
pub(super) fn end_rounds(look: impl Fn() -> io::Result<Vec<PidFd>>) -> io::Result<usize> {
    for (signal, grace) in [(Signal::TERM, GRACE), (Signal::KILL, AFTER_KILL)] {
        let left = look()?;
        if left.is_empty() {
            return Ok(0);
        }
        info!(processes = left.len(), "ending what the previous daemon left with {signal}");
        send(&left, signal);
        let until = Instant::now() + grace;
        for process in &left {
            // A process that cannot be watched is looked for again in the next round.
            let _ = process.has_ended_within(until.saturating_duration_since(Instant::now()));
        }
    }
    look().map(|left| left.len())
}

fn send(processes: &[PidFd], signal: Signal) {
    for process in processes {
        if let Err(error) = process.signal(signal) {
            warn!("cannot send {signal} to {}: {error}", process.display_pid());
        }
    }
}
