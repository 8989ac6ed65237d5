//! Linux calls behind safe functions and owned types. The only layer with `unsafe`.
#![allow(unsafe_code, reason = "the one layer that may; each block is one call with its contract")]
