//! Why a program could not be started, as a user reads it.

use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::sys::spawn::Launch;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Arguments and environment were checked and laid out.
    Prepare,
    /// The pipes of its output were made.
    Pipe,
    /// The process was made.
    Clone,
    /// Its session was made.
    Session,
    /// Its limits were set.
    Limits,
    /// Its badness was set.
    OomScore,
    /// Its working directory was entered.
    Chdir,
    /// Its descriptors were put in place.
    Descriptors,
    /// Its calls of bind and listen were captured.
    Capture,
    /// The program was executed.
    Exec,
}

/// What is known beyond the error number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    None,
    /// The program's first line names an interpreter that is not there.
    MissingInterpreter(PathBuf),
    /// The program is there, but the loader that it was linked for is not.
    MissingLoader,
    /// The program has no execute permission.
    NotExecutable,
    /// The program is a folder.
    IsFolder,
}

/// Why a program could not be started.
#[derive(Debug)]
pub struct SpawnError {
    /// What was being done.
    pub step: Step,
    /// What it was done with, where that is a file.
    pub path: Option<PathBuf>,
    /// What is known beyond the error number.
    pub detail: Detail,
    /// The error. Part of the message, therefore not its `source`.
    pub source: io::Error,
}

impl SpawnError {
    /// An error of one step.
    pub fn new(step: Step, path: Option<PathBuf>, source: io::Error) -> SpawnError {
        SpawnError { step, path, detail: Detail::None, source }
    }

    /// What the child reported.
    pub(super) fn of_child(launch: &Launch, step: Step, errno: Errno) -> SpawnError {
        let path = match step {
            Step::Exec => Some(launch.program.clone()),
            Step::Chdir => Some(launch.cwd.clone()),
            Step::Prepare
            | Step::Pipe
            | Step::Clone
            | Step::Session
            | Step::Limits
            | Step::OomScore
            | Step::Descriptors
            | Step::Capture => None,
        };
        let detail = match step {
            Step::Exec => look_at(&launch.program, errno),
            Step::Prepare
            | Step::Pipe
            | Step::Clone
            | Step::Session
            | Step::Limits
            | Step::OomScore
            | Step::Chdir
            | Step::Descriptors
            | Step::Capture => Detail::None,
        };
        SpawnError { step, path, detail, source: errno.into() }
    }

    /// Whether the same attempt may succeed a moment later, without anybody changing anything about the app.
    pub fn is_transient(&self) -> bool {
        let number = self.source.raw_os_error().map(Errno::from_raw);
        matches!(number, Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE | Errno::ETXTBSY))
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.step.as_str())?;
        if let Some(path) = &self.path {
            write!(f, " {}", shown(path))?;
        }
        match &self.detail {
            Detail::None => write!(f, ": {}", Reason(&self.source)),
            Detail::MissingInterpreter(path) => {
                write!(f, ": the interpreter of its first line, {}, does not exist", shown(path))?;
                write!(f, "{}", Code(&self.source))
            }
            Detail::MissingLoader => {
                write!(f, ": the loader that it was linked for does not exist{}", Code(&self.source))
            }
            Detail::NotExecutable => write!(f, ": it is not executable{}", Code(&self.source)),
            Detail::IsFolder => write!(f, ": it is a folder{}", Code(&self.source)),
        }
    }
}

impl Error for SpawnError {}

impl Step {
    /// The word in front of the message.
    fn as_str(self) -> &'static str {
        match self {
            Step::Prepare => "prepare",
            Step::Pipe => "pipe",
            Step::Clone => "clone",
            Step::Session => "setsid",
            Step::Limits => "set limits",
            Step::OomScore => "set oom_score_adj",
            Step::Chdir => "chdir",
            Step::Descriptors => "set up descriptors",
            Step::Capture => "capture bind and listen",
            Step::Exec => "exec",
        }
    }
}

/// `No such file or directory (ENOENT)`.
struct Reason<'a>(&'a io::Error);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.raw_os_error().map(Errno::from_raw) {
            Some(errno) => write!(f, "{}{}", errno.desc(), Code(self.0)),
            None => write!(f, "{}", self.0),
        }
    }
}

/// ` (ENOENT)`.
struct Code<'a>(&'a io::Error);

impl fmt::Display for Code<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.raw_os_error().map(Errno::from_raw) {
            Some(Errno::UnknownErrno) => write!(f, " (error {})", self.0.raw_os_error().unwrap_or_default()),
            Some(errno) => write!(f, " ({errno:?})"),
            None => Ok(()),
        }
    }
}

/// A path with its invisible characters made visible: `/bin/sh\r` is what a file with Windows line ends asks for.
fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().flat_map(visible).collect()
}

fn visible(character: char) -> Vec<char> {
    if character.is_control() { character.escape_debug().collect() } else { vec![character] }
}

/// What execve(2) does not say: ENOENT and EACCES mean several things each.
fn look_at(program: &Path, errno: Errno) -> Detail {
    let Ok(metadata) = fs::metadata(program) else { return Detail::None };
    if metadata.is_dir() {
        return Detail::IsFolder;
    }
    match errno {
        Errno::EACCES if metadata.permissions().mode() & 0o111 == 0 => Detail::NotExecutable,
        Errno::ENOENT => match interpreter(program) {
            Some(path) if path.exists() => Detail::None,
            Some(path) => Detail::MissingInterpreter(path),
            None => Detail::MissingLoader,
        },
        _ => Detail::None,
    }
}

/// The interpreter that a script's first line names.
fn interpreter(program: &Path) -> Option<PathBuf> {
    let mut start = [0; 256];
    let count = File::open(program).and_then(|mut file| file.read(&mut start)).ok()?;
    let line = start.get(..count)?.strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?;
    let word = line.trim_ascii_start().split(|byte| matches!(byte, b' ' | b'\t')).next()?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(word)))
}
