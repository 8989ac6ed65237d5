//! What keys, clicks and messages do.

use ratatui::crossterm::event::KeyCode;

use super::Desk;
use crate::proto::{Act, Call, Count, ScaleCall, Target};
use crate::tui::keymap::Tab;
use crate::tui::message::{Effect, Link, Message};
use crate::tui::model::logs::{Fresh, News};
use crate::tui::model::rows::Node;
use crate::tui::model::{Access, Mode};
use crate::tui::view::theme::Theme;

fn asked(desk: &Desk) -> Vec<&Call> {
    let call = |effect: &'_ Effect| matches!(effect, Effect::Ask(..));
    let asks = desk.effects.iter().filter(|effect| call(effect));
    asks.filter_map(|effect| if let Effect::Ask(_, call) = effect { Some(&**call) } else { None }).collect()
}

fn words(call: &Call) -> Vec<String> {
    let (Call::Restart(Act { targets, .. }) | Call::Reload(Act { targets, .. }) | Call::Stop(Act { targets, .. })) =
        call
    else {
        panic!("{call:?}")
    };
    let word = |target: &Target| if let Target::Word(word) = target { word.clone() } else { panic!("{target:?}") };
    targets.iter().map(word).collect()
}

#[test]
fn an_action_names_its_target_and_waits_for_a_yes() {
    let mut desk = Desk::open((100, 30));
    desk.keys("R");
    desk.shows(&["restart api (4 instances)?", "y yes"]);
    desk.keys("x");
    assert!(matches!(desk.model.mode, Mode::Confirm(_)), "another key is no answer");
    desk.keys("n");
    desk.shows(&["not done: restart api"]);
    assert!(asked(&desk).is_empty());
    // One instance of several is meant by its id.
    desk.press(KeyCode::Down);
    desk.keys("R");
    desk.shows(&["restart api:0?"]);
    desk.keys("y");
    assert_eq!(words(asked(&desk)[0]), ["0"]);
    desk.shows(&["restart api:0", "0/1"]);
}

#[test]
fn a_filter_narrows_what_an_action_means() {
    let mut desk = Desk::open((100, 30));
    desk.keys("/queue>1\nR");
    desk.shows(&["restart api:2, api:3 (2 instances)?"]);
    desk.keys("y");
    assert_eq!(words(asked(&desk)[0]), ["2", "3"]);
}

#[test]
fn scaling_says_from_how_many_to_how_many() {
    let mut desk = Desk::open((100, 30));
    desk.keys("+");
    desk.shows(&["scale by +1 api (4 → 5 instances)?"]);
    desk.keys("y");
    let targets = vec![Target::Word("api".into())];
    assert_eq!(asked(&desk)[0], &Call::Scale(ScaleCall { targets, count: Count::By(1), no_wait: false }));
}

#[test]
fn read_only_changes_nothing() {
    let mut desk = Desk::open((120, 30));
    desk.model.access = Access::ReadOnly;
    for keys in ["r", "R", "s", "S", "+", "-", "F", "D", ":stop all\n"] {
        desk.keys(keys);
        assert!(matches!(desk.model.mode, Mode::Browse), "{keys}");
        desk.shows(&["read only"]);
    }
    assert!(asked(&desk).is_empty());
    desk.pass(10_000);
    desk.hides("R restart");
}

#[test]
fn the_cursor_stays_on_what_it_is_on() {
    let mut desk = Desk::open((120, 40));
    desk.keys(":logs worker\n");
    assert_eq!(desk.model.list.chosen, Some(Node::Slot(4)));
    desk.keys(":sort name:desc\n");
    assert_eq!(desk.model.row().unwrap().name, "worker");
    // It is gone: the cursor stays near, and nothing breaks.
    let mut view = super::shop::view();
    view.apps.retain(|app| app.name != "worker");
    desk.tell(Message::View(Box::new(view)));
    assert!(desk.model.row().is_some());
    desk.tell(Message::View(Box::default()));
    desk.shows(&["nothing is in the list"]);
    desk.keys("Rry");
    assert!(asked(&desk).is_empty());
}

#[test]
fn folding_and_unfolding_go_with_keys_and_clicks() {
    let mut desk = Desk::open((120, 40));
    let names = |desk: &Desk| desk.model.list.rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>();
    let has = |desk: &Desk, name: &str| names(desk).iter().any(|known| known == name);
    assert!(has(&desk, "api:3"));
    desk.press(KeyCode::Left);
    assert!(!has(&desk, "api:3"));
    desk.press(KeyCode::Right);
    assert!(has(&desk, "api:3"));
    desk.click("▾ web");
    assert!(!has(&desk, "web:2"));
    desk.click("▸ web");
    assert!(has(&desk, "web:2"));
    desk.press(KeyCode::Down);
    desk.press(KeyCode::Left);
    assert_eq!(desk.model.row().unwrap().name, "web", "from an instance to its app");
}

