//! Configurations in JavaScript: evaluated by `node` in a process of its own, within limits, to JSON.
//!
//! What the file means comes back over a socket that is the process's standard input, so nothing that the file prints
//! can be taken for it. The process shares our terminal's group: Ctrl-C ends both.
#![expect(clippy::disallowed_methods, reason = "a program is run, and its time is limited")]

use std::ffi::OsStr;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Deserialize;

use crate::config::MAX_FILE;
use crate::config::node::Span;
use crate::config::problem::{Problem, shown};

/// How long a file may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// How long `node` may take to leave once it has answered.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// What `node` runs.
const EVALUATE: &str = include_str!("evaluate.cjs");

/// What a file means.
#[derive(Debug)]
pub(crate) struct Evaluated {
    /// As JSON, one value a line.
    pub(crate) text: String,
    /// What JSON cannot carry.
    pub(crate) warnings: Vec<Problem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
struct Answer {
    values: Option<String>,
    #[serde(default)]
    lost: Vec<Lost>,
    error: Option<Thrown>,
}

#[derive(Deserialize)]
struct Lost {
    path: String,
    kind: String,
}

#[derive(Deserialize)]
struct Thrown {
    message: String,
    frames: Vec<String>,
    line: Option<usize>,
    column: Option<usize>,
}

/// Evaluates `path`, whose text is cited where it fails.
///
/// # Errors
///
/// The one problem of the file or of running it.
pub(crate) fn evaluate(node: &OsStr, path: &Path, text: &str, limit: Duration) -> Result<Evaluated, Box<Problem>> {
    let line = run(node, path, limit).map_err(|trouble| Box::new(trouble.to_problem(limit)))?;
    let answer: Answer = serde_json::from_slice(&line).map_err(|_| Box::new(Trouble::Silent.to_problem(limit)))?;
    match (answer.error, answer.values) {
        (Some(thrown), _) => Err(Box::new(thrown.to_problem(text))),
        (None, Some(text)) => Ok(Evaluated { text, warnings: answer.lost.iter().map(Lost::to_problem).collect() }),
        (None, None) => Err(Box::new(Trouble::Silent.to_problem(limit))),
    }
}

/// Why there is no answer.
#[derive(Debug)]
enum Trouble {
    Io(io::Error),
    TooLong,
    TooMuch,
    Silent,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Io(error)
    }
}

fn run(node: &OsStr, path: &Path, limit: Duration) -> Result<Vec<u8>, Trouble> {
    let deadline = Instant::now() + limit;
    let (ours, theirs) = UnixStream::pair()?;
    // Whoever reads standard input in there finds its end.
    ours.shutdown(Shutdown::Write)?;
    ours.set_nonblocking(true)?;
    let talk = io::stderr().as_fd().try_clone_to_owned()?;
    let child = Command::new(node)
        .args(["--input-type=commonjs", "-e", EVALUATE])
        .arg(path)
        .current_dir(path.parent().unwrap_or(Path::new("/")))
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::from(talk))
        .stderr(Stdio::inherit())
        .spawn()?;
    let child = Running(child);
    let answer = read_line(&ours, deadline)?;
    // Its own `exit` handlers may run; then it has no more to say.
    let _ = read_line(&ours, Instant::now() + LEAVE_LIMIT);
    drop(child);
    Ok(answer)
}

/// Killed by its handle, and reaped, however the evaluation ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An error says that it has ended already; the wait is as short as the kernel's tidying up.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Up to the first newline or the end.
fn read_line(mut from: &UnixStream, deadline: Instant) -> Result<Vec<u8>, Trouble> {
    let (mut line, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX)) {
            Ok(0) => return Err(Trouble::TooLong),
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(Trouble::Io(errno.into())),
        }
        let count = match from.read(&mut buffer) {
            Ok(0) if line.is_empty() => return Err(Trouble::Silent),
            Ok(0) => return Ok(line),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
        if let Some(end) = buffer[..count].iter().position(|byte| *byte == b'\n') {
            line.extend_from_slice(&buffer[..end]);
            return Ok(line);
        }
        line.extend_from_slice(&buffer[..count]);
        if line.len() > MAX_FILE {
            return Err(Trouble::TooMuch);
        }
    }
}

impl Trouble {
    fn to_problem(&self, limit: Duration) -> Problem {
        match self {
            Trouble::Io(error) => Problem::error(None, format!("`node` cannot be run: {error}"))
                .help("write the same keys as TOML, JSON or YAML, which need no `node`"),
            Trouble::TooLong => {
                Problem::error(None, format!("evaluating the file took longer than {} s", limit.as_secs_f32()))
                    .help("a configuration should compute values, and neither wait nor serve")
            }
            Trouble::TooMuch => Problem::error(None, format!("its values have more than {} MiB", MAX_FILE >> 20)),
            Trouble::Silent => Problem::error(None, "`node` ended before the file had given its values")
                .help("what `node` says about it is printed above; `node --version` must be 14 or later"),
        }
    }
}

impl Lost {
    fn to_problem(&self) -> Problem {
        let place = if self.path.is_empty() { "what it exports".to_owned() } else { format!("`{}`", self.path) };
        Problem::warning(None, format!("{place} is a {} and is left out", shown(&self.kind)))
            .help("a configuration holds texts, numbers, booleans, lists and tables")
    }
}

impl Thrown {
    fn to_problem(&self, text: &str) -> Problem {
        let span = self.line.and_then(|line| place(text, line, self.column.unwrap_or(1)));
        let problem = Problem::error(span, shown_long(&self.message)).label("here");
        let problem = match self.is_wrong_module() {
            Some(help) => problem.help(help),
            // One frame is the place itself.
            None if self.frames.len() < 2 => problem,
            None => problem.help(self.frames.iter().map(|frame| shown_long(frame)).collect::<Vec<_>>().join("\n")),
        };
        if span.is_none() { Problem { label: String::new(), ..problem } } else { problem }
    }

    /// The two systems of modules: the most frequent reason why a file does not load, and one that `node` explains at
    /// length elsewhere.
    fn is_wrong_module(&self) -> Option<&'static str> {
        let says = |words: &str| self.message.contains(words);
        if says("Unexpected token 'export'") || says("Cannot use import statement outside a module") {
            Some("it is written as an ES module: let its name end in `.config.mjs`")
        } else if says("module is not defined in ES module scope") || says("require is not defined in ES module scope")
        {
            Some("it is written as CommonJS: let its name end in `.config.cjs`")
        } else {
            None
        }
    }
}

/// As [`shown`], but with room for a message of `node` and its paths.
fn shown_long(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match clean.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

/// The word at a line and column, both counted from 1 (columns in UTF-16 units, which for this purpose are characters).
fn place(text: &str, line: usize, column: usize) -> Option<Span> {
    let start: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let rest = text.get(start..)?.lines().next()?;
    let skipped: usize = rest.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum();
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let behind = &rest[skipped..];
    let length = behind.find(|c| !is_word(c)).unwrap_or(behind.len());
    let length = if length == 0 { behind.chars().next().map_or(0, char::len_utf8) } else { length };
    Some(Span::new(start + skipped, start + skipped + length))
}

#[cfg(test)]
mod tests;
