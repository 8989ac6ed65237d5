//! What trees of processes use, measured each second at a cost that does not show.
//!
//! A pass over /proc costs some 10 µs a process. The CPU clock of a process costs one system call of less than 1 µs
//! (clock_getcpuclockid(3)), is exact to the nanosecond, and tells what else there is to read: a process that has not run
//! has neither asked for memory nor made another one. So a tree that rests costs one call a process, and only who has run
//! is looked at in /proc.
//!
//! New members: a process is found by its number, which lies between the last number that was given out a second ago and
//! the last one now (proc_loadavg(5)). Whoever was a member stays one, whatever becomes of its parent. Once a minute a pass
//! over all of /proc finds what this has missed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::sys::proc_table::{ProcTable, Row, StatReader, pids};
use crate::sys::process::Process;
use crate::sys::system::{clock_ticks, page_size};

/// So many numbers are tried one by one; if more have been given out, /proc is listed.
const PROBES: libc::pid_t = 1024;

/// Every how manieth measurement looks at all of /proc.
const WHOLE_EVERY: u32 = 60;

/// Every how manieth measurement reads the memory of a process that has not run: it can only have become less.
const REST_EVERY: u32 = 32;

/// What a tree has used since the measurement before, and holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// CPU time. At the first measurement: since it is watched.
    pub cpu: Duration,
    /// Resident memory in bytes; what they share is counted for each.
    pub memory: u64,
    /// How many live.
    pub processes: u32,
}

/// Measures trees of processes. See the module.
#[derive(Debug, Default)]
pub struct Meter {
    /// By number.
    members: Vec<Member>,
    /// By key.
    trees: Vec<Tree>,
    /// The last process number that had been given out at the last measurement.
    cursor: Option<libc::pid_t>,
    /// Some of a tree may have been there before its watch began.
    whole_is_due: bool,
    measured: u32,
}

/// A process of a tree.
#[derive(Clone, Copy, Debug)]
struct Member {
    pid: libc::pid_t,
    /// Whether its numbers were read once.
    is_known: bool,
    tree: u64,
    /// With the pid, it names one process for ever.
    start: u64,
    /// CPU time in nanoseconds.
    own: u64,
    /// CPU time of the children that it has waited for, in ticks.
    reaped: u64,
    /// Pages.
    rss: u64,
    is_zombie: bool,
}

#[derive(Debug)]
struct Tree {
    key: u64,
    root: libc::pid_t,
    process: Arc<Process>,
    /// CPU time of all members and of those they have waited for, as far as it was counted, in nanoseconds.
    total: u64,
    /// What members have run since the last measurement, whatever has become of those that have ended.
    grown: u64,
    used: Used,
}

impl Meter {
    /// Measures this tree from now on, under a key.
    pub fn watch(&mut self, key: u64, process: Arc<Process>) {
        let Some(pid) = process.own_pid() else { return };
        self.forget(key);
        let own = cpu_time(pid).unwrap_or(0);
        let at = self.trees.partition_point(|tree| tree.key < key);
        let row = StatReader::new().ok().and_then(|mut stat| stat.read(pid));
        // What children that have ended used before is not used now.
        let (start, reaped) = row.map_or((0, 0), |row| (row.start, row.reaped));
        let total = own + nanos(reaped);
        self.trees.insert(at, Tree { key, root: pid, process, total, grown: 0, used: Used::default() });
        self.insert(Member { pid, is_known: false, tree: key, start, own, reaped, rss: 0, is_zombie: false });
        // What it has made already is found by the numbers, unless these were looked at before.
        self.whole_is_due |= self.cursor.is_none_or(|cursor| pid <= cursor);
    }

    /// Forgets a tree.
    pub fn forget(&mut self, key: u64) {
        self.trees.retain(|tree| tree.key != key);
        self.members.retain(|member| member.tree != key);
    }

    /// Whether it has nothing to measure.
    pub fn is_empty(&self) -> bool {
        self.trees.is_empty()
    }

    /// What was measured, by key.
    pub fn used(&self) -> impl Iterator<Item = (u64, Used)> {
        self.trees.iter().map(|tree| (tree.key, tree.used))
    }