#[test]
fn clicks_sort_choose_and_press() {
    let mut desk = Desk::open((160, 40));
    desk.click("status");
    desk.shows(&["sorted by status ↑"]);
    assert_eq!(desk.model.list.rows[0].name, "worker");
    desk.click("mail ");
    assert_eq!(desk.model.row().unwrap().name, "mail");
    desk.click(" why ");
    assert_eq!(desk.model.tab, Tab::Why);
    desk.click("R restart");
    desk.shows(&["restart mail?"]);
    desk.click("n no");
    assert!(matches!(desk.model.mode, Mode::Browse));
    desk.click("R restart");
    desk.click("y yes");
    assert_eq!(words(asked(&desk)[0]), ["mail"]);
}

#[test]
fn what_is_frozen_does_not_move_and_goes_on_afterwards() {
    let mut desk = Desk::open((120, 40));
    desk.keys(" ");
    let before = desk.screen();
    let mut view = super::shop::view();
    view.apps.truncate(1);
    desk.tell(Message::View(Box::new(view)));
    let number = desk.model.logs.wish.number;
    let lines = vec![Fresh { source: 0, text: "a new line".into() }];
    desk.tell(Message::Logs(number, News::Came { lines, skipped: 0 }));
    let after = desk.screen();
    let body = |screen: &str| {
        screen.lines().skip(1).filter(|line| !line.contains("held")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(body(&before), body(&after));
    desk.shows(&["FROZEN", "1 new below"]);
    desk.keys(" ");
    desk.hides("worker");
    desk.shows(&["a new line"]);
}

#[test]
fn details_are_asked_for_when_they_are_looked_at() {
    let mut desk = Desk::open((120, 40));
    desk.keys("d");
    assert!(desk.effects.contains(&Effect::Detail(true)));
    desk.keys("g");
    assert_eq!(desk.effects.iter().filter(|effect| **effect == Effect::Detail(false)).count(), 1);
}

#[test]
fn a_daemon_that_is_lost_is_said_and_one_that_is_back_too() {
    let mut desk = Desk::open((120, 40));
    desk.tell(Message::Link(Link::Lost("the daemon has ended".into())));
    desk.pass(3_000);
    desk.shows(&["the daemon has ended, 3s ago; waiting for the next one", "api:3"]);
    desk.tell(Message::Link(Link::Lost("no rsx daemon runs".into())));
    desk.shows(&["3s ago"]);
    desk.tell(Message::View(Box::new(super::shop::view())));
    desk.shows(&["the daemon is back"]);
    // One that says nothing at all.
    desk.pass(30_000);
    desk.shows(&["the daemon says nothing since 30s"]);
}

#[test]
fn no_key_and_no_size_breaks_anything() {
    let keys: Vec<char> = "jkhlgdwv[]fnNWmxt<>oe :/?\x1b123\n\tGrRsS+-FDyq".chars().collect();
    let sizes = [(1, 1), (40, 10), (41, 11), (60, 20), (79, 23), (110, 24), (250, 80), (500, 10), (40, 200)];
    let mut seed = 7_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for _ in 0..40 {
        let mut desk = Desk::open((100, 30));
        for _ in 0..60 {
            match random(12) {
                0 => {
                    let (width, height) = sizes[random(sizes.len())];
                    desk.tell(Message::Resize(width, height));
                }
                1 => {
                    let mut view = super::shop::view();
                    view.apps.truncate(random(7));
                    desk.now += 1_000;
                    desk.tell(Message::View(Box::new(view)));
                }
                2 => {
                    let number = desk.model.logs.wish.number;
                    let lines = (0..30).map(|n| Fresh { source: n % 3, text: "\x1b[1mü漢字\t".repeat(n) }).collect();
                    let news = if random(2) == 0 {
                        News::Came { lines, skipped: 9 }
                    } else {
                        News::Older { lines, is_whole: false }
                    };
                    desk.tell(Message::Logs(number, news));
                }
                3 => desk.press([KeyCode::Up, KeyCode::PageUp, KeyCode::Home, KeyCode::End, KeyCode::Left][random(5)]),
                _ => {
                    let key = keys[random(keys.len())];
                    desk.keys(&key.to_string());
                }
            }
            desk.buffer();
        }
    }
}

#[test]
fn without_colour_everything_is_still_said() {
    let mut desk = Desk::open((120, 40));
    desk.model.theme = Theme::Mono;
    let buffer = desk.buffer();
    for cell in buffer.content() {
        let colours = [cell.fg, cell.bg];
        assert!(colours.iter().all(|colour| *colour == ratatui::style::Color::Reset), "{cell:?}");
    }
    desk.shows(&["✗ errored", "● online", "○ stopped"]);
}

#[test]
fn two_hundred_instances_are_drawn_fast_enough_for_any_machine() {
    let mut view = super::shop::view();
    let slots =
        (100..300).map(|id| crate::words::sample::slot(id, (id - 100) as u16, crate::proto::State::Online)).collect();
    view.apps.push(crate::words::sample::app("many", slots));
    let mut desk = Desk::open((200, 60));
    desk.tell(Message::View(Box::new(view)));
    for _ in 0..100 {
        desk.press(KeyCode::Down);
        desk.buffer();
    }
    assert!(desk.model.list.cursor == 100 && desk.model.list.top > 0);
}
