//! Who belongs to a run, and what is left of it when its main process has ended.
//!
//! A run is a session of its own, so its session tells most of it: the main process's number cannot become somebody
//! else's session while it is not reaped. What has left the session is found by descent; and what has left both, a
//! daemon of the old school, has become a child of the reaper and still carries the run's mark in its environment.
//!
//! When a process has ended, all its children have a new parent already (exit(2) does that first). So whatever is left
//! of a run hangs below the reaper, and a reaper that has no child but us says that nothing is left.

mod look;
mod mark;

use std::io;
use std::sync::Weak;

use crate::sys::proc_table::{ProcTable, Row, StatReader};
use crate::sys::process::{Parent, PidFd, Process, Trace};
use crate::sys::tree::look::{Look, Seen};
use crate::sys::tree::mark::{Mark, mark_of};

/// How many listings one look takes at most until it has seen everybody of one moment.
const LISTINGS: u32 = 16;

/// How many looks are taken for one answer, before what moves on is said to be there without being held.
const LOOKS: u32 = 4;

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
    /// Somebody ended while he was looked at, and may have left a child that was not.
    is_moving: bool,
}

/// What is left of one run.
#[derive(Debug, Default)]
pub struct Remains {
    /// Who is held.
    pub held: Vec<PidFd>,
    /// Whether others may be there: one who was seen has ended before he could be held, and may have left a child.
    pub is_moving: bool,
}

impl Remains {
    /// Whether certainly nothing is left.
    pub fn is_nothing(&self) -> bool {
        self.held.is_empty() && !self.is_moving
    }
}

impl Survivors {
    /// Looks. One small read where the kernel lists children and nothing is left of any run; else one pass over all
    /// processes, in which the living sessions of other runs cost two calls and no file. `adopted` are main processes
    /// whose sessions live; those of our own children are known without.
    ///
    /// # Errors
    ///
    /// A machine without /proc, or no descriptor left.
    pub fn read(reaper: Reaper, adopted: &[Weak<Process>]) -> io::Result<Survivors> {
        let own = nix::unistd::getpid().as_raw();
        let pid = match reaper {
            Reaper::Parent => nix::unistd::getppid().as_raw(),
            Reaper::Own => own,
        };
        let living = adopted.iter().filter_map(|process| process.upgrade()?.own_pid());
        let mut look = Look::new(reaper, own, living)?;
        let mut is_moving = false;
        // What an adopted one has left may hang below another reaper, if its guardian has been killed, too.
        let has_adopted = adopted.iter().any(|process| process.strong_count() > 0);
        if has_adopted || !has_only_child(pid, own) {
            is_moving = true;
            for _ in 0..LISTINGS {
                is_moving = look.take()? == Seen::NotAll;
                if !is_moving {
                    break;
                }
            }
        }
        Ok(Survivors { reaper: pid, table: ProcTable::of(look.into_rows()), is_moving })
    }

    /// What is left of one run whose main process has ended and is not reaped, or was adopted. `mark` is an assignment
    /// that only this run's processes have in their environment.
    ///
    /// They may start others before they are signalled, so the caller looks again until nothing is left.
    ///
    /// # Errors
    ///
    /// No descriptor left.
    pub fn of(&self, main: Trace, mark: &str) -> io::Result<Remains> {
        let pid = main.pid;
        let leader = self.table.session(pid).find(|row| row.pid == pid);
        let (start, session) = match (main.start, leader) {
            // The fast path: the table is empty. (A child of ours that is not in it had not ended.)
            (None, None) => return Ok(Remains { held: Vec::new(), is_moving: self.is_moving }),
            (None, Some(row)) => (row.start, Some(pid)),
            // The kernel gives no number to anybody as long as a session has it. So who leads one of this number and
            // started later is a stranger, and nobody of the old session is there.
            (Some(start), Some(row)) if row.start > start => (start, None),
            (Some(start), Some(_) | None) => (start, Some(pid)),
        };
        let mut is_moving = self.is_moving;
        let members = session.into_iter().flat_map(|session| self.table.session(session));
        let mut roots: Vec<Row> = members.filter(|row| row.pid != pid).collect();
        for row in self.table.children(self.reaper) {
            if Some(row.session) != session && !row.is_zombie && row.start >= start {
                match mark_of(row.pid, mark) {
                    Mark::Carried => roots.push(row),
                    Mark::Absent => {}
                    Mark::Unknown => is_moving = true,
                }
            }
        }
        let itself = |row: &Row| row.pid == pid && session.is_some();
        let mut remains = hold(self.table.with_descendants(roots).into_iter().filter(|row| !itself(row)))?;
        remains.is_moving |= is_moving;
        Ok(remains)
    }
}

