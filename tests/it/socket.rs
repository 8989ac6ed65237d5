//! What may come over the socket, and from whom.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{LIMIT, Rsx, requires, skip};

/// A home with one app, and the app's pid.
fn with_good_app() -> (Rsx, u32) {
    let rsx = Rsx::new();
    rsx.ok("start 'sleep 1000' --name good --min-uptime 100");
    let pid = rsx.pid("good");
    (rsx, pid)
}

#[track_caller]
fn connect(rsx: &Rsx) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(rsx.socket()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    BufReader::new(stream)
}

/// Says something and reads the answer.
#[track_caller]
fn say(stream: &mut BufReader<UnixStream>, line: &Value) -> Value {
    writeln!(stream.get_mut(), "{line}").unwrap();
    answer(stream)
}

#[track_caller]
fn answer(stream: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

fn hello(protocol: u32) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {"protocol": protocol, "version": "test", "verb": "by hand"}})
}

/// Nothing was disturbed: the app runs as before.
#[track_caller]
fn is_well(rsx: &Rsx, pid: u32) {
    assert_eq!((rsx.pid("good"), rsx.slot("good", 0)["restarts"].clone()), (pid, json!(0)));
}

#[test]
fn the_session_of_the_protocol_page_works() {
    let (rsx, pid) = with_good_app();
    let mut stream = connect(&rsx);
    assert_eq!(say(&mut stream, &hello(1))["result"]["protocol"], 1);
    let ping = say(&mut stream, &json!({"jsonrpc": "2.0", "id": 2, "method": "ping"}));
    assert_eq!((&ping["id"], &ping["result"]["pid"]), (&json!(2), &json!(rsx.daemon().0.pid)));
    let view = say(&mut stream, &json!({"jsonrpc": "2.0", "id": 3, "method": "view"}));
    assert_eq!(view["result"]["apps"][0]["slots"][0]["pid"], pid);
}

/// What a client of the first release said, and what it was answered.
const RECORDED: &str = include_str!("../data/session-0.1.0.txt");

/// Everything that was there is there still, in the same shape; values may differ, and fields may have been added.
#[track_caller]
fn keeps_the_shape(before: &Value, now: &Value, at: &str) {
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => {
            for (name, value) in before {
                let now = now.get(name).unwrap_or_else(|| panic!("{at}: `{name}` is gone"));
                keeps_the_shape(value, now, &format!("{at}.{name}"));
            }
        }
        (Value::Array(before), Value::Array(now)) => {
            assert_eq!(before.len(), now.len(), "{at}");
            before.iter().zip(now).for_each(|(before, now)| keeps_the_shape(before, now, at));
        }
        // What was nothing then may have a value now.
        (Value::Null, _) => {}
        _ => assert_eq!(std::mem::discriminant(before), std::mem::discriminant(now), "{at}: {before} became {now}"),
    }
}

#[test]
fn a_client_of_the_first_release_is_answered_as_it_expects() {
    let rsx = Rsx::new();
    rsx.ok("start 'sleep 1000' --name job --min-uptime 100");
    let mut stream = connect(&rsx);
    let mut lines = RECORDED.lines().peekable();
    while let Some(line) = lines.next() {
        let asked: Value = serde_json::from_str(line.strip_prefix("→ ").unwrap()).unwrap();
        writeln!(stream.get_mut(), "{asked}").unwrap();
        while let Some(line) = lines.next_if(|line| line.starts_with("← ")) {
            let before: Value = serde_json::from_str(line.strip_prefix("← ").unwrap()).unwrap();
            keeps_the_shape(&before, &answer(&mut stream), &format!("{} {}", asked["method"], before["method"]));
        }
    }
}

#[test]
fn an_old_client_is_refused_with_both_versions() {
    let (rsx, pid) = with_good_app();
    for version in [0, 99] {
        let mut stream = connect(&rsx);
        let error = say(&mut stream, &hello(version))["error"].clone();
        assert_eq!(error["code"], -32003);
        assert_eq!((&error["data"]["daemon"], &error["data"]["client"]), (&json!(1), &json!(version)));
        assert_eq!(stream.read_line(&mut String::new()).unwrap(), 0, "the connection ends");
    }
    let mut stream = connect(&rsx);
    let error = say(&mut stream, &json!({"jsonrpc": "2.0", "id": 7, "method": "kill"}));
    assert_eq!((&error["id"], &error["error"]["code"]), (&json!(7), &json!(-32002)));
    is_well(&rsx, pid);
}

#[test]
fn a_message_of_a_gigabyte_is_refused_and_takes_no_memory() {
    let (rsx, pid) = with_good_app();
    let daemon = rsx.daemon().0;
    for (is_known, most) in [(false, 4 << 20), (true, 112 << 20)] {
        let before = peak_memory(daemon.pid);
        let mut stream = connect(&rsx);
        if is_known {
            say(&mut stream, &hello(1));
        }
        let chunk = vec![b'x'; 1 << 20];
        let mut written = 0;
        let refused = (0..1024).find_map(|_| match stream.get_mut().write_all(&chunk) {
            Ok(()) => {
                written += 1;
                None
            }
            Err(error) => Some(error.kind()),
        });
        assert!(matches!(refused, Some(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)), "{refused:?}");
        assert!(written < 40, "{written} MiB were taken");
        assert_eq!(answer(&mut stream)["error"]["data"]["kind"], "too_large");
        let taken = peak_memory(daemon.pid) - before;
        assert!(taken < most, "{taken} bytes of memory were taken");
    }
    is_well(&rsx, pid);
}

