//! What a program says of itself.

use serde::{Deserialize, Serialize};

/// What the program of an instance says of itself; empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SaidView {
    /// Its status in its own words (sd_notify(3): STATUS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// How its Node is, by the agent in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeView>,
    /// Its own metrics (`axm:monitor`), by name; only in a full view.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricView>,
}

impl SaidView {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == SaidView::default()
    }
}

/// How a Node is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its version: `v20.1.0`.
    pub version: String,
    /// How late its event loop was, in milliseconds.
    #[serde(default)]
    pub lag: f32,
    /// The part of the time that its event loop was busy, from 0 to 1.
    #[serde(default)]
    pub busy: f32,
    /// Bytes of its heap that are in use; 0 until it has said so.
    #[serde(default)]
    pub heap_used: u64,
    /// Bytes of its heap.
    #[serde(default)]
    pub heap_total: u64,
    /// The most bytes that its heap may have.
    #[serde(default)]
    pub heap_limit: u64,
}

/// One metric of a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricView {
    /// Its name.
    pub name: String,
    /// Its value: a number or a text.
    pub value: serde_json::Value,
    /// Its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Its kind in the words of the program, such as `internal` or `http/latency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}