    /// Measures all trees. A process that cannot be read keeps what was read of it last.
    ///
    /// # Errors
    ///
    /// A machine without /proc, or no descriptor left. What was measured before stays.
    pub fn measure(&mut self) -> io::Result<()> {
        let mut stat = StatReader::new()?;
        self.measured = self.measured.wrapping_add(1);
        let (before, now) = (self.cursor, last_number().ok());
        self.cursor = now;
        self.renew(&mut stat);
        match (before, now) {
            _ if self.whole_is_due || self.measured.is_multiple_of(WHOLE_EVERY) => self.look_at_all()?,
            (Some(before), Some(now)) => self.look_at_new((before, now), &mut stat)?,
            (None, _) | (_, None) => self.look_at_all()?,
        }
        self.sum();
        Ok(())
    }

    /// The memory of a tree in bytes, what processes share divided among them; none if nothing of it can be read.
    pub fn proportional(&self, key: u64) -> Option<u64> {
        let of_tree = self.members.iter().filter(|member| member.tree == key && !member.is_zombie);
        let mut sum = None;
        for member in of_tree {
            // One that cannot be read counts with what it has resident.
            let read = proportional(member.pid);
            let part = read.unwrap_or(member.rss * page_size());
            if read.is_some() || sum.is_some() {
                sum = Some(sum.unwrap_or(0) + part);
            }
        }
        sum
    }

    fn renew(&mut self, stat: &mut StatReader) {
        let turn = self.measured % REST_EVERY;
        let trees = &mut self.trees;
        self.members.retain_mut(|member| {
            let own = cpu_time(member.pid);
            if own == Some(member.own) && member.is_known && member.pid.unsigned_abs() % REST_EVERY != turn {
                return true;
            }
            match (stat.read(member.pid), own) {
                // Where the kernel does not tell the clock, /proc does.
                (Some(row), own) => member.take(&row, own.unwrap_or_else(|| nanos(row.cpu)), trees),
                (None, Some(_)) => true,
                (None, None) => false,
            }
        });
    }

    /// Numbers between the last one then and the last one now.
    fn look_at_new(&mut self, (before, now): (libc::pid_t, libc::pid_t), stat: &mut StatReader) -> io::Result<()> {
        let is_new = |pid: &libc::pid_t| match before <= now {
            true => *pid > before && *pid <= now,
            // They have begun at the lowest again.
            false => *pid > before || *pid <= now,
        };
        if before == now {
            return Ok(());
        }
        if before < now && now - before <= PROBES {
            for pid in before + 1..=now {
                // A thread has no such clock, and a number that nobody has has none either.
                if cpu_time(pid).is_some() {
                    self.welcome(pid, stat);
                }
            }
        } else {
            let mut fresh: Vec<libc::pid_t> = pids()?.filter(is_new).collect();
            fresh.sort_unstable();
            for pid in fresh {
                self.welcome(pid, stat);
            }
        }
        Ok(())
    }

    /// A process that may be of one of the trees.
    fn welcome(&mut self, pid: libc::pid_t, stat: &mut StatReader) {
        if self.member(pid).is_some() {
            return;
        }
        let Some(row) = stat.read(pid) else { return };
        let of_session = || self.trees.iter().find(|tree| tree.root == row.session).map(|tree| tree.key);
        let tree = self.member(row.parent).or_else(|| self.member(row.session)).map(|member| member.tree);
        if let Some(tree) = tree.or_else(of_session) {
            self.insert(Member::of(&row, tree));
        }
    }

    /// A pass over all of /proc.
    fn look_at_all(&mut self) -> io::Result<()> {
        let table = ProcTable::read()?;
        let mut found = Vec::new();
        for tree in &mut self.trees {
            for row in table.members(&tree.process) {
                if member(&self.members, row.pid).is_none() {
                    let member = Member::of(&row, tree.key);
                    // Nobody knows when it has used this.
                    tree.total += member.total();
                    found.push(member);
                }
            }
        }
        for member in found {
            self.insert(member);
        }
        self.whole_is_due = false;
        Ok(())
    }

