//! Pure helpers for logs: the last words of a stream, where the last lines of a file begin, how bytes become lines, whose
//! file it is.
//!
//! Nothing here opens or reads a file; callers hand in what they read. Lines are bytes: nothing is decoded or repaired,
//! but where they are shown as the reason of a failure.

mod lines;
mod names;
mod search;
mod tail;

pub use lines::{LineCutter, MAX_LINE};
pub use names::{LogName, log_name};
pub use search::TailSearch;
pub use tail::Tail;
