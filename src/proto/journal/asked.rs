//! What clients wait for, as the journal has it.

use serde::{Deserialize, Serialize};

use crate::proto::journal::is_false;
use crate::proto::{MannerRecord, PlanStep, State};

/// A request that a client may ask about again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskedRecord {
    /// The client's name for it.
    pub key: String,
    /// What it was to do, for the answers that say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Vec<PlanStep>>,
    /// When it is answered at the latest.
    pub deadline: u64,
    /// What it still waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<WaitRecord>,
    /// What is known of its answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<ResultRecord>,
    /// Whether the daemon leaves with the answer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub leaves: bool,
}

/// A request that asks its slots so many at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRecord {
    /// The client's name for it, if it has one.
    pub key: Option<String>,
    /// Who asked: user id and verb.
    pub who: (u32, String),
    /// How many at a time.
    pub width: usize,
    /// Who has not been asked, with the count of wishes that the slot had.
    pub queue: Vec<(WishRecord, u32)>,
    /// Who has, and until when it is waited for.
    pub asked: Vec<(WaitRecord, u64)>,
    /// Apps of which an instance failed, and which.
    pub failed: Vec<(u32, String)>,
    /// The first one of a reload, while the others wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<u32>,
}

/// What is to be asked of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WishRecord {
    /// Its id.
    pub slot: u32,
    /// What is waited for.
    pub want: WantRecord,
    /// Whether it is launched anew although it runs; none: it is not launched at all.
    pub renew: Option<bool>,
    /// Whether what runs goes on until the new launch is ready.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reload: bool,
    /// In which manner.
    #[serde(default, skip_serializing_if = "MannerRecord::is_plain")]
    pub manner: MannerRecord,
}

/// One slot that a request waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitRecord {
    /// Its id.
    pub slot: u32,
    /// Its app.
    pub name: String,
    /// The index within the app.
    pub instance: u16,
    /// What is waited for.
    pub want: WantRecord,
    /// The generation that is to be ready.
    pub generation: u32,
    /// A failed run that is not the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<u64>,
    /// The state that was told last.
    pub seen: State,
    /// Whether it has not been asked yet.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_held: bool,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WantRecord {
    /// It is ready.
    Ready,
    /// Nothing runs.
    Down,
    /// It is no more.
    Gone,
}

/// The answer for one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultRecord {
    /// Its id.
    pub slot: u32,
    /// Its app.
    pub name: String,
    /// The index within the app.
    pub instance: u16,
    /// How it went.
    pub answer: AnswerRecord,
}

/// How it went for one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerRecord {
    /// What was asked holds.
    Done(State),
    /// It cannot hold now.
    Failed {
        /// Why.
        reason: String,
        /// The run that failed.
        run: Option<u64>,
        /// What happens next by itself.
        next: Option<String>,
    },
    /// The time limit passed.
    Pending(State),
    /// Another request wanted something else.
    Superseded,
}
