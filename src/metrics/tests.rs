//! What is written of a view.

use serde_json::json;

use super::*;

/// A view with one app of this name, whose only instance is as `with` says.
fn shop(name: &str, with: &serde_json::Value) -> View {
    let mut slot = json!({
        "id": 0, "instance": 0, "state": "online", "run": 1, "pid": 9, "started": 1500, "created": 0, "restarts": 3,
        "unstable": 0, "cpu": 150.0, "memory": 1024, "restarts_by": { "request": 2 },
    });
    slot.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    let app = json!({ "name": name, "namespace": "default", "user": "root", "slots": [slot] });
    let daemon = json!({ "version": "1.0", "pid": 1, "guardian": 2, "started": 1000 });
    serde_json::from_value(json!({ "generation": 1, "daemon": daemon, "apps": [app] })).unwrap()
}

#[track_caller]
fn holds(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|known| known == *line), "{line}\n{text}");
    }
}

#[test]
fn an_instance_is_told_in_base_units() {
    let text = text(shop("api", &json!({})), Format::OpenMetrics);
    holds(
        &text,
        &[
            "rsx_build_info{version=\"1.0\"} 1",
            "rsx_daemon_start_time_seconds 1.0",
            "# TYPE rsx_restarts counter",
            "rsx_restarts_total{app=\"api\",namespace=\"default\",instance=\"0\",cause=\"request\"} 2.0",
            "rsx_restarts_total{app=\"api\",namespace=\"default\",instance=\"0\",cause=\"itself\"} 1.0",
            "rsx_start_time_seconds{app=\"api\",namespace=\"default\",instance=\"0\"} 1.5",
            "rsx_cpu_cores{app=\"api\",namespace=\"default\",instance=\"0\"} 1.5",
            "# UNIT rsx_memory_bytes bytes",
            "rsx_memory_bytes{app=\"api\",namespace=\"default\",instance=\"0\"} 1024.0",
            "rsx_state{app=\"api\",namespace=\"default\",instance=\"0\",state=\"online\"} 1.0",
        ],
    );
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    assert!(!text.contains("rsx_node_") && !text.contains("rsx_health"), "what is not known has no sample: {text}");
}

#[test]
fn odd_names_are_escaped() {
    let text = text(shop("a\"b\\c\nd {ü}", &json!({})), Format::OpenMetrics);
    holds(&text, &["rsx_up{app=\"a\\\"b\\\\c\\nd {ü}\",namespace=\"default\",instance=\"0\"} 1.0"]);
}

#[test]
fn the_metrics_of_a_program_are_numbers_under_one_name() {
    let metrics = json!([
        { "name": "Requests", "value": "12.5", "unit": "req/min" },
        { "name": "Users online", "value": 3 },
        { "name": "Mood", "value": "good" },
        { "name": "Depth", "value": "NaN" },
        { "name": "ü".repeat(150), "value": 1 },
        { "name": format!("{}x", "ü".repeat(150)), "value": 2 },
    ]);
    let view = shop("api", &json!({ "said": { "metrics": metrics } }));
    let custom = families().iter().find(|family| family.sample_name() == "rsx_custom").unwrap();
    let samples = custom.samples(&view);
    let told: Vec<(&str, &str, f64)> =
        samples.iter().map(|sample| (&*sample.labels[3].1, &*sample.labels[4].1, sample.value)).collect();
    let long = "ü".repeat(100);
    assert_eq!(told, [("Requests", "req/min", 12.5), ("Users online", "", 3.0), (long.as_str(), "", 1.0)]);
}

#[test]
fn the_older_format_names_counters_as_their_samples() {
    let text = text(shop("api", &json!({})), Format::Prometheus);
    holds(&text, &["# TYPE rsx_restarts_total counter"]);
    assert!(!text.contains("# UNIT"), "{text}");
}

#[test]
fn a_name_is_there_once_and_each_family_has_a_sentence() {
    let mut names: Vec<String> = families().iter().map(Family::sample_name).collect();
    assert!(families().iter().all(|family| family.help.ends_with('.') && !family.help.contains('\n')));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), families().len());
}
