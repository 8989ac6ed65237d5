//! rsx: a process manager for servers.
//!
//! # The map
//!
//! | layer | is responsible for | may name |
//! |---|---|---|
//! | [`spec`] | what an app *is*, validated, all defaults filled in: the wire and disk form | – |
//! | [`paths`] | the files of one home | – |
//! | [`error`] | what a user is shown when something failed, and the exit codes | – |
//! | [`config`] | ecosystem files: text → key by key → `Vec<AppSpec>` or *all* problems, cited | `spec`, `error` |
//! | [`proto`] | requests, answers, refusals, views, stream items; the line codec. No behaviour | `spec` |
//! | [`supervisor`] | **the core**, pure: slots, restart policy, admission, waiters | `spec` |
//! | [`cluster`] | pure: who shares a port, who gets new connections, when a run is drained | – |
//! | [`logs`] | pure: tails, line counting, the merging of files | `spec` |
//! | [`series`] | pure: what was measured over time, its compact form | – |
//! | [`metrics`] | pure: a view in the words of Prometheus | `proto` |
//! | [`daemon`] | the shell around the core: engine, effects, connections, log pump, sampler | all but `cli` |
//! | [`guardian`] | the parent that outlives the daemon and keeps its descriptors | `sys`, `paths` |
//! | [`sys`] | Linux calls behind safe functions and owned types | `spec` |
//! | [`client`] | connect, handshake, typed calls, streams; starts the daemon when a verb needs one | `proto`, `paths`, `error`, `sys` |
//! | [`words`] | pure: units, moments, changes and troubles in the words that all readers share | `proto`, `spec` |
//! | [`serve`] | the static file server behind `script = "rsx:serve"` | `error` |
//! | [`tui`] | `rsx monit`: model, update, view, pure; a shell of threads around them | `client`, `proto`, `words`, `logs`, `spec`, `paths`, `error` |
//! | [`cli`] | clap types, one file a family of verbs, pure rendering | all but the daemon's inside |
//!
//! The test `layers` compares the `crate::` paths of the sources with this table.
//!
//! # Invariants
//!
//! 1. The core cannot fail, block, sleep, read a clock or spawn; same events, same effects.
//! 2. Wish (goal) and fact (phase) are two fields; one function compares them and acts.
//! 3. Pids are used only in [`sys`]; everything is done through a pidfd, so a reused pid is never signalled.
//! 4. A request is answered exactly once, when its goal holds or cannot hold any more.
//! 5. The engine never awaits an effect; what takes time reports back as an event. Every wait has a deadline.
//! 6. Log bytes never pass through the engine or its thread.
//! 7. Readers read a published view; they never queue behind a writer.
//! 8. Data of a phase lives in that phase.
//! 9. Only `spec` and `proto` types are serialised, with a version.
//! 10. `unsafe` exists in [`sys`] only, one call a block, each with a `SAFETY` comment.

pub mod cli;
pub mod client;
pub mod cluster;
pub mod config;
pub mod daemon;
pub mod error;
pub mod guardian;
pub mod logs;
pub mod metrics;
pub mod paths;
pub mod proto;
pub mod series;
pub mod serve;
pub mod spec;
pub mod supervisor;
pub mod sys;
pub mod tui;
pub mod words;
