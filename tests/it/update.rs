//! `rsx update` from its caller's side: what is refused, and what is said of each way that it can go.
//!
//! The daemons here are threads of the test, so that each of these ways can be taken.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::harness::{BINARY, Rsx};

/// A daemon of the test: its release, its pid, the pid of its only app and its notices.
#[derive(Clone)]
struct Fake {
    version: &'static str,
    pid: u32,
    app: u32,
    notices: Vec<&'static str>,
}

impl Fake {
    fn listen(rsx: &Rsx) -> UnixListener {
        std::fs::create_dir_all(rsx.home()).unwrap();
        let new = rsx.home().join("rsx.new");
        let listener = UnixListener::bind(&new).unwrap();
        std::fs::rename(new, rsx.socket()).unwrap();
        listener
    }

    /// Serves one client until it has given this many answers besides `hello`; the calls.
    fn serve(&self, listener: &UnixListener, answers: usize, update: &Value) -> Vec<Value> {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let mut asked = Vec::new();
        while asked.len() <= answers {
            let call = read(&mut stream);
            let mut answer = match call["method"].as_str().unwrap() {
                "hello" => json!({"result": {"protocol": 1, "version": self.version}}),
                "view" => json!({"result": self.view()}),
                "update" => update.clone(),
                other => panic!("`{other}` is not expected"),
            };
            answer["jsonrpc"] = json!("2.0");
            answer["id"] = call["id"].clone();
            writeln!(stream.get_mut(), "{answer}").unwrap();
            asked.push(call);
        }
        asked
    }

    fn view(&self) -> Value {
        let slot = json!({"id": 0, "instance": 0, "state": "online", "run": 1, "pid": self.app, "created": 1, "restarts": 0,
            "unstable": 0, "cpu": 0.0, "memory": 0});
        json!({"generation": 1,
            "daemon": {"version": self.version, "pid": self.pid, "guardian": 1, "started": 1, "notices": self.notices},
            "apps": [{"name": "api", "namespace": "default", "user": "me", "slots": [slot]}]})
    }
}

fn read(stream: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

fn old() -> Fake {
    Fake { version: "0.1.0", pid: 100, app: 7, notices: Vec::new() }
}

/// The old daemon hands over to the new one; the calls that the old one got.
fn handover(rsx: &Rsx, next: Fake) -> JoinHandle<Vec<Value>> {
    let (first, second) = (Fake::listen(rsx), rsx.socket().with_extension("next"));
    let (next_listener, socket) = (UnixListener::bind(&second).unwrap(), rsx.socket());
    std::thread::spawn(move || {
        let stays = old();
        let mut stream = BufReader::new(first.accept().unwrap().0);
        let mut asked = Vec::new();
        for _ in 0..3 {
            let call = read(&mut stream);
            let result = match call["method"].as_str().unwrap() {
                "hello" => json!({"protocol": 1, "version": stays.version}),
                "view" => stays.view(),
                _ => {
                    std::fs::rename(&second, &socket).unwrap();
                    json!({"version": next.version})
                }
            };
            writeln!(stream.get_mut(), "{}", json!({"jsonrpc": "2.0", "id": call["id"], "result": result})).unwrap();
            asked.push(call);
        }
        drop((stream, first));
        next.serve(&next_listener, 1, &Value::Null);
        asked
    })
}

#[test]
fn an_update_that_goes_well_names_both_releases() {
    let rsx = Rsx::new();
    let theirs = handover(&rsx, Fake { version: "0.2.0", pid: 101, ..old() });
    rsx.ok("update").says(&["updated 0.1.0 -> 0.2.0, no app noticed"]);
    let asked = theirs.join().unwrap();
    assert_eq!(asked[2]["params"]["binary"], BINARY, "the file of this command");
    assert_eq!(asked[2]["key"].as_str().unwrap().len(), 32);
}

#[test]
fn an_update_as_json_tells_which_instances_are_other_processes() {
    let rsx = Rsx::new();
    let theirs = handover(&rsx, Fake { version: "0.1.0", pid: 101, app: 8, ..old() });
    let told = rsx.json(&format!("update {BINARY}"));
    assert_eq!(told, json!({"from": "0.1.0", "to": "0.1.0", "binary": BINARY, "changed": ["api:0"]}));
    theirs.join().unwrap();
}

#[test]
fn an_update_that_fails_says_why_and_that_the_old_daemon_goes_on() {
    let rsx = Rsx::new();
    let theirs =
        handover(&rsx, Fake { pid: 101, notices: vec!["update failed: it was not ready within 10 s"], ..old() });
    rsx.fails(1, "update").says(&["the update failed, rsx 0.1.0 goes on", "it was not ready within 10 s", "hint:"]);
    theirs.join().unwrap();
}

#[test]
fn a_daemon_that_does_not_hand_over_says_why() {
    let refusal =
        |kind: &str, why: &str| json!({"error": {"code": -32010, "message": why, "data": {"kind": kind, "why": why}}});
    for (update, word) in [
        (refusal("update", "it needs a newer kernel"), "it needs a newer kernel"),
        (refusal("bad_request", "unknown method `update`"), "`rsx resurrect` by the new one"),
    ] {
        let rsx = Rsx::new();
        let listener = Fake::listen(&rsx);
        let theirs = std::thread::spawn(move || old().serve(&listener, 2, &update));
        rsx.fails(1, "update").says(&["the rsx daemon (0.1.0) does not hand over", word, "hint:"]);
        theirs.join().unwrap();
    }
}

#[test]
fn an_update_needs_a_daemon_and_a_program() {
    let rsx = Rsx::new();
    for verb in ["update", "updatePM2", "deepUpdate"] {
        rsx.fails(3, verb).says(&["nothing to update", "hint: `rsx start`"]);
    }
    rsx.ok("start 'sleep 1000' --min-uptime 100");
    rsx.fails(4, "update ./nothing").says(&["there is no file", "hint: rsx update"]);
    rsx.write("text", "no program");
    rsx.fails(2, "update text").says(&["is no program"]);
    rsx.fails(2, "update .").says(&["is no program"]);
}
