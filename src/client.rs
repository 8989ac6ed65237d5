//! Connect, handshake, typed calls, streams; starts the daemon when a verb needs one.
