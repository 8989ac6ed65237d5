//! Resource limits (getrlimit(2)) and the badness of this process (proc_pid_oom_score_adj(5)): the daemon's own are
//! changed, those of the programs it starts are given back.

use std::fs;
use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A pair of limits of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RLimit {
    /// What is enforced.
    pub soft: u64,
    /// Up to where the process may raise it.
    pub hard: u64,
}

/// The limit of open descriptors of this process.
///
/// # Errors
///
/// Whatever getrlimit(2) says.
pub fn nofile() -> io::Result<RLimit> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(RLimit { soft, hard })
}

/// Raises the soft limit of open descriptors to the hard one and returns what it was before.
///
/// The programs that this process starts need the old value back (`Launch::nofile`): some of them close every
/// possible descriptor in a loop, or break in select(2) above 1,024.
///
/// # Errors
///
/// Whatever getrlimit(2) and setrlimit(2) say.
pub fn raise_nofile() -> io::Result<RLimit> {
    let before = nofile()?;
    if before.soft < before.hard {
        setrlimit(Resource::RLIMIT_NOFILE, before.hard, before.hard)?;
    }
    Ok(before)
}

/// What this process is worth when the machine runs out of memory, against all others: -1000 is never killed, 1000 first.
const BADNESS: &str = "/proc/self/oom_score_adj";

/// Lowers the badness of this process to `wanted`, or to 0 where it is above and may not go lower. Returns what it was
/// before; none if nothing has changed, because it is as low already or this process may not (CAP_SYS_RESOURCE).
///
/// The programs that this process starts need the old value back (`Launch::oom_score_adj`).
///
/// # Errors
///
/// A machine without /proc.
pub fn lower_badness(wanted: i16) -> io::Result<Option<i16>> {
    let before: i16 = fs::read_to_string(BADNESS)?.trim().parse().map_err(io::Error::other)?;
    let lowered = [wanted, 0].into_iter().find(|value| *value < before && write_badness(*value).is_ok());
    Ok(lowered.map(|_| before))
}

fn write_badness(value: i16) -> io::Result<()> {
    fs::write(BADNESS, value.to_string())
}
