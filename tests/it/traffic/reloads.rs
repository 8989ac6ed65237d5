//! Reloads and scaling: nobody who asks notices.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::{Server, Site};
use crate::harness::{Clients, Load, Rsx, Watched, alone, most, requires};

/// What the steady state is told from.
const STEADY: usize = 400;

/// How many reloads a short proof has.
const RELOADS: usize = 2;

/// A user without rights, files or processes.
const NOBODY: u32 = 65_534;

/// One test a server.
macro_rules! with_each_server {
    ($($name:ident: $($server:ident as $test:ident),*;)*) => {$(
        mod $name {
            $(#[test]
            fn $test() {
                super::$name(super::Server::$server);
            })*
        }
    )*};
}

with_each_server! {
    reloads_lose_no_new_connection:
        Express as express, Node as node, Go as go, Python as python, Rust as rust, Lighttpd as lighttpd, Busybox as busybox;
    reloads_lose_few_kept_connections:
        Express as express, Node as node, Go as go, Python as python, Rust as rust, Lighttpd as lighttpd, Busybox as busybox;
    a_server_that_somebody_else_tells_to_end_goes_unnoticed:
        Express as express, GracefulGo as go, GracefulPython as python;
}

fn reloads_lose_no_new_connection(server: Server) {
    let _most = most();
    let Some(site) = Site::new(server, 4, "") else { return };
    let load = Load::of(site.port, Clients::steady());
    load.is_steady(STEADY);
    for _ in 0..RELOADS {
        let before = site.pids();
        site.rsx.ok_at_length("reload web");
        load.goes_on(100);
        assert!(site.pids().iter().all(|pid| !before.contains(pid)), "all were replaced");
    }
    load.has_noticed_nothing();
}

fn reloads_lose_few_kept_connections(server: Server) {
    let _most = most();
    let Some(site) = Site::new(server, 4, "") else { return };
    let load = Load::of(site.port, Clients::kept());
    load.goes_on(STEADY);
    for _ in 0..RELOADS {
        site.rsx.ok_at_length("reload web");
        load.goes_on(400);
    }
    let seen = load.stop();
    let (failed, replacements) = (seen.failed.len(), 4 * RELOADS);
    match server {
        // They announce the end of each connection: by themselves, or told by the agent that they are drained.
        Server::Busybox | Server::Express | Server::Node => {
            assert_eq!(failed, 0, "{}: {:?}", seen.summary(), seen.failed)
        }
        Server::Go | Server::GracefulGo | Server::Python | Server::GracefulPython | Server::Rust | Server::Lighttpd => {
            let is_few = failed * 1000 <= seen.count() && failed <= replacements;
            assert!(is_few, "{}: {:?}", seen.summary(), seen.failed);
        }
    }
}

/// Of those that heed SIGTERM: the others end with what they have in hand, which nobody can give back.
/// It closes its socket and finishes what it has: whoever comes meanwhile gets to another instance.
fn a_server_that_somebody_else_tells_to_end_goes_unnoticed(server: Server) {
    let _alone = alone();
    let Some(site) = Site::new(server, 4, "") else { return };
    let load = Load::of(site.port, Clients::steady());
    load.is_steady(STEADY);
    let mut events = site.rsx.events();
    for instance in [0, 2] {
        let pid = site.pids()[instance];
        Watched::new(pid).kill("TERM");
        events.wait("its end", |event| event.is("exited") && event.pid() == pid);
        events.wait_for("web", "online");
        load.goes_on(50);
    }
    let seen = load.has_lost_nothing();
    assert!(seen.slowest() <= Duration::from_secs(1), "{}", seen.summary());
}

#[test]
fn connections_are_spread_evenly() {
    let Some(site) = Site::new(Server::Go, 4, "") else { return };
    let load = Load::of(site.port, Clients::new(4));
    load.goes_on(4000);
    let seen = load.has_lost_nothing();
    let (count, expected) = (seen.count() as f64, seen.count() as f64 / 4.0);
    // Five standard deviations of a choice of one in four.
    let allowed = 5.0 * (count * 0.25 * 0.75).sqrt();
    assert_eq!(seen.answers.len(), 4);
    let is_even = seen.answers.values().all(|answers| (*answers as f64 - expected).abs() <= allowed);
    assert!(is_even, "{:?}", seen.answers);
}

