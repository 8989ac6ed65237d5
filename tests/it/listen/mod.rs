//! Sockets that rsx opens and hands to programs: what programs find, and what clients notice of all that happens to them.

mod errors;
mod servers;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;

use crate::harness::{Clients, LIMIT, Load, Rsx, Watched, ask, environment_of, free_port, requires};

/// Finds its sockets as sd_listen_fds(3) says, says that it is ready, answers with its number, and finishes what it has when it
/// is asked to end.
const SERVER: &str = r"
import os, select, signal, socket, sys
assert int(os.environ['LISTEN_PID']) == os.getpid()
listeners = [socket.socket(fileno=3 + n) for n in range(int(os.environ['LISTEN_FDS']))]
assert all(listener.getblocking() for listener in listeners)
for listener in listeners:
    listener.setblocking(False)
ending = []
signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
if 'NOTIFY_SOCKET' in os.environ:
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])
body = b'pid %d' % os.getpid()
while not ending:
    for listener in select.select(listeners, [], [], 0.02)[0]:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            continue
        connection.setblocking(True)
        connection.recv(4096)
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' % (len(body), body))
        connection.close()
";

/// An app of that server.
fn app(keys: &str) -> String {
    format!("[[apps]]\nname = \"web\"\nscript = \"web.py\"\n{keys}\n")
}

/// A home with the server in it; none without Python.
fn home() -> Option<Rsx> {
    requires("python3").then(|| {
        let rsx = Rsx::new();
        rsx.write("web.py", SERVER);
        rsx
    })
}

