//! Every view at four sizes, as its users see it.

use super::Desk;
use crate::client::ClientError;
use crate::proto::{Answer as SlotAnswer, Progress, SlotResult, State};
use crate::tui::message::{Answer, Link, Message};

const SIZES: [(u16, u16); 4] = [(60, 20), (80, 24), (120, 40), (200, 60)];

/// Holds the screen after these keys, at each size.
fn held(name: &str, act: impl Fn(&mut Desk)) {
    for (width, height) in SIZES {
        let mut desk = Desk::open((width, height));
        act(&mut desk);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), desk.screen());
    }
}

#[test]
fn the_first_screen() {
    held("first", |_| {});
}

#[test]
fn each_pane_alone() {
    held("list_alone", |desk| desk.keys("e"));
    held("graphs_alone", |desk| desk.keys("ge"));
    held("logs_alone", |desk| desk.keys("3eW"));
}

#[test]
fn details_why_and_events() {
    held("details", |desk| desk.keys(":describe worker\n"));
    held("why", |desk| desk.keys(":why worker\ne"));
    held("events", |desk| desk.keys("v"));
}

#[test]
fn by_namespace_sorted_and_filtered() {
    held("namespaces", |desk| desk.keys("t>>>"));
    held("filtered", |desk| desk.keys("/!status:online"));
}

#[test]
fn what_stands_in_front() {
    held("question", |desk| desk.keys("r"));
    held("help", |desk| desk.keys("?"));
    held("candidates", |desk| desk.keys(":re\t\t"));
    held("search", |desk| desk.keys("3/slow query\n"));
}

#[test]
fn a_job_and_its_failure() {
    held("job", |desk| {
        desk.keys("ry");
        let progress = Progress {
            id: 1,
            name: "api".into(),
            instance: 1,
            state: State::Launching,
            done: 1,
            of: 4,
            remaining: None,
        };
        desk.tell(Message::Progress(1, progress));
        desk.now += 3_000;
    });
    held("failure", |desk| {
        desk.keys("ry");
        let answer = SlotAnswer::Failed {
            reason: "exit code 1 after 192ms, before it was ready".into(),
            stderr: vec!["DATABASE_URL is not set".into()],
            next: Some("it is being restarted".into()),
            remarks: Vec::new(),
        };
        let result = SlotResult { id: 1, name: "api".into(), instance: 1, answer };
        desk.tell(Message::Answered(1, Ok(Answer::Results(vec![result]))));
    });
}

#[test]
fn no_daemon_and_a_frozen_screen() {
    held("lost", |desk| {
        desk.tell(Message::Link(Link::Lost(ClientError::Gone.to_string())));
        desk.pass(12_000);
    });
    held("frozen", |desk| {
        desk.keys(" ");
        desk.pass(5_000);
    });
}