/// The most memory that a process has had (proc_pid_status(5)).
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn bytes_that_mean_nothing_harm_nothing() {
    let (rsx, pid) = with_good_app();
    let mut state = 88_172_645_463_325_252_u64;
    let mut noise = |length: usize| -> Vec<u8> {
        let bytes = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        });
        bytes.take(length).collect()
    };
    for round in 0..40 {
        let mut stream = connect(&rsx);
        if round % 2 == 1 {
            say(&mut stream, &hello(1));
        }
        // It may be refused while we write, and closed before all was read.
        let _ = stream.get_mut().write_all(&noise(1 + round * 97));
        let _ = stream.get_mut().write_all(b"\n{}\n[]\nnull\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stop\"}\n");
        let _ = stream.get_ref().shutdown(std::net::Shutdown::Write);
        let mut answers = Vec::new();
        let _ = stream.read_to_end(&mut answers);
        assert!(!String::from_utf8_lossy(&answers).contains("panic"));
    }
    is_well(&rsx, pid);
}

#[test]
fn calls_that_do_not_fit_are_refused_one_by_one() {
    let (rsx, pid) = with_good_app();
    let mut stream = connect(&rsx);
    say(&mut stream, &hello(1));
    for (call, word) in [
        (json!({"jsonrpc": "2.0", "id": 2, "method": "dance"}), "unknown method `dance`"),
        (json!({"jsonrpc": "1.0", "id": 3, "method": "ping"}), "jsonrpc"),
        (json!({"jsonrpc": "2.0", "id": 3, "method": "save", "key": "short"}), "32 hexadecimal digits"),
        (json!({"jsonrpc": "2.0", "id": 3, "method": "update", "params": {"binary": "rsx"}}), "not absolute"),
        (json!({"jsonrpc": "2.0", "method": "ping"}), "id"),
        (
            json!({"jsonrpc": "2.0", "id": 4, "method": "stop", "params": {"targets": [{"word": 1}]}}),
            "params of `stop`",
        ),
        (hello(1), "once"),
        (json!({"jsonrpc": "2.0", "id": 5, "method": "stop", "params": {"targets": [{"word": "god"}]}}), "god"),
        (
            json!({"jsonrpc": "2.0", "id": 6, "method": "apply", "params": {"apps": [bad_spec("a/b")], "inherited": {}}}),
            "/",
        ),
        (
            json!({"jsonrpc": "2.0", "id": 6, "method": "apply", "params": {"apps": [bad_spec("a\u{0}b")], "inherited": {}}}),
            "control",
        ),
    ] {
        let answer = say(&mut stream, &call);
        let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{call}: {answer}"));
        assert!(message.contains(word), "{call}: {message}");
    }
    assert_eq!(say(&mut stream, &json!({"jsonrpc": "2.0", "id": 9, "method": "ping"}))["id"], 9);
    is_well(&rsx, pid);
}

/// A spec that no config file can give.
fn bad_spec(name: &str) -> Value {
    json!({"spec": {
        "name": name, "namespace": "default", "origin": {"folder": "/"}, "cwd": "/", "env": {}, "env_name": null,
        "program": {"kind": "command_line", "line": "true"}, "instances": 1, "instance_var": "N", "autostart": true,
        "restart": {"policy": "always", "stop_exit_codes": [], "min_uptime": 1000, "max_restarts": 16,
            "delay": {"kind": "fixed", "pause": 0}, "retry_after": null},
        "stop": {"signal": "SIGTERM", "kill_timeout": 1000, "treekill": true}, "listen_timeout": 1000,
        "logs": {"out": "default", "error": "default", "merge": false}}, "stamp": null})
}

#[test]
fn many_silent_connections_hinder_nobody() {
    let (rsx, pid) = with_good_app();
    let silent: Vec<UnixStream> = (0..200).map(|_| UnixStream::connect(rsx.socket()).unwrap()).collect();
    rsx.ok("restart good");
    assert_ne!(rsx.pid("good"), pid);
    drop(silent);
}

#[test]
fn another_user_is_refused() {
    if !nix::unistd::getuid().is_root() {
        return skip("only root can become another user");
    }
    if !requires("setpriv") {
        return;
    }
    let (rsx, pid) = with_good_app();
    let binary = rsx.binary_for_all();
    let as_nobody = |verb: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary).arg(verb);
        command.env("RSX_HOME", rsx.home()).current_dir("/");
        rsx.run_command(command)
    };
    let done = as_nobody("ls");
    assert_eq!(done.code, 3, "{}", done.err);
    done.says(&["cannot reach the rsx daemon", "Permission denied", "belongs to another user"]);
    // The socket, too, as a careless administrator may leave it.
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(&rsx.home(), 0o711);
    open(&rsx.socket(), 0o666);
    for verb in ["ls", "kill", "ping"] {
        let done = as_nobody(verb);
        assert_eq!(done.code, 3, "{}", done.err);
        done.says(&["does not answer"]);
    }
    is_well(&rsx, pid);
}
