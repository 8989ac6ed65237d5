//! Calls, their answers, and refusals.

use std::num::NonZeroU16;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::proto::care::{EnvCall, FlushCall, PastCall, RotateCall, ScaleCall, SendCall, SignalCall};
use crate::proto::history::HistoryCall;
use crate::proto::stream::EventsCall;
use crate::proto::view::{Remaining, State};
use crate::spec::{AppSpec, Changes, Env, Stamp, Strategy};

/// Everything a client can ask. The wire's `method` is the variant's name in snake case.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// The first message of every connection.
    Hello(Hello),
    /// Is somebody there.
    Ping,
    /// Make these apps run as declared; answered with [`Applied`].
    Apply(Box<Apply>),
    /// Start what is stopped; answered with [`Outcome`].
    Start(Act),
    /// Stop; answered with [`Outcome`].
    Stop(Act),
    /// Stop and start, also what is stopped; answered with [`Outcome`].
    Restart(Act),
    /// Replace what runs without a gap, where it shares ports, and restart the rest; answered with [`Outcome`].
    Reload(Act),
    /// End reloads that are under way: what has not been replaced for good is taken back; answered with [`Outcome`].
    AbortReload(Act),
    /// Stop and forget; answered with [`Outcome`].
    Delete(Act),
    /// Forget restarts and quick exits; answered with [`Outcome`].
    Reset(Act),
    /// Change the number of instances; answered with [`Applied`].
    Scale(ScaleCall),
    /// Send a signal; answered with [`Outcome`].
    Signal(SignalCall),
    /// Write a line to standard input; answered with [`Outcome`].
    Send(SendCall),
    /// The environment of instances; answered with [`Environments`](crate::proto::Environments).
    Env(EnvCall),
    /// Empty log files; answered with [`LogFiles`](crate::proto::LogFiles).
    Flush(FlushCall),
    /// Puts log files away as archives. The answer is [`crate::proto::LogFiles`].
    Rotate(RotateCall),
    /// Open all log files anew, for who has moved them; answered with [`LogFiles`](crate::proto::LogFiles).
    ReloadLogs,
    /// Past events; answered with [`Past`](crate::proto::Past).
    Past(PastCall),
    /// What was measured over time; answered with [`History`](crate::proto::History).
    History(HistoryCall),
    /// The published view; answered with [`View`](crate::proto::View).
    View(ViewCall),
    /// The stream of changes: an empty answer, then `event` notifications without end.
    Events(EventsCall),
    /// Keep a copy of what is wanted; answered with [`Saved`].
    Save,
    /// Start what an earlier daemon ran, and what was saved; answered with [`Outcome`].
    Resurrect(ResurrectCall),
    /// Stop all apps, answer with [`Outcome`], then leave.
    Kill,
    /// Hand over to another binary; answered with [`Updating`].
    Update(UpdateCall),
}

impl Call {
    /// Whether it changes something. Such a call carries a [`Key`](crate::proto::Key), so that it is carried out once even if it is sent twice.
    pub fn is_change(&self) -> bool {
        match self {
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
            | Call::Send(_)
            | Call::Flush(_)
            | Call::Rotate(_)
            | Call::ReloadLogs
            | Call::Save
            | Call::Resurrect(_)
            | Call::Kill
            | Call::Update(_) => true,
            Call::Hello(_)
            | Call::Ping
            | Call::Env(_)
            | Call::Past(_)
            | Call::History(_)
            | Call::View(_)
            | Call::Events(_) => false,
        }
    }
}

/// The first message of every connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The client's [`crate::proto::PROTOCOL`].
    pub protocol: u32,
    /// The client's release, for people.
    pub version: String,
    /// The verb that the user typed, for `events`.
    #[serde(default)]
    pub verb: String,
}

/// The answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloAnswer {
    /// The daemon's protocol.
    pub protocol: u32,
    /// The daemon's release.
    pub version: String,
}

/// The answer to `ping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonAnswer {
    /// The daemon's release.
    pub version: String,
    /// The daemon's pid.
    pub pid: u32,
    /// The guardian's pid.
    pub guardian: u32,
}

/// Make these apps run as declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Apply {
    /// The apps, names unique within their namespaces.
    pub apps: Vec<StartApp>,
    /// The environment of the calling shell, already without what is never inherited.
    pub inherited: Env,
    /// What happens to apps that are as declared and run.
    #[serde(default)]
    pub unchanged: Unchanged,
    /// Answer with the plan, change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Delete apps of the same file that it no longer declares.
    #[serde(default)]
    pub prune: bool,
    /// Take over names that another file or folder owns.
    #[serde(default)]
    pub force: bool,
    /// Existing apps take the caller's environment, too.
    #[serde(default)]
    pub update_env: bool,
    /// How many instances are started or restarted at a time; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<NonZeroU16>,
    /// In which order what is reloaded is replaced; none: as its app says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Answer when the plan is accepted, not when the apps are ready.
    #[serde(default)]
    pub no_wait: bool,
}

