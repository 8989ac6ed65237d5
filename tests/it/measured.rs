//! CPU and memory of instances: what is shown, and what is remembered of it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{LIMIT, Rsx, requires};

/// A main process that rests, and a child in a session of its own that works and holds 60 MB.
const FAMILY: &str = "
import os, time
if os.fork() == 0:
    os.setsid()
    held = bytearray(60_000_000)
    while True:
        pass
time.sleep(1000)
";

/// The answer to one `history` call.
#[track_caller]
fn history(rsx: &Rsx, params: &Value) -> Value {
    let stream = UnixStream::connect(rsx.socket()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut stream = BufReader::new(stream);
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {"protocol": 1, "version": "test"}});
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "history", "params": params});
    writeln!(stream.get_mut(), "{hello}\n{call}").unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.clear();
    stream.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

/// All values of one series of the only instance of an answer.
fn values(answer: &Value, series: &str) -> Vec<f64> {
    let all = answer["result"]["instances"][0]["series"].as_array().unwrap();
    let found = all.iter().find(|one| one["name"] == series);
    found.map_or(Vec::new(), |one| one["values"].as_array().unwrap().iter().filter_map(Value::as_f64).collect())
}

/// Asks until the answer is as it should be.
#[track_caller]
fn until(rsx: &Rsx, params: &Value, is_it: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let answer = history(rsx, params);
        if is_it(&answer) {
            return answer;
        }
        assert!(begun.elapsed() < 2 * LIMIT, "{answer}");
        std::thread::yield_now();
    }
}

#[test]
fn a_child_that_has_left_its_parent_counts_and_what_was_measured_outlives_the_daemon() {
    if !requires("python3") {
        return;
    }
    let rsx = Rsx::new();
    rsx.write("family.py", FAMILY);
    rsx.ok("start family.py --min-uptime 100");
    let params = json!({"targets": [{"word": "family"}]});
    let holds = |answer: &Value| values(answer, "memory").iter().filter(|bytes| **bytes > 60e6).count() >= 2;
    let before = until(&rsx, &params, holds);
    assert!(values(&before, "cpu").iter().any(|percent| *percent > 1.0), "{before}");
    assert!(rsx.slot("family", 0)["memory"].as_u64().unwrap() > 60_000_000);

    rsx.daemon().0.kill("KILL");
    rsx.ok("ping");
    let from = &before["result"]["from"];
    let length = before["result"]["length"].as_u64().unwrap();
    let after = until(&rsx, &params, |answer| answer["result"]["length"].as_u64().unwrap_or(0) > length);
    assert_eq!(&after["result"]["from"], from);
    let remembered = values(&after, "memory");
    assert_eq!(remembered[..values(&before, "memory").len()], values(&before, "memory"));
    // The successor has not been there before: that the child has worked until then is not the work of one second.
    assert!(values(&after, "cpu").iter().all(|percent| *percent < 300.0), "{after}");

    let later = json!({"targets": [{"word": "family"}], "series": ["cpu"], "since": 99_999_999_999_999_u64});
    assert_eq!(history(&rsx, &later)["result"]["length"], 0);
    let unknown = history(&rsx, &json!({"targets": [{"word": "family"}], "series": ["smell"]}));
    assert!(unknown["error"]["message"].as_str().unwrap().contains("`smell`"), "{unknown}");
}
