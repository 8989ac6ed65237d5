//! The agent's file, and how a Node program is made to load it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::spec::{ExecMode, Program};
use crate::supervisor::Definition;

/// What it is.
const TEXT: &str = include_str!("agent.cjs");

/// Options of Node under which a file that the program may not read would end it.
const RESTRICTED: [&str; 3] = ["--permission", "--experimental-permission", "--experimental-policy"];

/// The agent's file.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Preload {
    path: PathBuf,
}

impl Preload {
    /// The name has a hash of what is in it: another release has another file, and programs that run load theirs again for
    /// each of their threads.
    pub(in crate::daemon) fn new(folder: &Path) -> Preload {
        Preload { path: folder.join(format!("agent-{:016x}.cjs", fnv1a(TEXT.as_bytes()))) }
    }

    /// The path of the file, which is there: a program would not start without it.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(in crate::daemon) fn ready(&self) -> io::Result<&Path> {
        if std::fs::metadata(&self.path).is_ok_and(|file| file.len() == TEXT.len() as u64) {
            return Ok(&self.path);
        }
        let draft = self.path.with_extension("new");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o644).open(&draft)?;
        file.write_all(TEXT.as_bytes())?;
        std::fs::rename(&draft, &self.path)?;
        Ok(&self.path)
    }
}

/// What loads the agent into a program: NODE_OPTIONS, extended, and where it finds us. None for a program that would not
/// start with it.
pub(in crate::daemon) fn options(
    definition: &Definition,
    preload: &Path,
    socket: &Path,
    own: Option<&OsStr>,
) -> Option<[(OsString, OsString); 2]> {
    let interpreter_args = match &definition.spec.program {
        Program::Script { interpreter_args, .. } => interpreter_args.as_slice(),
        Program::Binary { args, .. } => args.as_slice(),
        Program::CommandLine { .. } | Program::Serve { .. } => &[],
    };
    let own = own.unwrap_or_default();
    let words = own.to_string_lossy();
    let is_restricted = |word: &str| RESTRICTED.iter().any(|option| word.split('=').next() == Some(option));
    if words.split_whitespace().chain(interpreter_args.iter().map(String::as_str)).any(is_restricted) {
        return None;
    }
    // Quoted as Node reads it; the agent finds it by this form and takes it out again.
    let mut value = b"--require=\"".to_vec();
    for byte in preload.as_os_str().as_bytes() {
        if matches!(byte, b'"' | b'\\') {
            value.push(b'\\');
        }
        value.push(*byte);
    }
    value.push(b'"');
    if !own.is_empty() {
        value.push(b' ');
        value.extend_from_slice(own.as_bytes());
    }
    let mode = match definition.spec.exec_mode {
        ExecMode::Fork => "fork:",
        ExecMode::Cluster => "cluster:",
    };
    let mut place = OsString::from(mode);
    place.push(socket);
    Some([("NODE_OPTIONS".into(), OsString::from_vec(value)), ("RSX_AGENT".into(), place)])
}

/// FNV-1a, 64 bit.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::spec::AppSpec;

    #[test]
    fn options_are_extended_and_left_alone_where_the_agent_could_not_be_read() {
        let mut spec = AppSpec::sample("a");
        spec.exec_mode = ExecMode::Cluster;
        let definition =
            |spec: &AppSpec| Definition { spec: spec.clone(), inherited: Arc::default(), stamp: None, declared: 1 };
        let of = |spec: &AppSpec, own: &str| {
            let path = Path::new("/run/a \"b/agent-1.cjs");
            options(&definition(spec), path, Path::new("/run/a/7"), Some(OsStr::new(own)))
        };
        let [(_, value), (_, place)] = of(&spec, "--max-old-space-size=64").unwrap();
        assert_eq!(value, "--require=\"/run/a \\\"b/agent-1.cjs\" --max-old-space-size=64");
        assert_eq!(place, "cluster:/run/a/7");
        assert!(of(&spec, "--permission --allow-fs-read=/srv").is_none());
        spec.program = Program::Script {
            script: "/srv/a.js".into(),
            interpreter: "node".into(),
            interpreter_args: vec!["--experimental-permission".into()],
            args: vec!["--permission".into()],
        };
        assert!(of(&spec, "").is_none());
    }

    #[test]
    fn the_file_is_there_whenever_it_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let preload = Preload::new(folder.path());
        for _ in 0..2 {
            let path = preload.ready().unwrap();
            assert_eq!(std::fs::read_to_string(path).unwrap(), TEXT);
            std::fs::remove_file(path).unwrap();
        }
    }
}
