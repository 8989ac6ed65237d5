//! Unmodified servers in three languages, captured, steered, killed and drained: the pure layer `cluster` and the kernel's
//! mechanisms in `sys` together, without a daemon.
//!
//! The thread per run in `keeper.rs` does what the daemon's will do. Nobody sleeps here.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests act on the world and may fail")]

mod clients;
mod keeper;
mod kinds;
mod programs;

use rsx::cluster::{Outcome, Standing};
use rsx::spec::Signal;

use crate::clients::{Load, ask, connect, finish, keep_alive};
use crate::keeper::Keeper;
use crate::programs::Language;

/// The same test for each language whose toolchain is there.
macro_rules! in_each_language {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        mod $name {
            #[test]
            fn in_python() {
                crate::in_language(crate::Language::Python, super::$name);
            }

            #[test]
            fn in_node() {
                crate::in_language(crate::Language::Node, super::$name);
            }

            #[test]
            fn in_static_go() {
                crate::in_language(crate::Language::Go, super::$name);
            }
        }
    )*};
}

fn in_language(language: Language, test: fn(Keeper)) {
    if language.is_there() {
        test(Keeper::new(language));
    }
}

in_each_language! {
    copies_share_a_port_and_only_those_that_are_ready_get_connections
    what_waited_for_a_killed_copy_is_served_by_its_replacement
    a_copy_is_replaced_under_load_without_a_failed_request
}

fn copies_share_a_port_and_only_those_that_are_ready_get_connections(mut keeper: Keeper) {
    let (a, b) = (keeper.start(0), keeper.start(1));
    let answers = |keeper: &Keeper, count| (0..count).map(|_| ask(keeper.port())).collect::<Vec<_>>();
    for ready in [a, b] {
        let other = if ready == a { b } else { a };
        keeper.set_standing(ready, Standing::Ready);
        keeper.set_standing(other, Standing::Starting);
        assert!(answers(&keeper, 20).iter().all(|name| *name == keeper.name(ready)));
    }
    keeper.set_standing(a, Standing::Ready);
    let both = answers(&keeper, 60);
    for run in [a, b] {
        assert!(both.contains(&keeper.name(run)), "{both:?}");
    }
    // A member is reached through the real port, whatever its standing.
    keeper.set_standing(b, Standing::Unhealthy);
    for run in [a, b] {
        assert_eq!(keeper.probe(run), keeper.name(run));
    }
}

fn what_waited_for_a_killed_copy_is_served_by_its_replacement(mut keeper: Keeper) {
    let first = keeper.start(0);
    keeper.set_standing(first, Standing::Ready);
    assert_eq!(ask(keeper.port()), keeper.name(first));
    // It accepts nothing any more, and does not know.
    keeper.signal(first, Signal::from_number(libc::SIGSTOP).unwrap());
    let waiting: Vec<_> = (0..3).map(|_| connect(keeper.port())).collect();
    assert_eq!(keeper.queue_depth(first), 3);
    keeper.kill(first);
    keeper.set_standing(first, Standing::Dead);
    // While nobody is there.
    let late = connect(keeper.port());
    let second = keeper.start(0);
    keeper.set_standing(second, Standing::Ready);
    for stream in waiting.into_iter().chain([late]) {
        assert_eq!(finish(stream), keeper.name(second));
    }
    assert_eq!(ask(keeper.port()), keeper.name(second));
}

fn a_copy_is_replaced_under_load_without_a_failed_request(mut keeper: Keeper) {
    let (a, b) = (keeper.start(0), keeper.start(1));
    keeper.set_standing(a, Standing::Ready);
    keeper.set_standing(b, Standing::Ready);
    let load = Load::start(keeper.port());
    let mut other = b;
    for old in [a, b] {
        keeper.only(old);
        // These stay open, with nothing in hand.
        let idle: Vec<_> = (0..5).map(|_| keep_alive(keeper.port(), &keeper.name(old))).collect();
        keeper.set_standing(other, Standing::Ready);
        let new = keeper.start(keeper.place(old));
        keeper.set_standing(new, Standing::Ready);
        keeper.set_standing(old, Standing::Draining);
        assert_eq!(keeper.drain(old), Outcome::Empty);
        for mut stream in idle {
            assert_eq!(std::io::Read::read(&mut stream, &mut [0]).unwrap(), 0, "it is closed, and not reset");
        }
        assert_eq!(keeper.queue_depth(old), 0);
        keeper.kill(old);
        keeper.set_standing(old, Standing::Leaving);
        other = new;
    }
    let (answered, failed) = load.stop();
    assert_eq!(failed, Vec::<String>::new(), "beside {answered} answers");
    assert!(answered > 50, "{answered}");
}
