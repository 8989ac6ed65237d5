//! Connections: one task each. Who may talk, what a message may weigh, and what is answered to it.

mod shared;
mod stream;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::traits::StreamCommon as _;
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::daemon::convert;
use crate::daemon::report::{Report, Request};
use crate::daemon::store::{self, Found};
use crate::proto::{
    self, Applied, Call, DaemonAnswer, DaemonView, HelloAnswer, Incoming, Key, LineCodec, MAX_HELLO, MAX_MESSAGE,
    Outcome, PROTOCOL, Refusal, Saved, Updating, ViewCall, ViewDetail, read_call, speaks, write_notification,
    write_refusal, write_result,
};
use crate::supervisor::{self as core, Reply, RunId, SlotAnswer, Who};

pub(super) use shared::Shared;

/// How long a connection may be silent before its `hello`.
const HELLO_LIMIT: Duration = Duration::from_secs(5);

/// How long one write to a client may take; a client that does not read loses its connection.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// How long an answer waits for the last words of a run that failed.
const TAIL_LIMIT: Duration = Duration::from_millis(500);

/// How long a call waits for a new daemon to have taken over what the one before it left.
const BIRTH_LIMIT: Duration = Duration::from_secs(30);

/// Accept fails for want of descriptors: the pause before it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds the socket, mode 0600. The caller holds the daemon's lock, so what lies there is nobody's. It gets its name
/// when it listens: whoever finds it can connect.
pub(super) fn bind(path: &Path) -> io::Result<Listener> {
    let before = path.with_extension("new");
    match std::fs::remove_file(&before) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let name = before.as_path().to_fs_name::<GenericFilePath>()?;
    let listener = ListenerOptions::new().name(name).mode(0o600).reclaim_name(false).create_tokio()?;
    std::fs::rename(&before, path)?;
    Ok(listener)
}

