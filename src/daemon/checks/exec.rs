//! A command line that says by its exit code how an instance is. It has a session of its own, and nothing of it is left
//! when it is over.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tracing::{debug, warn};

use crate::daemon::checks::{Examination, in_words};
use crate::daemon::launch::{self, Ways};
use crate::daemon::sight::Sight;
use crate::guardian::Before;
use crate::spec::{ExitStatus, Signal};
use crate::sys::fds;
use crate::sys::process::Process;
use crate::sys::readable;
use crate::sys::spawn::{Launch, spawn};
use crate::sys::tree;

/// What its processes have in their environment, and nobody else.
const MARK: &str = "RSX_CHECK";

/// How much of what it writes is kept, in bytes.
const WORDS: usize = 1024;

/// How long its last words are read after its end.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// How often what it has left is looked for and killed.
const LOOKS: u32 = 20;

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Executes it; an error: it is not well, or could not be asked.
pub(super) async fn run(
    examination: &Examination,
    line: &str,
    limit: Duration,
    before: &Before,
) -> Result<String, String> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let (launch, output) = prepare(examination, line, &number, before)?;
    let started = tokio::task::spawn_blocking(move || spawn(&launch).map_err(|error| error.to_string())).await;
    let process = match started {
        Ok(Ok(process)) => Arc::new(process),
        Ok(Err(why)) => return Err(format!("`{line}`: {why}")),
        Err(error) => return Err(format!("`{line}`: {error}")),
    };
    let mut words = Vec::new();
    let over = {
        let reading = read(output, &mut words);
        let ended = readable::ended(Arc::clone(&process));
        tokio::pin!(reading, ended);
        let both = async {
            tokio::select! {
                ended = &mut ended => {
                    // What it wrote last may not have been read; a child of it may hold the pipe for longer.
                    let _ = tokio::time::timeout(LAST_WORDS, &mut reading).await;
                    ended
                }
                () = &mut reading => ended.await,
            }
        };
        tokio::time::timeout(limit, both).await
    };
    let status = process.try_status().ok().flatten();
    // What is left of it, and of one that has had its time all.
    let clearing = Arc::clone(&process);
    if let Err(error) = tokio::task::spawn_blocking(move || clear(&clearing, &format!("{MARK}={number}"))).await {
        warn!("a health check could not be cleared away: {error}");
    }
    match (over, status) {
        (_, Some(ExitStatus::Code(0))) => Ok("exit code 0".to_owned()),
        (_, Some(status)) => Err(match last_line(&words) {
            Some(said) => format!("`{line}`: {status}: {said}"),
            None => format!("`{line}`: {status}"),
        }),
        (Err(_), None) => Err(format!("`{line}`: not over within {}", in_words(limit))),
        (Ok(_), None) => Err(format!("`{line}`: its end was not seen")),
    }
}

fn prepare(examination: &Examination, line: &str, number: &str, before: &Before) -> Result<(Launch, OwnedFd), String> {
    let failed = |error: std::io::Error| format!("`{line}`: {}", launch::reason(&error));
    let Examination { slot, instance, definition, cwd, .. } = examination;
    let env = launch::environment(definition, *slot, *instance, &Ways::default()).map_err(|error| error.to_string())?;
    // By this the instance's own processes are known.
    let mut env: Vec<_> = env.into_iter().filter(|(name, _)| name != "RSX_ID").collect();
    env.push((MARK.into(), number.into()));
    let path_var = env.iter().find(|(name, _)| name == "PATH").and_then(|(_, value)| value.to_str());
    let shell = ["bash", "sh"].into_iter().find_map(|name| Some((name, launch::find_program(name, path_var, cwd)?)));
    let (name, program) = shell.ok_or_else(|| format!("`{line}`: neither bash nor sh is on the PATH of the app"))?;
    let (output, theirs) = fds::output_pipe().map_err(failed)?;
    let launch = Launch {
        program,
        argv: vec![name.into(), "-c".into(), line.into()],
        env,
        cwd: cwd.clone(),
        stdin: fds::null().map_err(failed)?,
        stdout: theirs.try_clone().map_err(failed)?,
        stderr: theirs,
        nofile: before.nofile,
        umask: Some(before.umask),
        oom_score_adj: before.badness,
        keep: Vec::new(),
        listen: Vec::new(),
        watchdog_pid: false,
        birth: None,
    };
    Ok((launch, output))
}

/// Reads until its end, and keeps the end of that.
async fn read(output: OwnedFd, words: &mut Vec<u8>) {
    let Ok(mut output) = Receiver::from_owned_fd(output) else { return };
    let mut chunk = [0; 4096];
    loop {
        match output.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                words.extend(chunk.iter().take(count));
                let surplus = words.len().saturating_sub(WORDS);
                words.drain(..surplus);
            }
        }
    }
}

fn last_line(words: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(words);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().filter(|character| !character.is_control()).collect())
}

/// Kills what lives of it, and takes note of its end.
fn clear(process: &Process, mark: &str) {
    let is_over = process.has_ended_within(Duration::ZERO).unwrap_or(true);
    if !is_over {
        // Its children first: once it has gone, some of them could not be told from others.
        let signalled = process.signal_group(Signal::KILL).and_then(|()| process.signal(Signal::KILL));
        if let Err(error) = signalled {
            debug!("cannot kill a health check: {error}");
        }
        // Whoever was killed ends.
        let _ = process.has_ended_within(Duration::from_secs(1));
    }
    for _ in 0..LOOKS {
        let Some(trace) = process.trace() else { break };
        match tree::leftovers(trace, mark, Sight::REAPER, &[]) {
            Ok(remains) if remains.is_nothing() => break,
            Ok(remains) => {
                for left in &remains.held {
                    // Who has ended meanwhile needs none.
                    let _ = left.signal(Signal::KILL);
                }
                let _ = remains.held.first().map(|left| left.has_ended_within(LOOK_AGAIN));
            }
            Err(error) => {
                debug!("cannot see what a health check left: {error}");
                break;
            }
        }
    }
    if let Err(error) = process.reap() {
        debug!("a health check: {error}");
    }
}
