//! Packages of a test project, installed once and kept between runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use crate::harness::{Watched, requires, skip, spawn};

/// How long `npm ci` may take, with nothing in its own cache.
const LIMIT: Duration = Duration::from_secs(120);

/// One installation at a time; those who wait find it done.
static INSTALLING: Mutex<()> = Mutex::new(());

/// The `node_modules` of a project with a lock file. None, with the reason told: npm cannot have them, and this is not CI.
pub(crate) fn packages(project: &Path) -> Option<PathBuf> {
    if !requires("node") || !requires("npm") {
        return None;
    }
    let _one = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let lock = fs::read(project.join("package-lock.json")).unwrap();
    // Another lock file is another folder, so what is kept is never out of date.
    let sum =
        lock.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("packages-{sum:016x}"));
    if !kept.join("node_modules").is_dir() {
        install(project, &kept)?;
    }
    Some(kept.join("node_modules"))
}

fn install(project: &Path, kept: &Path) -> Option<()> {
    let fresh = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for name in ["package.json", "package-lock.json"] {
        fs::copy(project.join(name), fresh.path().join(name)).unwrap();
    }
    // With the caller's environment: that is where npm learns of proxies and registries.
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(fresh.path());
    let mut child = spawn(npm.stdin(Stdio::null()).stdout(Stdio::null()));
    let is_in_time = Watched::new(child.id()).has_ended_within(LIMIT);
    if !is_in_time {
        child.kill().unwrap();
    }
    if !child.wait().unwrap().success() || !is_in_time {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "`npm ci` has failed, and this is CI");
        skip("`npm ci` has failed: is there a network?");
        return None;
    }
    // Another test process may have been faster, which is as good.
    if fs::rename(fresh.path(), kept).is_ok() {
        let _ = fresh.keep();
    }
    Some(())
}
