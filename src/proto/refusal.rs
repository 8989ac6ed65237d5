//! Why a call was not carried out.

use serde::{Deserialize, Serialize};

/// Why a call was not carried out at all. Travels as JSON-RPC `error.data`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Refusal {
    /// The protocol versions do not fit.
    #[error("the daemon speaks protocol {daemon}, this client {client}")]
    Protocol {
        /// The daemon's.
        daemon: u32,
        /// The client's.
        client: u32,
    },
    /// The first message was not `hello`.
    #[error("the first message must be `hello` with a protocol version")]
    HelloFirst,
    /// A message that is no call of this protocol.
    #[error("not understood: {why}")]
    BadRequest {
        /// What is wrong with it.
        why: String,
    },
    /// A message longer than the limit.
    #[error("a message may have {limit} bytes at most")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// A target that matches nothing. Nothing was done.
    #[error("no app, namespace or id matches `{target}`")]
    UnknownTarget {
        /// As the user wrote it.
        target: String,
        /// Names that look alike.
        similar: Vec<String>,
    },
    /// A name that belongs to another file or folder. Nothing was done.
    #[error("the name `{name}` belongs to {owner}")]
    NameTaken {
        /// The name.
        name: String,
        /// Who owns it.
        owner: String,
        /// Who asked.
        asked_by: String,
    },
    /// A number of instances that cannot be. Nothing was done.
    #[error("`{name}` would have {wanted} instances; 1 to {limit} are possible")]
    Instances {
        /// The app.
        name: String,
        /// How many it would have.
        wanted: i64,
        /// The most that are possible.
        limit: u16,
    },
    /// New values that an app cannot take. Nothing was done.
    #[error("`{name}` cannot be changed: {why}")]
    Unchangeable {
        /// The app.
        name: String,
        /// Why.
        why: String,
    },
    /// What is to be reloaded is just being reloaded. Nothing was done.
    #[error("a reload of `{name}` is still under way")]
    Reloading {
        /// The app.
        name: String,
    },
    /// A file of the daemon's could not be read or written.
    #[error("{why}")]
    State {
        /// Which, and what is wrong with it.
        why: String,
    },
    /// The daemon is leaving.
    #[error("the daemon is shutting down")]
    Leaving,
    /// The daemon does not hand over. It goes on as it is.
    #[error("{why}")]
    Update {
        /// Why.
        why: String,
    },
}
