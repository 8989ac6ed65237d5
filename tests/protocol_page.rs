//! `docs/PROTOCOL.md` shows messages as the code reads and writes them.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test reads the page and may fail")]

use std::fs;

use rsx::proto::{
    Applied, Call, DaemonAnswer, Environments, Event, EventsAnswer, HelloAnswer, History, LogFiles, Message, Outcome,
    Past, Progress, Refusal, Saved, Updating, View, read_call, write_call, write_refusal,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Cargo runs tests in the package's folder.
const PAGE: &str = "docs/PROTOCOL.md";

/// One message of the page: its direction and its text on one line.
struct Shown {
    from_client: bool,
    text: String,
}

/// Messages begin with an arrow, or with `{` where a line is to be copied, and go on in indented lines.
fn shown() -> Vec<Shown> {
    let page = fs::read_to_string(PAGE).unwrap();
    let mut found: Vec<Shown> = Vec::new();
    let mut open = false;
    for line in page.lines() {
        if let Some(text) = line.strip_prefix("→ ").or_else(|| line.starts_with("{\"").then_some(line)) {
            found.push(Shown { from_client: true, text: text.to_owned() });
            open = true;
        } else if let Some(text) = line.strip_prefix("← ") {
            found.push(Shown { from_client: false, text: text.to_owned() });
            open = true;
        } else if open && line.starts_with("    ") {
            found.last_mut().unwrap().text.push_str(line.trim_start());
        } else {
            open = false;
        }
    }
    found
}

/// Read as `T` and written again, the JSON is the same: no field is missing on the page, none is too much.
#[track_caller]
fn same<T: Serialize + DeserializeOwned>(json: &str) {
    let typed: T = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let written: Value = serde_json::from_str(&serde_json::to_string(&typed).unwrap()).unwrap();
    assert_eq!(written, serde_json::from_str::<Value>(json).unwrap(), "{json}");
}

#[test]
fn every_call_of_the_page_is_understood() {
    let mut methods = Vec::new();
    for Shown { text, .. } in shown().into_iter().filter(|shown| shown.from_client) {
        let incoming = read_call(text.as_bytes()).unwrap_or_else(|refused| panic!("{refused:?}: {text}"));
        assert!(incoming.key.is_none() || incoming.call.is_change(), "{text}");
        let again = write_call(incoming.id, incoming.key, &incoming.call);
        let read = read_call(&again[..again.len() - 1]).unwrap();
        assert_eq!((read.key, read.call), (incoming.key, incoming.call.clone()));
        methods.push(match incoming.call {
            Call::Hello(_) => "hello",
            Call::Ping => "ping",
            Call::Apply(_) => "apply",
            Call::Start(_) | Call::Stop(_) | Call::Restart(_) | Call::Reload(_) | Call::Delete(_) => "act",
            Call::Reset(_) | Call::AbortReload(_) => "act",
            Call::Scale(_) => "scale",
            Call::Signal(_) => "signal",
            Call::Send(_) => "send",
            Call::Env(_) => "env",
            Call::Flush(_) => "flush",
            Call::Rotate(_) => "rotate",
            Call::ReloadLogs => "reload_logs",
            Call::Past(_) => "past",
            Call::History(_) => "history",
            Call::View(_) => "view",
            Call::Events(_) => "events",
            Call::Save => "save",
            Call::Resurrect(_) => "resurrect",
            Call::Kill => "kill",
            Call::Update(_) => "update",
        });
    }
    let all = "hello ping apply act view events save resurrect kill scale signal send env flush rotate reload_logs past history update";
    for method in all.split(' ') {
        assert!(methods.contains(&method), "the page does not show `{method}`");
    }
}

#[test]
fn every_answer_of_the_page_is_as_the_daemon_writes_it() {
    let mut asked = None;
    assert!(shown().iter().filter(|shown| !shown.from_client).count() >= 12, "the answers are found");
    for Shown { from_client, text } in shown() {
        if from_client {
            asked = read_call(text.as_bytes()).ok();
            continue;
        }
        match Message::read(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}")) {
            Message::Notification { method, params } if method == "progress" => same::<Progress>(&params),
            Message::Notification { method, params } => {
                assert_eq!(method, "event");
                same::<Event>(&params);
            }
            Message::Refused { id, refusal } => {
                let written: Value = serde_json::from_slice(&write_refusal(id, &refusal)).unwrap();
                assert_eq!(written, serde_json::from_str::<Value>(&text).unwrap());
            }
            Message::Result { id, result } => match asked.as_ref().filter(|asked| asked.id == id).map(|a| &a.call) {
                Some(Call::Hello(_)) => same::<HelloAnswer>(&result),
                Some(Call::Ping) => same::<DaemonAnswer>(&result),
                Some(Call::Apply(_) | Call::Scale(_)) => same::<Applied>(&result),
                Some(Call::Env(_)) => same::<Environments>(&result),
                Some(Call::Flush(_) | Call::Rotate(_) | Call::ReloadLogs) => same::<LogFiles>(&result),
                Some(Call::Past(_)) => same::<Past>(&result),
                Some(Call::History(_)) => same::<History>(&result),
                Some(Call::View(_)) => same::<View>(&result),
                Some(Call::Save) => same::<Saved>(&result),
                Some(Call::Events(_)) => same::<EventsAnswer>(&result),
                Some(Call::Update(_)) => same::<Updating>(&result),
                // An answer without its call on the page: the kinds of outcome.
                Some(
                    Call::Start(_)
                    | Call::Stop(_)
                    | Call::Restart(_)
                    | Call::Reload(_)
                    | Call::AbortReload(_)
                    | Call::Delete(_)
                    | Call::Reset(_)
                    | Call::Signal(_)
                    | Call::Send(_)
                    | Call::Resurrect(_)
                    | Call::Kill,
                )
                | None => same::<Outcome>(&result),
            },
        }
    }
}

#[test]
fn the_table_of_refusals_has_the_codes_that_are_sent() {
    let page = fs::read_to_string(PAGE).unwrap();
    for refusal in [
        Refusal::BadRequest { why: String::new() },
        Refusal::TooLarge { limit: 1 },
        Refusal::HelloFirst,
        Refusal::Protocol { daemon: 1, client: 2 },
        Refusal::UnknownTarget { target: String::new(), similar: vec![] },
        Refusal::NameTaken { name: String::new(), owner: String::new(), asked_by: String::new() },
        Refusal::Leaving,
        Refusal::Instances { name: String::new(), wanted: 0, limit: 1 },
        Refusal::Unchangeable { name: String::new(), why: String::new() },
        Refusal::State { why: String::new() },
        Refusal::Update { why: String::new() },
    ] {
        let sent: Value = serde_json::from_slice(&write_refusal(1, &refusal)).unwrap();
        let row = format!("| {} | `{}` |", sent["error"]["code"], sent["error"]["data"]["kind"].as_str().unwrap());
        assert!(page.contains(&row), "the page has no row `{row}`");
    }
}
