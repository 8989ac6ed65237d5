//! Whose a process is by its environment, which it keeps wherever it goes.

use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// The most that is read of an environment; the kernel allows 6 MiB by default.
const MAX_ENVIRONMENT: u64 = 8 << 20;

/// How long a process may be in the middle of execve(2).
const EXECUTING: Duration = Duration::from_millis(20);

/// What the environment of a process says about whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Carried,
    Absent,
    /// It has ended, or is about to, and has no environment any more.
    Unknown,
}

/// Whether a process was executed with this assignment in its environment (proc_pid_environ(5)). One that may not be
/// looked into has not.
///
/// In the middle of execve(2) it has none, which is not the same as being executed without one: an orphan that is
/// looked at in just that moment must not be missed. That moment is over in far less than the time allowed here. And
/// when it ends while it is read, what was read is only a part. So what is not there is believed when it was not there
/// twice, and the process lived on in between.
pub(super) fn mark_of(pid: libc::pid_t, mark: &str) -> Mark {
    let deadline = Instant::now() + EXECUTING;
    let mut before: Option<Vec<u8>> = None;
    loop {
        let environment = match environment(pid) {
            Ok(environment) => environment,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Mark::Absent,
            Err(_) => return Mark::Unknown,
        };
        if environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()) {
            return Mark::Carried;
        }
        match stage_of(pid) {
            Ok(Executed::Yes) if before.as_ref() == Some(&environment) => return Mark::Absent,
            Ok(Executed::Yes) => before = Some(environment),
            Ok(Executed::NotYet) if Instant::now() <= deadline => before = None,
            Ok(Executed::NotYet | Executed::Ended) | Err(_) => return Mark::Unknown,
        }
        std::thread::yield_now();
    }
}

fn environment(pid: libc::pid_t) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/environ"))?.take(MAX_ENVIRONMENT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a process has a place for its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Executed {
    Yes,
    /// execve(2) is building it, or exit(2) has taken it away.
    NotYet,
    Ended,
}

/// See proc_pid_stat(5): `state` and `env_start`.
fn stage_of(pid: libc::pid_t) -> io::Result<Executed> {
    let stat = std::fs::read(format!("/proc/{pid}/stat"))?;
    let stat = String::from_utf8_lossy(&stat);
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut fields = fields.split_ascii_whitespace();
    Ok(match fields.next() {
        Some("Z" | "X") | None => Executed::Ended,
        // The third field of the manual page was the first one behind the bracket.
        Some(_) if fields.nth(50 - 4).is_some_and(|start| start != "0") => Executed::Yes,
        Some(_) => Executed::NotYet,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Signal;
    use crate::sys::proc_table::ProcTable;
    use crate::sys::spawn::spawn;
    use crate::sys::testing::{end_of, shell, until_line, with_output};

    #[test]
    fn an_environment_is_told_from_none() {
        let (mut launch, mut output) = with_output(shell("env -i sh -c 'echo up; exec sleep 1000' & wait"));
        launch.env.push(("RSX_ID".into(), "48".into()));
        let main = spawn(&launch).unwrap();
        until_line(&mut output, "up");
        let below = ProcTable::read().unwrap().below(main.own_pid().unwrap());
        assert_eq!(mark_of(main.own_pid().unwrap(), "RSX_ID=48"), Mark::Carried);
        assert_eq!(mark_of(below[0].pid, "RSX_ID=48"), Mark::Absent);
        assert_eq!(stage_of(main.own_pid().unwrap()).unwrap(), Executed::Yes);
        main.signal_group(Signal::KILL).unwrap();
        end_of(&main);
    }
}