/// Whether nobody listens there any more.
fn is_refused(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// Asks through a file.
fn ask_file(path: &std::path::Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_program_finds_its_sockets_by_the_rules_of_systemd_and_they_end_with_its_app() {
    let Some(rsx) = home() else { return };
    let port = free_port();
    rsx.ecosystem(&app(&format!(
        "args = [\"--api={{fd:api}}\", \"{{fd:{port}}}\"]\nlisten = [\"tcp://127.0.0.1:{port}\", {{ address = \
         \"unix://run/deep/api.sock\", name = \"api\", mode = \"0646\", backlog = 7 }}]\nenv = {{ LISTEN_FDS = \"9\" }}"
    )));
    rsx.ok("start ecosystem.toml");
    let pid = rsx.pid("web");
    let env = environment_of(pid);
    let of = |name: &str| env.get(name).map(String::as_str);
    assert_eq!(of("LISTEN_FDS"), Some("2"));
    assert_eq!(of("LISTEN_PID"), Some(pid.to_string().as_str()));
    assert_eq!(of("LISTEN_FDNAMES"), Some(format!("{port}:api").as_str()));
    assert_eq!(crate::harness::command_of(pid)[2..], ["--api=4", "3"]);
    let path = rsx.scratch().join("run/deep/api.sock");
    let file = std::fs::metadata(&path).unwrap();
    assert_eq!((file.mode() & 0o777, file.file_type().is_socket()), (0o646, true));
    assert_eq!(ask(port).unwrap(), format!("pid {pid}"));
    assert!(ask_file(&path).unwrap().ends_with(&format!("pid {pid}")));
    rsx.ok("describe web")
        .prints(&[&format!("tcp://127.0.0.1:{port} as {port}"), "api.sock as api, mode 0646, backlog 7"]);
    let listed = rsx.json("jlist");
    assert_eq!(listed[0]["pm2_env"]["listen"][0], format!("tcp://127.0.0.1:{port}"));
    rsx.ok("stop web");
    assert!(is_refused(port) && !path.exists(), "who is told that it has stopped finds nobody there");
    rsx.ok("start web");
    assert!(ask(port).is_ok() && ask_file(&path).is_ok());
    rsx.ok("delete web");
    assert!(is_refused(port) && !path.exists());
}

#[test]
fn who_connects_while_nobody_is_there_is_served_by_the_next_run() {
    let Some(rsx) = home() else { return };
    let port = free_port();
    rsx.ecosystem(&app(&format!("listen = [\"tcp://127.0.0.1:{port}\"]\nrestart_delay = \"1s\"")));
    rsx.ok("start ecosystem.toml");
    let (first, (daemon, _)) = (Watched::new(rsx.pid("web")), rsx.daemon());
    first.kill("KILL");
    first.ends();
    let waits = std::thread::spawn(move || ask(port));
    rsx.events().wait_for("web", "exited");
    daemon.kill("KILL");
    let answer = waits.join().unwrap().unwrap();
    assert_eq!(answer, format!("pid {}", rsx.pid("web")));
    // What waits for a run that is stopped, and not replaced, is refused.
    rsx.ok("stop web");
    assert!(is_refused(port));
}

#[test]
fn nobody_is_refused_while_instances_are_reloaded_and_the_daemon_dies() {
    let Some(rsx) = home() else { return };
    let port = free_port();
    rsx.ecosystem(&app(&format!("listen = [\"tcp://127.0.0.1:{port}\"]\ninstances = 2\nwait_ready = true\nbake = 0")));
    rsx.ok("start ecosystem.toml");
    let load = Load::of(port, Clients::steady());
    load.is_steady(200);
    for round in 0..3 {
        let before = rsx.ok("pid web").out;
        if round == 1 {
            rsx.daemon().0.kill("KILL");
        }
        let verb = if round == 2 { "restart web" } else { "reload web" };
        rsx.ok_at_length(verb);
        load.goes_on(100);
        assert_ne!(rsx.ok("pid web").out, before);
    }
    let seen = load.has_lost_nothing();
    assert!(seen.answers.len() >= 4, "{:?}", seen.answers);
}

#[test]
fn a_killed_instance_costs_what_it_had_in_hand_and_no_connection_is_refused() {
    let Some(rsx) = home() else { return };
    let port = free_port();
    rsx.ecosystem(&app(&format!("listen = [\"tcp://127.0.0.1:{port}\"]\nwait_ready = true")));
    rsx.ok("start ecosystem.toml");
    let load = Load::of(port, Clients::steady());
    load.goes_on(100);
    for _ in 0..3 {
        Watched::new(rsx.pid("web")).kill("KILL");
        let restarts = rsx.slot("web", 0)["restarts"].as_u64();
        rsx.events().wait("its next life", |event| event.of("web") && event.is("online") && restarts.is_some());
        load.goes_on(100);
    }
    let seen = load.stop();
    let refused: Vec<&String> = seen.failed.iter().filter(|failure| failure.contains("refused")).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert!(seen.failed.len() <= 6, "{}: {:?}", seen.summary(), seen.failed);
}

#[test]
fn what_a_changed_list_names_no_longer_is_closed_and_what_is_new_is_opened() {
    let Some(rsx) = home() else { return };
    let (stays, goes, comes) = (free_port(), free_port(), free_port());
    let declare = |ports: [u16; 2], keys: &str| {
        let list = ports.map(|port| format!("\"tcp://127.0.0.1:{port}\"")).join(", ");
        rsx.ecosystem(&app(&format!("listen = [{list}]\nwait_ready = true\nbake = 0\n{keys}")));
    };
    for keys in ["", "instances = 2"] {
        declare([stays, goes], keys);
        rsx.ok("start ecosystem.toml");
        declare([comes, stays], keys);
        rsx.ok_at_length("start ecosystem.toml");
        assert!(ask(stays).is_ok() && ask(comes).is_ok(), "{keys}");
        // It goes with the last run that has it.
        assert!(is_refused(goes), "{keys}");
        rsx.ok("delete web");
        assert!(is_refused(stays) && is_refused(comes), "{keys}");
    }
}

#[test]
fn a_scaled_app_has_one_queue_until_its_last_instance_goes() {
    let Some(rsx) = home() else { return };
    let port = free_port();
    rsx.ecosystem(&app(&format!("listen = [\"tcp://127.0.0.1:{port}\"]\ninstances = 3\nwait_ready = true")));
    rsx.ok("start ecosystem.toml");
    rsx.ok("scale web 1");
    assert_eq!(ask(port).unwrap(), format!("pid {}", rsx.pid("web")));
    rsx.ok("scale web 2");
    rsx.ok("stop 0");
    assert!(ask(port).is_ok());
    rsx.ok("stop all");
    assert!(is_refused(port));
}

#[test]
fn a_file_that_was_removed_is_there_again_after_a_restart() {
    let Some(rsx) = home() else { return };
    rsx.ecosystem(&app("listen = [\"unix://api.sock\"]"));
    rsx.ok("start ecosystem.toml");
    let path = rsx.scratch().join("api.sock");
    std::fs::remove_file(&path).unwrap();
    rsx.ok("restart web");
    assert!(ask_file(&path).is_ok());
    // What somebody else has put there is not touched.
    rsx.ok("stop web");
    std::fs::write(&path, "words").unwrap();
    rsx.fails(5, "start web").says(&["api.sock", "not a socket"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "words");
}

#[test]
fn a_socket_outlives_guardian_and_daemon_in_the_hands_of_its_run() {
    let Some(rsx) = home() else { return };
    let port = free_port();
    rsx.ecosystem(&app(&format!("listen = [\"tcp://127.0.0.1:{port}\"]\nwait_ready = true")));
    rsx.ok("start ecosystem.toml");
    let (daemon, guardian) = rsx.daemon();
    guardian.kill("KILL");
    daemon.kill("KILL");
    guardian.ends();
    daemon.ends();
    assert!(ask(port).is_ok());
    rsx.ok("restart web");
    assert_eq!(ask(port).unwrap(), format!("pid {}", rsx.pid("web")));
    // So it does in those of a daemon that becomes the guardian.
    let (_, guardian) = rsx.daemon();
    guardian.kill("KILL");
    guardian.ends();
    rsx.ok(&format!("update {}", crate::harness::BINARY));
    rsx.daemon().0.kill("KILL");
    rsx.ok("restart web");
    assert!(ask(port).is_ok());
    rsx.ok("stop web");
    assert!(is_refused(port));
}

/// A daemon dies with sockets in its hands, wherever it does something about them.
#[cfg(feature = "failpoints")]
#[test]
fn a_death_at_any_place_of_passed_sockets_leaves_none_behind_and_none_out() {
    if !requires("python3") {
        return;
    }
    let places = rsx::daemon::failpoint::HANDED_PLACES.iter().chain(&["before-clone", "after-clone", "adopting"]);
    for place in places {
        let mut rsx = Rsx::new();
        rsx.write("web.py", SERVER);
        let file = rsx.scratch().join("failpoint");
        rsx.set_env("RSX_FAILPOINT", &file);
        let port = free_port();
        let list = format!("[\"tcp://127.0.0.1:{port}\", \"unix://api.sock\"]");
        rsx.ecosystem(&app(&format!("listen = {list}\nwait_ready = true\nautostart = false")));
        rsx.ok("start ecosystem.toml");
        let path = rsx.scratch().join("api.sock");
        let mut hits = 0;
        for verb in ["start", "restart", "stop"] {
            // The guardian pauses where one daemon follows another within a second.
            std::thread::sleep(std::time::Duration::from_millis(1050));
            std::fs::write(&file, place).unwrap();
            if *place == "adopting" {
                rsx.daemon().0.kill("KILL");
            }
            rsx.ok(&format!("{verb} web"));
            hits += usize::from(!file.exists());
            let _ = std::fs::remove_file(&file);
            if verb == "stop" {
                assert!(is_refused(port) && !path.exists(), "{place}: `{verb}`");
            } else {
                let pid = format!("pid {}", rsx.pid("web"));
                assert_eq!(ask(port).unwrap(), pid, "{place}: `{verb}`");
                assert!(ask_file(&path).unwrap().ends_with(&pid), "{place}: `{verb}`");
            }
        }
        assert!(hits > 0, "nothing comes by {place}");
    }
}
