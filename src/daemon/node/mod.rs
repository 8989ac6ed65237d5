//! What Node programs get beside their environment: the channel that `process.send` writes to, and the agent.
//!
//! ```text
//!  rsx                                  a Node program
//!  channel ── NODE_CHANNEL_FD ───────── process.send, process.on('message')
//!  agent   ── a socket of the run's ─── the preload, by NODE_OPTIONS
//! ```
//!
//! | module | is responsible for |
//! |---|---|
//! | `kin` | which programs are Node, or start it |
//! | `messages` | what programs send, understood |
//! | `channel` | the channel of one run |
//! | `agent` | the agents in the programs of one run |
//! | `preload` | the agent's file, and how a program is made to load it |

mod agent;
mod channel;
mod kin;
mod messages;
mod preload;

pub(super) use agent::{Agent, listen};
pub(super) use channel::Channel;
pub(super) use kin::Kin;
pub(super) use preload::{Preload, options};
