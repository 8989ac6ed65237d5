//! Pure: what is kept of a stream's end.

mod tail;

pub use tail::Tail;
