//! The parent that outlives the daemon and keeps its descriptors.
