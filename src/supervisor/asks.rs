//! What clients can ask of the core.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;

use crate::spec::{AppSpec, Changes, Env, Signal, Stamp, Strategy};
use crate::supervisor::Wanted;

/// What a client asks for.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Make these apps run as declared.
    Apply(Apply),
    /// Start what is stopped.
    Start(Act),
    /// Stop.
    Stop(Act),
    /// Stop and start, also what is stopped.
    Restart(Act),
    /// Replace what runs without a gap, where it shares ports; restart the rest.
    Reload(Act),
    /// End reloads that are under way: what has not been replaced for good is taken back.
    AbortReload(Act),
    /// Stop and forget.
    Delete(Act),
    /// Forget restarts and quick exits.
    Reset(Act),
    /// Change the number of instances.
    Scale(Scale),
    /// Send a signal to what runs.
    Signal {
        /// What is meant.
        targets: Vec<Target>,
        /// Which.
        signal: Signal,
    },
    /// Take over what another daemon kept running; only asked of an empty core.
    Restore(Vec<Wanted>),
    /// List what an earlier daemon ran, without starting it; only asked of an empty core.
    Register(Vec<Wanted>),
    /// Start what an earlier daemon ran, and what was saved: apps that are not there any more come back.
    Resurrect {
        /// What was saved.
        saved: Vec<Wanted>,
        /// When to answer.
        wait: Wait,
    },
    /// Stop everything, then [`Effect::Leave`](crate::supervisor::Effect::Leave).
    Shutdown,
}

/// See `proto::Apply`.
#[derive(Clone, Debug)]
pub struct Apply {
    /// The apps with their script stamps.
    pub apps: Vec<(AppSpec, Option<Stamp>)>,
    /// The caller's environment.
    pub inherited: Arc<Env>,
    /// What happens to apps that are as declared and run, and how those that differ are renewed.
    pub unchanged: Unchanged,
    /// Only the plan is wanted.
    pub dry_run: bool,
    /// Apps that the file no longer declares are deleted.
    pub prune: bool,
    /// Names of other owners are taken over.
    pub force: bool,
    /// Existing apps take the caller's environment.
    pub update_env: bool,
    /// How many slots are started or restarted at a time; none: all.
    pub parallel: Option<NonZeroU16>,
    /// In which order what is reloaded is replaced; none: as its app says.
    pub strategy: Option<Strategy>,
    /// When to answer.
    pub wait: Wait,
}

/// What happens to apps that are as declared and run. What differs is reloaded where that is possible, unless a restart
/// is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unchanged {
    /// They are left alone.
    Leave,
    /// They are restarted.
    Restart,
    /// They are reloaded.
    Reload,
}

/// An action on targets.
#[derive(Clone, Debug)]
pub struct Act {
    /// What is meant.
    pub targets: Vec<Target>,
    /// A new inherited environment for them.
    pub update_env: Option<Arc<Env>>,
    /// New values for their apps.
    pub changes: Option<Box<Changes>>,
    /// How many slots are asked at a time; none: all.
    pub parallel: Option<NonZeroU16>,
    /// In which order a reload replaces them; none: as the app says.
    pub strategy: Option<Strategy>,
    /// When to answer.
    pub wait: Wait,
}

/// Another number of instances.
#[derive(Clone, Debug)]
pub struct Scale {
    /// The apps.
    pub targets: Vec<Target>,
    /// How many.
    pub count: Count,
    /// When to answer.
    pub wait: Wait,
}

/// A number of instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// This many.
    To(u16),
    /// So many more or less than there are.
    By(i32),
}

/// When a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// When it holds or cannot hold any more.
    UntilDone,
    /// When it is accepted.
    No,
}

/// What a user points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `all`, `/regex/`, name, namespace or id, in this order.
    Word(String),
    /// The apps of these names that this file owns.
    File {
        /// The owner.
        path: PathBuf,
        /// The names.
        names: Vec<String>,
    },
    /// The apps that execute this script.
    Script(PathBuf),
}
