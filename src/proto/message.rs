//! The JSON-RPC 2.0 envelope round calls, answers and notifications (<https://www.jsonrpc.org/specification>).

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::proto::{
    Act, Apply, Call, EnvCall, EventsCall, FlushCall, Hello, HistoryCall, Key, KeyError, PastCall, Refusal,
    ResurrectCall, RotateCall, ScaleCall, SendCall, SignalCall, UpdateCall, ViewCall,
};

/// A line is no message of this protocol.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// It is no JSON, or not of the expected form.
    #[error("not a JSON-RPC 2.0 message: {0}")]
    Form(#[from] serde_json::Error),
    /// It has neither `result`, `error` nor `method`.
    #[error("not a JSON-RPC 2.0 message: neither result, error nor method")]
    Empty,
}

/// A call as it arrived, with the id to answer to.
#[derive(Debug)]
pub struct Incoming {
    /// The caller's id, sent back as it came.
    pub id: u64,
    /// The name of the wish, where the caller gives it one.
    pub key: Option<Key>,
    /// What is asked.
    pub call: Call,
}

/// What a client can receive.
#[derive(Debug)]
pub enum Message {
    /// The answer to the call with this id, still to be read by its type.
    Result {
        /// The call's id.
        id: u64,
        /// JSON text.
        result: String,
    },
    /// The refusal of the call with this id (0 when the daemon could not read one).
    Refused {
        /// The call's id.
        id: u64,
        /// Why.
        refusal: Refusal,
    },
    /// `progress`, `event` …
    Notification {
        /// Its method.
        method: String,
        /// JSON text.
        params: String,
    },
}

#[derive(Deserialize)]
struct RawCall<'a> {
    jsonrpc: &'a str,
    #[serde(default)]
    id: Option<u64>,
    method: &'a str,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawMessage<'a> {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default)]
    method: Option<&'a str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<RawError<'a>>,
}

#[derive(Deserialize)]
struct RawError<'a> {
    message: String,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct OutRefusal<'a> {
    code: i32,
    message: String,
    data: &'a Refusal,
}

#[derive(Serialize)]
struct OutCall<'a, P: Serialize> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Key>,
    params: P,
}

#[derive(Serialize)]
struct OutResult<'a, R: Serialize> {
    jsonrpc: &'static str,
    id: u64,
    result: &'a R,
}

#[derive(Serialize)]
struct OutError<'a> {
    jsonrpc: &'static str,
    id: u64,
    error: OutRefusal<'a>,
}

/// Reads a call from one line.
///
/// # Errors
///
/// The id as far as it could be read (else 0), and [`Refusal::BadRequest`] with the reason.
pub fn read_call(line: &[u8]) -> Result<Incoming, (u64, Refusal)> {
    let bad = |why: String| Refusal::BadRequest { why };
    let raw: RawCall<'_> = serde_json::from_slice(line).map_err(|e| (0, bad(e.to_string())))?;
    let Some(id) = raw.id else {
        return Err((0, bad("a call needs a numeric `id`".into())));
    };
    if raw.jsonrpc != "2.0" {
        return Err((id, bad(format!("`jsonrpc` must be \"2.0\", not \"{}\"", raw.jsonrpc))));
    }
    let key = raw.key.map(|key| read_key(key.get())).transpose().map_err(|error| (id, bad(error.to_string())))?;
    let params = raw.params.map_or("{}", RawValue::get);
    let call = match raw.method {
        "hello" => typed::<Hello>(params).map(Call::Hello),
        "ping" => Ok(Call::Ping),
        "apply" => typed::<Apply>(params).map(|apply| Call::Apply(Box::new(apply))),
        "start" => typed::<Act>(params).map(Call::Start),
        "stop" => typed::<Act>(params).map(Call::Stop),
        "restart" => typed::<Act>(params).map(Call::Restart),
        "delete" => typed::<Act>(params).map(Call::Delete),
        "reset" => typed::<Act>(params).map(Call::Reset),
        "reload" => typed::<Act>(params).map(Call::Reload),
        "abort_reload" => typed::<Act>(params).map(Call::AbortReload),
        "scale" => typed::<ScaleCall>(params).map(Call::Scale),
        "signal" => typed::<SignalCall>(params).map(Call::Signal),
        "send" => typed::<SendCall>(params).map(Call::Send),
        "env" => typed::<EnvCall>(params).map(Call::Env),
        "flush" => typed::<FlushCall>(params).map(Call::Flush),
        "rotate" => typed::<RotateCall>(params).map(Call::Rotate),
        "reload_logs" => Ok(Call::ReloadLogs),
        "past" => typed::<PastCall>(params).map(Call::Past),
        "history" => typed::<HistoryCall>(params).map(Call::History),
        "view" => typed::<ViewCall>(params).map(Call::View),
        "events" => typed::<EventsCall>(params).map(Call::Events),
        "save" => Ok(Call::Save),
        "resurrect" => typed::<ResurrectCall>(params).map(Call::Resurrect),
        "kill" => Ok(Call::Kill),
        "update" => typed::<UpdateCall>(params).map(Call::Update),
        other => return Err((id, bad(format!("unknown method `{other}`")))),
    };
    match call {
        Ok(call) => Ok(Incoming { id, key, call }),
        Err(error) => Err((id, bad(format!("params of `{}`: {error}", raw.method)))),
    }
}

