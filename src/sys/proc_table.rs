//! One pass over /proc: every process, its place in the tree, and what it uses (proc_pid_stat(5)).
//!
//! A table is a picture of one moment. Its numbers are never signalled; `tree` opens a pidfd and looks again.

use std::ffi::CStr;
use std::io::{self, Write};
use std::os::fd::AsFd;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::sys::process::Process;

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) pid: libc::pid_t,
    pub(super) parent: libc::pid_t,
    pub(super) session: libc::pid_t,
    /// In ticks since boot; with the pid, it names one process for ever.
    pub(super) start: u64,
    /// Whether it has ended and only waits to be reaped.
    pub(super) is_zombie: bool,
    /// User and system time, in ticks.
    pub(super) cpu: u64,
    /// User and system time of the children that it has waited for, and of theirs, in ticks.
    pub(super) reaped: u64,
    /// Resident, in pages.
    pub(super) rss: u64,
}

/// All processes of one moment.
#[derive(Debug)]
pub struct ProcTable {
    /// By pid.
    rows: Vec<Row>,
    /// Indexes into `rows`, by session.
    by_session: Vec<usize>,
    /// Indexes into `rows`, by parent.
    by_parent: Vec<usize>,
}

impl ProcTable {
    /// Reads it. Processes that end meanwhile or may not be read are left out.
    ///
    /// # Errors
    ///
    /// A machine without /proc, or no descriptor left.
    pub fn read() -> io::Result<ProcTable> {
        let mut stat = StatReader::new()?;
        let mut rows = Vec::with_capacity(256);
        for pid in pids()? {
            rows.extend(stat.read(pid));
        }
        Ok(ProcTable::of(rows))
    }

    /// Indexes these rows.
    pub(super) fn of(mut rows: Vec<Row>) -> ProcTable {
        rows.sort_unstable_by_key(|row| row.pid);
        let sorted_by = |key: fn(&Row) -> libc::pid_t| {
            let mut keyed: Vec<(libc::pid_t, usize)> = rows.iter().map(key).zip(0..).collect();
            keyed.sort_unstable();
            keyed.into_iter().map(|(_, index)| index).collect()
        };
        let (by_session, by_parent) = (sorted_by(|row| row.session), sorted_by(|row| row.parent));
        ProcTable { rows, by_session, by_parent }
    }

    /// Everything that belongs to a run by session or by descent, itself included.
    pub(super) fn members(&self, process: &Process) -> Vec<Row> {
        let Some(pid) = process.own_pid() else { return Vec::new() };
        let roots: Vec<Row> = self.find(&self.by_session, pid, |row| row.session).collect();
        self.with_descendants(roots)
    }

    /// Everything below a process, itself not included.
    pub(super) fn below(&self, pid: libc::pid_t) -> Vec<Row> {
        self.with_descendants(self.children(pid).collect())
    }

    /// These and everything below them, each once.
    pub(super) fn with_descendants(&self, mut found: Vec<Row>) -> Vec<Row> {
        let mut seen: std::collections::HashSet<libc::pid_t> = found.iter().map(|row| row.pid).collect();
        let mut next = 0;
        while let Some(row) = found.get(next) {
            next += 1;
            let children: Vec<Row> = self.children(row.pid).filter(|child| seen.insert(child.pid)).collect();
            found.extend(children);
        }
        found
    }

    /// The children of a process.
    pub(super) fn children(&self, pid: libc::pid_t) -> impl Iterator<Item = Row> + '_ {
        self.find(&self.by_parent, pid, |row| row.parent)
    }

    /// The rows of one session.
    pub(super) fn session(&self, session: libc::pid_t) -> impl Iterator<Item = Row> + '_ {
        self.find(&self.by_session, session, |row| row.session)
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = Row> + '_ {
        self.rows.iter().copied()
    }

    fn find<'a>(
        &'a self,
        index: &'a [usize],
        value: libc::pid_t,
        key: fn(&Row) -> libc::pid_t,
    ) -> impl Iterator<Item = Row> + 'a {
        let key_at = move |at: &usize| self.rows.get(*at).map(key);
        let start = index.partition_point(|at| key_at(at) < Some(value));
        let rest = index.get(start..).unwrap_or_default();
        rest.iter().filter_map(|at| self.rows.get(*at)).take_while(move |row| key(row) == value).copied()
    }
}

