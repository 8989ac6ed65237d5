//! The command line: clap types, one file a family of verbs, pure rendering.
