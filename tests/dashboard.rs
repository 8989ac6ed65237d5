//! `docs/grafana.json` asks for metrics that exist, by labels that they have.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test reads the dashboard and may fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

/// Cargo runs tests in the package's folder.
const PAGE: &str = "docs/grafana.json";

/// Every text of the dashboard that asks Prometheus.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| expressions(one, found)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str().filter(|_| name == "expr" || name == "definition") {
                    Some(text) => found.push(text.to_owned()),
                    None => expressions(field, found),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The words of an expression that name metrics, each with the labels of its selector.
fn named(expression: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (at, _) in expression.match_indices("rsx_") {
        let rest = &expression[at..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let selector =
            rest[end..].strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
        let labels = selector.split(',').filter_map(|pair| pair.split_once('=')).map(|(label, _)| label.to_owned());
        found.push((rest[..end].to_owned(), labels.collect()));
    }
    found
}

#[test]
fn every_panel_asks_for_metrics_that_exist() {
    let families: BTreeMap<String, Vec<&str>> =
        rsx::metrics::families().iter().map(|family| (family.sample_name(), family.labels())).collect();
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(PAGE).unwrap()).unwrap();
    let mut all = Vec::new();
    expressions(&dashboard, &mut all);
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(all.len() > panels.len(), "{all:?}");
    let mut wrong = BTreeSet::new();
    for expression in &all {
        let metrics = named(expression);
        assert!(!metrics.is_empty(), "{expression}");
        for (name, labels) in metrics {
            let known = families.get(&name);
            if known.is_none_or(|known| labels.iter().any(|label| !known.contains(&label.as_str()))) {
                wrong.insert(format!("{name} by {labels:?}: {expression}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
