//! Resource limits (getrlimit(2)): the daemon's own are raised, those of the programs it starts are given back.

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