#[test]
fn a_reload_of_eight_has_never_more_than_two_too_many() {
    let Some(site) = Site::new(Server::Go, 8, "max_surge = 2") else { return };
    let load = Load::of(site.port, Clients::steady());
    let mut events = site.rsx.events();
    site.rsx.ok_at_length("reload web");
    load.goes_on(50);
    load.has_lost_nothing();
    for _ in 0..8 {
        events.wait_for("web", "exited");
    }
    let (mut living, mut most) = (0_i64, 0);
    for event in events.seen().iter().filter(|event| event.of("web")) {
        living += i64::from(event.is("started")) - i64::from(event.is("exited"));
        most = most.max(living);
    }
    assert_eq!(most, 10);
}

#[test]
fn more_instances_than_there_are_marks_are_drained_all_the_same() {
    let Some(site) = Site::new(Server::Go, 20, "max_surge = 5\ndrain_timeout = \"20s\"") else { return };
    let kept = Load::of(site.port, Clients::kept());
    let new = Load::of(site.port, Clients::steady());
    kept.goes_on(STEADY);
    let mut events = site.rsx.events();
    site.rsx.ok_at_length("reload web");
    kept.goes_on(200);
    new.has_lost_nothing();
    let seen = kept.stop();
    assert!(
        seen.failed.len() * 1000 <= seen.count() && seen.failed.len() <= 20,
        "{}: {:?}",
        seen.summary(),
        seen.failed
    );
    for _ in 0..20 {
        events.wait_for("web", "exited");
    }
    // Nobody had to be told when the time was over.
    let mut drained = BTreeMap::new();
    for event in events.seen() {
        let run = event.get("run").as_u64().unwrap_or_default();
        let time = event.json["time"].as_u64().unwrap();
        if event.is("draining") {
            drained.insert(run, time);
        } else if let Some(began) = drained.get(&run).filter(|_| event.is("stopping")) {
            assert!(time - began < 20_000, "run {run} was drained for {} ms", time - began);
        }
    }
    assert_eq!(drained.len(), 20);
}

#[test]
fn scaling_goes_unnoticed() {
    let _most = most();
    let Some(site) = Site::new(Server::Go, 2, "") else { return };
    let load = Load::of(site.port, Clients::steady());
    load.is_steady(STEADY);
    for count in [6, 1, 4] {
        site.rsx.ok_at_length(&format!("scale web {count}"));
        assert_eq!(site.pids().len(), count);
        load.goes_on(50);
    }
    // The same by the file.
    for count in [3, 5] {
        site.declare(count);
        site.rsx.ok_at_length("start ecosystem.toml");
        assert_eq!(site.pids().len(), count);
        load.goes_on(50);
    }
    load.has_noticed_nothing();
}

/// As somebody who has no rights on this machine.
#[test]
fn an_ordinary_user_reloads_unnoticed() {
    if !requires("setpriv") || !nix::unistd::geteuid().is_root() {
        return;
    }
    let _most = most();
    for server in [Server::Node, Server::Go] {
        let Some(site) = Site::within(Rsx::of_user(NOBODY), server, 4, "") else { continue };
        let uid = std::fs::metadata(format!("/proc/{}", site.pids()[0])).unwrap().uid();
        assert_eq!(uid, NOBODY);
        let load = Load::of(site.port, Clients::steady());
        load.is_steady(STEADY);
        let before = site.pids();
        site.rsx.ok_at_length("reload web");
        load.goes_on(100);
        assert!(site.pids().iter().all(|pid| !before.contains(pid)), "all were replaced");
        site.rsx.ok_at_length("scale web 2");
        load.has_noticed_nothing();
    }
}
