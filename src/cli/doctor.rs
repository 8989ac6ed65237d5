//! `doctor`: what this machine offers, what is missing, and what that costs. Works without a daemon.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde::Serialize;

use crate::cli::outside;
use crate::cli::render::units::printable;
use crate::cli::session::{Session, view};
use crate::cli::style::{Style, Tint};
use crate::error::{ExitCode, Failure};
use crate::proto::ViewDetail;
use crate::sys::{features, limits, peer, rights};

/// The oldest kernel that rsx is made for.
const KERNEL: (u32, u32) = (5, 14);

/// Fewer descriptors than this and a hundred apps are too many.
const NOFILE: u64 = 4096;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    /// What was found.
    found: String,
    /// What that costs, or what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<&'static str>,
}

/// What it means for rsx.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// It is as it should be.
    Ok,
    /// Something works less well.
    Missing,
    /// rsx does not work.
    Broken,
}

/// Runs `rsx doctor`: fails only if something is missing that rsx cannot do without.
pub(super) fn run(session: &mut Session) -> Result<ExitCode, Failure> {
    let mut checks = kernel();
    checks.extend(folders(session));
    checks.extend(machine(session));
    checks.extend(endpoint(session));
    let is_broken = checks.iter().any(|check| check.verdict == Verdict::Broken);
    if session.json {
        session.out.json(&checks)?;
    } else {
        let style = session.out.style();
        for check in &checks {
            session.out.data(text(check, style))?;
        }
        let missing = checks.iter().filter(|check| check.verdict == Verdict::Missing).count();
        session.out.line(match (is_broken, missing) {
            (true, _) => "rsx does not work here".to_owned(),
            (false, 0) => "all is there".to_owned(),
            (false, 1) => "rsx works here; 1 thing is missing".to_owned(),
            (false, count) => format!("rsx works here; {count} things are missing"),
        })?;
    }
    Ok(if is_broken { ExitCode::Failed } else { ExitCode::Done })
}

fn kernel() -> Vec<Check> {
    let release = features::kernel_release().unwrap_or_default();
    let kernel = match is_old(&release) {
        false => ok("kernel", release),
        true => missing("kernel", release, "rsx is made for Linux 5.14 and later"),
    };
    let needs = |name, tried: io::Result<()>, cost| match tried {
        Ok(()) => ok(name, "works".to_owned()),
        Err(error) => Check { name, verdict: Verdict::Broken, found: error.to_string(), cost: Some(cost) },
    };
    let wants = |name, tried: io::Result<String>, cost| match tried {
        Ok(found) => ok(name, found),
        Err(error) => missing(name, cause(&error), cost),
    };
    let works = |tried: io::Result<()>| tried.map(|()| "works".to_owned());
    vec![
        kernel,
        needs("pidfd", features::pidfd(), "processes cannot be followed safely"),
        needs("proc", std::fs::metadata("/proc/self/stat").map(drop), "mount /proc: trees of processes are read there"),
        needs("subreaper", features::subreaper(), "what apps leave behind cannot be ended"),
        wants("sock_diag", works(features::sock_diag()), "readiness is read from /proc/net, which is slower"),
        wants(
            "seccomp notify",
            works(features::seccomp_notify()),
            "cluster mode is refused; `exec_mode = \"fork\"` and `capture = \"off\"` go without",
        ),
        wants(
            "pidfd_getfd",
            works(features::pidfd_getfd()),
            "in cluster mode sockets of rsx's own take the place of a program's: options set before bind are lost, and a \
             drain waits for idle connections instead of ending them",
        ),
        wants(
            "process memory",
            works(features::memory_of_others()),
            "in cluster mode /proc/PID/mem is read instead; where that is refused, too, addresses are seen when a program \
             listens",
        ),
        looks(features::ptrace_scope(), rights::may_look_into_all()),
        privileges(rights::filter_needs_no_new_privs()),
        wants("reuseport bpf", works(features::reuseport_steering()), "in cluster mode connections cannot be steered"),
        wants(
            "connection tags",
            works(features::connection_tags()),
            "in cluster mode whose a connection is takes a look into each instance",
        ),
        wants(
            "pidfd thread",
            works(features::pidfd_thread()),
            "nothing in most programs: threads with a table of descriptors of their own cannot be looked into",
        ),
        wants(
            "cgroup v2",
            features::cgroup_delegation().map(|folder| folder.display().to_string()),
            "limits of memory and cpu for an app's tree need a delegated control group",
        ),
    ]
}

