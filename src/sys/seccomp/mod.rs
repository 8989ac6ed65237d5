//! Being asked when a program binds and listens (seccomp_unotify(2)): what each question is, who asks, how to answer.
//!
//! ```text
//!  child                              whoever holds the listener, on a thread that waits for nothing else
//!  ─────                              ───────────────────────────────────────────────────────────────────
//!  filter, listener ── gate ────────> [Listener], stored before anything else
//!  listen(-1, 0)    ── Call::Gate ──> answer(Continue): EBADF, the program is executed
//!  bind(3000)       ── Call::Bind ──> look: address, socket -> answer(Continue), or put a kept socket in its place
//!  listen           ── Call::Listen > listen on the own duplicate -> answer(Done or Errno)
//!  the last process with the filter ends ──> Asked::Ended
//! ```
//!
//! | module | is responsible for |
//! |---|---|
//! | `filter` | which calls ask |
//! | `listener` | taking a question, answering it, putting descriptors in place |
//! | `slots` | questions in memory that outlives this process |
//! | `caller` | looking into the process that asks |
//! | `substitute` | a kept socket in the place of a new one |
//!
//! # Rules
//!
//! 1. A question that was received and not answered blocks its program for ever, and no other holder of the listener is
//!    told of it. So it is received into [`Slots`], which another process keeps as well; a successor handles each slot
//!    that is taken, and frees it after the answer. Handling twice must do no harm: compare the cookie of the caller's
//!    socket with those that are kept.
//! 2. What was seen of a process counts only if its question is still open afterwards, because its number may be somebody
//!    else's by then: [`Listener::look`] sees to that.
//! 3. ADDFD_FLAG_SEND is never used: `bind` would return the descriptor's number.
//!
//! Which sockets are captured, and what is answered, is decided elsewhere.

mod caller;
mod filter;
mod listener;
mod slots;
mod substitute;

#[cfg(test)]
mod tests;

pub use caller::{Asker, Caller, CloseOnExec, Holder, Outside, SocketAddress};
pub use filter::IS_SUPPORTED;
pub(in crate::sys) use filter::{FILTER, FILTER_LENGTH, INSTALL_FLAGS};
pub use listener::{Answer, Asked, Delivery, Listener};
pub use slots::{Call, Question, SlotIndex, Slots};
pub use substitute::{Options, Substituted, is_refusal, put, substitute};
