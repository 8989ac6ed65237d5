//! How the binary is linked: at a fixed address, where that is ours to say.
//!
//! The loader has to write every address that stands in the data of a position-independent program: 340 kB of tables of
//! functions and constants, which then are memory of each process of its own. The guardian has little else. At a fixed
//! address (as Go links its programs) the same tables are pages of the file, which all processes share, and nothing is
//! done about them at a start. Stack, heap and libraries lie at random addresses as before, only the program's own code and
//! constants do not.

#![allow(clippy::disallowed_methods, reason = "what is built for is told by the environment")]

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Elsewhere (musl) the start files go with the way of linking, and rustc chooses both.
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|is| is == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
