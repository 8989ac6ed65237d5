//! A daemon of an older release, as it was recorded.

use super::*;
use crate::proto::{
    Applied, Count, EventsAnswer, Past, PastCall, Saved, ScaleCall, SignalCall, View, ViewCall, ViewDetail,
};
use crate::spec::Signal;

const RECORDED: &str = include_str!("../../../tests/data/session-0.1.0.txt");

/// Says to each call what was recorded for the same one; it has to come in the recorded order.
fn replay(listener: &UnixListener) {
    let mut reader = BufReader::new(listener.accept().unwrap().0);
    let mut lines = RECORDED.lines().peekable();
    while let Some(asked) = lines.next() {
        let asked = read_call(asked.strip_prefix("→ ").unwrap().as_bytes()).unwrap();
        let (id, call) = next_call(&mut reader);
        assert_eq!((id, std::mem::discriminant(&call)), (asked.id, std::mem::discriminant(&asked.call)));
        while let Some(answer) = lines.next_if(|line| line.starts_with("← ")) {
            say(&reader, format!("{}\n", answer.strip_prefix("← ").unwrap()).as_bytes());
        }
    }
    // Until the client has seen enough.
    let _ = reader.read(&mut [0]);
}

#[test]
fn a_daemon_of_the_first_release_is_understood() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let listener = listen(&home);
    let theirs = std::thread::spawn(move || replay(&listener));
    let targets = || vec![Target::Word("job".into())];
    let act = |word: &str| Act {
        targets: vec![Target::Word(word.into())],
        update_env: None,
        changes: None,
        parallel: None,
        strategy: None,
        no_wait: false,
    };
    let mut client = Client::connect(&home, "restart").unwrap().unwrap();
    assert_eq!(client.daemon().version, "0.1.0");
    let ping: DaemonAnswer = client.call(&Call::Ping, LIMIT).unwrap();
    let view: View = client.call(&Call::View(ViewCall { detail: ViewDetail::Brief }), LIMIT).unwrap();
    assert_eq!((view.daemon.pid, view.apps[0].slots[0].state), (ping.pid, State::Online));
    let mut ticket = client.send(&Call::Restart(act("job")), LIMIT).unwrap();
    let mut steps = Vec::new();
    let outcome: Outcome = client.wait(&mut ticket, LIMIT, &mut |step| steps.push(step.state)).unwrap();
    assert_eq!(outcome.results.len(), 1);
    assert_eq!(steps, [State::Stopping, State::Launching, State::Online]);
    let scale = ScaleCall { targets: targets(), count: Count::By(1), no_wait: false };
    let applied: Applied = client.call(&Call::Scale(scale), LIMIT).unwrap();
    assert_eq!((applied.plan.len(), applied.results.len()), (1, 1));
    let signal = Call::Signal(SignalCall { targets: targets(), signal: Signal::TERM });
    assert_eq!(client.call::<Outcome>(&signal, LIMIT).unwrap().results.len(), 2);
    let refused = client.call::<Outcome>(&Call::Stop(act("apo")), LIMIT).unwrap_err();
    assert!(matches!(refused, ClientError::Refused(Refusal::UnknownTarget { .. })), "{refused:?}");
    assert_eq!(client.call::<Past>(&Call::Past(PastCall { history: 2 }), LIMIT).unwrap().events.len(), 2);
    assert!(client.call::<Saved>(&Call::Save, LIMIT).unwrap().bytes > 0);
    let mut events = client.into_events(2).unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(events.take_ready().unwrap().events);
    }
    assert_eq!(seen.iter().map(|event| event.seq).collect::<Vec<_>>(), [13, 14]);
    drop(events);
    theirs.join().unwrap();
}

#[test]
fn the_answer_of_a_daemon_that_is_older_than_streams_that_resume_is_none() {
    assert_eq!(serde_json::from_str::<Option<EventsAnswer>>("null").unwrap(), None);
}
