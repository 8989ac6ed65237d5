//! Programs that a captured run would take privileges from: an ordinary user's filter needs no_new_privs (seccomp(2)), and
//! under that the kernel ignores setuid and setgid bits and file capabilities (prctl(2)).
//!
//! They are refused before they start, because what they say by themselves ("permission denied") leads nowhere.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::keys::{self, Availability};
use crate::daemon::launch::{find_program, segments};
use crate::sys::rights;

/// Programs that gain privileges, or help others to.
const GAINERS: [&str; 6] = ["sudo", "su", "doas", "pkexec", "authbind", "runuser"];

/// Why a program needs more than it would have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}, which has no effect in cluster mode under an ordinary user (no_new_privs); {}", ways_out())]
pub(super) struct Loses {
    what: String,
}

/// Whether a program that is started like this loses something.
pub(super) fn check(program: &Path, argv: &[OsString], path_var: Option<&str>, cwd: &Path) -> Result<(), Loses> {
    if !rights::filter_needs_no_new_privs() {
        return Ok(());
    }
    for file in files(program, argv, path_var, cwd) {
        if let Some(what) = gains(&file) {
            return Err(Loses { what });
        }
    }
    Ok(())
}

/// What is executed as far as that can be known: the program, the interpreter of its first line, and what a command line
/// begins with.
fn files(program: &Path, argv: &[OsString], path_var: Option<&str>, cwd: &Path) -> Vec<PathBuf> {
    let mut files = vec![program.to_owned()];
    files.extend(first_line(program).and_then(|words| {
        // `#!/usr/bin/env node` is about node.
        let is_env = |word: &String| Path::new(word).file_name().is_some_and(|name| name == "env");
        let name = words.iter().find(|word| !is_env(word) && !word.starts_with('-'))?;
        find_program(name, path_var, cwd)
    }));
    let line = argv.get(1).filter(|word| *word == "-c").and_then(|_| argv.get(2)?.to_str());
    for segment in line.map(segments).unwrap_or_default() {
        files.extend(segment.first().and_then(|word| find_program(word, path_var, cwd)));
    }
    files
}

fn first_line(program: &Path) -> Option<Vec<String>> {
    let mut start = [0; 256];
    let count = File::open(program).and_then(|mut file| file.read(&mut start)).ok()?;
    let line = start.get(..count)?.strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(line).split_whitespace().map(str::to_owned).collect())
}

fn gains(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_string_lossy();
    if GAINERS.contains(&name.as_ref()) {
        return Some(format!("it is started by `{name}`"));
    }
    let found = std::fs::metadata(file).ok()?;
    let shown = file.display();
    match found.permissions().mode() {
        mode if mode & 0o4000 != 0 && !is_own(&found) => Some(format!("{shown} has the setuid bit")),
        // Without permission for the group it marks files for locking.
        mode if mode & 0o2010 == 0o2010 => Some(format!("{shown} has the setgid bit")),
        _ => rights::has_capabilities(file).then(|| format!("{shown} has file capabilities (setcap)")),
    }
}

/// It changes nothing.
fn is_own(found: &Metadata) -> bool {
    found.uid() == crate::sys::peer::own_uid()
}

/// What can be done, as far as this version can.
fn ways_out() -> String {
    let is_there = |key: &str| keys::find(key).is_some_and(|key| key.availability == Availability::Now);
    let mut ways = vec![
        "for ports below 1024 `sysctl net.ipv4.ip_unprivileged_port_start=80` instead".to_owned(),
        "`exec_mode = \"fork\"`".to_owned(),
    ];
    ways.extend(is_there("listen").then(|| "`listen`".to_owned()));
    ways.push(match is_there("user") {
        true => "rsx as root with `user = …`".to_owned(),
        false => "rsx as root".to_owned(),
    });
    format!("ways out: {}", ways.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_executed_is_found_behind_first_lines_and_command_lines() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("app");
        std::fs::write(&script, "#!/usr/bin/env -S sh -e\n").unwrap();
        let path = Some("/usr/bin:/bin");
        let sh = find_program("sh", path, Path::new("/")).unwrap();
        assert_eq!(files(&script, &["app".into()], path, Path::new("/")), [script.clone(), sh.clone()]);
        let argv: Vec<OsString> = ["bash", "-c", "A=1 exec sh -c x && env B=2 ls"].map(Into::into).into();
        let ls = find_program("ls", path, Path::new("/")).unwrap();
        assert_eq!(files(&sh, &argv, path, Path::new("/"))[1..], [sh, ls]);
    }

    #[test]
    fn bits_capabilities_and_names_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, mode: u32| {
            let path = folder.path().join(name);
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        assert_eq!(gains(&file("plain", 0o755)), None);
        assert!(gains(&file("sudo", 0o755)).unwrap().contains("`sudo`"));
        assert!(gains(&file("group", 0o2755)).unwrap().contains("setgid"));
        assert_eq!(gains(&file("locked", 0o2644)), None);
        let loses = Loses { what: "x has the setuid bit".into() };
        assert!(loses.to_string().contains("ip_unprivileged_port_start"), "{loses}");
    }
}