/// One app of an [`Apply`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartApp {
    /// What it is.
    pub spec: AppSpec,
    /// The state of its script file, where it has one; a difference counts as a change.
    #[serde(default)]
    pub stamp: Option<Stamp>,
}

/// What happens to apps that are as declared and run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unchanged {
    /// They are left alone.
    #[default]
    Leave,
    /// They are restarted.
    Restart,
    /// They are replaced without a gap, where they share ports.
    Reload,
}

/// An action on what targets name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// What is meant; every one must match something.
    pub targets: Vec<Target>,
    /// The caller's environment, where `--update-env` asks for it.
    #[serde(default)]
    pub update_env: Option<Env>,
    /// New values for their apps, used from the next launch on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Box<Changes>>,
    /// How many instances are asked at a time; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<NonZeroU16>,
    /// In which order a reload replaces them; none: as the app says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Answer at once.
    #[serde(default)]
    pub no_wait: bool,
}

/// What a user can point at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// `all`, `/regex/` over names, a name, a namespace or an id, tried in this order.
    Word(String),
    /// The apps of a config file: those declared in it by `names`, by the file's own account.
    File {
        /// The file, absolute.
        path: PathBuf,
        /// The names it declares.
        names: Vec<String>,
    },
    /// The apps that execute this script, absolute.
    Script(PathBuf),
}

/// The answer to [`Apply`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// What was (or would be) done, app by app.
    pub plan: Vec<PlanStep>,
    /// How it went; empty for a dry run.
    pub results: Vec<SlotResult>,
}

/// What is done to one app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanStep {
    /// The app.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What is done.
    pub action: PlanAction,
}

/// What is done to one app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PlanAction {
    /// It is new and starts.
    Create,
    /// It is new and only registered (`autostart = false`).
    Register,
    /// It was stopped and starts.
    Start,
    /// It differs and takes its new values.
    Change {
        /// What differs, by key.
        what: Vec<String>,
        /// Whether its processes are restarted for it.
        restart: bool,
    },
    /// Only the number of instances differs.
    Scale {
        /// How many there were.
        from: u16,
        /// How many there will be.
        to: u16,
    },
    /// It is as declared and is restarted because the verb says so.
    Restart,
    /// It is as declared, runs, and is left alone.
    Leave {
        /// Since when its oldest instance runs, in milliseconds of the epoch.
        since: Option<u64>,
    },
    /// Its file does not declare it any more; it stays.
    Keep,
    /// Its file does not declare it any more; it is deleted (`--prune`).
    Delete,
}

/// The answer to actions: one result an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// In the order of ids.
    pub results: Vec<SlotResult>,
}

/// How it went for one instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotResult {
    /// Its id.
    pub id: u32,
    /// Its app.
    pub name: String,
    /// Its index within the app.
    pub instance: u16,
    /// How it went.
    pub answer: Answer,
}

/// How it went for one instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// What was asked holds.
    Done {
        /// The state it is in.
        state: State,
    },
    /// It cannot hold (now).
    Failed {
        /// Why, as a sentence fragment.
        reason: String,
        /// The last lines of its standard error, where there are any.
        #[serde(default)]
        stderr: Vec<String>,
        /// What its owner should know of its ports.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        remarks: Vec<String>,
        /// What happens next by itself, if anything.
        #[serde(default)]
        next: Option<String>,
    },
    /// The time limit passed; it goes on.
    Pending {
        /// The state it is in.
        state: State,
    },
    /// Another request wanted something else meanwhile.
    Superseded,
}

/// A step towards the answer of a call still open (`progress` notification).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Its id.
    pub id: u32,
    /// Its app.
    pub name: String,
    /// Its index within the app.
    pub instance: u16,
    /// The state it reached.
    pub state: State,
    /// How many instances of this call have their answer.
    pub done: u32,
    /// Of how many.
    pub of: u32,
    /// What the process that it ends is still doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Remaining>,
}

/// Asks for the view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewCall {
    /// How much of it.
    #[serde(default)]
    pub detail: ViewDetail,
}

/// How much of the view is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewDetail {
    /// What a table shows.
    #[default]
    Brief,
    /// Specs, environments (redacted) and exit histories, too.
    Full,
}

/// Starts what an earlier daemon ran, and what was saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResurrectCall {
    /// Answer at once.
    #[serde(default)]
    pub no_wait: bool,
}

/// The answer to `save`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Hands over to another binary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateCall {
    /// The binary, absolute.
    pub binary: PathBuf,
}

/// The answer to [`UpdateCall`]: the binary has shown that it can take over, and this daemon leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updating {
    /// The binary's release.
    pub version: String,
}
