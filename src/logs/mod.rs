//! Pure: tails and the merging of log files.
