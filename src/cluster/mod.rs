//! Cluster mode, decided: which sockets share a port, which of them get new connections, when a run is drained.
//!
//! Pure, as the core is: no call here asks the kernel or a clock. The shell reports what happened (a socket listens, a run
//! is ready, the kernel lists these sockets), and asks for the next step.
//!
//! | module | is responsible for |
//! |---|---|
//! | `member` | what makes a group, what is known of its sockets |
//! | `group` | the members of one port in the kernel's order, and the kernel steps from what is to what is wanted |
//! | `order` | what a listing of the kernel says about that order |
//! | `steering` | the table of members as a classic BPF program |
//! | `sticky` | which member a client's address belongs to |
//! | `load` | weights from what members have to do |
//! | `assembler` | instructions and labels |
//! | `drain` | from the switch to a run without connections |
//!
//! # Invariant
//!
//! Between any two steps of a group, whatever becomes of this process there, a new connection reaches a member that is or
//! was wanted for it, and never one that leaves.

mod assembler;
mod drain;
mod group;
mod load;
mod member;
mod order;
mod steering;
mod sticky;

#[cfg(test)]
mod interpreter;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;

pub use assembler::{Instruction, TooLong};
pub use drain::{Drain, Ending, Outcome, Progress, Reading, Time, Traffic};
pub use group::{Attached, Group, Step};
pub use load::{Load, weigh};
pub use member::{GroupKey, Member, MemberId, Owner, Run, Share, SocketId, Standing, free_tag};
pub use order::Finding;
pub use steering::{Balance, Candidate, Mark, Net, Place, Program, Table, Weight, is_probe};