/// What is left of one run, as [`Survivors::of`]. A tree that moves on by forking while it is looked at is looked at
/// several times.
///
/// # Errors
///
/// As [`Survivors::read`].
pub fn leftovers(main: Trace, mark: &str, reaper: Reaper, adopted: &[Weak<Process>]) -> io::Result<Remains> {
    let mut remains = Survivors::read(reaper, adopted)?.of(main, mark)?;
    for _ in 1..LOOKS {
        if !remains.is_moving || !remains.held.is_empty() {
            break;
        }
        remains = Survivors::read(reaper, adopted)?.of(main, mark)?;
    }
    Ok(remains)
}

/// The living descendants of a run's main process, itself not included.
///
/// # Errors
///
/// No descriptor left.
pub fn descendants(main: &Process, table: &ProcTable) -> io::Result<Vec<PidFd>> {
    let Some(pid) = main.own_pid() else { return Ok(Vec::new()) };
    Ok(hold(table.below(pid).into_iter())?.held)
}

/// The living members of a run by session or descent, its main process not included.
///
/// # Errors
///
/// No descriptor left.
pub fn members(main: &Process, table: &ProcTable) -> io::Result<Vec<PidFd>> {
    let Some(pid) = main.own_pid() else { return Ok(Vec::new()) };
    Ok(hold(table.members(main).into_iter().filter(|row| row.pid != pid))?.held)
}

/// Everybody alive of a run by session or descent, its main process included. For a run whose mark nobody knows: who has
/// left its session and lost his parent is not found.
///
/// # Errors
///
/// A machine without /proc, or no descriptor left.
pub fn everybody_of(main: Trace) -> io::Result<Vec<PidFd>> {
    let table = ProcTable::read()?;
    let is_other = |row: &Row| row.pid == main.pid && main.start.is_some_and(|start| row.start > start);
    // A session has its number for itself as long as anybody is in it.
    if table.session(main.pid).any(|row| is_other(&row)) {
        return Ok(Vec::new());
    }
    Ok(hold(table.with_descendants(table.session(main.pid).collect()).into_iter())?.held)
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
    let left = hold(table.below(parent.pid()).into_iter().filter(|row| row.pid != own))?.held;
    // Asked last: until now the number was the parent's, and what was found below it is held.
    if parent.has_ended()? { Err(io::Error::new(io::ErrorKind::NotFound, "the parent has ended")) } else { Ok(left) }
}

/// Pidfds of these processes, as far as they are still the same ones.
fn hold(rows: impl Iterator<Item = Row>) -> io::Result<Remains> {
    let mut stat = StatReader::new()?;
    let mut remains = Remains::default();
    for row in rows.filter(|row| !row.is_zombie) {
        let pidfd = match PidFd::open(row.pid) {
            Ok(pidfd) => pidfd,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                remains.is_moving = true;
                continue;
            }
            Err(error) => return Err(error),
        };
        // The number cannot change its owner between these two lines without the start time telling.
        if stat.read(row.pid).is_some_and(|now| now.start == row.start && !now.is_zombie) {
            remains.held.push(pidfd);
        } else {
            remains.is_moving = true;
        }
    }
    Ok(remains)
}

/// Whether the kernel says that this process has one child and no other (proc_tid_children(5), where it is built in).
fn has_only_child(parent: libc::pid_t, child: libc::pid_t) -> bool {
    let path = format!("/proc/{parent}/task/{parent}/children");
    std::fs::read_to_string(path).is_ok_and(|list| list.trim() == child.to_string())
}

