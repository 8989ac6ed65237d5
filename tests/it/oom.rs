//! The kernel that kills for want of memory is told from somebody who sends SIGKILL.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Rsx, Watched, requires, skip};

/// A control group with little memory; removed when it is dropped.
struct Group(PathBuf);

impl Group {
    /// None where none can be made, with the reason printed.
    fn new(name: &str) -> Option<Group> {
        match Group::make(&format!("rsx-test-{}-{name}", std::process::id())) {
            Ok(group) => Some(group),
            Err(why) => {
                skip(&format!("no control group with a limit can be made here: {why}"));
                None
            }
        }
    }

    fn make(name: &str) -> Result<Group, String> {
        let said = |path: &Path| {
            let path = path.display().to_string();
            move |error: std::io::Error| format!("{path}: {error}")
        };
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let (root, limit) = match v1.join("memory.limit_in_bytes").exists() {
            true => (v1, "memory.limit_in_bytes"),
            false => (Path::new("/sys/fs/cgroup"), "memory.max"),
        };
        let group = root.join(name);
        fs::create_dir(&group).map_err(said(&group))?;
        let group = Group(group);
        let file = group.0.join(limit);
        fs::write(&file, "33554432").map_err(said(&file))?;
        for swap in ["memory.memsw.limit_in_bytes", "memory.swap.max"] {
            // Not every kernel counts swap.
            let _ = fs::write(group.0.join(swap), if swap.ends_with("max") { "0" } else { "33554432" });
        }
        Ok(group)
    }

    fn procs(&self) -> String {
        self.0.join("cgroup.procs").display().to_string()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group is empty a moment after its last process has ended.
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// Takes memory when it is told to.
const EATS: &str = "
import os, signal, sys, time
if len(sys.argv) > 1: open(sys.argv[1], 'w').write(str(os.getpid()))
def eat(*_):
    kept = []
    while True: kept.append(bytearray(os.urandom(1 << 20)))
signal.signal(signal.SIGUSR1, eat)
print('ready', flush=True)
while True: time.sleep(1000)
";

#[test]
fn a_kill_by_the_kernel_is_told_from_one_by_somebody() {
    if !requires("python3") {
        return;
    }
    let Some(group) = Group::new("a") else { return };
    let rsx = Rsx::new();
    rsx.write("eats.py", EATS);
    rsx.ok(&format!("start eats.py --kill-timeout 2s -- {}", group.procs()));
    let mut events = rsx.events();
    rsx.wait_for_text(&rsx.log("eats-out.log"), |text| text.contains("ready"));
    // Its group is looked up when it is measured first.
    while rsx.slot("eats", 0)["memory"] == 0 {}
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    let eater = Watched::new(rsx.pid("eats"));
    eater.kill("USR1");
    let told = events.wait_for("eats", "out_of_memory");
    assert_eq!(told.get("sure"), true);
    eater.ends();
    events.wait_for("eats", "online");
    let slot = rsx.slot("eats", 0);
    assert_eq!((&slot["last_exit"]["by"], &slot["restarts_by"]["out_of_memory"]), (&"out_of_memory".into(), &1.into()));
    rsx.ok("why eats").prints(&["SIGKILL: out of memory, killed by the kernel"]);
    // What the machine has counted by then is of the past.
    std::thread::sleep(std::time::Duration::from_secs(7));
    let killed = Watched::new(rsx.pid("eats"));
    killed.kill("KILL");
    events.wait_for("eats", "exited");
    events.wait_for("eats", "online");
    let exit = &rsx.slot("eats", 0)["last_exit"];
    assert_eq!((&exit["by"], &exit["reason"]), (&"itself".into(), &"SIGKILL".into()));
}
