//! Places at which a test may have the daemon killed: one at each transition that a successor has to make good.
//!
//! Only with the feature `failpoints`. The variable `RSX_FAILPOINT` names a file; if that holds the name of the place, it is
//! removed, and the daemon killed as by SIGKILL. So each place kills once.

/// All places, for the test that goes through them.
#[cfg(feature = "failpoints")]
pub const PLACES: &[&str] = &[
    "before-journal",
    "after-journal",
    "before-clone",
    "after-clone",
    "before-spawned",
    "before-signal",
    "after-signal",
    "before-reply",
    "before-reap",
    "before-publish",
    "adopting",
];

/// Those that log bytes come by.
#[cfg(feature = "failpoints")]
pub const LOG_PLACES: &[&str] = &["log-taken", "log-appended", "log-renamed", "log-rotated"];

/// Those that a log comes by which is rotated in place.
#[cfg(feature = "failpoints")]
pub const CUT_PLACES: &[&str] = &[
    "cut-recorded",
    "cut-copying",
    "cut-copied",
    "cut-armed",
    "cut-dropped",
    "cut-named",
    "cut-opened",
    "cut-settled",
];

/// Those that runs come by which say something of themselves.
#[cfg(feature = "failpoints")]
pub const SAYING_PLACES: &[&str] = &["before-noted", "after-noted"];

/// Those that runs come by which hang.
#[cfg(feature = "failpoints")]
pub const HANG_PLACES: &[&str] = &["before-hung", "after-hung"];

/// Those that health checks come by.
#[cfg(feature = "failpoints")]
pub const CHECK_PLACES: &[&str] = &["before-check", "before-checked", "after-checked"];

/// Those that runs come by which share ports.
#[cfg(feature = "failpoints")]
pub const CLUSTER_PLACES: &[&str] = &[
    "gate",
    "call-taken",
    "call-decided",
    "call-answered",
    "group-step",
    "before-steer",
    "before-drain",
    "drain-step",
    "drained",
];

/// Those that runs come by whose sockets are replaced by ours.
#[cfg(feature = "failpoints")]
pub const OWN_PLACES: &[&str] = &["own-kept", "own-put"];

/// Those that runs come by which have one queue.
#[cfg(feature = "failpoints")]
pub const QUEUE_PLACES: &[&str] = &["queue-given"];

/// Those that runs come by which get sockets.
#[cfg(feature = "failpoints")]
pub const HANDED_PLACES: &[&str] = &["handed-kept", "before-closing", "after-closing"];

/// Dies here if a test wants it.
#[cfg(feature = "failpoints")]
pub(crate) fn here(name: &str) {
    let listed = [
        PLACES,
        CHECK_PLACES,
        HANG_PLACES,
        CLUSTER_PLACES,
        OWN_PLACES,
        QUEUE_PLACES,
        SAYING_PLACES,
        LOG_PLACES,
        CUT_PLACES,
        HANDED_PLACES,
    ];
    debug_assert!(listed.iter().any(|places| places.contains(&name)), "a place that is not on the list: {name}");
    let Some(path) = std::env::var_os("RSX_FAILPOINT") else { return };
    if std::fs::read_to_string(&path).is_ok_and(|wanted| wanted.trim() == name) && std::fs::remove_file(&path).is_ok() {
        // It cannot fail, and nothing comes after it.
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

/// Nothing without the feature.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn here(_name: &str) {}