/// Writes a call as one line, newline included.
pub fn write_call(id: u64, key: Option<Key>, call: &Call) -> Vec<u8> {
    let id = (id, key);
    match call {
        Call::Hello(params) => out_call(id, "hello", params),
        Call::Ping => out_call(id, "ping", ()),
        Call::Apply(params) => out_call(id, "apply", params),
        Call::Start(params) => out_call(id, "start", params),
        Call::Stop(params) => out_call(id, "stop", params),
        Call::Restart(params) => out_call(id, "restart", params),
        Call::Delete(params) => out_call(id, "delete", params),
        Call::Reset(params) => out_call(id, "reset", params),
        Call::Reload(params) => out_call(id, "reload", params),
        Call::AbortReload(params) => out_call(id, "abort_reload", params),
        Call::Scale(params) => out_call(id, "scale", params),
        Call::Signal(params) => out_call(id, "signal", params),
        Call::Send(params) => out_call(id, "send", params),
        Call::Env(params) => out_call(id, "env", params),
        Call::Flush(params) => out_call(id, "flush", params),
        Call::Rotate(params) => out_call(id, "rotate", params),
        Call::ReloadLogs => out_call(id, "reload_logs", ()),
        Call::Past(params) => out_call(id, "past", params),
        Call::History(params) => out_call(id, "history", params),
        Call::View(params) => out_call(id, "view", params),
        Call::Events(params) => out_call(id, "events", params),
        Call::Save => out_call(id, "save", ()),
        Call::Resurrect(params) => out_call(id, "resurrect", params),
        Call::Kill => out_call(id, "kill", ()),
        Call::Update(params) => out_call(id, "update", params),
    }
}

/// Writes the answer to a call as one line.
pub fn write_result<R: Serialize>(id: u64, result: &R) -> Vec<u8> {
    line(&OutResult { jsonrpc: "2.0", id, result })
}

/// Writes a refusal as one line. Codes are JSON-RPC's where they fit, else -32000 and down by kind.
pub fn write_refusal(id: u64, refusal: &Refusal) -> Vec<u8> {
    let code = match refusal {
        Refusal::BadRequest { .. } => -32600,
        Refusal::TooLarge { .. } => -32001,
        Refusal::HelloFirst => -32002,
        Refusal::Protocol { .. } => -32003,
        Refusal::UnknownTarget { .. } => -32004,
        Refusal::NameTaken { .. } => -32005,
        Refusal::Leaving => -32006,
        Refusal::State { .. } => -32007,
        Refusal::Instances { .. } => -32008,
        Refusal::Unchangeable { .. } => -32009,
        Refusal::Update { .. } => -32010,
        Refusal::Reloading { .. } => -32011,
    };
    line(&OutError { jsonrpc: "2.0", id, error: OutRefusal { code, message: refusal.to_string(), data: refusal } })
}

/// Writes a notification as one line.
pub fn write_notification<P: Serialize>(method: &str, params: &P) -> Vec<u8> {
    line(&OutCall { jsonrpc: "2.0", id: None, method, key: None, params })
}

impl Message {
    /// Reads what a daemon sent from one line.
    ///
    /// # Errors
    ///
    /// [`MessageError`] if the line is no JSON-RPC message.
    pub fn read(text: &[u8]) -> Result<Message, MessageError> {
        let raw: RawMessage<'_> = serde_json::from_slice(text)?;
        let get = |value: Option<&RawValue>| value.map_or_else(|| "null".to_owned(), |v| v.get().to_owned());
        match (raw.method, raw.error, raw.result) {
            (Some(method), _, _) => Ok(Message::Notification { method: method.to_owned(), params: get(raw.params) }),
            (None, Some(error), _) => Ok(Message::Refused {
                id: raw.id.unwrap_or(0),
                // A newer daemon may refuse in a way that this release does not know: its sentence says why.
                refusal: error
                    .data
                    .and_then(|data| serde_json::from_str(data.get()).ok())
                    .unwrap_or(Refusal::State { why: error.message }),
            }),
            (None, None, Some(result)) => {
                Ok(Message::Result { id: raw.id.unwrap_or(0), result: result.get().to_owned() })
            }
            // An empty answer: `"result": null` reads as none.
            (None, None, None) if raw.id.is_some() => {
                Ok(Message::Result { id: raw.id.unwrap_or(0), result: "null".into() })
            }
            (None, None, None) => Err(MessageError::Empty),
        }
    }
}

fn typed<T: DeserializeOwned>(params: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(if params == "null" { "{}" } else { params })
}

fn out_call<P: Serialize>((id, key): (u64, Option<Key>), method: &str, params: P) -> Vec<u8> {
    line(&OutCall { jsonrpc: "2.0", id: Some(id), method, key, params })
}

