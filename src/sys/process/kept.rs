//! Processes of which nothing is left but a descriptor and a number.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::sys::moment::Moment;
use crate::sys::poller::readable_within;
use crate::sys::proc_table::StatReader;

/// When the process of this pidfd and number started, to 10 ms; none if it has ended.
///
/// # Errors
///
/// A machine without /proc, or whatever poll(2) says.
pub fn born(pidfd: &OwnedFd, pid: u32) -> io::Result<Option<Moment>> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let row = StatReader::new()?.read(pid);
    // As long as it lives its number is its own: asked last, so that what was read before is of this process.
    let has_ended = readable_within(pidfd, Duration::ZERO)?;
    Ok(row.filter(|_| !has_ended).map(|row| Moment::of_ticks(row.start, Moment::now())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Signal;
    use crate::sys::process::Process;
    use crate::sys::spawn::spawn;
    use crate::sys::testing::{end_of, shell, until_line, with_output};

    #[test]
    fn the_birth_of_who_lives_is_known_by_his_number() {
        let before = Moment::now();
        let (launch, mut output) = with_output(shell("echo up; exec sleep 1000"));
        let process = spawn(&launch).unwrap();
        until_line(&mut output, "up");
        let pidfd = process.try_clone_pidfd().unwrap();
        let found = born(&pidfd, process.display_pid()).unwrap().unwrap();
        // A tick of the clock is 10 ms.
        for (found, before, now) in [
            (found.boot, before.boot, Moment::now().boot),
            (found.monotonic, before.monotonic, Moment::now().monotonic),
        ] {
            assert!((before.saturating_sub(20)..=now).contains(&found), "{before} {found} {now}");
        }
        let adopted = Process::adopt(process.display_pid(), found, Some(pidfd.try_clone().unwrap())).unwrap().unwrap();
        assert!(adopted.trace().unwrap().start.is_some());
        process.signal(Signal::KILL).unwrap();
        end_of(&process);
        assert_eq!(born(&pidfd, process.display_pid()).unwrap(), None);
    }
}
