//! What a journal says of a reload: the second run of a slot, and how far it is.

use serde::{Deserialize, Serialize};

use crate::proto::{RunRecord, StageRecord};

/// The second run of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutRecord {
    /// It is wanted.
    Asked,
    /// It is ready, and waits for its siblings.
    Held(RunRecord),
    /// It has replaced the other one, which this is, and has to hold until this time.
    Baking {
        /// The old run.
        run: RunRecord,
        /// Until when.
        until: u64,
    },
    /// Its process is being made.
    Launch(RunRecord),
    /// It is not ready yet.
    AwaitReady {
        /// Its run.
        run: RunRecord,
        /// When it counts as ready, if there is such a time.
        alive_at: Option<u64>,
        /// When it has to be ready.
        until: u64,
    },
    /// It is on its way down.
    Leaving {
        /// Its run.
        run: RunRecord,
        /// How far it is.
        stage: StageRecord,
        /// When the next step is due.
        at: u64,
    },
}

/// How the run of a slot is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MannerRecord {
    /// As soon as the new one is ready.
    #[default]
    Plain,
    /// So, too, and the old one is kept for a while.
    Canary,
    /// With all others of its app.
    Together,
}

impl MannerRecord {
    pub(super) fn is_plain(&self) -> bool {
        *self == MannerRecord::Plain
    }
}
