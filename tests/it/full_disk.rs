//! A full disk under the journal and under what is kept: the old state stays whole, and everybody is told.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

use crate::harness::{Rsx, requires, skip};

const APPS: &str = "[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\n\
     [[apps]]\nname = \"b\"\nscript = \"sleep 1000\"\ninstances = 20\nexec_mode = \"fork\"\n";

/// A home whose two folders are small disks of their own, seen by this thread and its children only. None, with the reason
/// printed, where one may not mount.
fn small(kib: u32) -> Option<Rsx> {
    let rsx = alone()?;
    for disk in disks(&rsx) {
        fs::create_dir(&disk).unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("size={kib}k,mode=0700"), "small", disk.to_str().unwrap()]);
    }
    Some(rsx)
}

/// A home of a thread that sees mounts of its own, and its children with it. None, with the reason printed, where one may
/// not mount.
pub(crate) fn alone() -> Option<Rsx> {
    if !requires("mount") {
        return None;
    }
    if !nix::unistd::getuid().is_root() {
        skip("only root can mount a disk");
        return None;
    }
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(&["--make-rprivate", "/"]);
    Some(Rsx::new())
}

/// A disk of this size at this folder, as a file in the scratch folder. False, with the reason printed, where it cannot be.
pub(crate) fn mount_ext4(rsx: &Rsx, folder: &Path, mib: u64) -> bool {
    if !requires("mkfs.ext4") {
        return false;
    }
    if !Path::new("/dev/loop-control").exists() {
        skip("there are no loop devices");
        return false;
    }
    let image = rsx.scratch().join("disk");
    File::create(&image).unwrap().set_len(mib << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::create_dir_all(folder).unwrap();
    mount(&["-o", "loop", image.to_str().unwrap(), folder.to_str().unwrap()]);
    true
}

fn mount(words: &[&str]) {
    let done = Command::new("mount").args(words).output().unwrap();
    assert!(done.status.success(), "mount {words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// `RSX_HOME`, and where the journal is.
fn disks(rsx: &Rsx) -> [PathBuf; 2] {
    let home = rsx.home();
    [home.with_file_name("r"), home]
}

/// Writes until nothing more fits.
pub(crate) fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("ballast");
    let mut file = File::create(&path).unwrap();
    for piece in [4096, 1] {
        while file.write_all(&vec![b'x'; piece]).is_ok() {}
    }
    path
}

/// What `ls` says about the daemon itself.
fn notices(rsx: &Rsx) -> String {
    rsx.ok("ls").err
}

fn kept(rsx: &Rsx, name: &str) -> Vec<String> {
    let kept: Value = serde_json::from_slice(&fs::read(rsx.home().join(name)).unwrap()).unwrap();
    let text = kept.to_string();
    ["a", "b", "c"]
        .into_iter()
        .filter(|name| text.contains(&format!("\"name\":\"{name}\"")))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_full_disk_costs_no_run_and_no_state_and_is_told() {
    let Some(rsx) = small(4096) else { return };
    rsx.ecosystem(APPS);
    rsx.ok("start ecosystem.toml");
    rsx.ok("save");
    let a = rsx.pid("a");
    let ballast = disks(&rsx).map(|disk| fill(&disk));

    // What is asked for is done, although it cannot be kept; nothing that was kept is harmed.
    rsx.ok("start 'sleep 1000' --name c --min-uptime 100");
    let said = notices(&rsx);
    assert!(said.contains("wanted.json") && said.contains("No space left"), "{said}");
    rsx.fails(1, "save").says(&["saved.json", "No space left"]);
    assert_eq!(kept(&rsx, "saved.json"), ["a", "b"]);
    assert_eq!(kept(&rsx, "wanted.json"), ["a", "b"]);
    // More is written down than was set aside for it.
    for _ in 0..50 {
        rsx.ok("restart b");
        if notices(&rsx).contains("journal") {
            break;
        }
    }
    let said = notices(&rsx);
    assert!(said.contains("journal"), "{said}");

    // A successor finds everything that runs.
    let (b, c) = (rsx.pid("b"), rsx.pid("c"));
    rsx.daemon().0.kill("KILL");
    assert_eq!((rsx.pid("a"), rsx.pid("b"), rsx.pid("c")), (a, b, c));
    assert_eq!(rsx.processes().len(), 22, "{:?}", rsx.processes());

    // There is room again: nobody has to do anything.
    for path in ballast {
        fs::remove_file(path).unwrap();
    }
    rsx.wait_for_text(&rsx.home().join("wanted.json"), |text| text.contains("\"c\""));
    rsx.ok("restart c");
    rsx.ok("save");
    assert_eq!(kept(&rsx, "saved.json"), ["a", "b", "c"]);
    let said = notices(&rsx);
    assert!(!said.contains("No space left"), "{said}");
}