    fn sum(&mut self) {
        let mut before = Vec::with_capacity(self.trees.len());
        for tree in &mut self.trees {
            before.push(std::mem::take(&mut tree.total));
            tree.used = Used::default();
        }
        for member in &self.members {
            let Some(tree) = tree(&mut self.trees, member.tree) else { continue };
            tree.total += member.total();
            if !member.is_zombie {
                tree.used.memory += member.rss * page_size();
                tree.used.processes += 1;
            }
        }
        for (tree, before) in self.trees.iter_mut().zip(before) {
            // Who ends takes its time along, unless its parent waits for it.
            let spent = tree.total.saturating_sub(before).max(std::mem::take(&mut tree.grown));
            tree.used.cpu = Duration::from_nanos(spent);
        }
    }

    fn member(&self, pid: libc::pid_t) -> Option<&Member> {
        member(&self.members, pid)
    }

    fn insert(&mut self, member: Member) {
        match self.members.binary_search_by_key(&member.pid, |known| known.pid) {
            Ok(at) => self.members[at] = member,
            Err(at) => self.members.insert(at, member),
        }
    }
}

impl Member {
    fn of(row: &Row, tree: u64) -> Member {
        Member {
            pid: row.pid,
            is_known: true,
            tree,
            start: row.start,
            // Where the kernel does not tell the clock, /proc does.
            own: cpu_time(row.pid).unwrap_or_else(|| nanos(row.cpu)),
            reaped: row.reaped,
            rss: row.rss,
            is_zombie: row.is_zombie,
        }
    }

    fn total(&self) -> u64 {
        self.own + nanos(self.reaped)
    }

    /// What /proc and the clock say now; false when the number is somebody else's by now.
    fn take(&mut self, row: &Row, own: u64, trees: &mut [Tree]) -> bool {
        if self.start != 0 && row.start != self.start {
            return false;
        }
        if let Some(tree) = tree(trees, self.tree) {
            tree.grown += own.saturating_sub(self.own);
        }
        (self.start, self.own, self.reaped, self.rss) = (row.start, own, row.reaped, row.rss);
        (self.is_zombie, self.is_known) = (row.is_zombie, true);
        true
    }
}

fn tree(trees: &mut [Tree], key: u64) -> Option<&mut Tree> {
    let at = trees.binary_search_by_key(&key, |tree| tree.key).ok()?;
    trees.get_mut(at)
}

fn member(members: &[Member], pid: libc::pid_t) -> Option<&Member> {
    members.binary_search_by_key(&pid, |known| known.pid).ok().and_then(|at| members.get(at))
}

/// The time that a process has run, all its threads together, in nanoseconds. None of a number that is no process's.
fn cpu_time(pid: libc::pid_t) -> Option<u64> {
    /// CPUCLOCK_SCHED: what the scheduler has measured. clock_getcpuclockid(3) makes the same number, and asks the kernel
    /// once more whether it is good.
    const SCHEDULED: libc::clockid_t = 2;
    let time = clock_gettime(ClockId::from_raw((!pid << 3) | SCHEDULED)).ok()?;
    Some(u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX))
}

fn nanos(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000_000_000 / clock_ticks())
}

/// The last process number that was given out in our PID namespace (proc_loadavg(5)).
fn last_number() -> io::Result<libc::pid_t> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    text.split_ascii_whitespace()
        .next_back()
        .and_then(|number| number.parse().ok())
        .ok_or(io::ErrorKind::InvalidData.into())
}