/// Longer text is not even looked at.
fn read_key(json: &str) -> Result<Key, KeyError> {
    json.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or(KeyError)?.parse()
}

fn line<T: Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(message).expect("messages are plain data: strings as keys, no failing impl");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::{Count, Mark, StepName, Target, ViewDetail};
    use crate::spec::Signal;

    #[track_caller]
    fn round_trip(call: &Call) {
        for key in [None, Some(Key::from_bytes([7; 16]))] {
            let bytes = write_call(7, key, call);
            let incoming = read_call(&bytes[..bytes.len() - 1]).unwrap();
            assert_eq!((incoming.id, incoming.key, &incoming.call), (7, key, call));
        }
    }

    #[test]
    fn every_call_survives_the_wire() {
        let act = || Act {
            targets: vec![Target::Word("all".into())],
            update_env: None,
            changes: None,
            parallel: None,
            strategy: None,
            no_wait: false,
        };
        for call in [
            Call::Hello(Hello { protocol: 1, version: "0.1.0".into(), verb: "ls".into() }),
            Call::Ping,
            Call::Start(act()),
            Call::Stop(act()),
            Call::Restart(act()),
            Call::Reload(act()),
            Call::AbortReload(act()),
            Call::Delete(act()),
            Call::Reset(act()),
            Call::Scale(ScaleCall { targets: act().targets, count: Count::By(-2), no_wait: true }),
            Call::Signal(SignalCall { targets: act().targets, signal: Signal::INT }),
            Call::Send(SendCall { targets: act().targets, line: "reload \u{1f980}".into() }),
            Call::Env(EnvCall { targets: act().targets, show: true }),
            Call::Flush(FlushCall { targets: act().targets, keep_archives: true }),
            Call::Rotate(RotateCall { targets: act().targets }),
            Call::ReloadLogs,
            Call::Past(PastCall { history: 9 }),
            Call::History(HistoryCall {
                targets: act().targets,
                series: vec!["cpu".into()],
                step: StepName::Minute,
                since: Some(1),
            }),
            Call::View(ViewCall { detail: ViewDetail::Full }),
            Call::Events(EventsCall { history: 3, after: None }),
            Call::Events(EventsCall { history: 3, after: Some(Mark { seq: 7, time: Some(1) }) }),
            Call::Save,
            Call::Resurrect(ResurrectCall { no_wait: true }),
            Call::Kill,
            Call::Update(UpdateCall { binary: "/usr/bin/rsx".into() }),
        ] {
            round_trip(&call);
        }
    }

    #[test]
    fn a_bad_call_is_refused_with_its_id_and_the_reason() {
        let (id, refusal) = read_call(br#"{"jsonrpc":"2.0","id":3,"method":"dance"}"#).unwrap_err();
        assert_eq!((id, refusal.to_string()), (3, "not understood: unknown method `dance`".into()));
        let (id, refusal) =
            read_call(br#"{"jsonrpc":"2.0","id":4,"method":"stop","params":{"targets":1}}"#).unwrap_err();
        assert_eq!(id, 4);
        assert!(refusal.to_string().contains("params of `stop`"), "{refusal}");
        assert_eq!(read_call(b"hello").unwrap_err().0, 0);
    }

    #[test]
    fn a_key_that_is_none_is_refused_and_one_that_is_null_is_none() {
        let call =
            |key: &str| read_call(format!(r#"{{"jsonrpc":"2.0","id":5,"method":"kill","key":{key}}}"#).as_bytes());
        for wrong in ["1", "\"abc\"", "{}", &format!("\"{}\"", "0".repeat(1_000_000))] {
            let (id, refusal) = call(wrong).unwrap_err();
            assert_eq!(id, 5);
            assert!(refusal.to_string().contains("32 hexadecimal digits"), "{refusal}");
        }
        assert_eq!(call("null").unwrap().key, None);
    }

    #[test]
    fn a_refusal_of_a_newer_daemon_is_told_in_its_words() {
        let line =
            br#"{"jsonrpc":"2.0","id":2,"error":{"code":-32099,"message":"it is Sunday","data":{"kind":"sunday"}}}"#;
        let Message::Refused { id: 2, refusal } = Message::read(line).unwrap() else { panic!("not a refusal") };
        assert_eq!(refusal.to_string(), "it is Sunday");
    }

    #[test]
    fn a_refusal_reaches_the_client_as_it_is() {
        let refusal = Refusal::UnknownTarget { target: "apo".into(), similar: vec!["api".into()] };
        let Message::Refused { id: 9, refusal: got } = Message::read(&write_refusal(9, &refusal)).unwrap() else {
            panic!("not a refusal");
        };
        assert_eq!(got, refusal);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_call(&bytes);
            let _ = Message::read(&bytes);
        }

        #[test]
        fn any_target_survives(words in proptest::collection::vec(".*", 0..5)) {
            round_trip(&Call::Stop(Act { targets: words.into_iter().map(Target::Word).collect(), update_env: None, changes: None, parallel: None, strategy: None, no_wait: false }));
        }
    }
}
