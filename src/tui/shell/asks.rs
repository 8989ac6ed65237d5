//! What the daemon is asked for: a thread and a connection for each, so that the screen goes on.

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use crate::client::{Client, ClientError};
use crate::error::Failure;
use crate::paths::Home;
use crate::proto::{Applied, Call, LogFiles, Outcome};
use crate::tui::message::{Answer, Message};

/// How long an answer is waited for: longer than any reload that somebody watches.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Asks in a thread of its own; the answer comes under this number.
pub(super) fn ask(home: &Home, number: u64, call: Box<Call>, to: &SyncSender<Message>) {
    let (home, thread_to) = (home.clone(), to.clone());
    let thread = std::thread::Builder::new().name(format!("rsx-ask-{number}"));
    let spawned = thread.spawn(move || {
        let answer = asked(&home, &call, number, &thread_to).map_err(in_words);
        let _ = thread_to.send(Message::Answered(number, answer));
    });
    if let Err(error) = spawned {
        // The caller is the one who reads the channel: it must not wait for itself.
        let _ = to.try_send(Message::Answered(number, Err(format!("cannot start a thread: {error}"))));
    }
}

fn asked(home: &Home, call: &Call, number: u64, to: &SyncSender<Message>) -> Result<Answer, ClientError> {
    let mut client = Client::connect_or_take_over(home, verb(call))?.ok_or(ClientError::Ended)?;
    let mut ticket = client.send(call, Duration::from_secs(10))?;
    let mut tell = |progress| {
        let _ = to.send(Message::Progress(number, progress));
    };
    match call {
        Call::Flush(_) => client.wait::<LogFiles>(&mut ticket, LIMIT, &mut tell).map(Answer::Files),
        Call::Scale(_) => {
            client.wait::<Applied>(&mut ticket, LIMIT, &mut tell).map(|applied| Answer::Results(applied.results))
        }
        _ => client.wait::<Outcome>(&mut ticket, LIMIT, &mut tell).map(|outcome| Answer::Results(outcome.results)),
    }
}

/// The verb behind the change, as everybody reads it in the events.
fn verb(call: &Call) -> &'static str {
    match call {
        Call::Start(_) => "start",
        Call::Stop(_) => "stop",
        Call::Restart(_) => "restart",
        Call::Reload(_) => "reload",
        Call::Delete(_) => "delete",
        Call::Reset(_) => "reset",
        Call::Scale(_) => "scale",
        Call::Signal(_) => "signal",
        Call::Flush(_) => "flush",
        _ => "monit",
    }
}

/// As the command line says it, without its first word.
fn in_words(error: ClientError) -> String {
    let failure = Failure::from(error);
    let mut lines = vec![format!("failed: {}", failure.message())];
    lines.extend(failure.causes().iter().map(|cause| format!("  caused by: {cause}")));
    lines.extend(failure.hints().iter().map(|hint| format!("  hint: {hint}")));
    lines.join("\n")
}
