//! Pure helpers around logs: where the last lines of a file begin, how bytes become lines, whose file it is, what rotated
//! files are called, when which bytes came, the last words of a stream, and what a dead pump has left undone.
//!
//! Nothing here opens or reads a file; callers hand in what they read. Lines are bytes: nothing is decoded or repaired
//! but for showing.

mod archive;
mod last_words;
mod lines;
mod names;
mod record;
mod tail;
pub mod times;

pub use archive::{Archive, Packing, times_name};
pub use last_words::LastWords;
pub use lines::{LineCutter, MAX_LINE};
pub use names::{LogName, log_name};
pub use record::{FileMark, Missing, RECORD_WORDS, Record, SENTINEL, Torn, missing};
pub use tail::TailSearch;
