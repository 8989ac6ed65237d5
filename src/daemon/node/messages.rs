//! What programs send, understood: the messages of the channel, and those of the agent.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::daemon::node::agent::Tick;
use crate::proto::MetricView;

/// The longest name or text of a metric that is kept, in bytes.
const TEXT: usize = 128;

/// What `process.send` was given.
#[derive(Debug, PartialEq)]
pub(super) enum Sent {
    /// `'ready'`: it is.
    Ready,
    /// `{ type: 'axm:monitor' }`: metrics of its own.
    Metrics(Vec<MetricView>),
    /// A message with a handle, which nobody takes here; until that is said, Node holds back all that follow.
    Handle,
    /// Something that is not for rsx.
    Other,
}

impl Sent {
    /// One line of a channel. What cannot be read is nothing: the end of a line whose beginning a predecessor has read.
    pub(super) fn read(line: &[u8]) -> Sent {
        serde_json::from_slice(line).map_or(Sent::Other, |value| Sent::of(&value))
    }

    pub(super) fn of(value: &Value) -> Sent {
        if value == "ready" {
            return Sent::Ready;
        }
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        match (text("type"), text("cmd"), value.get("data")) {
            (Some("axm:monitor"), _, Some(Value::Object(data))) => Sent::Metrics(metrics(data)),
            (_, Some("NODE_HANDLE"), _) => Sent::Handle,
            _ => Sent::Other,
        }
    }
}

/// `{ "Requests": { "value": 3, "unit": "req/s", "type": "…" } }`; libraries for PM2 write values as numbers or as text.
fn metrics(data: &Map<String, Value>) -> Vec<MetricView> {
    let short = |text: &str| text.len() <= TEXT;
    let text = |entry: &Value, name: &str| entry.get(name)?.as_str().filter(|text| short(text)).map(str::to_owned);
    let metric = |(name, entry): (&String, &Value)| {
        let value = entry.get("value").unwrap_or(entry);
        let is_plain = value.is_number() || value.is_boolean() || value.as_str().is_some_and(short);
        (short(name) && is_plain).then(|| MetricView {
            name: name.clone(),
            value: value.clone(),
            unit: text(entry, "unit").filter(|unit| !unit.is_empty()),
            kind: text(entry, "type"),
        })
    };
    data.iter().filter_map(metric).collect()
}

/// One line of an agent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Told {
    /// It is there.
    pub(super) hello: Option<Hello>,
    /// For which of the signals that ask for an end the program listens now, and whether for messages of ours.
    pub(super) heeds: Option<Vec<String>>,
    /// How the program is.
    pub(super) tick: Option<Tick>,
    /// What the program has sent, where it has no channel.
    pub(super) sent: Option<Value>,
}

/// The first line of an agent, of each of its connections.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Hello {
    /// Of Node.
    pub(super) version: String,
    pub(super) heeds: Vec<String>,
    /// Whether the program has sent `'ready'`.
    pub(super) ready: bool,
}

/// Whether that is SIGINT, and not SIGTERM.
pub(super) fn is_interrupt_only(heeds: &[String]) -> bool {
    let has = |signal: &str| heeds.iter().any(|name| name == signal);
    has("SIGINT") && !has("SIGTERM")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_for_pm2_are_understood_and_others_left_alone() {
        assert_eq!(Sent::read(b"\"ready\""), Sent::Ready);
        for other in ["\"shutdown\"", "{\"type\":\"process:msg\"}", "ady\"", "", "[1]", "{\"type\":\"axm:monitor\"}"] {
            assert_eq!(Sent::read(other.as_bytes()), Sent::Other, "{other}");
        }
        assert_eq!(Sent::read(br#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{}}"#), Sent::Handle);
        let long = "x".repeat(TEXT + 1);
        let sent = json!({ "type": "axm:monitor", "data": {
            "Requests": { "value": "12.50", "unit": "req/min", "type": "http", "historic": true },
            "Loop": { "value": 3, "unit": "" },
            "plain": 7,
            "nested": { "value": { "a": 1 } },
            long.as_str(): { "value": 1 },
            "text": { "value": long.as_str() },
        } });
        let Sent::Metrics(metrics) = Sent::of(&sent) else { panic!("no metrics") };
        let shown: Vec<_> = metrics.iter().map(|it| (it.name.as_str(), it.value.clone(), it.unit.as_deref())).collect();
        let expected =
            [("Loop", json!(3), None), ("Requests", json!("12.50"), Some("req/min")), ("plain", json!(7), None)];
        assert_eq!(shown, expected);
    }

    #[test]
    fn an_agent_of_another_version_is_understood_as_far_as_can_be() {
        let told: Told = serde_json::from_str(r#"{"hello":{"version":"v1","new":1},"newer":{}}"#).unwrap();
        assert_eq!(told.hello.unwrap().version, "v1");
        let heeds =
            |names: &[&str]| is_interrupt_only(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert!(heeds(&["SIGINT"]) && !heeds(&["SIGINT", "SIGTERM"]) && !heeds(&[]) && !heeds(&["SIGTERM"]));
    }
}