/// The Pss of a process in bytes (proc_pid_smaps(5)).
fn proportional(pid: libc::pid_t) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::spec::Signal;
    use crate::sys::process::PidFd;
    use crate::sys::spawn::spawn;
    use crate::sys::testing::{LIMIT, end_of, shell, until_line, with_output};

    fn used(meter: &mut Meter, key: u64) -> Used {
        meter.measure().unwrap();
        meter.used().find(|(known, _)| *known == key).unwrap().1
    }

    #[track_caller]
    fn until(meter: &mut Meter, key: u64, holds: impl Fn(Used) -> bool) -> Used {
        let begun = Instant::now();
        loop {
            let seen = used(meter, key);
            if holds(seen) {
                return seen;
            }
            assert!(begun.elapsed() < LIMIT, "{seen:?}");
            std::thread::yield_now();
        }
    }

    fn end(process: &Process) {
        for row in ProcTable::read().unwrap().members(process) {
            PidFd::open(row.pid).unwrap().signal(Signal::KILL).unwrap();
        }
        end_of(process);
    }

    #[test]
    fn the_clock_of_a_process_is_its_own_and_nobody_has_none() {
        let own = nix::unistd::getpid().as_raw();
        let begun = cpu_time(own).unwrap();
        let busy = Instant::now();
        // A machine that has others to serve gives it less than the time that passes.
        while cpu_time(own).unwrap() < begun + 10_000_000 {
            assert!(busy.elapsed() < LIMIT);
        }
        // No number is as high as this one (proc_sys_kernel(5): pid_max).
        assert_eq!(cpu_time(1 << 26), None);
    }

    #[test]
    fn what_a_tree_makes_after_it_was_watched_is_found_by_its_number() {
        let (launch, mut output) =
            with_output(shell("echo up; read line < /dev/zero & sleep 1000 & setsid sleep 1000 & echo all; wait"));
        let process = Arc::new(spawn(&launch).unwrap());
        drop(launch);
        let mut meter = Meter::default();
        meter.watch(7, Arc::clone(&process));
        used(&mut meter, 7);
        meter.whole_is_due = false;
        until_line(&mut output, "all");
        let seen = until(&mut meter, 7, |used| used.processes >= 3 && used.cpu > Duration::ZERO);
        assert!(seen.memory > 0, "{seen:?}");
        end(&process);
        assert_eq!(until(&mut meter, 7, |used| used.processes == 0).memory, 0);
        meter.forget(7);
        assert!(meter.is_empty() && meter.members.is_empty());
    }

    #[test]
    fn what_was_there_before_the_watch_is_found_and_its_past_is_not_counted() {
        let (launch, mut output) =
            with_output(shell("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 1000 & echo up; wait"));
        let process = Arc::new(spawn(&launch).unwrap());
        drop(launch);
        until_line(&mut output, "up");
        let mut meter = Meter { cursor: last_number().ok(), ..Meter::default() };
        meter.watch(1, Arc::clone(&process));
        let seen = used(&mut meter, 1);
        assert_eq!(seen.processes, 2);
        assert!(seen.cpu < Duration::from_millis(30), "{seen:?}");
        assert!(meter.proportional(1).unwrap() > 0);
        assert_eq!(meter.proportional(2), None);
        end(&process);
    }

    #[test]
    fn what_children_used_that_had_ended_before_the_watch_is_not_counted() {
        let (launch, mut output) =
            with_output(shell("(i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done); echo done; sleep 1000; :"));
        let process = Arc::new(spawn(&launch).unwrap());
        drop(launch);
        until_line(&mut output, "done");
        let mut meter = Meter::default();
        meter.watch(1, Arc::clone(&process));
        let seen = used(&mut meter, 1);
        assert!(seen.cpu < Duration::from_millis(30), "{seen:?}");
        end(&process);
    }

    #[test]
    fn time_of_children_that_have_ended_counts() {
        let (launch, mut output) =
            with_output(shell("read go; (i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done); echo done; sleep 1000"));
        let (reader, writer) = io::pipe().unwrap();
        let launch = crate::sys::spawn::Launch { stdin: reader.into(), ..launch };
        let process = Arc::new(spawn(&launch).unwrap());
        drop(launch);
        let mut meter = Meter::default();
        meter.watch(1, Arc::clone(&process));
        used(&mut meter, 1);
        io::Write::write_all(&mut &writer, b"go\n").unwrap();
        until_line(&mut output, "done");
        let seen = used(&mut meter, 1);
        assert!(seen.cpu > Duration::from_millis(50), "{seen:?}");
        end(&process);
    }
}