/// The numbers of all processes.
pub(super) fn pids() -> io::Result<impl Iterator<Item = libc::pid_t>> {
    let entries = std::fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// Reads /proc/PID/stat again and again with one buffer.
pub(super) struct StatReader {
    proc: std::fs::File,
    buffer: [u8; 1024],
}

impl StatReader {
    /// # Errors
    ///
    /// No descriptor left, or a /proc whose numbers are those of another PID namespace (pid_namespaces(7)): as our own
    /// they would mean strangers.
    pub(super) fn new() -> io::Result<StatReader> {
        let own = std::fs::read_link("/proc/self")?;
        if own.to_str().and_then(|pid| pid.parse().ok()) != Some(nix::unistd::getpid().as_raw()) {
            return Err(io::Error::other("/proc is that of another PID namespace"));
        }
        Ok(StatReader { proc: std::fs::File::open("/proc")?, buffer: [0; 1024] })
    }

    /// One process; none if it is gone.
    pub(super) fn read(&mut self, pid: libc::pid_t) -> Option<Row> {
        let mut name = [0; 32];
        write!(&mut name[..], "{pid}/stat").ok()?;
        let name = CStr::from_bytes_until_nul(&name).ok()?;
        let file = openat(self.proc.as_fd(), name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
        let length = nix::unistd::read(&file, &mut self.buffer).ok()?;
        parse(self.buffer.get(..length)?)
    }
}

/// One line of /proc/PID/stat. The name in it may contain anything, so what counts is the last bracket.
fn parse(line: &[u8]) -> Option<Row> {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let open = line.iter().position(|byte| *byte == b'(')?;
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let pid = text(line.get(..open)?)?.trim().parse().ok()?;
    // Field n of the manual page is number n - 3 here.
    let fields: Vec<&str> = text(line.get(close + 1..)?)?.split_ascii_whitespace().take(22).collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let pid_of = |field: usize| fields.get(field - 3)?.parse::<libc::pid_t>().ok();
    Some(Row {
        pid,
        parent: pid_of(4)?,
        session: pid_of(6)?,
        start: number(22)?,
        is_zombie: matches!(fields.first(), Some(&("Z" | "X"))),
        cpu: number(14)?.saturating_add(number(15)?),
        reaped: number(16)?.saturating_add(number(17)?),
        rss: number(24)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::spawn::spawn;
    use crate::sys::testing::{end_of, shell, until_line, with_output};

    #[test]
    fn a_name_with_brackets_and_spaces_is_no_trouble() {
        let line = b"77 (a) S 1 (b) R 5 77 77 0 -1 4194560 1 0 0 0 12 30 3 4 20 0 1 0 900 4096 25 18446744073709551615";
        let row = parse(line).unwrap();
        let expected =
            Row { pid: 77, parent: 5, session: 77, start: 900, is_zombie: false, cpu: 42, reaped: 7, rss: 25 };
        assert_eq!(row, expected);
        assert_eq!(parse(b"77 (a"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn a_tree_is_a_session_and_what_left_it() {
        let (launch, mut output) = with_output(shell("sleep 1000 & setsid sleep 1000 & echo up; wait"));
        let process = spawn(&launch).unwrap();
        drop(launch);
        until_line(&mut output, "up");
        // Forked is not yet executed, but it is a process.
        let table = ProcTable::read().unwrap();
        let members = table.members(&process);
        assert_eq!(members.len(), 3, "{members:?}");
        assert!(members.iter().any(|row| row.rss > 0));
        for row in table.below(process.own_pid().unwrap()) {
            crate::sys::process::PidFd::open(row.pid).unwrap().signal(crate::spec::Signal::KILL).unwrap();
        }
        end_of(&process);
        assert!(table.members(&process).is_empty());
    }
}
