//! Who belongs to a run, and what is left of it when its main process has ended.
//!
//! A run is a session of its own, so its session tells most of it: the main process's number cannot become somebody
//! else's session while it is not reaped. What has left the session is found by descent; and what has left both, a
//! daemon of the old school, has become a child of the reaper and still carries the run's mark in its environment.
//!
//! When a process has ended, all its children have a new parent already (exit(2) does that first). So whatever is left
//! of a run hangs below the reaper, and a reaper that has no child but us says that nothing is left.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use nix::unistd::{Pid, getsid};

use crate::sys::proc_table::{ProcTable, Row, StatReader, pids};
use crate::sys::process::{Parent, PidFd, Process, wait_id};

/// The most that is read of an environment; the kernel allows 6 MiB by default.
const MAX_ENVIRONMENT: u64 = 8 << 20;

/// How long a process may be in the middle of execve(2).
const EXECUTING: Duration = Duration::from_millis(20);

/// Which process adopts the orphans of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaper {
    /// Our parent: the guardian; or, when it is gone, whoever has adopted us, for he adopts orphans below us, too.
    Parent,
    /// This process.
    Own,
}

/// All processes that may be left of runs whose main process had ended before this was read.
#[derive(Debug)]
pub struct Survivors {
    reaper: libc::pid_t,
    table: ProcTable,
}

impl Survivors {
    /// Looks. One small read where the kernel lists children and nothing is left of any run; else one pass over all
    /// processes, in which the living sessions of other runs cost two calls and no file.
    ///
    /// # Errors
    ///
    /// A machine without /proc, or no descriptor left.
    pub fn read(reaper: Reaper) -> io::Result<Survivors> {
        let own = nix::unistd::getpid().as_raw();
        let pid = match reaper {
            Reaper::Parent => nix::unistd::getppid().as_raw(),
            Reaper::Own => own,
        };
        let mut rows = Vec::new();
        let mut stat = StatReader::new()?;
        if !has_only_child(pid, own) {
            let mut sessions = Sessions { reaper, own, known: HashMap::new() };
            for pid in pids()?.filter(|pid| *pid != own) {
                if sessions.may_be_left(pid) {
                    rows.extend(stat.read(pid));
                }
            }
        }
        Ok(Survivors { reaper: pid, table: ProcTable::of(rows) })
    }

    /// What is left of one run. `mark` is an assignment that only this run's processes have in their environment.
    ///
    /// They may start others before they are signalled, so the caller looks again until nothing is left.
    ///
    /// # Errors
    ///
    /// No descriptor left.
    pub fn of(&self, main: &Process, mark: &str) -> io::Result<Vec<PidFd>> {
        let Some(pid) = main.own_pid() else { return Ok(Vec::new()) };
        let Some(itself) = self.table.session(pid).find(|row| row.pid == pid) else {
            // The fast path: the table is empty. (A main process that is not in it had not ended.)
            return Ok(Vec::new());
        };
        let is_marked =
            |row: &Row| row.session != pid && !row.is_zombie && row.start >= itself.start && has_mark(row.pid, mark);
        let mut roots: Vec<Row> = self.table.session(pid).filter(|row| row.pid != pid).collect();
        roots.extend(self.table.children(self.reaper).filter(is_marked));
        hold(self.table.with_descendants(roots).into_iter().filter(|row| row.pid != pid))
    }
}

/// What is left of one run whose main process has ended and is not reaped: [`Survivors`] for one.
///
/// # Errors
///
/// As [`Survivors::read`].
pub fn leftovers(main: &Process, mark: &str, reaper: Reaper) -> io::Result<Vec<PidFd>> {
    Survivors::read(reaper)?.of(main, mark)
}

/// The living descendants of a run's main process, itself not included.
///
/// # Errors
///
/// No descriptor left.
pub fn descendants(main: &Process, table: &ProcTable) -> io::Result<Vec<PidFd>> {
    let Some(pid) = main.own_pid() else { return Ok(Vec::new()) };
    hold(table.below(pid).into_iter())
}

/// The living members of a run by session or descent, its main process not included.
///
/// # Errors
///
/// No descriptor left.
pub fn members(main: &Process, table: &ProcTable) -> io::Result<Vec<PidFd>> {
    let Some(pid) = main.own_pid() else { return Ok(Vec::new()) };
    hold(table.members(main).into_iter().filter(|row| row.pid != pid))
}

/// Everything alive below our parent but this process: for a daemon that has started nothing yet, what the daemon before
/// it has left with their guardian.
///
/// # Errors
///
/// A machine without /proc, no descriptor left, or a parent that has ended: whoever has adopted us then has children that
/// were never ours.
pub fn left_with(parent: &Parent) -> io::Result<Vec<PidFd>> {
    let own = nix::unistd::getpid().as_raw();
    let table = ProcTable::read()?;
    let left = hold(table.below(parent.pid()).into_iter().filter(|row| row.pid != own))?;
    // Asked last: until now the number was the parent's, and what was found below it is held.
    if parent.has_ended()? { Err(io::Error::new(io::ErrorKind::NotFound, "the parent has ended")) } else { Ok(left) }
}

