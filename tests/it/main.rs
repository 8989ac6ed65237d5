//! End to end: the real binary in homes of its own, driven as its users drive it.
//!
//! Each test has its own [`Rsx`](harness::Rsx), so all run side by side. Nobody sleeps here: tests wait for events of the
//! daemon, for lines, or for the end of a process, each with a limit.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests act on the world and may fail")]

mod adoption;
mod amend;
mod bad_input;
mod capture;
mod cluster;
mod daemon;
mod endpoint;
mod forms;
mod full_disk;
mod gap;
mod habits;
mod harness;
mod health;
mod kept;
mod lifecycle;
mod listen;
mod log_direct;
mod log_files;
mod log_flags;
mod log_forms;
mod log_rotation;
mod logs;
mod majors;
mod measured;
mod memory;
mod messages;
mod metrics;
mod monit;
mod node;
mod oom;
mod output;
mod pid_files;
mod policy;
mod programs;
mod ready;
mod rotation;
mod sayings;
mod shapes;
mod socket;
mod stopping;
mod strays;
mod supervision;
mod targets;
mod traffic;
mod turns;
mod update;
mod verbs;
mod watchdog;
