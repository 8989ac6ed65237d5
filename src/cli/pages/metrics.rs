//! The table of `docs/METRICS.md`.

use std::fmt::Write;

use crate::metrics;

/// One row a metric.
pub(super) fn table() -> String {
    let mut text = String::from("| metric | type | labels | |\n|---|---|---|---|\n");
    for family in metrics::families() {
        let labels: Vec<String> = family.labels().iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, labels, help) = (family.sample_name(), family.kind().as_str(), labels.join(" "), family.help);
        // Into memory.
        let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {help} |");
    }
    text
}