/// All processes that were executed with this assignment, for tests that look after what they left.
#[cfg(test)]
pub(crate) fn marked(mark: &str) -> Vec<PidFd> {
    let table = ProcTable::read().unwrap();
    let rows = table.all().filter(|row| mark_of(row.pid, mark) == Mark::Carried).collect::<Vec<_>>();
    hold(rows.into_iter()).unwrap().held
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::spec::Signal;
    use crate::sys::process::wait_id;
    use crate::sys::spawn::spawn;
    use crate::sys::system::become_subreaper;
    use crate::sys::testing::{LIMIT, end_of, requires, shell, until_line, with_output};

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

    /// Other tests have children that move on meanwhile, and whose they are cannot be told then.
    #[track_caller]
    fn nothing_left(main: &Process, mark: &str) {
        let begun = std::time::Instant::now();
        loop {
            let remains = leftovers(main.trace().unwrap(), mark, Reaper::Own, &[]).unwrap();
            assert!(remains.held.is_empty(), "{remains:?}");
            if !remains.is_moving {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "it moves on and on");
        }
    }

    /// Leaves its session and its parent, like a daemon of the old school.
    const DAEMON: &str = "setsid sh -c 'sh -c \"echo up; exec sleep 1000\" & echo >/dev/null' & wait; exit 3";

    #[test]
    fn nothing_is_left_of_a_program_that_has_ended() {
        become_subreaper().unwrap();
        let (main, _output) = start("exit 3", "RSX_ID=41");
        assert!(main.has_ended_within(LIMIT).unwrap());
        nothing_left(&main, "RSX_ID=41");
        end_of(&main);
    }

    #[test]
    fn a_child_in_the_background_is_left() {
        become_subreaper().unwrap();
        let (main, mut output) = start("sleep 1000 & echo up", "RSX_ID=42");
        until_line(&mut output, "up");
        assert!(main.has_ended_within(LIMIT).unwrap());
        let left = leftovers(main.trace().unwrap(), "RSX_ID=42", Reaper::Own, &[]).unwrap().held;
        assert_eq!(left.len(), 1);
        end_all(left);
        nothing_left(&main, "RSX_ID=42");
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
        let survivors = Survivors::read(Reaper::Own, &[]).unwrap();
        for (process, mark) in [(&main, "RSX_ID=43"), (&other, "RSX_ID=44")] {
            let left = survivors.of(process.trace().unwrap(), mark).unwrap().held;
            assert_eq!(left.len(), 1, "{mark}");
            end_all(left);
            end_of(process);
        }
    }

    #[test]
    fn nothing_leads_to_a_run_that_was_reaped() {
        let (main, _output) = start("sleep 1000 &", "RSX_ID=45");
        assert!(main.has_ended_within(LIMIT).unwrap());
        let survivors = Survivors::read(Reaper::Own, &[]).unwrap();
        let left = survivors.of(main.trace().unwrap(), "RSX_ID=45").unwrap().held;
        end_of(&main);
        assert_eq!(main.trace(), None);
        end_all(left);
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

    /// Forks, leaves its session and ends, again and again.
    const HOPPER: &str = "
import os, sys, time
if os.fork() > 0: sys.exit(3)
os.write(1, b'up\\n')
end = time.monotonic() + 20
while time.monotonic() < end:
    os.setsid()
    time.sleep(0.001)
    if os.fork() > 0: os._exit(0)
";

    #[test]
    fn a_tree_that_moves_on_is_never_taken_for_gone() {
        if !requires("python3") {
            return;
        }
        become_subreaper().unwrap();
        let (main, mut output) =
            start(&format!("exec python3 -c '{HOPPER}'").replace("b'up\\n'", "b\"up\\n\""), "RSX_ID=50");
        until_line(&mut output, "up");
        assert!(main.has_ended_within(LIMIT).unwrap());
        let begun = std::time::Instant::now();
        for round in (0..200).take_while(|_| begun.elapsed() < LIMIT / 4) {
            let remains = leftovers(main.trace().unwrap(), "RSX_ID=50", Reaper::Own, &[]).unwrap();
            assert!(!remains.is_nothing(), "look {round}");
        }
        loop {
            let remains = leftovers(main.trace().unwrap(), "RSX_ID=50", Reaper::Own, &[]).unwrap();
            if remains.is_nothing() {
                break;
            }
            end_all(remains.held);
        }
        end_of(&main);
    }
}
