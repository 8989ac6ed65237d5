//! Pure helpers around logs: where the last lines of a file begin, how bytes become lines, whose file it is, what rotated
//! files are called, when which bytes came, the last words of a stream, and what a dead pump has left undone.
//!
//! Nothing here opens or reads a file; callers hand in what they read. Lines are bytes: nothing is decoded or repaired
//! but for showing.

mod archive;
mod cut;
mod last_words;
mod lines;
mod names;
mod pattern;
mod record;
mod rotation;
mod shape;
mod stamp;
mod tail;
pub mod times;

pub use archive::{Archive, Packing, after_name, cut_name, next_name, times_name};
pub use cut::{CUT_RECORD, Cut, Found, LARGEST_CUT, LOOKED_BACK, Marks, STAYS, STEPS, Step};
pub use last_words::LastWords;
pub use lines::{Lines, MAX_LINE};
pub use names::{LogName, log_name};
pub use pattern::{Pattern, PatternError};
pub use record::{Area, FileMark, MAX_TARGETS, Missing, RECORD_WORDS, Record, SENTINEL, Span, Target, Torn, missing};
pub use rotation::{Kept, Room, crowded_out, doomed, is_due, is_overdue, period_end};
pub use shape::{Coming, Heading, LEAST_ROOM, Shaped, Shaper, WHOLE_LINE};
pub use stamp::Stamp;
pub use tail::TailSearch;