/// Whether programs may be looked into, and whose.
fn looks(scope: Option<u8>, has_right: bool) -> Check {
    const NAME: &str = "looking in";
    match (scope, has_right) {
        (Some(3), _) => missing(
            NAME,
            "nobody may (kernel.yama.ptrace_scope is 3)".to_owned(),
            "in cluster mode ports have to be declared: `capture = [3000]`",
        ),
        (_, true) => ok(NAME, "into all programs".to_owned()),
        (None | Some(0), false) => ok(NAME, "into programs of this user that are dumpable".to_owned()),
        (Some(1), false) => missing(
            NAME,
            "into children of the daemon alone (kernel.yama.ptrace_scope is 1)".to_owned(),
            "in cluster mode, after a restart of the daemon, programs of before are as in a container until `rsx reload`",
        ),
        (Some(_), false) => missing(
            NAME,
            "not without CAP_SYS_PTRACE (kernel.yama.ptrace_scope)".to_owned(),
            "in cluster mode ports have to be declared: `capture = [3000]`",
        ),
    }
}

/// What cluster mode takes from programs.
fn privileges(needs_no_new_privs: bool) -> Check {
    let found = match needs_no_new_privs {
        false => "cluster mode takes none from programs",
        true => "programs that need setuid, setgid or file capabilities are refused in cluster mode (no_new_privs)",
    };
    ok("privileges", found.to_owned())
}

/// An error and, where that is known, what is behind it.
fn cause(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => format!("{error}: forbidden here, as by the profile of a container"),
        Some(libc::ENOSYS) => format!("{error}: this kernel has it not, or a profile hides it"),
        Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP | libc::EINVAL) => format!("{error}: this kernel has it not"),
        _ => error.to_string(),
    }
}

fn folders(session: &Session) -> Vec<Check> {
    let home = match session.home() {
        Ok(home) => home,
        Err(failure) => {
            let found = failure.causes().join(", ");
            return vec![Check { name: "home", verdict: Verdict::Broken, found, cost: Some("set RSX_HOME") }];
        }
    };
    vec![folder("home", home.root(), 0o077), folder("runtime folder", home.runtime(), 0o022)]
}

/// A folder that the daemon uses; `forbidden` are the bits of its mode that others must not have.
fn folder(name: &'static str, path: &Path, forbidden: u32) -> Check {
    let broken = |found, cost| Check { name, verdict: Verdict::Broken, found, cost: Some(cost) };
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(found) if !found.is_dir() => broken(format!("{shown} is no folder"), "move it away"),
        Ok(found) if found.uid() != peer::own_uid() => {
            broken(format!("{shown} belongs to uid {}", found.uid()), "become that user, or set RSX_HOME")
        }
        Ok(found) if found.permissions().mode() & forbidden != 0 => {
            let mode = found.permissions().mode() & 0o7777;
            missing(name, format!("{shown} has mode {mode:04o}"), "others can reach it; the next daemon corrects that")
        }
        Ok(_) if nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_err() => {
            broken(format!("{shown} cannot be written to"), "set RSX_HOME to a folder that can")
        }
        Ok(_) => ok(name, shown.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => parent(name, path),
        Err(error) => broken(format!("{shown}: {error}"), "set RSX_HOME to a folder of your own"),
    }
}

/// A folder that is not there yet: can it be made?
fn parent(name: &'static str, path: &Path) -> Check {
    let shown = path.display();
    let nearest = path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    match nix::unistd::access(nearest, nix::unistd::AccessFlags::W_OK) {
        Ok(()) => ok(name, format!("{shown}, made by the first start")),
        Err(_) => Check {
            name,
            verdict: Verdict::Broken,
            found: format!("{shown} cannot be made: {} cannot be written to", nearest.display()),
            cost: Some("set RSX_HOME to a folder of your own"),
        },
    }
}

fn machine(session: &Session) -> Vec<Check> {
    let files = match limits::nofile() {
        Ok(limit) if limit.hard < NOFILE => {
            let found = format!("at most {}", limit.hard);
            missing("open files", found, "an instance takes about 6: raise the hard limit (ulimit -Hn)")
        }
        Ok(limit) => ok("open files", format!("{}, at most {}", limit.soft, limit.hard)),
        Err(error) => missing("open files", error.to_string(), "the limit is unknown"),
    };
    let path = session.environment().find(|(name, _)| name == "PATH").map(|(_, value)| value).unwrap_or_default();
    let find =
        |program: &str| std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| is_executable(file));
    let program = |name: &'static str, cost| match find(name) {
        Some(path) => ok(name, path.display().to_string()),
        None => missing(name, "not on PATH".to_owned(), cost),
    };
    let shell = match find("bash").or_else(|| find("sh")) {
        Some(path) => ok("shell", path.display().to_string()),
        None => missing("shell", "neither bash nor sh on PATH".to_owned(), "command lines cannot be started"),
    };
    let daemon = match session.daemon() {
        Ok(Some(client)) if client.daemon().version != env!("CARGO_PKG_VERSION") => {
            let found = format!("runs, of version {}", client.daemon().version);
            missing("daemon", found, "this rsx is of another version; `rsx kill` and start again")
        }
        Ok(Some(_)) => ok("daemon", "runs".to_owned()),
        Ok(None) => ok("daemon", "does not run; `rsx start` starts it".to_owned()),
        Err(failure) => {
            let found = std::iter::once(failure.message()).chain(failure.causes().iter().map(String::as_str));
            let found = found.collect::<Vec<_>>().join(": ");
            Check { name: "daemon", verdict: Verdict::Broken, found, cost: Some("its log is `daemon.log` in RSX_HOME") }
        }
    };
    vec![files, shell, program("node", "apps in JavaScript, and ecosystem.config.js, need it"), daemon]
}