/// Accepts for ever.
pub(super) async fn serve(listener: Listener, shared: Shared) {
    loop {
        match listener.accept().await {
            Ok(stream) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    if let Err(error) = Connection::new(stream, shared).run().await {
                        // A client that went away is no event worth more than this.
                        tracing::debug!("connection: {error}");
                    }
                });
            }
            Err(error) => {
                warn!("accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Connection {
    stream: Stream,
    shared: Shared,
    codec: LineCodec,
    uid: u32,
    verb: String,
}

impl Connection {
    fn new(stream: Stream, shared: Shared) -> Connection {
        Connection { stream, shared, codec: LineCodec::new(MAX_HELLO), uid: u32::MAX, verb: String::new() }
    }

    async fn run(mut self) -> io::Result<()> {
        let peer = self.stream.peer_creds()?.euid().unwrap_or(u32::MAX);
        if peer != self.shared.uid && peer != 0 {
            warn!("refused a connection of uid {peer}");
            return Ok(());
        }
        self.uid = peer;
        let Ok(hello) = tokio::time::timeout(HELLO_LIMIT, self.hello()).await else {
            return Ok(());
        };
        if !hello? {
            return Ok(());
        }
        self.codec.set_limit(MAX_MESSAGE);
        while let Some(line) = self.line().await? {
            match read_call(&line) {
                Ok(incoming) => {
                    let goes_on = self.answer(incoming).await;
                    self.shared.rest.disturb();
                    if !goes_on? {
                        break;
                    }
                }
                Err((id, refusal)) => self.write(&write_refusal(id, &refusal)).await?,
            }
        }
        Ok(())
    }

    /// The handshake; whether it succeeded.
    async fn hello(&mut self) -> io::Result<bool> {
        let Some(line) = self.line().await? else { return Ok(false) };
        let (id, refusal) = match read_call(&line) {
            Ok(Incoming { id, call: Call::Hello(hello), .. }) if speaks(hello.protocol) => {
                self.verb = hello.verb;
                let version = self.shared.daemon.version.clone();
                self.write(&write_result(id, &HelloAnswer { protocol: hello.protocol, version })).await?;
                return Ok(true);
            }
            Ok(Incoming { id, call: Call::Hello(hello), .. }) => {
                (id, Refusal::Protocol { daemon: PROTOCOL, client: hello.protocol })
            }
            Ok(incoming) => (incoming.id, Refusal::HelloFirst),
            Err(refused) => refused,
        };
        self.write(&write_refusal(id, &refusal)).await?;
        Ok(false)
    }

    /// The next message; `None` at its end, or after one that was too large has been refused.
    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = [0u8; 16 * 1024];
        loop {
            if let Some(line) = self.codec.next_line() {
                return Ok(Some(line));
            }
            let count = self.stream.read(&mut buffer).await?;
            if count == 0 {
                return Ok(None);
            }
            if let Err(proto::FrameError::TooLarge { limit }) = self.codec.push(&buffer[..count]) {
                let refusal = Refusal::TooLarge { limit: u64::try_from(limit).unwrap_or(u64::MAX) };
                self.write(&write_refusal(0, &refusal)).await?;
                return Ok(None);
            }
        }
    }

    /// Answers one call; whether the connection goes on.
    async fn answer(&mut self, Incoming { id, key, call }: Incoming) -> io::Result<bool> {
        if !matches!(call, Call::Hello(_) | Call::Ping) && !self.shared.is_born(BIRTH_LIMIT).await {
            let why = "the daemon is still taking over what the one before it left".into();
            self.write(&write_refusal(id, &Refusal::State { why })).await?;
            return Ok(true);
        }
        match call {
            Call::Hello(_) => {
                let refusal = Refusal::BadRequest { why: "`hello` comes once, first".into() };
                self.write(&write_refusal(id, &refusal)).await?;
            }
            Call::Ping => {
                let DaemonView { version, pid, guardian, .. } = self.shared.daemon();
                self.write(&write_result(id, &DaemonAnswer { version, pid, guardian })).await?;
            }
            Call::View(call) => self.view(id, call).await?,
            Call::Save => match self.shared.store.save().await {
                Ok(bytes) => self.write(&write_result(id, &Saved { path: self.shared.saved.clone(), bytes })).await?,
                Err(error) => {
                    let why = format!("cannot write {}: {error}", self.shared.saved.display());
                    self.write(&write_refusal(id, &Refusal::State { why })).await?;
                }
            },
            Call::Resurrect(call) => match store::read(&self.shared.saved) {
                Found::Unreadable(why) => self.write(&write_refusal(id, &Refusal::State { why })).await?,
                found @ (Found::Nothing | Found::State(..)) => {
                    let saved = match found {
                        Found::State(saved, _) => saved,
                        Found::Nothing | Found::Unreadable(_) => Vec::new(),
                    };
                    self.ask((id, key), core::Ask::Resurrect { saved, wait: convert::wait(call.no_wait) }).await?;
                }
            },
            Call::Events(call) => {
                self.events(id, call).await?;
                return Ok(false);
            }
            Call::Env(call) => {
                let answer = self.shared.environments(call).await;
                self.answered(id, answer).await?;
            }
            Call::Send(call) => {
                let answer = self.shared.send(key, call).await;
                self.answered(id, answer).await?;
            }
            Call::Flush(call) => {
                info!(uid = self.uid, verb = %self.verb, "flush");
                let answer = self.shared.flush(call).await;
                self.answered(id, answer).await?;
            }
            Call::Rotate(call) => {
                info!(uid = self.uid, verb = %self.verb, "rotate");
                let answer = self.shared.rotate(call).await;
                self.answered(id, answer).await?;
            }
            Call::ReloadLogs => {
                let answer = self.shared.reload_logs().await;
                self.answered(id, answer).await?;
            }
            Call::Past(call) => {
                let answer = Ok(self.shared.past(call));
                self.answered(id, answer).await?;
            }
            Call::History(call) => {
                let answer = self.shared.history(call).await;
                self.answered(id, answer).await?;
            }
            Call::Update(call) => {
                info!(uid = self.uid, verb = %self.verb, "update");
                let answer = self.shared.update(&call.binary).await;
                let answer = answer.map(|version| Updating { version }).map_err(|why| Refusal::Update { why });
                let goes = answer.is_ok();
                let written = self.answered(id, answer).await;
                if goes {
                    // Also when the client has gone: the guardian waits.
                    self.shared.hand_over(&call.binary);
                }
                written?;
            }
            Call::Apply(_)
            | Call::Start(_)
            | Call::Stop(_)
            | Call::Restart(_)
            | Call::Reload(_)
            | Call::AbortReload(_)
            | Call::Delete(_)
            | Call::Reset(_)
            | Call::Scale(_)
            | Call::Signal(_)
            | Call::Kill => {
                if let Some(why) = misdeclared(&call) {
                    self.write(&write_refusal(id, &Refusal::BadRequest { why })).await?;
                } else if let Some(ask) = convert::ask(call) {
                    self.ask((id, key), ask).await?;
                }
            }
        }
        Ok(true)
    }

    async fn answered<R: Serialize>(&mut self, id: u64, answer: Result<R, Refusal>) -> io::Result<()> {
        let bytes = match answer {
            Ok(result) => write_result(id, &result),
            Err(refusal) => write_refusal(id, &refusal),
        };
        self.write(&bytes).await
    }

    async fn view(&mut self, id: u64, call: ViewCall) -> io::Result<()> {
        if call.detail == ViewDetail::Full {
            // Who asks for the reason of an end gets its last words with it.
            let mut published = self.shared.published.clone();
            let worded = published.wait_for(|published| published.unworded == 0);
            // Without them in time the rest is shown.
            drop(tokio::time::timeout(TAIL_LIMIT, worded).await);
        }
        let view = self.shared.view(call.detail.into()).await;
        self.write(&write_result(id, &view)).await
    }

    async fn ask(&mut self, (id, key): (u64, Option<Key>), ask: core::Ask) -> io::Result<()> {
        let who = Arc::new(Who { uid: self.uid, verb: self.verb.clone() });
        let (answer, mut answered) = oneshot::channel();
        // Bounded by the steps of the slots this request names.
        let (progress, mut steps) = mpsc::unbounded_channel();
        let request = Request { who, ask, key, answer, progress: Some(progress) };
        // An engine that has ended cannot answer. The connection ends, and the client asks the next daemon, if one comes.
        if self.shared.reports.send(Report::Asked(Box::new(request))).is_err() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let reply = loop {
            tokio::select! {
                biased;
                step = steps.recv() => match step {
                    Some(step) => {
                        let mut bytes = write_notification("progress", &step);
                        while let Ok(step) = steps.try_recv() {
                            bytes.extend(write_notification("progress", &step));
                        }
                        self.write(&bytes).await?;
                    }
                    None => break (&mut answered).await,
                },
                reply = &mut answered => break reply,
            }
        };
        match reply {
            Ok(answered) => {
                let bytes = self.reply(id, (answered.reply, answered.remarks), &answered.epoch).await;
                self.write(&bytes).await?;
                // The engine waits for this before it leaves.
                drop(answered.written);
                Ok(())
            }
            Err(_) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    async fn reply(
        &self,
        id: u64,
        (reply, remarks): (Reply, HashMap<RunId, Vec<String>>),
        epoch: &crate::daemon::clock::Clock,
    ) -> Vec<u8> {
        match reply {
            Reply::Applied { plan, results } => {
                let plan = convert::plan(plan, |time| epoch.epoch_millis(time));
                write_result(id, &Applied { plan, results: self.results(results, remarks).await })
            }
            Reply::Outcome(results) => write_result(id, &Outcome { results: self.results(results, remarks).await }),
            Reply::Refused(refusal) => write_refusal(id, &convert::refusal(refusal)),
        }
    }

    async fn results(
        &self,
        results: Vec<core::SlotResult>,
        mut remarks: HashMap<RunId, Vec<String>>,
    ) -> Vec<proto::SlotResult> {
        let stopped = |result: &core::SlotResult| result.answer == SlotAnswer::Done(core::State::Stopped);
        if results.iter().any(stopped) {
            // Who is told that something has stopped finds its last words in the file.
            self.shared.pump.settle(TAIL_LIMIT).await;
        }
        let mut out = Vec::with_capacity(results.len());
        for result in results {
            let words = match &result.answer {
                SlotAnswer::Failed { run: Some(run), .. } => {
                    (self.shared.pump.tail(*run, TAIL_LIMIT).await, remarks.remove(run).unwrap_or_default())
                }
                SlotAnswer::Failed { run: None, .. }
                | SlotAnswer::Done(_)
                | SlotAnswer::Pending(_)
                | SlotAnswer::Superseded => (Vec::new(), Vec::new()),
            };
            out.push(convert::result(result, words));
        }
        out
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match tokio::time::timeout(WRITE_LIMIT, self.stream.write_all(bytes)).await {
            Ok(written) => written,
            Err(_) => {
                info!("a client did not read for {} s, its connection is closed", WRITE_LIMIT.as_secs());
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }
}

/// What is wrong with the specs of a call, for clients that do not come through a config file.
fn misdeclared(call: &Call) -> Option<String> {
    let Call::Apply(apply) = call else { return None };
    apply.apps.iter().find_map(|app| app.spec.problem().map(|problem| format!("app `{}`: {problem}", app.spec.name)))
}