/// Pidfds of these processes, as far as they are still the same ones.
fn hold(rows: impl Iterator<Item = Row>) -> io::Result<Vec<PidFd>> {
    let mut stat = StatReader::new()?;
    let mut held = Vec::new();
    for row in rows.filter(|row| !row.is_zombie) {
        let pidfd = match PidFd::open(row.pid) {
            Ok(pidfd) => pidfd,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => continue,
            Err(error) => return Err(error),
        };
        // The number cannot change its owner between these two lines without the start time telling.
        if stat.read(row.pid).is_some_and(|now| now.start == row.start && !now.is_zombie) {
            held.push(pidfd);
        }
    }
    Ok(held)
}

/// Whether the kernel says that this process has one child and no other (proc_tid_children(5), where it is built in).
fn has_only_child(parent: libc::pid_t, child: libc::pid_t) -> bool {
    let path = format!("/proc/{parent}/task/{parent}/children");
    std::fs::read_to_string(path).is_ok_and(|list| list.trim() == child.to_string())
}

/// What is known of sessions, so that each is asked about once.
struct Sessions {
    reaper: Reaper,
    own: libc::pid_t,
    known: HashMap<libc::pid_t, bool>,
}

impl Sessions {
    /// Whether a process may be left of a run that has ended: not if its session is that of a living run of ours.
    fn may_be_left(&mut self, pid: libc::pid_t) -> bool {
        let Ok(session) = getsid(Some(Pid::from_raw(pid))) else { return false };
        let session = session.as_raw();
        // 0 is the kernel's own threads.
        if session == 0 {
            return false;
        }
        let (reaper, own) = (self.reaper, self.own);
        *self.known.entry(session).or_insert_with(|| match reaper {
            // Our children are runs, and nothing else: a leader among them that lives explains its session.
            Reaper::Parent => session != own && !is_living_child(session),
            // Our children are adopted ones, too.
            Reaper::Own => true,
        })
    }
}

/// waitid(2) knows its own children from other processes, and the living from the dead.
fn is_living_child(pid: libc::pid_t) -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    matches!(wait_id(libc::P_PID, pid.unsigned_abs(), flags), Ok(None))
}

/// Whether a process was executed with this assignment in its environment (proc_pid_environ(5)). One that may not be
/// looked into has not.
fn has_mark(pid: libc::pid_t, mark: &str) -> bool {
    let environment = environment(pid).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
}

/// The environment that a process was executed with.
///
/// In the middle of execve(2) it has none, which is not the same as being executed without one: an orphan that is
/// looked at in just that moment must not be missed. That moment is over in far less than the time allowed here.
fn environment(pid: libc::pid_t) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + EXECUTING;
    let mut is_settled = false;
    loop {
        let mut bytes = Vec::new();
        File::open(format!("/proc/{pid}/environ"))?.take(MAX_ENVIRONMENT).read_to_end(&mut bytes)?;
        if !bytes.is_empty() || is_settled || Instant::now() > deadline {
            return Ok(bytes);
        }
        // Asked before the next read, so that what it reads is of the program that was executed.
        is_settled = is_executed(pid)?;
        std::thread::yield_now();
    }
}

/// Whether a process has a place for its environment (proc_pid_stat(5): `env_start`); it has none while execve(2) is
/// building it.
fn is_executed(pid: libc::pid_t) -> io::Result<bool> {
    let stat = std::fs::read(format!("/proc/{pid}/stat"))?;
    let stat = String::from_utf8_lossy(&stat);
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    // The third field of the manual page is the first one behind the bracket.
    Ok(fields.split_ascii_whitespace().nth(50 - 3).is_some_and(|start| start != "0"))
}

