//! Pure helpers for reading logs: where the last lines of a file begin, how bytes become lines, whose file it is.
//!
//! Nothing here opens or reads a file; callers hand in what they read. Lines are bytes: nothing is decoded or repaired.

mod lines;
mod names;
mod tail;

pub use lines::{LineCutter, MAX_LINE};
pub use names::{LogName, log_name};
pub use tail::TailSearch;
