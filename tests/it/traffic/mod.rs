//! The proof by traffic: servers in many languages are replaced, killed, added and taken away while clients that never try
//! twice go on asking.
//!
//! Short here, and long in `benches/`.

mod kills;
mod reloads;
mod rules;
mod servers;
mod shown;

use servers::{Server, Site};
