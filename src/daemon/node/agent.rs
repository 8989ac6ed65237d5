//! The agents in the programs of one run: told to drain, heard on how they are.
//!
//! They connect to a socket of the run's own, which the guardian keeps: when a daemon dies, they connect again, say the
//! same hello, and its successor tells them again what they are to do. So nothing of a connection has to be kept.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener as Plain;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::daemon::node::channel::send_now;
use crate::daemon::node::messages::{Hello, Sent, Told, is_interrupt_only};
use crate::daemon::notify::is_noted;
use crate::daemon::report::{Report, Saying};
use crate::daemon::said::Sayings;
use crate::proto::LineCodec;
use crate::supervisor::RunId;

/// How many programs of one run are heard at a time.
const PROGRAMS: usize = 16;

/// The longest line of an agent, in bytes.
const LINE: usize = 256 * 1024;

/// How a program is, each second.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tick {
    lag: f32,
    busy: f32,
    heap_used: u64,
    heap_total: u64,
    heap_limit: u64,
}

/// A socket for the agents of a run.
///
/// # Errors
///
/// A path that is too long, a folder that is not there, EMFILE.
pub(in crate::daemon) fn listen(folder: &Path, run: RunId) -> io::Result<(Plain, PathBuf)> {
    let path = folder.join(run.0.to_string());
    // What an earlier daemon left under this number.
    let _ = std::fs::remove_file(&path);
    let socket = Plain::bind(&path)?;
    socket.set_nonblocking(true)?;
    Ok((socket, path))
}

/// The agents of a run. Its socket goes with it, file and all.
pub(in crate::daemon) struct Agent {
    task: tokio::task::AbortHandle,
    path: PathBuf,
    socket: Arc<UnixListener>,
    programs: Programs,
}

/// Those that are connected, by what they are counted by.
type Programs = Arc<Mutex<Connected>>;

#[derive(Debug, Default)]
struct Connected {
    next: u64,
    is_draining: bool,
    writers: Vec<Program>,
}

#[derive(Debug)]
struct Program {
    id: u64,
    writer: OwnedWriteHalf,
    /// Whether it listens for messages, and has no other channel.
    hears: bool,
}

impl AsFd for Agent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Agent {
    /// Hears the agents of a run; none if that cannot be.
    pub(in crate::daemon) fn open(
        run: RunId,
        (socket, path): (Plain, PathBuf),
        sayings: Sayings,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Option<Agent> {
        let socket = match UnixListener::from_std(socket) {
            Ok(socket) => Arc::new(socket),
            Err(error) => {
                warn!(run = run.0, "cannot listen to its agents: {error}");
                return None;
            }
        };
        let programs = Programs::default();
        let ear = Ear { run, programs: Arc::clone(&programs), sayings, reports };
        let kept = Arc::clone(&socket);
        let task = tokio::spawn(async move { ear.accept(&kept).await });
        Some(Agent { task: task.abort_handle(), path, socket, programs })
    }

    /// Whether any program is there to be told something.
    pub(in crate::daemon) fn is_heard(&self) -> bool {
        !lock(&self.programs).writers.is_empty()
    }

    /// From now on its programs answer with `Connection: close`; also those that connect later.
    pub(in crate::daemon) fn drain(&self) {
        lock(&self.programs).is_draining = true;
        self.tell(b"{\"drain\":true}\n", |_| true);
    }

    /// Gives a message to those programs that have no channel, as `process.on('message')` gets it; whether any hears it.
    pub(in crate::daemon) fn say(&self, text: &str) -> bool {
        let line = serde_json::json!({ "message": text });
        self.tell(format!("{line}\n").as_bytes(), |program| program.hears)
    }

    fn tell(&self, line: &[u8], whom: impl Fn(&Program) -> bool) -> bool {
        let programs = lock(&self.programs);
        let wanted = programs.writers.iter().filter(|program| whom(program));
        wanted.filter(|program| send_now(program.writer.as_ref(), line).is_ok()).count() > 0
    }
}

#[derive(Clone)]
struct Ear {
    run: RunId,
    programs: Programs,
    sayings: Sayings,
    reports: mpsc::UnboundedSender<Report>,
}

impl Ear {
    async fn accept(self, socket: &UnixListener) {
        // Aborted with this one.
        let mut hearing = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = socket.accept() => match accepted {
                    Ok((stream, _)) if hearing.len() < PROGRAMS => drop(hearing.spawn(self.clone().hear(stream))),
                    // It tries again later.
                    Ok(_) => {}
                    Err(error) => return warn!(run = self.run.0, "its agents cannot connect: {error}"),
                },
                Some(_) = hearing.join_next() => {}
            }
        }
    }

    async fn hear(self, stream: UnixStream) {
        let (reader, writer) = stream.into_split();
        let id = {
            let mut programs = lock(&self.programs);
            programs.next += 1;
            let id = programs.next;
            if programs.is_draining {
                // It may have gone.
                let _ = send_now(writer.as_ref(), b"{\"drain\":true}\n");
            }
            programs.writers.push(Program { id, writer, hears: false });
            id
        };
        if let Err(error) = self.read(id, reader).await {
            debug!(run = self.run.0, "an agent: {error}");
        }
        lock(&self.programs).writers.retain(|program| program.id != id);
    }

    async fn read(&self, id: u64, mut reader: OwnedReadHalf) -> io::Result<()> {
        let mut codec = LineCodec::new(LINE);
        let mut is_ready = false;
        loop {
            reader.readable().await?;
            // The buffer is none of the task's own: most of the time it waits.
            let read = read_some(&mut reader);
            match read.await {
                Ok(bytes) if bytes.is_empty() => return Ok(()),
                Ok(bytes) => codec.push(&bytes).map_err(io::Error::other)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            while let Some(line) = codec.next_line() {
                match serde_json::from_slice::<Told>(&line) {
                    Ok(told) => self.take(id, told, &mut is_ready).await,
                    Err(error) => debug!(run = self.run.0, "an agent says what nobody understands: {error}"),
                }
            }
        }
    }

    async fn take(&self, id: u64, told: Told, is_ready: &mut bool) {
        let Told { hello, heeds, tick, sent } = told;
        let mut says_ready = false;
        let mut heeds = heeds;
        if let Some(Hello { version, heeds: at_first, ready }) = hello {
            let version: String = version.chars().take(40).collect();
            self.sayings.set_node(self.run, |node| node.version = version);
            says_ready = ready;
            heeds = Some(at_first);
        }
        if let Some(heeds) = heeds {
            if let Some(program) = lock(&self.programs).writers.iter_mut().find(|program| program.id == id) {
                program.hears = heeds.iter().any(|event| event == "message");
            }
            let interrupt_only = is_interrupt_only(&heeds);
            is_noted(self.run, Saying::Heeds { interrupt_only }, &self.reports).await;
        }
        if let Some(Tick { lag, busy, heap_used, heap_total, heap_limit }) = tick {
            self.sayings.set_node(self.run, |node| {
                (node.lag, node.busy) = (lag, busy);
                (node.heap_used, node.heap_total, node.heap_limit) = (heap_used, heap_total, heap_limit);
            });
        }
        match sent.as_ref().map(Sent::of) {
            Some(Sent::Ready) => says_ready = true,
            Some(Sent::Metrics(metrics)) => self.sayings.measure(self.run, metrics),
            Some(Sent::Handle | Sent::Other) | None => {}
        }
        if says_ready && !*is_ready {
            *is_ready = is_noted(self.run, Saying::Ready, &self.reports).await;
        }
    }
}

