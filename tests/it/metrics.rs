//! `rsx metrics`, and what the history has of connections, queues and Nodes.

use std::net::TcpStream;
use std::process::Command;

use serde_json::Value;

use crate::harness::{LIMIT, Rsx, free_port, requires, skip};

/// The value of the one sample of a metric with these labels.
fn value(metrics: &Value, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let family = metrics.as_array().unwrap().iter().find(|family| family["name"] == name).unwrap();
    let is_it = |sample: &&Value| labels.iter().all(|(label, value)| sample["labels"][*label] == *value);
    let found = family["samples"].as_array().unwrap().iter().find(is_it)?;
    found["value"].as_f64()
}

/// Accepts and keeps what it accepts.
const KEEPS: &str = "
import socket, sys
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(('127.0.0.1', int(sys.argv[1])))
server.listen(64)
kept = []
while True:
    kept.append(server.accept())
";

#[test]
fn the_connections_of_each_instance_are_counted_and_remembered() {
    if !requires("python3") {
        return;
    }
    let rsx = Rsx::new();
    let port = free_port();
    rsx.write("keeps.py", KEEPS);
    rsx.ok(&format!("start keeps.py -i 2 -- {port}"));
    let held: Vec<TcpStream> = (0..12).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let count = |metrics: &Value| -> f64 {
        let of = |instance| value(metrics, "rsx_connections", &[("app", "keeps"), ("instance", instance)]);
        of("0").unwrap_or(0.0) + of("1").unwrap_or(0.0)
    };
    let counted = |wanted: f64| {
        let begun = std::time::Instant::now();
        while count(&rsx.ok("metrics --json").json()) != wanted {
            assert!(begun.elapsed() < LIMIT, "{}", rsx.ok("metrics").out);
        }
    };
    counted(12.0);
    rsx.ok("describe keeps").prints(&[" connection"]);
    // Those who have left do not count.
    drop(held);
    let metrics = rsx.ok("metrics --json").json();
    assert_eq!(value(&metrics, "rsx_up", &[("app", "keeps"), ("instance", "1")]), Some(1.0));
    assert_eq!(value(&metrics, "rsx_accept_queue", &[("app", "keeps")]), Some(0.0));
}

#[test]
fn reloads_limits_and_the_daemon_itself_are_measured() {
    if !requires("python3") {
        return;
    }
    let rsx = Rsx::new();
    let port = free_port();
    rsx.write("keeps.py", KEEPS);
    rsx.ecosystem(&format!(
        "[[apps]]\nname = \"keeps\"\nscript = \"keeps.py\"\nargs = [\"{port}\"]\ninstances = 2\nbake = 0\n\
         drain_timeout = \"1s\"\nmax_memory_restart = \"500M\"\n"
    ));
    rsx.ok("start ecosystem.toml");
    let metrics = rsx.ok("metrics --json").json();
    let first = [("app", "keeps"), ("instance", "0")];
    let of = |metrics: &Value, name: &str, label: &str, it: &str| {
        value(metrics, name, &[first[0], first[1], (label, it)]).unwrap()
    };
    assert_eq!(value(&metrics, "rsx_memory_limit_bytes", &first[..1]), Some(524_288_000.0));
    assert_eq!(value(&metrics, "rsx_memory_warning_bytes", &first[..1]), Some(419_430_400.0));
    assert_eq!(of(&metrics, "rsx_reloads_total", "result", "done"), 0.0);
    assert!(value(&metrics, "rsx_daemon_memory_bytes", &[]).unwrap() > 1e6);
    assert!(value(&metrics, "rsx_daemon_descriptors", &[]).unwrap() > 5.0);
    assert!(value(&metrics, "rsx_daemon_cpu_seconds_total", &[]).unwrap() > 0.0);
    assert!(value(&metrics, "rsx_daemon_loop_lag_seconds", &[]).unwrap() < 1.0);
    rsx.ok("reload keeps");
    let metrics = rsx.ok("metrics --json").json();
    assert_eq!(of(&metrics, "rsx_reloads_total", "result", "done"), 1.0);
    assert!(value(&metrics, "rsx_reload_duration_seconds_total", &first).unwrap() > 0.0);
    assert_eq!(value(&metrics, "rsx_drains_total", &first), Some(1.0));
    assert_eq!(of(&metrics, "rsx_restarts_total", "cause", "request"), 1.0);
    assert_eq!(of(&metrics, "rsx_restarts_total", "cause", "itself"), 0.0);
    assert_eq!(value(&metrics, "rsx_log_up", &first), Some(1.0));
    // A reload that a successor sees the end of is one, too.
    rsx.daemon().0.kill("KILL");
    rsx.ok("reload keeps");
    let metrics = rsx.ok("metrics --json").json();
    assert_eq!(of(&metrics, "rsx_reloads_total", "result", "done"), 1.0);
    assert_eq!(of(&metrics, "rsx_restarts_total", "cause", "request"), 2.0);
}

#[test]
fn the_parser_of_prometheus_reads_what_is_printed() {
    if !requires("python3") {
        return;
    }
    let rsx = Rsx::new();
    rsx.ok("start \"sleep 1000\" --name plain");
    rsx.write(
        "odd.json",
        r#"[{ "name": "a\"b\\c ü", "namespace": "x-1", "script": "sleep 1000", "instances": 2, "exec_mode": "fork" }]"#,
    );
    rsx.ok("start odd.json");
    let text = rsx.ok("metrics").out.clone();
    assert!(text.ends_with("# EOF\n"), "{text}");
    rsx.write("metrics.txt", &text);
    rsx.write("old.txt", rsx.ok("metrics --format prometheus").out);
    rsx.write("read.py", READS);
    let python = std::env::var("RSX_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let has_parser = Command::new(&python).args(["-c", "import prometheus_client"]).output();
    if !has_parser.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none_or(|it| it != "true"), "no prometheus-client for {python}");
        return skip(&format!("{python} has no prometheus-client"));
    }
    let output = Command::new(&python).args(["read.py"]).current_dir(rsx.scratch()).output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
}

const READS: &str = "
from prometheus_client.openmetrics.parser import text_string_to_metric_families as new
from prometheus_client.parser import text_string_to_metric_families as old
for read, path in ((new, 'metrics.txt'), (old, 'old.txt')):
    families = list(read(open(path).read()))
    samples = [sample for family in families for sample in family.samples]
    up = {(s.labels['app'], s.labels['namespace'], s.labels['instance']): s.value for s in samples if s.name == 'rsx_up'}
    odd = 'a\"b\\\\c \\u00fc'
    assert up == {('plain', 'default', '0'): 1, (odd, 'x-1', '0'): 1, (odd, 'x-1', '1'): 1}, up
    restarts = [family for family in families if family.name == 'rsx_restarts']
    assert restarts and restarts[0].type == 'counter', families
";
