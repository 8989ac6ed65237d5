//! Answers to calls that no goal changes for: environments, input, log files, past events. Each is found in the published
//! view and handed to whoever holds it; the core is not asked.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::daemon::publish::PublishedApp;
use crate::daemon::pump::Archives;
use crate::daemon::report::Report;
use crate::daemon::server::Shared;
use crate::daemon::{convert, launch, redact};
use crate::proto::{
    Answer, EnvCall, Environments, FlushCall, InstanceEnv, Key, LogFiles, MAX_INPUT, Outcome, Past, PastCall, Refusal,
    RotateCall, SendCall, SlotResult, SlotView, Target,
};
use crate::spec::LogDriver;
use crate::supervisor::{Definition, RunId, SlotId};

/// How long the log thread may take to empty or open all files.
const LOGS_LIMIT: Duration = Duration::from_secs(10);

/// How long files of variables may take to be read.
const ENV_LIMIT: Duration = Duration::from_secs(5);

/// How long the engine may take for what it does at once.
const INPUT_LIMIT: Duration = Duration::from_secs(5);

impl Shared {
    /// What instances are started with.
    pub(super) async fn environments(&self, call: EnvCall) -> Result<Environments, Refusal> {
        let published = self.published.borrow().clone();
        let found = published.find(&convert::targets(call.targets)).map_err(convert::refusal)?;
        let meant: Vec<_> =
            found.into_iter().map(|(app, slot)| (Arc::clone(&app.definition), slot.id, slot.instance)).collect();
        // Files of variables are read as they are now, by somebody who may wait for them.
        let reading = tokio::task::spawn_blocking(move || {
            let read = |(definition, id, instance): &(Arc<Definition>, u32, u16)| {
                one_env(definition, *id, *instance, call.show)
            };
            meant.iter().map(read).collect::<Result<Vec<_>, Refusal>>()
        });
        match tokio::time::timeout(ENV_LIMIT, reading).await {
            Ok(Ok(instances)) => instances.map(|instances| Environments { instances }),
            Ok(Err(_)) | Err(_) => {
                let why = format!("a file of variables could not be read within {} s", ENV_LIMIT.as_secs());
                Err(Refusal::State { why })
            }
        }
    }

    /// Writes a line to the standard input of instances.
    pub(super) async fn send(&self, key: Option<Key>, call: SendCall) -> Result<Outcome, Refusal> {
        let mut bytes = call.line.into_bytes();
        bytes.push(b'\n');
        if bytes.len() > MAX_INPUT {
            let why = format!("a line has at most {} bytes, this one has {}", MAX_INPUT - 1, bytes.len() - 1);
            return Err(Refusal::BadRequest { why });
        }
        let published = self.published.borrow().clone();
        let found = published.find(&convert::targets(call.targets)).map_err(convert::refusal)?;
        let runs = found.iter().map(|(_, slot)| RunId(slot.run)).collect();
        let (written, outcome) = oneshot::channel();
        if self.reports.send(Report::Input { key, runs, bytes, written }).is_err() {
            return Err(Refusal::Leaving);
        }
        let outcome = match tokio::time::timeout(INPUT_LIMIT, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => return Err(Refusal::Leaving),
        };
        let results = found.into_iter().zip(outcome).map(|((app, slot), outcome)| SlotResult {
            id: slot.id,
            name: app.definition.spec.name.clone(),
            instance: slot.instance,
            answer: match outcome {
                Ok(()) => Answer::Done { state: slot.state },
                Err(reason) => Answer::Failed { reason, stderr: Vec::new(), remarks: Vec::new(), next: None },
            },
        });
        Ok(Outcome { results: results.collect() })
    }

    /// Empties the log files of instances.
    pub(super) async fn flush(&self, call: FlushCall) -> Result<LogFiles, Refusal> {
        let archives = if call.keep_archives { Archives::Stay } else { Archives::Go };
        let (piped, direct) = self.log_files(call.targets)?;
        let mut files = self.pump.flush(piped, archives, LOGS_LIMIT).await.ok_or_else(too_slow)?;
        files.extend(self.pump.direct().flush(direct, LOGS_LIMIT).await.ok_or_else(too_slow)?);
        files.sort();
        Ok(LogFiles { files })
    }

    /// Puts the log files of instances away as archives.
    pub(super) async fn rotate(&self, call: RotateCall) -> Result<LogFiles, Refusal> {
        let (paths, direct) = self.log_files(call.targets)?;
        if let Some(path) = direct.first() {
            let why = format!(
                "{} is written by its program (`log_driver = \"file\"`): rotating it is not in this version yet",
                path.display()
            );
            return Err(Refusal::State { why });
        }
        let files = self.pump.rotate(paths, LOGS_LIMIT).await.ok_or_else(too_slow)?;
        Ok(LogFiles { files })
    }

    /// Those that rsx writes, and those that programs write themselves.
    fn log_files(&self, targets: Vec<Target>) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Refusal> {
        let published = self.published.borrow().clone();
        let found = published.find(&convert::targets(targets)).map_err(convert::refusal)?;
        Ok(by_driver(&found))
    }

    /// Opens all log files anew.
    pub(super) async fn reload_logs(&self) -> Result<LogFiles, Refusal> {
        let files = self.pump.reopen(LOGS_LIMIT).await.ok_or_else(too_slow)?;
        Ok(LogFiles { files })
    }

    /// The last events.
    pub(super) fn past(&self, call: PastCall) -> Past {
        let history = usize::try_from(call.history).unwrap_or(usize::MAX);
        Past { events: self.events.past(history).iter().map(|event| (**event).clone()).collect() }
    }
}

fn one_env(definition: &Definition, id: u32, instance: u16, show: bool) -> Result<InstanceEnv, Refusal> {
    let variables = launch::environment(definition, SlotId(id), instance, &launch::Ways::default())
        .map_err(|error| Refusal::State { why: error.to_string() })?;
    let text = |text: OsString| text.to_string_lossy().into_owned();
    let env = variables.into_iter().map(|(name, value)| (text(name), text(value))).collect();
    let env = if show { env } else { redact::env(&env) };
    Ok(InstanceEnv { id, name: definition.spec.name.clone(), instance, env })
}

/// The log files of instances: those that rsx writes, and those that programs write themselves.
fn by_driver(found: &[(&PublishedApp, &SlotView)]) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let of = |driver: LogDriver| {
        let apps = found.iter().filter(|(app, _)| app.definition.spec.logs.style.driver == driver);
        let paths: BTreeSet<PathBuf> = apps.flat_map(|(_, slot)| files(slot)).collect();
        paths.into_iter().collect()
    };
    (of(LogDriver::Pipe), of(LogDriver::File))
}

fn files(slot: &SlotView) -> impl Iterator<Item = PathBuf> {
    [slot.out_file.clone(), slot.error_file.clone(), slot.combined_file.clone()].into_iter().flatten()
}

/// The log thread waits for a disk.
fn too_slow() -> Refusal {
    Refusal::State { why: format!("the log files did not take it within {} s", LOGS_LIMIT.as_secs()) }
}
