//! What a daemon leaves with its guardian, so that a successor knows what is wanted.

use serde::{Deserialize, Serialize};

use crate::spec::{AppSpec, Env, Stamp};

/// The version of [`Kept`].
pub const KEPT_VERSION: u32 = 1;

/// The wanted state of a daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// [`KEPT_VERSION`] of the writer.
    pub version: u32,
    /// The environments that apps inherit, each once.
    pub environments: Vec<Env>,
    /// All apps.
    pub apps: Vec<KeptApp>,
}

/// One app of [`Kept`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptApp {
    /// What it is.
    pub spec: AppSpec,
    /// Which of the environments it inherits.
    pub environment: usize,
    /// The state of its script file when it was declared.
    #[serde(default)]
    pub stamp: Option<Stamp>,
    /// How many instances its owner declared, where `scale` has changed that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<u16>,
    /// Its slots.
    pub slots: Vec<KeptSlot>,
}

/// One slot of [`KeptApp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSlot {
    /// Its id.
    pub id: u32,
    /// The index within the app.
    pub instance: u16,
    /// Whether it is meant to run.
    pub up: bool,
}
