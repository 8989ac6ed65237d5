//! Sockets that cannot be had: what is told, and that nothing has changed.

use super::{app, ask_file, home};
use crate::harness::{ask, free_port, holds};

#[test]
fn a_port_that_somebody_has_fails_the_start_and_leaves_no_socket_behind() {
    let Some(rsx) = home() else { return };
    let (port, other) = (free_port(), free_port());
    rsx.ecosystem(&app(&format!("listen = [\"tcp://127.0.0.1:{other}\", \"tcp://127.0.0.1:{port}\"]")));
    let held = holds(port);
    rsx.fails(5, "start ecosystem.toml").says(&[
        &format!("listen tcp://127.0.0.1:{port}: somebody else listens there"),
        &format!("ss -ltnp 'sport = :{port}'"),
    ]);
    assert!(super::is_refused(other), "all of them or none");
    drop(held);
    rsx.ok("start web");
    assert!(ask(port).is_ok() && ask(other).is_ok());
}

#[test]
fn a_reload_that_cannot_have_its_sockets_changes_nothing() {
    let Some(rsx) = home() else { return };
    let (port, other) = (free_port(), free_port());
    let declare = |list: &str| {
        rsx.ecosystem(&app(&format!("listen = [{list}]\ninstances = 2\nwait_ready = true\nbake = 0")));
    };
    declare(&format!("\"tcp://127.0.0.1:{port}\""));
    rsx.ok("start ecosystem.toml");
    let pids = rsx.ok("pid web").out;
    let _held = holds(other);
    declare(&format!("\"tcp://127.0.0.1:{other}\", \"tcp://127.0.0.1:{port}\""));
    rsx.fails(5, "start ecosystem.toml").says(&["somebody else listens there"]);
    assert_eq!(rsx.ok("pid web").out, pids);
    assert!(ask(port).is_ok());
}

#[test]
fn two_apps_cannot_have_one_socket() {
    let Some(rsx) = home() else { return };
    rsx.ecosystem(&app("listen = [\"unix://api.sock\"]"));
    rsx.ok("start ecosystem.toml");
    rsx.write("other.toml", app("listen = [\"unix://api.sock\"]").replace("\"web\"", "\"other\""));
    rsx.fails(5, "start other.toml").says(&["passed to the app `web`"]);
    let path = rsx.scratch().join("api.sock");
    assert!(ask_file(&path).is_ok());
    rsx.ok("delete web");
    rsx.ok("start other.toml");
    assert!(ask_file(&path).is_ok());
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_what_helps() {
    let Some(rsx) = home() else { return };
    rsx.write("plain", "words");
    for (list, words) in [
        ("\"unix://plain\"", &["plain", "not a socket", "remove it"][..]),
        ("\"unix://plain/api.sock\"", &["plain", "Not a directory"]),
        ("{ address = \"unix://s\", user = \"no-such-user\" }", &["there is no user `no-such-user`"]),
        ("{ address = \"unix://s\", group = \"no-such-group\" }", &["there is no group `no-such-group`"]),
        ("\"tcp://203.0.113.7:8080\"", &["bind", "assign requested address", "ip address"]),
    ] {
        rsx.ecosystem(&app(&format!("listen = [{list}]")));
        rsx.fails(5, "start ecosystem.toml").says(words);
        assert!(!rsx.scratch().join("s").exists(), "{list}");
        rsx.ok("delete web");
    }
}

#[test]
fn an_ordinary_user_is_told_what_only_root_may() {
    let Some(mut rsx) = home() else { return };
    if !rsx.become_ordinary() {
        return;
    }
    for (list, words) in [
        ("{ address = \"unix://PLACE/s\", user = \"root\" }", &["chown", "only root can give it to another user"][..]),
        ("\"tcp://127.0.0.1:81\"", &["bind", "ip_unprivileged_port_start"]),
    ] {
        let lowest = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
        if list.contains(":81") && lowest.trim().parse::<u16>().unwrap() <= 81 {
            continue;
        }
        let list = list.replace("PLACE", &rsx.home().display().to_string());
        rsx.ecosystem(&app(&format!("listen = [{list}]")));
        rsx.fails(5, "start ecosystem.toml").says(words);
        assert!(!rsx.home().join("s").exists(), "{list}");
        rsx.ok("delete web");
    }
}
