//! Who is there: listings of all processes, repeated until one of them shows nobody who could not be looked at.

use std::collections::{HashMap, HashSet};
use std::io;

use nix::unistd::{Pid, getsid};

use crate::sys::proc_table::{Row, StatReader, pids};
use crate::sys::process::wait_id;
use crate::sys::tree::Reaper;

/// Whether a listing of all processes has led to all that lived when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    All,
    NotAll,
}

/// One look in the making: listings, until one of them shows nobody who could not be looked at.
///
/// A listing is of one moment, looking at its processes takes longer, and a program that forks and ends again and again
/// is never where it was listed. But its child is in the next listing, and that has few that are new.
pub(super) struct Look {
    rows: HashMap<libc::pid_t, Row>,
    /// Processes that belong to something else.
    passed_over: HashSet<libc::pid_t>,
    sessions: Sessions,
    stat: StatReader,
}

impl Look {
    pub(super) fn new(reaper: Reaper, own: libc::pid_t) -> io::Result<Look> {
        Ok(Look {
            rows: HashMap::new(),
            passed_over: HashSet::from([own]),
            sessions: Sessions { reaper, own, known: HashMap::new() },
            stat: StatReader::new()?,
        })
    }

    pub(super) fn into_rows(self) -> Vec<Row> {
        self.rows.into_values().collect()
    }

    /// Lists once more, and looks at who is new or has got a new parent.
    pub(super) fn take(&mut self) -> io::Result<Seen> {
        let last = last_pid();
        let listed: HashSet<libc::pid_t> = pids()?.collect();
        // A child has a higher number than its parent and is listed after it, but for one moment in ten thousands.
        let mut seen = if last_pid() < last { Seen::NotAll } else { Seen::All };
        self.rows.retain(|pid, _| listed.contains(pid));
        for pid in &listed {
            // Who has lost his parent is where a tree hangs now.
            let is_known = self.rows.get(pid).is_some_and(|row| listed.contains(&row.parent));
            if is_known || self.passed_over.contains(pid) {
                continue;
            }
            match self.sessions.may_be_left(*pid) {
                Some(true) => match self.stat.read(*pid) {
                    Some(row) => {
                        // It may have ended since the listing, and its last child be too young for that.
                        if row.is_zombie {
                            seen = Seen::NotAll;
                        }
                        self.rows.insert(*pid, row);
                    }
                    None => seen = Seen::NotAll,
                },
                Some(false) => {
                    self.passed_over.insert(*pid);
                }
                None => seen = Seen::NotAll,
            }
        }
        // Who was read before his parent became a zombie has another one by now.
        let zombies: HashSet<libc::pid_t> = self.rows.values().filter(|row| row.is_zombie).map(|row| row.pid).collect();
        let before = self.rows.len();
        self.rows.retain(|_, row| !zombies.contains(&row.parent));
        Ok(if self.rows.len() < before { Seen::NotAll } else { seen })
    }
}

/// The number that was given last (proc_loadavg(5)); they are given in turn, and start again from below at the end.
fn last_pid() -> Option<u32> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_ascii_whitespace().nth(4)?.parse().ok()
}

/// What is known of sessions, so that each is asked about once.
struct Sessions {
    reaper: Reaper,
    own: libc::pid_t,
    known: HashMap<libc::pid_t, bool>,
}

impl Sessions {
    /// Whether a process may be left of a run that has ended: not if its session is that of a living run of ours. None
    /// for a process that is gone.
    fn may_be_left(&mut self, pid: libc::pid_t) -> Option<bool> {
        let session = getsid(Some(Pid::from_raw(pid))).ok()?.as_raw();
        // 0 is the kernel's own threads.
        if session == 0 {
            return Some(false);
        }
        let (reaper, own) = (self.reaper, self.own);
        let may_be_left = *self.known.entry(session).or_insert_with(|| match reaper {
            // Our children are runs, and nothing else: a leader among them that lives explains its session.
            Reaper::Parent => session != own && !is_living_child(session),
            // Our children are adopted ones, too.
            Reaper::Own => true,
        });
        Some(may_be_left)
    }
}

/// waitid(2) knows its own children from other processes, and the living from the dead.
fn is_living_child(pid: libc::pid_t) -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    matches!(wait_id(libc::P_PID, pid.unsigned_abs(), flags), Ok(None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Signal;
    use crate::sys::spawn::spawn;
    use crate::sys::testing::{LIMIT, end_of, shell, with_output};

    #[test]
    fn the_living_session_of_another_run_is_not_looked_into() {
        let (launch, _output) = with_output(shell("exec sleep 1000"));
        let other = spawn(&launch).unwrap();
        let pid = other.own_pid().unwrap();
        let mut sessions =
            Sessions { reaper: Reaper::Parent, own: nix::unistd::getpid().as_raw(), known: HashMap::new() };
        assert_eq!(sessions.may_be_left(pid), Some(false));
        other.signal(Signal::KILL).unwrap();
        assert!(other.has_ended_within(LIMIT).unwrap());
        sessions.known.clear();
        assert_eq!(sessions.may_be_left(pid), Some(true));
        end_of(&other);
    }
}
