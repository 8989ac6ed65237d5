//! What the kernel has killed for want of memory: of the whole machine, and of one control group.
//!
//! Nobody tells whose end it was. The machine counts all of them in /proc/vmstat (proc_vmstat(5), `oom_kill`, since Linux
//! 4.13); a control group counts its own in `memory.events` (cgroup v2) or `memory.oom_control` (v1).

use std::io;
use std::path::{Path, PathBuf};

use crate::sys::process::Process;

/// How often the kernel has killed for want of memory since it was booted.
///
/// # Errors
///
/// No /proc, or a kernel that does not count.
pub fn kernel_kills() -> io::Result<u64> {
    counted(&std::fs::read_to_string("/proc/vmstat")?)
}

/// Where control groups are mounted.
#[derive(Clone, Debug)]
pub struct Mounts(String);

impl Mounts {
    /// As it is now.
    ///
    /// # Errors
    ///
    /// No /proc.
    pub fn read() -> io::Result<Mounts> {
        std::fs::read_to_string("/proc/self/mountinfo").map(Mounts)
    }
}

/// The control group whose memory a process takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// That of a process.
    ///
    /// # Errors
    ///
    /// It has ended, or there is no group that counts.
    pub fn of(process: &Process, mounts: &Mounts) -> io::Result<MemoryGroup> {
        let pid = process.own_pid().ok_or(io::ErrorKind::NotFound)?;
        MemoryGroup::read(&format!("/proc/{pid}/cgroup"), mounts)
    }

    /// That of this process.
    ///
    /// # Errors
    ///
    /// There is none that counts.
    pub fn own(mounts: &Mounts) -> io::Result<MemoryGroup> {
        MemoryGroup::read("/proc/self/cgroup", mounts)
    }

    fn read(path: &str, mounts: &Mounts) -> io::Result<MemoryGroup> {
        let file = locate(&std::fs::read_to_string(path)?, &mounts.0);
        file.map(MemoryGroup).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// How often the kernel has killed in it for want of memory.
    ///
    /// # Errors
    ///
    /// It is not there any more.
    pub fn kills(&self) -> io::Result<u64> {
        counted(&std::fs::read_to_string(&self.0)?)
    }
}

/// The number behind `oom_kill`.
fn counted(text: &str) -> io::Result<u64> {
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
    count.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// The file in which the group of these lines (cgroup(7), /proc/PID/cgroup) counts, by the mounts of /proc/self/mountinfo.
fn locate(groups: &str, mounts: &str) -> Option<PathBuf> {
    let group = |controllers: &dyn Fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (names, path) = (fields.next()?, fields.next()?);
            controllers(names).then_some(path)
        })
    };
    let is_memory = |names: &str| names.split(',').any(|name| name == "memory");
    let v1 = group(&is_memory).zip(mounted(mounts, "cgroup", is_memory));
    let v2 = group(&str::is_empty).zip(mounted(mounts, "cgroup2", |_| true));
    let (group, (root, at), file) = match (v1, v2) {
        (Some((group, mount)), _) => (group, mount, "memory.oom_control"),
        (None, Some((group, mount))) => (group, mount, "memory.events"),
        (None, None) => return None,
    };
    // In a container only a part of the tree may be mounted.
    let below = Path::new(group).strip_prefix(root).or_else(|_| Path::new(group).strip_prefix("/")).ok()?;
    Some(Path::new(at).join(below).join(file))
}

/// Root and place of the first file system of this kind whose options are as wanted (proc_pid_mountinfo(5)).
fn mounted<'a>(mounts: &'a str, kind: &str, is_it: impl Fn(&str) -> bool) -> Option<(&'a str, &'a str)> {
    mounts.lines().find_map(|line| {
        let (mount, of) = line.split_once(" - ")?;
        let mut of = of.split(' ');
        let mut mount = mount.split(' ').skip(3);
        let (root, at) = (mount.next()?, mount.next()?);
        let is_kind = of.next()? == kind;
        (is_kind && is_it(of.nth(1)?)).then_some((root, at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "31 23 0:28 / /sys/fs/cgroup rw shared:1 - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
36 31 0:33 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:40 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";

    #[test]
    fn the_group_that_has_the_memory_is_found() {
        let v1 = "8:pids:/\n4:memory:/app.slice/a\n0::/\n";
        let file = locate(v1, MOUNTS).unwrap();
        assert_eq!(file, Path::new("/sys/fs/cgroup/memory/app.slice/a/memory.oom_control"));
        let v2 = "42 32 0:38 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
        let file = locate("0::/user.slice/x.service\n", v2).unwrap();
        assert_eq!(file, Path::new("/sys/fs/cgroup/user.slice/x.service/memory.events"));
        let inside = "42 32 0:38 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup rw";
        let file = locate("0::/docker/1/app\n", inside).unwrap();
        assert_eq!(file, Path::new("/sys/fs/cgroup/app/memory.events"));
        assert_eq!(locate("0::/\n", "1 0 8:1 / / rw - ext4 /dev/vda rw"), None);
        assert_eq!(locate("", MOUNTS), None);
    }

    #[test]
    fn kills_are_counted_by_either_file() {
        assert_eq!(counted("low 0\noom 3\noom_kill 2\noom_group_kill 0\n").unwrap(), 2);
        assert_eq!(counted("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n").unwrap(), 7);
        assert!(counted("oom_kill_disable 0\n").is_err());
    }
}
