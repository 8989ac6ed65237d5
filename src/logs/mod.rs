//! Pure helpers around logs: where the last lines of a file begin, how bytes become lines, whose file it is, and the
//! last words of a stream.
//!
//! Nothing here opens or reads a file; callers hand in what they read. Lines are bytes: nothing is decoded or repaired
//! but for showing.

mod last_words;
mod lines;
mod names;
mod tail;

pub use last_words::LastWords;
pub use lines::{LineCutter, MAX_LINE};
pub use names::{LogName, log_name};
pub use tail::TailSearch;