/// All processes that were executed with this assignment, for tests that look after what they left.
#[cfg(test)]
pub(crate) fn marked(mark: &str) -> Vec<PidFd> {
    let rows = ProcTable::read().unwrap().all().filter(|row| has_mark(row.pid, mark)).collect::<Vec<_>>();
    hold(rows.into_iter()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Signal;
    use crate::sys::spawn::spawn;
    use crate::sys::system::become_subreaper;
    use crate::sys::testing::{LIMIT, end_of, shell, until_line, with_output};

    /// Reaps what this process has adopted, by number: other tests have children, too.
    fn end_all(left: Vec<PidFd>) {
        for process in left {
            process.signal(Signal::KILL).unwrap();
            assert!(process.has_ended_within(LIMIT).unwrap());
            wait_id(libc::P_PID, process.display_pid(), libc::WEXITED | libc::WNOHANG).unwrap();
        }
    }

    fn start(script: &str, mark: &str) -> (Process, File) {
        let (mut launch, output) = with_output(shell(script));
        let (name, value) = mark.split_once('=').unwrap();
        launch.env.push((name.into(), value.into()));
        (spawn(&launch).unwrap(), output)
    }

    /// Leaves its session and its parent, like a daemon of the old school.
    const DAEMON: &str = "setsid sh -c 'sh -c \"echo up; exec sleep 1000\" & echo >/dev/null' & wait; exit 3";

    #[test]
    fn nothing_is_left_of_a_program_that_has_ended() {
        become_subreaper().unwrap();
        let (main, _output) = start("exit 3", "RSX_ID=41");
        assert!(main.has_ended_within(LIMIT).unwrap());
        assert!(leftovers(&main, "RSX_ID=41", Reaper::Own).unwrap().is_empty());
        end_of(&main);
    }

    #[test]
    fn a_child_in_the_background_is_left() {
        become_subreaper().unwrap();
        let (main, mut output) = start("sleep 1000 & echo up", "RSX_ID=42");
        until_line(&mut output, "up");
        assert!(main.has_ended_within(LIMIT).unwrap());
        let left = leftovers(&main, "RSX_ID=42", Reaper::Own).unwrap();
        assert_eq!(left.len(), 1);
        end_all(left);
        assert!(leftovers(&main, "RSX_ID=42", Reaper::Own).unwrap().is_empty());
        end_of(&main);
    }

    #[test]
    fn an_orphan_in_a_session_of_its_own_is_left() {
        become_subreaper().unwrap();
        let (main, mut output) = start(DAEMON, "RSX_ID=43");
        let (other, mut other_output) = start(DAEMON, "RSX_ID=44");
        until_line(&mut output, "up");
        until_line(&mut other_output, "up");
        assert!(main.has_ended_within(LIMIT).unwrap() && other.has_ended_within(LIMIT).unwrap());
        let survivors = Survivors::read(Reaper::Own).unwrap();
        for (process, mark) in [(&main, "RSX_ID=43"), (&other, "RSX_ID=44")] {
            let left = survivors.of(process, mark).unwrap();
            assert_eq!(left.len(), 1, "{mark}");
            end_all(left);
            end_of(process);
        }
    }

    #[test]
    fn an_environment_is_told_from_none() {
        let (main, mut output) = start("env -i sh -c 'echo up; exec sleep 1000' & wait", "RSX_ID=48");
        until_line(&mut output, "up");
        let below = ProcTable::read().unwrap().below(main.own_pid().unwrap());
        assert!(has_mark(main.own_pid().unwrap(), "RSX_ID=48"));
        assert!(!has_mark(below[0].pid, "RSX_ID=48"));
        assert!(is_executed(main.own_pid().unwrap()).unwrap());
        main.signal_group(Signal::KILL).unwrap();
        end_of(&main);
    }

    #[test]
    fn nothing_is_left_of_a_run_that_was_reaped() {
        let (main, _output) = start("sleep 1000 &", "RSX_ID=45");
        assert!(main.has_ended_within(LIMIT).unwrap());
        let survivors = Survivors::read(Reaper::Own).unwrap();
        let left = survivors.of(&main, "RSX_ID=45").unwrap();
        end_of(&main);
        assert!(survivors.of(&main, "RSX_ID=45").unwrap().is_empty());
        end_all(left);
    }

    #[test]
    fn the_living_session_of_another_run_is_not_looked_into() {
        let (other, _output) = start("exec sleep 1000", "RSX_ID=46");
        let pid = other.own_pid().unwrap();
        let mut sessions =
            Sessions { reaper: Reaper::Parent, own: nix::unistd::getpid().as_raw(), known: HashMap::new() };
        assert!(!sessions.may_be_left(pid));
        other.signal(Signal::KILL).unwrap();
        assert!(other.has_ended_within(LIMIT).unwrap());
        sessions.known.clear();
        assert!(sessions.may_be_left(pid));
        end_of(&other);
    }

    #[test]
    fn nothing_is_looked_for_below_a_parent_that_has_ended() {
        let (main, mut output) = start("sleep 1000 & echo up; wait", "RSX_ID=49");
        until_line(&mut output, "up");
        let parent = Parent::of(PidFd::open(main.own_pid().unwrap()).unwrap());
        assert_eq!(left_with(&parent).unwrap().len(), 1);
        main.signal_group(Signal::KILL).unwrap();
        assert!(main.has_ended_within(LIMIT).unwrap());
        assert_eq!(left_with(&parent).unwrap_err().kind(), io::ErrorKind::NotFound);
        end_of(&main);
    }

    #[test]
    fn who_did_not_start_us_is_not_our_parent() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(Parent::who_made(&ours).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn descendants_of_a_wrapper_are_found() {
        let (main, mut output) = start("(echo up; exec sleep 1000) & wait", "RSX_ID=47");
        until_line(&mut output, "up");
        let table = ProcTable::read().unwrap();
        let found = descendants(&main, &table).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(members(&main, &table).unwrap().len(), 1);
        found[0].signal(Signal::TERM).unwrap();
        assert_eq!(end_of(&main), crate::spec::ExitStatus::Code(0));
    }
}