async fn read_some(reader: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096);
    reader.read_buf(&mut bytes).await?;
    Ok(bytes)
}

/// A panic elsewhere cannot leave it half changed.
fn lock(programs: &Programs) -> MutexGuard<'_, Connected> {
    programs.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream as Client;

    use super::*;

    #[test]
    fn agents_are_heard_and_told_to_drain_also_those_that_come_later() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let limit = crate::sys::testing::LIMIT;
        let test = async {
            let (reports, mut inbox) = mpsc::unbounded_channel();
            let sayings = Sayings::default();
            let (socket, path) = listen(folder.path(), RunId(3)).unwrap();
            let agent = Agent::open(RunId(3), (socket, path.clone()), sayings.clone(), reports).unwrap();
            let first = Client::connect(&path).unwrap();
            let lines = "{\"hello\":{\"pid\":1,\"version\":\"v20.1.0\",\"heeds\":[\"SIGINT\",\"message\"],\"ready\":false}}\n\
                nonsense\n{\"tick\":{\"lag\":2.5,\"heap_used\":7}}\n{\"sent\":\"ready\"}\n{\"sent\":\"ready\"}\n";
            (&first).write_all(lines.as_bytes()).unwrap();
            let mut said = Vec::new();
            for _ in 0..2 {
                let Some(Report::Said { run: RunId(3), what, .. }) = inbox.recv().await else { panic!("no report") };
                said.push(what);
            }
            assert_eq!(said, [Saying::Heeds { interrupt_only: true }, Saying::Ready]);
            let node = sayings.all().remove(&RunId(3)).unwrap().node.unwrap();
            assert_eq!((node.version.as_str(), node.lag, node.heap_used), ("v20.1.0", 2.5, 7));
            assert!(agent.is_heard());
            agent.drain();
            let second = Client::connect(&path).unwrap();
            while lock(&agent.programs).writers.len() < 2 {
                tokio::task::yield_now().await;
            }
            assert!(agent.say("shutdown"));
            let expected = ["{\"drain\":true}", "{\"message\":\"shutdown\"}"];
            for (client, expected) in [(&first, &expected[..]), (&second, &expected[..1])] {
                client.set_read_timeout(Some(limit)).unwrap();
                let heard: Vec<String> =
                    BufReader::new(client).lines().take(expected.len()).map(Result::unwrap).collect();
                assert_eq!(heard, expected);
            }
            drop((first, second));
            while agent.is_heard() {
                tokio::task::yield_now().await;
            }
            drop(agent);
            assert!(!path.exists());
        };
        runtime.block_on(async { tokio::time::timeout(limit, test).await.expect("in time") });
    }
}