/// Whether metrics are served where `config.toml` says; nothing where it says nothing.
fn endpoint(session: &Session) -> Option<Check> {
    const NAME: &str = "metrics";
    let wanted = match outside::own_config(session) {
        Ok(own) => own.metrics?.socket.address,
        Err(failure) => {
            return Some(missing(NAME, failure.message().to_owned(), "`rsx check` of this file shows what is wrong"));
        }
    };
    let mut client = match session.daemon() {
        Ok(Some(client)) => client,
        Ok(None) | Err(_) => return Some(ok(NAME, format!("{wanted}, when a daemon runs"))),
    };
    let daemon = view(&mut client, ViewDetail::Brief).ok()?.daemon;
    Some(match daemon.metrics {
        Some(address) => ok(NAME, address),
        None => missing(NAME, format!("{wanted} is not served"), "`rsx ls` says why"),
    })
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

/// Whether a release is older than [`KERNEL`]; what cannot be read is taken for new.
fn is_old(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < KERNEL,
        (_, _) => false,
    }
}

fn ok(name: &'static str, found: String) -> Check {
    Check { name, verdict: Verdict::Ok, found, cost: None }
}

fn missing(name: &'static str, found: String, cost: &'static str) -> Check {
    Check { name, verdict: Verdict::Missing, found, cost: Some(cost) }
}

fn text(check: &Check, style: Style) -> String {
    let (tint, word) = match check.verdict {
        Verdict::Ok => (Tint::Green, "ok     "),
        Verdict::Missing => (Tint::Yellow, "missing"),
        Verdict::Broken => (Tint::Red, "broken "),
    };
    let mut text = format!("{}  {:<15} {}\n", style.paint(tint, word), check.name, printable(&check.found));
    if let Some(cost) = check.cost {
        text.push_str(&format!("{:25}{cost}\n", ""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_known_by_its_release() {
        for (release, old) in [("5.10.0-9", true), ("5.14.0", false), ("6.1", false), ("4.19", true), ("odd", false)] {
            assert_eq!(is_old(release), old, "{release}");
        }
    }

    #[test]
    fn a_folder_that_others_can_read_is_named_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let check = folder("home", dir.path(), 0o077);
        assert_eq!(check.verdict, Verdict::Missing);
        assert!(check.found.ends_with("has mode 0755"), "{check:?}");
        assert_eq!(folder("home", &dir.path().join("a/b"), 0o077).verdict, Verdict::Ok);
        std::fs::write(dir.path().join("f"), "").unwrap();
        assert_eq!(folder("home", &dir.path().join("f"), 0o077).verdict, Verdict::Broken);
    }

    #[test]
    fn what_may_be_looked_into_follows_from_yama_and_rights() {
        for (scope, has_right, verdict, word) in [
            (None, false, Verdict::Ok, "this user"),
            (Some(0), true, Verdict::Ok, "all"),
            (Some(1), true, Verdict::Ok, "all"),
            (Some(1), false, Verdict::Missing, "children"),
            (Some(2), false, Verdict::Missing, "CAP_SYS_PTRACE"),
            (Some(3), true, Verdict::Missing, "nobody"),
        ] {
            let check = looks(scope, has_right);
            assert!(check.verdict == verdict && check.found.contains(word), "{scope:?} {has_right}: {check:?}");
        }
        assert!(cause(&io::Error::from_raw_os_error(libc::EPERM)).contains("container"));
    }

    #[test]
    fn what_is_missing_says_what_that_costs() {
        let shown = text(&missing("node", "not on PATH".into(), "apps in JavaScript need it"), Style::Plain);
        assert_eq!(
            shown,
            "missing  node            not on PATH\n                         apps in JavaScript need it\n"
        );
    }
}
